//! 3x3x3 convolution, stride 1, zero padding 1: forward, data gradient and weight gradient.
//!
//! The input is copied once into a zero-bordered buffer. There every tap of the kernel is a constant offset, so a
//! convolution is a sum of shifted copies of one long line of voxels: no branches at borders, whole vectors whatever
//! the patch side, and the few border positions computed in vain are dropped when the result is copied out. A block
//! of output channels times a few vectors of voxels stays in registers while all input channels stream past.

use super::norm::Maps;
use super::shared::{Shared, long_scratch, scratch};
use super::simd::{F4, Lanes, Level};
#[cfg(target_arch = "x86_64")]
use super::simd::{F8, F16};

/// Voxels along z, y, x.
pub(crate) type Extent = [usize; 3];

/// Spare values after each padded channel, so that the last vector may run over.
const SLACK: usize = 64;

/// A zero-bordered line of voxels for one extent.
#[derive(Clone, Copy)]
struct Line {
    extent: Extent,
    /// Distance of neighbours in y.
    pitch: usize,
    /// Distance of neighbours in z.
    plane: usize,
    /// Position of voxel (0, 0, 0).
    first: usize,
    /// Positions from the first voxel to the last, inclusive of the borders between.
    span: usize,
    /// Distance of neighbouring channels.
    channel: usize,
}

impl Line {
    fn new(extent: Extent) -> Self {
        let [d, h, w] = extent;
        let pitch = w + 2;
        let plane = (h + 2) * pitch;
        let first = plane + pitch + 1;
        let span = if d * h * w == 0 {
            0
        } else {
            (d - 1) * plane + (h - 1) * pitch + w
        };
        Self {
            extent,
            pitch,
            plane,
            first,
            span,
            channel: (d + 2) * plane + SLACK,
        }
    }

    /// Offset of each tap, z slowest.
    fn taps(&self) -> [isize; 27] {
        let mut taps = [0; 27];
        for (i, tap) in taps.iter_mut().enumerate() {
            let [z, y, x] = [i / 9, i / 3 % 3, i % 3].map(|k| k as isize - 1);
            *tap = z * self.plane as isize + y * self.pitch as isize + x;
        }
        taps
    }

    /// Copies channels of a sample into zero-bordered lines, each normalised if asked, as [`forward`] explains.
    fn pad(&self, source: Maps<'_>, sample: usize, folded: Option<&[f32]>, lines: &mut [f32]) {
        let [d, h, w] = self.extent;
        super::for_each_chunk(lines, self.channel, |c, to| {
            let from = source.line(sample, c);
            to.fill(0.0);
            let folded = folded.map(|f| (f[c], f[source.count + c]));
            for (row, from) in from.chunks_exact(w).enumerate().take(d * h) {
                let at = self.first + row / h * self.plane + row % h * self.pitch;
                super::norm::load(from, folded, &mut to[at..at + w]);
            }
        });
    }

    /// The voxels among `count` positions from `first` on, as runs `(position - first, voxel, length)`.
    fn runs(&self, first: usize, count: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let [d, h, w] = self.extent;
        let (pitch, plane) = (self.pitch, self.plane);
        let mut at = first;
        std::iter::from_fn(move || {
            while at < first + count {
                let (z, y, x) = (at / plane, at % plane / pitch, at % pitch);
                let left = first + count - at;
                let from = at;
                at += left.min(pitch - x);
                if z < d && y < h && x < w {
                    return Some((from - first, (z * h + y) * w + x, left.min(w - x)));
                }
            }
            None
        })
    }
}

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

/// Weights in the order the kernel reads them: per block `[input channel][tap][output channel of the block]`.
fn pack(w: &[f32], cin: usize, cout: usize, blocks: &[(usize, usize)], how: Weights) -> Vec<f32> {
    let mut packed = Vec::with_capacity(w.len());
    for &(at, size) in blocks {
        for i in 0..cin {
            for tap in 0..27 {
                for o in at..at + size {
                    packed.push(match how {
                        Weights::Forward => w[(o * cin + i) * 27 + tap],
                        // The weights' own shape is [cin, cout] here: roles are swapped.
                        Weights::Mirrored => w[(i * cout + o) * 27 + 26 - tap],
                    });
                }
            }
        }
    }
    packed
}

/// One register block: `CO` output channels times `V` vectors of voxels, all input channels and taps.
///
/// # Safety
/// `x` must be readable at every tap of `cin` lines for `V * N` values, `w` hold `cin * 27 * CO` values, and `y` take
/// `CO` rows of `V * N` values.
#[inline(always)]
unsafe fn block<S: Lanes, const CO: usize, const V: usize>(
    x: *const f32,
    channel: usize,
    cin: usize,
    taps: &[isize; 27],
    mut w: *const f32,
    y: *mut f32,
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
                for (o, row) in acc.iter_mut().enumerate() {
                    let weight = S::splat(*w.add(o));
                    for (a, value) in row.iter_mut().zip(values) {
                        *a = a.add_product(weight, value);
                    }
                }
                w = w.add(CO);
            }
        }
        for (o, row) in acc.iter().enumerate() {
            for (v, a) in row.iter().enumerate() {
                a.store(y.add((o * V + v) * S::N));
            }
        }
    }
}

/// All output channels of chunks of voxels of one sample.
struct Job<'a> {
    line: Line,
    x: &'a [f32],
    cin: usize,
    cout: usize,
    blocks: &'a [(usize, usize)],
    weights: &'a [f32],
    taps: [isize; 27],
    y: Shared<'a>,
    /// Where the sample's first channel lies in `y`.
    to: usize,
}

impl Job<'_> {
    /// `out` is scratch for `cout * V * N` values.
    ///
    /// # Safety
    /// Must run at the level of `S`; nobody else may write this chunk's voxels.
    #[inline(always)]
    unsafe fn chunk<S: Lanes, const V: usize>(&self, index: usize, out: &mut [f32]) {
        let width = V * S::N;
        debug_assert_eq!(out.len(), self.cout * width);
        let at = self.line.first + index * width;
        // The last read of the last chunk stays inside the slack.
        debug_assert!(at + width + self.line.first <= self.line.channel + self.line.first);
        let x = self.x[at..].as_ptr();
        for &(o, size) in self.blocks {
            let w = self.weights[o * self.cin * 27..].as_ptr();
            let y = out[o * width..].as_mut_ptr();
            // SAFETY: lines carry SLACK values after the last voxel; weights are packed for these blocks.
            unsafe {
                match size {
                    12 => block::<S, 12, V>(x, self.line.channel, self.cin, &self.taps, w, y),
                    8 => block::<S, 8, V>(x, self.line.channel, self.cin, &self.taps, w, y),
                    6 => block::<S, 6, V>(x, self.line.channel, self.cin, &self.taps, w, y),
                    4 => block::<S, 4, V>(x, self.line.channel, self.cin, &self.taps, w, y),
                    2 => block::<S, 2, V>(x, self.line.channel, self.cin, &self.taps, w, y),
                    _ => block::<S, 1, V>(x, self.line.channel, self.cin, &self.taps, w, y),
                }
            }
        }
        // Without the borders.
        let voxels: usize = self.line.extent.iter().product();
        for (from, voxel, count) in self.line.runs(index * width, width) {
            for (o, row) in out.chunks_exact(width).enumerate() {
                // SAFETY: the caller's contract.
                unsafe {
                    self.y
                        .write(self.to + o * voxels + voxel, &row[from..from + count]);
                }
            }
        }
    }

    fn chunk_at(&self, level: Level, index: usize) {
        let (width, _) = shape_of(level);
        scratch(self.cout * width, |out| {
            // SAFETY: `level` was detected on this processor (or is the base); chunks do not overlap.
            unsafe {
                match level {
                    Level::Base => self.chunk::<F4, 2>(index, out),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => chunk_avx2(self, index, out),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => chunk_avx512(self, index, out),
                }
            }
        });
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn chunk_avx2(job: &Job<'_>, index: usize, out: &mut [f32]) {
    // SAFETY: this function's own features are those of `F8`; the rest is the caller's contract.
    unsafe { job.chunk::<F8, 2>(index, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn chunk_avx512(job: &Job<'_>, index: usize, out: &mut [f32]) {
    // SAFETY: this function's own features are those of `F16`; the rest is the caller's contract.
    unsafe { job.chunk::<F16, 2>(index, out) }
}

/// Voxels a chunk holds and channel blocks that fit the registers.
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
    let line = Line::new(x.extent);
    let (width, sizes) = shape_of(level);
    let blocks = blocks(cout, sizes);
    let weights = pack(w, cin, cout, &blocks, how);
    let out = Shared::new(values);
    for sample in 0..batch {
        long_scratch(cin * line.channel, |padded| {
            line.pad(x.maps, sample, x.folded, padded);
            let job = Job {
                line,
                x: padded,
                cin,
                cout,
                blocks: &blocks,
                weights: &weights,
                taps: line.taps(),
                y: out,
                to: (sample * channels + from) * voxels,
            };
            super::for_each(line.span.div_ceil(width), |index| job.chunk_at(level, index));
        });
    }
}

/// Voxels between two reductions of the weight gradient: keeps the lines in the cache and the f32 sums short.
const SEGMENT: usize = 4096;

/// One register block of the weight gradient: `CO` output channels times the three taps of one row.
///
/// # Safety
/// `dy` must be readable for `CO` lines of `count` rounded up to `N` values, `x` likewise at offsets 0, 1, 2.
#[inline(always)]
unsafe fn weight_block<S: Lanes, const CO: usize>(
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
struct WeightJob<'a> {
    line: Line,
    x: &'a [f32],
    dy: &'a [f32],
    cout: usize,
    blocks: &'a [(usize, usize)],
}

impl WeightJob<'_> {
    /// Sums for one input channel: `out` is `[9][cout][3]`.
    ///
    /// # Safety
    /// Must run at the level of `S`.
    #[inline(always)]
    unsafe fn channel<S: Lanes>(&self, input: usize, out: &mut [[f32; 3]]) {
        let x = self.x[input * self.line.channel..].as_ptr();
        let mut start = 0;
        while start < self.line.span {
            let count = SEGMENT.min(self.line.span - start);
            for row in 0..9 {
                let offset = (row / 3) * self.line.plane + (row % 3) * self.line.pitch;
                for &(o, size) in self.blocks {
                    let sums = &mut out[row * self.cout + o..row * self.cout + o + size];
                    let dy = self.dy[o * self.line.channel + self.line.first + start..].as_ptr();
                    // SAFETY: taps of a voxel start `first` positions before it, and the slack covers the rest.
                    unsafe {
                        let x = x.add(start + offset);
                        match size {
                            8 => weight_block::<S, 8>(dy, self.line.channel, x, count, sums),
                            4 => weight_block::<S, 4>(dy, self.line.channel, x, count, sums),
                            2 => weight_block::<S, 2>(dy, self.line.channel, x, count, sums),
                            _ => weight_block::<S, 1>(dy, self.line.channel, x, count, sums),
                        }
                    }
                }
            }
            start += count;
        }
    }

    fn channel_at(&self, level: Level, input: usize, out: &mut [[f32; 3]]) {
        // SAFETY: `level` was detected on this processor (or is the base).
        unsafe {
            match level {
                Level::Base => self.channel::<F4>(input, out),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => weight_avx2(self, input, out),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => weight_avx512(self, input, out),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn weight_avx2(job: &WeightJob<'_>, input: usize, out: &mut [[f32; 3]]) {
    // SAFETY: this function's own features are those of `F8`.
    unsafe { job.channel::<F8>(input, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn weight_avx512(job: &WeightJob<'_>, input: usize, out: &mut [[f32; 3]]) {
    // SAFETY: this function's own features are those of `F16`.
    unsafe { job.channel::<F16>(input, out) }
}

/// Adds `dw` (`[cout, cin, 3, 3, 3]`) from the input and the gradient of the output.
///
/// Every sum is taken in a fixed order, so the result does not depend on the number of threads.
pub(crate) fn weight_gradient(x: Input<'_>, dy: Maps<'_>, dw: &mut [f32]) {
    weight_run(super::simd::level(), x, dy, dw);
}

fn weight_run(level: Level, x: Input<'_>, dy: Maps<'_>, dw: &mut [f32]) {
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
    let line = Line::new(x.extent);
    let sizes: &[usize] = match level {
        // 16 registers: 4 x 3 accumulators.
        Level::Base => &[4, 2, 1],
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => &[4, 2, 1],
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => &[8, 4, 2, 1],
    };
    let blocks = blocks(cout, sizes);
    let mut sums = vec![[0.0f32; 3]; cin * 9 * cout];
    for sample in 0..x.maps.batch {
        long_scratch((cin + cout) * line.channel, |padded| {
            let (of_x, of_dy) = padded.split_at_mut(cin * line.channel);
            line.pad(x.maps, sample, x.folded, of_x);
            line.pad(dy, sample, None, of_dy);
            let job = WeightJob {
                line,
                x: of_x,
                dy: of_dy,
                cout,
                blocks: &blocks,
            };
            super::for_each_chunk(&mut sums, 9 * cout, |input, out| {
                job.channel_at(level, input, out);
            });
        });
    }
    for i in 0..cin {
        for row in 0..9 {
            for o in 0..cout {
                let at = (o * cin + i) * 27 + row * 3;
                for (w, s) in dw[at..at + 3].iter_mut().zip(sums[(i * 9 + row) * cout + o]) {
                    *w += s;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
