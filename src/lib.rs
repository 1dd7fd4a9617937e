//! Equipoise: multiple-sclerosis lesion segmentation in the browser.
//!
//! Data travels one way: bytes -> [`volume`] -> [`tiling`] -> `net` -> [`tiling::fuse`] -> [`volume`]
//! -> mask. A room depends only on the rooms named before it; `ARCHITECTURE.md` draws the house.
//!
//! Research use only: nothing here is a medical device.

pub mod volume;

pub mod tiling;

pub mod net;

pub mod loss;

pub mod metrics;

pub mod learn;

pub mod pipeline;

#[cfg(feature = "web")]
pub mod web;
