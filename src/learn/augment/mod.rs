//! Augmentation: what differs between the few heads at hand and those that people open.
//!
//! Every function takes its randomness from the generator it is given and changes nothing else, so the same
//! generator state gives the same result.

pub mod acquisition;
pub mod geometry;
pub mod patch;
pub mod pose;
pub mod surround;
