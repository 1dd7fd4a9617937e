//! The real scans, where they are at hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use equipoise::volume::nifti::{self, Limits};
use equipoise::volume::{conform, intensity};

fn scans(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            scans(&path, found);
        } else if path.to_string_lossy().ends_with(".nii.gz") {
            found.push(path);
        }
    }
}

#[test]
fn every_real_scan_reads_conforms_and_normalises() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !data.is_dir() {
        eprintln!("skipped: no data");
        return;
    }
    let mut paths = Vec::new();
    for folder in [
        "open_ms/labelled/sub-19",
        "open_ms/raw_longitudinal",
        "isbi2015_eval_only",
    ] {
        scans(&data.join(folder), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 10, "{} scans", paths.len());
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let t = Instant::now();
        let scan = nifti::read(&bytes, &Limits::PAGE).unwrap();
        let read = t.elapsed();
        let t = Instant::now();
        let conformed = conform::conform(&scan.volume).unwrap();
        let conform = t.elapsed();
        let t = Instant::now();
        let foreground = intensity::foreground(&conformed.volume);
        let fg = t.elapsed();
        let t = Instant::now();
        let z = intensity::normalise(&conformed.volume, &foreground);
        let share = foreground.iter().filter(|f| **f).count() as f64 / foreground.len() as f64;
        assert!(z.iter().all(|v| v.is_finite()));
        println!(
            "{} {} {:?} {:?} {:?} -> {:?} fg {share:.3} z {:.2}..{:.2} read {read:?} conform {conform:?} fg {fg:?} norm {:?} {:?}",
            path.file_name().unwrap().to_string_lossy(),
            scan.header.datatype_name(),
            scan.header.orientation(),
            scan.header.shape(),
            scan.header.spacing().map(|s| (s * 1e3).round() / 1e3),
            conformed.volume.grid.shape,
            z.iter().copied().fold(0.0, f32::min),
            z.iter().copied().fold(0.0, f32::max),
            t.elapsed(),
            scan.notes,
        );
    }
}
