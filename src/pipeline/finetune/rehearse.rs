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
    /// Runs: one, or one for every fold and a last one.
    pub runs: u64,
    /// Steps of each run.
    pub steps: u64,
    /// Steps between two looks.
    pub look_every: u64,
    /// Patches of one look in every run, all runs together.
    pub look_patches: u64,
    /// Patches of the scores before and after, all runs together.
    pub scoring_patches: u64,
}

impl Rehearsal {
    /// Time of everything; early stopping may make it shorter.
    #[must_use]
    pub fn total(&self) -> Duration {
        let looks = 1 + self.steps.div_ceil(self.look_every.max(1));
        let patches = (looks * self.look_patches + self.scoring_patches) as f64;
        let steps = (self.runs * self.steps) as f64;
        Duration::from_secs_f64((steps * self.step_seconds + patches * self.patch_seconds).max(0.0))
    }

    /// The same durations for other settings of the same part and patch, or for other cases.
    #[must_use]
    pub fn planned(&self, cases: &[Arc<Case>], settings: &Settings) -> Self {
        let runs = folds(cases.len(), settings);
        let patches = |how: &pipeline::Settings| -> u64 {
            runs.iter()
                .flat_map(|run| &run.held_out)
                .filter_map(|&case| cases.get(case))
                .map(|case| patches(case.head(), how) as u64)
                .sum()
        };
        Self {
            runs: runs.len() as u64,
            steps: settings.steps,
            look_every: settings.look_every,
            look_patches: patches(&settings.looking()),
            scoring_patches: 2 * patches(&settings.scoring()),
            ..*self
        }
    }

    /// Steps of each run that fit into so many minutes with all looks and scores; at least 1. It does not depend on how many
    /// steps are planned.
    #[must_use]
    pub fn steps_in(&self, minutes: f64) -> u64 {
        // The first look, and the last one, which may come early.
        let fixed = (self.scoring_patches + 2 * self.look_patches) as f64 * self.patch_seconds;
        let looking = self.look_patches as f64 * self.patch_seconds / self.look_every.max(1) as f64;
        let each = (self.runs as f64 * self.step_seconds + looking).max(1e-9);
        ((minutes * 60.0 - fixed) / each).clamp(1.0, 1e6) as u64
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
        runs: 0,
        steps: 0,
        look_every: 0,
        look_patches: 0,
        scoring_patches: 0,
    };
    Ok(timed.planned(cases, settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_budget_in_minutes_is_kept_and_used(
            step_seconds in 0.001_f64..5.0,
            patch_seconds in 0.001_f64..2.0,
            runs in 1_u64..7,
            look_every in 1_u64..100,
            look_patches in 0_u64..200,
            minutes in 0.1_f64..600.0,
        ) {
            let rehearsal = Rehearsal {
                step_seconds,
                patch_seconds,
                runs,
                steps: 300,
                look_every,
                look_patches,
                scoring_patches: 4 * look_patches,
            };
            let of = |steps| Rehearsal { steps, ..rehearsal }.total().as_secs_f64();
            let steps = rehearsal.steps_in(minutes);
            let budget = minutes * 60.0;
            // One step is taken even where not one fits.
            prop_assert!(steps == 1 || of(steps) <= budget + 1e-6, "{} s of {budget}", of(steps));
            // Steps that take two looks more, which the count allows for, would not fit.
            prop_assert!(steps == 1_000_000 || of(steps + 2 * look_every + 1) > budget);
        }
    }
}
