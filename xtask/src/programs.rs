//! The six programs that run in a browser: compile, bind to JavaScript, optimise.
//!
//! Binding and optimising are remembered in the cache by a hash of all that goes into them, so that a program that
//! did not change costs nothing. (Compiling is remembered by cargo.)

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::cargo_output::{self, Messages};
use crate::paths::Paths;
use crate::shell::say;
use crate::system::short_hash;
use crate::toolchain::Wasm;

/// Version of the library that binds; part of what a bound program is remembered by.
const WASM_BINDGEN: &str = "0.2.130";
/// Bound and optimised versions kept per program.
const KEPT: usize = 4;

/// What rustc's wasm32 target emits today, with the target features of `.cargo/config.toml`.
const WASM_FEATURES: [&str; 9] = [
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-call-indirect-overlong",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// A program of the page.
pub(crate) struct Program {
    /// Its name in `dist/`, without hash and extension.
    pub(crate) name: &'static str,
    bin: &'static str,
    /// Cargo features it is built with.
    pub(crate) features: &'static str,
    profile: &'static str,
    optimise: &'static str,
}

/// In the order of bundling: each may know the file names of those before it.
pub(crate) const PROGRAMS: [Program; 6] = [
    Program {
        name: "engine-cpu",
        bin: "worker",
        features: "web,net",
        profile: "web-fast",
        optimise: "-O3",
    },
    Program {
        name: "engine-gpu",
        bin: "worker",
        features: "web,gpu",
        profile: "web-fast",
        optimise: "-O3",
    },
    Program {
        name: "tutor-cpu",
        bin: "worker",
        features: "web,learn",
        profile: "web-fast",
        optimise: "-O3",
    },
    Program {
        name: "tutor-gpu",
        bin: "worker",
        features: "web,gpu,learn",
        profile: "web-fast",
        optimise: "-O3",
    },
    Program {
        name: "desk",
        bin: "desk",
        features: "web",
        profile: "web-small",
        optimise: "-Os",
    },
    Program {
        name: "app",
        bin: "app",
        features: "page",
        profile: "web-small",
        optimise: "-Os",
    },
];

/// The engines on burn's stock operators: what ours are compared with by `./dev bench`. Not shipped.
pub(crate) const STOCK: [Program; 2] = [
    Program {
        name: "engine-cpu-stock",
        bin: "worker",
        features: "web,net,stock",
        profile: "web-fast",
        optimise: "-O3",
    },
    Program {
        name: "engine-gpu-stock",
        bin: "worker",
        features: "web,gpu,stock",
        profile: "web-fast",
        optimise: "-O3",
    },
];

/// A program that is ready to be bundled.
pub(crate) struct Built<'a> {
    pub(crate) program: &'a Program,
    /// Folder with `NAME.js` and its `snippets`, as wasm-bindgen wrote them.
    pub(crate) bound: PathBuf,
    /// The WebAssembly file.
    pub(crate) wasm: PathBuf,
}

/// A program as it was bound last, whatever the source is now; nothing if it never was.
pub(crate) fn last_built<'a>(
    paths: &Paths,
    node_packages: &Path,
    program: &'a Program,
    fast: bool,
) -> Result<Option<Built<'a>>> {
    let prefix = format!("{}-bound-", program.name);
    let mut entries = Vec::new();
    for entry in fs::read_dir(paths.steps())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            entries.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    let Some((_, bound)) = entries.into_iter().max() else {
        say(&format!("{} was never built and is left out", program.name));
        return Ok(None);
    };
    let unoptimised = bound.join(format!("{}_bg.wasm", program.name));
    let wasm = if fast {
        unoptimised
    } else {
        optimise(paths, node_packages, program, &unoptimised)?
    };
    Ok(Some(Built { program, bound, wasm }))
}

/// Compiles, binds and (unless `fast`) optimises all programs. The messages are those of the compiler.
pub(crate) fn build<'a>(
    paths: &Paths,
    node_packages: &Path,
    programs: impl IntoIterator<Item = &'a Program>,
    fast: bool,
) -> Result<(Vec<Built<'a>>, Messages)> {
    let toolchain = Wasm::find(paths)?;
    fs::create_dir_all(paths.steps())?;
    let mut all = Messages::default();
    let mut built = Vec::new();
    for program in programs {
        let start = Instant::now();
        let (raw, messages) = compile(paths, &toolchain, program)?;
        all.merge(messages);
        let compiled = start.elapsed().as_secs_f64();
        let bound = bind(paths, program, &raw)?;
        let unoptimised = bound.join(format!("{}_bg.wasm", program.name));
        let wasm = if fast {
            unoptimised
        } else {
            optimise(paths, node_packages, program, &unoptimised)?
        };
        let rest = start.elapsed().as_secs_f64() - compiled;
        say(&format!(
            "{}: compiled in {compiled:.0} s, bound and optimised in {rest:.0} s",
            program.name
        ));
        built.push(Built { program, bound, wasm });
    }
    Ok((built, all))
}

fn compile(paths: &Paths, toolchain: &Wasm, program: &Program) -> Result<(PathBuf, Messages)> {
    let mut cargo = toolchain.command(paths, "build");
    cargo.args([
        "--package",
        "equipoise",
        "--no-default-features",
        "--features",
        program.features,
    ]);
    cargo.args(["--bin", program.bin, "--profile", program.profile, "--locked"]);
    let (wasm, messages) = cargo_output::run(&mut cargo, &paths.root, &format!("{}.wasm", program.bin))?;
    let wasm = wasm.with_context(|| format!("cargo built no {}.wasm", program.bin))?;
    Ok((wasm, messages))
}

/// wasm-bindgen: the WebAssembly without its descriptions, and the JavaScript that it is called through.
fn bind(paths: &Paths, program: &Program, raw: &Path) -> Result<PathBuf> {
    let bytes = fs::read(raw).with_context(|| format!("could not read {}", raw.display()))?;
    let key = short_hash(&[&bytes, WASM_BINDGEN.as_bytes(), program.name.as_bytes()]);
    let folder = paths.steps().join(format!("{}-bound-{key}", program.name));
    if !folder.is_dir() {
        let fresh = paths.steps().join(format!("{}-binding", program.name));
        remove(&fresh)?;
        let mut bindgen = Bindgen::new();
        bindgen
            .input_bytes(program.name, bytes)
            .out_name(program.name)
            .web(true)?;
        bindgen
            .typescript(false)
            .omit_default_module_path(true)
            .remove_name_section(true);
        bindgen
            .generate(&fresh)
            .with_context(|| format!("wasm-bindgen failed on {}", raw.display()))?;
        fs::rename(&fresh, &folder)?;
    }
    keep_newest(paths, &format!("{}-bound-", program.name), &folder)?;
    Ok(folder)
}

/// wasm-opt of npm's `binaryen`.
fn optimise(paths: &Paths, node_packages: &Path, program: &Program, wasm: &Path) -> Result<PathBuf> {
    let tool = node_packages.join("node_modules/binaryen");
    let version = fs::read(tool.join("package.json")).context("could not read binaryen's package.json")?;
    let bytes = fs::read(wasm)?;
    let flags = WASM_FEATURES.join(" ") + program.optimise;
    let key = short_hash(&[&bytes, &version, flags.as_bytes()]);
    let file = paths.steps().join(format!("{}-opt-{key}.wasm", program.name));
    if !file.is_file() {
        let fresh = paths.steps().join(format!("{}-optimising.wasm", program.name));
        let mut command = Command::new("node");
        command
            .arg(tool.join("bin/wasm-opt"))
            .args(WASM_FEATURES)
            .arg(program.optimise);
        command.arg(wasm).arg("-o").arg(&fresh);
        let done = command.output().context("could not start node for wasm-opt")?;
        if !done.status.success() {
            bail!(
                "wasm-opt failed on {}: {}",
                program.name,
                String::from_utf8_lossy(&done.stderr).trim()
            );
        }
        fs::rename(&fresh, &file)?;
    }
    keep_newest(paths, &format!("{}-opt-", program.name), &file)?;
    Ok(file)
}

/// Marks `used` as just used and drops all but the newest entries of the step cache that start with `prefix`.
fn keep_newest(paths: &Paths, prefix: &str, used: &Path) -> Result<()> {
    fs::File::open(used)?.set_modified(SystemTime::now())?;
    let mut entries = Vec::new();
    for entry in fs::read_dir(paths.steps())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            entries.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    entries.sort();
    for (_, old) in entries.iter().rev().skip(KEPT) {
        remove(old)?;
    }
    Ok(())
}

/// Removes a file or a folder if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let done = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
