//! How good a probability map or mask is, measured against a reference mask. All arithmetic is f64.
//!
//! [`evaluate`] computes everything at once, with the settings it used; [`Ranking`] does so for one threshold after
//! another. Its parts stand alone:
//! [`Confusion`] counts voxels, [`PrCurve`] follows all thresholds, [`IsbiLesions`] and [`MssegLesions`] count
//! lesions as the two challenges do, [`BySize`] does so by their size, [`confusions_at`] counts voxels at several
//! thresholds, [`Calibration`] compares probabilities with frequencies, and [`naive`] is the bar that a network has
//! to clear.
//!
//! # Empty denominators
//! A ratio whose denominator is zero (the sensitivity to lesions of a scan without lesions, say) has no value:
//! it is `None`, in JSON `null`, never 0, 1 or NaN. Averages over patients must leave it out and say so. The
//! exceptions are the ones that the MSSEG tool defines, see [`MssegLesions`].

mod band;
mod calibration;
mod confusion;
mod curve;
mod error;
mod evaluation;
mod isbi;
mod msseg;
pub mod naive;
mod sizes;
mod thresholds;

pub use band::Band;
pub use calibration::{Calibration, CalibrationBin};
pub use confusion::Confusion;
pub use curve::{BestThreshold, PrCurve, PrPoint};
pub use error::MetricsError;
pub use evaluation::{Evaluation, Pair, Ranking, Settings, evaluate};
pub use isbi::IsbiLesions;
pub use msseg::{MssegLesions, MssegSettings};
pub use sizes::{BySize, Found, SIZE_CLASSES_MM3, SizeClass, found_lesions};
pub use thresholds::confusions_at;

/// `numerator / denominator`, or nothing if the denominator is zero.
fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator != 0.0).then(|| numerator / denominator)
}
