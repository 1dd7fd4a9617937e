//! Three slices through a place, as numbers to be drawn: the scan in grey, a map over it.

use serde::{Deserialize, Serialize};

use crate::volume::Grid;
use crate::volume::slice::{Plane, Slice, nearest};

/// Percentiles of the values shown black and white.
const WINDOW_PERCENT: [f64; 2] = [0.5, 99.5];
/// Values that the window is estimated from, at most.
const WINDOW_SAMPLE: usize = 200_000;

/// One slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// What it is a picture of.
    pub about: About,
    /// The scan, 0 to 255, row by row from the top left.
    pub grey: Vec<u8>,
    /// The map, in its own unit; NaN where nothing is to be drawn.
    pub over: Vec<f32>,
}

/// Where a picture's pixels are in the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The plane.
    pub plane: Plane,
    /// Pixels across and down.
    pub size: [usize; 2],
    /// World millimetres of the first pixel's centre.
    pub origin: [f64; 3],
    /// World millimetres from a pixel to the next across, and to the next down.
    pub steps: [[f64; 3]; 2],
    /// Boxes to outline (tiles): left, top, width, height in pixels, counted from the edge of the first.
    pub boxes: Vec<[f64; 4]>,
}

impl About {
    /// Length and width of a pixel in mm, across and down.
    #[must_use]
    pub fn pixel_mm(&self) -> [f64; 2] {
        self.steps.map(|[x, y, z]| (x * x + y * y + z * z).sqrt())
    }

    /// World millimetres of a (fractional) pixel, by its centre.
    #[must_use]
    pub fn place(&self, [column, row]: [f64; 2]) -> [f64; 3] {
        [0, 1, 2].map(|i| self.origin[i] + column * self.steps[0][i] + row * self.steps[1][i])
    }

    /// The (fractional) pixel nearest to a place.
    #[must_use]
    pub fn pixel(&self, place: [f64; 3]) -> [f64; 2] {
        self.steps.map(|step| {
            let along: f64 = (0..3).map(|i| (place[i] - self.origin[i]) * step[i]).sum();
            let length: f64 = step.iter().map(|s| s * s).sum();
            if length > 0.0 { along / length } else { 0.0 }
        })
    }
}

/// The values that are shown black and white: percentiles of the values that are not 0, of a regular sample.
#[must_use]
pub fn window(values: &[f32]) -> [f32; 2] {
    let step = (values.len() / WINDOW_SAMPLE).max(1);
    let mut sample: Vec<f32> = values
        .iter()
        .copied()
        .step_by(step)
        .filter(|value| *value != 0.0 && value.is_finite())
        .collect();
    if sample.is_empty() {
        return [0.0, 1.0];
    }
    sample.sort_by(f32::total_cmp);
    let [low, high] = WINDOW_PERCENT.map(|percent| {
        let at = percent / 100.0 * (sample.len() - 1) as f64;
        sample[at.round() as usize]
    });
    if low < high { [low, high] } else { [low, low + 1.0] }
}

/// Draws the three planes through a place. `scan` gives the value of a voxel of `grid` by its index, and is shown in the window;
/// `map` gives the values over a slice, one a pixel.
#[must_use]
pub fn three_planes(
    grid: &Grid,
    scan: impl Fn(usize) -> f32,
    [low, high]: [f32; 2],
    place: [f64; 3],
    mut map: impl FnMut(&Slice) -> Vec<f32>,
    mut boxes: impl FnMut(&Slice) -> Vec<[f64; 4]>,
) -> [Picture; 3] {
    let unit = 255.0 / (high - low);
    Plane::ALL.map(|plane| {
        let slice = Slice::through(grid, plane, place);
        Picture {
            // The cast saturates, which is what a window does.
            grey: slice.values(|at| ((scan(at) - low) * unit) as u8),
            over: map(&slice),
            about: About {
                plane,
                size: slice.size,
                origin: slice.origin,
                steps: slice.steps,
                boxes: boxes(&slice),
            },
        }
    })
}

/// The centre of the voxel nearest to a place; of the grid without one.
#[must_use]
pub fn at_voxel(grid: &Grid, place: Option<[f64; 3]>) -> [f64; 3] {
    let middle = grid.shape.map(|n| (n.saturating_sub(1) / 2) as f64);
    match place {
        Some(place) => grid.world(nearest(grid, place).map(|index| index as f64)),
        None => grid.world(middle),
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;

    use super::*;

    #[test]
    fn a_window_leaves_air_and_outliers_out() {
        let mut values: Vec<f32> = (0..10_000_u16).map(f32::from).collect();
        values.extend([0.0; 50_000]);
        values.push(1e9);
        let [low, high] = window(&values);
        assert!(
            (low - 50.0).abs() <= 2.0 && (high - 9950.0).abs() <= 2.0,
            "{low} {high}"
        );
        assert_eq!(window(&[0.0, f32::NAN]), [0.0, 1.0]);
        assert_eq!(window(&[7.0, 7.0]), [7.0, 8.0]);
    }

    #[test]
    fn pixels_lead_to_places_and_back() {
        let grid = Grid {
            shape: [4, 5, 6],
            affine: Matrix4::new_nonuniform_scaling(&[1.0, 2.0, 3.0].into()),
        };
        let scan: Vec<f32> = (0..120_u8).map(f32::from).collect();
        let place = at_voxel(&grid, Some([1.2, 4.4, 8.0]));
        assert_eq!(place, [1.0, 4.0, 9.0]);
        let pictures = three_planes(
            &grid,
            |at| scan[at],
            [0.0, 255.0],
            place,
            |slice| slice.values(|at| at as f32),
            |_| Vec::new(),
        );
        for picture in &pictures {
            let about = &picture.about;
            let [column, row] = about.pixel(place);
            let there = about.place([column, row]);
            assert!((0..3).all(|i| (there[i] - place[i]).abs() < 1e-9), "{there:?}");
            let at = row.round() as usize * about.size[0] + column.round() as usize;
            let voxel: u8 = 1 + 4 * (2 + 5 * 3);
            assert_eq!((picture.grey[at], picture.over[at]), (voxel, f32::from(voxel)));
        }
        assert_eq!(pictures[0].about.pixel_mm(), [1.0, 2.0]);
        assert_eq!(pictures[2].about.pixel_mm(), [2.0, 3.0]);
    }
}
