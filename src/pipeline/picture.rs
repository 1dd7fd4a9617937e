//! A slice of a head as a picture, for small views where a viewer would be too much.

use super::Head;
use crate::volume::slice::{Plane, Slice};

/// Colours of the voxels that are in both masks, in the automatic one only, and in the reference only (RGB): yellow,
/// vermillion and sky blue of the Okabe-Ito palette, as in the page's comparison.
pub const COLOURS: [[u8; 3]; 3] = [[240, 228, 66], [213, 94, 0], [86, 180, 233]];

/// A slice as it is drawn: rows from the top, four bytes a pixel (red, green, blue, opacity).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `4 * width * height` bytes.
    pub rgba: Vec<u8>,
}

/// What is drawn over the FLAIR; one value a voxel of the head's grid.
#[derive(Clone, Copy, Debug)]
pub enum Over<'a> {
    /// The outline of a mask.
    Outline(&'a [bool]),
    /// Where an automatic mask and a reference agree and differ, in [`COLOURS`].
    Comparison {
        /// The automatic mask.
        found: &'a [bool],
        /// The reference.
        truth: &'a [bool],
    },
}

/// Intensities shown black and white. The head's are scaled by its tissue (median 0, see
/// [`normalise`](crate::volume::intensity::normalise)); these two show CSF dark and lesions bright.
const WINDOW: [f32; 2] = [-4.0, 5.0];

/// The slice of a head's FLAIR through a voxel.
#[must_use]
pub fn picture(head: &Head, plane: Plane, through: [usize; 3], over: Over<'_>) -> Picture {
    let grid = head.grid();
    let slice = Slice::through(grid, plane, grid.world(through.map(|index| index as f64)));
    let [width, height] = slice.size;
    let voxel = |column: usize, row: usize| {
        let [x, y, z] = slice.voxel(column, row);
        x + grid.shape[0] * (y + grid.shape[1] * z)
    };
    let inside = |mask: &[bool], column: usize, row: usize| mask.get(voxel(column, row)) == Some(&true);
    let edge = |mask: &[bool], column: usize, row: usize| {
        inside(mask, column, row)
            && (column == 0
                || row == 0
                || column + 1 == width
                || row + 1 == height
                || !inside(mask, column - 1, row)
                || !inside(mask, column + 1, row)
                || !inside(mask, column, row - 1)
                || !inside(mask, column, row + 1))
    };
    let mut rgba = Vec::with_capacity(4 * width * height);
    for row in 0..height {
        for column in 0..width {
            let value = head.flair()[voxel(column, row)];
            let bright = head.foreground()[voxel(column, row)] || value != 0.0;
            let share = (value - WINDOW[0]) / (WINDOW[1] - WINDOW[0]);
            // What is missing is 0 after normalising, which is grey; it is drawn as air.
            let grey = if bright {
                (255.0 * share.clamp(0.0, 1.0)) as u8
            } else {
                0
            };
            let colour = match over {
                Over::Outline(mask) => edge(mask, column, row).then_some([230, 159, 0]),
                Over::Comparison { found, truth } => {
                    match (inside(found, column, row), inside(truth, column, row)) {
                        (true, true) => Some(COLOURS[0]),
                        (true, false) => Some(COLOURS[1]),
                        (false, true) => Some(COLOURS[2]),
                        (false, false) => None,
                    }
                }
            };
            rgba.extend(colour.unwrap_or([grey; 3]));
            rgba.push(255);
        }
    }
    Picture { width, height, rgba }
}

/// For each axis the slice with most voxels of a mask; the middle one without any.
#[must_use]
pub fn fullest(shape: [usize; 3], mask: &[bool]) -> [usize; 3] {
    let mut counts = shape.map(|n| vec![0_usize; n]);
    for (i, _) in mask.iter().enumerate().filter(|(_, inside)| **inside) {
        let at = [i % shape[0], i / shape[0] % shape[1], i / shape[0] / shape[1]];
        for (counts, at) in counts.iter_mut().zip(at) {
            if let Some(count) = counts.get_mut(at) {
                *count += 1;
            }
        }
    }
    counts.map(|counts| {
        let most = counts.iter().copied().max().unwrap_or(0);
        if most == 0 {
            return counts.len() / 2;
        }
        counts.iter().position(|&count| count == most).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;

    use super::*;
    use crate::volume::Grid;

    const SHAPE: [usize; 3] = [5, 7, 6];

    /// Bright at one voxel of tissue.
    fn head(bright: [usize; 3]) -> Head {
        let grid = Grid {
            shape: SHAPE,
            affine: Matrix4::identity(),
        };
        let mut flair = vec![-4.0; grid.len()];
        flair[at(bright)] = 5.0;
        Head::new(grid, flair, None, vec![true; 210]).unwrap()
    }

    fn at([x, y, z]: [usize; 3]) -> usize {
        x + SHAPE[0] * (y + SHAPE[1] * z)
    }

    fn pixel(picture: &Picture, column: usize, row: usize) -> [u8; 3] {
        let from = 4 * (row * picture.width + column);
        [0, 1, 2].map(|i| picture.rgba[from + i])
    }

    #[test]
    fn a_voxel_lies_where_radiologists_look_for_it() {
        let bright = [1, 5, 4];
        let head = head(bright);
        let nothing = [false; 210];
        // (plane, size, column, row): the patient's right at the left, front and top at the top or left.
        for (plane, size, column, row) in [
            (Plane::Axial, (5, 7), 3, 1),
            (Plane::Coronal, (5, 6), 3, 1),
            (Plane::Sagittal, (7, 6), 1, 1),
        ] {
            let picture = picture(&head, plane, bright, Over::Outline(&nothing));
            assert_eq!((picture.width, picture.height), size);
            let white: Vec<(usize, usize)> = (0..picture.height)
                .flat_map(|row| (0..picture.width).map(move |column| (column, row)))
                .filter(|&(column, row)| pixel(&picture, column, row) == [255; 3])
                .collect();
            assert_eq!(white, [(column, row)], "{plane:?}");
        }
    }

    #[test]
    fn an_outline_leaves_the_inside_free_and_a_comparison_fills_it() {
        let head = head([0, 0, 0]);
        let mut mask = vec![false; 210];
        for (x, y) in (1..4).flat_map(|x| (2..5).map(move |y| (x, y))) {
            mask[at([x, y, 2])] = true;
        }
        let outline = picture(&head, Plane::Axial, [0, 0, 2], Over::Outline(&mask));
        let coloured = |picture: &Picture| {
            picture
                .rgba
                .as_chunks::<4>()
                .0
                .iter()
                .filter(|p| p[0] != p[1] || p[1] != p[2])
                .count()
        };
        assert_eq!(coloured(&outline), 8);
        let found: Vec<bool> = (0..210)
            .map(|i| i == at([1, 2, 2]) || i == at([0, 0, 2]))
            .collect();
        let compared = picture(
            &head,
            Plane::Axial,
            [0, 0, 2],
            Over::Comparison {
                found: &found,
                truth: &mask,
            },
        );
        assert_eq!(coloured(&compared), 10);
        assert_eq!(pixel(&compared, 3, 4), COLOURS[0]);
        assert_eq!(pixel(&compared, 4, 6), COLOURS[1]);
        assert_eq!(pixel(&compared, 2, 4), COLOURS[2]);
    }

    #[test]
    fn the_fullest_slices_are_found_and_an_empty_mask_has_the_middle() {
        let mut mask = vec![false; 210];
        for y in 1..5 {
            mask[at([3, y, 2])] = true;
        }
        mask[at([0, 6, 2])] = true;
        assert_eq!(fullest(SHAPE, &mask), [3, 1, 2]);
        assert_eq!(fullest(SHAPE, &[false; 210]), [2, 3, 3]);
    }
}
