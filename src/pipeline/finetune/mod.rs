//! A pretrained network adapted to a handful of cases, free of any user interface.
//!
//! A [`Session`] holds the cases and all progress; any [`Learner`] holds the network. The session draws the patches, asks the
//! learner for one step after another, and scores what comes out on cases that are held out, through the very code that segments.

mod error;
mod learner;
mod settings;

pub use crate::learn::augment::patch::Patch;
pub use crate::learn::tune::{Held, Part, Recipe, Statistics, StepReport};
pub use error::FinetuneError;
pub use learner::{LearnError, Learner, Start};
pub use settings::{HeldOut, Settings};
