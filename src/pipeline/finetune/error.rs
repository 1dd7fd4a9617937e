//! Why fine-tuning stopped.

use super::LearnError;
use crate::net::ConfigError;
use crate::pipeline::PipelineError;
use crate::pipeline::compare::CompareError;

/// Why fine-tuning cannot start or go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FinetuneError {
    /// A setting is out of range.
    #[error("{name} is {value}; it must be {range}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// The patch or the network does not fit.
    #[error(transparent)]
    Net(#[from] ConfigError),
    /// Too few cases.
    #[error(
        "{cases} cases are too few: {needed} are needed, for what is trained on must not be scored on. Add cases, or hold out fewer."
    )]
    Cases {
        /// Cases needed.
        needed: usize,
        /// Cases given.
        cases: usize,
    },
    /// There is no case of that number.
    #[error("case number {case} is to be held out, but there are {cases}")]
    NoSuchCase {
        /// Case asked for, from 0.
        case: usize,
        /// Cases given.
        cases: usize,
    },
    /// The weights of a step were not kept, or training is not over.
    #[error("the weights of step {step} cannot be gone back to: they were not kept, or training is not over")]
    NoSuchStep {
        /// The step.
        step: u64,
    },
    /// The base model's card or weights cannot be used.
    #[error("the base model cannot be used: {0}")]
    Base(String),
    /// The engine did not learn. The session keeps its last checkpoint and can go on.
    #[error("Step {step} failed: {source}.")]
    Learn {
        /// Steps done.
        step: u64,
        /// What the learner said.
        source: LearnError,
    },
    /// A held-out case could not be segmented.
    #[error("The held-out case \"{case}\" could not be segmented: {source}")]
    Segment {
        /// Its name.
        case: String,
        /// What went wrong.
        source: PipelineError,
    },
    /// A held-out case could not be scored.
    #[error("The held-out case \"{case}\" could not be scored: {source}")]
    Score {
        /// Its name.
        case: String,
        /// What went wrong.
        source: CompareError,
    },
    /// The caller asked to pause. The session can go on.
    #[error("Paused after {step} steps.")]
    Paused {
        /// Steps done.
        step: u64,
    },
    /// A checkpoint cannot be used.
    #[error("the checkpoint cannot be used: {0}")]
    Checkpoint(String),
    /// A checkpoint belongs to other cases or another base network.
    #[error("the checkpoint belongs to another {what}: {why}")]
    Foreign {
        /// Cases, or base network.
        what: &'static str,
        /// What differs.
        why: String,
    },
}

impl FinetuneError {
    /// True if the engine is gone and another may take over.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Learn {
                source: LearnError::Lost(_),
                ..
            } => true,
            Self::Segment { source, .. } => source.is_lost(),
            _ => false,
        }
    }

    /// True if the caller asked for it.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self, Self::Paused { .. })
    }
}
