//! The network's hot operators as an extension of burn.
//!
//! [`Kernels`] lists them. They are ours on the CPU backend (Flex; `cpu`) and on CubeCL backends (WebGPU, Vulkan; `cube`);
//! where they are not, the default bodies compose burn's stock operators. The `autodiff` file gives the backward passes, so the same
//! network code trains on any of them. The free functions below are what the network calls.

#[cfg(feature = "learn")]
mod autodiff;
mod block;
mod calls;
pub(crate) mod cpu;
#[cfg(feature = "gpu")]
pub(crate) mod cube;
mod flex;
pub mod infer;
mod norm;
mod samples;
mod tensors;
#[cfg(feature = "gpu")]
pub mod tiles;
mod update;
mod vote;
pub(crate) mod winograd;

pub use block::BlockPlan;
pub use calls::*;
pub use norm::{Normalisation, Renorm};
pub use tensors::Tensors;
pub use update::{AdamStep, adamw};
pub use vote::{Ballot, vote};

use burn::backend::ops::{ConvOptions, ConvTransposeOptions};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Slice};

// The macro names its backends by these idents.
#[allow(unused_imports)]
#[cfg(feature = "learn")]
use burn::backend::Autodiff;

/// Convolution with a 3x3x3 kernel, stride 1 and zero padding 1.
fn same() -> ConvOptions<3> {
    ConvOptions::new([1; 3], [1; 3], [1; 3], 1)
}

/// Operators of the network that burn 0.22 lacks or runs too slowly.
///
/// Tensors are `[batch, channel, z, y, x]`, float32, unless said otherwise. The `_dx` and `_dw` members are the
/// adjoints the backward pass uses.
///
/// Statistics, and scales and shifts made of them, have columns: a channel each, for all samples of a batch alike, or a
/// channel of a sample each, samples slowest, where every sample is normalised by its own.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff: cfg(feature = "learn"))]
pub trait Kernels: Backend {
    /// 3x3x3 convolution, stride 1, zero padding 1; `w` is `[out, in, 3, 3, 3]`.
    fn conv3(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::conv3d(x, w, None, same())
    }

    /// Gradient of [`Kernels::conv3`] with respect to `x`.
    fn conv3_dx(dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let mirrored = Self::float_flip(Self::float_swap_dims(w, 0, 1), &[2, 3, 4]);
        Self::conv3d(dy, mirrored, None, same())
    }

    /// Gradient of [`Kernels::conv3`] with respect to `w` (whose shape and device `w` gives).
    fn conv3_dw(x: FloatTensor<Self>, dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::conv3d_weight_backward(x, w, dy, same())
    }

    /// Transposed 3x3x3 convolution of stride 2 that doubles each side, aligned as Keras' 'same' (method.md 2.1);
    /// `w` is `[in, out, 3, 3, 3]`.
    fn up2(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let [batch, _, d, h, wd] = x.shape().dims::<5>();
        let out = w.shape().dims::<5>()[1];
        let options = ConvTransposeOptions::new([2; 3], [0; 3], [0; 3], [1; 3], 1);
        let full = Self::conv_transpose3d(x, w, None, options);
        // 2 n + 1 voxels a side: Keras drops the last.
        let slices = [batch, out, 2 * d, 2 * h, 2 * wd].map(|n| Slice::from(0..n as isize));
        Self::float_slice(full, &slices)
    }

    /// Gradient of [`Kernels::up2`] with respect to `x`: a convolution of stride 2.
    fn up2_dx(dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let [batch, out, d, h, wd] = dy.shape().dims::<5>();
        // One zero voxel at the end of each axis stands for the voxel that was dropped.
        let shape = Shape::from([batch, out, d + 1, h + 1, wd + 1]);
        let zeros = Self::float_zeros(shape, &dy.device(), dy.dtype().into());
        let slices = [batch, out, d, h, wd].map(|n| Slice::from(0..n as isize));
        let padded = Self::float_slice_assign(zeros, &slices, dy);
        Self::conv3d(padded, w, None, ConvOptions::new([2; 3], [0; 3], [1; 3], 1))
    }

    /// Gradient of [`Kernels::up2`] with respect to `w`.
    fn up2_dw(x: FloatTensor<Self>, dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let [batch, out, d, h, wd] = dy.shape().dims::<5>();
        let shape = Shape::from([batch, out, d + 1, h + 1, wd + 1]);
        let zeros = Self::float_zeros(shape, &dy.device(), dy.dtype().into());
        let slices = [batch, out, d, h, wd].map(|n| Slice::from(0..n as isize));
        let padded = Self::float_slice_assign(zeros, &slices, dy);
        let options = ConvTransposeOptions::new([2; 3], [0; 3], [0; 3], [1; 3], 1);
        Self::conv_transpose3d_weight_backward(x, w, padded, options)
    }

    /// 1x1x1 convolution, a matrix product over voxels; `w` is `[out, in]`.
    fn conv1(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let [batch, cin, d, h, wd] = x.shape().dims::<5>();
        let cout = w.shape()[0];
        let x = Self::float_reshape(x, Shape::from([batch, cin, d * h * wd]));
        let w = Self::float_reshape(w, Shape::from([1, cout, cin]));
        let w = Self::float_expand(w, Shape::from([batch, cout, cin]));
        Self::float_reshape(Self::float_matmul(w, x), Shape::from([batch, cout, d, h, wd]))
    }

    /// Gradient of [`Kernels::conv1`] with respect to `x`.
    fn conv1_dx(dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::conv1(dy, Self::float_swap_dims(w, 0, 1))
    }

    /// Gradient of [`Kernels::conv1`] with respect to `w`.
    fn conv1_dw(x: FloatTensor<Self>, dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let [batch, cin, d, h, wd] = x.shape().dims::<5>();
        let cout = w.shape()[0];
        let rows = |t, channels| Self::float_reshape(t, Shape::from([batch, channels, d * h * wd]));
        let product = Self::float_matmul(rows(dy, cout), Self::float_swap_dims(rows(x, cin), 1, 2));
        Self::float_reshape(Self::float_sum_dim(product, 0), Shape::from([cout, cin]))
    }

    /// [`Kernels::norm_relu`] of the first channels of `x`, as many as `w` takes, and [`Kernels::conv1_dw`] of them.
    /// Not differentiable.
    fn norm_relu_conv1_dw(
        x: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let channels = w.shape()[1];
        Self::conv1_dw(Self::norm_relu(x, 0, channels, folded), dy, w)
    }

    /// [`Kernels::norm_relu`] and [`Kernels::conv3_dw`] of `x`. Not differentiable.
    fn norm_relu_conv3_dw(
        x: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let channels = x.shape()[1];
        Self::conv3_dw(Self::norm_relu(x, 0, channels, folded), dy, w)
    }

    /// Maximum over 2x2x2 cubes; sides are even.
    fn max_pool2(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let [batch, c, d, h, w] = x.shape().dims::<5>();
        let largest =
            |x, shape: [usize; 4], dim| Self::float_max_dim(Self::float_reshape(x, Shape::from(shape)), dim);
        let x = largest(x, [1, batch * c * d * h, w / 2, 2], 3);
        let x = largest(x, [batch * c * d, h / 2, 2, w / 2], 2);
        let x = largest(x, [batch * c, d / 2, 2, (h / 2) * (w / 2)], 2);
        Self::float_reshape(x, Shape::from([batch, c, d / 2, h / 2, w / 2]))
    }

    /// Gradient of [`Kernels::max_pool2`]: each goes to the first of the largest voxels of its cube.
    fn max_pool2_dx(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self>;

    /// [`Kernels::norm_relu`] and [`Kernels::conv1`] of the channels of `x` from `from` on, as many as `w` takes.
    /// Not differentiable.
    fn norm_relu_conv1(
        x: FloatTensor<Self>,
        from: usize,
        folded: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let channels = w.shape()[1];
        Self::conv1(Self::norm_relu(x, from, channels, folded), w)
    }

    /// [`Kernels::norm_relu`] and [`Kernels::conv3`] of `x`, written over the channels of `block` from `at` on. In place
    /// where nobody else holds the block. Not differentiable.
    fn norm_relu_conv3_into(
        block: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let channels = x.shape()[1];
        let maps = Self::conv3(Self::norm_relu(x, 0, channels, folded), w);
        put::<Self>(block, at, maps)
    }

    /// `max(0, x * scale + shift)` of `count` channels of `x` from `from` on; the rows of `folded`, `[2, column]`, are scale
    /// and shift. Not differentiable.
    fn norm_relu(
        x: FloatTensor<Self>,
        from: usize,
        count: usize,
        folded: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let samples = folded.shape()[1] / count.max(1);
        let wide = Shape::from([samples, count, 1, 1, 1]);
        let [scale, shift] = [0, 1].map(|i| Self::float_reshape(row::<Self>(&folded, i), wide.clone()));
        let x = channels_of::<Self>(x, from, count);
        Self::relu(Self::float_add(Self::float_mul(x, scale), shift))
    }

    /// Mean (row 0) and biased variance (row 1) of each of `count` channels from `from` on, over voxels and the batch, or
    /// over the voxels of each sample: `[2, column]`. Not differentiable.
    fn channel_stats(x: FloatTensor<Self>, from: usize, count: usize, by_sample: bool) -> FloatTensor<Self>;

    /// [`Kernels::channel_stats`], written over the columns of the channels from `at` on of `stats`, which has columns for
    /// more channels than `count`. In place where nobody else holds it. Not differentiable.
    fn channel_stats_into(
        stats: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        from: usize,
        count: usize,
        by_sample: bool,
    ) -> FloatTensor<Self> {
        let samples = if by_sample { x.shape()[0] } else { 1 };
        let new = Self::channel_stats(x, from, count, by_sample);
        samples::put_columns::<Self>(stats, at, new, samples)
    }

    /// What a normalisation does to each column: `(rows, folded)`. `now`, mean and variance of the batch or of its samples, has as many
    /// columns for each of `samples` as `gamma` has channels, or more, of which the first count; `running`, `[2, channel]`, is mean
    /// and variance over all batches; either may be missing where [`Normalisation`] says that it is not read. `rows` is
    /// `[6, column]`: mean, rstd, r, d (see [`Kernels::norm_relu_train`]) and the next running mean and variance; `folded` is
    /// `[2, column]`: scale and shift. Not differentiable.
    fn norm_rows(
        #[extension_type] now: Tensors<Self>,
        #[extension_type] running: Tensors<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        samples: usize,
        norm: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        norm::stock_rows::<Self>(now.one(), running.one(), [gamma, beta], samples, norm)
    }

    /// [`Kernels::channel_stats_into`] of the `count` channels from `from` on of `x`, whose columns `stats` has, and
    /// [`Kernels::norm_rows`] of the first channels, which these are the last of: `(stats, rows, folded)`. Not differentiable.
    #[allow(clippy::too_many_arguments)]
    fn norm_rows_measured(
        stats: FloatTensor<Self>,
        x: FloatTensor<Self>,
        from: usize,
        count: usize,
        #[extension_type] running: Tensors<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let samples = norm.samples(x.shape()[0]);
        let stats = Self::channel_stats_into(stats, from, x, from, count, norm.by_sample);
        let now = Tensors(vec![stats.clone()]);
        let (rows, folded) = Self::norm_rows(now, running, gamma, beta, samples, norm);
        (stats, rows, folded)
    }

    /// `max(0, gamma ((x - mean) rstd r + d) + beta)` with constants from [`Kernels::norm_rows`]: batch normalisation, batch
    /// renormalisation (Ioffe 2017) and, if `frozen`, a fixed affine map. Differentiable in `x`, `gamma` and `beta`
    /// (whose values are in `folded`); unless frozen, mean and rstd are differentiated as statistics of `x`.
    fn norm_relu_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        frozen: bool,
    ) -> FloatTensor<Self> {
        let _ = (gamma, beta, rows, frozen);
        let channels = x.shape()[1];
        Self::norm_relu(x, 0, channels, folded)
    }

    /// Gradients of [`Kernels::norm_relu_train`] with respect to `x`, gamma and beta.
    fn norm_relu_backward(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        frozen: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        norm::stock_backward::<Self>(x, dy, &rows, &folded, frozen)
    }

    /// [`Kernels::norm_relu_backward`] of the first channels of `x`, as many as `dy` has, its first answer added to those
    /// channels of `grad`. In place where nobody else holds `grad`.
    fn norm_relu_backward_into(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        frozen: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let channels = dy.shape()[1];
        let x = channels_of::<Self>(x, 0, channels);
        let (dx, dgamma, dbeta) = Self::norm_relu_backward(x, dy, rows, folded, frozen);
        (samples::added::<Self>(grad, dx), dgamma, dbeta)
    }

    /// `x` plus a bias a channel, `[channel]`, rectified.
    fn bias_relu(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Gradients of [`Kernels::bias_relu`] with respect to `x` and to the bias, `y` being what it returned.
    fn bias_relu_backward(
        y: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [rows, folded] = norm::identity::<Self>(&y);
        // `y` is positive where the sum was.
        let (dx, _, dbias) = Self::norm_relu_backward(y, dy, rows, folded, true);
        (dx, dbias)
    }

    /// `x`, followed by channels to be written, `channels` in all.
    fn widened(x: FloatTensor<Self>, channels: usize) -> FloatTensor<Self> {
        let [batch, _, d, h, w] = x.shape().dims::<5>();
        let room = Shape::from([batch, channels, d, h, w]);
        let room = Self::float_empty(room, &x.device(), x.dtype().into());
        put::<Self>(room, 0, x)
    }

    /// Sums of the weighted votes of overlapping patches; see [`vote()`]. `p` is `[patch, 1, z, y, x]`; a row of `places` says
    /// where a patch lies in the box: first voxel (x, y, z), and 1 for each axis (x, y, z) that runs backwards; `window` holds
    /// weights along x (`side`), then of rows (`side^2`, y fastest). Not differentiable.
    fn vote(
        p: FloatTensor<Self>,
        places: FloatTensor<Self>,
        window: FloatTensor<Self>,
        ballot: Ballot,
    ) -> FloatTensor<Self>;

    /// A step of the optimiser for one tensor, `(w, state)`: `grad` is its gradient, the rows of `state`, `[3, number]`, are its mean
    /// gradient, its mean squared gradient and its own moving average. Not differentiable.
    fn adamw(
        w: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        state: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        update::stock_adamw::<Self>(w, grad, &state, step)
    }

    /// A dense block in training: all its maps in one buffer, nothing copied (`kernels/block.rs` explains, and gives the order of
    /// `params`). `running` holds mean and variance, `[2, channel]`, of its normalisations in order, or nothing where none
    /// are read; `mask`, `[batch, new maps, z, y, x]`, is multiplied with the new maps.
    ///
    /// Returns the input and all new maps, `[batch, channel, z, y, x]`, and the next running statistics, if any, as constants.
    /// Differentiable in `x` and `params`.
    fn dense_block(
        x: FloatTensor<Self>,
        #[extension_type] params: Tensors<Self>,
        #[extension_type] running: Tensors<Self>,
        #[extension_type] mask: Tensors<Self>,
        plan: BlockPlan,
    ) -> (FloatTensor<Self>, Vec<FloatTensor<Self>>) {
        let (done, next) = block::forward::<Self>(x, params.0, running.0, mask.one(), plan);
        (done.buffer, next)
    }
}

/// `count` channels of `x` from `from` on.
fn channels_of<B: Backend>(x: FloatTensor<B>, from: usize, count: usize) -> FloatTensor<B> {
    let mut shape = x.shape();
    if from == 0 && shape[1] == count {
        return x;
    }
    shape[1] = from + count;
    let mut slices: Vec<Slice> = shape.iter().map(|n| Slice::from(0..*n as isize)).collect();
    slices[1] = Slice::from(from as isize..(from + count) as isize);
    B::float_slice(x, &slices)
}

/// Writes `x` over the channels of `block` from `at` on.
fn put<B: Backend>(block: FloatTensor<B>, at: usize, x: FloatTensor<B>) -> FloatTensor<B> {
    let mut slices = x.shape().dims::<5>().map(|n| Slice::from(0..n as isize));
    slices[1] = Slice::from(at as isize..(at + x.shape()[1]) as isize);
    B::float_slice_assign(block, &slices, x)
}

/// Row `i` of a matrix, as a vector.
fn row<B: Backend>(matrix: &FloatTensor<B>, i: usize) -> FloatTensor<B> {
    let [_, n] = matrix.shape().dims::<2>();
    let slices = [
        Slice::from(i as isize..i as isize + 1),
        Slice::from(0..n as isize),
    ];
    B::float_reshape(B::float_slice(matrix.clone(), &slices), Shape::from([n]))
}

#[cfg(test)]
mod tests;
