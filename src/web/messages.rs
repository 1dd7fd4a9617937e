//! What page, desk and engines say to each other.
//!
//! A message is one JavaScript object `{ message, buffers, files, case }`: `message` is one of the enums below (through
//! serde), `buffers` are `ArrayBuffer`s that are transferred, never copied, and `files` are the browser's own `File`
//! handles. Voxels travel only in `buffers`.
//!
//! `case` (between page and desk only) is a whole number that the page counts up with every [`ToDesk::Open`] and
//! [`ToDesk::Clear`]. The desk copies it from the message it answers into every answer ([`FromDesk::Ready`] answers
//! nothing and has none), so that the page can drop what belongs to an earlier case. An answer without it is taken as
//! belonging to the newest case.

pub mod finetune;

use serde::{Deserialize, Serialize};

use crate::pipeline::names::Output;
use crate::pipeline::report::Report;
use crate::pipeline::{Comparison, Lesion};
use crate::tiling::{Group, Window};
use crate::volume::components::Connectivity;
use crate::web::studies::{Kin, Look, MemberCurves, Seen};

/// Which input a file is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// Fluid-attenuated inversion recovery; required.
    Flair,
    /// T1-weighted; optional.
    T1,
}

/// Where the network runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EngineKind {
    /// burn-flex with SIMD128 in a pool of workers.
    Cpu,
    /// burn-wgpu in one worker.
    WebGpu,
}

/// What the person chose; `Auto` lets the desk decide and say why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineChoice {
    /// WebGPU on real hardware if it passes its self-test, else CPU.
    Auto,
    /// This engine.
    Use(EngineKind),
}

/// How fast a segmentation runs and how it is fused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentSettings {
    /// Directory of the model relative to the page, for example `models/browser-b1.5`.
    pub model: String,
    /// Engine asked for.
    pub engine: EngineChoice,
    /// Overlap of neighbouring patches: 0, 0.5 or 0.75.
    pub overlap: f64,
    /// Voting window: `bspline`, `gaussian` or `uniform`.
    pub window: String,
    /// Patch side in voxels; `None` lets the desk choose for the device.
    pub patch: Option<usize>,
    /// Average over the identity and three 180-degree rotations.
    pub rotations: bool,
    /// Weigh the result by how bright a voxel is in FLAIR.
    pub hyperintensity: bool,
    /// Fuse by every window side by side, to compare them.
    #[serde(default)]
    pub compare_windows: bool,
}

/// A scan in words and numbers for a person. Never holds voxels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanInfo {
    /// The file's name as the person knows it (stays in the page).
    pub name: String,
    /// Voxels along each axis.
    pub shape: [usize; 3],
    /// Voxel edge lengths in mm.
    pub spacing: [f64; 3],
    /// NIfTI data type in words, for example `int16`.
    pub datatype: String,
    /// Orientation code of the voxel axes, for example `LAS`.
    pub orientation: String,
    /// Things done to the scan that a person should know (values replaced, T1 resampled, ...), one sentence each.
    pub notes: Vec<String>,
}

/// From the page to the desk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToDesk {
    /// Read and check a scan; the file is `files[0]`.
    Open {
        /// Input it is meant for.
        slot: Slot,
    },
    /// Forget a scan.
    Clear {
        /// Input to forget.
        slot: Slot,
    },
    /// Read a mask to compare results with, for the open FLAIR; the file is `files[0]`. It changes neither the case nor
    /// its number, so it has a number of its own, which the answer copies.
    Reference {
        /// Counted up by the page.
        number: u32,
    },
    /// Forget the reference mask.
    ClearReference,
    /// Say what a run with these settings would cost ([`FromDesk::Planned`]).
    Plan(SegmentSettings),
    /// Run the network over the open case.
    Segment(SegmentSettings),
    /// Stop the run within one tile.
    Cancel,
    /// Cut the fused probability anew ([`FromDesk::Mask`]).
    Cut {
        /// Probability at and above which a voxel is lesion.
        threshold: f32,
        /// Lesions smaller than this are dropped, in cubic millimetres.
        min_lesion_mm3: f64,
        /// Which voxels belong to one lesion.
        #[serde(default = "eighteen")]
        connectivity: Connectivity,
    },
    /// Run these networks over the open case, those whose maps are not kept from before ([`FromDesk::Family`]). The result
    /// stays. The settings' own model does not matter.
    Family {
        /// How to run them.
        settings: SegmentSettings,
        /// The networks, in the order of their betas.
        members: Vec<Kin>,
    },
    /// Draw something ([`FromDesk::Seen`]).
    Look(Look),
    /// Tell and draw the result for a printed report ([`FromDesk::Printable`]).
    Print,
    /// Make a file of a result ([`FromDesk::Saved`]).
    Save(Output),
    /// Hand the last cut over as a mask for training ([`FromDesk::HandedOver`]).
    HandOver,
    /// The person corrected the last cut: `buffers[0]` holds one `u8` a voxel (0 or 1) in the FLAIR's storage order.
    /// Answered with a [`FromDesk::Mask`]; the next cut starts from the probability again.
    Correct,
    /// About fine-tuning.
    Tune(finetune::ToTuner),
}

fn eighteen() -> Connectivity {
    Connectivity::Eighteen
}

/// What a run would cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Engine that would run.
    pub engine: EngineKind,
    /// Why that one, in a sentence.
    pub why: String,
    /// Workers in the pool.
    pub workers: usize,
    /// Patch side in voxels.
    pub patch: usize,
    /// Patches to predict (rotations counted).
    pub tiles: usize,
    /// Estimated duration in seconds; `None` before anything was timed.
    pub seconds: Option<f64>,
    /// Estimated peak memory in bytes over desk and engines.
    pub bytes: u64,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The stage in words: `Loading the network`, `Preparing`, `Segmenting`, `Fusing`.
    pub stage: String,
    /// Tiles done.
    pub done: usize,
    /// Tiles in all (0 while not yet known).
    pub total: usize,
    /// Estimated seconds left.
    pub seconds_left: Option<f64>,
}

/// A mask in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaskSummary {
    /// Threshold it was cut at.
    pub threshold: f32,
    /// Smallest lesion kept, in cubic millimetres.
    pub min_lesion_mm3: f64,
    /// Lesion load in millilitres.
    pub load_ml: f64,
    /// Which voxels belong to one lesion.
    pub connectivity: Connectivity,
    /// The lesions, largest first.
    pub lesions: Vec<Lesion>,
}

/// From the desk to the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromDesk {
    /// The desk runs and can take messages.
    Ready,
    /// A scan was read and is fit for use.
    Opened {
        /// Input it was read for.
        slot: Slot,
        /// What it is.
        info: ScanInfo,
    },
    /// A scan was refused; the sentence says what is wrong and what to do.
    Refused {
        /// Input it was meant for.
        slot: Slot,
        /// Sentence for a person.
        problem: String,
    },
    /// A reference mask was read and lies on the FLAIR's grid.
    ReferenceOpened {
        /// As asked.
        number: u32,
        /// What it is.
        info: ScanInfo,
    },
    /// A reference mask was refused.
    ReferenceRefused {
        /// As asked.
        number: u32,
        /// Sentence for a person.
        problem: String,
    },
    /// The newest mask beside the reference. `buffers[0]`: one `u8` a voxel in the FLAIR's storage order, see
    /// [`OVERLAY`](crate::pipeline::compare::OVERLAY).
    Compared(Box<Comparison>),
    /// Answer to [`ToDesk::Plan`].
    Planned(Plan),
    /// The run goes on.
    Progress(Progress),
    /// The engine was changed during a run (self-test failed, device lost), with the reason.
    EngineChanged {
        /// The new engine.
        engine: EngineKind,
        /// Why, in a sentence.
        why: String,
    },
    /// The run ended well. `buffers[0]`: an uncompressed NIfTI-1 file with the float32 probability in the FLAIR's
    /// grid, ready for the viewer. A [`FromDesk::Mask`] follows.
    Segmented {
        /// The plan as it was run.
        plan: Plan,
        /// Seconds from the start of the run.
        seconds: f64,
        /// Things a person should know about the result, one sentence each.
        notes: Vec<String>,
        /// Where the T1 lies ([`Prepared::t1_laid`](crate::pipeline::Prepared::t1_laid)), if not where its file says.
        t1_laid: Option<Box<[[f64; 4]; 4]>>,
    },
    /// Answer to [`ToDesk::Cut`]. `buffers[0]`: one `u8` a voxel (0 or 1) in the FLAIR's storage order.
    Mask(MaskSummary),
    /// The newest run was fused by every window: there is something to look at.
    Fused,
    /// The family's curves, in the order of its members; once all have run, and again when the reference changes or lesions
    /// have been counted.
    Family(Vec<MemberCurves>),
    /// Answer to [`ToDesk::Print`]; buffers as [`Seen`] says.
    Printable {
        /// Every number of the newest cut.
        report: Box<Report>,
        /// Three planes through the largest lesion.
        seen: Box<Seen>,
    },
    /// Answer to [`ToDesk::Look`]; buffers as [`Seen`] says.
    Seen(Box<Seen>),
    /// Answer to [`ToDesk::Look`] where there is nothing to draw any more: a member or the reference is gone.
    Unseen,
    /// A file was made. `buffers[0]` holds its bytes.
    Saved {
        /// Its BIDS-like name.
        name: String,
    },
    /// The last cut as a mask for training: `buffers[0]` holds a `.nii.gz` file.
    HandedOver {
        /// Its BIDS-like name.
        name: String,
    },
    /// About fine-tuning.
    Tune(Box<finetune::FromTuner>),
    /// The run was cancelled as asked.
    Cancelled,
    /// The run, or a message, failed; the sentence says why and what to do. The desk stays usable.
    Failed {
        /// Sentence for a person.
        problem: String,
    },
}

/// From the desk to an engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToEngine {
    /// Load a network: `buffers[0]` holds the safetensors file.
    Load {
        /// The model card's `config` object as JSON.
        config: String,
    },
    /// Compare a small known answer with the CPU.
    SelfTest,
    /// Predict a patch: `buffers[0]` holds `channels * side^3` float32.
    Predict {
        /// Echoed in the answer.
        tile: usize,
        /// Patch side in voxels.
        side: usize,
    },
    /// Predict a group of patches and fuse them: `buffers[0]` holds the float32 values of one patch behind the other,
    /// each as for [`ToEngine::Predict`], turned as the group says.
    PredictGroup {
        /// Echoed in the answer.
        tile: usize,
        /// Where the patches lie.
        group: Group,
        /// How votes are weighed.
        window: Window,
        /// Whether the spread of the votes is asked for, too.
        spread: bool,
    },
    /// Train; only engines that were built for it can.
    Tune(finetune::ToTutor),
}

/// From an engine to the desk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromEngine {
    /// The engine's code runs; it can take messages.
    Ready {
        /// Adapter or processor in words, for the diagnostics.
        device: String,
        /// True if a GPU adapter is a software one.
        software: bool,
        /// Voxels of the patches that it takes together ([`ToEngine::PredictGroup`]); 0 if it takes them one by one.
        #[serde(default)]
        group: usize,
    },
    /// The network is loaded.
    Loaded,
    /// The self-test passed.
    Passed,
    /// A patch is predicted: `buffers[0]` holds `side^3` float32 probabilities.
    Predicted {
        /// As asked.
        tile: usize,
        /// Milliseconds it took inside the engine.
        millis: f64,
        /// Bytes of the engine's memory, which never shrinks.
        heap: f64,
    },
    /// A group is predicted and fused: `buffers[0]` holds a float32 per voxel of its box, x fastest, `sum W p`;
    /// `buffers[1]`, if asked for, the spread of the votes.
    Voted {
        /// As asked.
        tile: usize,
        /// Milliseconds it took inside the engine.
        millis: f64,
        /// Bytes of the engine's memory, which never shrinks.
        heap: f64,
    },
    /// About training.
    Tune(finetune::FromTutor),
    /// The engine cannot go on.
    Failed {
        /// Sentence for a person.
        problem: String,
    },
}
