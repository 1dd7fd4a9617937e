//! `lab ablation`: short runs from one warm start, each with one thing changed, scored on the same cases.

use super::list::Case;
use super::runner::Runner;
use super::score::{Subject, best_dsc};
use super::word;
use crate::native::{DeviceChoice, at, read, write};
use crate::{Outcome, pretrain};
use equipoise::learn::trainer::TrainConfig;
use equipoise::pipeline::Settings;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

type Problem = Box<dyn std::error::Error>;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The plan (JSON): a training configuration, the runs with what each changes in it, and cases; see docs/training/ablation.json.
    #[arg(long)]
    pub(crate) plan: PathBuf,
    /// Folder that images and references are relative to; it also holds the training material.
    #[arg(long, default_value = "../shared/data")]
    pub(crate) data: PathBuf,
    /// Patient (1-30) whose image, mask and tissue map train nothing.
    #[arg(long)]
    pub(crate) hold_out: Option<u8>,
    /// The weights that every run starts from.
    #[arg(long)]
    pub(crate) from: PathBuf,
    /// Where the networks are trained and run.
    #[arg(long, value_enum, default_value = "cpu")]
    pub(crate) device: DeviceChoice,
    /// Threads that make patches ahead.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Only train; score when the command is run again without this.
    #[arg(long)]
    pub(crate) train_only: bool,
    /// Folder for a folder a run, table.md and ablation.json. What is there already is not done again.
    #[arg(long)]
    pub(crate) out: PathBuf,
}

/// What is run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    /// What all runs have in common: a [`TrainConfig`].
    config: Value,
    runs: Vec<Variant>,
    /// Share of the patch side that neighbouring patches have in common when the cases are run.
    overlap: f64,
    cases: Vec<Case>,
}

/// One run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    /// Its folder.
    name: String,
    /// What is different, in words.
    what: String,
    /// Merged into the configuration (RFC 7386).
    #[serde(default)]
    change: Value,
}

/// A run's figures on one case, at threshold 0.5.
#[derive(Clone, Serialize, Deserialize)]
struct Row {
    run: String,
    what: String,
    case: String,
    channels: String,
    #[serde(rename = "DSC")]
    dsc: Option<f64>,
    #[serde(rename = "PPV")]
    ppv: Option<f64>,
    #[serde(rename = "TPR")]
    tpr: Option<f64>,
    #[serde(rename = "APR")]
    apr: Option<f64>,
    /// Best DSC over all thresholds, with hindsight.
    best: Option<f64>,
    #[serde(rename = "LTPR")]
    ltpr: Option<f64>,
    #[serde(rename = "LFPR")]
    lfpr: Option<f64>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    print!("{}", all(args)?);
    Ok(())
}

/// Trains and scores what is not done yet; the table.
pub(crate) fn all(args: &Args) -> Result<String, Problem> {
    let plan: Plan = serde_json::from_slice(&read(&args.plan)?).map_err(at(&args.plan))?;
    let mut rows = Vec::new();
    for variant in &plan.runs {
        let out = args.out.join(&variant.name);
        std::fs::create_dir_all(&out).map_err(at(&out))?;
        train(args, &plan.config, variant, &out)?;
        if args.train_only {
            continue;
        }
        rows.extend(scored(args, &plan, variant, &out)?);
        // After every run: a command that is stopped leaves what it has.
        write(&args.out.join("table.md"), table(&plan.cases, &rows)?.as_bytes())?;
        write(
            &args.out.join("ablation.json"),
            serde_json::to_string_pretty(&rows)?.as_bytes(),
        )?;
    }
    Ok(table(&plan.cases, &rows)?)
}

/// Trains one run, unless that was done.
fn train(args: &Args, base: &Value, variant: &Variant, out: &Path) -> Outcome {
    let mut config = base.clone();
    merge(&mut config, &variant.change);
    let steps = serde_json::from_value::<TrainConfig>(config.clone())?.steps;
    let path = out.join("config.json");
    write(&path, serde_json::to_string_pretty(&config)?.as_bytes())?;
    let card = out.join("card.json");
    let done = card.exists() && {
        let card: Value = serde_json::from_slice(&read(&card)?).map_err(at(&card))?;
        card["training"]["steps"] == steps
    };
    if done {
        return Ok(());
    }
    eprintln!("{}: {}", variant.name, variant.what);
    pretrain::run(&pretrain::Args {
        config: Some(path),
        data: args.data.clone(),
        out: out.to_owned(),
        hold_out: args.hold_out,
        from: Some(args.from.clone()),
        steps: None,
        seed: None,
        minutes: None,
        fit: false,
        checkpoint_minutes: 5.0,
        // The last step is looked at in any case.
        watch_every: steps,
        device: args.device,
        threads: args.threads,
        name: variant.name.clone(),
    })
}

/// The figures of one run, or those that lie there.
fn scored(args: &Args, plan: &Plan, variant: &Variant, out: &Path) -> Result<Vec<Row>, Problem> {
    let path = out.join("figures.json");
    if path.exists() {
        return Ok(serde_json::from_slice(&read(&path)?).map_err(at(&path))?);
    }
    let runner = Runner::open(out, args.device, &args.out)?;
    let settings = Settings {
        patch: runner.card.patch,
        overlap: plan.overlap,
        ..Settings::default()
    };
    let mut rows = Vec::new();
    for case in &plan.cases {
        eprintln!("{}: {}", variant.name, case.name);
        let subject = Subject::read(&args.data, case)?;
        let pass = runner.pass(&subject.prepare()?, &settings)?;
        let Some((_, truth)) = subject.raters.first() else {
            continue;
        };
        let e = truth.evaluate(&truth.place(&pass.probability)?)?;
        rows.push(Row {
            run: variant.name.clone(),
            what: variant.what.clone(),
            case: case.name.clone(),
            channels: subject.channels().to_owned(),
            dsc: e.dsc,
            ppv: e.ppv,
            tpr: e.tpr,
            apr: e.apr,
            best: best_dsc(&e).map(|b| b.f_beta),
            ltpr: e.ltpr,
            lfpr: e.lfpr,
        });
    }
    write(&path, serde_json::to_string_pretty(&rows)?.as_bytes())?;
    Ok(rows)
}

/// Changes `value` as a JSON merge patch says.
fn merge(value: &mut Value, change: &Value) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            for (key, change) in change {
                if change.is_null() {
                    value.remove(key);
                } else {
                    merge(value.entry(key.clone()).or_insert(Value::Null), change);
                }
            }
        }
        // A run that changes nothing.
        (_, Value::Null) => {}
        (value, change) => *value = change.clone(),
    }
}

/// A line a run, for each case one after another.
fn table(cases: &[Case], rows: &[Row]) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    for case in cases {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.case == case.name).collect();
        let channels = rows.first().map_or("", |row| &row.channels);
        writeln!(out, "**{}, {channels}** (n = 1)\n", case.name)?;
        writeln!(
            out,
            "| changed | DSC | PPV | TPR | area under PR | best DSC, hindsight | LTPR | LFPR |\n|---|---|---|---|---|---|---|---|"
        )?;
        for row in rows {
            let figures = [row.dsc, row.ppv, row.tpr, row.apr, row.best, row.ltpr, row.lfpr];
            writeln!(out, "| {} | {} |", row.what, figures.map(word).join(" | "))?;
        }
        writeln!(out)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use equipoise::loss::Loss;

    #[test]
    fn every_run_of_the_project_s_plan_is_a_configuration_and_changes_something() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/training/ablation.json");
        let plan: Plan = serde_json::from_slice(&read(&path).unwrap()).unwrap();
        let mut seen: Vec<TrainConfig> = Vec::new();
        for variant in &plan.runs {
            let mut config = plan.config.clone();
            merge(&mut config, &variant.change);
            let config: TrainConfig = serde_json::from_value(config).unwrap();
            config.validate().unwrap();
            assert!(
                !seen.contains(&config),
                "{} is the same as another run",
                variant.name
            );
            seen.push(config);
        }
        assert!(seen.iter().any(|c| matches!(c.loss, Loss::GeneralizedDice)));
        // One budget for all.
        assert!(
            seen.iter()
                .all(|c| (c.steps, c.batch) == (seen[0].steps, seen[0].batch))
        );
    }

    #[test]
    fn a_change_is_merged_as_rfc_7386_says() {
        let mut value = serde_json::json!({"a": {"b": 1, "c": 2}, "d": [1, 2], "e": 5});
        let change = serde_json::json!({"a": {"b": null, "x": {"y": 3}}, "d": [9], "e": {"f": 1}});
        merge(&mut value, &change);
        assert_eq!(
            value,
            serde_json::json!({"a": {"c": 2, "x": {"y": 3}}, "d": [9], "e": {"f": 1}})
        );
    }
}
