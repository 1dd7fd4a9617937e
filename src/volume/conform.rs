//! The grid that the network sees, and the way back.
//!
//! The network was trained on right-anterior-superior voxels of 1 mm. A scan is brought there along its *own* axes:
//! they are reordered and reversed to run closest to right, anterior, superior, and spaced at 1 mm. An oblique scan
//! therefore stays as tilted as it is. Turning it to the world's axes would blur every voxel to undo a tilt of a few
//! degrees, to which a network trained with rotations does not respond; and the way back would blur again. Kept on
//! its own axes, a 1 mm scan of any orientation is conformed by moving voxels alone, and its probabilities come back
//! the same way, untouched.

use super::resample::{Interpolation, resample};
use super::{Grid, Orientation, Volume, VolumeError};

/// Voxel edge of the conformed grid in mm.
pub const SPACING: f64 = 1.0;

/// Spacings closer to [`SPACING`] than this (in mm) are kept as they are: the network does not notice one percent,
/// and interpolation would cost more. The conformed grid then has the scan's true spacing.
pub const SPACING_TOLERANCE: f64 = 0.01;

/// Most voxels of a conformed volume (512 x 512 x 512).
pub const MAX_VOXELS: usize = 1 << 27;

/// A scan on the network's grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Conformed {
    /// The scan's values at 1 mm, axes closest to RAS.
    pub volume: Volume,
    /// False if voxels were only moved, never interpolated.
    pub interpolated: bool,
}

/// The conformed grid of a scan: axes closest to right, anterior, superior, 1 mm apart, centred on the same point,
/// wide enough to cover the scan.
///
/// # Errors
/// [`VolumeError::FieldOfView`] if that would be more than [`MAX_VOXELS`] voxels, [`VolumeError::SingularGrid`].
pub fn conformed_grid(native: &Grid) -> Result<Grid, VolumeError> {
    let mut grid = native.with_axes(Orientation::of(&native.affine).by_world());
    let (spacing, extent) = (grid.spacing(), grid.extent());
    if !spacing.iter().all(|s| s.is_finite() && *s > 0.0) {
        return Err(VolumeError::SingularGrid);
    }
    for axis in 0..3 {
        if (spacing[axis] - SPACING).abs() <= SPACING_TOLERANCE {
            continue;
        }
        // A hundredth of a voxel beyond a whole number does not earn another voxel.
        let voxels = (extent[axis] / SPACING - 0.01).ceil().max(1.0);
        if voxels > MAX_VOXELS as f64 {
            return Err(VolumeError::FieldOfView {
                extent,
                limit: MAX_VOXELS,
            });
        }
        let old = grid.affine.column(axis).into_owned();
        let new = old * (SPACING / spacing[axis]);
        // Both grids have the same centre.
        let origin = grid.affine.column(3) + old * ((grid.shape[axis] as f64 - 1.0) / 2.0)
            - new * ((voxels - 1.0) / 2.0);
        grid.affine.set_column(axis, &new);
        grid.affine.set_column(3, &origin);
        grid.shape[axis] = voxels as usize;
    }
    match grid.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) {
        Some(n) if n <= MAX_VOXELS => Ok(grid),
        _ => Err(VolumeError::FieldOfView {
            extent,
            limit: MAX_VOXELS,
        }),
    }
}

/// Brings a scan to [`conformed_grid`].
///
/// # Errors
/// As [`conformed_grid`].
pub fn conform(scan: &Volume) -> Result<Conformed, VolumeError> {
    let grid = conformed_grid(&scan.grid)?;
    let reordered = scan.grid.with_axes(Orientation::of(&scan.grid.affine).by_world());
    if grid == reordered {
        return Ok(Conformed {
            volume: scan.to_closest_ras(),
            interpolated: false,
        });
    }
    // Voxels on the rim may lie a hair outside; they are air, as 0 is.
    let volume = resample(scan, &grid, Interpolation::Linear, 0.0)?;
    Ok(Conformed {
        volume,
        interpolated: true,
    })
}

/// Brings probabilities on a conformed grid back to the scan's own grid, x fastest, clamped to [0, 1].
///
/// Where the scan's voxels are larger than 1 mm (thick slices) the answer is the mean probability over the voxel, so
/// that the expected lesion volume is kept; where they are smaller it is interpolated linearly. Voxels outside the
/// conformed grid have probability 0.
///
/// # Errors
/// [`VolumeError::SingularGrid`] if an affine cannot be inverted.
pub fn to_native(probability: &Volume, native: &Grid) -> Result<Vec<f32>, VolumeError> {
    let mut data = resample(probability, native, Interpolation::Linear, 0.0)?.data;
    for value in &mut data {
        *value = value.clamp(0.0, 1.0);
    }
    Ok(data)
}
