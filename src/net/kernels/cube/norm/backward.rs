//! The gradients of normalisation and ReLU on CubeCL devices.

use super::super::launch::{Shaped, buffer, empty, grid};
use super::statistics::{count_of, share, summed};
use super::{Dims, SPAN, Window};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// What passes the ReLU of `dy`: the gradient at its input.
#[cube]
fn passed(x: f32, dy: f32, scale: f32, shift: f32) -> f32 {
    select(x * scale + shift > 0.0f32, dy, 0.0f32)
}

/// Sums of the gradient at the ReLU's input (s0), and of its product with the centred input (s1), over a chunk of a
/// channel's voxels. `part` is `[chunk, 2, channel]`.
#[cube(launch_unchecked)]
fn sums(x: &[f32], dy: &[f32], rows: &[f32], folded: &[f32], part: &mut [f32], dims: Dims) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let (n, own) = (dims.channels, share(ABSOLUTE_POS, &dims));
    let line = own.sample * n + own.channel;
    let from = (own.sample * dims.total + own.channel) * dims.voxels + own.first;
    let gradient = line * dims.voxels + own.first;
    let (column, columns) = (line % dims.columns, dims.columns);
    let (mean, rstd) = (rows[column], rows[columns + column]);
    let (scale, shift) = (folded[column], folded[columns + column]);
    let mut s0 = 0.0f32;
    let mut s1 = 0.0f32;
    for i in 0..own.count {
        let v = x[from + i * own.step];
        let g = passed(v, dy[gradient + i * own.step], scale, shift);
        s0 += g;
        s1 += g * (v - mean) * rstd;
    }
    let to = own.chunk * 2 * n + own.channel;
    part[to] = s0;
    part[to + n] = s1;
}

/// Sums the chunks of [`sums`]: s0 and s1, `[2, column]`. Where a channel has one column these are also all that the gradients of
/// gamma and beta are made of.
#[cube(launch_unchecked)]
fn finish(
    part: &[f32],
    rows: &[f32],
    out: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    dims: Dims,
    #[comptime] all: bool,
) {
    if ABSOLUTE_POS >= dims.columns {
        terminate!();
    }
    let (column, columns) = (ABSOLUTE_POS, dims.columns);
    let (s0, s1) = summed(part, column, &dims);
    out[column] = s0;
    out[columns + column] = s1;
    if all {
        dgamma[column] = s1 * rows[2 * columns + column] + s0 * rows[3 * columns + column];
        dbeta[column] = s0;
    }
}

/// What the sums of [`finish`] come to where a channel has several columns: the gradients of gamma and beta.
#[cube(launch_unchecked)]
fn affine(totals: &[f32], rows: &[f32], dgamma: &mut [f32], dbeta: &mut [f32], dims: Dims) {
    if ABSOLUTE_POS >= dims.channels {
        terminate!();
    }
    let (c, n, columns) = (ABSOLUTE_POS, dims.channels, dims.columns);
    let mut gamma = 0.0f32;
    let mut beta = 0.0f32;
    for group in 0..columns / n {
        let own = group * n + c;
        let s0 = totals[own];
        gamma += totals[columns + own] * rows[2 * columns + own] + s0 * rows[3 * columns + own];
        beta += s0;
    }
    dgamma[c] = gamma;
    dbeta[c] = beta;
}

/// Gradient with respect to `x`, whose channels beyond the gradient's are left alone; mean and deviation are
/// differentiated too unless `frozen`. Added to what is there if `add`.
#[cube(launch_unchecked)]
fn dx_kernel(
    x: &[f32],
    dy: &[f32],
    rows: &[f32],
    folded: &[f32],
    totals: &[f32],
    dx: &mut [f32],
    dims: Dims,
    #[comptime] frozen: bool,
    #[comptime] add: bool,
    #[comptime] span: usize,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let n = dims.channels;
    // Neighbouring units take neighbouring voxels.
    let stride = dims.voxels.div_ceil(span);
    let line = ABSOLUTE_POS / stride;
    let from = (line / n * dims.total + line % n) * dims.voxels;
    let (own, columns) = (line % dims.columns, dims.columns);
    let (scale, shift) = (folded[own], folded[columns + own]);
    let mut mean = 0.0f32;
    let mut rstd = 0.0f32;
    let mut s0 = 0.0f32;
    let mut s1 = 0.0f32;
    if !frozen {
        mean = rows[own];
        rstd = rows[columns + own];
        s0 = totals[own] / count_of(&dims);
        s1 = totals[columns + own] / count_of(&dims);
    }
    for i in 0..span {
        let voxel = ABSOLUTE_POS % stride + i * stride;
        if voxel < dims.voxels {
            let v = x[from + voxel];
            let mut g = passed(v, dy[line * dims.voxels + voxel], scale, shift);
            if !frozen {
                g -= s0 + (v - mean) * rstd * s1;
            }
            if add {
                dx[from + voxel] += g * scale;
            } else {
                dx[from + voxel] = g * scale;
            }
        }
    }
}

/// Gradients of normalisation and ReLU of the first channels of `x`, as many as `dy` has: with respect to `x`, written
/// to or added to those of `dx`, and to gamma and beta.
pub(in super::super) fn backward(
    dx: &CubeTensor,
    add: bool,
    x: &CubeTensor,
    dy: &CubeTensor,
    (rows, folded): (&CubeTensor, &CubeTensor),
    frozen: bool,
) -> [CubeTensor; 2] {
    let channels = dy.dims5()[1];
    let columns = folded.meta.shape()[1];
    let window = Window::new(x, 0, channels, columns);
    let client = x.client.clone();
    let part = empty(x, [window.chunks(), 2, channels]);
    let units = window.chunks() * channels;
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        sums::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(dy),
            buffer(rows),
            buffer(folded),
            buffer(&part),
            window.dims(units),
        );
    }
    let totals = empty(x, [2, columns]);
    let [dgamma, dbeta] = [(); 2].map(|()| empty(x, [channels]));
    let (count, dim) = grid(&client, columns);
    // Safety: as above.
    unsafe {
        finish::launch_unchecked(
            &client,
            count,
            dim,
            buffer(&part),
            buffer(rows),
            buffer(&totals),
            buffer(&dgamma),
            buffer(&dbeta),
            window.dims(columns),
            columns == channels,
        );
    }
    if columns != channels {
        let (count, dim) = grid(&client, channels);
        // Safety: as above.
        unsafe {
            affine::launch_unchecked(
                &client,
                count,
                dim,
                buffer(&totals),
                buffer(rows),
                buffer(&dgamma),
                buffer(&dbeta),
                window.dims(channels),
            );
        }
    }
    let units = window.batch * channels * window.voxels.div_ceil(SPAN);
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        dx_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(dy),
            buffer(rows),
            buffer(folded),
            buffer(&totals),
            buffer(dx),
            window.dims(units),
            frozen,
            add,
            SPAN,
        );
    }
    [dgamma, dbeta]
}
