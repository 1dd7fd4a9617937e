//! `lab pretrain`: the training run, its log, its curve and its checkpoints.

use crate::Outcome;
use crate::card::{Card, Training};
use crate::interrupt::{self, Interrupted};
use crate::native::{DeviceChoice, Native, at, read, write};
use equipoise::learn::ahead::Ahead;
use equipoise::learn::augment::patch::Patch;
use equipoise::learn::material::{Fold, Material};
use equipoise::learn::sampler::{self, Sampler};
use equipoise::learn::trainer::{Checkpoint, Counts, StepReport, TrainConfig, Trainer, Watch};
use equipoise::learn::validation::{ValidationCase, validation_cases};
use equipoise::net::weights;
use equipoise::tiling;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Training configuration (JSON); every field has a default.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder with `open_ms` and `lesion_shapes`.
    #[arg(long, default_value = "../shared/data")]
    data: PathBuf,
    /// Folder for checkpoint, log, curve and weights; a checkpoint found there is resumed.
    #[arg(long)]
    out: PathBuf,
    /// Patient (1-30) whose image, mask and tissue map train nothing.
    #[arg(long)]
    hold_out: Option<u8>,
    /// Start from these weights (safetensors of the same network) instead of random ones.
    #[arg(long)]
    from: Option<PathBuf>,
    /// Steps in all, instead of the configuration's.
    #[arg(long)]
    steps: Option<u64>,
    /// Stop (with a checkpoint) after so many minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// Plan as many steps as the minutes allow at the pace at hand, so that the learning rate has fallen when they are over.
    #[arg(long, requires = "minutes")]
    fit: bool,
    /// Minutes between checkpoints.
    #[arg(long, default_value_t = 5.0)]
    checkpoint_minutes: f64,
    /// Steps between looks at the held-out patches.
    #[arg(long, default_value_t = 50)]
    watch_every: u64,
    /// Where the network is trained and watched.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceChoice,
    /// Threads that make patches ahead.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Name of the model on its card.
    #[arg(long, default_value = "browser")]
    name: String,
}

/// Steps the smoothed loss is a mean over, and the training DSC is counted over.
const SMOOTH: usize = 50;

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
    let mut steps = config.steps;
    while trainer.steps() < steps {
        let batch: Vec<Patch> =
            pace.waiting(|| patches.by_ref().take(config.batch).collect::<Result<_, _>>())?;
        let report = trainer.step(&batch)?;
        let over = budget.is_some_and(|b| pace.start.elapsed() >= b);
        let asked = interrupt::asked();
        if let Some(budget) = budget.filter(|_| args.fit && report.step % FIT == 0) {
            steps = pace.fitting(report.step, budget);
            trainer.plan(steps);
        }
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

/// How fast a run is, and what it waits for.
struct Pace {
    start: Instant,
    first: u64,
    batch: usize,
    waited: Duration,
    /// Step and time of the last adjustment.
    fitted: (u64, Instant),
}

impl Pace {
    /// Of a run that goes on after `first` steps.
    fn new(first: u64, batch: usize) -> Self {
        Self {
            start: Instant::now(),
            first,
            batch,
            waited: Duration::ZERO,
            fitted: (first, Instant::now()),
        }
    }

    /// Does something that waits for patches.
    fn waiting<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        let from = Instant::now();
        let got = wait();
        self.waited += from.elapsed();
        got
    }

    /// How many steps in all fit into a budget at the pace since this was asked last. Storing the last one takes time, too.
    fn fitting(&mut self, step: u64, budget: Duration) -> u64 {
        let (before, since) = std::mem::replace(&mut self.fitted, (step, Instant::now()));
        let per_step = since.elapsed().as_secs_f64() / step.saturating_sub(before).max(1) as f64;
        let left = budget.saturating_sub(self.start.elapsed()).as_secs_f64() * 0.99;
        step + (left / per_step.max(1e-9)) as u64
    }

    /// The pace up to a step of so many, and what is left at it.
    fn words(&self, step: u64, steps: u64) -> String {
        let elapsed = self.start.elapsed().as_secs_f64();
        let per_step = elapsed / step.saturating_sub(self.first).max(1) as f64;
        let patches = if self.batch > 1 {
            format!(" ({:.2} patches/s)", self.batch as f64 / per_step)
        } else {
            String::new()
        };
        let waited = 100.0 * self.waited.as_secs_f64() / elapsed;
        let left = steps.saturating_sub(step) as f64 * per_step / 60.0;
        format!("{per_step:.2} s/step{patches}  waiting for patches {waited:.0} %  {left:.0} min left")
    }
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

/// The run's log: a CSV file and the curve drawn from it.
struct Log {
    file: std::fs::File,
    recent: VecDeque<f32>,
    answers: VecDeque<Option<Counts>>,
    losses: Vec<(f64, f64)>,
    scores: Vec<(f64, f64)>,
}

impl Log {
    /// Opens the log; lines after `step` (from a run that was killed after its last checkpoint) are dropped.
    fn open(path: &Path, step: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let mut text = String::from(
            "step,loss,smoothed_loss,learning_rate,held_out_dsc,held_out_ppv,held_out_tpr,training_dsc\n",
        );
        let mut log = (VecDeque::new(), Vec::new(), Vec::new());
        if step > 0 && path.exists() {
            for line in String::from_utf8_lossy(&read(path)?).lines().skip(1) {
                let cells: Vec<f64> = line.split(',').map(|c| c.parse().unwrap_or(f64::NAN)).collect();
                let [at, loss, smoothed, _, dsc, ..] = cells[..] else {
                    continue;
                };
                if at <= step as f64 {
                    writeln!(text, "{line}")?;
                    push(&mut log.0, loss as f32);
                    log.1.push((at, smoothed));
                    log.2.extend(dsc.is_finite().then_some((at, dsc)));
                }
            }
        }
        write(path, text.as_bytes())?;
        let file = std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(at(path))?;
        Ok(Self {
            file,
            recent: log.0,
            answers: VecDeque::new(),
            losses: log.1,
            scores: log.2,
        })
    }

    fn add(&mut self, report: &StepReport, score: Option<Counts>) -> std::io::Result<()> {
        let StepReport {
            step,
            loss,
            counts,
            learning_rate,
        } = *report;
        push(&mut self.recent, loss);
        push(&mut self.answers, counts);
        let smoothed = self.smoothed();
        self.losses.push((step as f64, smoothed));
        let cell = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:.4}"));
        let [dsc, ppv, tpr] = score.map_or([None; 3], |s| [s.dsc(), s.ppv(), s.tpr()]);
        self.scores.extend(dsc.map(|d| (step as f64, d)));
        writeln!(
            self.file,
            "{step},{loss:.5},{smoothed:.5},{learning_rate:.3e},{},{},{},{}",
            cell(dsc),
            cell(ppv),
            cell(tpr),
            cell(self.training().dsc())
        )
    }

    /// What the network answered to the last patches it was trained on, as far as that was read.
    fn training(&self) -> Counts {
        self.answers.iter().copied().flatten().sum()
    }

    /// Mean loss of the last steps.
    fn smoothed(&self) -> f64 {
        self.recent.iter().map(|v| f64::from(*v)).sum::<f64>() / self.recent.len().max(1) as f64
    }

    fn draw(&self, path: &Path) -> Outcome {
        use plotters::prelude::*;
        let steps = self.losses.last().map_or(1.0, |p| p.0);
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, (800, 420)).into_drawing_area();
            area.fill(&WHITE)?;
            let mut chart = ChartBuilder::on(&area)
                .caption("Training", ("sans-serif", 18))
                .margin(12)
                .x_label_area_size(36)
                .y_label_area_size(44)
                .build_cartesian_2d(0.0..steps, 0.0..1.0)?;
            chart
                .configure_mesh()
                .x_desc("step")
                .y_desc("loss, Dice")
                .draw()?;
            let loss = RGBColor(0, 114, 178);
            let dice = RGBColor(213, 94, 0);
            chart
                .draw_series(LineSeries::new(self.losses.iter().copied(), loss.stroke_width(2)))?
                .label(format!("loss, mean of {SMOOTH} steps"))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], loss.stroke_width(2)));
            chart
                .draw_series(LineSeries::new(self.scores.iter().copied(), dice.stroke_width(2)))?
                .label("Dice on held-out patches")
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], dice.stroke_width(2)));
            chart
                .configure_series_labels()
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK)
                .draw()?;
            area.present()?;
        }
        write(path, svg.as_bytes())?;
        Ok(())
    }
}

fn push<T>(recent: &mut VecDeque<T>, value: T) {
    if recent.len() == SMOOTH {
        recent.pop_front();
    }
    recent.push_back(value);
}
