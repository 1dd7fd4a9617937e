//! The operators on CubeCL backends: our kernels under burn's tensors.
//!
//! Each kernel gives one unit a small tile of the output in registers, with all loops over it unrolled. Nothing is
//! tuned at run time, so every shader is compiled once.

mod backward;
mod chunks;
mod conv1;
mod conv3;
mod infer;
mod launch;
mod norm;
mod up2;
mod update;
mod vote;

use super::infer::Read;
use super::{AdamStep, Ballot, Kernels, Normalisation, Tensors};
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
#[cfg(test)]
pub(crate) use launch::LAUNCHES;
use launch::{Folds, Shaped, empty};

impl Kernels for CubeBackend {
    fn conv3(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, w) = (into_contiguous(x), into_contiguous(w));
        let [batch, _, d, h, width] = x.dims5();
        let y = empty(&x, [batch, w.dims5()[0], d, h, width]);
        conv3::conv3_into(&x, None, &conv3::pack(&w, false), read3(&x, &y), &y, 0);
        y
    }

    fn conv3_dx(dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (dy, w) = (into_contiguous(dy), into_contiguous(w));
        let [batch, _, d, h, width] = dy.dims5();
        let dx = empty(&dy, [batch, w.dims5()[1], d, h, width]);
        conv3::conv3_into(&dy, None, &conv3::pack(&w, true), read3(&dy, &dx), &dx, 0);
        dx
    }

    fn conv3_dw(x: FloatTensor<Self>, dy: FloatTensor<Self>, _w: FloatTensor<Self>) -> FloatTensor<Self> {
        conv3::conv3_dw(&into_contiguous(x), None, &into_contiguous(dy))
    }

    fn up2_dx(dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        up2::up2_dx(&into_contiguous(dy), &into_contiguous(w))
    }

    fn up2_dw(x: FloatTensor<Self>, dy: FloatTensor<Self>, _w: FloatTensor<Self>) -> FloatTensor<Self> {
        backward::up2_dw(&into_contiguous(x), &into_contiguous(dy))
    }

    fn conv1_dw(x: FloatTensor<Self>, dy: FloatTensor<Self>, _w: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = into_contiguous(x);
        backward::conv1_dw(&x, x.dims5()[1], None, &into_contiguous(dy))
    }

    fn norm_relu_conv1_dw(
        x: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [x, folded, dy] = [x, folded, dy].map(into_contiguous);
        let channels = w.meta.shape()[1];
        backward::conv1_dw(&x, channels, Some(Folds::plain(folded, channels)), &dy)
    }

    fn norm_relu_conv3_dw(
        x: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        _w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [x, folded, dy] = [x, folded, dy].map(into_contiguous);
        let channels = x.dims5()[1];
        conv3::conv3_dw(&x, Some(Folds::plain(folded, channels)), &dy)
    }

    fn conv1_dx(dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let [out, count] = w.meta.shape().dims::<2>();
        let packed = conv1::pack(&into_contiguous(w), true);
        conv1::conv1(&into_contiguous(dy), None, &packed, None, Read::all(out, count))
    }

    fn bias_relu(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        norm::bias_relu(&into_contiguous(x), &into_contiguous(bias))
    }

    fn bias_relu_backward(
        y: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        norm::bias_relu_backward(&into_contiguous(y), &into_contiguous(dy))
    }

    fn norm_relu(
        x: FloatTensor<Self>,
        from: usize,
        count: usize,
        folded: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        norm::norm_relu(&into_contiguous(x), from, count, &into_contiguous(folded))
    }

    fn channel_stats(x: FloatTensor<Self>, from: usize, count: usize, by_sample: bool) -> FloatTensor<Self> {
        norm::channel_stats(&into_contiguous(x), from, count, by_sample)
    }

    fn adamw(
        w: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        state: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [w, grad, state] = [w, grad, state].map(into_contiguous);
        update::adamw(&w, &grad, &state, step)
    }

    fn vote(
        p: FloatTensor<Self>,
        places: FloatTensor<Self>,
        window: FloatTensor<Self>,
        ballot: Ballot,
    ) -> FloatTensor<Self> {
        let [p, places, window] = [p, places, window].map(into_contiguous);
        vote::vote(&p, &places, &window, ballot)
    }

    fn channel_stats_into(
        stats: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        from: usize,
        count: usize,
        by_sample: bool,
    ) -> FloatTensor<Self> {
        let stats = owned(into_contiguous(stats));
        norm::channel_stats_into(&stats, at, &into_contiguous(x), from, count, by_sample);
        stats
    }

    fn norm_rows(
        now: Tensors<Self>,
        running: Tensors<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        samples: usize,
        norm: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [now, running] = [now, running].map(|t| t.one().map(into_contiguous));
        let affine = [gamma, beta].map(into_contiguous);
        norm::norm_rows(now, running, &affine, samples, norm)
    }

    fn norm_rows_measured(
        stats: FloatTensor<Self>,
        x: FloatTensor<Self>,
        from: usize,
        count: usize,
        running: Tensors<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [stats, x, gamma, beta] = [stats, x, gamma, beta].map(into_contiguous);
        let (stats, samples) = (owned(stats), norm.samples(x.dims5()[0]));
        let affine = [gamma, beta];
        let (rows, folded) = if norm.reads_running() {
            norm::channel_stats_into(&stats, from, &x, from, count, norm.by_sample);
            let running = running.one().map(into_contiguous);
            norm::norm_rows(Some(stats.clone()), running, &affine, samples, norm)
        } else {
            norm::measured_rows(&stats, &x, from, count, &affine, norm)
        };
        (stats, rows, folded)
    }

    fn norm_relu_backward(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        frozen: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [x, dy, rows, folded] = [x, dy, rows, folded].map(into_contiguous);
        let dx = empty(&x, x.dims5());
        let [dgamma, dbeta] = norm::backward(&dx, false, &x, &dy, (&rows, &folded), frozen);
        (dx, dgamma, dbeta)
    }

    fn norm_relu_backward_into(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        frozen: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [grad, x, dy, rows, folded] = [grad, x, dy, rows, folded].map(into_contiguous);
        let grad = owned(grad);
        let [dgamma, dbeta] = norm::backward(&grad, true, &x, &dy, (&rows, &folded), frozen);
        (grad, dgamma, dbeta)
    }

    fn up2(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        up2::up2(&into_contiguous(x), &into_contiguous(w))
    }

    fn conv1(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let [out, count] = w.meta.shape().dims::<2>();
        let packed = conv1::pack(&into_contiguous(w), false);
        conv1::conv1(&into_contiguous(x), None, &packed, None, Read::all(count, out))
    }

    fn max_pool2(x: FloatTensor<Self>) -> FloatTensor<Self> {
        up2::max_pool2(&into_contiguous(x))
    }

    fn max_pool2_dx(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        up2::max_pool2_dx(&into_contiguous(x), &into_contiguous(dy))
    }

    fn norm_relu_conv1(
        x: FloatTensor<Self>,
        from: usize,
        folded: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [out, count] = w.meta.shape().dims::<2>();
        let folds = Folds::plain(into_contiguous(folded), count);
        let packed = conv1::pack(&into_contiguous(w), false);
        let read = Read {
            from,
            ..Read::all(count, out)
        };
        conv1::conv1(&into_contiguous(x), Some(folds), &packed, None, read)
    }

    fn norm_relu_conv3_into(
        block: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [block, x, folded, w] = [block, x, folded, w].map(into_contiguous);
        let block = owned(block);
        let read = Read::all(x.dims5()[1], w.dims5()[0]);
        let folds = Folds::plain(folded, read.count);
        conv3::conv3_into(&x, Some(folds), &conv3::pack(&w, false), read, &block, at);
        block
    }
}

/// All channels of `x` to all of `y`.
fn read3(x: &CubeTensor, y: &CubeTensor) -> Read {
    Read::all(x.dims5()[1], y.dims5()[1])
}

/// The tensor itself if nobody else could see it change, or a copy.
fn owned(tensor: FloatTensor<CubeBackend>) -> FloatTensor<CubeBackend> {
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
mod timing;
