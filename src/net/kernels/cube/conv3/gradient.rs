//! Weight gradient of the 3x3x3 convolution by the transposed map of `net/kernels/winograd.rs`: both input and gradient at
//! the points, their products summed over rows in two stages, so that the result does not depend on the order in which
//! workgroups run.

use super::{Dims, LANES, Sizes, values};
use crate::net::kernels::cube::launch::{Folds, Shaped, buffer, empty, grid};
use crate::net::kernels::infer::Read;
use crate::net::kernels::tiles::Tiles;
use crate::net::kernels::winograd::POINTS;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Rows that one unit sums up.
const ROWS: usize = 16;

/// The gradient of a tile's voxels at the points, `[batch, vector of channels, point, tile, h, length]`, zero beyond the
/// last channel and voxel. One unit makes the six values of `N` channels.
#[cube(launch_unchecked)]
fn spread<N: Size>(
    dy: &[f32],
    out: &mut [Vector<f32, N>],
    dims: Dims,
    length: usize,
    #[comptime] lanes: usize,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let px = ABSOLUTE_POS % length;
    let rest = ABSOLUTE_POS / length;
    let py = rest % dims.h;
    let rest = rest / dims.h;
    let tile = rest % dims.tiles;
    let map = rest / dims.tiles;
    let quad = map % dims.quads;
    let batch = map / dims.quads;

    let mut tiled = Array::<Vector<f32, N>>::new(4usize);
    #[unroll]
    for i in 0..4 {
        let mut voxel = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for l in 0..lanes {
            let co = quad * lanes + l;
            let pz = tile * 4 + i;
            if co < dims.cout && px < dims.w && pz < dims.d {
                let row = ((batch * dims.cout + co) * dims.d + pz) * dims.h + py;
                voxel.insert(l, dy[row * dims.w + px]);
            }
        }
        tiled[i] = voxel;
    }
    let step = dims.tiles * dims.h * length;
    let to = map * 6 * step + (tile * dims.h + py) * length + px;
    let even = tiled[0] + tiled[2];
    let odd = tiled[1] + tiled[3];
    let even2 = tiled[0] + Vector::new(4.0f32) * tiled[2];
    let odd2 = Vector::new(2.0f32) * tiled[1] + Vector::new(8.0f32) * tiled[3];
    out[to] = tiled[0];
    out[to + step] = even + odd;
    out[to + 2 * step] = even - odd;
    out[to + 3 * step] = even2 + odd2;
    out[to + 4 * step] = even2 - odd2;
    out[to + 5 * step] = tiled[3];
}

/// Products of input (`[batch * cin, point, tile, h + 2, pitch]`) and gradient (of [`spread`]) over one chunk of rows: at one
/// point, for `ins` input channels, `N` output channels, one tap along y and the three along x. `part` is
/// `[chunk, cout, cin, 9, point]`.
#[cube(launch_unchecked)]
fn products<N: Size>(
    v: &[Vector<f32, N>],
    dy: &[Vector<f32, N>],
    part: &mut [f32],
    dims: Dims,
    length: usize,
    count: usize,
    #[comptime] rows: usize,
    #[comptime] ins: usize,
    #[comptime] lanes: usize,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let tap = ABSOLUTE_POS % 3;
    let rest = ABSOLUTE_POS / 3;
    let point = rest % 6;
    let rest = rest / 6;
    let quad = rest % dims.quads;
    let rest = rest / dims.quads;
    let groups = dims.cin.div_ceil(ins);
    let first = rest % groups * ins;
    let chunk = rest / groups;

    let pitch = dims.pitch / lanes;
    let map = 6 * dims.tiles * (dims.h + 2) * pitch;
    let mut sums = Array::<Vector<f32, N>>::new(ins * 3);
    for r in 0..rows {
        let row = chunk * rows + r;
        if row < count {
            let y = row % dims.h;
            let tile = row / dims.h % dims.tiles;
            let batch = row / dims.h / dims.tiles;
            let g = ((batch * dims.quads + quad) * 6 + point) * dims.tiles + tile;
            let g = (g * dims.h + y) * length;
            let inner = ((point * dims.tiles + tile) * (dims.h + 2) + y + tap) * pitch;
            let mut from = Array::<usize>::new(ins);
            let mut here = Array::<Vector<f32, N>>::new(ins);
            #[unroll]
            for i in 0..ins {
                from[i] = (batch * dims.cin + min(first + i, dims.cin - 1)) * map + inner;
                here[i] = v[from[i]];
            }
            for k in 0..length / lanes {
                let mut slope = Array::<Vector<f32, N>>::new(lanes);
                #[unroll]
                for l in 0..lanes {
                    slope[l] = dy[g + k * lanes + l];
                }
                #[unroll]
                for i in 0..ins {
                    // A row of the input is longer by one vector.
                    let next = v[from[i] + k + 1];
                    let mut window = Array::<f32>::new(2 * lanes);
                    #[unroll]
                    for l in 0..lanes {
                        window[l] = here[i].extract(l);
                        window[lanes + l] = next.extract(l);
                    }
                    #[unroll]
                    for t in 0..3 {
                        #[unroll]
                        for l in 0..lanes {
                            sums[i * 3 + t] += Vector::new(window[l + t]) * slope[l];
                        }
                    }
                    here[i] = next;
                }
            }
        }
    }
    #[unroll]
    for i in 0..ins {
        let ci = first + i;
        #[unroll]
        for l in 0..lanes {
            let co = quad * lanes + l;
            if ci < dims.cin && co < dims.cout {
                let to = (((chunk * dims.cout + co) * dims.cin + ci) * 9 + tap * 3) * 6 + point;
                #[unroll]
                for t in 0..3 {
                    part[to + t * 6] = sums[i * 3 + t].extract(l);
                }
            }
        }
    }
}

/// Sums the chunks, always in the same order, and makes three taps along z of the sums at the six points.
#[cube(launch_unchecked)]
fn gather(part: &[f32], out: &mut [f32], units: usize, chunks: usize) {
    if ABSOLUTE_POS >= units {
        terminate!();
    }
    let mut s = Array::<f32>::new(6usize);
    #[unroll]
    for p in 0..6 {
        s[p] = 0.0f32;
    }
    for chunk in 0..chunks {
        #[unroll]
        for p in 0..6 {
            s[p] += part[(chunk * units + ABSOLUTE_POS) * 6 + p];
        }
    }
    let ends = (s[1] + s[2]) * (-1.0f32 / 6.0f32);
    let ends2 = s[3] + s[4];
    // `[cout, cin, y and x tap]` to `[cout, cin, 27]`.
    let to = ABSOLUTE_POS / 9 * 27 + ABSOLUTE_POS % 9;
    out[to] = s[0] * 0.25f32 + ends + ends2 * (1.0f32 / 24.0f32);
    out[to + 9] = (s[2] - s[1]) * (1.0f32 / 6.0f32) + (s[3] - s[4]) * (1.0f32 / 12.0f32);
    out[to + 18] = ends + ends2 * (1.0f32 / 6.0f32) + s[5];
}

/// Gradient of the 3x3x3 convolution of `x [batch, cin, d, h, w]`, normalised if there are `folds`, with respect to its weights,
/// `[cout, cin, 3, 3, 3]`.
pub(in crate::net::kernels::cube) fn conv3_dw(
    x: &CubeTensor,
    folds: Option<Folds>,
    dy: &CubeTensor,
) -> CubeTensor {
    let [batch, cin, _, h, w] = x.dims5();
    let cout = dy.dims5()[1];
    let sizes = Sizes::new(x, Read::all(cin, cout), cout.div_ceil(LANES), 1, LANES);
    let normed = folds.is_some();
    let folds = folds.unwrap_or_else(|| Folds::none(x));
    let v = values(x, &folds, normed, &sizes);
    let client = x.client.clone();

    let length = w.next_multiple_of(LANES);
    let maps = batch * sizes.groups;
    let slopes = empty(x, [maps, POINTS, sizes.tiles, h * length, LANES]);
    let units = maps * sizes.tiles * h * length;
    let (count, dim) = grid(&client, units);
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        spread::launch_unchecked(
            &client,
            count,
            dim,
            LANES,
            buffer(dy),
            buffer(&slopes),
            sizes.dims(units, &folds, cout, 0),
            length,
            LANES,
        );
    }

    let rows = batch * sizes.tiles * h;
    let chunks = rows.div_ceil(ROWS);
    let part = empty(x, [chunks, cout, cin, 9, POINTS]);
    let ins = Tiles::get().conv3_dw;
    let units = chunks * cin.div_ceil(ins) * sizes.groups * POINTS * 3;
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        products::launch_unchecked(
            &client,
            count,
            dim,
            LANES,
            buffer(&v),
            buffer(&slopes),
            buffer(&part),
            sizes.dims(units, &folds, cout, 0),
            length,
            rows,
            ROWS,
            ins,
            LANES,
        );
    }

    let out = empty(x, [cout, cin, 3, 3, 3]);
    let units = cout * cin * 9;
    let (count, dim) = grid(&client, units);
    // Safety: as above.
    unsafe {
        gather::launch_unchecked(&client, count, dim, buffer(&part), buffer(&out), units, chunks);
    }
    out
}
