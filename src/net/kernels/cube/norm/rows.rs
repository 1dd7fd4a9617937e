//! What statistics make of a normalisation: its rows, its scales and shifts.

use super::super::launch::{Shaped, buffer, empty, grid, nothing, stored};
use super::statistics::{moments, parts};
use super::{Dims, Window};
use crate::net::kernels::Normalisation;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

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

/// See [`Kernels::norm_rows`](crate::net::kernels::Kernels::norm_rows).
pub(in crate::net::kernels::cube) fn norm_rows(
    now: Option<CubeTensor>,
    running: Option<CubeTensor>,
    [gamma, beta]: &[CubeTensor; 2],
    samples: usize,
    norm: Normalisation,
) -> (CubeTensor, CubeTensor) {
    let channels = gamma.meta.shape()[0];
    let now = now.filter(|_| !norm.frozen());
    let running = running.filter(|_| norm.reads_running());
    let n = if now.is_some() {
        samples * channels
    } else {
        channels
    };
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

/// See [`Kernels::norm_rows_measured`](crate::net::kernels::Kernels::norm_rows_measured), for a normalisation that reads no running
/// statistics; `stats` is written to.
pub(in crate::net::kernels::cube) fn measured_rows(
    stats: &CubeTensor,
    x: &CubeTensor,
    from: usize,
    count: usize,
    [gamma, beta]: &[CubeTensor; 2],
    norm: Normalisation,
) -> (CubeTensor, CubeTensor) {
    let channels = gamma.meta.shape()[0];
    let samples = norm.samples(x.dims5()[0]);
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

/// See [`Infer::measured`](crate::net::kernels::infer::Infer::measured); `folds` is written to.
pub(in crate::net::kernels::cube) fn measured(
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
