//! Normalisation and ReLU in one pass, forward and backward.

use super::for_each_chunk;

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

/// Mean and (biased) variance of each channel over samples and voxels: `[2, channels]`.
pub(crate) fn channel_stats(x: &[f32], batch: usize, channels: usize) -> Vec<f32> {
    let voxels = x.len().checked_div(batch * channels).unwrap_or(0);
    let n = (batch * voxels) as f64;
    let mut pairs = vec![[0.0f32; 2]; channels];
    for_each_chunk(&mut pairs, 1, |c, out| {
        let lines = || (0..batch).map(|b| &x[(b * channels + c) * voxels..][..voxels]);
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

/// `max(0, x * scale + shift)` per channel.
pub(crate) fn norm_relu(x: &[f32], scale: &[f32], shift: &[f32], batch: usize, y: &mut [f32]) {
    let channels = scale.len();
    if channels == 0 || batch == 0 {
        return;
    }
    // A line is one channel of one sample.
    let voxels = x.len() / (batch * channels);
    for_each_chunk(y, voxels, |line, y| {
        let (a, b) = (scale[line % channels], shift[line % channels]);
        for (y, x) in y.iter_mut().zip(&x[line * voxels..][..voxels]) {
            let v = x * a + b;
            // Not `max`: that would turn NaN into 0 and hide it.
            *y = if v < 0.0 { 0.0 } else { v };
        }
    });
}

/// What the backward pass of one normalisation needs besides the tensors.
#[derive(Clone, Copy)]
pub(crate) struct Normaliser<'a> {
    /// Mean subtracted, per channel.
    pub(crate) mean: &'a [f32],
    /// Reciprocal standard deviation multiplied with, per channel.
    pub(crate) rstd: &'a [f32],
    /// Batch renormalisation's r, per channel (1 without).
    pub(crate) r: &'a [f32],
    /// Batch renormalisation's d, per channel (0 without).
    pub(crate) d: &'a [f32],
    /// True if mean and rstd are constants rather than statistics of `x`.
    pub(crate) frozen: bool,
}

/// Gradients of `y = max(0, gamma ((x - mean) rstd r + d) + beta)`.
///
/// Returns `[2, channels]`, the gradients of gamma and beta, and writes `dx`. Unless frozen, mean and rstd are
/// differentiated too (Ioffe & Szegedy 2015; with r and d constant, Ioffe 2017).
pub(crate) fn norm_relu_backward(
    x: &[f32],
    dy: &[f32],
    gamma: &[f32],
    beta: &[f32],
    n: Normaliser<'_>,
    batch: usize,
    dx: &mut [f32],
) -> Vec<f32> {
    let channels = gamma.len();
    if channels == 0 || batch == 0 {
        return Vec::new();
    }
    let voxels = x.len() / (batch * channels);
    let count = (batch * voxels) as f64;
    let affine = |c: usize| {
        let scale = n.rstd[c] * n.r[c] * gamma[c];
        (scale, beta[c] + gamma[c] * n.d[c] - n.mean[c] * scale)
    };
    let mut sums = vec![[0.0f64; 2]; channels];
    for_each_chunk(&mut sums, 1, |c, out| {
        let (scale, shift) = affine(c);
        let (mean, rstd) = (n.mean[c], n.rstd[c]);
        for b in 0..batch {
            let at = (b * channels + c) * voxels;
            let (x, dy) = (&x[at..at + voxels], &dy[at..at + voxels]);
            let open = |x: f32, g: f32| if x * scale + shift > 0.0 { g } else { 0.0 };
            out[0][0] += sum_over(x, dy, open);
            out[0][1] += sum_over(x, dy, |x, g| open(x, g) * ((x - mean) * rstd));
        }
    });
    for_each_chunk(dx, voxels, |line, dx| {
        let c = line % channels;
        let (scale, shift) = affine(c);
        let (mean, rstd) = (n.mean[c], n.rstd[c]);
        let [s0, s1] = if n.frozen {
            [0.0; 2]
        } else {
            sums[c].map(|s| (s / count) as f32)
        };
        let at = line * voxels;
        for ((dx, x), g) in dx.iter_mut().zip(&x[at..at + voxels]).zip(&dy[at..at + voxels]) {
            let g = if x * scale + shift > 0.0 { *g } else { 0.0 };
            *dx = scale * (g - s0 - (x - mean) * rstd * s1);
        }
    });
    let dgamma = sums
        .iter()
        .enumerate()
        .map(|(c, s)| (s[1] * f64::from(n.r[c]) + s[0] * f64::from(n.d[c])) as f32);
    dgamma.chain(sums.iter().map(|s| s[0] as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let got = channel_stats(&x, 2, 3);
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

    #[test]
    fn gradients_match_finite_differences() {
        let (channels, voxels) = (2, 23);
        let to64 = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let x = values(channels * voxels, 1);
        let dy = values(channels * voxels, 77);
        let (gamma, beta) = (vec![0.7f32, 1.3], vec![0.1f32, -0.2]);
        let (r, d) = (1.2f32, 0.3f32);
        for frozen in [false, true] {
            let stats = channel_stats(&x, 1, channels);
            let fixed = [0.05f32, 1.7];
            let mean: Vec<f32> = if frozen {
                vec![fixed[0]; 2]
            } else {
                stats[..2].to_vec()
            };
            let rstd: Vec<f32> = if frozen {
                vec![fixed[1]; 2]
            } else {
                stats[2..].iter().map(|v| 1.0 / (v + 1e-5).sqrt()).collect()
            };
            let n = Normaliser {
                mean: &mean,
                rstd: &rstd,
                r: &[r; 2],
                d: &[d; 2],
                frozen,
            };
            let mut dx = vec![0.0; x.len()];
            let dp = norm_relu_backward(&x, &dy, &gamma, &beta, n, 1, &mut dx);
            let at = |x: &[f64], g: &[f64], b: &[f64]| {
                let fixed = frozen.then(|| fixed.map(f64::from));
                loss(x, g, b, &to64(&dy), f64::from(r), f64::from(d), fixed)
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
