//! What is timed: one forward pass, or one step of training.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData, activation};
use equipoise::learn::trainer::AdamW;
use equipoise::loss::Loss;
use equipoise::net::kernels::{AdamStep, Renorm};
use equipoise::net::{DenseNet, InferNet, Mode, NetConfig, Training, stock, weights};

/// Learning rate of the timed steps.
const RATE: f64 = 1e-3;

/// The work of one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Work {
    /// Probabilities of one patch.
    Forward,
    /// Forward, `F_1.5` loss, backward, Adam.
    Step,
}

/// How a pass is computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) work: Work,
    /// With burn's own operators.
    pub(super) stock: bool,
    /// With maps in half precision, where it predicts.
    pub(super) half: bool,
}

/// Adam: ours, or burn's for stock operators.
enum Optimiser {
    Ours(AdamW),
    Burn(ModuleOptimizer),
}

/// A network, a patch and, for training, an optimiser.
pub(super) struct Pass {
    net: DenseNet,
    /// The network as an engine predicts with it.
    infer: InferNet,
    optimiser: Optimiser,
    /// Steps done.
    done: u64,
    x: Tensor<5>,
    labels: Tensor<5>,
    work: Work,
    stock: bool,
}

impl Pass {
    /// A network with the weights of a safetensors file, or random ones.
    pub(super) fn new(
        config: &NetConfig,
        file: Option<Vec<u8>>,
        side: usize,
        device: &Device,
        How { work, stock, half }: How,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        config.check_side(side)?;
        let device = match work {
            Work::Forward => device.clone(),
            Work::Step => device.clone().autodiff(),
        };
        // Dropout is drawn on the host and differs between programs: nothing of what is compared.
        let config = NetConfig {
            dropout: 0.0,
            ..config.clone()
        };
        let net = match file {
            Some(file) => weights::from_bytes(&config, file, &device)?,
            None => DenseNet::new(&config, 1, &device)?,
        };
        let channels = config.in_channels;
        let shape = |channels| [1, channels, side, side, side];
        Ok(Self {
            infer: if half {
                InferNet::new(&net).in_half()
            } else {
                InferNet::new(&net)
            },
            optimiser: if stock {
                Optimiser::Burn(AdamConfig::new().with_epsilon(1e-8).init())
            } else {
                Optimiser::Ours(AdamW::new(&net))
            },
            done: 0,
            net,
            x: Tensor::from_data(TensorData::new(patch(channels, side), shape(channels)), &device),
            labels: Tensor::from_data(TensorData::new(labels(side), shape(1)), &device),
            work,
            stock,
        })
    }

    /// One pass, waited for. A step answers with its loss, a forward pass with the mean probability.
    pub(super) fn run(&mut self) -> f32 {
        match self.work {
            Work::Forward => self.probabilities().mean().into_scalar(),
            Work::Step => self.step(),
        }
    }

    /// Lesion probabilities.
    pub(super) fn probabilities(&self) -> Tensor<5> {
        if self.stock {
            return activation::sigmoid(stock::forward(&self.net, self.x.clone(), false));
        }
        self.infer.probabilities(self.x.clone())
    }

    /// Name, shape and norm of the gradient of every tensor that learns; nothing is changed.
    pub(super) fn gradients(&self) -> Vec<Gradient> {
        let gradients = GradientsParams::from_grads(self.loss().backward(), &self.net);
        let mut norms = Norms {
            gradients,
            path: Vec::new(),
            found: Vec::new(),
        };
        self.net.visit(&mut norms);
        norms.found
    }

    fn loss(&self) -> Tensor<1> {
        // Plain batch normalisation, as burn's and PyTorch's.
        let mode = Mode::Train(Training {
            dropout: 0,
            batch: Some(Renorm {
                momentum: 0.1,
                r_max: 1.0,
                d_max: 0.0,
            }),
            keep: true,
        });
        let logits = if self.stock {
            stock::forward(&self.net, self.x.clone(), true)
        } else {
            self.net.forward(self.x.clone(), mode)
        };
        Loss::default().forward(logits, self.labels.clone())
    }

    fn step(&mut self) -> f32 {
        let loss = self.loss();
        // Read before anything changes, as fine-tuning does: a loss that is no number must not reach the weights.
        let value = loss.clone().into_scalar();
        let grads = GradientsParams::from_grads(loss.backward(), &self.net);
        self.done += 1;
        self.net = match &mut self.optimiser {
            Optimiser::Burn(burn) => burn.step(RATE, self.net.clone(), grads),
            Optimiser::Ours(ours) => {
                // As burn's: nothing decays, nothing is clipped.
                let step = AdamStep {
                    time: self.done,
                    rate: RATE,
                    decay: 0.0,
                    clip: 1e30,
                    keep: 0.0,
                };
                ours.step(self.net.clone(), grads, step)
            }
        };
        // The first layer's weights depend on all gradients; a lazy device computes them when they are read.
        let weight = self.net.valid().stem.convs[0].weight.val();
        let _: f32 = weight.sum().into_scalar();
        value
    }
}

/// The gradient of one tensor.
#[derive(Debug, serde::Serialize)]
pub(super) struct Gradient {
    tensor: String,
    shape: Vec<usize>,
    norm: f32,
}

/// Measures gradients on a walk over the network that they are of.
struct Norms {
    gradients: GradientsParams,
    path: Vec<String>,
    found: Vec<Gradient>,
}

impl ModuleVisitor for Norms {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.found.push(Gradient {
                tensor: self.path.join("."),
                shape: gradient.dims().to_vec(),
                norm: gradient.powi_scalar(2).sum().sqrt().into_scalar(),
            });
        }
    }
}

/// The patch that every benchmark runs on (`tests/bench/model.py` makes the same).
pub(super) fn patch(channels: usize, side: usize) -> Vec<f32> {
    (0..channels * side.pow(3))
        .map(|i| (i * 7919 % 2003) as f32 / 500.0 - 2.0)
        .collect()
}

/// One voxel in fifty is lesion.
pub(super) fn labels(side: usize) -> Vec<f32> {
    (0..side.pow(3))
        .map(|i| f32::from(u8::from(i % 50 == 0)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_ours_and_of_stock_operators_lose_alike() {
        let config = NetConfig::preset("toy", 2).unwrap();
        let side = 2 * config.side_multiple();
        let pass = |stock| {
            let how = How {
                work: Work::Step,
                stock,
                half: false,
            };
            Pass::new(&config, None, side, &Device::flex(), how).unwrap()
        };
        let (mut ours, mut stock) = (pass(false), pass(true));
        let (a, b) = (ours.gradients(), stock.gradients());
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(&b) {
            assert_eq!((&a.tensor, &a.shape), (&b.tensor, &b.shape));
            assert!((a.norm - b.norm).abs() <= 1e-3 * b.norm, "{a:?} and {b:?}");
        }
        let mut before = f32::INFINITY;
        for step in 0..3 {
            let (a, b) = (ours.run(), stock.run());
            assert!((a - b).abs() < 1e-3, "step {step}: {a} and {b}");
            assert!(a < before, "step {step}: the loss went from {before} to {a}");
            before = a;
        }
    }
}
