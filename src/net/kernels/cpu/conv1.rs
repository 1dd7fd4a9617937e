//! 1x1x1 convolution, a matrix product over voxels, normalised and rectified while loading if asked.
//!
//! A chunk of voxels of all input channels is brought into the first-level cache once, normalised on the way; then each block
//! of output channels streams over it with its sums in registers.

use super::conv3::{blocks, shape_of};
use super::norm::Maps;
use super::shared::{Shared, scratch};
use super::simd::{F4, Lanes, Level};
#[cfg(target_arch = "x86_64")]
use super::simd::{F8, F16};

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

/// Weights in the order the kernel reads them: per block `[input channel][output channel of the block]`.
fn pack(w: &[f32], cin: usize, cout: usize, blocks: &[(usize, usize)], how: Matrix) -> Vec<f32> {
    let mut packed = Vec::with_capacity(w.len());
    for &(at, size) in blocks {
        for i in 0..cin {
            packed.extend((at..at + size).map(|o| match how {
                Matrix::Forward => w[o * cin + i],
                Matrix::Transposed => w[i * cout + o],
            }));
        }
    }
    packed
}

/// One register block: `CO` output channels times `V` vectors of voxels.
///
/// # Safety
/// `x` must hold `cin` rows of `V * N` values, `pitch` apart, `w` hold `cin * CO` values, and `y` take `CO` rows.
#[inline(always)]
unsafe fn block<S: Lanes, const CO: usize, const V: usize>(
    x: *const f32,
    pitch: usize,
    cin: usize,
    w: *const f32,
    y: *mut f32,
) {
    // SAFETY: the caller's contract covers every pointer below.
    unsafe {
        let mut acc = [[S::zero(); V]; CO];
        for i in 0..cin {
            let mut values = [S::zero(); V];
            for (v, value) in values.iter_mut().enumerate() {
                *value = S::load(x.add(i * pitch + v * S::N));
            }
            for (o, row) in acc.iter_mut().enumerate() {
                let weight = S::splat(*w.add(i * CO + o));
                for (a, value) in row.iter_mut().zip(values) {
                    *a = a.add_product(weight, value);
                }
            }
        }
        for (o, row) in acc.iter().enumerate() {
            for (v, a) in row.iter().enumerate() {
                a.store(y.add(o * pitch + v * S::N));
            }
        }
    }
}

struct Job<'a> {
    x: Maps<'a>,
    folded: Option<&'a [f32]>,
    cout: usize,
    blocks: &'a [(usize, usize)],
    weights: &'a [f32],
    y: Shared<'a>,
}

impl Job<'_> {
    /// The voxels from `first` on, at most [`TILES`]` * V * N` of them, of all output channels of a sample. `scratch` has room
    /// for as many of all channels, input and output.
    ///
    /// # Safety
    /// Must run at the level of `S`; nobody else may write these voxels.
    #[inline(always)]
    unsafe fn chunk<S: Lanes, const V: usize>(&self, sample: usize, first: usize, scratch: &mut [f32]) {
        let (step, width) = (V * S::N, TILES * V * S::N);
        let (cin, voxels) = (self.x.count, self.x.voxels());
        let count = width.min(voxels - first);
        let (x, y) = scratch.split_at_mut(cin * width);
        for (c, to) in x.chunks_exact_mut(width).enumerate() {
            let from = &self.x.line(sample, c)[first..first + count];
            to[count..].fill(0.0);
            super::norm::load(from, self.folded.map(|f| (f[c], f[cin + c])), &mut to[..count]);
        }
        for &(o, size) in self.blocks {
            let w = self.weights[o * cin..].as_ptr();
            for at in (0..count).step_by(step) {
                let (x, y) = (x[at..].as_ptr(), y[o * width + at..].as_mut_ptr());
                // SAFETY: the scratch holds `cin` rows before and `cout` behind; weights are packed for these blocks.
                unsafe {
                    match size {
                        12 => block::<S, 12, V>(x, width, cin, w, y),
                        8 => block::<S, 8, V>(x, width, cin, w, y),
                        6 => block::<S, 6, V>(x, width, cin, w, y),
                        4 => block::<S, 4, V>(x, width, cin, w, y),
                        2 => block::<S, 2, V>(x, width, cin, w, y),
                        _ => block::<S, 1, V>(x, width, cin, w, y),
                    }
                }
            }
        }
        for (o, row) in y.chunks_exact(width).enumerate() {
            let at = (sample * self.cout + o) * voxels + first;
            // SAFETY: the caller's contract.
            unsafe { self.y.write(at, &row[..count]) };
        }
    }

    fn chunk_at(&self, level: Level, sample: usize, first: usize) {
        let (width, _) = shape_of(level);
        scratch((self.x.count + self.cout) * TILES * width, |scratch| {
            // SAFETY: `level` was detected on this processor (or is the base); chunks do not overlap.
            unsafe {
                match level {
                    Level::Base => self.chunk::<F4, 2>(sample, first, scratch),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => chunk_avx2(self, sample, first, scratch),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => chunk_avx512(self, sample, first, scratch),
                }
            }
        });
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn chunk_avx2(job: &Job<'_>, sample: usize, first: usize, scratch: &mut [f32]) {
    // SAFETY: this function's own features are those of `F8`; the rest is the caller's contract.
    unsafe { job.chunk::<F8, 2>(sample, first, scratch) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn chunk_avx512(job: &Job<'_>, sample: usize, first: usize, scratch: &mut [f32]) {
    // SAFETY: this function's own features are those of `F16`; the rest is the caller's contract.
    unsafe { job.chunk::<F16, 2>(sample, first, scratch) }
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
    let weights = pack(w, x.count, cout, &blocks, how);
    let job = Job {
        x,
        folded,
        cout,
        blocks: &blocks,
        weights: &weights,
        y: Shared::new(y),
    };
    let (width, chunks) = (TILES * width, voxels.div_ceil(TILES * width));
    super::for_each(x.batch * chunks, |index| {
        job.chunk_at(level, index / chunks, index % chunks * width);
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
