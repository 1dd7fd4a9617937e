//! How much the page dares to hold, decided before anything is read.

use crate::volume::nifti::Limits;

/// Gibibytes of memory assumed where the browser does not tell (Firefox, Safari): a small laptop.
const UNKNOWN_DEVICE_GIB: f64 = 4.0;

/// Most engines in a pool: beyond that tiles wait for memory, not for processors.
const LARGEST_POOL: usize = 8;

/// Memory of the device the page runs on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    gib: f64,
}

impl Memory {
    /// From `navigator.deviceMemory`: gibibytes, rounded and capped by the browser; absent in some.
    #[must_use]
    pub fn reported(gib: Option<f64>) -> Self {
        let gib = gib
            .filter(|g| g.is_finite() && *g > 0.0)
            .unwrap_or(UNKNOWN_DEVICE_GIB);
        Self { gib }
    }

    /// Half of it in bytes: what the page dares to take.
    #[must_use]
    pub fn half(self) -> u64 {
        (self.gib * 0.5 * f64::from(1 << 30)) as u64
    }

    /// What a scan may ask for: [`Limits::PAGE`], and proportionally less on a device of less than 4 GiB.
    #[must_use]
    pub fn scan_limits(self) -> Limits {
        let share = (self.gib / UNKNOWN_DEVICE_GIB).min(1.0);
        let part = |whole: u64| (whole as f64 * share) as u64;
        Limits {
            max_voxels: part(Limits::PAGE.max_voxels),
            max_file_bytes: part(Limits::PAGE.max_file_bytes),
        }
    }

    /// Workers in the CPU pool when each needs `bytes` at its peak: one a processor, as long as they fit in half the
    /// device's memory, at most 8 and at least one.
    #[must_use]
    pub fn pool(self, processors: usize, bytes: u64) -> usize {
        let fit = self.half() / bytes.max(1);
        processors
            .min(usize::try_from(fit).unwrap_or(usize::MAX))
            .clamp(1, LARGEST_POOL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_device_takes_smaller_scans() {
        assert_eq!(Memory::reported(Some(32.0)).scan_limits(), Limits::PAGE);
        assert_eq!(Memory::reported(None).scan_limits(), Limits::PAGE);
        let half = Memory::reported(Some(2.0)).scan_limits();
        assert_eq!(half.max_voxels * 2, Limits::PAGE.max_voxels);
        assert_eq!(half.max_file_bytes * 2, Limits::PAGE.max_file_bytes);
        assert_eq!(Memory::reported(Some(f64::NAN)), Memory::reported(None));
        assert_eq!(Memory::reported(Some(-1.0)), Memory::reported(None));
    }

    #[test]
    fn the_pool_has_at_least_one_and_at_most_eight_and_fits_in_half_the_memory() {
        let memory = Memory::reported(Some(8.0));
        assert_eq!(memory.pool(4, 1 << 29), 4);
        assert_eq!(memory.pool(16, 1 << 29), 8);
        assert_eq!(memory.pool(16, 1 << 30), 4);
        assert_eq!(memory.pool(16, 1 << 40), 1);
        assert_eq!(memory.pool(0, 0), 1);
    }
}
