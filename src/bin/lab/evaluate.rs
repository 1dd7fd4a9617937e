//! `lab evaluate` and `lab naive`.

use crate::Outcome;
use crate::native::{at, read};
use equipoise::metrics::naive::{Sweep, baseline};
use equipoise::metrics::{Settings, evaluate};
use equipoise::volume::Volume;
use equipoise::volume::nifti::{self, Limits};
use equipoise::volume::resample::{Interpolation, resample};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Reference mask, NIfTI; every value above 0 is lesion.
    #[arg(long)]
    reference: PathBuf,
    /// Probability map (or mask) on the same grid, NIfTI.
    #[arg(long)]
    probability: PathBuf,
    /// Probability at and above which a voxel is lesion.
    #[arg(long, default_value_t = 0.5)]
    threshold: f32,
    /// Lesions of the automatic mask smaller than this are dropped, in mm3.
    #[arg(long, default_value_t = 0.0)]
    min_lesion: f64,
    /// Bring a probability on another grid onto the reference's by the affines (trilinear).
    #[arg(long)]
    resample: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let (reference, mut probability) = (volume(&args.reference)?, volume(&args.probability)?);
    if args.resample {
        probability = resample(&probability, &reference.grid, Interpolation::Linear, 0.0)?;
    }
    let (a, b) = (reference.grid.shape, probability.grid.shape);
    let apart = (reference.grid.affine - probability.grid.affine).abs().max();
    if a != b || apart > 1e-2 {
        return Err(format!(
            "reference ({a:?} voxels) and probability ({b:?} voxels) lie on different grids (affines differ by \
             {apart:.3}); --resample brings the one onto the other"
        )
        .into());
    }
    let truth: Vec<bool> = reference.data.iter().map(|v| *v > 0.0).collect();
    let settings = Settings {
        threshold: args.threshold,
        min_lesion_mm3: args.min_lesion,
        ..Settings::default()
    };
    let found = evaluate(
        &truth,
        &probability.data,
        a,
        reference.grid.voxel_volume(),
        &settings,
    )?;
    println!("{}", serde_json::to_string_pretty(&found)?);
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct NaiveArgs {
    /// FLAIR, NIfTI.
    #[arg(long)]
    flair: PathBuf,
    /// Reference mask on the same grid, NIfTI; every value above 0 is lesion.
    #[arg(long)]
    reference: PathBuf,
}

pub(crate) fn naive(args: &NaiveArgs) -> Outcome {
    let (flair, reference) = (volume(&args.flair)?, volume(&args.reference)?);
    // As the figures of the data notes were made: the images are skull-stripped.
    let foreground: Vec<bool> = flair.data.iter().map(|v| *v > 0.0).collect();
    let truth: Vec<bool> = reference.data.iter().map(|v| *v > 0.0).collect();
    let found = baseline(
        &flair.data,
        &foreground,
        &truth,
        flair.grid.shape,
        &Sweep::default(),
    )?;
    println!("{}", serde_json::to_string_pretty(&found.best)?);
    Ok(())
}

fn volume(path: &Path) -> Result<Volume, Box<dyn std::error::Error>> {
    Ok(nifti::read(&read(path)?, &Limits::default())
        .map_err(at(path))?
        .volume)
}
