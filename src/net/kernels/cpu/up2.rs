//! The transition up: a 3x3x3 transposed convolution of stride 2 that doubles each side, forward and both gradients.
//!
//! Its alignment is Keras' 'same': output `2 i + t` receives tap `t` of input `i`, and the last voxel of the full `2 n + 1` is
//! dropped on every axis (method.md 2.1). So an even output hears tap 0 of its own input and tap 2 of the one before, an odd
//! one tap 1 of its own; each of the eight parities is a convolution of the smaller maps, and no product is made in vain.

use super::conv3::Output;
use super::dots::{self, SEGMENT, Triple};
use super::grid::{Extent, Grid};
use super::norm::{Maps, relu};
use super::shared::{Shared, long_scratch};
use super::simd::{Lanes, Level, Work, at_level};
use super::stream::{Chunks, Stream, blocks, packed, shape_of};

/// Taps of an axis that an output of this parity hears, each with how far back its input lies.
const HEARD: [&[(usize, usize)]; 2] = [&[(0, 0), (2, 1)], &[(1, 0)]];

/// Where tap `t` of an axis reaches: the parity of the output, and how far ahead of the input it lies.
const REACHED: [(usize, usize); 3] = [(0, 0), (1, 0), (0, 1)];

/// The three of an index whose digits are z, y, x, z slowest.
fn digits(index: usize, base: usize) -> [usize; 3] {
    [index / (base * base), index / base % base, index % base]
}

/// Copies channels into their lines.
fn fill(grid: &Grid, extent: Extent, maps: Maps<'_>, sample: usize, lines: &mut [f32]) {
    let [_, h, w] = extent;
    super::for_each_chunk(lines, grid.line, |c, line| {
        grid.border(line);
        for (row, from) in maps.line(sample, c).chunks_exact(w).enumerate() {
            line[grid.row(row / h, row % h)..][..w].copy_from_slice(from);
        }
    });
}

/// Copies channels of twice the side into eight lines each, one a parity (z, y, x, z slowest).
fn fill_parities(grid: &Grid, small: Extent, maps: Maps<'_>, sample: usize, lines: &mut [f32]) {
    let [_, h, w] = small;
    super::for_each_chunk(lines, 8 * grid.line, |c, lines| {
        for line in lines.chunks_exact_mut(grid.line) {
            grid.border(line);
        }
        for (row, from) in maps.line(sample, c).chunks_exact(2 * w).enumerate() {
            let (z, y) = (row / (2 * h), row % (2 * h));
            let (even, odd) =
                lines[(z % 2 * 2 + y % 2) * 2 * grid.line..][..2 * grid.line].split_at_mut(grid.line);
            let at = grid.row(z / 2, y / 2);
            let pairs = even[at..at + w].iter_mut().zip(&mut odd[at..at + w]);
            for ((even, odd), pair) in pairs.zip(from.chunks_exact(2)) {
                (*even, *odd) = (pair[0], pair[1]);
            }
        }
    });
}

/// A value that is summed: its channel, the tap it is weighted by, and where it lies.
type Term = (usize, usize, isize);

fn offsets_of(terms: &[Term]) -> Vec<isize> {
    terms.iter().map(|(.., offset)| *offset).collect()
}

/// The eight outputs of chunks of inputs, of all channels of one sample.
struct Raise<'a> {
    grid: Grid,
    small: Extent,
    x: &'a [f32],
    cout: usize,
    /// What is summed for each parity of an output (z, y, x, z slowest).
    parities: [Stream<'a>; 8],
    /// Added before a ReLU, if given.
    bias: Option<&'a [f32]>,
    chunks: Chunks,
    y: Shared<'a>,
    /// Where the sample's first channel lies in `y`.
    to: usize,
}

impl Work<f32> for Raise<'_> {
    /// `room` takes the sums of two parities along x, `[parity][output channel][position]`.
    ///
    /// # Safety
    /// Nobody else may write these outputs.
    #[inline(always)]
    unsafe fn run<S: Lanes>(&self, index: usize, room: &mut [f32]) {
        let (first, count, row) = self.chunks.part::<S>(index);
        let x = self.x[self.grid.first + first..].as_ptr();
        let [d, h, w] = self.small;
        let (even, odd) = room[..2 * self.cout * row].split_at_mut(self.cout * row);
        for (zy, pair) in self.parities.chunks_exact(2).enumerate() {
            // SAFETY: lines carry slack after the last position.
            unsafe {
                pair[0].sums::<S>(x, row, even);
                pair[1].sums::<S>(x, row, odd);
            }
            for o in 0..self.cout {
                let bias = self.bias.map(|bias| bias[o]);
                for (place, [z, y, x], run) in self.grid.runs(first, count) {
                    let at = ((o * 2 * d + 2 * z + zy / 2) * 2 * h + 2 * y + zy % 2) * 2 * w + 2 * x;
                    // SAFETY: the caller's contract.
                    let to = unsafe { self.y.part(self.to + at, 2 * run) };
                    let from = even[o * row + place..][..run]
                        .iter()
                        .zip(&odd[o * row + place..][..run]);
                    for (pair, (even, odd)) in to.chunks_exact_mut(2).zip(from) {
                        (pair[0], pair[1]) = (*even, *odd);
                    }
                    if let Some(bias) = bias {
                        for value in to {
                            *value = relu(*value + bias);
                        }
                    }
                }
            }
        }
    }
}

/// The larger maps; `w` is `[cin, cout, 3, 3, 3]` and `small` the extent of `x`. With a bias, it and a ReLU are applied.
pub(crate) fn up2(x: Maps<'_>, small: Extent, w: &[f32], bias: Option<&[f32]>, cout: usize, y: Output<'_>) {
    raise(super::simd::level(), x, small, w, bias, cout, y);
}

fn raise(
    level: Level,
    x: Maps<'_>,
    small: Extent,
    w: &[f32],
    bias: Option<&[f32]>,
    cout: usize,
    y: Output<'_>,
) {
    let Output {
        values,
        channels,
        from,
    } = y;
    let cin = x.count;
    let voxels: usize = small.iter().product();
    assert_eq!(x.voxels(), voxels, "up2: channels of {small:?}");
    assert_eq!(w.len(), cin * cout * 27, "up2: {} weights", w.len());
    assert_eq!(values.len(), x.batch * channels * 8 * voxels, "up2: output");
    assert!(from + cout <= channels, "up2: {cout} channels from {from}");
    if voxels == 0 {
        return;
    }
    let grid = Grid::new(small, 1);
    let (width, sizes) = shape_of(level);
    let blocks = blocks(cout, sizes);
    let sums: [_; 8] = std::array::from_fn(|parity| {
        let [z, y, x] = digits(parity, 2).map(|p| HEARD[p]);
        let mut terms = Vec::new();
        for c in 0..cin {
            for (tz, bz) in z {
                for (ty, by) in y {
                    for (tx, bx) in x {
                        let back = bz * grid.plane + by * grid.pitch + bx;
                        let offset = (c * grid.line) as isize - back as isize;
                        terms.push((c, tz * 9 + ty * 3 + tx, offset));
                    }
                }
            }
        }
        let weights = packed(&blocks, terms.len(), |t, o| {
            let (c, tap, _) = terms[t];
            w[(c * cout + o) * 27 + tap]
        });
        (offsets_of(&terms), weights)
    });
    let parities = std::array::from_fn(|parity| {
        let (offsets, weights) = &sums[parity];
        Stream {
            offsets,
            weights,
            blocks: &blocks,
        }
    });
    let chunks = Chunks::new(grid.span, width);
    let out = Shared::new(values);
    for sample in 0..x.batch {
        long_scratch(cin * grid.line, |lines| {
            fill(&grid, small, x, sample, lines);
            let job = Raise {
                grid,
                small,
                x: lines,
                cout,
                parities,
                bias,
                chunks,
                y: out,
                to: (sample * channels + from) * 8 * voxels,
            };
            // SAFETY: `level` was detected on this processor (or is the base); chunks do not overlap.
            unsafe { chunks.run(level, 2 * cout, &job) };
        });
    }
}

/// The gradients of chunks of inputs, of all channels of one sample.
struct Lower<'a> {
    grid: Grid,
    small: Extent,
    dy: &'a [f32],
    cin: usize,
    sum: Stream<'a>,
    chunks: Chunks,
    dx: Shared<'a>,
    /// Where the sample's first channel lies in `dx`.
    to: usize,
}

impl Work<f32> for Lower<'_> {
    /// # Safety
    /// Nobody else may write these gradients.
    #[inline(always)]
    unsafe fn run<S: Lanes>(&self, index: usize, room: &mut [f32]) {
        let (first, count, row) = self.chunks.part::<S>(index);
        let dy = self.dy[self.grid.first + first..].as_ptr();
        // SAFETY: lines carry slack after the last position.
        unsafe { self.sum.sums::<S>(dy, row, room) };
        let [d, h, w] = self.small;
        for (i, sums) in room.chunks_exact(row).take(self.cin).enumerate() {
            for (place, [z, y, x], run) in self.grid.runs(first, count) {
                let at = self.to + ((i * d + z) * h + y) * w + x;
                // SAFETY: the caller's contract.
                unsafe { self.dx.write(at, &sums[place..][..run]) };
            }
        }
    }
}

/// `dx [batch, cin, voxels]` from the gradient of the larger maps; `w` as in [`up2`].
pub(crate) fn up2_dx(dy: Maps<'_>, small: Extent, w: &[f32], cin: usize, dx: &mut [f32]) {
    lower(super::simd::level(), dy, small, w, cin, dx);
}

fn lower(level: Level, dy: Maps<'_>, small: Extent, w: &[f32], cin: usize, dx: &mut [f32]) {
    let cout = dy.count;
    let voxels: usize = small.iter().product();
    assert_eq!(dy.voxels(), 8 * voxels, "up2: gradients of {small:?}");
    assert_eq!(w.len(), cin * cout * 27, "up2: {} weights", w.len());
    assert_eq!(dx.len(), dy.batch * cin * voxels, "up2: gradient");
    if voxels == 0 {
        return;
    }
    let grid = Grid::new(small, 1);
    let (width, sizes) = shape_of(level);
    let blocks = blocks(cin, sizes);
    let mut terms = Vec::new();
    for o in 0..cout {
        for tap in 0..27 {
            let [(pz, az), (py, ay), (px, ax)] = digits(tap, 3).map(|t| REACHED[t]);
            let line = o * 8 + (pz * 2 + py) * 2 + px;
            let ahead = az * grid.plane + ay * grid.pitch + ax;
            terms.push((o, tap, (line * grid.line + ahead) as isize));
        }
    }
    let weights = packed(&blocks, terms.len(), |t, i| {
        let (o, tap, _) = terms[t];
        w[(i * cout + o) * 27 + tap]
    });
    let offsets = offsets_of(&terms);
    let chunks = Chunks::new(grid.span, width);
    let out = Shared::new(dx);
    for sample in 0..dy.batch {
        long_scratch(8 * cout * grid.line, |lines| {
            fill_parities(&grid, small, dy, sample, lines);
            let job = Lower {
                grid,
                small,
                dy: lines,
                cin,
                sum: Stream {
                    offsets: &offsets,
                    weights: &weights,
                    blocks: &blocks,
                },
                chunks,
                dx: out,
                to: sample * cin * voxels,
            };
            // SAFETY: `level` was detected on this processor (or is the base); chunks do not overlap.
            unsafe { chunks.run(level, cin, &job) };
        });
    }
}

/// The lines a weight gradient is summed over.
struct Weigh<'a> {
    grid: Grid,
    x: &'a [f32],
    dy: &'a [f32],
    cin: usize,
    blocks: &'a [(usize, usize)],
}

impl Work<Triple> for Weigh<'_> {
    /// Sums for one output channel: `out` is `[z, y tap][cin][x tap]`.
    #[inline(always)]
    unsafe fn run<S: Lanes>(&self, output: usize, out: &mut [Triple]) {
        let grid = &self.grid;
        for start in (0..grid.span).step_by(SEGMENT) {
            let count = SEGMENT.min(grid.span - start);
            let x = self.x[grid.first + start..].as_ptr();
            for (zy, out) in out.chunks_exact_mut(self.cin).enumerate() {
                let [(pz, az), (py, ay)] = [zy / 3, zy % 3].map(|t| REACHED[t]);
                let line = (output * 8 + (pz * 2 + py) * 2) * grid.line;
                let at = line + grid.first + start + az * grid.plane + ay * grid.pitch;
                let even = self.dy[at..].as_ptr();
                // SAFETY: a plane of zeros and slack lie after the last position.
                unsafe {
                    let b = [even, even.add(grid.line), even.add(1)];
                    dots::add::<S, 3>(x, grid.line, self.blocks, b, count, out);
                }
            }
        }
    }
}

/// Adds `dw`, `[cin, cout, 3, 3, 3]`, from the input and the gradient of the larger maps.
pub(crate) fn up2_dw(x: Maps<'_>, dy: Maps<'_>, small: Extent, dw: &mut [f32]) {
    weigh(super::simd::level(), x, dy, small, dw);
}

fn weigh(level: Level, x: Maps<'_>, dy: Maps<'_>, small: Extent, dw: &mut [f32]) {
    let (cin, cout) = (x.count, dy.count);
    let voxels: usize = small.iter().product();
    assert_eq!(x.voxels(), voxels, "up2: channels of {small:?}");
    assert_eq!(dy.voxels(), 8 * voxels, "up2: gradients of {small:?}");
    assert_eq!(x.batch, dy.batch, "up2: samples");
    assert_eq!(dw.len(), cin * cout * 27, "up2: {} weights", dw.len());
    if voxels == 0 {
        return;
    }
    let grid = Grid::new(small, 1);
    let blocks = blocks(cin, dots::shape_of(level));
    let mut sums = vec![[0.0f32; 3]; cout * 9 * cin];
    for sample in 0..x.batch {
        long_scratch((cin + 8 * cout) * grid.line, |lines| {
            let (of_x, of_dy) = lines.split_at_mut(cin * grid.line);
            fill(&grid, small, x, sample, of_x);
            fill_parities(&grid, small, dy, sample, of_dy);
            let job = Weigh {
                grid,
                x: of_x,
                dy: of_dy,
                cin,
                blocks: &blocks,
            };
            super::for_each_chunk(&mut sums, 9 * cin, |output, out| {
                // SAFETY: `level` was detected on this processor (or is the base).
                unsafe { at_level(level, &job, output, out) };
            });
        });
    }
    for (at, w) in dw.iter_mut().enumerate() {
        let (i, o, tap) = (at / 27 / cout, at / 27 % cout, at % 27);
        *w += sums[(o * 9 + tap / 3) * cin + i][tap % 3];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::kernels::cpu::simd::levels;
    use proptest::prelude::*;

    fn noise(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| (((i + seed) * 7919 % 2003) as f32) / 1001.0 - 1.0)
            .collect()
    }

    fn maps(values: &[f32], batch: usize, channels: usize) -> Maps<'_> {
        Maps {
            values,
            batch,
            channels,
            from: 0,
            count: channels,
        }
    }

    /// The definition, in f64: tap `t` of input `i` is added to output `2 i + t`.
    fn reference(x: &[f32], w: &[f32], batch: usize, [cin, cout]: [usize; 2], small: Extent) -> Vec<f64> {
        let [d, h, wd] = small;
        let voxels = d * h * wd;
        let mut y = vec![0.0; batch * cout * 8 * voxels];
        for (at, v) in x.iter().enumerate() {
            let (b, c, voxel) = (at / voxels / cin, at / voxels % cin, at % voxels);
            let from = [voxel / (h * wd), voxel / wd % h, voxel % wd];
            for o in 0..cout {
                for tap in 0..27 {
                    let t = digits(tap, 3);
                    let [z, r, q] = std::array::from_fn(|i| 2 * from[i] + t[i]);
                    if z < 2 * d && r < 2 * h && q < 2 * wd {
                        let to = (((b * cout + o) * 2 * d + z) * 2 * h + r) * 2 * wd + q;
                        y[to] += f64::from(*v) * f64::from(w[(c * cout + o) * 27 + tap]);
                    }
                }
            }
        }
        y
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn it_and_its_gradients_are_the_definition_at_every_level(
            batch in 1_usize..3, cin in 1_usize..10, cout in 1_usize..14, d in 1_usize..4, h in 1_usize..5, w in 1_usize..20,
            seed in 0_usize..1000,
        ) {
            let small = [d, h, w];
            let voxels = d * h * w;
            let (x, k) = (noise(batch * cin * voxels, seed), noise(cin * cout * 27, seed + 1));
            let dy = noise(batch * cout * 8 * voxels, seed + 2);
            let expected = reference(&x, &k, batch, [cin, cout], small);
            for level in levels() {
                // One channel before and one behind must stay.
                let channels = cout + 2;
                let mut y = vec![7.0; batch * channels * 8 * voxels];
                let to = Output { values: &mut y, channels, from: 1 };
                raise(level, maps(&x, batch, cin), small, &k, None, cout, to);
                for (at, got) in y.iter().enumerate() {
                    let (b, o, v) = (at / (channels * 8 * voxels), at / (8 * voxels) % channels, at % (8 * voxels));
                    if o == 0 || o > cout {
                        prop_assert_eq!(*got, 7.0);
                        continue;
                    }
                    let want = expected[(b * cout + o - 1) * 8 * voxels + v];
                    // Up to 72 products below 1 in f32: 72 * 72 * 2^-24 at worst.
                    prop_assert!((f64::from(*got) - want).abs() < 3e-4, "{level:?} {at}: {got} for {want}");
                }
                // <up2(x, w), dy> is linear in x and in w: its derivatives there are inner products with the definition.
                let mut dx = vec![f32::NAN; x.len()];
                lower(level, maps(&dy, batch, cout), small, &k, cin, &mut dx);
                let mut dw = vec![0.0; k.len()];
                weigh(level, maps(&x, batch, cin), maps(&dy, batch, cout), small, &mut dw);
                for probe in 0..3 {
                    let dot = |y: &[f64]| y.iter().zip(&dy).map(|(y, g)| y * f64::from(*g)).sum::<f64>();
                    let at = (seed * 31 + probe * 17) % x.len();
                    let mut unit = vec![0.0; x.len()];
                    unit[at] = 1.0;
                    let want = dot(&reference(&unit, &k, batch, [cin, cout], small));
                    prop_assert!((f64::from(dx[at]) - want).abs() < 3e-4, "{level:?} dx {at}: {} for {want}", dx[at]);
                    let at = (seed * 13 + probe * 7) % k.len();
                    let mut unit = vec![0.0; k.len()];
                    unit[at] = 1.0;
                    let want = dot(&reference(&x, &unit, batch, [cin, cout], small));
                    prop_assert!((f64::from(dw[at]) - want).abs() < 3e-4, "{level:?} dw {at}: {} for {want}", dw[at]);
                }
            }
        }
    }

    #[test]
    fn a_bias_comes_with_a_relu() {
        let (small, x, w) = ([1, 1, 2], [1.0, -1.0], [1.0; 27]);
        let (mut plain, mut biased) = (vec![0.0; 16], vec![0.0; 16]);
        let to = |values| Output {
            values,
            channels: 1,
            from: 0,
        };
        up2(maps(&x, 1, 1), small, &w, None, 1, to(&mut plain));
        up2(maps(&x, 1, 1), small, &w, Some(&[-0.5]), 1, to(&mut biased));
        assert!(plain.iter().any(|v| *v < 0.0));
        for (plain, biased) in plain.iter().zip(&biased) {
            assert_eq!(*biased, (plain - 0.5).max(0.0));
        }
    }
}
