//! The one thing the pipeline asks of a network, wherever it runs.

use std::future::Future;

use super::Bundle;
use crate::tiling::Sums;

/// Why a patch could not be predicted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The engine failed; the message says why in words for a person.
    #[error("the engine failed: {0}")]
    Engine(String),
    /// The engine is gone (device lost, worker ended); another engine may still work.
    #[error("the engine was lost: {0}")]
    Lost(String),
    /// The engine returned values that are no probabilities.
    #[error("the engine returned {count} values outside [0, 1] or not a number")]
    NotProbabilities {
        /// How many values.
        count: usize,
    },
    /// The engine returned another number of voxels than the patch has.
    #[error("the engine returned {got} voxels for a patch of {expected}")]
    Length {
        /// Voxels in the patch.
        expected: usize,
        /// Voxels returned.
        got: usize,
    },
}

/// An engine's answer must be `side^3` probabilities: a kernel that was skipped leaves anything in its output.
///
/// # Errors
/// [`PredictError::Length`] or [`PredictError::NotProbabilities`].
pub fn check_probabilities(answer: &[f32], side: usize) -> Result<(), PredictError> {
    let (expected, got) = (side.pow(3), answer.len());
    if got != expected {
        return Err(PredictError::Length { expected, got });
    }
    match answer.iter().filter(|p| !(0.0..=1.0).contains(*p)).count() {
        0 => Ok(()),
        count => Err(PredictError::NotProbabilities { count }),
    }
}

/// Something that predicts lesion probabilities for one cubic patch.
///
/// Kept as small as MONAI's `predictor` callable: the pipeline is generic over it, so the same code runs on a
/// native device, in a browser worker and, in tests, on a closed form.
pub trait Predictor {
    /// Lesion probability of every voxel of a patch.
    ///
    /// `patch` holds `channels * side^3` values, channel slowest, x fastest (FLAIR, then T1; a missing T1 is all
    /// zero). The answer has `side^3` probabilities, x fastest.
    ///
    /// # Errors
    /// [`PredictError`] if the engine fails or is lost.
    fn predict(&self, patch: Vec<f32>, side: usize) -> impl Future<Output = Result<Vec<f32>, PredictError>>;

    /// How many questions may be in flight at once (workers in a pool; 1 on a GPU).
    fn parallelism(&self) -> usize {
        1
    }

    /// How many patches of this side are best handed over together, to [`Predictor::predict_group`]; `None` if one by
    /// one. Always the same on one engine, for the last bits of a result depend on it.
    fn group(&self, side: usize) -> Option<usize> {
        let _ = side;
        None
    }

    /// Predicts the patches of a group, turns the answers back and sums them as votes, in order.
    ///
    /// # Errors
    /// [`PredictError`] if the engine fails or is lost, or takes no groups.
    fn predict_group(&self, bundle: &Bundle) -> impl Future<Output = Result<Sums, PredictError>> {
        let _ = bundle;
        std::future::ready(Err(PredictError::Engine(
            "it takes one patch at a time".to_owned(),
        )))
    }
}
