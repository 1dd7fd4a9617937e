//! Results have the shape and the position of the scan that they were made for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use equipoise::volume::nifti::{self, Header, Limits, Version};
use equipoise::volume::{Grid, VolumeError};
use flate2::read::GzDecoder;
use nalgebra::Matrix4;
use proptest::prelude::*;
use serde_json::json;
use std::io::Read;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nifti")
}

/// Name and bytes of every golden scan.
fn scans() -> Vec<(String, Vec<u8>)> {
    let mut scans: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e != "json"))
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect();
    scans.sort();
    assert!(scans.len() > 40);
    scans
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes)
            .read_to_end(&mut out)
            .unwrap();
    } else {
        out.extend(bytes);
    }
    out
}

fn mask(n: usize) -> Vec<u8> {
    (0..n).map(|i| u8::from(i % 3 == 1)).collect()
}

fn ramp(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32 / n as f32).collect()
}

/// The Python that has nibabel (`./dev test` names it), if there is one.
fn python() -> Option<String> {
    let python = std::env::var("EQUIPOISE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let works = Command::new(&python)
        .args(["-c", "import nibabel"])
        .output()
        .ok()?
        .status
        .success();
    works.then_some(python)
}

fn grids() -> Vec<(Grid, bool)> {
    let grid = |shape, rows: [f64; 12]| {
        let mut affine = Matrix4::identity();
        affine
            .fixed_view_mut::<3, 4>(0, 0)
            .copy_from(&nalgebra::Matrix3x4::from_row_slice(&rows));
        Grid { shape, affine }
    };
    let (c, s) = (0.8, 0.6);
    vec![
        (
            Grid {
                shape: [2, 3, 4],
                affine: Matrix4::identity(),
            },
            false,
        ),
        (
            grid(
                [5, 1, 7],
                [-1.0, 0.0, 0.0, 90.0, 0.0, 1.0, 0.0, -126.0, 0.0, 0.0, 1.0, -72.0],
            ),
            false,
        ),
        (
            grid(
                [3, 3, 3],
                [0.0, 0.0, 4.5, 1.0, -0.5, 0.0, 0.0, 2.0, 0.0, 0.75, 0.0, 3.0],
            ),
            false,
        ),
        (
            grid(
                [4, 3, 2],
                [c * 0.5, -s, 0.0, 1.0, s * 0.5, c, 0.0, 2.0, 0.0, 0.0, -3.0, 3.0],
            ),
            false,
        ),
        (
            grid(
                [4, 3, 2],
                [1.0, 0.2, 0.0, 1.0, 0.0, 1.0, 0.0, 2.0, 0.1, 0.0, 2.0, 3.0],
            ),
            true,
        ),
    ]
}

#[test]
fn nibabel_finds_shape_and_affine_unchanged() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with nibabel (set EQUIPOISE_PYTHON)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let mut manifest = Vec::new();
    for (name, bytes) in scans() {
        let header = nifti::read(&bytes, &Limits::PAGE).unwrap().header;
        let n = header.grid().len();
        put(&name, &bytes);
        for (kind, written) in [
            ("mask", nifti::write_mask(&header, &mask(n))),
            ("float", nifti::write_float(&header, &ramp(n))),
            ("plain", nifti::write_float_plain(&header, &ramp(n))),
        ] {
            let file = format!("{kind}_{}", manifest.len());
            put(&file, &written.unwrap());
            manifest.push(json!({ "scan": name, "written": file, "kind": kind }));
        }
    }
    for (grid, sheared) in grids() {
        let header = Header::from_grid(&grid).unwrap();
        let file = format!("grid_{}", manifest.len());
        put(&file, &nifti::write_float(&header, &ramp(grid.len())).unwrap());
        let affine: Vec<Vec<f64>> = grid
            .affine
            .row_iter()
            .map(|r| r.iter().copied().collect())
            .collect();
        manifest.push(json!({
            "written": file, "kind": "grid", "shape": grid.shape, "affine": affine, "sheared": sheared,
        }));
    }
    put("manifest.json", json!(manifest).to_string().as_bytes());

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/check_nifti.py");
    let output = Command::new(python)
        .arg(script)
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        manifest.len().to_string()
    );
}

/// Byte ranges (NIfTI-1, NIfTI-2) in which a result's header may differ from its scan's.
const CHANGED: [[(usize, usize); 8]; 2] = [
    // intent_p1..3; intent_code, datatype, bitpix; vox_offset, scl_slope, scl_inter; cal_max, cal_min; descrip;
    // aux_file; intent_name
    [
        (0, 4),
        (56, 68),
        (68, 74),
        (108, 120),
        (124, 132),
        (148, 228),
        (228, 252),
        (328, 344),
    ],
    [
        (0, 4),
        (12, 16),
        (80, 104),
        (168, 176),
        (176, 208),
        (240, 320),
        (320, 344),
        (504, 524),
    ],
];

#[test]
fn every_other_byte_of_the_header_is_the_scans() {
    for (name, bytes) in scans() {
        let header = nifti::read(&bytes, &Limits::PAGE).unwrap().header;
        let (size, changed) = match header.version() {
            Version::One => (348, CHANGED[0]),
            Version::Two => (540, CHANGED[1]),
        };
        let scan = unpacked(&bytes);
        let mask = mask(header.grid().len());
        let written = unpacked(&nifti::write_mask(&header, &mask).unwrap());
        for at in (0..size).filter(|at| !changed.iter().any(|(from, to)| (*from..*to).contains(at))) {
            assert_eq!(written[at], scan[at], "{name}: byte {at}");
        }
        assert_eq!(written.len(), size + 4 + mask.len(), "{name}");
        assert_eq!(written[size..size + 4], [0; 4], "{name}");
        assert_eq!(written[size + 4..], mask, "{name}");
    }
}

#[test]
fn what_is_written_reads_back() {
    for (_, bytes) in scans() {
        let scan = nifti::read(&bytes, &Limits::PAGE).unwrap();
        let n = scan.header.grid().len();
        let values: Vec<f32> = ramp(n).iter().map(|v| v * 1e3 - 400.0).collect();
        for written in [
            nifti::write_float(&scan.header, &values).unwrap(),
            nifti::write_float_plain(&scan.header, &values).unwrap(),
        ] {
            let back = nifti::read(&written, &Limits::PAGE).unwrap();
            assert_eq!(back.volume.data, values);
            assert_eq!(back.header.shape(), scan.header.shape());
            // NIfTI-2 affines are double precision and lose some of it in the NIfTI-1 file.
            assert!((back.header.grid().affine - scan.header.grid().affine).amax() < 1e-5);
        }
        let whole: Vec<i16> = (0..n).map(|i| i as i16 * 31 - 700).collect();
        let back = nifti::read(&nifti::write_int16(&scan.header, &whole).unwrap(), &Limits::PAGE).unwrap();
        assert!(
            back.volume
                .data
                .iter()
                .zip(&whole)
                .all(|(&a, &b)| a == f32::from(b))
        );
        assert_eq!(back.header.datatype_name(), "int16");
    }
}

#[test]
fn the_same_result_gives_the_same_bytes() {
    let header = Header::from_grid(&Grid {
        shape: [3, 4, 5],
        affine: Matrix4::identity(),
    })
    .unwrap();
    assert_eq!(
        nifti::write_mask(&header, &mask(60)),
        nifti::write_mask(&header, &mask(60))
    );
    let mut name = Vec::new();
    let written = nifti::write_mask(&header, &mask(60)).unwrap();
    GzDecoder::new(written.as_slice()).read_to_end(&mut name).unwrap();
    let gzip = GzDecoder::new(written.as_slice());
    assert_eq!(
        gzip.header().map(|h| (h.mtime(), h.filename().is_none())),
        Some((0, true)),
        "no date, no name"
    );
}

#[test]
fn values_must_fit_the_grid() {
    let header = Header::from_grid(&Grid {
        shape: [3, 4, 5],
        affine: Matrix4::identity(),
    })
    .unwrap();
    let expected = VolumeError::Length {
        expected: 60,
        got: 59,
    };
    assert_eq!(nifti::write_mask(&header, &mask(59)), Err(expected.clone()));
    assert_eq!(nifti::write_float(&header, &ramp(59)), Err(expected.clone()));
    assert_eq!(nifti::write_float_plain(&header, &ramp(59)), Err(expected));
    let long = Grid {
        shape: [40_000, 1, 1],
        affine: Matrix4::identity(),
    };
    assert!(matches!(
        Header::from_grid(&long),
        Err(VolumeError::DoesNotFitNifti1 { .. })
    ));
}

proptest! {
    /// A header made for a grid holds that grid: in its sform and, if there is no shear, in its qform too.
    #[test]
    fn a_grids_header_holds_the_grid(
        angles in prop::array::uniform3(-3.1f64..3.1),
        spacing in prop::array::uniform3(0.2f64..6.0),
        flip in any::<[bool; 3]>(),
        origin in prop::array::uniform3(-200f64..200.0),
    ) {
        let turn = nalgebra::Rotation3::from_euler_angles(angles[0], angles[1], angles[2]);
        let scale = nalgebra::Vector3::from_fn(|i, _| if flip[i] { -spacing[i] } else { spacing[i] });
        let linear = turn.matrix() * nalgebra::Matrix3::from_diagonal(&scale);
        let mut affine = Matrix4::identity();
        affine.fixed_view_mut::<3, 3>(0, 0).copy_from(&linear);
        affine.fixed_view_mut::<3, 1>(0, 3).copy_from(&nalgebra::Vector3::from(origin));
        let grid = Grid { shape: [3, 2, 4], affine };
        let header = Header::from_grid(&grid).unwrap();
        prop_assert!((header.grid().affine - affine).amax() < 2e-5);

        // The same file without its sform: sform_code at byte 254.
        let mut file = unpacked(&nifti::write_float(&header, &ramp(24)).unwrap());
        file[254] = 0;
        let by_qform = nifti::read(&file, &Limits::PAGE).unwrap().header;
        prop_assert_eq!(by_qform.affine_source(), nifti::AffineSource::Qform);
        // A quaternion in single precision may lose half of its digits where its real part is small.
        prop_assert!((by_qform.grid().affine - affine).amax() < 6.0 * 2e-3);
    }
}
