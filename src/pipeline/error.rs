//! Why a case could not be segmented.

use super::PredictError;
use crate::tiling::TilingError;

/// Why the pipeline stopped.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The settings or the arrays do not fit the volume.
    #[error(transparent)]
    Tiling(#[from] TilingError),
    /// A patch could not be predicted. The [`Run`](super::Run) keeps what is done and can go on, with the same
    /// predictor or with another.
    #[error("Patch {patch} of {total} could not be predicted: {source}.")]
    Predict {
        /// Patch that failed, counted from 1, rotations included.
        patch: usize,
        /// Patches in all.
        total: usize,
        /// What the predictor said.
        source: PredictError,
    },
    /// The caller asked to stop. The [`Run`](super::Run) keeps what is done and can go on.
    #[error("The run was cancelled after {done} of {total} patches.")]
    Cancelled {
        /// Patches predicted.
        done: usize,
        /// Patches in all.
        total: usize,
    },
    /// A result was asked for before every patch had voted.
    #[error("The run is not finished: {done} of {total} patches are predicted.")]
    Unfinished {
        /// Patches predicted.
        done: usize,
        /// Patches in all.
        total: usize,
    },
    /// There is no voxel to segment.
    #[error(
        "No head was found in the scan: every voxel looks like background. Check that this is the right file."
    )]
    NoForeground,
}

impl PipelineError {
    /// True if the engine is gone and another may take over ([`PredictError::Lost`]).
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            Self::Predict {
                source: PredictError::Lost(_),
                ..
            }
        )
    }
}
