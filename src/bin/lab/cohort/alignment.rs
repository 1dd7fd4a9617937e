//! Whether a reference lies where its FLAIR is bright.
//!
//! A mask that was drawn on another image's grid fits the FLAIR as well as the headers know how the patient lay; between two scans of a session
//! people move. How a mask must be moved, as a stiff body, is told by the FLAIR and by what another rater marked (by the mask itself if there is no
//! other): a network that is scored has no say, nor has the mask that it is scored on.

use super::score::Scored;
use super::threshold::DscAt;
use super::word;
use equipoise::metrics::Confusion;
use equipoise::volume::distance::squared_distance;
use equipoise::volume::pose::{Pose, Steps};
use equipoise::volume::resample::{Interpolation, resample, sample};
use equipoise::volume::{Grid, Volume};
use nalgebra::Vector3;
use serde::Serialize;
use std::fmt::Write as _;

type Problem = Box<dyn std::error::Error>;

/// What is nearer to a lesion than this, in voxels of the mask, is what it stands out against.
const SHELL: f32 = 4.0;

/// The first steps of the search, about a degree and a millimetre, and how often they are halved.
const FIRST: Steps = Steps {
    rotation: 0.02,
    scale: 0.0,
    shift: 1.0,
};
const HALVINGS: i32 = 5;

/// How a mask lies on a FLAIR.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Alignment {
    /// Whose mask told.
    pub(super) rater: String,
    /// How far the centre of what that one marked moves, in mm, and by how many degrees all of it turns.
    pub(super) shift_mm: f64,
    pub(super) turn_degrees: f64,
    /// The mean FLAIR under that mask, as a multiple of that beside it: as the headers say, and moved.
    pub(super) contrast: [f64; 2],
    /// Of a probability with the other mask moved.
    #[serde(flatten)]
    pub(super) moved: DscAt,
}

/// How all of a mask's grid moves, in mm.
pub(super) struct Move {
    pose: Pose,
    centre: Vector3<f64>,
    contrast: [f64; 2],
}

impl Move {
    /// The move that makes the FLAIR stand out most under a mask. `None` if the mask is on the FLAIR's own grid, or empty.
    pub(super) fn find(flair: &Volume, grid: &Grid, lesion: &[bool]) -> Option<Self> {
        let to_voxel = flair
            .grid
            .affine
            .try_inverse()
            .filter(|_| !flair.grid.is_same(grid))?;
        let [nx, ny, _] = grid.shape;
        let world = |i: usize| grid.world([i % nx, i / nx % ny, i / nx / ny].map(|c| c as f64));
        let (mut inside, mut beside) = (Vec::new(), Vec::new());
        for (i, square) in squared_distance(lesion, grid.shape).into_iter().enumerate() {
            if square <= 0.0 {
                inside.push(world(i));
            } else if square <= SHELL * SHELL {
                beside.push(world(i));
            }
        }
        let centre = inside
            .iter()
            .fold(Vector3::zeros(), |sum, p| sum + Vector3::from(*p))
            / inside.len() as f64;
        let contrast = |pose: &Pose| {
            let (origin, matrix) = pose.linear();
            let mean = |points: &[[f64; 3]]| {
                let sum: f64 = points
                    .iter()
                    .map(|p| to_voxel.transform_point(&(origin + matrix * Vector3::from(*p)).into()))
                    .map(|at| {
                        f64::from(sample(
                            &flair.data,
                            flair.grid.shape,
                            [0, 1, 2].map(|a| at[a] as f32),
                            0.0,
                        ))
                    })
                    .sum();
                sum / points.len() as f64
            };
            mean(&inside) / mean(&beside)
        };
        let mut pose = Pose::still(centre);
        let still = contrast(&pose);
        // A mask without voxels has no centre, and no contrast.
        if !still.is_finite() {
            return None;
        }
        for halving in 0..=HALVINGS {
            pose.climb(FIRST.times(0.5_f64.powi(halving)), contrast);
        }
        Some(Self {
            contrast: [still, contrast(&pose)],
            pose,
            centre,
        })
    }

    /// A probability, marked from `threshold` on, beside a moved mask. `rater` is whose mask told the move.
    pub(super) fn score(
        &self,
        rater: &str,
        grid: &Grid,
        lesion: &[bool],
        probability: &Volume,
        threshold: f32,
    ) -> Result<Alignment, Problem> {
        let placed = resample(probability, &self.pose.moved(grid), Interpolation::Linear, 0.0)?.data;
        let marked: Vec<bool> = placed.iter().map(|p| *p > 0.0 && *p >= threshold).collect();
        let confusion = Confusion::new(lesion, &marked)?;
        let (origin, matrix) = self.pose.linear();
        Ok(Alignment {
            rater: rater.to_owned(),
            shift_mm: (origin + matrix * self.centre - self.centre).norm(),
            turn_degrees: self.pose.degrees(),
            contrast: self.contrast,
            moved: DscAt::new(threshold, &confusion),
        })
    }
}

pub(super) fn table(scored: &[&Scored<'_>]) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "**Masks laid on the FLAIR**\n")?;
    writeln!(
        out,
        "References on another grid than the FLAIR's, moved as a stiff body to where the mean FLAIR under what the rater named in `by` marked, as a multiple of that within \
         {SHELL} voxels beside it (contrast), is highest. DSC by headers is that of the tables above.\n"
    )?;
    writeln!(
        out,
        "| network | case | rater | DSC by headers | by | shift, mm | turn, degrees | contrast | contrast, moved | DSC, moved | PPV, moved | TPR, moved |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|---|")?;
    for s in scored {
        let Some(a) = &s.alignment else { continue };
        let way = super::score::way(s.rotations, s.any_brightness);
        writeln!(
            out,
            "| {}{way} | {} | {} | {} | {} | {:.1} | {:.1} | {:.3} | {:.3} | {} | {} | {} |",
            s.model.display(),
            s.case,
            s.rater,
            word(s.evaluation.dsc),
            a.rater,
            a.shift_mm,
            a.turn_degrees,
            a.contrast[0],
            a.contrast[1],
            word(a.moved.dsc),
            word(a.moved.ppv),
            word(a.moved.tpr),
        )?;
    }
    writeln!(out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{Matrix4, Rotation3};

    fn at(i: usize, [nx, ny, _]: [usize; 3]) -> [f64; 3] {
        [i % nx, i / nx % ny, i / nx / ny].map(|c| c as f64)
    }

    /// Whether a point in mm lies in one of two boxes, which no turn takes into themselves.
    fn lesion(p: [f64; 3]) -> bool {
        let inside = |centre: [f64; 3], half: [f64; 3]| (0..3).all(|a| (p[a] - centre[a]).abs() <= half[a]);
        inside([14.0, 18.0, 20.0], [7.0, 4.0, 6.0]) || inside([30.0, 26.0, 28.0], [4.0, 8.0, 7.0])
    }

    /// A FLAIR in slices of 4 mm with bright boxes, and the boxes on a grid of 1 mm that was moved before they were drawn.
    fn case(shift: [f64; 3], turn: f64) -> (Volume, Grid, Vec<bool>, Matrix4<f64>) {
        let affine = Matrix4::new_nonuniform_scaling(&[1.0, 1.0, 4.0].into());
        let grid = Grid {
            shape: [44, 44, 12],
            affine,
        };
        let noise = |i: usize| (i * 7919 % 101) as f32 / 1000.0;
        // Partial volume: a slice's value is the mean over its thickness.
        let value = |i: usize| {
            let [x, y, z] = at(i, grid.shape);
            let within = (0..8).filter(|s| lesion([x, y, 4.0 * z + f64::from(*s) / 2.0 - 1.75]));
            1.0 + noise(i) + within.count() as f32 / 16.0
        };
        let data = (0..grid.len()).map(value).collect();
        let centre = Vector3::new(22.0, 22.0, 22.0);
        let turned = Rotation3::from_euler_angles(0.0, 0.0, turn);
        let mut truth = turned.to_homogeneous();
        let offset = centre - turned * centre + Vector3::from(shift);
        truth.fixed_view_mut::<3, 1>(0, 3).copy_from(&offset);
        let fine = Grid {
            shape: [44, 44, 44],
            affine: Matrix4::identity(),
        };
        let mask = (0..fine.len()).map(|i| lesion(at(i, fine.shape))).collect();
        // The headers say that the mask lies elsewhere.
        let grid_of_mask = Grid {
            affine: truth,
            ..fine
        };
        (Volume { grid, data }, grid_of_mask, mask, truth)
    }

    #[test]
    fn a_mask_beside_what_is_bright_is_brought_there() {
        for (shift, turn) in [([0.0; 3], 0.0), ([0.5, 1.0, -2.0], 0.0), ([-1.0, 0.0, 1.5], 0.03)] {
            let (flair, grid, mask, off) = case(shift, turn);
            let found = Move::find(&flair, &grid, &mask).unwrap();
            let back = found.pose.moved(&grid).affine;
            // Where a corner of the boxes goes: the error of a shift and of a turn.
            for corner in [[7.0, 14.0, 14.0], [34.0, 34.0, 35.0]] {
                let p = nalgebra::Point3::from(corner);
                let error = (back.transform_point(&p) - p).norm();
                assert!(error < 0.6, "{shift:?}, {turn}: {error} mm, moved from {off}");
            }
            let probability = Volume {
                grid: flair.grid.clone(),
                data: flair.data.iter().map(|v| (v - 1.0) * 1.8).collect(),
            };
            let scored = found.score("2", &grid, &mask, &probability, 0.5).unwrap();
            assert!(scored.moved.dsc.unwrap() > 0.93, "{shift:?}, {turn}: {scored:?}");
            assert!(scored.contrast[1] >= scored.contrast[0]);
        }
    }

    #[test]
    fn a_mask_on_the_scans_own_grid_or_of_nothing_stays() {
        let (flair, grid, mask, _) = case([0.0; 3], 0.0);
        let own: Vec<bool> = flair.data.iter().map(|v| *v > 1.3).collect();
        assert!(Move::find(&flair, &flair.grid, &own).is_none());
        assert!(Move::find(&flair, &grid, &vec![false; mask.len()]).is_none());
    }
}
