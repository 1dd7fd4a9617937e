//! 1x1x1 convolution, a matrix product over voxels, normalised and rectified while loading if asked.
//!
//! A chunk of voxels of all input channels is brought into the first-level cache once, normalised on the way; then each block
//! of output channels streams over it with its sums in registers.

use super::norm::Maps;
use super::shared::{Shared, scratch};
use super::simd::{Lanes, Level, Work, at_level};
use super::stream::{Stream, VECTORS, blocks, packed, shape_of};

/// Register blocks side by side in a chunk: a block's weights are used as often before the next ones are fetched.
const TILES: usize = 4;

/// How the weights are read.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Matrix {
    /// `[out, in]`, as they are.
    Forward,
    /// Transposed: the product that carries the output's gradient to the input.
    Transposed,
}

struct Job<'a> {
    x: Maps<'a>,
    folded: Option<&'a [f32]>,
    cout: usize,
    product: Stream<'a>,
    /// Chunks of a sample.
    chunks: usize,
    y: Shared<'a>,
}

impl Work<f32> for Job<'_> {
    /// A chunk of voxels, at most [`TILES`]` * VECTORS * N`, of all output channels of a sample. `room` takes as many of all channels,
    /// input and output.
    ///
    /// # Safety
    /// Nobody else may write these voxels.
    #[inline(always)]
    unsafe fn run<S: Lanes>(&self, index: usize, room: &mut [f32]) {
        let (step, width) = (VECTORS * S::N, TILES * VECTORS * S::N);
        let (sample, first) = (index / self.chunks, index % self.chunks * width);
        let (cin, voxels) = (self.x.count, self.x.voxels());
        let count = width.min(voxels - first);
        let row = count.div_ceil(step) * step;
        let (x, y) = room.split_at_mut(cin * width);
        for (c, to) in x.chunks_exact_mut(width).enumerate() {
            let from = &self.x.line(sample, c)[first..first + count];
            to[count..].fill(0.0);
            super::norm::load(from, self.folded.map(|f| (f[c], f[cin + c])), &mut to[..count]);
        }
        if count == row {
            let to = self.y.places(
                sample * self.cout * voxels + first,
                (self.cout - 1) * voxels + row,
            );
            // SAFETY: the room holds `cin` rows of `width` values; the caller's contract.
            unsafe { self.product.sums_to::<S>(x.as_ptr(), row, to, voxels) };
            return;
        }
        // SAFETY: as above.
        unsafe { self.product.sums::<S>(x.as_ptr(), row, y) };
        for (o, sums) in y.chunks_exact(row).take(self.cout).enumerate() {
            let at = (sample * self.cout + o) * voxels + first;
            // SAFETY: the caller's contract.
            unsafe { self.y.write(at, &sums[..count]) };
        }
    }
}

/// `y [batch, cout, voxels]` = `w` times the channels of `x` that are meant, each normalised (`max(0, x * scale + shift)`,
/// `folded` holding scales, then shifts) if asked.
pub(crate) fn conv1(x: Maps<'_>, folded: Option<&[f32]>, w: &[f32], how: Matrix, cout: usize, y: &mut [f32]) {
    run(super::simd::level(), x, folded, w, how, cout, y);
}

fn run(
    level: Level,
    x: Maps<'_>,
    folded: Option<&[f32]>,
    w: &[f32],
    how: Matrix,
    cout: usize,
    y: &mut [f32],
) {
    let voxels = x.voxels();
    assert_eq!(w.len(), x.count * cout, "conv1: {} weights", w.len());
    assert_eq!(
        y.len(),
        x.batch * cout * voxels,
        "conv1: output of {} values",
        y.len()
    );
    assert!(
        folded.is_none_or(|f| f.len() == 2 * x.count),
        "conv1: scales and shifts"
    );
    if voxels == 0 || cout == 0 {
        return;
    }
    let (width, sizes) = shape_of(level);
    let blocks = blocks(cout, sizes);
    let weights = packed(&blocks, x.count, |i, o| match how {
        Matrix::Forward => w[o * x.count + i],
        Matrix::Transposed => w[i * cout + o],
    });
    let width = TILES * width;
    let offsets: Vec<isize> = (0..x.count).map(|c| (c * width) as isize).collect();
    let chunks = voxels.div_ceil(width);
    let job = Job {
        x,
        folded,
        cout,
        product: Stream {
            offsets: &offsets,
            weights: &weights,
            blocks: &blocks,
        },
        chunks,
        y: Shared::new(y),
    };
    super::for_each(x.batch * chunks, |index| {
        scratch((x.count + cout) * width, |room| {
            // SAFETY: `level` was detected on this processor (or is the base); chunks do not overlap.
            unsafe { at_level(level, &job, index, room) };
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn products_are_the_definition_at_every_level(
            batch in 1_usize..3, from in 0_usize..3, cin in 1_usize..20, cout in 1_usize..30, voxels in 1_usize..300,
            normed: bool, transposed: bool, seed in 0_usize..1000,
        ) {
            let noise = |n: usize, s: usize| -> Vec<f32> {
                (0..n).map(|i| ((i * 7919 + (seed + s) * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
            };
            let channels = from + cin + 1;
            let values = noise(batch * channels * voxels, 0);
            let (w, folded) = (noise(cin * cout, 1), noise(2 * cin, 2));
            let how = if transposed { Matrix::Transposed } else { Matrix::Forward };
            for level in super::super::simd::levels() {
                let mut y = vec![f32::NAN; batch * cout * voxels];
                let x = Maps { values: &values, batch, channels, from, count: cin };
                run(level, x, normed.then_some(&folded[..]), &w, how, cout, &mut y);
                for (at, got) in y.iter().enumerate() {
                    let (b, o, v) = (at / (cout * voxels), at / voxels % cout, at % voxels);
                    let want: f64 = (0..cin).map(|i| {
                        let x = f64::from(values[(b * channels + from + i) * voxels + v]);
                        let x = if normed {
                            (x * f64::from(folded[i]) + f64::from(folded[cin + i])).max(0.0)
                        } else {
                            x
                        };
                        x * f64::from(if transposed { w[i * cout + o] } else { w[o * cin + i] })
                    }).sum();
                    // Up to 20 products of at most 2 in f32.
                    prop_assert!((f64::from(*got) - want).abs() < 1e-4, "{level:?} {at}: {got} for {want}");
                }
            }
        }
    }
}
