//! How much the page dares to hold, decided before anything is read.

/// Gibibytes of memory assumed where the browser does not tell (Firefox, Safari): a small laptop.
const UNKNOWN_DEVICE_GIB: f64 = 4.0;

/// Most bytes one scan may have once inflated. A wasm32 program addresses 4 GiB in all, and the desk needs, beside the
/// file's own bytes, float32 copies on the scan's grid and on the 1 mm grid.
const LARGEST_SCAN: u64 = 1 << 30;

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

    /// Most bytes a scan may have once inflated: a quarter of the device's memory, at most 1 GiB (a 640^3 scan of
    /// float32).
    #[must_use]
    pub fn largest_scan(self) -> u64 {
        ((self.gib * 0.25 * f64::from(1 << 30)) as u64).min(LARGEST_SCAN)
    }

    /// Workers in the CPU pool when each needs `bytes` at its peak: one a processor, as long as they fit in half the
    /// device's memory, at most 8 and at least one.
    #[must_use]
    pub fn pool(self, processors: usize, bytes: u64) -> usize {
        let fit = (self.gib * 0.5 * f64::from(1 << 30)) as u64 / bytes.max(1);
        processors
            .min(usize::try_from(fit).unwrap_or(usize::MAX))
            .clamp(1, LARGEST_POOL)
    }
}

/// A number of bytes as a person reads it.
#[must_use]
pub fn bytes_in_words(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")];
    UNITS.iter().find(|(unit, _)| bytes >= *unit).map_or_else(
        || format!("{bytes} bytes"),
        |(unit, name)| format!("{:.1} {name}", bytes as f64 / *unit as f64),
    )
}

/// Why a file of `size` bytes is refused before it is read, or `None`.
#[must_use]
pub fn refuse_size(size: f64, memory: Memory) -> Option<String> {
    if size <= 0.0 {
        return Some(
            "The file is empty (0 bytes). Choose another, or copy it again from where it came.".into(),
        );
    }
    let limit = memory.largest_scan();
    (size > limit as f64).then(|| {
        format!(
            "The file has {}, and this page can hold scans up to {} on this device. Crop or resample the scan first, or \
             use the command line, which has no such limit.",
            bytes_in_words(size as u64),
            bytes_in_words(limit)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_may_fill_a_quarter_of_a_small_device_and_one_gib_of_a_large_one() {
        assert_eq!(Memory::reported(Some(2.0)).largest_scan(), 1 << 29);
        assert_eq!(Memory::reported(Some(32.0)).largest_scan(), 1 << 30);
        assert_eq!(Memory::reported(None).largest_scan(), 1 << 30);
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

    #[test]
    fn sizes_are_refused_with_a_remedy() {
        let memory = Memory::reported(Some(8.0));
        assert_eq!(refuse_size(1e6, memory), None);
        assert!(refuse_size(0.0, memory).unwrap().contains("empty"));
        let sentence = refuse_size(3e9, memory).unwrap();
        assert!(
            sentence.contains("2.8 GB") && sentence.contains("1.0 GB"),
            "{sentence}"
        );
    }
}
