//! `./dev test`: every check and test, all of them even if one fails, with one line of totals at the end.

use std::env;
use std::fs;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::paths::Paths;
use crate::shell::{Stream, say, shown, stream};
use crate::test_output::{CargoTest, Tap};
use crate::{build, licences, serve, system, toolchain};

/// Where the browser tests find the page: not at the root, since hosts do not promise that.
const SUB_PATH: &str = "/some/where/";

/// What no step needs even on a cold machine; one that hangs then fails by name instead of holding up the rest.
const LIMIT: Duration = Duration::from_secs(40 * 60);
/// The browser tests take some minutes.
const BROWSER_LIMIT: Duration = Duration::from_secs(20 * 60);

/// How many passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Totals {
    fn of(good: bool) -> Self {
        Self {
            passed: usize::from(good),
            failed: usize::from(!good),
            skipped: 0,
        }
    }

    fn any(self) -> bool {
        self != Self::default()
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// What steps share.
struct Run<'a> {
    paths: &'a Paths,
    /// Words that choose tests by name inside the steps that run tests.
    names: Vec<String>,
    /// Whether `dist/` was built in this run; `None` before it was tried.
    built: Option<bool>,
}

struct Step {
    name: &'static str,
    what: &'static str,
    /// Part of `--quick`: needs neither burn nor a browser.
    quick: bool,
    run: fn(&mut Run) -> Result<Totals>,
}

const STEPS: [Step; 10] = [
    Step {
        name: "format",
        what: "rustfmt",
        quick: true,
        run: format,
    },
    Step {
        name: "licences",
        what: "the licence of every dependency",
        quick: true,
        run: licences,
    },
    Step {
        name: "tools",
        what: "tests of xtask, and the rules of the house",
        quick: true,
        run: tools,
    },
    Step {
        name: "rooms",
        what: "tests that need no burn, the page's among them",
        quick: true,
        run: rooms,
    },
    Step {
        name: "lints",
        what: "clippy, warnings are errors",
        quick: false,
        run: lints,
    },
    Step {
        name: "docs",
        what: "rustdoc, warnings are errors",
        quick: false,
        run: docs,
    },
    Step {
        name: "unit",
        what: "all native tests",
        quick: false,
        run: unit,
    },
    Step {
        name: "build",
        what: "the page, without warnings and within its size gates",
        quick: false,
        run: page,
    },
    Step {
        name: "page-lints",
        what: "clippy for the browser's target",
        quick: false,
        run: page_lints,
    },
    Step {
        name: "browser",
        what: "the built page in Chromium",
        quick: false,
        run: browser,
    },
];

/// Runs the chosen steps; the exit code says whether all passed.
pub(crate) fn command<'a>(paths: &Paths, words: impl Iterator<Item = &'a str>) -> Result<ExitCode> {
    let mut quick = false;
    let (mut chosen, mut names) = (Vec::new(), Vec::new());
    for word in words {
        match word {
            "--quick" => quick = true,
            "help" => {
                for step in &STEPS {
                    println!("{:<12}{}", step.name, step.what);
                }
                return Ok(ExitCode::SUCCESS);
            }
            _ if word.starts_with('-') => bail!("`./dev test` does not know `{word}`; see `./dev help`"),
            _ if STEPS.iter().any(|step| step.name == word) => chosen.push(word.to_owned()),
            _ => names.push(word.to_owned()),
        }
    }
    if chosen.is_empty() && !names.is_empty() {
        chosen = ["tools", "unit", "browser"].map(str::to_owned).into();
    }
    fs::create_dir_all(paths.logs())?;
    let mut run = Run {
        paths,
        names,
        built: None,
    };
    let mut totals = Totals::default();
    let mut lines = Vec::new();
    for step in &STEPS {
        let wanted = chosen.is_empty() || chosen.iter().any(|name| name == step.name);
        if !wanted || (quick && !step.quick) {
            continue;
        }
        println!("\n== {}: {}", step.name, step.what);
        let start = Instant::now();
        let found = (step.run)(&mut run).unwrap_or_else(|error| {
            println!("{error:#}");
            Totals::of(false)
        });
        totals += found;
        let Totals {
            passed,
            failed,
            skipped,
        } = found;
        let seconds = start.elapsed().as_secs();
        let verdict = if failed == 0 { "ok" } else { "FAILED" };
        let name = step.name;
        lines.push(format!(
            "{name:<12}{verdict:<8}{passed:>5} passed {failed:>3} failed {skipped:>3} skipped {seconds:>6} s"
        ));
    }
    println!("\n{}\nlogs: {}", lines.join("\n"), paths.logs().display());
    let Totals {
        passed,
        failed,
        skipped,
    } = totals;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(if failed == 0 && passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a command that either passes or fails; its output goes to the terminal and to a log.
fn check(run: &Run, log: &str, command: &mut Command) -> Result<Totals> {
    println!("  $ {}", shown(command));
    let log = run.paths.logs().join(log);
    let status = stream(command, &log, LIMIT, |_, line| println!("{line}"))?;
    Ok(Totals::of(status.success()))
}

fn format(run: &mut Run) -> Result<Totals> {
    toolchain::native_tools(run.paths)?;
    check(
        run,
        "format.log",
        toolchain::native(run.paths, "fmt").args(["--all", "--check"]),
    )
}

fn licences(run: &mut Run) -> Result<Totals> {
    let (checked, violations) = licences::violations(run.paths)?;
    for sentence in &violations {
        println!("{sentence}");
    }
    println!("{checked} packages checked");
    Ok(Totals::of(violations.is_empty()))
}

fn tools(run: &mut Run) -> Result<Totals> {
    cargo_test(run, "tools.log", &["--package", "xtask"])
}

fn rooms(run: &mut Run) -> Result<Totals> {
    cargo_test(
        run,
        "rooms.log",
        &[
            "--package",
            "equipoise",
            "--no-default-features",
            "--features",
            "page",
            "--lib",
        ],
    )
}

fn unit(run: &mut Run) -> Result<Totals> {
    system::vulkan()?;
    cargo_test(run, "unit.log", &["--package", "equipoise"])
}

fn cargo_test(run: &Run, log: &str, args: &[&str]) -> Result<Totals> {
    let mut cargo = toolchain::native(run.paths, "test");
    cargo
        .arg("--locked")
        .args(args)
        .args(["--no-fail-fast", "--", "--show-output"])
        .args(&run.names);
    println!("  $ {}", shown(&cargo));
    let mut tests = CargoTest::default();
    let log = run.paths.logs().join(log);
    let status = stream(&mut cargo, &log, LIMIT, |from, line| match from {
        Stream::Err => println!("{line}"),
        Stream::Out => {
            if let Some(shown) = tests.line(line) {
                println!("{shown}");
            }
        }
    })?;
    let mut totals = tests.totals();
    // Nothing compiled, or a test took its process with it.
    if !status.success() && totals.failed == 0 {
        totals += Totals::of(false);
    }
    Ok(totals)
}

fn lints(run: &mut Run) -> Result<Totals> {
    toolchain::native_tools(run.paths)?;
    let mut totals = Totals::default();
    for (log, package) in [("lints-equipoise.log", "equipoise"), ("lints-xtask.log", "xtask")] {
        let mut cargo = toolchain::native(run.paths, "clippy");
        cargo.args([
            "--locked",
            "--package",
            package,
            "--all-features",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]);
        totals += check(run, log, &mut cargo)?;
    }
    Ok(totals)
}

fn page_lints(run: &mut Run) -> Result<Totals> {
    let wasm = toolchain::Wasm::find(run.paths)?;
    let mut cargo = wasm.command(run.paths, "clippy");
    cargo.args([
        "--locked",
        "--package",
        "equipoise",
        "--no-default-features",
        "--features",
        "page",
    ]);
    cargo.args(["--lib", "--bins", "--", "-D", "warnings"]);
    check(run, "page-lints.log", &mut cargo)
}

fn docs(run: &mut Run) -> Result<Totals> {
    let mut cargo = toolchain::native(run.paths, "doc");
    cargo.args([
        "--locked",
        "--package",
        "equipoise",
        "--all-features",
        "--no-deps",
        "--lib",
    ]);
    check(run, "docs.log", cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

fn page(run: &mut Run) -> Result<Totals> {
    run.built = Some(false);
    let report = build::dist(run.paths, build::Options::default())?;
    run.built = Some(true);
    for sentence in report.warnings.iter().chain(&report.over_gates) {
        println!("{sentence}");
    }
    let mut totals = Totals::of(true);
    totals += Totals::of(report.warnings.is_empty());
    totals += Totals::of(report.over_gates.is_empty());
    Ok(totals)
}

fn browser(run: &mut Run) -> Result<Totals> {
    if run.built.is_none() {
        page(run)?;
    }
    if run.built != Some(true) {
        bail!("there is no page to test: it could not be built");
    }
    let paths = run.paths;
    let node = system::node()?;
    let packages = system::node_packages(paths)?;
    let python = system::python(paths)?;
    let chromium = system::chromium()?;
    let shots = paths.logs().join("browser");
    fs::create_dir_all(&shots)?;
    // The page is compared with the command line.
    let mut lab = toolchain::native(paths, "build");
    lab.args(["--locked", "--package", "equipoise", "--bin", "lab"]);
    if !lab.status()?.success() {
        bail!("lab could not be built");
    }
    let lab = paths.native().join("debug").join("lab");
    let serving = serve::start(&paths.dist(), 0, SUB_PATH)?;
    say(&format!(
        "testing {}; screenshots and downloads in {}",
        serving.url,
        shots.display()
    ));
    let mut command = Command::new(node);
    command
        .current_dir(&paths.root)
        .args(["--test-reporter=tap", "tests/browser/main.mjs"]);
    command.env("EQUIPOISE_URL", &serving.url);
    command
        .env("EQUIPOISE_NODE_PACKAGES", packages)
        .env("EQUIPOISE_CHROMIUM", chromium);
    command
        .env("EQUIPOISE_PYTHON", python)
        .env("EQUIPOISE_OUT", &shots);
    command
        .env("EQUIPOISE_LAB", lab)
        .env("EQUIPOISE_ONLY", run.names.join(" "));
    if let Some(data) = data(&paths.root) {
        command.env("EQUIPOISE_DATA", data);
    }
    println!("  $ {}", shown(&command));
    let mut tests = Tap::default();
    let status = stream(
        &mut command,
        &paths.logs().join("browser.log"),
        BROWSER_LIMIT,
        |from, line| match from {
            Stream::Err => println!("{line}"),
            Stream::Out => {
                if let Some(shown) = tests.line(line) {
                    println!("{shown}");
                }
            }
        },
    )?;
    let mut totals = tests.totals();
    if !tests.complete() {
        println!("the browser tests ended before all of them had run ({status})");
        totals += Totals::of(false);
    } else if !status.success() && totals.failed == 0 {
        totals += Totals::of(false);
    }
    if !totals.any() {
        bail!("no browser test ran");
    }
    Ok(totals)
}

/// The scans beside the checkout, if they are there.
fn data(root: &Path) -> Option<PathBuf> {
    let named = env::var_os("EQUIPOISE_DATA").map(PathBuf::from);
    named
        .or_else(|| Some(root.parent()?.join("shared/data")))
        .filter(|folder| folder.is_dir())
}
