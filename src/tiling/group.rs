//! Patches whose votes are summed together before they reach the volume.

use serde::{Deserialize, Serialize};

use super::{Rotation, Rounded};

/// Where the patches of a group lie: the box that holds them all, and the place of each in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    side: usize,
    origin: [isize; 3],
    shape: [usize; 3],
    patches: Vec<Placed>,
}

/// A patch of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Its first voxel in the box.
    pub offset: [usize; 3],
    /// How it was turned for the network.
    pub turn: Rotation,
}

impl Group {
    /// Most patches of a group, so that a run with small patches still tells how far it is.
    pub const MOST: usize = 16;

    /// Patches of a group that may have so many voxels in all; fewer than 2 are none.
    #[must_use]
    pub fn size(voxels: usize, side: usize) -> Option<usize> {
        let patches = voxels / side.saturating_pow(3).max(1);
        (patches > 1).then(|| patches.min(Self::MOST))
    }

    /// Groups the first of `places` (first voxel in the volume, turn): all of them, or as many as lie so close together
    /// that their box has no more voxels than they have. So reading the box back never costs more than the patches, and
    /// the groups of a plan depend on the plan alone.
    #[must_use]
    pub fn gather(side: usize, places: impl IntoIterator<Item = ([isize; 3], Rotation)>) -> Self {
        let (mut low, mut shape) = ([0; 3], [side; 3]);
        let mut taken: Vec<([isize; 3], Rotation)> = Vec::new();
        for (origin, turn) in places {
            let first = taken.is_empty();
            let (mut new_low, mut new_shape) = (origin, [side; 3]);
            if !first {
                for a in 0..3 {
                    new_low[a] = low[a].min(origin[a]);
                    let end = |start: isize, length: usize| start.saturating_add_unsigned(length);
                    let high = end(low[a], shape[a]).max(end(origin[a], side));
                    new_shape[a] = high.abs_diff(new_low[a]);
                }
                let all = side.saturating_pow(3).saturating_mul(taken.len() + 1);
                if new_shape.iter().fold(1, |n: usize, s| n.saturating_mul(*s)) > all {
                    break;
                }
            }
            (low, shape) = (new_low, new_shape);
            taken.push((origin, turn));
        }
        let patches = taken
            .into_iter()
            .map(|(origin, turn)| Placed {
                offset: [0, 1, 2].map(|a| origin[a].abs_diff(low[a])),
                turn,
            })
            .collect();
        Self {
            side,
            origin: low,
            shape,
            patches,
        }
    }

    /// Side of the patches in voxels.
    #[must_use]
    pub fn side(&self) -> usize {
        self.side
    }

    /// First voxel of the box in the volume; negative where a patch overhangs it.
    #[must_use]
    pub fn origin(&self) -> [isize; 3] {
        self.origin
    }

    /// Voxels of the box along x, y and z.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The patches, in the order in which they vote.
    #[must_use]
    pub fn patches(&self) -> &[Placed] {
        &self.patches
    }

    /// `sum W` of every voxel of the box, x fastest: what falls on it, whatever the votes.
    #[must_use]
    pub fn weight(&self, window: &Rounded) -> Vec<f32> {
        let ([nx, ny, nz], side) = (self.shape, self.side);
        let mut weight = vec![0.0; nx * ny * nz];
        for Placed {
            offset: [ox, oy, oz], ..
        } in &self.patches
        {
            for z in 0..side {
                for y in 0..side {
                    let to = ox + nx * (oy + y + ny * (oz + z));
                    for (total, w) in weight[to..to + side].iter_mut().zip(window.row(0, side, y, z)) {
                        *total += w;
                    }
                }
            }
        }
        weight
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tiling::{Fuser, Plan, Sums, TilingError, Window};

    fn probability(patch: usize, voxel: usize) -> f32 {
        ((patch * 7919 + voxel * 104_729) % 2003) as f32 / 2002.0
    }

    /// A group's sums by a vote of its own.
    fn sums(group: &Group, window: Window, first: usize) -> (Sums, Vec<f32>) {
        let weight = group.weight(&window.weights(group.side()).rounded());
        let cube = group.side().pow(3);
        let mut fuser = Fuser::new(group.shape(), &window.weights(group.side()))
            .unwrap()
            .with_variance();
        for (k, placed) in group.patches().iter().enumerate() {
            let votes: Vec<f32> = (0..cube).map(|i| probability(first + k, i)).collect();
            fuser.add(placed.offset.map(|v| v as isize), &votes).unwrap();
        }
        let fused = fuser.finish();
        let times = |values: Vec<f32>| values.iter().zip(&weight).map(|(v, w)| v * w).collect();
        let sums = Sums {
            votes: times(fused.probability),
            spread: fused.variance.map(times),
        };
        (sums, weight)
    }

    proptest! {
        #[test]
        fn groups_merged_are_the_vote_of_their_patches(
            shape in prop::array::uniform3(1_usize..14),
            side in 1_usize..8,
            overlap in 0.0_f64..0.8,
            window in prop::sample::select(&Window::ALL[..]),
            most in 1_usize..12,
        ) {
            let weights = window.weights(side);
            let fuser = || Fuser::new(shape, &weights).unwrap().with_variance();
            let (mut one_by_one, mut merged) = (fuser(), fuser());
            let plan = Plan::new(shape, side, overlap).unwrap();
            let mut done = 0;
            while done < plan.len() {
                let next = plan.origins()[done..].iter().take(most);
                let group = Group::gather(side, next.map(|o| (*o, Rotation::Identity)));
                let count = group.patches().len();
                prop_assert!((1..=most).contains(&count));
                prop_assert!(group.shape().iter().product::<usize>() <= count * side.pow(3));
                let (sums, weight) = sums(&group, window, done);
                merged.merge(&group, &sums, &weight).unwrap();
                for k in done..done + count {
                    let votes: Vec<f32> = (0..side.pow(3)).map(|i| probability(k, i)).collect();
                    one_by_one.add(plan.origins()[k], &votes).unwrap();
                }
                done += count;
            }
            let (merged, expected) = (merged.finish(), one_by_one.finish());
            for (a, b) in merged.probability.iter().zip(&expected.probability) {
                prop_assert!((a - b).abs() < 2e-6, "{a} and {b}");
            }
            for (a, b) in merged.variance.unwrap().iter().zip(&expected.variance.unwrap()) {
                prop_assert!((a - b).abs() < 2e-6, "variance {a} and {b}");
            }
        }
    }

    #[test]
    fn a_patch_far_away_begins_another_group() {
        let places = [[0, 0, 0], [2, 0, 0], [4, 0, 0], [0, 8, 0]].map(|o| (o, Rotation::AboutX));
        let group = Group::gather(4, places);
        assert_eq!((group.shape(), group.patches().len()), ([8, 4, 4], 3));
        assert_eq!(group.patches()[2].offset, [4, 0, 0]);
        let behind = Group::gather(
            4,
            [([0, -2, 4], Rotation::Identity), ([0, -2, 2], Rotation::Identity)],
        );
        assert_eq!((behind.origin(), behind.shape()), ([0, -2, 2], [4, 4, 6]));
        assert_eq!(behind.patches()[0].offset, [0, 0, 2]);
        assert_eq!(Group::gather(4, []).patches(), []);
    }

    #[test]
    fn groups_are_as_large_as_their_voxels_allow() {
        let voxels = 8 * 64_usize.pow(3);
        assert_eq!(Group::size(voxels, 64), Some(8));
        assert_eq!(Group::size(voxels, 96), Some(2));
        assert_eq!(Group::size(voxels, 128), None);
        assert_eq!(Group::size(voxels, 16), Some(Group::MOST));
        assert_eq!(Group::size(0, 64), None);
        assert_eq!(Group::size(voxels, usize::MAX), None);
    }

    #[test]
    fn sums_of_another_box_are_refused() {
        let group = Group::gather(2, [([0; 3], Rotation::Identity)]);
        let weights = Window::Uniform.weights(2);
        let mut fuser = Fuser::new([4; 3], &weights).unwrap().with_variance();
        let none = Sums {
            votes: vec![0.5; 8],
            spread: None,
        };
        let problem = fuser.merge(&group, &none, &[1.0; 8]).unwrap_err();
        assert!(matches!(
            problem,
            TilingError::Length {
                expected: 8,
                got: 0,
                ..
            }
        ));
        let short = Sums {
            votes: vec![0.5; 7],
            spread: Some(vec![0.0; 8]),
        };
        assert!(fuser.merge(&group, &short, &[1.0; 8]).is_err());
    }
}
