//! A bias and its ReLU, forward and backward.

use super::super::chunks::summed;
use super::super::launch::{Shaped, buffer, empty, grid};
use super::statistics::share;
use super::{Dims, SPAN, Window};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

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

/// `x` plus a bias a channel, rectified.
pub(in crate::net::kernels::cube) fn bias_relu(x: &CubeTensor, bias: &CubeTensor) -> CubeTensor {
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

/// The first stage of a bias's gradient: sums of what passes the ReLU whose answer was `y`, over a chunk of a channel's voxels. `part` is
/// `[chunk, channel]`; `dx` is what passes.
#[cube(launch_unchecked)]
fn relu_kernel(y: &[f32], dy: &[f32], dx: &mut [f32], part: &mut [f32], dims: Dims) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let (n, own) = (dims.channels, share(ABSOLUTE_POS, &dims));
    let from = (own.sample * n + own.channel) * dims.voxels + own.first;
    let mut sum = 0.0f32;
    for i in 0..own.count {
        let at = from + i * own.step;
        let g = select(y[at] > 0.0f32, dy[at], 0.0f32);
        dx[at] = g;
        sum += g;
    }
    part[own.chunk * n + own.channel] = sum;
}

/// See [`Kernels::bias_relu_backward`](crate::net::kernels::Kernels::bias_relu_backward).
pub(in crate::net::kernels::cube) fn bias_relu_backward(
    y: &CubeTensor,
    dy: &CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let channels = y.dims5()[1];
    let window = Window::new(y, 0, channels, channels);
    let client = y.client.clone();
    let (dx, part) = (empty(y, y.dims5()), empty(y, [window.chunks(), channels]));
    let units = window.chunks() * channels;
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        relu_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(y),
            buffer(dy),
            buffer(&dx),
            buffer(&part),
            window.dims(units),
        );
    }
    let dbias = summed(&part, window.chunks(), [channels]);
    (dx, dbias)
}
