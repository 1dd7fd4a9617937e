//! How often, and with what weight, the tiles of a plan vote on voxels.

use super::{Plan, Weights, clip};

/// The votes on a box of voxels, x fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Cover {
    /// Tiles that cover each voxel.
    pub votes: Vec<u32>,
    /// Sum of their weights, `sum W`; the mean weight of a tile's voxels is 1.
    pub weight: Vec<f32>,
}

/// Counts the votes on the box of `size` voxels that starts at `from`; what lies outside the volume has none.
///
/// A slice is a box of one voxel's depth, which costs no more than its own voxels, whatever the volume.
#[must_use]
pub fn cover(plan: &Plan, weights: &Weights, from: [usize; 3], size: [usize; 3]) -> Cover {
    let (shape, side) = (plan.shape(), plan.side());
    let voxels = size.iter().product();
    let mut cover = Cover {
        votes: vec![0; voxels],
        weight: vec![0.0; voxels],
    };
    let (axis, floor) = (weights.axis(), weights.floor());
    for origin in plan.origins() {
        // Along each axis: the tile's first voxel in the box, the same in the tile, and how many.
        let part = [0, 1, 2].map(|a| {
            let (start, in_tile, count) = clip(origin[a], side, shape[a]);
            let first = start.max(from[a]);
            let end = (start + count).min(from[a] + size[a]);
            (
                first.saturating_sub(from[a]),
                in_tile + first - start,
                end.saturating_sub(first),
            )
        });
        if part.iter().any(|&(_, _, count)| count == 0) {
            continue;
        }
        let [(x0, px, nx), (y0, py, ny), (z0, pz, nz)] = part;
        for z in 0..nz {
            for y in 0..ny {
                let row = x0 + size[0] * (y0 + y + size[1] * (z0 + z));
                let weight_yz = axis[py + y] * axis[pz + z];
                let votes = &mut cover.votes[row..row + nx];
                let weight = &mut cover.weight[row..row + nx];
                for ((votes, weight), w) in votes.iter_mut().zip(weight).zip(&axis[px..px + nx]) {
                    *votes += 1;
                    *weight += (weight_yz * w).max(floor) as f32;
                }
            }
        }
    }
    cover
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tiling::Window;

    #[test]
    fn the_spline_covers_the_inside_evenly() {
        // Half overlapping: two tiles along each axis, whose axis weights add up to 2.
        let plan = Plan::new([32, 32, 32], 16, 0.5).unwrap();
        let found = cover(&plan, &Window::Bspline.weights(16), [8, 8, 15], [16, 16, 1]);
        assert!(found.votes.iter().all(|&votes| votes == 8));
        assert!(found.weight.iter().all(|&weight| (weight - 8.0).abs() < 1e-5));
    }

    proptest! {
        #[test]
        fn a_cover_is_the_definition(
            shape in prop::array::uniform3(1_usize..10),
            side in 1_usize..7,
            overlap in 0.0_f64..0.9,
            from in prop::array::uniform3(0_usize..5),
            size in prop::array::uniform3(1_usize..7),
            window in prop::sample::select(&Window::ALL[..]),
        ) {
            let plan = Plan::new(shape, side, overlap).unwrap();
            let weights = window.weights(side);
            let found = cover(&plan, &weights, from, size);
            prop_assert_eq!(found.votes.len(), size.iter().product::<usize>());
            for (i, (&votes, &weight)) in found.votes.iter().zip(&found.weight).enumerate() {
                let at = [i % size[0], i / size[0] % size[1], i / size[0] / size[1]];
                let voxel = [0, 1, 2].map(|a| from[a] + at[a]);
                let (mut count, mut sum) = (0, 0.0);
                for origin in plan.origins() {
                    let in_tile = [0, 1, 2].map(|a| voxel[a] as isize - origin[a]);
                    let inside = (0..3).all(|a| voxel[a] < shape[a] && (0..side as isize).contains(&in_tile[a]));
                    if inside {
                        let [x, y, z] = in_tile.map(|i| weights.axis()[i as usize]);
                        count += 1;
                        sum += (x * y * z).max(weights.floor());
                    }
                }
                prop_assert_eq!(votes, count);
                prop_assert!((f64::from(weight) - sum).abs() <= 1e-5 * sum.max(1.0));
            }
        }
    }
}
