//! Confluent lesions around the ventricles.
//!
//! Of the volume of lesions in 29 patients most lies in a few confluent ones that hug the ventricles (in 9 of them one lesion
//! holds more than half). Such a lesion has the shape of its patient's ventricles: put into another head it does not fit. So they are
//! grown where they are to lie: white matter within a distance of the ventricles that varies from place to place.

use super::anatomy::{self, Tissue};
use super::field;
use super::plan::Plan;
use super::random;
use crate::volume::components::{self, Connectivity};
use rand::Rng;

/// Shortest and longest usual reach from the ventricles in voxels.
const REACH: [f32; 2] = [2.0, 10.0];

/// No lesion reaches further than this, in voxels.
const FURTHEST: f32 = 18.0;

/// Smallest piece that is kept, in voxels.
const LEAST_VOXELS: usize = 12;

/// Adds confluent lesions to a plan. `tissue` is the head's (see [`Tissue`]), `near` where its ventricles must lie: other CSF does not count.
/// Nothing is added where there are no ventricles.
pub fn grow(rng: &mut impl Rng, plan: &mut Plan<'_>, tissue: &[u8], near: &[bool]) {
    let shape = plan.shape();
    let Some(ventricles) = anatomy::ventricles(tissue, near) else {
        return;
    };
    let distance = field::distance(&ventricles, shape);
    let reach = random::between(rng, REACH[0].ln(), REACH[1].ln()).exp();
    // From caps at the horns to bands all around.
    let cover = random::between(rng, -0.7, 1.0);
    let rough = random::between(rng, 0.1, 0.5);
    let coarse = field::smooth_noise(rng, shape, 24.0);
    let fine = field::smooth_noise(rng, shape, 7.0);
    let inside: Vec<bool> = (0..tissue.len())
        .map(|i| {
            let here = reach * (cover + 0.7 * coarse[i] + rough * fine[i]);
            tissue[i] == Tissue::White as u8 && distance[i] <= here.min(FURTHEST)
        })
        .collect();
    let pieces = components::label(&inside, shape, Connectivity::Six);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); pieces.count()];
    for (i, &piece) in pieces.labels.iter().enumerate() {
        if piece > 0 {
            members[piece as usize - 1].push(i);
        }
    }
    // Pieces next to each other are one lesion to the eye; those too near to one already put down are refused.
    for piece in members.into_iter().filter(|m| m.len() >= LEAST_VOXELS) {
        plan.take(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn confluent_lesions_hug_the_ventricles_in_white_matter() {
        let shape = [48, 48, 40];
        let middle = |i: usize| {
            let v = field::voxel(shape, i);
            let d = [v[0] as f32 - 24.0, (v[1] as f32 - 24.0) * 0.5, v[2] as f32 - 20.0];
            d.iter().map(|d| d * d).sum::<f32>().sqrt()
        };
        let tissue: Vec<u8> = (0..field::len(shape))
            .map(|i| match middle(i) {
                d if d < 5.0 => 1,
                d if d < 17.0 => 3,
                d if d < 19.0 => 2,
                _ => 1,
            })
            .collect();
        let near: Vec<bool> = (0..tissue.len()).map(|i| middle(i) < 8.0).collect();
        let allowed = vec![true; tissue.len()];
        let mut most = 0;
        for seed in 0..12 {
            let mut existing = vec![false; tissue.len()];
            existing[field::index(shape, [32, 24, 20])] = true;
            let mut plan = Plan::new(shape, &allowed, &existing);
            grow(&mut StdRng::seed_from_u64(seed), &mut plan, &tissue, &near);
            let voxels: Vec<usize> = plan.lesions.iter().flatten().copied().collect();
            assert!(
                voxels.iter().all(|&i| tissue[i] == 3),
                "only in white matter, not around the outer CSF's cortex"
            );
            assert!(voxels.iter().all(|&i| !existing[i]));
            let mut again = Plan::new(shape, &allowed, &existing);
            grow(&mut StdRng::seed_from_u64(seed), &mut again, &tissue, &near);
            assert_eq!(plan.lesions, again.lesions);
            most = most.max(voxels.len());
        }
        let white = tissue.iter().filter(|t| **t == 3).count();
        assert!(most > white / 10, "{most} of {white}");
        let mut plan = Plan::new(shape, &allowed, &vec![false; tissue.len()]);
        grow(
            &mut StdRng::seed_from_u64(1),
            &mut plan,
            &tissue,
            &vec![false; tissue.len()],
        );
        assert!(plan.lesions.is_empty(), "without ventricles");
    }
}
