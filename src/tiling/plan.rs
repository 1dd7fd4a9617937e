//! Where the patches lie.

use super::{TilingError, clip};

/// Most tiles a [`Plan`] may have; far beyond any sensible setting (a 256^3 head at 75 % of 64^3 has 2197).
pub const MAX_TILES: usize = 1 << 20;

/// The cubic, overlapping tiles that cover a volume.
///
/// The starts along an axis are `0, step, 2 step, ...` with the last one moved back so that its tile ends at the
/// border (MONAI's `sliding_window_inference`). An axis shorter than the patch has one tile, centred on it: the
/// tile then overhangs the volume, its start is negative, and what lies outside reads as zero ([`extract`]) and is
/// dropped ([`Fuser`]), which amounts to symmetric padding and cropping without a padded copy.
///
/// Tiles never leave the volume otherwise. Padding the whole volume so that border voxels get as many votes as the
/// others (the authors' code reflects `side * overlap` voxels on every side) costs 2 to 3 times as many tiles on a
/// 1 mm head, shows the network reflected anatomy, and buys nothing that the division by `sum W` does not give:
/// every voxel has a vote, and a conformed head has air at its border.
///
/// Tiles are ordered x fastest, z slowest.
///
/// [`extract`]: super::extract
/// [`Fuser`]: super::Fuser
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    shape: [usize; 3],
    side: usize,
    step: usize,
    origins: Vec<[isize; 3]>,
}

impl Plan {
    /// Plans the tiles of `side^3` voxels for a volume of `shape` voxels.
    ///
    /// `overlap` is the share of the side that neighbouring tiles have in common, in `[0, 1)`; the step is
    /// `floor(side * (1 - overlap))`, at least 1.
    ///
    /// # Errors
    /// [`TilingError`] if the volume or the patch is empty, the overlap is out of range or the tiles are too many.
    pub fn new(shape: [usize; 3], side: usize, overlap: f64) -> Result<Self, TilingError> {
        if shape.contains(&0) {
            return Err(TilingError::EmptyVolume { shape });
        }
        // Patches and volumes are indexed with isize, and their voxels must be countable.
        let voxels = |n: [usize; 3]| {
            n.iter()
                .try_fold(1_usize, |product, &axis| product.checked_mul(axis))
                .filter(|&count| isize::try_from(count).is_ok())
        };
        if voxels(shape).is_none() || voxels([side; 3]).is_none() {
            return Err(TilingError::TooLarge {
                shape: shape.map(|axis| axis.max(side)),
            });
        }
        if side == 0 {
            return Err(TilingError::EmptyPatch);
        }
        if !(0.0..1.0).contains(&overlap) {
            return Err(TilingError::Overlap { overlap });
        }
        // The small term keeps 10 * (1 - 0.9) = 0.9999999999999998 from losing a voxel of step.
        let step = ((side as f64 * (1.0 - overlap) + 1e-9).floor() as usize).max(1);
        let counts = shape.map(|len| len.saturating_sub(side).div_ceil(step) + 1);
        let tiles = counts
            .iter()
            .fold(1_usize, |product, &count| product.saturating_mul(count));
        if tiles > MAX_TILES {
            return Err(TilingError::TooManyTiles { tiles });
        }
        let starts = shape.map(|len| starts(len, side, step));
        let mut origins = Vec::with_capacity(tiles);
        for &z in &starts[2] {
            for &y in &starts[1] {
                origins.extend(starts[0].iter().map(|&x| [x, y, z]));
            }
        }
        Ok(Self {
            shape,
            side,
            step,
            origins,
        })
    }

    /// Drops the tiles that hold no voxel of `foreground` (one value per voxel of the volume, x fastest).
    ///
    /// Every tile that covers a foreground voxel stays, so the fused value of foreground voxels is the same as
    /// without this.
    ///
    /// # Errors
    /// [`TilingError::Length`] if the mask has another number of voxels than the volume.
    pub fn within(mut self, foreground: &[bool]) -> Result<Self, TilingError> {
        let [nx, ny, nz] = self.shape;
        TilingError::check_length("The foreground mask", nx * ny * nz, foreground.len())?;
        let side = self.side;
        self.origins.retain(|&[ox, oy, oz]| {
            let (x0, _, x_count) = clip(ox, side, nx);
            let (y0, _, y_count) = clip(oy, side, ny);
            let (z0, _, z_count) = clip(oz, side, nz);
            (z0..z0 + z_count).any(|z| {
                (y0..y0 + y_count).any(|y| {
                    let row = x0 + nx * (y + ny * z);
                    foreground[row..row + x_count].contains(&true)
                })
            })
        });
        Ok(self)
    }

    /// First voxel of every tile; negative along an axis shorter than the patch.
    #[must_use]
    pub fn origins(&self) -> &[[isize; 3]] {
        &self.origins
    }

    /// Number of tiles.
    #[must_use]
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// True if no tile is left (the foreground was empty).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// Shape of the volume in voxels.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Side of a tile in voxels.
    #[must_use]
    pub fn side(&self) -> usize {
        self.side
    }

    /// Distance between the starts of neighbouring tiles in voxels.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }
}

/// The starts of the tiles along one axis of `len` voxels.
fn starts(len: usize, side: usize, step: usize) -> Vec<isize> {
    let signed = |n: usize| isize::try_from(n).unwrap_or(isize::MAX);
    if len <= side {
        // The odd voxel of padding goes behind, as in MONAI.
        return vec![-signed((side - len) / 2)];
    }
    let last = len - side;
    (0..last)
        .step_by(step)
        .chain(std::iter::once(last))
        .map(signed)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_tile_is_moved_back_to_the_border() {
        assert_eq!(starts(37, 16, 8), [0, 8, 16, 21]);
        assert_eq!(starts(40, 16, 8), [0, 8, 16, 24]);
        assert_eq!(starts(17, 16, 16), [0, 1]);
        assert_eq!(starts(16, 16, 8), [0]);
        assert_eq!(starts(11, 16, 8), [-2], "2 voxels before, 3 behind");
        assert_eq!(starts(1, 2, 1), [0]);
    }

    #[test]
    fn steps_are_whole_voxels() {
        let step = |side, overlap| Plan::new([80, 4, 4], side, overlap).unwrap().step();
        assert_eq!([step(64, 0.0), step(64, 0.5), step(64, 0.75)], [64, 32, 16]);
        assert_eq!(step(64, 0.1), 57);
        assert_eq!(step(10, 0.9), 1);
        assert_eq!(step(10, 0.7), 3);
        assert_eq!(step(8, 0.999), 1);
    }

    #[test]
    fn a_whole_head_has_the_expected_number_of_tiles() {
        let tiles = |overlap| Plan::new([182, 218, 182], 64, overlap).unwrap().len();
        assert_eq!(
            [tiles(0.0), tiles(0.5), tiles(0.75)],
            [3 * 4 * 3, 5 * 6 * 5, 9 * 11 * 9]
        );
    }

    #[test]
    fn bad_settings_are_refused() {
        let refuse = |shape, side, overlap| Plan::new(shape, side, overlap).unwrap_err();
        assert_eq!(
            refuse([4, 0, 4], 8, 0.5),
            TilingError::EmptyVolume { shape: [4, 0, 4] }
        );
        assert_eq!(refuse([4; 3], 0, 0.5), TilingError::EmptyPatch);
        for overlap in [1.0, -0.1, 2.0, f64::INFINITY] {
            assert_eq!(refuse([4; 3], 8, overlap), TilingError::Overlap { overlap });
        }
        assert!(matches!(refuse([4; 3], 8, f64::NAN), TilingError::Overlap { .. }));
        assert_eq!(
            refuse([200; 3], 64, 0.999),
            TilingError::TooManyTiles {
                tiles: 137 * 137 * 137
            }
        );
        assert!(matches!(
            refuse([usize::MAX; 3], 8, 0.0),
            TilingError::TooLarge { .. }
        ));
        assert!(matches!(
            refuse([4; 3], usize::MAX, 0.0),
            TilingError::TooLarge { .. }
        ));
        let plan = Plan::new([4; 3], 2, 0.0).unwrap();
        assert!(matches!(
            plan.within(&[true; 63]),
            Err(TilingError::Length {
                expected: 64,
                got: 63,
                ..
            })
        ));
    }

    #[test]
    fn an_empty_foreground_needs_no_tile() {
        let plan = Plan::new([9, 10, 11], 4, 0.5)
            .unwrap()
            .within(&[false; 990])
            .unwrap();
        assert!(plan.is_empty());
    }

    proptest! {
        #[test]
        fn tiles_cover_every_voxel_once_and_end_at_the_border(
            shape in prop::array::uniform3(1_usize..40),
            side in 1_usize..20,
            overlap in 0.0_f64..0.95,
        ) {
            let plan = Plan::new(shape, side, overlap).unwrap();
            let mut unique = plan.origins().to_vec();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), plan.len(), "no tile twice");
            for axis in 0..3 {
                let mut at: Vec<isize> = plan.origins().iter().map(|o| o[axis]).collect();
                at.sort_unstable();
                at.dedup();
                let (len, n, step) = (shape[axis] as isize, side as isize, plan.step() as isize);
                if len > n {
                    prop_assert_eq!(at[0], 0);
                    prop_assert_eq!(at[at.len() - 1] + n, len);
                } else {
                    prop_assert_eq!(&at, &vec![-((n - len) / 2)]);
                }
                // No gap: the next tile starts at most a step on, and a step is never more than a side.
                prop_assert!(at.windows(2).all(|w| w[1] - w[0] <= step && step <= n));
            }
        }

        #[test]
        fn tiles_are_kept_exactly_when_they_hold_foreground(
            shape in prop::array::uniform3(1_usize..24),
            side in 1_usize..12,
            overlap in 0.0_f64..0.8,
            seeds in prop::collection::vec(prop::array::uniform3(0.0_f64..1.0), 0..4),
        ) {
            let [nx, ny, nz] = shape;
            let mut mask = vec![false; nx * ny * nz];
            let voxels: Vec<[usize; 3]> = seeds
                .iter()
                .map(|s| [0, 1, 2].map(|a| (s[a] * shape[a] as f64) as usize))
                .collect();
            for [x, y, z] in &voxels {
                mask[x + nx * (y + ny * z)] = true;
            }
            let all = Plan::new(shape, side, overlap).unwrap();
            let expected: Vec<[isize; 3]> = all
                .origins()
                .iter()
                .copied()
                .filter(|o| {
                    voxels.iter().any(|v| {
                        (0..3).all(|a| {
                            let offset = v[a] as isize - o[a];
                            (0..side as isize).contains(&offset)
                        })
                    })
                })
                .collect();
            let plan = all.within(&mask).unwrap();
            prop_assert_eq!(plan.origins(), &expected[..]);
        }
    }
}
