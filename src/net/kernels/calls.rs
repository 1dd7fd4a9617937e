//! The operators as the network calls them.

use super::{BlockPlan, Kernels, Normalisation, Tensors};
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
    now: Option<Tensor<2>>,
    running: Option<Tensor<2>>,
    [gamma, beta]: [Tensor<1>; 2],
    samples: usize,
    norm: Normalisation,
) -> (Tensor<2>, Tensor<2>) {
    let [now, running] = [now, running].map(Tensors::from);
    let [gamma, beta] = [gamma, beta].map(Tensor::into_dispatch);
    let (rows, folded) = Dispatch::norm_rows(now, running, gamma, beta, samples, norm);
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

/// A normalisation of a dense block in training.
#[derive(Clone, Debug)]
pub struct NormTensors {
    /// Scale, `[channel]`.
    pub gamma: Tensor<1>,
    /// Shift, `[channel]`.
    pub beta: Tensor<1>,
    /// Running mean and variance, `[2, channel]`, where they are read.
    pub running: Option<Tensor<2>>,
}

/// The tensors of a layer of a dense block in training.
#[derive(Clone, Debug)]
pub struct LayerTensors {
    /// Of its input.
    pub outer: NormTensors,
    /// Weights of the bottleneck, `[inner, channel]`.
    pub w1: Tensor<2>,
    /// Of the bottleneck's maps.
    pub middle: NormTensors,
    /// Weights of the new maps, `[growth, inner, 3, 3, 3]`.
    pub w3: Tensor<5>,
}

/// A dense block in training: input and new maps, and the next running statistics, `[2, channel]` of each normalisation in order, if
/// there are any; see [`Kernels::dense_block`].
#[must_use]
pub fn dense_block(
    x: Tensor<5>,
    layers: Vec<LayerTensors>,
    mask: Option<Tensor<5>>,
    plan: BlockPlan,
) -> (Tensor<5>, Vec<Tensor<2>>) {
    let (mut params, mut running) = (Vec::new(), Vec::new());
    for LayerTensors {
        outer,
        w1,
        middle,
        w3,
    } in layers
    {
        let mut norm = |norm: NormTensors| {
            running.extend(norm.running.map(Tensor::into_dispatch));
            [norm.gamma, norm.beta].map(Tensor::into_dispatch)
        };
        params.extend(norm(outer));
        params.push(w1.into_dispatch());
        params.extend(norm(middle));
        params.push(w3.into_dispatch());
    }
    let (x, params, running) = (x.into_dispatch(), Tensors(params), Tensors(running));
    let (all, next) = Dispatch::dense_block(x, params, running, mask.into(), plan);
    let next = next.into_iter().map(Tensor::from_dispatch).collect();
    (Tensor::from_dispatch(all), next)
}
