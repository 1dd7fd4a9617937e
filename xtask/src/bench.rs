//! `./dev bench`: how fast the network is, ours and burn's stock operators in turn, in Chromium and natively.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::paths::Paths;
use crate::programs::{self, Built, PROGRAMS, STOCK};
use crate::shell::{self, say};
use crate::{serve, system, toolchain};

/// Runs both benchmarks and writes `docs/performance.json`. `words` are handed to `lab bench`.
pub(crate) fn command<'a>(paths: &Paths, words: impl Iterator<Item = &'a str>) -> Result<()> {
    let browser = browser(paths)?;
    let file = paths.cache.join("bench/native.json");
    let mut lab = toolchain::native(paths, "run");
    lab.args([
        "--quiet",
        "--package",
        "equipoise",
        "--bin",
        "lab",
        "--",
        "bench",
        "--json",
    ]);
    lab.arg(&file).args(words);
    shell::run(&mut lab)?;
    let native: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let figures = json!({ "browser": browser, "native": native });
    let to = paths.root.join("docs/performance.json");
    fs::write(&to, serde_json::to_string_pretty(&figures)? + "\n")?;
    say(&format!("wrote {}", to.display()));
    Ok(())
}

/// The engines in Chromium, each in a worker of its own, spoken to as the desk does.
fn browser(paths: &Paths) -> Result<Value> {
    let packages = system::node_packages(paths)?;
    let engines = PROGRAMS.iter().filter(|p| p.name.starts_with("engine"));
    let (built, _) = programs::build(paths, &packages, engines.chain(&STOCK), false)?;
    let www = paths.cache.join("bench/www");
    programs::remove(&www)?;
    fs::create_dir_all(&www)?;
    fs::write(www.join("index.html"), "<!doctype html><title>bench</title>")?;
    for engine in &built {
        lay_out(&www, engine)?;
    }
    let model = paths.root.join("www/models/browser-b1.5");
    for file in ["card.json", "weights.safetensors"] {
        fs::copy(model.join(file), www.join(file)).with_context(|| format!("no {file} to bench with"))?;
    }
    let serving = serve::start(&www, 0, "/")?;
    let mut node = Command::new(system::node()?);
    node.current_dir(&paths.root).arg("tests/browser/bench.mjs");
    node.env("EQUIPOISE_URL", &serving.url)
        .env("EQUIPOISE_NODE_PACKAGES", packages)
        .env("EQUIPOISE_CHROMIUM", system::chromium()?);
    let text = shell::output(&mut node)?;
    let rows: Value = serde_json::from_str(&text).context("the browser's benchmark printed no JSON")?;
    for row in rows.as_array().into_iter().flatten() {
        println!("{row}");
    }
    Ok(rows)
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
