//! The licences of everything the project depends on: checked against a list, and told to the page's users.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::bundle::Bundle;
use crate::paths::Paths;
use crate::programs::PROGRAMS;
use crate::shell::output;
use crate::toolchain;

/// Start of the names of files with a licence's words or the notices it asks for.
const TEXTS: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];

/// What the project accepts: `xtask/licences.json`.
#[derive(Deserialize)]
struct Policy {
    /// SPDX identifiers; an expression must be satisfied by these alone.
    allow: BTreeSet<String>,
    /// Single packages with another licence, and why that is in order.
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    package: String,
    licence: String,
    why: String,
}

/// Something that somebody else wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    /// SPDX expression; empty if the package names none.
    licence: String,
    folder: Option<PathBuf>,
}

/// Every package, of both ecosystems, that the project may not use; one sentence each.
pub(crate) fn violations(paths: &Paths) -> Result<(usize, Vec<String>)> {
    let policy: Policy = serde_json::from_slice(&fs::read(paths.root.join("xtask/licences.json"))?)
        .context("xtask/licences.json is not as expected")?;
    let mut packages: Vec<Package> = all_crates(paths)?.into_iter().collect();
    packages.extend(npm_locked(&paths.root)?);
    let bad = packages.iter().filter_map(|package| violation(package, &policy));
    Ok((packages.len(), bad.collect()))
}

fn violation(package: &Package, policy: &Policy) -> Option<String> {
    let Package {
        name,
        version,
        licence,
        ..
    } = package;
    let excepted = policy.exceptions.iter().any(|exception| {
        exception.package == *name && exception.licence == *licence && !exception.why.is_empty()
    });
    if excepted {
        return None;
    }
    match Expression::parse_mode(licence, ParseMode::LAX) {
        Err(error) => Some(format!(
            "{name} {version}: `{licence}` is no SPDX expression ({error})"
        )),
        Ok(expression) => {
            let allowed = |id: &str| policy.allow.contains(id);
            let satisfied =
                expression.evaluate(|wanted| wanted.license.id().is_some_and(|id| allowed(id.name)));
            (!satisfied)
                .then(|| format!("{name} {version}: `{licence}` is not on the list of xtask/licences.json"))
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<CargoPackage>,
}

#[derive(Deserialize)]
struct CargoPackage {
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    source: Option<String>,
}

fn metadata(paths: &Paths, args: &[&str]) -> Result<Metadata> {
    let mut cargo = toolchain::native(paths, "metadata");
    cargo.args(["--format-version=1", "--locked"]).args(args);
    serde_json::from_str(&output(&mut cargo)?).context("could not read what `cargo metadata` printed")
}

/// All crates that building or testing the workspace needs, on any platform, but its own.
fn all_crates(paths: &Paths) -> Result<BTreeSet<Package>> {
    let args = [
        "--workspace",
        "--all-features",
        "--edges",
        "normal,build,dev",
        "--target",
        "all",
    ];
    crates_of_tree(paths, &args)
}

/// The crates that are linked into the programs of the page.
fn linked_crates(paths: &Paths) -> Result<BTreeSet<Package>> {
    let mut linked = BTreeSet::new();
    for program in &PROGRAMS {
        let args = [
            "--package",
            "equipoise",
            "--no-default-features",
            "--features",
            program.features,
        ];
        let what = [
            "--edges",
            "normal,no-proc-macro",
            "--target",
            "wasm32-unknown-unknown",
        ];
        linked.extend(crates_of_tree(paths, &[&args[..], &what].concat())?);
    }
    Ok(linked)
}

/// Third-party crates of a `cargo tree`. (`cargo metadata` alone also names what only a feature that is off asks for.)
fn crates_of_tree(paths: &Paths, args: &[&str]) -> Result<BTreeSet<Package>> {
    let mut cargo = toolchain::native(paths, "tree");
    cargo.args(["--locked", "--quiet", "--prefix", "none"]).args(args);
    let tree = output(&mut cargo)?;
    let in_tree: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect();
    let found = metadata(paths, &["--all-features"])?.packages.into_iter();
    let third_party = found.filter(|package| {
        package.source.is_some() && in_tree.contains(&(package.name.as_str(), package.version.as_str()))
    });
    Ok(third_party.map(package_of_crate).collect())
}

fn package_of_crate(package: CargoPackage) -> Package {
    Package {
        name: package.name,
        version: package.version,
        licence: package.license.unwrap_or_default(),
        folder: package.manifest_path.parent().map(Path::to_path_buf),
    }
}

#[derive(Deserialize)]
struct NpmLock {
    packages: BTreeMap<String, NpmPackage>,
}

#[derive(Deserialize)]
struct NpmPackage {
    version: Option<String>,
    license: Option<String>,
}

fn npm_locked(root: &Path) -> Result<Vec<Package>> {
    let lock: NpmLock = serde_json::from_slice(&fs::read(root.join("www/package-lock.json"))?)
        .context("www/package-lock.json is not as expected")?;
    let third_party = lock.packages.into_iter().filter(|(place, _)| !place.is_empty());
    Ok(third_party
        .map(|(place, package)| Package {
            name: place
                .rsplit("node_modules/")
                .next()
                .unwrap_or_default()
                .to_owned(),
            version: package.version.unwrap_or_default(),
            licence: package.license.unwrap_or_default(),
            folder: None,
        })
        .collect())
}

fn npm_installed(folder: &Path) -> Result<Package> {
    #[derive(Deserialize)]
    struct Manifest {
        name: String,
        version: String,
        license: Option<String>,
    }
    let manifest: Manifest = serde_json::from_slice(&fs::read(folder.join("package.json"))?)
        .with_context(|| format!("could not read the manifest of {}", folder.display()))?;
    Ok(Package {
        name: manifest.name,
        version: manifest.version,
        licence: manifest.license.unwrap_or_default(),
        folder: Some(folder.to_path_buf()),
    })
}

/// A page that names everything that is part of the bundle, with the words of its licence.
pub(crate) fn page(paths: &Paths, bundle: &Bundle) -> Result<String> {
    let mut sections: Vec<(&str, BTreeSet<Package>)> = vec![("Rust crates", linked_crates(paths)?)];
    let npm = bundle
        .npm_packages
        .iter()
        .map(|folder| npm_installed(folder))
        .collect::<Result<_>>()?;
    sections.push(("npm packages", npm));

    let mut texts: BTreeMap<String, usize> = BTreeMap::new();
    let mut html = String::from(HEAD);
    html += &shipped_notices(&paths.root)?;
    for (title, packages) in sections {
        html += &format!("<h2>{title}</h2>\n<table>\n<tr><th>Name<th>Version<th>Licence<th>Texts\n");
        for package in &packages {
            let mut links = String::new();
            for text in package
                .folder
                .as_deref()
                .map(licence_texts)
                .transpose()?
                .unwrap_or_default()
            {
                let next = texts.len() + 1;
                let number = *texts.entry(text).or_insert(next);
                links += &format!("<a href=\"#text-{number}\">{number}</a> ");
            }
            let [name, version, licence] =
                [&package.name, &package.version, &package.licence].map(|text| escaped(text));
            html += &format!(
                "<tr><td>{name}<td>{version}<td>{licence}<td>{}\n",
                links.trim_end()
            );
        }
        html += "</table>\n";
    }
    html += "<h2>Rust's standard library</h2>\n<p>MIT OR Apache-2.0, The Rust Project Developers.</p>\n";
    html += "<h2>Texts</h2>\n";
    let mut in_order: Vec<(usize, String)> = texts.into_iter().map(|(text, number)| (number, text)).collect();
    in_order.sort();
    for (number, text) in in_order {
        html += &format!(
            "<h3 id=\"text-{number}\">{number}</h3>\n<pre>{}</pre>\n",
            escaped(&text)
        );
    }
    Ok(html + "</body>\n</html>\n")
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Licences - Equipoise</title>
</head>
<body>
<h1>What Equipoise is made of</h1>
<p>Equipoise itself is licensed under MIT OR Apache-2.0. It contains the work of others:</p>
";

/// Notices that lie beside shipped models and samples.
fn shipped_notices(root: &Path) -> Result<String> {
    let mut html = String::new();
    for folder in ["www/models", "www/samples"] {
        let mut open = vec![root.join(folder)];
        let mut found = BTreeMap::new();
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry?.path();
                if path.is_dir() {
                    open.push(path);
                } else if is_licence_text(&path) {
                    let shown = path.strip_prefix(root.join("www")).unwrap_or(&path);
                    found.insert(shown.display().to_string(), fs::read_to_string(&path)?);
                }
            }
        }
        for (name, text) in found {
            html += &format!(
                "<h2>{}</h2>\n<pre>{}</pre>\n",
                escaped(&name),
                escaped(text.trim_end())
            );
        }
    }
    Ok(html)
}

/// The licence files of a package, line ends and surrounding space made equal so that the same words meet.
fn licence_texts(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_file() && is_licence_text(&path) {
            files.push(path);
        }
    }
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let bytes = fs::read(&file)?;
        let lines: Vec<String> = String::from_utf8_lossy(&bytes)
            .trim()
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        texts.push(lines.join("\n"));
    }
    Ok(texts)
}

fn is_licence_text(path: &Path) -> bool {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_uppercase();
    TEXTS.iter().any(|start| name.starts_with(start))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(licence: &str) -> Package {
        Package {
            name: "p".into(),
            version: "1".into(),
            licence: licence.into(),
            folder: None,
        }
    }

    fn policy() -> Policy {
        Policy {
            allow: ["MIT", "Apache-2.0"].map(str::to_owned).into(),
            exceptions: vec![Exception {
                package: "q".into(),
                licence: "MPL-2.0".into(),
                why: "tests only".into(),
            }],
        }
    }

    #[test]
    fn an_expression_must_be_met_by_the_list() {
        for good in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "MIT/Apache-2.0",
            "MIT AND Apache-2.0",
        ] {
            assert_eq!(violation(&package(good), &policy()), None);
        }
        for bad in ["", "GPL-3.0-only", "MIT AND GPL-3.0-only", "Proprietary"] {
            assert!(violation(&package(bad), &policy()).is_some(), "{bad}");
        }
    }

    #[test]
    fn an_exception_is_for_one_package_and_licence() {
        let excepted = Package {
            name: "q".into(),
            ..package("MPL-2.0")
        };
        assert_eq!(violation(&excepted, &policy()), None);
        assert!(violation(&package("MPL-2.0"), &policy()).is_some());
        let changed = Package {
            licence: "GPL-2.0-only".into(),
            ..excepted
        };
        assert!(violation(&changed, &policy()).is_some());
    }
}
