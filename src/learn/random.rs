//! Random numbers that depend on a seed, a purpose and a position only.
//!
//! Every random decision of this room comes from a generator made here, so a patch can be made again from
//! its number alone. The streams are those of `rand` 0.10's `StdRng` (ChaCha12): another version of the
//! crate may give other, equally good, patches.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use rand_distr::StandardNormal;

/// What a stream of random numbers is for. Streams of different purposes are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The making of a case.
    Case = 1,
    /// The choice and augmentation of a patch.
    Patch = 2,
    /// The making of a case of the validation set.
    Validation = 3,
    /// The making of the shipped sample.
    Sample = 4,
    /// The choice and augmentation of a patch in fine-tuning.
    Finetune = 5,
}

/// The generator for one purpose at one position under one seed.
#[must_use]
pub fn stream(seed: u64, purpose: Purpose, position: u64) -> StdRng {
    let mut key = [0_u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..24].copy_from_slice(&position.to_le_bytes());
    StdRng::from_seed(key)
}

/// A value from a symmetric interval.
pub fn within(rng: &mut impl Rng, largest: f32) -> f32 {
    largest * (2.0 * rng.random::<f32>() - 1.0)
}

/// A value between two bounds.
pub fn between(rng: &mut impl Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// A normal value.
pub fn normal(rng: &mut impl Rng, mean: f32, sd: f32) -> f32 {
    mean + sd * rng.sample::<f32, _>(StandardNormal)
}

/// `true` with the given probability (clamped to 0..1).
pub fn chance(rng: &mut impl Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, purpose, position| stream(seed, purpose, position).random::<u64>();
        assert_eq!(draw(1, Purpose::Case, 2), draw(1, Purpose::Case, 2));
        let all = [
            draw(1, Purpose::Case, 2),
            draw(2, Purpose::Case, 2),
            draw(1, Purpose::Patch, 2),
            draw(1, Purpose::Case, 3),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(a));
        }
    }
}
