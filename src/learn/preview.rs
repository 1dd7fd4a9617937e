//! Contact sheets: what the network is fed, for people to look at.

use super::augment::patch::Patch;
use super::case::Case;
use super::field::{self, Shape};
use std::io::Write;

/// Grey level of pixels between the pictures.
const GAP: [u8; 3] = [40, 40, 60];

/// Whether a pixel lies in a mask, by column and row.
type Inside<'a> = dyn Fn(usize, usize) -> bool + 'a;

/// A mask and its colour.
type Outline<'a> = (&'a Inside<'a>, [u8; 3]);

/// Colour of lesions.
const LESION: [u8; 3] = [255, 40, 40];

/// Colour of what is unknown.
const UNKNOWN: [u8; 3] = [70, 150, 255];

/// An RGB picture under construction.
#[derive(Clone, Debug)]
pub struct Sheet {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Sheet {
    /// An empty sheet.
    #[must_use]
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: GAP.repeat(width * height),
        }
    }

    /// Draws a slice with its top left corner at `(left, top)`: image values from `window[0]` (black) to `window[1]` (white), and the
    /// outlines of the masks in their colours, the first over the others. `rows` of `columns` values, the last row on top (anterior or superior up).
    fn draw(
        &mut self,
        (left, top): (usize, usize),
        [columns, rows]: [usize; 2],
        window: [f32; 2],
        value: impl Fn(usize, usize) -> f32,
        masks: &[Outline<'_>],
    ) {
        for y in 0..rows.min(self.height.saturating_sub(top)) {
            for x in 0..columns.min(self.width.saturating_sub(left)) {
                let row = rows - 1 - y;
                let share = (value(x, row) - window[0]) / (window[1] - window[0]);
                let grey = (255.0 * share.clamp(0.0, 1.0)) as u8;
                let edge = |inside: &Inside<'_>| {
                    inside(x, row)
                        && (x == 0
                            || row == 0
                            || x + 1 == columns
                            || row + 1 == rows
                            || !inside(x - 1, row)
                            || !inside(x + 1, row)
                            || !inside(x, row - 1)
                            || !inside(x, row + 1))
                };
                let outline = masks.iter().find(|(inside, _)| edge(inside));
                let colour = outline.map_or([grey; 3], |(_, colour)| *colour);
                let at = 3 * ((top + y) * self.width + left + x);
                self.pixels[at..at + 3].copy_from_slice(&colour);
            }
        }
    }

    /// Draws a picture of rows from the top, four bytes a pixel (red, green, blue, opacity, which is not looked at), every pixel `scale` pixels
    /// wide and high, with its top left corner at `(left, top)`. What does not fit is cut off.
    pub fn paste(&mut self, (left, top): (usize, usize), width: usize, rgba: &[u8], scale: usize) {
        for (index, pixel) in rgba.chunks_exact(4).enumerate() {
            let (x, y) = (left + index % width * scale, top + index / width * scale);
            for row in y..(y + scale).min(self.height) {
                for column in x..(x + scale).min(self.width) {
                    let at = 3 * (row * self.width + column);
                    self.pixels[at..at + 3].copy_from_slice(&pixel[..3]);
                }
            }
        }
    }

    /// Writes the sheet as PNG.
    ///
    /// # Errors
    /// [`png::EncodingError`] if the writer fails.
    pub fn write(&self, writer: impl Write) -> Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(writer, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header()?.write_image_data(&self.pixels)
    }
}

/// Intensities shown, in standard deviations of the head.
const WINDOW: [f32; 2] = [-2.5, 3.5];

/// The three central slices (axial, coronal, sagittal) of a field, next to each other.
fn planes(shape: Shape, at: [usize; 3]) -> [([usize; 2], impl Fn(usize, usize) -> usize); 3] {
    let [nx, ny, nz] = shape;
    [(0_usize, [nx, ny]), (1, [nx, nz]), (2, [ny, nz])].map(|(plane, size)| {
        (size, move |u: usize, v: usize| {
            let voxel = match plane {
                0 => [u, v, at[2]],
                1 => [u, at[1], v],
                _ => [at[0], u, v],
            };
            field::index(shape, voxel)
        })
    })
}

/// One row a patch: FLAIR with the outlines of lesions (red) and of what is unknown (blue), FLAIR, T1, each in axial, coronal and sagittal planes through the centre of the
/// patch's lesion voxels (its own centre if it has none).
#[must_use]
pub fn patches(patches: &[Patch], columns: usize) -> Sheet {
    let side = patches.iter().map(|p| p.side).max().unwrap_or(1);
    let cell = side + 2;
    let columns = columns.clamp(1, patches.len().max(1));
    let mut sheet = Sheet::new(columns * (9 * cell + 6), patches.len().div_ceil(columns) * cell);
    for (i, patch) in patches.iter().enumerate() {
        let shape = [patch.side; 3];
        let n = field::len(shape);
        let at = busiest(&patch.label, shape);
        let (left, top) = ((i % columns) * (9 * cell + 6), (i / columns) * cell);
        for (k, (size, index)) in planes(shape, at).iter().enumerate() {
            let inside = |u, v| patch.label[index(u, v)] > 0.5;
            let unknown = |u, v| patch.label[index(u, v)] < 0.0;
            let outlines: [Outline<'_>; 2] = [(&inside, LESION), (&unknown, UNKNOWN)];
            for (j, (channel, outlined)) in [(0, true), (0, false), (1, false)].into_iter().enumerate() {
                let value = |u, v| patch.image[channel * n + index(u, v)];
                let masks = if outlined { &outlines[..] } else { &[] };
                sheet.draw((left + (3 * k + j) * cell, top), *size, WINDOW, value, masks);
            }
        }
    }
    sheet
}

/// The voxel through whose planes most lesion is seen: per axis the slice with the most lesion voxels.
fn busiest(label: &[f32], shape: Shape) -> [usize; 3] {
    let mut counts = shape.map(|n| vec![0_usize; n]);
    for (i, _) in label.iter().enumerate().filter(|(_, l)| **l > 0.5) {
        let v = field::voxel(shape, i);
        for a in 0..3 {
            counts[a][v[a]] += 1;
        }
    }
    [0, 1, 2].map(|a| {
        let best = counts[a].iter().enumerate().max_by_key(|(_, n)| **n);
        best.filter(|(_, n)| **n > 0).map_or(shape[a] / 2, |(i, _)| i)
    })
}

/// One row a case: axial, coronal and sagittal planes with outline, without, and of T1.
#[must_use]
pub fn cases(cases: &[&Case]) -> Sheet {
    let extent = |a: usize| cases.iter().map(|c| c.shape[a]).max().unwrap_or(1);
    let [nx, ny, nz] = [0, 1, 2].map(extent);
    let widths = [nx, nx, ny].map(|w| w + 2);
    let height = ny.max(nz) + 2;
    let mut sheet = Sheet::new(3 * widths.iter().sum::<usize>(), cases.len() * height);
    for (i, case) in cases.iter().enumerate() {
        let label: Vec<f32> = case.lesions.iter().map(|l| f32::from(u8::from(*l))).collect();
        let at = busiest(&label, case.shape);
        let mut left = 0;
        for ((size, index), width) in planes(case.shape, at).iter().zip(widths) {
            let inside = |u, v| case.lesions[index(u, v)];
            let unknown = |u, v| case.unknown[index(u, v)];
            let outlines: [Outline<'_>; 2] = [(&inside, LESION), (&unknown, UNKNOWN)];
            for (channel, outlined) in [(0, true), (0, false), (1, false)] {
                let value = |u, v| case.images[channel][index(u, v)];
                let masks = if outlined { &outlines[..] } else { &[] };
                sheet.draw((left, i * height), *size, WINDOW, value, masks);
                left += width;
            }
        }
    }
    sheet
}
