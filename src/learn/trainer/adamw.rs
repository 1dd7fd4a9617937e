//! `AdamW` whose moments can be read without blocking, which a browser's GPU asks for.

use super::flat;
use crate::net::DenseNet;
use crate::net::kernels::{self, AdamStep};
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// The optimiser (Loshchilov and Hutter 2019, the gradient of each tensor clipped to a norm). The same arithmetic as burn's, which is
/// the oracle of the test.
#[derive(Debug)]
pub struct AdamW {
    /// Mean and mean squared gradient, `[2, number]`, of every tensor that has had one, in visiting order.
    pub(super) moments: Vec<Option<Tensor<2>>>,
}

impl AdamW {
    /// For a network's tensors.
    #[must_use]
    pub fn new(net: &DenseNet) -> Self {
        Self {
            moments: vec![None; flat::read(net).len()],
        }
    }

    /// One step of all tensors of `net` that have a gradient.
    #[must_use]
    pub fn step(&mut self, net: DenseNet, grads: GradientsParams, step: AdamStep) -> DenseNet {
        net.map(&mut Walk {
            moments: &mut self.moments,
            grads,
            step,
            at: 0,
        })
    }
}

struct Walk<'a> {
    moments: &'a mut [Option<Tensor<2>>],
    grads: GradientsParams,
    step: AdamStep,
    at: usize,
}

impl ModuleMapper for Walk<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let slot = self.moments.get_mut(self.at);
        self.at += 1;
        let (Some(grad), Some(slot)) = (self.grads.remove::<D>(param.id), slot) else {
            return param;
        };
        let moments = slot.take().unwrap_or_else(|| {
            let n = grad.shape().num_elements();
            Tensor::zeros([2, n], &grad.device())
        });
        param.map(|old| {
            let (new, moments) = kernels::adamw(old.without_autodiff(), grad, moments, self.step);
            *slot = Some(moments);
            Tensor::from_inner(new).set_require_grad(true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            .with_beta_2(0.999)
            .with_epsilon(1e-8)
            .with_weight_decay(0.01)
            .with_grad_clipping(Some(GradientClippingConfig::Norm(0.05)))
            .init();
        let mut ours = AdamW::new(&net);
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
            let step = AdamStep {
                time,
                rate: 3e-3,
                decay: 0.01,
                clip: 0.05,
            };
            b = ours.step(b, of_b, step);
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
