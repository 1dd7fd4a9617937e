//! 3x3x3 convolution, stride 1, zero padding 1: forward and data gradient.
//!
//! Both are sums, at each of [`winograd`](crate::net::kernels::winograd)'s points alone, over input channels and nine taps along y
//! and x; [`points`](super::points) has the layout. A block of output channels times a few vectors of voxels stays in
//! registers while all input channels stream past.

use super::grid::Extent;
use super::norm::Maps;
use super::points::{Lines, Side, output};
use super::shared::{Shared, long_scratch};
use super::simd::{Lanes, Level, Work};
use super::stream::{Chunks, Stream, blocks, shape_of};
use crate::net::kernels::winograd::{self, POINTS, TILE};

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

/// All output channels of chunks of positions of one sample.
struct Job<'a> {
    lines: Lines,
    x: &'a [f32],
    cout: usize,
    /// What is summed at each point.
    points: [Stream<'a>; POINTS],
    chunks: Chunks,
    y: Shared<'a>,
    /// Where the sample's first channel lies in `y`.
    to: usize,
}

impl Work<f32> for Job<'_> {
    /// `room` takes the sums, `[point][output channel][position]`, and the voxels of one channel, `[voxel of the tile][position]`.
    ///
    /// # Safety
    /// Nobody else may write this chunk's voxels.
    #[inline(always)]
    unsafe fn run<S: Lanes>(&self, index: usize, room: &mut [f32]) {
        let grid = &self.lines.grid;
        let (first, count, row) = self.chunks.part::<S>(index);
        // The last read of the last chunk stays inside the slack.
        debug_assert!(2 * grid.first + first + row <= grid.line);
        let (sums, voxels) = room[..(POINTS * self.cout + TILE) * row].split_at_mut(POINTS * self.cout * row);
        for (p, (point, sums)) in self
            .points
            .iter()
            .zip(sums.chunks_exact_mut(self.cout * row))
            .enumerate()
        {
            let x = self.x[p * grid.line + grid.first + first..].as_ptr();
            // SAFETY: lines carry slack after the last position.
            unsafe { point.sums::<S>(x, row, sums) };
        }
        let volume = self.lines.volume();
        for o in 0..self.cout {
            let of_point = std::array::from_fn(|p| &sums[(p * self.cout + o) * row..][..row]);
            let mut planes = voxels.chunks_exact_mut(row);
            output(
                of_point,
                std::array::from_fn(|_| planes.next().unwrap_or_default()),
            );
            for (plane, place, voxel, run) in self.lines.runs(first, count) {
                let values = &voxels[plane * row + place..][..run];
                // SAFETY: the caller's contract.
                unsafe { self.y.write(self.to + o * volume + voxel, values) };
            }
        }
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
    let point = cin * cout * 9;
    let chunks = Chunks::new(lines.grid.span, width);
    let offsets: Vec<isize> = (0..cin)
        .flat_map(|i| lines.taps().map(|tap| (i * lines.channel) as isize + tap))
        .collect();
    let points = std::array::from_fn(|p| Stream {
        offsets: &offsets,
        weights: &weights[p * point..][..point],
        blocks: &blocks,
    });
    let out = Shared::new(values);
    for sample in 0..batch {
        long_scratch(cin * lines.channel, |room| {
            lines.fill(x.maps, sample, x.folded, Side::Input, room);
            let job = Job {
                lines,
                x: room,
                cout,
                points,
                chunks,
                y: out,
                to: (sample * channels + from) * voxels,
            };
            // SAFETY: `level` was detected on this processor (or is the base); chunks do not overlap.
            unsafe { chunks.run(level, POINTS * cout + TILE, &job) };
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
