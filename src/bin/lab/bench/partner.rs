//! `lab bench partner`: one contestant of a comparison, told by lines on standard input when it is its turn.
//!
//! Several such processes (ours, burn's stock operators, PyTorch in `tests/bench/torch_partner.py`) are alternated by
//! `./dev bench`, so that all meet the same machine. Answers are lines of JSON:
//!
//! ```text
//!              {"ready": {"device": "CPU", "threads": 2, "version": "..."}}
//! run          {"seconds": 0.21, "value": 0.013}      a pass, and its loss or mean probability
//! write FILE   {"written": 110592}                    the probabilities as float32
//! gradients    {"gradients": [{"tensor": "head.conv.weight", "shape": [1, 24], "norm": 0.0231}]}     of a step, which is not taken
//! memory       {"peak": 123456789}                    the process's peak resident set in bytes, where it is known
//! ```

use super::pass::{How, Pass, Work};
use super::{Target, open};
use crate::Outcome;
use crate::native::DeviceChoice;
use serde_json::json;
use std::io::BufRead;
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Where it runs.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// What a pass is.
    #[arg(long, default_value = "forward")]
    work: Work,
    /// Patch side in voxels; the model's own by default.
    #[arg(long)]
    patch: Option<usize>,
    /// Compute with burn's stock operators.
    #[arg(long)]
    stock: bool,
    /// Predict with maps in half precision.
    #[arg(long)]
    half: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let (device, name) = open(args.device, args.half)?;
    let model = args.target.load()?;
    let how = How {
        work: args.work,
        stock: args.stock,
        half: args.half,
    };
    let side = args.patch.unwrap_or(model.side);
    let mut pass = Pass::new(&model.config, Some(model.file), side, &device, how)?;
    let threads = rayon::current_num_threads();
    let version = if args.stock {
        "burn 0.22.1"
    } else {
        env!("CARGO_PKG_VERSION")
    };
    println!(
        "{}",
        json!({ "ready": { "device": name, "threads": threads, "version": version } })
    );
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("run", _) => {
                let start = Instant::now();
                let value = pass.run();
                json!({ "seconds": start.elapsed().as_secs_f64(), "value": value })
            }
            ("write", file) => {
                let values: Vec<f32> = pass.probabilities().into_data().try_to_vec()?;
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                std::fs::write(file, bytes)?;
                json!({ "written": values.len() })
            }
            ("gradients", _) if args.work == Work::Step => json!({ "gradients": pass.gradients() }),
            ("memory", _) => json!({ "peak": peak_resident() }),
            (word, _) => {
                return Err(
                    format!("`{word}` is none of run, write FILE, memory, and gradients of a step").into(),
                );
            }
        };
        println!("{answer}");
    }
    Ok(())
}

/// The largest resident set so far in bytes; Linux only.
fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix(" kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kb| kb * 1024)
}
