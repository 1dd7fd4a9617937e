//! The browser: page, desk and engines. Knows no mathematics.

pub mod channel;
pub mod assets;
pub mod messages;
