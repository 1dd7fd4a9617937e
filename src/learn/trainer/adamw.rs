//! AdamW whose moments can be read without blocking, which a browser's GPU asks for.
//!
//! Loshchilov and Hutter 2019, with the gradient of each tensor clipped to a norm. The same arithmetic as burn's, which is the
//! oracle of the test.

use crate::net::DenseNet;
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Decay of the mean gradient.
const BETA_1: f32 = 0.9;
/// Decay of the mean squared gradient.
const BETA_2: f32 = 0.999;
/// Added to the root of the mean squared gradient.
const EPSILON: f32 = 1e-8;

/// Mean and mean squared gradient of every tensor that has had one, in visiting order.
pub(super) struct AdamW {
    pub(super) moments: Vec<Option<[Tensor<1>; 2]>>,
    weight_decay: f64,
    clip: f64,
}

impl AdamW {
    /// For a network of so many tensors.
    pub(super) fn new(tensors: usize, weight_decay: f64, clip: f64) -> Self {
        Self {
            moments: vec![None; tensors],
            weight_decay,
            clip,
        }
    }

    /// Step number `time`, counted from 1.
    pub(super) fn step(&mut self, net: DenseNet, grads: GradientsParams, rate: f64, time: u64) -> DenseNet {
        net.map(&mut Step {
            of: self,
            grads,
            rate,
            time: i32::try_from(time).unwrap_or(i32::MAX),
            at: 0,
        })
    }
}

struct Step<'a> {
    of: &'a mut AdamW,
    grads: GradientsParams,
    rate: f64,
    time: i32,
    at: usize,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let at = self.at;
        self.at += 1;
        let (Some(grad), Some(slot)) = (self.grads.remove::<D>(param.id), self.of.moments.get_mut(at)) else {
            return param;
        };
        let n = grad.shape().num_elements();
        let grad = grad.reshape([n]);
        let norm = grad.clone().square().sum().sqrt();
        let grad = grad
            * (norm + f32::MIN_POSITIVE)
                .recip()
                .mul_scalar(self.of.clip)
                .clamp_max(1.0);
        let [first, second] = match slot.take() {
            Some([first, second]) => [
                first * BETA_1 + grad.clone() * (1.0 - BETA_1),
                second * BETA_2 + grad.square() * (1.0 - BETA_2),
            ],
            None => [grad.clone() * (1.0 - BETA_1), grad.square() * (1.0 - BETA_2)],
        };
        let step = (first.clone() / (1.0 - BETA_1.powi(self.time)))
            / ((second.clone() / (1.0 - BETA_2.powi(self.time))).sqrt() + EPSILON);
        *slot = Some([first, second]);
        let (rate, decay) = (self.rate, self.of.weight_decay);
        param.map(|old| {
            let shape = old.shape();
            let old = old.without_autodiff().reshape([n]);
            let new = old * (1.0 - rate * decay) - step * rate;
            Tensor::from_inner(new.reshape(shape)).set_require_grad(true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::trainer::flat;
    use crate::net::{Mode, NetConfig, Training};
    use burn::grad_clipping::GradientClippingConfig;
    use burn::optim::AdamWConfig;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn steps_are_those_of_burn() {
        let device = Device::flex().autodiff();
        let config = NetConfig::preset("toy", 2).unwrap();
        let net = DenseNet::new(&config, 1, &device).unwrap();
        let mut oracle = AdamWConfig::new()
            .with_beta_2(BETA_2)
            .with_epsilon(EPSILON)
            .with_weight_decay(0.01)
            .with_grad_clipping(Some(GradientClippingConfig::Norm(0.05)))
            .init();
        let mut ours = AdamW::new(flat::read(&net).len(), 0.01, 0.05);
        let values: Vec<f32> = (0..1024)
            .map(|i| (i * 7919 % 2003) as f32 / 500.0 - 2.0)
            .collect();
        let x = || Tensor::<5>::from_data(TensorData::new(values.clone(), [1, 2, 8, 8, 8]), &device);
        let mode = Mode::Train(Training {
            dropout: 0,
            batch: None,
            keep: true,
        });
        let (mut a, mut b) = (net.clone(), net.clone());
        for time in 1..=4 {
            let grads = |net: &DenseNet| {
                let loss = net.forward(x(), mode).square().mean();
                GradientsParams::from_grads(loss.backward(), net)
            };
            let (of_a, of_b) = (grads(&a), grads(&b));
            a = oracle.step(3e-3, a, of_a);
            b = ours.step(b, of_b, 3e-3, time);
        }
        let numbers = |net: &DenseNet| -> Vec<f32> {
            flat::read(net)
                .into_iter()
                .flat_map(|t| pollster::block_on(flat::host(t)).unwrap())
                .collect()
        };
        let (a, b, before) = (numbers(&a), numbers(&b), numbers(&net));
        let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart(&a, &before) > 5e-3, "nothing moved");
        assert!(apart(&a, &b) < 1e-6, "{}", apart(&a, &b));
    }
}
