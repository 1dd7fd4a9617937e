//! The groups of rows that are measured natively.

use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use serde_json::Value;

use super::browser::{self, Site};
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
    }
    found.push(step_beside_forward(tools, "cpu-step-forward", "cpu", 9)?);
    Ok(found)
}

/// Side of the patch on which training steps are compared with burn's stock operators on a GPU. On 64^3 those compute other weight
/// gradients than on the CPU, where they have ours: of every convolution over 32^3 voxels and more, and of no other (llvmpipe;
/// tracel-ai/cubek#519 is another such case from 32768 positions on).
const STEP_SIDE: &str = "48";

/// A GPU, or one in software: ours and stock operators.
pub(crate) fn vulkan(tools: &Tools) -> Result<Vec<Found>> {
    let model = tools.shipped();
    let mut found = Vec::new();
    let start = |work: &str, more: &[&str], repeat| {
        let name = if more.contains(&"--stock") { "" } else { "ours" };
        Partner::start(name, lab_partner(tools, &model, "gpu", work)?.args(more), repeat)
    };
    // Stock operators take half a minute a step on an adapter in software, after minutes of tuning themselves.
    for (id, work, side, repeats) in [
        ("vulkan-forward-stock", "forward", None, [7, 3]),
        ("vulkan-step-stock", "step", Some(STEP_SIDE), [5, 1]),
    ] {
        let mut how = side.map_or(Vec::new(), |side| vec!["--patch", side]);
        let ours = start(work, &how, repeats[0])?;
        how.push("--stock");
        let mut partners = [ours, start(work, &how, repeats[1])?];
        alternate(&mut partners)?;
        let mut notes = vec![agree(tools, &mut partners, work)?];
        notes.extend(side.map(|side| {
            format!(
                "Patches of {side}^3: on 64^3 stock burn's weight gradients on llvmpipe are not those it has on the CPU."
            )
        }));
        let [ours, stock] = &partners;
        found.push(Found::faster(id, &ours.series(), &stock.series(), &notes));
    }
    found.push(step_beside_forward(tools, "vulkan-step-forward", "gpu", 7)?);
    Ok(found)
}

/// A training step and a forward pass of the shipped network in turn.
fn step_beside_forward(tools: &Tools, id: &'static str, device: &str, repeat: usize) -> Result<Found> {
    let start = |work| {
        Partner::start(
            "ours",
            &mut lab_partner(tools, &tools.shipped(), device, work)?,
            repeat,
        )
    };
    let mut partners = [start("step")?, start("forward")?];
    alternate(&mut partners)?;
    let [step, forward] = &partners;
    Ok(step_over_forward(id, &step.series(), &forward.series()))
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

pub(super) fn step_over_forward(id: &'static str, step: &Series, forward: &Series) -> Found {
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

/// `lab bench peak`, and the same in Chromium.
pub(crate) fn peak(tools: &Tools) -> Result<Vec<Found>> {
    let (mut all, mut macs) = (Vec::new(), f64::NAN);
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
            notes: vec![format!(
                "As an engine runs them: weights packed before, normalised while loading; patches together: {}.",
                answer["batch"]
            )],
        });
        macs = answer["network_macs"].as_f64().unwrap_or(f64::NAN);
    }
    all.push(browser::peak(&Site::new(tools)?, macs)?);
    Ok(all)
}

/// `lab bench head`.
pub(crate) fn heads(tools: &Tools) -> Result<Vec<Found>> {
    let mut lab = tools.lab()?;
    lab.args(["bench", "head", "--model"]).arg(tools.shipped());
    let answer: Value = serde_json::from_str(&shell::output(&mut lab)?)?;
    let heads = answer["heads"].as_array().context("no heads were measured")?;
    let mut sizes: Vec<Size> = Vec::new();
    for head in heads {
        let shape = numbers(&head["shape"]);
        let number = |key: &str| head[key].as_f64().unwrap_or(f64::NAN);
        let (total, network) = (number("total"), number("network"));
        if !sizes.iter().any(|size| size.shape == shape) {
            sizes.push(Size::new(shape.clone(), number("tiles")));
        }
        for size in sizes.iter_mut().filter(|size| size.shape == shape) {
            size.totals.values.push(total);
            size.beyond.values.push(total / network - 1.0);
        }
    }
    let largest = sizes.last().context("no heads were measured")?;
    let words: Vec<String> = sizes.iter().map(Size::words).collect();
    let note = format!(
        "{}, 50 % overlap, both channels, from files to files.",
        words.join("; ")
    );
    println!("  {note}");
    let totals: Vec<f64> = sizes.iter().map(|size| size.totals.median()).collect();
    let fit = |x: fn(&Size) -> f64| r_squared(&sizes.iter().map(x).collect::<Vec<_>>(), &totals);
    let against_patches = format!(
        "Against the number of patches R squared is {:.4}: the larger a head, the smaller the share of its patches that its \
         borders save.",
        fit(|size| size.patches)
    );
    let line = Found {
        id: "head-linear",
        value: fit(|size| size.shape.iter().product()),
        ours: largest.totals.clone(),
        theirs: None,
        notes: vec![note, against_patches],
    };
    let overhead = Found {
        value: largest.beyond.median(),
        ..Found::alone("head-overhead", largest.beyond.clone())
    };
    Ok(vec![line, overhead])
}

/// A size of head and what its runs took.
struct Size {
    shape: Vec<f64>,
    patches: f64,
    totals: Series,
    /// What the runs took beyond the time of the network, as a share of that.
    beyond: Series,
}

impl Size {
    fn new(shape: Vec<f64>, patches: f64) -> Self {
        let sides: Vec<String> = shape.iter().map(f64::to_string).collect();
        let name = sides.join(" x ");
        Self {
            shape,
            patches,
            totals: Series::new(name.clone(), "s", Vec::new()),
            beyond: Series::new(name, "of the network's time", Vec::new()),
        }
    }

    fn words(&self) -> String {
        format!(
            "{}: {} patches, {}",
            self.totals.name,
            self.patches,
            self.totals.words()
        )
    }
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
