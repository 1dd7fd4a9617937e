//! `lab bench peak`: the fp32 multiply-adds a second that a device can do, and what the 3x3x3 layers make of them.
//!
//! Both are measured in turn, so that a busy machine slows both. The layers are run as an engine runs them: weights packed
//! before, input normalised while it is loaded, and as many patches together as the engine takes.

mod cpu;
mod gpu;

use super::{Target, opened, table::median};
use crate::Outcome;
use crate::conv::{Conv, batch};
use crate::native::DeviceChoice;
use burn::tensor::Device;
use equipoise::net::config::LayerRow;
use equipoise::net::layer_table;
use serde_json::json;
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Where to measure.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Patches together. [default: as many as the engine takes]
    #[arg(long)]
    batch: Option<usize>,
    /// Rounds of the peak and the layers.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
}

pub(super) fn run(args: &Args) -> Outcome {
    let model = args.target.load()?;
    let engine = opened(args.device)?;
    let batch = batch(args.batch, &engine, &model.config, model.side)?;
    let table = layer_table(&model.config, model.side);
    let network: u64 = table.iter().map(|row| row.macs).sum();
    let layers = Layers::new(&table, batch, engine.device());
    let gpu = match args.device {
        DeviceChoice::Cpu => None,
        DeviceChoice::Gpu => Some(gpu::Peak::open()?),
    };
    let (mut peaks, mut reached) = (Vec::new(), Vec::new());
    for round in 0..=args.repeat {
        let peak = match &gpu {
            Some(gpu) => gpu.measure()?,
            None => cpu::measure(rayon::current_num_threads()),
        };
        let start = Instant::now();
        layers.run()?;
        let seconds = start.elapsed().as_secs_f64();
        // The first round warms up.
        if round > 0 {
            peaks.push(peak);
            reached.push(2.0 * layers.macs() as f64 / seconds / 1e9);
        }
    }
    let share = median(reached.clone()) / median(peaks.clone());
    println!(
        "{}",
        json!({
            "device": engine.describe(), "batch": batch, "peak_gflops": peaks, "layers_gflops": reached,
            "network_macs": network, "share": share,
        })
    );
    Ok(())
}

/// The 3x3x3 convolutions of a network, each with an input, a normalisation and weights of its own.
struct Layers {
    convs: Vec<Conv>,
    device: Device,
}

impl Layers {
    fn new(table: &[LayerRow], batch: usize, device: &Device) -> Self {
        let rows = table.iter().filter(|row| is_conv3(row));
        let conv = |row: &LayerRow| Conv::threes((row.input, row.output), [batch, row.side], device);
        Self {
            convs: rows.map(conv).collect(),
            device: device.clone(),
        }
    }

    fn macs(&self) -> u64 {
        self.convs.iter().map(|conv| conv.macs).sum()
    }

    fn run(&self) -> Outcome {
        // An output lives until the next is there, or the CPU's allocator gives its pages back each time.
        let mut last = None;
        for conv in &self.convs {
            last = Some(conv.run());
        }
        self.device.sync().map_err(|e| e.to_string())?;
        drop(last);
        Ok(())
    }
}

/// Whether a row of the table is a 3x3x3 convolution of stride 1.
fn is_conv3(row: &LayerRow) -> bool {
    row.name.ends_with(".conv3") || row.name.starts_with("stem.conv")
}

#[cfg(test)]
mod tests {
    use super::*;
    use equipoise::net::NetConfig;

    #[test]
    fn the_layers_are_all_3x3x3_convolutions_of_stride_one() {
        let config = NetConfig::preset("light", 2).unwrap();
        let table = layer_table(&config, 48);
        let chosen: Vec<_> = table.iter().filter(|row| is_conv3(row)).collect();
        // Three of the stem, three in each of seven blocks.
        assert_eq!(chosen.len(), 3 + 3 * 7);
        for row in chosen {
            assert_eq!(row.parameters, row.input * row.output * 27, "{}", row.name);
            assert_eq!(
                row.macs,
                (row.parameters * row.side.pow(3)) as u64,
                "{}",
                row.name
            );
        }
    }
}
