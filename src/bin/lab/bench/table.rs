//! `lab bench` alone: ours and burn's stock operators in turn, as a table.

use super::pass::{How, Pass, Work};
use super::{open, preset_at};
use crate::Outcome;
use crate::native::DeviceChoice;
use burn::tensor::Device;
use equipoise::net::layer_table;
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Networks and patch sides in voxels, as PRESET@SIDE.
    #[arg(long, value_delimiter = ',', default_value = "light@48,browser@64")]
    nets: Vec<String>,
    /// Where to run.
    #[arg(long, value_delimiter = ',', default_value = "cpu,gpu")]
    devices: Vec<DeviceChoice>,
    /// Leave the training steps out.
    #[arg(long)]
    forward_only: bool,
    /// Leave burn's stock operators out, which take long on a GPU in software.
    #[arg(long)]
    ours_only: bool,
    /// Ours predicts with maps in half precision.
    #[arg(long)]
    half: bool,
    /// Measurements of each; the median is reported.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
}

pub(super) fn run(args: &Args) -> Outcome {
    println!(
        "{:<28} {:<12} {:<8} {:>9} {:>9} {:>9} {:>8}",
        "device", "network", "pass", "ours s", "stock s", "ratio", "GFLOPS"
    );
    for &choice in &args.devices {
        let (device, name) = open(choice, args.half)?;
        for net in &args.nets {
            for work in [Work::Forward, Work::Step] {
                if work == Work::Forward || !args.forward_only {
                    println!("{}", row(args, net, &device, &name, work)?);
                }
            }
        }
    }
    Ok(())
}

fn row(
    args: &Args,
    net: &str,
    device: &Device,
    name: &str,
    work: Work,
) -> Result<String, Box<dyn std::error::Error>> {
    let (config, side) = preset_at(net)?;
    let pass = |stock: bool| {
        let half = args.half && !stock;
        Pass::new(&config, None, side, device, How { work, stock, half })
    };
    let mut variants = vec![(pass(false)?, Vec::new())];
    if !args.ours_only {
        variants.push((pass(true)?, Vec::new()));
    }
    // The first round warms up: shaders are compiled, memory is fetched.
    for round in 0..=args.repeat {
        for (pass, times) in &mut variants {
            let start = Instant::now();
            pass.run();
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let mut medians = variants.into_iter().map(|(_, times)| median(times));
    let (ours, stock) = (medians.next().unwrap_or(f64::NAN), medians.next());
    let macs: u64 = layer_table(&config, side).iter().map(|r| r.macs).sum();
    // The backward pass has twice the multiply-adds of the forward pass.
    let (passes, work) = match work {
        Work::Forward => (1.0, "forward"),
        Work::Step => (3.0, "step"),
    };
    Ok(format!(
        "{name:<28} {net:<12} {work:<8} {ours:>9.3} {:>9} {:>9} {:>8.1}",
        stock.map_or("-".into(), |s| format!("{s:.3}")),
        stock.map_or("-".into(), |s| format!("{:.1}", s / ours)),
        2.0 * passes * macs as f64 / 1e9 / ours,
    ))
}

/// The middle value (the upper one of two).
pub(super) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
