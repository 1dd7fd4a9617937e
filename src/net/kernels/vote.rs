//! The votes of overlapping patches, summed where the patches were predicted.

use super::Kernels;
use crate::tiling::{Group, Placed, Rounded};
use burn::backend::Dispatch;
use burn::tensor::{Tensor, TensorData};

/// What [`Kernels::vote`] needs to know beside its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ballot {
    /// Voxels of the box along x, y and z.
    pub shape: [usize; 3],
    /// The smallest weight of a vote.
    pub floor: f32,
    /// Whether the spread of the votes is asked for, too.
    pub spread: bool,
}

/// Numbers that say where a patch lies: its first voxel (x, y, z) in the box, and 1 for each axis (x, y, z) that runs
/// backwards. In f32, which holds them exactly.
pub(super) const PLACE: usize = 6;

/// Sums of the weighted votes of a group: `p [patch, 1, z, y, x]`, each patch turned as it was predicted, to
/// `[1 or 2, z, y, x]` over the group's box, first `sum W p` and then, if `spread`, `sum W (p - mean)^2` (West 1979).
/// In the order of the patches, so the same to the last bit every time; 0 where no patch lies. Inference only.
#[must_use]
pub fn vote(p: Tensor<5>, group: &Group, window: &Rounded, spread: bool) -> Tensor<4> {
    let device = p.device();
    let places: Vec<f32> = group
        .patches()
        .iter()
        .flat_map(|&Placed { offset, turn }| {
            let backwards = turn.reverses().map(|r| f32::from(u8::from(r)));
            offset.map(|o| o as f32).into_iter().chain(backwards)
        })
        .collect();
    let places = TensorData::new(places, [group.patches().len(), PLACE]);
    let weights: Vec<f32> = window.x().iter().chain(window.yz()).copied().collect();
    let count = weights.len();
    let weights = Tensor::<1>::from_data(TensorData::new(weights, [count]), &device);
    let ballot = Ballot {
        shape: group.shape(),
        floor: window.floor(),
        spread,
    };
    Tensor::from_dispatch(Dispatch::vote(
        p.into_dispatch(),
        Tensor::<2>::from_data(places, &device).into_dispatch(),
        weights.into_dispatch(),
        ballot,
    ))
}

#[cfg(test)]
mod tests {
    //! On the CPU backend, and on whatever adapter there is, against the fuser that adds patch by patch.
    use super::*;
    use crate::tiling::{Fused, Fuser, Rotation, Sums, Window};
    use burn::tensor::Device;
    use proptest::prelude::*;
    use std::sync::OnceLock;

    fn devices() -> &'static [Device] {
        static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
        DEVICES.get_or_init(|| {
            let mut devices = vec![Device::flex()];
            #[cfg(feature = "gpu")]
            devices.extend(crate::net::kernels::cube::tests::gpu().cloned());
            devices
        })
    }

    type Place = ([isize; 3], Rotation);

    fn probabilities(count: usize, side: usize, seed: usize) -> Vec<f32> {
        let n = count * side.pow(3);
        (0..n)
            .map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 2002.0)
            .collect()
    }

    /// Groups summed on `device` and merged.
    fn fused(
        device: &Device,
        shape: [usize; 3],
        side: usize,
        places: &[Place],
        window: Window,
        spread: bool,
    ) -> Fused {
        let weights = window.weights(side);
        let mut fuser = Fuser::new(shape, &weights).unwrap();
        if spread {
            fuser = fuser.with_variance();
        }
        let mut done = 0;
        while done < places.len() {
            let group = Group::gather(side, places[done..].iter().copied());
            let count = group.patches().len();
            let p = TensorData::new(probabilities(count, side, done), [count, 1, side, side, side]);
            let sums = vote(Tensor::from_data(p, device), &group, &weights.rounded(), spread);
            let [w, h, d] = group.shape();
            assert_eq!(sums.dims(), [1 + usize::from(spread), d, h, w]);
            let mut votes: Vec<f32> = sums.into_data().try_to_vec().unwrap();
            let spread = spread.then(|| votes.split_off(w * h * d));
            let weight = group.weight(&weights.rounded());
            fuser.merge(&group, &Sums { votes, spread }, &weight).unwrap();
            done += count;
        }
        fuser.finish()
    }

    /// Patch by patch.
    fn known(shape: [usize; 3], side: usize, places: &[Place], window: Window) -> Fused {
        let mut fuser = Fuser::new(shape, &window.weights(side)).unwrap().with_variance();
        let mut done = 0;
        while done < places.len() {
            let count = Group::gather(side, places[done..].iter().copied())
                .patches()
                .len();
            let all = probabilities(count, side, done);
            for (k, patch) in all.chunks_exact(side.pow(3)).enumerate() {
                let (origin, turn) = places[done + k];
                let mut patch = patch.to_vec();
                turn.apply(&mut patch, side);
                fuser.add(origin, &patch).unwrap();
            }
            done += count;
        }
        fuser.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn groups_are_the_vote_of_their_patches(
            shape in prop::array::uniform3(1_usize..14),
            side in 1_usize..8,
            places in prop::collection::vec(
                (prop::array::uniform3(-5_isize..9), prop::sample::select(&Rotation::ALL[..])), 1..12),
            window in prop::sample::select(&Window::ALL[..]),
            spread: bool,
        ) {
            // Neighbours in the plan are neighbours in the list, or every patch would be a group.
            let mut places = places;
            places.sort_by_key(|(origin, _)| origin.map(|o| o / 3));
            let expected = known(shape, side, &places, window);
            for device in devices() {
                let got = fused(device, shape, side, &places, window, spread);
                for (a, b) in got.probability.iter().zip(&expected.probability) {
                    prop_assert!((a - b).abs() < 2e-6, "{a} and {b}");
                }
                prop_assert_eq!(got.variance.is_some(), spread);
                for (a, b) in got.variance.iter().flatten().zip(expected.variance.iter().flatten()) {
                    prop_assert!((a - b).abs() < 2e-6, "variance {a} and {b}");
                }
                let again = fused(device, shape, side, &places, window, spread);
                prop_assert_eq!(got, again, "to the last bit");
            }
        }
    }

    #[test]
    fn voxels_between_patches_have_no_votes() {
        // Patches at opposite corners: two corners of their box belong to neither.
        let places = [[0; 3], [1, 1, 0]].map(|origin| (origin, Rotation::Identity));
        let group = Group::gather(3, places);
        assert_eq!(group.shape(), [4, 4, 3]);
        for device in devices() {
            let p = TensorData::new(vec![1.0_f32; 54], [2, 1, 3, 3, 3]);
            let window = Window::Uniform.weights(3).rounded();
            let sums = vote(Tensor::from_data(p, device), &group, &window, true);
            let sums: Vec<f32> = sums.into_data().try_to_vec().unwrap();
            assert_eq!(sums[..48], group.weight(&window)[..]);
            assert_eq!(sums[..48].iter().sum::<f32>(), 54.0);
            assert_eq!((sums[3], sums[12]), (0.0, 0.0));
            assert!(sums[48..].iter().all(|s| *s == 0.0));
        }
    }
}
