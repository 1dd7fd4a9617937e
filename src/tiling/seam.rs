//! Seams: how visible the borders of patches are in a fused map.

use serde::{Deserialize, Serialize};

use super::{Plan, TilingError, clip};

/// Differences between neighbouring voxels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Jumps {
    /// Pairs of neighbours that were looked at.
    pub pairs: u64,
    /// Mean absolute difference; 0 without a pair.
    pub mean: f64,
    /// Largest absolute difference.
    pub largest: f32,
}

/// The jump across patch borders against elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seams {
    /// Neighbours with the border of a patch between them.
    pub across: Jumps,
    /// All others.
    pub elsewhere: Jumps,
}

impl Seams {
    /// How much larger the mean jump is across borders; `None` if there is no border or no jump elsewhere.
    ///
    /// Near 1 for a map without seams if the borders lie where as much changes as elsewhere. They need not, so the ratio is
    /// for comparing maps of one head and one plan.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        (self.across.pairs > 0 && self.elsewhere.mean > 0.0).then(|| self.across.mean / self.elsewhere.mean)
    }
}

/// Measures the seams of a map (one value a voxel, x fastest) over the voxels in `inside`.
///
/// Two voxels that share a face, both inside, are across a border if some tile of the plan covers one of them and not the
/// other. A volume's own border is none.
///
/// # Errors
/// [`TilingError::Length`] if an array has another number of voxels than the plan's volume.
pub fn seams(values: &[f32], plan: &Plan, inside: &[bool]) -> Result<Seams, TilingError> {
    let shape = plan.shape();
    let voxels = shape.iter().product();
    TilingError::check_length("The map", voxels, values.len())?;
    TilingError::check_length("The mask", voxels, inside.len())?;
    let borders = borders(plan);
    let strides = [1, shape[0], shape[0] * shape[1]];
    let mut tallies = [Tally::default(); 2];
    for (voxel, &value) in values.iter().enumerate() {
        if !inside[voxel] {
            continue;
        }
        for axis in 0..3 {
            let at = voxel / strides[axis] % shape[axis];
            let next = voxel + strides[axis];
            if at + 1 == shape[axis] || !inside[next] {
                continue;
            }
            let across = borders[voxel] >> axis & 1;
            tallies[usize::from(across)].add((values[next] - value).abs());
        }
    }
    let [elsewhere, across] = tallies.map(Tally::jumps);
    Ok(Seams { across, elsewhere })
}

/// For every voxel, bit `a` is set if a tile ends between it and the next voxel along axis `a`.
fn borders(plan: &Plan) -> Vec<u8> {
    let (shape, side) = (plan.shape(), plan.side());
    let [nx, ny, nz] = shape;
    let mut bits = vec![0_u8; nx * ny * nz];
    for origin in plan.origins() {
        let part = [0, 1, 2].map(|axis| clip(origin[axis], side, shape[axis]));
        for axis in 0..3 {
            let (first, _, count) = part[axis];
            // The voxels before the first and before the end of the tile, if both sides lie in the volume.
            let before = first.checked_sub(1).filter(|_| count > 0);
            let last = (first + count)
                .checked_sub(1)
                .filter(|last| last + 1 < shape[axis]);
            for at in before.into_iter().chain(last.filter(|_| count > 0)) {
                let mut span = part.map(|(first, _, count)| first..first + count);
                span[axis] = at..at + 1;
                let [xs, ys, zs] = span;
                for z in zs {
                    for y in ys.clone() {
                        let row = nx * (y + ny * z);
                        for bit in &mut bits[row + xs.start..row + xs.end] {
                            *bit |= 1 << axis;
                        }
                    }
                }
            }
        }
    }
    bits
}

#[derive(Clone, Copy, Default)]
struct Tally {
    pairs: u64,
    sum: f64,
    largest: f32,
}

impl Tally {
    fn add(&mut self, jump: f32) {
        self.pairs += 1;
        self.sum += f64::from(jump);
        self.largest = self.largest.max(jump);
    }

    fn jumps(self) -> Jumps {
        Jumps {
            pairs: self.pairs,
            mean: if self.pairs > 0 {
                self.sum / self.pairs as f64
            } else {
                0.0
            },
            largest: self.largest,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tiling::{Fuser, Window};

    /// Two overlapping patches, the first all 0 and the second all 1, fused.
    fn two_patches(window: Window) -> (Vec<f32>, Plan) {
        let plan = Plan::new([6, 1, 1], 4, 0.5).unwrap();
        let mut fuser = Fuser::new([6, 1, 1], &window.weights(4)).unwrap();
        for (origin, p) in plan.origins().iter().zip([0.0, 1.0]) {
            fuser.add(*origin, &[p; 64]).unwrap();
        }
        (fuser.finish().probability, plan)
    }

    #[test]
    fn two_patches_have_the_seams_of_their_window() {
        // Uniform: 0 0 1/2 1/2 1 1, with borders between 1|2 and 3|4.
        let (values, plan) = two_patches(Window::Uniform);
        let found = seams(&values, &plan, &[true; 6]).unwrap();
        assert_eq!(
            found.across,
            Jumps {
                pairs: 2,
                mean: 0.5,
                largest: 0.5
            }
        );
        assert_eq!((found.elsewhere.pairs, found.elsewhere.mean), (3, 0.0));
        assert_eq!(found.ratio(), None);
        // The spline of side 4 is 1/8 7/8 7/8 1/8: 0 0 1/8 7/8 1 1.
        let (values, plan) = two_patches(Window::Bspline);
        let found = seams(&values, &plan, &[true; 6]).unwrap();
        assert!((found.across.mean - 0.125).abs() < 1e-6, "{found:?}");
        assert!((found.elsewhere.mean - 0.25).abs() < 1e-6, "{found:?}");
        assert!((found.ratio().unwrap() - 0.5).abs() < 1e-6, "{found:?}");
        assert_eq!(found.elsewhere.largest, 0.75);
    }

    #[test]
    fn what_lies_outside_does_not_count() {
        let (values, plan) = two_patches(Window::Uniform);
        let inside = [true, true, false, true, true, true];
        let found = seams(&values, &plan, &inside).unwrap();
        assert_eq!((found.across.pairs, found.elsewhere.pairs), (1, 2));
        assert!(seams(&values[1..], &plan, &inside).is_err());
        assert!(seams(&values, &plan, &inside[1..]).is_err());
    }

    proptest! {
        /// Against the definition: some tile covers one of two neighbours and not the other.
        #[test]
        fn a_border_is_where_a_tile_covers_one_of_two(
            shape in prop::array::uniform3(1_usize..9),
            side in 1_usize..6,
            overlap in 0.0_f64..0.9,
            seed in 0_u32..1000,
        ) {
            let plan = Plan::new(shape, side, overlap).unwrap();
            let [nx, ny, nz] = shape;
            let count = nx * ny * nz;
            let noise = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 16_777_216.0;
            let values: Vec<f32> = (0..count).map(noise).collect();
            let inside: Vec<bool> = (0..count).map(|i| noise(i + count) < 0.8).collect();
            let covers = |origin: &[isize; 3], at: [usize; 3]| {
                (0..3).all(|a| (0..side as isize).contains(&(at[a] as isize - origin[a])))
            };
            let mut expected = [Tally::default(); 2];
            for i in 0..count {
                let at = [i % nx, i / nx % ny, i / nx / ny];
                for axis in 0..3 {
                    let mut to = at;
                    to[axis] += 1;
                    if to[axis] == shape[axis] {
                        continue;
                    }
                    let j = to[0] + nx * (to[1] + ny * to[2]);
                    if inside[i] && inside[j] {
                        let across = plan.origins().iter().any(|o| covers(o, at) != covers(o, to));
                        expected[usize::from(across)].add((values[i] - values[j]).abs());
                    }
                }
            }
            let found = seams(&values, &plan, &inside).unwrap();
            prop_assert_eq!(found.across, expected[1].jumps());
            prop_assert_eq!(found.elsewhere, expected[0].jumps());
        }
    }
}
