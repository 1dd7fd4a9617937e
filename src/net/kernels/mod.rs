//! The network's hot operators as an extension of burn.
//!
//! [`Kernels`] lists them. They are ours on the CPU backend (Flex; `cpu`) and on CubeCL backends (WebGPU, Vulkan; `cube`);
//! where they are not, the default bodies compose burn's stock operators. The `autodiff` file gives the backward passes, so the same
//! network code trains on any of them. The free functions below are what the network calls.

#[cfg(feature = "learn")]
mod autodiff;
pub(crate) mod cpu;
#[cfg(feature = "gpu")]
mod cube;
mod flex;

use burn::backend::ops::{ConvOptions, ConvTransposeOptions};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Slice, Tensor};

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

    /// [`Kernels::norm_relu`] and [`Kernels::conv1`] of the channels of `x` from `from` on, as many as `w` takes.
    /// Not differentiable: inference only.
    fn norm_relu_conv1(
        x: FloatTensor<Self>,
        from: usize,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [batch, _, d, h, wd] = x.shape().dims::<5>();
        let cin = w.shape()[1];
        let mut slices = [batch, 0, d, h, wd].map(|n| Slice::from(0..n as isize));
        slices[1] = Slice::from(from as isize..(from + cin) as isize);
        Self::conv1(Self::norm_relu(Self::float_slice(x, &slices), scale, shift), w)
    }

    /// [`Kernels::norm_relu`] and [`Kernels::conv3`] of `x`, written over the channels of `block` from `at` on. In place
    /// where nobody else holds the block. Not differentiable: inference only.
    fn norm_relu_conv3_into(
        block: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [batch, _, d, h, wd] = x.shape().dims::<5>();
        let cout = w.shape()[0];
        let maps = Self::conv3(Self::norm_relu(x, scale, shift), w);
        let mut slices = [batch, 0, d, h, wd].map(|n| Slice::from(0..n as isize));
        slices[1] = Slice::from(at as isize..(at + cout) as isize);
        Self::float_slice_assign(block, &slices, maps)
    }

    /// `max(0, x * scale + shift)`; `scale` and `shift` are `[channel]`. Not differentiable: inference only.
    fn norm_relu(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let shape = Shape::from([1, x.shape()[1], 1, 1, 1]);
        let scale = Self::float_reshape(scale, shape.clone());
        let shift = Self::float_reshape(shift, shape);
        Self::relu(Self::float_add(Self::float_mul(x, scale), shift))
    }

    /// Mean (row 0) and biased variance (row 1) of each channel over batch and voxels: `[2, channel]`.
    /// Not differentiable.
    fn channel_stats(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let [batch, c, d, h, w] = x.shape().dims::<5>();
        let n = batch * d * h * w;
        let rows = Self::float_reshape(Self::float_swap_dims(x, 0, 1), Shape::from([c, n]));
        let mean = Self::float_mean_dim(rows.clone(), 1);
        let centred = Self::float_sub(rows, mean.clone());
        let variance = Self::float_mean_dim(Self::float_mul(centred.clone(), centred), 1);
        Self::float_swap_dims(Self::float_cat(vec![mean, variance], 1), 0, 1)
    }

    /// `max(0, gamma ((x - mean) rstd r + d) + beta)`, `stats` holding the rows mean, rstd, r, d (`[4, channel]`,
    /// constants): batch normalisation, batch renormalisation (Ioffe 2017) and, if `frozen`, a fixed affine map.
    /// Differentiable in `x`, `gamma` and `beta`; unless frozen, mean and rstd are differentiated as statistics of `x`.
    fn norm_relu_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        frozen: bool,
    ) -> FloatTensor<Self> {
        let _ = frozen;
        let channels = x.shape()[1];
        let row = |i: usize| {
            let slices = [
                Slice::from(i as isize..i as isize + 1),
                Slice::from(0..channels as isize),
            ];
            Self::float_reshape(Self::float_slice(stats.clone(), &slices), Shape::from([channels]))
        };
        let scale = Self::float_mul(Self::float_mul(row(1), row(2)), gamma.clone());
        let shift = Self::float_add(beta, Self::float_mul(gamma, row(3)));
        let shift = Self::float_sub(shift, Self::float_mul(row(0), scale.clone()));
        Self::norm_relu(x, scale, shift)
    }

    /// Gradients of [`Kernels::norm_relu_train`]: with respect to `x`, and `[2, channel]` for gamma and beta.
    fn norm_relu_backward(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        frozen: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        stock_norm_relu_backward::<Self>(x, dy, gamma, beta, &stats, frozen)
    }
}

/// The backward pass of normalisation and ReLU from stock operators, for backends without a kernel of ours.
fn stock_norm_relu_backward<B: Kernels>(
    x: FloatTensor<B>,
    dy: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    stats: &FloatTensor<B>,
    frozen: bool,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let [batch, c, d, h, w] = x.shape().dims::<5>();
    let wide = Shape::from([1, c, 1, 1, 1]);
    let row = |i: usize| {
        let slices = [
            Slice::from(i as isize..i as isize + 1),
            Slice::from(0..c as isize),
        ];
        B::float_reshape(B::float_slice(stats.clone(), &slices), wide.clone())
    };
    let (gamma, beta) = (
        B::float_reshape(gamma, wide.clone()),
        B::float_reshape(beta, wide.clone()),
    );
    let (mean, rstd, r, offset) = (row(0), row(1), row(2), row(3));
    let centred = B::float_mul(B::float_sub(x, mean), rstd.clone());
    let inner = B::float_add(B::float_mul(centred.clone(), r.clone()), offset.clone());
    let y = B::relu(B::float_add(B::float_mul(inner, gamma.clone()), beta));
    let g = B::relu_backward(y, dy);
    let sum = |t: FloatTensor<B>| B::float_sum_dims(t, &[0, 2, 3, 4]);
    let (s0, s1) = (sum(g.clone()), sum(B::float_mul(g.clone(), centred.clone())));
    let scale = B::float_mul(B::float_mul(rstd, r.clone()), gamma);
    let dx = if frozen {
        B::float_mul(g, scale)
    } else {
        let n = (batch * d * h * w) as f64;
        let mean0 = B::float_div_scalar(s0.clone(), n.into());
        let mean1 = B::float_div_scalar(s1.clone(), n.into());
        let rest = B::float_sub(B::float_sub(g, mean0), B::float_mul(centred, mean1));
        B::float_mul(rest, scale)
    };
    let dgamma = B::float_add(B::float_mul(s1, r), B::float_mul(s0.clone(), offset));
    let flat = Shape::from([1, c]);
    let params = vec![B::float_reshape(dgamma, flat.clone()), B::float_reshape(s0, flat)];
    (dx, B::float_cat(params, 0))
}

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

/// Maximum over 2x2x2 cubes; sides are even.
#[must_use]
pub fn max_pool2(x: Tensor<5>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::max_pool2(x.into_dispatch()))
}

/// [`norm_relu`] and [`conv1`] of the channels from `from` on, as many as `w` takes; inference only.
#[must_use]
pub fn norm_relu_conv1(
    x: Tensor<5>,
    from: usize,
    (scale, shift): (Tensor<1>, Tensor<1>),
    w: Tensor<2>,
) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::norm_relu_conv1(
        x.into_dispatch(),
        from,
        scale.into_dispatch(),
        shift.into_dispatch(),
        w.into_dispatch(),
    ))
}

/// [`norm_relu`] and [`conv3`] of `x`, written over the channels of `block` from `at` on; inference only.
#[must_use]
pub fn norm_relu_conv3_into(
    block: Tensor<5>,
    at: usize,
    x: Tensor<5>,
    (scale, shift): (Tensor<1>, Tensor<1>),
    w: Tensor<5>,
) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::norm_relu_conv3_into(
        block.into_dispatch(),
        at,
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        w.into_dispatch(),
    ))
}

/// `max(0, x * scale + shift)` per channel; inference only.
#[must_use]
pub fn norm_relu(x: Tensor<5>, scale: Tensor<1>, shift: Tensor<1>) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::norm_relu(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
    ))
}

/// Mean and biased variance of each channel, `[2, channel]`, as constants.
#[must_use]
pub fn channel_stats(x: Tensor<5>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::channel_stats(x.into_dispatch()))
}

/// Normalisation and ReLU with given statistics; see [`Kernels::norm_relu_train`].
#[must_use]
pub fn norm_relu_train(
    x: Tensor<5>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    stats: Tensor<2>,
    frozen: bool,
) -> Tensor<5> {
    Tensor::from_dispatch(Dispatch::norm_relu_train(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        stats.into_dispatch(),
        frozen,
    ))
}

#[cfg(test)]
mod tests;
