//! The operators as the network calls them.

use super::{BlockPlan, Normalisation};
#[allow(unused_imports)]
use super::Kernels;
use burn::backend::Dispatch;
use burn::tensor::{Device, Tensor};

/// 3x3x3 convolution, stride 1, zero padding 1: `x [batch, in, z, y, x]`, `w [out, in, 3, 3, 3]`.
#[must_use]
pub fn conv3(x: Tensor<5>, w: Tensor<5>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::conv3(x.into_dispatch(), w.into_dispatch()))
}

/// Transposed 3x3x3 convolution of stride 2 that doubles each side: `w [in, out, 3, 3, 3]`.
#[must_use]
pub fn up2(x: Tensor<5>, w: Tensor<5>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::up2(x.into_dispatch(), w.into_dispatch()))
}

/// 1x1x1 convolution: `w [out, in]`.
#[must_use]
pub fn conv1(x: Tensor<5>, w: Tensor<2>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::conv1(x.into_dispatch(), w.into_dispatch()))
}

/// `x` plus `bias [channel]`, rectified.
#[must_use]
pub fn bias_relu(x: Tensor<5>, bias: Tensor<1>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::bias_relu(x.into_dispatch(), bias.into_dispatch()))
}

/// Maximum over 2x2x2 cubes; sides are even.
#[must_use]
pub fn max_pool2(x: Tensor<5>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::max_pool2(x.into_dispatch()))
}

/// [`norm_relu`] and [`conv1`] of the channels from `from` on, as many as `w` takes; inference only.
#[must_use]
pub fn norm_relu_conv1(x: Tensor<5>, from: usize, folded: Tensor<2>, w: Tensor<2>) -> Tensor<5> {
    let (x, folded, w) = (x.into_dispatch(), folded.into_dispatch(), w.into_dispatch());
    Tensor::from_dispatch(Dispatch::norm_relu_conv1(x, from, folded, w))
}

/// [`norm_relu`] and [`conv3`] of `x`, written over the channels of `block` from `at` on; inference only.
#[must_use]
pub fn norm_relu_conv3_into(
    block: Tensor<5>,
    at: usize,
    x: Tensor<5>,
    folded: Tensor<2>,
    w: Tensor<5>,
) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::norm_relu_conv3_into(
        block.into_dispatch(),
        at,
        x.into_dispatch(),
        folded.into_dispatch(),
        w.into_dispatch(),
    ))
}

/// `max(0, x * scale + shift)` with the rows of `folded`, `[2, column]`; inference only.
#[must_use]
pub fn norm_relu(x: Tensor<5>, folded: Tensor<2>) -> Tensor<5> {
    let channels = x.dims()[1];
    Tensor::from_dispatch(Dispatch::norm_relu(
        x.into_dispatch(),
        0,
        channels,
        folded.into_dispatch(),
    ))
}

/// Mean and biased variance of each of `count` channels from `from` on, `[2, column]`, as constants: over the batch, or of
/// each sample.
#[must_use]
pub fn channel_stats(x: Tensor<5>, from: usize, count: usize, by_sample: bool) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::channel_stats(x.into_dispatch(), from, count, by_sample))
}

/// True if the samples of a batch are best run together even where each has statistics of its own: one sample's small maps do not fill a
/// GPU. A CPU they do, and normalisation is cheaper where it is all samples'.
#[must_use]
pub fn samples_together(device: &Device) -> bool {
    device.clone().without_autodiff() != Device::flex()
}

/// What a normalisation does to each channel, as constants; see [`Kernels::norm_rows`].
#[must_use]
pub fn norm_rows(
    now: Tensor<2>,
    running: Tensor<2>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    norm: Normalisation,
) -> (Tensor<2>, Tensor<2>) {
    let (rows, folded) = Dispatch::norm_rows(
        now.into_dispatch(),
        running.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        norm,
    );
    (Tensor::from_dispatch(rows), Tensor::from_dispatch(folded))
}

/// Normalisation and ReLU with given statistics; see [`Kernels::norm_relu_train`].
#[must_use]
pub fn norm_relu_train(
    x: Tensor<5>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    (rows, folded): (Tensor<2>, Tensor<2>),
    frozen: bool,
) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::norm_relu_train(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        rows.into_dispatch(),
        folded.into_dispatch(),
        frozen,
    ))
}

/// The tensors of a dense block in training besides its input; see [`Kernels::dense_block`].
#[derive(Clone, Debug)]
pub struct BlockTensors {
    /// Scales of all normalisations, `[norms]`.
    pub gamma: Tensor<1>,
    /// Shifts of all normalisations, `[norms]`.
    pub beta: Tensor<1>,
    /// Weights of all 1x1x1 convolutions.
    pub w1: Tensor<1>,
    /// Weights of all 3x3x3 convolutions.
    pub w3: Tensor<1>,
    /// Running means and variances, `[2, norms]`.
    pub running: Tensor<2>,
    /// What the new maps are multiplied with, if `plan.dropout`.
    pub mask: Tensor<5>,
}

/// A dense block in training: input and new maps, and the next running statistics; see [`Kernels::dense_block`].
#[must_use]
pub fn dense_block(x: Tensor<5>, t: BlockTensors, plan: BlockPlan) -> (Tensor<5>, Tensor<2>) {
    let (all, next) = Dispatch::dense_block(
        x.into_dispatch(),
        t.gamma.into_dispatch(),
        t.beta.into_dispatch(),
        t.w1.into_dispatch(),
        t.w3.into_dispatch(),
        t.running.into_dispatch(),
        t.mask.into_dispatch(),
        plan,
    );
    (Tensor::from_dispatch(all), Tensor::from_dispatch(next))
}
