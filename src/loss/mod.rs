//! Loss functions.

pub mod closed;
