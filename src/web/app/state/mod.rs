//! What the page knows, and how that changes: a state machine without a browser in it.
//!
//! [`State::step`] takes an [`Action`] and answers with the [`Effect`]s that the page must carry out. Nothing here
//! touches the document, the desk or a file, so the whole behaviour of the page is tested natively.

mod answers;
mod batch;
mod link;
mod notices;
mod reference;
mod step;
mod study;
#[cfg(test)]
mod tests;

use std::rc::Rc;

pub use batch::{Batch, BatchAction, Fate, Item};
pub use link::Link;
pub use notices::{Notice, NoticeKind, Notices};
pub use study::{Drawing, Study, StudyAction, StudyRun, With};

use super::address::StudyLink;
use crate::pipeline::Comparison;
use crate::pipeline::names::Output;
use crate::pipeline::report::Report;
use crate::volume::components::Connectivity;
use crate::web::messages::{
    EngineChoice, FromDesk, MaskSummary, Plan, Progress, ScanInfo, SegmentSettings, Slot, ToDesk,
};
use crate::web::studies::Seen;

/// A file that a person chose, as the state machine knows it; the page keeps the browser's own handle under `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCard {
    /// Number under which the page keeps the file.
    pub id: u32,
    /// Its name, shown to the person and to nobody else.
    pub name: String,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Input {
    /// No file; if the last one was refused, the sentence that says why.
    #[default]
    Empty,
    /// The desk refused a file.
    Refused {
        /// Its name.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The desk reads the file.
    Reading {
        /// The file.
        file: FileCard,
        /// Case under which it was sent; an answer under another one is stale.
        case: u32,
    },
    /// The file is fit for use.
    Open {
        /// The file.
        file: FileCard,
        /// What it is.
        info: ScanInfo,
    },
}

impl Input {
    /// The file that is read or open.
    #[must_use]
    pub fn file(&self) -> Option<&FileCard> {
        match self {
            Self::Reading { file, .. } | Self::Open { file, .. } => Some(file),
            Self::Empty | Self::Refused { .. } => None,
        }
    }

    /// True once the desk has accepted it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// True while the desk reads it.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        matches!(self, Self::Reading { .. })
    }
}

/// The desk's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Desk {
    /// Its code loads.
    #[default]
    Starting,
    /// It takes messages.
    Ready,
    /// It died too often; only a reload helps.
    Gone,
}

/// What a run would cost.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Planning {
    /// Nothing to plan.
    #[default]
    None,
    /// The desk was asked.
    Asked,
    /// The desk's answer.
    Known(Plan),
}

/// A run and its result.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Run {
    /// Nothing was run on this case.
    #[default]
    Idle,
    /// The desk segments.
    Running {
        /// Its last word on how far it is.
        progress: Option<Progress>,
        /// The person asked to stop.
        cancelling: bool,
    },
    /// There is a result.
    Done(Outcome),
    /// The person stopped it.
    Cancelled,
    /// It failed; a notice says why.
    Failed,
}

/// A result in words and numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The plan as it was run.
    pub plan: Plan,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Things a person should know about it.
    pub notes: Vec<String>,
    /// Where the T1 lies, if not where its file says.
    pub t1_laid: Option<Box<[[f64; 4]; 4]>>,
    /// The newest mask in numbers; `None` until the first arrives.
    pub mask: Option<Rc<MaskSummary>>,
    /// How the newest mask that was compared with the reference compares; see [`Outcome::verdicts`].
    pub comparison: Option<Rc<Comparison>>,
    /// The cut the desk was last asked for; `None` while its own first mask is on its way.
    asked: Option<Cut>,
    /// A mask is on its way.
    waiting: bool,
}

impl Outcome {
    /// True once its mask is that of the newest cut.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.mask.is_some() && !self.waiting
    }
}

/// How the probability becomes a mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Probability at and above which a voxel is lesion.
    pub threshold: f32,
    /// Lesions smaller than this are dropped, in cubic millimetres.
    pub min_lesion_mm3: f64,
    /// Which voxels belong to one lesion.
    pub connectivity: Connectivity,
}

/// A network that ships with the page.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Model {
    /// Directory relative to the page, for example `models/browser`.
    pub path: String,
    /// Name for a person.
    pub title: String,
    /// What it was trained on, in a sentence.
    pub summary: String,
    /// Threshold its card recommends.
    pub threshold: Option<f32>,
    /// What its card says to people.
    pub card: Rc<ModelCard>,
}

/// What a model's card says to people; what is missing there is empty here.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ModelCard {
    /// The beta of the loss that it was trained with.
    pub beta: Option<f64>,
    /// Patients with lesion masks that it was trained on.
    pub patients: Option<usize>,
    /// Trainable parameters.
    pub parameters: Option<u64>,
    /// SHA-256 of the weights.
    pub sha256: String,
    /// Figures on data that it was not trained on, one sentence each.
    pub held_out: Vec<String>,
    /// Where it is known to fail, one sentence each.
    pub known_failures: Vec<String>,
    /// Its licence.
    pub licence: String,
    /// What to cite.
    pub cite: Vec<String>,
}

/// The two cases that ship with the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sample {
    /// A small block: a minute on any machine.
    #[default]
    Small,
    /// A whole head.
    Head,
}

/// What the viewer shows over the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Display {
    /// The lesion mask.
    #[default]
    Mask,
    /// The fused probability from the threshold up.
    Probability,
    /// Where mask and reference agree and differ.
    Comparison,
    /// Nothing.
    None,
}

/// What the pointer does to the mask while it is corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Tool {
    /// Adds lesion.
    #[default]
    Pen,
    /// Takes lesion away.
    Eraser,
    /// Moves the crosshair, as ever.
    None,
}

/// A tool and its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pen {
    /// The tool.
    pub tool: Tool,
    /// Its width in voxels.
    pub size: u32,
}

impl Default for Pen {
    fn default() -> Self {
        Self {
            tool: Tool::default(),
            size: 3,
        }
    }
}

/// How the viewer lays out its panes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Layout {
    /// Three planes and the rendering.
    #[default]
    All,
    /// Axial plane.
    Axial,
    /// Coronal plane.
    Coronal,
    /// Sagittal plane.
    Sagittal,
    /// Volume rendering.
    Render,
}

/// Intensities shown black and white.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Shown black.
    pub low: f64,
    /// Shown white.
    pub high: f64,
}

/// How things are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Panes.
    pub layout: Layout,
    /// Overlay.
    pub display: Display,
    /// Overlay's opacity, 0 to 1.
    pub opacity: f64,
    /// Image window; `None` while no scan is shown.
    pub window: Option<Window>,
    /// The window that the viewer chose when the scan was opened.
    pub full_window: Option<Window>,
    /// The patient's left on the right of the screen.
    pub radiological: bool,
    /// The scan under the overlay.
    pub image: Slot,
    /// Why the viewer shows nothing.
    pub broken: Option<String>,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            layout: Layout::default(),
            display: Display::default(),
            opacity: 0.6,
            window: None,
            full_window: None,
            radiological: true,
            image: Slot::Flair,
            broken: None,
        }
    }
}

/// What a person did, what the desk said, what the browser reported.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Files were chosen or dropped, each for an input.
    Picked(Vec<(Slot, FileCard)>),
    /// Something about a batch.
    Batch(BatchAction),
    /// Remove a scan.
    Remove(Slot),
    /// A reference mask was chosen.
    PickedReference(FileCard),
    /// Remove the reference mask.
    RemoveReference,
    /// Compare with the lesions that the open sample is known to have.
    OpenSampleReference,
    /// Look at this place, in world millimetres.
    GoTo([f64; 3]),
    /// Which voxels belong to one lesion.
    Connect(Connectivity),
    /// Which sample the button opens.
    ChooseSample(Sample),
    /// Open that sample.
    OpenSample,
    /// Its files are here.
    SampleArrived(Sample, Vec<(Slot, FileCard)>),
    /// They are not.
    SampleFailed(String),
    /// An address was followed to this view.
    Follow(Link),
    /// An address was followed to this study.
    FollowStudy(Drawing, StudyLink),
    /// The networks that ship with the page.
    ModelsFound(Vec<Model>),
    /// The networks that this browser keeps; they follow those that ship with the page.
    KeptFound(Vec<Model>),
    /// Hand the result to fine-tuning, as a case.
    UseForTraining,
    /// Correct the mask by hand.
    StartCorrecting,
    /// With this tool.
    DrawWith(Pen),
    /// Take the last stroke back.
    UndoStroke,
    /// End the correction: take it over, or leave the mask as it was.
    EndCorrecting(bool),
    /// The person corrected the mask: pass the message's buffer on.
    Corrected,
    /// Use this network.
    ChooseModel(String),
    /// Use this engine.
    ChooseEngine(EngineChoice),
    /// Overlap of neighbouring patches, as a fraction.
    ChooseOverlap(f64),
    /// Voting window.
    ChooseVoting(String),
    /// Patch side; `None` for automatic.
    ChoosePatch(Option<usize>),
    /// Average over rotations.
    ChooseRotations(bool),
    /// Weigh the result by how bright a voxel is in FLAIR.
    ChooseHyperintensity(bool),
    /// Start.
    Segment,
    /// Stop.
    Cancel,
    /// Make a file.
    Save(Output),
    /// Print the report.
    Print,
    /// Cut the probability here.
    Threshold(f32),
    /// Drop lesions smaller than this, in cubic millimetres.
    MinLesion(f64),
    /// Overlay.
    Show(Display),
    /// Overlay's opacity.
    Opacity(f64),
    /// Panes.
    Arrange(Layout),
    /// Image window.
    SetWindow(Window),
    /// Side convention.
    Radiological(bool),
    /// Scan under the overlay.
    ShowImage(Slot),
    /// The viewer shows a scan with this window.
    ViewerShows(Window),
    /// The window was changed in the viewer itself.
    ViewerWindowed(Window),
    /// The viewer failed.
    ViewerFailed(String),
    /// The desk spoke.
    Desk {
        /// Case it answers.
        case: Option<u32>,
        /// What it said.
        message: FromDesk,
    },
    /// The desk died, with the browser's words.
    DeskDied(String),
    /// A message could not be sent or read.
    ChannelFailed(String),
    /// Something about a study.
    Study(StudyAction),
    /// A notice was read.
    Dismiss(u32),
}

/// What the page must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Post to the desk, with the file of that number if there is one.
    Send {
        /// Case it belongs to.
        case: u32,
        /// What to say.
        message: ToDesk,
        /// Number of the file to send along.
        file: Option<u32>,
    },
    /// Put the mask under the pen that the state names.
    StartDrawing,
    /// Use the pen that the state names.
    DrawWith,
    /// Take the last stroke back.
    UndoStroke,
    /// End the drawing; [`Action::Corrected`] if it is to be taken over.
    EndDrawing(bool),
    /// Post to the desk, with the mask that the person drew.
    SendDrawn {
        /// Case it belongs to.
        case: u32,
    },
    /// The message's buffer is a mask of this name: hand it, with the scans, to fine-tuning.
    HandToTraining(String),
    /// End the desk and start another.
    RestartDesk,
    /// Forget every file but those with these numbers.
    KeepFiles(Vec<u32>),
    /// Fetch a sample.
    FetchSample(Sample),
    /// Show this file in the viewer.
    ShowScan(u32),
    /// Empty the viewer.
    ClearViewer,
    /// Remove the overlays.
    ClearOverlay,
    /// The message's buffer is the probability: show it.
    ShowProbability,
    /// The message's buffer is the mask: show it.
    ShowMask,
    /// The message's buffer is the comparison of mask and reference: show it.
    ShowComparison,
    /// The message's buffers are pictures: show them.
    ShowPictures,
    /// The message's buffers are pictures: print them with the report.
    Print(Rc<Report>, Rc<Seen>),
    /// Fetch a sample's reference mask.
    FetchReference(Sample),
    /// Move the crosshair there, in world millimetres.
    GoTo([f64; 3]),
    /// Draw the overlay as the state says.
    Restyle,
    /// Draw the scan with the state's window.
    Rewindow,
    /// Lay the panes out as the state says.
    Rearrange,
    /// The message's buffer is text: tell it to the batch.
    CollectLine,
    /// Hand a text to the person as a file of this name.
    DownloadText(String, String),
    /// The message's buffer is a file of this name: hand it to the person.
    Download(String),
}

/// Everything the page knows.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The desk's health.
    pub desk: Desk,
    /// FLAIR input.
    pub flair: Input,
    /// T1 input.
    pub t1: Input,
    /// Reference mask; its `case` counts reference masks.
    pub reference: Input,
    /// Sample the button opens.
    pub sample: Sample,
    /// A sample's files are on their way.
    pub fetching: bool,
    /// The sample that the open scans are, if they are one.
    pub shown_sample: Option<Sample>,
    /// Networks to choose from.
    pub models: Vec<Model>,
    /// How to run.
    pub settings: SegmentSettings,
    /// What that would cost.
    pub plan: Planning,
    /// The run.
    pub run: Run,
    /// How to cut.
    pub cut: Cut,
    /// How to draw.
    pub look: Look,
    /// Many scans.
    pub batch: Batch,
    /// What is explored.
    pub study: Study,
    /// What a person should read.
    pub notices: Notices,
    /// The pen, while the mask is corrected by hand.
    pub correcting: Option<Pen>,
    /// Counts every change of the inputs.
    case: u32,
    /// Counts the reference masks that were sent.
    references: u32,
    /// Deaths of the desk since it last did something useful.
    deaths: u32,
    /// What the last address asked for that could not be done yet.
    wanted: link::Wanted,
}

impl Default for State {
    fn default() -> Self {
        Self {
            desk: Desk::default(),
            flair: Input::default(),
            t1: Input::default(),
            reference: Input::default(),
            sample: Sample::default(),
            fetching: false,
            shown_sample: None,
            models: Vec::new(),
            settings: SegmentSettings {
                model: String::new(),
                engine: EngineChoice::Auto,
                overlap: 0.5,
                window: "bspline".into(),
                patch: None,
                rotations: false,
                hyperintensity: true,
                compare_windows: false,
            },
            plan: Planning::default(),
            run: Run::default(),
            cut: Cut {
                threshold: 0.5,
                min_lesion_mm3: 3.0,
                connectivity: Connectivity::Eighteen,
            },
            look: Look::default(),
            batch: Batch::default(),
            study: Study::default(),
            notices: Notices::default(),
            correcting: None,
            case: 0,
            references: 0,
            deaths: 0,
            wanted: link::Wanted::default(),
        }
    }
}

impl State {
    /// An input.
    #[must_use]
    pub fn input(&self, slot: Slot) -> &Input {
        match slot {
            Slot::Flair => &self.flair,
            Slot::T1 => &self.t1,
        }
    }

    /// True while the desk segments.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.run, Run::Running { .. })
    }

    /// The result, if there is one.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.run {
            Run::Done(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Where the T1 lies, if it is on show and was laid on the FLAIR: from its voxels to mm, rows first.
    #[must_use]
    pub fn laid(&self) -> Option<&[[f64; 4]; 4]> {
        let outcome = self.outcome().filter(|_| self.look.image == Slot::T1)?;
        outcome.t1_laid.as_deref()
    }

    /// True if "Segment" would do something.
    #[must_use]
    pub fn can_segment(&self) -> bool {
        self.desk == Desk::Ready
            && self.flair.is_open()
            && !self.t1.is_reading()
            && !self.is_running()
            && !self.study.is_running()
            && !self.settings.model.is_empty()
    }

    /// The state in words, for the person and for assistive technology.
    #[must_use]
    pub fn status(&self) -> &str {
        match (&self.run, self.desk) {
            (_, Desk::Gone) => return "Stopped: reload the page",
            (Run::Running { cancelling: true, .. }, _) => return "Cancelling",
            (Run::Running { progress: None, .. }, _) => return "Starting the engine",
            (
                Run::Running {
                    progress: Some(progress),
                    ..
                },
                _,
            ) => return &progress.stage,
            _ => {}
        }
        if let StudyRun::Running { progress, cancelling } = &self.study.run {
            return match progress {
                _ if *cancelling => "Cancelling",
                Some(progress) => &progress.stage,
                None => "Starting the engine",
            };
        }
        if self.fetching {
            return "Fetching the sample";
        }
        if self.flair.is_reading() || self.t1.is_reading() {
            return if self.desk == Desk::Starting {
                "Starting"
            } else {
                "Reading the scan"
            };
        }
        match (&self.run, &self.flair) {
            (Run::Done(outcome), _) if outcome.mask.is_none() => "Cutting the mask",
            (Run::Done(_), _) => "Done",
            (Run::Cancelled, _) => "Cancelled",
            (Run::Failed, _) => "Failed",
            (_, Input::Refused { .. }) => "This file cannot be used",
            (_, Input::Open { .. }) if self.settings.model.is_empty() => "No network is installed",
            (_, Input::Open { .. }) => "Ready",
            _ => "Open a FLAIR scan to begin",
        }
    }
}
