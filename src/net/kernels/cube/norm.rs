//! Normalisation and ReLU, forward and backward, on CubeCL devices.

mod backward;

pub(super) use backward::{backward, bias_relu_backward};

use super::launch::{Folds, Shaped, buffer, empty, empty_f32, grid, nothing, stored};
use crate::net::kernels::Normalisation;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Voxels that one unit sums up.
const CHUNK: usize = 256;
/// Voxels that one unit normalises, so that what is the same for a channel is loaded once for them.
const SPAN: usize = 8;

#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Dims {
    units: usize,
    batch: usize,
    /// Channels that are worked on, from `from` on, of `total` that a sample of `x` has.
    channels: usize,
    from: usize,
    total: usize,
    voxels: usize,
    /// Chunks that a channel is cut into, over batch and voxels.
    chunks: usize,
    /// Columns of statistics and of what is made of them: a channel each, or a channel of a sample each, samples slowest.
    columns: usize,
}

/// `max(0, x * scale + shift)`; where scales and shifts are in `folded`, [`Folds`] says. Written to the channels from `at` on of
/// `room` that a sample of `y` has.
#[cube(launch_unchecked)]
fn norm_relu_kernel<E: Float>(
    x: &[E],
    folded: &[f32],
    y: &mut [E],
    dims: Dims,
    fold: usize,
    step: usize,
    at: usize,
    room: usize,
    #[comptime] span: usize,
    #[define(E)] _stored: ElemType,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    // Neighbouring units take neighbouring voxels.
    let stride = dims.voxels.div_ceil(span);
    let line = ABSOLUTE_POS / stride;
    let (sample, c) = (line / dims.channels, line % dims.channels);
    let from = (sample * dims.total + dims.from + c) * dims.voxels;
    let to = (sample * room + at + c) * dims.voxels;
    let own = fold + sample * step + c;
    let (scale, shift) = (folded[own], folded[dims.columns + own]);
    for i in 0..span {
        let voxel = ABSOLUTE_POS % stride + i * stride;
        if voxel < dims.voxels {
            let value = f32::cast_from(x[from + voxel]);
            y[to + voxel] = E::cast_from(max(value * scale + shift, 0.0f32));
        }
    }
}

/// `max(0, x + bias)`.
#[cube(launch_unchecked)]
fn bias_relu_kernel(x: &[f32], bias: &[f32], y: &mut [f32], dims: Dims, #[comptime] span: usize) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let stride = dims.voxels.div_ceil(span);
    let line = ABSOLUTE_POS / stride;
    let shift = bias[line % dims.channels];
    for i in 0..span {
        let voxel = ABSOLUTE_POS % stride + i * stride;
        if voxel < dims.voxels {
            let at = line * dims.voxels + voxel;
            y[at] = max(x[at] + shift, 0.0f32);
        }
    }
}

/// See [`Kernels::norm_rows`](crate::net::kernels::Kernels::norm_rows). One unit a column; `now` has `width` columns a sample.
#[cube(launch_unchecked)]
fn rows_kernel(
    now: &[f32],
    running: &[f32],
    gamma: &[f32],
    beta: &[f32],
    rows: &mut [f32],
    folded: &mut [f32],
    n: usize,
    channels: usize,
    width: usize,
    epsilon: f32,
    share: f32,
    r_max: f32,
    d_max: f32,
    #[comptime] reads_now: bool,
    #[comptime] reads_running: bool,
) {
    if ABSOLUTE_POS >= n {
        terminate!();
    }
    let c = ABSOLUTE_POS;
    let channel = c % channels;
    let mut old_mean = 0.0f32;
    let mut old_variance = 1.0f32;
    if reads_running {
        old_mean = running[channel];
        old_variance = running[channels + channel];
    }
    let old_rstd = 1.0f32 / (old_variance + epsilon).sqrt();
    let mut mean = old_mean;
    let mut rstd = old_rstd;
    let mut r = 1.0f32;
    let mut d = 0.0f32;
    let mut next_mean = old_mean;
    let mut next_variance = old_variance;
    if reads_now {
        let column = c / channels * width + channel;
        let variance = now[n / channels * width + column];
        mean = now[column];
        let std = (variance + epsilon).sqrt();
        rstd = 1.0f32 / std;
        if reads_running {
            r = clamp(std * old_rstd, 1.0f32 / r_max, r_max);
            d = clamp((mean - old_mean) * old_rstd, -d_max, d_max);
            next_mean = old_mean * (1.0f32 - share) + mean * share;
            next_variance = old_variance * (1.0f32 - share) + variance * share;
        }
    }
    rows[c] = mean;
    rows[n + c] = rstd;
    rows[2 * n + c] = r;
    rows[3 * n + c] = d;
    rows[4 * n + c] = next_mean;
    rows[5 * n + c] = next_variance;
    let scale = rstd * r * gamma[channel];
    folded[c] = scale;
    folded[n + c] = beta[channel] + gamma[channel] * d - mean * scale;
}

/// Sums over a chunk of a channel's voxels of their distances from the column's first voxel, and of the squares. `part` is
/// `[chunk, 2, channel]`.
#[cube(launch_unchecked)]
fn spread<E: Float>(
    x: &[E],
    part: &mut [f32],
    dims: Dims,
    #[comptime] chunk: usize,
    #[define(E)] _stored: ElemType,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let n = dims.channels;
    let c = ABSOLUTE_POS % n;
    let index = ABSOLUTE_POS / n;
    let per_sample = dims.chunks / dims.batch;
    let first = index % per_sample * chunk;
    let line = index / per_sample * n + c;
    let from = (line / n * dims.total + dims.from + c) * dims.voxels;
    let centre = f32::cast_from(x[first_of(line % dims.columns, &dims)]);
    let mut s0 = 0.0f32;
    let mut s1 = 0.0f32;
    for i in first..min(first + chunk, dims.voxels) {
        let v = f32::cast_from(x[from + i]) - centre;
        s0 += v;
        s1 += v * v;
    }
    part[index * 2 * n + c] = s0;
    part[index * 2 * n + n + c] = s1;
}

/// Where a column's first voxel is.
#[cube]
fn first_of(column: usize, dims: &Dims) -> usize {
    let sample = column / dims.channels;
    (sample * dims.total + dims.from + column % dims.channels) * dims.voxels
}

/// Values that a column's statistics are taken of.
#[cube]
fn count_of(dims: &Dims) -> f32 {
    f32::cast_from(dims.batch * dims.voxels / (dims.columns / dims.channels))
}

/// A column's two sums over all its chunks; `part` is `[chunk, 2, channel]`.
#[cube]
fn summed(part: &[f32], column: usize, dims: &Dims) -> (f32, f32) {
    let n = dims.channels;
    let (group, c) = (column / n, column % n);
    let chunks = dims.chunks / (dims.columns / n);
    let mut s0 = 0.0f32;
    let mut s1 = 0.0f32;
    for index in group * chunks..(group + 1) * chunks {
        s0 += part[index * 2 * n + c];
        s1 += part[index * 2 * n + n + c];
    }
    (s0, s1)
}

/// Mean and biased variance of a column, of the sums of [`spread`].
#[cube]
fn moments<E: Float>(x: &[E], part: &[f32], column: usize, dims: &Dims) -> (f32, f32) {
    let (s0, s1) = summed(part, column, dims);
    let count = count_of(dims);
    let shift = s0 / count;
    let mean = f32::cast_from(x[first_of(column, dims)]) + shift;
    (mean, max(s1 / count - shift * shift, 0.0f32))
}

/// Mean and biased variance, written from column `at` on of the `width` that each sample has in `out`.
#[cube(launch_unchecked)]
fn statistics(x: &[f32], part: &[f32], out: &mut [f32], dims: Dims, at: usize, width: usize) {
    if ABSOLUTE_POS >= dims.columns {
        terminate!();
    }
    let (column, n) = (ABSOLUTE_POS, dims.channels);
    let (mean, variance) = moments::<f32>(x, part, column, &dims);
    let to = column / n * width + at + column % n;
    out[to] = mean;
    out[dims.columns / n * width + to] = variance;
}

/// [`statistics`] and [`rows_kernel`] of a normalisation that knows no running ones: one unit a column of the first `channels`
/// channels, of which those of `dims`, the last, are measured and the rest are in `stats`.
#[cube(launch_unchecked)]
fn measured_kernel(
    x: &[f32],
    part: &[f32],
    gamma: &[f32],
    beta: &[f32],
    stats: &mut [f32],
    rows: &mut [f32],
    folded: &mut [f32],
    dims: Dims,
    channels: usize,
    width: usize,
    epsilon: f32,
) {
    let samples = dims.columns / dims.channels;
    let n = samples * channels;
    if ABSOLUTE_POS >= n {
        terminate!();
    }
    let c = ABSOLUTE_POS;
    let (sample, channel) = (c / channels, c % channels);
    let column = sample * width + channel;
    let mut mean = stats[column];
    let mut variance = stats[samples * width + column];
    if channel >= dims.from {
        let measured = moments::<f32>(x, part, sample * dims.channels + channel - dims.from, &dims);
        mean = measured.0;
        variance = measured.1;
        stats[column] = mean;
        stats[samples * width + column] = variance;
    }
    let rstd = 1.0f32 / (variance + epsilon).sqrt();
    rows[c] = mean;
    rows[n + c] = rstd;
    rows[2 * n + c] = 1.0f32;
    rows[3 * n + c] = 0.0f32;
    rows[4 * n + c] = 0.0f32;
    rows[5 * n + c] = 1.0f32;
    let scale = rstd * gamma[channel];
    folded[c] = scale;
    folded[n + c] = beta[channel] - mean * scale;
}

/// As [`statistics`], but what they come to: scale and shift of each column by every normalisation. `affine` is `[norm, 2, total]`,
/// `folds` `[norm, 2, sample * total]`, samples being groups of columns.
#[cube(launch_unchecked)]
fn scales_kernel<E: Float>(
    x: &[E],
    part: &[f32],
    affine: &[f32],
    folds: &mut [f32],
    dims: Dims,
    norms: usize,
    epsilon: f32,
    #[define(E)] _stored: ElemType,
) {
    if ABSOLUTE_POS >= dims.columns {
        terminate!();
    }
    let (column, n) = (ABSOLUTE_POS, dims.channels);
    let (sample, c) = (column / n, column % n);
    let samples = dims.columns / n;
    let (mean, variance) = moments::<E>(x, part, column, &dims);
    let rstd = 1.0f32 / (variance + epsilon).sqrt();
    let all = samples * dims.total;
    let channel = dims.from + c;
    for norm in 0..norms {
        let scale = rstd * affine[norm * 2 * dims.total + channel];
        let to = norm * 2 * all + sample * dims.total + channel;
        folds[to] = scale;
        folds[to + all] = affine[(norm * 2 + 1) * dims.total + channel] - mean * scale;
    }
}

/// `count` channels of `x` from `from` on, as the kernels are told of them.
#[derive(Clone, Copy)]
struct Window {
    batch: usize,
    channels: usize,
    from: usize,
    total: usize,
    voxels: usize,
    columns: usize,
}

impl Window {
    /// With as many columns as `folded`, `[2, column]`, has.
    fn new(x: &CubeTensor, from: usize, channels: usize, columns: usize) -> Self {
        let [batch, total, d, h, w] = x.dims5();
        Self {
            batch,
            channels,
            from,
            total,
            voxels: d * h * w,
            columns,
        }
    }

    fn chunks(&self) -> usize {
        self.batch * self.voxels.div_ceil(CHUNK)
    }

    fn dims(&self, units: usize) -> DimsLaunch {
        DimsLaunch::new(
            units,
            self.batch,
            self.channels,
            self.from,
            self.total,
            self.voxels,
            self.chunks(),
            self.columns,
        )
    }
}

/// `max(0, x * scale + shift)` of `channels` channels from `from` on.
pub(super) fn norm_relu(x: &CubeTensor, from: usize, channels: usize, folded: &CubeTensor) -> CubeTensor {
    let [batch, _, d, h, w] = x.dims5();
    let y = empty(x, [batch, channels, d, h, w]);
    norm_relu_into(x, from, channels, &Folds::plain(folded.clone(), channels), &y, 0);
    y
}

/// The same, written into channels `at..` of `y`, in place.
pub(super) fn norm_relu_into(
    x: &CubeTensor,
    from: usize,
    channels: usize,
    folds: &Folds,
    y: &CubeTensor,
    at: usize,
) {
    let window = Window::new(x, from, channels, folds.columns);
    let units = window.batch * channels * window.voxels.div_ceil(SPAN);
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        norm_relu_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(&folds.tensor),
            buffer(y),
            window.dims(units),
            folds.first,
            folds.step,
            at,
            y.dims5()[1],
            SPAN,
            stored(x),
        );
    }
}

/// Mean and biased variance of the channels from `from` on, over the batch or of each sample.
pub(super) fn channel_stats(x: &CubeTensor, from: usize, channels: usize, by_sample: bool) -> CubeTensor {
    let samples = if by_sample { x.dims5()[0] } else { 1 };
    let out = empty(x, [2, samples * channels]);
    channel_stats_into(&out, 0, x, from, channels, by_sample);
    out
}

/// The same, written over the columns of the channels from `at` on of `out`, which may have more.
pub(super) fn channel_stats_into(
    out: &CubeTensor,
    at: usize,
    x: &CubeTensor,
    from: usize,
    channels: usize,
    by_sample: bool,
) {
    let samples = if by_sample { x.dims5()[0] } else { 1 };
    let columns = samples * channels;
    let window = Window::new(x, from, channels, columns);
    let client = x.client.clone();
    let part = parts(x, &window);
    let (count, dim) = grid(&client, columns);
    // Safety: as above.
    unsafe {
        statistics::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(&part),
            buffer(out),
            window.dims(columns),
            at,
            out.meta.shape()[1] / samples,
        );
    }
}

/// Groups of columns: samples, where each is normalised by its own.
pub(super) fn samples(x: &CubeTensor, norm: Normalisation) -> usize {
    if norm.by_sample { x.dims5()[0] } else { 1 }
}

/// See [`Kernels::norm_rows_measured`](crate::net::kernels::Kernels::norm_rows_measured), for a normalisation that reads no running
/// statistics; `stats` is written to.
pub(super) fn measured_rows(
    stats: &CubeTensor,
    x: &CubeTensor,
    from: usize,
    count: usize,
    [gamma, beta]: &[CubeTensor; 2],
    norm: Normalisation,
) -> (CubeTensor, CubeTensor) {
    let channels = gamma.meta.shape()[0];
    let samples = samples(x, norm);
    let window = Window::new(x, from, count, samples * count);
    let part = parts(x, &window);
    let n = samples * channels;
    let (rows, folded) = (empty(gamma, [6, n]), empty(gamma, [2, n]));
    let client = x.client.clone();
    let (grid, dim) = grid(&client, n);
    // Safety: as above.
    unsafe {
        measured_kernel::launch_unchecked(
            &client,
            grid,
            dim,
            buffer(x),
            buffer(&part),
            buffer(gamma),
            buffer(beta),
            buffer(stats),
            buffer(&rows),
            buffer(&folded),
            window.dims(n),
            channels,
            stats.meta.shape()[1] / samples,
            norm.epsilon as f32,
        );
    }
    (rows, folded)
}

/// `x` plus a bias a channel, rectified.
pub(super) fn bias_relu(x: &CubeTensor, bias: &CubeTensor) -> CubeTensor {
    let shape = x.dims5();
    let y = empty(x, shape);
    let window = Window::new(x, 0, shape[1], shape[1]);
    let units = shape[0] * shape[1] * window.voxels.div_ceil(SPAN);
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        bias_relu_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(bias),
            buffer(&y),
            window.dims(units),
            SPAN,
        );
    }
    y
}

/// The first stage of statistics; see [`spread`].
fn parts(x: &CubeTensor, window: &Window) -> CubeTensor {
    let client = x.client.clone();
    let part = empty_f32(x, [window.chunks(), 2, window.channels]);
    let units = window.chunks() * window.channels;
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        spread::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(&part),
            window.dims(units),
            CHUNK,
            stored(x),
        );
    }
    part
}

/// See [`Infer::measured`](crate::net::kernels::infer::Infer::measured); `folds` is written to.
pub(super) fn measured(
    folds: &CubeTensor,
    x: &CubeTensor,
    affine: &CubeTensor,
    from: usize,
    channels: usize,
    epsilon: f64,
) {
    let columns = x.dims5()[0] * channels;
    let window = Window::new(x, from, channels, columns);
    let part = parts(x, &window);
    let client = x.client.clone();
    let (count, dim) = grid(&client, columns);
    // Safety: as above.
    unsafe {
        scales_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(&part),
            buffer(affine),
            buffer(folds),
            window.dims(columns),
            affine.meta.shape()[0],
            epsilon as f32,
            stored(x),
        );
    }
}

/// See [`Kernels::norm_rows`](crate::net::kernels::Kernels::norm_rows).
pub(super) fn norm_rows(
    now: Option<CubeTensor>,
    running: Option<CubeTensor>,
    [gamma, beta]: &[CubeTensor; 2],
    samples: usize,
    norm: Normalisation,
) -> (CubeTensor, CubeTensor) {
    let channels = gamma.meta.shape()[0];
    let now = now.filter(|_| !norm.frozen());
    let running = running.filter(|_| norm.reads_running());
    let n = if now.is_some() { samples * channels } else { channels };
    let width = now.as_ref().map_or(channels, |now| now.meta.shape()[1] / samples);
    let (rows, folded) = (empty(gamma, [6, n]), empty(gamma, [2, n]));
    let [share, r_max, d_max] = norm
        .batch
        .map_or([0.0; 3], |b| [b.momentum, b.r_max, b.d_max].map(|v| v as f32));
    let given = (now.is_some(), running.is_some());
    // A kernel has the same bindings with and without, and one buffer may not be bound twice.
    let [now, running] = [now, running].map(|t| t.unwrap_or_else(|| nothing(gamma)));
    let client = gamma.client.clone();
    let (count, dim) = grid(&client, n);
    // Safety: as above.
    unsafe {
        rows_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(&now),
            buffer(&running),
            buffer(gamma),
            buffer(beta),
            buffer(&rows),
            buffer(&folded),
            n,
            channels,
            width,
            norm.epsilon as f32,
            share,
            r_max,
            d_max,
            given.0,
            given.1,
        );
    }
    (rows, folded)
}
