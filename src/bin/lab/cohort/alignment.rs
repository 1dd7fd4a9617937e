//! Whether a reference lies where its FLAIR is bright.
//!
//! A mask that was drawn on another image's grid fits the FLAIR as well as the headers know how the patient lay. Where the mask should lie is
//! told by FLAIR and mask alone: a network that is scored has no say.

use super::score::Scored;
use super::word;
use equipoise::volume::distance::squared_distance;
use equipoise::volume::resample::{Interpolation, resample};
use equipoise::volume::{Grid, Volume, VolumeError};
use serde::Serialize;
use std::fmt::Write as _;

/// The shifts that are tried reach so far to either side, in this many steps of half a millimetre.
const STEPS: i32 = 6;

/// What is nearer to a lesion than this, in voxels of the mask, is what it stands out against.
const SHELL: f32 = 3.0;

/// A mask shifted across the FLAIR's slices, which is where two scans of a session fit least exactly.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Alignment {
    /// The shift at which the FLAIR under the mask stands out most, in mm, towards the head's top if positive.
    pub(super) shift_mm: f64,
    /// The mean FLAIR under the mask, as a multiple of that beside it: as the headers say, and shifted.
    pub(super) contrast: [f64; 2],
    /// DSC of a probability: as the headers say, and with the mask shifted.
    #[serde(rename = "DSC")]
    pub(super) dsc: [Option<f64>; 2],
}

impl Alignment {
    /// `None` if the mask is on the FLAIR's own grid, or empty. `probability` is marked from `threshold` on.
    pub(super) fn find(
        flair: &Volume,
        grid: &Grid,
        lesion: &[bool],
        probability: &Volume,
        threshold: f32,
    ) -> Result<Option<Self>, VolumeError> {
        let own = flair.grid.shape == grid.shape && (flair.grid.affine - grid.affine).norm() < 1e-3;
        if own || !lesion.contains(&true) {
            return Ok(None);
        }
        let beside: Vec<bool> = squared_distance(lesion, grid.shape)
            .iter()
            .map(|square| *square > 0.0 && *square <= SHELL * SHELL)
            .collect();
        let spacing = flair.grid.spacing();
        let thick = (0..3).fold(
            0,
            |best, axis| if spacing[axis] > spacing[best] { axis } else { best },
        );
        let across = flair.grid.affine.fixed_view::<3, 1>(0, thick).normalize();
        let up = if across[2] < 0.0 { -across } else { across };
        let shifted = |mm: f64| {
            let mut grid = grid.clone();
            for axis in 0..3 {
                grid.affine[(axis, 3)] += mm * up[axis];
            }
            grid
        };
        let contrast = |mm: f64| -> Result<f64, VolumeError> {
            let image = resample(flair, &shifted(mm), Interpolation::Linear, 0.0)?.data;
            Ok(mean(&image, lesion) / mean(&image, &beside))
        };
        let dsc = |mm: f64| -> Result<Option<f64>, VolumeError> {
            let placed = resample(probability, &shifted(mm), Interpolation::Linear, 0.0)?.data;
            let marked = |p: f32| p > 0.0 && p >= threshold;
            let both = lesion.iter().zip(&placed).filter(|(l, p)| **l && marked(**p));
            let sum = lesion.iter().filter(|l| **l).count() + placed.iter().filter(|p| marked(**p)).count();
            Ok((sum > 0).then(|| 2.0 * both.count() as f64 / sum as f64))
        };
        let still = contrast(0.0)?;
        let mut best = (0.0, still);
        for step in -STEPS..=STEPS {
            let mm = f64::from(step) / 2.0;
            let found = contrast(mm)?;
            if found > best.1 {
                best = (mm, found);
            }
        }
        Ok(Some(Self {
            shift_mm: best.0,
            contrast: [still, best.1],
            dsc: [dsc(0.0)?, dsc(best.0)?],
        }))
    }
}

fn mean(image: &[f32], mask: &[bool]) -> f64 {
    let (n, sum) = image
        .iter()
        .zip(mask)
        .filter(|(_, inside)| **inside)
        .fold((0, 0.0), |(n, sum), (v, _)| (n + 1, sum + f64::from(*v)));
    sum / f64::from(n)
}

pub(super) fn table(scored: &[&Scored<'_>]) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "**Masks and FLAIR**\n")?;
    writeln!(
        out,
        "References on another grid than the FLAIR's, shifted across its slices by -{reach} to {reach} mm in steps of 0.5 mm: where the mean FLAIR under the mask, as a \
         multiple of that within {SHELL} voxels beside it, is highest. FLAIR and mask alone say so; DSC is of the tables above, and with the mask shifted.\n",
        reach = STEPS / 2
    )?;
    writeln!(
        out,
        "| network | case | rater | contrast | shift, mm | contrast, shifted | DSC | DSC, shifted |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    for s in scored {
        let Some(a) = &s.alignment else { continue };
        let way = super::score::way(s.rotations, s.any_brightness);
        writeln!(
            out,
            "| {}{way} | {} | {} | {:.3} | {:.1} | {:.3} | {} | {} |",
            s.model.display(),
            s.case,
            s.rater,
            a.contrast[0],
            a.shift_mm,
            a.contrast[1],
            word(a.dsc[0]),
            word(a.dsc[1]),
        )?;
    }
    writeln!(out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Matrix4;

    /// A bright block on noise, in slices of 4 mm; the mask on voxels of 1 mm lies `off` mm above it.
    fn case(off: f64) -> (Volume, Grid, Vec<bool>) {
        let shape = [20, 20, 12];
        let affine = Matrix4::new_nonuniform_scaling(&[1.0, 1.0, 4.0].into());
        let bright =
            |[x, y, z]: [usize; 3]| (6..12).contains(&x) && (6..12).contains(&y) && (4..8).contains(&z);
        let at = |i: usize, [nx, ny, _]: [usize; 3]| [i % nx, i / nx % ny, i / nx / ny];
        let flair = (0..shape.iter().product())
            .map(|i| 1.0 + (i * 7919 % 101) as f32 / 2000.0 + f32::from(u8::from(bright(at(i, shape)))))
            .collect();
        let flair = Volume {
            grid: Grid { shape, affine },
            data: flair,
        };
        let mut affine = Matrix4::identity();
        affine[(2, 3)] = off;
        let grid = Grid {
            shape: [20, 20, 44],
            affine,
        };
        // Slices 4 to 7 reach from 14 to 30 mm.
        let lesion = (0..grid.len())
            .map(|i| at(i, grid.shape))
            .map(|[x, y, z]| (6..12).contains(&x) && (6..12).contains(&y) && (14..=29).contains(&z))
            .collect();
        (flair, grid, lesion)
    }

    #[test]
    fn a_mask_beside_what_is_bright_is_brought_there() {
        for off in [0.0, 2.0, -1.0] {
            let (flair, grid, lesion) = case(off);
            let probability = Volume {
                grid: flair.grid.clone(),
                data: flair.data.iter().map(|v| v - 1.0).collect(),
            };
            let found = Alignment::find(&flair, &grid, &lesion, &probability, 0.5)
                .unwrap()
                .unwrap();
            assert!((found.shift_mm + off).abs() <= 0.5, "{off}: {found:?}");
            let [still, shifted] = found.dsc.map(Option::unwrap);
            assert!(shifted > 0.95, "{off}: {found:?}");
            assert!(off == 0.0 || shifted > still, "{off}: {found:?}");
        }
    }

    #[test]
    fn a_mask_on_the_scans_own_grid_has_no_other_place() {
        let (flair, ..) = case(0.0);
        let lesion: Vec<bool> = flair.data.iter().map(|v| *v > 1.5).collect();
        let found = Alignment::find(&flair, &flair.grid, &lesion, &flair, 0.5).unwrap();
        assert_eq!(found, None);
    }
}
