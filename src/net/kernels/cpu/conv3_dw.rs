//! Weight gradient of the 3x3x3 convolution: at each of [`winograd`](crate::net::kernels::winograd)'s points a sum over positions of
//! products of the input and the gradient of the output, for nine taps along y and x.

use super::conv3::{Input, blocks};
use super::norm::Maps;
use super::points::{Lines, Side};
use super::shared::long_scratch;
use super::simd::{F4, Lanes, Level};
#[cfg(target_arch = "x86_64")]
use super::simd::{F8, F16};
use crate::net::kernels::winograd::{G, POINTS};

/// Positions between two reductions: keeps the lines in the cache and the f32 sums short.
const SEGMENT: usize = 4096;

/// One register block: `CO` output channels times the three taps of one row.
///
/// # Safety
/// `dy` must be readable for `CO` lines of `count` rounded up to `N` values, `x` likewise at offsets 0, 1, 2.
#[inline(always)]
unsafe fn block<S: Lanes, const CO: usize>(
    dy: *const f32,
    channel: usize,
    x: *const f32,
    count: usize,
    sums: &mut [[f32; 3]],
) {
    // SAFETY: the caller's contract covers every pointer below.
    unsafe {
        let mut acc = [[S::zero(); 3]; CO];
        let mut p = 0;
        while p < count {
            let values = [S::load(x.add(p)), S::load(x.add(p + 1)), S::load(x.add(p + 2))];
            for (o, row) in acc.iter_mut().enumerate() {
                let gradient = S::load(dy.add(o * channel + p));
                for (a, value) in row.iter_mut().zip(values) {
                    *a = a.add_product(gradient, value);
                }
            }
            p += S::N;
        }
        for (row, sum) in acc.iter().zip(sums) {
            for (a, s) in row.iter().zip(sum) {
                *s += a.sum();
            }
        }
    }
}

/// The lines a weight gradient is summed over.
struct Job<'a> {
    lines: Lines,
    x: &'a [f32],
    dy: &'a [f32],
    cout: usize,
    blocks: &'a [(usize, usize)],
}

impl Job<'_> {
    /// Sums for one input channel: `out` is `[point][y tap][cout][x tap]`.
    ///
    /// # Safety
    /// Must run at the level of `S`.
    #[inline(always)]
    unsafe fn channel<S: Lanes>(&self, input: usize, out: &mut [[f32; 3]]) {
        let lines = &self.lines;
        for (p, out) in out.chunks_exact_mut(3 * self.cout).enumerate() {
            let x = self.x[input * lines.channel + p * lines.point..].as_ptr();
            let mut start = 0;
            while start < lines.span {
                let count = SEGMENT.min(lines.span - start);
                for (y, out) in out.chunks_exact_mut(self.cout).enumerate() {
                    for &(o, size) in self.blocks {
                        let sums = &mut out[o..o + size];
                        let dy =
                            self.dy[o * lines.channel + p * lines.point + lines.first + start..].as_ptr();
                        // SAFETY: taps start `first` positions before a voxel's own, and the slack covers the rest.
                        unsafe {
                            let x = x.add(start + y * lines.pitch);
                            match size {
                                8 => block::<S, 8>(dy, lines.channel, x, count, sums),
                                4 => block::<S, 4>(dy, lines.channel, x, count, sums),
                                2 => block::<S, 2>(dy, lines.channel, x, count, sums),
                                _ => block::<S, 1>(dy, lines.channel, x, count, sums),
                            }
                        }
                    }
                }
                start += count;
            }
        }
    }

    fn channel_at(&self, level: Level, input: usize, out: &mut [[f32; 3]]) {
        // SAFETY: `level` was detected on this processor (or is the base).
        unsafe {
            match level {
                Level::Base => self.channel::<F4>(input, out),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => channel_avx2(self, input, out),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => channel_avx512(self, input, out),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn channel_avx2(job: &Job<'_>, input: usize, out: &mut [[f32; 3]]) {
    // SAFETY: this function's own features are those of `F8`.
    unsafe { job.channel::<F8>(input, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn channel_avx512(job: &Job<'_>, input: usize, out: &mut [[f32; 3]]) {
    // SAFETY: this function's own features are those of `F16`.
    unsafe { job.channel::<F16>(input, out) }
}

/// Adds `dw` (`[cout, cin, 3, 3, 3]`) from the input and the gradient of the output.
///
/// Every sum is taken in a fixed order, so the result does not depend on the number of threads.
pub(crate) fn weight_gradient(x: Input<'_>, dy: Maps<'_>, dw: &mut [f32]) {
    run(super::simd::level(), x, dy, dw);
}

pub(super) fn run(level: Level, x: Input<'_>, dy: Maps<'_>, dw: &mut [f32]) {
    let (cin, cout) = (x.maps.count, dy.count);
    let voxels: usize = x.extent.iter().product();
    assert_eq!(x.maps.voxels(), voxels, "conv3: channels of {:?}", x.extent);
    assert_eq!(dy.voxels(), voxels, "conv3: gradients of {:?}", x.extent);
    assert_eq!(x.maps.batch, dy.batch, "conv3: samples");
    assert_eq!(
        dw.len(),
        cin * cout * 27,
        "conv3: {} weights for {cin} -> {cout} channels",
        dw.len()
    );
    if voxels == 0 {
        return;
    }
    let lines = Lines::new(x.extent);
    let sizes: &[usize] = match level {
        // 16 registers: 4 x 3 accumulators.
        Level::Base => &[4, 2, 1],
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => &[4, 2, 1],
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => &[8, 4, 2, 1],
    };
    let blocks = blocks(cout, sizes);
    let each = POINTS * 3 * cout;
    let mut sums = vec![[0.0f32; 3]; cin * each];
    for sample in 0..x.maps.batch {
        long_scratch((cin + cout) * lines.channel, |room| {
            let (of_x, of_dy) = room.split_at_mut(cin * lines.channel);
            lines.fill(x.maps, sample, x.folded, Side::Input, of_x);
            lines.fill(dy, sample, None, Side::Gradient, of_dy);
            let job = Job {
                lines,
                x: of_x,
                dy: of_dy,
                cout,
                blocks: &blocks,
            };
            super::for_each_chunk(&mut sums, each, |input, out| {
                job.channel_at(level, input, out);
            });
        });
    }
    // `G^T` of the sums at the points.
    for (i, sums) in sums.chunks_exact(each).enumerate() {
        for (o, dw) in dw.chunks_exact_mut(cin * 27).enumerate() {
            for (tap, w) in dw[i * 27..][..27].iter_mut().enumerate() {
                let (z, y, x) = (tap / 9, tap / 3 % 3, tap % 3);
                *w += (0..POINTS)
                    .map(|p| G[p][z] * sums[(p * 3 + y) * cout + o][x])
                    .sum::<f32>();
            }
        }
    }
}
