//! `lab bench`: what the network costs, ours and stock in turn, so that both meet the same machine.

use crate::Outcome;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use equipoise::loss::Loss;
use equipoise::net::{DenseNet, Engine, Mode, NetConfig, layer_table, stock};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Networks and patch sides in voxels, as PRESET@SIDE.
    #[arg(long, value_delimiter = ',', default_value = "light@48,browser@64")]
    nets: Vec<String>,
    /// Devices: cpu, gpu.
    #[arg(long, value_delimiter = ',', default_value = "cpu,gpu")]
    devices: Vec<String>,
    /// Leave the training steps out.
    #[arg(long)]
    forward_only: bool,
    /// Leave burn's stock operators out, which take long on a GPU in software.
    #[arg(long)]
    ours_only: bool,
    /// Measurements of each; the median is reported.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One row of the table.
#[derive(Serialize)]
struct Row {
    device: String,
    net: String,
    what: &'static str,
    /// Multiply-adds of one forward pass.
    macs: u64,
    /// Median seconds.
    ours: f64,
    /// Median seconds of stock operators.
    stock: Option<f64>,
    repeat: usize,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut rows = Vec::new();
    println!(
        "{:<28} {:<12} {:<8} {:>9} {:>9} {:>9} {:>8}",
        "device", "network", "pass", "ours s", "stock s", "ratio", "GFLOPS"
    );
    for name in &args.devices {
        let (device, name) = match name.as_str() {
            "cpu" => (Device::flex(), "CPU".to_owned()),
            "gpu" => {
                let engine = pollster::block_on(Engine::gpu())?;
                (engine.device().clone(), engine.describe())
            }
            _ => return Err(format!("device `{name}` is neither cpu nor gpu").into()),
        };
        for net in &args.nets {
            let (preset, side) = net
                .split_once('@')
                .and_then(|(p, s)| Some((p, s.parse::<usize>().ok()?)))
                .ok_or_else(|| format!("`{net}` is not PRESET@SIDE"))?;
            let config = NetConfig::preset(preset, 2)?;
            config.check_side(side)?;
            for what in ["forward", "step"] {
                if what == "step" && args.forward_only {
                    continue;
                }
                let row = measure(args, &config, side, &device, (&name, net, what))?;
                let gflop = 2.0 * row.macs as f64 / 1e9 * if what == "step" { 3.0 } else { 1.0 };
                println!(
                    "{:<28} {:<12} {:<8} {:>9.3} {:>9} {:>9} {:>8.1}",
                    row.device,
                    row.net,
                    row.what,
                    row.ours,
                    row.stock.map_or("-".into(), |s| format!("{s:.3}")),
                    row.stock.map_or("-".into(), |s| format!("{:.1}", s / row.ours)),
                    gflop / row.ours,
                );
                rows.push(row);
            }
        }
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(())
}

fn measure(
    args: &Args,
    config: &NetConfig,
    side: usize,
    device: &Device,
    (name, net, what): (&str, &str, &'static str),
) -> Result<Row, Box<dyn std::error::Error>> {
    let pass = Pass::new(config, side, device, what)?;
    let mut variants = vec![(false, Vec::new())];
    if !args.ours_only {
        variants.push((true, Vec::new()));
    }
    // The first round warms up: shaders are compiled, memory is fetched.
    for round in 0..=args.repeat {
        for (stock, times) in &mut variants {
            let start = Instant::now();
            pass.run(*stock);
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let mut medians = variants.into_iter().map(|(_, mut times)| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    Ok(Row {
        device: name.to_owned(),
        net: net.to_owned(),
        what,
        macs: layer_table(config, side).iter().map(|r| r.macs).sum(),
        ours: medians.next().unwrap_or(f64::NAN),
        stock: medians.next(),
        repeat: args.repeat,
    })
}

/// What is timed.
struct Pass {
    net: DenseNet,
    x: Tensor<5>,
    labels: Tensor<5>,
    train: bool,
}

impl Pass {
    fn new(
        config: &NetConfig,
        side: usize,
        device: &Device,
        what: &str,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let train = what == "step";
        let device = if train {
            device.clone().autodiff()
        } else {
            device.clone()
        };
        let net = DenseNet::new(
            &NetConfig {
                dropout: 0.0,
                ..config.clone()
            },
            1,
            &device,
        )?;
        let n = side.pow(3);
        let values = (0..2 * n)
            .map(|i| (i * 7919 % 2003) as f32 / 500.0 - 2.0)
            .collect::<Vec<_>>();
        let labels = (0..n)
            .map(|i| f32::from(u8::from(i % 50 == 0)))
            .collect::<Vec<_>>();
        Ok(Self {
            net,
            x: Tensor::from_data(TensorData::new(values, [1, 2, side, side, side]), &device),
            labels: Tensor::from_data(TensorData::new(labels, [1, 1, side, side, side]), &device),
            train,
        })
    }

    /// One pass, waited for.
    fn run(&self, stock: bool) {
        if !self.train {
            let y = if stock {
                stock::forward(&self.net, self.x.clone(), false)
            } else {
                self.net.forward(self.x.clone(), Mode::Infer)
            };
            // Data may be read lazily; a number is there.
            assert!(y.sum().into_scalar::<f32>().is_finite());
            return;
        }
        let mode = Mode::Train {
            dropout: 0,
            momentum: 0.1,
            r_max: 1.0,
            d_max: 0.0,
        };
        let logits = if stock {
            stock::forward(&self.net, self.x.clone(), true)
        } else {
            self.net.forward(self.x.clone(), mode)
        };
        let loss = Loss::default().forward(logits, self.labels.clone());
        let grads = GradientsParams::from_grads(loss.backward(), &self.net);
        let net = AdamWConfig::new().init().step(1e-3, self.net.clone(), grads);
        // The last layer's weights depend on everything.
        let weight = net.valid().stem.convs[0].weight.val();
        assert!(weight.sum().into_scalar::<f32>().is_finite());
    }
}
