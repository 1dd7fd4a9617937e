//! A network's inference form against stock operators, on the CPU and on whatever GPU there is.
use super::*;
use crate::net::config::{NetConfig, Norm};
use crate::net::{Engine, stock};
use burn::tensor::{Device, TensorData};

fn patches(batch: usize, side: usize, device: &Device) -> Tensor<5> {
    let values = (0..batch * 2 * side.pow(3)).map(|i| (i * 7919 % 2003) as f32 / 500.0 - 2.0);
    let data = TensorData::new(values.collect::<Vec<_>>(), [batch, 2, side, side, side]);
    Tensor::from_data(data, device)
}

/// Networks of every kind of block, by batch and by instance.
fn networks() -> impl Iterator<Item = NetConfig> {
    let toy = NetConfig::preset("toy", 2).unwrap();
    (0..8).map(move |i| NetConfig {
        norm: if i % 2 == 0 { Norm::Instance } else { Norm::Batch },
        bottleneck: i & 2 == 0,
        compact: i & 4 == 0,
        layers: 3,
        ..toy.clone()
    })
}

fn difference(a: Tensor<5>, b: Tensor<5>) -> f32 {
    (a - b).abs().max().into_scalar()
}

#[test]
fn every_kind_of_network_is_that_of_stock_operators() {
    let device = Device::flex();
    for config in networks() {
        let net = DenseNet::new(&config, 3, &device).unwrap();
        let x = patches(1, 2 * config.side_multiple(), &device);
        let expected = stock::forward(&net, x.clone(), false);
        let infer = InferNet::new(&net);
        // Twice: the second pass meets what the first left.
        for _ in 0..2 {
            let found = infer.logits(x.clone());
            let scale = expected.clone().abs().max().into_scalar::<f32>();
            let far = difference(found, expected.clone());
            assert!(far <= 1e-4 * scale, "{config:?}: {far} at {scale}");
        }
        let p = infer.probabilities(x);
        assert!(difference(p, activation::sigmoid(expected)) < 1e-4);
    }
}

#[test]
#[cfg(feature = "gpu")]
fn a_gpu_predicts_what_the_cpu_does() {
    let Ok(engine) = pollster::block_on(Engine::gpu()) else {
        eprintln!("skipped: no GPU adapter");
        return;
    };
    for config in networks() {
        let side = 2 * config.side_multiple();
        let on = |device: &Device| InferNet::new(&DenseNet::new(&config, 3, device).unwrap());
        let (cpu, gpu) = (on(&Device::flex()), on(engine.device()));
        for batch in [1, 3] {
            let expected = cpu.probabilities(patches(batch, side, &Device::flex()));
            let found = gpu.probabilities(patches(batch, side, engine.device()));
            let far = difference(found.to_device(&Device::flex()), expected);
            assert!(far < 1e-4, "{config:?}, {batch} samples: {far}");
        }
    }
}

#[test]
#[cfg(feature = "gpu")]
fn half_precision_is_close() {
    let Ok(engine) = pollster::block_on(Engine::gpu()) else {
        eprintln!("skipped: no GPU adapter");
        return;
    };
    if !engine.can_halve() {
        eprintln!("skipped: {} has no half precision", engine.describe());
        return;
    }
    for config in networks() {
        let side = 2 * config.side_multiple();
        let net = DenseNet::new(&config, 3, engine.device()).unwrap();
        for batch in [1, 2] {
            let x = patches(batch, side, engine.device());
            let expected = InferNet::new(&net).logits(x.clone());
            let found = InferNet::new(&net).in_half().logits(x);
            let scale = expected.clone().abs().max().into_scalar::<f32>();
            let far = difference(found, expected);
            // Eleven bits of mantissa, some ten layers deep; not equal, or it was not in half.
            assert!(
                0.0 < far && far < 3e-2 * scale,
                "{config:?}, {batch} samples: {far} at {scale}"
            );
        }
    }
}

#[test]
#[cfg(feature = "gpu")]
fn a_pass_is_few_launches() {
    use crate::net::kernels::cube::LAUNCHES;
    let Ok(engine) = pollster::block_on(Engine::gpu()) else {
        eprintln!("skipped: no GPU adapter");
        return;
    };
    // Of kernels of ours; burn's own add the copy that makes cubes of the patch.
    for (norm, expected) in [(Norm::Instance, 202), (Norm::Batch, 106)] {
        let config = NetConfig {
            norm,
            ..NetConfig::preset("light", 2).unwrap()
        };
        let net = InferNet::new(&DenseNet::new(&config, 1, engine.device()).unwrap());
        let x = patches(1, config.side_multiple(), engine.device());
        let before = LAUNCHES.get();
        let _: f32 = net.probabilities(x).sum().into_scalar();
        assert_eq!(LAUNCHES.get() - before, expected, "{norm:?}");
    }
}

#[test]
fn an_engine_predicts_with_the_network_it_was_given_last() {
    let config = NetConfig::preset("toy", 2).unwrap();
    let mut engine = Engine::cpu();
    let side = config.side_multiple();
    let values: Vec<f32> = patches(1, side, engine.device())
        .into_data()
        .try_to_vec()
        .unwrap();
    for seed in [1, 2] {
        let net = DenseNet::new(&config, seed, engine.device()).unwrap();
        engine.set(config.clone(), &net);
        let found = pollster::block_on(engine.predict(values.clone(), side)).unwrap();
        let expected = stock::forward(&net, patches(1, side, engine.device()), false);
        let expected: Vec<f32> = activation::sigmoid(expected).into_data().try_to_vec().unwrap();
        let far = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        assert!(far.fold(0.0, f32::max) < 1e-4, "seed {seed}");
    }
}

#[test]
#[cfg(feature = "learn")]
fn what_is_made_after_a_step_has_its_weights() {
    use crate::net::{Mode, Training};
    use burn::module::Module;
    use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
    for config in networks() {
        let plain = Device::flex();
        let device = plain.clone().autodiff();
        let net = DenseNet::new(&config, 1, &device).unwrap();
        let x = patches(1, 2 * config.side_multiple(), &plain);
        let before = InferNet::new(&net).logits(x.clone());
        let train = Mode::Train(Training {
            dropout: 1,
            batch: None,
            keep: true,
        });
        let loss = net.forward(x.clone().to_device(&device), train).square().mean();
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        let mut optimiser: ModuleOptimizer = AdamConfig::new().init();
        let net = optimiser.step(1e-2, net, grads);
        let after = InferNet::new(&net).logits(x.clone());
        let expected = stock::forward(&net.valid(), x, false);
        let scale = expected.clone().abs().max().into_scalar::<f32>();
        assert!(difference(after.clone(), before) > 1e-3 * scale, "{config:?}");
        let far = difference(after, expected);
        assert!(far <= 1e-4 * scale, "{config:?}: {far} at {scale}");
    }
}
