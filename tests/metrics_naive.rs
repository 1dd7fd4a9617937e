//! The naive baseline: against scipy (`golden/metrics.py`) and on the labelled patients, where they are at hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Instant;

use equipoise::metrics::naive::{Sweep, baseline};
use equipoise::volume::Volume;
use equipoise::volume::nifti::{Limits, read};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    naive: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    shape: [usize; 3],
    flair: Vec<f32>,
    foreground: String,
    reference: String,
    mean: f64,
    sd: f64,
    /// k, Dice of the bare threshold, Dice after the opening.
    sweep: Vec<(f64, f64, f64)>,
}

fn mask(text: &str) -> Vec<bool> {
    text.bytes().map(|byte| byte == b'1').collect()
}

#[test]
fn the_sweep_is_scipys() {
    let golden: Golden = serde_json::from_str(include_str!("golden/metrics.json")).unwrap();
    for case in golden.naive {
        let sweep = Sweep {
            first: 0.0,
            last: 2.0,
            step: 0.25,
        };
        let found = baseline(
            &case.flair,
            &mask(&case.foreground),
            &mask(&case.reference),
            case.shape,
            &sweep,
        )
        .unwrap();
        assert!((found.mean - case.mean).abs() < 1e-9 && (found.sd - case.sd).abs() < 1e-9);
        assert_eq!(found.sweep.len(), case.sweep.len());
        for (point, &(k, raw, opened)) in found.sweep.iter().zip(&case.sweep) {
            assert_eq!(point.k, k);
            assert!(
                (point.dice_raw - raw).abs() < 1e-12,
                "k {k}: {} != {raw}",
                point.dice_raw
            );
            assert!(
                (point.dice - opened).abs() < 1e-12,
                "k {k}: {} != {opened}",
                point.dice
            );
        }
        let best = case.sweep.iter().map(|&(.., opened)| opened).fold(0.0, f64::max);
        assert!((found.best.dice - best).abs() < 1e-12);
    }
}

/// The figures that the data's own notes give for its two labelled patients.
#[test]
fn the_bar_of_the_labelled_patients() {
    let labelled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/open_ms/labelled");
    if !labelled.is_dir() {
        eprintln!("skipped: no data");
        return;
    }
    for (patient, expected) in [("sub-07", 0.31), ("sub-19", 0.77)] {
        let open = |what: &str| -> Volume {
            let path = labelled.join(patient).join(format!("{patient}_{what}.nii.gz"));
            read(&std::fs::read(path).unwrap(), &Limits::NATIVE)
                .unwrap()
                .volume
        };
        let (flair, reference) = (open("FLAIR"), open("desc-consensus_mask"));
        let over_zero = |volume: &Volume| volume.data.iter().map(|&v| v > 0.0).collect::<Vec<_>>();
        let (foreground, reference) = (over_zero(&flair), over_zero(&reference));
        let started = Instant::now();
        let found = baseline(
            &flair.data,
            &foreground,
            &reference,
            flair.grid.shape,
            &Sweep::default(),
        )
        .unwrap();
        eprintln!("{patient}: {:?} in {:?}", found.best, started.elapsed());
        // The notes give two decimals.
        assert!(
            (found.best.dice - expected).abs() < 0.005,
            "{patient}: {:?}",
            found.best
        );
    }
}
