//! Each sample of a batch by statistics of its own, on kernels that know one set for all samples: samples become channels.
//!
//! The oracle of those kernels that know both, and all that the CPU needs, where the samples of a batch are best run one by one.

use super::{Kernels, Normalisation, Tensors, channels_of, put};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Shape, Slice};

/// True if `[2, column]` has a column for every channel of every sample of `x`, and there are several.
pub(super) fn own<B: Backend>(x: &FloatTensor<B>, channels: usize, columns: &FloatTensor<B>) -> bool {
    x.shape()[0] > 1 && columns.shape()[1] == x.shape()[0] * channels
}

/// `[batch, channel, z, y, x]` as one sample of `batch * channel` channels.
fn merged<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, channels, d, h, w] = x.shape().dims::<5>();
    B::float_reshape(x, Shape::from([1, batch * channels, d, h, w]))
}

/// [`Kernels::channel_stats`] of each sample.
pub(super) fn channel_stats<B: Kernels>(x: FloatTensor<B>, from: usize, count: usize) -> FloatTensor<B> {
    let columns = x.shape()[0] * count;
    B::channel_stats(merged::<B>(channels_of::<B>(x, from, count)), 0, columns, false)
}

/// [`Kernels::norm_rows`] of more columns than `gamma` has channels.
pub(super) fn norm_rows<B: Kernels>(
    now: FloatTensor<B>,
    running: FloatTensor<B>,
    [gamma, beta]: [FloatTensor<B>; 2],
    samples: usize,
    norm: Normalisation,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let [channels] = gamma.shape().dims::<1>();
    let repeated = |t: FloatTensor<B>, rows: usize| {
        let t = B::float_reshape(t, Shape::from([rows, 1, channels]));
        B::float_expand(t, Shape::from([rows, samples, channels]))
    };
    let running = B::float_reshape(repeated(running, 2), Shape::from([2, samples * channels]));
    let [gamma, beta] =
        [gamma, beta].map(|t| B::float_reshape(repeated(t, 1), Shape::from([samples * channels])));
    B::norm_rows(Tensors(vec![now]), Tensors(vec![running]), gamma, beta, 1, norm)
}

/// [`Kernels::norm_relu`] with columns for each sample.
pub(super) fn norm_relu<B: Kernels>(
    x: FloatTensor<B>,
    from: usize,
    count: usize,
    folded: FloatTensor<B>,
) -> FloatTensor<B> {
    let x = channels_of::<B>(x, from, count);
    let (shape, columns) = (x.shape(), folded.shape()[1]);
    B::float_reshape(B::norm_relu(merged::<B>(x), 0, columns, folded), shape)
}

/// [`Kernels::norm_relu_backward`] with columns for each sample.
pub(super) fn norm_relu_backward<B: Kernels>(
    x: FloatTensor<B>,
    dy: FloatTensor<B>,
    [rows, folded]: [FloatTensor<B>; 2],
    frozen: bool,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let shape = x.shape();
    let [batch, channels, ..] = shape.dims::<5>();
    let (dx, dgamma, dbeta) = B::norm_relu_backward(merged::<B>(x), merged::<B>(dy), rows, folded, frozen);
    let summed = |t| {
        let t = B::float_reshape(t, Shape::from([batch, channels]));
        B::float_reshape(B::float_sum_dim(t, 0), Shape::from([channels]))
    };
    (B::float_reshape(dx, shape), summed(dgamma), summed(dbeta))
}

/// Adds `dx` to the first channels of `grad`.
pub(super) fn added<B: Kernels>(grad: FloatTensor<B>, dx: FloatTensor<B>) -> FloatTensor<B> {
    let sum = B::float_add(channels_of::<B>(grad.clone(), 0, dx.shape()[1]), dx);
    put::<B>(grad, 0, sum)
}

/// Writes `new`, `[2, sample * channel]`, over the columns of the channels from `at` on of `stats`, which has more of them.
pub(super) fn put_columns<B: Backend>(
    stats: FloatTensor<B>,
    at: usize,
    new: FloatTensor<B>,
    samples: usize,
) -> FloatTensor<B> {
    let (shape, rows) = (stats.shape(), 2 * samples);
    let [width, count] = [&stats, &new].map(|t| t.shape()[1] / samples);
    let rows_of = |t, columns| B::float_reshape(t, Shape::from([rows, columns]));
    let slices = [
        Slice::from(0..rows as isize),
        Slice::from(at as isize..(at + count) as isize),
    ];
    let stats = B::float_slice_assign(rows_of(stats, width), &slices, rows_of(new, count));
    B::float_reshape(stats, shape)
}

/// The columns of the first `channels` channels of each sample.
pub(super) fn first_columns<B: Backend>(
    stats: FloatTensor<B>,
    channels: usize,
    samples: usize,
) -> FloatTensor<B> {
    let width = stats.shape()[1] / samples;
    if width == channels {
        return stats;
    }
    let rows = 2 * samples;
    let stats = B::float_reshape(stats, Shape::from([rows, width]));
    let slices = [Slice::from(0..rows as isize), Slice::from(0..channels as isize)];
    B::float_reshape(
        B::float_slice(stats, &slices),
        Shape::from([2, samples * channels]),
    )
}

/// Rows 4 and 5, the next running statistics, of the first `channels` columns.
pub(super) fn next<B: Backend>(rows: &FloatTensor<B>, channels: usize) -> FloatTensor<B> {
    B::float_slice(
        rows.clone(),
        &[Slice::from(4..6), Slice::from(0..channels as isize)],
    )
}
