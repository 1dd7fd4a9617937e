//! Lesion-wise scores of the ISBI 2015 challenge.

use serde::{Deserialize, Serialize};

use super::{MetricsError, ratio};
use crate::volume::components::{Connectivity, label};

/// How many lesions were met, where a lesion is a connected component and one common voxel is a meeting.
///
/// Definitions of Carass et al., NeuroImage 148 (2017): lesions are the 18-connected components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsbiLesions {
    /// Lesions of the reference.
    pub reference: usize,
    /// Lesions of the reference that share a voxel with the automatic mask.
    pub detected: usize,
    /// Lesions of the automatic mask.
    pub automatic: usize,
    /// Lesions of the automatic mask that share no voxel with the reference.
    pub spurious: usize,
}

impl IsbiLesions {
    /// Counts the lesions of two masks of the shape `shape`, x fastest.
    ///
    /// # Errors
    /// [`MetricsError::Length`] if a mask has another number of voxels than the shape.
    pub fn new(
        reference: &[bool],
        automatic: &[bool],
        shape: [usize; 3],
        connectivity: Connectivity,
    ) -> Result<Self, MetricsError> {
        let voxels = shape.iter().product();
        MetricsError::check_length("reference", voxels, reference.len())?;
        MetricsError::check_length("automatic mask", voxels, automatic.len())?;
        let (lesions, detected) = lesions_met(reference, automatic, shape, connectivity);
        let (automatic, real) = lesions_met(automatic, reference, shape, connectivity);
        Ok(Self {
            reference: lesions,
            detected,
            automatic,
            spurious: automatic - real,
        })
    }

    /// Lesion-wise true positive rate, LTPR: detected / lesions of the reference.
    #[must_use]
    pub fn ltpr(&self) -> Option<f64> {
        ratio(self.detected as f64, self.reference as f64)
    }

    /// Lesion-wise false positive rate, LFPR: spurious / lesions of the automatic mask (strictly a false
    /// discovery rate; the name is the challenge's).
    #[must_use]
    pub fn lfpr(&self) -> Option<f64> {
        ratio(self.spurious as f64, self.automatic as f64)
    }
}

/// Number of components of `mask`, and how many of them share a voxel with `other`.
fn lesions_met(
    mask: &[bool],
    other: &[bool],
    shape: [usize; 3],
    connectivity: Connectivity,
) -> (usize, usize) {
    let found = label(mask, shape, connectivity);
    let mut met = vec![false; found.count() + 1];
    for (&id, &inside) in found.labels.iter().zip(other) {
        met[id as usize] |= inside;
    }
    (found.count(), met[1..].iter().filter(|&&met| met).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A mask in one dimension, '#' for lesion.
    fn row(text: &str) -> Vec<bool> {
        text.bytes().map(|byte| byte == b'#').collect()
    }

    #[test]
    fn a_hand_made_row() {
        let reference = row("##.#.###..#.");
        let automatic = row("#..#.#.#..##");
        let lesions = IsbiLesions::new(&reference, &automatic, [12, 1, 1], Connectivity::Eighteen).unwrap();
        assert_eq!(
            lesions,
            IsbiLesions {
                reference: 4,
                detected: 4,
                automatic: 5,
                spurious: 0
            }
        );
        let automatic = row("..#.#......#");
        let lesions = IsbiLesions::new(&reference, &automatic, [12, 1, 1], Connectivity::Eighteen).unwrap();
        assert_eq!(
            lesions,
            IsbiLesions {
                reference: 4,
                detected: 0,
                automatic: 3,
                spurious: 3
            }
        );
        assert_eq!((lesions.ltpr(), lesions.lfpr()), (Some(0.0), Some(1.0)));
    }

    #[test]
    fn connectivity_decides_what_one_lesion_is() {
        // Two voxels that share an edge; only one of them is found.
        let (reference, automatic) = ([true, false, false, true], [true, false, false, false]);
        let rate = |connectivity| {
            IsbiLesions::new(&reference, &automatic, [2, 2, 1], connectivity)
                .unwrap()
                .ltpr()
        };
        assert_eq!(rate(Connectivity::Six), Some(0.5));
        assert_eq!(rate(Connectivity::Eighteen), Some(1.0));
    }

    #[test]
    fn no_lesions_no_rates() {
        let none = IsbiLesions::new(&[false; 6], &[false; 6], [3, 2, 1], Connectivity::Eighteen).unwrap();
        assert_eq!((none.ltpr(), none.lfpr()), (None, None));
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let error = IsbiLesions::new(&[false; 6], &[false; 5], [3, 2, 1], Connectivity::Six).unwrap_err();
        assert_eq!(
            error,
            MetricsError::Length {
                what: "automatic mask",
                expected: 6,
                found: 5
            }
        );
    }

    proptest! {
        #[test]
        fn exchanging_the_masks_turns_hits_into_what_is_not_spurious(
            voxels in proptest::collection::vec((proptest::bool::weighted(0.2), proptest::bool::weighted(0.2)), 120),
        ) {
            let (reference, automatic): (Vec<bool>, Vec<bool>) = voxels.into_iter().unzip();
            let score = |r: &[bool], a: &[bool]| {
                IsbiLesions::new(r, a, [6, 5, 4], Connectivity::Eighteen).unwrap()
            };
            let (one, other) = (score(&reference, &automatic), score(&automatic, &reference));
            prop_assert_eq!(one.detected, other.automatic - other.spurious);
            prop_assert_eq!(one.automatic - one.spurious, other.detected);
            prop_assert!(one.detected <= one.reference && one.spurious <= one.automatic);
            let same = score(&reference, &reference);
            prop_assert_eq!((same.detected, same.spurious), (same.reference, 0));
        }
    }
}
