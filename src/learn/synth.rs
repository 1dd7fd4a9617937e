//! Heads drawn from tissue maps: the network sees contrasts and anatomies that no labelled patient has.
//!
//! After SynthSeg (Billot et al., Medical Image Analysis 86, 2023): each tissue gets a random intensity, then partial volume,
//! texture and smooth variation. The intensities scatter around those measured on the labelled patients (relative to white
//! matter: FLAIR grey 1.11-1.18, CSF 0.20-0.36; T1 grey 0.67-0.70, CSF 0.10; texture 0.05-0.07 and 0.03-0.05).

use super::anatomy::Tissue;
use super::field::{self, Shape};
use super::head::Head;
use super::random;
use rand::Rng;

/// The white matter of a synthetic image, in its own arbitrary units.
const WHITE: f32 = 100.0;

/// Intensity statistics of one synthetic image, relative to white matter.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Palette {
    csf: f32,
    grey: f32,
    /// Standard deviation of fine texture in white matter; grey matter has 1.4 times as much, CSF twice.
    texture: f32,
    /// Standard deviation in voxels of the blur that makes the texture.
    grain: f32,
    /// Standard deviation of slow variation within a tissue.
    drift: f32,
    /// Standard deviation in voxels of the partial-volume blur.
    partial: f32,
    /// Extra brightness of white matter next to the ventricles (a normal finding in FLAIR).
    rim: f32,
    /// Extra brightness of blobs in CSF (choroid plexus, flow).
    plexus: f32,
}

impl Palette {
    fn flair(rng: &mut impl Rng) -> Self {
        let wild = random::chance(rng, 0.2);
        Self {
            csf: random::between(rng, 0.08, 0.5),
            // Never as bright as lesions: shape alone would tell them apart, and confluent lesions have the shape of cortex.
            grey: if wild {
                random::between(rng, 0.9, 1.25)
            } else {
                random::normal(rng, 1.15, 0.07)
            },
            texture: random::between(rng, 0.02, 0.08),
            grain: random::between(rng, 0.5, 1.3),
            drift: random::between(rng, 0.02, 0.07),
            partial: random::between(rng, 0.4, 0.9),
            rim: random::between(rng, 0.0, 0.12),
            plexus: random::between(rng, 0.0, 1.0),
        }
    }

    fn t1(rng: &mut impl Rng, like: &Self) -> Self {
        let wild = random::chance(rng, 0.2);
        Self {
            csf: random::between(rng, 0.05, 0.35),
            grey: if wild {
                random::between(rng, 0.5, 0.95)
            } else {
                random::normal(rng, 0.69, 0.05)
            },
            texture: random::between(rng, 0.015, 0.05),
            grain: random::between(rng, 0.5, 1.3),
            drift: random::between(rng, 0.01, 0.05),
            partial: like.partial,
            rim: -0.3 * like.rim,
            plexus: 0.4 * like.plexus,
        }
    }
}

/// Draws FLAIR and T1 of a tissue map. The result has no lesions yet.
#[must_use]
pub fn draw(rng: &mut impl Rng, tissue: &[u8], shape: Shape) -> Head {
    let flair = Palette::flair(rng);
    let t1 = Palette::t1(rng, &flair);
    let class = |wanted: Tissue| -> Vec<f32> {
        tissue
            .iter()
            .map(|&t| f32::from(u8::from(t == wanted as u8)))
            .collect()
    };
    // Near a ventricle a blurred map of CSF is high in white matter; near a sulcus there is cortex between.
    let mut near_csf = class(Tissue::Csf);
    field::blur(&mut near_csf, shape, [1.5; 3]);
    let blobs = field::smooth_noise(rng, shape, 6.0);
    let images = [flair, t1].map(|p| {
        let drift = field::smooth_noise(rng, shape, 14.0);
        let mut image: Vec<f32> = (0..tissue.len())
            .map(|i| match tissue[i] {
                1 => {
                    let plexus = if blobs[i] > 1.2 { p.plexus } else { 0.0 };
                    p.csf + plexus * (blobs[i] - 1.2).min(1.0)
                }
                2 => p.grey * (1.0 + p.drift * drift[i]),
                3 => (1.0 + p.rim * (2.0 * near_csf[i]).min(1.0)) * (1.0 + 0.7 * p.drift * drift[i]),
                _ => 0.0,
            })
            .collect();
        field::blur(&mut image, shape, [p.partial; 3]);
        let texture = field::texture(rng, shape, p.grain);
        for ((v, t), &class) in image.iter_mut().zip(&texture).zip(tissue) {
            let sd = p.texture * [0.0, 2.0, 1.4, 1.0].get(class as usize).copied().unwrap_or(1.0);
            // What lies outside the brain was removed by its extraction.
            *v = if class == 0 {
                0.0
            } else {
                WHITE * (*v + sd * t).max(0.005)
            };
        }
        image
    });
    Head {
        shape,
        images,
        lesions: vec![false; tissue.len()],
        unknown: vec![false; tissue.len()],
        tissue: tissue.to_vec(),
        white: [WHITE; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn tissues_have_their_order_in_both_contrasts(seed in any::<u64>()) {
            let shape = [30, 24, 24];
            let tissue: Vec<u8> = (0..field::len(shape))
                .map(|i| match field::voxel(shape, i)[0] { 0..4 => 0, 4..12 => 1, 12..20 => 2, _ => 3 })
                .collect();
            let head = draw(&mut StdRng::seed_from_u64(seed), &tissue, shape);
            prop_assert_eq!(&head, &draw(&mut StdRng::seed_from_u64(seed), &tissue, shape));
            let mean = |image: &[f32], x: usize| {
                let values: Vec<f32> = (0..image.len()).filter(|&i| field::voxel(shape, i)[0] == x).map(|i| image[i]).collect();
                values.iter().sum::<f32>() / values.len() as f32
            };
            for image in &head.images {
                prop_assert!(mean(image, 8) < 0.9 * mean(image, 26), "CSF is dark");
                prop_assert_eq!(mean(image, 1), 0.0);
            }
            prop_assert!(mean(&head.images[1], 16) < mean(&head.images[1], 26), "grey is darker in T1");
        }
    }
}
