//! `lab bench head`: whole heads of several sizes, from the file's bytes to the mask's.

use super::Target;
use crate::Outcome;
use crate::native::{DeviceChoice, Native};
use equipoise::pipeline::{Cut, PredictError, Predictor, Settings, prepare, segment};
use equipoise::volume::Grid;
use equipoise::volume::nifti::{self, Header, Limits};
use nalgebra::Matrix4;
use serde_json::json;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Where the network runs.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Sizes in voxels of 1 mm, as XxYxZ.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "96x96x96,128x160x128,182x218x182"
    )]
    sizes: Vec<String>,
    /// Runs of each size, one size after the other.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
}

pub(super) fn run(args: &Args) -> Outcome {
    let model = args.target.load()?;
    let mut native = Native::open(args.device)?;
    native
        .0
        .load(&serde_json::to_string(&model.config)?, model.file)?;
    let engine = Timed {
        native,
        seconds: Cell::new(0.0),
    };
    let settings = Settings {
        patch: model.side,
        ..Settings::default()
    };
    let mut heads = Vec::new();
    let rounds = (0..args.repeat).flat_map(|_| &args.sizes);
    for size in rounds {
        let shape = parse(size)?;
        let (flair, t1) = (scan(shape, [300, 900])?, scan(shape, [700, 250])?);
        engine.seconds.set(0.0);
        let start = Instant::now();
        let read = |bytes: &[u8]| nifti::read(bytes, &Limits::default());
        let prepared = prepare(&read(&flair)?, Some(&read(&t1)?))?;
        let prepared_in = start.elapsed().as_secs_f64();
        let result = pollster::block_on(segment(&prepared.head, &engine, &settings, |_| {
            ControlFlow::Continue(())
        }))?;
        let segmented_in = start.elapsed().as_secs_f64();
        let probability = prepared.restore(result.probability)?;
        let mask = equipoise::pipeline::mask::cut(&probability, &Cut::default());
        let written = nifti::write_mask(&prepared.native, &mask.voxels)?.len()
            + nifti::write_float(&prepared.native, &probability.data)?.len();
        let total = start.elapsed().as_secs_f64();
        heads.push(json!({
            "shape": shape, "tiles": result.patches, "total": total, "network": engine.seconds.get(),
            "prepare": prepared_in, "finish": total - segmented_in, "written": written,
        }));
        eprintln!("{size}: {} tiles, {total:.1} s", result.patches);
    }
    println!(
        "{}",
        json!({ "device": engine.native.describe(), "heads": heads })
    );
    Ok(())
}

/// An engine that adds up the time it takes.
struct Timed {
    native: Native,
    seconds: Cell<f64>,
}

impl Predictor for Timed {
    async fn predict(&self, patch: Vec<f32>, side: usize) -> Result<Vec<f32>, PredictError> {
        let start = Instant::now();
        let answer = self.native.predict(patch, side).await;
        self.seconds
            .set(self.seconds.get() + start.elapsed().as_secs_f64());
        answer
    }
}

fn parse(size: &str) -> Result<[usize; 3], Box<dyn std::error::Error>> {
    let sides: Vec<usize> = size
        .split('x')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|e| format!("`{size}` is not XxYxZ: {e}"))?;
    <[usize; 3]>::try_from(sides).map_err(|_| format!("`{size}` is not XxYxZ").into())
}

/// A brain without a skull as `.nii.gz` bytes: an ellipsoid of tissue with fluid inside, and noise that does not repeat.
fn scan(shape: [usize; 3], [fluid, tissue]: [i16; 2]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let grid = Grid {
        shape,
        affine: Matrix4::identity(),
    };
    let mut voxels = Vec::with_capacity(grid.len());
    let mut noise = 1_u32;
    for z in 0..shape[2] {
        for y in 0..shape[1] {
            for x in 0..shape[0] {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Distance from the centre; 1 on the surface of the brain.
                let r: f64 = [x, y, z]
                    .iter()
                    .zip(shape)
                    .map(|(&i, n)| ((i as f64 + 0.5) / n as f64 - 0.5) / 0.44)
                    .map(|d| d * d)
                    .sum();
                let value = match r {
                    r if r > 1.0 => 0,
                    r if r < 0.03 => fluid,
                    _ => tissue,
                };
                let grain = (noise >> 25) as i16 - 64;
                voxels.push(if value == 0 { 0 } else { value + grain });
            }
        }
    }
    Ok(nifti::write_int16(&Header::from_grid(&grid)?, &voxels)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_made_brain_is_fit_for_use_and_fills_its_volume() {
        let shape = parse("48x56x40").unwrap();
        let flair = nifti::read(&scan(shape, [300, 900]).unwrap(), &Limits::default()).unwrap();
        let prepared = prepare(&flair, None).unwrap();
        let inside = prepared.head.foreground().iter().filter(|v| **v).count() as f64;
        // An ellipsoid of half axes 0.44 of the sides.
        let expected = 4.0 / 3.0 * std::f64::consts::PI * 0.44_f64.powi(3);
        let found = inside / shape.iter().product::<usize>() as f64;
        assert!(
            (found / expected - 1.0).abs() < 0.25,
            "{found} of the volume, {expected} expected"
        );
        assert!(parse("48x56").is_err() && parse("48xAx40").is_err());
    }
}
