//! From one voxel grid to another, by their affines.
//!
//! Grids whose axes are parallel (a scan and its conformed copy) are resampled axis by axis with area averaging:
//! linear interpolation when voxels get smaller, the mean over the new voxel when they get larger, nothing at all
//! when voxels only change their order. Any other pair goes through trilinear interpolation; where that makes voxels
//! larger, the source is first smoothed by a Gaussian of the variance that area averaging would have.

mod axes;
mod oblique;

use nalgebra::Matrix4;

use super::{Grid, Volume, VolumeError};
use axes::AxisAligned;
pub(super) use oblique::gaussian;

/// Linear interpolation of values, x fastest, at a fractional voxel position; beyond the outer voxels' centres `outside`.
#[inline]
#[must_use]
pub fn sample(data: &[f32], shape: [usize; 3], at: [f32; 3], outside: f32) -> f32 {
    let mut base = [0_usize; 3];
    let mut t = [0.0_f32; 3];
    for a in 0..3 {
        if !(at[a] >= 0.0 && at[a] <= (shape[a] - 1) as f32) {
            return outside;
        }
        base[a] = (at[a] as usize).min(shape[a].saturating_sub(2));
        t[a] = at[a] - base[a] as f32;
    }
    let step = [
        usize::from(shape[0] > 1),
        if shape[1] > 1 { shape[0] } else { 0 },
        if shape[2] > 1 { shape[0] * shape[1] } else { 0 },
    ];
    let i = base[0] + shape[0] * (base[1] + shape[1] * base[2]);
    let along_x = |i: usize| data[i] + t[0] * (data[i + step[0]] - data[i]);
    let along_y = |i: usize| {
        let low = along_x(i);
        low + t[1] * (along_x(i + step[1]) - low)
    };
    let low = along_y(i);
    low + t[2] * (along_y(i + step[2]) - low)
}

/// How a value between voxels is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// For images and probabilities: linear, averaging where voxels get larger.
    Linear,
    /// For labels: the voxel that is nearest, never anything between.
    Nearest,
}

/// The values of `volume` at the voxels of `target`, x fastest. Voxels whose centre lies outside the field of view of
/// `volume` (beyond the outer faces of its voxels) become `fill`.
///
/// # Errors
/// [`VolumeError::SingularGrid`] if an affine cannot be inverted.
pub fn resample(
    volume: &Volume,
    target: &Grid,
    interpolation: Interpolation,
    fill: f32,
) -> Result<Volume, VolumeError> {
    let map = target_to_source(target, &volume.grid)?;
    let data = match (interpolation, AxisAligned::find(&map, target.shape)) {
        _ if volume.grid.is_empty() || target.is_empty() => vec![fill; target.len()],
        (Interpolation::Linear, Some(aligned)) => axes::area_average(volume, target, &aligned, fill),
        (Interpolation::Linear, None) => oblique::trilinear(volume, target.shape, &map, fill),
        (Interpolation::Nearest, _) => oblique::nearest(volume, target.shape, &map, fill),
    };
    Ok(Volume {
        grid: target.clone(),
        data,
    })
}

/// The share of the voxels of `of` that lie in the field of view of `by`, from 0 to 1: whether a T1 can serve as a
/// second channel for a FLAIR. Measured on a lattice of at most 32 x 32 x 32 voxels.
///
/// # Errors
/// [`VolumeError::SingularGrid`] if an affine cannot be inverted.
pub fn coverage(of: &Grid, by: &Grid) -> Result<f64, VolumeError> {
    const LATTICE: usize = 32;
    let map = target_to_source(of, by)?;
    let samples = of.shape.map(|n| n.min(LATTICE));
    let total: usize = samples.iter().product();
    if total == 0 || by.is_empty() {
        return Ok(0.0);
    }
    let at = |axis: usize, i: usize| (i as f64 + 0.5) * of.shape[axis] as f64 / samples[axis] as f64 - 0.5;
    let mut inside = 0;
    for z in 0..samples[2] {
        for y in 0..samples[1] {
            for x in 0..samples[0] {
                let point = nalgebra::Point3::new(at(0, x), at(1, y), at(2, z));
                let source = map.transform_point(&point);
                let within = (0..3).all(|i| source[i] >= -0.5 && source[i] <= by.shape[i] as f64 - 0.5);
                inside += usize::from(within);
            }
        }
    }
    Ok(inside as f64 / total as f64)
}

fn target_to_source(target: &Grid, source: &Grid) -> Result<Matrix4<f64>, VolumeError> {
    let inverse = source
        .affine
        .try_inverse()
        .filter(|m| m.iter().all(|v| v.is_finite()));
    let map = inverse.ok_or(VolumeError::SingularGrid)? * target.affine;
    let usable = map.iter().all(|v| v.is_finite());
    usable.then_some(map).ok_or(VolumeError::SingularGrid)
}
