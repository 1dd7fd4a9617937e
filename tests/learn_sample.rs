//! The shipped samples: made again where the maps are at hand, and checked as they lie in `www/samples`.

#![allow(clippy::unwrap_used)]

use equipoise::learn::paint::ring_ratio;
use equipoise::learn::sample;
use equipoise::volume::components::{Connectivity, label};
use equipoise::volume::nifti::{Limits, Scan, read};
use std::path::{Path, PathBuf};

/// The folder of the shipped samples.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("www/samples")
}

/// Makes the samples anew: `ICBM152=<nilearn/datasets/data> SHAPES=<lesions_compact.npz> cargo test --no-default-features
/// --test learn_sample -- --ignored`, where `OUT` may name another folder than `www/samples`.
#[test]
#[ignore = "writes www/samples"]
fn make() {
    let var = |name: &str| std::env::var(name).map(PathBuf::from);
    let out = var("OUT").unwrap_or_else(|_| shipped());
    sample::write_samples(
        &var("ICBM152").unwrap(),
        &var("SHAPES").unwrap(),
        &out,
        sample::SEED,
    )
    .unwrap();
}

fn scan(name: &str) -> Scan {
    read(&std::fs::read(shipped().join(name)).unwrap(), &Limits::PAGE).unwrap()
}

#[test]
fn shipped_samples_are_whole_aligned_and_small() {
    let mut bytes = 0;
    for (prefix, shape, lesions) in [("head", [160, 192, 160], 20), ("small", [64, 72, 64], 5)] {
        let [flair, t1, mask] = ["FLAIR", "T1w", "mask"].map(|what| {
            let name = format!("{prefix}_{what}.nii.gz");
            bytes += std::fs::metadata(shipped().join(&name)).unwrap().len();
            scan(&name)
        });
        assert_eq!(flair.volume.grid.shape, shape);
        assert_eq!(flair.volume.grid, t1.volume.grid);
        assert_eq!(flair.volume.grid, mask.volume.grid);
        assert!(flair.notes.is_empty(), "{:?}", flair.notes);
        let truth: Vec<bool> = mask.volume.data.iter().map(|v| *v > 0.5).collect();
        let labels = label(&truth, shape, Connectivity::TwentySix);
        assert!(labels.count() >= lesions, "{prefix}: {} lesions", labels.count());
        // Every lesion of 20 voxels and more is brighter than its surroundings in FLAIR; truth and image belong together.
        let mut members = vec![Vec::new(); labels.count()];
        for (i, l) in labels.labels.iter().enumerate().filter(|(_, l)| **l > 0) {
            members[*l as usize - 1].push(i);
        }
        for lesion in members.iter().filter(|m| m.len() >= 20) {
            let image = &flair.volume.data;
            let ratio = ring_ratio(image, shape, lesion, |i| truth[i] || image[i] == 0.0);
            assert!(
                ratio > Some(1.1),
                "{prefix}: {ratio:?} for a lesion of {} voxels",
                lesion.len()
            );
        }
    }
    assert!(bytes < 6_000_000, "{bytes} bytes");
}
