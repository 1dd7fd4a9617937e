//! Statistics of channels, normalisation and ReLU in one pass, ReLU's gradient.

use super::for_each_chunk;
use super::shared::Shared;
use crate::net::kernels::Normalisation;

/// Values summed in f32 before the sum goes on in f64.
pub(super) const RUN: usize = 1024;

/// Sum of `f` over pairs, f32 in sixteen lanes within a run, f64 between runs.
fn sum_over(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut total = 0.0f64;
    for (a, b) in a.chunks(RUN).zip(b.chunks(RUN)) {
        let mut lanes = [0.0f32; 16];
        let (a16, b16) = (a.chunks_exact(16), b.chunks_exact(16));
        for (x, y) in a16.remainder().iter().zip(b16.remainder()) {
            total += f64::from(f(*x, *y));
        }
        for (x, y) in a16.zip(b16) {
            for i in 0..16 {
                lanes[i] += f(x[i], y[i]);
            }
        }
        total += lanes.iter().map(|v| f64::from(*v)).sum::<f64>();
    }
    total
}

/// Some channels of `[batch, channels, voxels]`.
#[derive(Clone, Copy)]
pub(crate) struct Maps<'a> {
    /// All of them.
    pub(crate) values: &'a [f32],
    /// Samples.
    pub(crate) batch: usize,
    /// Channels of a sample.
    pub(crate) channels: usize,
    /// The first channel that is meant.
    pub(crate) from: usize,
    /// How many are meant.
    pub(crate) count: usize,
}

impl<'a> Maps<'a> {
    /// Voxels of a channel.
    pub(super) fn voxels(&self) -> usize {
        self.values
            .len()
            .checked_div(self.batch * self.channels)
            .unwrap_or(0)
    }

    /// Channel `c` of those that are meant.
    pub(super) fn line(&self, sample: usize, c: usize) -> &'a [f32] {
        let voxels = self.voxels();
        &self.values[(sample * self.channels + self.from + c) * voxels..][..voxels]
    }
}

/// Mean and (biased) variance of each channel over samples and voxels: `[2, count]`.
pub(crate) fn channel_stats(x: Maps<'_>) -> Vec<f32> {
    let n = (x.batch * x.voxels()) as f64;
    let mut pairs = vec![[0.0f32; 2]; x.count];
    for_each_chunk(&mut pairs, 1, |c, out| {
        let lines = || (0..x.batch).map(|b| x.line(b, c));
        let mean = lines().map(|l| sum_over(l, l, |v, _| v)).sum::<f64>() / n;
        let centre = mean as f32;
        // Two passes: the variance of values far from zero survives in f32.
        let square = lines()
            .map(|l| sum_over(l, l, |v, _| (v - centre) * (v - centre)))
            .sum::<f64>()
            / n;
        let shift = mean - f64::from(centre);
        out[0] = [mean as f32, (square - shift * shift).max(0.0) as f32];
    });
    pairs
        .iter()
        .map(|p| p[0])
        .chain(pairs.iter().map(|p| p[1]))
        .collect()
}

/// Row `i` of `[rows, channels]`.
pub(super) fn row(values: &[f32], channels: usize, i: usize) -> &[f32] {
    &values[i * channels..][..channels]
}

/// See [`Kernels::norm_rows`](crate::net::kernels::Kernels::norm_rows).
pub(crate) fn norm_rows(
    now: &[f32],
    running: &[f32],
    gamma: &[f32],
    beta: &[f32],
    norm: Normalisation,
) -> (Vec<f32>, Vec<f32>) {
    let n = gamma.len();
    let (mut rows, mut folded) = (vec![0.0; 6 * n], vec![0.0; 2 * n]);
    let epsilon = norm.epsilon as f32;
    for c in 0..n {
        let (old_mean, old_variance) = (running[c], running[n + c]);
        let old_rstd = (old_variance + epsilon).sqrt().recip();
        let of_channel = match norm.batch {
            None => [old_mean, old_rstd, 1.0, 0.0, old_mean, old_variance],
            Some(renorm) => {
                let (mean, variance) = (now[c], now[n + c]);
                let std = (variance + epsilon).sqrt();
                let [share, r_max, d_max] = [renorm.momentum, renorm.r_max, renorm.d_max].map(|v| v as f32);
                [
                    mean,
                    std.recip(),
                    (std * old_rstd).clamp(r_max.recip(), r_max),
                    ((mean - old_mean) * old_rstd).clamp(-d_max, d_max),
                    old_mean * (1.0 - share) + mean * share,
                    old_variance * (1.0 - share) + variance * share,
                ]
            }
        };
        for (i, value) in of_channel.into_iter().enumerate() {
            rows[i * n + c] = value;
        }
        let [mean, rstd, r, d, ..] = of_channel;
        let scale = rstd * r * gamma[c];
        folded[c] = scale;
        folded[n + c] = beta[c] + gamma[c] * d - mean * scale;
    }
    (rows, folded)
}

/// Scales and shifts made of statistics `[2, sample * count]` of `count` channels from `from` on, of `width`, by the normalisations
/// whose gamma and beta are `affine [norm, 2, width]`: written to `folds [norm, 2, sample * width]`.
pub(crate) fn scales_of(
    stats: &[f32],
    affine: &[f32],
    (width, from, count): (usize, usize, usize),
    epsilon: f32,
    folds: &mut [f32],
) {
    let columns = stats.len() / 2;
    let all = columns / count.max(1) * width;
    let norms = folds.chunks_exact_mut((2 * all).max(1));
    for (affine, folds) in affine.chunks_exact((2 * width).max(1)).zip(norms) {
        for column in 0..columns {
            let channel = from + column % count;
            let scale = (stats[columns + column] + epsilon).sqrt().recip() * affine[channel];
            let to = column / count * width + channel;
            folds[to] = scale;
            folds[all + to] = affine[width + channel] - stats[column] * scale;
        }
    }
}

/// Adds each channel's bias to `y [sample, channel, voxels]` and rectifies.
pub(crate) fn bias_relu(y: &mut [f32], bias: &[f32], voxels: usize) {
    for_each_chunk(y, voxels, |line, y| {
        let bias = bias[line % bias.len()];
        for y in y {
            *y = relu(*y + bias);
        }
    });
}

/// Turns `dy [batch, channel, voxels]` into the gradient of what a ReLU that answered `y` was given; returns its sum over each channel, which is the
/// gradient of a bias before the ReLU.
pub(crate) fn relu_backward(y: Maps<'_>, dy: &mut [f32]) -> Vec<f32> {
    let (n, voxels) = (y.count, y.voxels());
    let dy = Shared::new(dy);
    let mut sums = vec![0.0; n];
    for_each_chunk(&mut sums, 1, |c, sum| {
        let mut total = 0.0;
        for b in 0..y.batch {
            // SAFETY: this channel's lines are this job's alone.
            let dy = unsafe { dy.part((b * n + c) * voxels, voxels) };
            total += let_through(y.line(b, c), dy);
        }
        sum[0] = total as f32;
    });
    sums
}

/// Clears `dy` where `y` is zero; returns the sum of what is left.
#[inline(always)]
fn let_through(y: &[f32], dy: &mut [f32]) -> f64 {
    let mut total = 0.0;
    for (y, dy) in y.chunks(RUN).zip(dy.chunks_mut(RUN)) {
        let mut lanes = [0.0f32; 16];
        let mut add = |i: usize, y: f32, dy: &mut f32| {
            // NaN stays.
            *dy = if y <= 0.0 { 0.0 } else { *dy };
            lanes[i] += *dy;
        };
        let (y16, mut dy16) = (y.chunks_exact(16), dy.chunks_exact_mut(16));
        let rest = y16.remainder();
        for (y, dy) in y16.zip(&mut dy16) {
            for i in 0..16 {
                add(i, y[i], &mut dy[i]);
            }
        }
        for (i, (y, dy)) in rest.iter().zip(dy16.into_remainder()).enumerate() {
            add(i, *y, dy);
        }
        total += lanes.iter().map(|v| f64::from(*v)).sum::<f64>();
    }
    total
}

/// `max(0, x * scale + shift)` per channel; `folded` holds scales, then shifts; `y` is `[batch, count, voxels]`.
pub(crate) fn norm_relu(x: Maps<'_>, folded: &[f32], y: &mut [f32]) {
    for_each_chunk(y, x.voxels(), |line, y| {
        let c = line % x.count;
        load(
            x.line(line / x.count, c),
            Some((folded[c], folded[x.count + c])),
            y,
        );
    });
}

/// `max(0, v)`, but NaN stays: 0 would hide it.
#[inline(always)]
pub(super) fn relu(v: f32) -> f32 {
    if v < 0.0 { 0.0 } else { v }
}

/// Copies voxels of a channel, `max(0, x * scale + shift)` if asked.
#[inline(always)]
pub(super) fn load(x: &[f32], folded: Option<(f32, f32)>, y: &mut [f32]) {
    let Some((a, b)) = folded else {
        y.copy_from_slice(x);
        return;
    };
    for (y, x) in y.iter_mut().zip(x) {
        *y = relu(x * a + b);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| (((i + seed) * 7919 % 1009) as f32) / 504.0 - 1.0)
            .collect()
    }

    #[test]
    fn statistics_are_those_of_f64() {
        let x: Vec<f32> = values(2 * 3 * 1500, 3)
            .iter()
            .map(|v| v * 0.01 + 1000.0)
            .collect();
        let got = channel_stats(all(&x, 2, 3));
        for c in 0..3 {
            let line: Vec<f64> = (0..2)
                .flat_map(|b| x[(b * 3 + c) * 1500..][..1500].iter().map(|v| f64::from(*v)))
                .collect();
            let mean = line.iter().sum::<f64>() / 3000.0;
            let var = line.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 3000.0;
            assert!((f64::from(got[c]) - mean).abs() < 1e-4);
            assert!(
                (f64::from(got[3 + c]) - var).abs() < 1e-3 * var,
                "{} for {var}",
                got[3 + c]
            );
        }
    }

    pub(in super::super) fn all(values: &[f32], batch: usize, channels: usize) -> Maps<'_> {
        Maps {
            values,
            batch,
            channels,
            from: 0,
            count: channels,
        }
    }
}
