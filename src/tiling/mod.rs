//! Cutting a volume into overlapping patches and fusing the patches' predictions.
//!
//! [`Plan`] says where the patches lie, [`extract`] cuts one, [`Rotation`] turns it for test-time voting,
//! [`Window`] weighs a prediction's voxels, and [`Fuser`] keeps the weighted vote `P = sum W p / sum W`. The patches of a
//! [`Group`] may vote elsewhere first; only their [`Sums`] then come to the fuser.
//!
//! Arrays are x fastest. A patch is `channels * side^3` values, channel slowest.

pub mod cover;
pub mod fuse;
mod group;
mod patch;
mod plan;
mod rotation;
pub mod seam;
mod window;

pub use cover::{Cover, cover};
pub use fuse::{Fused, Fuser, Sums};
pub use group::{Group, Placed};
pub use patch::extract;
pub use plan::{MAX_TILES, Plan};
pub use rotation::Rotation;
pub use seam::{Jumps, Seams, seams};
pub use window::{Rounded, Weights, Window};

/// Why a volume cannot be tiled or a prediction cannot be fused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TilingError {
    /// The volume has an axis of length zero.
    #[error("A volume of {} x {} x {} voxels holds nothing to cut patches from.", shape[0], shape[1], shape[2])]
    EmptyVolume {
        /// Shape in voxels.
        shape: [usize; 3],
    },
    /// The patch has no voxel.
    #[error("The patch side is 0. Choose at least 1 voxel, for example 64.")]
    EmptyPatch,
    /// The overlap is no fraction of the patch.
    #[error("An overlap of {overlap} is not in [0, 1). Choose for example 0, 0.5 or 0.75.")]
    Overlap {
        /// The overlap asked for.
        overlap: f64,
    },
    /// The plan would have more than [`MAX_TILES`] tiles.
    #[error(
        "{tiles} patches are more than the limit of {MAX_TILES}. Lower the overlap or enlarge the patch."
    )]
    TooManyTiles {
        /// Tiles the plan would have.
        tiles: usize,
    },
    /// The volume has more voxels than this machine can address.
    #[error("A volume of {} x {} x {} voxels is too large for this machine.", shape[0], shape[1], shape[2])]
    TooLarge {
        /// Shape in voxels.
        shape: [usize; 3],
    },
    /// An array has another number of values than its shape says.
    #[error("{what} has {got} values where {expected} were expected.")]
    Length {
        /// The array in words, with a capital.
        what: &'static str,
        /// Values that the shape asks for.
        expected: usize,
        /// Values in the array.
        got: usize,
    },
}

impl TilingError {
    /// `Ok` if `got` values are as many as `expected`.
    fn check_length(what: &'static str, expected: usize, got: usize) -> Result<(), Self> {
        if got == expected {
            Ok(())
        } else {
            Err(Self::Length { what, expected, got })
        }
    }
}

/// The part of a patch that lies inside the volume along one axis.
///
/// Returns `(first voxel in the volume, first voxel in the patch, count)`; the count may be zero.
fn clip(start: isize, side: usize, len: usize) -> (usize, usize, usize) {
    let in_patch = start.min(0).unsigned_abs();
    let in_volume = start.max(0).unsigned_abs();
    let count = side.saturating_sub(in_patch).min(len.saturating_sub(in_volume));
    (in_volume, in_patch, count)
}

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn clip_covers_every_way_to_overhang() {
        assert_eq!(clip(3, 4, 10), (3, 0, 4), "inside");
        assert_eq!(clip(-2, 4, 10), (0, 2, 2), "before the first voxel");
        assert_eq!(clip(8, 4, 10), (8, 0, 2), "after the last voxel");
        assert_eq!(clip(-3, 16, 10), (0, 3, 10), "both sides");
        assert_eq!(clip(-4, 4, 10).2, 0, "wholly before");
        assert_eq!(clip(-9, 4, 10).2, 0, "far before");
        assert_eq!(clip(10, 4, 10).2, 0, "wholly after");
        assert_eq!(clip(99, 4, 10).2, 0, "far after");
    }
}
