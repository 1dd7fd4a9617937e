//! What the built page weighs and what memory it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::browser::{STOCK_NAME, Site};
use super::figures::Series;
use super::rows::Found;
use super::setup::Tools;
use crate::{build, sizes, system};

/// Builds `dist/` unless it shall be measured as it is.
fn build(tools: &Tools) -> Result<()> {
    if tools.keep_programs && tools.paths.dist().join("index.html").is_file() {
        return Ok(());
    }
    build::dist(tools.paths, build::Options::default()).map(|_| ())
}

/// Bytes that a visitor downloads, compressed by brotli as hosts do; weights count as they are.
pub(crate) fn wire(tools: &Tools) -> Result<Vec<Found>> {
    build(tools)?;
    let mut parts: BTreeMap<Part, u64> = BTreeMap::new();
    for name in files(&tools.paths.dist(), "")? {
        let Some(part) = part_of(&name) else { continue };
        let bytes = fs::read(tools.paths.dist().join(&name))?;
        let sent = if name.ends_with(".safetensors") {
            bytes.len() as u64
        } else {
            sizes::brotli(&bytes)?
        };
        *parts.entry(part).or_default() += sent;
    }
    let mut found = Vec::new();
    for (id, part) in [("wire-page", Part::Page), ("wire-gpu", Part::Gpu)] {
        let bytes = parts.get(&part).context("a part of the page is missing")?;
        found.push(Found::alone(
            id,
            Series::new("ours", "MB", vec![*bytes as f64 / 1e6]),
        ));
    }
    Ok(found)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Page, viewer, desk, CPU engine, one network.
    Page,
    /// The GPU engine.
    Gpu,
}

/// What a file of `dist/` is part of; samples and the list of licences are downloaded by those who ask for them.
fn part_of(name: &str) -> Option<Part> {
    // So are the engines that train.
    let asked_for = name.starts_with("samples/") || name.starts_with("tutor-") || name == "licences.html";
    if asked_for || name.ends_with(".md") {
        return None;
    }
    Some(if name.starts_with("engine-gpu") {
        Part::Gpu
    } else {
        Part::Page
    })
}

/// Names of all files below a folder; of several models, which are alternatives, those of the first.
fn files(folder: &Path, inner: &str) -> Result<Vec<String>> {
    let mut names: Vec<_> = fs::read_dir(folder.join(inner))?.collect::<Result<_, _>>()?;
    names.sort_by_key(fs::DirEntry::file_name);
    if inner == "models/" {
        names.truncate(1);
    }
    let mut all = Vec::new();
    for entry in names {
        let name = format!("{inner}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            all.extend(files(folder, &format!("{name}/"))?);
        } else {
            all.push(name);
        }
    }
    Ok(all)
}

/// What `page.mjs` says of a run over FLAIR and T1 on the engine of that name; with `stock`, a folder, on the CPU engine there of
/// burn's stock operators.
fn segment(tools: &Tools, [flair, t1]: [&Path; 2], engine: &str, stock: Option<&Path>) -> Result<Value> {
    let task =
        json!({ "dist": tools.paths.dist(), "flair": flair, "t1": t1, "engine": engine, "stock": stock });
    tools.node("page.mjs", &task)
}

/// One run over the whole-head sample: seconds from the button to "Done", and the lesion load as the page shows it.
fn head(tools: &Tools, engine: &str, stock: Option<&Path>) -> Result<(f64, String)> {
    let samples = tools.paths.root.join("www/samples");
    let scans = [samples.join("head_FLAIR.nii.gz"), samples.join("head_T1w.nii.gz")];
    let answer = segment(tools, [&scans[0], &scans[1]], engine, stock)?;
    let load = answer["load"].as_str().context("no lesion load")?;
    Ok((answer["seconds"].as_f64().context("no time")?, load.to_owned()))
}

/// The whole-head sample on the page's CPU engine, and on that of burn's stock operators in its place, in turn.
pub(crate) fn head_cpu(tools: &Tools) -> Result<Vec<Found>> {
    build(tools)?;
    let site = Site::new(tools)?;
    let (mut mine, mut stock) = (Vec::new(), Vec::new());
    let mut loads = BTreeSet::new();
    for _ in 0..3 {
        for (times, program) in [(&mut mine, None), (&mut stock, Some(site.folder()))] {
            let (seconds, load) = head(tools, "CPU", program)?;
            times.push(seconds);
            loads.insert(load);
        }
    }
    if loads.len() > 1 {
        bail!("lesion loads differ: {loads:?}");
    }
    let note = format!(
        "Start to `Done` on the page with as many workers as there are cores; each found {}.",
        loads.into_iter().collect::<String>()
    );
    let [mine, stock] =
        [("ours", mine), (STOCK_NAME, stock)].map(|(who, times)| Series::new(who, "s", times));
    Ok(vec![Found::faster("page-head-cpu", &mine, &stock, &[note])])
}

/// The same on WebGPU, ours alone: stock operators would take half a day on an adapter in software.
pub(crate) fn head_gpu(tools: &Tools) -> Result<Vec<Found>> {
    build(tools)?;
    let (seconds, _) = head(tools, "WebGPU", None)?;
    Ok(vec![Found::alone(
        "page-head-gpu",
        Series::new("ours", "s", vec![seconds]),
    )])
}

/// Peak memory of a run over a head of 256^3 voxels on the page's CPU engines.
pub(crate) fn memory(tools: &Tools) -> Result<Vec<Found>> {
    build(tools)?;
    let scans = tools.folder.join("head-256");
    let flair = scans.join("whole_FLAIR.nii.gz");
    if !flair.is_file() {
        let mut python = Command::new(system::python(tools.paths)?);
        python.arg(tools.script("make_256.py"));
        python.arg(tools.paths.root.join("www/samples")).arg(&scans);
        crate::shell::run(&mut python)?;
    }
    let answer = segment(tools, [&flair, &scans.join("whole_T1w.nii.gz")], "CPU", None)?;
    let series = |who: &str, values: &Value| {
        let bytes = values.as_array().into_iter().flatten().filter_map(Value::as_f64);
        Series::new(who, "MB", bytes.map(|b| b / 1e6).collect())
    };
    let seconds = answer["seconds"].as_f64().unwrap_or(f64::NAN);
    let heaps = &answer["heaps"];
    let engines = series("engine-cpu", &heaps["engine-cpu"]);
    let note = format!(
        "FLAIR and T1, int16, the sample head within 256^3 voxels of 1 mm; {} engines, {seconds:.0} s (n = 1).",
        engines.values.len()
    );
    let mut found = vec![
        Found::alone("heap-desk", series("desk", &heaps["desk"])),
        Found {
            value: engines.range().1,
            ..Found::alone("heap-engine", engines)
        },
    ];
    for one in &mut found {
        one.notes.insert(0, note.clone());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_the_page_has_its_part() {
        for (name, part) in [
            ("app-2d1b.wasm", Some(Part::Page)),
            ("niivuegpu.webgl2-RDJB.js", Some(Part::Page)),
            ("models/browser/weights-1a.safetensors", Some(Part::Page)),
            ("engine-cpu-4e00.wasm", Some(Part::Page)),
            ("engine-gpu-4623.wasm", Some(Part::Gpu)),
            ("samples/head_FLAIR-77.nii.gz", None),
            ("tutor-gpu-4623.wasm", None),
            ("licences.html", None),
        ] {
            assert_eq!(part_of(name), part, "{name}");
        }
    }

    #[test]
    fn only_one_of_several_models_is_counted() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("equipoise-dist-{}", std::process::id()));
        for name in ["a.js", "models/x/w", "models/y/w", "samples/s"] {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().context("no parent")?)?;
            fs::write(file, "")?;
        }
        assert_eq!(files(&folder, "")?, ["a.js", "models/x/w", "samples/s"]);
        fs::remove_dir_all(folder)?;
        Ok(())
    }
}
