//! Which voxels belong to the patient.

use crate::volume::Volume;
use crate::volume::components::{Connectivity, label};

/// The patient's voxels: the brain if the scan was skull-stripped, else the head. One entry a voxel, x fastest.
///
/// - A scan with a *blanked* background (one exact value, 0 or the lowest, in large connected areas, as
///   skull-stripping and defacing leave it): every other voxel.
/// - Any other scan, with noise in the air: every voxel above Otsu's threshold between air and tissue. This is the
///   whole head, scalp included. No brain extraction is attempted here.
///
/// Of these the largest connected piece is kept, with its holes filled slice by slice (dark fluid, bone, air within
/// the head), slices being planes of the first two axes: axial ones in a conformed volume.
#[must_use]
pub fn foreground(volume: &Volume) -> Vec<bool> {
    let shape = volume.grid.shape;
    let mut mask: Vec<bool> = match blank_background(volume) {
        Some(blank) => volume.data.iter().map(|&v| v != blank).collect(),
        None => {
            let threshold = otsu(&volume.data);
            volume.data.iter().map(|&v| v > threshold).collect()
        }
    };
    keep_largest(&mut mask, shape);
    fill_slices(&mut mask, shape);
    mask
}

/// The background's value if the background was blanked: at least a tenth of the voxels have it, and they lie
/// together (noise that happens to be rounded to 0 does not).
fn blank_background(volume: &Volume) -> Option<f32> {
    let lowest = volume.data.iter().copied().min_by(f32::total_cmp)?;
    let count = |value: f32| volume.data.iter().filter(|&&v| v == value).count();
    let (blank, voxels) = [0.0, lowest]
        .map(|v| (v, count(v)))
        .into_iter()
        .max_by_key(|&(_, n)| n)?;
    if voxels * 10 < volume.data.len() {
        return None;
    }
    let rows = volume.data.chunks_exact(volume.grid.shape[0]);
    let (mut pairs, mut alike) = (0usize, 0usize);
    for pair in rows.flat_map(|row| row.windows(2)) {
        if pair[0] == blank {
            pairs += 1;
            alike += usize::from(pair[1] == blank);
        }
    }
    (alike as f64 > 0.95 * pairs as f64).then_some(blank)
}

/// Otsu's threshold (IEEE Trans. SMC 9, 1979) between two classes, from a histogram of 256 bins up to the 99th
/// percentile; what is brighter is counted there, so that a few very bright voxels do not use up the bins.
fn otsu(values: &[f32]) -> f32 {
    const BINS: usize = 256;
    let Some([low, high]) = super::percentiles(values, [0.0, 99.0]) else {
        return 0.0;
    };
    let width = (high - low) / BINS as f64;
    if width <= 0.0 {
        return low as f32;
    }
    let mut histogram = [0u64; BINS];
    for &value in values {
        let bin = ((f64::from(value) - low) / width) as usize;
        histogram[bin.min(BINS - 1)] += 1;
    }
    let total: f64 = values.len() as f64;
    let mean: f64 = histogram
        .iter()
        .enumerate()
        .map(|(i, &n)| i as f64 * n as f64)
        .sum::<f64>()
        / total;
    let (mut weight, mut sum, mut best) = (0.0, 0.0, (0.0, 0));
    for (i, &n) in histogram.iter().enumerate() {
        weight += n as f64 / total;
        sum += i as f64 * n as f64 / total;
        let between = if weight > 0.0 && weight < 1.0 {
            (mean * weight - sum).powi(2) / (weight * (1.0 - weight))
        } else {
            0.0
        };
        if between > best.0 {
            best = (between, i);
        }
    }
    (low + (best.1 as f64 + 1.0) * width) as f32
}

/// Keeps the largest piece of voxels that share faces.
fn keep_largest(mask: &mut [bool], shape: [usize; 3]) {
    let pieces = label(mask, shape, Connectivity::Six);
    let largest = pieces
        .sizes
        .iter()
        .enumerate()
        .max_by_key(|&(_, size)| size)
        .map(|(i, _)| i as u32 + 1);
    for (voxel, piece) in mask.iter_mut().zip(&pieces.labels) {
        *voxel = Some(*piece) == largest;
    }
}

/// Fills, in every plane of the first two axes, the gaps that do not reach the plane's border.
fn fill_slices(mask: &mut [bool], shape: [usize; 3]) {
    let [nx, ny, _] = shape;
    if nx * ny == 0 {
        return;
    }
    for slice in mask.chunks_exact_mut(nx * ny) {
        let gaps: Vec<bool> = slice.iter().map(|v| !v).collect();
        let gaps = label(&gaps, [nx, ny, 1], Connectivity::Six);
        let mut open = vec![false; gaps.count() + 1];
        for (i, &gap) in gaps.labels.iter().enumerate() {
            let (x, y) = (i % nx, i / nx);
            open[gap as usize] |= x == 0 || y == 0 || x + 1 == nx || y + 1 == ny;
        }
        for (voxel, &gap) in slice.iter_mut().zip(&gaps.labels) {
            *voxel |= gap != 0 && !open[gap as usize];
        }
    }
}
