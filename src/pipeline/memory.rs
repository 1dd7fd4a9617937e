//! How much memory a run asks for, before it is started.

use crate::volume::Grid;

use super::{Head, Settings};

/// What a run needs at its worst moment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Where scans, votes and results live.
    pub desk: u64,
    /// All engines together.
    pub engines: u64,
}

impl Estimate {
    /// Desk and engines together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.desk.saturating_add(self.engines)
    }
}

/// Estimates the peak memory of a run.
///
/// `native` and `conformed` are the grids of the scan and of the network; `engine_bytes` is what one engine needs
/// for a patch of this side (weights, activations) and `engines` how many run side by side.
///
/// Counted are whole-volume arrays and patches in flight; code, stacks and a memory allocator's slack are not.
#[must_use]
pub fn estimate(
    native: &Grid,
    conformed: &Grid,
    with_t1: bool,
    settings: &Settings,
    engines: usize,
    engine_bytes: u64,
) -> Estimate {
    const F32: u64 = 4;
    let voxels = |grid: &Grid| {
        grid.shape
            .iter()
            .fold(1_u64, |n, &axis| n.saturating_mul(axis as u64))
    };
    let (native, conformed) = (voxels(native), voxels(conformed));
    let scans = 1 + u64::from(with_t1);
    let engines = engines.max(1) as u64;

    // Kept all along: the scans on the FLAIR's and the network's grid and the foreground.
    let kept = native
        .saturating_mul(scans * F32)
        .saturating_add(conformed.saturating_mul(scans * F32 + 1));
    // While patches vote: two sums a voxel, the variance, all that for every window, and the patches in flight with their answers.
    let sums = (2 + u64::from(settings.variance)) * (1 + settings.other_windows().count() as u64);
    let patch = (settings.patch as u64).saturating_pow(3);
    let flying = patch.saturating_mul(engines * (Head::CHANNELS as u64 + 1) * F32);
    let voting = conformed.saturating_mul(sums * F32).saturating_add(flying);
    // At the end: conformed and native probability, and for a cut the mask twice and one label a voxel.
    let cutting = conformed
        .saturating_mul(F32)
        .saturating_add(native.saturating_mul(F32 + 1 + 1 + F32));
    Estimate {
        desk: kept.saturating_add(voting.max(cutting)),
        engines: engines.saturating_mul(engine_bytes),
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;

    use super::*;

    fn cube(n: usize) -> Grid {
        Grid {
            shape: [n; 3],
            affine: Matrix4::identity(),
        }
    }

    #[test]
    fn a_head_is_counted_array_by_array() {
        let (native, conformed) = (cube(100), cube(200));
        let settings = Settings {
            patch: 10,
            ..Settings::default()
        };
        let got = estimate(&native, &conformed, true, &settings, 3, 1000);
        let kept = 1_000_000 * 8 + 8_000_000 * 9;
        let voting = 8_000_000 * 8 + 3 * 1000 * 3 * 4;
        assert_eq!(
            got,
            Estimate {
                desk: kept + voting,
                engines: 3000
            }
        );
        assert_eq!(got.total(), kept + voting + 3000);
        let alone = estimate(&native, &conformed, false, &settings, 3, 1000);
        assert_eq!(got.desk - alone.desk, 4 * 9_000_000);
        let variance = Settings {
            variance: true,
            ..settings
        };
        assert_eq!(
            estimate(&native, &conformed, true, &variance, 3, 0).desk - got.desk,
            4 * 8_000_000
        );
    }

    #[test]
    fn a_fine_native_grid_is_felt_at_the_cut() {
        let fine = estimate(&cube(400), &cube(100), false, &Settings::default(), 1, 0);
        assert_eq!(fine.desk, 64_000_000 * (4 + 10) + 1_000_000 * (5 + 4));
    }

    #[test]
    fn absurd_sizes_saturate() {
        let absurd = estimate(
            &cube(usize::MAX),
            &cube(usize::MAX),
            true,
            &Settings::default(),
            9,
            u64::MAX,
        );
        assert_eq!(absurd.total(), u64::MAX);
    }
}
