//! 3x3x3 convolution, stride 1, zero padding 1: forward and data gradient.
//!
//! Both are sums, at each of [`winograd`](crate::net::kernels::winograd)'s points alone, over input channels and nine taps along y
//! and x; [`points`](super::points) has the layout. A block of output channels times a few vectors of voxels stays in
//! registers while all input channels stream past.

use super::norm::Maps;
use super::points::{Extent, Lines, Side, output};
use super::shared::{Shared, long_scratch, scratch};
use super::simd::{F4, Lanes, Level};
#[cfg(target_arch = "x86_64")]
use super::simd::{F8, F16};
use crate::net::kernels::winograd::{self, POINTS, TILE};

/// Most register blocks side by side that one job takes: a point's weights are used as often before the next ones are fetched.
const BLOCKS: usize = 4;

/// Jobs below which blocks are shared out one by one.
const JOBS: usize = 16;

/// How the weights of the forward pass are read.
#[derive(Clone, Copy, PartialEq)]
enum Weights {
    /// `[out, in, 3, 3, 3]`, as they are.
    Forward,
    /// Transposed and mirrored: the convolution that carries the output's gradient to the input.
    Mirrored,
}

/// What a convolution reads.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    /// The channels.
    pub(crate) maps: Maps<'a>,
    /// Scales, then shifts, of `max(0, x * scale + shift)`, applied while loading if given.
    pub(crate) folded: Option<&'a [f32]>,
    /// Voxels of a channel.
    pub(crate) extent: Extent,
}

/// Where a convolution writes: the channels from `from` on, of `channels` that each sample of `values` has.
pub(crate) struct Output<'a> {
    /// All channels.
    pub(crate) values: &'a mut [f32],
    /// Channels of a sample.
    pub(crate) channels: usize,
    /// The first that is written.
    pub(crate) from: usize,
}

/// `y = w * x`; `w` is `[cout, cin, 3, 3, 3]`.
pub(crate) fn forward(x: Input<'_>, w: &[f32], cout: usize, y: Output<'_>) {
    run(super::simd::level(), x, w, cout, Weights::Forward, y);
}

/// `dx` from `dy`: `w` is as in [`forward`], `[dy's channels, cin, 3, 3, 3]`.
pub(crate) fn data_gradient(dy: Input<'_>, w: &[f32], cin: usize, dx: Output<'_>) {
    run(super::simd::level(), dy, w, cin, Weights::Mirrored, dx);
}

/// Splits a channel count into blocks the kernel has code for.
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

/// Weights at the points, in the order the kernel reads them: per point and block `[input channel][y, x tap][output channel of
/// the block]`.
fn pack(w: &[f32], cin: usize, cout: usize, blocks: &[(usize, usize)], how: Weights) -> Vec<f32> {
    let mut packed = vec![0.0; POINTS * cin * cout * 9];
    let point = cin * cout * 9;
    for &(at, size) in blocks {
        for i in 0..cin {
            for yx in 0..9 {
                for o in at..at + size {
                    let column = match how {
                        Weights::Forward => std::array::from_fn(|z| w[(o * cin + i) * 27 + z * 9 + yx]),
                        // The weights' own shape is [cin, cout] here: roles are swapped.
                        Weights::Mirrored => {
                            std::array::from_fn(|z| w[(i * cout + o) * 27 + 26 - z * 9 - yx])
                        }
                    };
                    let to = at * cin * 9 + (i * 9 + yx) * size + o - at;
                    for (p, v) in winograd::taps(column).into_iter().enumerate() {
                        packed[p * point + to] = v;
                    }
                }
            }
        }
    }
    packed
}

/// One register block at one point: `CO` output channels times `V` vectors of positions, all input channels and taps.
///
/// # Safety
/// `x` must be readable at every tap of `cin` lines for `V * N` values, `w` hold `cin * 9 * CO` values, and `y` take
/// `CO` rows of `V * N` values, `row` apart.
#[inline(always)]
unsafe fn block<S: Lanes, const CO: usize, const V: usize>(
    x: *const f32,
    channel: usize,
    cin: usize,
    taps: &[isize; 9],
    mut w: *const f32,
    y: *mut f32,
    row: usize,
) {
    // SAFETY: the caller's contract covers every pointer below.
    unsafe {
        let mut acc = [[S::zero(); V]; CO];
        for i in 0..cin {
            let line = x.add(i * channel);
            for tap in taps {
                let at = line.offset(*tap);
                let mut values = [S::zero(); V];
                for (v, value) in values.iter_mut().enumerate() {
                    *value = S::load(at.add(v * S::N));
                }
                for (o, sums) in acc.iter_mut().enumerate() {
                    let weight = S::splat(*w.add(o));
                    for (a, value) in sums.iter_mut().zip(values) {
                        *a = a.add_product(weight, value);
                    }
                }
                w = w.add(CO);
            }
        }
        for (o, sums) in acc.iter().enumerate() {
            for (v, a) in sums.iter().enumerate() {
                a.store(y.add(o * row + v * S::N));
            }
        }
    }
}

/// All output channels of chunks of positions of one sample.
struct Job<'a> {
    lines: Lines,
    x: &'a [f32],
    cin: usize,
    cout: usize,
    blocks: &'a [(usize, usize)],
    weights: &'a [f32],
    taps: [isize; 9],
    /// Register blocks of a chunk.
    side_by_side: usize,
    y: Shared<'a>,
    /// Where the sample's first channel lies in `y`.
    to: usize,
}

impl Job<'_> {
    /// The sums of some register blocks side by side, `[point][output channel][position]`, and the voxels of one
    /// channel, `[voxel of the tile][position]`.
    ///
    /// # Safety
    /// Must run at the level of `S`; nobody else may write this chunk's voxels.
    #[inline(always)]
    unsafe fn chunk<S: Lanes, const V: usize>(&self, index: usize, sums: &mut [f32], voxels: &mut [f32]) {
        let width = V * S::N;
        let first = index * self.side_by_side * width;
        let count = (self.lines.span - first).min(self.side_by_side * width);
        let row = count.div_ceil(width) * width;
        // The last read of the last chunk stays inside the slack.
        debug_assert!(2 * self.lines.first + first + row <= self.lines.point);
        let point = self.cin * self.cout * 9;
        for p in 0..POINTS {
            for &(o, size) in self.blocks {
                for at in (0..row).step_by(width) {
                    let x = self.x[p * self.lines.point + self.lines.first + first + at..].as_ptr();
                    let w = self.weights[p * point + o * self.cin * 9..].as_ptr();
                    let y = sums[(p * self.cout + o) * row + at..].as_mut_ptr();
                    let (channel, cin, taps) = (self.lines.channel, self.cin, &self.taps);
                    // SAFETY: lines carry slack after the last tile; weights are packed for these blocks.
                    unsafe {
                        match size {
                            12 => block::<S, 12, V>(x, channel, cin, taps, w, y, row),
                            8 => block::<S, 8, V>(x, channel, cin, taps, w, y, row),
                            6 => block::<S, 6, V>(x, channel, cin, taps, w, y, row),
                            4 => block::<S, 4, V>(x, channel, cin, taps, w, y, row),
                            2 => block::<S, 2, V>(x, channel, cin, taps, w, y, row),
                            _ => block::<S, 1, V>(x, channel, cin, taps, w, y, row),
                        }
                    }
                }
            }
        }
        let volume = self.lines.volume();
        for o in 0..self.cout {
            let of_point = std::array::from_fn(|p| &sums[(p * self.cout + o) * row..][..row]);
            let mut planes = voxels.chunks_exact_mut(row);
            output(
                of_point,
                std::array::from_fn(|_| planes.next().unwrap_or_default()),
            );
            for (plane, from, voxel, run) in self.lines.runs(first, count) {
                let values = &voxels[plane * row + from..][..run];
                // SAFETY: the caller's contract.
                unsafe { self.y.write(self.to + o * volume + voxel, values) };
            }
        }
    }

    fn chunk_at(&self, level: Level, index: usize) {
        let (width, _) = shape_of(level);
        let row = self.side_by_side * width;
        scratch((POINTS * self.cout + TILE) * row, |room| {
            let (sums, voxels) = room.split_at_mut(POINTS * self.cout * row);
            // SAFETY: `level` was detected on this processor (or is the base); chunks do not overlap.
            unsafe {
                match level {
                    Level::Base => self.chunk::<F4, 2>(index, sums, voxels),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => chunk_avx2(self, index, sums, voxels),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => chunk_avx512(self, index, sums, voxels),
                }
            }
        });
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn chunk_avx2(job: &Job<'_>, index: usize, sums: &mut [f32], voxels: &mut [f32]) {
    // SAFETY: this function's own features are those of `F8`; the rest is the caller's contract.
    unsafe { job.chunk::<F8, 2>(index, sums, voxels) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn chunk_avx512(job: &Job<'_>, index: usize, sums: &mut [f32], voxels: &mut [f32]) {
    // SAFETY: this function's own features are those of `F16`; the rest is the caller's contract.
    unsafe { job.chunk::<F16, 2>(index, sums, voxels) }
}

/// Voxels (or positions) a register block holds and channel blocks that fit the registers.
pub(super) fn shape_of(level: Level) -> (usize, &'static [usize]) {
    match level {
        // 16 registers: 6 x 2 accumulators, 2 inputs, 1 weight.
        Level::Base => (8, &[6, 4, 2, 1]),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => (16, &[6, 4, 2, 1]),
        // 32 registers: 12 x 2 accumulators.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => (32, &[12, 8, 4, 2, 1]),
    }
}

fn run(level: Level, x: Input<'_>, w: &[f32], cout: usize, how: Weights, y: Output<'_>) {
    let Maps {
        batch, count: cin, ..
    } = x.maps;
    let Output {
        values,
        channels,
        from,
    } = y;
    let voxels: usize = x.extent.iter().product();
    assert_eq!(x.maps.voxels(), voxels, "conv3: channels of {:?}", x.extent);
    assert_eq!(
        w.len(),
        cin * cout * 27,
        "conv3: {} weights for {cin} -> {cout} channels",
        w.len()
    );
    assert_eq!(
        values.len(),
        batch * channels * voxels,
        "conv3: output of {} values",
        values.len()
    );
    assert!(
        from + cout <= channels,
        "conv3: {cout} channels from {from} of {channels}"
    );
    if voxels == 0 {
        return;
    }
    let lines = Lines::new(x.extent);
    let (width, sizes) = shape_of(level);
    let blocks = blocks(cout, sizes);
    let weights = pack(w, cin, cout, &blocks, how);
    let side_by_side = (lines.span.div_ceil(width) / JOBS).clamp(1, BLOCKS);
    let out = Shared::new(values);
    for sample in 0..batch {
        long_scratch(cin * lines.channel, |room| {
            lines.fill(x.maps, sample, x.folded, Side::Input, room);
            let job = Job {
                lines,
                x: room,
                cin,
                cout,
                blocks: &blocks,
                weights: &weights,
                taps: lines.taps(),
                side_by_side,
                y: out,
                to: (sample * channels + from) * voxels,
            };
            super::for_each(lines.span.div_ceil(side_by_side * width), |index| {
                job.chunk_at(level, index);
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::conv3_dw::run as weight_run;
    use super::*;
    use proptest::prelude::*;

    /// The definition, in f64.
    fn reference(x: &[f32], w: &[f32], cin: usize, cout: usize, [d, h, wd]: Extent) -> Vec<f64> {
        let mut y = vec![0.0; cout * d * h * wd];
        for o in 0..cout {
            for z in 0..d {
                for r in 0..h {
                    for c in 0..wd {
                        let mut sum = 0.0;
                        for i in 0..cin {
                            for tap in 0..27 {
                                let (zz, yy, xx) = (z + tap / 9, r + tap / 3 % 3, c + tap % 3);
                                if (1..=d).contains(&zz) && (1..=h).contains(&yy) && (1..=wd).contains(&xx) {
                                    let v = x[((i * d + zz - 1) * h + yy - 1) * wd + xx - 1];
                                    sum += f64::from(v) * f64::from(w[(o * cin + i) * 27 + tap]);
                                }
                            }
                        }
                        y[((o * d + z) * h + r) * wd + c] = sum;
                    }
                }
            }
        }
        y
    }

    fn input(values: &[f32], channels: usize, extent: Extent) -> Input<'_> {
        Input {
            maps: Maps {
                values,
                batch: 1,
                channels,
                from: 0,
                count: channels,
            },
            folded: None,
            extent,
        }
    }

    fn output(values: &mut [f32], channels: usize) -> Output<'_> {
        Output {
            values,
            channels,
            from: 0,
        }
    }

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        (0..n)
            .map(|_| {
                s ^= s << 13;
                s ^= s >> 7;
                s ^= s << 17;
                (s >> 40) as f32 / (1u64 << 23) as f32 - 1.0
            })
            .collect()
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn forward_is_the_definition_at_every_level(
            cin in 1usize..7, cout in 1usize..15, d in 1usize..6, h in 1usize..7, w in 1usize..38, seed: u64
        ) {
            let extent = [d, h, w];
            let x = noise(cin * d * h * w, seed);
            let k = noise(cin * cout * 27, seed ^ 1);
            let expected = reference(&x, &k, cin, cout, extent);
            for level in crate::net::kernels::cpu::simd::levels() {
                let mut y = vec![f32::NAN; cout * d * h * w];
                run(level, input(&x, cin, extent), &k, cout, Weights::Forward, output(&mut y, cout));
                for (got, want) in y.iter().zip(&expected) {
                    // Up to 162 additions, each rounding a partial sum that with random signs stays below 30:
                    // 162 * 30 * 2^-24. A tap in the wrong place is off by a thousand times that.
                    prop_assert!((f64::from(*got) - want).abs() < 3e-4, "{level:?}: {got} for {want}");
                }
            }
        }

        #[test]
        fn gradients_are_the_adjoints(
            cin in 1usize..7, cout in 1usize..15, d in 1usize..6, h in 1usize..7, w in 1usize..38, seed: u64
        ) {
            // <w * x, dy> is linear in x and in w: its derivatives are exact inner products.
            let extent = [d, h, w];
            let x = noise(cin * d * h * w, seed);
            let k = noise(cin * cout * 27, seed ^ 1);
            let dy = noise(cout * d * h * w, seed ^ 2);
            let y: Vec<f32> = reference(&x, &k, cin, cout, extent).iter().map(|v| *v as f32).collect();
            let product = dot(&y, &dy);
            let scale = 1e-5 * (1.0 + y.len() as f64);
            for level in crate::net::kernels::cpu::simd::levels() {
                let mut dx = vec![f32::NAN; x.len()];
                run(level, input(&dy, cout, extent), &k, cin, Weights::Mirrored, output(&mut dx, cin));
                prop_assert!((dot(&dx, &x) - product).abs() < scale, "{level:?} dx");
                let mut dw = vec![0.0; k.len()];
                weight_run(level, input(&x, cin, extent), input(&dy, cout, extent).maps, &mut dw);
                prop_assert!((dot(&dw, &k) - product).abs() < scale, "{level:?} dw");
            }
        }
    }

    #[test]
    fn weight_gradient_is_the_definition_for_each_tap() {
        let (cin, cout, extent) = (2, 5, [3, 4, 5]);
        let x = noise(cin * 60, 5);
        let dy = noise(cout * 60, 6);
        for level in crate::net::kernels::cpu::simd::levels() {
            let mut dw = vec![0.0; cin * cout * 27];
            weight_run(
                level,
                input(&x, cin, extent),
                input(&dy, cout, extent).maps,
                &mut dw,
            );
            for at in 0..dw.len() {
                // The derivative with respect to one weight is the output for the unit kernel there.
                let mut unit = vec![0.0; dw.len()];
                unit[at] = 1.0;
                let y = reference(&x, &unit, cin, cout, extent);
                let want: f64 = y.iter().zip(&dy).map(|(y, g)| y * f64::from(*g)).sum();
                assert!((f64::from(dw[at]) - want).abs() < 1e-5, "{level:?} weight {at}");
            }
        }
    }
}
