//! The GPU engine against the CPU engine: the same network, the same probabilities.
//!
//! Runs on whatever Vulkan offers, in CI Mesa's llvmpipe; without an adapter it says so and passes.
#![cfg(feature = "gpu")]

use equipoise::net::{DenseNet, Engine, EngineError, NetConfig, weights};

#[test]
fn both_engines_agree() {
    pollster::block_on(async {
        let mut gpu = match Engine::gpu().await {
            Ok(engine) => engine,
            Err(EngineError::NoDevice(why)) => {
                eprintln!("skipped: no GPU adapter ({why})");
                return;
            }
            Err(error) => panic!("{error}"),
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
