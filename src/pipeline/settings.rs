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
    /// Fuse the same votes by every window side by side, to compare them (8 to 12 bytes a voxel and window more).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compare_windows: bool,
    /// Weigh the fused probability of every voxel by how bright it is in FLAIR ([`hyperintensity`](crate::volume::intensity::hyperintensity)).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hyperintensity: bool,
}

impl Default for Settings {
    /// Patches of 64 voxels, half overlapping, spline window, no rotations: the authors' way (`method.md` 5.2)
    /// at a patch that a browser can hold and without its four-fold cost. What is fused is weighed by brightness.
    fn default() -> Self {
        Self {
            patch: 64,
            overlap: 0.5,
            window: Window::Bspline,
            rotations: false,
            variance: false,
            compare_windows: false,
            hyperintensity: true,
        }
    }
}

impl Settings {
    /// The windows beside [`Settings::window`] by which the votes are fused, too.
    pub fn other_windows(&self) -> impl Iterator<Item = Window> {
        let others = Window::ALL.into_iter().filter(|window| *window != self.window);
        others.filter(|_| self.compare_windows)
    }

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
