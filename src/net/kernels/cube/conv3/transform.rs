//! From voxels to values at Winograd's points and back. The matrices are those of `net/kernels/winograd.rs`, their common
//! terms taken once.

use super::Dims;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Values at the six points of the tiles of `x`, normalised and rectified on the way if asked, in a border of zeros: what
/// multiplies them then has no branches. One unit makes those of one tile, in
/// `[batch * cin, point, tile, h + 2, pitch]`.
#[cube(launch_unchecked)]
pub(super) fn input<E: Float>(
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
    let tile = rest % dims.tiles;
    let map = rest / dims.tiles;
    let channel = map % dims.cin;
    let batch = map / dims.cin;

    // The tile, and the voxel before and after it.
    let mut v = Array::<f32>::new(6usize);
    #[unroll]
    for i in 0..6 {
        v[i] = 0.0f32;
    }
    if px >= 1 && px <= dims.w && py >= 1 && py <= dims.h {
        let first = (batch * dims.total + dims.from + channel) * dims.d;
        let mut scale = 1.0f32;
        let mut shift = 0.0f32;
        if norm {
            let c = dims.fold + batch * dims.step + channel;
            scale = folded[c];
            shift = folded[dims.columns + c];
        }
        #[unroll]
        for i in 0..6 {
            // Positions are counted from the voxel before the column.
            let pz = tile * 4 + i;
            if pz >= 1 && pz <= dims.d {
                let mut value = f32::cast_from(x[((first + pz - 1) * dims.h + py - 1) * dims.w + px - 1]);
                if norm {
                    value = max(value * scale + shift, 0.0f32);
                }
                v[i] = value;
            }
        }
    }
    let step = dims.tiles * (dims.h + 2) * dims.pitch;
    let to = map * 6 * step + (tile * (dims.h + 2) + py) * dims.pitch + px;
    let even = v[4] - 4.0f32 * v[2];
    let odd = v[3] - 4.0f32 * v[1];
    let even2 = v[4] - v[2];
    let odd2 = 2.0f32 * (v[3] - v[1]);
    out[to] = E::cast_from(4.0f32 * v[0] - 5.0f32 * v[2] + v[4]);
    out[to + step] = E::cast_from(even + odd);
    out[to + 2 * step] = E::cast_from(even - odd);
    out[to + 3 * step] = E::cast_from(even2 + odd2);
    out[to + 4 * step] = E::cast_from(even2 - odd2);
    out[to + 5 * step] = E::cast_from(4.0f32 * v[1] - 5.0f32 * v[3] + v[5]);
}

/// Sums at the points, `[batch, vector of channels, point, tile, h, w]`, to voxels of the channels of `y` from `dims.at`
/// on. One unit makes a tile of `N` channels.
#[cube(launch_unchecked)]
pub(super) fn output<E: Float, N: Size>(
    m: &[Vector<f32, N>],
    y: &mut [E],
    dims: Dims,
    #[comptime] lanes: usize,
    #[define(E)] _stored: ElemType,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let plane = dims.h * dims.w;
    let yx = ABSOLUTE_POS % plane;
    let rest = ABSOLUTE_POS / plane;
    let tile = rest % dims.tiles;
    let rest = rest / dims.tiles;
    let quad = rest % dims.quads;
    let batch = rest / dims.quads;

    let step = dims.tiles * plane;
    let from = (rest * 6 * dims.tiles + tile) * plane + yx;
    let sum1 = m[from + step] + m[from + 2 * step];
    let difference1 = m[from + step] - m[from + 2 * step];
    let sum2 = m[from + 3 * step] + m[from + 4 * step];
    let difference2 = m[from + 3 * step] - m[from + 4 * step];
    let mut tiled = Array::<Vector<f32, N>>::new(4usize);
    tiled[0] = m[from] + sum1 + sum2;
    tiled[1] = difference1 + Vector::new(2.0f32) * difference2;
    tiled[2] = sum1 + Vector::new(4.0f32) * sum2;
    tiled[3] = difference1 + Vector::new(8.0f32) * difference2 + m[from + 5 * step];
    #[unroll]
    for l in 0..lanes {
        let co = quad * lanes + l;
        if co < dims.cout {
            let to = ((batch * dims.channels + dims.at + co) * dims.d + tile * 4) * plane + yx;
            #[unroll]
            for i in 0..4 {
                if tile * 4 + i < dims.d {
                    y[to + i * plane] = E::cast_from(tiled[i].extract(l));
                }
            }
        }
    }
}

/// Weights `[cout, cin, 27]` at the points, `[group, point, cin, 9, width]`, channels beyond the last being zero. `mirror`
/// makes those of the data gradient: output and input channels change places and every axis is reversed. One unit makes
/// the six values of three taps.
#[cube(launch_unchecked)]
pub(super) fn weights(
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
    let yx = rest % 9;
    let rest = rest / 9;
    let ci = rest % cin;
    let group = rest / cin;
    let co = group * width + lane;
    let mut taps = Array::<f32>::new(3usize);
    #[unroll]
    for i in 0..3 {
        taps[i] = 0.0f32;
        if co < cout {
            if mirror {
                taps[i] = w[(ci * cout + co) * 27 + 26 - i * 9 - yx];
            } else {
                taps[i] = w[(co * cin + ci) * 27 + i * 9 + yx];
            }
        }
    }
    let step = cin * 9 * width;
    let to = group * 6 * step + (ci * 9 + yx) * width + lane;
    let ends = (taps[0] + taps[2]) * (-1.0f32 / 6.0f32);
    let middle = taps[1] * (1.0f32 / 6.0f32);
    let ends2 = taps[0] * (1.0f32 / 24.0f32) + taps[2] * (1.0f32 / 6.0f32);
    let middle2 = taps[1] * (1.0f32 / 12.0f32);
    out[to] = taps[0] * 0.25f32;
    out[to + step] = ends - middle;
    out[to + 2 * step] = ends + middle;
    out[to + 3 * step] = ends2 + middle2;
    out[to + 4 * step] = ends2 - middle2;
    out[to + 5 * step] = taps[2];
}
