//! What a fine-tuning will cost in time, measured by a dry step.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use web_time::Instant;

use super::case::{Case, Source};
use super::folds::folds;
use super::{Base, FinetuneError, Learner, Settings, Start};
use crate::pipeline::{self, Head};
use crate::tiling::Plan;

/// Number of a run that is only measured.
const DRY: u64 = u64::MAX >> 12;

/// How long things take, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Seconds of one step.
    pub step_seconds: f64,
    /// Seconds of one patch in a look.
    pub patch_seconds: f64,
    /// Steps in all runs.
    pub steps: u64,
    /// Patches of all looks.
    pub looking_patches: u64,
    /// Patches of the scores before and after.
    pub scoring_patches: u64,
}

impl Rehearsal {
    /// Time of everything; early stopping may make it shorter.
    #[must_use]
    pub fn total(&self) -> Duration {
        let patches = (self.looking_patches + self.scoring_patches) as f64;
        Duration::from_secs_f64(
            (self.steps as f64 * self.step_seconds + patches * self.patch_seconds).max(0.0),
        )
    }

    /// The same durations for other settings of the same part and patch, or for other cases.
    #[must_use]
    pub fn planned(&self, cases: &[Arc<Case>], settings: &Settings) -> Self {
        let runs = folds(cases.len(), settings);
        let of = |held_out: &[usize], how: &pipeline::Settings| -> u64 {
            held_out
                .iter()
                .filter_map(|&case| cases.get(case))
                .map(|case| patches(case.head(), how) as u64)
                .sum()
        };
        let (looking, scoring) = (settings.looking(), settings.scoring());
        let looks = 1 + settings.steps.div_ceil(settings.look_every);
        Self {
            steps: runs.iter().map(|run| run.planned).sum(),
            looking_patches: runs.iter().map(|run| looks * of(&run.held_out, &looking)).sum(),
            scoring_patches: runs.iter().map(|run| 2 * of(&run.held_out, &scoring)).sum(),
            ..*self
        }
    }

    /// Steps a run that fit into so many minutes with all looks; at least 1.
    #[must_use]
    pub fn steps_in(&self, minutes: f64, runs: usize) -> u64 {
        let scoring = self.scoring_patches as f64 * self.patch_seconds;
        let looking = self.looking_patches as f64 * self.patch_seconds / (self.steps.max(1) as f64);
        let each = (self.step_seconds + looking).max(1e-9);
        let steps = (minutes * 60.0 - scoring) / each / runs.max(1) as f64;
        steps.clamp(1.0, 1e6) as u64
    }
}

/// Patches that a head is cut into.
pub(super) fn patches(head: &Head, how: &pipeline::Settings) -> usize {
    Plan::new(head.grid().shape, how.patch, how.overlap)
        .and_then(|plan| plan.within(head.foreground()))
        .map_or(0, |plan| plan.len() * how.orientations().len())
}

/// Takes two dry steps and predicts two patches, and says from the second of each what all will take: the first one
/// also compiles and allocates. What the learner held is gone; [`Session::advance`](super::Session::advance) begins anew.
///
/// # Errors
/// [`FinetuneError`] if a setting is out of range or the learner fails.
pub async fn rehearse<L: Learner>(
    learner: &L,
    base: &Base,
    cases: &[Arc<Case>],
    settings: &Settings,
    keep: bool,
) -> Result<Rehearsal, FinetuneError> {
    settings.validate(cases.len(), base.config())?;
    let failed = |source| FinetuneError::Learn { step: 0, source };
    let start = Start {
        run: DRY,
        config: serde_json::to_string(base.config()).unwrap_or_default(),
        weights: base.weights().to_vec(),
        recipe: settings.recipe(base.config(), settings.steps, keep),
        snapshot: None,
    };
    learner.begin(start).await.map_err(failed)?;
    let train: Vec<usize> = (0..cases.len()).collect();
    let source = Source {
        cases,
        train: &train,
        side: settings.patch,
        augment: settings.augment,
        seed: settings.seed,
        steps: settings.steps,
    };
    let (mut step_seconds, mut patch_seconds) = (0.0, 0.0);
    for step in 0..2 {
        let patch = source
            .patch(step)
            .ok_or(FinetuneError::Cases { needed: 1, cases: 0 })?;
        let image = patch.image.clone();
        let begun = Instant::now();
        learner.step(step, patch).await.map_err(failed)?;
        step_seconds = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        learner
            .predict(image, settings.patch)
            .await
            .map_err(|e| failed(e.into()))?;
        patch_seconds = begun.elapsed().as_secs_f64() / learner.parallelism().max(1) as f64;
    }
    let timed = Rehearsal {
        step_seconds,
        patch_seconds,
        steps: 0,
        looking_patches: 0,
        scoring_patches: 0,
    };
    Ok(timed.planned(cases, settings))
}
