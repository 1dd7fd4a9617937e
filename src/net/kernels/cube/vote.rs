//! The votes of overlapping patches on CubeCL devices.

use super::launch::{Shaped, buffer, empty, grid};
use crate::net::kernels::vote::{Ballot, PLACE};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Dims {
    units: usize,
    patches: usize,
    side: usize,
    /// Voxels of the box along x and y.
    w: usize,
    h: usize,
}

/// One unit hears all patches of one voxel, in their order.
#[cube(launch_unchecked)]
fn vote_kernel(
    p: &[f32],
    places: &[f32],
    window: &[f32],
    sums: &mut [f32],
    dims: Dims,
    floor: f32,
    #[comptime] place: usize,
    #[comptime] with_spread: bool,
) {
    if ABSOLUTE_POS >= dims.units {
        terminate!();
    }
    let x = ABSOLUTE_POS % dims.w;
    let rest = ABSOLUTE_POS / dims.w;
    let y = rest % dims.h;
    let z = rest / dims.h;
    let side = dims.side;
    let last = side - 1;

    let mut votes = 0.0f32;
    let mut total = 0.0f32;
    let mut spread = 0.0f32;
    for k in 0..dims.patches {
        let of = k * place;
        let ox = usize::cast_from(places[of]);
        let oy = usize::cast_from(places[of + 1]);
        let oz = usize::cast_from(places[of + 2]);
        let inside = x >= ox && x < ox + side && y >= oy && y < oy + side && z >= oz && z < oz + side;
        if inside {
            let (i, j, l) = (x - ox, y - oy, z - oz);
            let w = max(window[side + j + side * l] * window[i], floor);
            let fx = select(places[of + 3] > 0.0f32, last - i, i);
            let fy = select(places[of + 4] > 0.0f32, last - j, j);
            let fz = select(places[of + 5] > 0.0f32, last - l, l);
            let q = p[((k * side + fz) * side + fy) * side + fx];
            if with_spread {
                // A shader may take it for granted that nothing is divided by zero.
                let mean = votes / select(total > 0.0f32, total, 1.0f32);
                let before = select(total > 0.0f32, mean, q);
                let after = (votes + w * q) / (total + w);
                spread += max(w * (q - before) * (q - after), 0.0f32);
            }
            votes += w * q;
            total += w;
        }
    }
    sums[ABSOLUTE_POS] = votes;
    if with_spread {
        sums[dims.units + ABSOLUTE_POS] = spread;
    }
}

/// See [`Kernels::vote`](crate::net::kernels::Kernels::vote).
pub(super) fn vote(p: &CubeTensor, places: &CubeTensor, window: &CubeTensor, ballot: Ballot) -> CubeTensor {
    let [patches, _, _, _, side] = p.dims5();
    let [w, h, d] = ballot.shape;
    let units = w * h * d;
    let sums = empty(p, [1 + usize::from(ballot.spread), d, h, w]);
    let client = p.client.clone();
    let (count, dim) = grid(&client, units);
    // Safety: every index is derived from the sizes of the buffers, and units beyond the last end at once.
    unsafe {
        vote_kernel::launch_unchecked(
            &client,
            count,
            dim,
            buffer(p),
            buffer(places),
            buffer(window),
            buffer(&sums),
            DimsLaunch::new(units, patches, side, w, h),
            ballot.floor,
            PLACE,
            ballot.spread,
        );
    }
    sums
}
