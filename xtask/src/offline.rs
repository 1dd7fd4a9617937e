//! What makes the page installable and lets it work without a network: the manifest's icons under their hashed names, and the
//! table of files before `www/service-worker.js`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::system::short_hash;

/// The service worker's name in `www` and in `dist`: it has no hash, since browsers look for a new one under the old name.
pub(crate) const SERVICE_WORKER: &str = "service-worker.js";

/// Files without a hash in their name; they are kept with a checksum, since a host may change them at any time.
const PAGES: [&str; 2] = ["index.html", "licences.html"];

/// What a first visit does not wait for, by the start of the logical name: the engine that few machines use, and the large
/// sample.
const LATER: [&str; 4] = ["engine-gpu", "tutor-cpu", "tutor-gpu", "samples/head"];

/// What the page never fetches.
const NEVER: [&str; 3] = [".csv", ".md", "curve.svg"];

/// Rewrites the icons' names in a web app manifest.
pub(crate) fn manifest(text: &str, mut ship: impl FnMut(&str) -> Result<String>) -> Result<Vec<u8>> {
    let mut manifest: Value = serde_json::from_str(text).context("the manifest is not JSON")?;
    let icons = manifest
        .get_mut("icons")
        .and_then(Value::as_array_mut)
        .context("the manifest has no icons")?;
    for icon in icons {
        let src = icon
            .get_mut("src")
            .context("an icon of the manifest has no src")?;
        let name = src.as_str().context("an icon's src is no text")?;
        *src = Value::String(ship(name)?);
    }
    Ok(serde_json::to_vec(&manifest)?)
}

/// The table that the service worker reads.
#[derive(Serialize)]
struct Offline {
    version: String,
    first: Vec<String>,
    more: Vec<String>,
    pages: BTreeMap<String, String>,
}

/// Writes the service worker into a finished `dist`; `files` are all that it holds, `logical` names some of them.
pub(crate) fn service_worker(
    script: &str,
    dist: &Path,
    files: &[String],
    logical: &BTreeMap<String, String>,
) -> Result<()> {
    let of = |file: &str| {
        logical
            .iter()
            .find(|(_, name)| *name == file)
            .map_or_else(|| file.to_owned(), |(logical, _)| logical.clone())
    };
    let mut table = Offline {
        version: String::new(),
        first: Vec::new(),
        more: Vec::new(),
        pages: BTreeMap::new(),
    };
    for file in files {
        let logical = of(file);
        if NEVER.iter().any(|end| logical.ends_with(end)) {
            continue;
        }
        if LATER.iter().any(|start| logical.starts_with(start)) {
            table.more.push(file.clone());
        } else {
            table.first.push(file.clone());
        }
    }
    for page in PAGES {
        let bytes = fs::read(dist.join(page)).with_context(|| format!("{page} is missing"))?;
        let digest = STANDARD.encode(Sha256::digest(&bytes));
        table.pages.insert(page.to_owned(), format!("sha256-{digest}"));
    }
    // Names hold the hashes of their files, so this changes with any byte that is shipped, and with the script.
    let names = serde_json::to_vec(&(&table.first, &table.more, &table.pages))?;
    table.version = short_hash(&[script.as_bytes(), &names]);
    let table = serde_json::to_string(&table)?;
    fs::write(
        dist.join(SERVICE_WORKER),
        format!("const EQUIPOISE_OFFLINE = {table};\n{script}"),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_gets_the_shipped_icons() {
        let text = r#"{"name":"x","icons":[{"src":"a.svg"},{"src":"b.png","sizes":"1x1"}]}"#;
        let new = manifest(text, |name| Ok(format!("hashed-{name}"))).unwrap();
        let new: Value = serde_json::from_slice(&new).unwrap();
        assert_eq!(new["icons"][1]["src"], "hashed-b.png");
        assert_eq!(new["icons"][1]["sizes"], "1x1");
        assert!(manifest("{}", |name| Ok(name.to_owned())).is_err());
    }

    #[test]
    fn the_version_follows_every_file_and_both_pages() {
        let dist = std::env::temp_dir().join(format!("equipoise-offline-{}", std::process::id()));
        fs::create_dir_all(&dist).unwrap();
        let logical = [
            ("engine-gpu.wasm", "engine-gpu-1.wasm"),
            ("models/x/log.csv", "models/x/log-1.csv"),
        ]
        .map(|(logical, name)| (logical.to_owned(), name.to_owned()))
        .into();
        let mut versions = std::collections::BTreeSet::new();
        for (page, app) in [("a", "app-1.js"), ("b", "app-1.js"), ("a", "app-2.js")] {
            for name in PAGES {
                fs::write(dist.join(name), page).unwrap();
            }
            let files = [
                app,
                "engine-gpu-1.wasm",
                "index.html",
                "licences.html",
                "models/x/log-1.csv",
            ]
            .map(str::to_owned);
            service_worker("rest();", &dist, &files, &logical).unwrap();
            let written = fs::read_to_string(dist.join(SERVICE_WORKER)).unwrap();
            let table = written.strip_prefix("const EQUIPOISE_OFFLINE = ").unwrap();
            let table: Value = serde_json::from_str(table.strip_suffix(";\nrest();").unwrap()).unwrap();
            assert_eq!(table["more"], serde_json::json!(["engine-gpu-1.wasm"]));
            assert_eq!(
                table["first"],
                serde_json::json!([app, "index.html", "licences.html"])
            );
            versions.insert(table["version"].as_str().unwrap().to_owned());
        }
        assert_eq!(versions.len(), 3);
        fs::remove_dir_all(&dist).unwrap();
    }
}
