//! The whole network.

use super::config::{ConfigError, NetConfig};
use super::draw::Draw;
use super::infer::InferNet;
use super::kernels;
use super::layers::{DenseBlock, Head, Mode, Stem, Training, TransitionDown, TransitionUp};
use super::part::Part;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// A 3-D fully convolutional densely connected network (Hashemi et al. 2018; graph of method.md 2.1).
///
/// Input `[batch, channel, z, y, x]`, output `[batch, 1, z, y, x]` logits of the lesion probability.
#[derive(Module, Debug)]
pub struct DenseNet {
    /// Stem.
    pub stem: Stem,
    /// Dense blocks on the way down.
    pub down: Vec<DenseBlock>,
    /// Transitions after them.
    pub transition_down: Vec<TransitionDown>,
    /// Block at the lowest resolution.
    pub centre: DenseBlock,
    /// Transitions before the blocks on the way up.
    pub transition_up: Vec<TransitionUp>,
    /// Dense blocks on the way up.
    pub up: Vec<DenseBlock>,
    /// Head.
    pub head: Head,
}

impl DenseNet {
    /// A network with random weights (he_normal) on `device`; the same for the same seed on every device.
    ///
    /// # Errors
    /// [`ConfigError`] if a field of the configuration is out of range.
    pub fn new(config: &NetConfig, seed: u64, device: &Device) -> Result<Self, ConfigError> {
        config.validate()?;
        let draw = &mut Draw::new(seed, device);
        let new = config.layers * config.growth;
        let mut channels = config.stem;
        let (mut down, mut transition_down, mut skips) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..config.blocks {
            down.push(DenseBlock::new(config, channels, draw));
            channels += new;
            skips.push(channels);
            transition_down.push(TransitionDown::new(config, channels, draw));
            channels = config.compressed(channels);
        }
        let centre = DenseBlock::new(config, channels, draw);
        let (mut transition_up, mut up) = (Vec::new(), Vec::new());
        for skip in skips.iter().rev() {
            transition_up.push(TransitionUp::new(new, draw));
            up.push(DenseBlock::new(config, new + skip, draw));
            channels = 2 * new + skip;
        }
        Ok(Self {
            stem: Stem::new(config, draw),
            down,
            transition_down,
            centre,
            transition_up,
            up,
            head: Head::new(config, channels, draw),
        })
    }

    /// Only `part` learns from now on: below it no gradient is computed, nothing is kept for a backward pass and nothing is
    /// dropped.
    #[must_use]
    pub fn train_only(mut self, part: Part) -> Self {
        if part == Part::Everything {
            return self;
        }
        self.stem = self.stem.no_grad();
        self.down = self.down.into_iter().map(DenseBlock::frozen).collect();
        self.transition_down = self.transition_down.no_grad();
        self.centre = self.centre.frozen();
        if part == Part::Head {
            self.transition_up = self.transition_up.no_grad();
            self.up = self.up.into_iter().map(DenseBlock::frozen).collect();
        }
        self
    }

    /// Logits of the lesion probability: `[batch, channel, z, y, x]` to `[batch, 1, z, y, x]`.
    ///
    /// Every side must be a multiple of [`NetConfig::side_multiple`]. For inference the weights are packed first: who has several patches
    /// makes an [`InferNet`] once.
    #[must_use]
    pub fn forward(&self, x: Tensor<5>, mode: Mode) -> Tensor<5> {
        let training = match mode {
            Mode::Infer => return InferNet::new(self).logits(x),
            Mode::Train(training) => training,
        };
        let batch = x.dims()[0];
        if batch > 1 && self.stem.by_instance() && !kernels::samples_together(&x.device()) {
            let one = |i: usize| self.run(x.clone().narrow(0, i, 1), training.of_sample(i));
            return Tensor::cat((0..batch).map(one).collect(), 0);
        }
        self.run(x, training)
    }

    /// All samples of a batch together, with gradients.
    fn run(&self, x: Tensor<5>, training: Training) -> Tensor<5> {
        let mut x = self.stem.forward(x, training);
        let mut skips = Vec::with_capacity(self.down.len());
        for (block, transition) in self.down.iter().zip(&self.transition_down) {
            let (all, _) = block.forward(x, training);
            x = transition.forward(all.clone(), training);
            skips.push(all);
        }
        let (mut all, mut new) = self.centre.forward(x, training);
        for (transition, block) in self.transition_up.iter().zip(&self.up) {
            let raised = transition.forward(new);
            // There are as many skips as blocks on the way up.
            let input = match skips.pop() {
                Some(skip) => Tensor::cat(vec![raised, skip], 1),
                None => raised,
            };
            (all, new) = block.forward(input, training);
        }
        self.head.forward(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::config::{Norm, PRESETS, layer_table};

    #[test]
    fn the_built_network_has_the_parameters_of_its_table() {
        let paper = NetConfig::preset("paper", 4).unwrap();
        let presets = PRESETS.map(|p| NetConfig::preset(p, 2).unwrap());
        let more = [
            paper.clone(),
            NetConfig {
                compact: true,
                ..paper.clone()
            },
            NetConfig {
                bottleneck: false,
                ..paper
            },
        ];
        for config in presets.into_iter().chain(more) {
            let net = DenseNet::new(&config, 1, &Device::flex()).unwrap();
            let table: usize = layer_table(&config, 64).iter().map(|r| r.parameters).sum();
            // Running means and variances are visited as parameters too, and are no smaller than the affine ones.
            let norms: usize = layer_table(&config, 64)
                .iter()
                .filter(|r| r.name.contains("norm"))
                .map(|r| r.parameters)
                .sum();
            assert_eq!(net.num_params(), table + norms, "{config:?}");
        }
    }

    #[test]
    fn shapes_fit_for_every_preset_and_batch() {
        for (preset, batch) in [("toy", 2), ("browser", 1)] {
            let config = NetConfig::preset(preset, 2).unwrap();
            let side = config.side_multiple();
            let net = DenseNet::new(&config, 1, &Device::flex()).unwrap();
            let x = Tensor::random(
                [batch, 2, side, side, side],
                burn::tensor::Distribution::Default,
                &Device::flex(),
            );
            assert_eq!(net.forward(x, Mode::Infer).dims(), [batch, 1, side, side, side]);
        }
    }

    #[test]
    fn samples_of_a_batch_do_not_mix_at_inference() {
        for norm in [Norm::Batch, Norm::Instance] {
            let config = NetConfig {
                norm,
                ..NetConfig::preset("toy", 2).unwrap()
            };
            let net = DenseNet::new(&config, 1, &Device::flex()).unwrap();
            let (a, b) = (patch(), patch() * 3.0);
            let together = net.forward(Tensor::cat(vec![a.clone(), b.clone()], 0), Mode::Infer);
            let apart = Tensor::cat(vec![net.forward(a, Mode::Infer), net.forward(b, Mode::Infer)], 0);
            let difference = (together - apart).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-6, "{norm:?}: {difference}");
        }
    }

    #[test]
    #[cfg(feature = "learn")]
    fn a_batch_by_instance_is_its_samples_one_by_one() {
        let toy = NetConfig {
            norm: Norm::Instance,
            dropout: 0.3,
            ..NetConfig::preset("toy", 2).unwrap()
        };
        let plain = NetConfig {
            bottleneck: false,
            ..toy.clone()
        };
        let x = Tensor::cat(vec![patch() * 2.0 + 1.0, patch(), patch() - 3.0], 0);
        for config in [toy, plain] {
            let device = Device::flex().autodiff();
            let net = DenseNet::new(&config, 1, &device).unwrap();
            let train = Training {
                dropout: 7,
                batch: None,
                keep: true,
            };
            let x = x.clone().to_device(&device);
            // The gradients of all first scales: they come from every sample.
            let with = |logits: Tensor<5>| {
                let grads = logits.clone().square().mean().backward();
                let gamma = net.down[0].layers[1].norm1.gamma.val();
                (logits.without_autodiff(), gamma.grad(&grads).unwrap())
            };
            let (together, apart) = (
                with(net.run(x.clone(), train)),
                with(net.forward(x.clone(), Mode::Train(train))),
            );
            let difference = (together.0 - apart.0.clone()).abs().max().into_scalar::<f32>();
            let scale = apart.0.abs().max().into_scalar::<f32>();
            assert!(difference <= 1e-5 * scale, "{config:?}: {difference} at {scale}");
            let difference = (together.1 - apart.1.clone()).abs().max().into_scalar::<f32>();
            let scale = apart.1.abs().max().into_scalar::<f32>();
            assert!(difference <= 1e-5 * scale, "{config:?}: {difference} at {scale}");

            let net = Module::valid(&net);
            let x = x.without_autodiff();
            let together = InferNet::new(&net).together(x.clone(), false);
            let apart = net.forward(x, Mode::Infer);
            let difference = (together - apart).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-5, "{config:?}: {difference}");
        }
    }

    fn patch() -> Tensor<5> {
        Tensor::random(
            [1, 2, 8, 8, 8],
            burn::tensor::Distribution::Default,
            &Device::flex(),
        )
    }

    #[test]
    #[cfg(feature = "learn")]
    fn with_instance_normalisation_training_computes_what_inference_does() {
        let toy = NetConfig {
            norm: Norm::Instance,
            ..NetConfig::preset("toy", 2).unwrap()
        };
        let plain = NetConfig {
            bottleneck: false,
            ..toy.clone()
        };
        for config in [toy, plain] {
            let device = Device::flex().autodiff();
            let net = DenseNet::new(&config, 1, &device).unwrap();
            let x = Tensor::cat(vec![patch() * 2.0 + 1.0, patch()], 0);
            let training = Training {
                dropout: 1,
                batch: None,
                keep: true,
            };
            let trained = net.forward(x.clone().to_device(&device), Mode::Train(training));
            let inferred = Module::valid(&net).forward(x, Mode::Infer);
            let difference = trained.without_autodiff() - inferred.clone();
            let difference = difference.abs().max().into_scalar::<f32>();
            let scale = inferred.abs().max().into_scalar::<f32>();
            assert!(difference <= 1e-5 * scale, "{config:?}: {difference} at {scale}");
        }
    }
}
