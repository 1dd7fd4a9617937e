//! The browser: page, desk and engines. Knows no mathematics.

#[cfg(feature = "page")]
pub mod app;
pub mod assets;
pub mod channel;
pub mod desk;
#[cfg(feature = "net")]
pub mod engine;
pub mod messages;
pub mod studies;
