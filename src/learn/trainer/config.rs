//! What a training run is: one serialisable struct.

use crate::learn::config::DataConfig;
use crate::loss::Loss;
use crate::net::kernels::Renorm;
use crate::net::{Mode, NetConfig, Training};
use serde::{Deserialize, Serialize};

/// A training run. Two runs of one configuration on one CPU give the same weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// The network.
    pub net: NetConfig,
    /// The loss.
    pub loss: Loss,
    /// Weight of the mean cross-entropy added to the loss. Where every probability has sunk to nothing an overlap loss has
    /// no gradient left; a little cross-entropy always has, and is negligible elsewhere.
    pub guard: f64,
    /// How many times a lesion voxel counts in that cross-entropy at first. With 1, the few lesion voxels of a patient with small
    /// lesions pull up less than all the others push down, and the network answers nothing for thousands of steps.
    pub guard_lesion_weight: f64,
    /// What that weight falls to. It moves the probability at which lesion and background balance: with 20, threshold 0.5
    /// stands for a chance of 1 in 21, and precision is what it costs.
    pub guard_lesion_weight_final: f64,
    /// Steps over which it falls, by the same factor in each.
    pub guard_decay: u64,
    /// How much more the voxels of small lesions count in it: by `(500 mm3 / size) ^ this`, up to 10 times. 0: no more than others.
    #[serde(skip_serializing_if = "is_zero")]
    pub guard_small: f64,
    /// Whether the loss is that of the probability weighed by how bright its voxel is in FLAIR, as it is in a mask
    /// ([`hyperintensity`](crate::volume::intensity::hyperintensity)). The cross-entropy of [`guard`](Self::guard) is not: the network's own
    /// answer stays one, also for a mask that is not weighed.
    #[serde(skip_serializing_if = "is_false")]
    pub weighed: bool,
    /// The patches.
    pub data: DataConfig,
    /// Seed of weights, patches and dropout.
    pub seed: u64,
    /// Number of steps.
    pub steps: u64,
    /// Patches per step.
    pub batch: usize,
    /// Highest learning rate of AdamW.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises from nothing.
    pub warmup: u64,
    /// Share of the highest learning rate that is left at the end of the cosine decay.
    pub final_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// AdamW's decay of the mean squared gradient.
    pub beta_2: f32,
    /// Added to the root of AdamW's mean squared gradient. It must be small against the gradients, or it is a brake that
    /// acts on those weights most whose gradients are smallest: burn's own default of 1e-5 is as large as many of them.
    pub epsilon: f32,
    /// Largest norm of any one tensor's gradient.
    pub clip: f32,
    /// Decay of the exponential moving average of the weights.
    pub average: f64,
    /// Weight of a step's statistics in the running ones.
    pub momentum: f64,
    /// Steps over which batch normalisation goes over to batch renormalisation.
    pub renorm_over: u64,
    /// Step from which the running statistics are constants.
    pub freeze_from: u64,
}

/// Left out of a card where it does nothing.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Left out of a card where it does nothing.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            net: NetConfig::browser(),
            // Smoothing by 100 voxels: with 1, a lesion-free patch outweighs a lesion a hundredfold, and the network
            // learns to answer nothing.
            loss: Loss::FBeta {
                beta: 1.5,
                smooth: 100.0,
            },
            guard: 1.0,
            guard_lesion_weight: 20.0,
            guard_lesion_weight_final: 1.0,
            guard_decay: 300,
            guard_small: 0.0,
            weighed: false,
            data: DataConfig::default(),
            seed: 1,
            steps: 2000,
            batch: 1,
            learning_rate: 1.5e-3,
            warmup: 50,
            final_rate: 0.02,
            weight_decay: 1e-4,
            beta_2: 0.999,
            epsilon: 1e-8,
            clip: 1.0,
            average: 0.99,
            momentum: 0.02,
            renorm_over: 300,
            freeze_from: u64::MAX,
        }
    }
}

/// A number of a [`TrainConfig`] that is out of range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field} is {value}; it must be {range}")]
pub struct TrainConfigError {
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub value: f64,
    /// What is allowed.
    pub range: &'static str,
}

impl TrainConfig {
    /// Checks the numbers that are not the network's.
    ///
    /// # Errors
    /// [`TrainConfigError`] for the first that is out of range.
    pub fn validate(&self) -> Result<(), TrainConfigError> {
        let check = |field, value: f64, ok: bool, range| {
            if ok {
                Ok(())
            } else {
                Err(TrainConfigError { field, value, range })
            }
        };
        let unit = |v: f64| (0.0..=1.0).contains(&v);
        check("steps", self.steps as f64, self.steps > 0, "at least 1")?;
        check("batch", self.batch as f64, self.batch > 0, "at least 1")?;
        let rate = self.learning_rate;
        check("learning_rate", rate, rate > 0.0 && rate.is_finite(), "above 0")?;
        check(
            "final_rate",
            self.final_rate,
            unit(self.final_rate),
            "from 0 to 1",
        )?;
        check(
            "average",
            self.average,
            (0.0..1.0).contains(&self.average),
            "from 0 to below 1",
        )?;
        check("momentum", self.momentum, unit(self.momentum), "from 0 to 1")?;
        check(
            "guard",
            self.guard,
            self.guard >= 0.0 && self.guard.is_finite(),
            "at least 0",
        )?;
        for (field, weight) in [
            ("guard_lesion_weight", self.guard_lesion_weight),
            ("guard_lesion_weight_final", self.guard_lesion_weight_final),
        ] {
            check(field, weight, weight > 0.0 && weight.is_finite(), "above 0")?;
        }
        let small = self.guard_small;
        check("guard_small", small, (0.0..=2.0).contains(&small), "from 0 to 2")?;
        check("clip", f64::from(self.clip), self.clip > 0.0, "above 0")?;
        let [beta_2, epsilon] = [self.beta_2, self.epsilon].map(f64::from);
        check(
            "beta_2",
            beta_2,
            (0.0..1.0).contains(&beta_2),
            "from 0 to below 1",
        )?;
        check(
            "epsilon",
            epsilon,
            epsilon > 0.0 && epsilon.is_finite(),
            "above 0",
        )?;
        let decay = f64::from(self.weight_decay);
        check(
            "weight_decay",
            decay,
            decay >= 0.0 && decay.is_finite(),
            "at least 0",
        )
    }

    /// Learning rate of a step: linear warm-up, then a cosine down to [`TrainConfig::final_rate`].
    #[must_use]
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        learning_rate(self.learning_rate, self.warmup, self.final_rate, self.steps, step)
    }

    /// How normalisation behaves in a step: batch normalisation at first, sliding over to batch renormalisation with
    /// r up to 3 and d up to 5 (Ioffe 2017), frozen at the end.
    #[must_use]
    pub fn mode(&self, step: u64) -> Mode {
        let dropout = dropout_seed(self.seed, step);
        // Early statistics count more: the running ones start from nothing.
        let momentum = self.momentum.max(1.0 / (step + 2) as f64);
        let share = (step as f64 / self.renorm_over.max(1) as f64).min(1.0);
        Mode::Train(Training {
            dropout,
            batch: (step < self.freeze_from).then_some(Renorm {
                momentum,
                r_max: 1.0 + 2.0 * share,
                d_max: 5.0 * share,
            }),
            keep: true,
        })
    }

    /// How many times a lesion voxel counts in a step's cross-entropy.
    #[must_use]
    pub fn lesion_weight_at(&self, step: u64) -> f64 {
        let weights = [self.guard_lesion_weight, self.guard_lesion_weight_final];
        lesion_weight(weights, self.guard_decay, step)
    }

    /// Share of the old average kept in a step; little at first, when the weights still move far.
    #[must_use]
    pub fn average_weight(&self, step: u64) -> f64 {
        average_weight(self.average, step)
    }
}

/// Linear warm-up to `highest`, then a cosine down to a share of it.
pub(super) fn learning_rate(highest: f64, warmup: u64, last: f64, steps: u64, step: u64) -> f64 {
    if step < warmup {
        return highest * (step + 1) as f64 / warmup as f64;
    }
    let span = steps.saturating_sub(warmup).max(1);
    let done = ((step - warmup) as f64 / span as f64).min(1.0);
    let cosine = (1.0 + (std::f64::consts::PI * done).cos()) / 2.0;
    highest * (last + (1.0 - last) * cosine)
}

/// Falls from the first to the last of two weights, by the same factor in each step.
pub(super) fn lesion_weight([first, last]: [f64; 2], decay: u64, step: u64) -> f64 {
    let left = (1.0 - step as f64 / decay.max(1) as f64).max(0.0);
    first.powf(left) * last.powf(1.0 - left)
}

/// Share of the old average that is kept.
pub(super) fn average_weight(most: f64, step: u64) -> f64 {
    most.min((1 + step) as f64 / (10 + step) as f64)
}

/// Dropout depends on the seed and the step alone, so that a resumed run repeats it.
pub(super) fn dropout_seed(seed: u64, step: u64) -> u64 {
    seed ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_then_falls() {
        let c = TrainConfig {
            steps: 100,
            warmup: 10,
            learning_rate: 1.0,
            final_rate: 0.1,
            ..TrainConfig::default()
        };
        assert!((c.learning_rate_at(0) - 0.1).abs() < 1e-12);
        assert!((c.learning_rate_at(9) - 1.0).abs() < 1e-12);
        assert!((c.learning_rate_at(10) - 1.0).abs() < 1e-12);
        assert!((c.learning_rate_at(55) - 0.55).abs() < 1e-12);
        assert!((c.learning_rate_at(100) - 0.1).abs() < 1e-12);
        assert!((c.learning_rate_at(5000) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn the_lesion_weight_falls() {
        let c = TrainConfig {
            guard_lesion_weight: 32.0,
            guard_lesion_weight_final: 2.0,
            guard_decay: 100,
            ..TrainConfig::default()
        };
        for (step, weight) in [(0, 32.0), (50, 8.0), (75, 4.0), (100, 2.0), (5000, 2.0)] {
            assert!((c.lesion_weight_at(step) - weight).abs() < 1e-12, "{step}");
        }
    }

    #[test]
    fn modes_follow_the_plan() {
        let c = TrainConfig {
            renorm_over: 10,
            freeze_from: 20,
            ..TrainConfig::default()
        };
        let limits = |step| match c.mode(step) {
            Mode::Train(training) => training.batch.map(|b| (b.r_max, b.d_max)),
            Mode::Infer => None,
        };
        assert_eq!(limits(0), Some((1.0, 0.0)));
        assert_eq!(limits(15), Some((3.0, 5.0)));
        assert_eq!(limits(20), None);
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let bad = TrainConfig {
            learning_rate: f64::NAN,
            ..TrainConfig::default()
        };
        assert_eq!(bad.validate().unwrap_err().field, "learning_rate");
        let json = serde_json::to_string(&TrainConfig::default()).unwrap();
        assert_eq!(
            serde_json::from_str::<TrainConfig>(&json).unwrap(),
            TrainConfig::default()
        );
    }
}
