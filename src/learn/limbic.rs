//! Limbic and paralimbic cortex, which is brighter in FLAIR than other cortex in every healthy brain.
//!
//! How much brighter depends on the sequence: as bright as a lesion in some scans, hardly at all in the labelled patients at
//! hand, so a network that saw only those takes it for lesion (Hirai et al. 2000 describe the effect). Its places are known on the MNI grid, on
//! which all material comes.

use super::anatomy::Tissue;
use super::field::{self, Shape};
use super::head::Head;
use super::random;
use rand::Rng;

/// World millimetres (RAS, MNI) of a material volume's first voxel ([`SHAPE`](super::material::SHAPE) is a box of the MNI grid).
const ORIGIN: [f32; 3] = [-82.0, -116.0, -70.0];

/// Centre (on the right; the left mirrors it) and radii in mm.
const PLACES: [([f32; 3], [f32; 3]); 7] = [
    // Insula.
    ([38.0, 4.0, 0.0], [10.0, 24.0, 17.0]),
    // Gyrus rectus, subcallosal and medial orbitofrontal cortex, septal nuclei.
    ([6.0, 22.0, -12.0], [13.0, 28.0, 14.0]),
    // Anterior cingulate.
    ([5.0, 36.0, 14.0], [10.0, 18.0, 24.0]),
    // Middle and posterior cingulate.
    ([5.0, -10.0, 38.0], [10.0, 40.0, 14.0]),
    // Amygdala, hippocampus, parahippocampal gyrus.
    ([25.0, -14.0, -20.0], [14.0, 27.0, 12.0]),
    // Temporal pole.
    ([38.0, 10.0, -34.0], [15.0, 15.0, 13.0]),
    // Cerebellum: no limbic cortex, but brighter than the rest in the same way.
    ([24.0, -62.0, -34.0], [26.0, 24.0, 18.0]),
];

/// Share of the places that are bright in a head.
const BRIGHT: f64 = 0.7;

/// Grey matter of a bright place is up to this much brighter (logarithm).
const STRONGEST: f32 = 0.4;

/// Brightens the FLAIR's grey matter in limbic places of a head that lies on the material's grid, each place by a strength and an
/// unevenness of its own. Lesions keep their brightness.
pub fn brighten(rng: &mut impl Rng, head: &mut Head) {
    let gains = PLACES.map(|_| {
        if random::chance(rng, BRIGHT) {
            random::between(rng, 0.0, STRONGEST)
        } else {
            0.0
        }
    });
    let uneven = field::smooth_noise(rng, head.shape, 10.0);
    let mut logs: Vec<f32> = (0..head.tissue.len())
        .map(|i| {
            if head.tissue[i] == Tissue::Grey as u8 && !head.lesions[i] {
                gain(&gains, head.shape, i) * (1.0 + 0.35 * uneven[i]).max(0.0)
            } else {
                0.0
            }
        })
        .collect();
    // Cortex and white matter share voxels.
    field::blur(&mut logs, head.shape, [0.6; 3]);
    for ((v, log), lesion) in head.images[0].iter_mut().zip(&logs).zip(&head.lesions) {
        if !lesion {
            *v *= log.exp();
        }
    }
}

/// The largest gain of the places at a voxel, each falling off smoothly at its surface.
fn gain(gains: &[f32; PLACES.len()], shape: Shape, index: usize) -> f32 {
    let voxel = field::voxel(shape, index);
    let [x, y, z] = [0, 1, 2].map(|axis| voxel[axis] as f32 + ORIGIN[axis]);
    PLACES
        .iter()
        .zip(gains)
        .filter(|(_, gain)| **gain > 0.0)
        .map(|((centre, radii), gain)| {
            let at = [x.abs(), y, z];
            let d2: f32 = (0..3).map(|a| ((at[a] - centre[a]) / radii[a]).powi(2)).sum();
            // 1 inside, half at the surface, nothing at one and a half radii.
            gain / (1.0 + d2.powi(4))
        })
        .fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::material::SHAPE;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn head() -> Head {
        let n = field::len(SHAPE);
        let tissue = |i: usize| if i.is_multiple_of(3) { Tissue::White } else { Tissue::Grey } as u8;
        Head {
            shape: SHAPE,
            images: [vec![100.0; n], vec![80.0; n]],
            lesions: (0..n).map(|i| i % 11 == 0).collect(),
            unknown: vec![false; n],
            tissue: (0..n).map(tissue).collect(),
            white: [100.0, 80.0],
        }
    }

    fn at(mm: [f32; 3]) -> usize {
        field::index(SHAPE, [0, 1, 2].map(|a| (mm[a] - ORIGIN[a]) as usize))
    }

    #[test]
    fn limbic_cortex_brightens_and_nothing_else() {
        let before = head();
        let mut after = before.clone();
        brighten(&mut StdRng::seed_from_u64(2), &mut after);
        assert_eq!(after.images[1], before.images[1]);
        assert_eq!(after.lesions, before.lesions);
        let log = |i: usize| (after.images[0][i] / before.images[0][i]).ln();
        for (i, lesion) in before.lesions.iter().enumerate() {
            assert!((0.0..0.8).contains(&log(i)), "{}", log(i));
            assert!(!lesion || log(i) == 0.0);
        }
        // Frontal convexity and centrum semiovale lie outside every place.
        for mm in [[40.0, 40.0, 30.0], [-25.0, -20.0, 40.0]] {
            assert!(log(at(mm)) < 0.01, "{mm:?}");
        }
        // Most places are bright in some head.
        let mut bright = [false; PLACES.len()];
        for seed in 0..6 {
            let mut other = before.clone();
            brighten(&mut StdRng::seed_from_u64(seed), &mut other);
            for (bright, (centre, _)) in bright.iter_mut().zip(PLACES) {
                let around = (0..6).map(|k| at([centre[0] + k as f32, centre[1], centre[2]]));
                *bright |= around.into_iter().any(|i| other.images[0][i] > 105.0);
            }
        }
        assert_eq!(bright, [true; PLACES.len()]);
    }

    #[test]
    fn the_same_seed_gives_the_same_head() {
        let make = || {
            let mut head = head();
            brighten(&mut StdRng::seed_from_u64(7), &mut head);
            head.images
        };
        assert_eq!(make(), make());
    }
}
