//! A dense block in training as one differentiable operator.
//!
//! Composed of single operators a block of `L` layers copies its growing concatenation `L` times, keeps every normalised copy
//! for the backward pass, and adds up `L` gradients of the whole. Here all maps lie in one buffer that each layer reads
//! a prefix of and writes its own channels behind, and their gradients in another that the backward pass works down in
//! place. Normalised maps are never kept: they are made again from the buffer (Pleiss et al. 2017, memory-efficient
//! implementation of DenseNets); the bottlenecks' maps are kept or made again, as [`BlockPlan::keep`] says. The statistics of a map
//! are taken once, not by every layer that reads it.

use super::{Kernels, Normalisation, channels_of, put, samples};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, Slice};

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
    /// True if the new maps are multiplied with a mask.
    pub dropout: bool,
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

    /// Where the channels of layer `l`'s normalisations begin among all: first that of its input, then that of its bottleneck.
    #[must_use]
    pub fn norms_before(&self, l: usize) -> usize {
        (0..l).map(|i| self.reads(i) + self.inner).sum()
    }
}

/// The parameters of a block; see [`Kernels::dense_block`].
#[derive(Clone, Debug)]
pub(super) struct Params<B: Backend> {
    pub(super) gamma: FloatTensor<B>,
    pub(super) beta: FloatTensor<B>,
    pub(super) w1: FloatTensor<B>,
    pub(super) w3: FloatTensor<B>,
}

/// A normalisation as it was applied: rows and folded rows of [`Kernels::norm_rows`].
type Applied<B> = (FloatTensor<B>, FloatTensor<B>);

/// What the forward pass leaves for the backward pass.
#[cfg_attr(not(feature = "learn"), allow(dead_code))]
#[derive(Clone, Debug)]
pub(super) struct Done<B: Backend> {
    /// Input and new maps.
    pub(super) buffer: FloatTensor<B>,
    /// Of each layer: its input's and its bottleneck's normalisation.
    norms: Vec<[Applied<B>; 2]>,
    /// Of each layer, if kept.
    bottlenecks: Vec<Option<FloatTensor<B>>>,
    w1: Vec<FloatTensor<B>>,
    w3: Vec<FloatTensor<B>>,
    mask: FloatTensor<B>,
    plan: BlockPlan,
}

fn range<B: Backend>(vector: &FloatTensor<B>, from: usize, count: usize) -> FloatTensor<B> {
    let slices = [Slice::from(from as isize..(from + count) as isize)];
    B::float_slice(vector.clone(), &slices)
}

/// See [`Kernels::dense_block`].
pub(super) fn forward<B: Kernels>(
    x: FloatTensor<B>,
    params: &Params<B>,
    running: &FloatTensor<B>,
    mask: FloatTensor<B>,
    plan: BlockPlan,
) -> (Done<B>, FloatTensor<B>) {
    let [batch, input, ..] = x.shape().dims::<5>();
    let (growth, inner) = (plan.growth, plan.inner);
    let frozen = plan.norm.frozen();
    // Not read if frozen.
    let statistics = |x: &FloatTensor<B>, from: usize, count: usize| {
        if frozen {
            columns::<B>(running, 0, count)
        } else {
            B::channel_stats(x.clone(), from, count, plan.norm.by_sample)
        }
    };
    let mut stats = statistics(&x, 0, input);
    let mut buffer = B::widened(x, plan.channels());
    let mut done = Vec::with_capacity(plan.layers);
    let (mut bottlenecks, mut next) = (Vec::new(), Vec::new());
    let (mut w1s, mut w3s) = (Vec::new(), Vec::new());
    let (mut first1, size3) = (0, growth * inner * 27);
    for l in 0..plan.layers {
        let (reads, at) = (plan.reads(l), plan.norms_before(l));
        let mut norm = |now: FloatTensor<B>, at: usize, channels: usize| {
            let running = columns::<B>(running, at, channels);
            let [gamma, beta] = [&params.gamma, &params.beta].map(|t| range::<B>(t, at, channels));
            let (rows, folded) = B::norm_rows(now, running, gamma, beta, plan.norm);
            next.push(samples::next::<B>(&rows, channels));
            (rows, folded)
        };
        let w1 = range::<B>(&params.w1, first1, inner * reads);
        let w1 = B::float_reshape(w1, Shape::from([inner, reads]));
        first1 += inner * reads;
        let w3 = range::<B>(&params.w3, l * size3, size3);
        let w3 = B::float_reshape(w3, Shape::from([growth, inner, 3, 3, 3]));

        let outer = norm(stats.clone(), at, reads);
        let b = B::norm_relu_conv1(buffer.clone(), 0, outer.1.clone(), w1.clone());
        let middle = norm(statistics(&b, 0, inner), at + reads, inner);
        buffer = B::norm_relu_conv3_into(buffer, reads, b.clone(), middle.1.clone(), w3.clone());
        if plan.dropout {
            let maps = channels_of::<B>(buffer.clone(), reads, growth);
            let maps = B::float_mul(maps, channels_of::<B>(mask.clone(), l * growth, growth));
            buffer = put::<B>(buffer, reads, maps);
        }
        if l + 1 < plan.layers {
            let new = statistics(&buffer, reads, growth);
            let own = if plan.norm.by_sample { batch } else { 1 };
            stats = samples::beside::<B>(stats, new, own);
        }
        done.push([outer, middle]);
        bottlenecks.push(plan.keep.then_some(b));
        w1s.push(w1);
        w3s.push(w3);
    }
    let done = Done {
        buffer,
        norms: done,
        bottlenecks,
        w1: w1s,
        w3: w3s,
        mask,
        plan,
    };
    (done, B::float_cat(next, 1))
}

/// Columns of a `[2, n]` matrix.
fn columns<B: Backend>(matrix: &FloatTensor<B>, from: usize, count: usize) -> FloatTensor<B> {
    let slices = [
        Slice::from(0..2),
        Slice::from(from as isize..(from + count) as isize),
    ];
    B::float_slice(matrix.clone(), &slices)
}

/// Gradients of [`Kernels::dense_block`] with respect to its input and its parameters, given that of all its maps.
#[cfg(feature = "learn")]
pub(super) fn backward<B: Kernels>(done: Done<B>, grad: FloatTensor<B>) -> (FloatTensor<B>, Params<B>) {
    let Done {
        buffer,
        norms,
        bottlenecks,
        w1,
        w3,
        mask,
        plan,
    } = done;
    let frozen = plan.norm.frozen();
    let flat = |t: FloatTensor<B>| {
        let n = t.shape().num_elements();
        B::float_reshape(t, Shape::from([n]))
    };
    let mut grad = grad;
    // Last layer first; turned round at the end.
    let (mut gammas, mut betas, mut w1s, mut w3s) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let layers = norms.into_iter().zip(bottlenecks).zip(w1.into_iter().zip(w3));
    for (l, (([outer, middle], kept), (w1, w3))) in layers.enumerate().rev() {
        let reads = plan.reads(l);
        let mut dy = channels_of::<B>(grad.clone(), reads, plan.growth);
        if plan.dropout {
            dy = B::float_mul(dy, channels_of::<B>(mask.clone(), l * plan.growth, plan.growth));
        }
        let b = kept.unwrap_or_else(|| B::norm_relu_conv1(buffer.clone(), 0, outer.1.clone(), w1.clone()));
        let a = B::norm_relu(b.clone(), 0, plan.inner, middle.1.clone());
        w3s.push(flat(B::conv3_dw(a, dy.clone(), w3.clone())));
        let da = B::conv3_dx(dy, w3);
        let (db, of_middle) = B::norm_relu_backward(b, da, middle.0, middle.1, frozen);
        let a = B::norm_relu(buffer.clone(), 0, reads, outer.1.clone());
        w1s.push(flat(B::conv1_dw(a, db.clone(), w1.clone())));
        let da = B::conv1_dx(db, w1);
        let of_outer;
        (grad, of_outer) = B::norm_relu_backward_into(grad, buffer.clone(), da, outer.0, outer.1, frozen);
        for of_norm in [of_middle, of_outer] {
            gammas.push(super::row::<B>(&of_norm, 0));
            betas.push(super::row::<B>(&of_norm, 1));
        }
    }
    let joined = |mut parts: Vec<FloatTensor<B>>| {
        parts.reverse();
        B::float_cat(parts, 0)
    };
    let params = Params {
        gamma: joined(gammas),
        beta: joined(betas),
        w1: joined(w1s),
        w3: joined(w3s),
    };
    (channels_of::<B>(grad, 0, plan.input), params)
}
