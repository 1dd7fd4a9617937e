//! Slices through a volume as they are looked at: front or top of the patient up, the patient's left on the right.

use serde::{Deserialize, Serialize};

use super::{Grid, Orientation};

/// A plane through the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Plane {
    /// From below: left is on the right of the picture, front is up.
    Axial,
    /// From the front: left is on the right of the picture, top is up.
    Coronal,
    /// From the left: front is on the left of the picture, top is up.
    Sagittal,
}

impl Plane {
    /// All three, in the order in which to show them.
    pub const ALL: [Self; 3] = [Self::Axial, Self::Coronal, Self::Sagittal];

    /// World axis across the picture, world axis up the picture, world axis through it.
    fn axes(self) -> [usize; 3] {
        match self {
            Self::Axial => [0, 1, 2],
            Self::Coronal => [0, 2, 1],
            Self::Sagittal => [1, 2, 0],
        }
    }
}

/// Where a slice's pixels lie: in the volume and in the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// Pixels across and down.
    pub size: [usize; 2],
    /// World millimetres of the first pixel's centre (top left).
    pub origin: [f64; 3],
    /// World millimetres from a pixel to the next across, and to the next down.
    pub steps: [[f64; 3]; 2],
    /// Voxel of the first pixel, and steps in voxel indices across and down.
    first: [usize; 3],
    voxel_steps: [(usize, bool); 2],
    shape: [usize; 3],
}

impl Slice {
    /// The slice that holds a place; a place outside the volume takes the nearest slice. The axes are the volume's own, each
    /// shown as the world axis it runs closest along.
    #[must_use]
    pub fn through(grid: &Grid, plane: Plane, place_mm: [f64; 3]) -> Self {
        let at = nearest(grid, place_mm);
        let by_world = Orientation::of(&grid.affine).by_world();
        let [across, up, through] = plane.axes().map(|world| by_world[world]);
        // Left to right on the screen: from the patient's right to the left, or from front to back, against the world axis.
        let across = (across.0, !across.1);
        let down = (up.0, !up.1);
        let mut first = [0; 3];
        first[through.0] = at[through.0];
        for (axis, backwards) in [across, down] {
            first[axis] = if backwards {
                grid.shape[axis].saturating_sub(1)
            } else {
                0
            };
        }
        let step = |(axis, backwards): (usize, bool)| {
            let sign = if backwards { -1.0 } else { 1.0 };
            [0, 1, 2].map(|row| grid.affine[(row, axis)] * sign)
        };
        Self {
            size: [grid.shape[across.0], grid.shape[down.0]],
            origin: grid.world(first.map(|index| index as f64)),
            steps: [step(across), step(down)],
            first,
            voxel_steps: [across, down],
            shape: grid.shape,
        }
    }

    /// The voxel of a pixel.
    #[must_use]
    pub fn voxel(&self, column: usize, row: usize) -> [usize; 3] {
        let mut voxel = self.first;
        for ((axis, backwards), by) in self.voxel_steps.into_iter().zip([column, row]) {
            voxel[axis] = if backwards {
                voxel[axis] - by
            } else {
                voxel[axis] + by
            };
        }
        voxel
    }

    /// The values of its pixels, row by row, from a volume on the same grid.
    pub fn values<T>(&self, mut of: impl FnMut(usize) -> T) -> Vec<T> {
        let [nx, ny, _] = self.shape;
        let [columns, rows] = self.size;
        let mut values = Vec::with_capacity(columns * rows);
        for row in 0..rows {
            for column in 0..columns {
                let [x, y, z] = self.voxel(column, row);
                values.push(of(x + nx * (y + ny * z)));
            }
        }
        values
    }

    /// The box of voxels it is: first voxel and size.
    #[must_use]
    pub fn voxels(&self) -> ([usize; 3], [usize; 3]) {
        let (mut from, mut size) = (self.first, [1; 3]);
        for ((axis, _), count) in self.voxel_steps.into_iter().zip(self.size) {
            from[axis] = 0;
            size[axis] = count;
        }
        (from, size)
    }

    /// The pixel of a voxel (fractional, by its centre), as `[column, row]`.
    #[must_use]
    pub fn pixel(&self, voxel: [f64; 3]) -> [f64; 2] {
        [0, 1].map(|i| {
            let (axis, backwards) = self.voxel_steps[i];
            let along = voxel[axis] - self.first[axis] as f64;
            if backwards { -along } else { along }
        })
    }

    /// Voxel axis that runs through the slice, and the index along it.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        let axis = 3 - self.voxel_steps[0].0 - self.voxel_steps[1].0;
        (axis, self.first[axis])
    }
}

/// The voxel nearest to a place; the closest of the volume's if it lies outside.
#[must_use]
pub fn nearest(grid: &Grid, place_mm: [f64; 3]) -> [usize; 3] {
    let Some(inverse) = grid.affine.try_inverse() else {
        return [0; 3];
    };
    let [x, y, z] = place_mm;
    let index = inverse.transform_point(&nalgebra::Point3::new(x, y, z));
    [0, 1, 2].map(|axis| {
        let last = grid.shape[axis].saturating_sub(1) as f64;
        index[axis].round().clamp(0.0, last) as usize
    })
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;
    use proptest::prelude::*;

    use super::*;

    fn grid(shape: [usize; 3], axes: [usize; 3], flip: [bool; 3]) -> Grid {
        let mut affine = Matrix4::zeros();
        for voxel in 0..3 {
            affine[(axes[voxel], voxel)] = if flip[voxel] { -1.5 } else { 2.0 };
        }
        affine[(0, 3)] = 7.0;
        affine[(1, 3)] = -3.0;
        affine[(3, 3)] = 1.0;
        Grid { shape, affine }
    }

    proptest! {
        /// However a scan is stored: going right in a picture goes to the patient's left (or back), going down goes back or
        /// down, and pixels, voxels and places agree.
        #[test]
        fn pictures_are_the_right_way_up(
            shape in prop::array::uniform3(2_usize..7),
            axes in prop::sample::select(vec![[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]),
            flip: [bool; 3],
            voxel in prop::array::uniform3(0.0_f64..1.0),
        ) {
            let grid = grid(shape, axes, flip);
            let at = [0, 1, 2].map(|a| (voxel[a] * shape[a] as f64) as usize);
            let place = grid.world(at.map(|i| i as f64));
            prop_assert_eq!(nearest(&grid, place), at);
            for (plane, left, down) in [(Plane::Axial, 0, 1), (Plane::Coronal, 0, 2), (Plane::Sagittal, 1, 2)] {
                let slice = Slice::through(&grid, plane, place);
                prop_assert!(slice.steps[0][left] < 0.0);
                prop_assert!(slice.steps[1][down] < 0.0);
                let [column, row] = slice.pixel(at.map(|i| i as f64));
                prop_assert_eq!(slice.voxel(column as usize, row as usize), at);
                for (i, expected) in place.iter().enumerate() {
                    let there = slice.origin[i] + column * slice.steps[0][i] + row * slice.steps[1][i];
                    prop_assert!((there - expected).abs() < 1e-9);
                }
                let index = at[0] + shape[0] * (at[1] + shape[1] * at[2]);
                let values = slice.values(|i| i);
                prop_assert_eq!(values[row as usize * slice.size[0] + column as usize], index);
                let (from, size) = slice.voxels();
                prop_assert_eq!(size.iter().product::<usize>(), values.len());
                prop_assert!((0..3).all(|a| (from[a]..from[a] + size[a]).contains(&at[a])));
                let (axis, depth) = slice.depth();
                prop_assert_eq!((size[axis], depth), (1, at[axis]));
            }
        }
    }

    #[test]
    fn a_place_outside_takes_the_nearest_slice() {
        let grid = grid([3, 4, 5], [0, 1, 2], [false; 3]);
        assert_eq!(nearest(&grid, [1e9, -1e9, 0.0]), [2, 0, 0]);
        assert_eq!(nearest(&grid, [f64::NAN; 3]), [0, 0, 0]);
    }
}
