//! What a scanner and a protocol do to a head: contrast, bias field, thick slices, blur, noise, a short field of view.

use crate::learn::anatomy::Tissue;
use crate::learn::config::Acquisition;
use crate::learn::field::{self, Region, Shape};
use crate::learn::head::Head;
use crate::learn::random;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

/// Raises intensities to a power; white matter keeps its value.
pub fn change_contrast(image: &mut [f32], white: f32, power: f32) {
    for v in image.iter_mut().filter(|v| **v > 0.0) {
        *v = white * (*v / white).powf(power);
    }
}

/// Multiplies by a smooth field whose logarithm has standard deviation `strength`.
pub fn apply_bias(rng: &mut impl Rng, image: &mut [f32], shape: Shape, strength: f32) {
    let spacing = random::between(rng, 50.0, 100.0);
    let bias = field::smooth_noise(rng, shape, spacing);
    for (v, b) in image.iter_mut().zip(&bias) {
        *v *= (strength * b).exp();
    }
}

/// Averages over slices of `thickness` voxels along an axis and interpolates linearly between their centres,
/// as when a stack of thick slices is resampled to 1 mm. `phase` (0 to 1) places the first slice.
pub fn thicken(image: &mut [f32], shape: Shape, axis: usize, thickness: f32, phase: f32) {
    let n = shape[axis];
    if thickness <= 1.0 || n < 2 {
        return;
    }
    // Slice k covers [start + k t, start + (k + 1) t) in voxel edges and reaches beyond both ends.
    let start = -thickness * (1.0 + phase);
    let count = ((n as f32 - start) / thickness).ceil() as usize + 1;
    let slices: Vec<Vec<(usize, f32)>> = (0..count)
        .map(|k| {
            let low = start + k as f32 * thickness;
            let high = low + thickness;
            let first = low.floor().max(0.0) as usize;
            let covered: Vec<(usize, f32)> = (first..n)
                .map(|j| (j, (high.min(j as f32 + 1.0) - low.max(j as f32)).max(0.0)))
                .take_while(|(j, w)| *w > 0.0 || (*j as f32) < low)
                .filter(|(_, w)| *w > 0.0)
                .collect();
            let sum: f32 = covered.iter().map(|(_, w)| w).sum();
            covered.into_iter().map(|(j, w)| (j, w / sum)).collect()
        })
        .collect();
    let rows: Vec<Vec<(usize, f32)>> = (0..n)
        .map(|x| {
            let at = (x as f32 + 0.5 - start) / thickness - 0.5;
            let k = (at as usize).min(count - 2);
            let t = at - k as f32;
            // A slice wholly beyond the image has no value of its own: its neighbour's is used.
            let (a, b) = (&slices[k], &slices[k + 1]);
            let (a, b) = (if a.is_empty() { b } else { a }, if b.is_empty() { a } else { b });
            let scaled = |s: &[(usize, f32)], f: f32| -> Vec<(usize, f32)> {
                s.iter().map(|&(j, w)| (j, w * f)).collect()
            };
            [scaled(a, 1.0 - t), scaled(b, t)].concat()
        })
        .collect();
    let stride: usize = shape[..axis].iter().product();
    let mut line = vec![0.0_f32; n * stride];
    for block in image.chunks_exact_mut(n * stride) {
        line.copy_from_slice(block);
        for (out, row) in block.chunks_exact_mut(stride).zip(&rows) {
            out.fill(0.0);
            for &(j, w) in row {
                for (o, v) in out.iter_mut().zip(&line[j * stride..(j + 1) * stride]) {
                    *o += w * v;
                }
            }
        }
    }
}

/// Rician noise: the magnitude of a complex signal with independent normal noise of standard deviation `sigma`
/// in both parts, where `imaged` holds.
pub fn add_noise(rng: &mut impl Rng, image: &mut [f32], sigma: f32, imaged: impl Fn(usize, f32) -> bool) {
    for (i, v) in image.iter_mut().enumerate() {
        if imaged(i, *v) {
            let real = *v + sigma * rng.sample::<f32, _>(StandardNormal);
            let imaginary = sigma * rng.sample::<f32, _>(StandardNormal);
            *v = real.hypot(imaginary);
        }
    }
}

/// Ends the field of view `below` voxels above the lowest and `above` voxels below the highest brain slice (0 leaves an
/// end as it is). What lies beyond was never imaged: the grid ends there.
#[must_use]
pub fn crop_view(head: Head, below: usize, above: usize) -> Head {
    let [nx, ny, nz] = head.shape;
    let has_brain = |z: &usize| head.tissue[z * nx * ny..(z + 1) * nx * ny].iter().any(|t| *t > 0);
    let (Some(bottom), Some(top)) = ((0..nz).find(has_brain), (0..nz).rev().find(has_brain)) else {
        return head;
    };
    let start = if below > 0 { bottom + below } else { 0 };
    let end = if above > 0 {
        (top + 1).saturating_sub(above)
    } else {
        nz
    };
    if start >= end {
        return head;
    }
    head.cut(Region {
        start: [0, 0, start],
        end: [nx, ny, end],
    })
}

/// Makes grey matter brighter or darker against white matter, as a whole and from place to place: other echo and inversion
/// times do the first, and the cortex of every brain shows the second (the insula and the cingulate are bright in FLAIR). Lesions
/// keep their brightness.
pub fn shade_grey(rng: &mut impl Rng, head: &mut Head, strength: f32) {
    let mut share: Vec<f32> = head
        .tissue
        .iter()
        .zip(&head.lesions)
        .map(|(&t, &lesion)| f32::from(u8::from(t == Tissue::Grey as u8 && !lesion)))
        .collect();
    field::blur(&mut share, head.shape, [0.6; 3]);
    for image in &mut head.images {
        let all = random::normal(rng, 0.0, strength);
        let local = field::smooth_noise(rng, head.shape, 14.0);
        for ((v, share), local) in image.iter_mut().zip(&share).zip(&local) {
            *v *= (share * (all + 0.7 * strength * local)).exp();
        }
    }
}

/// A random acquisition. `whole_head` says that air around the head is imaged too, and so may be noisy; many scanners set it
/// to zero.
#[must_use]
pub fn acquire(rng: &mut impl Rng, mut head: Head, config: &Acquisition, whole_head: bool) -> Head {
    if random::chance(rng, config.grey) {
        shade_grey(rng, &mut head, config.grey_strength);
    }
    for (image, white) in head.images.iter_mut().zip(head.white) {
        if random::chance(rng, config.gamma) {
            let power = random::normal(rng, 0.0, config.gamma_strength).exp();
            change_contrast(image, white, power);
        }
        if random::chance(rng, config.bias) {
            let strength = random::between(rng, 0.0, config.bias_strength);
            apply_bias(rng, image, head.shape, strength);
        }
    }
    if random::chance(rng, config.crop) {
        let length = random::between(rng, 0.0, config.crop_length) as usize;
        let (below, above) = if random::chance(rng, 0.6) {
            (length, 0)
        } else {
            (0, length)
        };
        head = crop_view(head, below, above);
    }
    let shape = head.shape;
    let noisy_air = whole_head && random::chance(rng, 0.5);
    let thick = random::chance(rng, config.thick);
    for (channel, (image, white)) in head.images.iter_mut().zip(head.white).enumerate() {
        if thick && (channel == 0 || random::chance(rng, config.thick_t1)) {
            let axis = if random::chance(rng, config.axial) {
                2
            } else {
                usize::from(random::chance(rng, 0.5))
            };
            let [thin, thickest] = config.thickness;
            let thickness = random::between(rng, thin, thickest);
            thicken(image, shape, axis, thickness, rng.random());
        }
        if random::chance(rng, config.blur) {
            let sigma = random::between(rng, 0.2, config.blur_sigma);
            field::blur(image, shape, [sigma; 3]);
        }
        if random::chance(rng, config.noise) {
            let sigma = white * random::between(rng, 0.0, config.noise_sigma);
            // What an extraction of the brain has set to zero stays zero.
            add_noise(rng, image, sigma, |_, v| noisy_air || v > 0.02 * white);
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use super::super::geometry::tests::{contrast, phantom};
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn thick_slices_keep_constants_and_ramps(
            axis in 0_usize..3, thickness in 1.1_f32..6.0, phase in 0.0_f32..1.0,
        ) {
            let shape = [21, 19, 23];
            let ramp: Vec<f32> = (0..field::len(shape)).map(|i| field::voxel(shape, i)[axis] as f32).collect();
            let mut thick = ramp.clone();
            thicken(&mut thick, shape, axis, thickness, phase);
            // Cut slices at the ends are not centred. Elsewhere averages of a ramp lie on it, but for the parts of voxels at a
            // slice's faces: a voxel's value is its centre's, which over a part of it is off by 1/8 voxel at most.
            let edge = 2.0 * thickness;
            let off = 0.125 / thickness + 1e-4;
            for (v, r) in thick.iter().zip(&ramp) {
                if *r > edge && *r < shape[axis] as f32 - edge {
                    prop_assert!((v - r).abs() <= off, "{v} {r}");
                }
            }
            let mut constant = vec![3.5; field::len(shape)];
            thicken(&mut constant, shape, axis, thickness, phase);
            prop_assert!(constant.iter().all(|v| (v - 3.5).abs() < 1e-5));
        }

        #[test]
        fn an_acquisition_is_a_function_of_its_seed_and_keeps_the_truth(seed in any::<u64>()) {
            let config = Acquisition { crop: 0.0, ..Acquisition::default() };
            let make = || acquire(&mut StdRng::seed_from_u64(seed), phantom(), &config, false);
            let head = make();
            prop_assert_eq!(&head, &make());
            prop_assert_eq!(&head.lesions, &phantom().lesions);
            prop_assert!(contrast(&head) > 1.08, "{}", contrast(&head));
            prop_assert!(head.images.iter().flatten().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn shaded_grey_matter_leaves_white_matter_and_lesions_alone() {
        let mut before = phantom();
        let x = |i: usize| field::voxel(phantom().shape, i)[0];
        for (i, t) in before.tissue.iter_mut().enumerate().filter(|(_, t)| **t > 0) {
            *t = if i % 40 < 20 { Tissue::Grey } else { Tissue::White } as u8;
        }
        let mut after = before.clone();
        shade_grey(&mut StdRng::seed_from_u64(4), &mut after, 0.08);
        let mut changed = 0;
        for (i, (new, old)) in after.images[0].iter().zip(&before.images[0]).enumerate() {
            let change = if *old > 0.0 { (new / old).ln().abs() } else { 0.0 };
            assert!(change < 0.5, "no more than a few standard deviations: {change}");
            // The blur reaches two voxels.
            assert!(change < 1e-4 || x(i) < 22, "white matter at x = {}", x(i));
            changed += usize::from(change > 0.01);
        }
        assert!(changed > 1000, "{changed}");
        assert_eq!(after.lesions, before.lesions);
    }

    #[test]
    fn noise_in_air_is_rayleigh_and_in_tissue_nearly_normal() {
        let mut rng = StdRng::seed_from_u64(9);
        let (mut air, mut tissue) = (vec![0.0_f32; 200_000], vec![100.0_f32; 200_000]);
        add_noise(&mut rng, &mut air, 5.0, |_, _| true);
        add_noise(&mut rng, &mut tissue, 5.0, |_, _| true);
        let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
        assert!((mean(&air) - 5.0 * (std::f32::consts::FRAC_PI_2).sqrt()).abs() < 0.05);
        assert!((mean(&tissue) - (100.0 + 25.0 / 200.0)).abs() < 0.05);
    }

    #[test]
    fn a_short_view_ends_where_it_should() {
        let slice = 40 * 44;
        // The brain's lowest voxel is at z = 4, its highest at z = 32.
        let low = crop_view(phantom(), 12, 0);
        assert_eq!(low.shape, [40, 44, 20]);
        assert_eq!(low.images[0], phantom().images[0][16 * slice..]);
        assert_eq!(low.lesions, phantom().lesions[16 * slice..]);
        let high = crop_view(phantom(), 0, 3);
        assert_eq!(high.tissue, phantom().tissue[..30 * slice]);
        assert_eq!(crop_view(phantom(), 0, 0), phantom());
        assert_eq!(crop_view(phantom(), 99, 0), phantom());
    }
}
