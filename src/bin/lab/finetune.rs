//! `lab finetune`: a network adapted to a handful of own cases.

use crate::Outcome;
use crate::card::Card;
use crate::interrupt::{self, Interrupted};
use crate::native::{DeviceChoice, Native, at, read, write};
use crate::segment::scan;
use clap::ValueEnum;
use equipoise::pipeline::cohort::{check, pair};
use equipoise::pipeline::finetune::{
    Base, Case, Event, FinetuneError, FoldRecord, HeldOut, Local, Part, Place, Session, Settings, Statistics,
    fit, rehearse,
};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PartChoice {
    /// The head alone.
    Head,
    /// The way up and the head.
    Decoder,
    /// The whole network.
    Everything,
}

/// What becomes of normalisation statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatisticsChoice {
    /// They stay those of the base network.
    Frozen,
    /// They follow the training patches.
    Adapted,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the base model: `card.json` and weights.
    #[arg(long, default_value = "www/models/browser-b1.5")]
    base: PathBuf,
    /// A case: NAME:FLAIR,MASK or NAME:FLAIR,T1,MASK; may be repeated.
    #[arg(long, value_name = "NAME:FLAIR[,T1],MASK")]
    case: Vec<String>,
    /// A folder of cases, paired by name (BIDS, then common patterns); may be repeated.
    #[arg(long)]
    cohort: Vec<PathBuf>,
    /// Name of the case that is scored and never trained on; the first by default.
    #[arg(long, conflicts_with_all = ["folds", "no_held_out"])]
    held_out: Option<String>,
    /// Hold out every case once, in so many runs, and then train on all.
    #[arg(long, conflicts_with = "no_held_out")]
    folds: Option<usize>,
    /// Hold out nothing.
    #[arg(long)]
    no_held_out: bool,
    /// How much more recall counts than precision.
    #[arg(long, default_value_t = Settings::default().beta)]
    beta: f64,
    /// What learns.
    #[arg(long, default_value = "decoder")]
    part: PartChoice,
    /// Normalisation statistics.
    #[arg(long, default_value = "frozen")]
    statistics: StatisticsChoice,
    /// Steps of each run.
    #[arg(long, default_value_t = Settings::default().steps, conflicts_with = "minutes")]
    steps: u64,
    /// As many steps as fit into so many minutes, by a dry step.
    #[arg(long)]
    minutes: Option<f64>,
    /// Highest learning rate.
    #[arg(long, default_value_t = Settings::default().learning_rate)]
    learning_rate: f64,
    /// Patch side in voxels; the model's own by default.
    #[arg(long)]
    patch: Option<usize>,
    /// Do not vary the patches.
    #[arg(long)]
    no_augmentation: bool,
    /// Share of values dropped by the trained layers; the network's own by default.
    #[arg(long)]
    dropout: Option<f64>,
    /// Steps between looks at the held-out cases.
    #[arg(long, default_value_t = Settings::default().look_every)]
    look_every: u64,
    /// Overlap of the patches in those looks.
    #[arg(long, default_value_t = Settings::default().look_overlap)]
    look_overlap: f64,
    /// Overlap of the patches in the scores before and after.
    #[arg(long, default_value_t = 0.5)]
    overlap: f64,
    /// Looks without a better score after which it ends; 0: never.
    #[arg(long, default_value_t = Settings::default().patience)]
    patience: u64,
    /// Steps between checkpoints: as many are lost at most when the program is killed.
    #[arg(long, default_value_t = Settings::default().checkpoint_every)]
    checkpoint_every: u64,
    /// Seed of patches and dropout.
    #[arg(long, default_value_t = Settings::default().seed)]
    seed: u64,
    /// Most memory for the engine, in GB.
    #[arg(long, default_value_t = 8.0)]
    memory: f64,
    /// Where the network runs.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Name of the model on its card.
    #[arg(long, default_value = "fine-tuned")]
    name: String,
    /// Folder for weights, card, record, curve and checkpoint; a checkpoint found there is resumed.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Outcome {
    std::fs::create_dir_all(&args.out).map_err(at(&args.out))?;
    let base = base(&args.base)?;
    let cases = cases(args)?;
    let learner = Local::new(Native::open(args.device)?.0);
    let path = args.out.join("checkpoint.bin");
    interrupt::listen()?;
    let mut session = if path.exists() {
        let session = Session::resume(cases, base, &read(&path)?).map_err(at(&path))?;
        eprintln!("going on: {}", words(&session.place()));
        session
    } else {
        let mut settings = settings(args, &base, &cases)?;
        let limit = (args.memory * 1e9).max(0.0) as u64;
        let needs = fit(base.config(), &settings, &cases, limit)?;
        let dry = pollster::block_on(rehearse(&learner, &base, &cases, &settings, needs.keep))?;
        if let Some(minutes) = args.minutes {
            settings.steps = dry.steps_in(minutes);
        }
        let weights = settings.weights();
        eprintln!(
            "{} cases; a false positive weighs {:.3}, a false negative {:.3}; {:.2} GB of memory; {:.2} s a step, {} steps a \
             run, about {:.0} min in all",
            cases.len(),
            weights.false_positive,
            weights.false_negative,
            needs.engine as f64 / 1e9,
            dry.step_seconds,
            settings.steps,
            if args.minutes.is_some() {
                args.minutes.unwrap_or_default()
            } else {
                dry.total().as_secs_f64() / 60.0
            }
        );
        Session::new(cases, base, settings, needs.keep)?
    };
    go(&mut session, &learner, &path)?;
    save(&session, args)
}

/// The base model.
pub(crate) fn base(folder: &Path) -> Result<Base, Box<dyn std::error::Error>> {
    let path = folder.join("card.json");
    let text = String::from_utf8(read(&path)?).map_err(at(&path))?;
    let card: serde_json::Value = serde_json::from_str(&text).map_err(at(&path))?;
    let file = folder.join(card["weights"]["file"].as_str().unwrap_or("weights.safetensors"));
    Ok(Base::new(&text, read(&file)?).map_err(at(&path))?)
}

/// All cases, checked. One that is not fit is named and left out.
fn cases(args: &Args) -> Result<Vec<Arc<Case>>, Box<dyn std::error::Error>> {
    let mut found: Vec<(String, PathBuf, Option<PathBuf>, PathBuf)> = Vec::new();
    for text in &args.case {
        let (name, files) = text
            .split_once(':')
            .ok_or_else(|| format!("\"{text}\" is not NAME:FLAIR[,T1],MASK"))?;
        let files: Vec<&str> = files.split(',').collect();
        let (flair, t1, mask) = match files[..] {
            [flair, mask] => (flair, None, mask),
            [flair, t1, mask] => (flair, (!t1.is_empty()).then(|| PathBuf::from(t1)), mask),
            _ => return Err(format!("\"{text}\" is not NAME:FLAIR[,T1],MASK").into()),
        };
        found.push((name.to_owned(), flair.into(), t1, mask.into()));
    }
    for folder in &args.cohort {
        let names = files(folder, Path::new(""))?;
        let pairing = pair(&names);
        for left in &pairing.left {
            eprintln!("{}: not used. {}", names[left.file], left.why);
        }
        for case in pairing.cases {
            for note in &case.notes {
                eprintln!("{}: {note}", case.name);
            }
            let Some(mask) = case.mask else { continue };
            let path = |file: usize| folder.join(&names[file]);
            found.push((case.name, path(case.flair), case.t1.map(path), path(mask)));
        }
    }
    let mut cases = Vec::new();
    for (name, flair, t1, mask) in found {
        let checked = check(
            &scan(&flair)?.0,
            t1.as_deref()
                .map(scan)
                .transpose()?
                .map(|(scan, _)| scan)
                .as_ref(),
            &scan(&mask)?.0,
        );
        match checked {
            Ok(checked) => {
                eprintln!("{name}: {} lesions, {:.2} mL", checked.lesions, checked.load_ml);
                for warning in &checked.warnings {
                    eprintln!("{name}: {warning}");
                }
                cases.push(Arc::new(Case::new(name, checked)));
            }
            Err(problem) => eprintln!("{name}: not used. {problem}"),
        }
    }
    Ok(cases)
}

/// The files below a folder, by their paths relative to it.
fn files(root: &Path, inside: &Path) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let folder = root.join(inside);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(at(&folder))? {
        let entry = entry.map_err(at(&folder))?;
        let path = inside.join(entry.file_name());
        if entry.file_type().map_err(at(&folder))?.is_dir() {
            names.extend(files(root, &path)?);
        } else {
            names.push(path.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn settings(args: &Args, base: &Base, cases: &[Arc<Case>]) -> Result<Settings, Box<dyn std::error::Error>> {
    let held_out = match (&args.held_out, args.folds, args.no_held_out) {
        (_, _, true) => HeldOut::Nothing,
        (_, Some(folds), _) => HeldOut::Folds(folds),
        (Some(name), ..) => HeldOut::Case(
            cases
                .iter()
                .position(|case| case.name() == name)
                .ok_or_else(|| format!("there is no usable case \"{name}\" to hold out"))?,
        ),
        _ => HeldOut::Case(0),
    };
    let mut settings = Settings {
        beta: args.beta,
        part: match args.part {
            PartChoice::Head => Part::Head,
            PartChoice::Decoder => Part::Decoder,
            PartChoice::Everything => Part::Everything,
        },
        statistics: match args.statistics {
            StatisticsChoice::Frozen => Statistics::Frozen,
            StatisticsChoice::Adapted => Statistics::Adapted,
        },
        steps: args.steps,
        learning_rate: args.learning_rate,
        held_out,
        patch: args.patch.unwrap_or(base.patch()),
        augment: !args.no_augmentation,
        dropout: args.dropout,
        look_every: args.look_every,
        look_overlap: args.look_overlap,
        patience: args.patience,
        checkpoint_every: args.checkpoint_every,
        seed: args.seed,
        threshold: base.threshold(),
        ..Settings::default()
    };
    settings.segment.overlap = args.overlap;
    settings.validate(cases.len(), base.config())?;
    Ok(settings)
}

/// Runs to the end, telling of every look and keeping the last checkpoint on disk. Who interrupts it loses nothing.
fn go(session: &mut Session, learner: &Local, path: &Path) -> Outcome {
    let mut failed = None;
    let mut told = Instant::now();
    let word = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.3}"));
    let ended = pollster::block_on(session.advance(learner, |event| {
        match event {
            Event::Stage(place) => eprintln!("{}", words(&place)),
            Event::Step(point, place) if told.elapsed() >= Duration::from_secs(5) => {
                told = Instant::now();
                eprintln!("{}, loss {:.3}", words(&place), point.smoothed);
            }
            Event::Look { look, .. } => {
                for s in &look.scores {
                    eprintln!(
                        "step {}: case {} DSC {} precision {} recall {} F2 {} area {}{}",
                        look.step,
                        s.case + 1,
                        word(s.dsc),
                        word(s.precision),
                        word(s.recall),
                        word(s.f2),
                        word(s.apr),
                        if look.best { " (best)" } else { "" }
                    );
                }
            }
            Event::Checkpoint(bytes) => {
                if let Err(problem) = write(path, bytes) {
                    failed = Some(problem);
                    return ControlFlow::Break(());
                }
            }
            _ => {}
        }
        if interrupt::asked() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }));
    match (ended, failed) {
        (_, Some(problem)) => Err(problem.into()),
        (Ok(()), None) => Ok(()),
        (Err(FinetuneError::Paused { .. }), None) => {
            let bytes = pollster::block_on(session.checkpoint_now(learner))?;
            write(path, &bytes)?;
            let Place { step, steps, .. } = session.place();
            let file = path.to_owned();
            Err(Interrupted { step, steps, file }.into())
        }
        (Err(problem), None) => Err(problem.into()),
    }
}

fn words(place: &Place) -> String {
    let left = place.left.map_or(String::new(), |left| {
        format!(", {:.0} min left", (left.as_secs_f64() / 60.0).ceil())
    });
    let run = if place.folds > 1 {
        format!("run {} of {}, ", place.fold + 1, place.folds)
    } else {
        String::new()
    };
    format!(
        "{}: {run}step {} of {}{left}",
        place.stage, place.step, place.steps
    )
}

fn save(session: &Session, args: &Args) -> Outcome {
    let Some(outcome) = session.outcome() else {
        return Ok(());
    };
    let value = outcome.card(&args.name);
    let card: Card = serde_json::from_value(value.clone())?;
    write(&args.out.join("weights.safetensors"), &outcome.weights)?;
    write(
        &args.out.join("card.json"),
        serde_json::to_string_pretty(&value)?.as_bytes(),
    )?;
    write(&args.out.join("CARD.md"), card.markdown().as_bytes())?;
    write(&args.out.join("curve.csv"), csv(session.history())?.as_bytes())?;
    println!("{}", outcome.record.verdict);
    for change in &outcome.record.summary {
        let mean = |s: Option<equipoise::pipeline::finetune::Spread>| {
            s.map_or("-".to_owned(), |s| format!("{:.3}", s.mean))
        };
        println!(
            "{}: {} to {}",
            change.figure,
            mean(change.before),
            mean(change.after)
        );
    }
    println!("Research use only.");
    Ok(())
}

/// Every step and every look as a table.
fn csv(folds: &[FoldRecord]) -> Result<String, std::fmt::Error> {
    let mut out = String::from("run,step,loss,case,dsc,precision,recall,f2,area\n");
    let cell = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:.4}"));
    for (run, fold) in folds.iter().enumerate() {
        for look in &fold.looks {
            for s in &look.scores {
                let figures = [s.dsc, s.precision, s.recall, s.f2, s.apr].map(cell).join(",");
                writeln!(out, "{run},{},,{},{figures}", look.step, s.case)?;
            }
        }
        for (step, loss) in fold.losses.iter().enumerate() {
            writeln!(out, "{run},{},{loss:.5},,,,,,", step + 1)?;
        }
    }
    Ok(out)
}
