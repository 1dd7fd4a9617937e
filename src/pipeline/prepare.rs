//! From opened scans to a head as the network sees it, and from its probability back to the scan's own grid.

use std::collections::BTreeSet;

use super::{Head, PipelineError};
use crate::volume::conform::{conform, to_native};
use crate::volume::intensity::{ForegroundKind, Scene};
use crate::volume::motion::Motion;
use crate::volume::nifti::{Header, Scan};
use crate::volume::pose::Pose;
use crate::volume::resample::{Interpolation, coverage, resample};
use crate::volume::{Grid, Volume, VolumeError};

/// Least share of the FLAIR's field of view that a T1 must cover. Low, because a T1 cropped to the head may cover
/// little of a FLAIR with much air around it.
pub const LEAST_FIELD_COVERAGE: f64 = 0.1;

/// Least share of the head's bounding box that a T1 must cover.
pub const LEAST_HEAD_COVERAGE: f64 = 0.5;

/// Below this coverage of the head a note says that the T1 is missing in places.
const FULL_COVERAGE: f64 = 0.98;

/// An image of at most this many distinct values, all whole numbers, is a mask or a label image.
const MOST_LABELS: usize = 16;

/// A T1 that lies nearer than this to where the FLAIR shows the head, on average in mm, stays where its file says: the search is no better.
const LEAST_MOVED_MM: f64 = 0.5;

/// People move less than this in mm between two scans of a visit.
const MOST_MOVED_MM: f64 = 20.0;

/// Voxel edges from this length in mm on call for a note.
const THICK_MM: f64 = 3.0;

/// Drift of intensities from which on a note says that it was evened out.
const MARKED_DRIFT: f64 = 0.04;

/// Why a case cannot be prepared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// A scan is not fit for use.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The channels make no head.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// FLAIR and T1 lie apart.
    #[error(
        "The T1 covers only {:.0} % of {place}: the two scans do not belong together or are not registered. Check \
         that both are of the same person and visit and share one space, or go on without the T1.",
        .coverage * 100.0
    )]
    Apart {
        /// What should be covered: the FLAIR's field of view, or the head in it.
        place: &'static str,
        /// Share of it inside the T1's field of view, 0 to 1.
        coverage: f64,
    },
}

/// A case ready for a [`Run`](super::Run).
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// The head on the network's grid.
    pub head: Head,
    /// The FLAIR's header: the grid to which results return.
    pub native: Header,
    /// From a T1's voxels to the FLAIR's world in mm, rows first, where that is not what its header says because the T1 was laid on the FLAIR.
    pub t1_laid: Option<[[f64; 4]; 4]>,
    /// What preparing did that a person should know, one sentence each (the scans' own notes are not repeated).
    pub notes: Vec<String>,
}

impl Prepared {
    /// Brings a probability on the head's grid back to the FLAIR's own grid.
    ///
    /// # Errors
    /// [`VolumeError::Length`] if there is not one value per voxel of the head.
    pub fn restore(&self, probability: Vec<f32>) -> Result<Volume, VolumeError> {
        restore(self.head.grid(), &self.native, probability)
    }
}

/// Brings a probability on the network's grid back to the scan's own.
///
/// # Errors
/// [`VolumeError::Length`] if there is not one value per voxel of the network's grid.
pub fn restore(grid: &Grid, native: &Header, probability: Vec<f32>) -> Result<Volume, VolumeError> {
    let (expected, got) = (grid.len(), probability.len());
    if got != expected {
        return Err(VolumeError::Length { expected, got });
    }
    let fused = Volume {
        grid: grid.clone(),
        data: probability,
    };
    Ok(Volume {
        grid: native.grid().clone(),
        data: to_native(&fused, native.grid())?,
    })
}

/// Refuses an image that is no scan: constant, a single slice, a mask.
///
/// # Errors
/// [`VolumeError::Constant`], [`VolumeError::SingleSlice`], [`VolumeError::LooksLikeMask`], or
/// [`VolumeError::Empty`] without voxels.
pub fn check(scan: &Volume) -> Result<(), VolumeError> {
    let shape = scan.grid.shape;
    let value = *scan.data.first().ok_or(VolumeError::Empty)?;
    if scan.data.iter().all(|&v| v == value) {
        return Err(VolumeError::Constant { value });
    }
    if shape.contains(&1) {
        return Err(VolumeError::SingleSlice { shape });
    }
    let mut distinct = BTreeSet::new();
    let mut previous = f32::NAN;
    for &v in &scan.data {
        // Masks are long runs of one value: most voxels need no look-up.
        if v == previous {
            continue;
        }
        previous = v;
        distinct.insert(v.to_bits());
        if v.fract() != 0.0 || distinct.len() > MOST_LABELS {
            return Ok(());
        }
    }
    Err(VolumeError::LooksLikeMask {
        labels: distinct.len(),
    })
}

/// Whether a T1 on grid `t1` may go with a FLAIR on grid `flair`, judged by their grids alone, as soon as both are
/// open. A sentence says what will be done to the T1, if anything.
///
/// # Errors
/// [`PrepareError::Apart`] below [`LEAST_FIELD_COVERAGE`]; [`VolumeError::SingularGrid`].
pub fn fits(flair: &Grid, t1: &Grid) -> Result<Option<String>, PrepareError> {
    let coverage = coverage(flair, t1)?;
    if coverage < LEAST_FIELD_COVERAGE {
        return Err(PrepareError::Apart {
            place: "the FLAIR's field of view",
            coverage,
        });
    }
    Ok((!flair.is_same(t1)).then(|| {
        "The T1 lies on another grid than the FLAIR and is resampled onto it by the affines in the files."
            .to_owned()
    }))
}

/// Brings a case to the network's grid and intensities.
///
/// The FLAIR is conformed to RAS 1 mm ([`conform`]), its foreground found, its drift evened out and its intensities
/// normalised ([`Scene`]). A T1 on a grid of its own is laid on the FLAIR where the patient moved between the two ([`Motion`]). It goes to the conformed FLAIR's grid in a single interpolation and is normalised over the
/// part of that foreground where it has voxels; elsewhere it is 0, the tissue's median, which is also how the network is told
/// that there is no T1.
///
/// # Errors
/// [`PrepareError`]; its text says what is wrong and what to do.
pub fn prepare(flair: &Scan, t1: Option<&Scan>) -> Result<Prepared, PrepareError> {
    check(&flair.volume)?;
    let mut notes = Vec::new();
    let conformed = conform(&flair.volume)?;
    let spacing = flair.volume.grid.spacing();
    if conformed.interpolated {
        let [nx, ny, nz] = conformed.volume.grid.shape;
        notes.push(format!(
            "The FLAIR's voxels are {:.2} x {:.2} x {:.2} mm; the network works on a copy at 1 mm ({nx} x {ny} x \
             {nz} voxels) and its result is brought back.",
            spacing[0], spacing[1], spacing[2]
        ));
    }
    if spacing.iter().any(|&s| s >= THICK_MM) {
        notes.push(
            "The FLAIR has thick slices. Small lesions fade in them and may be missed; a 3-D FLAIR of about 1 mm \
             serves better."
                .to_owned(),
        );
    }
    let grid = conformed.volume.grid.clone();
    let scene = Scene::new(conformed.volume);
    notes.extend(scene.foreground.kind.note().map(str::to_owned));
    if let Some(drift) = scene.drift.filter(|&drift| drift >= MARKED_DRIFT) {
        notes.push(format!(
            "The FLAIR's brightness drifts over the head (by {:.0} % on average), which the coils cause; that was \
             evened out before the network saw it.",
            drift * 100.0
        ));
    }
    let mut t1_laid = None;
    let second = match t1 {
        None => {
            notes.push("No T1 was given; the network uses the FLAIR alone.".to_owned());
            None
        }
        Some(t1) => {
            check(&t1.volume)?;
            notes.extend(fits(&flair.volume.grid, &t1.volume.grid)?);
            let to_t1 = moved(&t1.volume, &flair.volume.grid, &grid, &scene, &mut notes);
            let place = to_t1.map_or_else(|| grid.clone(), |pose| pose.moved(&grid));
            t1_laid = to_t1.and_then(|pose| laid(&pose, &t1.volume.grid));
            notes.extend(covers_head(&place, &scene.foreground.mask, &t1.volume.grid)?);
            Some(second_channel(&t1.volume, &place, &scene)?)
        }
    };
    let outlined = scene.foreground.kind == ForegroundKind::Outlined;
    let head = Head::new(grid, scene.flair, second, scene.foreground.mask)?;
    Ok(Prepared {
        head: if outlined { head.outlined() } else { head },
        native: flair.header.clone(),
        t1_laid,
        notes,
    })
}

/// How the patient moved between FLAIR and T1, from the world of the one to that of the other; `None` for a T1 that stays where its file says.
/// One on the FLAIR's own grid was brought there by whoever registered the two, and stays. `notes` say what was done.
fn moved(t1: &Volume, flair: &Grid, grid: &Grid, scene: &Scene, notes: &mut Vec<String>) -> Option<Pose> {
    if flair.is_same(&t1.grid) {
        return None;
    }
    let Some(motion) = Motion::find(&scene.flair, grid, &scene.foreground.mask, t1) else {
        notes.push("Whether T1 and FLAIR line up could not be told; check that they do.".to_owned());
        return None;
    };
    let by = format!(
        "{:.1} mm on average, {:.1} degrees",
        motion.mean_mm,
        motion.to_second.degrees()
    );
    if motion.mean_mm > MOST_MOVED_MM {
        notes.push(format!(
            "The T1 does not line up with the FLAIR, and what would make it ({by}) is more than people move: it stays \
             where its file says. Check that both scans are of one visit, or go on without the T1."
        ));
        None
    } else if motion.mean_mm < LEAST_MOVED_MM {
        notes.push(format!(
            "T1 and FLAIR line up to within {LEAST_MOVED_MM} mm by what the two show."
        ));
        None
    } else {
        notes.push(format!(
            "The patient had moved between FLAIR and T1 ({by}); the T1 was laid on the FLAIR."
        ));
        Some(motion.to_second)
    }
}

/// From the voxels of a T1 on grid `t1` to the FLAIR's world, where a pose leads from that to the T1's.
fn laid(to_t1: &Pose, t1: &Grid) -> Option<[[f64; 4]; 4]> {
    let affine = to_t1.affine().try_inverse()? * t1.affine;
    Some([0, 1, 2, 3].map(|row| [0, 1, 2, 3].map(|column| affine[(row, column)])))
}

/// The T1 on the head's grid, which lies so in the T1's world, normalised where it has voxels and 0 elsewhere.
fn second_channel(t1: &Volume, grid: &Grid, scene: &Scene) -> Result<Vec<f32>, VolumeError> {
    // A scan that was read holds no NaN, so NaN marks what lies outside it.
    let mut resampled = resample(t1, grid, Interpolation::Linear, f32::NAN)?;
    let mut inside = vec![true; resampled.data.len()];
    for (value, inside) in resampled.data.iter_mut().zip(&mut inside) {
        if value.is_nan() {
            *value = 0.0;
            *inside = false;
        }
    }
    Ok(scene.channel(resampled, &inside))
}

/// Whether a T1 on grid `t1` covers enough of the head; a sentence if it does not cover all.
fn covers_head(grid: &Grid, foreground: &[bool], t1: &Grid) -> Result<Option<String>, PrepareError> {
    let Some(head) = bounding_box(grid, foreground) else {
        return Ok(None);
    };
    let coverage = coverage(&head, t1)?;
    if coverage < LEAST_HEAD_COVERAGE {
        return Err(PrepareError::Apart {
            place: "the head in the FLAIR",
            coverage,
        });
    }
    Ok((coverage < FULL_COVERAGE).then(|| {
        format!(
            "The T1 covers {:.0} % of the head; elsewhere the network uses the FLAIR alone.",
            coverage * 100.0
        )
    }))
}

/// The part of a grid that holds all of a mask; `None` if the mask is empty.
fn bounding_box(grid: &Grid, mask: &[bool]) -> Option<Grid> {
    let [nx, ny, _] = grid.shape;
    let (mut first, mut last) = ([usize::MAX; 3], [0; 3]);
    for (row, voxels) in mask.chunks(nx.max(1)).enumerate() {
        let (Some(left), Some(right)) = (voxels.iter().position(|v| *v), voxels.iter().rposition(|v| *v))
        else {
            continue;
        };
        for (axis, (low, high)) in [(left, right), (row % ny, row % ny), (row / ny, row / ny)]
            .into_iter()
            .enumerate()
        {
            first[axis] = first[axis].min(low);
            last[axis] = last[axis].max(high);
        }
    }
    if first[0] > last[0] {
        return None;
    }
    let origin = grid.world(first.map(|index| index as f64));
    let mut affine = grid.affine;
    for (axis, value) in origin.into_iter().enumerate() {
        affine[(axis, 3)] = value;
    }
    Some(Grid {
        shape: [0, 1, 2].map(|a| last[a] + 1 - first[a]),
        affine,
    })
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;

    use super::*;

    fn grid(shape: [usize; 3]) -> Grid {
        Grid {
            shape,
            affine: Matrix4::identity(),
        }
    }

    fn shifted(shape: [usize; 3], by: [f64; 3]) -> Grid {
        let mut grid = grid(shape);
        (0..3).for_each(|axis| grid.affine[(axis, 3)] = by[axis]);
        grid
    }

    #[test]
    fn what_is_no_scan_is_refused() {
        let image = |shape: [usize; 3], value: &dyn Fn(usize) -> f32| {
            let grid = grid(shape);
            let data = (0..grid.len()).map(value).collect();
            check(&Volume { grid, data })
        };
        assert_eq!(image([4; 3], &|_| 7.0), Err(VolumeError::Constant { value: 7.0 }));
        assert_eq!(
            image([9, 9, 1], &|i| i as f32),
            Err(VolumeError::SingleSlice { shape: [9, 9, 1] })
        );
        assert_eq!(
            image([4; 3], &|i| (i % 2) as f32),
            Err(VolumeError::LooksLikeMask { labels: 2 })
        );
        assert_eq!(
            image([4; 3], &|i| (i % 16) as f32),
            Err(VolumeError::LooksLikeMask { labels: 16 })
        );
        assert_eq!(image([4; 3], &|i| (i % 17) as f32), Ok(()));
        assert_eq!(image([4; 3], &|i| (i % 2) as f32 * 0.5), Ok(()));
        assert_eq!(image([0; 3], &|_| 0.0), Err(VolumeError::Empty));
    }

    #[test]
    fn a_t1_must_lie_where_the_flair_does() {
        let flair = grid([40; 3]);
        assert_eq!(fits(&flair, &flair), Ok(None));
        assert_eq!(
            fits(&flair, &shifted([40; 3], [0.009, 0.0, 0.0])),
            Ok(None),
            "rounding in a header"
        );
        for other in [
            shifted([40; 3], [0.011, 0.0, 0.0]),
            grid([41, 40, 40]),
            grid([20; 3]),
        ] {
            let note = fits(&flair, &other).unwrap().unwrap();
            assert!(note.contains("resampled"), "{note}");
        }
        let problem = fits(&flair, &shifted([40; 3], [38.0, 0.0, 0.0])).unwrap_err();
        let PrepareError::Apart { coverage, .. } = &problem else {
            panic!("{problem:?}")
        };
        assert!((coverage - 0.05).abs() < 0.02, "{coverage}");
        assert!(
            problem.to_string().contains("5 %") || problem.to_string().contains("6 %"),
            "{problem}"
        );
    }

    #[test]
    fn coverage_is_of_the_head_and_not_of_the_air() {
        let flair = shifted([40; 3], [100.0, 0.0, -50.0]);
        let mut head = vec![false; flair.len()];
        for (i, voxel) in head.iter_mut().enumerate() {
            *voxel = [i % 40, i / 40 % 40, i / 1600]
                .iter()
                .all(|v| (10..30).contains(v));
        }
        let found = bounding_box(&flair, &head).unwrap();
        assert_eq!(found, shifted([20; 3], [110.0, 10.0, -40.0]));
        assert_eq!(bounding_box(&flair, &vec![false; flair.len()]), None);

        let t1 = |shift: f64| shifted([20; 3], [110.0 + shift, 10.0, -40.0]);
        assert_eq!(
            covers_head(&flair, &head, &t1(0.0)),
            Ok(None),
            "all of the head, an eighth of the field of view"
        );
        let note = covers_head(&flair, &head, &t1(5.0)).unwrap().unwrap();
        assert!(note.contains("75 %"), "{note}");
        let problem = covers_head(&flair, &head, &t1(12.0)).unwrap_err();
        assert!(problem.to_string().contains("40 % of the head"), "{problem}");
    }
}
