//! A run as the page sees it.

use crate::pipeline::finetune::{Look, LookScores, Record};
use crate::web::messages::finetune::{TuneSettings, TuneStep};

/// What a run is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The desk was asked to start or go on.
    Starting,
    /// It goes.
    Going,
    /// It was asked to stand still.
    Pausing,
    /// It stands still.
    Paused,
    /// It was asked to evaluate the best so far and end.
    Stopping,
    /// It ended.
    Ended,
    /// It failed, or its desk died; a checkpoint may be gone on with.
    Broken,
}

/// A run as the page sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it is at.
    pub pace: Pace,
    /// How it was started; the number of steps is that of the run.
    pub how: TuneSettings,
    /// Names of its cases.
    pub names: Vec<String>,
    /// Rounds of training.
    pub rounds: usize,
    /// What it is doing, in words.
    pub stage: String,
    /// Patches done and in all, within an evaluation.
    pub patches: Option<(usize, usize)>,
    /// Steps of the round in progress.
    pub steps: Vec<TuneStep>,
    /// Looks at the held-out case in the round in progress.
    pub looks: Vec<Look>,
    /// Estimated seconds left in all.
    pub seconds_left: Option<f64>,
    /// Step that storage is at.
    pub saved: Option<u64>,
    /// Why checkpoints are not stored.
    pub not_saved: Option<String>,
    /// Everything about it, at the end.
    pub record: Option<Box<Record>>,
    /// Steps of looks that can be gone back to.
    pub choices: Vec<u64>,
}

impl Run {
    pub(super) fn new(how: TuneSettings) -> Self {
        Self {
            pace: Pace::Starting,
            how,
            names: Vec::new(),
            rounds: 1,
            stage: String::new(),
            patches: None,
            steps: Vec::new(),
            looks: Vec::new(),
            seconds_left: None,
            saved: None,
            not_saved: None,
            record: None,
            choices: Vec::new(),
        }
    }

    /// True while the desk works on it, or could at once.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self.pace, Pace::Ended | Pace::Broken)
    }

    /// Steps done in the round in progress.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.steps.last().map_or(0, |point| point.step)
    }
}

/// DSC, precision, recall and F2 of a look: means over the held-out cases that have them.
#[must_use]
pub fn scores(look: &Look) -> [Option<f64>; 4] {
    let figures: [fn(&LookScores) -> Option<f64>; 4] = [
        |case| case.dsc,
        |case| case.precision,
        |case| case.recall,
        |case| case.f2,
    ];
    figures.map(|figure| {
        let values: Vec<f64> = look.scores.iter().filter_map(figure).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    })
}
