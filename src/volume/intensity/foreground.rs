//! Which voxels belong to the brain, or at least to the patient.

use super::brain;
use crate::volume::Volume;

/// What a [`Foreground`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForegroundKind {
    /// The scan was skull-stripped: its voxels that are not blank.
    Stripped,
    /// The scan has a skull; the brain was outlined roughly.
    Outlined,
    /// No brain could be outlined; the whole head, or whatever is brighter than air.
    Head,
}

impl ForegroundKind {
    /// What a person should know about it, if anything.
    #[must_use]
    pub fn note(self) -> Option<&'static str> {
        match self {
            Self::Stripped => None,
            Self::Outlined => Some(
                "The scan shows the skull. The brain was outlined roughly, and lesions are sought within that outline \
                 only; a skull-stripped scan gives better results.",
            ),
            Self::Head => Some(
                "No brain could be outlined in the scan, so lesions are sought in the whole head. Expect false ones \
                 outside the brain; a skull-stripped scan gives better results.",
            ),
        }
    }
}

/// The voxels whose intensities count.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreground {
    /// One entry a voxel, x fastest.
    pub mask: Vec<bool>,
    /// How it was found.
    pub kind: ForegroundKind,
}

impl Foreground {
    /// Finds the foreground of a FLAIR scan. A T1 shares it: the outline below relies on FLAIR's contrast.
    ///
    /// - A skull-stripped scan (blank, that is one exact value, around tissue): the voxels that are not blank.
    /// - A scan with skull: the brain, outlined roughly by morphology (`brain.rs` says how well).
    /// - Failing that: the voxels above Otsu's threshold between air and tissue.
    ///
    /// In the first and the last case the largest connected piece is kept, with its holes filled slice by slice,
    /// slices being planes of the first two axes: axial ones in a conformed volume.
    #[must_use]
    pub fn find(volume: &Volume) -> Self {
        let shape = volume.grid.shape;
        let blank = blank_background(volume);
        let not_blank = |v: f32| Some(v) != blank;
        if let Some(blank) = blank {
            let mask: Vec<bool> = volume.data.iter().map(|&v| not_blank(v)).collect();
            if is_stripped(volume, &mask, blank) {
                return Self {
                    mask: solid(&mask, shape),
                    kind: ForegroundKind::Stripped,
                };
            }
        }
        if let Some(mask) = brain::outline(volume) {
            return Self {
                mask,
                kind: ForegroundKind::Outlined,
            };
        }
        let values: Vec<f32> = volume.data.iter().copied().filter(|&v| not_blank(v)).collect();
        let threshold = otsu(&values);
        let mask: Vec<bool> = volume
            .data
            .iter()
            .map(|&v| v > threshold && not_blank(v))
            .collect();
        Self {
            mask: solid(&mask, shape),
            kind: ForegroundKind::Head,
        }
    }
}

/// The mask of [`Foreground::find`].
#[must_use]
pub fn foreground(volume: &Volume) -> Vec<bool> {
    Foreground::find(volume).mask
}

/// The background's value if the background was blanked: at least a tenth of the voxels have it, and they lie
/// together (noise that happens to be rounded to 0 does not).
fn blank_background(volume: &Volume) -> Option<f32> {
    let lowest = volume.data.iter().copied().min_by(f32::total_cmp)?;
    let count = |value: f32| volume.data.iter().filter(|&&v| v == value).count();
    let (blank, voxels) = [0.0, lowest]
        .map(|v| (v, count(v)))
        .into_iter()
        .max_by_key(|&(_, n)| n)?;
    if voxels * 10 < volume.data.len() {
        return None;
    }
    let rows = volume.data.chunks_exact(volume.grid.shape[0]);
    let (mut pairs, mut alike) = (0usize, 0usize);
    for pair in rows.flat_map(|row| row.windows(2)) {
        if pair[0] == blank {
            pairs += 1;
            alike += usize::from(pair[1] == blank);
        }
    }
    (alike as f64 > 0.95 * pairs as f64).then_some(blank)
}

/// Whether what is not blank starts with tissue, as after skull-stripping, or with air, as where air far from the head
/// was blanked. The lower quartile of the outermost voxels along x is at least 0.09 of the median in the skull-stripped
/// scans at hand and at most 0.03 in those with skull.
fn is_stripped(volume: &Volume, mask: &[bool], blank: f32) -> bool {
    let nx = volume.grid.shape[0];
    let height = |i: usize| (volume.data[i] - blank).abs();
    let (mut outermost, mut all) = (Vec::new(), Vec::new());
    for i in (0..mask.len()).filter(|&i| mask[i]) {
        all.push(height(i));
        let x = i % nx;
        if (x > 0 && !mask[i - 1]) || (x + 1 < nx && !mask[i + 1]) {
            outermost.push(height(i));
        }
    }
    let quartile = super::percentiles(&outermost, [25.0]);
    let median = super::percentiles(&all, [50.0]);
    matches!((quartile, median), (Some([quartile]), Some([median])) if quartile > 0.05 * median)
}

/// Otsu's threshold (IEEE Trans. SMC 9, 1979) between two classes, from a histogram of 256 bins up to the 99th
/// percentile; what is brighter is counted there, so that a few very bright voxels do not use up the bins.
pub(super) fn otsu(values: &[f32]) -> f32 {
    const BINS: usize = 256;
    let Some([low, high]) = super::percentiles(values, [0.0, 99.0]) else {
        return 0.0;
    };
    let width = (high - low) / BINS as f64;
    if width <= 0.0 {
        return low as f32;
    }
    let mut histogram = [0u64; BINS];
    for &value in values {
        let bin = ((f64::from(value) - low) / width) as usize;
        histogram[bin.min(BINS - 1)] += 1;
    }
    let total: f64 = values.len() as f64;
    let mean: f64 = histogram
        .iter()
        .enumerate()
        .map(|(i, &n)| i as f64 * n as f64)
        .sum::<f64>()
        / total;
    let (mut weight, mut sum, mut best) = (0.0, 0.0, (0.0, 0));
    for (i, &n) in histogram.iter().enumerate() {
        weight += n as f64 / total;
        sum += i as f64 * n as f64 / total;
        let between = if weight > 0.0 && weight < 1.0 {
            (mean * weight - sum).powi(2) / (weight * (1.0 - weight))
        } else {
            0.0
        };
        if between > best.0 {
            best = (between, i);
        }
    }
    (low + (best.1 as f64 + 1.0) * width) as f32
}

/// The largest piece, with the gaps filled that, in their plane of the first two axes, do not reach the border.
fn solid(mask: &[bool], shape: [usize; 3]) -> Vec<bool> {
    let [nx, ny, _] = shape;
    let mut mask = brain::largest(mask, shape);
    for slice in mask.chunks_exact_mut((nx * ny).max(1)) {
        brain::fill_holes(slice, [nx, ny, 1], 2);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::super::atlas;
    use super::*;
    use crate::volume::Grid;
    use nalgebra::Matrix4;

    const N: usize = 64;
    const MM: f64 = 3.0;

    /// Made from the distance from the middle in mm, and something like noise between 0 and 1.
    fn phantom(value: impl Fn(f64, f32) -> f32) -> Volume {
        shaped(|at| at.iter().map(|v| v * v).sum::<f64>().sqrt(), value)
    }

    /// As [`phantom`], with a brain of the average brain's shape in place of the ball of 65 mm.
    fn brainy(value: impl Fn(f64, f32) -> f32) -> Volume {
        let ball = |at: [f64; 3]| at.iter().map(|v| v * v).sum::<f64>().sqrt();
        let average = atlas::average();
        let surface = |at| 65.0 - f64::from(average(at));
        shaped(|at| ball(at).min(30.0).max(surface(at)), value)
    }

    fn shaped(distance: impl Fn([f64; 3]) -> f64, value: impl Fn(f64, f32) -> f32) -> Volume {
        let mut affine = Matrix4::identity() * MM;
        affine[(3, 3)] = 1.0;
        let middle = (N as f64 - 1.0) / 2.0;
        let data = (0..N * N * N).map(|i| {
            let at = [i % N, i / N % N, i / (N * N)].map(|v| (v as f64 - middle) * MM);
            let noise = (i as u32)
                .wrapping_mul(2_654_435_761)
                .rotate_left(13)
                .wrapping_mul(2_246_822_519)
                >> 8;
            value(distance(at), noise as f32 / (1 << 24) as f32)
        });
        Volume {
            grid: Grid {
                shape: [N; 3],
                affine,
            },
            data: data.collect(),
        }
    }

    /// A ball of brain (65 mm) with a dark ventricle and a bright lesion in it, fluid, scalp full of fat, air.
    fn head(distance: f64, noise: f32) -> f32 {
        match distance {
            ..8.0 => 40.0 + 20.0 * noise,
            ..13.0 => 900.0 + 50.0 * noise,
            ..65.0 => 450.0 + 100.0 * noise,
            ..74.0 => 30.0 + 30.0 * noise,
            ..85.0 => 1100.0 + 200.0 * noise,
            _ => 12.0 * noise,
        }
    }

    fn dice(found: &[bool], truth: &Volume) -> f64 {
        let both = found
            .iter()
            .zip(&truth.data)
            .filter(|&(&f, &t)| f && t > 0.0)
            .count();
        let sum = found.iter().filter(|f| **f).count() + truth.data.iter().filter(|t| **t > 0.0).count();
        2.0 * both as f64 / sum as f64
    }

    #[test]
    fn stripped_scans_are_taken_as_they_are() {
        let scan = phantom(|d, noise| if d < 65.0 && d > 8.0 { head(d, noise) } else { 0.0 });
        let brain = phantom(|d, _| f32::from(u8::from(d < 65.0)));
        let found = Foreground::find(&scan);
        assert_eq!(found.kind, ForegroundKind::Stripped);
        assert_eq!(
            dice(&found.mask, &brain),
            1.0,
            "the blank ventricle is filled, nothing else is changed"
        );
        // The same after someone's z-score: blank is 0, tissue lies around it.
        let scored = phantom(|d, noise| {
            if d < 65.0 && d > 8.0 {
                (head(d, noise) - 500.0) / 80.0
            } else {
                0.0
            }
        });
        assert_eq!(Foreground::find(&scored), found);
    }

    #[test]
    fn the_brain_is_found_within_a_head() {
        let brain = brainy(|d, _| f32::from(u8::from(d < 65.0)));
        // Noise in the air; the air blanked but for the neighbourhood of the head.
        for scan in [
            brainy(head),
            brainy(|d, noise| if d < 92.0 { head(d, noise) } else { 0.0 }),
        ] {
            let found = Foreground::find(&scan);
            assert_eq!(found.kind, ForegroundKind::Outlined);
            let dice = dice(&found.mask, &brain);
            assert!(dice > 0.97, "{dice}");
        }
    }

    #[test]
    fn what_is_no_head_is_cut_from_the_air() {
        let scan = phantom(|d, noise| {
            if d < 30.0 {
                500.0 + 50.0 * noise
            } else {
                12.0 * noise
            }
        });
        let found = Foreground::find(&scan);
        assert_eq!(found.kind, ForegroundKind::Head);
        assert_eq!(
            dice(&found.mask, &phantom(|d, _| f32::from(u8::from(d < 30.0)))),
            1.0
        );
    }

    #[test]
    fn noise_rounded_to_zero_is_no_blank_background() {
        let noise = phantom(|_, noise| (noise * 2.5).floor());
        assert_eq!(blank_background(&noise), None);
        assert_eq!(
            blank_background(&phantom(|d, _| if d < 50.0 { 5.0 } else { -1024.0 })),
            Some(-1024.0)
        );
    }
}
