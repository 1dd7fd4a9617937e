//! `lab pretrain`: the training run, its log, its curve and its checkpoints.

mod log;
mod pace;

use crate::Outcome;
use crate::card::{Card, Training};
use crate::interrupt::{self, Interrupted};
use crate::native::{DeviceChoice, Native, at, read, write};
use equipoise::learn::ahead::Ahead;
use equipoise::learn::augment::patch::Patch;
use equipoise::learn::material::{Fold, Material};
use equipoise::learn::sampler::{self, Sampler};
use equipoise::learn::trainer::{Checkpoint, TrainConfig, Trainer, Watch};
use equipoise::learn::validation::{ValidationCase, validation_cases};
use equipoise::net::weights;
use equipoise::tiling;
use log::Log;
use pace::Pace;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Training configuration (JSON); every field has a default.
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// Folder with `open_ms` and `lesion_shapes`.
    #[arg(long, default_value = "../shared/data")]
    pub(crate) data: PathBuf,
    /// Folder for checkpoint, log, curve and weights; a checkpoint found there is resumed.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Patient (1-30) whose image, mask and tissue map train nothing.
    #[arg(long)]
    pub(crate) hold_out: Option<u8>,
    /// Start from these weights (safetensors of the same network) instead of random ones.
    #[arg(long)]
    pub(crate) from: Option<PathBuf>,
    /// Steps in all, instead of the configuration's.
    #[arg(long)]
    pub(crate) steps: Option<u64>,
    /// Seed of patches and their order, instead of the configuration's.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Stop (with a checkpoint) after so many minutes.
    #[arg(long)]
    pub(crate) minutes: Option<f64>,
    /// Plan as many steps as the minutes allow at the pace at hand, so that the learning rate has fallen when they are over.
    #[arg(long, requires = "minutes")]
    pub(crate) fit: bool,
    /// Minutes between checkpoints.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) checkpoint_minutes: f64,
    /// Steps between looks at the held-out patches.
    #[arg(long, default_value_t = 50)]
    pub(crate) watch_every: u64,
    /// Where the network is trained and watched.
    #[arg(long, value_enum, default_value = "cpu")]
    pub(crate) device: DeviceChoice,
    /// Threads that make patches ahead.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Name of the model on its card.
    #[arg(long, default_value = "browser")]
    pub(crate) name: String,
}

/// Steps between adjustments of how many fit into the minutes given.
const FIT: u64 = 20;

/// Steps between lines on the screen, and on a GPU between looks at what the network answers to its training patches.
const TELL: u64 = 10;

pub(crate) fn run(args: &Args) -> Outcome {
    std::fs::create_dir_all(&args.out).map_err(at(&args.out))?;
    let native = Native::open(args.device)?;
    eprintln!("training on {}", native.describe());
    let device = native.0.device();
    let mut trainer = open(args, device)?.with_counts_every(match args.device {
        DeviceChoice::Cpu => 1,
        DeviceChoice::Gpu => TELL,
    });
    let config = trainer.config().clone();
    let fold = Fold {
        held_out: args.hold_out,
    };
    eprintln!("reading the material ...");
    let material = Arc::new(Material::for_mix(&args.data, fold, &config.data.mix)?);
    let held_out = validation_cases(&args.data, &material, &config.data, config.seed, 2)?;
    let watch = Watch::new(watched(&held_out, config.data.side));
    let labelled = material.labelled.iter().map(|p| p.patient).collect();
    let sampler = Arc::new(Sampler::new(
        Arc::clone(&material),
        config.data.clone(),
        fold,
        config.seed,
    )?);
    let threads = args.threads.max(1);
    let depth = (2 * config.batch).div_ceil(threads);
    let mut patches = Ahead::start(&sampler, trainer.next_patch(), threads, depth);
    let mut log = Log::open(&args.out.join("log.csv"), trainer.steps())?;
    let files = Files {
        out: args.out.clone(),
        name: args.name.clone(),
        held_out: args.hold_out,
        labelled,
    };
    let mut pace = Pace::new(trainer.steps(), config.batch);
    interrupt::listen()?;
    let mut saved = Instant::now();
    let budget = args.minutes.map(|m| Duration::from_secs_f64(m * 60.0));
    while trainer.steps() < trainer.config().steps {
        let batch: Vec<Patch> =
            pace.waiting(|| patches.by_ref().take(config.batch).collect::<Result<_, _>>())?;
        let report = trainer.step(&batch)?;
        let over = budget.is_some_and(|b| pace.start.elapsed() >= b);
        let asked = interrupt::asked();
        if let Some(budget) = budget.filter(|_| args.fit && report.step % FIT == 0) {
            trainer.plan(pace.fitting(report.step, budget));
        }
        let steps = trainer.config().steps;
        let last = over || asked || report.step == steps;
        let score = if report.step % args.watch_every == 0 || last {
            watch.score(&trainer.averaged(), device)
        } else {
            None
        };
        log.add(&report, score)?;
        if report.step % TELL == 0 || score.is_some() {
            let watched = score.map_or(String::new(), |s| {
                format!(
                    "  held-out DSC {} PPV {} TPR {}",
                    word(s.dsc()),
                    word(s.ppv()),
                    word(s.tpr())
                )
            });
            eprintln!(
                "step {}/{}  loss {:.3}  DSC {}  {}{watched}",
                report.step,
                steps,
                log.smoothed(),
                word(log.training().dsc()),
                pace.words(report.step, steps),
            );
        }
        if last || saved.elapsed().as_secs_f64() >= args.checkpoint_minutes * 60.0 {
            files.save(&trainer)?;
            log.draw(&args.out.join("curve.svg"))?;
            saved = Instant::now();
        }
        if asked && report.step < steps {
            return Err(Interrupted {
                step: report.step,
                steps,
                file: args.out.join("checkpoint.bin"),
            }
            .into());
        }
        if over {
            eprintln!(
                "time is up at step {}; run the same command to go on",
                report.step
            );
            break;
        }
    }
    Ok(())
}

/// A score in words.
fn word(score: Option<f64>) -> String {
    score.map_or("-".to_owned(), |v| format!("{v:.3}"))
}

/// The run's trainer: resumed, started from weights, or new.
fn open(args: &Args, device: &burn::tensor::Device) -> Result<Trainer, Box<dyn std::error::Error>> {
    let path = args.out.join("checkpoint.bin");
    if path.exists() {
        let checkpoint = Checkpoint::from_bytes(&read(&path)?).map_err(at(&path))?;
        eprintln!("going on at step {}", checkpoint.step);
        return Ok(Trainer::resume(checkpoint, device)?);
    }
    let mut config = match &args.config {
        Some(path) => serde_json::from_slice(&read(path)?).map_err(at(path))?,
        None => TrainConfig::default(),
    };
    config.steps = args.steps.unwrap_or(config.steps);
    config.seed = args.seed.unwrap_or(config.seed);
    config.net.check_side(config.data.side)?;
    match &args.from {
        Some(path) => {
            let net = weights::from_bytes(&config.net, read(path)?, device).map_err(at(path))?;
            Ok(Trainer::from_network(config, net, device)?)
        }
        None => Ok(Trainer::new(config, device)?),
    }
}

/// Fixed patches of the first held-out head: those with most lesion, and some spread over the rest of it.
fn watched(cases: &[ValidationCase], side: usize) -> Vec<Patch> {
    let Some(case) = cases.first().map(|c| &c.case) else {
        return Vec::new();
    };
    let Ok(plan) = tiling::Plan::new(case.shape, side, 0.5) else {
        return Vec::new();
    };
    let mut by_load: Vec<(usize, [isize; 3])> = plan
        .origins()
        .iter()
        .map(|o| (sampler::count_lesion(case.view(), *o, side), *o))
        .collect();
    by_load.sort_by_key(|(load, _)| std::cmp::Reverse(*load));
    let spread = (by_load.len() / 4).max(1);
    let rich = by_load.iter().take(4);
    let others = by_load.iter().skip(4).step_by(spread).take(4);
    rich.chain(others)
        .map(|(_, origin)| sampler::cut(case.view(), *origin, side))
        .collect()
}

/// Where the run's results go.
struct Files {
    out: PathBuf,
    name: String,
    held_out: Option<u8>,
    labelled: Vec<u8>,
}

impl Files {
    fn save(&self, trainer: &Trainer) -> Outcome {
        let config = trainer.config();
        let bytes = weights::to_bytes(&trainer.averaged())?;
        let training = Training {
            steps: trainer.steps(),
            held_out_patient: self.held_out,
            labelled_patients: self.labelled.clone(),
            config: config.clone(),
        };
        let card = Card::new(&self.name, &config.net, config.data.side, &bytes, Some(training));
        write(&self.out.join("weights.safetensors"), &bytes)?;
        write(
            &self.out.join("card.json"),
            serde_json::to_string_pretty(&card)?.as_bytes(),
        )?;
        write(
            &self.out.join("checkpoint.bin"),
            &trainer.checkpoint().to_bytes()?,
        )?;
        Ok(())
    }
}
