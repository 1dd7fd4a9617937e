//! `lab tune`.

use crate::Outcome;
use crate::conv::{Conv, batch};
use burn::tensor::Device;
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
    let device = engine.device();
    let light = NetConfig::preset("light", 2)?;
    let batch = batch(args.batch, &engine, &light, 2 * args.side)?;
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
                // What a dense layer and the stem ask.
                [(48, 12), (24, 24)].map(|channels| Conv::threes(channels, maps, device))
            } else {
                // What a bottleneck and the head ask.
                [(60, 48), (132, 192)].map(|channels| Conv::ones(channels, maps, device))
            };
            // The first compiles the shaders.
            seconds(&convs, passes, device)?;
            let mut time = f64::INFINITY;
            for _ in 0..args.repeat.max(1) {
                time = time.min(seconds(&convs, passes, device)?);
            }
            times.push((tiles, time));
            let (a, b) = if name == "3x3x3" {
                (tiles.run, 4 * tiles.quads)
            } else {
                (4 * tiles.vectors, tiles.outs)
            };
            let macs: u64 = convs.iter().map(|conv| conv.macs).sum();
            println!(
                "{name}: {a:>2} voxels x {b:>2} channels a unit  {:>9.3} ms  {:>9.1} GFLOPS",
                time * 1e3,
                2.0 * macs as f64 / time / 1e9
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

/// Seconds of one of so many passes through the convolutions.
fn seconds(convs: &[Conv], passes: usize, device: &Device) -> Outcome<f64> {
    let start = Instant::now();
    for conv in std::iter::repeat_n(convs, passes).flatten() {
        conv.run();
    }
    device.sync().map_err(|e| e.to_string())?;
    Ok(start.elapsed().as_secs_f64() / passes as f64)
}
