//! Voxel-wise agreement of two masks.

use serde::{Deserialize, Serialize};

use super::{MetricsError, ratio};

/// The four numbers of voxels from which every voxel-wise score follows.
///
/// Notation: M_R is the reference mask, M_A the automatic one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Lesion in both masks (TP).
    pub true_positives: u64,
    /// Lesion in the automatic mask only (FP).
    pub false_positives: u64,
    /// Lesion in the reference only (FN).
    pub false_negatives: u64,
    /// Lesion in neither (TN).
    pub true_negatives: u64,
}

impl Confusion {
    /// Counts the voxels of two masks on the same grid.
    ///
    /// # Errors
    /// [`MetricsError::Length`] if their numbers of voxels differ.
    pub fn new(reference: &[bool], automatic: &[bool]) -> Result<Self, MetricsError> {
        MetricsError::check_length("automatic mask", reference.len(), automatic.len())?;
        let (mut hits, mut marked, mut lesion) = (0, 0, 0);
        // Counted in bytes, 255 voxels at a time (which fits), because that is what vectorises.
        for (reference, automatic) in reference.chunks(255).zip(automatic.chunks(255)) {
            let mut part = [0_u8; 3];
            for (&r, &a) in reference.iter().zip(automatic) {
                part[0] = part[0].wrapping_add(u8::from(r & a));
                part[1] = part[1].wrapping_add(u8::from(a));
                part[2] = part[2].wrapping_add(u8::from(r));
            }
            hits += u64::from(part[0]);
            marked += u64::from(part[1]);
            lesion += u64::from(part[2]);
        }
        Ok(Self {
            true_positives: hits,
            false_positives: marked - hits,
            false_negatives: lesion - hits,
            true_negatives: reference.len() as u64 + hits - marked - lesion,
        })
    }

    /// TP, FP, FN, TN as floating-point numbers.
    fn parts(&self) -> [f64; 4] {
        [
            self.true_positives,
            self.false_positives,
            self.false_negatives,
            self.true_negatives,
        ]
        .map(|n| n as f64)
    }

    /// Dice similarity coefficient, DSC = 2 TP / (2 TP + FP + FN): the same as F_1.
    #[must_use]
    pub fn dice(&self) -> Option<f64> {
        self.f_beta(1.0)
    }

    /// Positive predictive value (precision), TP / (TP + FP).
    #[must_use]
    pub fn ppv(&self) -> Option<f64> {
        let [tp, fp, ..] = self.parts();
        ratio(tp, tp + fp)
    }

    /// True positive rate (sensitivity, recall), TP / (TP + FN).
    #[must_use]
    pub fn tpr(&self) -> Option<f64> {
        let [tp, _, fn_, _] = self.parts();
        ratio(tp, tp + fn_)
    }

    /// True negative rate, TN / (TN + FP).
    #[must_use]
    pub fn specificity(&self) -> Option<f64> {
        let [_, fp, _, tn] = self.parts();
        ratio(tn, tn + fp)
    }

    /// F_beta = (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP): beta above 1 makes a missed lesion voxel cost more
    /// than a false one. `None` if neither mask has a lesion voxel.
    #[must_use]
    pub fn f_beta(&self, beta: f64) -> Option<f64> {
        let [tp, fp, fn_, _] = self.parts();
        let b2 = beta * beta;
        ratio((1.0 + b2) * tp, (1.0 + b2) * tp + b2 * fn_ + fp)
    }

    /// Absolute volume difference relative to the reference, VD = | |M_A| - |M_R| | / |M_R|.
    #[must_use]
    pub fn volume_difference(&self) -> Option<f64> {
        self.relative_volume_error().map(f64::abs)
    }

    /// Signed volume error relative to the reference, (|M_A| - |M_R|) / |M_R|: positive if the automatic mask is
    /// too large. Anima reports it in percent.
    #[must_use]
    pub fn relative_volume_error(&self) -> Option<f64> {
        let [tp, fp, fn_, _] = self.parts();
        ratio(fp - fn_, tp + fn_)
    }

    /// Number of lesion voxels of the reference, |M_R|.
    #[must_use]
    pub fn reference_voxels(&self) -> u64 {
        self.true_positives + self.false_negatives
    }

    /// Number of lesion voxels of the automatic mask, |M_A|.
    #[must_use]
    pub fn automatic_voxels(&self) -> u64 {
        self.true_positives + self.false_positives
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask_pairs() -> impl Strategy<Value = (Vec<bool>, Vec<bool>)> {
        (0_usize..80).prop_flat_map(|n| {
            (
                proptest::collection::vec(any::<bool>(), n),
                proptest::collection::vec(any::<bool>(), n),
            )
        })
    }

    proptest! {
        #[test]
        fn scores_lie_within_0_and_1((reference, automatic) in mask_pairs()) {
            let c = Confusion::new(&reference, &automatic).unwrap();
            for score in [c.dice(), c.ppv(), c.tpr(), c.specificity(), c.f_beta(2.0)].into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&score));
            }
            prop_assert_eq!(c.reference_voxels(), reference.iter().filter(|&&r| r).count() as u64);
            prop_assert_eq!(c.automatic_voxels(), automatic.iter().filter(|&&a| a).count() as u64);
        }

        #[test]
        fn exchanging_the_masks_exchanges_ppv_and_tpr((reference, automatic) in mask_pairs()) {
            let c = Confusion::new(&reference, &automatic).unwrap();
            let swapped = Confusion::new(&automatic, &reference).unwrap();
            prop_assert_eq!(c.dice(), swapped.dice());
            prop_assert_eq!(c.ppv(), swapped.tpr());
            prop_assert_eq!(c.tpr(), swapped.ppv());
        }

        /// F_beta is a weighted harmonic mean, so it lies between its parts, and beta pulls it towards TPR.
        #[test]
        fn f_beta_lies_between_ppv_and_tpr(
            (reference, automatic) in mask_pairs(), beta in 0.1..10.0_f64, more in 1.0..3.0_f64,
        ) {
            let c = Confusion::new(&reference, &automatic).unwrap();
            if let (Some(ppv), Some(tpr), Some(f), Some(g)) =
                (c.ppv(), c.tpr(), c.f_beta(beta), c.f_beta(beta * more))
            {
                prop_assert!(f >= ppv.min(tpr) - 1e-12 && f <= ppv.max(tpr) + 1e-12);
                prop_assert!((g - tpr).abs() <= (f - tpr).abs() + 1e-12);
            }
        }
    }

    #[test]
    fn counts_stay_right_beyond_a_byte() {
        let reference: Vec<bool> = (0..100_000).map(|at| at % 3 != 0).collect();
        let automatic: Vec<bool> = (0..100_000).map(|at| at % 5 != 0).collect();
        let c = Confusion::new(&reference, &automatic).unwrap();
        let count = |r: bool, a: bool| {
            reference
                .iter()
                .zip(&automatic)
                .filter(|&(&x, &y)| (x, y) == (r, a))
                .count() as u64
        };
        assert_eq!(c.true_positives, count(true, true));
        assert_eq!(c.false_positives, count(false, true));
        assert_eq!(c.false_negatives, count(true, false));
        assert_eq!(c.true_negatives, count(false, false));
    }

    #[test]
    fn a_hand_made_case() {
        let c = Confusion {
            true_positives: 6,
            false_positives: 2,
            false_negatives: 4,
            true_negatives: 88,
        };
        assert_eq!(c.dice(), Some(12.0 / 18.0));
        assert_eq!(c.ppv(), Some(0.75));
        assert_eq!(c.tpr(), Some(0.6));
        assert_eq!(c.specificity(), Some(88.0 / 90.0));
        assert_eq!(c.f_beta(2.0), Some(30.0 / (30.0 + 16.0 + 2.0)));
        assert_eq!(c.volume_difference(), Some(0.2));
        assert_eq!(c.relative_volume_error(), Some(-0.2));
    }

    #[test]
    fn empty_masks_have_no_scores() {
        let nothing = Confusion::new(&[false; 5], &[false; 5]).unwrap();
        assert_eq!(
            [
                nothing.dice(),
                nothing.ppv(),
                nothing.tpr(),
                nothing.volume_difference()
            ],
            [None; 4]
        );
        assert_eq!(nothing.specificity(), Some(1.0));
        let missed = Confusion::new(&[true; 5], &[false; 5]).unwrap();
        assert_eq!(
            (missed.dice(), missed.ppv(), missed.tpr()),
            (Some(0.0), None, Some(0.0))
        );
        assert_eq!(missed.specificity(), None);
    }

    #[test]
    fn masks_of_different_sizes_are_refused() {
        let error = Confusion::new(&[true; 5], &[true; 4]).unwrap_err();
        assert_eq!(
            error,
            MetricsError::Length {
                what: "automatic mask",
                expected: 5,
                found: 4
            }
        );
    }
}
