//! `lab tune`.

use crate::Outcome;
use burn::tensor::{Device, Tensor};
use equipoise::net::kernels::infer::{self, Read};
use equipoise::net::kernels::tiles::Tiles;
use equipoise::net::{Engine, NetConfig};
use std::time::Instant;

/// Passes between two waits for a GPU, so that the way to it and back is not what is measured. An adapter in software has no way to
/// go, and takes long.
const PASSES: usize = 8;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measurements of each tile; the best is taken.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Side of the maps in voxels: half a patch's in a compact network.
    #[arg(long, default_value_t = 24)]
    side: usize,
    /// Patches together. [default: as many as the engine takes of a compact network]
    #[arg(long)]
    batch: Option<usize>,
}

/// Times the convolutions by every tile on the GPU, and prints the row for `net::kernels::tiles`.
pub(crate) fn run(args: &Args) -> Outcome {
    let engine = pollster::block_on(Engine::gpu())?;
    let batch = match args.batch {
        Some(batch) => batch.max(1),
        None => engine.batch(&NetConfig::preset("light", 2)?, 2 * args.side)?,
    };
    let side = args.side;
    let passes = if engine.is_software() { 1 } else { PASSES };
    println!(
        "{}, maps of {side} voxels a side, batches of {batch}",
        engine.describe()
    );
    let usual = Tiles::get();
    let mut best = usual;
    let [threes, ones] = usual.candidates();
    for (name, candidates) in [("3x3x3", threes), ("1x1x1", ones)] {
        let mut times = Vec::new();
        for tiles in candidates {
            tiles.set();
            let maps = [batch, side];
            let convs = if name == "3x3x3" {
                Convs::threes(maps, engine.device())
            } else {
                Convs::ones(maps, engine.device())
            };
            // The first compiles the shaders.
            convs.seconds(passes)?;
            let mut time = f64::INFINITY;
            for _ in 0..args.repeat.max(1) {
                time = time.min(convs.seconds(passes)?);
            }
            times.push((tiles, time));
            let (a, b) = if name == "3x3x3" {
                (tiles.run, 4 * tiles.quads)
            } else {
                (4 * tiles.vectors, tiles.outs)
            };
            println!(
                "{name}: {a:>2} voxels x {b:>2} channels a unit  {:>9.3} ms  {:>9.1} GFLOPS",
                time * 1e3,
                2.0 * convs.macs as f64 / time / 1e9
            );
        }
        let Some((fastest, _)) = times.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)) else {
            continue;
        };
        if name == "3x3x3" {
            (best.run, best.quads) = (fastest.run, fastest.quads);
        } else {
            (best.vectors, best.outs) = (fastest.vectors, fastest.outs);
        }
    }
    usual.set();
    println!("in use: {usual:?}\nbest:   {best:?}");
    Ok(())
}

/// Convolutions of normalised maps, weights packed by the tiles in use.
struct Convs {
    convs: Vec<(Tensor<5>, Tensor<3>, Weights, Read)>,
    device: Device,
    macs: u64,
}

enum Weights {
    Ones(Tensor<2>),
    Threes(Tensor<5>),
}

impl Convs {
    /// What a dense layer and the stem ask of the 3x3x3 convolution.
    fn threes(maps: [usize; 2], device: &Device) -> Self {
        let weights = |i, o| Weights::Threes(infer::packed3(Tensor::ones([o, i, 3, 3, 3], device)));
        Self::new([(48, 12), (24, 24)], maps, 27, weights, device)
    }

    /// What a bottleneck and the head ask of the 1x1x1 convolution.
    fn ones(maps: [usize; 2], device: &Device) -> Self {
        let weights = |i, o| Weights::Ones(infer::packed1(Tensor::ones([o, i], device)));
        Self::new([(60, 48), (132, 192)], maps, 1, weights, device)
    }

    fn new(
        channels: [(usize, usize); 2],
        [batch, side]: [usize; 2],
        taps: usize,
        weights: impl Fn(usize, usize) -> Weights,
        device: &Device,
    ) -> Self {
        let convs = channels.map(|(input, out)| {
            let x = Tensor::ones([batch, input, side, side, side], device);
            let folds = Tensor::ones([1, 2, input], device);
            (x, folds, weights(input, out), Read::all(input, out))
        });
        let macs: usize = channels.iter().map(|(input, out)| input * out).sum();
        Self {
            convs: convs.into(),
            device: device.clone(),
            macs: (macs * taps * batch * side.pow(3)) as u64,
        }
    }

    /// Seconds of one of so many passes.
    fn seconds(&self, passes: usize) -> Outcome<f64> {
        let start = Instant::now();
        for _ in 0..passes {
            for (x, folds, weights, read) in &self.convs {
                let (x, folds) = (x.clone(), folds.clone());
                match weights {
                    Weights::Ones(w) => infer::product(x, folds, w.clone(), *read),
                    Weights::Threes(w) => {
                        let [batch, _, d, h, wd] = x.dims();
                        let room = Tensor::empty([batch, read.out, d, h, wd], &self.device);
                        infer::conv3_into(room, 0, x, folds, w.clone(), *read)
                    }
                };
            }
        }
        self.device.sync().map_err(|e| e.to_string())?;
        Ok(start.elapsed().as_secs_f64() / passes as f64)
    }
}
