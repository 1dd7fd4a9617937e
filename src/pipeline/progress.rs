//! Where a run is and how long it still takes.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// The network's weights are read.
    Loading,
    /// The scans are conformed and normalised.
    Preparing,
    /// Patches are predicted and vote.
    Segmenting,
    /// The votes are divided and brought back to the scan's own grid.
    Fusing,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loading => "Loading the network",
            Self::Preparing => "Preparing",
            Self::Segmenting => "Segmenting",
            Self::Fusing => "Fusing",
        })
    }
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Patches predicted, rotations counted.
    pub done: usize,
    /// Patches in all; 0 in stages that have none.
    pub total: usize,
    /// Estimated time until the last patch; `None` while too few were timed.
    pub left: Option<Duration>,
}

impl Progress {
    /// A stage without patches.
    #[must_use]
    pub fn of(stage: Stage) -> Self {
        Self {
            stage,
            done: 0,
            total: 0,
            left: None,
        }
    }
}

/// Estimates the time left from the patches done so far.
///
/// Patches that run side by side end in bursts, so time is measured in rounds of as many patches as run at once. The
/// estimate is the median of the last [`TimeLeft::ROUNDS`] rounds: the slow first one (caches, shader compilation)
/// and a pause (a laptop asleep, a tab in the background) do not move it.
///
/// All times are durations since any one moment, so a test needs no clock.
#[derive(Clone, Debug)]
pub struct TimeLeft {
    parallelism: usize,
    rounds: VecDeque<Duration>,
    round_began: Duration,
    in_round: usize,
}

impl TimeLeft {
    /// Rounds that the median is taken over.
    pub const ROUNDS: usize = 15;

    /// Starts the watch at `now`; `parallelism` patches run side by side.
    #[must_use]
    pub fn new(parallelism: usize, now: Duration) -> Self {
        Self {
            parallelism: parallelism.max(1),
            rounds: VecDeque::with_capacity(Self::ROUNDS),
            round_began: now,
            in_round: 0,
        }
    }

    /// So many patches were done together at `now`.
    pub fn patches_done(&mut self, count: usize, now: Duration) {
        self.in_round += count;
        if self.in_round < self.parallelism {
            return;
        }
        if self.rounds.len() == Self::ROUNDS {
            self.rounds.pop_front();
        }
        let round = now.saturating_sub(self.round_began);
        // A group of patches is a long round; the last group may be a small one.
        let share = self.parallelism as f64 / self.in_round as f64;
        self.rounds.push_back(round.mul_f64(share));
        self.round_began = now;
        self.in_round = 0;
    }

    /// Estimated time for `remaining` more patches, at the end of a patch; `None` before the first round is over.
    #[must_use]
    pub fn estimate(&self, remaining: usize) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.rounds.iter().copied().collect();
        sorted.sort_unstable();
        let middle = sorted.len() / 2;
        let median = match sorted.len() {
            0 => return None,
            n if n % 2 == 1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2,
        };
        Some(median.mul_f64(remaining as f64 / self.parallelism as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn nothing_is_said_before_a_round_is_over() {
        let mut left = TimeLeft::new(2, ms(500));
        assert_eq!(left.estimate(10), None);
        left.patches_done(1, ms(900));
        assert_eq!(left.estimate(9), None);
        left.patches_done(1, ms(1500));
        assert_eq!(left.estimate(8), Some(ms(4000)), "a round of two took 1 s");
    }

    #[test]
    fn a_slow_start_and_a_pause_do_not_move_it() {
        let mut left = TimeLeft::new(1, ms(0));
        let mut now = 0;
        for took in [9_000, 1000, 1010, 990, 600_000, 1000, 1005] {
            now += took;
            left.patches_done(1, ms(now));
        }
        assert_eq!(left.estimate(20), Some(ms(20 * 1005)));
    }

    #[test]
    fn it_follows_a_machine_that_slows_down() {
        let mut left = TimeLeft::new(1, ms(0));
        let mut now = 0;
        for _ in 0..100 {
            now += 1000;
            left.patches_done(1, ms(now));
        }
        for _ in 0..8 {
            now += 3000;
            left.patches_done(1, ms(now));
        }
        assert_eq!(
            left.estimate(10),
            Some(ms(30_000)),
            "8 of the last 15 rounds are slow"
        );
    }

    #[test]
    fn a_pool_that_ends_in_bursts_is_timed_by_the_burst() {
        let mut left = TimeLeft::new(4, ms(0));
        for burst in 1..=5 {
            for worker in 0..4 {
                left.patches_done(1, ms(burst * 2000 + worker));
            }
        }
        let estimate = left.estimate(40).unwrap();
        assert!(estimate.abs_diff(ms(20_000)) < ms(20), "{estimate:?}");
        assert_eq!(left.estimate(0), Some(ms(0)));
    }

    #[test]
    fn groups_of_unequal_sizes_are_timed_by_the_patch() {
        let mut left = TimeLeft::new(1, ms(0));
        let mut now = 0;
        for count in [8, 8, 3, 8] {
            now += 100 * count;
            left.patches_done(count as usize, ms(now));
        }
        assert_eq!(left.estimate(20), Some(ms(2000)));
    }

    #[test]
    fn a_clock_that_runs_backwards_is_survived() {
        let mut left = TimeLeft::new(0, ms(1000));
        left.patches_done(1, ms(900));
        assert_eq!(left.estimate(5), Some(ms(0)));
    }
}
