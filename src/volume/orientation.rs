//! Which way the voxel axes of a grid run, and turning a volume so that they run to RAS+.

use nalgebra::Matrix4;

use super::{Grid, Volume};

/// For each voxel axis the world axis it runs along, and in which sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Orientation {
    /// World axis (0 = left-right, 1 = posterior-anterior, 2 = inferior-superior) of each voxel axis.
    pub world: [usize; 3],
    /// True where the voxel axis runs against the world axis (towards left, posterior, inferior).
    pub flip: [bool; 3],
}

const PERMUTATIONS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

impl Orientation {
    /// Voxel axes that run to right, anterior, superior in this order.
    pub const RAS: Self = Self {
        world: [0, 1, 2],
        flip: [false; 3],
    };

    /// The orientation of the grid with this voxel-to-world affine.
    ///
    /// Of the 48 signed permutations the one with the largest sum of direction cosines is chosen, as
    /// `nifti_mat44_to_orientation` of the NIfTI C library does; it agrees with nibabel's `aff2axcodes` for every
    /// affine that is not close to 45 degrees oblique.
    #[must_use]
    pub fn of(affine: &Matrix4<f64>) -> Self {
        let cosine = |voxel: usize, world: usize| {
            let norm = affine.fixed_view::<3, 1>(0, voxel).norm();
            if norm > 0.0 {
                affine[(world, voxel)] / norm
            } else {
                0.0
            }
        };
        let mut best = (f64::NEG_INFINITY, [0, 1, 2]);
        for world in PERMUTATIONS {
            let sum: f64 = (0..3).map(|v| cosine(v, world[v]).abs()).sum();
            // A tie keeps the earlier permutation in spite of rounding.
            if sum > best.0 + 1e-9 {
                best = (sum, world);
            }
        }
        let world = best.1;
        Self {
            world,
            flip: [0, 1, 2].map(|v| cosine(v, world[v]) < 0.0),
        }
    }

    /// Three letters for the directions in which the voxel axes run, for example `LAS`.
    #[must_use]
    pub fn code(&self) -> String {
        let letters = [['R', 'L'], ['A', 'P'], ['S', 'I']];
        (0..3)
            .map(|v| letters[self.world[v]][usize::from(self.flip[v])])
            .collect()
    }

    /// The voxel axis that runs along each world axis, and whether it runs against it.
    pub(super) fn by_world(&self) -> [(usize, bool); 3] {
        let mut axes = [(0, false); 3];
        for voxel in 0..3 {
            axes[self.world[voxel]] = (voxel, self.flip[voxel]);
        }
        axes
    }
}

impl Grid {
    /// The same voxels with other axes: axis `i` of the answer is axis `axes[i].0` of this grid, backwards if
    /// `axes[i].1`. The affine is changed so that every voxel stays where it is in the world.
    #[must_use]
    pub fn with_axes(&self, axes: [(usize, bool); 3]) -> Self {
        let mut affine = self.affine;
        let mut origin = self.affine.column(3).into_owned();
        for (i, (axis, backwards)) in axes.into_iter().enumerate() {
            let column = self.affine.column(axis);
            if backwards {
                origin += column * (self.shape[axis] as f64 - 1.0);
            }
            affine.set_column(i, &(column * if backwards { -1.0 } else { 1.0 }));
        }
        affine.set_column(3, &origin);
        Self {
            shape: axes.map(|(axis, _)| self.shape[axis]),
            affine,
        }
    }
}

impl Volume {
    /// The same voxels in another order ([`Grid::with_axes`]): values are moved, never interpolated.
    #[must_use]
    pub fn with_axes(&self, axes: [(usize, bool); 3]) -> Self {
        let grid = self.grid.with_axes(axes);
        let data = permute(&self.data, self.grid.shape, axes);
        Self { grid, data }
    }

    /// The same voxels with axes that run closest to right, anterior, superior.
    #[must_use]
    pub fn to_closest_ras(&self) -> Self {
        self.with_axes(Orientation::of(&self.grid.affine).by_world())
    }
}

/// Moves values (x fastest, `shape`) so that axis `i` of the answer is axis `axes[i].0`, backwards if `axes[i].1`.
pub(super) fn permute<T: Copy>(data: &[T], shape: [usize; 3], axes: [(usize, bool); 3]) -> Vec<T> {
    let strides = [1, shape[0], shape[0] * shape[1]];
    let mut start = 0isize;
    let mut step = [0isize; 3];
    let mut size = [0usize; 3];
    for (i, (axis, backwards)) in axes.into_iter().enumerate() {
        let stride = strides[axis] as isize;
        size[i] = shape[axis];
        if backwards {
            start += stride * (size[i] as isize - 1);
        }
        step[i] = if backwards { -stride } else { stride };
    }
    let mut out = Vec::with_capacity(data.len());
    for z in 0..size[2] as isize {
        for y in 0..size[1] as isize {
            let row = start + z * step[2] + y * step[1];
            out.extend((0..size[0] as isize).map(|x| data[(row + x * step[0]) as usize]));
        }
    }
    out
}
