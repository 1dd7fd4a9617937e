//! How to train, and what that would cost.

use super::{Cohort, Effect, Stage, State};
use crate::pipeline::finetune::{HeldOut, Settings};
use crate::web::app::state::Desk;
use crate::web::messages::EngineChoice;
use crate::web::messages::finetune::{ToTuner, TunePlan, TuneSettings};

/// How long to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// So many steps.
    Steps(u64),
    /// As many steps as fit into so many minutes.
    Minutes(f64),
}

/// What is kept out of training, to see on it whether training helped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldOutCase {
    /// The last case, if there are two.
    Last,
    /// Nothing.
    Nothing,
    /// This case, by its number.
    Case(u32),
    /// Every case once, in so many folds.
    Folds(usize),
}

/// What a person chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// Directory of the network to start from; empty until one is known.
    pub model: String,
    /// Engine.
    pub engine: EngineChoice,
    /// How long.
    pub budget: Budget,
    /// What is held out.
    pub held_out: HeldOutCase,
    /// Patch side in voxels; `None` for the network's own.
    pub patch: Option<usize>,
    /// The rest; steps, patch and held-out case of it are not used.
    pub settings: Settings,
}

impl Default for Form {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            model: String::new(),
            engine: EngineChoice::Auto,
            budget: Budget::Steps(settings.steps),
            held_out: HeldOutCase::Last,
            patch: None,
            settings,
        }
    }
}

impl Form {
    /// The run that a form asks for.
    #[must_use]
    pub fn settings(&self, cohort: &Cohort) -> TuneSettings {
        let cases: Vec<u32> = cohort.fit().iter().map(|row| row.id).collect();
        let mut settings = self.settings.clone();
        let last = match cases.len() {
            0 | 1 => HeldOut::Nothing,
            n => HeldOut::Case(n - 1),
        };
        settings.held_out = match self.held_out {
            HeldOutCase::Last => last,
            HeldOutCase::Nothing => HeldOut::Nothing,
            // A case that is gone.
            HeldOutCase::Case(id) => cases
                .iter()
                .position(|case| *case == id)
                .map_or(last, HeldOut::Case),
            HeldOutCase::Folds(folds) if cases.len() > 1 => HeldOut::Folds(folds.clamp(2, cases.len())),
            HeldOutCase::Folds(_) => HeldOut::Nothing,
        };
        let minutes = match self.budget {
            Budget::Steps(steps) => {
                settings.steps = steps;
                None
            }
            Budget::Minutes(minutes) => Some(minutes),
        };
        TuneSettings {
            model: self.model.clone(),
            engine: self.engine,
            cases,
            minutes,
            patch: self.patch,
            settings,
        }
    }
}

/// What the run would cost.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Planning {
    /// Not asked.
    #[default]
    None,
    /// The desk was asked.
    Asked,
    /// The desk's answer.
    Known(TunePlan),
    /// There is no such run; the sentence says why.
    Impossible(String),
}

impl State {
    /// Changes the form, and asks what that would cost.
    pub(super) fn reform(&mut self, change: impl FnOnce(&mut Form)) -> Vec<Effect> {
        change(&mut self.form);
        vec![Effect::PlanSoon]
    }

    pub(super) fn ask_plan(&mut self) -> Vec<Effect> {
        let ready = self.desk == Desk::Ready
            && self.stage == Stage::Plan
            && !self.is_running()
            && !self.form.model.is_empty()
            && !self.cohort.fit().is_empty();
        if !ready {
            return Vec::new();
        }
        self.plan = Planning::Asked;
        self.form_number += 1;
        let (number, how) = (self.form_number, Box::new(self.form.settings(&self.cohort)));
        self.send(ToTuner::Plan { number, how })
    }

    pub(super) fn know_models(&mut self, models: Vec<String>) -> Vec<Effect> {
        let known = models.contains(&self.form.model);
        match models.into_iter().next() {
            Some(first) if !known => self.reform(|form| form.model = first),
            _ => Vec::new(),
        }
    }
}
