//! A dense block in training as one differentiable operator.
//!
//! Composed of single operators a block of `L` layers copies its growing concatenation `L` times, keeps every normalised copy
//! for the backward pass, and adds up `L` gradients of the whole. Here all maps lie in one buffer that each layer reads
//! a prefix of and writes its own channels behind, and their gradients in another that the backward pass works down in
//! place. Normalised maps are never kept: they are made again from the buffer (Pleiss et al. 2017, memory-efficient
//! implementation of DenseNets); the bottlenecks' maps are kept or made again, as [`BlockPlan::keep`] says. The statistics of a map
//! are taken once, not by every layer that reads it.

use super::{Kernels, Normalisation, Tensors, channels_of, put, samples};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::Shape;

/// The sizes of a dense block with bottlenecks, and how it is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockPlan {
    /// Channels of the input.
    pub input: usize,
    /// New channels of each layer.
    pub growth: usize,
    /// Channels of each bottleneck.
    pub inner: usize,
    /// Layers.
    pub layers: usize,
    /// How channels are normalised.
    pub norm: Normalisation,
    /// True if the bottlenecks' maps are kept for the backward pass instead of being made again: faster, but `layers *
    /// inner` more channels in memory.
    pub keep: bool,
}

impl BlockPlan {
    /// Channels that layer `l` reads, which is also where its own begin.
    #[must_use]
    pub fn reads(&self, l: usize) -> usize {
        self.input + l * self.growth
    }

    /// Channels of the input and all new maps.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.reads(self.layers)
    }
}

/// Parameters of a layer: gamma and beta of its input's normalisation, `[channel]`; the bottleneck's weights, `[inner, channel]`; gamma and
/// beta of its normalisation, `[inner]`; the weights of the new maps, `[growth, inner, 3, 3, 3]`. A block's are its layers', one layer
/// after the other.
pub(super) const LAYER: usize = 6;

/// A normalisation as it was applied: rows and folded rows of [`Kernels::norm_rows`].
type Applied<B> = (FloatTensor<B>, FloatTensor<B>);

/// What the forward pass leaves for the backward pass.
#[cfg_attr(not(feature = "learn"), allow(dead_code))]
#[derive(Clone, Debug)]
pub(super) struct Done<B: Backend> {
    /// Input and new maps.
    pub(super) buffer: FloatTensor<B>,
    layers: Vec<DoneLayer<B>>,
    mask: Option<FloatTensor<B>>,
    plan: BlockPlan,
}

#[cfg_attr(not(feature = "learn"), allow(dead_code))]
#[derive(Clone, Debug)]
struct DoneLayer<B: Backend> {
    /// Its input's normalisation.
    outer: Applied<B>,
    /// Its bottleneck's.
    middle: Applied<B>,
    /// The bottleneck's maps, if kept.
    bottleneck: Option<FloatTensor<B>>,
    w1: FloatTensor<B>,
    w3: FloatTensor<B>,
}

/// See [`Kernels::dense_block`]. Without layers where `params` are too few.
pub(super) fn forward<B: Kernels>(
    x: FloatTensor<B>,
    params: Vec<FloatTensor<B>>,
    running: Vec<FloatTensor<B>>,
    mask: Option<FloatTensor<B>>,
    plan: BlockPlan,
) -> (Done<B>, Vec<FloatTensor<B>>) {
    let [batch, input, ..] = x.shape().dims::<5>();
    let (growth, inner) = (plan.growth, plan.inner);
    let samples = plan.norm.samples(batch);
    let (device, dtype) = (x.device(), x.dtype());
    let columns =
        |channels: usize| B::float_empty(Shape::from([2, samples * channels]), &device, dtype.into());
    // Of all channels of the buffer, as they come to be known.
    let mut stats = columns(plan.channels());
    let mut buffer = B::widened(x, plan.channels());
    let (mut layers, mut next) = (Vec::with_capacity(plan.layers), Vec::new());
    let mut running = running.into_iter();
    // Normalises the channels up to those measured: `count` of `x` from `from` on, with those before them in `stats`.
    let mut norm =
        |stats, x: &FloatTensor<B>, [from, count]: [usize; 2], [gamma, beta]: [FloatTensor<B>; 2]| {
            let channels = gamma.shape()[0];
            let running = Tensors::maybe(running.next());
            let (stats, rows, folded) = if plan.norm.frozen() {
                let (rows, folded) =
                    B::norm_rows(Tensors::maybe(None), running, gamma, beta, samples, plan.norm);
                (stats, rows, folded)
            } else {
                B::norm_rows_measured(stats, x.clone(), from, count, running, gamma, beta, plan.norm)
            };
            if plan.norm.updates_running() {
                next.push(samples::next::<B>(&rows, channels));
            }
            (stats, (rows, folded))
        };
    let mut params = params.into_iter();
    for l in 0..plan.layers {
        let of_layer: [_; LAYER] = std::array::from_fn(|_| params.next());
        let [
            Some(gamma),
            Some(beta),
            Some(w1),
            Some(gamma_inner),
            Some(beta_inner),
            Some(w3),
        ] = of_layer
        else {
            break;
        };
        let reads = plan.reads(l);
        let new = if l == 0 {
            [0, input]
        } else {
            [reads - growth, growth]
        };
        let outer;
        (stats, outer) = norm(stats, &buffer, new, [gamma, beta]);
        let b = B::norm_relu_conv1(buffer.clone(), 0, outer.1.clone(), w1.clone());
        let (_, middle) = norm(columns(inner), &b, [0, inner], [gamma_inner, beta_inner]);
        buffer = B::norm_relu_conv3_into(buffer, reads, b.clone(), middle.1.clone(), w3.clone());
        if let Some(mask) = &mask {
            let maps = channels_of::<B>(buffer.clone(), reads, growth);
            let maps = B::float_mul(maps, channels_of::<B>(mask.clone(), l * growth, growth));
            buffer = put::<B>(buffer, reads, maps);
        }
        layers.push(DoneLayer {
            outer,
            middle,
            bottleneck: plan.keep.then_some(b),
            w1,
            w3,
        });
    }
    let done = Done {
        buffer,
        layers,
        mask,
        plan,
    };
    (done, next)
}

/// Gradients of [`Kernels::dense_block`] with respect to its input and its parameters, given that of all its maps.
#[cfg(feature = "learn")]
pub(super) fn backward<B: Kernels>(
    done: Done<B>,
    grad: FloatTensor<B>,
) -> (FloatTensor<B>, Vec<FloatTensor<B>>) {
    let Done {
        buffer,
        layers,
        mask,
        plan,
    } = done;
    let frozen = plan.norm.frozen();
    let mut grad = grad;
    // Last layer and parameter first; turned round at the end.
    let mut params = Vec::with_capacity(LAYER * plan.layers);
    for (l, layer) in layers.into_iter().enumerate().rev() {
        let DoneLayer {
            outer,
            middle,
            bottleneck,
            w1,
            w3,
        } = layer;
        let reads = plan.reads(l);
        let mut dy = channels_of::<B>(grad.clone(), reads, plan.growth);
        if let Some(mask) = &mask {
            dy = B::float_mul(dy, channels_of::<B>(mask.clone(), l * plan.growth, plan.growth));
        }
        let b =
            bottleneck.unwrap_or_else(|| B::norm_relu_conv1(buffer.clone(), 0, outer.1.clone(), w1.clone()));
        let dw3 = B::norm_relu_conv3_dw(b.clone(), middle.1.clone(), dy.clone(), w3.clone());
        let da = B::conv3_dx(dy, w3);
        let (db, dgamma_inner, dbeta_inner) = B::norm_relu_backward(b, da, middle.0, middle.1, frozen);
        let dw1 = B::norm_relu_conv1_dw(buffer.clone(), outer.1.clone(), db.clone(), w1.clone());
        let da = B::conv1_dx(db, w1);
        let (dgamma, dbeta);
        (grad, dgamma, dbeta) =
            B::norm_relu_backward_into(grad, buffer.clone(), da, outer.0, outer.1, frozen);
        params.extend([dw3, dbeta_inner, dgamma_inner, dw1, dbeta, dgamma]);
    }
    params.reverse();
    (channels_of::<B>(grad, 0, plan.input), params)
}
