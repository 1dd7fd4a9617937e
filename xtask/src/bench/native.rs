//! The groups of rows that are measured natively.

use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use serde_json::Value;

use super::figures::Series;
use super::partner::{Partner, agree, alternate};
use super::rows::Found;
use super::setup::Tools;
use crate::shell;

fn lab_partner(tools: &Tools, model: &Path, device: &str, work: &str) -> Result<Command> {
    let mut lab = tools.lab()?;
    lab.args(["bench", "partner", "--device", device, "--work", work, "--model"])
        .arg(model);
    Ok(lab)
}

fn torch_partner(tools: &Tools, model: &Path, work: &str) -> Result<Command> {
    let mut python = Command::new(tools.python()?);
    python.arg(tools.script("torch_partner.py")).arg(model).arg(work);
    python.arg(thread::available_parallelism()?.to_string());
    // Threads that spin while they wait are slow on a machine with other work (three times, measured).
    python.env("OMP_WAIT_POLICY", "PASSIVE");
    Ok(python)
}

/// The CPU: ours, PyTorch and stock operators; forward pass, training step, and what memory they take.
pub(crate) fn cpu(tools: &Tools) -> Result<Vec<Found>> {
    let model = tools.shipped();
    let mut found = Vec::new();
    let mut forward = None;
    for (work, ids, repeat) in [
        (
            "forward",
            ["cpu-forward-torch", "cpu-forward-stock", "memory-forward-torch"],
            15,
        ),
        (
            "step",
            ["cpu-step-torch", "cpu-step-stock", "memory-step-torch"],
            9,
        ),
    ] {
        let mut partners = [
            Partner::start("ours", &mut lab_partner(tools, &model, "cpu", work)?, repeat)?,
            Partner::start("", &mut torch_partner(tools, &model, work)?, repeat)?,
            Partner::start(
                "",
                lab_partner(tools, &model, "cpu", work)?.arg("--stock"),
                repeat.min(5),
            )?,
        ];
        let before = [partners[0].memory()?, partners[1].memory()?];
        alternate(&mut partners)?;
        let agreed = [agree(tools, &mut partners, work)?];
        let [ours, torch, stock] = &mut partners;
        let (mine, theirs) = (ours.series(), torch.series());
        found.push(Found::faster(ids[0], &mine, &theirs, &agreed));
        found.push(Found::faster(ids[1], &mine, &stock.series(), &agreed));
        let after = [ours.memory()?, torch.memory()?];
        let taken = |p: &Partner, i: usize| Series::new(p.name.clone(), "MB", vec![after[i] - before[i]]);
        let note = format!(
            "Growth of the peak resident set from before the first pass, when it was {:.0} MB (ours) and {:.0} MB \
             (PyTorch, its libraries among it).",
            before[0], before[1]
        );
        found.push(Found::faster(ids[2], &taken(ours, 0), &taken(torch, 1), &[note]));
        match &forward {
            None => forward = Some(mine),
            Some(forward) => found.push(step_over_forward("cpu-step-forward", &mine, forward)),
        }
    }
    Ok(found)
}

/// A GPU, or one in software: ours and stock operators.
pub(crate) fn vulkan(tools: &Tools) -> Result<Vec<Found>> {
    let model = tools.shipped();
    let mut found = Vec::new();
    let mut forward = None;
    // Stock operators take half a minute a step on an adapter in software, after minutes of tuning themselves.
    for (work, id, repeat, stock_repeat) in [
        ("forward", "vulkan-forward-stock", 7, 3),
        ("step", "vulkan-step-stock", 5, 1),
    ] {
        let mut partners = [
            Partner::start("ours", &mut lab_partner(tools, &model, "gpu", work)?, repeat)?,
            Partner::start(
                "",
                lab_partner(tools, &model, "gpu", work)?.arg("--stock"),
                stock_repeat,
            )?,
        ];
        alternate(&mut partners)?;
        let agreed = [agree(tools, &mut partners, work)?];
        let mine = partners[0].series();
        found.push(Found::faster(id, &mine, &partners[1].series(), &agreed));
        match &forward {
            None => forward = Some(mine),
            Some(forward) => found.push(step_over_forward("vulkan-step-forward", &mine, forward)),
        }
    }
    Ok(found)
}

/// Peak memory of a forward pass of the `browser` preset at patch 64 on an adapter in software, whose memory is ours.
pub(crate) fn gpu_memory(tools: &Tools) -> Result<Vec<Found>> {
    let model = tools.preset("browser@64")?;
    let mut partner = Partner::start("ours", &mut lab_partner(tools, &model, "gpu", "forward")?, 2)?;
    let before = partner.memory()?;
    alternate(std::slice::from_mut(&mut partner))?;
    let after = partner.memory()?;
    let mut found = Found::alone("memory-gpu", Series::new("ours", "MB", vec![after]));
    found.notes.push(format!(
        "`browser` preset, batch 1; {before:.0} MB of it before the first pass. The memory of an adapter in software is \
         the process's own."
    ));
    Ok(vec![found])
}

fn step_over_forward(id: &'static str, step: &Series, forward: &Series) -> Found {
    let (mut step, mut forward) = (step.clone(), forward.clone());
    step.name = "training step".to_owned();
    forward.name = "forward".to_owned();
    Found {
        id,
        value: step.median() / forward.median(),
        ours: step,
        theirs: Some(forward),
        notes: Vec::new(),
    }
}

/// `lab bench peak`.
pub(crate) fn peak(tools: &Tools) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for (id, device) in [("peak-cpu", "cpu"), ("peak-vulkan", "gpu")] {
        let mut lab = tools.lab()?;
        lab.args(["bench", "peak", "--device", device, "--model"])
            .arg(tools.shipped());
        let answer: Value = serde_json::from_str(&shell::output(&mut lab)?)?;
        let layers = Series::new("ours", "GFLOPS", numbers(&answer["layers_gflops"]));
        let peak = Series::new("peak", "GFLOPS", numbers(&answer["peak_gflops"]));
        println!("  {device}: {} of {}", layers.words(), peak.words());
        all.push(Found {
            id,
            value: layers.median() / peak.median(),
            ours: layers,
            theirs: Some(peak),
            notes: Vec::new(),
        });
    }
    Ok(all)
}

/// `lab bench head`.
pub(crate) fn heads(tools: &Tools) -> Result<Vec<Found>> {
    let mut lab = tools.lab()?;
    lab.args(["bench", "head", "--model"]).arg(tools.shipped());
    let answer: Value = serde_json::from_str(&shell::output(&mut lab)?)?;
    let heads = answer["heads"].as_array().context("no heads were measured")?;
    let column = |key: &str| {
        heads
            .iter()
            .filter_map(|head| head[key].as_f64())
            .collect::<Vec<_>>()
    };
    let volumes: Vec<f64> = heads
        .iter()
        .map(|head| numbers(&head["shape"]).iter().product())
        .collect();
    let (totals, networks) = (column("total"), column("network"));
    let sizes: Vec<String> = heads
        .iter()
        .map(|head| {
            let sides: Vec<String> = numbers(&head["shape"]).iter().map(f64::to_string).collect();
            format!("{} ({} patches)", sides.join(" x "), head["tiles"])
        })
        .collect();
    let note = format!(
        "{}, 50 % overlap, both channels, from files to files; n = 1 each.",
        sizes.join(", ")
    );
    let beyond: Vec<f64> = totals.iter().zip(&networks).map(|(t, n)| t / n - 1.0).collect();
    println!("  {note} Totals {totals:.1?} s, beyond the network {beyond:.3?}");
    let line = Found {
        id: "head-linear",
        value: r_squared(&volumes, &totals),
        ours: Series::new("ours", "s", totals),
        theirs: None,
        notes: vec![note],
    };
    // The largest head is what the target speaks of.
    let overhead = Found {
        id: "head-overhead",
        value: beyond.last().copied().unwrap_or(f64::NAN),
        ours: Series::new("ours", "of the network's time", beyond),
        theirs: None,
        notes: vec!["The figure is that of the largest head; the range is over the three sizes.".to_owned()],
    };
    Ok(vec![line, overhead])
}

fn numbers(values: &Value) -> Vec<f64> {
    values
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect()
}

/// Share of the variance of `y` that a straight line through the points explains.
fn r_squared(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len().min(y.len()) as f64;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
    let (mx, my) = (mean(x), mean(y));
    let sum = |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(y).map(|(a, b)| f(a - mx, b - my)).sum::<f64>();
    sum(&|a, b| a * b).powi(2) / (sum(&|a, _| a * a) * sum(&|_, b| b * b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_explains_all_and_a_parabola_less() {
        assert!((r_squared(&[1.0, 2.0, 4.0], &[3.0, 5.0, 9.0]) - 1.0).abs() < 1e-12);
        assert!(r_squared(&[-1.0, 0.0, 1.0], &[1.0, 0.0, 1.0]) < 1e-12);
    }
}
