//! `lab evaluate-cohort`: networks over a list of cases, as tables and figures.

mod calibration;
mod figure;
mod fusion;
mod list;
mod score;
mod scores;
mod sizes;
mod threshold;

use crate::Outcome;
use crate::native::{DeviceChoice, write};
use crate::segment;
use equipoise::pipeline::Settings;
use equipoise::tiling::Window;
use fusion::Trial;
use score::{Pass, Scored, Subject};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The cohort (JSON): groups of cases, each with the network that is scored on them; see docs/training/cohort.json.
    #[arg(long)]
    cohort: PathBuf,
    /// Folder that images and references are relative to.
    #[arg(long, default_value = "../shared/data")]
    data: PathBuf,
    /// Folder that the groups' networks are relative to.
    #[arg(long)]
    models: PathBuf,
    /// Share of the patch side that neighbouring patches have in common.
    #[arg(long, default_value_t = 0.5)]
    overlap: f64,
    /// Where the network runs.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Score only groups whose heading contains this; may be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// Leave out the further runs (windows, overlaps, rotations, without T1) of groups that ask for them.
    #[arg(long)]
    no_ablation: bool,
    /// Folder for table.md, the figures (SVG), every case's figures (figures.json) and the further runs' (fusion.json).
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let groups = list::read_groups(&args.cohort, &args.only)?;
    std::fs::create_dir_all(&args.out).map_err(crate::native::at(&args.out))?;
    let mut evidence = Evidence::default();
    for group in &groups {
        let (card, engine) = segment::model(&args.models.join(&group.model), args.device, false)?;
        let ablation = group.ablation && !args.no_ablation;
        let settings = Settings {
            patch: card.patch,
            overlap: args.overlap,
            window: Window::Bspline,
            rotations: false,
            variance: false,
            // The other windows fuse the same votes, so they need no run of their own.
            compare_windows: ablation,
        };
        let mut scored = Vec::new();
        for case in &group.cases {
            eprintln!("{}: {}", group.heading, case.name);
            let subject = Subject::read(&args.data, case)?;
            let prepared = subject.prepare()?;
            let pass = Pass::run(&prepared, &engine, &settings)?;
            for index in 0..subject.raters.len() {
                scored.push(subject.score(group, index, &pass.probability)?);
            }
            if ablation {
                let trials = fusion::trials(group, &subject, &prepared, pass, &engine)?;
                evidence.trials.extend(trials);
            }
        }
        evidence.scores += &scores::table(group, &scored)?;
        evidence.scored.extend(scored);
        // After every group: a run that is stopped leaves what it has.
        evidence.write(&args.out)?;
    }
    print!("{}", evidence.tables()?);
    Ok(())
}

/// What the groups that are done have shown.
#[derive(Default)]
struct Evidence<'a> {
    /// The groups' own tables.
    scores: String,
    scored: Vec<Scored<'a>>,
    trials: Vec<Trial<'a>>,
}

impl<'a> Evidence<'a> {
    /// Every network on every case and rater once, whatever the number of groups that list it.
    fn distinct(&self) -> Vec<&Scored<'a>> {
        let mut kept: Vec<&Scored<'a>> = Vec::new();
        for s in &self.scored {
            if !kept.iter().any(|k| k.key() == s.key()) {
                kept.push(s);
            }
        }
        kept
    }

    fn tables(&self) -> Result<String, std::fmt::Error> {
        let scored = self.distinct();
        Ok([
            self.scores.clone(),
            calibration::table(&scored)?,
            sizes::table(&scored)?,
            threshold::table(&scored)?,
            fusion::table(&self.trials)?,
        ]
        .concat())
    }

    fn write(&self, out: &Path) -> Outcome {
        write(&out.join("table.md"), self.tables()?.as_bytes())?;
        let figures = serde_json::to_string_pretty(&self.scored)?;
        write(&out.join("figures.json"), figures.as_bytes())?;
        if !self.trials.is_empty() {
            let trials = serde_json::to_string_pretty(&self.trials)?;
            write(&out.join("fusion.json"), trials.as_bytes())?;
        }
        let scored = self.distinct();
        scores::draw(&out.join("curves.svg"), &scored)?;
        calibration::draw(&out.join("reliability.svg"), &scored)?;
        sizes::draw(&out.join("sizes.svg"), &scored)
    }
}

/// A score with three decimals; `-` where it has no value.
fn word(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3}"))
}
