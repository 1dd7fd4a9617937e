//! The live threshold slider on a whole head: printed, not judged, since machines differ.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use equipoise::pipeline::{Cut, mask::cut};
use equipoise::volume::{Grid, Volume};
use nalgebra::Matrix4;

#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn time_of_a_cut_on_a_whole_head() {
    let shape = [182, 218, 182];
    let grid = Grid {
        shape,
        affine: Matrix4::identity(),
    };
    // Smooth blobs all over: far more lesions than any patient has.
    let data = (0..grid.len())
        .map(|i| {
            let [x, y, z] = [i % 182, i / 182 % 218, i / 182 / 218].map(|v| v as f32);
            ((0.31 * x).sin() * (0.23 * y).cos() * (0.29 * z).sin()).max(0.0)
        })
        .collect();
    let probability = Volume { grid, data };
    for threshold in [0.1, 0.5, 0.9] {
        let start = std::time::Instant::now();
        let mask = cut(
            &probability,
            &Cut {
                threshold,
                min_lesion_mm3: 3.0,
                ..Cut::default()
            },
        );
        println!(
            "threshold {threshold}: {:.1} ms, {} lesions, {:.1} mL",
            1e3 * start.elapsed().as_secs_f64(),
            mask.lesions.len(),
            mask.load_ml
        );
        assert!(mask.lesions.len() > 100);
    }
}
