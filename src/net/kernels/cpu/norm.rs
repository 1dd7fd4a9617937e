//! Normalisation and ReLU in one pass, forward and backward.

use super::for_each_chunk;
use super::shared::Shared;
use crate::net::kernels::Normalisation;

/// Values summed in f32 before the sum goes on in f64.
const RUN: usize = 1024;

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
fn row(values: &[f32], channels: usize, i: usize) -> &[f32] {
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

/// Gradients of normalisation and ReLU, `rows` and `folded` being those of
/// [`Kernels::norm_rows`](crate::net::kernels::Kernels::norm_rows), `dy` `[batch, count, voxels]`.
///
/// Returns `[2, count]`, the gradients of gamma and beta, and adds that of `x` to the first `count` channels of each of
/// the samples in `dx`. Unless frozen, mean and rstd are differentiated too (Ioffe & Szegedy 2015; with r and d
/// constant, Ioffe 2017).
pub(crate) fn norm_relu_backward_into(
    x: Maps<'_>,
    dy: &[f32],
    rows: &[f32],
    folded: &[f32],
    frozen: bool,
    dx: &mut [f32],
) -> Vec<f32> {
    let (n, voxels) = (x.count, x.voxels());
    let channels = dx.len() / (x.batch * voxels).max(1);
    let dx = Shared::new(dx);
    let gradient = |b: usize, c: usize| &dy[(b * n + c) * voxels..][..voxels];
    backward(x, rows, folded, frozen, gradient, |b, c, slope| {
        // SAFETY: this channel's lines are this job's alone.
        let dx = unsafe { dx.part((b * channels + c) * voxels, voxels) };
        for ((dx, x), g) in dx.iter_mut().zip(x.line(b, c)).zip(gradient(b, c)) {
            *dx += slope.at(*x, *g);
        }
    })
}

/// The same with the gradient of `x` in the place of `dy`.
pub(crate) fn norm_relu_backward(
    x: Maps<'_>,
    rows: &[f32],
    folded: &[f32],
    frozen: bool,
    dy: &mut [f32],
) -> Vec<f32> {
    let (n, voxels) = (x.count, x.voxels());
    let dy = Shared::new(dy);
    // SAFETY: this channel's lines are this job's alone, which reads them before it writes them.
    let line = |b: usize, c: usize| unsafe { dy.part((b * n + c) * voxels, voxels) };
    backward(
        x,
        rows,
        folded,
        frozen,
        |b, c| &*line(b, c),
        |b, c, slope| {
            for (dy, x) in line(b, c).iter_mut().zip(x.line(b, c)) {
                *dy = slope.at(*x, *dy);
            }
        },
    )
}

/// What both do: `gradient(sample, channel)` is a line of the output's gradient, `give(sample, channel, slope)` makes that of `x`. Both are
/// called by one thread for a channel, all of the first before any of the second.
#[inline(always)]
fn backward<'a>(
    x: Maps<'_>,
    rows: &[f32],
    folded: &[f32],
    frozen: bool,
    gradient: impl Fn(usize, usize) -> &'a [f32] + Send + Sync,
    give: impl Fn(usize, usize, Slope) + Send + Sync,
) -> Vec<f32> {
    let n = x.count;
    if n == 0 || x.batch == 0 || x.voxels() == 0 {
        return vec![0.0; 2 * n];
    }
    let [mean, rstd, r, d] = [0, 1, 2, 3].map(|i| row(rows, n, i));
    let count = (x.batch * x.voxels()) as f64;
    let mut sums = vec![[0.0f64; 2]; n];
    // A channel's lines are read twice while they are in the cache.
    for_each_chunk(&mut sums, 1, |c, sums| {
        let mut slope = Slope {
            affine: (folded[c], folded[n + c]),
            standard: (mean[c], rstd[c]),
            of_statistics: [0.0; 2],
        };
        for b in 0..x.batch {
            let [of_beta, of_gamma] = gradient_sums(x.line(b, c), gradient(b, c), slope);
            sums[0][0] += of_beta;
            sums[0][1] += of_gamma;
        }
        if !frozen {
            slope.of_statistics = sums[0].map(|s| (s / count) as f32);
        }
        (0..x.batch).for_each(|b| give(b, c, slope));
    });
    let dgamma = sums
        .iter()
        .zip(r.iter().zip(d))
        .map(|(s, (r, d))| (s[1] * f64::from(*r) + s[0] * f64::from(*d)) as f32);
    dgamma.chain(sums.iter().map(|s| s[0] as f32)).collect()
}

/// A channel's normalisation, as its gradient needs it.
#[derive(Clone, Copy)]
struct Slope {
    /// Scale and shift.
    affine: (f32, f32),
    /// Mean and one over the standard deviation.
    standard: (f32, f32),
    /// Means of the gradient and of its product with the standardised value; zeros where statistics are not differentiated.
    of_statistics: [f32; 2],
}

impl Slope {
    /// What ReLU lets through of the gradient `g` at the value `x`, and the standardised value.
    #[inline(always)]
    fn through(self, x: f32, g: f32) -> (f32, f32) {
        let (scale, shift) = self.affine;
        let (mean, rstd) = self.standard;
        (if x * scale + shift > 0.0 { g } else { 0.0 }, (x - mean) * rstd)
    }

    /// The gradient of `x`, that of its statistics included.
    #[inline(always)]
    fn at(self, x: f32, g: f32) -> f32 {
        let (g, standardised) = self.through(x, g);
        let [s0, s1] = self.of_statistics;
        self.affine.0 * (g - s0 - standardised * s1)
    }
}

/// Sums over one line of the gradient that ReLU lets through: of it, and of its product with the standardised value.
#[inline(always)]
fn gradient_sums(x: &[f32], dy: &[f32], slope: Slope) -> [f64; 2] {
    let mut total = [0.0f64; 2];
    for (x, dy) in x.chunks(RUN).zip(dy.chunks(RUN)) {
        let mut lanes = [[0.0f32; 16]; 2];
        let mut add = |i: usize, x: f32, g: f32| {
            let (g, standardised) = slope.through(x, g);
            lanes[0][i] += g;
            lanes[1][i] += g * standardised;
        };
        let (x16, g16) = (x.chunks_exact(16), dy.chunks_exact(16));
        for (i, (x, g)) in x16.remainder().iter().zip(g16.remainder()).enumerate() {
            add(i, *x, *g);
        }
        for (x, g) in x16.zip(g16) {
            for i in 0..16 {
                add(i, x[i], g[i]);
            }
        }
        for (total, lanes) in total.iter_mut().zip(lanes) {
            *total += lanes.iter().map(|v| f64::from(*v)).sum::<f64>();
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::kernels::Renorm;

    fn values(n: usize, seed: usize) -> Vec<f32> {
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

    /// f64 forward of the full expression, statistics included, for finite differences.
    fn loss(
        x: &[f64],
        gamma: &[f64],
        beta: &[f64],
        w: &[f64],
        r: f64,
        d: f64,
        fixed: Option<[f64; 2]>,
    ) -> f64 {
        let channels = gamma.len();
        let voxels = x.len() / channels;
        let mut total = 0.0;
        for c in 0..channels {
            let line = &x[c * voxels..][..voxels];
            let [mean, rstd] = fixed.unwrap_or_else(|| {
                let mean = line.iter().sum::<f64>() / voxels as f64;
                let var = line.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / voxels as f64;
                [mean, 1.0 / (var + 1e-5).sqrt()]
            });
            for (v, w) in line.iter().zip(&w[c * voxels..]) {
                total += w * (gamma[c] * ((v - mean) * rstd * r + d) + beta[c]).max(0.0);
            }
        }
        total
    }

    fn all(values: &[f32], batch: usize, channels: usize) -> Maps<'_> {
        Maps {
            values,
            batch,
            channels,
            from: 0,
            count: channels,
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let (channels, voxels) = (2, 23);
        let to64 = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let x = values(channels * voxels, 1);
        let dy = values(channels * voxels, 77);
        let (gamma, beta) = (vec![0.7f32, 1.3], vec![0.1f32, -0.2]);
        let running = [0.05f32, -0.1, 0.5, 0.9];
        for frozen in [false, true] {
            let stats = channel_stats(all(&x, 1, channels));
            let norm = Normalisation {
                epsilon: 1e-5,
                batch: (!frozen).then_some(Renorm {
                    momentum: 0.1,
                    r_max: 1.2,
                    d_max: 0.05,
                }),
                by_sample: false,
            };
            let (rows, folded) = norm_rows(&stats, &running, &gamma, &beta, norm);
            let mut dx = vec![0.0; x.len()];
            let dp = norm_relu_backward(all(&x, 1, channels), &dy, &rows, &folded, frozen, &mut dx);
            let at = |x: &[f64], g: &[f64], b: &[f64]| {
                (0..channels)
                    .map(|c| {
                        let of = |i: usize| f64::from(rows[i * channels + c]);
                        let line = c * voxels..(c + 1) * voxels;
                        let fixed = frozen.then(|| [of(0), of(1)]);
                        let dy = to64(&dy[line.clone()]);
                        loss(&x[line], &g[c..=c], &b[c..=c], &dy, of(2), of(3), fixed)
                    })
                    .sum::<f64>()
            };
            let (x64, g64, b64) = (to64(&x), to64(&gamma), to64(&beta));
            // Central differences in f64 are good to 1e-8 here; the kernel itself is f32.
            let h = 1e-6;
            let check = |got: f32, plus: f64, minus: f64| {
                let want = (plus - minus) / (2.0 * h);
                assert!(
                    (f64::from(got) - want).abs() < 2e-4 * (1.0 + want.abs()),
                    "{got} for {want} ({frozen})"
                );
            };
            for i in 0..x.len() {
                let (mut p, mut m) = (x64.clone(), x64.clone());
                p[i] += h;
                m[i] -= h;
                check(dx[i], at(&p, &g64, &b64), at(&m, &g64, &b64));
            }
            for c in 0..channels {
                let (mut p, mut m) = (g64.clone(), g64.clone());
                p[c] += h;
                m[c] -= h;
                check(dp[c], at(&x64, &p, &b64), at(&x64, &m, &b64));
                let (mut p, mut m) = (b64.clone(), b64.clone());
                p[c] += h;
                m[c] -= h;
                check(dp[channels + c], at(&x64, &g64, &p), at(&x64, &g64, &m));
            }
        }
    }
}
