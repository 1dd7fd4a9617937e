//! `AdamW` whose state can be read without blocking, which a browser's GPU asks for.

use super::flat;
use crate::net::DenseNet;
use crate::net::kernels::{self, AdamStep};
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// The optimiser (Loshchilov and Hutter 2019, the gradient of each tensor clipped to a norm), and the average that follows the
/// weights. The same arithmetic as burn's, which is the oracle of the test.
#[derive(Debug)]
pub struct AdamW {
    /// Mean gradient, mean squared gradient and average, `[3, number]`, of every tensor that learns, in visiting order.
    pub(super) states: Vec<Option<Tensor<2>>>,
}

impl AdamW {
    /// For a network's tensors as they are.
    #[must_use]
    pub fn new(net: &DenseNet) -> Self {
        let states = flat::read(net)
            .into_iter()
            .zip(flat::learning(net))
            .map(|(tensor, learns)| {
                let zeros = || Tensor::zeros_like(&tensor);
                learns.then(|| Tensor::stack(vec![zeros(), zeros(), tensor.clone()], 0))
            });
        Self {
            states: states.collect(),
        }
    }

    /// One step of all tensors of `net` that have a gradient.
    #[must_use]
    pub fn step(&mut self, net: DenseNet, grads: GradientsParams, step: AdamStep) -> DenseNet {
        net.map(&mut Walk {
            states: self.states.iter_mut(),
            grads,
            step,
        })
    }

    /// The average of tensor `at`, `[number]`, if it learns.
    pub(super) fn average(&self, at: usize) -> Option<Tensor<1>> {
        let state = self.states.get(at)?.as_ref()?;
        let [_, n] = state.dims();
        Some(state.clone().slice([2..3, 0..n]).reshape([n]))
    }
}

struct Walk<'a> {
    states: std::slice::IterMut<'a, Option<Tensor<2>>>,
    grads: GradientsParams,
    step: AdamStep,
}

impl ModuleMapper for Walk<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let slot = self.states.next();
        let (Some(grad), Some(slot)) = (self.grads.remove::<D>(param.id), slot) else {
            return param;
        };
        let Some(state) = slot.take() else {
            return param;
        };
        param.map(|old| {
            let (new, state) = kernels::adamw(old.without_autodiff(), grad, state, self.step);
            *slot = Some(state);
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
        let read = |t: Vec<Tensor<1>>| -> Vec<f32> {
            t.into_iter()
                .flat_map(|t| pollster::block_on(flat::host(t)).unwrap())
                .collect()
        };
        let learns = flat::learning(&net);
        // Running statistics, which a pass changes, are no business of the optimiser's.
        let numbers = |net: &DenseNet| {
            let tensors = flat::read(net).into_iter().zip(&learns);
            read(tensors.filter_map(|(t, learns)| learns.then_some(t)).collect())
        };
        let mode = Mode::Train(Training {
            dropout: 0,
            batch: None,
            keep: true,
        });
        let (mut a, mut b) = (net.clone(), net.clone());
        let mut average = numbers(&net);
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
                keep: 0.9,
            };
            b = ours.step(b, of_b, step);
            for (average, now) in average.iter_mut().zip(numbers(&b)) {
                *average = 0.9 * *average + 0.1 * now;
            }
        }
        let (a, b, before) = (numbers(&a), numbers(&b), numbers(&net));
        let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart(&a, &before) > 5e-3, "nothing moved");
        assert!(apart(&a, &b) < 1e-6, "{}", apart(&a, &b));
        let ours = read((0..learns.len()).filter_map(|at| ours.average(at)).collect());
        assert_eq!(ours.len(), average.len());
        assert!(apart(&ours, &average) < 1e-6, "{}", apart(&ours, &average));
    }
}
