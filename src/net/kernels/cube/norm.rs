//! Normalisation and ReLU, forward and backward, on CubeCL devices.

mod backward;
mod bias;
mod rows;
mod statistics;

pub(super) use backward::backward;
pub(super) use bias::{bias_relu, bias_relu_backward};
pub(super) use rows::{measured, measured_rows, norm_rows};
pub(super) use statistics::{channel_stats, channel_stats_into};

use super::launch::{Folds, Shaped, buffer, empty, grid, stored};
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
