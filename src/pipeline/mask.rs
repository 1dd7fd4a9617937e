//! From a probability to a mask and its lesions.

use serde::{Deserialize, Serialize};

use crate::volume::Volume;
use crate::volume::components::{Connectivity, Labels, label, voxels_of};

/// How a probability is cut into lesions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// Probability at and above which a voxel is lesion. A voxel of probability 0 never is.
    pub threshold: f32,
    /// Lesions smaller than this are dropped, in cubic millimetres.
    pub min_lesion_mm3: f64,
    /// Which voxels belong to one lesion.
    pub connectivity: Connectivity,
}

impl Default for Cut {
    /// 0.5, no smallest size, 18 neighbours (`method.md` 5.2 and 9.2).
    fn default() -> Self {
        Self {
            threshold: 0.5,
            min_lesion_mm3: 0.0,
            connectivity: Connectivity::Eighteen,
        }
    }
}

/// One lesion in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lesion {
    /// 1 for the largest lesion, then by falling size.
    pub id: usize,
    /// Number of voxels.
    pub voxels: usize,
    /// Volume in cubic millimetres.
    pub volume_mm3: f64,
    /// Centre of mass of the voxels, as a (fractional) voxel index.
    pub centre_voxel: [f64; 3],
    /// Centre of mass in world millimetres, RAS+.
    pub centre_mm: [f64; 3],
    /// Edge lengths in millimetres of the box around the lesion along the three voxel axes.
    pub extent_mm: [f64; 3],
    /// Mean lesion probability of its voxels.
    pub mean_probability: f64,
    /// Largest lesion probability of its voxels.
    pub max_probability: f32,
    /// Mean over its voxels of the standard deviation of the votes; `None` if the run did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_disagreement: Option<f64>,
}

/// A mask and its lesions.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// 1 where there is lesion, else 0; one value per voxel, x fastest.
    pub voxels: Vec<u8>,
    /// The lesions, largest first.
    pub lesions: Vec<Lesion>,
    /// Volume of all lesions together, in millilitres.
    pub load_ml: f64,
}

/// Cuts a lesion probability into a mask: threshold, connected components, smallest size.
///
/// Fast enough to follow a slider: linear in the voxels, some tens of milliseconds for a 1 mm head.
#[must_use]
pub fn cut(probability: &Volume, cut: &Cut) -> Mask {
    cut_with(probability, None, cut)
}

/// As [`cut`], with how much the votes of every voxel disagree (their standard deviation) for the lesions' means.
#[must_use]
pub fn cut_with(probability: &Volume, disagreement: Option<&[f32]>, cut: &Cut) -> Mask {
    let data = &probability.data;
    let above: Vec<bool> = data.iter().map(|&p| p > 0.0 && p >= cut.threshold).collect();
    let least = voxels_of(cut.min_lesion_mm3, probability.grid.voxel_volume());
    made(probability, disagreement, above, least, cut.connectivity)
}

/// A mask as a person drew it, in lesions: one value a voxel of the probability's grid, 0 where there is no lesion.
/// However small, what was drawn is kept.
#[must_use]
pub fn of_voxels(
    probability: &Volume,
    disagreement: Option<&[f32]>,
    drawn: &[u8],
    connectivity: Connectivity,
) -> Mask {
    let drawn = drawn.iter().map(|&voxel| voxel != 0).collect();
    made(probability, disagreement, drawn, 1, connectivity)
}

/// The components of at least `min_voxels` voxels.
fn made(
    probability: &Volume,
    disagreement: Option<&[f32]>,
    above: Vec<bool>,
    min_voxels: usize,
    connectivity: Connectivity,
) -> Mask {
    let Volume { grid, data } = probability;
    let found = label(&above, grid.shape, connectivity);
    drop(above);
    let voxel = grid.voxel_volume();
    let mut voxels = vec![0_u8; data.len()];
    let lesions = measure(&found, probability, disagreement, min_voxels, |index| {
        voxels[index] = 1;
    });
    let total: usize = lesions.iter().map(|lesion| lesion.voxels).sum();
    Mask {
        voxels,
        lesions,
        load_ml: total as f64 * voxel / 1000.0,
    }
}

/// The components of at least `min_voxels` voxels as lesions, largest first; `inside` is told the index of every voxel
/// of theirs.
pub(super) fn measure(
    found: &Labels,
    probability: &Volume,
    disagreement: Option<&[f32]>,
    min_voxels: usize,
    mut inside: impl FnMut(usize),
) -> Vec<Lesion> {
    let Volume { grid, data } = probability;
    let mut tallies: Vec<Option<Tally>> = found
        .sizes
        .iter()
        .map(|&voxels| (voxels >= min_voxels).then(Tally::default))
        .collect();
    let [nx, ny, _] = grid.shape;
    let rows = found.labels.chunks(nx.max(1)).zip(data.chunks(nx.max(1)));
    for (row, (labels, values)) in rows.enumerate() {
        for (x, (&id, &p)) in labels.iter().zip(values).enumerate() {
            if id != 0
                && let Some(tally) = &mut tallies[id as usize - 1]
            {
                let index = row * nx + x;
                let apart = disagreement.and_then(|values| values.get(index));
                tally.add([x, row % ny, row / ny], p, apart.copied().unwrap_or(0.0));
                inside(index);
            }
        }
    }

    let (spacing, voxel) = (grid.spacing(), grid.voxel_volume());
    let mut lesions: Vec<Lesion> = tallies
        .into_iter()
        .flatten()
        .map(|tally| {
            let n = tally.voxels as f64;
            let centre_voxel = tally.sum.map(|sum| sum / n);
            Lesion {
                id: 0,
                voxels: tally.voxels,
                volume_mm3: n * voxel,
                centre_voxel,
                centre_mm: grid.world(centre_voxel),
                extent_mm: [0, 1, 2].map(|a| (tally.last[a] + 1 - tally.first[a]) as f64 * spacing[a]),
                mean_probability: tally.probability / n,
                max_probability: tally.top,
                mean_disagreement: disagreement.map(|_| tally.disagreement / n),
            }
        })
        .collect();
    // Stable, so lesions of one size keep the order in which the volume is scanned.
    lesions.sort_by_key(|lesion| std::cmp::Reverse(lesion.voxels));
    for (i, lesion) in lesions.iter_mut().enumerate() {
        lesion.id = i + 1;
    }
    lesions
}

/// What is counted of one lesion in a single pass.
struct Tally {
    voxels: usize,
    /// In f64, since indices of a large component overflow the 32 bits of a browser's `usize`.
    sum: [f64; 3],
    first: [usize; 3],
    last: [usize; 3],
    probability: f64,
    top: f32,
    disagreement: f64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            voxels: 0,
            sum: [0.0; 3],
            first: [usize::MAX; 3],
            last: [0; 3],
            probability: 0.0,
            top: 0.0,
            disagreement: 0.0,
        }
    }
}

impl Tally {
    fn add(&mut self, at: [usize; 3], p: f32, disagreement: f32) {
        self.voxels += 1;
        for (axis, index) in at.into_iter().enumerate() {
            self.sum[axis] += index as f64;
            self.first[axis] = self.first[axis].min(index);
            self.last[axis] = self.last[axis].max(index);
        }
        self.probability += f64::from(p);
        self.top = self.top.max(p);
        self.disagreement += f64::from(disagreement);
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{Matrix4, Vector3};
    use proptest::prelude::*;

    use super::*;
    use crate::volume::Grid;

    /// A 10 x 9 x 8 grid of 1 x 2 x 3 mm voxels whose x axis points to the left.
    fn volume(set: &[([usize; 3], f32)]) -> Volume {
        let mut affine = Matrix4::new_nonuniform_scaling(&Vector3::new(-1.0, 2.0, 3.0));
        affine[(0, 3)] = 40.0;
        affine[(1, 3)] = -5.0;
        let grid = Grid {
            shape: [10, 9, 8],
            affine,
        };
        let mut data = vec![0.0; grid.len()];
        for ([x, y, z], p) in set {
            data[x + 10 * (y + 9 * z)] = *p;
        }
        Volume { grid, data }
    }

    fn at(threshold: f32, min_lesion_mm3: f64) -> Cut {
        Cut {
            threshold,
            min_lesion_mm3,
            ..Cut::default()
        }
    }

    #[test]
    fn lesions_are_measured() {
        let scan = volume(&[
            ([1, 1, 1], 0.6),
            // Joined to each other by an edge, to the first only by nothing.
            ([5, 5, 5], 0.5),
            ([6, 6, 5], 1.0),
            ([6, 7, 5], 0.75),
            ([9, 8, 7], 0.4999),
        ]);
        let mask = cut(&scan, &Cut::default());
        assert_eq!(mask.voxels.iter().map(|&v| usize::from(v)).sum::<usize>(), 4);
        assert!(
            (mask.load_ml - 0.024).abs() < 1e-12,
            "4 voxels of 6 mm3: {}",
            mask.load_ml
        );
        let [large, small] = &mask.lesions[..] else {
            panic!("{:?}", mask.lesions)
        };
        assert_eq!((large.id, large.voxels, small.id, small.voxels), (1, 3, 2, 1));
        assert!((large.volume_mm3 - 18.0).abs() < 1e-12);
        for (got, expected) in large.centre_voxel.iter().zip([17.0 / 3.0, 6.0, 5.0]) {
            assert!((got - expected).abs() < 1e-12);
        }
        for (got, expected) in large.centre_mm.iter().zip([40.0 - 17.0 / 3.0, 7.0, 15.0]) {
            assert!((got - expected).abs() < 1e-12);
        }
        for (got, expected) in large.extent_mm.iter().zip([2.0, 6.0, 3.0]) {
            assert!((got - expected).abs() < 1e-12);
        }
        assert!((large.mean_probability - 0.75).abs() < 1e-7);
        assert_eq!(large.max_probability, 1.0);
        assert_eq!(small.centre_voxel, [1.0, 1.0, 1.0]);
    }

    #[test]
    fn disagreement_is_the_mean_of_a_lesions_voxels() {
        let scan = volume(&[([1, 1, 1], 0.6), ([2, 1, 1], 0.9), ([8, 8, 7], 0.7)]);
        let mut apart = vec![9.0; scan.data.len()];
        for ([x, y, z], value) in [([1, 1, 1], 0.25), ([2, 1, 1], 0.5), ([8, 8, 7], 0.0)] {
            apart[x + 10 * (y + 9 * z)] = value;
        }
        let found = cut_with(&scan, Some(&apart), &Cut::default());
        let means: Vec<_> = found.lesions.iter().map(|l| l.mean_disagreement).collect();
        assert_eq!(means, [Some(0.375), Some(0.0)]);
        assert_eq!(cut(&scan, &Cut::default()).lesions[0].mean_disagreement, None);
    }

    #[test]
    fn threshold_and_size_include_their_own_value() {
        let scan = volume(&[([1, 1, 1], 0.3), ([5, 5, 5], 0.9), ([5, 5, 6], 0.9)]);
        let count = |threshold, size| cut(&scan, &at(threshold, size)).lesions.len();
        assert_eq!(
            [
                count(0.3, 0.0),
                count(0.3001, 0.0),
                count(0.9, 0.0),
                count(0.91, 0.0)
            ],
            [2, 1, 1, 0]
        );
        assert_eq!(
            [
                count(0.1, 6.0),
                count(0.1, 6.1),
                count(0.1, 12.0),
                count(0.1, 12.1)
            ],
            [2, 1, 1, 0]
        );
    }

    #[test]
    fn a_size_is_not_lost_to_the_rounding_of_an_affine() {
        let mut scan = volume(&[([1, 1, 1], 0.9)]);
        scan.grid.affine[(0, 0)] = -0.999_999_94;
        assert_eq!(cut(&scan, &at(0.5, 6.0)).lesions.len(), 1);
    }

    #[test]
    fn a_voxel_of_probability_zero_is_never_lesion() {
        let scan = volume(&[([1, 1, 1], 1e-6)]);
        assert_eq!(cut(&scan, &at(0.0, 0.0)).lesions[0].voxels, 1);
        assert!(cut(&scan, &at(0.0, 6.1)).voxels.iter().all(|&v| v == 0));
        let mut broken = scan;
        broken.data[0] = f32::NAN;
        assert_eq!(
            cut(&broken, &at(0.0, 0.0)).lesions.len(),
            1,
            "what is no number is no lesion"
        );
    }

    proptest! {
        /// A higher threshold or size only ever takes voxels away, and the table adds up to the mask.
        #[test]
        fn cuts_are_nested_and_add_up(
            data in prop::collection::vec(0.0_f32..1.0, 720),
            low in 0.0_f32..1.0,
            step in 0.0_f32..0.5,
            size in 0.0_f64..60.0,
        ) {
            let scan = Volume { data, ..volume(&[]) };
            let all = cut(&scan, &at(low, 0.0));
            let large = cut(&scan, &at(low, size));
            let high = cut(&scan, &at(low + step, 0.0));
            for fewer in [&large, &high] {
                prop_assert!(fewer.voxels.iter().zip(&all.voxels).all(|(a, b)| a <= b));
                prop_assert!(fewer.load_ml <= all.load_ml);
            }
            for mask in [&all, &large, &high] {
                let voxels: usize = mask.voxels.iter().map(|&v| usize::from(v)).sum();
                prop_assert_eq!(mask.lesions.iter().map(|l| l.voxels).sum::<usize>(), voxels);
                prop_assert!((mask.load_ml - voxels as f64 * 0.006).abs() < 1e-9);
                prop_assert!(mask.lesions.windows(2).all(|w| w[0].voxels >= w[1].voxels));
                prop_assert!(mask.lesions.iter().enumerate().all(|(i, l)| l.id == i + 1));
            }
            prop_assert!(large.lesions.iter().all(|l| l.volume_mm3 >= size * 0.999_999));
        }
    }
}
