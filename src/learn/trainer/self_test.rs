//! Whether a device trains as the CPU does: one step of small fixed networks on both.
//!
//! An engine's own test covers what predicts. A bad shader of the backward pass would be as silent, and would spoil weights.

use super::{AdamW, TunerError, flat};
use crate::loss::Loss;
use crate::net::kernels::{AdamStep, Renorm};
use crate::net::{DenseNet, EngineError, Mode, NetConfig, Norm, Training, weights};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

/// Largest difference that is let pass: of gradients in shares of their tensor's largest, of weights in learning rates. f32 sums in
/// another order made 1.2e-5 on llvmpipe; a gradient that is stale makes 1.
const ALLOWED: f64 = 1e-2;
/// Learning rate of the step.
const RATE: f64 = 1e-2;

/// A tensor after the step, and its gradient.
struct Learnt {
    weights: Vec<f32>,
    gradient: Vec<f32>,
}

/// # Errors
/// [`TunerError::SelfTest`] if gradients or weights differ too much, or what the device says.
pub(super) async fn self_test(device: &Device) -> Result<(), TunerError> {
    let corrected = Renorm {
        momentum: 0.1,
        r_max: 1.5,
        d_max: 0.5,
    };
    // Every way to normalise, with maps kept and made again.
    for (norm, batch, keep) in [
        (Norm::Instance, None, true),
        (Norm::Batch, None, false),
        (Norm::Batch, Some(corrected), true),
    ] {
        let config = NetConfig {
            norm,
            ..NetConfig::preset("toy", 2).map_err(EngineError::from)?
        };
        let mode = Training {
            dropout: 0,
            batch,
            keep,
        };
        let (ours, known) = (
            step(&config, mode, device).await?,
            step(&config, mode, &Device::flex()).await?,
        );
        let difference = difference(&ours, &known);
        if difference > ALLOWED {
            return Err(TunerError::SelfTest {
                difference,
                allowed: ALLOWED,
            });
        }
    }
    Ok(())
}

/// One step of a fixed network on a fixed patch.
async fn step(config: &NetConfig, mode: Training, device: &Device) -> Result<Vec<Learnt>, TunerError> {
    let fixed = weights::to_bytes(&DenseNet::new(config, 1, &Device::flex()).map_err(EngineError::from)?)?;
    let device = device.clone().autodiff();
    let net = weights::from_bytes(config, fixed, &device.clone().without_autodiff())?;
    let net = net.to_device(&device).train();
    let side = 2 * config.side_multiple();
    let tensor = |channels: usize, value: fn(usize) -> f32| {
        let values: Vec<f32> = (0..channels * side.pow(3)).map(value).collect();
        Tensor::<5>::from_data(TensorData::new(values, [1, channels, side, side, side]), &device)
    };
    let image = tensor(config.in_channels, |i| (i * 7919 % 2003) as f32 / 500.0 - 2.0);
    let label = tensor(1, |i| f32::from(u8::from(i % 9 == 0)));
    let logits = net.forward(image, Mode::Train(mode));
    let loss = Loss::default().forward(logits, label);
    let grads = GradientsParams::from_grads(loss.backward(), &net);
    let mut optimiser = AdamW::new(&net);
    let step = AdamStep {
        time: 1,
        rate: RATE,
        decay: 0.0,
        clip: 1e30,
        keep: 0.0,
    };
    let net = optimiser.step(net, grads, step);
    let mut learnt = Vec::new();
    for (weights, state) in flat::read(&net).into_iter().zip(&optimiser.states) {
        let Some(state) = state else { continue };
        let [rows, n] = state.dims();
        let weights = flat::host(weights).await.map_err(TunerError::Device)?;
        let mut state = flat::host(state.clone().reshape([rows * n]))
            .await
            .map_err(TunerError::Device)?;
        // After one step the mean gradient is a tenth of the gradient; its scale does not matter here.
        state.truncate(n);
        learnt.push(Learnt {
            weights,
            gradient: state,
        });
    }
    Ok(learnt)
}

/// The largest difference; infinite where something is no number.
fn difference(ours: &[Learnt], known: &[Learnt]) -> f64 {
    let mut worst = 0.0f64;
    let mut meet = |difference: f32| {
        let difference = f64::from(difference);
        worst = if difference.is_nan() {
            f64::INFINITY
        } else {
            worst.max(difference)
        };
    };
    for (ours, known) in ours.iter().zip(known) {
        let largest = known.gradient.iter().fold(0.0f32, |a, g| a.max(g.abs()));
        let pairs = ours.gradient.iter().zip(&known.gradient);
        for ((a, b), (new, expected)) in pairs.zip(ours.weights.iter().zip(&known.weights)) {
            meet((a - b).abs() / largest.max(f32::MIN_POSITIVE));
            // A step goes by the sign of a gradient, which means nothing where there is next to none.
            if b.abs() > largest * 0.1 {
                meet((new - expected).abs() / RATE as f32);
            }
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;

    fn learnt(config: &NetConfig) -> Vec<Learnt> {
        let mode = Training {
            dropout: 0,
            batch: None,
            keep: true,
        };
        block_on(step(config, mode, &Device::flex())).unwrap()
    }

    #[test]
    fn whatever_adapter_there_is_trains_as_the_cpu_does() {
        block_on(self_test(&Device::flex())).unwrap();
        #[cfg(feature = "gpu")]
        match block_on(crate::net::Engine::gpu()) {
            Ok(engine) => block_on(self_test(engine.device())).unwrap(),
            Err(why) => eprintln!("skipped: no GPU adapter ({why})"),
        }
    }

    #[test]
    fn what_a_wrong_kernel_does_is_seen() {
        let config = NetConfig::preset("toy", 2).unwrap();
        let known = learnt(&config);
        assert!(difference(&learnt(&config), &known) == 0.0);
        for tensor in 0..known.len() {
            let mut stale = learnt(&config);
            stale[tensor].gradient.fill(0.0);
            assert!(
                difference(&stale, &known) > ALLOWED,
                "gradient of tensor {tensor}"
            );
            let mut stale = learnt(&config);
            stale[tensor].weights.iter_mut().for_each(|w| *w += RATE as f32);
            assert!(difference(&stale, &known) > ALLOWED, "tensor {tensor}");
            let mut spoilt = learnt(&config);
            spoilt[tensor].gradient[0] = f32::NAN;
            assert!(difference(&spoilt, &known) > ALLOWED, "NaN in tensor {tensor}");
        }
    }
}
