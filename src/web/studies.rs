//! What page and desk say to each other about "Explore": a family of networks on one scan, and how patches are fused.

use serde::{Deserialize, Serialize};

use crate::pipeline::Cut;
use crate::pipeline::family::{AtCut, Level, Ranked, Split};
use crate::pipeline::fusion::{Layer, WindowNumbers};
use crate::pipeline::pictures::About;
use crate::tiling::Window;

/// A member of the family that is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kin {
    /// Directory of the model relative to the page.
    pub path: String,
    /// The beta that it was trained with, if its card says.
    pub beta: Option<f64>,
}

/// A member's probability over all thresholds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberCurves {
    /// Directory of the model.
    pub path: String,
    /// What is found at each threshold; empty while that is being counted.
    pub levels: Vec<Level>,
    /// Against the reference, if there is one; best thresholds are those of its own beta (1 if that is not known), 1 and 2.
    pub ranked: Option<Ranked>,
}

/// What the desk shall draw: three planes through a place (world millimetres), or through where there is something to see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// The place.
    pub place: Option<[f64; 3]>,
    /// What is drawn over the scan.
    pub what: What,
}

/// What is drawn over the scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// How patches are fused.
    Fusion(FusionLook),
    /// Where two members differ, or one and the reference.
    Family(FamilyLook),
    /// The mask of the newest cut.
    Result,
}

/// See [`What::Fusion`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FusionLook {
    /// Patch side in voxels.
    pub patch: usize,
    /// Overlap of neighbouring patches.
    pub overlap: f64,
    /// Votes in four orientations.
    pub rotations: bool,
    /// Window.
    pub window: Window,
    /// Layer.
    pub layer: Layer,
}

/// See [`What::Family`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FamilyLook {
    /// The member on show, in the order in which they were asked for.
    pub member: usize,
    /// The member it is compared with; `None`: the reference.
    pub with: Option<usize>,
    /// How both are cut.
    pub cut: Cut,
}

/// What was drawn. Its buffers come with the message: for each picture the scan (one byte a pixel), then the map (one
/// float32 a pixel, NaN where nothing is to be drawn; empty if there is no map).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// As asked, with the place that was taken.
    pub look: Look,
    /// The pictures.
    pub pictures: Vec<About>,
    /// The map's value at the place, if it has one there.
    pub value: Option<f32>,
    /// Its largest value in the three planes.
    pub highest: f32,
    /// In numbers.
    pub told: Told,
}

/// What was drawn, in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Told {
    /// See [`What::Fusion`].
    Fusion {
        /// Tiles in all.
        tiles: usize,
        /// Every window after a run with [`SegmentSettings::compare_windows`](super::messages::SegmentSettings); else
        /// empty.
        windows: Vec<WindowNumbers>,
        /// The settings of that run differ from those of the drawing, which therefore shows none of its maps.
        stale: bool,
    },
    /// See [`What::Family`].
    Family {
        /// Every member at this cut.
        members: Vec<AtCut>,
        /// The member against what it is compared with.
        split: Split,
    },
    /// See [`What::Result`].
    Result,
}
