//! Calibration within a range of probabilities.

use serde::{Deserialize, Serialize};

use super::{Calibration, ratio};

/// The bins of a reliability diagram between two probabilities, taken together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Number of voxels in these bins.
    pub voxels: u64,
    /// Mean of their probabilities; `None` if there are none.
    pub mean_probability: Option<f64>,
    /// Share of them that is lesion in the reference; `None` if there are none.
    pub frequency: Option<f64>,
    /// Expected calibration error of these voxels alone: the mean, over them, of |mean probability - frequency| of
    /// their bin (Guo et al. 2017). `None` if there are none.
    pub expected_error: Option<f64>,
}

impl Calibration {
    /// The bins that lie whole within `lower` and `upper`, both in `[0, 1]`.
    ///
    /// A band that begins above 0 leaves out the sure background, which drowns the error of all voxels.
    #[must_use]
    pub fn band(&self, lower: f64, upper: f64) -> Band {
        const ROUNDING: f64 = 1e-9;
        let (mut voxels, mut predicted, mut observed, mut gaps) = (0, 0.0, 0.0, 0.0);
        for bin in &self.bins {
            let inside = bin.lower >= lower - ROUNDING && bin.upper <= upper + ROUNDING;
            let (Some(mean), Some(frequency), Some(gap)) = (bin.mean_probability, bin.frequency, bin.gap())
            else {
                continue;
            };
            if !inside {
                continue;
            }
            let n = bin.voxels as f64;
            voxels += bin.voxels;
            predicted += n * mean;
            observed += n * frequency;
            gaps += n * gap;
        }
        let per_voxel = |sum: f64| ratio(sum, voxels as f64);
        Band {
            voxels,
            mean_probability: per_voxel(predicted),
            frequency: per_voxel(observed),
            expected_error: per_voxel(gaps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hand_made_band() {
        let reference = [false, true, true, true, false, false];
        let probability = [0.0, 0.45, 0.45, 0.55, 0.55, 0.95];
        let calibration = Calibration::new(&reference, &probability, 10).unwrap();
        let middle = calibration.band(0.4, 0.6);
        assert_eq!((middle.voxels, middle.frequency), (4, Some(0.75)));
        assert!((middle.mean_probability.unwrap() - 0.5).abs() < 1e-6);
        assert!((middle.expected_error.unwrap() - f64::midpoint(0.55, 0.05)).abs() < 1e-6);
        let nothing = calibration.band(0.1, 0.4);
        assert_eq!(
            (nothing.voxels, nothing.frequency, nothing.expected_error),
            (0, None, None)
        );
    }

    proptest! {
        #[test]
        fn the_whole_band_is_the_whole_diagram(
            voxels in proptest::collection::vec((any::<bool>(), 0.0..=1.0_f32), 1..60), bins in 1_usize..20,
        ) {
            let (reference, probability): (Vec<bool>, Vec<f32>) = voxels.into_iter().unzip();
            let calibration = Calibration::new(&reference, &probability, bins).unwrap();
            let all = calibration.band(0.0, 1.0);
            prop_assert_eq!(all.voxels, reference.len() as u64);
            prop_assert!((all.expected_error.unwrap() - calibration.expected_error.unwrap()).abs() < 1e-12);
        }
    }
}
