//! Caps and bands of bright white matter around the ventricles, a normal finding.
//!
//! Thin caps on the horns of the lateral ventricles and a thin band along them are bright in FLAIR in many healthy brains (Sze et al. 1986;
//! Fazekas' grade 1), some as bright as a lesion. Raters leave them out, and a network that knows bright white matter next to a ventricle only as
//! (confluent) lesion marks them. They differ from lesions in being thin, and brightest at the ventricle's wall.

use super::anatomy::{self, Tissue};
use super::field;
use super::head::Head;
use super::random;
use rand::Rng;

/// Shortest and longest distance from the wall, in voxels, at which the brightness has fallen to one half.
const REACH: [f32; 2] = [0.7, 3.0];

/// How much brighter than the rest of white matter FLAIR is at the wall at most (logarithm).
const STRONGEST: f32 = 0.4;

/// How much darker T1 is there at most, as a share of how much brighter FLAIR is.
const T1: f32 = 0.9;

/// Caps keep this distance from lesions, in voxels: next to one, a cap is part of it to a rater.
const GAP: f32 = 2.5;

/// Brightens white matter next to the ventricles of a head that lies on the material's grid; `near` says where ventricles may lie. Nothing is labelled, and
/// lesions and their surroundings stay as they are.
pub fn brighten(rng: &mut impl Rng, head: &mut Head, near: &[bool]) {
    let Some(ventricles) = anatomy::ventricles(&head.tissue, near) else {
        return;
    };
    let from_wall = field::distance(&ventricles, head.shape);
    let from_lesion = field::distance(&head.lesions, head.shape);
    let strength = random::between(rng, 0.05, STRONGEST);
    let t1 = -T1 * random::between(rng, 0.0, 1.0);
    let reach = random::between(rng, REACH[0], REACH[1]);
    // Caps at some horns, a band along some walls.
    let coarse = field::smooth_noise(rng, head.shape, 18.0);
    let fine = field::smooth_noise(rng, head.shape, 5.0);
    let mut logs: Vec<f32> = (0..head.tissue.len())
        .map(|i| {
            if head.tissue[i] != Tissue::White as u8 || from_lesion[i] < GAP {
                return 0.0;
            }
            let here = reach * (0.6 + 0.6 * coarse[i] + 0.2 * fine[i]).clamp(0.0, 1.5);
            // The first voxel's centre lies half a voxel from the wall.
            let depth = (from_wall[i] - 0.5).max(0.0);
            if here > 0.1 {
                strength / (1.0 + (depth / here).powi(4))
            } else {
                0.0
            }
        })
        .collect();
    field::blur(&mut logs, head.shape, [0.5; 3]);
    let [flair, second] = &mut head.images;
    for (i, log) in logs.iter().enumerate().filter(|(_, log)| **log > 1e-4) {
        if head.tissue[i] >= Tissue::Grey as u8 && !head.lesions[i] {
            flair[i] *= log.exp();
            second[i] *= (t1 * log).exp();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    /// A ventricle in white matter, with a lesion on one side of it.
    fn head() -> Head {
        let shape = [40, 36, 30];
        let n = field::len(shape);
        let r = |i: usize, c: [f32; 3]| {
            let v = field::voxel(shape, i);
            (0..3).map(|a| (v[a] as f32 - c[a]).powi(2)).sum::<f32>().sqrt()
        };
        let tissue = |i: usize| match r(i, [20.0, 18.0, 15.0]) {
            d if d < 5.0 => 1,
            d if d < 13.0 => 3,
            d if d < 14.0 => 2,
            _ => 0,
        };
        Head {
            shape,
            images: [vec![100.0; n], vec![100.0; n]],
            lesions: (0..n)
                .map(|i| tissue(i) == 3 && r(i, [27.0, 18.0, 15.0]) < 3.0)
                .collect(),
            unknown: vec![false; n],
            tissue: (0..n).map(tissue).collect(),
            white: [100.0; 2],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn caps_are_thin_bright_and_no_lesions(seed in any::<u64>()) {
            let before = head();
            let near = vec![true; before.tissue.len()];
            let mut after = before.clone();
            brighten(&mut StdRng::seed_from_u64(seed), &mut after, &near);
            prop_assert!(after.lesions == before.lesions && after.tissue == before.tissue);
            let walls: Vec<bool> = before.tissue.iter().map(|t| *t == 1).collect();
            let distance = field::distance(&walls, before.shape);
            for (i, distance) in distance.iter().enumerate() {
                let [flair, t1] = [0, 1].map(|c| after.images[c][i] / before.images[c][i]);
                prop_assert!((1.0..=STRONGEST.exp() + 1e-3).contains(&flair) && t1 <= 1.0, "{} {}", flair, t1);
                if before.lesions[i] || before.tissue[i] < 2 {
                    prop_assert_eq!((flair, t1), (1.0, 1.0));
                }
                // Four times the longest reach, of a strength that has fallen by 256.
                if *distance > 4.0 * 1.5 * REACH[1] {
                    prop_assert!(flair < 1.003, "{} at {}", flair, distance);
                }
            }
            let mut again = before.clone();
            brighten(&mut StdRng::seed_from_u64(seed), &mut again, &near);
            prop_assert!(again == after);
        }
    }

    #[test]
    fn without_ventricles_nothing_changes() {
        let mut after = head();
        let nowhere = vec![false; after.tissue.len()];
        brighten(&mut StdRng::seed_from_u64(1), &mut after, &nowhere);
        assert!(after == head());
    }
}
