//! What a person may choose about fine-tuning.

use serde::{Deserialize, Serialize};

use super::FinetuneError;
use crate::learn::tune::{Part, Recipe, Statistics};
use crate::loss::Loss;
use crate::loss::closed::TverskyWeights;
use crate::net::NetConfig;
use crate::pipeline;

/// Smoothing of the loss, in voxels: with less, a patch without lesions outweighs one with a hundredfold.
const SMOOTH: f64 = 50.0;

/// Which cases the result is scored on and never trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldOut {
    /// None: nothing will be known about the result.
    Nothing,
    /// The case of this number.
    Case(usize),
    /// Each case once, in so many runs one after the other; then a last run on all of them, as long as the others were at
    /// their best.
    Folds(usize),
}

/// The settings of one fine-tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How much more recall counts than precision in the loss, and in the score by which the best weights are chosen
    /// (F_beta).
    pub beta: f64,
    /// What of the network learns.
    pub part: Part,
    /// Normalisation.
    pub statistics: Statistics,
    /// Training steps of one patch each, in each run.
    pub steps: u64,
    /// Highest learning rate of AdamW.
    pub learning_rate: f64,
    /// What is held out.
    pub held_out: HeldOut,
    /// Patch side in voxels of 1 mm, in training and in scoring.
    pub patch: usize,
    /// Vary the patches: pose, mirror image, level, missing T1.
    pub augment: bool,
    /// Share of values dropped by the trained layers; `None`: the network's own.
    pub dropout: Option<f64>,
    /// Decay of the average of the weights over the steps. The average is what is scored and kept.
    pub average: f64,
    /// Steps between two looks at the held-out cases.
    pub look_every: u64,
    /// Overlap of the patches in those looks; the scores before and after use that of [`Settings::segment`].
    pub look_overlap: f64,
    /// Looks without a better score after which training stops; 0: never.
    pub patience: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Seed of patches and dropout.
    pub seed: u64,
    /// Probability at and above which a voxel is lesion.
    pub threshold: f32,
    /// How whole heads are cut, predicted and fused for the scores before and after. Its patch is [`Settings::patch`].
    pub segment: pipeline::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            beta: 1.5,
            part: Part::default(),
            statistics: Statistics::default(),
            steps: 300,
            learning_rate: 1e-3,
            held_out: HeldOut::Case(0),
            patch: 48,
            augment: true,
            dropout: None,
            average: 0.98,
            look_every: 25,
            look_overlap: 0.0,
            patience: 6,
            checkpoint_every: 25,
            seed: 1,
            threshold: 0.5,
            segment: pipeline::Settings::default(),
        }
    }
}

impl Settings {
    /// What a false positive and a false negative weigh in the loss (Hashemi et al. 2018, Eq. 3).
    #[must_use]
    pub fn weights(&self) -> TverskyWeights {
        TverskyWeights::of_beta(self.beta)
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`FinetuneError::Setting`] for the first that is out of range, [`FinetuneError::Net`] for a patch that the network cannot
    /// halve often enough, [`FinetuneError::Cases`] if there are too few cases for what is held out.
    pub fn validate(&self, cases: usize, net: &NetConfig) -> Result<(), FinetuneError> {
        let check = |name, value: f64, ok: bool, range| {
            if ok {
                Ok(())
            } else {
                Err(FinetuneError::Setting { name, value, range })
            }
        };
        let below_1 = |v: f64| (0.0..1.0).contains(&v);
        check(
            "beta",
            self.beta,
            (0.1..=10.0).contains(&self.beta),
            "from 0.1 to 10",
        )?;
        check(
            "steps",
            self.steps as f64,
            (1..=1_000_000).contains(&self.steps),
            "from 1 to 1 000 000",
        )?;
        let rate = self.learning_rate;
        check(
            "learning rate",
            rate,
            rate > 0.0 && rate <= 1.0,
            "above 0 and at most 1",
        )?;
        check(
            "average",
            self.average,
            below_1(self.average),
            "from 0 to below 1",
        )?;
        let dropout = self.dropout.unwrap_or(0.0);
        check("dropout", dropout, below_1(dropout), "from 0 to below 1")?;
        for (name, every) in [
            ("look every", self.look_every),
            ("checkpoint every", self.checkpoint_every),
        ] {
            check(name, every as f64, every > 0, "at least 1")?;
        }
        for (name, overlap) in [
            ("overlap of a look", self.look_overlap),
            ("overlap", self.segment.overlap),
        ] {
            check(name, overlap, below_1(overlap), "from 0 to below 1")?;
        }
        let threshold = f64::from(self.threshold);
        check(
            "threshold",
            threshold,
            (0.0..=1.0).contains(&threshold),
            "from 0 to 1",
        )?;
        net.check_side(self.patch)?;
        let needed = match self.held_out {
            HeldOut::Nothing => 1,
            HeldOut::Case(_) => 2,
            HeldOut::Folds(folds) => folds.max(2),
        };
        if cases < needed {
            return Err(FinetuneError::Cases { needed, cases });
        }
        match self.held_out {
            HeldOut::Case(case) if case >= cases => Err(FinetuneError::NoSuchCase { case, cases }),
            HeldOut::Folds(folds) => check("folds", folds as f64, folds >= 2, "at least 2"),
            _ => Ok(()),
        }
    }

    /// How a run of `steps` steps trains a network.
    #[must_use]
    pub fn recipe(&self, net: &NetConfig, steps: u64, keep: bool) -> Recipe {
        Recipe {
            part: self.part,
            statistics: self.statistics,
            loss: Loss::FBeta {
                beta: self.beta,
                smooth: SMOOTH,
            },
            guard: 1.0,
            lesion_weight: 10.0,
            lesion_decay: steps / 3,
            dropout: self.dropout.unwrap_or(net.dropout),
            steps,
            learning_rate: self.learning_rate,
            warmup: 10.min(steps / 10),
            final_rate: 0.1,
            weight_decay: 1e-4,
            clip: 1.0,
            average: self.average,
            keep,
            seed: self.seed,
        }
    }

    /// How whole heads are scored: before and after.
    #[must_use]
    pub fn scoring(&self) -> pipeline::Settings {
        pipeline::Settings {
            patch: self.patch,
            ..self.segment.clone()
        }
    }

    /// How whole heads are scored in between.
    #[must_use]
    pub fn looking(&self) -> pipeline::Settings {
        pipeline::Settings {
            overlap: self.look_overlap,
            rotations: false,
            variance: false,
            ..self.scoring()
        }
    }
}
