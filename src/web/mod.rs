//! The browser: page, desk and engines. Knows no mathematics.

pub mod assets;
pub mod channel;
pub mod desk;
pub mod messages;
