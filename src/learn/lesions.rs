//! Lesion shapes: pieces of masks that can be put down elsewhere.

use super::field::{self, Region, Shape};
use super::random;
use crate::volume::components::{self, Connectivity};
use rand::Rng;

/// One connected lesion: a small box of voxels and where it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Lesion {
    /// Where the centre of the box lay, in voxels.
    pub home: [f32; 3],
    /// Shape of the box.
    pub shape: Shape,
    /// One value per voxel of the box, x fastest.
    pub inside: Vec<bool>,
    /// Number of lesion voxels (mm³ on a 1 mm grid).
    pub voxels: usize,
}

impl Lesion {
    /// A lesion from the coordinates of its voxels; `None` if there are none.
    #[must_use]
    pub fn from_voxels(voxels: &[[usize; 3]]) -> Option<Self> {
        let first = voxels.first()?;
        let (mut low, mut high) = (*first, *first);
        for v in voxels {
            for a in 0..3 {
                low[a] = low[a].min(v[a]);
                high[a] = high[a].max(v[a]);
            }
        }
        let shape = [0, 1, 2].map(|a| high[a] - low[a] + 1);
        let mut inside = vec![false; field::len(shape)];
        for v in voxels {
            inside[field::index(shape, [0, 1, 2].map(|a| v[a] - low[a]))] = true;
        }
        let voxels = inside.iter().filter(|i| **i).count();
        Some(Self {
            home: [0, 1, 2].map(|a| (low[a] + high[a]) as f32 / 2.0),
            shape,
            inside,
            voxels,
        })
    }

    /// The 26-connected lesions of a mask.
    #[must_use]
    pub fn all_of(mask: &[bool], shape: Shape) -> Vec<Self> {
        let labels = components::label(mask, shape, Connectivity::TwentySix);
        let mut members = vec![Vec::new(); labels.count()];
        for (i, &l) in labels.labels.iter().enumerate() {
            if l > 0 {
                members[l as usize - 1].push(field::voxel(shape, i));
            }
        }
        members.iter().filter_map(|m| Self::from_voxels(m)).collect()
    }

    /// The voxels of a grid of shape `shape` that this lesion covers when it is put down by `placement`.
    #[must_use]
    pub fn rasterise(&self, placement: &Placement, shape: Shape) -> Vec<usize> {
        // A half-filled border lets interpolation round the outline instead of cutting it at the box.
        let padded = self.shape.map(|n| n + 2);
        let mut soft = vec![0.0_f32; field::len(padded)];
        for (i, _) in self.inside.iter().enumerate().filter(|(_, b)| **b) {
            let v = field::voxel(self.shape, i);
            soft[field::index(padded, v.map(|c| c + 1))] = 1.0;
        }
        let rotation = placement.rotation();
        let reach: f32 = self
            .shape
            .iter()
            .zip(placement.scale)
            .map(|(&n, s)| ((n as f32 / 2.0 + 1.0) * s).powi(2))
            .sum::<f32>()
            .sqrt();
        let low = placement.centre.map(|c| (c - reach).floor().max(0.0) as usize);
        let high = [0, 1, 2].map(|a| {
            let end = (placement.centre[a] + reach).ceil() + 1.0;
            (end.max(0.0) as usize).min(shape[a])
        });
        let mut covered = Vec::new();
        for z in low[2]..high[2] {
            for y in low[1]..high[1] {
                for x in low[0]..high[0] {
                    let d = [x as f32, y as f32, z as f32];
                    let d = [0, 1, 2].map(|a| d[a] - placement.centre[a]);
                    let mut at = [0.0; 3];
                    for (a, value) in at.iter_mut().enumerate() {
                        // The transpose of a rotation is its inverse.
                        let mut r = (0..3).map(|b| rotation[b][a] * d[b]).sum::<f32>() / placement.scale[a];
                        if a == 0 && placement.mirror {
                            r = -r;
                        }
                        *value = r + (padded[a] as f32 - 1.0) / 2.0;
                    }
                    if field::sample(&soft, padded, at, 0.0) >= 0.5 {
                        covered.push(field::index(shape, [x, y, z]));
                    }
                }
            }
        }
        covered
    }
}

/// Where and how a lesion is put down: mirrored, scaled along its own axes, rotated, moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Where the centre of the lesion's box goes, in voxels of the target grid.
    pub centre: [f32; 3],
    /// Factor along each axis.
    pub scale: [f32; 3],
    /// Rotation about x, y and z in radians, applied in this order.
    pub angles: [f32; 3],
    /// Mirrored left to right before all else.
    pub mirror: bool,
}

impl Placement {
    /// A lesion left as and where it is.
    #[must_use]
    pub fn unchanged(lesion: &Lesion) -> Self {
        Self {
            centre: lesion.home,
            scale: [1.0; 3],
            angles: [0.0; 3],
            mirror: false,
        }
    }

    /// A small random change of shape around a centre: size within `scale` (relative) of `size` times the
    /// lesion's own, rotation within `angle` radians.
    pub fn varied(
        rng: &mut impl Rng,
        centre: [f32; 3],
        size: f32,
        scale: f32,
        angle: f32,
        mirror: bool,
    ) -> Self {
        Self {
            centre,
            scale: [(); 3].map(|()| size * (1.0 + random::within(rng, scale))),
            angles: [(); 3].map(|()| random::within(rng, angle)),
            mirror,
        }
    }

    /// The rotation matrix, rows first.
    fn rotation(&self) -> [[f32; 3]; 3] {
        let [(sx, cx), (sy, cy), (sz, cz)] = self.angles.map(f32::sin_cos);
        [
            [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
            [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
            [-sy, cy * sx, cy * cx],
        ]
    }
}

/// The largest 26-connected part of a set of voxels of a grid.
#[must_use]
pub fn largest_part(voxels: &[usize], shape: Shape) -> Vec<usize> {
    let Some(region) = Region::around(voxels.iter().copied(), shape, 0) else {
        return Vec::new();
    };
    let local_shape = region.shape();
    let local = |i: usize| {
        let v = field::voxel(shape, i);
        field::index(local_shape, [0, 1, 2].map(|a| v[a] - region.start[a]))
    };
    let mut mask = vec![false; field::len(local_shape)];
    for &i in voxels {
        mask[local(i)] = true;
    }
    let labels = components::label(&mask, local_shape, Connectivity::TwentySix);
    let Some((best, _)) = labels.sizes.iter().enumerate().max_by_key(|(_, n)| **n) else {
        return Vec::new();
    };
    voxels
        .iter()
        .copied()
        .filter(|&i| labels.labels[local(i)] as usize == best + 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn blob(seed: u64) -> (Vec<bool>, Shape) {
        let shape = [14, 12, 11];
        let mut rng = StdRng::seed_from_u64(seed);
        let noise = field::texture(&mut rng, shape, 1.5);
        let level = rng.random_range(0.3_f32..1.0);
        (noise.iter().map(|v| *v > level).collect(), shape)
    }

    proptest! {
        #[test]
        fn lesions_put_back_unchanged_are_the_mask(seed in any::<u64>()) {
            let (mask, shape) = blob(seed);
            let mut again = vec![false; mask.len()];
            for lesion in Lesion::all_of(&mask, shape) {
                let covered = lesion.rasterise(&Placement::unchanged(&lesion), shape);
                prop_assert_eq!(covered.len(), lesion.voxels);
                for i in covered { again[i] = true; }
            }
            prop_assert_eq!(again, mask);
        }

        #[test]
        fn rotation_and_scale_change_the_volume_as_expected(seed in any::<u64>(), size in 0.8_f32..1.6) {
            // Of radius 10: cut to voxels it keeps its volume within a quarter of a voxel's shell, 7.5 %.
            let ball: Vec<[usize; 3]> = (0..23 * 23 * 23).map(|i| field::voxel([23; 3], i))
                .filter(|v| v.iter().map(|&c| (c as f32 - 11.0).powi(2)).sum::<f32>() < 100.0).collect();
            let Some(lesion) = Lesion::from_voxels(&ball) else { return Ok(()) };
            let mut rng = StdRng::seed_from_u64(seed);
            let placement = Placement::varied(&mut rng, [25.0, 24.0, 26.0], size, 0.0, 0.5, true);
            let n = lesion.rasterise(&placement, [50, 50, 50]).len() as f32;
            let expected = lesion.voxels as f32 * size.powi(3);
            prop_assert!((n / expected - 1.0).abs() < 0.075, "{} {}", n, expected);
        }
    }

    #[test]
    fn only_the_largest_part_is_kept() {
        let shape = [9, 3, 3];
        let kept = largest_part(&[0, 1, 4, 5, 6, 8], shape);
        assert_eq!(kept, vec![4, 5, 6]);
        assert!(largest_part(&[], shape).is_empty());
    }
}
