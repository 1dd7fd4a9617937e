//! The one thing fine-tuning asks of an engine, wherever it runs.

use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::learn::augment::patch::Patch;
use crate::learn::tune::{Held, Recipe, StepReport};
use crate::pipeline::{PredictError, Predictor};

/// Why an engine did not learn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// The engine failed; the message says why in words for a person.
    #[error("the engine failed: {0}")]
    Engine(String),
    /// The engine is gone (device lost, worker ended); another may go on from the last checkpoint.
    #[error("the engine was lost: {0}")]
    Lost(String),
    /// The loss is no number.
    #[error("the loss became {loss} at step {step}; choose a lower learning rate")]
    Diverged {
        /// Step that failed.
        step: u64,
        /// The loss.
        loss: f32,
    },
    /// Weights, recipe or snapshot do not fit each other.
    #[error("the engine cannot take this up: {0}")]
    Refused(String),
}

impl From<PredictError> for LearnError {
    fn from(error: PredictError) -> Self {
        match error {
            PredictError::Lost(why) => Self::Lost(why),
            other => Self::Engine(other.to_string()),
        }
    }
}

/// What a training run starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Number of the run: an engine that holds it can go on with it.
    pub run: u64,
    /// The network's configuration as JSON ([`NetConfig`](crate::net::NetConfig)).
    pub config: String,
    /// The base network: a safetensors file.
    pub weights: Vec<u8>,
    /// How to train.
    pub recipe: Recipe,
    /// What [`Learner::snapshot`] gave, to go on from there; `None` to start at step 0.
    pub snapshot: Option<Vec<u8>>,
}

/// An engine that trains one network on one patch after another, and predicts with it.
///
/// Like [`Predictor`] it is called by shared reference, for it may be a worker behind messages: calls are answered one at
/// a time, in order, and a call that is dropped may still take effect.
pub trait Learner: Predictor {
    /// What the engine holds; `None` before [`Learner::begin`].
    fn held(&self) -> impl Future<Output = Result<Option<Held>, LearnError>>;

    /// Takes up a run. Predictions are the base network's until [`Learner::publish`] or [`Learner::show`].
    fn begin(&self, start: Start) -> impl Future<Output = Result<(), LearnError>>;

    /// The step that follows `step` steps. If the engine has already made it, because an earlier call was dropped, it
    /// answers again and does nothing.
    fn step(&self, step: u64, patch: Patch) -> impl Future<Output = Result<StepReport, LearnError>>;

    /// The averaged weights as a safetensors file. From now on predictions are those of exactly this file.
    fn publish(&self) -> impl Future<Output = Result<Vec<u8>, LearnError>>;

    /// From now on predictions are those of this safetensors file. Training is not touched.
    fn show(&self, weights: Vec<u8>) -> impl Future<Output = Result<(), LearnError>>;

    /// Everything that is needed to go on as if nothing had happened.
    fn snapshot(&self) -> impl Future<Output = Result<Vec<u8>, LearnError>>;
}
