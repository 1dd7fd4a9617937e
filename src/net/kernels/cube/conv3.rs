//! 3x3x3 convolution on CubeCL devices.

use super::launch::{Shaped, buffer, empty, grid, nothing};
use crate::net::kernels::tiles::Tiles;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Output channels, and voxels of a row, that are loaded together.
const LANES: usize = 4;

/// Sizes that both kernels here are given.
#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Dims {
    units: usize,
    cin: usize,
    cout: usize,
    d: usize,
    h: usize,
    w: usize,
    /// Row length of the padded input.
    pitch: usize,
    /// Runs in a row.
    runs: usize,
    /// Groups of `quads * LANES` output channels.
    groups: usize,
    /// Channels of the output buffer, and the first that is written.
    channels: usize,
    at: usize,
    /// Scales, and as many shifts: one a channel, or one a channel of each sample.
    columns: usize,
}

/// Copies channels into a border of zeros, normalised and rectified on the way if asked: the convolution then has no
/// branches. One unit writes one element of `[batch * cin, d + 2, h + 2, pitch]`.
#[cube(launch_unchecked)]
fn pad(x: &[f32], folded: &[f32], out: &mut [f32], dims: Dims, #[comptime] norm: bool) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let px = ABSOLUTE_POS % dims.pitch;
    let rest = ABSOLUTE_POS / dims.pitch;
    let py = rest % (dims.h + 2);
    let rest = rest / (dims.h + 2);
    let pz = rest % (dims.d + 2);
    let channel = rest / (dims.d + 2);
    let mut value = 0.0f32;
    if px >= 1 && px <= dims.w && py >= 1 && py <= dims.h && pz >= 1 && pz <= dims.d {
        value = x[((channel * dims.d + pz - 1) * dims.h + py - 1) * dims.w + px - 1];
        if norm {
            let c = channel % dims.columns;
            value = max(value * folded[c] + folded[dims.columns + c], 0.0f32);
        }
    }
    out[ABSOLUTE_POS] = value;
}

/// Weights `[cout, cin, 27]` to `[group, cin, 27, LANES * QUADS]`, channels beyond the last being zero. `mirror` makes
/// those of the data gradient: output and input channels change places and every axis is reversed.
#[cube(launch_unchecked)]
fn pack(w: &[f32], out: &mut [f32], dims: Dims, #[comptime] width: usize, #[comptime] mirror: bool) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let lane = ABSOLUTE_POS % width;
    let rest = ABSOLUTE_POS / width;
    let tap = rest % 27;
    let rest = rest / 27;
    let ci = rest % dims.cin;
    let co = rest / dims.cin * width + lane;
    let mut value = 0.0f32;
    if co < dims.cout {
        if mirror {
            value = w[(ci * dims.cout + co) * 27 + 26 - tap];
        } else {
            value = w[(co * dims.cin + ci) * 27 + tap];
        }
    }
    out[ABSOLUTE_POS] = value;
}

/// One unit computes `run` voxels of a row for `quads * N` output channels: for every input channel and every pair of
/// z and y taps it loads `run + 2` voxels once and uses them for three taps along x.
#[cube(launch_unchecked)]
fn conv3_kernel<N: Size>(
    x: &[Vector<f32, N>],
    w: &[Vector<f32, N>],
    y: &mut [f32],
    dims: Dims,
    #[comptime] run: usize,
    #[comptime] quads: usize,
    #[comptime] lanes: usize,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let x0 = ABSOLUTE_POS % dims.runs * run;
    let rest = ABSOLUTE_POS / dims.runs;
    let y0 = rest % dims.h;
    let rest = rest / dims.h;
    let z0 = rest % dims.d;
    let rest = rest / dims.d;
    let group = rest % dims.groups;
    let batch = rest / dims.groups;

    let mut sums = Array::<Vector<f32, N>>::new(run * quads);
    for ci in 0..dims.cin {
        let channel = (batch * dims.cin + ci) * (dims.d + 2);
        let taps = (group * dims.cin + ci) * 27;
        for zy in 0..9 {
            let from = (((channel + z0 + zy / 3) * (dims.h + 2) + y0 + zy % 3) * dims.pitch + x0) / lanes;
            let mut row = Array::<f32>::new(run + lanes);
            #[unroll]
            for v in 0..run / lanes + 1 {
                let values = x[from + v];
                #[unroll]
                for l in 0..lanes {
                    row[v * lanes + l] = values.extract(l);
                }
            }
            #[unroll]
            for dx in 0..3 {
                #[unroll]
                for q in 0..quads {
                    let weight = w[(taps + zy * 3 + dx) * quads + q];
                    #[unroll]
                    for i in 0..run {
                        sums[i * quads + q] += Vector::new(row[i + dx]) * weight;
                    }
                }
            }
        }
    }
    #[unroll]
    for q in 0..quads {
        #[unroll]
        for l in 0..lanes {
            let co = (group * quads + q) * lanes + l;
            if co < dims.cout {
                let to = (((batch * dims.channels + dims.at + co) * dims.d + z0) * dims.h + y0) * dims.w + x0;
                #[unroll]
                for i in 0..run {
                    if x0 + i < dims.w {
                        y[to + i] = sums[i * quads + q].extract(l);
                    }
                }
            }
        }
    }
}

/// Convolves `x [batch, cin, d, h, w]` and writes the result into channels `at..` of `y`, in place.
pub(super) fn conv3_into(
    x: &CubeTensor,
    folded: Option<CubeTensor>,
    w: &CubeTensor,
    mirror: bool,
    y: &CubeTensor,
    at: usize,
) {
    let [batch, cin, d, h, width] = x.dims5();
    let cout = if mirror { w.dims5()[1] } else { w.dims5()[0] };
    let Tiles { run, quads, .. } = Tiles::get();
    let runs = width.div_ceil(run);
    let pitch = runs * run + LANES;
    let quads = cout.div_ceil(LANES).min(quads);
    let groups = cout.div_ceil(quads * LANES);
    let columns = folded.as_ref().map_or(cin, |f| f.meta.shape()[1]);
    let dims = |units: usize| {
        DimsLaunch::new(
            units,
            cin,
            cout,
            d,
            h,
            width,
            pitch,
            runs,
            groups,
            y.dims5()[1],
            at,
            columns,
        )
    };
    let client = x.client.clone();

    let packed = empty(x, [groups, cin, 27, quads * LANES]);
    let units = groups * cin * 27 * quads * LANES;
    let (count, dim) = grid(&client, units);
    // Safety: every index below is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        pack::launch_unchecked(
            &client,
            count,
            dim,
            buffer(w),
            buffer(&packed),
            dims(units),
            quads * LANES,
            mirror,
        );
    }

    let padded = empty(x, [batch * cin, d + 2, h + 2, pitch]);
    let units = batch * cin * (d + 2) * (h + 2) * pitch;
    let (count, dim) = grid(&client, units);
    let normed = folded.is_some();
    let folded = folded.unwrap_or_else(|| nothing(x));
    // Safety: as above.
    unsafe {
        pad::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(&folded),
            buffer(&padded),
            dims(units),
            normed,
        );
    }

    let units = batch * groups * d * h * runs;
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        conv3_kernel::launch_unchecked(
            &client,
            count,
            dim,
            LANES,
            buffer(&padded),
            buffer(&packed),
            buffer(y),
            dims(units),
            run,
            quads,
            LANES,
        );
    }
}
