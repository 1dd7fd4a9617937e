//! The operators of a forward pass without gradients, of which a network's inference form (`net/infer.rs`) is made.
//!
//! What normalises the channels of a buffer lies in one table, `[norm, 2, column]`: scale and shift of each column by each of
//! the normalisations that read it. A column is a channel of the buffer, for all samples alike, or a channel of a sample,
//! samples slowest. So a map is measured once, where it is made, and whoever reads it later finds its own scale and shift.

use super::{Kernels, channels_of, put};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Slice, Tensor};

/// What a convolution reads and how much it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The first channel.
    pub from: usize,
    /// How many.
    pub count: usize,
    /// Which normalisation of the table, where there is one.
    pub norm: usize,
    /// Channels of the output: packed weights do not tell.
    pub out: usize,
}

impl Read {
    /// All channels of a tensor, by the only normalisation of its table.
    #[must_use]
    pub fn all(count: usize, out: usize) -> Self {
        Self {
            from: 0,
            count,
            norm: 0,
            out,
        }
    }
}

/// See the module. Tensors are as in [`Kernels`]; weights are those that [`Infer::packed1`] and [`Infer::packed3`] gave on
/// the same device. `block` and `folds` are changed in place where nobody else holds them.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"))]
pub trait Infer: Kernels {
    /// Weights `[out, in]` in the order in which the device's kernel reads them, two axes.
    fn packed1(w: FloatTensor<Self>) -> FloatTensor<Self> {
        w
    }

    /// Weights `[out, in, 3, 3, 3]` in the order in which the device's kernel reads them, five axes.
    fn packed3(w: FloatTensor<Self>) -> FloatTensor<Self> {
        w
    }

    /// Measures `count` channels of `x` from `from` on, each sample by itself, and writes their scales and shifts to `folds`
    /// (`[norm, 2, sample * channel of x]`): `affine`, `[norm, 2, channel of x]`, holds gamma and beta of each normalisation.
    fn measured(
        folds: FloatTensor<Self>,
        x: FloatTensor<Self>,
        affine: FloatTensor<Self>,
        from: usize,
        count: usize,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// 1x1x1 convolution of what `read` says, normalised and rectified while loading.
    fn product(
        x: FloatTensor<Self>,
        folds: FloatTensor<Self>,
        w: FloatTensor<Self>,
        read: Read,
    ) -> FloatTensor<Self> {
        let folded = columns::<Self>(folds, x.shape()[1], read);
        Self::norm_relu_conv1(x, read.from, folded, w)
    }

    /// 1x1x1 convolution of all channels of `x` as they are, to `out` channels, with `bias`, `[out]`, and ReLU.
    fn product_relu(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: usize,
    ) -> FloatTensor<Self> {
        let bias = Self::float_reshape(bias, Shape::from([1, out, 1, 1, 1]));
        Self::relu(Self::float_add(Self::conv1(x, w), bias))
    }

    /// 3x3x3 convolution of all channels of `x` as they are, to `out` channels.
    fn packed_conv3(x: FloatTensor<Self>, w: FloatTensor<Self>, out: usize) -> FloatTensor<Self> {
        let _ = out;
        Self::conv3(x, w)
    }

    /// 3x3x3 convolution of what `read` says, normalised and rectified while loading, written over the channels of `block` from
    /// `at` on.
    fn conv3_into(
        block: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        folds: FloatTensor<Self>,
        w: FloatTensor<Self>,
        read: Read,
    ) -> FloatTensor<Self> {
        let folded = columns::<Self>(folds, x.shape()[1], read);
        let x = channels_of::<Self>(x, read.from, read.count);
        Self::norm_relu_conv3_into(block, at, x, folded, w)
    }

    /// [`Infer::conv3_into`] of channels of `block` itself, others than it writes.
    fn conv3_within(
        block: FloatTensor<Self>,
        at: usize,
        folds: FloatTensor<Self>,
        w: FloatTensor<Self>,
        read: Read,
    ) -> FloatTensor<Self> {
        // Added to zero the channels are a tensor of their own, and the block is held once again.
        let x = channels_of::<Self>(block.clone(), read.from, read.count);
        let x = Self::float_add_scalar(x, 0.0.into());
        let folded = columns::<Self>(folds, block.shape()[1], read);
        Self::norm_relu_conv3_into(block, at, x, folded, w)
    }

    /// `x`, normalised by the only normalisation of `folds` and rectified, written over the channels of `block` from `at` on.
    fn norm_relu_into(
        block: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        folds: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let channels = x.shape()[1];
        let folded = columns::<Self>(folds, channels, Read::all(channels, channels));
        put::<Self>(block, at, Self::norm_relu(x, 0, channels, folded))
    }

    /// [`Kernels::max_pool2`] of `x`, written over the channels of `block` from `at` on.
    fn max_pool2_into(block: FloatTensor<Self>, at: usize, x: FloatTensor<Self>) -> FloatTensor<Self> {
        put::<Self>(block, at, Self::max_pool2(x))
    }

    /// [`Kernels::up2`] of the channels of `below` from `from` on, as many as `w` takes, with bias and ReLU, written over the first
    /// channels of `block`.
    fn up2_into(
        block: FloatTensor<Self>,
        below: FloatTensor<Self>,
        from: usize,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [cin, cout, ..] = w.shape().dims::<5>();
        let raised = Self::up2(channels_of::<Self>(below, from, cin), w);
        let bias = Self::float_reshape(bias, Shape::from([1, cout, 1, 1, 1]));
        put::<Self>(block, 0, Self::relu(Self::float_add(raised, bias)))
    }

    /// The weighted sum of maps of twice the side, given as eight channels each, `[batch, 8 map, z, y, x]` (which of the
    /// eight: z, y, x parity, z slowest): `[batch, 1, 2 z, 2 y, 2 x]`. `w` is `[1, map]`, not packed; through the logistic function if
    /// `probabilities`.
    fn doubled_sum(x: FloatTensor<Self>, w: FloatTensor<Self>, probabilities: bool) -> FloatTensor<Self> {
        let [batch, cubes, d, h, wd] = x.shape().dims::<5>();
        let maps = cubes / 8;
        let x = Self::float_reshape(x, Shape::from([batch, maps, 2, 2, 2, d, h, wd]));
        let x = Self::float_permute(x, &[0, 1, 5, 2, 6, 3, 7, 4]);
        let x = Self::float_reshape(x, Shape::from([batch, maps, 2 * d, 2 * h, 2 * wd]));
        let logits = Self::conv1(x, w);
        if probabilities {
            Self::sigmoid(logits)
        } else {
            logits
        }
    }
}

/// Scales and shifts, `[2, column]`, of the channels that are read of a tensor of so many.
pub(super) fn columns<B: Kernels>(folds: FloatTensor<B>, channels: usize, read: Read) -> FloatTensor<B> {
    let [_, _, all] = folds.shape().dims::<3>();
    let samples = all / channels.max(1);
    let one = [
        Slice::from(read.norm as isize..read.norm as isize + 1),
        Slice::from(0..2),
        Slice::from(0..all as isize),
    ];
    let rows = B::float_slice(folds, &one);
    let rows = B::float_reshape(rows, Shape::from([2, samples, channels]));
    let part = [
        Slice::from(0..2),
        Slice::from(0..samples as isize),
        Slice::from(read.from as isize..(read.from + read.count) as isize),
    ];
    B::float_reshape(
        B::float_slice(rows, &part),
        Shape::from([2, samples * read.count]),
    )
}

/// See [`Infer::packed1`].
#[must_use]
pub fn packed1(w: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::packed1(w.into_dispatch()))
}

/// See [`Infer::packed3`].
#[must_use]
pub fn packed3(w: Tensor<5>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::packed3(w.into_dispatch()))
}

/// See [`Infer::measured`].
#[must_use]
pub fn measured(
    folds: Tensor<3>,
    x: Tensor<5>,
    affine: Tensor<3>,
    (from, count): (usize, usize),
    epsilon: f64,
) -> Tensor<3> {
    let (folds, x, affine) = (folds.into_dispatch(), x.into_dispatch(), affine.into_dispatch());
    Tensor::from_dispatch(Dispatch::measured(folds, x, affine, from, count, epsilon))
}

/// See [`Infer::product`].
#[must_use]
pub fn product(x: Tensor<5>, folds: Tensor<3>, w: Tensor<2>, read: Read) -> Tensor<5> {
    let (x, folds, w) = (x.into_dispatch(), folds.into_dispatch(), w.into_dispatch());
    Tensor::from_dispatch(Dispatch::product(x, folds, w, read))
}

/// See [`Infer::product_relu`].
#[must_use]
pub fn product_relu(x: Tensor<5>, w: Tensor<2>, bias: Tensor<1>, out: usize) -> Tensor<5> {
    let (x, w, bias) = (x.into_dispatch(), w.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::product_relu(x, w, bias, out))
}

/// See [`Infer::packed_conv3`].
#[must_use]
pub fn packed_conv3(x: Tensor<5>, w: Tensor<5>, out: usize) -> Tensor<5> {
    let (x, w) = (x.into_dispatch(), w.into_dispatch());
    Tensor::from_dispatch(Dispatch::packed_conv3(x, w, out))
}

/// See [`Infer::conv3_into`].
#[must_use]
pub fn conv3_into(
    block: Tensor<5>,
    at: usize,
    x: Tensor<5>,
    folds: Tensor<3>,
    w: Tensor<5>,
    read: Read,
) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::conv3_into(
        block.into_dispatch(),
        at,
        x.into_dispatch(),
        folds.into_dispatch(),
        w.into_dispatch(),
        read,
    ))
}

/// See [`Infer::conv3_within`].
#[must_use]
pub fn conv3_within(block: Tensor<5>, at: usize, folds: Tensor<3>, w: Tensor<5>, read: Read) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::conv3_within(
        block.into_dispatch(),
        at,
        folds.into_dispatch(),
        w.into_dispatch(),
        read,
    ))
}

/// See [`Infer::norm_relu_into`].
#[must_use]
pub fn norm_relu_into(block: Tensor<5>, at: usize, x: Tensor<5>, folds: Tensor<3>) -> Tensor<5> {
    let (block, x, folds) = (block.into_dispatch(), x.into_dispatch(), folds.into_dispatch());
    Tensor::from_dispatch(Dispatch::norm_relu_into(block, at, x, folds))
}

/// See [`Infer::max_pool2_into`].
#[must_use]
pub fn max_pool2_into(block: Tensor<5>, at: usize, x: Tensor<5>) -> Tensor<5> {
    let (block, x) = (block.into_dispatch(), x.into_dispatch());
    Tensor::from_dispatch(Dispatch::max_pool2_into(block, at, x))
}

/// See [`Infer::up2_into`].
#[must_use]
pub fn up2_into(block: Tensor<5>, below: Tensor<5>, from: usize, w: Tensor<5>, bias: Tensor<1>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::up2_into(
        block.into_dispatch(),
        below.into_dispatch(),
        from,
        w.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// See [`Infer::doubled_sum`].
#[must_use]
pub fn doubled_sum(x: Tensor<5>, w: Tensor<2>, probabilities: bool) -> Tensor<5> {
    let (x, w) = (x.into_dispatch(), w.into_dispatch());
    Tensor::from_dispatch(Dispatch::doubled_sum(x, w, probabilities))
}
