//! What a person may choose about a run.

use serde::{Deserialize, Serialize};

use crate::tiling::{Rotation, Window};

/// How a volume is cut, predicted and fused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Side of the cubic patches in voxels (1 voxel = 1 mm on a conformed grid).
    pub patch: usize,
    /// Share of the side that neighbouring patches have in common, in `[0, 1)`.
    pub overlap: f64,
    /// Weight of a vote by its place in the patch.
    pub window: Window,
    /// Predict every patch in four orientations (identity and three half turns) and let all four vote.
    pub rotations: bool,
    /// Also keep how much the votes of each voxel disagree (4 bytes a voxel more).
    #[serde(default)]
    pub variance: bool,
}

impl Default for Settings {
    /// Patches of 64 voxels, half overlapping, spline window, no rotations: the authors' way (`method.md` 5.2)
    /// at a patch that a browser can hold and without its four-fold cost.
    fn default() -> Self {
        Self {
            patch: 64,
            overlap: 0.5,
            window: Window::Bspline,
            rotations: false,
            variance: false,
        }
    }
}

impl Settings {
    /// The orientations in which every patch is predicted.
    #[must_use]
    pub fn orientations(&self) -> &'static [Rotation] {
        if self.rotations {
            &Rotation::ALL
        } else {
            &[Rotation::Identity]
        }
    }
}
