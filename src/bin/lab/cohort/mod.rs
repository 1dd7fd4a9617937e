//! `lab evaluate-cohort`: networks over a list of cases, as one table and one figure.

use crate::Outcome;
use crate::native::{DeviceChoice, at, read, write};
use crate::segment;
use equipoise::metrics::{self, Evaluation, evaluate};
use equipoise::pipeline::{Settings, prepare};
use equipoise::tiling::Window;
use equipoise::volume::nifti::{self, Limits};
use equipoise::volume::resample::{Interpolation, resample};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
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
    /// Folder for table.md, curves.svg and every case's figures (JSON).
    #[arg(long)]
    out: PathBuf,
}

/// Cases that one network is scored on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// Heading of its table: real or synthetic, held out or trained on.
    heading: String,
    /// Folder of the network (`card.json` and weights).
    model: PathBuf,
    cases: Vec<Case>,
}

/// One scan and what is right.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    flair: PathBuf,
    t1: Option<PathBuf>,
    /// Reference masks by rater, in this order in the table. On another grid the probability is resampled to it.
    references: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    rater: String,
    mask: PathBuf,
}

/// What one case's file holds.
#[derive(Serialize)]
struct Scored<'a> {
    heading: &'a str,
    case: &'a str,
    rater: &'a str,
    channels: &'static str,
    evaluation: Evaluation,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let groups: Vec<Group> = serde_json::from_slice(&read(&args.cohort)?).map_err(at(&args.cohort))?;
    std::fs::create_dir_all(&args.out).map_err(at(&args.out))?;
    let mut table = String::new();
    let mut all = Vec::new();
    for group in &groups {
        let (card, engine) = segment::model(&args.models.join(&group.model), args.device)?;
        let settings = Settings {
            patch: card.patch,
            overlap: args.overlap,
            window: Window::Bspline,
            rotations: false,
            variance: false,
            compare_windows: false,
        };
        let mut scored = Vec::new();
        for case in &group.cases {
            eprintln!("{}: {}", group.heading, case.name);
            let (flair, _) = segment::scan(&args.data.join(&case.flair))?;
            let t1 = case
                .t1
                .as_ref()
                .map(|p| segment::scan(&args.data.join(p)))
                .transpose()?;
            let prepared = prepare(&flair, t1.as_ref().map(|(scan, _)| scan))?;
            let run = equipoise::pipeline::segment(&prepared.head, &engine, &settings, segment::tell);
            let probability = prepared.restore(pollster::block_on(run)?.probability)?;
            eprintln!();
            for reference in &case.references {
                let path = args.data.join(&reference.mask);
                let truth = nifti::read(&read(&path)?, &Limits::default())
                    .map_err(at(&path))?
                    .volume;
                let on_grid = resample(&probability, &truth.grid, Interpolation::Linear, 0.0)?;
                let lesion: Vec<bool> = truth.data.iter().map(|v| *v > 0.0).collect();
                let settings = metrics::Settings::default();
                let volume = truth.grid.voxel_volume();
                let evaluation = evaluate(&lesion, &on_grid.data, truth.grid.shape, volume, &settings)?;
                scored.push(Scored {
                    heading: &group.heading,
                    case: &case.name,
                    rater: &reference.rater,
                    channels: if t1.is_some() { "FLAIR + T1" } else { "FLAIR" },
                    evaluation,
                });
            }
        }
        write_table(&mut table, group, &scored)?;
        all.extend(scored);
        // After every group: a run that is stopped leaves what it has.
        write(&args.out.join("table.md"), table.as_bytes())?;
        write(
            &args.out.join("figures.json"),
            serde_json::to_string_pretty(&all)?.as_bytes(),
        )?;
        draw(&args.out.join("curves.svg"), &all)?;
    }
    print!("{table}");
    Ok(())
}

/// One group as a Markdown table; `-` where a ratio has no value.
fn write_table(out: &mut String, group: &Group, scored: &[Scored<'_>]) -> std::fmt::Result {
    let patients = group.cases.len();
    writeln!(out, "**{}** (n = {patients})\n", group.heading)?;
    writeln!(
        out,
        "| case | channels | rater | mL | DSC | PPV | TPR | F2 | APR | LTPR | LFPR | best DSC, hindsight (threshold) |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|---|")?;
    let word = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.3}"));
    for s in scored {
        let e = &s.evaluation;
        let best = e.best_thresholds.iter().find(|b| (b.beta - 1.0).abs() < 1e-9);
        let best = best.map_or("-".to_owned(), |b| {
            format!("{:.3} ({:.2e})", b.f_beta, b.threshold)
        });
        writeln!(
            out,
            "| {} | {} | {} | {:.1} | {} | {} | {} | {} | {} | {} | {} | {best} |",
            s.case,
            s.channels,
            s.rater,
            e.reference_ml,
            word(e.dsc),
            word(e.ppv),
            word(e.tpr),
            word(e.f2),
            word(e.apr),
            word(e.ltpr),
            word(e.lfpr),
        )?;
    }
    writeln!(out)
}

/// All precision-recall curves in one figure.
fn draw(path: &Path, scored: &[Scored<'_>]) -> Outcome {
    use plotters::prelude::*;
    /// Colours that people with any colour vision can tell apart (Okabe and Ito).
    const COLOURS: [RGBColor; 7] = [
        RGBColor(0, 114, 178),
        RGBColor(213, 94, 0),
        RGBColor(0, 158, 115),
        RGBColor(204, 121, 167),
        RGBColor(86, 180, 233),
        RGBColor(230, 159, 0),
        RGBColor(0, 0, 0),
    ];
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (760, 560)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption("Precision and recall over all thresholds", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        chart
            .configure_mesh()
            .x_desc("recall (TPR)")
            .y_desc("precision (PPV)")
            .draw()?;
        for (s, colour) in scored.iter().zip(COLOURS.iter().cycle()) {
            let points = s.evaluation.curve.iter().map(|p| (p.recall, p.precision));
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                .label(format!("{}, {} ({})", s.case, s.channels, s.rater))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
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
