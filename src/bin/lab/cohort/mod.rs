//! `lab evaluate-cohort`: networks over a list of cases, as tables and figures.

pub(crate) mod ablation;
mod alignment;
mod calibration;
mod figure;
mod fusion;
pub(crate) mod list;
mod pictures;
mod runner;
pub(crate) mod score;
mod scores;
mod sizes;
mod threshold;

use crate::Outcome;
use crate::native::{DeviceChoice, write};
use equipoise::pipeline::Settings;
use equipoise::tiling::Window;
use fusion::Trial;
use runner::Runner;
use score::{Scored, Subject};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The cohort (JSON): groups of cases, each with the network that is scored on them; see docs/training/cohort.json.
    #[arg(long)]
    pub(crate) cohort: PathBuf,
    /// Folder that images and references are relative to.
    #[arg(long, default_value = "../shared/data")]
    pub(crate) data: PathBuf,
    /// Folder that the groups' networks are relative to.
    #[arg(long)]
    pub(crate) models: PathBuf,
    /// Share of the patch side that neighbouring patches have in common.
    #[arg(long, default_value_t = 0.5)]
    pub(crate) overlap: f64,
    /// Where the network runs.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceChoice,
    /// Score only groups whose heading contains this; may be repeated.
    #[arg(long)]
    pub(crate) only: Vec<String>,
    /// Leave out the further runs (windows, overlaps, rotations, without T1) of groups that ask for them.
    #[arg(long)]
    pub(crate) no_ablation: bool,
    /// Folder for table.md, the figures (SVG), every case's figures (figures.json) and the further runs' (fusion.json).
    #[arg(long)]
    pub(crate) out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let groups = list::read_groups(&args.cohort, &args.only)?;
    print!("{}", score_all(args, &groups)?.tables()?);
    Ok(())
}

/// Scores every group, and writes what was found after each.
pub(crate) fn score_all<'a>(
    args: &Args,
    groups: &'a [list::Group],
) -> Result<Evidence<'a>, Box<dyn std::error::Error>> {
    let folder = args.out.join("pictures");
    std::fs::create_dir_all(&folder).map_err(crate::native::at(&folder))?;
    let mut evidence = Evidence::default();
    for group in groups {
        let data = group.folder(&args.data);
        let runner = Runner::open(&args.models.join(&group.model), args.device, &args.out)?;
        let ablation = group.ablation && !args.no_ablation;
        let settings = Settings {
            patch: runner.card.patch,
            overlap: args.overlap,
            window: Window::Bspline,
            rotations: group.rotations,
            variance: false,
            // The other windows fuse the same votes, so they need no run of their own.
            compare_windows: ablation,
            hyperintensity: !group.any_brightness,
        };
        let mut scored = Vec::new();
        for case in &group.cases {
            eprintln!("{}: {}", group.heading, case.name);
            let subject = Subject::read(data, case)?;
            let prepared = subject.prepare()?;
            let pass = runner.pass(&prepared, &settings)?;
            for (index, (_, truth)) in subject.raters.iter().enumerate() {
                let score = subject.score(group, index, &pass.probability)?;
                if index == 0 {
                    let sheet = pictures::sheet(&prepared, &pass.probability, truth)?;
                    write(&score.picture(&args.out), &sheet)?;
                }
                scored.push(score);
            }
            if ablation {
                let trials = fusion::trials(group, &subject, &prepared, pass, &runner)?;
                evidence.trials.extend(trials);
            }
        }
        // A further run's table has the first run's figures, too.
        if !ablation {
            evidence.scores += &scores::table(group, &scored)?;
        }
        evidence.scored.extend(scored);
        // After every group: a run that is stopped leaves what it has.
        evidence.write(&args.out)?;
    }
    Ok(evidence)
}

/// What the groups that are done have shown.
#[derive(Default)]
pub(crate) struct Evidence<'a> {
    /// The groups' own tables.
    scores: String,
    scored: Vec<Scored<'a>>,
    trials: Vec<Trial<'a>>,
}

impl<'a> Evidence<'a> {
    /// Every network on every case and rater once, whatever the number of groups that list it.
    pub(crate) fn distinct(&self) -> Vec<&Scored<'a>> {
        let mut kept: Vec<&Scored<'a>> = Vec::new();
        for s in &self.scored {
            if !kept.iter().any(|k| k.key() == s.key()) {
                kept.push(s);
            }
        }
        kept
    }

    /// All tables, one after another (Markdown).
    fn tables(&self) -> Result<String, std::fmt::Error> {
        Ok(self.blocks()?.map(|(_, table)| table).concat())
    }

    /// The tables and their names.
    pub(crate) fn blocks(&self) -> Result<[(&'static str, String); 6], std::fmt::Error> {
        // Every case once: four rotations and what a network was trained on say little here.
        let new: Vec<_> = self.pool();
        Ok([
            ("scores", self.scores.clone()),
            ("alignment", alignment::table(&self.distinct())?),
            ("calibration", calibration::table(&new)?),
            ("sizes", sizes::table(&new)?),
            ("threshold", threshold::table(&self.distinct())?),
            ("fusion", fusion::table(&self.trials)?),
        ])
    }

    /// Of the pictures that may be shown the one with the lowest DSC.
    pub(crate) fn worst(&self) -> Option<&Scored<'a>> {
        let shown = self.scored.iter().filter(|s| s.group.show);
        shown.min_by(|a, b| a.dsc().total_cmp(&b.dsc()))
    }

    /// The results on patients that are new to the network, first rater; all results if there are none.
    fn pool(&self) -> Vec<&Scored<'a>> {
        let all = self.distinct();
        let pool: Vec<_> = all.iter().copied().filter(|s| s.pool).collect();
        if pool.is_empty() { all } else { pool }
    }

    /// The figures, beside the tables of [`Evidence::blocks`]: precision and recall of the pool and of every comparison,
    /// calibration, sizes.
    pub(crate) fn draw(&self, folder: &Path, prefix: &str) -> Outcome {
        let path = |name: &str| folder.join(format!("{prefix}{name}.svg"));
        let pool = self.pool();
        scores::draw(&path("curves"), &pool)?;
        calibration::draw(&path("reliability"), &pool)?;
        sizes::draw(&path("sizes"), &pool)?;
        let all = self.distinct();
        let mut names: Vec<&str> = all.iter().filter_map(|s| s.group.compare.as_deref()).collect();
        names.dedup();
        for name in names {
            let of = |s: &&Scored<'_>| s.group.compare.as_deref() == Some(name);
            // The first rater's of a case come first.
            let mut drawn: Vec<&Scored<'_>> = Vec::new();
            for s in all.iter().copied().filter(of) {
                let same = |d: &&Scored<'_>| (d.model, d.case, d.channels) == (s.model, s.case, s.channels);
                if !drawn.iter().any(same) {
                    drawn.push(s);
                }
            }
            scores::draw(&path(name), &drawn)?;
        }
        Ok(())
    }

    fn write(&self, out: &Path) -> Outcome {
        write(&out.join("table.md"), self.tables()?.as_bytes())?;
        let figures = serde_json::to_string_pretty(&self.scored)?;
        write(&out.join("figures.json"), figures.as_bytes())?;
        if !self.trials.is_empty() {
            let trials = serde_json::to_string_pretty(&self.trials)?;
            write(&out.join("fusion.json"), trials.as_bytes())?;
        }
        self.draw(out, "")
    }
}

/// A score with three decimals; `-` where it has no value.
fn word(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3}"))
}
