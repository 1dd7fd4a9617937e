//! What the page knows about fine-tuning, and how that changes: a state machine without a browser in it, as
//! [`crate::web::app::state`] is for the rest of the page.

mod answers;
mod cohort;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use cohort::{Cohort, Row, Standing};
pub use plan::{Budget, Form, HeldOutCase, Planning};

use crate::pipeline::cohort::Role;
use crate::pipeline::finetune::{Look, LookScores, Record, Settings};
use crate::web::app::state::{Desk, FileCard};
use crate::web::messages::EngineChoice;
use crate::web::messages::finetune::{FromTuner, Interrupted, ToTuner, TuneSettings, TuneStep};

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
    fn new(how: TuneSettings) -> Self {
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

/// What a person did, what the desk said.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Files were added; their names may hold folders.
    Added(Vec<FileCard>),
    /// A case comes from Segment: FLAIR, T1 and mask.
    Handed(String, FileCard, Option<FileCard>, FileCard),
    /// This file, or none, is meant for this place in a case.
    Assign(u32, Role, Option<u32>),
    /// A case made by hand, still empty.
    AddCase,
    /// Remove a case and its files.
    RemoveCase(u32),
    /// Remove a file that belongs to no case.
    RemoveFile(u32),
    /// Go to a stage.
    GoTo(Stage),
    /// Network to start from.
    ChooseModel(String),
    /// Engine.
    ChooseEngine(EngineChoice),
    /// How long.
    Budget(Budget),
    /// What is held out.
    HoldOut(HeldOutCase),
    /// Patch side; `None` for the network's own.
    Patch(Option<usize>),
    /// Anything else of the settings.
    Set(Box<Settings>),
    /// The form has been still for a while: ask what it would cost.
    AskPlan,
    /// Start.
    Start,
    /// Stand still.
    Pause,
    /// Go on.
    Go,
    /// Evaluate the best so far and end.
    Stop,
    /// Evaluate the weights of another look.
    Choose(u64),
    /// Keep the result under a name.
    Keep(String),
    /// Forget the run.
    Discard,
    /// Go on with the interrupted run.
    Resume,
    /// Make a map a file.
    SaveMap(usize, bool),
    /// Make a kept model files.
    Export(String),
    /// Take a model in.
    Import(Vec<FileCard>),
    /// Remove a kept model.
    RemoveModel(String),
    /// Remove everything that is kept.
    ForgetEverything,
    /// The networks that a run can start from, the recommended one first.
    Models(Vec<String>),
    /// The desk spoke.
    Desk(FromTuner),
    /// The desk runs.
    DeskReady,
    /// The desk died, with the browser's words.
    DeskDied(String),
    /// A message could not be sent or read.
    ChannelFailed(String),
    /// A sentence was read.
    Dismiss,
}

/// What the page must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Post to the desk, with the files of these numbers.
    Send(ToTuner, Vec<u32>),
    /// End the desk and start another.
    RestartDesk,
    /// Forget every file but these.
    KeepFiles(Vec<u32>),
    /// [`Action::AskPlan`] when the form has been still for a while.
    PlanSoon,
    /// The message's buffers are the pictures of this case.
    ShowCase(u32),
    /// The message's buffer is the slice of the held-out case.
    ShowLook([usize; 2]),
    /// The message's buffers are the slices before and after.
    ShowOutcome,
    /// The message's buffers are files of these names: hand them to the person.
    Download(Vec<String>),
    /// The kept models are these: tell the rest of the page.
    ModelsChanged,
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
