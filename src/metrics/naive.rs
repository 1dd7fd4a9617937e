//! The bar that a network has to clear: one threshold on the FLAIR image.
//!
//! Lesions are bright on FLAIR. Everything brighter than mean + k sd of the foreground is called lesion, specks are
//! removed by a binary opening, and k is chosen with a view of the reference, separately for each scan. That last
//! step makes it an *oracle*: no such method could be used on a new patient, and a network is still expected to
//! do better.

use serde::{Deserialize, Serialize};

use super::{Confusion, MetricsError};

/// The values of k to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// The first k.
    pub first: f64,
    /// No k is larger than this.
    pub last: f64,
    /// Distance from one k to the next.
    pub step: f64,
}

impl Default for Sweep {
    /// k from 0 to 5 by 0.1.
    fn default() -> Self {
        Self {
            first: 0.0,
            last: 5.0,
            step: 0.1,
        }
    }
}

impl Sweep {
    /// The values of k.
    fn values(&self) -> Result<impl Iterator<Item = f64>, MetricsError> {
        const MOST: f64 = 10_000.0;
        let Self { first, last, step } = *self;
        let (order, fineness) = (
            "finite and not above the last",
            "more than 0 and a 10000th of the range",
        );
        MetricsError::check_setting(
            "first k",
            first,
            first.is_finite() && last.is_finite() && first <= last,
            order,
        )?;
        // A little more than exact, so that rounding does not cost the last value.
        let steps = ((last - first) / step + 1e-9).floor();
        MetricsError::check_setting("step of k", step, step > 0.0 && steps < MOST, fineness)?;
        Ok((0..=steps as u32).map(move |index| first + f64::from(index) * step))
    }
}

/// Dice of one k.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepPoint {
    /// Standard deviations above the mean.
    pub k: f64,
    /// mean + k sd: intensity at and above which a voxel is lesion.
    pub threshold: f64,
    /// Dice of the mask before the opening.
    pub dice_raw: f64,
    /// Dice of the mask after the opening.
    pub dice: f64,
}

/// What one threshold on FLAIR can reach at best.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The k with the largest Dice after the opening; of several the smallest.
    pub best: SweepPoint,
    /// All of them, by ascending k.
    pub sweep: Vec<SweepPoint>,
    /// Mean intensity of the foreground.
    pub mean: f64,
    /// Standard deviation of the foreground's intensities (of the population: divided by n).
    pub sd: f64,
}

/// Finds the threshold mean + k sd on `flair` whose mask, opened with the 6-neighbourhood, is most like the
/// reference. The mean, the sd and the mask are confined to `foreground`. All three volumes have the shape
/// `shape`, x fastest, and `flair` is in any unit.
///
/// # Errors
/// [`MetricsError::Length`] if a volume has another number of voxels than the shape, [`MetricsError::Empty`] if
/// foreground or reference have no voxel at all, [`MetricsError::Setting`] if the sweep leads nowhere.
pub fn baseline(
    flair: &[f32],
    foreground: &[bool],
    reference: &[bool],
    shape: [usize; 3],
    sweep: &Sweep,
) -> Result<Baseline, MetricsError> {
    let voxels = shape.iter().product();
    MetricsError::check_length("FLAIR", voxels, flair.len())?;
    MetricsError::check_length("foreground", voxels, foreground.len())?;
    MetricsError::check_length("reference", voxels, reference.len())?;
    for (what, mask) in [("foreground", foreground), ("reference", reference)] {
        if !mask.contains(&true) {
            return Err(MetricsError::Empty { what });
        }
    }
    let (mean, sd) = mean_and_sd(flair, foreground);
    let points: Vec<SweepPoint> = sweep
        .values()?
        .map(|k| {
            let threshold = mean + k * sd;
            let bright: Vec<bool> = flair
                .iter()
                .zip(foreground)
                .map(|(&v, &inside)| inside && f64::from(v) >= threshold)
                .collect();
            // The reference has voxels, so Dice has a value.
            let dice = |mask: &[bool]| Ok(Confusion::new(reference, mask)?.dice().unwrap_or(0.0));
            Ok(SweepPoint {
                k,
                threshold,
                dice_raw: dice(&bright)?,
                dice: dice(&open(&bright, shape))?,
            })
        })
        .collect::<Result<_, MetricsError>>()?;
    let best = points
        .iter()
        .copied()
        .reduce(|best, point| if point.dice > best.dice { point } else { best });
    let best = best.ok_or(MetricsError::Empty { what: "sweep of k" })?;
    Ok(Baseline {
        best,
        sweep: points,
        mean,
        sd,
    })
}

/// Mean and standard deviation of the foreground's values.
fn mean_and_sd(values: &[f32], foreground: &[bool]) -> (f64, f64) {
    let inside = || {
        values
            .iter()
            .zip(foreground)
            .filter(|&(_, &inside)| inside)
            .map(|(&value, _)| f64::from(value))
    };
    let count = inside().count() as f64;
    let mean = inside().sum::<f64>() / count;
    let variance = inside().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

/// Binary opening with the 6-neighbourhood: the union of all crosses (a voxel and its six neighbours) that fit
/// inside the mask. What lies outside the volume counts as background.
fn open(mask: &[bool], [nx, ny, nz]: [usize; 3]) -> Vec<bool> {
    let mut opened = vec![false; mask.len()];
    let steps = [1, nx, nx * ny];
    for z in 1..nz.saturating_sub(1) {
        for y in 1..ny.saturating_sub(1) {
            let row = nx * (y + ny * z);
            for at in row + 1..(row + nx).saturating_sub(1) {
                if mask[at] && steps.iter().all(|step| mask[at - step] && mask[at + step]) {
                    opened[at] = true;
                    for step in steps {
                        opened[at - step] = true;
                        opened[at + step] = true;
                    }
                }
            }
        }
    }
    opened
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masks() -> impl Strategy<Value = (Vec<bool>, [usize; 3])> {
        ([1_usize..8, 1_usize..8, 1_usize..8], 0.5..1.0_f64).prop_flat_map(|(shape, density)| {
            let voxel = proptest::bool::weighted(density);
            (
                proptest::collection::vec(voxel, shape.iter().product::<usize>()),
                Just(shape),
            )
        })
    }

    proptest! {
        #[test]
        fn opening_only_removes_and_twice_is_once((mask, shape) in masks()) {
            let opened = open(&mask, shape);
            prop_assert!(opened.iter().zip(&mask).all(|(&opened, &before)| before || !opened));
            prop_assert_eq!(open(&opened, shape), opened);
        }
    }

    #[test]
    fn a_cross_survives_and_a_speck_goes() {
        let shape = [5, 3, 3];
        let mut cross = vec![false; 45];
        for at in [21, 22, 23, 17, 27, 7, 37] {
            cross[at] = true;
        }
        let mut mask = cross.clone();
        mask[24] = true;
        mask[0] = true;
        assert_eq!(open(&mask, shape), cross);
    }

    #[test]
    fn finds_a_bright_block_in_noise() {
        let shape = [12, 12, 12];
        let at = |x: usize, y: usize, z: usize| x + 12 * (y + 12 * z);
        let mut reference = vec![false; 1728];
        let mut flair: Vec<f32> = (0..1728_u32)
            .map(|index| 90.0 + (index * 7919 % 21) as f32)
            .collect();
        for z in 3..8 {
            for y in 3..8 {
                for x in 3..8 {
                    // The block without its corners and edges: what an opening keeps of it.
                    if [x, y, z].iter().filter(|&&c| c == 3 || c == 7).count() < 2 {
                        reference[at(x, y, z)] = true;
                        flair[at(x, y, z)] = 200.0;
                    }
                }
            }
        }
        // Bright specks that a threshold cannot tell from lesion.
        for index in [at(1, 1, 1), at(10, 10, 10), at(10, 2, 5)] {
            flair[index] = 250.0;
        }
        let found = baseline(&flair, &[true; 1728], &reference, shape, &Sweep::default()).unwrap();
        assert_eq!(found.best.dice, 1.0);
        assert!(found.best.dice_raw < 1.0);
        assert!((found.best.threshold - (found.mean + found.best.k * found.sd)).abs() < 1e-12);
        assert_eq!(found.sweep.len(), 51);
        assert_eq!(found.sweep.last().map(|point| point.k), Some(5.0));
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        let run = |foreground: &[bool], reference: &[bool], sweep: Sweep| {
            baseline(&[1.0; 8], foreground, reference, [2, 2, 2], &sweep).unwrap_err()
        };
        let (all, none, good) = ([true; 8], [false; 8], Sweep::default());
        assert_eq!(run(&none, &all, good), MetricsError::Empty { what: "foreground" });
        assert_eq!(run(&all, &none, good), MetricsError::Empty { what: "reference" });
        assert!(matches!(
            run(&all, &all[1..], good),
            MetricsError::Length { found: 7, .. }
        ));
        for bad in [
            Sweep { step: 0.0, ..good },
            Sweep { step: -0.1, ..good },
            Sweep { step: 1e-9, ..good },
            Sweep { first: 6.0, ..good },
            Sweep {
                last: f64::NAN,
                ..good
            },
            Sweep {
                last: f64::INFINITY,
                ..good
            },
        ] {
            assert!(
                matches!(run(&all, &all, bad), MetricsError::Setting { .. }),
                "{bad:?}"
            );
        }
    }
}
