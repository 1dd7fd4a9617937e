//! Soft voting: many overlapping predictions in, one probability a voxel out.

use super::{Group, Rounded, TilingError, Weights, clip};

/// Fuses the predictions of overlapping patches: `P(v) = sum_k W(v - o_k) p_k(v) / sum_k W(v - o_k)`
/// (`method.md` 5.2).
///
/// Votes are accumulated in place, so memory does not grow with the number of patches, and the division is by the
/// weight that really fell on a voxel, so a constant prediction comes out as itself up to the border.
///
/// The sums are kept in f32. All terms are positive and both sums use the same rounded weight, so the relative error
/// of the quotient is at most about `2 n 2^-24` for `n` votes a voxel, however small the weights: below 1e-5 for
/// the 64 votes of 75 % overlap, at half the memory of f64 (58 MB for a 1 mm head).
#[derive(Clone, Debug)]
pub struct Fuser {
    shape: [usize; 3],
    weights: Rounded,
    votes: Vec<f32>,
    weight: Vec<f32>,
    /// `sum W (p - P)^2` so far, if asked for.
    spread: Option<Vec<f32>>,
}

/// What a [`Fuser`] ends with.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    /// Fused probability of every voxel, x fastest; 0 where no patch voted.
    pub probability: Vec<f32>,
    /// Weighted variance of the votes of every voxel, `sum W (p - P)^2 / sum W`, if it was asked for; in
    /// `[0, 0.25]`, 0 where no patch voted.
    pub variance: Option<Vec<f32>>,
}

/// What the votes of a [`Group`] add up to in each voxel of its box, x fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Sums {
    /// `sum W p`.
    pub votes: Vec<f32>,
    /// `sum W (p - mean)^2` around the group's own mean, if it was asked for.
    pub spread: Option<Vec<f32>>,
}

impl Fuser {
    /// An empty vote over a volume of `shape` voxels by patches of the side that `weights` was made for.
    ///
    /// Allocates 8 bytes a voxel.
    ///
    /// # Errors
    /// [`TilingError::EmptyVolume`] or [`TilingError::EmptyPatch`].
    pub fn new(shape: [usize; 3], weights: &Weights) -> Result<Self, TilingError> {
        if shape.contains(&0) {
            return Err(TilingError::EmptyVolume { shape });
        }
        if weights.axis().is_empty() {
            return Err(TilingError::EmptyPatch);
        }
        let voxels = shape
            .iter()
            .try_fold(1_usize, |product, &axis| product.checked_mul(axis))
            .ok_or(TilingError::TooLarge { shape })?;
        Ok(Self {
            shape,
            weights: weights.rounded(),
            votes: vec![0.0; voxels],
            weight: vec![0.0; voxels],
            spread: None,
        })
    }

    /// Also keeps how much the votes of a voxel disagree ([`Fused::variance`]): 4 more bytes a voxel and two
    /// divisions a vote.
    ///
    /// To be called before the first vote. The variance is updated around the running mean (West 1979) rather than
    /// from `sum W p^2`, whose difference with the squared mean would be lost in f32; the probability stays the
    /// same to the last bit.
    #[must_use]
    pub fn with_variance(mut self) -> Self {
        self.spread = Some(vec![0.0; self.votes.len()]);
        self
    }

    /// Adds the votes of the patch whose first voxel is `origin`; what lies outside the volume is dropped.
    ///
    /// `prediction` has `side^3` probabilities, x fastest. The order of the votes changes the result only in its
    /// last bits; who wants it bit for bit the same must keep the order.
    ///
    /// # Errors
    /// [`TilingError::Length`] if the prediction is no patch of this side.
    pub fn add(&mut self, origin: [isize; 3], prediction: &[f32]) -> Result<(), TilingError> {
        let side = self.weights.side();
        TilingError::check_length("A prediction", side * side * side, prediction.len())?;
        let [nx, ny, nz] = self.shape;
        let (x0, px, x_count) = clip(origin[0], side, nx);
        let (y0, py, y_count) = clip(origin[1], side, ny);
        let (z0, pz, z_count) = clip(origin[2], side, nz);
        if x_count == 0 {
            return Ok(());
        }
        for z in 0..z_count {
            for y in 0..y_count {
                let from = px + side * (py + y + side * (pz + z));
                let to = x0 + nx * (y0 + y + ny * (z0 + z));
                let row = prediction[from..from + x_count]
                    .iter()
                    .copied()
                    .zip(self.weights.row(px, x_count, py + y, pz + z));
                let votes = &mut self.votes[to..to + x_count];
                let weight = &mut self.weight[to..to + x_count];
                match &mut self.spread {
                    None => vote(row, votes, weight),
                    Some(spread) => vote_and_spread(row, votes, weight, &mut spread[to..to + x_count]),
                }
            }
        }
        Ok(())
    }

    /// Adds the votes of a whole group, summed elsewhere: `sums` and their `weight` ([`Group::weight`]) have a value per
    /// voxel of the group's box, of which what lies outside the volume is dropped.
    ///
    /// Spreads of two sets of votes around means of their own make one around the common mean (Chan, Golub, LeVeque
    /// 1983): `S = S_a + S_b + (mean_b - mean_a)^2 w_a w_b / (w_a + w_b)`.
    ///
    /// # Errors
    /// [`TilingError::Length`] if an array does not fit the box, or a spread is kept and none is given.
    pub fn merge(&mut self, group: &Group, sums: &Sums, weight: &[f32]) -> Result<(), TilingError> {
        let [bx, by, bz] = group.shape();
        let expected = bx * by * bz;
        TilingError::check_length("A group's sum of votes", expected, sums.votes.len())?;
        TilingError::check_length("A group's weight", expected, weight.len())?;
        let theirs = sums.spread.as_deref().unwrap_or_default();
        if self.spread.is_some() {
            TilingError::check_length("A group's spread", expected, theirs.len())?;
        }
        let [nx, ny, nz] = self.shape;
        let origin = group.origin();
        let (x0, px, x_count) = clip(origin[0], bx, nx);
        let (y0, py, y_count) = clip(origin[1], by, ny);
        let (z0, pz, z_count) = clip(origin[2], bz, nz);
        if x_count == 0 {
            return Ok(());
        }
        for z in 0..z_count {
            for y in 0..y_count {
                let from = px + bx * (py + y + by * (pz + z));
                let to = x0 + nx * (y0 + y + ny * (z0 + z));
                let (from, to) = (from..from + x_count, to..to + x_count);
                let votes = &mut self.votes[to.clone()];
                let total = &mut self.weight[to.clone()];
                let (new, w) = (&sums.votes[from.clone()], &weight[from.clone()]);
                if let Some(spread) = &mut self.spread {
                    let old = votes.iter().zip(&*total);
                    let all = spread[to]
                        .iter_mut()
                        .zip(&theirs[from])
                        .zip(old.zip(new.iter().zip(w)));
                    for ((spread, theirs), ((&vote, &total), (&new, &w))) in all {
                        *spread += theirs;
                        if total > 0.0 && w > 0.0 {
                            let apart = new / w - vote / total;
                            *spread += apart * apart * (w * total / (w + total));
                        }
                    }
                }
                for ((vote, total), (new, w)) in votes.iter_mut().zip(total).zip(new.iter().zip(w)) {
                    *vote += new;
                    *total += w;
                }
            }
        }
        Ok(())
    }

    /// The probability so far, as [`Fused::probability`], leaving the vote open.
    #[must_use]
    pub fn probability(&self) -> Vec<f32> {
        self.votes
            .iter()
            .zip(&self.weight)
            .map(|(&v, &w)| quotient(v, w))
            .collect()
    }

    /// Closes the vote: `sum W p / sum W`.
    #[must_use]
    pub fn finish(mut self) -> Fused {
        let divide = |sums: &mut [f32]| {
            for (sum, &w) in sums.iter_mut().zip(&self.weight) {
                *sum = quotient(*sum, w);
            }
        };
        divide(&mut self.votes);
        if let Some(spread) = &mut self.spread {
            divide(spread);
        }
        Fused {
            probability: self.votes,
            variance: self.spread,
        }
    }
}

/// `sum / weight`, and 0 where nobody voted.
fn quotient(sum: f32, weight: f32) -> f32 {
    if weight > 0.0 { sum / weight } else { 0.0 }
}

/// Adds a row of predictions with their weights.
fn vote(row: impl Iterator<Item = (f32, f32)>, votes: &mut [f32], weight: &mut [f32]) {
    for ((vote, total), (p, w)) in votes.iter_mut().zip(weight).zip(row) {
        *vote += w * p;
        *total += w;
    }
}

/// The same, and how far they lie from what was voted before.
fn vote_and_spread(
    row: impl Iterator<Item = (f32, f32)>,
    votes: &mut [f32],
    weight: &mut [f32],
    spread: &mut [f32],
) {
    for (((vote, total), spread), (p, w)) in votes.iter_mut().zip(weight).zip(spread).zip(row) {
        let before = if *total > 0.0 { *vote / *total } else { p };
        *vote += w * p;
        *total += w;
        let after = *vote / *total;
        // Rounding may push one mean past p; the product is then a tiny negative number.
        *spread += (w * (p - before) * (p - after)).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tiling::{Plan, Window};

    /// A pseudo-random probability for patch `k`, voxel `i`.
    fn vote(k: usize, i: usize) -> f32 {
        let mut h = (k as u64)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add((i as u64).wrapping_mul(0xBF58_476D_1CE4_E5B9));
        h ^= h >> 31;
        h = h.wrapping_mul(0x94D0_49BB_1331_11EB);
        (h >> 40) as f32 / (1_u32 << 24) as f32
    }

    #[test]
    fn a_constant_comes_out_as_itself_at_every_voxel() {
        for window in Window::ALL {
            for shape in [[37, 41, 45], [11, 41, 20], [5, 6, 7]] {
                for overlap in [0.0, 0.3, 0.5, 0.75] {
                    let plan = Plan::new(shape, 16, overlap).unwrap();
                    for p in [0.3_f32, 1.0, 0.0, 1e-4] {
                        let mut fuser = Fuser::new(shape, &window.weights(16)).unwrap().with_variance();
                        for &origin in plan.origins() {
                            fuser.add(origin, &[p; 16 * 16 * 16]).unwrap();
                        }
                        let fused = fuser.finish();
                        let worst = fused
                            .probability
                            .iter()
                            .map(|q| (q - p).abs() / p.max(1e-9))
                            .fold(0.0, f32::max);
                        assert!(
                            worst < 4e-6,
                            "{window} {shape:?} {overlap} {p}: relative error {worst}"
                        );
                        assert!(fused.probability.iter().all(|&q| q <= 1.0));
                        // Every vote is the same, so nobody disagrees but for rounding.
                        assert!(fused.variance.unwrap().iter().all(|&v| v < 1e-10));
                    }
                }
            }
        }
    }

    #[test]
    fn voxels_without_a_vote_are_zero() {
        let mut fuser = Fuser::new([8, 4, 4], &Window::Bspline.weights(4)).unwrap();
        fuser.add([0, 0, 0], &[0.5; 64]).unwrap();
        // Wholly outside: no vote, no panic.
        fuser.add([8, 0, 0], &[0.9; 64]).unwrap();
        fuser.add([-4, 0, 0], &[0.9; 64]).unwrap();
        let fused = fuser.finish();
        for (i, &p) in fused.probability.iter().enumerate() {
            assert_eq!(p, if i % 8 < 4 { 0.5 } else { 0.0 });
        }
        assert_eq!(fused.variance, None);
    }

    #[test]
    fn lengths_are_checked() {
        let mut fuser = Fuser::new([8, 4, 4], &Window::Uniform.weights(4)).unwrap();
        assert_eq!(
            fuser.add([0; 3], &[0.5; 63]),
            Err(TilingError::Length {
                what: "A prediction",
                expected: 64,
                got: 63
            })
        );
        assert!(Fuser::new([8, 0, 4], &Window::Uniform.weights(4)).is_err());
        assert!(Fuser::new([8, 4, 4], &Window::Uniform.weights(0)).is_err());
    }

    proptest! {
        /// Against the definition, voxel by voxel in f64.
        #[test]
        fn fusion_and_variance_are_the_definition(
            shape in prop::array::uniform3(1_usize..14),
            side in 1_usize..8,
            overlap in 0.0_f64..0.9,
            window in prop::sample::select(&Window::ALL[..]),
        ) {
            let plan = Plan::new(shape, side, overlap).unwrap();
            let weights = window.weights(side);
            let mut plain = Fuser::new(shape, &weights).unwrap();
            let mut fuser = Fuser::new(shape, &weights).unwrap().with_variance();
            for (k, &origin) in plan.origins().iter().enumerate() {
                let votes: Vec<f32> = (0..side * side * side).map(|i| vote(k, i)).collect();
                plain.add(origin, &votes).unwrap();
                fuser.add(origin, &votes).unwrap();
            }
            let so_far = plain.probability();
            let plain = plain.finish();
            prop_assert_eq!(&so_far, &plain.probability);
            let fused = fuser.finish();
            prop_assert_eq!(&plain.probability, &fused.probability, "the variance changes no probability");
            let variance = fused.variance.unwrap();
            let [nx, ny, _] = shape;
            for (v, &spread) in variance.iter().enumerate() {
                let voxel = [v % nx, v / nx % ny, v / nx / ny];
                let (mut sum, mut square, mut total) = (0.0, 0.0, 0.0);
                for (k, origin) in plan.origins().iter().enumerate() {
                    let at = [0, 1, 2].map(|a| voxel[a] as isize - origin[a]);
                    if at.iter().all(|i| (0..side as isize).contains(i)) {
                        let [x, y, z] = at.map(|i| i as usize);
                        let axis = weights.axis();
                        let w = (axis[x] * axis[y] * axis[z]).max(weights.floor());
                        let p = f64::from(vote(k, x + side * (y + side * z)));
                        sum += w * p;
                        square += w * p * p;
                        total += w;
                    }
                }
                let mean = sum / total;
                prop_assert!((f64::from(fused.probability[v]) - mean).abs() < 1e-5);
                let expected = square / total - mean * mean;
                prop_assert!((f64::from(spread) - expected).abs() < 1e-5);
            }
        }
    }
}
