//! The browser: page, desk and engines. Knows no mathematics.

pub mod messages;
