//! `lab bench step`: what a step of fine-tuning costs, by the part that learns.

use super::Target;
use crate::Outcome;
use crate::native::{DeviceChoice, Native};
use equipoise::learn::augment::patch::Patch;
use equipoise::learn::trainer::Tuner;
use equipoise::net::Part;
use equipoise::pipeline::finetune::{Settings, needs};
use serde::Serialize;
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Where the network runs.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Patch side in voxels; the model's own by default.
    #[arg(long)]
    patch: Option<usize>,
    /// Timed steps of each kind, after one that is not.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
}

/// One row: bytes are those planned, without the cases.
#[derive(Serialize)]
struct Row {
    part: Part,
    kept: bool,
    patch: usize,
    median_seconds: f64,
    engine_bytes: u64,
    device: String,
}

pub(super) fn run(args: &Args) -> Outcome {
    let model = args.target.load()?;
    let json = serde_json::to_string(&model.config)?;
    let mut rows = Vec::new();
    for part in [Part::Head, Part::Decoder, Part::Everything] {
        for keep in [true, false] {
            let settings = Settings {
                part,
                patch: args.patch.unwrap_or(model.side),
                ..Settings::default()
            };
            let side = settings.patch;
            let recipe = settings.recipe(&model.config, 100, keep);
            let mut tuner = Tuner::new(Native::open(args.device)?.0);
            pollster::block_on(tuner.begin(1, &json, &model.file, &recipe, None))?;
            let patch = Patch {
                image: super::pass::patch(model.config.in_channels, side),
                label: super::pass::labels(side),
                side,
            };
            let mut times = Vec::new();
            for step in 0..=args.steps {
                let start = Instant::now();
                pollster::block_on(tuner.step(step, &patch))?;
                // A step is only asked for until its loss is there; its weights are read to wait for the rest.
                pollster::block_on(tuner.publish())?;
                times.push(start.elapsed().as_secs_f64());
            }
            times.remove(0);
            times.sort_by(f64::total_cmp);
            rows.push(Row {
                part,
                kept: keep,
                patch: side,
                median_seconds: times[times.len() / 2],
                engine_bytes: needs(&model.config, &settings, &[], keep)?.engine,
                device: tuner.engine().describe(),
            });
        }
    }
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}
