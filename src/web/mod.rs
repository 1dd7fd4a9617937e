//! The browser: page, desk and engines. Knows no mathematics.

#[cfg(feature = "page")]
pub mod app;
pub mod assets;
pub mod channel;
pub mod desk;
pub mod messages;
