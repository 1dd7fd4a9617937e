//! The network's building blocks as burn modules.

use super::config::NetConfig;
use super::draw::Draw;
use super::kernels::{self, BlockPlan, LayerTensors, Normalisation, Renorm};
use super::norm::NormRelu;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

/// How the network is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Statistics (running ones, or those of the patch at hand) folded into scale and shift; no gradients ([`InferNet`](super::InferNet)).
    Infer,
    /// With gradients.
    Train(Training),
}

/// What the dropout of sample `i` of a batch is drawn from, whether it is run with the others or alone.
fn seed_of_sample(seed: u64, i: usize) -> u64 {
    seed ^ (i as u64).wrapping_mul(0xD1B5_4A32_D192_ED03)
}

/// How the network is run with gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// What dropout is drawn from, together with the layer.
    pub dropout: u64,
    /// Batch statistics, renormalised towards the running ones, which are updated; `None`: running statistics as
    /// constants, for fine-tuning and the last part of training. Instance normalisation knows neither.
    pub batch: Option<Renorm>,
    /// True if the bottlenecks' maps are kept for the backward pass instead of being made again: faster, for more memory.
    pub keep: bool,
}

impl Training {
    /// For one sample of a batch that is run sample by sample: each drops its own values.
    pub(super) fn of_sample(self, i: usize) -> Self {
        Self {
            dropout: seed_of_sample(self.dropout, i),
            ..self
        }
    }
}

/// 3x3x3 convolution without bias, stride 1, zero padding.
#[derive(Module, Debug)]
pub struct Conv3 {
    /// `[out, in, 3, 3, 3]`.
    pub weight: Param<Tensor<5>>,
}

impl Conv3 {
    fn new(input: usize, output: usize, draw: &mut Draw) -> Self {
        Self {
            weight: draw.he([output, input, 3, 3, 3], input * 27),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        kernels::conv3(x, self.weight.val())
    }
}

/// 1x1x1 convolution without bias: a matrix product.
#[derive(Module, Debug)]
pub struct Conv1 {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
}

impl Conv1 {
    fn new(input: usize, output: usize, draw: &mut Draw) -> Self {
        Self {
            weight: draw.he([output, input], input),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        kernels::conv1(x, self.weight.val())
    }
}

/// Convolution 2x2x2 of stride 2 with bias and ReLU: the compact stem's first step.
#[derive(Module, Debug)]
pub struct Halve {
    /// `[out, in, 2, 2, 2]`.
    pub weight: Param<Tensor<5>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl Halve {
    fn new(input: usize, output: usize, draw: &mut Draw) -> Self {
        Self {
            weight: draw.he([output, input, 2, 2, 2], input * 8),
            bias: Initializer::Zeros.init([output], draw.device()),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [batch, input, d, h, w] = x.dims();
        let [output, ..] = self.weight.dims();
        let [d, h, w] = [d / 2, h / 2, w / 2];
        // Each 2x2x2 cube becomes eight channels; the convolution is then a matrix product.
        let cubes = x
            .reshape([batch, input, d, 2, h, 2, w, 2])
            .permute([0, 1, 3, 5, 7, 2, 4, 6]);
        let cubes = cubes.reshape([batch, input * 8, d, h, w]);
        let weight = self.weight.val().reshape([output, input * 8]);
        kernels::bias_relu(kernels::conv1(cubes, weight), self.bias.val())
    }
}

/// Transposed convolution 2x2x2 of stride 2 with bias and ReLU: the compact head's first step.
#[derive(Module, Debug)]
pub struct Double {
    /// `[in, out, 2, 2, 2]`.
    pub weight: Param<Tensor<5>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl Double {
    fn new(input: usize, output: usize, draw: &mut Draw) -> Self {
        Self {
            weight: draw.he([input, output, 2, 2, 2], input),
            bias: Initializer::Zeros.init([output], draw.device()),
        }
    }

    /// The eight voxels that each voxel of `x` becomes, still apart: `[batch, out, 8 z, y, x]`, corner by corner, x fastest. What treats
    /// every voxel alike may be done before they are [put in order](in_order).
    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [batch, input, d, h, w] = x.dims();
        let [_, output, ..] = self.weight.dims();
        let weight = self.weight.val().reshape([input, output * 8]).swap_dims(0, 1);
        let corners = kernels::conv1(x, weight).reshape([batch, output, 8 * d, h, w]);
        kernels::bias_relu(corners, self.bias.val())
    }
}

/// Voxels of eight corners, `[batch, channel, 8 z, y, x]`, in their order, `[batch, channel, 2 z, 2 y, 2 x]`.
fn in_order(corners: Tensor<5>) -> Tensor<5> {
    let [batch, channels, d, h, w] = corners.dims();
    let d = d / 8;
    corners
        .reshape([batch, channels, 2, 2, 2, d, h, w])
        .permute([0, 1, 5, 2, 6, 3, 7, 4])
        .reshape([batch, channels, 2 * d, 2 * h, 2 * w])
}

/// Norm, ReLU, (with a bottleneck: 1x1x1 convolution, norm, ReLU,) 3x3x3 convolution, dropout: `k` new channels.
#[derive(Module, Debug)]
pub struct DenseLayer {
    /// First normalisation.
    pub norm1: NormRelu,
    /// Bottleneck to `4 k` channels, with its normalisation.
    pub conv1: Option<Conv1>,
    /// Normalisation after the bottleneck.
    pub norm3: Option<NormRelu>,
    /// The new channels.
    pub conv3: Conv3,
    dropout: f64,
    /// Tells this layer's dropout from the others'.
    number: u64,
}

impl DenseLayer {
    fn new(config: &NetConfig, input: usize, draw: &mut Draw) -> Self {
        let inner = if config.bottleneck {
            4 * config.growth
        } else {
            input
        };
        Self {
            norm1: NormRelu::new(config.norm, input, draw.device()),
            conv1: config.bottleneck.then(|| Conv1::new(input, inner, draw)),
            norm3: config
                .bottleneck
                .then(|| NormRelu::new(config.norm, inner, draw.device())),
            conv3: Conv3::new(inner, config.growth, draw),
            dropout: config.dropout,
            number: draw.number(),
        }
    }

    /// Without a bottleneck: the new channels, from all before.
    fn forward(&self, x: Tensor<5>, training: Training) -> Tensor<5> {
        let maps = self.conv3.forward(self.norm1.forward(x, training));
        if self.dropout <= 0.0 {
            return maps;
        }
        let [batch, rest @ ..] = maps.dims();
        let n = rest.iter().product();
        let mask = (0..batch)
            .flat_map(|i| self.mask(seed_of_sample(training.dropout, i), n))
            .collect::<Vec<f32>>();
        let mask = Tensor::from_data(TensorData::new(mask, maps.shape()), &maps.device());
        maps * mask
    }

    /// What a block's kernels are given of it, if it has a bottleneck.
    fn tensors(&self, norm: Normalisation) -> Option<LayerTensors> {
        Some(LayerTensors {
            outer: self.norm1.tensors(norm),
            w1: self.conv1.as_ref()?.weight.val(),
            middle: self.norm3.as_ref()?.tensors(norm),
            w3: self.conv3.weight.val(),
        })
    }

    /// What `n` values of new maps are multiplied with in training. Drawn on the host: the same on every device, whatever
    /// else draws at the same time.
    fn mask(&self, seed: u64, n: usize) -> Vec<f32> {
        super::draw::dropout(n, self.dropout, seed, self.number)
    }
}

/// `L` dense layers, each fed with everything before it.
#[derive(Module, Debug)]
pub struct DenseBlock {
    /// The layers.
    pub layers: Vec<DenseLayer>,
}

impl DenseBlock {
    pub(super) fn new(config: &NetConfig, input: usize, draw: &mut Draw) -> Self {
        let layers = (0..config.layers)
            .map(|i| DenseLayer::new(config, input + i * config.growth, draw))
            .collect();
        Self { layers }
    }

    /// Learns nothing and drops nothing.
    pub(super) fn frozen(mut self) -> Self {
        for layer in &mut self.layers {
            layer.dropout = 0.0;
        }
        self.no_grad()
    }

    /// Number of new maps.
    pub(super) fn new_channels(&self) -> usize {
        self.layers.iter().map(|layer| layer.conv3.weight.dims()[0]).sum()
    }

    /// The concatenation of the input and all new maps, and the new maps alone.
    pub(super) fn forward(&self, x: Tensor<5>, training: Training) -> (Tensor<5>, Tensor<5>) {
        let input = x.dims()[1];
        let all = match self.bottlenecks() {
            Some(inner) => self.train(x, inner, training),
            None => self.layers.iter().fold(x, |all, layer| {
                let maps = layer.forward(all.clone(), training);
                Tensor::cat(vec![all, maps], 1)
            }),
        };
        let new = all.clone().narrow(1, input, all.dims()[1] - input);
        (all, new)
    }

    /// Channels of the layers' bottlenecks, if they have any.
    fn bottlenecks(&self) -> Option<usize> {
        let layer = self.layers.first()?;
        layer.conv1.as_ref().map(|conv| conv.weight.dims()[0])
    }

    /// The input and all new maps, by the operator that copies nothing.
    fn train(&self, x: Tensor<5>, inner: usize, training: Training) -> Tensor<5> {
        let [batch, input, d, h, w] = x.dims();
        let growth = self.new_channels() / self.layers.len().max(1);
        let Some(norm) = self.layers.first().map(|layer| layer.norm1.asked(training)) else {
            return x;
        };
        let plan = BlockPlan {
            input,
            growth,
            inner,
            layers: self.layers.len(),
            norm,
            keep: training.keep,
        };
        let device = x.device();
        let mask = (self.layers.iter().any(|layer| layer.dropout > 0.0))
            .then(|| self.masks(training.dropout, plan, [batch, d, h, w], &device));
        let layers = self.layers.iter().filter_map(|layer| layer.tensors(norm));
        let (all, next) = kernels::dense_block(x, layers.collect(), mask, plan);
        let norms = self
            .layers
            .iter()
            .flat_map(|layer| std::iter::once(&layer.norm1).chain(&layer.norm3));
        for (norm, next) in norms.zip(next) {
            norm.update(next);
        }
        all
    }

    /// What the new maps of all layers are multiplied with, `[batch, new maps, z, y, x]`.
    fn masks(&self, seed: u64, plan: BlockPlan, [batch, d, h, w]: [usize; 4], device: &Device) -> Tensor<5> {
        let size = plan.growth * d * h * w;
        let mut values = Vec::with_capacity(batch * plan.layers * size);
        for sample in 0..batch {
            let seed = seed_of_sample(seed, sample);
            values.extend(self.layers.iter().flat_map(|layer| layer.mask(seed, size)));
        }
        Tensor::from_data(
            TensorData::new(values, [batch, plan.layers * plan.growth, d, h, w]),
            device,
        )
    }
}

/// Transition down: norm, ReLU, 1x1x1 convolution, 2x2x2 max-pooling.
#[derive(Module, Debug)]
pub struct TransitionDown {
    /// Normalisation.
    pub norm: NormRelu,
    /// Compression.
    pub conv: Conv1,
}

impl TransitionDown {
    pub(super) fn new(config: &NetConfig, input: usize, draw: &mut Draw) -> Self {
        let output = config.compressed(input);
        Self {
            norm: NormRelu::new(config.norm, input, draw.device()),
            conv: Conv1::new(input, output, draw),
        }
    }

    pub(super) fn forward(&self, x: Tensor<5>, training: Training) -> Tensor<5> {
        kernels::max_pool2(self.conv.forward(self.norm.forward(x, training)))
    }
}

/// Transition up: transposed 3x3x3 convolution of stride 2 with bias and ReLU.
#[derive(Module, Debug)]
pub struct TransitionUp {
    /// `[in, out, 3, 3, 3]`.
    pub weight: Param<Tensor<5>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl TransitionUp {
    pub(super) fn new(channels: usize, draw: &mut Draw) -> Self {
        Self {
            // An output voxel sees 27 / 8 taps on average.
            weight: draw.he([channels, channels, 3, 3, 3], channels * 27 / 8),
            bias: Initializer::Zeros.init([channels], draw.device()),
        }
    }

    pub(super) fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        kernels::bias_relu(kernels::up2(x, self.weight.val()), self.bias.val())
    }
}

/// Stem: halving if compact, then three 3x3x3 convolutions, each followed by norm and ReLU.
#[derive(Module, Debug)]
pub struct Stem {
    /// Halves the volume, if compact.
    pub down: Option<Halve>,
    /// Convolutions.
    pub convs: Vec<Conv3>,
    /// Their normalisations.
    pub norms: Vec<NormRelu>,
}

impl Stem {
    pub(super) fn new(config: &NetConfig, draw: &mut Draw) -> Self {
        let c = config.stem;
        let first = if config.compact { c } else { config.in_channels };
        Self {
            down: config.compact.then(|| Halve::new(config.in_channels, c, draw)),
            convs: (0..3)
                .map(|i| Conv3::new(if i == 0 { first } else { c }, c, draw))
                .collect(),
            norms: (0..3)
                .map(|_| NormRelu::new(config.norm, c, draw.device()))
                .collect(),
        }
    }

    /// True if each patch is normalised by its own statistics, here and everywhere.
    pub(super) fn by_instance(&self) -> bool {
        self.norms.iter().any(NormRelu::by_instance)
    }

    pub(super) fn forward(&self, x: Tensor<5>, training: Training) -> Tensor<5> {
        let x = match &self.down {
            Some(down) => down.forward(x),
            None => x,
        };
        self.convs
            .iter()
            .zip(&self.norms)
            .fold(x, |x, (conv, norm)| norm.forward(conv.forward(x), training))
    }
}

/// Head: doubling if compact, then one 1x1x1 convolution to the lesion logit.
#[derive(Module, Debug)]
pub struct Head {
    /// Doubles the volume, if compact.
    pub up: Option<Double>,
    /// The logit.
    pub conv: Conv1,
}

impl Head {
    pub(super) fn new(config: &NetConfig, input: usize, draw: &mut Draw) -> Self {
        let inner = if config.compact { config.stem } else { input };
        Self {
            up: config.compact.then(|| Double::new(input, config.stem, draw)),
            conv: Conv1 {
                weight: draw.glorot([1, inner], inner, 1),
            },
        }
    }

    pub(super) fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        match &self.up {
            // The logits are put in order, not all the maps they are made of.
            Some(up) => in_order(self.conv.forward(up.forward(x))),
            None => self.conv.forward(x),
        }
    }
}
