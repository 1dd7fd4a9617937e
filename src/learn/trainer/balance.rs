//! Small lesions count as much as large ones.
//!
//! A loss over voxels hardly sees a lesion of 10 mm3 beside one of 10 mL. Shirokikh et al. 2020 (Universal loss reweighting to balance
//! lesion size inequality in 3D medical segmentation) weigh a lesion's voxels by the inverse of its size; here a power of that, within bounds.

use crate::volume::components::{Connectivity, label};

/// Lesions of this many voxels of 1 mm and more count once.
const LARGE: f64 = 500.0;

/// The most that a voxel counts.
const MOST: f64 = 10.0;

/// How many times a voxel of each lesion counts: `(500 mm3 / its size) ^ power`, from 1 to 10; 1 elsewhere. `labels` are those of a patch of side
/// `side`, x fastest; the size of a lesion that the patch's border cuts is not known, so its voxels count once.
pub(super) fn lesion_weights(labels: &[f32], side: usize, power: f64) -> Vec<f32> {
    let lesion: Vec<bool> = labels.iter().map(|l| *l > 0.5).collect();
    if !lesion.contains(&true) {
        return vec![1.0; labels.len()];
    }
    let found = label(&lesion, [side; 3], Connectivity::TwentySix);
    let weight = |size: usize| (LARGE / size as f64).powf(power).clamp(1.0, MOST) as f32;
    let mut weights: Vec<f32> = found.sizes.iter().map(|size| weight(*size)).collect();
    let edge = |v: usize| v == 0 || v + 1 == side;
    for (i, component) in found.labels.iter().enumerate() {
        let at = [i % side, i / side % side, i / side / side];
        if *component > 0 && at.into_iter().any(edge) {
            weights[*component as usize - 1] = 1.0;
        }
    }
    found
        .labels
        .iter()
        .map(|component| match component {
            0 => 1.0,
            some => weights[*some as usize - 1],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::augment::patch::UNKNOWN;

    /// A cube of lesion voxels.
    fn add(labels: &mut [f32], side: usize, from: [usize; 3], length: usize) {
        for z in from[2]..from[2] + length {
            for y in from[1]..from[1] + length {
                for x in from[0]..from[0] + length {
                    labels[x + side * (y + side * z)] = 1.0;
                }
            }
        }
    }

    #[test]
    fn the_smaller_a_lesion_the_more_its_voxels_count() {
        let side = 20;
        let mut labels = vec![0.0; side * side * side];
        add(&mut labels, side, [1, 1, 1], 1);
        add(&mut labels, side, [4, 4, 4], 5);
        add(&mut labels, side, [10, 10, 10], 9);
        // Cut by the border: 8 voxels here, nobody knows how many in all.
        add(&mut labels, side, [0, 17, 17], 2);
        labels[side - 1] = UNKNOWN;
        let weights = lesion_weights(&labels, side, 0.5);
        let at = |x: usize, y: usize, z: usize| weights[x + side * (y + side * z)];
        assert_eq!(at(1, 1, 1), 10.0, "500 voxels to one, bounded");
        assert!((at(5, 5, 5) - 2.0).abs() < 1e-6, "500 voxels to 125");
        assert_eq!((at(12, 12, 12), at(0, 17, 17), at(3, 3, 3)), (1.0, 1.0, 1.0));
        assert_eq!(weights[side - 1], 1.0);
        assert!(lesion_weights(&labels, side, 0.0).iter().all(|w| *w == 1.0));
    }
}
