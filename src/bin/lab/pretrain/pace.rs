//! How fast a training run is.

use std::time::{Duration, Instant};

/// How fast a run is, and what it waits for.
pub(super) struct Pace {
    pub(super) start: Instant,
    first: u64,
    batch: usize,
    waited: Duration,
    /// Step and time of the last adjustment.
    fitted: (u64, Instant),
}

impl Pace {
    /// Of a run that goes on after `first` steps.
    pub(super) fn new(first: u64, batch: usize) -> Self {
        Self {
            start: Instant::now(),
            first,
            batch,
            waited: Duration::ZERO,
            fitted: (first, Instant::now()),
        }
    }

    /// Does something that waits for patches.
    pub(super) fn waiting<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        let from = Instant::now();
        let got = wait();
        self.waited += from.elapsed();
        got
    }

    /// How many steps in all fit into a budget at the pace since this was asked last. Storing the last one takes time, too.
    pub(super) fn fitting(&mut self, step: u64, budget: Duration) -> u64 {
        let (before, since) = std::mem::replace(&mut self.fitted, (step, Instant::now()));
        let per_step = since.elapsed().as_secs_f64() / step.saturating_sub(before).max(1) as f64;
        let left = budget.saturating_sub(self.start.elapsed()).as_secs_f64() * 0.99;
        step + (left / per_step.max(1e-9)) as u64
    }

    /// The pace up to a step of so many, and what is left at it.
    pub(super) fn words(&self, step: u64, steps: u64) -> String {
        let elapsed = self.start.elapsed().as_secs_f64();
        let per_step = elapsed / step.saturating_sub(self.first).max(1) as f64;
        let patches = if self.batch > 1 {
            format!(" ({:.2} patches/s)", self.batch as f64 / per_step)
        } else {
            String::new()
        };
        let waited = 100.0 * self.waited.as_secs_f64() / elapsed;
        let left = steps.saturating_sub(step) as f64 * per_step / 60.0;
        format!("{per_step:.2} s/step{patches}  waiting for patches {waited:.0} %  {left:.0} min left")
    }
}
