//! Mean and variance of channels, in two stages.

use super::super::launch::{Shaped, buffer, empty, empty_f32, grid, stored};
use super::{Dims, Window};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// What a unit of a first stage sums up: of sample and channel, voxels from the first on, a step apart; row `chunk` of the sums is its
/// own. Neighbouring units take neighbouring voxels.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Share {
    pub(super) sample: usize,
    pub(super) channel: usize,
    pub(super) chunk: usize,
    pub(super) first: usize,
    pub(super) step: usize,
    pub(super) count: usize,
}

/// The share of unit `unit`.
#[cube]
pub(super) fn share(unit: usize, dims: &Dims) -> Share {
    let step = dims.chunks / dims.batch;
    let first = unit % step;
    let line = unit / step;
    let (sample, channel) = (line / dims.channels, line % dims.channels);
    Share {
        sample,
        channel,
        chunk: sample * step + first,
        first,
        step,
        count: (dims.voxels - first).div_ceil(step),
    }
}

/// Sums over a chunk of a channel's voxels of their distances from the column's first voxel, and of the squares. `part` is
/// `[chunk, 2, channel]`.
#[cube(launch_unchecked)]
fn spread<E: Float>(x: &[E], part: &mut [f32], dims: Dims, #[define(E)] _stored: ElemType) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let (n, own) = (dims.channels, share(ABSOLUTE_POS, &dims));
    let from = (own.sample * dims.total + dims.from + own.channel) * dims.voxels + own.first;
    let column = (own.sample * n + own.channel) % dims.columns;
    let centre = f32::cast_from(x[first_of(column, &dims)]);
    let mut s0 = 0.0f32;
    let mut s1 = 0.0f32;
    for i in 0..own.count {
        let v = f32::cast_from(x[from + i * own.step]) - centre;
        s0 += v;
        s1 += v * v;
    }
    let to = own.chunk * 2 * n + own.channel;
    part[to] = s0;
    part[to + n] = s1;
}

/// Where a column's first voxel is.
#[cube]
pub(super) fn first_of(column: usize, dims: &Dims) -> usize {
    let sample = column / dims.channels;
    (sample * dims.total + dims.from + column % dims.channels) * dims.voxels
}

/// Values that a column's statistics are taken of.
#[cube]
pub(super) fn count_of(dims: &Dims) -> f32 {
    f32::cast_from(dims.batch * dims.voxels / (dims.columns / dims.channels))
}

/// A column's two sums over all its chunks; `part` is `[chunk, 2, channel]`.
#[cube]
pub(super) fn summed(part: &[f32], column: usize, dims: &Dims) -> (f32, f32) {
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
pub(super) fn moments<E: Float>(x: &[E], part: &[f32], column: usize, dims: &Dims) -> (f32, f32) {
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

/// Mean and biased variance of the channels from `from` on, over the batch or of each sample.
pub(in crate::net::kernels::cube) fn channel_stats(
    x: &CubeTensor,
    from: usize,
    channels: usize,
    by_sample: bool,
) -> CubeTensor {
    let samples = if by_sample { x.dims5()[0] } else { 1 };
    let out = empty(x, [2, samples * channels]);
    channel_stats_into(&out, 0, x, from, channels, by_sample);
    out
}

/// The same, written over the columns of the channels from `at` on of `out`, which may have more.
pub(in crate::net::kernels::cube) fn channel_stats_into(
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

/// The first stage of statistics; see [`spread`].
pub(super) fn parts(x: &CubeTensor, window: &Window) -> CubeTensor {
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
            stored(x),
        );
    }
    part
}
