//! What was measured on: enough to judge a figure by, nothing that tells whose machine it is.

use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

/// A machine, and how busy it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Processor as it calls itself, and its widest vectors.
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) system: String,
    /// Mean number of running programs in the minute before and in the last minute of the measurement, which is one of
    /// them.
    pub(crate) load: [f64; 2],
}

impl Machine {
    /// The machine as it is now; [`Machine::finished`] completes it.
    pub(crate) fn now() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            cpu.lines()
                .find(|line| line.starts_with(name))
                .and_then(|line| line.split_once(':'))
                .map_or("", |(_, value)| value.trim())
                .to_owned()
        };
        let flags = field("flags");
        let has = |flag: &str| flags.split(' ').any(|f| f == flag);
        let vectors = if has("avx512f") {
            ", AVX-512"
        } else if has("avx2") {
            ", AVX2"
        } else {
            ""
        };
        Self {
            processor: field("model name") + vectors,
            cores: thread::available_parallelism().map_or(1, usize::from),
            system: std::env::consts::OS.to_owned(),
            load: [load(); 2],
        }
    }

    /// Takes down the load at the end.
    pub(crate) fn finished(mut self) -> Self {
        self.load[1] = load();
        self
    }

    /// The machine without its load.
    pub(crate) fn words(&self) -> String {
        format!("{} cores of {}, {}", self.cores, self.processor, self.system)
    }
}

/// Mean load of the last minute; 0 where the system does not say.
fn load() -> f64 {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or(0.0)
}
