//! The CPU kernels: plain Rust over slices, no tensor type.
//!
//! One source for every processor: the inner loops are written against a small vector type and compiled per
//! instruction set (AVX-512, AVX2, the target's base: SSE2, NEON or wasm SIMD128).

mod conv1;
mod conv1_dw;
mod conv3;
mod conv3_dw;
mod dots;
mod grid;
mod head;
mod norm;
mod norm_backward;
mod points;
mod pool;
mod shared;
mod simd;
mod stream;
mod up2;
mod vote;

pub(crate) use conv1::{Matrix, conv1};
pub(crate) use conv1_dw::conv1_dw;
pub(crate) use conv3::{Input, Output, data_gradient, forward};
pub(crate) use conv3_dw::weight_gradient;
pub(crate) use grid::Extent;
pub(crate) use head::doubled_sum;
pub(crate) use norm::{Maps, bias_relu, channel_stats, norm_relu, norm_rows, relu_backward, scales_of};
pub(crate) use norm_backward::{norm_relu_backward, norm_relu_backward_into};
pub(crate) use pool::{max_pool2, max_pool2_dx};
pub(crate) use up2::{up2, up2_dw, up2_dx};
pub(crate) use vote::vote;

/// Runs `work(index, chunk)` over consecutive chunks of `size`, on all threads where there are threads.
fn for_each_chunk<T: Send>(values: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Send + Sync) {
    if size == 0 {
        return;
    }
    #[cfg(feature = "lab")]
    {
        use rayon::prelude::*;
        values
            .par_chunks_mut(size)
            .enumerate()
            .for_each(|(index, chunk)| work(index, chunk));
    }
    #[cfg(not(feature = "lab"))]
    for (index, chunk) in values.chunks_mut(size).enumerate() {
        work(index, chunk);
    }
}

/// Runs `work(index)` for `n` indices, on all threads where there are threads.
fn for_each(n: usize, work: impl Fn(usize) + Send + Sync) {
    #[cfg(feature = "lab")]
    {
        use rayon::prelude::*;
        (0..n).into_par_iter().for_each(work);
    }
    #[cfg(not(feature = "lab"))]
    (0..n).for_each(work);
}
