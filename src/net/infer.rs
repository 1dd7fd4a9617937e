//! A network in the form in which it predicts: weights packed once for the device's kernels, no gradients.

use super::graph::DenseNet;
use super::kernels::infer::{self as ops, Read};
use super::kernels::{self, samples_together};
use super::layers::{DenseBlock, DenseLayer, Double, Halve, Head, TransitionUp};
use super::norm::{EPSILON, NormRelu};
use burn::tensor::{DType, FloatDType, Tensor, activation};

/// What a [`DenseNet`] was when this was made of it; it does not follow later changes of its weights.
///
/// Nothing is copied in a pass. Each level of the U has one buffer for its block on the way down and its block on the way up,
/// `[raised from below | input of the block down | its new maps | new maps of the block up]`: neither the concatenations within a
/// block nor the skip connection move anything.
#[derive(Debug)]
pub struct InferNet {
    by_instance: bool,
    /// Maps are stored in half precision.
    half: bool,
    halve: Option<Biased>,
    /// Convolutions, and their output's normalisations.
    stem: Vec<(Conv, Norms)>,
    /// From the first to the last before the centre.
    levels: Vec<Level>,
    /// Ways from below to each level.
    raises: Vec<(Tensor<5>, Tensor<1>)>,
    centre: Block,
    head: HeadForm,
}

impl InferNet {
    /// Packs the weights of `net`, on its own device.
    #[must_use]
    pub fn new(net: &DenseNet) -> Self {
        let stem = net.stem.convs.iter().zip(&net.stem.norms);
        let stem = stem.map(|(conv, norm)| {
            let [channels] = norm.gamma.dims();
            (Conv::new(conv.weight.val()), Norms::new(&[(norm, 0)], channels))
        });
        let up = net.up.iter().rev().zip(net.transition_up.iter().rev());
        let (levels, raises) = net
            .down
            .iter()
            .zip(&net.transition_down)
            .zip(up)
            .map(|((down, transition), (up, raise))| {
                let level = Level::new(down, (&transition.norm, transition.conv.weight.val()), up);
                (level, raise_of(raise))
            })
            .unzip();
        Self {
            by_instance: net.stem.by_instance(),
            half: false,
            halve: net.stem.down.as_ref().map(halve_of),
            stem: stem.collect(),
            levels,
            raises,
            centre: Block::new(&net.centre, None, 0),
            head: HeadForm::new(&net.head),
        }
    }

    /// With maps stored in half precision; sums, statistics, scales and weights stay in single. For GPUs that can
    /// ([`Engine::can_halve`](super::Engine::can_halve)).
    #[must_use]
    pub fn in_half(mut self) -> Self {
        self.half = true;
        self
    }

    /// Logits of the lesion probability, as [`DenseNet::forward`] gives them.
    #[must_use]
    pub fn logits(&self, x: Tensor<5>) -> Tensor<5> {
        self.run(x, false)
    }

    /// Lesion probabilities, `[batch, 1, z, y, x]`.
    #[must_use]
    pub fn probabilities(&self, x: Tensor<5>) -> Tensor<5> {
        self.run(x, true)
    }

    fn run(&self, x: Tensor<5>, probabilities: bool) -> Tensor<5> {
        let batch = x.dims()[0];
        if batch > 1 && self.by_instance && !samples_together(&x.device()) {
            let one = |i: usize| self.together(x.clone().narrow(0, i, 1), probabilities);
            return Tensor::cat((0..batch).map(one).collect(), 0);
        }
        self.together(x, probabilities)
    }

    /// All samples of a batch together.
    pub(super) fn together(&self, x: Tensor<5>, probabilities: bool) -> Tensor<5> {
        let mut x = x.without_autodiff();
        if self.half {
            x = x.cast(FloatDType::F16);
        }
        if let Some(halve) = &self.halve {
            x = halve.apply(cubes(x));
        }
        let mut folds: Option<Tensor<3>> = None;
        for (conv, norms) in &self.stem {
            let (weight, out) = (conv.weight.clone(), conv.out);
            x = match folds {
                None => ops::packed_conv3(x, weight, out),
                Some(folds) => {
                    let read = Read::all(x.dims()[1], out);
                    ops::conv3_into(room(&x, out, 1), 0, x, folds, weight, read)
                }
            };
            folds = Some(norms.of(&x));
        }
        // The first buffer's own input: what the stem made, normalised; every other's: what was pooled.
        let first = self.levels.first().map_or(&self.centre, |level| &level.block);
        let mut buffer = room(&x, first.width, 1);
        if let Some(folds) = folds {
            buffer = ops::norm_relu_into(buffer, first.from, x, folds);
        }
        let mut done = Vec::with_capacity(self.levels.len());
        for (i, level) in self.levels.iter().enumerate() {
            let (block, folds) = level.block.down(buffer);
            let read = level.transition_read();
            let maps = ops::product(block.clone(), folds.clone(), level.transition.clone(), read);
            let next = self.levels.get(i + 1).map_or(&self.centre, |level| &level.block);
            buffer = ops::max_pool2_into(room(&maps, next.width, 2), next.from, maps);
            done.push((block, folds));
        }
        (buffer, _) = self.centre.down(buffer);
        // Where the new maps of the block below begin, which alone are raised.
        let mut new = self.centre.from + self.centre.input;
        for ((level, (weight, bias)), (block, folds)) in self.levels.iter().zip(&self.raises).zip(done).rev()
        {
            let block = ops::up2_into(block, buffer, new, weight.clone(), bias.clone());
            buffer = level.up(block, folds);
            new = level.up_at();
        }
        self.head.apply(buffer, probabilities).cast(FloatDType::F32)
    }
}

/// A tensor of anything for `channels` maps of `1 / smaller` of the side of those of `x`: whoever asks writes every channel before
/// it is read.
fn room(x: &Tensor<5>, channels: usize, smaller: usize) -> Tensor<5> {
    let [batch, _, d, h, w] = x.dims();
    let [d, h, w] = [d, h, w].map(|n| n / smaller);
    Tensor::empty([batch, channels, d, h, w], (&x.device(), x.dtype()))
}

/// Each 2x2x2 cube as eight channels: a convolution 2x2x2 of stride 2 is then a matrix product.
fn cubes(x: Tensor<5>) -> Tensor<5> {
    let [batch, input, d, h, w] = x.dims();
    let [d, h, w] = [d / 2, h / 2, w / 2];
    x.reshape([batch, input, d, 2, h, 2, w, 2])
        .permute([0, 1, 3, 5, 7, 2, 4, 6])
        .reshape([batch, input * 8, d, h, w])
}

/// Packed weights of a 3x3x3 convolution.
#[derive(Debug)]
struct Conv {
    weight: Tensor<5>,
    out: usize,
}

impl Conv {
    fn new(weight: Tensor<5>) -> Self {
        let [out, ..] = weight.dims();
        Self {
            weight: ops::packed3(weight.without_autodiff()),
            out,
        }
    }
}

/// Packed weights of a matrix product over voxels with bias and ReLU.
#[derive(Debug)]
struct Biased {
    weight: Tensor<2>,
    bias: Tensor<1>,
    out: usize,
}

impl Biased {
    /// `weight` is `[out, in]`.
    fn new(weight: Tensor<2>, bias: Tensor<1>) -> Self {
        let [out, _] = weight.dims();
        Self {
            weight: ops::packed1(weight.without_autodiff()),
            bias: bias.without_autodiff(),
            out,
        }
    }

    fn apply(&self, x: Tensor<5>) -> Tensor<5> {
        ops::product_relu(x, self.weight.clone(), self.bias.clone(), self.out)
    }
}

fn halve_of(halve: &Halve) -> Biased {
    let [out, input, ..] = halve.weight.dims();
    Biased::new(halve.weight.val().reshape([out, input * 8]), halve.bias.val())
}

fn raise_of(raise: &TransitionUp) -> (Tensor<5>, Tensor<1>) {
    let (weight, bias) = (raise.weight.val(), raise.bias.val());
    (weight.without_autodiff(), bias.without_autodiff())
}

/// The normalisations that read a buffer's channels: a table as `kernels::infer` explains.
#[derive(Debug)]
struct Norms {
    /// Scales and shifts by running statistics; or gamma and beta, if each sample is normalised by its own.
    table: Tensor<3>,
    own: bool,
}

impl Norms {
    /// Of normalisations and the first channel each reads, of so many of the buffer.
    fn new(norms: &[(&NormRelu, usize)], width: usize) -> Self {
        let rows = norms.iter().map(|(norm, from)| {
            let rows = norm.fixed();
            let channels = rows.dims()[1];
            Tensor::<2>::zeros([2, width], &rows.device()).slice_assign([0..2, *from..from + channels], rows)
        });
        Self {
            table: Tensor::stack(rows.collect(), 0),
            own: norms.iter().any(|(norm, _)| norm.by_instance()),
        }
    }

    /// Scales and shifts of the channels of buffers like `x`; nothing is measured yet.
    fn begin(&self, x: &Tensor<5>) -> Tensor<3> {
        if !self.own {
            return self.table.clone();
        }
        let [norms, rows, width] = self.table.dims();
        Tensor::empty([norms, rows, x.dims()[0] * width], (&x.device(), DType::F32))
    }

    /// Takes account of `count` channels of the buffer from `from` on.
    fn measured(&self, folds: Tensor<3>, x: &Tensor<5>, from: usize, count: usize) -> Tensor<3> {
        if !self.own {
            return folds;
        }
        ops::measured(folds, x.clone(), self.table.clone(), (from, count), EPSILON)
    }

    /// Scales and shifts of all channels.
    fn of(&self, x: &Tensor<5>) -> Tensor<3> {
        self.measured(self.begin(x), x, 0, x.dims()[1])
    }
}

/// A dense layer.
#[derive(Debug)]
struct Layer {
    /// Weights of the bottleneck, its channels, and its normalisation.
    bottleneck: Option<(Tensor<2>, usize, Norms)>,
    conv: Conv,
}

impl Layer {
    fn new(layer: &DenseLayer) -> Self {
        let bottleneck = layer.conv1.as_ref().zip(layer.norm3.as_ref());
        Self {
            bottleneck: bottleneck.map(|(conv, norm)| {
                let weight = conv.weight.val().without_autodiff();
                let [inner, _] = weight.dims();
                (ops::packed1(weight), inner, Norms::new(&[(norm, 0)], inner))
            }),
            conv: Conv::new(layer.conv3.weight.val()),
        }
    }

    /// Writes the new channels from `at` on, from those from `from` on, by normalisation `norm`.
    fn apply(
        &self,
        block: Tensor<5>,
        (from, at): (usize, usize),
        folds: &Tensor<3>,
        norm: usize,
    ) -> Tensor<5> {
        let weight = self.conv.weight.clone();
        let read = |out| Read {
            from,
            count: at - from,
            norm,
            out,
        };
        let Some((first, inner, norms)) = &self.bottleneck else {
            return ops::conv3_within(block, at, folds.clone(), weight, read(self.conv.out));
        };
        let maps = ops::product(block.clone(), folds.clone(), first.clone(), read(*inner));
        let folds = norms.of(&maps);
        ops::conv3_into(block, at, maps, folds, weight, Read::all(*inner, self.conv.out))
    }
}

/// The buffer of a level and its block on the way down.
#[derive(Debug)]
struct Block {
    layers: Vec<Layer>,
    /// All that read the buffer: the layers down, then the transition and the layers up, if it has them.
    norms: Norms,
    /// Channels of the buffer.
    width: usize,
    /// Where the input lies.
    from: usize,
    input: usize,
    /// New channels.
    new: usize,
    /// True if nothing but the block itself normalises its new maps.
    last: bool,
}

impl Block {
    /// `after`: the transition down and the block on the way up.
    fn new(block: &DenseBlock, after: Option<(&NormRelu, &DenseBlock)>, from: usize) -> Self {
        let new = block.new_channels();
        let input = block.layers.first().map_or(0, |l| l.norm1.gamma.dims()[0]);
        let width = from + input + new + after.map_or(0, |(_, up)| up.new_channels());
        let mut norms: Vec<_> = block.layers.iter().map(|l| (&l.norm1, from)).collect();
        if let Some((transition, up)) = after {
            norms.push((transition, from));
            norms.extend(up.layers.iter().map(|l| (&l.norm1, 0)));
        }
        Self {
            layers: block.layers.iter().map(Layer::new).collect(),
            norms: Norms::new(&norms, width),
            width,
            from,
            input,
            new,
            last: after.is_none(),
        }
    }

    /// The way down, in a buffer that holds the input.
    fn down(&self, buffer: Tensor<5>) -> (Tensor<5>, Tensor<3>) {
        let folds = self.norms.begin(&buffer);
        let folds = self.norms.measured(folds, &buffer, self.from, self.input);
        let at = self.from + self.input;
        self.run(&self.layers, buffer, folds, (self.from, at), 0, self.last)
    }

    /// Layers that read from channel `from` on and write from `at` on, by normalisations from `norm` on.
    fn run(
        &self,
        layers: &[Layer],
        mut buffer: Tensor<5>,
        mut folds: Tensor<3>,
        (from, mut at): (usize, usize),
        norm: usize,
        last: bool,
    ) -> (Tensor<5>, Tensor<3>) {
        for (i, layer) in layers.iter().enumerate() {
            buffer = layer.apply(buffer, (from, at), &folds, norm + i);
            if !last || i + 1 < layers.len() {
                folds = self.norms.measured(folds, &buffer, at, layer.conv.out);
            }
            at += layer.conv.out;
        }
        (buffer, folds)
    }
}

/// A level of the U above the centre.
#[derive(Debug)]
struct Level {
    block: Block,
    /// Packed weights of the transition down, and its output's channels.
    transition: Tensor<2>,
    kept: usize,
    up: Vec<Layer>,
}

impl Level {
    fn new(down: &DenseBlock, (norm, weight): (&NormRelu, Tensor<2>), up: &DenseBlock) -> Self {
        let [kept, _] = weight.dims();
        Self {
            // What is raised from below has as many channels as a block makes.
            block: Block::new(down, Some((norm, up)), down.new_channels()),
            transition: ops::packed1(weight.without_autodiff()),
            kept,
            up: up.layers.iter().map(Layer::new).collect(),
        }
    }

    fn transition_read(&self) -> Read {
        Read {
            from: self.block.from,
            count: self.block.input + self.block.new,
            norm: self.block.layers.len(),
            out: self.kept,
        }
    }

    /// Where the new maps of the way up begin.
    fn up_at(&self) -> usize {
        self.block.from + self.block.input + self.block.new
    }

    /// The way up, in the buffer of the way down, whose first channels hold what was raised.
    fn up(&self, buffer: Tensor<5>, folds: Tensor<3>) -> Tensor<5> {
        let block = &self.block;
        let folds = block.norms.measured(folds, &buffer, 0, block.from);
        let first = block.layers.len() + 1;
        // The head does not normalise what the last layer makes.
        block
            .run(&self.up, buffer, folds, (0, self.up_at()), first, true)
            .0
    }
}

/// The head.
#[derive(Debug)]
enum HeadForm {
    /// A matrix product that makes eight maps of each, for the eight voxels of each cube, and the weights, `[1, map]`, of the
    /// logit's sum.
    Doubled(Box<Biased>, Tensor<2>),
    /// Weights of the logit, not packed: this head does not ship.
    Plain(Tensor<2>),
}

impl HeadForm {
    fn new(head: &Head) -> Self {
        let logit = head.conv.weight.val().without_autodiff();
        match &head.up {
            Some(up) => Self::Doubled(Box::new(double_of(up)), logit),
            None => Self::Plain(logit),
        }
    }

    fn apply(&self, x: Tensor<5>, probabilities: bool) -> Tensor<5> {
        match self {
            Self::Doubled(double, logit) => ops::doubled_sum(double.apply(x), logit.clone(), probabilities),
            Self::Plain(weight) => {
                let logits = kernels::conv1(x, weight.clone());
                if probabilities {
                    activation::sigmoid(logits)
                } else {
                    logits
                }
            }
        }
    }
}

fn double_of(double: &Double) -> Biased {
    let [input, out, ..] = double.weight.dims();
    let weight = double.weight.val().reshape([input, out * 8]).swap_dims(0, 1);
    let bias = double.bias.val().reshape([out, 1]).repeat_dim(1, 8);
    Biased::new(weight, bias.reshape([out * 8]))
}

#[cfg(test)]
mod tests;
