//! How large the page is to download, and the limits it must keep.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::paths::Paths;
use crate::system::short_hash;

/// A file may grow by this much over its gate before the build fails.
const TOLERANCE: f64 = 0.05;
/// Committed sizes, in bytes after gzip, by logical name.
const GATES: &str = "xtask/size-gates.json";

/// Bytes of a file as it is, and as hosts send it.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Size {
    raw: u64,
    gzip: u64,
    brotli: u64,
}

/// Measures every file of the bundle; compressed sizes are remembered in the cache.
pub(crate) fn measure(paths: &Paths, bundle: &Bundle) -> Result<BTreeMap<String, Size>> {
    let memory = paths.steps().join("sizes.json");
    let known: BTreeMap<String, Size> = fs::read(&memory)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    let mut remembered = BTreeMap::new();
    let mut sizes = BTreeMap::new();
    for (logical, name) in bundle
        .names
        .iter()
        .map(|(l, n)| (l.clone(), n.clone()))
        .chain(chunks(paths, bundle)?)
    {
        let bytes = fs::read(paths.dist().join(&name))?;
        let key = short_hash(&[&bytes]);
        let size = match known.get(&key) {
            Some(size) => *size,
            None => compressed(&bytes)?,
        };
        remembered.insert(key, size);
        sizes.insert(logical, size);
    }
    fs::create_dir_all(paths.steps())?;
    fs::write(memory, serde_json::to_vec(&remembered)?)?;
    Ok(sizes)
}

/// Files that esbuild split off, named without their hash.
fn chunks(paths: &Paths, bundle: &Bundle) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(paths.dist())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let known = bundle.names.values().any(|known| *known == name);
        if !known && name.ends_with(".js") {
            let stem = name.rsplit_once('-').map_or(name.as_str(), |(stem, _)| stem);
            found.push((format!("chunk {stem}"), name));
        }
    }
    found.sort();
    // Chunks of one stem (esbuild calls them all `chunk`) are told apart by a number.
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (logical, _) in &mut found {
        let count = seen.entry(logical.clone()).or_default();
        *count += 1;
        if *count > 1 {
            *logical = format!("{logical} {count}");
        }
    }
    Ok(found)
}

fn compressed(bytes: &[u8]) -> Result<Size> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    Ok(Size {
        raw: bytes.len() as u64,
        gzip: gzip.finish()?.len() as u64,
        brotli: brotli(bytes)?,
    })
}

/// Bytes that are left by brotli.
pub(crate) fn brotli(bytes: &[u8]) -> Result<u64> {
    let mut compressed = Vec::new();
    let params = brotli::enc::BrotliEncoderParams {
        quality: 9,
        lgwin: 24,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &bytes[..], &mut compressed, &params)?;
    Ok(compressed.len() as u64)
}

/// Prints the table of sizes; samples and models are summed by folder.
pub(crate) fn print(sizes: &BTreeMap<String, Size>) {
    let mut lines: BTreeMap<String, Size> = BTreeMap::new();
    for (name, size) in sizes {
        let line = match name.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/"),
            None => name.clone(),
        };
        let sum = lines.entry(line).or_insert(Size {
            raw: 0,
            gzip: 0,
            brotli: 0,
        });
        sum.raw += size.raw;
        sum.gzip += size.gzip;
        sum.brotli += size.brotli;
    }
    println!(
        "{:<34}{:>12}{:>12}{:>12}   (kB)",
        "dist/", "raw", "gzip", "brotli"
    );
    for (name, size) in lines {
        let [raw, gzip, brotli] = [size.raw, size.gzip, size.brotli].map(kilobytes);
        println!("{name:<34}{raw:>12}{gzip:>12}{brotli:>12}");
    }
}

/// Thousands of bytes with one decimal.
fn kilobytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1000, bytes % 1000 / 100)
}

/// What is larger than its gate allows, one sentence each.
pub(crate) fn over_gates(paths: &Paths, sizes: &BTreeMap<String, Size>) -> Result<Vec<String>> {
    let text = fs::read(paths.root.join(GATES)).with_context(|| format!("could not read {GATES}"))?;
    let gates: BTreeMap<String, u64> =
        serde_json::from_slice(&text).with_context(|| format!("{GATES} is not as expected"))?;
    Ok(compare(&gates, sizes))
}

fn compare(gates: &BTreeMap<String, u64>, sizes: &BTreeMap<String, Size>) -> Vec<String> {
    let mut over = Vec::new();
    for (name, gate) in gates {
        match sizes.get(name) {
            None => over.push(format!("{name} has a size gate but is not part of the bundle")),
            #[allow(clippy::cast_precision_loss, reason = "sizes of files are far below 2^52")]
            Some(size) if size.gzip as f64 > *gate as f64 * (1.0 + TOLERANCE) => over.push(format!(
                "{name} is {} kB after gzip, its gate is {} kB + 5 %; make it smaller, or run \
                 `./dev build --accept-sizes` and say why",
                kilobytes(size.gzip),
                kilobytes(*gate)
            )),
            Some(_) => {}
        }
    }
    over
}

/// Makes today's sizes of the programs the gates.
pub(crate) fn accept(paths: &Paths, sizes: &BTreeMap<String, Size>) -> Result<()> {
    let programs = sizes
        .iter()
        .filter(|(name, _)| !name.contains('/') && !name.starts_with("chunk "));
    let gates: BTreeMap<&String, u64> = programs.map(|(name, size)| (name, size.gzip)).collect();
    fs::write(
        paths.root.join(GATES),
        serde_json::to_string_pretty(&gates)? + "\n",
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(gzip: u64) -> BTreeMap<String, Size> {
        [(
            "app.wasm".to_owned(),
            Size {
                raw: 3 * gzip,
                gzip,
                brotli: gzip,
            },
        )]
        .into()
    }

    #[test]
    fn a_gate_gives_way_by_five_percent() {
        let gates = [("app.wasm".to_owned(), 1000)].into();
        assert!(compare(&gates, &sizes(1050)).is_empty());
        assert_eq!(compare(&gates, &sizes(1051)).len(), 1);
        assert_eq!(compare(&gates, &BTreeMap::new()).len(), 1);
    }
}
