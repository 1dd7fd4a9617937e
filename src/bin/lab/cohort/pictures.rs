//! What a network marked beside what is right, for a look.

use super::score::Truth;
use equipoise::learn::preview::Sheet;
use equipoise::pipeline::picture::{Over, picture};
use equipoise::pipeline::{Head, Prepared};
use equipoise::volume::Volume;
use equipoise::volume::resample::{Interpolation, resample};
use equipoise::volume::slice::Plane;

type Problem = Box<dyn std::error::Error>;

/// Slices that are shown, and the least distance between them in voxels of 1 mm.
const SLICES: usize = 4;
const APART: usize = 8;

/// Pixels of the picture for one of a slice, and between two slices.
const SCALE: usize = 2;
const GAP: usize = 8;

/// The axial slices with most wrong voxels, from below, at threshold 0.5, in the colours of the page's comparison: yellow is in both, vermillion only the
/// network's, blue only the rater's. A PNG.
pub(super) fn sheet(prepared: &Prepared, probability: &Volume, truth: &Truth) -> Result<Vec<u8>, Problem> {
    let head = &prepared.head;
    let on_head = |volume: &Volume| -> Result<Vec<bool>, Problem> {
        let placed = resample(volume, head.grid(), Interpolation::Linear, 0.0)?;
        Ok(placed.data.iter().map(|v| *v >= 0.5).collect())
    };
    let found = on_head(probability)?;
    let truth = on_head(&truth.volume())?;
    let pictures: Vec<_> = slices(head, &found, &truth)
        .into_iter()
        .map(|z| {
            let over = Over::Comparison {
                found: &found,
                truth: &truth,
            };
            picture(head, Plane::Axial, [0, 0, z], over)
        })
        .collect();
    let width = pictures.iter().map(|p| p.width * SCALE + GAP).sum::<usize>();
    let height = pictures.iter().map(|p| p.height * SCALE).max().unwrap_or(0);
    let mut sheet = Sheet::new(width.saturating_sub(GAP).max(1), height.max(1));
    let mut left = 0;
    for picture in &pictures {
        sheet.paste((left, 0), picture.width, &picture.rgba, SCALE);
        left += picture.width * SCALE + GAP;
    }
    let mut png = Vec::new();
    sheet.write(&mut png)?;
    Ok(png)
}

/// The axial slices in which the masks differ most, apart from one another, ascending.
fn slices(head: &Head, found: &[bool], truth: &[bool]) -> Vec<usize> {
    let [nx, ny, nz] = head.grid().shape;
    let plane = nx * ny;
    let wrong = |z: usize| {
        let range = z * plane..(z + 1) * plane;
        let pairs = found[range.clone()].iter().zip(&truth[range]);
        pairs.filter(|(a, b)| a != b).count()
    };
    let mut by_wrong: Vec<(usize, usize)> = (0..nz).map(|z| (wrong(z), z)).collect();
    by_wrong.sort_by_key(|(wrong, _)| std::cmp::Reverse(*wrong));
    let mut chosen: Vec<usize> = Vec::new();
    for (_, z) in by_wrong {
        if chosen.len() < SLICES && chosen.iter().all(|c| c.abs_diff(z) >= APART) {
            chosen.push(z);
        }
    }
    chosen.sort_unstable();
    chosen
}
