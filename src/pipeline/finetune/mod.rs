//! A pretrained network adapted to a handful of cases, free of any user interface.
//!
//! A [`Session`] holds the cases and all progress; any [`Learner`] holds the network. The session draws the patches, asks the
//! learner for one step after another, and scores what comes out on cases that are held out, through the very code that segments.

mod base;
mod case;
mod checkpoint;
mod error;
mod folds;
mod learner;
#[cfg(feature = "learn")]
mod local;
mod needs;
mod outcome;
mod record;
mod rehearse;
mod session;
mod settings;

pub use crate::learn::augment::patch::Patch;
pub use crate::learn::tune::{Held, Part, Recipe, Statistics, StepReport};
pub use base::Base;
pub use case::Case;
pub use checkpoint::{Peek, peek};
pub use error::FinetuneError;
pub use learner::{LearnError, Learner, Start};
#[cfg(feature = "learn")]
pub use local::Local;
pub use needs::{Needs, TooLarge, fit, needs};
pub use outcome::{Maps, Outcome};
pub use record::{CaseEntry, Change, Ended, FoldRecord, Look, LookScores, Record, Scored, Spread, StepPoint};
pub use rehearse::{Rehearsal, rehearse};
pub use session::{Event, HeldOutMap, Place, Session, Stage};
pub use settings::{HeldOut, Settings};
