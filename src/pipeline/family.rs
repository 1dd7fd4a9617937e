//! A family of networks on one scan: what each member finds at each threshold, and where two of them differ.

use serde::{Deserialize, Serialize};

use super::mask::{self, Cut, Mask};
use super::{CompareError, Reference};
use crate::metrics::{BestThreshold, Confusion, PrCurve, PrPoint};
use crate::volume::Volume;

/// Points of a drawn curve.
const CURVE_POINTS: usize = 200;

/// What is found at a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Probability at and above which a voxel is lesion.
    pub threshold: f32,
    /// Volume of all lesions together, in millilitres.
    pub load_ml: f64,
    /// Number of lesions.
    pub lesions: usize,
}

/// The thresholds of a family's curves: 0.05, 0.10, ... 0.95.
pub fn thresholds() -> impl Iterator<Item = f32> {
    (1..20_u8).map(|step| f32::from(step) / 20.0)
}

/// What is found at one of them; the rest of `cut` is kept.
#[must_use]
pub fn level(probability: &Volume, threshold: f32, cut: &Cut) -> Level {
    let found = mask::cut(probability, &Cut { threshold, ..*cut });
    Level {
        threshold,
        load_ml: found.load_ml,
        lesions: found.lesions.len(),
    }
}

/// A member beside the reference, over all thresholds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// The precision-recall curve; empty without a lesion in the reference.
    pub curve: Vec<PrPoint>,
    /// The area below it (average precision).
    pub apr: Option<f64>,
    /// The thresholds at which F_beta is largest, with hindsight, in the order of the betas asked for.
    pub best: Vec<BestThreshold>,
}

/// Ranks a member's voxels against the reference. Small lesions are not dropped here, as a curve is of voxels.
///
/// # Errors
/// [`CompareError::Metrics`] if the two do not lie on one grid.
pub fn rank(probability: &Volume, reference: &Reference, betas: &[f64]) -> Result<Ranked, CompareError> {
    let curve = PrCurve::new(&reference.voxels, &probability.data)?;
    Ok(Ranked {
        curve: curve.points(CURVE_POINTS),
        apr: curve.average_precision(),
        best: betas
            .iter()
            .filter_map(|&beta| curve.best_threshold(beta))
            .collect(),
    })
}

/// A member at one cut.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtCut {
    /// Volume of all lesions together, in millilitres.
    pub load_ml: f64,
    /// Number of lesions.
    pub lesions: usize,
    /// Its voxels against the reference, if there is one.
    pub voxels: Option<Confusion>,
}

impl AtCut {
    /// The numbers of a mask.
    ///
    /// # Errors
    /// [`CompareError::Metrics`] if mask and reference do not lie on one grid.
    pub fn of(mask: &Mask, reference: Option<&Reference>) -> Result<Self, CompareError> {
        let voxels = match reference {
            Some(reference) => {
                let automatic: Vec<bool> = mask.voxels.iter().map(|&voxel| voxel != 0).collect();
                Some(Confusion::new(&reference.voxels, &automatic)?)
            }
            None => None,
        };
        Ok(Self {
            load_ml: mask.load_ml,
            lesions: mask.lesions.len(),
            voxels,
        })
    }
}

/// Two masks of one scan, in millilitres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// In both.
    pub both_ml: f64,
    /// In the first alone.
    pub first_ml: f64,
    /// In the second alone.
    pub second_ml: f64,
}

/// Counts what two masks share; `voxel_mm3` is a voxel's volume.
#[must_use]
pub fn split(first: &[u8], second: &[u8], voxel_mm3: f64) -> Split {
    let mut counts = [0_u64; 4];
    for (&a, &b) in first.iter().zip(second) {
        counts[usize::from(a != 0) + 2 * usize::from(b != 0)] += 1;
    }
    let ml = |count: u64| count as f64 * voxel_mm3 / 1000.0;
    Split {
        both_ml: ml(counts[3]),
        first_ml: ml(counts[1]),
        second_ml: ml(counts[2]),
    }
}

/// The code of a voxel as in [`OVERLAY`](super::compare::OVERLAY) (both, first alone, second alone), NaN in neither.
#[must_use]
pub fn code(first: bool, second: bool) -> f32 {
    match (first, second) {
        (true, true) => 1.0,
        (true, false) => 2.0,
        (false, true) => 3.0,
        (false, false) => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;

    use super::*;
    use crate::volume::Grid;
    use crate::volume::components::Connectivity;

    fn row(values: &[f32]) -> Volume {
        Volume {
            grid: Grid {
                shape: [values.len(), 1, 1],
                affine: Matrix4::new_scaling(2.0),
            },
            data: values.to_vec(),
        }
    }

    #[test]
    fn levels_are_cuts() {
        let scan = row(&[0.9, 0.0, 0.4, 0.5, 0.0, 0.2]);
        let cut = Cut {
            threshold: 0.99,
            min_lesion_mm3: 0.0,
            connectivity: Connectivity::Six,
        };
        let found: Vec<_> = [0.1, 0.45, 0.95].map(|t| level(&scan, t, &cut)).to_vec();
        assert_eq!(found.iter().map(|l| l.lesions).collect::<Vec<_>>(), [3, 2, 0]);
        assert!(
            (found[0].load_ml - 0.032).abs() < 1e-12,
            "4 voxels of 8 mm3: {found:?}"
        );
        let large = Cut {
            min_lesion_mm3: 16.0,
            ..cut
        };
        assert_eq!(level(&scan, 0.1, &large).lesions, 1);
        assert_eq!((thresholds().count(), thresholds().last()), (19, Some(0.95)));
    }

    #[test]
    fn two_masks_are_split() {
        let found = split(&[1, 1, 0, 0, 1], &[1, 0, 1, 0, 1], 500.0);
        assert_eq!(
            found,
            Split {
                both_ml: 1.0,
                first_ml: 0.5,
                second_ml: 0.5
            }
        );
        assert!(code(false, false).is_nan());
        assert_eq!(
            [code(true, true), code(true, false), code(false, true)],
            [1.0, 2.0, 3.0]
        );
    }

    #[test]
    fn a_member_is_ranked_and_counted() {
        let scan = row(&[0.9, 0.8, 0.6, 0.1]);
        let reference = Reference {
            voxels: vec![true, false, true, false],
            notes: Vec::new(),
        };
        let ranked = rank(&scan, &reference, &[1.0, 2.0]).unwrap();
        // Average precision: 1/2 at precision 1, then 1/2 at precision 2/3.
        assert!((ranked.apr.unwrap() - 5.0 / 6.0).abs() < 1e-12);
        assert_eq!(ranked.best.len(), 2);
        assert_eq!(ranked.best[0].threshold, 0.6);
        assert!((ranked.best[0].f_beta - 0.8).abs() < 1e-12);
        let at = AtCut::of(&mask::cut(&scan, &Cut::default()), Some(&reference)).unwrap();
        let voxels = at.voxels.unwrap();
        assert_eq!(
            (
                voxels.true_positives,
                voxels.false_positives,
                voxels.false_negatives
            ),
            (2, 1, 0)
        );
        assert_eq!(
            (
                at.lesions,
                AtCut::of(&mask::cut(&scan, &Cut::default()), None)
                    .unwrap()
                    .voxels
            ),
            (1, None)
        );
    }
}
