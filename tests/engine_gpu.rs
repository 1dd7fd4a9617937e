//! The GPU engine against the CPU engine: the same network, the same probabilities.
//!
//! Runs on whatever Vulkan offers, in CI Mesa's llvmpipe; without an adapter it says so and passes.
#![cfg(feature = "gpu")]

use equipoise::net::config::Norm;
use equipoise::net::{DenseNet, Engine, EngineError, NetConfig, weights};
use equipoise::tiling::{Fuser, Group, Rotation, Window};

/// The GPU, or nothing where there is none; an adapter that does not open is an error.
async fn gpu() -> Result<Option<Engine>, EngineError> {
    match Engine::gpu().await {
        Ok(engine) => Ok(Some(engine)),
        Err(EngineError::NoDevice(why)) => {
            eprintln!("skipped: no GPU adapter ({why})");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[test]
fn a_gpu_is_there_for_all_who_open_it_at_the_same_time() {
    let open = || std::thread::spawn(|| pollster::block_on(Engine::gpu()).map(|_| ()));
    let opened: Vec<_> = [(); 4]
        .map(|()| open())
        .into_iter()
        .map(|t| t.join().unwrap())
        .collect();
    let there = opened.iter().filter(|o| o.is_ok()).count();
    assert!(there == 0 || there == opened.len(), "{opened:?}");
}

#[test]
fn a_group_is_its_patches_one_by_one_and_fused_on_the_host() {
    pollster::block_on(async {
        let Some(mut gpu) = gpu().await.unwrap() else {
            return;
        };
        assert!(gpu.group_voxels() > 0);
        let side = 16;
        let places = [
            ([0, 0, 0], Rotation::Identity),
            ([0, 0, 0], Rotation::AboutX),
            ([8, 0, 0], Rotation::AboutY),
            ([8, 0, 3], Rotation::AboutZ),
            ([5, 8, 0], Rotation::Identity),
        ];
        let group = Group::gather(side, places);
        assert_eq!(group.patches().len(), 5);
        let one = 2 * side.pow(3);
        let patches: Vec<f32> = (0..5 * one)
            .map(|i| ((i * 7919 % 2003) as f32 / 1001.0 - 1.0) * (1 + i / one) as f32)
            .collect();
        for norm in [Norm::Instance, Norm::Batch] {
            let config = NetConfig {
                norm,
                ..NetConfig::preset("toy", 2).unwrap()
            };
            let file = weights::to_bytes(&DenseNet::new(&config, 7, gpu.device()).unwrap()).unwrap();
            gpu.load(&serde_json::to_string(&config).unwrap(), file).unwrap();
            for (window, spread) in [(Window::Bspline, true), (Window::Gaussian, false)] {
                let sums = gpu.predict_group(&patches, &group, window, spread).await.unwrap();
                let weight = group.weight(&window.weights(side).rounded());
                let empty = || Fuser::new(group.shape(), &window.weights(side)).unwrap();
                let (mut together, mut apart) = (empty(), empty());
                if spread {
                    (together, apart) = (together.with_variance(), apart.with_variance());
                }
                assert_eq!(group.origin(), [0; 3]);
                together.merge(&group, &sums, &weight).unwrap();
                for (patch, placed) in patches.chunks(one).zip(group.patches()) {
                    let mut p = gpu.predict(patch.to_vec(), side).await.unwrap();
                    placed.turn.apply(&mut p, side);
                    let origin = placed.offset.map(|o| isize::try_from(o).unwrap());
                    apart.add(origin, &p).unwrap();
                }
                let (together, apart) = (together.finish(), apart.finish());
                let worst = |a: &[f32], b: &[f32]| {
                    assert_eq!(a.len(), b.len());
                    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
                };
                let differs = worst(&together.probability, &apart.probability);
                // Statistics of a batch may be summed in another order.
                assert!(differs < 1e-5, "{norm:?}, {window}: {differs}");
                let spread_of = together.probability.iter().fold(0.0_f32, |m, p| m.max(*p));
                assert!(spread_of > 1e-3, "{norm:?}: {spread_of}");
                assert_eq!(together.variance.is_some(), spread);
                if let (Some(a), Some(b)) = (&together.variance, &apart.variance) {
                    let differs = worst(a, b);
                    assert!(differs < 1e-5, "{norm:?}, variance: {differs}");
                    assert!(b.iter().any(|v| *v > 1e-6), "the patches must disagree");
                }
                let again = gpu.predict_group(&patches, &group, window, spread).await.unwrap();
                assert_eq!(again, sums, "to the last bit");
            }
        }
        let short = gpu.predict_group(&patches[1..], &group, Window::Bspline, false);
        assert!(matches!(short.await, Err(EngineError::Patch { expected, .. }) if expected == 5 * one));
        let none = Group::gather(side, []);
        let none = gpu.predict_group(&[], &none, Window::Bspline, false);
        assert!(matches!(none.await, Err(EngineError::Patch { .. })));
    });
}

#[test]
fn both_engines_agree() {
    pollster::block_on(async {
        let Some(mut gpu) = gpu().await.unwrap() else {
            return;
        };
        eprintln!("on {}", gpu.describe());
        gpu.self_test().await.unwrap();

        let mut cpu = Engine::cpu();
        let config = NetConfig {
            blocks: 2,
            layers: 2,
            ..NetConfig::preset("toy", 2).unwrap()
        };
        let json = serde_json::to_string(&config).unwrap();
        let file = weights::to_bytes(&DenseNet::new(&config, 11, cpu.device()).unwrap()).unwrap();
        gpu.load(&json, file.clone()).unwrap();
        cpu.load(&json, file).unwrap();
        for side in [8, 16, 24] {
            let patch: Vec<f32> = (0..2 * side * side * side)
                .map(|i| ((i * 7919 % 2003) as f32 / 1001.0 - 1.0) * 2.0)
                .collect();
            let a = cpu.predict(patch.clone(), side).await.unwrap();
            let b = gpu.predict(patch, side).await.unwrap();
            let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "side {side}: probabilities differ by {worst}");
            // And the answer depends on the patch: a dead shader would not.
            let spread = a.iter().fold(0.0f32, |m, p| m.max((p - a[0]).abs()));
            assert!(spread > 1e-3, "side {side}: constant output");
        }
    });
}
