//! A convolution as an engine runs it, to be timed: weights packed before by the tiles in use, maps normalised while they are loaded, a
//! batch together.

use crate::Outcome;
use burn::tensor::{Device, Distribution, Tensor};
use equipoise::net::kernels::infer::{self, Read};
use equipoise::net::{Engine, NetConfig};

/// See the module.
pub(crate) struct Conv {
    x: Tensor<5>,
    folds: Tensor<3>,
    weights: Weights,
    read: Read,
    /// Multiply-adds of a run, counted as a direct convolution has them.
    pub(crate) macs: u64,
}

enum Weights {
    Ones(Tensor<2>),
    Threes(Tensor<5>),
}

impl Conv {
    /// 1x1x1, of `batch` maps of `side` voxels, from `channels.0` to `channels.1`.
    pub(crate) fn ones(channels: (usize, usize), maps: [usize; 2], device: &Device) -> Self {
        let weights = Tensor::random([channels.1, channels.0], Distribution::Default, device);
        Self::new(channels, maps, 1, Weights::Ones(infer::packed1(weights)), device)
    }

    /// 3x3x3, likewise.
    pub(crate) fn threes(channels: (usize, usize), maps: [usize; 2], device: &Device) -> Self {
        let weights = Tensor::random([channels.1, channels.0, 3, 3, 3], Distribution::Default, device);
        Self::new(
            channels,
            maps,
            27,
            Weights::Threes(infer::packed3(weights)),
            device,
        )
    }

    fn new(
        (input, out): (usize, usize),
        [batch, side]: [usize; 2],
        taps: usize,
        weights: Weights,
        device: &Device,
    ) -> Self {
        Self {
            x: Tensor::random([batch, input, side, side, side], Distribution::Default, device),
            folds: Tensor::random([1, 2, input], Distribution::Default, device),
            weights,
            read: Read::all(input, out),
            macs: (input * out * taps * batch * side.pow(3)) as u64,
        }
    }

    /// Starts it; the device may still be at work.
    pub(crate) fn run(&self) -> Tensor<5> {
        let (x, folds) = (self.x.clone(), self.folds.clone());
        match &self.weights {
            Weights::Ones(w) => infer::product(x, folds, w.clone(), self.read),
            Weights::Threes(w) => {
                let [batch, _, d, h, wd] = x.dims();
                let room = Tensor::empty([batch, self.read.out, d, h, wd], &x.device());
                infer::conv3_into(room, 0, x, folds, w.clone(), self.read)
            }
        }
    }
}

/// Patches together: what was asked for, or as many as the engine takes.
pub(crate) fn batch(
    asked: Option<usize>,
    engine: &Engine,
    config: &NetConfig,
    side: usize,
) -> Outcome<usize> {
    Ok(match asked {
        Some(batch) => batch.max(1),
        None => engine.batch(config, side)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is timed computes what it is said to: the plain convolution of what a normalisation leaves, for each patch of a batch.
    #[test]
    fn a_layer_is_a_convolution_of_normalised_maps() {
        let device = Device::flex();
        let random = |shape| Tensor::<5>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
        let (x, w) = (random([2, 3, 4, 4, 4]), random([5, 3, 3, 3, 3]));
        let conv = Conv {
            x: x.clone(),
            folds: Tensor::from_data([[[1.5f32, -2.0, 0.5], [0.1, -0.2, 0.3]]], &device),
            weights: Weights::Threes(infer::packed3(w.clone())),
            read: Read::all(3, 5),
            macs: 0,
        };
        let scale = Tensor::<1>::from_data([1.5f32, -2.0, 0.5], &device).reshape([1, 3, 1, 1, 1]);
        let shift = Tensor::<1>::from_data([0.1f32, -0.2, 0.3], &device).reshape([1, 3, 1, 1, 1]);
        let normal = burn::tensor::activation::relu(x * scale + shift);
        let options = burn::tensor::ops::ConvOptions::new([1; 3], [1; 3], [1; 3], 1);
        let expected = burn::tensor::module::conv3d(normal, w, None, options);
        let worst: f32 = (conv.run() - expected).abs().max().into_scalar();
        assert!(worst < 1e-5, "{worst}");
    }
}
