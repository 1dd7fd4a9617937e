//! Pose and shape: mirror image, affine and elastic deformation, T1 out of register.

use crate::learn::config::Geometry;
use crate::learn::field::{self, Shape};
use crate::learn::head::Head;
use crate::learn::random;
use nalgebra::{Matrix3, Rotation3, Vector3};
use rand::Rng;

/// Mirrors a head left to right.
#[must_use]
pub fn mirror(mut head: Head) -> Head {
    let width = head.shape[0];
    for image in &mut head.images {
        image.chunks_exact_mut(width).for_each(<[f32]>::reverse);
    }
    for mask in [&mut head.lesions, &mut head.unknown] {
        mask.chunks_exact_mut(width).for_each(<[bool]>::reverse);
    }
    head.tissue.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    head
}

/// A random mirror image, deformation and misregistration, each with its probability.
#[must_use]
pub fn vary(rng: &mut impl Rng, head: Head, config: &Geometry) -> Head {
    let head = if random::chance(rng, config.mirror) {
        mirror(head)
    } else {
        head
    };
    let deform = random::chance(rng, config.deform);
    let shifted = random::chance(rng, config.misregistered);
    if !deform && !shifted {
        return head;
    }
    let shift = if shifted {
        [(); 3].map(|()| random::within(rng, config.shift))
    } else {
        [0.0; 3]
    };
    let (matrix, displacement) = if deform {
        (affine(rng, config), Some(elastic(rng, head.shape, config)))
    } else {
        (Matrix3::identity(), None)
    };
    warp(&head, &matrix, displacement.as_ref(), shift)
}

/// Rotation, shear and scale about the centre.
fn affine(rng: &mut impl Rng, config: &Geometry) -> Matrix3<f32> {
    let largest = config.rotation.to_radians();
    let [roll, pitch, yaw] = [(); 3].map(|()| random::within(rng, largest));
    let scale = Vector3::from([(); 3].map(|()| 1.0 + random::within(rng, config.scale)));
    let mut shear = Matrix3::identity();
    for (row, column) in [(0, 1), (0, 2), (1, 2)] {
        shear[(row, column)] = random::within(rng, config.shear);
    }
    Rotation3::from_euler_angles(roll, pitch, yaw).into_inner() * shear * Matrix3::from_diagonal(&scale)
}

/// Smooth displacements along x, y and z, in voxels.
fn elastic(rng: &mut impl Rng, shape: Shape, config: &Geometry) -> [Vec<f32>; 3] {
    let strength = config.elastic * random::between(rng, 0.0, 1.0);
    [(); 3].map(|()| {
        let mut field = field::smooth_noise(rng, shape, config.elastic_spacing);
        field.iter_mut().for_each(|v| *v *= strength);
        field
    })
}

/// Resamples a head: voxel `v` takes its value from `centre + matrix (v - centre) + displacement(v)`, T1
/// from a place `shift` further. Images and lesion shares are interpolated linearly (a voxel is lesion from one half
/// up), tissue and what is unknown take the nearest voxel.
fn warp(head: &Head, matrix: &Matrix3<f32>, displacement: Option<&[Vec<f32>; 3]>, shift: [f32; 3]) -> Head {
    let shape = head.shape;
    let centre = Vector3::from(shape.map(|n| (n as f32 - 1.0) / 2.0));
    let share: Vec<f32> = head.lesions.iter().map(|&l| f32::from(u8::from(l))).collect();
    let n = field::len(shape);
    let mut out = Head {
        shape,
        images: [vec![0.0; n], vec![0.0; n]],
        lesions: vec![false; n],
        unknown: vec![false; n],
        tissue: vec![0; n],
        white: head.white,
    };
    let step = matrix.column(0).into_owned();
    for z in 0..shape[2] {
        for y in 0..shape[1] {
            let first = field::index(shape, [0, y, z]);
            let mut at = centre + matrix * (Vector3::new(0.0, y as f32, z as f32) - centre);
            for i in first..first + shape[0] {
                let mut p = [at.x, at.y, at.z];
                at += step;
                if let Some(d) = displacement {
                    for a in 0..3 {
                        p[a] += d[a][i];
                    }
                }
                let near = p.map(f32::round);
                if (0..3).all(|a| near[a] >= 0.0 && near[a] < shape[a] as f32) {
                    let j = field::index(shape, near.map(|c| c as usize));
                    out.tissue[i] = head.tissue[j];
                    out.unknown[i] = head.unknown[j];
                    // Most voxels of a head are far from lesions; one look saves an interpolation.
                    if head.tissue[j] > 1 {
                        out.lesions[i] = field::sample(&share, shape, p, 0.0) >= 0.5;
                    }
                }
                out.images[0][i] = field::sample(&head.images[0], shape, p, 0.0);
                let q = [0, 1, 2].map(|a| p[a] + shift[a]);
                out.images[1][i] = field::sample(&head.images[1], shape, q, 0.0);
            }
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    /// A ball of brain with an off-centre ball of lesion that is brighter in FLAIR, darker in T1.
    pub(in crate::learn) fn phantom() -> Head {
        let shape = [40, 44, 36];
        let n = field::len(shape);
        let mut head = Head {
            shape,
            images: [vec![0.0; n], vec![0.0; n]],
            lesions: vec![false; n],
            unknown: vec![false; n],
            tissue: vec![0; n],
            white: [100.0, 300.0],
        };
        for i in 0..n {
            let v = field::voxel(shape, i).map(|c| c as f32);
            let r = |c: [f32; 3]| (0..3).map(|a| (v[a] - c[a]).powi(2)).sum::<f32>().sqrt();
            if r([20.0, 22.0, 18.0]) < 15.0 {
                head.tissue[i] = 3;
                head.lesions[i] = r([14.0, 24.0, 20.0]) < 4.5;
                head.unknown[i] = r([26.0, 20.0, 16.0]) < 4.5;
                head.images[0][i] = if head.lesions[i] { 160.0 } else { 100.0 };
                head.images[1][i] = if head.lesions[i] { 200.0 } else { 300.0 };
            }
        }
        head
    }

    /// Mean FLAIR inside the lesions over the mean in the rest of the brain.
    pub(in crate::learn) fn contrast(head: &Head) -> f32 {
        let mean = |lesion: bool| {
            let values: Vec<f32> = (0..head.lesions.len())
                .filter(|&i| head.lesions[i] == lesion && head.tissue[i] == 3)
                .map(|i| head.images[0][i])
                .collect();
            values.iter().sum::<f32>() / values.len() as f32
        };
        mean(true) / mean(false)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn truth_moves_with_the_image(seed in any::<u64>()) {
            let config = Geometry { deform: 1.0, ..Geometry::default() };
            let mut rng = StdRng::seed_from_u64(seed);
            let head = vary(&mut rng, phantom(), &config);
            let mut again = StdRng::seed_from_u64(seed);
            prop_assert_eq!(&head, &vary(&mut again, phantom(), &config));
            prop_assert!(contrast(&head) > 1.45, "{}", contrast(&head));
            let (before, after) = (phantom(), head);
            let count = |h: &Head| h.lesions.iter().filter(|l| **l).count() as f32;
            let ratio = count(&after) / count(&before);
            prop_assert!(ratio > 0.5 && ratio < 2.0, "{}", ratio);
            // What is unknown moves as tissue in its place does, which takes the nearest voxel, too.
            let brain = |h: &Head| -> Vec<bool> { h.tissue.iter().map(|t| *t == 3).collect() };
            let twin = Head { unknown: brain(&phantom()), ..phantom() };
            let twin = vary(&mut StdRng::seed_from_u64(seed), twin, &config);
            prop_assert!(twin.unknown == brain(&after), "seed {}", seed);
        }
    }

    #[test]
    fn a_mirror_image_of_a_mirror_image_is_the_head() {
        assert_eq!(mirror(mirror(phantom())), phantom());
        assert_ne!(mirror(phantom()).lesions, phantom().lesions);
    }

    #[test]
    fn only_t1_moves_when_it_is_out_of_register() {
        let head = warp(&phantom(), &Matrix3::identity(), None, [1.0, 0.0, 0.0]);
        assert_eq!(head.images[0], phantom().images[0]);
        assert_eq!(head.lesions, phantom().lesions);
        assert_eq!(head.images[1][..39], phantom().images[1][1..40]);
        assert_ne!(head.images[1], phantom().images[1]);
    }
}
