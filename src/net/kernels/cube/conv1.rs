//! 1x1x1 convolution, a matrix product over voxels, on CubeCL devices.

use super::launch::{Shaped, buffer, empty, grid, nothing};
use crate::net::kernels::tiles::Tiles;
use burn_cubecl::tensor::CubeTensor;
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
    /// Scales, and as many shifts: one a channel, or one a channel of each sample.
    columns: usize,
}

#[cube(launch_unchecked)]
fn conv1_kernel<N: Size, L: Size>(
    x: &[Vector<f32, N>],
    folded: &[f32],
    w: &[Vector<f32, L>],
    y: &mut [Vector<f32, N>],
    dims: Dims,
    #[comptime] run: usize,
    #[comptime] outs: usize,
    #[comptime] lanes: usize,
    #[comptime] norm: bool,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let first = ABSOLUTE_POS % dims.tiles * run;
    let rest = ABSOLUTE_POS / dims.tiles;
    let group = rest % dims.groups;
    let batch = rest / dims.groups;

    let scale = batch * dims.cin % dims.columns;
    let shift = dims.columns + scale;
    let mut sums = Array::<Vector<f32, N>>::new(run * outs);
    for ci in 0..dims.cin {
        let channel = (batch * dims.channels + dims.from + ci) * dims.n;
        let mut column = Array::<Vector<f32, N>>::new(run);
        #[unroll]
        for i in 0..run {
            // Beyond the end the last vector is read again and never written.
            let mut value = x[channel + min(first + i, dims.n - 1)];
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
                    y[(batch * dims.cout + co) * dims.n + first + i] = sums[o * run + i];
                }
            }
        }
    }
}

/// Weights `[cout, cin]` to `[group, cin, width]`, channels beyond the last being zero.
#[cube(launch_unchecked)]
fn pack(w: &[f32], out: &mut [f32], dims: Dims, #[comptime] width: usize) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let rest = ABSOLUTE_POS / width;
    let co = rest / dims.cin * width + ABSOLUTE_POS % width;
    let mut value = 0.0f32;
    if co < dims.cout {
        value = w[co * dims.cin + rest % dims.cin];
    }
    out[ABSOLUTE_POS] = value;
}

/// `w [cout, cin]` times channels `from..from + cin` of `x [batch, channels, d, h, w]`.
pub(super) fn conv1(x: &CubeTensor, from: usize, folded: Option<CubeTensor>, w: &CubeTensor) -> CubeTensor {
    let [batch, channels, d, h, width] = x.dims5();
    let [cout, cin] = w.meta.shape().dims::<2>();
    let voxels = d * h * width;
    let lanes = if voxels.is_multiple_of(LANES) { LANES } else { 1 };
    let n = voxels / lanes;
    let Tiles {
        vectors: run, outs, ..
    } = Tiles::get();
    let (tiles, groups) = (n.div_ceil(run), cout.div_ceil(outs));
    let columns = folded.as_ref().map_or(cin, |f| f.meta.shape()[1]);
    let dims = |units: usize| DimsLaunch::new(units, cin, from, channels, cout, n, tiles, groups, columns);
    let y = empty(x, [batch, cout, d, h, width]);
    let client = x.client.clone();

    let packed = empty(x, [groups, cin, outs]);
    let units = groups * cin * outs;
    let (count, dim) = grid(&client, units);
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        pack::launch_unchecked(&client, count, dim, buffer(w), buffer(&packed), dims(units), outs);
    }

    let units = batch * groups * tiles;
    let (count, dim) = grid(&client, units);
    let normed = folded.is_some();
    let folded = folded.unwrap_or_else(|| nothing(x));
    // Safety: as above.
    unsafe {
        conv1_kernel::launch_unchecked(
            &client,
            count,
            dim,
            lanes,
            LANES,
            buffer(x),
            buffer(&folded),
            buffer(&packed),
            buffer(&y),
            dims(units),
            run,
            outs,
            LANES,
            normed,
        );
    }
    y
}
