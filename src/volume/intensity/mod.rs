//! Intensities as the network sees them. The trainer and the page use these same functions.

use super::Volume;

mod foreground;

pub use foreground::foreground;

/// Percentiles at which intensities are clipped.
pub const CLIP_PERCENT: [f64; 2] = [0.5, 99.5];

/// The percentiles (0 to 100, in any order) of some values, linearly interpolated between order statistics as numpy
/// does by default. `None` if there are no values.
#[must_use]
pub fn percentiles<const N: usize>(values: &[f32], percents: [f64; N]) -> Option<[f64; N]> {
    let mut values = values.to_vec();
    let last = values.len().checked_sub(1)?;
    Some(percents.map(|percent| {
        let rank = (percent / 100.0).clamp(0.0, 1.0) * last as f64;
        let below = rank.floor() as usize;
        let (_, &mut low, above) = values.select_nth_unstable_by(below, f32::total_cmp);
        let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
        f64::from(low) + (f64::from(high) - f64::from(low)) * (rank - below as f64)
    }))
}

/// Intensities for the network: clipped at the 0.5 and 99.5 percentiles of the foreground, then brought to zero mean
/// and unit standard deviation there. Outside the foreground they are exactly 0 (the foreground's mean), whatever the
/// scan, because any other constant would differ from scan to scan.
///
/// `foreground` has one entry a voxel. A foreground that is empty or constant gives all zeros.
#[must_use]
pub fn normalise(volume: &Volume, foreground: &[bool]) -> Vec<f32> {
    let inside: Vec<f32> = volume
        .data
        .iter()
        .zip(foreground)
        .filter(|(_, f)| **f)
        .map(|(v, _)| *v)
        .collect();
    let mut out = vec![0.0; volume.data.len()];
    let Some([low, high]) = percentiles(&inside, CLIP_PERCENT) else {
        return out;
    };
    let clip = |value: f32| f64::from(value).clamp(low, high);
    let n = inside.len() as f64;
    let mean = inside.iter().map(|&v| clip(v)).sum::<f64>() / n;
    let variance = inside.iter().map(|&v| (clip(v) - mean).powi(2)).sum::<f64>() / n;
    // Rounding leaves a constant image with a tiny spread, not always none.
    if variance.sqrt() <= 1e-6 * mean.abs().max(f64::MIN_POSITIVE) {
        return out;
    }
    let scale = 1.0 / variance.sqrt();
    for ((to, &value), &inside) in out.iter_mut().zip(&volume.data).zip(foreground) {
        if inside {
            *to = ((clip(value) - mean) * scale) as f32;
        }
    }
    out
}
