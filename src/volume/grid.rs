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

/// Grids are the same if their corners lie within this distance in mm of each other.
const SAME_MM: f64 = 0.01;

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

    /// True if both have the same shape and their corners lie at the same places, but for rounding in a header.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let apart = |corner: usize| {
            let index = [0, 1, 2].map(|axis| {
                if corner >> axis & 1 == 1 {
                    self.shape[axis] as f64
                } else {
                    0.0
                }
            });
            let (p, q) = (self.world(index), other.world(index));
            (0..3).any(|axis| (p[axis] - q[axis]).abs() > SAME_MM)
        };
        self.shape == other.shape && !(0..8).any(apart)
    }
}
