//! Augmentation of a normalised patch.

use crate::learn::config::PatchAugmentation;
use crate::learn::random;
use rand::{Rng, RngExt};

/// The label of a voxel of which nobody knows whether it is lesion: it counts in no loss and in no score.
pub const UNKNOWN: f32 = -1.0;

/// A training example: `image` holds FLAIR then T1 (`2 * side^3` values), `label` 0, 1 or [`UNKNOWN`] (`side^3`), x fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// FLAIR and T1, normalised over the whole head; the T1 half is zero where T1 is missing.
    pub image: Vec<f32>,
    /// 1 where there is lesion, [`UNKNOWN`] where nobody knows.
    pub label: Vec<f32>,
    /// Side in voxels.
    pub side: usize,
}

impl Patch {
    /// Whether the truth is unknown somewhere.
    #[must_use]
    pub fn has_unknown(&self) -> bool {
        self.label.iter().any(|l| *l < 0.0)
    }
}

/// The plane of a 180-degree rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// About the z axis.
    Xy,
    /// About the y axis.
    Xz,
    /// About the x axis.
    Yz,
}

/// The paper's choice of a rotation: three draws of one in four, each only if the one before failed, so xy has 1/4,
/// xz 3/16, yz 9/64 and none 27/64.
pub fn draw_rotation(rng: &mut impl Rng) -> Option<Plane> {
    [Plane::Xy, Plane::Xz, Plane::Yz]
        .into_iter()
        .find(|_| rng.random_range(0..4) == 0)
}

/// Rotates a cube of side `side` by 180 degrees, in place.
pub fn rotate(cube: &mut [f32], side: usize, plane: Plane) {
    match plane {
        // A rotation by 180 degrees reverses both axes of its plane.
        Plane::Xy => cube.chunks_exact_mut(side * side).for_each(<[f32]>::reverse),
        Plane::Xz => {
            cube.reverse();
            // All three axes are reversed now; y is turned back.
            for slice in cube.chunks_exact_mut(side * side) {
                reverse_rows(slice, side);
            }
        }
        Plane::Yz => {
            cube.reverse();
            cube.chunks_exact_mut(side).for_each(<[f32]>::reverse);
        }
    }
}

/// Reverses the order of the rows of a slice.
fn reverse_rows(slice: &mut [f32], side: usize) {
    for y in 0..side / 2 {
        let (low, high) = slice.split_at_mut((side - 1 - y) * side);
        low[y * side..(y + 1) * side].swap_with_slice(&mut high[..side]);
    }
}

/// A random rotation, a missing T1, and a small change of scale and level of each channel.
#[must_use]
pub fn vary(rng: &mut impl Rng, mut patch: Patch, config: &PatchAugmentation) -> Patch {
    let side = patch.side;
    let n = side.pow(3);
    if config.rotate
        && let Some(plane) = draw_rotation(rng)
    {
        for cube in patch.image.chunks_exact_mut(n) {
            rotate(cube, side, plane);
        }
        rotate(&mut patch.label, side, plane);
    }
    for cube in patch.image.chunks_exact_mut(n) {
        let scale = random::normal(rng, 0.0, config.scale).exp();
        let shift = random::normal(rng, 0.0, config.shift);
        // Background is exactly zero at inference and stays so.
        for v in cube.iter_mut().filter(|v| **v != 0.0) {
            *v = *v * scale + shift;
        }
    }
    if random::chance(rng, config.missing_t1) {
        patch.image[n..].fill(0.0);
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn numbered(side: usize) -> Vec<f32> {
        (0..side.pow(3)).map(|i| i as f32 + 1.0).collect()
    }

    #[test]
    fn rotations_move_every_voxel_where_they_should() {
        let n = 5;
        let at = |x: usize, y: usize, z: usize| (x + n * (y + n * z)) as f32 + 1.0;
        for (plane, turned) in [
            (Plane::Xy, [true, true, false]),
            (Plane::Xz, [true, false, true]),
            (Plane::Yz, [false, true, true]),
        ] {
            let mut cube = numbered(n);
            rotate(&mut cube, n, plane);
            for (i, v) in cube.iter().enumerate() {
                let p = [i % n, i / n % n, i / n / n];
                let q = [0, 1, 2].map(|a| if turned[a] { n - 1 - p[a] } else { p[a] });
                assert_eq!(*v, at(q[0], q[1], q[2]), "{plane:?} {p:?}");
            }
            rotate(&mut cube, n, plane);
            assert_eq!(cube, numbered(n));
        }
    }

    #[test]
    fn rotations_are_drawn_with_the_papers_probabilities() {
        let mut rng = StdRng::seed_from_u64(11);
        let n = 60_000;
        let mut counts = [0.0_f64; 4];
        for _ in 0..n {
            counts[draw_rotation(&mut rng).map_or(3, |p| p as usize)] += 1.0 / f64::from(n);
        }
        for (found, expected) in counts
            .iter()
            .zip([1.0 / 4.0, 3.0 / 16.0, 9.0 / 64.0, 27.0 / 64.0])
        {
            assert!((found - expected).abs() < 0.01, "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn label_and_image_stay_aligned(seed in any::<u64>(), side in 2_usize..7) {
            let n = side.pow(3);
            let mut rng = StdRng::seed_from_u64(seed);
            let label: Vec<f32> = (0..n).map(|_| f32::from(u8::from(rng.random_bool(0.3)))).collect();
            // FLAIR is 10 in lesions and 1 elsewhere.
            let image = label.iter().chain(&label).map(|l| 1.0 + 9.0 * l).collect();
            let patch = Patch { image, label, side };
            let config = PatchAugmentation::default();
            let make = || vary(&mut StdRng::seed_from_u64(seed ^ 1), patch.clone(), &config);
            let varied = make();
            prop_assert_eq!(&varied, &make());
            for (v, l) in varied.image.iter().zip(&varied.label) {
                prop_assert!((*v > 5.0) == (*l > 0.5));
            }
            prop_assert_eq!(varied.label.iter().sum::<f32>(), patch.label.iter().sum::<f32>());
        }
    }

    #[test]
    fn a_missing_t1_is_all_zero() {
        let patch = Patch {
            image: vec![1.0; 16],
            label: vec![0.0; 8],
            side: 2,
        };
        let config = PatchAugmentation {
            missing_t1: 1.0,
            ..PatchAugmentation::default()
        };
        let varied = vary(&mut StdRng::seed_from_u64(2), patch, &config);
        assert!(varied.image[8..].iter().all(|v| *v == 0.0));
        assert!(varied.image[..8].iter().all(|v| *v > 0.5));
    }
}
