//! A learner on this machine.

use futures_util::lock::Mutex;

use super::{Held, LearnError, Learner, Patch, Start, StepReport};
use crate::learn::trainer::{Tuner, TunerError};
use crate::net::{Engine, EngineError};
use crate::pipeline::{PredictError, Predictor};

/// A [`Tuner`] as a [`Learner`].
pub struct Local(Mutex<Tuner>);

impl Local {
    /// On an engine of this machine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self(Mutex::new(Tuner::new(engine)))
    }
}

impl From<TunerError> for LearnError {
    fn from(error: TunerError) -> Self {
        match error {
            TunerError::Diverged { step, loss } => Self::Diverged { step, loss },
            TunerError::Engine(EngineError::Config(_))
            | TunerError::Weights(_)
            | TunerError::Snapshot(_)
            | TunerError::NotBegun
            | TunerError::Order { .. } => Self::Refused(error.to_string()),
            _ => Self::Engine(error.to_string()),
        }
    }
}

impl Predictor for Local {
    async fn predict(&self, patch: Vec<f32>, side: usize) -> Result<Vec<f32>, PredictError> {
        let tuner = self.0.lock().await;
        tuner
            .engine()
            .predict(patch, side)
            .await
            .map_err(|e| PredictError::Engine(e.to_string()))
    }
}

impl Learner for Local {
    async fn held(&self) -> Result<Option<Held>, LearnError> {
        Ok(self.0.lock().await.held())
    }

    async fn begin(&self, start: Start) -> Result<(), LearnError> {
        let Start {
            run,
            config,
            weights,
            recipe,
            snapshot,
        } = start;
        let mut tuner = self.0.lock().await;
        let snapshot = snapshot.as_deref();
        Ok(tuner.begin(run, &config, &weights, &recipe, snapshot).await?)
    }

    async fn step(&self, step: u64, patch: Patch) -> Result<StepReport, LearnError> {
        Ok(self.0.lock().await.step(step, &patch).await?)
    }

    async fn publish(&self) -> Result<Vec<u8>, LearnError> {
        Ok(self.0.lock().await.publish().await?)
    }

    async fn show(&self, weights: Vec<u8>) -> Result<(), LearnError> {
        Ok(self.0.lock().await.show(weights)?)
    }

    async fn snapshot(&self) -> Result<Vec<u8>, LearnError> {
        Ok(self.0.lock().await.snapshot().await?)
    }
}
