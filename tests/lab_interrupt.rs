//! Ctrl-C ends `lab finetune` without a step lost: the same command goes on, and its result is that of a run in one piece.

#![cfg(all(unix, feature = "lab"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use equipoise::pipeline::finetune::peek;
use equipoise::volume::Grid;
use equipoise::volume::nifti::{Header, write_int16, write_mask};
use nalgebra::Matrix4;

const SHAPE: [usize; 3] = [40, 44, 36];

const STEPS: u64 = 60;

/// A ball of a head with bright balls in it, as two files.
fn write_case(folder: &Path, number: usize) {
    let grid = Grid {
        shape: SHAPE,
        affine: Matrix4::identity(),
    };
    let header = Header::from_grid(&grid).unwrap();
    let ball = |at: [f64; 3], centre: [f64; 3], radius: f64| {
        (0..3).map(|a| (at[a] - centre[a]).powi(2)).sum::<f64>() < radius * radius
    };
    let middle = SHAPE.map(|n| (n - 1) as f64 / 2.0);
    let lesions = [[14.0, 18.0, 15.0], [24.0 - number as f64, 24.0, 20.0]];
    let (mut flair, mut mask) = (Vec::new(), Vec::new());
    for i in 0..grid.len() {
        let at = [i % SHAPE[0], i / SHAPE[0] % SHAPE[1], i / SHAPE[0] / SHAPE[1]].map(|v| v as f64);
        let lesion = lesions.iter().any(|centre| ball(at, *centre, 3.5));
        // Some texture, for a head of one value has no contrast to scale by.
        let texture = ((i * 7919) % 17) as i16;
        let head = ball(at, middle, 16.0);
        flair.push(if head {
            100 + texture + 90 * i16::from(lesion)
        } else {
            0
        });
        mask.push(u8::from(lesion));
    }
    let write = |suffix: &str, bytes: Vec<u8>| {
        std::fs::write(folder.join(format!("sub-{number}_{suffix}.nii.gz")), bytes).unwrap();
    };
    write("FLAIR", write_int16(&header, &flair).unwrap());
    write("mask", write_mask(&header, &mask).unwrap());
}

fn finetune(folder: &Path, out: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command
        .arg("finetune")
        .args([
            "--base",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/toy"),
        ])
        .arg("--cohort")
        .arg(folder.join("cases"))
        .args(["--part", "everything", "--look-every", "20", "--patience", "0"])
        // No checkpoint on the way: what is stored is what the interruption stores.
        .args(["--checkpoint-every", "1000", "--steps", &STEPS.to_string()])
        .arg("--out")
        .arg(folder.join(out))
        .stderr(Stdio::piped())
        .stdout(Stdio::null());
    command
}

#[test]
fn ctrl_c_loses_no_step() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("cases")).unwrap();
    (1..=2).for_each(|number| write_case(&folder.join("cases"), number));
    let whole = finetune(folder, "whole").output().unwrap();
    assert!(
        whole.status.success(),
        "{}",
        String::from_utf8_lossy(&whole.stderr)
    );

    let mut running = finetune(folder, "cut").spawn().unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(running.stderr.take().unwrap()).lines() {
        said.push(line.unwrap());
        // The look at step 20 is over.
        if said.last().unwrap().starts_with("step 20:") {
            std::thread::sleep(Duration::from_millis(20));
            let killed = Command::new("kill")
                .args(["-INT", &running.id().to_string()])
                .status()
                .unwrap();
            assert!(killed.success());
        }
    }
    let said = said.join("\n");
    assert_eq!(running.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("the same command goes on from there"), "{said}");
    let stored = peek(&std::fs::read(folder.join("cut/checkpoint.bin")).unwrap()).unwrap();
    assert!((20..STEPS).contains(&stored.place.step), "{:?}", stored.place);
    assert!(!folder.join("cut/weights.safetensors").exists());

    let rest = finetune(folder, "cut").output().unwrap();
    let said = String::from_utf8_lossy(&rest.stderr);
    assert!(rest.status.success(), "{said}");
    assert!(
        said.contains(&format!("step {} of {STEPS}", stored.place.step)),
        "{said}"
    );
    for file in ["weights.safetensors", "curve.csv"] {
        let read = |out: &str| std::fs::read(folder.join(out).join(file)).unwrap();
        assert!(read("whole") == read("cut"), "another {file}");
    }
}
