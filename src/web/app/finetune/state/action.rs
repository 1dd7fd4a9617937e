//! What happens to the state, and what it asks of the page.

use super::{Budget, HeldOutCase, Stage};
use crate::pipeline::cohort::Role;
use crate::pipeline::finetune::Settings;
use crate::web::app::state::FileCard;
use crate::web::messages::EngineChoice;
use crate::web::messages::finetune::{FromTuner, ToTuner};

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
