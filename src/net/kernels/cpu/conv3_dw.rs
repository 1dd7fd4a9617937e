//! Weight gradient of the 3x3x3 convolution: at each of [`winograd`](crate::net::kernels::winograd)'s points a sum over positions of
//! products of the input and the gradient of the output, for nine taps along y and x.

use super::conv3::Input;
use super::dots::{self, SEGMENT, Triple};
use super::norm::Maps;
use super::points::{Lines, Side};
use super::shared::long_scratch;
use super::simd::{Lanes, Level, Work, at_level};
use super::stream::blocks;
use crate::net::kernels::winograd::{G, POINTS};

/// The lines a weight gradient is summed over.
struct Job<'a> {
    lines: Lines,
    x: &'a [f32],
    dy: &'a [f32],
    cout: usize,
    blocks: &'a [(usize, usize)],
}

impl Work<Triple> for Job<'_> {
    /// Sums for one input channel: `out` is `[point][y tap][cout][x tap]`.
    #[inline(always)]
    unsafe fn run<S: Lanes>(&self, input: usize, out: &mut [Triple]) {
        let (grid, channel) = (&self.lines.grid, self.lines.channel);
        for (p, out) in out.chunks_exact_mut(3 * self.cout).enumerate() {
            for start in (0..grid.span).step_by(SEGMENT) {
                let count = SEGMENT.min(grid.span - start);
                let dy = self.dy[p * grid.line + grid.first + start..].as_ptr();
                // Taps start `first` positions before a voxel's own.
                let x = self.x[input * channel + p * grid.line + start..].as_ptr();
                for (y, out) in out.chunks_exact_mut(self.cout).enumerate() {
                    // SAFETY: lines carry slack after the last position.
                    unsafe {
                        let x = x.add(y * grid.pitch);
                        dots::add::<S, 3>(dy, channel, self.blocks, [x, x.add(1), x.add(2)], count, out);
                    }
                }
            }
        }
    }
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
    let blocks = blocks(cout, dots::shape_of(level));
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
                // SAFETY: `level` was detected on this processor (or is the base).
                unsafe { at_level(level, &job, input, out) };
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
