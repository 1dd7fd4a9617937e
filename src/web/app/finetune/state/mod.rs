//! What the page knows about fine-tuning, and how that changes: a state machine without a browser in it, as
//! [`crate::web::app::state`] is for the rest of the page.

mod action;
mod answers;
mod cohort;
mod plan;
mod run;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use action::{Action, Effect};
pub use cohort::{Cohort, Row, Standing};
pub use plan::{Budget, Form, HeldOutCase, Planning};
pub use run::{Pace, Run, scores};

use crate::web::app::state::{Desk, FileCard};
use crate::web::messages::finetune::{Interrupted, ToTuner};

/// What a person does one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// Cases in.
    #[default]
    Cohort,
    /// How to train.
    Plan,
    /// Training.
    Watch,
    /// Keep it or not.
    Decide,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Cohort, Self::Plan, Self::Watch, Self::Decide];

    /// Its name for a person.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cohort => "Cohort",
            Self::Plan => "Plan",
            Self::Watch => "Watch",
            Self::Decide => "Decide",
        }
    }
}

/// A sentence for the person above everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// True if something went wrong.
    pub bad: bool,
    /// The sentence.
    pub text: String,
}

/// Everything the page knows about fine-tuning.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct State {
    /// The desk's health.
    pub desk: Desk,
    /// What is shown.
    pub stage: Stage,
    /// The cases.
    pub cohort: Cohort,
    /// How to train.
    pub form: Form,
    /// What that would cost.
    pub plan: Planning,
    /// The run.
    pub run: Option<Run>,
    /// A run of an earlier visit that can be gone on with.
    pub interrupted: Option<Interrupted>,
    /// What the person should read, newest last.
    pub words: VecDeque<Word>,
    /// A model was kept from this run, under this key.
    pub kept: Option<String>,
    /// Deaths of the desk since it last did something useful.
    deaths: u32,
    /// Counts the plans that were asked for.
    form_number: u32,
}

/// Sentences that are shown at once.
const MOST_WORDS: usize = 3;

/// The desk may die so often in a row before the page stops starting it again.
const MOST_DEATHS: u32 = 3;

impl State {
    /// Takes one step.
    #[must_use = "the page must carry out the effects"]
    pub fn step(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Added(files) => self.add(files),
            Action::Handed(name, flair, t1, mask) => self.take_case(name, flair, t1, mask),
            Action::Assign(case, role, file) => self.change_cohort(|cohort| cohort.assign(case, role, file)),
            Action::AddCase => {
                self.cohort.add_case();
                Vec::new()
            }
            Action::RemoveCase(case) => self.change_cohort(|cohort| cohort.remove(case)),
            Action::RemoveFile(file) => self.change_cohort(|cohort| {
                cohort.remove_file(file);
                Vec::new()
            }),
            Action::GoTo(stage) => self.go_to(stage),
            Action::ChooseModel(model) => self.reform(|form| form.model = model),
            Action::ChooseEngine(engine) => self.reform(|form| form.engine = engine),
            Action::Budget(budget) => self.reform(|form| form.budget = budget),
            Action::HoldOut(held_out) => self.reform(|form| form.held_out = held_out),
            Action::Patch(patch) => self.reform(|form| form.patch = patch),
            Action::Set(settings) => self.reform(|form| form.settings = *settings),
            Action::AskPlan => self.ask_plan(),
            Action::Start => self.start(),
            Action::Pause => self.pace(Pace::Going, Pace::Pausing, ToTuner::Pause),
            Action::Go => self.pace(Pace::Paused, Pace::Going, ToTuner::Go),
            Action::Stop => {
                let from = self.run.as_ref().map_or(Pace::Going, |run| run.pace);
                if matches!(from, Pace::Going | Pace::Paused | Pace::Pausing) {
                    self.pace(from, Pace::Stopping, ToTuner::Stop)
                } else {
                    Vec::new()
                }
            }
            Action::Choose(step) => self.pace(Pace::Ended, Pace::Going, ToTuner::Choose { step }),
            Action::Keep(name) => match name.trim() {
                "" => self.say(true, "Give the network a name before you keep it."),
                name => self.send(ToTuner::Keep {
                    name: name.to_owned(),
                }),
            },
            Action::Discard => self.send(ToTuner::Discard),
            Action::Resume => self.resume(),
            Action::SaveMap(map, after) => self.send(ToTuner::SaveMap { map, after }),
            Action::Export(key) => self.send(ToTuner::Export { key }),
            Action::Import(files) => {
                let mut effects = vec![Effect::Send(
                    ToTuner::Import,
                    files.iter().map(|file| file.id).collect(),
                )];
                effects.push(self.keep_files());
                effects
            }
            Action::RemoveModel(key) => self.send(ToTuner::Remove { key }),
            Action::ForgetEverything => self.send(ToTuner::ForgetEverything),
            Action::Models(models) => self.know_models(models),
            Action::Desk(message) => self.hear(message),
            Action::DeskReady => {
                self.desk = Desk::Ready;
                let mut effects = vec![Effect::Send(ToTuner::Recall, Vec::new())];
                if self.stage == Stage::Plan {
                    effects.extend(self.ask_plan());
                }
                effects
            }
            Action::DeskDied(why) => self.bury_desk(&why),
            Action::ChannelFailed(problem) => self.say(
                true,
                format!("The page lost a message ({problem}). Please reload it."),
            ),
            Action::Dismiss => {
                self.words.pop_front();
                Vec::new()
            }
        }
    }

    /// True while the cohort and the plan belong to a run.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.run.as_ref().is_some_and(Run::is_live)
    }

    /// True if a stage has something to show.
    #[must_use]
    pub fn can_go_to(&self, stage: Stage) -> bool {
        match stage {
            Stage::Cohort => true,
            Stage::Plan => !self.cohort.fit().is_empty(),
            Stage::Watch => self.run.is_some(),
            Stage::Decide => self.run.as_ref().is_some_and(|run| run.record.is_some()),
        }
    }

    /// True if "Start" would do something.
    #[must_use]
    pub fn can_start(&self) -> bool {
        self.desk == Desk::Ready
            && !self.is_running()
            && !self.form.model.is_empty()
            && !self.cohort.fit().is_empty()
            && !self.cohort.is_checking()
            && !matches!(&self.plan, Planning::Known(plan) if plan.refusal.is_some())
            && !matches!(&self.plan, Planning::Impossible(_))
            && (matches!(self.form.budget, Budget::Steps(_)) || self.is_timed())
    }

    /// True once a step was timed: before, nobody knows how many fit into so many minutes.
    fn is_timed(&self) -> bool {
        matches!(&self.plan, Planning::Known(plan) if plan.step_seconds.is_some())
    }

    fn send(&self, message: ToTuner) -> Vec<Effect> {
        vec![Effect::Send(message, Vec::new())]
    }

    fn say(&mut self, bad: bool, text: impl Into<String>) -> Vec<Effect> {
        let text = text.into();
        self.words.retain(|word| word.text != text);
        self.words.push_back(Word { bad, text });
        if self.words.len() > MOST_WORDS {
            self.words.pop_front();
        }
        Vec::new()
    }

    fn add(&mut self, files: Vec<FileCard>) -> Vec<Effect> {
        self.change_cohort(|cohort| cohort.add(files))
    }

    fn take_case(
        &mut self,
        name: String,
        flair: FileCard,
        t1: Option<FileCard>,
        mask: FileCard,
    ) -> Vec<Effect> {
        self.stage = Stage::Cohort;
        self.change_cohort(|cohort| cohort.take(name, flair, t1, mask))
    }

    /// Changes the cohort, unless a run holds it.
    fn change_cohort(&mut self, change: impl FnOnce(&mut Cohort) -> Vec<Effect>) -> Vec<Effect> {
        if self.is_running() {
            return self.say(true, "The cases cannot change during a run. Stop it first.");
        }
        let mut effects = change(&mut self.cohort);
        effects.push(self.keep_files());
        self.plan = Planning::None;
        effects
    }

    fn keep_files(&self) -> Effect {
        Effect::KeepFiles(self.cohort.files().iter().map(|file| file.id).collect())
    }

    fn go_to(&mut self, stage: Stage) -> Vec<Effect> {
        if !self.can_go_to(stage) {
            return Vec::new();
        }
        self.stage = stage;
        if stage == Stage::Plan && self.plan == Planning::None && !self.is_running() {
            return self.ask_plan();
        }
        Vec::new()
    }

    fn start(&mut self) -> Vec<Effect> {
        if !self.can_start() {
            return Vec::new();
        }
        let how = self.form.settings(&self.cohort);
        self.run = Some(Run::new(how.clone()));
        self.kept = None;
        self.interrupted = None;
        self.words.clear();
        self.stage = Stage::Watch;
        self.send(ToTuner::Start(Box::new(how)))
    }

    fn resume(&mut self) -> Vec<Effect> {
        if self.interrupted.take().is_none() || self.is_running() {
            return Vec::new();
        }
        // What the desk says next tells the rest.
        self.run = Some(Run::new(self.form.settings(&self.cohort)));
        self.kept = None;
        self.words.clear();
        self.stage = Stage::Watch;
        // Its cases come back from storage, under their numbers.
        let mut effects = self.cohort.clear();
        effects.push(self.keep_files());
        effects.extend(self.send(ToTuner::Resume));
        effects
    }

    /// Changes what the run is at, if it is at `from`.
    fn pace(&mut self, from: Pace, to: Pace, message: ToTuner) -> Vec<Effect> {
        match &mut self.run {
            Some(run) if run.pace == from => {
                run.pace = to;
                if from == Pace::Ended {
                    self.stage = Stage::Watch;
                }
                self.send(message)
            }
            _ => Vec::new(),
        }
    }

    /// The desk died: start another. Cases are read again, and a run goes on from what is stored.
    fn bury_desk(&mut self, why: &str) -> Vec<Effect> {
        self.deaths += 1;
        let was_running = self.is_running();
        if let Some(run) = self.run.as_mut().filter(|run| run.is_live()) {
            run.pace = Pace::Broken;
        }
        self.plan = Planning::None;
        if self.deaths > MOST_DEATHS {
            self.desk = Desk::Gone;
            return self.say(
                true,
                format!("The part of the page that trains cannot run here ({why}). Reload the page."),
            );
        }
        self.desk = Desk::Starting;
        if was_running {
            self.say(
                true,
                format!(
                    "Training stopped unexpectedly ({why}). Go on from the last checkpoint below. If memory ran \
                     out, close other tabs first."
                ),
            );
        }
        let mut effects = vec![Effect::RestartDesk];
        if !was_running {
            effects.extend(self.cohort.check_again());
        }
        effects
    }
}
