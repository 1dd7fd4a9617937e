//! Contests in Chromium, each contestant in workers of its own (`tests/bench/contest.js`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::figures::Series;
use super::native::step_over_forward;
use super::rows::Found;
use super::setup::Tools;
use crate::programs::{self, Built, PROGRAMS, STOCK};
use crate::shell::say;
use crate::system::{self, short_hash};

/// What they are called in tables.
const ORT_NAME: &str = "onnxruntime-web";
pub(crate) const STOCK_NAME: &str = "stock burn 0.22.1";

/// Largest difference of a probability between two programs that run the same network.
const AGREEMENT: f64 = 1e-4;

/// The same for onnxruntime-web, whose `InstanceNormalization` sums in f32: on the shipped network's patch it is 2.9e-4 from ours, while
/// ours and PyTorch's are within 1e-5 of PyTorch's in f64. Another graph would be off by a hundred times that.
const AGREEMENT_ORT: f64 = 1e-3;
const PAGE: &str = "<!doctype html><title>bench</title><link rel=\"icon\" href=\"data:,\">\
                    <script type=\"module\" src=\"contest.js\"></script>";
/// The contestant that measures the adapter.
const PEAK: &str = "peak";
/// Files of onnxruntime-web: the entry for WebAssembly, the one for WebGPU, and what they load.
const ORT: [&str; 6] = [
    "ort.wasm.min.mjs",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
];
/// The forms that a network is exported in; the faster is compared with.
const FORMS: [(&str, &[&str]); 3] = [
    ("plain", &[]),
    ("webgpu", &["--webgpu"]),
    ("matmul", &["--webgpu", "--matmul"]),
];

/// The site that the contests run on.
pub(crate) struct Site<'a> {
    tools: &'a Tools<'a>,
    folder: PathBuf,
    /// npm packages of the page, among them the browser's driver.
    packages: PathBuf,
}

impl<'a> Site<'a> {
    /// Builds the engines and lays them out beside onnxruntime-web.
    pub(crate) fn new(tools: &'a Tools) -> Result<Self> {
        let site = Self::with(tools, |name| name.starts_with("engine"))?;
        site.stock()?;
        let ort = tools.node_packages()?.join("node_modules/onnxruntime-web/dist");
        for name in ORT {
            fs::copy(ort.join(name), site.folder.join("ort").join(name))?;
        }
        Ok(site)
    }

    /// Where the programs lie.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same with the engines that train, and without anybody else's.
    pub(crate) fn of_tutors(tools: &'a Tools) -> Result<Self> {
        Self::with(tools, |name| {
            name.starts_with("engine") || name.starts_with("tutor")
        })
    }

    /// Those of our programs whose names are wanted, and the page that speaks to them.
    fn with(tools: &'a Tools, wanted: fn(&str) -> bool) -> Result<Self> {
        let packages = system::node_packages(tools.paths)?;
        let folder = tools.folder.join("site");
        fs::create_dir_all(folder.join("ort"))?;
        let there = |name: &str| folder.join(format!("{name}.wasm")).is_file();
        let missing = |name: &str| wanted(name) && !(tools.keep_programs && there(name));
        let programs = PROGRAMS.iter().filter(|p| missing(p.name));
        let (built, _) = programs::build(tools.paths, &packages, programs, false)?;
        for program in &built {
            lay_out(&folder, program)?;
        }
        let site = Self {
            tools,
            folder,
            packages,
        };
        fs::write(site.folder.join("index.html"), PAGE)?;
        for script in ["contest.js", "ort-worker.js", "peak.js", "peak.wgsl"] {
            fs::copy(tools.script(script), site.folder.join(script))?;
        }
        Ok(site)
    }

    /// The engines on burn's stock operators take long to build and change with burn alone: built when they must be.
    fn stock(&self) -> Result<()> {
        let read =
            |name: &str| fs::read(self.tools.paths.root.join(name)).with_context(|| format!("no {name}"));
        let key = short_hash(&[
            &read("Cargo.lock")?,
            &read("src/net/stock.rs")?,
            &read("src/web/messages.rs")?,
        ]);
        let known = self.folder.join("stock");
        if fs::read_to_string(&known).is_ok_and(|have| have == key) {
            return Ok(());
        }
        say("building the engines on burn's stock operators: many minutes, once");
        let (built, _) = programs::build(self.tools.paths, &self.packages, &STOCK, false)?;
        for engine in &built {
            lay_out(&self.folder, engine)?;
        }
        fs::write(known, key)?;
        Ok(())
    }

    /// Copies a model to the site.
    fn weights(&self, name: &str, from: &Path) -> Result<PathBuf> {
        let to = self.folder.join(name);
        fs::create_dir_all(&to)?;
        for file in ["card.json", "weights.safetensors"] {
            fs::copy(from.join(file), to.join(file))?;
        }
        Ok(to)
    }

    /// Copies a model to the site and exports it as ONNX.
    fn model(&self, name: &str, from: &Path) -> Result<()> {
        let to = self.weights(name, from)?;
        for (form, options) in FORMS {
            self.tools.onnx(from, &to.join(format!("{form}.onnx")), options)?;
        }
        Ok(())
    }

    /// One contest, as `tests/bench/browser.mjs` tells it.
    fn hold(&self, folder: &str, contestants: &[Value]) -> Result<Value> {
        let contests = json!({ "it": { "folder": folder, "contestants": contestants } });
        self.tools.node(
            "browser.mjs",
            &json!({ "www": self.folder, "contests": contests }),
        )
    }

    /// One contest: what each contestant took, in order, and how far their answers lie apart.
    fn contest(&self, folder: &str, contestants: &[Value]) -> Result<(Vec<Series>, String)> {
        let answer = self.hold(folder, contestants)?;
        let results = answer["results"]["it"]
            .as_array()
            .context("the contest has no results")?;
        let mut worst = 0.0_f64;
        let mut all = Vec::new();
        for result in results {
            let name = result["name"].as_str().unwrap_or_default();
            // The adapter's peak computes nothing that could be compared.
            let difference = match name {
                PEAK => 0.0,
                _ => result["difference"].as_f64().unwrap_or(f64::NAN),
            };
            let allowed = match name {
                ORT_NAME => AGREEMENT_ORT,
                _ => AGREEMENT,
            };
            if difference.is_nan() || difference > allowed {
                bail!("{name}: probabilities differ from ours by {difference}");
            }
            worst = worst.max(difference);
            let version = result["version"]
                .as_str()
                .map_or(String::new(), |v| format!(" {v}"));
            let unit = if name == PEAK { "GFLOPS" } else { "s" };
            all.push(Series::new(format!("{name}{version}"), unit, times(result)));
        }
        let chromium = answer["chromium"].as_str().unwrap_or_default();
        let major = chromium.split('.').next().unwrap_or_default();
        Ok((
            all,
            format!("Chromium {major}; probabilities differ by at most {worst:.0e}."),
        ))
    }
}

fn times(result: &Value) -> Vec<f64> {
    let times = result["times"].as_array();
    times.into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// A worker that starts the engine, beside what wasm-bindgen wrote.
fn lay_out(www: &Path, engine: &Built) -> Result<()> {
    let name = engine.program.name;
    fs::copy(
        engine.bound.join(format!("{name}.js")),
        www.join(format!("{name}.js")),
    )?;
    fs::copy(&engine.wasm, www.join(format!("{name}.wasm")))?;
    let start =
        format!("import init from './{name}.js';\nawait init({{ module_or_path: '{name}.wasm' }});\n");
    fs::write(www.join(format!("{name}-worker.js")), start)?;
    Ok(())
}

fn ours(program: &str, workers: usize, repeat: usize) -> Value {
    json!({ "name": "ours", "program": program, "workers": workers, "repeat": repeat })
}

fn stock(program: &str, repeat: usize) -> Value {
    json!({ "name": STOCK_NAME, "program": program, "repeat": repeat })
}

fn ort(form: &str, provider: &str, threads: usize, repeat: usize) -> Value {
    let build = format!("ort.{provider}.min.mjs");
    let onnx = format!("shipped/{form}.onnx");
    json!({ "name": ORT_NAME, "build": build, "provider": provider, "threads": threads, "onnx": onnx,
            "repeat": repeat })
}

/// The faster of two forms of the same.
fn faster<'s>(a: &'s Series, b: &'s Series) -> &'s Series {
    if a.median() <= b.median() { a } else { b }
}

/// One worker of ours, onnxruntime-web with one thread, stock burn; then as many as there are cores.
pub(crate) fn cpu(site: &Site) -> Result<Vec<Found>> {
    site.model("shipped", &site.tools.shipped())?;
    let alone = [
        ours("engine-cpu", 1, 9),
        ort("plain", "wasm", 1, 9),
        ort("matmul", "wasm", 1, 9),
        stock("engine-cpu-stock", 5),
    ];
    let (times, note) = site.contest("shipped", &alone)?;
    let [mine, plain, matmul, stock] = four(times)?;
    let forms =
        "The faster of two exports: 1x1x1 convolutions as convolutions or as matrix products.".to_owned();
    let notes = [note, forms];
    let mut found = vec![
        Found::faster("chromium-cpu-ort", &mine, faster(&plain, &matmul), &notes),
        Found::faster("chromium-cpu-stock", &mine, &stock, &notes[..1]),
    ];
    let cores = std::thread::available_parallelism()?.get();
    let together = [
        ours("engine-cpu", cores, 9),
        ort("plain", "wasm", cores, 9),
        ort("matmul", "wasm", cores, 9),
    ];
    let (times, note) = site.contest("shipped", &together)?;
    let [mine, plain, matmul] = <[Series; 3]>::try_from(times).ok().context("not all took part")?;
    let how = format!(
        "Time of one patch with {cores} at a time: ours a worker each, onnxruntime-web {cores} threads on one \
         (COOP and COEP set)."
    );
    found.push(Found::faster(
        "chromium-threads-ort",
        &mine,
        faster(&plain, &matmul),
        &[note, how, notes[1].clone()],
    ));
    Ok(found)
}

fn four(series: Vec<Series>) -> Result<[Series; 4]> {
    <[Series; 4]>::try_from(series).ok().context("not all took part")
}

/// Ours, onnxruntime-web and stock burn on WebGPU.
pub(crate) fn gpu(site: &Site) -> Result<Vec<Found>> {
    site.model("shipped", &site.tools.shipped())?;
    let contestants = [
        ours("engine-gpu", 1, 5),
        ort("webgpu", "webgpu", 1, 3),
        ort("matmul", "webgpu", 1, 1),
        stock("engine-gpu-stock", 2),
    ];
    let (times, note) = site.contest("shipped", &contestants)?;
    let [mine, webgpu, matmul, stock] = four(times)?;
    let missing =
        "What its WebGPU backend lacks in 3-D is written otherwise (`tests/bench/export_onnx.py`); no \
                   operator runs on the CPU."
            .to_owned();
    Ok(vec![
        Found::faster("chromium-gpu-stock", &mine, &stock, std::slice::from_ref(&note)),
        Found::faster(
            "chromium-gpu-ort",
            &mine,
            faster(&webgpu, &matmul),
            &[note.clone(), missing],
        ),
    ])
}

/// Training steps of the shipped network: the whole of it, and the part that fine-tuning trains unless told otherwise.
pub(crate) fn steps(site: &Site) -> Result<Vec<Found>> {
    site.weights("shipped", &site.tools.shipped())?;
    let mut found = Vec::new();
    for (kind, repeat, ids, heap) in [
        (
            "cpu",
            9,
            ["chromium-cpu-step", "chromium-cpu-tune"],
            Some("heap-step"),
        ),
        ("gpu", 3, ["chromium-gpu-step", "chromium-gpu-tune"], None),
    ] {
        let program = format!("tutor-{kind}");
        let contestants = [
            ours(&format!("engine-{kind}"), 1, repeat),
            tutor(&program, "everything", repeat),
            tutor(&program, "decoder", repeat),
        ];
        let answer = site.hold("shipped", &contestants)?;
        let results = answer["results"]["it"].as_array().cloned().unwrap_or_default();
        let [forward, whole, decoder] = <[Value; 3]>::try_from(results)
            .ok()
            .context("not all took part")?;
        let series = |result: &Value| Series::new("ours", "s", times(result));
        let note = "One patch of the shipped network's side again and again; F_beta and cross-entropy, AdamW, maps kept; \
                    the loss fell. Uploading the patch is part of the step."
            .to_owned();
        for (id, step) in [(ids[0], &whole), (ids[1], &decoder)] {
            let mut row = step_over_forward(id, &series(step), &series(&forward));
            row.notes.push(note.clone());
            found.push(row);
        }
        // Of WebGPU's memory the heap says nothing.
        if let Some(id) = heap {
            let megabytes = whole["heap"].as_f64().context("no heap was told")? / 1e6;
            found.push(Found::alone(id, Series::new("ours", "MB", vec![megabytes])));
        }
    }
    Ok(found)
}

/// An engine that trains this part of the network.
fn tutor(program: &str, part: &str, repeat: usize) -> Value {
    let recipe = json!({
        "part": part, "statistics": "frozen", "loss": { "kind": "f-beta", "beta": 1.5, "smooth": 50.0 }, "guard": 1.0,
        "lesion_weight": 1.0, "lesion_decay": 1, "dropout": 0.0, "learning_rate": 1e-3, "warmup": 1, "final_rate": 1.0,
        "weight_decay": 0.01, "clip": 1.0, "average": 0.9, "keep": true, "seed": 1,
    });
    json!({ "name": format!("training step, {part}"), "tutor": program, "recipe": recipe, "repeat": repeat })
}

/// Larger networks on WebGPU: ours and stock burn.
pub(crate) fn presets(site: &Site) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for (id, net, repeat) in [
        ("chromium-gpu-blocks", "blocks@16", 2),
        ("chromium-gpu-browser", "browser@64", 1),
    ] {
        site.weights(net, &site.tools.preset(net)?)?;
        let (times, note) = site.contest(
            net,
            &[ours("engine-gpu", 1, 3), stock("engine-gpu-stock", repeat)],
        )?;
        let [mine, stock] = <[Series; 2]>::try_from(times).ok().context("not all took part")?;
        let what = format!("Random weights, `{net}`.");
        found.push(Found::faster(id, &mine, &stock, &[note, what]));
    }
    Ok(found)
}

/// What the whole network reaches of the multiply-adds a second that the browser's GPU can do. The 3x3x3 layers alone
/// cannot be asked for there.
pub(crate) fn peak(site: &Site, network_macs: f64) -> Result<Found> {
    site.model("shipped", &site.tools.shipped())?;
    let contestants = [ours("engine-gpu", 1, 5), json!({ "name": PEAK, "repeat": 5 })];
    let (times, _) = site.contest("shipped", &contestants)?;
    let [mine, peak] = <[Series; 2]>::try_from(times).ok().context("not all took part")?;
    let rates = mine
        .values
        .iter()
        .map(|seconds| 2.0 * network_macs / seconds / 1e9);
    let mine = Series::new("ours", "GFLOPS", rates.collect());
    Ok(Found {
        id: "peak-chromium",
        value: mine.median() / peak.median(),
        ours: mine,
        theirs: Some(peak),
        notes: Vec::new(),
    })
}
