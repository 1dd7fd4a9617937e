//! A fine-tuning in progress.

mod drive;
mod scoring;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::case::Case;
use super::checkpoint::{Checkpoint, Kept};
use super::folds::folds;
use super::outcome::{Maps, Outcome};
use super::record::{CaseEntry, FoldRecord, Look, Record, StepPoint};
use super::record::{summary, verdict};
use super::{Base, FinetuneError, Settings};
use crate::pipeline::{self, Run};
use crate::volume::Volume;

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The base network is scored on the held-out cases.
    Before,
    /// The network learns, and is looked at from time to time.
    Training,
    /// The best weights are scored on the held-out cases.
    After,
    /// It is over.
    Done,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "Scoring the base network",
            Self::Training => "Training",
            Self::After => "Scoring the best weights",
            Self::Done => "Done",
        })
    }
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// What it is doing.
    pub stage: Stage,
    /// Run, from 0.
    pub fold: usize,
    /// Runs in all.
    pub folds: usize,
    /// Steps done in this run.
    pub step: u64,
    /// Steps planned in this run.
    pub steps: u64,
    /// Estimated time until the end of everything; `None` while too little was timed.
    pub left: Option<Duration>,
}

/// What a session tells whoever drives it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A stage or a run began.
    Stage(Place),
    /// A whole head is scored: so many patches are done.
    Patches {
        /// Patches done.
        done: usize,
        /// Patches in all.
        total: usize,
    },
    /// A step was made.
    Step(StepPoint, Place),
    /// The held-out cases were looked at.
    Look {
        /// Their scores.
        look: &'a Look,
        /// Their probabilities.
        maps: &'a [HeldOutMap],
    },
    /// Everything up to here; store it now, whole or not at all.
    Checkpoint(&'a [u8]),
}

/// A probability of a held-out case.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOutMap {
    /// Number of the case.
    pub case: usize,
    /// Lesion probability on the FLAIR's own grid.
    pub probability: Volume,
}

/// All progress that is small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) fold: usize,
    pub(super) step: u64,
    /// The best mean F_beta so far, in this run.
    pub(super) best: Option<f64>,
    /// Looks since then.
    pub(super) stale: u64,
    pub(super) stopped: bool,
    pub(super) folds: Vec<FoldRecord>,
}

/// Weights that progress depends on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Blobs {
    /// The learner's snapshot at the state's step; nothing at step 0.
    pub(super) snapshot: Option<Vec<u8>>,
    /// The weights that are best so far; nothing if they are the base's.
    pub(super) best: Option<Vec<u8>>,
    /// Weights of earlier looks of this run.
    pub(super) kept: Vec<Kept>,
}

/// A scoring under way.
struct Scoring {
    stage: Stage,
    step: u64,
    case: usize,
    overlap: f64,
    run: Run<Arc<pipeline::Head>>,
}

/// A fine-tuning in progress.
///
/// All progress lives here and not in the future of [`Session::advance`]: when that ends with an error, is paused or simply
/// dropped, it may be called again, with the same learner or another. A learner that does not hold what the session needs is
/// begun anew from the last checkpoint, which costs at most [`Settings::checkpoint_every`] steps.
///
/// Step `n` trains on a patch that depends on the seed, the cases and `n` alone, so a run that was interrupted gives the numbers of
/// one that was not, to the last bit where the engine's arithmetic is repeatable (the CPU's is).
pub struct Session {
    cases: Vec<Arc<Case>>,
    base: Base,
    settings: Settings,
    keep: bool,
    state: State,
    blobs: Blobs,
    /// Where [`State`] and [`Blobs`] stood at the last checkpoint.
    saved: (State, Blobs),
    scoring: Option<Scoring>,
    maps: Vec<Maps>,
    /// Seconds of the last steps and patches.
    timed: [VecDeque<f64>; 2],
}

impl Session {
    /// Plans a fine-tuning. `keep` says whether maps are kept for the backward pass ([`fit`](super::fit) decides).
    ///
    /// # Errors
    /// [`FinetuneError`] if a setting is out of range or there are too few cases.
    pub fn new(
        cases: Vec<Arc<Case>>,
        base: Base,
        settings: Settings,
        keep: bool,
    ) -> Result<Self, FinetuneError> {
        settings.validate(cases.len(), base.config())?;
        let state = State {
            stage: Stage::Before,
            fold: 0,
            step: 0,
            best: None,
            stale: 0,
            stopped: false,
            folds: folds(cases.len(), &settings),
        };
        Ok(Self::at(cases, base, settings, keep, state, Blobs::default()))
    }

    /// Goes on where a checkpoint was taken: with the same cases in the same order and the same base network.
    ///
    /// # Errors
    /// [`FinetuneError::Checkpoint`] if it is damaged, [`FinetuneError::Foreign`] if it belongs to something else.
    pub fn resume(cases: Vec<Arc<Case>>, base: Base, checkpoint: &[u8]) -> Result<Self, FinetuneError> {
        let Checkpoint { header, state, blobs } = Checkpoint::from_bytes(checkpoint)?;
        if header.base_sha256 != base.sha256() {
            return Err(FinetuneError::Foreign {
                what: "base network",
                why: format!(
                    "it was made with {} ({:.12}), this is {} ({:.12})",
                    header.base,
                    header.base_sha256,
                    base.name(),
                    base.sha256()
                ),
            });
        }
        if header.cases.len() != cases.len() {
            return Err(FinetuneError::Foreign {
                what: "cohort",
                why: format!("it has {} cases, {} were given", header.cases.len(), cases.len()),
            });
        }
        if let Some((name, _)) = header
            .cases
            .iter()
            .zip(&cases)
            .find(|((_, print), case)| print != case.fingerprint())
            .map(|(entry, _)| entry)
        {
            return Err(FinetuneError::Foreign {
                what: "cohort",
                why: format!("the files of the case \"{name}\" are not the same"),
            });
        }
        header.settings.validate(cases.len(), base.config())?;
        if state.fold >= state.folds.len() {
            return Err(FinetuneError::Checkpoint(
                "it names a run that there is not".into(),
            ));
        }
        Ok(Self::at(cases, base, header.settings, header.keep, state, blobs))
    }

    fn at(
        cases: Vec<Arc<Case>>,
        base: Base,
        settings: Settings,
        keep: bool,
        state: State,
        blobs: Blobs,
    ) -> Self {
        Self {
            cases,
            base,
            settings,
            keep,
            saved: (state.clone(), blobs.clone()),
            state,
            blobs,
            scoring: None,
            maps: Vec::new(),
            timed: Default::default(),
        }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The cases.
    #[must_use]
    pub fn cases(&self) -> &[Arc<Case>] {
        &self.cases
    }

    /// The base network.
    #[must_use]
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// All runs so far: losses, looks, scores.
    #[must_use]
    pub fn history(&self) -> &[FoldRecord] {
        &self.state.folds
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            stage: self.state.stage,
            fold: self.state.fold,
            folds: self.state.folds.len(),
            step: self.state.step,
            steps: self.record().planned,
            left: self.left(),
        }
    }

    /// True if nothing is left to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state.stage == Stage::Done
    }

    /// Takes no more steps: the next [`Session::advance`] scores the best weights so far and ends. With k-fold the
    /// runs that are left are not made.
    pub fn stop(&mut self) {
        self.state.stopped = true;
    }

    /// Steps of the current run whose weights can be gone back to with [`Session::choose`]; 0 is the base network.
    #[must_use]
    pub fn choices(&self) -> Vec<u64> {
        std::iter::once(0)
            .chain(self.blobs.kept.iter().map(|kept| kept.step))
            .collect()
    }

    /// When it is over: goes back to the weights of an earlier look, which the next [`Session::advance`] scores.
    ///
    /// # Errors
    /// [`FinetuneError::NoSuchStep`] if the weights of that step were not kept or it is not over.
    pub fn choose(&mut self, step: u64) -> Result<(), FinetuneError> {
        let kept = self.blobs.kept.iter().find(|kept| kept.step == step);
        let weights = match kept {
            Some(kept) => Some(kept.weights.clone()),
            None if step == 0 => None,
            None => return Err(FinetuneError::NoSuchStep { step }),
        };
        if !self.is_done() {
            return Err(FinetuneError::NoSuchStep { step });
        }
        self.blobs.best = weights;
        let record = self.record_mut();
        record.best_step = step;
        record.after.clear();
        self.state.stage = Stage::After;
        // A learner that has to be begun anew must not undo the choice.
        self.saved = (self.state.clone(), self.blobs.clone());
        Ok(())
    }

    /// What came of it, once it is over.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        if !self.is_done() {
            return None;
        }
        Some(Outcome::new(
            self.best_weights(),
            self.base.card().clone(),
            self.whole_record(),
            self.maps.clone(),
        ))
    }

    /// The record as it stands.
    #[must_use]
    pub fn whole_record(&self) -> Record {
        let summary = summary(&self.state.folds);
        Record {
            base: self.base.name().to_owned(),
            base_sha256: self.base.sha256().to_owned(),
            n: self.cases.len(),
            cases: self
                .cases
                .iter()
                .map(|case| CaseEntry {
                    fingerprint: case.fingerprint().to_owned(),
                    load_ml: case.load_ml(),
                    lesions: case.lesions(),
                })
                .collect(),
            settings: self.settings.clone(),
            verdict: verdict(&self.settings, &self.state.folds, &summary),
            folds: self.state.folds.clone(),
            summary,
        }
    }

    /// Everything up to the last checkpoint as bytes, for [`Session::resume`].
    #[must_use]
    pub fn checkpoint(&self) -> Vec<u8> {
        let (state, blobs) = &self.saved;
        Checkpoint::to_bytes(&self.base, &self.settings, self.keep, &self.cases, state, blobs)
    }
}
