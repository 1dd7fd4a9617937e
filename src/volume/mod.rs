//! Scans as numbers: NIfTI files, voxel grids, resampling and intensities.

mod check;
pub mod components;
pub mod conform;
pub mod distance;
mod error;
mod grid;
pub mod intensity;
pub mod motion;
pub mod nifti;
mod orientation;
pub mod pose;
pub mod resample;
pub mod slice;

pub use check::{VOXEL_EDGES, check, mask_labels};
pub use error::VolumeError;
pub use grid::Grid;
pub use orientation::Orientation;

/// A scalar image on a [`Grid`].
///
/// `data` has `nx * ny * nz` values with x (the first voxel axis) fastest, as in a NIfTI file:
/// the value of voxel `(x, y, z)` is `data[x + nx * (y + ny * z)]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Shape in voxels and voxel-to-world affine.
    pub grid: Grid,
    /// Voxel values, x fastest.
    pub data: Vec<f32>,
}
