//! Whether an image that could be read is a scan that can be segmented.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::{Volume, VolumeError};

/// Voxel edges that a scan of a head may have, in mm.
pub const VOXEL_EDGES: RangeInclusive<f64> = 0.05..=20.0;

/// Refuses images that are no scans of a head: a single slice, voxels of an impossible size, one value everywhere, a
/// mask or label map.
///
/// # Errors
/// [`VolumeError::SingleSlice`], [`VolumeError::VoxelSize`], [`VolumeError::Constant`] or
/// [`VolumeError::LooksLikeMask`].
pub fn check(volume: &Volume) -> Result<(), VolumeError> {
    let shape = volume.grid.shape;
    if shape.contains(&1) {
        return Err(VolumeError::SingleSlice { shape });
    }
    let spacing = volume.grid.spacing();
    if !spacing.iter().all(|edge| VOXEL_EDGES.contains(edge)) {
        return Err(VolumeError::VoxelSize { spacing });
    }
    let first = volume.data.first().copied().unwrap_or(0.0);
    if volume.data.iter().all(|&v| v == first) {
        return Err(VolumeError::Constant { value: first });
    }
    match mask_labels(volume) {
        Some(labels) => Err(VolumeError::LooksLikeMask { labels }),
        None => Ok(()),
    }
}

/// The number of distinct values if the image looks like a mask or label map, `None` if it looks like a scan.
///
/// A label map holds whole numbers only, few of them (8 or fewer) or not many (1024 at most) in patches: voxels off
/// the background equal their neighbour nearly always, where a scan's noise makes them differ nearly always.
#[must_use]
pub fn mask_labels(volume: &Volume) -> Option<usize> {
    const SURELY: usize = 8;
    const AT_MOST: usize = 1024;
    let mut labels = HashSet::new();
    for &value in &volume.data {
        if value.fract() != 0.0 || (labels.insert(value.to_bits()) && labels.len() > AT_MOST) {
            return None;
        }
    }
    (labels.len() <= SURELY || is_patchy(volume)).then_some(labels.len())
}

/// Whether at least nine in ten voxels that are not 0 equal their neighbour along x (where that is not 0 either).
fn is_patchy(volume: &Volume) -> bool {
    let (mut pairs, mut equal) = (0usize, 0usize);
    for row in volume.data.chunks_exact(volume.grid.shape[0].max(1)) {
        for pair in row.windows(2).filter(|pair| pair[0] != 0.0 && pair[1] != 0.0) {
            pairs += 1;
            equal += usize::from(pair[0] == pair[1]);
        }
    }
    equal as f64 >= 0.9 * pairs as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Grid;
    use nalgebra::Matrix4;

    fn volume(shape: [usize; 3], value: impl Fn(usize, usize, usize) -> f32) -> Volume {
        let [nx, ny, nz] = shape;
        let index = (0..nx * ny * nz).map(|i| (i % nx, i / nx % ny, i / (nx * ny)));
        Volume {
            grid: Grid {
                shape,
                affine: Matrix4::identity(),
            },
            data: index.map(|(x, y, z)| value(x, y, z)).collect(),
        }
    }

    /// A stand-in for noise.
    fn hash(x: usize, y: usize, z: usize) -> usize {
        ((x * 73_856_093) ^ (y * 19_349_663) ^ (z * 83_492_791)) >> 3
    }

    #[test]
    fn scans_pass() {
        check(&volume([20, 20, 20], |x, y, z| (hash(x, y, z) % 400) as f32)).unwrap();
        check(&volume([20, 20, 20], |x, y, z| (hash(x, y, z) % 4) as f32 / 4.0)).unwrap();
        // A scan of few grey levels with a blank background.
        check(&volume([20, 20, 20], |x, y, z| {
            if x < 10 { 0.0 } else { (hash(x, y, z) % 60) as f32 }
        }))
        .unwrap();
    }

    #[test]
    fn constants_and_slices_do_not() {
        let constant = check(&volume([3, 3, 3], |_, _, _| 4.5));
        assert_eq!(constant, Err(VolumeError::Constant { value: 4.5 }));
        let slice = check(&volume([30, 1, 30], |x, _, z| (x * z) as f32));
        assert_eq!(slice, Err(VolumeError::SingleSlice { shape: [30, 1, 30] }));
    }

    #[test]
    fn voxels_of_no_size_do_not() {
        let mut scan = volume([20, 20, 20], |x, y, z| (hash(x, y, z) % 400) as f32);
        scan.grid.affine[(1, 1)] = 1e-4;
        assert_eq!(
            check(&scan),
            Err(VolumeError::VoxelSize {
                spacing: [1.0, 1e-4, 1.0]
            })
        );
    }

    #[test]
    fn masks_do_not() {
        let binary = volume([20, 20, 20], |x, y, z| f32::from(u8::from(x * y + z > 100)));
        assert_eq!(check(&binary), Err(VolumeError::LooksLikeMask { labels: 2 }));
        // An atlas: 125 labels up to 5000, in blocks.
        let atlas = volume([50, 50, 50], |x, y, z| {
            (40 * (x / 10 + 5 * (y / 10) + 25 * (z / 10))) as f32
        });
        assert_eq!(check(&atlas), Err(VolumeError::LooksLikeMask { labels: 125 }));
    }
}
