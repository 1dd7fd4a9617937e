//! The sums at each of Winograd's points.

use super::Dims;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// One unit computes `run` voxels of a row at one point of one tile, for `quads * N` output channels: for every input
/// channel and every tap along y it loads `run + 2` values once and uses them for three taps along x.
///
/// `v` is `[batch * cin, point, tile, h + 2, pitch]`, `w` `[group, point, cin, 9, quads]` and `m`
/// `[batch, group * quads, point, tile, h, w]`.
#[cube(launch_unchecked)]
pub(super) fn products<E: Float, N: Size>(
    v: &[Vector<E, N>],
    w: &[Vector<f32, N>],
    m: &mut [Vector<f32, N>],
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
    let tile = rest % dims.tiles;
    let rest = rest / dims.tiles;
    let point = rest % 6;
    let rest = rest / 6;
    let group = rest % dims.groups;
    let batch = rest / dims.groups;

    let row = dims.pitch / lanes;
    let map = 6 * dims.tiles * (dims.h + 2) * row;
    let mut plane =
        batch * dims.cin * map + ((point * dims.tiles + tile) * (dims.h + 2) + y0) * row + x0 / lanes;
    let mut taps = (group * 6 + point) * dims.cin * 9 * quads;
    let mut sums = Array::<Vector<f32, N>>::new(run * quads);
    for _ci in 0..dims.cin {
        for y in 0..3 {
            let mut line = Array::<f32>::new(run + lanes);
            #[unroll]
            for i in 0..run / lanes + 1 {
                let values = Vector::<f32, N>::cast_from(v[plane + y * row + i]);
                #[unroll]
                for l in 0..lanes {
                    line[i * lanes + l] = values.extract(l);
                }
            }
            #[unroll]
            for dx in 0..3 {
                #[unroll]
                for q in 0..quads {
                    let weight = w[taps + (y * 3 + dx) * quads + q];
                    #[unroll]
                    for i in 0..run {
                        sums[i * quads + q] += Vector::new(line[i + dx]) * weight;
                    }
                }
            }
        }
        plane += map;
        taps += 9 * quads;
    }
    let step = 6 * dims.tiles * dims.h * dims.w;
    let to = (batch * dims.groups + group) * quads * step
        + ((point * dims.tiles + tile) * dims.h + y0) * dims.w
        + x0;
    #[unroll]
    for i in 0..run {
        if x0 + i < dims.w {
            #[unroll]
            for q in 0..quads {
                m[to + q * step + i] = sums[i * quads + q];
            }
        }
    }
}
