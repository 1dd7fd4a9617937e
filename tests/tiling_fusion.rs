//! Tiling and fusion against an oracle in numpy and scipy (`golden/fusion.py`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use equipoise::tiling::{Fuser, Plan, Rotation, Window, extract};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    stride: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize, Debug)]
struct Case {
    shape: [usize; 3],
    side: usize,
    overlap: f64,
    window: Window,
    rotations: bool,
    tiles: usize,
}

/// Noise of one channel by splitmix64, as in the oracle.
fn field(shape: [usize; 3], channel: u64) -> Vec<f32> {
    let voxels = shape.iter().product::<usize>() as u64;
    (0..voxels)
        .map(|i| {
            let mut z = (i + channel * 1_000_003 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            (z >> 40) as f32 / (1_u32 << 24) as f32
        })
        .collect()
}

/// The oracle's "network".
fn network(patch: &[f32], side: usize) -> Vec<f32> {
    let cube = side * side * side;
    let (flair, t1) = patch.split_at(cube);
    let mean = flair.iter().copied().map(f64::from).sum::<f64>() / cube as f64;
    (0..cube)
        .map(|i| {
            let [x, y, z] = [i % side, i / side % side, i / side / side].map(|v| v as f64);
            let place = (0.9 * x + 0.2 * y).sin() + (0.5 * z - 0.3 * y).cos();
            let (a, b) = (f64::from(flair[i]), f64::from(t1[i]));
            let logit = 3.0 * a - 1.5 * b * a + 0.8 * place - 2.0 * mean + 0.1;
            (1.0 / (1.0 + (-logit).exp())) as f32
        })
        .collect()
}

fn fuse(case: &Case) -> Vec<f32> {
    let channels = [field(case.shape, 0), field(case.shape, 1)];
    let channels = [&channels[0][..], &channels[1][..]];
    let plan = Plan::new(case.shape, case.side, case.overlap).unwrap();
    assert_eq!(plan.len(), case.tiles, "{case:?}");
    let turns = if case.rotations {
        &Rotation::ALL[..]
    } else {
        &[Rotation::Identity]
    };
    let mut fuser = Fuser::new(case.shape, &case.window.weights(case.side)).unwrap();
    for &origin in plan.origins() {
        for turn in turns {
            let mut patch = extract(&channels, case.shape, origin, case.side).unwrap();
            turn.apply(&mut patch, case.side);
            let mut prediction = network(&patch, case.side);
            turn.apply(&mut prediction, case.side);
            fuser.add(origin, &prediction).unwrap();
        }
    }
    fuser.finish().probability
}

#[test]
fn fusion_equals_the_oracle() {
    let golden: Golden = serde_json::from_str(include_str!("golden/fusion.json")).unwrap();
    let mut expected = include_bytes!("golden/fusion.f32")
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let mut worst = 0.0_f32;
    for case in &golden.cases {
        let fused = fuse(case);
        for (i, &p) in fused.iter().enumerate().step_by(golden.stride) {
            let error = (p - expected.next().unwrap()).abs();
            assert!(error < 1e-5, "{case:?}: voxel {i} is off by {error}");
            worst = worst.max(error);
        }
        // The means of all planes: no voxel between the samples can be far off unseen.
        let [nx, ny, _] = case.shape;
        for axis in 0..3 {
            let mut sums = vec![0.0_f64; case.shape[axis]];
            for (i, &p) in fused.iter().enumerate() {
                sums[[i % nx, i / nx % ny, i / nx / ny][axis]] += f64::from(p);
            }
            for (plane, sum) in sums.iter().enumerate() {
                let mean = sum * case.shape[axis] as f64 / fused.len() as f64;
                let error = (mean - f64::from(expected.next().unwrap())).abs();
                assert!(
                    error < 1e-6,
                    "{case:?}: plane {plane} of axis {axis} is off by {error}"
                );
            }
        }
    }
    assert_eq!(expected.next(), None, "every golden value was used");
    println!("{} cases, largest difference {worst:.1e}", golden.cases.len());
}

/// With a foreground mask, foreground voxels must not change.
#[test]
fn skipping_empty_tiles_changes_no_foreground_voxel() {
    let shape = [40, 41, 45];
    let inside = |i: usize| {
        let [x, y, z] = [i % 40, i / 40 % 41, i / 40 / 41].map(|v| v as f64);
        (x - 9.0).powi(2) + (y - 10.0).powi(2) + (z - 12.0).powi(2) < 64.0
    };
    let foreground: Vec<bool> = (0..40 * 41 * 45).map(inside).collect();
    let channels = [field(shape, 0), field(shape, 1)];
    let channels = [&channels[0][..], &channels[1][..]];
    let run = |plan: &Plan| {
        let mut fuser = Fuser::new(shape, &Window::Bspline.weights(16)).unwrap();
        for &origin in plan.origins() {
            let patch = extract(&channels, shape, origin, 16).unwrap();
            fuser.add(origin, &network(&patch, 16)).unwrap();
        }
        fuser.finish().probability
    };
    let all = Plan::new(shape, 16, 0.5).unwrap();
    let some = all.clone().within(&foreground).unwrap();
    assert!(
        some.len() < all.len() / 2,
        "{} of {} tiles",
        some.len(),
        all.len()
    );
    let (full, masked) = (run(&all), run(&some));
    for (i, _) in foreground.iter().enumerate().filter(|(_, f)| **f) {
        assert_eq!(full[i], masked[i], "voxel {i}");
    }
}

/// The head-sized cost on the desk: printed, not judged, since machines differ.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn time_on_a_whole_head() {
    let shape = [182, 218, 182];
    let volume = field(shape, 0);
    for (overlap, variance) in [(0.5, false), (0.75, false), (0.75, true)] {
        let plan = Plan::new(shape, 64, overlap).unwrap();
        let mut fuser = Fuser::new(shape, &Window::Bspline.weights(64)).unwrap();
        if variance {
            fuser = fuser.with_variance();
        }
        let (mut cut, mut add) = (0.0, 0.0);
        for &origin in plan.origins() {
            let start = std::time::Instant::now();
            let patch = extract(&[&volume, &volume], shape, origin, 64).unwrap();
            cut += start.elapsed().as_secs_f64();
            let start = std::time::Instant::now();
            fuser.add(origin, &patch[..64 * 64 * 64]).unwrap();
            add += start.elapsed().as_secs_f64();
        }
        let start = std::time::Instant::now();
        let fused = fuser.finish();
        let finish = start.elapsed().as_secs_f64();
        let tiles = plan.len();
        println!(
            "overlap {overlap}, variance {variance}: {tiles} tiles, cut {:.2} ms, add {:.2} ms a tile, finish {:.0} ms",
            1e3 * cut / tiles as f64,
            1e3 * add / tiles as f64,
            1e3 * finish
        );
        assert_eq!(fused.probability.len(), volume.len());
    }
}
