//! 1x1x1 convolution, a matrix product over voxels, on CubeCL devices.

use super::launch::{Folds, Shaped, buffer, empty, grid, nothing, stored};
use crate::net::kernels::infer::Read;
use crate::net::kernels::tiles::Tiles;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Output channels that lie side by side in the packed weights, and voxels that are loaded together if they can be.
const LANES: usize = 4;

#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Dims {
    units: usize,
    /// Input channels that are read, from `from` on, of `channels` that a batch entry has.
    cin: usize,
    from: usize,
    channels: usize,
    cout: usize,
    /// Vectors in a channel.
    n: usize,
    /// Units in a channel, and groups of output channels.
    tiles: usize,
    groups: usize,
    /// Where scales and shifts are: see [`Folds`].
    fold: usize,
    step: usize,
    columns: usize,
}

#[cube(launch_unchecked)]
fn conv1_kernel<E: Float, N: Size, L: Size>(
    x: &[Vector<E, N>],
    folded: &[f32],
    w: &[Vector<f32, L>],
    bias: &[f32],
    y: &mut [Vector<E, N>],
    dims: Dims,
    #[comptime] run: usize,
    #[comptime] outs: usize,
    #[comptime] lanes: usize,
    #[comptime] norm: bool,
    #[comptime] biased: bool,
    #[define(E)] _stored: ElemType,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let first = ABSOLUTE_POS % dims.tiles * run;
    let rest = ABSOLUTE_POS / dims.tiles;
    let group = rest % dims.groups;
    let batch = rest / dims.groups;

    let scale = dims.fold + batch * dims.step;
    let shift = dims.columns + scale;
    let mut sums = Array::<Vector<f32, N>>::new(run * outs);
    for ci in 0..dims.cin {
        let channel = (batch * dims.channels + dims.from + ci) * dims.n;
        let mut column = Array::<Vector<f32, N>>::new(run);
        #[unroll]
        for i in 0..run {
            // Beyond the end the last vector is read again and never written.
            let mut value = Vector::<f32, N>::cast_from(x[channel + min(first + i, dims.n - 1)]);
            if norm {
                value = value * Vector::new(folded[scale + ci]) + Vector::new(folded[shift + ci]);
                value = max(value, Vector::new(0.0f32));
            }
            column[i] = value;
        }
        #[unroll]
        for q in 0..outs / lanes {
            let weights = w[(group * dims.cin + ci) * (outs / lanes) + q];
            #[unroll]
            for l in 0..lanes {
                let weight = Vector::new(weights.extract(l));
                #[unroll]
                for i in 0..run {
                    sums[(q * lanes + l) * run + i] += column[i] * weight;
                }
            }
        }
    }
    #[unroll]
    for o in 0..outs {
        let co = group * outs + o;
        if co < dims.cout {
            #[unroll]
            for i in 0..run {
                if first + i < dims.n {
                    let mut sum = sums[o * run + i];
                    if biased {
                        sum = max(sum + Vector::new(bias[co]), Vector::new(0.0f32));
                    }
                    y[(batch * dims.cout + co) * dims.n + first + i] = Vector::<E, N>::cast_from(sum);
                }
            }
        }
    }
}

/// Weights `[cout, cin]` to `[group, cin, width]`, channels beyond the last being zero.
#[cube(launch_unchecked)]
fn pack_kernel(
    w: &[f32],
    out: &mut [f32],
    units: usize,
    cin: usize,
    cout: usize,
    #[comptime] width: usize,
    #[comptime] transposed: bool,
) {
    if ABSOLUTE_POS >= units {
        terminate!();
    }
    let rest = ABSOLUTE_POS / width;
    let co = rest / cin * width + ABSOLUTE_POS % width;
    let mut value = 0.0f32;
    if co < cout {
        if transposed {
            value = w[rest % cin * cout + co];
        } else {
            value = w[co * cin + rest % cin];
        }
    }
    out[ABSOLUTE_POS] = value;
}

/// Weights `[cout, cin]`, or `[cin, cout]` if `transposed`, as the kernel reads them, `[group * cin, output channels of a group]`.
pub(super) fn pack(w: &CubeTensor, transposed: bool) -> CubeTensor {
    let [mut cout, mut cin] = w.meta.shape().dims::<2>();
    if transposed {
        (cout, cin) = (cin, cout);
    }
    let outs = Tiles::get().outs;
    let rows = cout.div_ceil(outs) * cin;
    let packed = empty(w, [rows, outs]);
    let units = rows * outs;
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
            outs,
            transposed,
        );
    }
    packed
}

/// Weights from [`pack`] times `read.count` channels of `x [batch, channels, d, h, w]`; bias and ReLU if there is one.
pub(super) fn conv1(
    x: &CubeTensor,
    folds: Option<Folds>,
    packed: &CubeTensor,
    bias: Option<CubeTensor>,
    read: Read,
) -> CubeTensor {
    let [batch, channels, d, h, width] = x.dims5();
    let voxels = d * h * width;
    let lanes = if voxels.is_multiple_of(LANES) { LANES } else { 1 };
    let n = voxels / lanes;
    let run = Tiles::get().vectors;
    // Tiles may have changed since the weights were packed.
    let outs = packed.meta.shape()[1];
    let (tiles, groups) = (n.div_ceil(run), read.out.div_ceil(outs));
    let (normed, biased) = (folds.is_some(), bias.is_some());
    let folds = folds.unwrap_or_else(|| Folds::none(x));
    let bias = bias.unwrap_or_else(|| nothing(x));
    let y = empty(x, [batch, read.out, d, h, width]);
    let units = batch * groups * tiles;
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        conv1_kernel::launch_unchecked(
            &client,
            count,
            dim,
            lanes,
            LANES,
            buffer(x),
            buffer(&folds.tensor),
            buffer(packed),
            buffer(&bias),
            buffer(&y),
            DimsLaunch::new(
                units,
                read.count,
                read.from,
                channels,
                read.out,
                n,
                tiles,
                groups,
                folds.first,
                folds.step,
                folds.columns,
            ),
            run,
            outs,
            LANES,
            normed,
            biased,
            stored(x),
        );
    }
    y
}
