//! Normalisation and ReLU, forward and backward, on CubeCL devices.

use super::launch::{Shaped, buffer, empty, grid};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Voxels that one unit sums up.
const CHUNK: usize = 256;

#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Dims {
    units: usize,
    batch: usize,
    channels: usize,
    voxels: usize,
    chunks: usize,
}

/// `max(0, x * scale + shift)`.
#[cube(launch_unchecked)]
fn norm_relu_kernel(x: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32], dims: Dims) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let c = ABSOLUTE_POS / dims.voxels % dims.channels;
    y[ABSOLUTE_POS] = max(x[ABSOLUTE_POS] * scale[c] + shift[c], 0.0f32);
}

/// Scale and shift of `max(0, gamma ((x - mean) rstd r + d) + beta)`; `stats` has the rows mean, rstd, r, d. One unit a
/// channel; `out` is `[2, channel]`.
#[cube(launch_unchecked)]
fn fold(gamma: &[f32], beta: &[f32], stats: &[f32], out: &mut [f32], dims: Dims) {
    if ABSOLUTE_POS >= dims.channels {
        terminate!();
    }
    let (c, n) = (ABSOLUTE_POS, dims.channels);
    let scale = stats[n + c] * stats[2 * n + c] * gamma[c];
    out[c] = scale;
    out[n + c] = beta[c] + gamma[c] * stats[3 * n + c] - stats[c] * scale;
}

/// What passes the ReLU of `dy`: the gradient at its input.
#[cube]
fn passed(x: f32, dy: f32, scale: f32, shift: f32) -> f32 {
    select(x * scale + shift > 0.0f32, dy, 0.0f32)
}

/// Sums of the gradient at the ReLU's input (s0), and of its product with the centred input (s1), over a chunk of a
/// channel's voxels. `part` is `[chunk, 2, channel]`; chunks count over batch and voxels.
#[cube(launch_unchecked)]
fn sums(
    x: &[f32],
    dy: &[f32],
    stats: &[f32],
    folded: &[f32],
    part: &mut [f32],
    dims: Dims,
    #[comptime] chunk: usize,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let n = dims.channels;
    let c = ABSOLUTE_POS % n;
    let index = ABSOLUTE_POS / n;
    let per_channel = dims.chunks / dims.batch;
    let batch = index / per_channel;
    let first = index % per_channel * chunk;
    let from = (batch * n + c) * dims.voxels;
    let (mean, rstd) = (stats[c], stats[n + c]);
    let (scale, shift) = (folded[c], folded[n + c]);
    let mut s0 = 0.0f32;
    let mut s1 = 0.0f32;
    for i in first..min(first + chunk, dims.voxels) {
        let g = passed(x[from + i], dy[from + i], scale, shift);
        s0 += g;
        s1 += g * (x[from + i] - mean) * rstd;
    }
    part[index * 2 * n + c] = s0;
    part[index * 2 * n + n + c] = s1;
}

/// Sums the chunks, and makes of the sums the gradients of gamma and beta. `out` is `[3, channel]`: those
/// two (that of beta is s0), s1.
#[cube(launch_unchecked)]
fn finish(part: &[f32], stats: &[f32], out: &mut [f32], dims: Dims) {
    if ABSOLUTE_POS >= dims.channels {
        terminate!();
    }
    let (c, n) = (ABSOLUTE_POS, dims.channels);
    let mut s0 = 0.0f32;
    let mut s1 = 0.0f32;
    for index in 0..dims.chunks {
        s0 += part[index * 2 * n + c];
        s1 += part[index * 2 * n + n + c];
    }
    out[c] = s1 * stats[2 * n + c] + s0 * stats[3 * n + c];
    out[n + c] = s0;
    out[2 * n + c] = s1;
}

/// Gradient with respect to `x`; mean and deviation are differentiated too unless `frozen`.
#[cube(launch_unchecked)]
fn dx_kernel(
    x: &[f32],
    dy: &[f32],
    stats: &[f32],
    folded: &[f32],
    totals: &[f32],
    dx: &mut [f32],
    dims: Dims,
    #[comptime] frozen: bool,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let n = dims.channels;
    let c = ABSOLUTE_POS / dims.voxels % n;
    let (v, scale) = (x[ABSOLUTE_POS], folded[c]);
    let mut g = passed(v, dy[ABSOLUTE_POS], scale, folded[n + c]);
    if !frozen {
        let count = f32::cast_from(dims.batch * dims.voxels);
        let centred = (v - stats[c]) * stats[n + c];
        g -= (totals[n + c] + centred * totals[2 * n + c]) / count;
    }
    dx[ABSOLUTE_POS] = g * scale;
}

fn sizes(x: &CubeTensor) -> (usize, usize, usize) {
    let [batch, channels, d, h, w] = x.dims5();
    (batch, channels, d * h * w)
}

/// `max(0, x * scale + shift)` per channel.
pub(super) fn norm_relu(x: &CubeTensor, scale: &CubeTensor, shift: &CubeTensor) -> CubeTensor {
    let (batch, channels, voxels) = sizes(x);
    let units = batch * channels * voxels;
    let y = empty(x, x.dims5());
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        norm_relu_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(scale),
            buffer(shift),
            buffer(&y),
            DimsLaunch::new(units, batch, channels, voxels, 1),
        );
    }
    y
}

/// Gradients of normalisation and ReLU: with respect to `x`, and `[2, channel]` for gamma and beta.
pub(super) fn backward(
    x: &CubeTensor,
    dy: &CubeTensor,
    gamma: &CubeTensor,
    beta: &CubeTensor,
    stats: &CubeTensor,
    frozen: bool,
) -> (CubeTensor, CubeTensor) {
    let (batch, channels, voxels) = sizes(x);
    let chunks = batch * voxels.div_ceil(CHUNK);
    let dims = |units: usize| DimsLaunch::new(units, batch, channels, voxels, chunks);
    let client = x.client.clone();

    let folded = empty(x, [2, channels]);
    let (count, dim) = grid(&client, channels);
    // Safety: as above, here and below.
    unsafe {
        fold::launch_unchecked(
            &client,
            count,
            dim,
            buffer(gamma),
            buffer(beta),
            buffer(stats),
            buffer(&folded),
            dims(channels),
        );
    }
    let part = empty(x, [chunks, 2, channels]);
    let units = chunks * channels;
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        sums::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(dy),
            buffer(stats),
            buffer(&folded),
            buffer(&part),
            dims(units),
            CHUNK,
        );
    }
    let totals = empty(x, [3, channels]);
    let (count, dim) = grid(&client, channels);
    // Safety: as above.
    unsafe {
        finish::launch_unchecked(
            &client,
            count,
            dim,
            buffer(&part),
            buffer(stats),
            buffer(&totals),
            dims(channels),
        );
    }
    let dx = empty(x, x.dims5());
    let units = batch * channels * voxels;
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        dx_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(dy),
            buffer(stats),
            buffer(&folded),
            buffer(&totals),
            buffer(&dx),
            dims(units),
            frozen,
        );
    }
    (dx, totals)
}
