//! Resampling between grids in any position to each other.

use std::borrow::Cow;

use nalgebra::{Matrix4, Vector4};

use crate::volume::Volume;

/// Trilinear interpolation. The outermost voxels go on for half a voxel, up to their outer faces.
pub(super) fn trilinear(volume: &Volume, target: [usize; 3], map: &Matrix4<f64>, fill: f32) -> Vec<f32> {
    let shape = volume.grid.shape;
    let smooth = anti_aliased(volume, map);
    let data: &[f32] = &smooth;
    let last = shape.map(|n| n as f64 - 1.0);
    let stride = [1, shape[0], shape[0] * shape[1]];
    gather(target, shape, map, fill, |p| {
        let mut base = 0;
        let mut step = [0; 3];
        let mut part = [0f32; 3];
        for i in 0..3 {
            let position = p[i].clamp(0.0, last[i]);
            let floor = position as usize;
            base += floor * stride[i];
            // On the last voxel there is no next one, and no part of it is asked for.
            step[i] = if floor + 1 < shape[i] { stride[i] } else { 0 };
            part[i] = (position - floor as f64) as f32;
        }
        let lerp = |a: f32, b: f32, t: f32| a + (b - a) * t;
        let along_x = |at: usize| lerp(data[at], data[at + step[0]], part[0]);
        let along_y = |at: usize| lerp(along_x(at), along_x(at + step[1]), part[1]);
        lerp(along_y(base), along_y(base + step[2]), part[2])
    })
}

/// The nearest voxel; halfway, the one with the higher index.
pub(super) fn nearest(volume: &Volume, target: [usize; 3], map: &Matrix4<f64>, fill: f32) -> Vec<f32> {
    let shape = volume.grid.shape;
    gather(target, shape, map, fill, |p| {
        let [x, y, z] = [0, 1, 2].map(|i| ((p[i] + 0.5).max(0.0) as usize).min(shape[i] - 1));
        volume.data[x + shape[0] * (y + shape[1] * z)]
    })
}

/// Calls `value` with the source position of every target voxel that lies in the source's field of view.
///
/// Positions are double precision and computed anew for every row, so that errors cannot pile up.
fn gather(
    target: [usize; 3],
    shape: [usize; 3],
    map: &Matrix4<f64>,
    fill: f32,
    value: impl Fn([f64; 3]) -> f32,
) -> Vec<f32> {
    // Rounding must not put a voxel on the outer face outside.
    const SLACK: f64 = 1e-6;
    let high = shape.map(|n| n as f64 - 0.5 + SLACK);
    let step = [map[(0, 0)], map[(1, 0)], map[(2, 0)]];
    let mut out = Vec::with_capacity(target.iter().product());
    for z in 0..target[2] {
        for y in 0..target[1] {
            let start = map * Vector4::new(0.0, y as f64, z as f64, 1.0);
            out.extend((0..target[0]).map(|x| {
                let x = x as f64;
                let p = [
                    start[0] + x * step[0],
                    start[1] + x * step[1],
                    start[2] + x * step[2],
                ];
                let inside = (0..3).all(|i| p[i] >= -0.5 - SLACK && p[i] <= high[i]);
                if inside { value(p) } else { fill }
            }));
        }
    }
    out
}

/// The volume, smoothed along those of its axes that the target samples more coarsely.
///
/// Along source axis `a` a target voxel has the variance `sum_j J_aj^2 / 12` (a uniform parallelepiped, `J` the
/// target-to-source map); a source voxel has 1/12. The Gaussian makes up the difference.
fn anti_aliased<'a>(volume: &'a Volume, map: &Matrix4<f64>) -> Cow<'a, [f32]> {
    let mut data = Cow::Borrowed(volume.data.as_slice());
    for axis in 0..3 {
        let squares: f64 = (0..3).map(|j| map[(axis, j)].powi(2)).sum();
        let sigma = ((squares - 1.0).max(0.0) / 12.0).sqrt();
        // Below a tenth of a voxel the kernel has but one weight.
        if sigma > 0.1 {
            data = Cow::Owned(gaussian(&data, volume.grid.shape, axis, sigma));
        }
    }
    data
}

/// Gaussian smoothing along one axis, cut off at 4 sigma, the border voxel repeated outside.
pub(in crate::volume) fn gaussian(data: &[f32], shape: [usize; 3], axis: usize, sigma: f64) -> Vec<f32> {
    let len = shape[axis];
    let radius = ((4.0 * sigma + 0.5) as usize).min(len.saturating_mul(4));
    let kernel: Vec<f64> = (0..=2 * radius)
        .map(|i| {
            let distance = i as f64 - radius as f64;
            (-0.5 * (distance / sigma).powi(2)).exp()
        })
        .collect();
    let sum: f64 = kernel.iter().sum();
    let inner: usize = shape[..axis].iter().product();
    let mut out = vec![0.0; data.len()];
    for (block, out_block) in data
        .chunks_exact(inner * len)
        .zip(out.chunks_exact_mut(inner * len))
    {
        for (at, row) in out_block.chunks_exact_mut(inner).enumerate() {
            for (i, weight) in kernel.iter().enumerate() {
                let from = (at + i).saturating_sub(radius).min(len - 1);
                let weight = (weight / sum) as f32;
                for (to, &value) in row.iter_mut().zip(&block[from * inner..][..inner]) {
                    *to += weight * value;
                }
            }
        }
    }
    out
}
