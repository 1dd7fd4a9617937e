//! `lab bench peak`: the fp32 multiply-adds a second that a device can do, and what the 3x3x3 layers make of them.
//!
//! Both are measured in turn, so that a busy machine slows both. The layers are run as an engine runs them: weights packed
//! before, input normalised while it is loaded, and as many patches together as the engine takes.

mod cpu;
mod gpu;

use super::{Target, opened, table::median};
use crate::Outcome;
use crate::native::DeviceChoice;
use burn::tensor::{Device, Distribution, Tensor};
use equipoise::net::config::LayerRow;
use equipoise::net::kernels::infer::{self, Read};
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
    let batch = match args.batch {
        Some(batch) => batch.max(1),
        None => engine.batch(&model.config, model.side)?,
    };
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
            reached.push(2.0 * layers.macs as f64 / seconds / 1e9);
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
    macs: u64,
    device: Device,
}

struct Conv {
    x: Tensor<5>,
    folds: Tensor<3>,
    packed: Tensor<5>,
    out: usize,
}

impl Conv {
    fn run(&self) -> Tensor<5> {
        let [batch, channels, d, h, w] = self.x.dims();
        let room = Tensor::empty([batch, self.out, d, h, w], &self.x.device());
        let (x, folds, packed) = (self.x.clone(), self.folds.clone(), self.packed.clone());
        infer::conv3_into(room, 0, x, folds, packed, Read::all(channels, self.out))
    }
}

impl Layers {
    fn new(table: &[LayerRow], batch: usize, device: &Device) -> Self {
        let conv = |row: &LayerRow| {
            let (side, input, out) = (row.side, row.input, row.output);
            let weights = Tensor::random([out, input, 3, 3, 3], Distribution::Default, device);
            Conv {
                x: Tensor::random([batch, input, side, side, side], Distribution::Default, device),
                folds: Tensor::random([1, 2, input], Distribution::Default, device),
                packed: infer::packed3(weights),
                out,
            }
        };
        let rows = || table.iter().filter(|row| is_conv3(row));
        Self {
            convs: rows().map(conv).collect(),
            macs: rows().map(|row| row.macs * batch as u64).sum(),
            device: device.clone(),
        }
    }

    fn run(&self) -> Outcome {
        for conv in &self.convs {
            conv.run();
        }
        Ok(self.device.sync().map_err(|e| e.to_string())?)
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

    /// What is timed computes what it is said to: the plain convolution of what a normalisation leaves, for each patch of a batch.
    #[test]
    fn a_layer_is_a_convolution_of_normalised_maps() {
        let device = Device::flex();
        let random = |shape| Tensor::<5>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
        let (x, w) = (random([2, 3, 4, 4, 4]), random([5, 3, 3, 3, 3]));
        let conv = Conv {
            x: x.clone(),
            folds: Tensor::from_data([[[1.5f32, -2.0, 0.5], [0.1, -0.2, 0.3]]], &device),
            packed: infer::packed3(w.clone()),
            out: 5,
        };
        let scale = Tensor::<1>::from_data([1.5f32, -2.0, 0.5], &device).reshape([1, 3, 1, 1, 1]);
        let shift = Tensor::<1>::from_data([0.1f32, -0.2, 0.3], &device).reshape([1, 3, 1, 1, 1]);
        let normal = burn::tensor::activation::relu(x * scale + shift);
        let options = burn::tensor::ops::ConvOptions::new([1; 3], [1; 3], [1; 3], 1);
        let expected = burn::tensor::module::conv3d(normal, w, None, options);
        let worst: f32 = (conv.run() - expected).abs().max().into_scalar();
        assert!(worst < 1e-5, "{worst}");
    }

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
