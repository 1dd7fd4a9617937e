//! Intensities as the network sees them. The trainer and the page use these same functions.

pub mod atlas;
mod bias;
mod brain;
mod foreground;
mod hyperintensity;
mod normalise;
mod scene;

pub use bias::even_out;
pub use foreground::{Foreground, ForegroundKind, foreground};
pub use hyperintensity::{hyperintensity, weigh};
pub use normalise::{LIMIT, normalise, tissue};
pub use scene::Scene;

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
