//! What lies around the brain in a raw scan: CSF, dura, skull, marrow, scalp, neck. The labelled images come without.
//!
//! Not anatomy, but its statistics: layers of random thickness and brightness that follow the brain's surface.

use crate::learn::config::Surround;
use crate::learn::field;
use crate::learn::head::Head;
use crate::learn::random;
use rand::Rng;

/// What was put around a brain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: the brain was extracted perfectly.
    Nothing,
    /// Pieces that an imperfect extraction left.
    Residue,
    /// A whole head.
    Head,
}

/// Draws what is to be put around a brain.
pub fn draw(rng: &mut impl Rng, config: &Surround) -> Kind {
    let u: f64 = rand::RngExt::random(rng);
    if u < config.head {
        Kind::Head
    } else if u < config.head + config.residue {
        Kind::Residue
    } else {
        Kind::Nothing
    }
}

/// Largest and smallest logarithm of the factor by which [`relight`] changes what lies around the brain.
const RELIT: [f32; 2] = [-0.5, 1.3];

/// Makes what lies around the brain of a real scan brighter or darker, each image by a factor and an unevenness of its own: without fat
/// suppression marrow and scalp outshine every lesion, and with contrast agent dura does.
pub fn relight(rng: &mut impl Rng, head: &mut Head) {
    let outside: Vec<f32> = head.tissue.iter().map(|t| f32::from(u8::from(*t == 0))).collect();
    for image in &mut head.images {
        let gain = random::between(rng, RELIT[0], RELIT[1]);
        let uneven = field::smooth_noise(rng, head.shape, 18.0);
        let mut logs: Vec<f32> = outside
            .iter()
            .zip(&uneven)
            .map(|(outside, uneven)| outside * (gain + 0.25 * uneven))
            .collect();
        field::blur(&mut logs, head.shape, [0.6; 3]);
        for (v, log) in image.iter_mut().zip(&logs) {
            *v *= log.exp();
        }
    }
}

/// Intensities of the layers of one image, relative to white matter.
struct Layers {
    csf: f32,
    dura: f32,
    bone: f32,
    marrow: f32,
    fat: f32,
    skin: f32,
    muscle: f32,
}

/// Paints a surround of the given kind where there is no brain.
#[must_use]
pub fn surround(rng: &mut impl Rng, mut head: Head, kind: Kind) -> Head {
    if kind == Kind::Nothing {
        return head;
    }
    let shape = head.shape;
    let brain: Vec<bool> = head.tissue.iter().map(|t| *t > 0).collect();
    let depth = field::distance(&brain, shape);
    let bumps = field::smooth_noise(rng, shape, 18.0);
    let grain = field::texture(rng, shape, 1.2);
    let flesh = field::smooth_noise(rng, shape, 9.0);

    let csf_end = random::between(rng, 1.0, 4.0);
    let bone_end = csf_end + random::between(rng, 4.0, 9.0);
    let scalp_end = bone_end + random::between(rng, 3.0, 10.0);
    let has_dura = random::chance(rng, 0.6);
    let patches = field::smooth_noise(rng, shape, 16.0);
    let cut = random::between(rng, 0.3, 1.4);
    let residue_depth = random::between(rng, 2.0, 8.0);
    // Below this plane there is a neck, without a skull between it and the brain.
    let neck = lowest_brain(&head) as f32 + random::between(rng, 5.0, 30.0);

    // Fat is bright in T1, and in FLAIR unless it is suppressed, as in 10 of the 11 raw FLAIRs at hand.
    let suppressed = random::chance(rng, 0.7);
    let flair = Layers {
        csf: random::between(rng, 0.08, 0.4),
        dura: random::between(rng, 0.4, 1.4),
        bone: random::between(rng, 0.03, 0.2),
        marrow: random::between(rng, 0.2, 1.0),
        fat: if suppressed {
            random::between(rng, 0.2, 0.7)
        } else {
            random::between(rng, 0.8, 2.2)
        },
        skin: random::between(rng, 0.3, 1.2),
        muscle: random::between(rng, 0.3, 0.9),
    };
    let t1 = Layers {
        csf: random::between(rng, 0.08, 0.3),
        dura: random::between(rng, 0.3, 0.9),
        bone: random::between(rng, 0.03, 0.2),
        marrow: random::between(rng, 0.5, 1.6),
        fat: random::between(rng, 0.9, 2.2),
        skin: random::between(rng, 0.4, 1.0),
        muscle: random::between(rng, 0.4, 0.8),
    };
    for ((image, white), layers) in head.images.iter_mut().zip(head.white).zip([flair, t1]) {
        let mut shell = vec![0.0_f32; image.len()];
        for (i, value) in shell.iter_mut().enumerate().filter(|(i, _)| !brain[*i]) {
            let d = depth[i] + 0.8 * bumps[i];
            if kind == Kind::Residue && (depth[i] > residue_depth || patches[i] < cut) {
                continue;
            }
            let z = (i / (shape[0] * shape[1])) as f32;
            let low = z < neck + 3.0 * bumps[i];
            let level = if d < csf_end {
                layers.csf
            } else if low && d < scalp_end + 4.0 {
                (layers.muscle + 0.35 * flesh[i]).max(layers.bone)
            } else if has_dura && d < csf_end + 1.2 {
                layers.dura
            } else if d < bone_end {
                let within = (d - csf_end) / (bone_end - csf_end);
                if (within - 0.5).abs() < 0.2 && flesh[i] > -0.3 {
                    layers.marrow
                } else {
                    layers.bone
                }
            } else if d < scalp_end - 1.5 {
                layers.fat * (1.0 + 0.25 * flesh[i]).max(0.2)
            } else if d < scalp_end {
                layers.skin
            } else {
                0.0
            };
            *value = white * level * (1.0 + 0.1 * grain[i]);
        }
        field::blur(&mut shell, shape, [0.6; 3]);
        for (v, (s, inside)) in image.iter_mut().zip(shell.iter().zip(&brain)) {
            if !inside {
                *v = s.max(0.0);
            }
        }
    }
    head
}

/// The lowest slice that holds brain.
fn lowest_brain(head: &Head) -> usize {
    let slice = head.shape[0] * head.shape[1];
    head.tissue
        .chunks_exact(slice)
        .position(|s| s.iter().any(|t| *t > 0))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::geometry::tests::phantom;
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_brain_and_the_truth_are_untouched(seed in any::<u64>(), whole in any::<bool>()) {
            let kind = if whole { Kind::Head } else { Kind::Residue };
            let make = || surround(&mut StdRng::seed_from_u64(seed), phantom(), kind);
            let (before, after) = (phantom(), make());
            prop_assert_eq!(&after, &make());
            prop_assert_eq!(&after.lesions, &before.lesions);
            prop_assert_eq!(&after.tissue, &before.tissue);
            let mut painted = 0;
            for i in 0..before.tissue.len() {
                if before.tissue[i] > 0 {
                    prop_assert_eq!(after.images[0][i], before.images[0][i]);
                } else {
                    painted += usize::from(after.images[0][i] > 1.0);
                }
            }
            prop_assert!(!whole || painted > 5000, "{}", painted);
        }
    }

    #[test]
    fn relighting_changes_only_what_lies_around() {
        let whole = || surround(&mut StdRng::seed_from_u64(3), phantom(), Kind::Head);
        let mut logs = Vec::new();
        for seed in 0..20 {
            let (before, mut after) = (whole(), whole());
            relight(&mut StdRng::seed_from_u64(seed), &mut after);
            assert_eq!((&after.lesions, &after.tissue), (&before.lesions, &before.tissue));
            let inside: Vec<bool> = before.tissue.iter().map(|t| *t > 0).collect();
            let from_edge = field::distance(&inside.iter().map(|i| !i).collect::<Vec<_>>(), before.shape);
            let mut outside = Vec::new();
            for (i, (a, b)) in after.images[0].iter().zip(&before.images[0]).enumerate() {
                // The Gaussian at the brain's surface (0.6 voxels) falls to 4e-6 of its height in three.
                if from_edge[i] > 3.0 {
                    assert!((a / b - 1.0).abs() < 1e-5, "{a} {b}");
                } else if !inside[i] && *b > 1.0 {
                    outside.push((a / b).ln());
                }
            }
            logs.push(field::median(&mut outside).unwrap());
        }
        let within = |low: f32, high: f32| logs.iter().filter(|l| (low..high).contains(*l)).count();
        assert!(within(-0.8, 0.2) >= 3 && within(0.5, 1.6) >= 6, "{logs:?}");
        assert_eq!(within(-0.8, 1.6), logs.len(), "{logs:?}");
    }

    #[test]
    fn nothing_leaves_the_head_as_it_is() {
        let mut rng = StdRng::seed_from_u64(0);
        assert_eq!(surround(&mut rng, phantom(), Kind::Nothing), phantom());
    }
}
