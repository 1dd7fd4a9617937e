//! How a session goes on: steps, looks and checkpoints, one after the other.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use sha2::{Digest, Sha256};
use web_time::Instant;

use super::{Blobs, Event, HeldOutMap, Session, Stage};
use crate::pipeline::finetune::case::Source;
use crate::pipeline::finetune::checkpoint::Kept;
use crate::pipeline::finetune::record::{Ended, FoldRecord, Look, LookScores, Scored, StepPoint};
use crate::pipeline::finetune::{FinetuneError, LearnError, Learner, Start, rehearse};

/// Weights of so many looks are kept beside the best, to go back to.
const KEPT: usize = 8;

/// Points of the precision-recall curve of a look.
const CURVE: usize = 48;

/// Durations of so many steps and patches are remembered, to say how long it still takes.
const TIMED: usize = 15;

impl Session {
    /// Goes on to the end. `tell` hears of everything; [`ControlFlow::Break`] pauses.
    ///
    /// # Errors
    /// [`FinetuneError::Paused`]; [`FinetuneError::Learn`] or [`FinetuneError::Segment`] if the learner fails
    /// ([`FinetuneError::is_lost`]: call again with another); [`FinetuneError::Score`].
    pub async fn advance<L: Learner>(
        &mut self,
        learner: &L,
        mut tell: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), FinetuneError> {
        while !self.is_done() {
            self.say(&mut tell, Event::Stage(self.place()))?;
            match self.state.stage {
                Stage::Before => self.before(learner, &mut tell).await?,
                Stage::Training => self.train(learner, &mut tell).await?,
                Stage::After => self.after(learner, &mut tell).await?,
                Stage::Done => {}
            }
        }
        self.say(&mut tell, Event::Stage(self.place()))
    }

    /// Scores the base network.
    async fn before<L: Learner>(
        &mut self,
        learner: &L,
        tell: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), FinetuneError> {
        if self.state.stopped && self.state.fold > 0 {
            self.state.stage = Stage::Done;
            return self.save(learner, tell, false).await;
        }
        learner
            .begin(self.start(None))
            .await
            .map_err(|e| self.failed(e))?;
        let scoring = self.settings.scoring();
        for case in self.record().held_out.clone() {
            if self.record().before.iter().any(|scored| scored.case == case) {
                continue;
            }
            let (evaluation, probability) = self.score(learner, case, &scoring, tell).await?;
            self.record_mut().before.push(Scored { case, evaluation });
            self.remember(case, probability, true);
        }
        // The median of the other runs' best steps may be none at all.
        self.state.stage = if self.record().planned == 0 {
            self.record_mut().ended = Some(Ended::Steps);
            Stage::After
        } else {
            Stage::Training
        };
        self.save(learner, tell, false).await
    }

    /// Takes steps and looks.
    async fn train<L: Learner>(
        &mut self,
        learner: &L,
        tell: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), FinetuneError> {
        self.take_up(learner).await?;
        if self.record().looks.is_empty() {
            // The bar that weights have to clear.
            self.look(learner, tell).await?;
        }
        let planned = self.record().planned;
        loop {
            let ended = if self.state.stopped {
                Some(Ended::Stopped)
            } else if self.state.step >= planned {
                Some(Ended::Steps)
            } else if self.settings.patience > 0 && self.state.stale >= self.settings.patience {
                Some(Ended::Early)
            } else {
                None
            };
            let due = self.state.step.is_multiple_of(self.settings.look_every)
                || matches!(ended, Some(Ended::Stopped | Ended::Steps));
            if due && self.record().looks.last().map(|look| look.step) != Some(self.state.step) {
                self.look(learner, tell).await?;
                // Looking may have used up the patience.
                continue;
            }
            if let Some(ended) = ended {
                self.record_mut().ended = Some(ended);
                self.state.stage = Stage::After;
                return self.save(learner, tell, true).await;
            }
            self.step(learner, tell).await?;
            if self.state.step.is_multiple_of(self.settings.checkpoint_every) {
                self.save(learner, tell, true).await?;
            }
        }
    }

    /// One step.
    async fn step<L: Learner>(
        &mut self,
        learner: &L,
        tell: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), FinetuneError> {
        let step = self.state.step;
        let fold = self.state.fold;
        let source = Source {
            cases: &self.cases,
            train: &self.record().train,
            side: self.settings.patch,
            augment: self.settings.augment,
            seed: self.settings.seed.wrapping_add(fold as u64),
            steps: self.settings.steps,
        };
        let patch = source
            .patch(step)
            .ok_or(FinetuneError::Cases { needed: 1, cases: 0 })?;
        let start = Instant::now();
        let report = learner.step(step, patch).await.map_err(|e| self.failed(e))?;
        note(&mut self.timed[0], start.elapsed());
        self.state.step = report.step;
        let record = self.record_mut();
        record.losses.push(report.loss);
        let point = StepPoint {
            fold,
            step: report.step,
            loss: report.loss,
            smoothed: record.smoothed(),
            learning_rate: report.learning_rate,
        };
        self.say(tell, Event::Step(point, self.place()))
    }

    /// Scores the averaged weights and keeps them if they are the best.
    async fn look<L: Learner>(
        &mut self,
        learner: &L,
        tell: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), FinetuneError> {
        let (fold, step) = (self.state.fold, self.state.step);
        // Before the first step predictions are the base's own.
        let weights = match step {
            0 => {
                let base = self.base.weights().to_vec();
                learner.show(base).await.map_err(|e| self.failed(e))?;
                None
            }
            _ => Some(learner.publish().await.map_err(|e| self.failed(e))?),
        };
        let looking = self.settings.looking();
        let (mut scores, mut maps) = (Vec::new(), Vec::new());
        for case in self.record().held_out.clone() {
            let (evaluation, probability) = self.score(learner, case, &looking, tell).await?;
            let every = evaluation.curve.len().div_ceil(CURVE).max(1);
            scores.push(LookScores {
                case,
                dsc: evaluation.dsc,
                precision: evaluation.ppv,
                recall: evaluation.tpr,
                f2: evaluation.f2,
                f_beta: evaluation.voxels.f_beta(self.settings.beta),
                apr: evaluation.apr,
                curve: evaluation.curve.into_iter().step_by(every).collect(),
            });
            maps.push(HeldOutMap { case, probability });
        }
        let known: Vec<f64> = scores.iter().filter_map(|scores| scores.f_beta).collect();
        let score = known.iter().sum::<f64>() / known.len().max(1) as f64;
        // With nothing held out the newest is the best that is known.
        let best = scores.is_empty() || self.state.best.is_none_or(|best| score > best);
        if best {
            self.state.best = Some(score);
            self.state.stale = 0;
            self.record_mut().best_step = step;
            self.blobs.best.clone_from(&weights);
        } else {
            self.state.stale += 1;
        }
        if let Some(weights) = weights {
            self.blobs.kept.push(Kept { step, weights });
            let best_step = self.record().best_step;
            thin(&mut self.blobs.kept, best_step);
        }
        let look = Look {
            fold,
            step,
            scores,
            score,
            best,
        };
        self.record_mut().looks.push(look.clone());
        self.say(
            tell,
            Event::Look {
                look: &look,
                maps: &maps,
            },
        )
    }

    /// Scores the best weights and goes on to the next run.
    async fn after<L: Learner>(
        &mut self,
        learner: &L,
        tell: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), FinetuneError> {
        let held_out = self.record().held_out.clone();
        if !held_out.is_empty() {
            self.take_up(learner).await?;
            let weights = self.best_weights();
            learner.show(weights).await.map_err(|e| self.failed(e))?;
        }
        let scoring = self.settings.scoring();
        for case in held_out {
            if self.record().after.iter().any(|scored| scored.case == case) {
                continue;
            }
            let (evaluation, probability) = self.score(learner, case, &scoring, tell).await?;
            self.record_mut().after.push(Scored { case, evaluation });
            self.remember(case, probability, false);
        }
        if self.state.fold + 1 < self.state.folds.len() {
            self.state.fold += 1;
            self.state.step = 0;
            self.state.best = None;
            self.state.stale = 0;
            self.state.stage = Stage::Before;
            if self.record().held_out.is_empty() {
                let planned = self.planned_from_folds();
                self.record_mut().planned = planned;
            }
            self.blobs = Blobs::default();
        } else {
            self.state.stage = Stage::Done;
        }
        self.save(learner, tell, false).await
    }

    /// For the last run of k-fold: the median of the steps at which the others were best.
    fn planned_from_folds(&self) -> u64 {
        let mut best: Vec<u64> = self.state.folds[..self.state.fold]
            .iter()
            .map(|fold| fold.best_step)
            .collect();
        best.sort_unstable();
        best.get(best.len() / 2).copied().unwrap_or(0)
    }

    /// Makes sure that the learner holds this run at this step; if it does not, session and learner go back to the last
    /// checkpoint together.
    pub(super) async fn take_up<L: Learner>(&mut self, learner: &L) -> Result<(), FinetuneError> {
        let run = self.run_number();
        let held = learner.held().await.map_err(|e| self.failed(e))?;
        let step = self.state.step;
        // A step whose answer was dropped has been made, and will be answered again.
        if held.is_some_and(|held| held.run == run && (held.step == step || held.step == step + 1)) {
            return Ok(());
        }
        let (stopped, scoring) = (self.state.stopped, self.scoring.take());
        (self.state, self.blobs) = self.saved.clone();
        self.state.stopped |= stopped;
        self.scoring = scoring.filter(|s| s.stage == self.state.stage && s.step == self.state.step);
        let start = self.start(self.blobs.snapshot.clone());
        learner.begin(start).await.map_err(|e| self.failed(e))
    }

    /// Takes a checkpoint; with `learning` the learner's numbers are part of it.
    async fn save<L: Learner>(
        &mut self,
        learner: &L,
        tell: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
        learning: bool,
    ) -> Result<(), FinetuneError> {
        if learning {
            self.blobs.snapshot = Some(learner.snapshot().await.map_err(|e| self.failed(e))?);
        }
        self.saved = (self.state.clone(), self.blobs.clone());
        let bytes = self.checkpoint();
        self.say(tell, Event::Checkpoint(&bytes))
    }

    /// Takes a checkpoint of this very place after [`FinetuneError::Paused`], so that no step is lost if the program ends now.
    ///
    /// # Errors
    /// [`FinetuneError::Learn`] if the learner fails; the last checkpoint still holds.
    pub async fn checkpoint_now<L: Learner>(&mut self, learner: &L) -> Result<Vec<u8>, FinetuneError> {
        if self.state.stage == Stage::Training {
            self.take_up(learner).await?;
            let held = learner.held().await.map_err(|e| self.failed(e))?;
            // A step whose answer was dropped is in the learner and not in the session: there is no such place.
            if held.is_none_or(|held| held.step != self.state.step) {
                return Ok(self.checkpoint());
            }
            self.blobs.snapshot = Some(learner.snapshot().await.map_err(|e| self.failed(e))?);
        }
        self.saved = (self.state.clone(), self.blobs.clone());
        Ok(self.checkpoint())
    }

    fn start(&self, snapshot: Option<Vec<u8>>) -> Start {
        Start {
            run: self.run_number(),
            // A configuration that was read can be written.
            config: serde_json::to_string(self.base.config()).unwrap_or_default(),
            weights: self.base.weights().to_vec(),
            recipe: self
                .settings
                .recipe(self.base.config(), self.settings.steps, self.keep),
            snapshot,
        }
    }

    /// The same for the same base, settings, cases and run, and for nothing else.
    fn run_number(&self) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.base.sha256());
        hash.update(serde_json::to_string(&self.settings).unwrap_or_default());
        for case in &self.cases {
            hash.update(case.fingerprint());
        }
        hash.update((self.state.fold as u64).to_le_bytes());
        let digest = hash.finalize();
        // JSON and JavaScript hold whole numbers up to 2^53 without loss.
        digest
            .iter()
            .take(6)
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    pub(super) fn record(&self) -> &FoldRecord {
        &self.state.folds[self.state.fold]
    }

    pub(super) fn record_mut(&mut self) -> &mut FoldRecord {
        &mut self.state.folds[self.state.fold]
    }

    pub(super) fn failed(&self, source: LearnError) -> FinetuneError {
        FinetuneError::Learn {
            step: self.state.step,
            source,
        }
    }

    pub(super) fn say(
        &self,
        tell: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
        event: Event<'_>,
    ) -> Result<(), FinetuneError> {
        match tell(event) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(FinetuneError::Paused {
                step: self.state.step,
            }),
        }
    }

    /// Estimated time until the end; early stopping may make it shorter.
    pub(super) fn left(&self) -> Option<Duration> {
        let step = median(&self.timed[0])?;
        let patch = median(&self.timed[1]).unwrap_or(0.0);
        let runs = (self.state.fold..self.state.folds.len()).map(|fold| {
            let record = &self.state.folds[fold];
            let done = if fold == self.state.fold {
                self.state.step
            } else {
                0
            };
            let steps = record.planned.saturating_sub(done);
            let looks = steps.div_ceil(self.settings.look_every);
            let whole = if fold == self.state.fold { 1.0 } else { 2.0 };
            let [looking, scoring] = self.patches(&record.held_out);
            steps as f64 * step + (looks as f64 * looking + whole * scoring) * patch
        });
        Some(Duration::from_secs_f64(runs.sum()))
    }

    /// Patches that a look at these cases takes, and those of a whole scoring.
    fn patches(&self, held_out: &[usize]) -> [f64; 2] {
        [self.settings.looking(), self.settings.scoring()].map(|how| {
            let of = |case: &usize| rehearse::patches(self.cases[*case].head(), &how);
            held_out.iter().map(of).sum::<usize>() as f64
        })
    }
}

pub(super) fn note(times: &mut VecDeque<f64>, time: Duration) {
    if times.len() == TIMED {
        times.pop_front();
    }
    times.push_back(time.as_secs_f64());
}

fn median(times: &VecDeque<f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = times.iter().copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Keeps weights of looks far apart: of too many, every second but the best and the newest goes.
fn thin(kept: &mut Vec<Kept>, best: u64) {
    if kept.len() <= KEPT {
        return;
    }
    let last = kept.len() - 1;
    let mut at = 0;
    kept.retain(|one| {
        let keep = at % 2 == 1 || at == last || one.step == best;
        at += 1;
        keep
    });
}
