//! `lab evidence`: from configurations to the family that ships, its cards and the tables of docs/accuracy.md.

mod average;
mod cards;
mod document;

use crate::cohort::{self, ablation};
use crate::native::{DeviceChoice, at, read, write};
use crate::{Outcome, pretrain};
use cards::Member;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is trained, scored and shipped (JSON); its files lie beside it.
    #[arg(long, default_value = "docs/training/plan.json")]
    plan: PathBuf,
    /// Folder with training material and cases.
    #[arg(long, default_value = "../shared/data")]
    data: PathBuf,
    /// Folder for a folder a run. What is trained there already is not trained again.
    #[arg(long)]
    runs: PathBuf,
    /// Where networks are trained and run.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceChoice,
    /// Threads that make patches ahead.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Document whose blocks are written.
    #[arg(long, default_value = "docs/accuracy.md")]
    document: PathBuf,
    /// Folder for the figures.
    #[arg(long, default_value = "docs/images")]
    images: PathBuf,
    /// Folder of the family that ships.
    #[arg(long, default_value = "www/models")]
    models: PathBuf,
}

/// What is trained, scored and shipped.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    /// Training runs, each after those that it starts from.
    runs: Vec<Run>,
    /// Networks that are the mean of several runs.
    #[serde(default)]
    averages: Vec<Average>,
    /// The cohort's file.
    cohort: PathBuf,
    ablation: Ablation,
    family: Vec<Member>,
    /// Known failures of the family, a sentence each.
    failures: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    name: String,
    config: PathBuf,
    /// The run, or the average, whose weights it starts from.
    from: Option<String>,
    hold_out: Option<u8>,
    /// Steps, if not the configuration's.
    steps: Option<u64>,
    /// Seed, if not the configuration's.
    seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Average {
    name: String,
    /// Runs that started from one and the same.
    of: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ablation {
    plan: PathBuf,
    from: String,
    hold_out: Option<u8>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let plan: Plan = serde_json::from_slice(&read(&args.plan)?).map_err(at(&args.plan))?;
    let beside = |file: &Path| args.plan.with_file_name(file);
    let groups = cohort::list::read_groups(&beside(&plan.cohort), &[])?;
    cohort::list::check(&groups, &args.data)?;
    // What is wanted is trained, and what that needs.
    for name in plan.wanted()? {
        train(args, &plan, &name)?;
    }
    for average in &plan.averages {
        train(args, &plan, &average.name)?;
    }
    let cohort = cohort::Args {
        cohort: beside(&plan.cohort),
        data: args.data.clone(),
        models: args.runs.clone(),
        overlap: 0.5,
        device: args.device,
        only: Vec::new(),
        no_ablation: false,
        out: args.runs.join("evidence"),
    };
    let evidence = cohort::score_all(&cohort, &groups)?;
    let ablation = ablation::all(&ablation::Args {
        plan: beside(&plan.ablation.plan),
        data: args.data.clone(),
        hold_out: plan.ablation.hold_out,
        from: args.runs.join(&plan.ablation.from).join("weights.safetensors"),
        device: args.device,
        threads: args.threads,
        train_only: false,
        out: args.runs.join("ablation"),
    })?;
    let text = String::from_utf8(read(&args.document)?).map_err(at(&args.document))?;
    let mut text = document::with_block(&text, "ablation", &ablation)?;
    for (name, table) in evidence.blocks()? {
        text = document::with_block(&text, name, &table)?;
    }
    if let Some(worst) = evidence.worst() {
        let picture = read(&worst.picture(&cohort.out))?;
        write(&args.images.join("accuracy-worst.png"), &picture)?;
        let caption = format!(
            "![{}: DSC {:.3}](images/accuracy-worst.png)",
            worst.label(),
            worst.dsc()
        );
        text = document::with_block(&text, "worst", &caption)?;
    }
    write(&args.document, text.as_bytes())?;
    evidence.draw(&args.images, "accuracy-")?;
    for member in &plan.family {
        let from = args.runs.join(&member.run);
        cards::ship(
            member,
            &from,
            &args.models.join(&member.run),
            &evidence,
            &plan.members(),
            &plan.failures,
        )?;
    }
    Ok(())
}

/// The plan names a run that it does not have.
#[derive(Debug, thiserror::Error)]
#[error("the plan has no run {0:?}")]
struct NoRun(String);

impl Plan {
    fn find(&self, name: &str) -> Result<&Run, NoRun> {
        let found = self.runs.iter().find(|run| run.name == name);
        found.ok_or_else(|| NoRun(name.to_owned()))
    }

    fn members(&self) -> Vec<&str> {
        self.family.iter().map(|member| member.run.as_str()).collect()
    }

    /// The runs that nobody starts from, and what the ablation starts from.
    fn wanted(&self) -> Result<Vec<String>, NoRun> {
        let ends = self.runs.iter().filter(|run| {
            !self
                .runs
                .iter()
                .any(|other| other.from.as_ref() == Some(&run.name))
        });
        let mut all: Vec<String> = ends.map(|run| run.name.clone()).collect();
        all.push(self.find(&self.ablation.from)?.name.clone());
        Ok(all)
    }
}

/// Trains a run, and before it what it starts from, unless that was done; or makes an average, and before it what it is of.
fn train(args: &Args, plan: &Plan, name: &str) -> Outcome {
    if let Some(average) = plan.averages.iter().find(|average| average.name == name) {
        for run in &average.of {
            train(args, plan, run)?;
        }
        return average::make(name, &average.of, &args.runs);
    }
    let run = plan.find(name)?;
    let out = args.runs.join(name);
    if out.join("weights.safetensors").exists() && !out.join("checkpoint.bin").exists() {
        // Kept from elsewhere.
        return Ok(());
    }
    if let Some(from) = &run.from {
        train(args, plan, from)?;
    }
    eprintln!("{name}");
    pretrain::run(&pretrain::Args {
        config: Some(args.plan.with_file_name(&run.config)),
        data: args.data.clone(),
        out,
        hold_out: run.hold_out,
        from: run
            .from
            .as_ref()
            .map(|from| args.runs.join(from).join("weights.safetensors")),
        steps: run.steps,
        seed: run.seed,
        minutes: None,
        fit: false,
        checkpoint_minutes: 5.0,
        watch_every: 50,
        device: args.device,
        threads: args.threads,
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_s_plan_leads_from_nothing_to_the_family() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/training");
        let plan: Plan = serde_json::from_slice(&read(&folder.join("plan.json")).unwrap()).unwrap();
        let wanted = plan.wanted().unwrap();
        for member in &plan.family {
            assert!(wanted.contains(&member.run), "{}", member.run);
        }
        assert_eq!(plan.family.iter().filter(|m| m.recommended).count(), 1);
        for (index, run) in plan.runs.iter().enumerate() {
            let config = read(&folder.join(&run.config)).unwrap();
            serde_json::from_slice::<equipoise::learn::trainer::TrainConfig>(&config).unwrap();
            if let Some(from) = &run.from {
                let average = plan.averages.iter().find(|average| average.name == *from);
                let from = average.map_or(from, |average| &average.of[0]);
                let before = plan.runs[..index].iter().find(|r| r.name == *from);
                let before = before.unwrap_or_else(|| panic!("{} starts from a later run", run.name));
                // A fold never starts from a network that has seen its patient.
                assert!(
                    run.hold_out.is_none() || run.hold_out == before.hold_out,
                    "{}",
                    run.name
                );
            }
        }
        for average in &plan.averages {
            let runs: Vec<_> = average.of.iter().map(|name| plan.find(name).unwrap()).collect();
            assert!(runs.len() > 1, "{}", average.name);
            for run in &runs {
                let same = |of: &Run| (of.from.clone(), of.hold_out, of.config.clone());
                assert_eq!(same(run), same(runs[0]), "{}", average.name);
            }
            let mut seeds: Vec<_> = runs.iter().map(|run| run.seed).collect();
            seeds.sort_unstable();
            seeds.dedup();
            assert_eq!(seeds.len(), runs.len(), "{}", average.name);
        }
        let groups = cohort::list::read_groups(&folder.join(&plan.cohort), &[]).unwrap();
        for group in &groups {
            let name = group.model.to_str().unwrap();
            assert!(
                plan.averages.iter().any(|average| average.name == name) || plan.find(name).is_ok(),
                "{name}"
            );
        }
    }
}
