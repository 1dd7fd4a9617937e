//! Normalisation as a burn module: by running statistics, or by those of the patch at hand.

use super::config::Norm;
use super::kernels::{self, Normalisation, Renorm};
use super::layers::Training;
use burn::module::{Initializer, Module, Param, RunningState};
use burn::tensor::{Device, Tensor};

/// Added to variances (method.md 2.1).
pub(super) const EPSILON: f64 = 1.1e-5;

/// Normalisation, then ReLU.
#[derive(Module, Debug)]
pub struct NormRelu {
    /// Scale, `[channel]`.
    pub gamma: Param<Tensor<1>>,
    /// Shift, `[channel]`.
    pub beta: Param<Tensor<1>>,
    /// Running mean, `[channel]`; none if each patch is normalised by its own.
    pub mean: Option<RunningState<Tensor<1>>>,
    /// Running variance, `[channel]`; none if each patch is normalised by its own.
    pub variance: Option<RunningState<Tensor<1>>>,
}

impl NormRelu {
    pub(super) fn new(norm: Norm, channels: usize, device: &Device) -> Self {
        let plain = device.clone().without_autodiff();
        let running = |value: Tensor<1>| (norm == Norm::Batch).then(|| RunningState::new(value));
        Self {
            gamma: Initializer::Ones.init([channels], device),
            beta: Initializer::Zeros.init([channels], device),
            mean: running(Tensor::zeros([channels], &plain)),
            variance: running(Tensor::ones([channels], &plain)),
        }
    }

    /// True if each patch is normalised by its own statistics.
    pub(super) fn by_instance(&self) -> bool {
        self.mean.is_none()
    }

    /// What is asked of the kernels in training.
    pub(super) fn asked(&self, training: Training) -> Normalisation {
        Normalisation {
            epsilon: EPSILON,
            batch: if self.by_instance() {
                Some(Renorm::PLAIN)
            } else {
                training.batch
            },
            by_sample: self.by_instance(),
        }
    }

    /// Running mean and variance, `[2, channel]`; zeros, which nobody reads, if there are none.
    pub(super) fn running(&self) -> Tensor<2> {
        let device = self.gamma.val().device();
        let (Some(mean), Some(variance)) = (&self.mean, &self.variance) else {
            return Tensor::zeros([2, self.gamma.dims()[0]], &device.without_autodiff());
        };
        let rows = vec![mean.value(), variance.value()];
        Tensor::stack(rows.into_iter().map(|t| t.to_device(&device)).collect(), 0)
    }

    /// Takes over the next running mean and variance, `[channel]` each.
    pub(super) fn update(&self, next: [Tensor<1>; 2]) {
        for (state, next) in [&self.mean, &self.variance].into_iter().flatten().zip(next) {
            state.update(next);
            // `update` collects; reading synchronised makes the new value current.
            let _ = state.value_sync();
        }
    }

    /// What does not depend on the patch at inference, `[2, channel]` without gradients: scale and shift by running statistics,
    /// or gamma and beta if it is the patch's own that normalise.
    pub(super) fn fixed(&self) -> Tensor<2> {
        let [gamma, beta] = [&self.gamma, &self.beta].map(|t| t.val().without_autodiff());
        if self.by_instance() {
            return Tensor::stack(vec![gamma, beta], 0);
        }
        let running = self.running().without_autodiff();
        let norm = Normalisation {
            epsilon: EPSILON,
            batch: None,
            by_sample: false,
        };
        kernels::norm_rows(running.clone(), running, gamma, beta, norm).1
    }

    pub(super) fn forward(&self, x: Tensor<5>, training: Training) -> Tensor<5> {
        let [channels] = self.gamma.dims();
        let now = || kernels::channel_stats(x.clone(), 0, channels, self.by_instance());
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        let (running, norm) = (self.running(), self.asked(training));
        let now = if norm.frozen() { running.clone() } else { now() };
        let applied = kernels::norm_rows(now, running, gamma.clone(), beta.clone(), norm);
        if !norm.frozen() {
            let row = |i: usize| {
                let row = applied.0.clone().slice([i..i + 1, 0..channels]);
                row.reshape([channels]).without_autodiff()
            };
            self.update([row(4), row(5)]);
        }
        kernels::norm_relu_train(x, gamma, beta, applied, norm.frozen())
    }
}
