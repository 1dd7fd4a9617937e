//! How good a probability map or mask is, measured against a reference mask. All arithmetic is f64.
//!
//! [`evaluate`] computes everything at once, with the settings it used; [`Ranking`] does so for one threshold after
//! another. Its parts stand alone:
//! [`Confusion`] counts voxels, [`PrCurve`] follows all thresholds, [`IsbiLesions`] and [`MssegLesions`] count
//! lesions as the two challenges do, [`Calibration`] compares probabilities with frequencies, and [`naive`] is
//! the bar that a network has to clear.
//!
//! # Empty denominators
//! A ratio whose denominator is zero (the sensitivity to lesions of a scan without lesions, say) has no value:
//! it is `None`, in JSON `null`, never 0, 1 or NaN. Averages over patients must leave it out and say so. The
//! exceptions are the ones that the MSSEG tool defines, see [`MssegLesions`].

mod calibration;
mod confusion;
mod curve;
mod error;
mod evaluation;
mod isbi;
mod msseg;
pub mod naive;

pub use calibration::{Calibration, CalibrationBin};
pub use confusion::Confusion;
pub use curve::{BestThreshold, PrCurve, PrPoint};
pub use error::MetricsError;
pub use evaluation::{Evaluation, Pair, Ranking, Settings, evaluate};
pub use isbi::IsbiLesions;
pub use msseg::{MssegLesions, MssegSettings};

/// `numerator / denominator`, or nothing if the denominator is zero.
fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator != 0.0).then(|| numerator / denominator)
}
