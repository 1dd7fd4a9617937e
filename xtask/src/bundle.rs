//! From built programs to `dist/`: one flat folder that works under any path of a static host.
//!
//! What page, desk and engines may rely on:
//!
//! - Every file but `index.html`, `licences.html` and `service-worker.js` has a content hash in its name. Programs ask `www/assets.js`
//!   (in Rust `web::assets`) for the file behind a logical name: `desk.js`, `engine-cpu.js`, `engine-gpu.js`,
//!   `tutor-cpu.js`, `tutor-gpu.js`, and any file below `www/models` and `www/samples`, named relative to `www`. The
//!   table of names is part of each bundle. The order is engines, desk, app, so a program can find those before it.
//! - A program's start-up file imports what wasm-bindgen wrote, gives it the hashed WebAssembly file, and awaits it:
//!   `main` of the binary then runs. If that fails in a worker, the worker's `error` event fires.
//! - Rust binds JavaScript by `#[wasm_bindgen(module = "/www/NAME.js")]`; such a file may import other files in `www`
//!   and the npm packages of `www/package.json`, statically or by `import()`, which makes a chunk of its own.
//! - In `index.html`, `src="app.js"` becomes the page's start-up file, and any `href` or `src` that starts with `www/`
//!   becomes a hashed copy (style sheets are minified, and what they name by `url()` follows; so do a manifest's icons).
//! - `service-worker.js` gets a table of all files, so that the page works without a network ([`crate::offline`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::offline;
use crate::paths::Paths;
use crate::programs::{Built, remove};
use crate::shell::output;
use crate::system::short_hash;

/// Oldest JavaScript that the bundle may use: top-level `await` came with ES2022.
const JAVASCRIPT: &str = "es2022";

/// The script that knows the hashed names.
const ASSETS: &str = "assets.js";

/// Folders of `www` that are shipped file by file.
const SHIPPED: [&str; 2] = ["models", "samples"];

/// A finished bundle.
pub(crate) struct Bundle {
    /// File names in `dist/` by logical name, for example `app.js`, `app.wasm`, `models/x/card.json`.
    pub(crate) names: BTreeMap<String, String>,
    /// Folders of the npm packages whose code was bundled.
    pub(crate) npm_packages: BTreeSet<PathBuf>,
}

struct Bundler<'a> {
    paths: &'a Paths,
    node_packages: &'a Path,
    /// Working folder; the finished page grows in `stage/dist`.
    stage: PathBuf,
    bundle: Bundle,
}

/// Makes the page in a fresh folder and then puts it in the place of `dist/`.
pub(crate) fn bundle(
    paths: &Paths,
    node_packages: &Path,
    programs: &[Built],
    licences: impl FnOnce(&Bundle) -> Result<String>,
) -> Result<Bundle> {
    let stage = paths.cache.join("stage");
    remove(&stage)?;
    fs::create_dir_all(stage.join("dist"))?;
    let bundle = Bundle {
        names: BTreeMap::new(),
        npm_packages: BTreeSet::new(),
    };
    let mut bundler = Bundler {
        paths,
        node_packages,
        stage,
        bundle,
    };
    for folder in SHIPPED {
        bundler.ship_folder(Path::new(folder))?;
    }
    for program in programs {
        bundler.program(program)?;
    }
    bundler.index()?;
    let dist = bundler.stage.join("dist");
    fs::write(dist.join("licences.html"), licences(&bundler.bundle)?)?;
    let script = fs::read_to_string(paths.root.join("www").join(offline::SERVICE_WORKER))?;
    offline::service_worker(&script, &dist, &all_files(&dist, "")?, &bundler.bundle.names)?;
    remove(&paths.dist())?;
    copy_folder(&dist, &paths.dist())?;
    Ok(bundler.bundle)
}

impl Bundler<'_> {
    /// Copies all files below `www/FOLDER`, with hashed names.
    fn ship_folder(&mut self, folder: &Path) -> Result<()> {
        let source = self.paths.root.join("www").join(folder);
        if !source.is_dir() {
            return Ok(());
        }
        for name in sorted_names(&source)? {
            let inner = folder.join(&name);
            if source.join(&name).is_dir() {
                self.ship_folder(&inner)?;
            } else {
                let logical = inner.to_string_lossy().replace('\\', "/");
                self.ship(&source.join(&name), &logical)?;
            }
        }
        Ok(())
    }

    /// Copies a file to `dist/` under its logical name with a hash before the first dot of the file name.
    fn ship(&mut self, file: &Path, logical: &str) -> Result<String> {
        let bytes = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
        self.write(&bytes, logical)
    }

    fn write(&mut self, bytes: &[u8], logical: &str) -> Result<String> {
        let name = hashed_name(logical, bytes);
        let target = self.stage.join("dist").join(&name);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(target, bytes)?;
        self.bundle.names.insert(logical.to_owned(), name.clone());
        Ok(name)
    }

    /// Bundles a program: its start-up file, what wasm-bindgen wrote, its snippets and npm packages.
    fn program(&mut self, built: &Built) -> Result<()> {
        let name = built.program.name;
        let wasm = self.ship(&built.wasm, &format!("{name}.wasm"))?;
        let folder = self.stage.join(name);
        copy_folder(&built.bound, &folder.join("bound"))?;
        self.refresh_snippets(&folder.join("bound/snippets"))?;
        let start = format!(
            "import init from \"./bound/{name}.js\";\n\
             await init({{ module_or_path: new URL(\"./{wasm}\", import.meta.url) }});\n"
        );
        fs::write(folder.join(format!("{name}.js")), start)?;
        let bundled = self.esbuild(&folder, &format!("{name}.js"), &["--splitting", "--format=esm"])?;
        self.bundle.names.insert(format!("{name}.js"), bundled);
        Ok(())
    }

    /// wasm-bindgen copies the files that Rust names, but not what they import: puts all of `www/*.js` beside them,
    /// and the table of names into `assets.js`.
    fn refresh_snippets(&self, snippets: &Path) -> Result<()> {
        if !snippets.is_dir() {
            return Ok(());
        }
        let www = self.paths.root.join("www");
        for package in sorted_names(snippets)? {
            let target = snippets.join(package).join("www");
            if !target.is_dir() {
                continue;
            }
            for name in sorted_names(&www)?.iter().filter(|name| name.ends_with(".js")) {
                let mut script = fs::read_to_string(www.join(name))?;
                if name == ASSETS {
                    let table = serde_json::to_string(&self.bundle.names)?;
                    script.insert_str(0, &format!("const EQUIPOISE_ASSETS = {table};\n"));
                }
                fs::write(target.join(name), script)?;
            }
        }
        Ok(())
    }

    /// Bundles and minifies one entry file of `folder`; returns its hashed name in `dist/`.
    fn esbuild(&mut self, folder: &Path, entry: &str, more: &[&str]) -> Result<String> {
        let meta_file = self.stage.join("meta.json");
        let modules = self.node_packages.join("node_modules");
        let mut esbuild = Command::new(modules.join(".bin/esbuild"));
        esbuild.current_dir(folder).env("NODE_PATH", &modules).arg(entry);
        esbuild.args([
            "--bundle",
            "--minify",
            "--log-level=warning",
            "--legal-comments=none",
        ]);
        esbuild.arg(format!("--target={JAVASCRIPT}"));
        esbuild.args([
            "--entry-names=[name]-[hash]",
            "--chunk-names=[name]-[hash]",
            "--asset-names=[name]-[hash]",
        ]);
        for extension in ["svg", "png", "woff2"] {
            esbuild.arg(format!("--loader:.{extension}=file"));
        }
        esbuild.arg(format!("--outdir={}", self.stage.join("dist").display()));
        esbuild
            .arg(format!("--metafile={}", meta_file.display()))
            .args(more);
        output(&mut esbuild).with_context(|| format!("could not bundle {entry}"))?;
        let meta: Meta = serde_json::from_slice(&fs::read(&meta_file)?)?;
        for input in meta.inputs.keys() {
            let package = npm_package(&folder.join(input)).and_then(|package| package.canonicalize().ok());
            self.bundle.npm_packages.extend(package);
        }
        let is_entry = |(_, out): &(&String, &Output)| out.entry_point.as_deref() == Some(entry);
        let (out, _) = meta
            .outputs
            .iter()
            .find(is_entry)
            .with_context(|| format!("esbuild lost {entry}"))?;
        let name = Path::new(out)
            .file_name()
            .context("esbuild wrote a file without a name")?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// Writes `index.html` with the hashed names in it.
    fn index(&mut self) -> Result<()> {
        let source =
            fs::read_to_string(self.paths.root.join("index.html")).context("could not read index.html")?;
        let mut missing_app = true;
        let mut html = rewrite_attributes(&source, |value| {
            if value == "app.js" {
                missing_app = false;
                return Ok(self.bundle.names.get("app.js").cloned());
            }
            let Some(inner) = value.strip_prefix("www/") else {
                return Ok(None);
            };
            if let Some(name) = self.bundle.names.get(inner) {
                return Ok(Some(name.clone()));
            }
            let www = self.paths.root.join("www");
            if value.ends_with(".css") {
                let name = self.esbuild(&www, inner, &[])?;
                self.bundle.names.insert(inner.to_owned(), name.clone());
                return Ok(Some(name));
            }
            if value.ends_with(".webmanifest") {
                let text = fs::read_to_string(www.join(inner))?;
                let bytes = offline::manifest(&text, |icon| self.ship(&www.join(icon), icon))?;
                return self.write(&bytes, inner).map(Some);
            }
            self.ship(&www.join(inner), inner).map(Some)
        })?;
        if missing_app {
            bail!("index.html has no `src=\"app.js\"`: the page would not start");
        }
        // The browser asks for the WebAssembly while it still reads the start-up file.
        if let Some(wasm) = self.bundle.names.get("app.wasm") {
            let link = format!("<link rel=\"preload\" href=\"{wasm}\" as=\"fetch\" crossorigin>\n</head>");
            html = html.replacen("</head>", &link, 1);
        }
        fs::write(self.stage.join("dist/index.html"), html)?;
        Ok(())
    }
}

#[derive(Deserialize)]
struct Meta {
    inputs: BTreeMap<String, serde::de::IgnoredAny>,
    outputs: BTreeMap<String, Output>,
}

#[derive(Deserialize)]
struct Output {
    #[serde(rename = "entryPoint")]
    entry_point: Option<String>,
}

/// The npm package that a bundled file belongs to.
fn npm_package(file: &Path) -> Option<PathBuf> {
    let text = file.to_str()?;
    let (before, after) = text.rsplit_once("node_modules/")?;
    let depth = if after.starts_with('@') { 2 } else { 1 };
    let name: PathBuf = Path::new(after).components().take(depth).collect();
    Some(Path::new(before).join("node_modules").join(name))
}

/// `models/x/card.json` becomes `models/x/card-0123456789abcdef.json`; `flair.nii.gz` keeps its double ending.
fn hashed_name(logical: &str, bytes: &[u8]) -> String {
    let (folder, file) = match logical.rsplit_once('/') {
        Some((folder, file)) => (format!("{folder}/"), file),
        None => (String::new(), logical),
    };
    let hash = short_hash(&[bytes]);
    match file.split_once('.') {
        Some((stem, endings)) if !stem.is_empty() => format!("{folder}{stem}-{hash}.{endings}"),
        _ => format!("{folder}{file}-{hash}"),
    }
}

/// Gives the value of every `href="..."` and `src="..."` to `rename`; `None` leaves it.
fn rewrite_attributes(html: &str, mut rename: impl FnMut(&str) -> Result<Option<String>>) -> Result<String> {
    let mut done = String::with_capacity(html.len());
    let mut rest = html;
    loop {
        let starts = ["href=\"", "src=\""].map(|key| rest.find(key).map(|at| at + key.len()));
        let Some(start) = starts.into_iter().flatten().min() else {
            done.push_str(rest);
            return Ok(done);
        };
        let (before, from_value) = rest.split_at(start);
        let end = from_value
            .find('"')
            .context("index.html has an attribute without its closing quote")?;
        let (value, after) = from_value.split_at(end);
        done.push_str(before);
        match rename(value)? {
            Some(name) => done.push_str(&name),
            None => done.push_str(value),
        }
        rest = after;
    }
}

/// All files below a folder in a fixed order, as paths below it with `/`.
fn all_files(folder: &Path, below: &str) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for name in sorted_names(&folder.join(below))? {
        let inner = if below.is_empty() {
            name
        } else {
            format!("{below}/{name}")
        };
        if folder.join(&inner).is_dir() {
            files.extend(all_files(folder, &inner)?);
        } else {
            files.push(inner);
        }
    }
    Ok(files)
}

/// File names of a folder in a fixed order; hidden files are left out.
fn sorted_names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))?;
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for name in sorted_names(from)? {
        let (source, target) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("could not copy {}", source.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_goes_before_the_first_dot() {
        let name = hashed_name("samples/small/flair.nii.gz", b"x");
        assert!(
            name.starts_with("samples/small/flair-") && name.ends_with(".nii.gz"),
            "{name}"
        );
        assert_ne!(name, hashed_name("samples/small/flair.nii.gz", b"y"));
        assert!(hashed_name("models/browser-b1.5/LICENCE", b"x").starts_with("models/browser-b1.5/LICENCE-"));
    }

    #[test]
    fn only_the_named_attributes_change() {
        let html =
            r#"<link href="www/style.css"><a href="licences.html">x</a><script src="app.js"></script>"#;
        let new = rewrite_attributes(html, |value| {
            Ok(match value {
                "www/style.css" => Some("style-1.css".to_owned()),
                "app.js" => Some("app-2.js".to_owned()),
                _ => None,
            })
        })
        .unwrap();
        let expected =
            r#"<link href="style-1.css"><a href="licences.html">x</a><script src="app-2.js"></script>"#;
        assert_eq!(new, expected);
        assert!(rewrite_attributes("<a href=\"x", |_| Ok(None)).is_err());
    }

    #[test]
    fn a_bundled_file_names_its_package() {
        let package = |file: &str| npm_package(Path::new(file));
        assert_eq!(package("/src/own.js"), None);
        assert_eq!(
            package("/a/node_modules/fflate/esm/x.js"),
            Some("/a/node_modules/fflate".into())
        );
        assert_eq!(
            package("/a/node_modules/@n/m/dist/x.js"),
            Some("/a/node_modules/@n/m".into())
        );
        assert_eq!(
            package("/a/node_modules/m/node_modules/k/x.js"),
            Some("/a/node_modules/m/node_modules/k".into())
        );
    }
}
