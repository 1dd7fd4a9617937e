//! Patches that go to an engine together and come back as one set of sums.

use super::PredictError;
use crate::tiling::{Group, Sums, Window};

/// How far beyond `[0, 1]` rounding may push a mean of probabilities.
const ROUNDING: f32 = 1e-5;

/// A group of patches with all that an engine needs to predict and fuse them.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    group: Group,
    patches: Vec<f32>,
    window: Window,
    spread: bool,
    weight: Vec<f32>,
}

impl Bundle {
    /// `patches` are those of `group`, one behind the other, turned as it says, each as
    /// [`Predictor::predict`](super::Predictor::predict) takes it; `spread` asks for [`Sums::spread`].
    #[must_use]
    pub fn new(group: Group, patches: Vec<f32>, window: Window, spread: bool) -> Self {
        let weight = group.weight(&window.weights(group.side()).rounded());
        Self {
            group,
            patches,
            window,
            spread,
            weight,
        }
    }

    /// Where the patches lie.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The values of all patches.
    #[must_use]
    pub fn patches(&self) -> &[f32] {
        &self.patches
    }

    /// How many patches.
    #[must_use]
    pub fn count(&self) -> usize {
        self.group.patches().len()
    }

    /// How votes are weighed.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// Whether [`Sums::spread`] is asked for.
    #[must_use]
    pub fn spread(&self) -> bool {
        self.spread
    }

    /// What falls on each voxel of the group's box ([`Group::weight`]).
    #[must_use]
    pub fn weight(&self) -> &[f32] {
        &self.weight
    }

    /// The answer is there: only it and its weight wait for their turn.
    pub(super) fn forget_patches(&mut self) {
        self.patches = Vec::new();
    }

    /// `Ok` if an engine's answer can be the sums of weighted probabilities.
    ///
    /// # Errors
    /// [`PredictError::Length`] or [`PredictError::NotProbabilities`].
    pub fn check(&self, sums: &Sums) -> Result<(), PredictError> {
        let expected = self.weight.len();
        let spread = sums.spread.as_deref();
        for got in [Some(sums.votes.len()), spread.map(<[f32]>::len)]
            .into_iter()
            .flatten()
        {
            if got != expected {
                return Err(PredictError::Length { expected, got });
            }
        }
        if spread.is_some() != self.spread {
            let got = spread.map_or(0, <[f32]>::len);
            return Err(PredictError::Length { expected, got });
        }
        // Written so that NaN is outside.
        let is_mean = |vote: f32, w: f32| vote >= -ROUNDING * w && vote <= (1.0 + ROUNDING) * w;
        let of_votes = sums.votes.iter().zip(&self.weight);
        let of_spread = spread.unwrap_or_default().iter().zip(&self.weight);
        let count = of_votes.filter(|(v, w)| !is_mean(**v, **w)).count()
            + of_spread.filter(|(s, w)| !(**s >= 0.0 && **s <= **w)).count();
        match count {
            0 => Ok(()),
            count => Err(PredictError::NotProbabilities { count }),
        }
    }

    /// True if the sums are those of one and the same probability everywhere.
    pub(super) fn flat(&self, sums: &Sums) -> bool {
        let voted = sums.votes.iter().zip(&self.weight).filter(|(_, w)| **w > 0.0);
        let (low, high) = voted
            .map(|(v, w)| v / w)
            .fold((f32::MAX, f32::MIN), |(low, high), p| (low.min(p), high.max(p)));
        // Sums of a few equal terms and their weights round a little apart.
        high - low <= ROUNDING * high
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiling::Rotation;

    #[test]
    fn only_sums_of_probabilities_pass() {
        let places = [[0; 3], [1, 0, 0]].map(|o| (o, Rotation::Identity));
        let bundle = Bundle::new(Group::gather(2, places), vec![0.0; 32], Window::Gaussian, true);
        let n = bundle.weight().len();
        assert_eq!(n, 12);
        let sums = |p: f32, spread: f32| Sums {
            votes: bundle.weight().iter().map(|w| w * p).collect(),
            spread: Some(vec![spread; n]),
        };
        for p in [0.0, 0.3, 1.0] {
            assert_eq!(bundle.check(&sums(p, 0.0)), Ok(()));
            assert!(bundle.flat(&sums(p, 0.0)));
        }
        for bad in [
            sums(f32::NAN, 0.0),
            sums(1.001, 0.0),
            sums(-0.1, 0.0),
            sums(0.5, f32::NAN),
        ] {
            assert_eq!(
                bundle.check(&bad),
                Err(PredictError::NotProbabilities { count: n })
            );
        }
        let mut one = sums(0.5, 0.0);
        one.votes[3] *= 1.001;
        assert!(bundle.check(&one).is_ok() && !bundle.flat(&one));
        one.spread = None;
        assert_eq!(
            bundle.check(&one),
            Err(PredictError::Length { expected: 12, got: 0 })
        );
    }
}
