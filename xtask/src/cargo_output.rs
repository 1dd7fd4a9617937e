//! Reading what cargo says about a build.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::shell::shown;

/// What the compiler said about the project's own code.
#[derive(Default)]
pub(crate) struct Messages {
    /// Warnings as the compiler renders them.
    pub(crate) warnings: Vec<String>,
}

impl Messages {
    pub(crate) fn merge(&mut self, other: Self) {
        for warning in other.warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Line {
    CompilerMessage {
        message: Diagnostic,
        package_id: String,
    },
    CompilerArtifact {
        filenames: Vec<PathBuf>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
}

/// Runs a cargo build; returns the file of that name among what was built, and the compiler's messages.
///
/// Diagnostics and progress reach the terminal as usual.
pub(crate) fn run(cargo: &mut Command, root: &Path, wanted: &str) -> Result<(Option<PathBuf>, Messages)> {
    cargo.arg("--message-format=json").stdout(Stdio::piped());
    let line = shown(cargo);
    println!("  $ {line}");
    let mut child = cargo
        .spawn()
        .with_context(|| format!("could not start `{line}`"))?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut found = None;
    let mut messages = Messages::default();
    let own = format!("path+file://{}", root.display());
    for text in BufReader::new(stdout).lines() {
        // Lines that are no JSON come from build scripts; they are of no interest here.
        match serde_json::from_str(&text?).unwrap_or(Line::Other) {
            Line::CompilerArtifact { filenames } => {
                let is_wanted = |file: &PathBuf| file.file_name().is_some_and(|name| name == wanted);
                found = filenames.into_iter().find(is_wanted).or(found);
            }
            Line::CompilerMessage { message, package_id } => {
                let rendered = message.rendered.unwrap_or_default();
                eprint!("{rendered}");
                if message.level == "warning" && package_id.starts_with(&own) {
                    messages.warnings.push(rendered);
                }
            }
            Line::Other => {}
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok((found, messages))
}
