//! Voxel grids: a shape and where it lies in the world.

use nalgebra::{Matrix4, Point3};

/// A regular voxel grid in world space.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Number of voxels along each voxel axis (x, y, z).
    pub shape: [usize; 3],
    /// Voxel index (centre of voxel) to world millimetres, RAS+ (NIfTI's convention).
    pub affine: Matrix4<f64>,
}

impl Grid {
    /// Number of voxels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True if the grid holds no voxel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Voxel edge lengths in mm: the norms of the affine's columns.
    #[must_use]
    pub fn spacing(&self) -> [f64; 3] {
        [0, 1, 2].map(|c| self.affine.fixed_view::<3, 1>(0, c).norm())
    }

    /// Edge-to-edge lengths of the field of view along each voxel axis, in mm.
    #[must_use]
    pub fn extent(&self) -> [f64; 3] {
        let spacing = self.spacing();
        [0, 1, 2].map(|i| self.shape[i] as f64 * spacing[i])
    }

    /// Volume of one voxel in cubic millimetres.
    #[must_use]
    pub fn voxel_volume(&self) -> f64 {
        self.affine.fixed_view::<3, 3>(0, 0).determinant().abs()
    }

    /// World coordinates in mm of a (fractional) voxel index.
    #[must_use]
    pub fn world(&self, index: [f64; 3]) -> [f64; 3] {
        let p = self
            .affine
            .transform_point(&Point3::new(index[0], index[1], index[2]));
        [p.x, p.y, p.z]
    }
}
