//! 3x3x3 convolution on CubeCL devices.

use super::launch::{Folds, Shaped, buffer, empty, grid, stored};
use crate::net::kernels::infer::Read;
use crate::net::kernels::tiles::Tiles;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Output channels, and voxels of a row, that are loaded together.
const LANES: usize = 4;

/// Sizes that the convolution and what pads its input are given.
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
    /// Channels of the input, and the first that is read.
    total: usize,
    from: usize,
    /// Where scales and shifts are: see [`Folds`].
    fold: usize,
    step: usize,
    columns: usize,
}

/// Copies channels into a border of zeros, normalised and rectified on the way if asked: the convolution then has no
/// branches. One unit writes one element of `[batch * cin, d + 2, h + 2, pitch]`.
#[cube(launch_unchecked)]
fn pad<E: Float>(
    x: &[E],
    folded: &[f32],
    out: &mut [E],
    dims: Dims,
    #[comptime] norm: bool,
    #[define(E)] _stored: ElemType,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let px = ABSOLUTE_POS % dims.pitch;
    let rest = ABSOLUTE_POS / dims.pitch;
    let py = rest % (dims.h + 2);
    let rest = rest / (dims.h + 2);
    let pz = rest % (dims.d + 2);
    let channel = rest / (dims.d + 2) % dims.cin;
    let batch = rest / (dims.d + 2) / dims.cin;
    let mut value = 0.0f32;
    if px >= 1 && px <= dims.w && py >= 1 && py <= dims.h && pz >= 1 && pz <= dims.d {
        let from = (batch * dims.total + dims.from + channel) * dims.d + pz - 1;
        value = f32::cast_from(x[(from * dims.h + py - 1) * dims.w + px - 1]);
        if norm {
            let c = dims.fold + batch * dims.step + channel;
            value = max(value * folded[c] + folded[dims.columns + c], 0.0f32);
        }
    }
    out[ABSOLUTE_POS] = E::cast_from(value);
}

/// Weights `[cout, cin, 27]` to `[group, cin, 27, LANES * QUADS]`, channels beyond the last being zero. `mirror` makes
/// those of the data gradient: output and input channels change places and every axis is reversed.
#[cube(launch_unchecked)]
fn pack_kernel(
    w: &[f32],
    out: &mut [f32],
    units: usize,
    cin: usize,
    cout: usize,
    #[comptime] width: usize,
    #[comptime] mirror: bool,
) {
    if ABSOLUTE_POS >= units {
        terminate!();
    }
    let lane = ABSOLUTE_POS % width;
    let rest = ABSOLUTE_POS / width;
    let tap = rest % 27;
    let rest = rest / 27;
    let ci = rest % cin;
    let co = rest / cin * width + lane;
    let mut value = 0.0f32;
    if co < cout {
        if mirror {
            value = w[(ci * cout + co) * 27 + 26 - tap];
        } else {
            value = w[(co * cin + ci) * 27 + tap];
        }
    }
    out[ABSOLUTE_POS] = value;
}

/// One unit computes `run` voxels of a row for `quads * N` output channels: for every input channel and every pair of
/// z and y taps it loads `run + 2` voxels once and uses them for three taps along x.
#[cube(launch_unchecked)]
fn conv3_kernel<E: Float, N: Size>(
    x: &[Vector<E, N>],
    w: &[Vector<f32, N>],
    y: &mut [E],
    dims: Dims,
    #[comptime] run: usize,
    #[comptime] quads: usize,
    #[comptime] lanes: usize,
    #[define(E)] _stored: ElemType,
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
                let values = Vector::<f32, N>::cast_from(x[from + v]);
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
                        y[to + i] = E::cast_from(sums[i * quads + q].extract(l));
                    }
                }
            }
        }
    }
}

/// Weights as the kernel reads them, `[group, cin, 27, output channels of a group, 1]`, of `[cout, cin, 3, 3, 3]`, or of
/// `[cin, cout, 3, 3, 3]`, mirrored, for the data gradient.
pub(super) fn pack(w: &CubeTensor, mirror: bool) -> CubeTensor {
    let [mut cout, mut cin, ..] = w.dims5();
    if mirror {
        (cout, cin) = (cin, cout);
    }
    let quads = cout.div_ceil(LANES).min(Tiles::get().quads);
    let width = quads * LANES;
    let groups = cout.div_ceil(width);
    let packed = empty(w, [groups, cin, 27, width, 1]);
    let units = groups * cin * 27 * width;
    let client = w.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        pack_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(w),
            buffer(&packed),
            units,
            cin,
            cout,
            width,
            mirror,
        );
    }
    packed
}

/// Convolves `read.count` channels of `x [batch, channels, d, h, w]` with weights from [`pack`] and writes the result into channels
/// `at..` of `y`, in place. `x` may be `y`: it is copied first.
pub(super) fn conv3_into(
    x: &CubeTensor,
    folds: Option<Folds>,
    packed: &CubeTensor,
    read: Read,
    y: &CubeTensor,
    at: usize,
) {
    let [batch, total, d, h, width] = x.dims5();
    let (cin, cout) = (read.count, read.out);
    let run = Tiles::get().run;
    // Tiles may have changed since the weights were packed.
    let [groups, _, _, packed_width, _] = packed.dims5();
    let runs = width.div_ceil(run);
    let pitch = runs * run + LANES;
    let normed = folds.is_some();
    let folds = folds.unwrap_or_else(|| Folds::none(x));
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
            total,
            read.from,
            folds.first,
            folds.step,
            folds.columns,
        )
    };
    let client = x.client.clone();

    let padded = empty(x, [batch * cin, d + 2, h + 2, pitch]);
    let units = batch * cin * (d + 2) * (h + 2) * pitch;
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        pad::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(&folds.tensor),
            buffer(&padded),
            dims(units),
            normed,
            stored(x),
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
            buffer(packed),
            buffer(y),
            dims(units),
            run,
            packed_width / LANES,
            LANES,
            stored(x),
        );
    }
}
