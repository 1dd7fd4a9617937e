//! Normalisation as a burn module: by running statistics, or by those of the patch at hand.

use super::config::Norm;
use super::kernels::{self, NormTensors, Normalisation, Renorm};
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

    /// Running mean and variance, `[2, channel]`, if there are any.
    pub(super) fn running(&self) -> Option<Tensor<2>> {
        let device = self.gamma.val().device();
        let rows = vec![self.mean.as_ref()?.value(), self.variance.as_ref()?.value()];
        let rows = rows.into_iter().map(|t| t.to_device(&device)).collect();
        Some(Tensor::stack(rows, 0))
    }

    /// What a kernel is given of the normalisation.
    pub(super) fn tensors(&self, norm: Normalisation) -> NormTensors {
        NormTensors {
            gamma: self.gamma.val(),
            beta: self.beta.val(),
            running: if norm.reads_running() {
                self.running()
            } else {
                None
            },
        }
    }

    /// Takes over the next running mean and variance, `[2, channel]`.
    pub(super) fn update(&self, next: Tensor<2>) {
        let [_, channels] = next.dims();
        let next = next.without_autodiff();
        let next = [0, 1].map(|i| next.clone().slice([i..i + 1, 0..channels]).reshape([channels]));
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
        let running = self.running().map(Tensor::without_autodiff);
        let norm = Normalisation {
            epsilon: EPSILON,
            batch: None,
            by_sample: false,
        };
        kernels::norm_rows(None, running, [gamma, beta], 1, norm).1
    }

    pub(super) fn forward(&self, x: Tensor<5>, training: Training) -> Tensor<5> {
        let [batch, channels, ..] = x.dims();
        let norm = self.asked(training);
        let NormTensors { gamma, beta, running } = self.tensors(norm);
        let now = (!norm.frozen()).then(|| kernels::channel_stats(x.clone(), 0, channels, norm.by_sample));
        let samples = norm.samples(batch);
        let affine = [gamma.clone(), beta.clone()];
        let applied = kernels::norm_rows(now, running, affine, samples, norm);
        if norm.updates_running() {
            let [_, columns] = applied.0.dims();
            self.update(applied.0.clone().slice([4..6, 0..channels.min(columns)]));
        }
        kernels::norm_relu_train(x, gamma, beta, applied, norm.frozen())
    }
}
