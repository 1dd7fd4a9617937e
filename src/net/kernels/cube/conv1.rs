//! 1x1x1 convolution, a matrix product over voxels, on CubeCL devices.

use super::launch::{Norm, Shaped, buffer, empty, grid, nothing};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Vectors of voxels that one unit computes.
const RUN: usize = 2;
/// Output channels that one unit computes.
const OUTS: usize = 8;

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
    /// Units in a channel, and groups of `OUTS` output channels.
    tiles: usize,
    groups: usize,
}

#[cube(launch_unchecked)]
fn conv1_kernel<N: Size>(
    x: &[Vector<f32, N>],
    scale: &[f32],
    shift: &[f32],
    w: &[f32],
    y: &mut [Vector<f32, N>],
    dims: Dims,
    #[comptime] run: usize,
    #[comptime] outs: usize,
    #[comptime] norm: bool,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let first = ABSOLUTE_POS % dims.tiles * run;
    let rest = ABSOLUTE_POS / dims.tiles;
    let group = rest % dims.groups;
    let batch = rest / dims.groups;

    let mut sums = Array::<Vector<f32, N>>::new(run * outs);
    for ci in 0..dims.cin {
        let channel = (batch * dims.channels + dims.from + ci) * dims.n;
        let mut column = Array::<Vector<f32, N>>::new(run);
        #[unroll]
        for i in 0..run {
            // Beyond the end the last vector is read again and never written.
            let mut value = x[channel + min(first + i, dims.n - 1)];
            if norm {
                value = value * Vector::new(scale[ci]) + Vector::new(shift[ci]);
                value = max(value, Vector::new(0.0f32));
            }
            column[i] = value;
        }
        #[unroll]
        for o in 0..outs {
            let weight = w[min(group * outs + o, dims.cout - 1) * dims.cin + ci];
            #[unroll]
            for i in 0..run {
                sums[o * run + i] += column[i] * Vector::new(weight);
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

/// `w [cout, cin]` times channels `from..from + cin` of `x [batch, channels, d, h, w]`.
pub(super) fn conv1(x: CubeTensor, from: usize, norm: Option<Norm>, w: CubeTensor) -> CubeTensor {
    let [batch, channels, d, h, width] = x.dims5();
    let [cout, cin] = w.meta.shape().dims::<2>();
    let voxels = d * h * width;
    let lanes = if voxels.is_multiple_of(4) { 4 } else { 1 };
    let n = voxels / lanes;
    let (tiles, groups) = (n.div_ceil(RUN), cout.div_ceil(OUTS));
    let units = batch * groups * tiles;
    let y = empty(&x, [batch, cout, d, h, width]);
    let client = x.client.clone();
    let (count, dim) = grid(&client, units);
    let normed = norm.is_some();
    let (scale, shift) = norm.map_or_else(|| nothing(&x), |n| (n.scale, n.shift));
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        conv1_kernel::launch_unchecked(
            &client,
            count,
            dim,
            lanes,
            buffer(&x),
            buffer(&scale),
            buffer(&shift),
            buffer(&w),
            buffer(&y),
            DimsLaunch::new(units, cin, from, channels, cout, n, tiles, groups),
            RUN,
            OUTS,
            normed,
        );
    }
    y
}
