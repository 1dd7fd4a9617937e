//! Loss functions: the settings, their closed forms in f64 ([`closed`]), and the same on tensors.

pub mod closed;
#[cfg(feature = "net")]
mod tensor;

#[cfg(feature = "net")]
pub use tensor::{cross_entropy, cross_entropy_by_voxel, scaled};

use serde::{Deserialize, Serialize};

/// Which loss a network is trained with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Loss {
    /// Asymmetric similarity loss `1 - F_beta` (Hashemi et al. 2018; method.md 3.1). beta = 1 is Dice.
    FBeta {
        /// How much more recall counts than precision: a false negative weighs `beta^2` times a false positive.
        beta: f64,
        /// Added to numerator and denominator.
        smooth: f64,
    },
    /// Focal loss (Lin et al. 2017).
    Focal {
        /// Weight of lesion voxels.
        alpha: f64,
        /// How strongly sure answers are discounted.
        gamma: f64,
    },
    /// Generalized Dice loss (Sudre et al. 2017).
    GeneralizedDice,
    /// Binary cross-entropy.
    CrossEntropy,
}

impl Default for Loss {
    /// `F_1.5` with smoothing 1: the published best (method.md 3.1 and 3.2).
    fn default() -> Self {
        Self::FBeta {
            beta: 1.5,
            smooth: 1.0,
        }
    }
}
