//! Sums over positions of products of two lines: what every weight gradient here comes down to.

use super::simd::{Lanes, Level};

/// Positions between two reductions: keeps the lines in the cache and the f32 sums short.
pub(super) const SEGMENT: usize = 4096;

/// Sums of products of each of some lines with three others.
pub(super) type Triple = [f32; 3];

/// Blocks of lines that fit the registers with six others, on levels that have 32.
#[cfg(target_arch = "x86_64")]
pub(super) const BESIDE_SIX: &[usize] = &[4, 2, 1];

/// Blocks of lines that fit the registers.
pub(super) fn shape_of(level: Level) -> &'static [usize] {
    match level {
        // 16 registers: 4 x 3 accumulators.
        Level::Base => &[4, 2, 1],
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => &[4, 2, 1],
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => &[8, 4, 2, 1],
    }
}

/// Adds to `sums` the products of every line of `blocks`, `pitch` apart from `a` on, with the `V` lines `b`.
///
/// # Safety
/// Must run at the level of `S`; every line must be readable for `count` rounded up to `N` values.
#[inline(always)]
pub(super) unsafe fn add<S: Lanes, const V: usize>(
    a: *const f32,
    pitch: usize,
    blocks: &[(usize, usize)],
    b: [*const f32; V],
    count: usize,
    sums: &mut [[f32; V]],
) {
    for &(o, size) in blocks {
        let sums = &mut sums[o..o + size];
        // SAFETY: the caller's contract.
        unsafe {
            let a = a.add(o * pitch);
            match size {
                8 => block::<S, 8, V>(a, pitch, b, count, sums),
                4 => block::<S, 4, V>(a, pitch, b, count, sums),
                2 => block::<S, 2, V>(a, pitch, b, count, sums),
                _ => block::<S, 1, V>(a, pitch, b, count, sums),
            }
        }
    }
}

/// One register block: `CO` lines times `V`.
///
/// # Safety
/// As for [`add`].
// Indices rather than iterators, as in `stream`.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
unsafe fn block<S: Lanes, const CO: usize, const V: usize>(
    a: *const f32,
    pitch: usize,
    b: [*const f32; V],
    count: usize,
    sums: &mut [[f32; V]],
) {
    // SAFETY: the caller's contract covers every pointer below.
    unsafe {
        let mut acc = [[S::zero(); V]; CO];
        let mut p = 0;
        while p < count {
            let values = b.map(|b| S::load(b.add(p)));
            for o in 0..CO {
                let factor = S::load(a.add(o * pitch + p));
                for v in 0..V {
                    acc[o][v] = acc[o][v].add_product(factor, values[v]);
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
