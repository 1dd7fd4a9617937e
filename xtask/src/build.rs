//! `./dev build`: from source to `dist/`.

use anyhow::{Result, bail};

use crate::paths::Paths;
use crate::{bundle, licences, programs, shell, sizes, system};

/// How to build.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// Leave out wasm-opt: sooner done, larger and slower.
    pub(crate) fast: bool,
    /// Build page and desk alone; the engines stay as they were built last.
    pub(crate) page: bool,
    /// Make today's sizes the size gates.
    pub(crate) accept_sizes: bool,
}

/// What a build found that does not stop it: compiler warnings, and files over their size gates.
pub(crate) struct Report {
    pub(crate) warnings: Vec<String>,
    pub(crate) over_gates: Vec<String>,
}

/// Builds `dist/` and prints its sizes.
pub(crate) fn dist(paths: &Paths, options: Options) -> Result<Report> {
    let node_packages = system::node_packages(paths)?;
    let (old, new): (Vec<_>, Vec<_>) = programs::PROGRAMS
        .iter()
        .partition(|program| options.page && !matches!(program.name, "desk" | "app"));
    let mut programs = Vec::new();
    for program in old {
        programs.extend(programs::last_built(
            paths,
            &node_packages,
            program,
            options.fast,
        )?);
    }
    let (built, messages) = programs::build(paths, &node_packages, new, options.fast)?;
    programs.extend(built);
    let bundle = bundle::bundle(paths, &node_packages, &programs, |bundle| {
        licences::page(paths, bundle)
    })?;
    let mut over_gates = Vec::new();
    if !options.fast {
        let sizes = sizes::measure(paths, &bundle)?;
        sizes::print(&sizes);
        if options.accept_sizes {
            sizes::accept(paths, &sizes)?;
        }
        over_gates = sizes::over_gates(paths, &sizes)?;
    }
    shell::say(&format!("wrote {}", paths.dist().display()));
    Ok(Report {
        warnings: messages.warnings,
        over_gates,
    })
}

/// `./dev build` as a command: a file over its gate is an error.
pub(crate) fn command(paths: &Paths, options: Options) -> Result<()> {
    let report = dist(paths, options)?;
    if !report.over_gates.is_empty() {
        bail!("too large:\n  {}", report.over_gates.join("\n  "));
    }
    Ok(())
}
