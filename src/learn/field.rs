//! Plain-array operations on voxel fields: smoothing, distances, smooth random fields.
//!
//! A field is a slice of `nx * ny * nz` values, x fastest, as in [`Volume`](crate::volume::Volume).

use crate::volume::distance::squared_distance;
pub use crate::volume::resample::sample;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

/// Number of voxels along x, y and z.
pub type Shape = [usize; 3];

/// Number of voxels of a shape.
#[must_use]
pub fn len(shape: Shape) -> usize {
    shape.iter().product()
}

/// The index of voxel `(x, y, z)`.
#[inline]
#[must_use]
pub fn index(shape: Shape, [x, y, z]: [usize; 3]) -> usize {
    x + shape[0] * (y + shape[1] * z)
}

/// The voxel `(x, y, z)` of an index.
#[inline]
#[must_use]
pub fn voxel(shape: Shape, index: usize) -> [usize; 3] {
    let row = index / shape[0];
    [index % shape[0], row % shape[1], row / shape[1]]
}

/// A normalised Gaussian kernel cut at three standard deviations; `[1]` for a vanishing one.
fn gaussian_kernel(sigma: f32) -> Vec<f32> {
    if sigma < 1e-3 {
        return vec![1.0];
    }
    let radius = (3.0 * sigma).ceil().max(1.0);
    let count = 2 * radius as usize + 1;
    let mut kernel: Vec<f32> = (0..count)
        .map(|i| (-0.5 * ((i as f32 - radius) / sigma).powi(2)).exp())
        .collect();
    let sum: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|w| *w /= sum);
    kernel
}

/// Correlates a field with an odd, centred kernel along one axis, in place. Beyond the border the
/// border's value is repeated.
fn correlate_axis(data: &mut [f32], shape: Shape, axis: usize, kernel: &[f32]) {
    if kernel.len() == 1 {
        return;
    }
    let radius = kernel.len() / 2;
    let n = shape[axis];
    // A line of `stride`-wide rows: the inner loop runs over neighbouring memory for y and z.
    let stride: usize = shape[..axis].iter().product();
    let mut line = vec![0.0_f32; n * stride];
    let mut padded = vec![0.0_f32; n + 2 * radius];
    for block in data.chunks_exact_mut(n * stride) {
        if stride == 1 {
            for (i, p) in padded.iter_mut().enumerate() {
                *p = block[i.saturating_sub(radius).min(n - 1)];
            }
            for (value, window) in block.iter_mut().zip(padded.windows(kernel.len())) {
                *value = window.iter().zip(kernel).map(|(v, w)| v * w).sum();
            }
            continue;
        }
        line.copy_from_slice(block);
        for (i, out) in block.chunks_exact_mut(stride).enumerate() {
            out.fill(0.0);
            for (k, &w) in kernel.iter().enumerate() {
                let j = (i + k).saturating_sub(radius).min(n - 1);
                for (o, v) in out.iter_mut().zip(&line[j * stride..(j + 1) * stride]) {
                    *o += w * v;
                }
            }
        }
    }
}

/// Blurs a field with a Gaussian of standard deviation `sigma` voxels along each axis, in place.
pub fn blur(data: &mut [f32], shape: Shape, sigma: [f32; 3]) {
    for (axis, &s) in sigma.iter().enumerate() {
        correlate_axis(data, shape, axis, &gaussian_kernel(s));
    }
}

/// Distance in voxels from each voxel's centre to the nearest centre of a `target` voxel (0 on the
/// target itself; infinite if there is none).
#[must_use]
pub fn distance(target: &[bool], shape: Shape) -> Vec<f32> {
    let mut distances = squared_distance(target, shape);
    distances.iter_mut().for_each(|d| *d = d.sqrt());
    distances
}

/// The four cubic B-spline weights at fraction `t` between the second and third control point.
fn spline_weights(t: f32) -> [f32; 4] {
    let u = 1.0 - t;
    [
        u * u * u / 6.0,
        (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
        (4.0 - 6.0 * u * u + 3.0 * u * u * u) / 6.0,
        t * t * t / 6.0,
    ]
}

/// A smooth random field: cubic B-splines on a coarse grid of independent normal coefficients, scaled to
/// about unit variance. Twice continuously differentiable, so a displacement made of it has no creases.
///
/// `spacing` is the distance of the control points in voxels.
#[must_use]
pub fn smooth_noise(rng: &mut impl Rng, shape: Shape, spacing: f32) -> Vec<f32> {
    let coarse = shape.map(|n| (n as f32 / spacing).ceil() as usize + 4);
    // Mean over t of the sum of squared weights is 0.479 along each axis.
    let scale = 0.479_f32.powf(-1.5);
    let mut values: Vec<f32> = (0..len(coarse))
        .map(|_| scale * rng.sample::<f32, _>(StandardNormal))
        .collect();
    // Random phase, so that control points do not always sit at the same voxels.
    let phase = [(); 3].map(|()| rng.random::<f32>());
    let mut from = coarse;
    // z first: the widest rows are then expanded last, along x.
    for axis in (0..3).rev() {
        let n = shape[axis];
        let inner: usize = from[..axis].iter().product();
        let outer: usize = from[axis + 1..].iter().product();
        let mut out = vec![0.0_f32; inner * n * outer];
        for o in 0..outer {
            for i in 0..n {
                let at = i as f32 / spacing + phase[axis];
                let base = (at as usize).min(from[axis] - 4);
                let weights = spline_weights(at - base as f32);
                let row = &mut out[(o * n + i) * inner..(o * n + i + 1) * inner];
                for (k, w) in weights.iter().enumerate() {
                    let j = (o * from[axis] + base + k) * inner;
                    for (r, v) in row.iter_mut().zip(&values[j..j + inner]) {
                        *r += w * v;
                    }
                }
            }
        }
        values = out;
        from[axis] = n;
    }
    values
}

/// Independent normal values blurred by `sigma` voxels and scaled back to unit variance: the texture of
/// tissue and of noise that has been through a scanner's reconstruction and an interpolation.
#[must_use]
pub fn texture(rng: &mut impl Rng, shape: Shape, sigma: f32) -> Vec<f32> {
    let mut noise: Vec<f32> = (0..len(shape)).map(|_| rng.sample(StandardNormal)).collect();
    let kernel = gaussian_kernel(sigma);
    let gain = kernel.iter().map(|w| w * w).sum::<f32>().powf(-1.5);
    blur(&mut noise, shape, [sigma; 3]);
    noise.iter_mut().for_each(|v| *v *= gain);
    noise
}

/// The median of some values, which are reordered; `None` if there are none.
#[must_use]
pub fn median(values: &mut [f32]) -> Option<f32> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

/// A box of voxels: `start` inclusive, `end` exclusive, along x, y and z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First voxel.
    pub start: [usize; 3],
    /// One past the last voxel.
    pub end: [usize; 3],
}

impl Region {
    /// The shape of the box.
    #[must_use]
    pub fn shape(&self) -> Shape {
        [0, 1, 2].map(|a| self.end[a] - self.start[a])
    }

    /// The smallest box around the given voxels, grown by `margin` and cut to `shape`; `None` without voxels.
    pub fn around(voxels: impl Iterator<Item = usize>, shape: Shape, margin: usize) -> Option<Self> {
        let mut low = [usize::MAX; 3];
        let mut high = [0; 3];
        for i in voxels {
            let v = voxel(shape, i);
            for a in 0..3 {
                low[a] = low[a].min(v[a]);
                high[a] = high[a].max(v[a] + 1);
            }
        }
        (low[0] != usize::MAX).then(|| Self {
            start: low.map(|l| l.saturating_sub(margin)),
            end: [0, 1, 2].map(|a| (high[a] + margin).min(shape[a])),
        })
    }

    /// Copies the box out of a field of shape `shape`.
    #[must_use]
    pub fn cut<T: Copy>(&self, data: &[T], shape: Shape) -> Vec<T> {
        let mut out = Vec::with_capacity(len(self.shape()));
        for z in self.start[2]..self.end[2] {
            for y in self.start[1]..self.end[1] {
                let row = index(shape, [self.start[0], y, z]);
                out.extend_from_slice(&data[row..row + self.end[0] - self.start[0]]);
            }
        }
        out
    }

    /// Calls `visit(index in the field, index in the box)` for every voxel of the box.
    pub fn for_each(&self, shape: Shape, mut visit: impl FnMut(usize, usize)) {
        let mut local = 0;
        for z in self.start[2]..self.end[2] {
            for y in self.start[1]..self.end[1] {
                let row = index(shape, [self.start[0], y, z]);
                for x in 0..self.end[0] - self.start[0] {
                    visit(row + x, local);
                    local += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    proptest! {
        #[test]
        fn distance_equals_the_search_over_all_targets(
            shape in [1_usize..7, 1_usize..7, 1_usize..7], seed in any::<u64>(), density in 0.02_f64..0.5,
        ) {
            let mut rng = StdRng::seed_from_u64(seed);
            let target: Vec<bool> = (0..len(shape)).map(|_| rng.random_bool(density)).collect();
            let found = distance(&target, shape);
            for (i, &d) in found.iter().enumerate() {
                let p = voxel(shape, i);
                let expected = target.iter().enumerate().filter(|(_, t)| **t).map(|(j, _)| {
                    let q = voxel(shape, j);
                    (0..3).map(|a| (p[a] as f32 - q[a] as f32).powi(2)).sum::<f32>().sqrt()
                }).fold(f32::INFINITY, f32::min);
                prop_assert!(d == expected || (d - expected).abs() < 1e-4, "{d} {expected}");
            }
        }

        #[test]
        fn blur_keeps_a_constant_and_an_inner_sum(sigma in 0.0_f32..1.5, value in -5.0_f32..5.0) {
            let shape = [13, 12, 11];
            let mut constant = vec![value; len(shape)];
            blur(&mut constant, shape, [sigma; 3]);
            prop_assert!(constant.iter().all(|v| (v - value).abs() < 1e-4));
            let mut point = vec![0.0; len(shape)];
            point[index(shape, [6, 6, 5])] = 1.0;
            blur(&mut point, shape, [sigma; 3]);
            prop_assert!((point.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        }

        #[test]
        fn sampling_a_linear_ramp_is_exact(x in 0.0_f32..4.0, y in 0.0_f32..3.0, z in 0.0_f32..2.0) {
            let shape = [5, 4, 3];
            let ramp: Vec<f32> = (0..len(shape)).map(|i| {
                let [a, b, c] = voxel(shape, i);
                a as f32 + 10.0 * b as f32 + 100.0 * c as f32
            }).collect();
            let found = sample(&ramp, shape, [x, y, z], f32::NAN);
            prop_assert!((found - (x + 10.0 * y + 100.0 * z)).abs() < 1e-3);
        }
    }

    #[test]
    fn random_fields_have_unit_variance() {
        let mut rng = StdRng::seed_from_u64(3);
        let shape = [48, 50, 52];
        for field in [
            smooth_noise(&mut rng, shape, 5.0),
            texture(&mut rng, shape, 1.0),
            texture(&mut rng, shape, 0.0),
        ] {
            let n = field.len() as f32;
            let mean = field.iter().sum::<f32>() / n;
            let sd = (field.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
            assert!(mean.abs() < 0.1 && (sd - 1.0).abs() < 0.12, "mean {mean} sd {sd}");
        }
    }

    #[test]
    fn nothing_to_be_near_to_is_infinitely_far() {
        assert!(distance(&[false; 8], [2, 2, 2]).iter().all(|d| d.is_infinite()));
    }
}
