//! From a scan to a mask, free of any user interface.
//!
//! A [`Head`] goes through a [`Run`] over any [`Predictor`]; what comes out is a probability per voxel,
//! which [`mask`] cuts into lesions. Nothing here starts a thread or needs an executor: the caller polls.

pub mod archive;
mod ask;
mod bundle;
pub mod cohort;
pub mod compare;
mod error;
pub mod family;
pub mod finetune;
pub mod finished;
pub mod fusion;
mod head;
pub mod mask;
pub mod memory;
pub mod names;
pub mod picture;
pub mod pictures;
mod predictor;
pub mod prepare;
mod progress;
pub mod report;
mod run;
mod settings;
pub mod table;

pub use bundle::Bundle;
pub use compare::{CompareError, Comparer, Comparison, Reference, Verdict};
pub use error::PipelineError;
pub use finished::{FileError, Finished, Inputs, Record};
pub use head::{Head, keep_deep};
pub use mask::{Cut, Lesion, Mask};
pub use predictor::{PredictError, Predictor, check_probabilities};
pub use prepare::{PrepareError, Prepared, prepare};
pub use progress::{Progress, Stage, TimeLeft};
pub use run::{Run, Segmentation, segment};
pub use settings::Settings;
