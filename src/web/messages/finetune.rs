//! What is said about fine-tuning. Page and desk say it wrapped in [`ToDesk::Tune`](super::ToDesk::Tune) and
//! [`FromDesk::Tune`](super::FromDesk::Tune), desk and engine in [`ToEngine::Tune`](super::ToEngine::Tune) and
//! [`FromEngine::Tune`](super::FromEngine::Tune).

use serde::{Deserialize, Serialize};

use super::{EngineChoice, EngineKind, ScanInfo};
use crate::learn::tune::{Held, Recipe, StepReport};
use crate::pipeline::finetune::{Look, Record, Settings};

/// How to fine-tune.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneSettings {
    /// Directory of the network to start from, as in [`SegmentSettings`](super::SegmentSettings).
    pub model: String,
    /// Engine asked for.
    pub engine: EngineChoice,
    /// Numbers of the cases; the settings' held-out cases are counted in this order.
    pub cases: Vec<u32>,
    /// As many steps as fit into so many minutes by the dry step; `None` for the settings' own number of steps.
    pub minutes: Option<f64>,
    /// Patch side in voxels; `None` for that of the network's card.
    pub patch: Option<usize>,
    /// Everything else. Its patch is not used before a run has started.
    pub settings: Settings,
}

/// From the page to the desk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToTuner {
    /// Say what is kept: answered with [`FromTuner::Models`] and [`FromTuner::Interrupted`].
    Recall,
    /// Read and check a case; the files are FLAIR, T1 if there is one, mask.
    Check {
        /// The page's number of the case.
        case: u32,
        /// Counts the times that the case was sent; the answer copies it.
        revision: u32,
        /// The case's name, which stays in the page.
        name: String,
        /// Whether there is a T1 among the files.
        t1: bool,
    },
    /// Forget a case.
    Drop {
        /// Its number.
        case: u32,
    },
    /// Say what a run would cost ([`FromTuner::Planned`]), and again once a dry step was timed.
    Plan {
        /// Echoed in the answer.
        number: u32,
        /// How.
        how: Box<TuneSettings>,
    },
    /// Start a run.
    Start(Box<TuneSettings>),
    /// Stop after the step or patch in progress; [`ToTuner::Go`] goes on.
    Pause,
    /// Go on.
    Go,
    /// No more steps: evaluate the best so far and end.
    Stop,
    /// After the end: evaluate the weights of this look instead.
    Choose {
        /// Its step.
        step: u64,
    },
    /// After the end: keep the weights under a name.
    Keep {
        /// Name for a person.
        name: String,
    },
    /// Forget the run and its scans.
    Discard,
    /// Go on with the run that was interrupted.
    Resume,
    /// Make a probability map of a held-out case a file ([`FromTuner::Files`]).
    SaveMap {
        /// Which of the outcome's maps.
        map: usize,
        /// By the network after (true) or before fine-tuning.
        after: bool,
    },
    /// Make a kept model's weights and card files.
    Export {
        /// Its key.
        key: String,
    },
    /// Take a model in; the files are its weights and its card, in any order.
    Import,
    /// Remove a kept model.
    Remove {
        /// Its key.
        key: String,
    },
    /// Remove everything that this browser keeps for the page.
    ForgetEverything,
}

/// A case that is fit for use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseInfo {
    /// The FLAIR.
    pub flair: ScanInfo,
    /// Whether there is a T1.
    pub t1: bool,
    /// Lesions of the mask.
    pub lesions: usize,
    /// Lesion load in millilitres.
    pub load_ml: f64,
    /// Things to look at before training on it, one sentence each.
    pub warnings: Vec<String>,
    /// Width and height of the pictures that come along: axial, coronal, sagittal.
    pub pictures: Vec<[usize; 2]>,
}

/// What a run would cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunePlan {
    /// Engine that would run.
    pub engine: EngineKind,
    /// Why that one, in a sentence.
    pub why: String,
    /// Peak memory of the engine in bytes.
    pub engine_bytes: u64,
    /// Peak memory of the desk in bytes.
    pub desk_bytes: u64,
    /// Why it cannot run, and the setting that would fit, in a sentence.
    pub refusal: Option<String>,
    /// Steps that it would take.
    pub steps: u64,
    /// Seconds a step takes, by the dry step; `None` before there was one.
    pub step_seconds: Option<f64>,
    /// Seconds in all.
    pub seconds: Option<f64>,
}

/// A model that this browser keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptModel {
    /// What it is kept under: its directory is [`KEPT`] and this.
    pub key: String,
    /// Its card (`card.json`).
    pub card: String,
}

/// The directory of kept models.
pub const KEPT: &str = "kept/";

/// A step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneStep {
    /// Round of training it belongs to, from 0.
    pub fold: usize,
    /// Steps done in that round, this one included.
    pub step: u64,
    /// Loss of its patch before the step.
    pub loss: f32,
    /// Mean loss of the last steps.
    pub smoothed: f64,
}

/// A run that was interrupted and can go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interrupted {
    /// Names of its cases.
    pub cases: Vec<String>,
    /// Steps done at the last checkpoint.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
}

/// From the desk to the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromTuner {
    /// The models that this browser keeps.
    Models(Vec<KeptModel>),
    /// The run that can be gone on with, if there is one.
    Interrupted(Option<Interrupted>),
    /// A case is fit for use. `buffers`: its pictures, four bytes a pixel.
    Checked {
        /// Its number.
        case: u32,
        /// As asked.
        revision: u32,
        /// What it is.
        info: CaseInfo,
    },
    /// A case of an interrupted run was read again. `buffers`: as for [`FromTuner::Checked`].
    Restored {
        /// Its number.
        case: u32,
        /// Its name.
        name: String,
        /// What it is.
        info: CaseInfo,
    },
    /// A case was refused.
    Unfit {
        /// Its number.
        case: u32,
        /// As asked.
        revision: u32,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Answer to [`ToTuner::Plan`].
    Planned {
        /// As asked.
        number: u32,
        /// What it would cost.
        plan: TunePlan,
    },
    /// A plan cannot be made.
    NoPlan {
        /// As asked.
        number: u32,
        /// Why not.
        problem: String,
    },
    /// A run starts, or goes on after an interruption.
    Started {
        /// How, with the number of steps that it takes.
        how: TuneSettings,
        /// Names of the cases, in the order of their numbers in `how`.
        names: Vec<String>,
        /// Rounds of training: one, or one for every fold.
        rounds: usize,
        /// Steps, so far, of the round in progress.
        steps: Vec<TuneStep>,
        /// Looks at held-out cases, so far, of the round in progress.
        looks: Vec<Look>,
    },
    /// What the run is at, in words.
    Stage(String),
    /// How far an evaluation is.
    Patches {
        /// Patches done.
        done: usize,
        /// Patches in all.
        total: usize,
    },
    /// Steps done, oldest first.
    Steps {
        /// The steps.
        points: Vec<TuneStep>,
        /// Estimated seconds left in all.
        seconds_left: Option<f64>,
    },
    /// The held-out case was looked at. `buffers[0]`: a slice of it with both masks, four bytes a pixel.
    Looked {
        /// The scores.
        look: Look,
        /// Width and height of the picture.
        picture: Option<[usize; 2]>,
    },
    /// A checkpoint is in storage.
    Saved {
        /// Steps done in it.
        step: u64,
    },
    /// A checkpoint could not be stored; the run goes on without.
    NotSaved {
        /// Why, and what to do.
        problem: String,
    },
    /// The engine was changed, with the reason.
    EngineChanged {
        /// The new engine.
        engine: EngineKind,
        /// Why, in a sentence.
        why: String,
    },
    /// The run stands still.
    Paused,
    /// The run ended. `buffers`: a slice of the first held-out case before and after.
    Ended {
        /// Everything about it.
        record: Box<Record>,
        /// Steps of the looks whose weights can still be gone back to.
        choices: Vec<u64>,
        /// Width and height of the pictures.
        pictures: Vec<[usize; 2]>,
    },
    /// The run failed; what was stored of it can be gone on with.
    Failed {
        /// Why, and what to do.
        problem: String,
    },
    /// Something asked for, other than a run, failed.
    Refused {
        /// Why, and what to do.
        problem: String,
    },
    /// A model was kept or taken in.
    Kept {
        /// Its key.
        key: String,
    },
    /// The run was discarded.
    Discarded,
    /// Nothing is kept any more.
    Forgotten,
    /// Files were made. `buffers` hold their bytes.
    Files {
        /// Their names.
        names: Vec<String>,
    },
}

/// From the desk to an engine that trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToTutor {
    /// Say what is held.
    State,
    /// Begin, or go on: `buffers[0]` holds the safetensors file, `buffers[1]` the snapshot if there is one.
    Begin {
        /// The run it is for.
        run: u64,
        /// The network's configuration as JSON.
        config: String,
        /// How to train.
        recipe: Recipe,
    },
    /// Train one step: `buffers[0]` holds `channels * side^3` float32, `buffers[1]` `side^3` labels.
    Step {
        /// Number of the step.
        step: u64,
        /// Patch side in voxels.
        side: usize,
    },
    /// Predict by the averaged weights from now on, and give them back.
    Publish,
    /// Predict by these weights from now on: `buffers[0]` holds the safetensors file.
    Show,
    /// Give everything that is needed to go on later.
    Snapshot,
}

/// From an engine that trains to the desk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromTutor {
    /// What is held.
    State(Option<Held>),
    /// Begun.
    Begun,
    /// One step done.
    Stepped(StepReport),
    /// The loss is no number; the weights are as before the step.
    Diverged {
        /// Step that failed.
        step: u64,
        /// The loss (no number, so JSON cannot hold it), in words.
        loss: String,
    },
    /// The averaged weights: `buffers[0]` holds the safetensors file.
    Published,
    /// Shown.
    Shown,
    /// The snapshot: `buffers[0]`.
    Snapped,
    /// What was asked cannot be done; the engine goes on.
    Refused {
        /// Why.
        problem: String,
    },
}
