//! `lab bench peak`: the fp32 multiply-adds a second that a device can do, and what the 3x3x3 layers make of them.
//!
//! Both are measured in turn, so that a busy machine slows both.

mod cpu;
mod gpu;

use super::{Target, open, table::median};
use crate::Outcome;
use crate::native::DeviceChoice;
use burn::tensor::{Device, Distribution, Tensor};
use equipoise::net::config::LayerRow;
use equipoise::net::{kernels, layer_table};
use serde_json::json;
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Where to measure.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Rounds of the peak and the layers.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
}

pub(super) fn run(args: &Args) -> Outcome {
    let model = args.target.load()?;
    let (device, name) = open(args.device, false)?;
    let table = layer_table(&model.config, model.side);
    let network: u64 = table.iter().map(|row| row.macs).sum();
    let layers = Layers::new(&table, &device);
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
            reached.push(2.0 * layers.macs as f64 / seconds / 1e9);
        }
    }
    let share = median(reached.clone()) / median(peaks.clone());
    println!(
        "{}",
        json!({ "device": name, "peak_gflops": peaks, "layers_gflops": reached, "network_macs": network, "share": share })
    );
    Ok(())
}

/// The 3x3x3 convolutions of a network, each with an input and weights of its own.
struct Layers {
    convs: Vec<(Tensor<5>, Tensor<5>)>,
    macs: u64,
    device: Device,
}

impl Layers {
    fn new(table: &[LayerRow], device: &Device) -> Self {
        let rows = table.iter().filter(|row| is_conv3(row));
        let (mut convs, mut macs) = (Vec::new(), 0);
        for row in rows {
            let random = |shape: [usize; 5]| Tensor::random(shape, Distribution::Default, device);
            convs.push((
                random([1, row.input, row.side, row.side, row.side]),
                random([row.output, row.input, 3, 3, 3]),
            ));
            macs += row.macs;
        }
        Self {
            convs,
            macs,
            device: device.clone(),
        }
    }

    fn run(&self) -> Outcome {
        let mut last = None;
        for (x, w) in &self.convs {
            last = Some(kernels::conv3(x.clone(), w.clone()));
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
