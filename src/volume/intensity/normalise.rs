//! The scale on which the network sees intensities.

use super::foreground::otsu;
use super::{CLIP_PERCENT, percentiles};
use crate::volume::Volume;

/// One unit of the network's scale, as a share of the distance from the darkest foreground to the tissue's median.
///
/// With it FLAIR's white and grey matter lie within about one unit of 0, fluid at -3 to -5, most lesions at 1 to 3.
const UNIT: f64 = 0.2;

/// Intensities for the network are cut off at this many units.
pub const LIMIT: f32 = 5.0;

/// The foreground's bright class in a FLAIR (by Otsu's threshold): parenchyma and lesions, without fluid, bone and air. One entry a
/// voxel. Both channels are scaled by these voxels.
#[must_use]
pub fn tissue(flair: &Volume, foreground: &[bool]) -> Vec<bool> {
    let mut values = chosen(&flair.data, foreground);
    // Most of the foreground is tissue. Capped at its median, lesions cannot become a class of their own.
    if let Some([median]) = percentiles(&values, [50.0]) {
        values.iter_mut().for_each(|v| *v = v.min(median as f32));
    }
    let threshold = otsu(&values);
    let bright = |(&value, &inside): (&f32, &bool)| inside && value > threshold;
    flair.data.iter().zip(foreground).map(bright).collect()
}

/// Intensities for the network: clipped at the 0.5 and 99.5 percentiles of the foreground, then shifted and scaled by
/// the tissue, so that its median becomes 0 and the lower percentile -5, and cut off at 5. Outside the foreground they are
/// exactly 0, whatever the scan, because any other constant would differ from scan to scan.
///
/// This stands where the paper takes a z-score over the brain. The foreground holds more or less fluid, bone and air
/// from scan to scan, and a z-score over it puts white matter anywhere from the lesions of one head to the grey matter of
/// another. The median of the tissue does not move (`docs/accuracy.md` has the figures). It shares with the z-score that
/// no shift or stretch of the scan's intensities matters.
///
/// `foreground` and `tissue` have one entry a voxel. Without tissue in the foreground, or without contrast between the
/// tissue and the darkest foreground, the result is all zeros.
#[must_use]
pub fn normalise(volume: &Volume, foreground: &[bool], tissue: &[bool]) -> Vec<f32> {
    let mut out = vec![0.0; volume.data.len()];
    let both: Vec<bool> = foreground.iter().zip(tissue).map(|(&f, &t)| f && t).collect();
    let Some([low, high]) = percentiles(&chosen(&volume.data, foreground), CLIP_PERCENT) else {
        return out;
    };
    let Some([centre]) = percentiles(&chosen(&volume.data, &both), [50.0]) else {
        return out;
    };
    let unit = UNIT * (centre - low);
    // Rounding leaves a constant image with a tiny spread, not always none.
    if unit <= 1e-6 * centre.abs().max(f64::MIN_POSITIVE) {
        return out;
    }
    for ((to, &value), &inside) in out.iter_mut().zip(&volume.data).zip(foreground) {
        if inside {
            let units = (f64::from(value).clamp(low, high) - centre) / unit;
            *to = (units as f32).clamp(-LIMIT, LIMIT);
        }
    }
    out
}

/// The values where the mask holds.
fn chosen(values: &[f32], mask: &[bool]) -> Vec<f32> {
    let inside = values.iter().zip(mask).filter(|(_, m)| **m);
    inside.map(|(v, _)| *v).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Grid;
    use nalgebra::Matrix4;
    use proptest::prelude::*;

    fn scan(data: Vec<f32>) -> Volume {
        let shape = [data.len(), 1, 1];
        let affine = Matrix4::identity();
        Volume {
            grid: Grid { shape, affine },
            data,
        }
    }

    /// Fluid around 100 (`fluid` per cent of the voxels), tissue around 500, lesions (2 %) at 750, and a mask of all.
    fn head(fluid: usize) -> (Volume, Vec<bool>) {
        let value = |i: usize| {
            let noise = (i * 7919 % 101) as f32 - 50.0;
            match i % 100 {
                k if k < fluid => 100.0 + noise,
                98.. => 750.0 + noise,
                _ => 500.0 + noise,
            }
        };
        let scan = scan((0..20_000).map(value).collect());
        let all = vec![true; 20_000];
        (scan, all)
    }

    #[test]
    fn tissue_and_lesions_keep_their_place_whatever_lies_around() {
        for fluid in [5, 20, 45] {
            let (scan, all) = head(fluid);
            let out = normalise(&scan, &all, &tissue(&scan, &all));
            let mean = |range: std::ops::Range<usize>| {
                let of: Vec<f32> = (0..out.len())
                    .filter(|i| range.contains(&(i % 100)))
                    .map(|i| out[i])
                    .collect();
                of.iter().sum::<f32>() / of.len() as f32
            };
            let (normal, lesion) = (mean(fluid..98), mean(98..100));
            // Half a noise's width of 100 is 0.56 units of 90.
            assert!(normal.abs() < 0.1, "{fluid} %: {normal}");
            assert!((lesion - 250.0 / 90.0).abs() < 0.2, "{fluid} %: {lesion}");
        }
    }

    proptest! {
        #[test]
        fn shift_and_stretch_do_not_matter(shift in -1e3_f32..1e3, stretch in 0.01_f32..100.0) {
            let (scan, all) = head(20);
            let mut other = scan.clone();
            for v in &mut other.data {
                *v = *v * stretch + shift;
            }
            let one = normalise(&scan, &all, &tissue(&scan, &all));
            let two = normalise(&other, &all, &tissue(&other, &all));
            for (a, b) in one.iter().zip(&two) {
                // f32 rounds the shifted values to about 1e-4 of a unit at the extremes of shift over stretch.
                prop_assert!((a - b).abs() < 0.02 * (1.0 + shift.abs() / stretch / 1e4), "{} {}", a, b);
            }
        }
    }

    #[test]
    fn nothing_to_scale_by_gives_zeros() {
        let (scan, all) = head(20);
        let none = vec![false; all.len()];
        let zeros = vec![0.0; all.len()];
        assert_eq!(normalise(&scan, &none, &all), zeros);
        assert_eq!(normalise(&scan, &all, &none), zeros);
        let flat = self::scan(vec![3.7; 50]);
        assert_eq!(normalise(&flat, &[true; 50], &[true; 50]), vec![0.0; 50]);
    }
}
