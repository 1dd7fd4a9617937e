//! Sums of shifted lines: what every convolution here comes down to.

use super::shared::scratch;
use super::simd::{Lanes, Level, Work, at_level};

/// Vectors of positions in a register block.
pub(super) const VECTORS: usize = 2;

/// Positions a register block holds, and channel blocks that fit the registers.
pub(super) fn shape_of(level: Level) -> (usize, &'static [usize]) {
    match level {
        // 16 registers: 6 x 2 accumulators, 2 inputs, 1 weight.
        Level::Base => (4 * VECTORS, &[6, 4, 2, 1]),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => (8 * VECTORS, &[6, 4, 2, 1]),
        // 32 registers: 12 x 2 accumulators.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => (16 * VECTORS, &[12, 8, 4, 2, 1]),
    }
}

/// Splits a channel count into blocks the kernel has code for: first channel and count.
pub(super) fn blocks(channels: usize, sizes: &[usize]) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < channels {
        let left = channels - at;
        let size = sizes.iter().copied().find(|s| *s <= left).unwrap_or(1);
        out.push((at, size));
        at += size;
    }
    out
}

/// Weights in the order a [`Stream`] reads them, the weight of each of so many terms for each output channel being given.
pub(super) fn packed(
    blocks: &[(usize, usize)],
    terms: usize,
    weight: impl Fn(usize, usize) -> f32,
) -> Vec<f32> {
    let mut weights = Vec::new();
    for &(o, size) in blocks {
        for term in 0..terms {
            weights.extend((o..o + size).map(|o| weight(term, o)));
        }
    }
    weights
}

/// Most register blocks side by side in a chunk: a block's weights are used as often before the next ones are fetched.
const BLOCKS: usize = 4;

/// Chunks below which register blocks are shared out one by one.
const CHUNKS: usize = 16;

/// A line's positions, shared out in chunks of whole register blocks.
#[derive(Clone, Copy)]
pub(super) struct Chunks {
    span: usize,
    /// Positions of a chunk.
    size: usize,
}

impl Chunks {
    /// `width` is what a register block holds.
    pub(super) fn new(span: usize, width: usize) -> Self {
        Self {
            span,
            size: (span.div_ceil(width) / CHUNKS).clamp(1, BLOCKS) * width,
        }
    }

    /// First position of a chunk, positions, and these rounded up to whole register blocks.
    pub(super) fn part<S: Lanes>(self, index: usize) -> (usize, usize, usize) {
        let first = index * self.size;
        let count = self.size.min(self.span - first);
        (first, count, count.next_multiple_of(VECTORS * S::N))
    }

    /// Does the work of every chunk, with room for `each` values a position.
    ///
    /// # Safety
    /// `level` must be one of this processor's; the rest is the work's own contract.
    pub(super) unsafe fn run(self, level: Level, each: usize, work: &(impl Work<f32> + Sync)) {
        super::for_each(self.span.div_ceil(self.size), |index| {
            scratch(each * self.size, |room| {
                // SAFETY: the caller's contract.
                unsafe { at_level(level, work, index, room) };
            });
        });
    }
}

/// A sum of shifted lines for each output channel.
#[derive(Clone, Copy)]
pub(super) struct Stream<'a> {
    /// Where each value that is summed lies, from the first line's value at the position that is summed for.
    pub(super) offsets: &'a [isize],
    /// Their weights: per block of output channels `[offset][output channel of the block]`.
    pub(super) weights: &'a [f32],
    /// Blocks of output channels.
    pub(super) blocks: &'a [(usize, usize)],
}

impl Stream<'_> {
    /// The sums at `row` positions from `x` on, `[output channel][position]`. `row` is a multiple of `VECTORS * N`.
    ///
    /// # Safety
    /// Must run at the level of `S`; `x` must be readable at every offset for `row` values.
    #[inline(always)]
    pub(super) unsafe fn sums<S: Lanes>(&self, x: *const f32, row: usize, out: &mut [f32]) {
        let channels: usize = self.blocks.iter().map(|(_, size)| size).sum();
        let out = &mut out[..channels * row];
        // SAFETY: the caller's contract; there is room for all of them.
        unsafe { self.sums_to::<S>(x, row, out.as_mut_ptr(), row) };
    }

    /// The same, those of the output channels `pitch` apart.
    ///
    /// # Safety
    /// As for [`sums`](Self::sums); `out` must take `row` values for each output channel.
    #[inline(always)]
    pub(super) unsafe fn sums_to<S: Lanes>(&self, x: *const f32, row: usize, out: *mut f32, pitch: usize) {
        let n = self.offsets.len();
        for &(o, size) in self.blocks {
            let w = &self.weights[o * n..(o + size) * n];
            for at in (0..row).step_by(VECTORS * S::N) {
                // SAFETY: the caller's contract; weights and output are those of this block.
                unsafe {
                    let (x, w, y) = (x.add(at), w.as_ptr(), out.add(o * pitch + at));
                    match size {
                        12 => block::<S, 12>(x, self.offsets, w, y, pitch),
                        8 => block::<S, 8>(x, self.offsets, w, y, pitch),
                        6 => block::<S, 6>(x, self.offsets, w, y, pitch),
                        4 => block::<S, 4>(x, self.offsets, w, y, pitch),
                        2 => block::<S, 2>(x, self.offsets, w, y, pitch),
                        _ => block::<S, 1>(x, self.offsets, w, y, pitch),
                    }
                }
            }
        }
    }
}

/// One register block: `CO` output channels times [`VECTORS`] vectors of positions.
///
/// # Safety
/// `x` must be readable at every offset for `VECTORS * N` values, `w` hold `CO` values for each, and `y` take `CO` rows of
/// `VECTORS * N` values, `pitch` apart.
// Indices rather than iterators: with these some builds keep the sums in memory, at half the speed.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
unsafe fn block<S: Lanes, const CO: usize>(
    x: *const f32,
    offsets: &[isize],
    mut w: *const f32,
    y: *mut f32,
    pitch: usize,
) {
    // SAFETY: the caller's contract covers every pointer below.
    unsafe {
        let mut acc = [[S::zero(); VECTORS]; CO];
        for offset in offsets {
            let at = x.offset(*offset);
            let mut values = [S::zero(); VECTORS];
            for v in 0..VECTORS {
                values[v] = S::load(at.add(v * S::N));
            }
            for o in 0..CO {
                let weight = S::splat(*w.add(o));
                for v in 0..VECTORS {
                    acc[o][v] = acc[o][v].add_product(weight, values[v]);
                }
            }
            w = w.add(CO);
        }
        for (o, sums) in acc.iter().enumerate() {
            for (v, a) in sums.iter().enumerate() {
                a.store(y.add(o * pitch + v * S::N));
            }
        }
    }
}
