//! Patches cut out of a head that is turned, stretched and mirrored, without moving the head.

use super::patch::Patch;
use crate::learn::case::View;
use crate::learn::random;
use rand::Rng;

/// How far a pose may differ from none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Poses {
    /// Probability of a left-right mirror image.
    pub mirror: f64,
    /// Probability of a turn and a change of size. The rest keep their voxels, and so their sharpness.
    pub turn: f64,
    /// Largest rotation about each axis in degrees.
    pub rotation: f32,
    /// Largest relative change of size along each axis.
    pub scale: f32,
}

impl Default for Poses {
    fn default() -> Self {
        Self {
            mirror: 0.5,
            turn: 0.5,
            rotation: 10.0,
            scale: 0.1,
        }
    }
}

/// A linear map from steps in the patch to steps in the head, columns by patch axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose(pub [[f32; 3]; 3]);

impl Pose {
    /// The head as it is.
    pub const NONE: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);

    /// Draws a pose.
    pub fn draw(rng: &mut impl Rng, poses: &Poses) -> Self {
        let mut pose = Self::NONE;
        if random::chance(rng, poses.turn) {
            for (plane, [a, b]) in [[0, 1], [0, 2], [1, 2]].into_iter().enumerate() {
                let angle = random::within(rng, poses.rotation).to_radians();
                let (sin, cos) = angle.sin_cos();
                for column in &mut pose.0 {
                    let (u, v) = (column[a], column[b]);
                    (column[a], column[b]) = (cos * u - sin * v, sin * u + cos * v);
                }
                let factor = 1.0 + random::within(rng, poses.scale);
                pose.0[plane].iter_mut().for_each(|v| *v *= factor);
            }
        }
        if random::chance(rng, poses.mirror) {
            pose.0[0].iter_mut().for_each(|v| *v = -*v);
        }
        pose
    }
}

/// Cuts a patch about the centre of the cube that starts at `origin`: images linearly interpolated, zero beyond the head's
/// border, labels by the nearest voxel.
#[must_use]
pub fn cut(case: View<'_>, origin: [isize; 3], side: usize, pose: Pose) -> Patch {
    let n = side.pow(3);
    let mut patch = Patch {
        image: vec![0.0; 2 * n],
        label: vec![0.0; n],
        side,
    };
    let middle = (side as f32 - 1.0) / 2.0;
    let centre = origin.map(|o| o as f32 + middle);
    let [nx, ny, _] = case.shape;
    let (flair, t1) = patch.image.split_at_mut(n);
    let inside = |at: [isize; 3]| (0..3).all(|a| at[a] >= 0 && (at[a] as usize) < case.shape[a]);
    let index = |at: [isize; 3]| at[0] as usize + nx * (at[1] as usize + ny * at[2] as usize);
    for i in 0..n {
        let step = [i % side, i / side % side, i / side / side].map(|v| v as f32 - middle);
        let at = [0, 1, 2].map(|a| centre[a] + (0..3).map(|c| pose.0[c][a] * step[c]).sum::<f32>());
        let nearest = at.map(|v| v.round() as isize);
        if inside(nearest) {
            patch.label[i] = f32::from(u8::from(case.lesions[index(nearest)]));
        }
        let low = at.map(|v| v.floor() as isize);
        let part = [0, 1, 2].map(|a| at[a] - low[a] as f32);
        for corner in 0..8_usize {
            let bit = |a: usize| (corner >> a & 1) as isize;
            let weight: f32 = (0..3)
                .map(|a| if bit(a) == 1 { part[a] } else { 1.0 - part[a] })
                .product();
            let voxel = [0, 1, 2].map(|a| low[a] + bit(a));
            if weight > 0.0 && inside(voxel) {
                let voxel = index(voxel);
                flair[i] += weight * case.images[0][voxel];
                if let Some(value) = case.images[1].get(voxel) {
                    t1[i] += weight * value;
                }
            }
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::sampler;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    struct Made {
        images: [Vec<f32>; 2],
        lesions: Vec<bool>,
    }

    const SHAPE: [usize; 3] = [9, 8, 7];

    fn made(seed: u64) -> Made {
        let n = SHAPE.iter().product();
        let mut rng = StdRng::seed_from_u64(seed);
        let lesions: Vec<bool> = (0..n).map(|_| random::chance(&mut rng, 0.3)).collect();
        let flair: Vec<f32> = (0..n).map(|_| random::within(&mut rng, 1.0)).collect();
        let t1 = flair.iter().map(|v| v * 2.0).collect();
        Made {
            images: [flair, t1],
            lesions,
        }
    }

    fn view(made: &Made) -> View<'_> {
        View {
            shape: SHAPE,
            images: [&made.images[0], &made.images[1]],
            lesions: &made.lesions,
            unknown: &[],
            lesion_voxels: &[],
            brain_voxels: &[],
        }
    }

    proptest! {
        #[test]
        fn without_a_pose_it_is_the_plain_cut(
            seed in any::<u64>(), side in 2_usize..7, x in -3_isize..7, y in -3_isize..7, z in -3_isize..7,
        ) {
            let made = made(seed);
            let found = cut(view(&made), [x, y, z], side, Pose::NONE);
            prop_assert_eq!(found, sampler::cut(view(&made), [x, y, z], side));
        }

        #[test]
        fn a_mirror_image_is_the_patch_reversed_along_x(seed in any::<u64>(), side in 2_usize..7) {
            let made = made(seed);
            let mut plain = sampler::cut(view(&made), [1, 1, 1], side);
            let mirrored = cut(view(&made), [1, 1, 1], side, Pose([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]));
            for row in plain.image.chunks_exact_mut(side).chain(plain.label.chunks_exact_mut(side)) {
                row.reverse();
            }
            prop_assert_eq!(plain, mirrored);
        }

        #[test]
        fn images_and_label_move_together(seed in any::<u64>()) {
            // The FLAIR is the label itself, so wherever it is above one half after interpolation the label mostly is too.
            let mut made = made(seed);
            made.lesions = (0..made.lesions.len()).map(|i| i % 9 > 4).collect();
            made.images[0] = made.lesions.iter().map(|&l| f32::from(u8::from(l))).collect();
            let pose = Pose::draw(&mut StdRng::seed_from_u64(seed), &Poses { turn: 1.0, ..Poses::default() });
            let patch = cut(view(&made), [2, 2, 2], 4, pose);
            for (v, l) in patch.image.iter().zip(&patch.label) {
                if (v - 0.5).abs() > 0.45 {
                    prop_assert_eq!(*v > 0.5, *l > 0.5);
                }
            }
        }
    }

    #[test]
    fn a_missing_t1_is_zero() {
        let mut made = made(1);
        made.images[1] = Vec::new();
        let patch = cut(view(&made), [0; 3], 4, Pose::NONE);
        assert!(patch.image[64..].iter().all(|v| *v == 0.0));
        assert!(patch.image[..64].iter().any(|v| *v != 0.0));
    }
}
