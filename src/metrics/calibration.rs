//! Whether a probability of 0.7 is right seven times in ten.

use serde::{Deserialize, Serialize};

use super::error::check_probabilities;
use super::{MetricsError, ratio};

/// A reliability diagram over bins of equal width, and how far it is from the diagonal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The bins by ascending probability.
    pub bins: Vec<CalibrationBin>,
    /// Expected calibration error (Guo et al. 2017): the mean over all voxels of the gap of their bin, where the
    /// gap is |mean probability - frequency|. Background dominates it. `None` if there are no voxels.
    pub expected_error: Option<f64>,
    /// Average calibration error (Neumann et al. 2018): the mean gap of the bins that are not empty, which the
    /// mass of easy background does not drown. `None` if there are no voxels.
    pub average_error: Option<f64>,
}

/// The voxels whose probability p is `lower <= p < upper` (the last bin includes 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Lower end of the bin.
    pub lower: f64,
    /// Upper end of the bin.
    pub upper: f64,
    /// Number of voxels in it.
    pub voxels: u64,
    /// Mean of their probabilities; `None` if there are none.
    pub mean_probability: Option<f64>,
    /// Share of them that is lesion in the reference; `None` if there are none.
    pub frequency: Option<f64>,
}

impl CalibrationBin {
    /// |mean probability - frequency|.
    pub(super) fn gap(&self) -> Option<f64> {
        Some((self.mean_probability? - self.frequency?).abs())
    }
}

impl Calibration {
    /// Sorts the voxels of a probability map into `bins` bins.
    ///
    /// # Errors
    /// [`MetricsError::Length`] if the two inputs differ in length, [`MetricsError::NotAProbability`] if a value
    /// is not a number within 0 and 1, [`MetricsError::Setting`] if `bins` is not within 1 and 1000.
    pub fn new(reference: &[bool], probability: &[f32], bins: usize) -> Result<Self, MetricsError> {
        MetricsError::check_length("probability map", reference.len(), probability.len())?;
        check_probabilities(probability)?;
        Self::check_bins(bins)?;

        let mut sums = vec![(0_u64, 0.0_f64, 0_u64); bins];
        for (&p, &lesion) in probability.iter().zip(reference) {
            let p = f64::from(p).clamp(0.0, 1.0);
            let (voxels, sum, hits) = &mut sums[((p * bins as f64) as usize).min(bins - 1)];
            *voxels += 1;
            *sum += p;
            *hits += u64::from(lesion);
        }
        let bins: Vec<CalibrationBin> = sums
            .iter()
            .enumerate()
            .map(|(index, &(voxels, sum, hits))| CalibrationBin {
                lower: index as f64 / bins as f64,
                upper: (index + 1) as f64 / bins as f64,
                voxels,
                mean_probability: ratio(sum, voxels as f64),
                frequency: ratio(hits as f64, voxels as f64),
            })
            .collect();

        let gaps: Vec<(f64, u64)> = bins
            .iter()
            .filter_map(|bin| bin.gap().map(|gap| (gap, bin.voxels)))
            .collect();
        let weighted: f64 = gaps.iter().map(|&(gap, voxels)| gap * voxels as f64).sum();
        let plain: f64 = gaps.iter().map(|&(gap, _)| gap).sum();
        Ok(Self {
            expected_error: ratio(weighted, reference.len() as f64),
            average_error: ratio(plain, gaps.len() as f64),
            bins,
        })
    }

    /// Refuses a number of bins that makes no diagram.
    pub(super) fn check_bins(bins: usize) -> Result<(), MetricsError> {
        let allowed = (1..=1000).contains(&bins);
        MetricsError::check_setting(
            "number of calibration bins",
            bins as f64,
            allowed,
            "within 1 and 1000",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hand_made_diagram() {
        let reference = [false, false, true, true, false, true];
        let probability = [0.0, 0.25, 0.25, 0.75, 1.0, 0.5];
        let found = Calibration::new(&reference, &probability, 2).unwrap();
        let bin = |lower, upper, mean, frequency| CalibrationBin {
            lower,
            upper,
            voxels: 3,
            mean_probability: Some(mean),
            frequency: Some(frequency),
        };
        assert_eq!(found.bins[0], bin(0.0, 0.5, 0.5 / 3.0, 1.0 / 3.0));
        assert_eq!(found.bins[1], bin(0.5, 1.0, 0.75, 2.0 / 3.0));
        let expected = f64::midpoint(1.0 / 6.0, 1.0 / 12.0);
        assert!((found.expected_error.unwrap() - expected).abs() < 1e-15);
        assert!((found.average_error.unwrap() - expected).abs() < 1e-15);
    }

    #[test]
    fn background_drowns_the_expected_error_but_not_the_average_one() {
        // A thousand sure and right voxels, ten at 0.9 that are all wrong.
        let mut probability = vec![0.0; 1000];
        probability.extend([0.9; 10]);
        let found = Calibration::new(&[false; 1010], &probability, 10).unwrap();
        assert!((found.expected_error.unwrap() - 9.0 / 1010.0).abs() < 1e-6);
        assert!((found.average_error.unwrap() - 0.45).abs() < 1e-6);
    }

    #[test]
    fn nothing_in_nothing_out() {
        let found = Calibration::new(&[], &[], 3).unwrap();
        assert_eq!((found.expected_error, found.average_error), (None, None));
        assert!(
            found
                .bins
                .iter()
                .all(|bin| bin.voxels == 0 && bin.frequency.is_none())
        );
        assert!(Calibration::new(&[], &[], 0).is_err());
    }

    proptest! {
        #[test]
        fn every_voxel_is_in_its_bin(
            voxels in proptest::collection::vec((any::<bool>(), 0.0..=1.0_f32), 1..60), bins in 1_usize..20,
        ) {
            let (reference, probability): (Vec<bool>, Vec<f32>) = voxels.into_iter().unzip();
            let found = Calibration::new(&reference, &probability, bins).unwrap();
            prop_assert_eq!(found.bins.iter().map(|bin| bin.voxels).sum::<u64>(), reference.len() as u64);
            for bin in &found.bins {
                if let Some(mean) = bin.mean_probability {
                    prop_assert!(mean >= bin.lower - 1e-12 && mean <= bin.upper + 1e-12);
                }
            }
            let (expected, average) = (found.expected_error.unwrap(), found.average_error.unwrap());
            prop_assert!((0.0..=1.0).contains(&expected) && (0.0..=1.0).contains(&average));
        }
    }
}
