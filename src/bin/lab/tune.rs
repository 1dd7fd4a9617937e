//! `lab tune`.

use crate::Outcome;
use burn::tensor::{Device, Tensor};
use equipoise::net::Engine;
use equipoise::net::kernels::{self, tiles::Tiles};
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measurements of each tile; the best is taken.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Side of the maps in voxels: half a patch's in a compact network.
    #[arg(long, default_value_t = 24)]
    side: usize,
}

/// Times the convolutions by every tile on the GPU, and prints the row for `net::kernels::tiles`.
pub(crate) fn run(args: &Args) -> Outcome {
    let engine = pollster::block_on(Engine::gpu())?;
    println!("{}, maps of {} voxels a side", engine.describe(), args.side);
    let device = engine.device();
    let usual = Tiles::get();
    let mut best = usual;
    let [threes, ones] = usual.candidates();
    for (name, candidates) in [("3x3x3", threes), ("1x1x1", ones)] {
        let mut times = Vec::new();
        for tiles in candidates {
            tiles.set();
            let pass: fn(&Device, usize) = if name == "3x3x3" { convolve3 } else { convolve1 };
            // The first compiles the shader.
            pass(device, args.side);
            let time = (0..args.repeat.max(1))
                .map(|_| {
                    let start = Instant::now();
                    pass(device, args.side);
                    start.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min);
            times.push((tiles, time));
            let (a, b) = if name == "3x3x3" {
                (tiles.run, 4 * tiles.quads)
            } else {
                (4 * tiles.vectors, tiles.outs)
            };
            println!(
                "{name}: {a:>2} voxels x {b:>2} channels a unit  {:>9.2} ms",
                time * 1e3
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

/// What a dense layer and the stem ask of the 3x3x3 convolution.
fn convolve3(device: &Device, side: usize) {
    for (cin, cout) in [(48, 12), (24, 24)] {
        let x = Tensor::<5>::ones([1, cin, side, side, side], device);
        let y = kernels::conv3(x, Tensor::ones([cout, cin, 3, 3, 3], device));
        wait(y);
    }
}

/// What a bottleneck and the head ask of the 1x1x1 convolution.
fn convolve1(device: &Device, side: usize) {
    for (cin, cout) in [(60, 48), (132, 192)] {
        let x = Tensor::<5>::ones([1, cin, side, side, side], device);
        wait(kernels::conv1(x, Tensor::ones([cout, cin], device)));
    }
}

/// One value is read, so that the device has finished.
fn wait(y: Tensor<5>) {
    let _: f32 = y.slice([0..1, 0..1, 0..1, 0..1, 0..1]).into_scalar();
}
