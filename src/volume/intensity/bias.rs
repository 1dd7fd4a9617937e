//! The receive coils' drift of intensities, evened out.
//!
//! A bias field is smooth and multiplies the image. Its logarithm is taken for a polynomial of third degree and fitted to
//! the logarithm of the foreground by iteratively reweighted least squares: Tukey's biweight gives no say to what lies far
//! from the fit, which is fluid below it and fat and lesions above. What is left is the brain's parenchyma, whose own
//! contrast is small. N4 (Tustison et al. 2010) bends further; clinical scans at hand need no more (`docs/accuracy.md`).

use nalgebra::{SMatrix, SVector};

use crate::volume::Volume;

/// Degree of the polynomial.
const DEGREE: usize = 3;

/// Monomials of three variables up to [`DEGREE`], the constant among them.
const TERMS: usize = 20;

/// Least distance in mm of the voxels that are looked at.
const STEP_MM: f64 = 4.0;

/// Rounds of reweighting.
const ROUNDS: usize = 10;

/// A voxel farther from the fit than this many robust standard deviations has no weight.
const CUT: f64 = 2.5;

/// Standard deviation of the logarithm that is never gone below: that of the parenchyma's own contrast.
const LEAST_DEVIATION: f64 = 0.05;

/// Standard deviation of the logarithm that the first round starts from.
const FIRST_DEVIATION: f64 = 0.3;

/// Voxels darker than this share of the foreground's median are fluid, bone or air.
const DARK: f64 = 0.4;

/// The field is believed up to this logarithm: a factor of two.
const LARGEST: f64 = std::f64::consts::LN_2;

/// Fewer voxels than this fit nothing.
const LEAST_VOXELS: usize = 50 * TERMS;

/// Divides `volume` by its bias field, estimated where `mask` (one entry a voxel) holds and centred on 1 there.
///
/// Returns the standard deviation of the field's logarithm over the mask; `None`, and the volume as it was, if there is
/// nothing to go by: too few voxels, or an image whose intensities are not positive, which a z-score leaves.
pub fn even_out(volume: &mut Volume, mask: &[bool]) -> Option<f64> {
    let [nx, ny, _] = volume.grid.shape;
    let at = |i: usize| [i % nx, i / nx % ny, i / (nx * ny)];
    let spacing = volume.grid.spacing();
    let step = spacing.map(|mm| ((STEP_MM / mm) as usize).max(1));
    let (mut first, mut last) = ([usize::MAX; 3], [0; 3]);
    let mut chosen = Vec::new();
    for i in (0..mask.len().min(volume.data.len())).filter(|&i| mask[i]) {
        let here = at(i);
        for axis in 0..3 {
            first[axis] = first[axis].min(here[axis]);
            last[axis] = last[axis].max(here[axis]);
        }
        if (0..3).all(|axis| here[axis] % step[axis] == 0) {
            chosen.push(i);
        }
    }
    let values: Vec<f32> = chosen.iter().map(|&i| volume.data[i]).collect();
    let [median] = super::percentiles(&values, [50.0])?;
    let usable = |v: f32| f64::from(v) > DARK * median && v > 0.0;
    let positive = values.iter().filter(|v| **v > 0.0).count();
    if median <= 0.0 || positive * 10 < values.len() * 9 {
        return None;
    }
    let place = Place { first, last };
    let samples: Vec<(SVector<f64, TERMS>, f64)> = chosen
        .into_iter()
        .filter(|&i| usable(volume.data[i]))
        .map(|i| (terms(place.of(at(i))), f64::from(volume.data[i]).ln()))
        .collect();
    let mut field = fit(&samples)?;
    // The constant belongs to the image: the field is 1 on average.
    field[0] = 0.0;
    let mean = samples.iter().map(|(x, _)| field.dot(x)).sum::<f64>() / samples.len() as f64;
    field[0] = -mean;
    let spread = samples.iter().map(|(x, _)| field.dot(x).powi(2)).sum::<f64>() / samples.len() as f64;
    for (row, voxels) in volume.data.chunks_exact_mut(nx.max(1)).enumerate() {
        let along = place.row(&field, row % ny, row / ny);
        for (x, voxel) in voxels.iter_mut().enumerate() {
            let u = place.coordinate(0, x);
            let log = along.iter().rev().fold(0.0, |sum, c| sum * u + c);
            *voxel = (f64::from(*voxel) * (-log.clamp(-LARGEST, LARGEST)).exp()) as f32;
        }
    }
    Some(spread.sqrt())
}

/// The box that the polynomial's variables go through from -1 to 1. Outside it they stay at its faces, so that nothing is
/// extrapolated.
struct Place {
    first: [usize; 3],
    last: [usize; 3],
}

impl Place {
    fn coordinate(&self, axis: usize, index: usize) -> f64 {
        let (first, last) = (self.first[axis] as f64, self.last[axis] as f64);
        if last <= first {
            return 0.0;
        }
        (2.0 * (index as f64 - first) / (last - first) - 1.0).clamp(-1.0, 1.0)
    }

    fn of(&self, index: [usize; 3]) -> [f64; 3] {
        [0, 1, 2].map(|axis| self.coordinate(axis, index[axis]))
    }

    /// The polynomial along x in one row of voxels.
    fn row(&self, field: &SVector<f64, TERMS>, y: usize, z: usize) -> [f64; DEGREE + 1] {
        let (v, w) = (self.coordinate(1, y), self.coordinate(2, z));
        let mut along = [0.0; DEGREE + 1];
        for (coefficient, [i, j, k]) in field.iter().zip(exponents()) {
            along[i] += coefficient * v.powi(j as i32) * w.powi(k as i32);
        }
        along
    }
}

/// Exponents of the monomials, the constant first.
fn exponents() -> impl Iterator<Item = [usize; 3]> {
    (0..=DEGREE)
        .flat_map(|total| (0..=total).flat_map(move |i| (0..=total - i).map(move |j| [i, j, total - i - j])))
}

fn terms(at: [f64; 3]) -> SVector<f64, TERMS> {
    let power = |axis: usize, n: usize| at[axis].powi(n as i32);
    SVector::from_iterator(exponents().map(|[i, j, k]| power(0, i) * power(1, j) * power(2, k)))
}

/// Coefficients of the polynomial through most of the samples.
fn fit(samples: &[(SVector<f64, TERMS>, f64)]) -> Option<SVector<f64, TERMS>> {
    if samples.len() < LEAST_VOXELS {
        return None;
    }
    let logs: Vec<f32> = samples.iter().map(|s| s.1 as f32).collect();
    let [middle] = super::percentiles(&logs, [50.0])?;
    let mut field = SVector::<f64, TERMS>::zeros();
    field[0] = middle;
    let mut deviation = FIRST_DEVIATION;
    for _ in 0..ROUNDS {
        let mut matrix = SMatrix::<f64, TERMS, TERMS>::zeros();
        let mut right = SVector::<f64, TERMS>::zeros();
        let mut left = Vec::with_capacity(samples.len());
        for (x, log) in samples {
            let residual = log - field.dot(x);
            let weight = (1.0 - (residual / (CUT * deviation)).powi(2)).max(0.0).powi(2);
            if weight > 0.0 {
                left.push(residual.abs() as f32);
                matrix.ger(weight, x, x, 1.0);
                right.axpy(weight * log, x, 1.0);
            }
        }
        // Keeps what the samples say nothing about at nothing.
        for i in 1..TERMS {
            matrix[(i, i)] += 1e-6 * samples.len() as f64;
        }
        field = matrix.cholesky()?.solve(&right);
        // The standard deviation of a normal distribution is 1.4826 times its median absolute deviation.
        deviation = (1.4826 * super::percentiles(&left, [50.0])?[0]).max(LEAST_DEVIATION);
    }
    field.iter().all(|c| c.is_finite()).then_some(field)
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;
    use proptest::prelude::*;

    use super::*;
    use crate::volume::Grid;

    const N: usize = 48;

    /// A ball of white matter with folds of grey matter and fluid in the middle, on a grid of 3 mm, and its mask.
    fn brain() -> (Volume, Vec<bool>) {
        let grid = Grid {
            shape: [N; 3],
            affine: Matrix4::from_diagonal(&[3.0, 3.0, 3.0, 1.0].into()),
        };
        let middle = (N as f64 - 1.0) / 2.0;
        let radius = |i: usize| {
            let at = [i % N, i / N % N, i / (N * N)].map(|v| (v as f64 - middle).powi(2));
            at.iter().sum::<f64>().sqrt()
        };
        let value = |i: usize| match radius(i) {
            r if r < 5.0 => 120.0,
            r if r < 21.0 => {
                let fold = [i % N, i / N % N, i / (N * N)]
                    .iter()
                    .map(|v| v / 3)
                    .sum::<usize>();
                if r > 12.0 && fold % 2 == 0 { 460.0 } else { 400.0 }
            }
            _ => 0.0,
        };
        let data: Vec<f32> = (0..N * N * N).map(value).collect();
        let mask = data.iter().map(|v| *v > 0.0).collect();
        (Volume { grid, data }, mask)
    }

    /// Spread of the logarithm of the ratio of two images over a mask.
    fn apart(a: &Volume, b: &Volume, mask: &[bool]) -> f64 {
        let logs: Vec<f64> = (0..mask.len())
            .filter(|&i| mask[i])
            .map(|i| f64::from(a.data[i] / b.data[i]).ln())
            .collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        (logs.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / logs.len() as f64).sqrt()
    }

    #[test]
    fn an_even_image_stays_nearly_as_it_is() {
        let (clean, mask) = brain();
        let mut image = clean.clone();
        let spread = even_out(&mut image, &mask).unwrap();
        // Half of the outer part is grey matter, 15 % brighter: that little is mistaken for drift.
        assert!(spread < 0.03, "{spread}");
        assert!((apart(&image, &clean, &mask) - spread).abs() < 0.01);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_smooth_field_is_found(
            slope in prop::array::uniform3(-0.3f64..0.3),
            bowl in -0.3f64..0.3,
            gain in 0.01f32..100.0,
        ) {
            let (clean, mask) = brain();
            let mut even = clean.clone();
            let own = even_out(&mut even, &mask).unwrap();
            let mut image = clean.clone();
            for (i, voxel) in image.data.iter_mut().enumerate() {
                let at = [i % N, i / N % N, i / (N * N)].map(|v| v as f64 / (N as f64 - 1.0) * 2.0 - 1.0);
                let log = at.iter().zip(slope).map(|(a, s)| a * s).sum::<f64>()
                    + bowl * at.iter().map(|a| a * a).sum::<f64>();
                *voxel *= gain * log.exp() as f32;
            }
            even_out(&mut image, &mask).unwrap();
            let left = apart(&image, &even, &mask);
            prop_assert!(left < 0.02, "{left} beside {own} of the even image");
        }
    }

    #[test]
    fn lesions_are_not_taken_for_drift() {
        let (clean, mask) = brain();
        let mut sick = clean.clone();
        // A lesion of 5 % of the brain on one side, 40 % brighter.
        let lesion: Vec<usize> = (0..sick.data.len())
            .filter(|i| {
                let at = [i % N, i / N % N, i / (N * N)].map(|v| v as f64);
                let d: f64 = at
                    .iter()
                    .zip([31.0, 23.5, 23.5])
                    .map(|(a, c)| (a - c).powi(2))
                    .sum();
                d < 7.8f64.powi(2)
            })
            .collect();
        let brain = mask.iter().filter(|m| **m).count();
        assert!(lesion.len() * 20 > brain, "{} of {brain}", lesion.len());
        lesion.iter().for_each(|&i| sick.data[i] *= 1.4);
        let (mut a, mut b) = (clean, sick);
        even_out(&mut a, &mask).unwrap();
        even_out(&mut b, &mask).unwrap();
        let mean =
            |v: &Volume| lesion.iter().map(|&i| f64::from(v.data[i])).sum::<f64>() / lesion.len() as f64;
        let kept = mean(&b) / mean(&a);
        assert!((kept / 1.4 - 1.0).abs() < 0.02, "{kept}");
    }

    #[test]
    fn what_cannot_be_fitted_is_left_alone() {
        let (clean, mask) = brain();
        let none = vec![false; mask.len()];
        let mut image = clean.clone();
        assert_eq!(even_out(&mut image, &none), None);
        assert_eq!(image, clean);
        // A z-score.
        image.data.iter_mut().for_each(|v| *v -= 400.0);
        let before = image.clone();
        assert_eq!(even_out(&mut image, &mask), None);
        assert_eq!(image, before);
    }

    #[test]
    fn there_are_as_many_terms_as_monomials() {
        assert_eq!(exponents().count(), TERMS);
        assert_eq!(exponents().next(), Some([0; 3]));
    }
}
