//! A result beside a reference mask: scores, which lesion is right, and where the two differ.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::mask::measure;
use super::prepare::LEAST_FIELD_COVERAGE;
use super::{Cut, Lesion, Mask};
use crate::metrics::{Evaluation, MetricsError, Pair, Ranking, Settings};
use crate::volume::components::label;
use crate::volume::resample::{Interpolation, coverage, resample};
use crate::volume::{Grid, Volume, VolumeError};

/// A mask has at most this many different values.
const MOST_LABELS: usize = 16;

/// Why a reference cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// An image, not a mask.
    #[error(
        "This is no mask: it has {found} different values or more, some of them not whole. A reference has 0 where there \
         is no lesion and another whole number where there is; threshold a probability map first."
    )]
    NotAMask {
        /// Different values seen before giving up.
        found: usize,
    },
    /// A mask of something else.
    #[error(
        "The reference covers only {:.0} % of the FLAIR's field of view: the two do not lie in one space. Check that both \
         are of the same person and visit, or bring the mask into the FLAIR's space first.",
        .coverage * 100.0
    )]
    Apart {
        /// Share of the FLAIR inside the mask's field of view, 0 to 1.
        coverage: f64,
    },
    /// The grids cannot be brought together.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The two cannot be scored.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// A reference mask on the grid of the scan.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Lesion or not, one value per voxel of the scan, x fastest.
    pub voxels: Vec<bool>,
    /// Things a person should know about it, one sentence each.
    pub notes: Vec<String>,
}

impl Reference {
    /// Takes a mask over onto the grid of the scan: every value above 0 is lesion. A mask on another grid is resampled
    /// by the affines, each voxel taking the value of the nearest.
    ///
    /// # Errors
    /// [`CompareError::NotAMask`], [`CompareError::Apart`], [`VolumeError::SingularGrid`].
    pub fn on(grid: &Grid, mask: &Volume) -> Result<Self, CompareError> {
        let labels = labels(&mask.data)?;
        let mut notes = Vec::new();
        if labels > 2 {
            notes.push(format!(
                "The reference has {labels} different values; every voxel above 0 counts as lesion."
            ));
        }
        let lesion = |volume: &Volume| volume.data.iter().map(|&value| value > 0.0).collect();
        let voxels: Vec<bool> = if grid.is_same(&mask.grid) {
            lesion(mask)
        } else {
            let coverage = coverage(grid, &mask.grid)?;
            if coverage < LEAST_FIELD_COVERAGE {
                return Err(CompareError::Apart { coverage });
            }
            let moved = resample(mask, grid, Interpolation::Nearest, 0.0)?;
            let voxels: Vec<bool> = lesion(&moved);
            let before: Vec<bool> = lesion(mask);
            notes.push(format!(
                "The reference lies on another grid and was resampled onto the FLAIR's by the affines (nearest voxel): \
                 {:.2} mL before, {:.2} mL after.",
                millilitres(&before, &mask.grid),
                millilitres(&voxels, grid)
            ));
            voxels
        };
        if !voxels.contains(&true) {
            notes.push(
                "The reference marks no lesion here. Scores that divide by its lesions have no value."
                    .to_owned(),
            );
        }
        Ok(Self { voxels, notes })
    }
}

fn millilitres(mask: &[bool], grid: &Grid) -> f64 {
    mask.iter().filter(|&&lesion| lesion).count() as f64 * grid.voxel_volume() / 1000.0
}

/// Number of different values of a mask.
fn labels(values: &[f32]) -> Result<usize, CompareError> {
    let mut distinct = BTreeSet::new();
    let mut previous = f32::NAN;
    for &value in values {
        // Masks are long runs of one value: most voxels need no look-up.
        if value == previous {
            continue;
        }
        previous = value;
        distinct.insert(value.to_bits());
        // Two values are a mask whatever they are; a scaled one is 0 and 1/255, say.
        let whole = || distinct.iter().all(|&bits| f32::from_bits(bits).fract() == 0.0);
        if distinct.len() > MOST_LABELS || (distinct.len() > 2 && !whole()) {
            return Err(CompareError::NotAMask {
                found: distinct.len(),
            });
        }
    }
    Ok(distinct.len())
}

/// What a lesion is beside the reference, by the rule of LTPR and LFPR: one common voxel is a meeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Of the automatic mask, and meets the reference.
    #[serde(rename = "TP")]
    TruePositive,
    /// Of the automatic mask, and meets no lesion of the reference.
    #[serde(rename = "FP")]
    FalsePositive,
    /// Of the reference, and met by nothing.
    #[serde(rename = "FN")]
    FalseNegative,
}

impl Verdict {
    /// Its two letters.
    #[must_use]
    pub fn letters(self) -> &'static str {
        match self {
            Self::TruePositive => "TP",
            Self::FalsePositive => "FP",
            Self::FalseNegative => "FN",
        }
    }
}

/// A mask beside its reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Every score.
    pub evaluation: Evaluation,
    /// For each lesion of the mask, in its order, what it is.
    pub verdicts: Vec<Verdict>,
    /// The lesions of the reference that the mask misses, numbered by size among all of the reference's; the
    /// probabilities are the network's there.
    pub missed: Vec<Lesion>,
}

/// Codes of [`overlay`]: the two agree, the mask alone, the reference alone.
pub const OVERLAY: [u8; 3] = [1, 2, 3];

/// A reference and a probability map, ready to be compared at one threshold after another.
#[derive(Clone, Debug)]
pub struct Comparer {
    ranking: Ranking,
}

impl Comparer {
    /// Orders the voxels once.
    ///
    /// # Errors
    /// [`MetricsError`] if the two do not lie on one grid or the map holds no probabilities.
    pub fn new(probability: &Volume, reference: &Reference) -> Result<Self, CompareError> {
        let bins = Settings::default().calibration_bins;
        let ranking = Ranking::new(&pair(probability, reference), bins)?;
        Ok(Self { ranking })
    }

    /// Compares the mask that `cut` made of the probability with the reference. `disagreement` is the standard deviation of
    /// every voxel's votes, if there is one.
    ///
    /// # Errors
    /// [`MetricsError`] if a setting is out of range.
    pub fn compare(
        &self,
        probability: &Volume,
        disagreement: Option<&[f32]>,
        mask: &Mask,
        cut: &Cut,
        reference: &Reference,
    ) -> Result<Comparison, CompareError> {
        let settings = Settings {
            threshold: cut.threshold,
            min_lesion_mm3: cut.min_lesion_mm3,
            connectivity: cut.connectivity,
            ..Settings::default()
        };
        let evaluation = self.ranking.evaluate(&pair(probability, reference), &settings)?;
        let automatic: Vec<bool> = mask.voxels.iter().map(|&voxel| voxel != 0).collect();
        let verdicts = met(&automatic, &reference.voxels, (probability, disagreement), cut)
            .into_iter()
            .map(|(_, met)| {
                if met {
                    Verdict::TruePositive
                } else {
                    Verdict::FalsePositive
                }
            })
            .collect();
        let missed = met(&reference.voxels, &automatic, (probability, disagreement), cut)
            .into_iter()
            .filter(|(_, met)| !met)
            .map(|(lesion, _)| lesion)
            .collect();
        Ok(Comparison {
            evaluation,
            verdicts,
            missed,
        })
    }
}

fn pair<'a>(probability: &'a Volume, reference: &'a Reference) -> Pair<'a> {
    Pair {
        reference: &reference.voxels,
        probability: &probability.data,
        shape: probability.grid.shape,
        voxel_volume_mm3: probability.grid.voxel_volume(),
    }
}

/// The lesions of a mask, largest first, and whether each shares a voxel with another mask.
fn met(
    mask: &[bool],
    other: &[bool],
    (probability, disagreement): (&Volume, Option<&[f32]>),
    cut: &Cut,
) -> Vec<(Lesion, bool)> {
    let found = label(mask, probability.grid.shape, cut.connectivity);
    let mut touched = vec![false; found.count() + 1];
    for (&id, &inside) in found.labels.iter().zip(other) {
        touched[id as usize] |= inside;
    }
    // `measure` sorts by falling size and keeps the order of a scan among equals: so must this.
    let mut order: Vec<usize> = (1..=found.count()).collect();
    order.sort_by_key(|&id| std::cmp::Reverse(found.sizes[id - 1]));
    let lesions = measure(&found, probability, disagreement, 0, |_| {});
    let touched = order.into_iter().map(|id| touched[id]);
    lesions.into_iter().zip(touched).collect()
}

/// Where mask and reference agree and differ, one [`OVERLAY`] code per voxel and 0 where neither marks anything.
#[must_use]
pub fn overlay(mask: &[u8], reference: &[bool]) -> Vec<u8> {
    let [both, mask_only, reference_only] = OVERLAY;
    let code = |(&mask, &reference): (&u8, &bool)| match (mask != 0, reference) {
        (true, true) => both,
        (true, false) => mask_only,
        (false, true) => reference_only,
        (false, false) => 0,
    };
    mask.iter().zip(reference).map(code).collect()
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::evaluate;
    use crate::pipeline::mask::cut;
    use crate::volume::components::Connectivity;

    fn grid(shape: [usize; 3], shift_mm: f64) -> Grid {
        let mut affine = Matrix4::identity();
        affine[(0, 3)] = shift_mm;
        Grid { shape, affine }
    }

    fn row(values: &[f32]) -> Volume {
        Volume {
            grid: grid([values.len(), 1, 1], 0.0),
            data: values.to_vec(),
        }
    }

    #[test]
    fn a_mask_is_told_from_an_image() {
        let on = |values: &[f32]| Reference::on(&row(values).grid, &row(values));
        assert_eq!(on(&[0.0, 1.0, 1.0]).unwrap().voxels, [false, true, true]);
        assert_eq!(on(&[0.0, 1.0 / 255.0]).unwrap().voxels, [false, true]);
        let labelled = on(&[0.0, 1.0, 2.0, 5.0]).unwrap();
        assert!(
            labelled.notes[0].contains("4 different values"),
            "{:?}",
            labelled.notes
        );
        assert!(on(&[0.0; 4]).unwrap().notes[0].contains("no lesion"));
        assert_eq!(on(&[0.0, 0.25, 1.0]), Err(CompareError::NotAMask { found: 3 }));
        let scan: Vec<f32> = (0..40_u8).map(f32::from).collect();
        assert!(matches!(on(&scan), Err(CompareError::NotAMask { .. })));
    }

    #[test]
    fn another_grid_is_resampled_and_another_place_refused() {
        let target = grid([8, 8, 8], 0.0);
        // Voxels of twice the size, the first octant lesion.
        let mut coarse = grid([4, 4, 4], 0.5);
        coarse.affine = Matrix4::new_scaling(2.0);
        coarse.affine[(3, 3)] = 1.0;
        for axis in 0..3 {
            coarse.affine[(axis, 3)] = 0.5;
        }
        let mut data = vec![0.0; 64];
        data[0] = 1.0;
        let reference = Reference::on(&target, &Volume { grid: coarse, data }).unwrap();
        assert_eq!(reference.voxels.iter().filter(|&&lesion| lesion).count(), 8);
        assert!(
            reference.notes[0].contains("0.01 mL before, 0.01 mL after"),
            "{:?}",
            reference.notes
        );
        let apart = Volume {
            grid: grid([8, 8, 8], 500.0),
            data: (0..512_u16).map(|i| f32::from(i % 2)).collect(),
        };
        let problem = Reference::on(&target, &apart).unwrap_err();
        assert!(problem.to_string().contains("only 0 %"), "{problem}");
    }

    #[test]
    fn a_hand_made_comparison() {
        let probability = row(&[0.9, 0.8, 0.0, 0.6, 0.0, 0.2, 0.1, 0.0, 0.7]);
        let reference = Reference {
            voxels: [1, 0, 0, 0, 0, 1, 1, 0, 1].map(|v| v == 1).to_vec(),
            notes: Vec::new(),
        };
        let how = Cut::default();
        let mask = cut(&probability, &how);
        let found = Comparer::new(&probability, &reference)
            .unwrap()
            .compare(&probability, None, &mask, &how, &reference)
            .unwrap();
        // By size: the pair at 0, then the voxels at 3 and 8.
        use Verdict::{FalsePositive, TruePositive};
        assert_eq!(found.verdicts, [TruePositive, FalsePositive, TruePositive]);
        assert_eq!(found.missed.len(), 1);
        assert_eq!((found.missed[0].voxels, found.missed[0].id), (2, 1));
        assert!((found.missed[0].mean_probability - 0.15).abs() < 1e-7);
        assert_eq!(
            overlay(&mask.voxels, &reference.voxels),
            [1, 2, 0, 2, 0, 3, 3, 0, 1]
        );
    }

    proptest! {
        /// What the page shows is what `lab evaluate` prints, and the table counts what the scores count.
        #[test]
        fn one_piece_of_logic(
            voxels in prop::collection::vec((0.0_f32..1.0, prop::bool::weighted(0.3)), 210),
            threshold in 0.0_f32..1.0,
            min_lesion_mm3 in 0.0_f64..5.0,
            connectivity in prop::sample::select(vec![Connectivity::Six, Connectivity::Eighteen, Connectivity::TwentySix]),
        ) {
            let (data, reference): (Vec<f32>, Vec<bool>) = voxels.into_iter().unzip();
            let probability = Volume { grid: grid([7, 6, 5], 3.0), data };
            let reference = Reference { voxels: reference, notes: Vec::new() };
            let how = Cut { threshold, min_lesion_mm3, connectivity };
            let mask = cut(&probability, &how);
            let comparer = Comparer::new(&probability, &reference).unwrap();
            let found = comparer.compare(&probability, None, &mask, &how, &reference).unwrap();
            let settings = Settings { threshold, min_lesion_mm3, connectivity, ..Settings::default() };
            let expected = evaluate(&reference.voxels, &probability.data, [7, 6, 5], 1.0, &settings).unwrap();
            prop_assert_eq!(&found.evaluation, &expected);
            let right = found.verdicts.iter().filter(|v| **v == Verdict::TruePositive).count();
            prop_assert_eq!(found.verdicts.len(), mask.lesions.len());
            prop_assert_eq!(mask.lesions.len(), expected.isbi.automatic);
            prop_assert_eq!(mask.lesions.len() - right, expected.isbi.spurious);
            prop_assert_eq!(found.missed.len(), expected.isbi.reference - expected.isbi.detected);
            let codes = overlay(&mask.voxels, &reference.voxels);
            let count = |code| codes.iter().filter(|c| **c == code).count() as u64;
            let counts = OVERLAY.map(count);
            let voxels = expected.voxels;
            prop_assert_eq!(counts, [voxels.true_positives, voxels.false_positives, voxels.false_negatives]);
        }
    }
}
