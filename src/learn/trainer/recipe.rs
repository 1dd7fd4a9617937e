//! What a recipe comes to step by step: the schedules that fine-tuning shares with pretraining.

use super::config;
use crate::learn::tune::{Recipe, Statistics};
use crate::net::kernels::Renorm;
use crate::net::{Mode, Training};

impl Recipe {
    /// Learning rate after `step` steps: linear warm-up, then a cosine down to [`Recipe::final_rate`].
    #[must_use]
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        config::learning_rate(self.learning_rate, self.warmup, self.final_rate, self.steps, step)
    }

    /// How many times a lesion voxel counts in the cross-entropy after `step` steps.
    #[must_use]
    pub fn lesion_weight_at(&self, step: u64) -> f64 {
        config::lesion_weight([self.lesion_weight, 1.0], self.lesion_decay, step)
    }

    /// Share of the old average kept after `step` steps; less at first, so that the base counts no longer than it must.
    #[must_use]
    pub fn average_weight(&self, step: u64) -> f64 {
        config::average_weight(self.average, step)
    }

    /// How normalisation and dropout behave after `step` steps.
    #[must_use]
    pub fn mode(&self, step: u64) -> Mode {
        Mode::Train(Training {
            dropout: config::dropout_seed(self.seed, step),
            batch: (self.statistics == Statistics::Adapted).then_some(Renorm {
                momentum: 0.02,
                r_max: 3.0,
                d_max: 5.0,
            }),
            keep: self.keep,
        })
    }
}
