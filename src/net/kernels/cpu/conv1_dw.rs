//! Weight gradient of the 1x1x1 convolution: sums over voxels of products of every two channels, those of the input normalised and
//! rectified while loading if asked.

use super::dots;
use super::norm::{Maps, load};
use super::simd::{Lanes, Level, Work, at_level};
use super::stream::blocks;
use std::ops::Range;

/// Voxels of a job: its sums are its own, and added up in order when all are done.
const SHARE: usize = 4096;

/// Voxels between two reductions: so many of all output channels stay in the cache while the input channels pass.
const SEGMENT: usize = 1024;

/// `INS` input channels are summed together.
struct Job<'a, const INS: usize> {
    x: Maps<'a>,
    folded: Option<&'a [f32]>,
    dy: Maps<'a>,
    blocks: &'a [(usize, usize)],
    /// Jobs of a sample.
    shares: usize,
}

impl<const INS: usize> Job<'_, INS> {
    /// At most [`SEGMENT`] voxels of a group's input channels, from where they lie unless they are normalised. A channel beyond the
    /// last is the last again, and its sums are dropped.
    #[inline(always)]
    fn lines<'s>(
        &'s self,
        sample: usize,
        group: usize,
        voxels: Range<usize>,
        room: &'s mut [[f32; SEGMENT]; INS],
    ) -> [&'s [f32]; INS] {
        let mut channels = group * INS..;
        room.each_mut().map(|room| {
            let c = channels.next().unwrap_or_default().min(self.x.count - 1);
            let line = &self.x.line(sample, c)[voxels.clone()];
            let Some(folded) = self.folded else {
                return line;
            };
            let room = &mut room[..line.len()];
            load(line, Some((folded[c], folded[self.x.count + c])), room);
            room
        })
    }
}

impl<const INS: usize> Work<[f32; INS]> for Job<'_, INS> {
    /// Sums over one share of a sample's voxels: `out` is `[INS input channels][cout][input channel]`.
    #[inline(always)]
    unsafe fn run<S: Lanes>(&self, index: usize, out: &mut [[f32; INS]]) {
        let (sample, share) = (index / self.shares, index % self.shares);
        let voxels = self.x.voxels();
        let end = voxels.min((share + 1) * SHARE);
        // Whole vectors; the last voxels one by one.
        let whole = end - (end - share * SHARE) % S::N;
        let mut room = [[0.0; SEGMENT]; INS];
        let dy = self.dy.line(sample, 0).as_ptr();
        for start in (share * SHARE..whole).step_by(SEGMENT) {
            let count = SEGMENT.min(whole - start);
            for (group, out) in out.chunks_exact_mut(self.dy.count).enumerate() {
                let b = self.lines(sample, group, start..start + count, &mut room);
                // SAFETY: `count` is a multiple of `N`, and no more than each line holds; lines of `dy` are `voxels` apart.
                unsafe {
                    dots::add::<S, INS>(
                        dy.add(start),
                        voxels,
                        self.blocks,
                        b.map(<[f32]>::as_ptr),
                        count,
                        out,
                    );
                }
            }
        }
        for (group, out) in out.chunks_exact_mut(self.dy.count).enumerate() {
            let b = self.lines(sample, group, whole..end, &mut room);
            for (o, sums) in out.iter_mut().enumerate() {
                let dy = &self.dy.line(sample, o)[whole..end];
                for (sum, line) in sums.iter_mut().zip(b) {
                    *sum += dy.iter().zip(line).map(|(a, b)| a * b).sum::<f32>();
                }
            }
        }
    }
}

/// `dw [cout, cin]` from the input, normalised (`folded` holding scales, then shifts) if asked, and the gradient of the output.
pub(crate) fn conv1_dw(x: Maps<'_>, folded: Option<&[f32]>, dy: Maps<'_>) -> Vec<f32> {
    run(super::simd::level(), x, folded, dy)
}

fn run(level: Level, x: Maps<'_>, folded: Option<&[f32]>, dy: Maps<'_>) -> Vec<f32> {
    match level {
        // Lines of the gradient come from the second-level cache, each once for so many input channels.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => run_in::<6>(level, dots::BESIDE_SIX, x, folded, dy),
        _ => run_in::<3>(level, dots::shape_of(level), x, folded, dy),
    }
}

fn run_in<const INS: usize>(
    level: Level,
    sizes: &[usize],
    x: Maps<'_>,
    folded: Option<&[f32]>,
    dy: Maps<'_>,
) -> Vec<f32> {
    let (cin, cout) = (x.count, dy.count);
    assert_eq!(x.voxels(), dy.voxels(), "conv1: voxels");
    assert_eq!(x.batch, dy.batch, "conv1: samples");
    let mut dw = vec![0.0; cout * cin];
    if dw.is_empty() || x.batch == 0 {
        return dw;
    }
    let blocks = blocks(cout, sizes);
    let shares = x.voxels().div_ceil(SHARE);
    let job = Job::<INS> {
        x,
        folded,
        dy,
        blocks: &blocks,
        shares,
    };
    let each = cin.div_ceil(INS) * cout;
    let mut sums = vec![[0.0; INS]; x.batch * shares * each];
    super::for_each_chunk(&mut sums, each, |index, out| {
        // SAFETY: `level` was detected on this processor (or is the base).
        unsafe { at_level(level, &job, index, out) };
    });
    for (at, w) in dw.iter_mut().enumerate() {
        let (o, i) = (at / cin, at % cin);
        let of_shares = sums
            .chunks_exact(each)
            .map(|sums| sums[i / INS * cout + o][i % INS]);
        *w = of_shares.sum();
    }
    dw
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn gradients_are_the_definition_at_every_level(
            batch in 1_usize..3, cin in 1_usize..12, cout in 1_usize..14, voxels in prop_oneof![1_usize..70, 4000_usize..4200], seed in 0_usize..1000,
            normed: bool,
        ) {
            let noise = |n: usize, s: usize| -> Vec<f32> {
                (0..n).map(|i| ((i * 7919 + (seed + s) * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
            };
            let (x, dy) = (noise(batch * cin * voxels, 0), noise(batch * cout * voxels, 1));
            let maps = |values, channels| Maps { values, batch, channels, from: 0, count: channels };
            let folded = noise(2 * cin, 2);
            let folded = normed.then_some(&folded[..]);
            for level in super::super::simd::levels() {
                let dw = run(level, maps(&x, cin), folded, maps(&dy, cout));
                for (at, got) in dw.iter().enumerate() {
                    let (o, i) = (at / cin, at % cin);
                    let want: f64 = (0..batch * voxels)
                        .map(|p| {
                            let (b, v) = (p / voxels, p % voxels);
                            let x = f64::from(x[(b * cin + i) * voxels + v]);
                            let x = folded.map_or(x, |f| (x * f64::from(f[i]) + f64::from(f[cin + i])).max(0.0));
                            x * f64::from(dy[(b * cout + o) * voxels + v])
                        })
                        .sum();
                    // Up to 8398 products below 2, summed in f32 in lanes of some hundred.
                    prop_assert!((f64::from(*got) - want).abs() < 1e-3, "{level:?} {at}: {got} for {want}");
                }
            }
        }
    }
}
