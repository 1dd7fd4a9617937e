//! Reading, orientation, resampling and intensities against nibabel, scipy and numpy (`tests/golden/make_nifti.py`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use equipoise::volume::nifti::{self, Limits};
use equipoise::volume::resample::{Interpolation, resample};
use equipoise::volume::{Grid, Orientation, Volume, intensity};
use nalgebra::Matrix4;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    files: BTreeMap<String, File>,
    orientations: Vec<Orientations>,
    source: Source,
    resampling: Vec<Resampled>,
    coarse: Vec<Resampled>,
    parallel: Vec<Resampled>,
    intensity: Intensity,
}

#[derive(Deserialize)]
struct File {
    shape: [usize; 3],
    affine: [[f64; 4]; 4],
    orientation: String,
    datatype: String,
    not_finite: usize,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Orientations {
    affine: [[f64; 4]; 4],
    code: String,
}

#[derive(Deserialize)]
struct Source {
    shape: [usize; 3],
    affine: [[f64; 4]; 4],
    values: Vec<f32>,
}

#[derive(Deserialize)]
struct Resampled {
    shape: [usize; 3],
    affine: [[f64; 4]; 4],
    linear: Vec<f64>,
    #[serde(default)]
    nearest: Vec<f64>,
}

#[derive(Deserialize)]
struct Intensity {
    values: Vec<f32>,
    mask: Vec<bool>,
    percentiles: [f64; 6],
    tissue: Vec<bool>,
    normalised: Vec<f64>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nifti")
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(folder().join("expected.json")).unwrap()).unwrap()
}

fn matrix(rows: [[f64; 4]; 4]) -> Matrix4<f64> {
    Matrix4::from_fn(|r, c| rows[r][c])
}

fn assert_close(got: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(g) - e).abs() <= tolerance,
            "{what}: value {i} is {g}, expected {e}"
        );
    }
}

#[test]
fn files_read_as_nibabel_reads_them() {
    let golden = golden();
    assert!(golden.files.len() > 40);
    for (name, expected) in golden.files {
        let scan = nifti::read(&std::fs::read(folder().join(&name)).unwrap(), &Limits::PAGE)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(scan.header.shape(), expected.shape, "{name}");
        assert_eq!(scan.header.orientation(), expected.orientation, "{name}");
        assert_eq!(scan.header.datatype_name(), expected.datatype, "{name}");
        // nibabel turns a quaternion into a matrix in single precision.
        let difference = (scan.header.grid().affine - matrix(expected.affine)).amax();
        let tolerance = if name.starts_with("qform") { 1e-5 } else { 1e-12 };
        assert!(difference <= tolerance, "{name}: affine differs by {difference}");
        for (i, (&got, &value)) in scan.volume.data.iter().zip(&expected.values).enumerate() {
            // Every type is read exactly; a scaled value may differ in the last bit of single precision.
            let value = value as f32;
            let ulp = if name.starts_with("slope") {
                value.abs() * f32::EPSILON
            } else {
                0.0
            };
            assert!(
                (got - value).abs() <= ulp,
                "{name}: voxel {i} is {got}, expected {value}"
            );
        }
        assert_eq!(scan.volume.data.len(), expected.values.len(), "{name}");
        assert_eq!(
            scan.notes.is_empty(),
            expected.not_finite == 0 && name != "neither.nii",
            "{:?}",
            scan.notes
        );
        if expected.not_finite > 0 {
            assert_eq!(
                scan.notes,
                [format!(
                    "{} voxels were not finite numbers and were set to 0.",
                    expected.not_finite
                )]
            );
        }
    }
}

#[test]
fn orientation_codes_are_nibabels() {
    for case in golden().orientations {
        assert_eq!(Orientation::of(&matrix(case.affine)).code(), case.code);
    }
}

fn source(golden: &Golden) -> Volume {
    let source = &golden.source;
    Volume {
        grid: Grid {
            shape: source.shape,
            affine: matrix(source.affine),
        },
        data: source.values.clone(),
    }
}

fn target(case: &Resampled) -> Grid {
    Grid {
        shape: case.shape,
        affine: matrix(case.affine),
    }
}

#[test]
fn turned_grids_are_resampled_as_by_scipy() {
    let golden = golden();
    let source = source(&golden);
    for case in &golden.resampling {
        let outside = case.linear.iter().filter(|v| **v == -7.0).count();
        assert!(
            outside < case.linear.len() / 2,
            "the case is worth little: {outside}"
        );
        let linear = resample(&source, &target(case), Interpolation::Linear, -7.0).unwrap();
        assert_close(&linear.data, &case.linear, 1e-4, "linear");
        let nearest = resample(&source, &target(case), Interpolation::Nearest, -7.0).unwrap();
        assert_close(&nearest.data, &case.nearest, 1e-5, "nearest");
    }
}

#[test]
fn coarser_turned_grids_are_smoothed_first() {
    let golden = golden();
    let source = source(&golden);
    for case in &golden.coarse {
        let linear = resample(&source, &target(case), Interpolation::Linear, 0.0).unwrap();
        assert_close(&linear.data, &case.linear, 1e-4, "linear");
    }
}

#[test]
fn parallel_grids_are_averaged_over_the_voxel() {
    let golden = golden();
    let source = source(&golden);
    for case in &golden.parallel {
        let linear = resample(&source, &target(case), Interpolation::Linear, -7.0).unwrap();
        assert_close(&linear.data, &case.linear, 1e-4, "linear");
    }
    // The last case only moves voxels: not one value may change.
    let moved = resample(&source, &target(&golden.parallel[3]), Interpolation::Linear, -7.0).unwrap();
    let (mut before, mut after) = (source.data, moved.data);
    before.sort_by(f32::total_cmp);
    after.sort_by(f32::total_cmp);
    assert_eq!(before, after);
}

#[test]
fn intensities_are_numpys() {
    let case = golden().intensity;
    let inside: Vec<f32> = case
        .values
        .iter()
        .zip(&case.mask)
        .filter(|(_, m)| **m)
        .map(|(v, _)| *v)
        .collect();
    let got = intensity::percentiles(&inside, [0.0, 0.5, 37.3, 50.0, 99.5, 100.0]).unwrap();
    for (got, expected) in got.into_iter().zip(case.percentiles) {
        assert!(
            (got - expected).abs() <= 1e-8 * expected.abs(),
            "{got}, expected {expected}"
        );
    }
    let volume = Volume {
        grid: Grid {
            shape: [1600, 1, 1],
            affine: Matrix4::identity(),
        },
        data: case.values,
    };
    assert_close(
        &intensity::normalise(&volume, &case.mask, &case.tissue),
        &case.normalised,
        2e-6,
        "normalised",
    );
}
