//! What fine-tuning asks of an engine, as plain data: no burn, so that who draws the patches need not hold the network.

use crate::loss::Loss;
pub use crate::net::Part;
use serde::{Deserialize, Serialize};

/// What becomes of the statistics that normalisation works with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statistics {
    /// They stay those of the base network. A handful of cases is too few to take them from.
    #[default]
    Frozen,
    /// They follow the training patches, by batch renormalisation, in the whole network.
    Adapted,
}

/// How an engine trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What learns.
    pub part: Part,
    /// Normalisation.
    pub statistics: Statistics,
    /// The loss.
    pub loss: Loss,
    /// Weight of the mean cross-entropy added to it, which has a gradient where an overlap loss has none.
    pub guard: f64,
    /// How many times a lesion voxel counts in that cross-entropy at first: where the base network answers nothing, this is what
    /// makes it answer at all.
    pub lesion_weight: f64,
    /// Steps over which that falls to 1, by the same factor in each.
    pub lesion_decay: u64,
    /// Share of values that the trained layers drop; the frozen ones drop nothing.
    pub dropout: f64,
    /// Steps in all, which the learning rate's decay follows.
    pub steps: u64,
    /// Highest learning rate of AdamW.
    pub learning_rate: f64,
    /// Steps over which it rises from nothing.
    pub warmup: u64,
    /// Share of it that is left at the end.
    pub final_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest norm of any one tensor's gradient.
    pub clip: f64,
    /// Decay of the exponential moving average of the weights, which is what is kept.
    pub average: f64,
    /// True if maps are kept for the backward pass instead of being made again: faster, for more memory.
    pub keep: bool,
    /// Seed of dropout.
    pub seed: u64,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: u64,
    /// Loss of the patch before the step.
    pub loss: f32,
    /// Learning rate used.
    pub learning_rate: f64,
}

/// What an engine holds of a training run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The run it was begun for.
    pub run: u64,
    /// Steps done.
    pub step: u64,
}
