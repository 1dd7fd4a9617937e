//! Gradients of normalisation and ReLU.

use super::for_each_chunk;
use super::norm::{Maps, RUN, row};
use super::shared::Shared;

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
    use super::super::norm::tests::{all, values};
    use super::super::norm::{channel_stats, norm_rows};
    use super::*;
    use crate::net::kernels::{Normalisation, Renorm};

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
            let maps = || all(&x, 1, channels);
            let mut dx = dy.clone();
            let dp = norm_relu_backward(maps(), &rows, &folded, frozen, &mut dx);
            let mut added = vec![1.0; x.len()];
            let of_added = norm_relu_backward_into(maps(), &dy, &rows, &folded, frozen, &mut added);
            assert_eq!(of_added, dp);
            assert_eq!(added, dx.iter().map(|v| 1.0 + v).collect::<Vec<_>>());
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
