//! How much a voxel's vote counts by its place in the patch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A voting window: the weight of a patch's voxels in the fusion.
///
/// A network sees less context at a patch's border, so votes near the border should count less. All windows are
/// symmetric and positive everywhere: no voxel of a patch is ever without a vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// Second-order spline (`method.md` 5.1); neighbouring windows sum to a constant at 50 % and 75 % overlap.
    #[default]
    Bspline,
    /// MONAI's Gaussian: `sigma = side / 8`, the 3-D product clamped from below at `max(minimum, 1e-3)`.
    Gaussian,
    /// Every voxel counts the same.
    Uniform,
}

/// Standard deviation of [`Window::Gaussian`] as a fraction of the side (MONAI's `sigma_scale`).
const GAUSSIAN_SIGMA: f64 = 0.125;

/// Smallest 3-D weight of [`Window::Gaussian`] relative to its peak of 1 (MONAI's clamp).
const GAUSSIAN_FLOOR: f64 = 1e-3;

impl Window {
    /// Every window, in the order in which to offer them.
    pub const ALL: [Self; 3] = [Self::Bspline, Self::Gaussian, Self::Uniform];

    /// The name that files, messages and the command line use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bspline => "bspline",
            Self::Gaussian => "gaussian",
            Self::Uniform => "uniform",
        }
    }

    /// The one-dimensional window of `side` values as it is defined, before any normalisation (peak at most 1).
    ///
    /// For [`Window::Bspline`] with `t` the triangular window (`scipy.signal.windows.triang`):
    /// `2 t^2` where `t <= 1/2`, else `1 - 2 (1 - t)^2`. For an even side `t_i = (2 i + 1) / side`, so that
    /// `w_i + w_{i + side/2} = 1`; an odd side has `t_i = 2 (i + 1) / (side + 1)`.
    #[must_use]
    pub fn profile(self, side: usize) -> Vec<f64> {
        let n = side as f64;
        (0..side)
            .map(|i| {
                // Both ends alike, so that the window is symmetric to the last bit.
                let from_end = i.min(side - 1 - i) as f64;
                match self {
                    Self::Bspline => {
                        let t = if side.is_multiple_of(2) {
                            (2.0 * from_end + 1.0) / n
                        } else {
                            2.0 * (from_end + 1.0) / (n + 1.0)
                        };
                        if t <= 0.5 {
                            2.0 * t * t
                        } else {
                            1.0 - 2.0 * (1.0 - t) * (1.0 - t)
                        }
                    }
                    Self::Gaussian => {
                        let x = (n - 1.0) / 2.0 - from_end;
                        let sigma = GAUSSIAN_SIGMA * n;
                        (-x * x / (2.0 * sigma * sigma)).exp()
                    }
                    Self::Uniform => 1.0,
                }
            })
            .collect()
    }

    /// The window for patches of `side` voxels, normalised so that the axis weights have a mean of 1.
    #[must_use]
    pub fn weights(self, side: usize) -> Weights {
        let mut axis = self.profile(side);
        let smallest = axis.iter().copied().fold(f64::INFINITY, f64::min);
        let mean = axis.iter().sum::<f64>() / side.max(1) as f64;
        for w in &mut axis {
            *w /= mean;
        }
        let floor = match self {
            Self::Gaussian if side > 0 => smallest.powi(3).max(GAUSSIAN_FLOOR) / mean.powi(3),
            _ => 0.0,
        };
        Weights { axis, floor }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A window's name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no voting window. Choose bspline, gaussian or uniform.")]
pub struct UnknownWindow(String);

impl FromStr for Window {
    type Err = UnknownWindow;

    fn from_str(name: &str) -> Result<Self, UnknownWindow> {
        Self::ALL
            .into_iter()
            .find(|w| w.name() == name)
            .ok_or_else(|| UnknownWindow(name.to_owned()))
    }
}

/// A 3-D window kept as its one-dimensional factor: `W(x, y, z) = max(w_x w_y w_z, floor)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    axis: Vec<f64>,
    floor: f64,
}

impl Weights {
    /// The one-dimensional weights, one per voxel of the side, mean 1.
    #[must_use]
    pub fn axis(&self) -> &[f64] {
        &self.axis
    }

    /// The smallest 3-D weight; 0 unless the window is clamped from below.
    ///
    /// MONAI clamps the product, not its factors, which is why the floor stands beside them.
    #[must_use]
    pub fn floor(&self) -> f64 {
        self.floor
    }

    /// The weights as a vote multiplies them, on whatever device.
    #[must_use]
    pub fn rounded(&self) -> Rounded {
        let side = self.axis.len();
        Rounded {
            x: self.axis.iter().map(|&w| w as f32).collect(),
            yz: (0..side * side)
                .map(|i| (self.axis[i % side] * self.axis[i / side]) as f32)
                .collect(),
            floor: self.floor as f32,
        }
    }
}

/// [`Weights`] in f32: the weight of a voxel is `max(x w, floor)` with `w` of its row, multiplied in f32. All who vote
/// round alike, so that the host knows the weights behind sums that a device made.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounded {
    x: Vec<f32>,
    yz: Vec<f32>,
    floor: f32,
}

impl Rounded {
    /// Side of the window in voxels.
    #[must_use]
    pub fn side(&self) -> usize {
        self.x.len()
    }

    /// Weights along x, `side` of them.
    #[must_use]
    pub fn x(&self) -> &[f32] {
        &self.x
    }

    /// Weights of the rows, `side^2` of them, y fastest.
    #[must_use]
    pub fn yz(&self) -> &[f32] {
        &self.yz
    }

    /// The smallest weight.
    #[must_use]
    pub fn floor(&self) -> f32 {
        self.floor
    }

    /// The weights of `count` voxels from `x` on in the row `(y, z)`.
    pub fn row(&self, x: usize, count: usize, y: usize, z: usize) -> impl Iterator<Item = f32> {
        let (of_row, floor) = (self.yz[y + self.side() * z], self.floor);
        self.x[x..x + count].iter().map(move |&w| (of_row * w).max(floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spline_has_the_published_values() {
        let w = Window::Bspline.profile(64);
        assert!((w[0] - 4.88e-4).abs() < 5e-7, "{}", w[0]);
        assert!((w[15] - 0.4692).abs() < 5e-5, "{}", w[15]);
        assert!((w[16] - 0.5308).abs() < 5e-5, "{}", w[16]);
        let top = w.iter().copied().fold(0.0, f64::max);
        assert!((top - 0.9995).abs() < 5e-5, "{top}");
        let mean = w.iter().sum::<f64>() / 64.0;
        assert!((mean - 0.5).abs() < 1e-15, "{mean}");
    }

    #[test]
    fn the_spline_is_a_partition_of_unity() {
        for side in [2, 4, 6, 10, 16, 18, 32, 48, 64, 66, 96, 128] {
            let w = Window::Bspline.profile(side);
            for i in 0..side / 2 {
                let sum = w[i] + w[i + side / 2];
                assert!((sum - 1.0).abs() < 1e-14, "side {side}, voxel {i}: {sum}");
            }
        }
    }

    #[test]
    fn the_spline_sums_to_two_at_75_percent() {
        for side in [4, 8, 12, 16, 32, 48, 64, 96, 128] {
            let w = Window::Bspline.profile(side);
            for i in 0..side / 4 {
                let sum: f64 = (0..4).map(|q| w[i + q * side / 4]).sum();
                assert!((sum - 2.0).abs() < 1e-14, "side {side}, voxel {i}: {sum}");
            }
        }
    }

    #[test]
    fn windows_are_positive_symmetric_and_of_mean_one() {
        for window in Window::ALL {
            for side in 1..=130 {
                let weights = window.weights(side);
                let w = weights.axis();
                assert_eq!(w.len(), side);
                assert!(w.iter().all(|&v| v > 0.0), "{window} {side}");
                assert!(w.iter().eq(w.iter().rev()), "{window} {side}");
                let mean = w.iter().sum::<f64>() / side as f64;
                assert!((mean - 1.0).abs() < 1e-12, "{window} {side}: {mean}");
            }
        }
    }

    #[test]
    fn the_gaussian_floor_is_monais_clamp() {
        // Side 64: the corner of the product is exp(-23), so the clamp of 1e-3 of the defined (not the
        // normalised) window rules. Side 2: the smallest product, exp(-6), is above the clamp and rules itself.
        let peak = Window::Gaussian.profile(64)[31].powi(3);
        let weights = Window::Gaussian.weights(64);
        let ratio = weights.floor() / weights.axis()[31].powi(3);
        assert!((ratio - 1e-3 / peak).abs() < 1e-12, "{ratio}");
        let small = Window::Gaussian.weights(2);
        assert!((small.floor() - small.axis()[0].powi(3)).abs() < 1e-12);
        assert_eq!(Window::Bspline.weights(64).floor(), 0.0);
    }

    #[test]
    fn names_round_trip() {
        for window in Window::ALL {
            assert_eq!(window.name().parse::<Window>(), Ok(window));
            let json = serde_json::to_string(&window).unwrap();
            assert_eq!(json, format!("\"{window}\""));
        }
        let problem = "cubic".parse::<Window>().unwrap_err().to_string();
        assert!(problem.contains("bspline"), "{problem}");
    }
}
