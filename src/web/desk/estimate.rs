//! How long a run takes, from the tiles timed so far.

use std::collections::HashMap;

use crate::web::messages::EngineKind;

/// What a tile's duration depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Engine that predicts.
    pub engine: EngineKind,
    /// Directory of the model.
    pub model: String,
    /// Patch side in voxels.
    pub patch: usize,
}

/// Durations of tiles, remembered while the page is open.
#[derive(Debug, Default)]
pub struct Timings {
    millis: HashMap<Workload, f64>,
}

/// Weight of the newest tile in the running mean: about the last six tiles count, so that an estimate follows a laptop
/// that throttles, yet one slow tile does not throw it.
const NEWEST: f64 = 0.3;

impl Timings {
    /// Notes that a tile took `millis` inside its engine. Values that are no durations are ignored.
    pub fn record(&mut self, workload: &Workload, millis: f64) {
        if !millis.is_finite() || millis < 0.0 {
            return;
        }
        match self.millis.get_mut(workload) {
            Some(mean) => *mean += NEWEST * (millis - *mean),
            None => {
                self.millis.insert(workload.clone(), millis);
            }
        }
    }

    /// Seconds that `tiles` tiles take on `workers` workers; `None` before one was timed.
    ///
    /// A pool works in rounds: 9 tiles on 8 workers take as long as 16.
    #[must_use]
    pub fn seconds(&self, workload: &Workload, tiles: usize, workers: usize) -> Option<f64> {
        let millis = self.millis.get(workload)?;
        Some(tiles.div_ceil(workers.max(1)) as f64 * millis / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(engine: EngineKind, patch: usize) -> Workload {
        Workload {
            engine,
            model: "models/x".into(),
            patch,
        }
    }

    #[test]
    fn nothing_is_claimed_before_a_tile_was_timed() {
        let mut timings = Timings::default();
        let cpu = work(EngineKind::Cpu, 64);
        assert_eq!(timings.seconds(&cpu, 10, 2), None);
        timings.record(&cpu, f64::NAN);
        timings.record(&cpu, -1.0);
        assert_eq!(timings.seconds(&cpu, 10, 2), None);
    }

    #[test]
    fn rounds_of_the_pool_are_counted() {
        let mut timings = Timings::default();
        let cpu = work(EngineKind::Cpu, 64);
        timings.record(&cpu, 2000.0);
        assert_eq!(timings.seconds(&cpu, 8, 8), Some(2.0));
        assert_eq!(timings.seconds(&cpu, 9, 8), Some(4.0));
        assert_eq!(timings.seconds(&cpu, 0, 8), Some(0.0));
        assert_eq!(timings.seconds(&cpu, 3, 0), Some(6.0));
        assert_eq!(timings.seconds(&work(EngineKind::Cpu, 48), 8, 8), None);
        assert_eq!(timings.seconds(&work(EngineKind::WebGpu, 64), 8, 8), None);
    }

    #[test]
    fn the_mean_follows_a_lasting_change_and_not_one_slow_tile() {
        let mut timings = Timings::default();
        let cpu = work(EngineKind::Cpu, 64);
        timings.record(&cpu, 1000.0);
        timings.record(&cpu, 2000.0);
        assert_eq!(timings.seconds(&cpu, 1, 1), Some(1.3));
        for _ in 0..20 {
            timings.record(&cpu, 2000.0);
        }
        assert!((timings.seconds(&cpu, 1, 1).unwrap() - 2.0).abs() < 0.01);
    }
}
