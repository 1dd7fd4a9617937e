//! Transposed 3x3x3 convolution of stride 2, and the maximum over 2x2x2 cubes, on CubeCL devices.

// Kernels count their own way through a buffer: an iterator is nothing on a GPU.
#![allow(clippy::needless_range_loop)]

use super::launch::{Shaped, buffer, empty, empty_f32, grid, nothing, stored};
use crate::net::kernels::tiles::Tiles;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Output channels that one unit computes.
const OUTS: usize = 2;

#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Dims {
    units: usize,
    cin: usize,
    cout: usize,
    /// The smaller of the two sides.
    d: usize,
    h: usize,
    w: usize,
    runs: usize,
    groups: usize,
    /// Channels of the larger maps' buffer, and the first that is written.
    channels: usize,
    at: usize,
    /// Channels of the smaller maps' buffer, and the first that is read.
    total: usize,
    from: usize,
}

/// One unit computes the 2x2x2 cubes of output that start at `run` input voxels. Output 2 i is reached from input i by tap 0
/// and from i - 1 by tap 2, output 2 i + 1 from input i by tap 1.
#[cube(launch_unchecked)]
fn up2_kernel<E: Float>(
    x: &[E],
    w: &[f32],
    bias: &[f32],
    y: &mut [E],
    dims: Dims,
    #[comptime] run: usize,
    #[comptime] outs: usize,
    #[comptime] biased: bool,
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

    // [out][z parity][y parity][2 run voxels]
    let mut sums = Array::<f32>::new(outs * 4 * 2 * run);
    for ci in 0..dims.cin {
        #[unroll]
        for bz in 0..2usize {
            #[unroll]
            for by in 0..2usize {
                // This row (0) or the one before it (1); zero outside.
                let inside = z0 >= bz && y0 >= by;
                let from = (((batch * dims.total + dims.from + ci) * dims.d + z0
                    - select(inside, bz, 0usize))
                    * dims.h
                    + y0
                    - select(inside, by, 0usize))
                    * dims.w
                    + x0;
                let mut row = Array::<f32>::new(run + 1);
                row[0] = select(
                    inside && x0 >= 1,
                    f32::cast_from(x[from - select(x0 >= 1, 1usize, 0usize)]),
                    0.0f32,
                );
                #[unroll]
                for i in 0..run {
                    let at = min(x0 + i, dims.w - 1) - x0;
                    row[i + 1] = select(inside, f32::cast_from(x[from + at]), 0.0f32);
                }
                #[unroll]
                for o in 0..outs {
                    let taps = (ci * dims.cout + min(group * outs + o, dims.cout - 1)) * 27;
                    // The row before reaches even outputs by tap 2; this row reaches even ones by tap 0, odd ones by tap 1.
                    #[unroll]
                    for pz in 0..2 - bz {
                        #[unroll]
                        for py in 0..2 - by {
                            let kz = comptime!(if bz == 1 { 2 } else { pz });
                            let ky = comptime!(if by == 1 { 2 } else { py });
                            let tap = taps + comptime!((kz * 3 + ky) * 3);
                            let (w0, w1, w2) = (w[tap], w[tap + 1], w[tap + 2]);
                            let out = comptime!(((o * 2 + pz) * 2 + py) * 2 * run);
                            #[unroll]
                            for i in 0..run {
                                sums[out + 2 * i] += row[i + 1] * w0 + row[i] * w2;
                                sums[out + 2 * i + 1] += row[i + 1] * w1;
                            }
                        }
                    }
                }
            }
        }
    }
    #[unroll]
    for o in 0..outs {
        let co = group * outs + o;
        if co < dims.cout {
            #[unroll]
            for pz in 0..2usize {
                #[unroll]
                for py in 0..2usize {
                    let plane = (batch * dims.channels + dims.at + co) * dims.d * 2 + z0 * 2 + pz;
                    let to = (plane * dims.h * 2 + y0 * 2 + py) * dims.w * 2 + x0 * 2;
                    #[unroll]
                    for i in 0..2 * run {
                        if x0 * 2 + i < dims.w * 2 {
                            let mut sum = sums[((o * 2 + pz) * 2 + py) * 2 * run + i];
                            if biased {
                                sum = max(sum + bias[co], 0.0f32);
                            }
                            y[to + i] = E::cast_from(sum);
                        }
                    }
                }
            }
        }
    }
}

/// Transposed convolution of `x [batch, cin, d, h, w]` with `w [cin, cout, 3, 3, 3]`.
pub(super) fn up2(x: &CubeTensor, w: &CubeTensor) -> CubeTensor {
    let [batch, _, d, h, width] = x.dims5();
    let y = empty(x, [batch, w.dims5()[1], 2 * d, 2 * h, 2 * width]);
    up2_into(x, 0, w, None, &y, 0);
    y
}

/// The same of the channels of `x` from `from` on, as many as `w` takes, with bias and ReLU if there is one, written into channels
/// `at..` of `y`, in place.
pub(super) fn up2_into(
    x: &CubeTensor,
    from: usize,
    w: &CubeTensor,
    bias: Option<CubeTensor>,
    y: &CubeTensor,
    at: usize,
) {
    let [batch, total, d, h, width] = x.dims5();
    let [cin, cout, ..] = w.dims5();
    let run = Tiles::get().up2;
    let (runs, groups) = (width.div_ceil(run), cout.div_ceil(OUTS));
    let units = batch * groups * d * h * runs;
    let biased = bias.is_some();
    let bias = bias.unwrap_or_else(|| nothing(x));
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        up2_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(w),
            buffer(&bias),
            buffer(y),
            DimsLaunch::new(
                units,
                cin,
                cout,
                d,
                h,
                width,
                runs,
                groups,
                y.dims5()[1],
                at,
                total,
                from,
            ),
            run,
            OUTS,
            biased,
            stored(x),
        );
    }
}

/// Data gradient of the transposed convolution, a convolution of stride 2: one unit computes `run` voxels of a row for
/// `ins` channels.
#[cube(launch_unchecked)]
fn up2_dx_kernel(
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    dims: Dims,
    #[comptime] run: usize,
    #[comptime] ins: usize,
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

    let mut sums = Array::<f32>::new(ins * run);
    for co in 0..dims.cout {
        for zy in 0..9 {
            let (z, y) = (z0 * 2 + zy / 3, y0 * 2 + zy % 3);
            if z < dims.d * 2 && y < dims.h * 2 {
                let from = (((batch * dims.cout + co) * dims.d * 2 + z) * dims.h * 2 + y) * dims.w * 2;
                let mut row = Array::<f32>::new(2 * run + 1);
                #[unroll]
                for i in 0..2 * run + 1 {
                    let at = x0 * 2 + i;
                    let inside = at < dims.w * 2;
                    row[i] = select(inside, dy[from + select(inside, at, 0usize)], 0.0f32);
                }
                #[unroll]
                for c in 0..ins {
                    let ci = min(group * ins + c, dims.cin - 1);
                    let taps = (ci * dims.cout + co) * 27 + zy * 3;
                    #[unroll]
                    for kx in 0..3usize {
                        let weight = w[taps + kx];
                        #[unroll]
                        for i in 0..run {
                            sums[c * run + i] += row[2 * i + kx] * weight;
                        }
                    }
                }
            }
        }
    }
    #[unroll]
    for c in 0..ins {
        let ci = group * ins + c;
        if ci < dims.cin {
            let to = (((batch * dims.cin + ci) * dims.d + z0) * dims.h + y0) * dims.w + x0;
            #[unroll]
            for i in 0..run {
                if x0 + i < dims.w {
                    dx[to + i] = sums[c * run + i];
                }
            }
        }
    }
}

/// Gradient of [`up2`] with respect to its input.
pub(super) fn up2_dx(dy: &CubeTensor, w: &CubeTensor) -> CubeTensor {
    let [batch, cout, d, h, width] = dy.dims5();
    let [d, h, width] = [d / 2, h / 2, width / 2];
    let cin = w.dims5()[0];
    let Tiles {
        up2: run,
        up2_dx: ins,
        ..
    } = Tiles::get();
    let (runs, groups) = (width.div_ceil(run), cin.div_ceil(ins));
    let units = batch * groups * d * h * runs;
    let dx = empty(dy, [batch, cin, d, h, width]);
    let client = dy.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        up2_dx_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(dy),
            buffer(w),
            buffer(&dx),
            DimsLaunch::new(units, cin, cout, d, h, width, runs, groups, cout, 0, cin, 0),
            run,
            ins,
        );
    }
    dx
}

/// One unit finds one maximum.
#[cube(launch_unchecked)]
fn max_pool2_kernel<E: Float>(x: &[E], y: &mut [E], dims: Dims, #[define(E)] _stored: ElemType) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let x0 = ABSOLUTE_POS % dims.w;
    let rest = ABSOLUTE_POS / dims.w;
    let y0 = rest % dims.h;
    // Channel and z: planes follow one another.
    let plane = rest / dims.h;
    let from = (plane * 2 * dims.h * 2 + y0 * 2) * dims.w * 2 + x0 * 2;
    let sample = dims.cout * dims.d * dims.h * dims.w;
    let to = ABSOLUTE_POS / sample * (dims.channels - dims.cout) + dims.at;
    let mut largest = x[from];
    #[unroll]
    for k in 1..8usize {
        let at = ((k / 4) * dims.h * 2 + k / 2 % 2) * dims.w * 2 + k % 2;
        largest = max(largest, x[from + at]);
    }
    y[to * dims.d * dims.h * dims.w + ABSOLUTE_POS] = largest;
}

/// Maximum over 2x2x2 cubes; sides are even.
pub(super) fn max_pool2(x: &CubeTensor) -> CubeTensor {
    let [batch, channels, d, h, w] = x.dims5();
    let y = empty(x, [batch, channels, d / 2, h / 2, w / 2]);
    max_pool2_into(x, &y, 0);
    y
}

/// The same, written into channels `at..` of `y`, in place.
pub(super) fn max_pool2_into(x: &CubeTensor, y: &CubeTensor, at: usize) {
    let [batch, channels, ..] = x.dims5();
    let [_, room, d, h, w] = y.dims5();
    let units = batch * channels * d * h * w;
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        max_pool2_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(y),
            DimsLaunch::new(units, channels, channels, d, h, w, w, 1, room, at, channels, 0),
            stored(x),
        );
    }
}

/// One unit computes two neighbours of a row of [`doubled_sum`].
#[cube(launch_unchecked)]
fn doubled_sum_kernel<E: Float>(
    x: &[E],
    w: &[f32],
    y: &mut [f32],
    dims: Dims,
    #[comptime] probabilities: bool,
    #[define(E)] _stored: ElemType,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let x0 = ABSOLUTE_POS % dims.w;
    let rest = ABSOLUTE_POS / dims.w;
    let y0 = rest % (dims.h * 2);
    let rest = rest / (dims.h * 2);
    let z0 = rest % (dims.d * 2);
    let batch = rest / (dims.d * 2);
    let voxels = dims.d * dims.h * dims.w;
    let first = batch * dims.cin * 8 + (z0 % 2 * 2 + y0 % 2) * 2;
    let voxel = (z0 / 2 * dims.h + y0 / 2) * dims.w + x0;
    let mut even = 0.0f32;
    let mut odd = 0.0f32;
    for map in 0..dims.cin {
        let from = (first + map * 8) * voxels + voxel;
        even += f32::cast_from(x[from]) * w[map];
        odd += f32::cast_from(x[from + voxels]) * w[map];
    }
    if probabilities {
        even = 1.0f32 / (1.0f32 + (-even).exp());
        odd = 1.0f32 / (1.0f32 + (-odd).exp());
    }
    y[ABSOLUTE_POS * 2] = even;
    y[ABSOLUTE_POS * 2 + 1] = odd;
}

/// See [`Infer::doubled_sum`](crate::net::kernels::infer::Infer::doubled_sum).
pub(super) fn doubled_sum(x: &CubeTensor, weights: &CubeTensor, probabilities: bool) -> CubeTensor {
    let [batch, cubes, d, h, w] = x.dims5();
    let maps = cubes / 8;
    let y = empty_f32(x, [batch, 1, 2 * d, 2 * h, 2 * w]);
    let units = batch * 4 * d * h * w;
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        doubled_sum_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(weights),
            buffer(&y),
            DimsLaunch::new(units, maps, 1, d, h, w, w, 1, 1, 0, cubes, 0),
            probabilities,
            stored(x),
        );
    }
    y
}

/// One unit gives one gradient to the first of the largest voxels of its cube, and zero to the others.
#[cube(launch_unchecked)]
fn max_pool2_dx_kernel(x: &[f32], dy: &[f32], dx: &mut [f32], dims: Dims) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let x0 = ABSOLUTE_POS % dims.w;
    let rest = ABSOLUTE_POS / dims.w;
    let y0 = rest % dims.h;
    let plane = rest / dims.h;
    let from = (plane * 2 * dims.h * 2 + y0 * 2) * dims.w * 2 + x0 * 2;
    let mut best = 0usize;
    let mut largest = x[from];
    #[unroll]
    for k in 1..8usize {
        let at = ((k / 4) * dims.h * 2 + k / 2 % 2) * dims.w * 2 + k % 2;
        let value = x[from + at];
        if value > largest {
            largest = value;
            best = at;
        }
    }
    #[unroll]
    for k in 0..8usize {
        let at = ((k / 4) * dims.h * 2 + k / 2 % 2) * dims.w * 2 + k % 2;
        dx[from + at] = select(at == best, dy[ABSOLUTE_POS], 0.0f32);
    }
}

/// Gradient of [`max_pool2`].
pub(super) fn max_pool2_dx(x: &CubeTensor, dy: &CubeTensor) -> CubeTensor {
    let [batch, channels, d, h, w] = dy.dims5();
    let units = batch * channels * d * h * w;
    let dx = empty(x, x.dims5());
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        max_pool2_dx_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(x),
            buffer(dy),
            buffer(&dx),
            DimsLaunch::new(units, channels, channels, d, h, w, w, 1, channels, 0, channels, 0),
        );
    }
    dx
}
