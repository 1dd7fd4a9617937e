//! Whether a case is fit to train on.

use crate::pipeline::compare::{CompareError, Reference};
use crate::pipeline::prepare::{PrepareError, Prepared, prepare};
use crate::volume::components::{Connectivity, label as components};
use crate::volume::nifti::Scan;
use crate::volume::resample::{Interpolation, resample};
use crate::volume::{Grid, Volume, VolumeError};

/// A mask of more than this many millilitres marks a brain, not lesions: a whole brain has 1000 and more, the largest lesion
/// loads are about 100.
const MOST_ML: f64 = 400.0;

/// Below this load in millilitres a case teaches little.
const LITTLE_ML: f64 = 0.1;

/// Below this share of the mask inside the head a sentence warns.
const INSIDE: f64 = 0.8;

/// Why a case cannot be trained on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CaseProblem {
    /// The scans cannot be prepared.
    #[error(transparent)]
    Scan(#[from] PrepareError),
    /// The mask is no mask, or lies elsewhere.
    #[error("Mask: {0}")]
    Mask(#[from] CompareError),
    /// The grids cannot be brought together.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Nothing is marked.
    #[error(
        "The mask marks no lesion inside the FLAIR. Choose the mask that belongs to this scan; a scan without lesions \
         cannot be trained on or scored here."
    )]
    Empty,
    /// Far too much is marked.
    #[error(
        "The mask marks {ml:.0} mL, more than any lesion load: it looks like a mask of the brain. Choose the lesion mask."
    )]
    TooMuch {
        /// Volume marked, in millilitres.
        ml: f64,
    },
    /// The mask lies beside the head.
    #[error(
        "Only {:.0} % of the mask lies inside the head: mask and FLAIR do not belong together, or one of them has a wrong \
         orientation. Check both in a viewer.",
        .share * 100.0
    )]
    Outside {
        /// Share of the marked voxels that lie inside the head.
        share: f64,
    },
}

/// A case that can be trained on and scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The head on the network's grid.
    pub prepared: Prepared,
    /// The mask on the FLAIR's own grid, where results are scored.
    pub reference: Reference,
    /// The mask on the network's grid, which is trained on.
    pub label: Vec<bool>,
    /// Lesions (18 neighbours) on the FLAIR's grid.
    pub lesions: usize,
    /// Their volume in millilitres.
    pub load_ml: f64,
    /// What a person should look at, one sentence each: those of preparing and of the mask, and doubts about the case.
    pub warnings: Vec<String>,
}

/// Prepares a case and checks it: grids, values of the mask, lesion load, and whether mask and FLAIR go together.
///
/// # Errors
/// [`CaseProblem`]; its text says what is wrong and what to do.
pub fn check(flair: &Scan, t1: Option<&Scan>, mask: &Scan) -> Result<Checked, CaseProblem> {
    let native = &flair.volume.grid;
    let reference = Reference::on(native, &mask.volume)?;
    let found = components(&reference.voxels, native.shape, Connectivity::Eighteen);
    let marked: usize = found.sizes.iter().sum();
    let load_ml = marked as f64 * native.voxel_volume() / 1000.0;
    if marked == 0 {
        return Err(CaseProblem::Empty);
    }
    if load_ml > MOST_ML {
        return Err(CaseProblem::TooMuch { ml: load_ml });
    }
    let prepared = prepare(flair, t1)?;
    let label = label_on(prepared.head.grid(), &mask.volume)?;
    let mut warnings = prepared.notes.clone();
    warnings.extend(reference.notes.clone());

    let head = &prepared.head;
    let (mut inside, mut total, mut brightness) = (0_usize, 0_usize, 0.0_f64);
    for ((&lesion, &inner), &value) in label.iter().zip(head.foreground()).zip(head.flair()) {
        if lesion {
            total += 1;
            inside += usize::from(inner);
            brightness += f64::from(value);
        }
    }
    if total == 0 {
        return Err(CaseProblem::Empty);
    }
    let share = inside as f64 / total as f64;
    if share < 0.5 {
        return Err(CaseProblem::Outside { share });
    }
    if share < INSIDE {
        warnings.push(format!(
            "Only {:.0} % of the mask lies inside the head. Check that it is aligned with the FLAIR.",
            share * 100.0
        ));
    }
    // Zero is the median of the brain's tissue.
    if brightness / total as f64 <= 0.0 {
        warnings.push(
            "What the mask marks is on average no brighter in the FLAIR than the brain around it. Check that mask and \
             FLAIR belong together."
                .to_owned(),
        );
    }
    if load_ml < LITTLE_ML {
        warnings.push(format!(
            "The lesion load is only {load_ml:.2} mL: the case teaches little, and its scores vary widely."
        ));
    }
    Ok(Checked {
        lesions: found.count(),
        prepared,
        reference,
        label,
        load_ml,
        warnings,
    })
}

/// A mask on the network's grid: half a voxel or more of lesion is lesion. A lesion too small for that keeps the voxel it is
/// nearest to.
fn label_on(grid: &Grid, mask: &Volume) -> Result<Vec<bool>, VolumeError> {
    let binary = Volume {
        grid: mask.grid.clone(),
        data: mask.data.iter().map(|&v| f32::from(u8::from(v > 0.0))).collect(),
    };
    if grid.is_same(&mask.grid) {
        return Ok(binary.data.iter().map(|&v| v > 0.5).collect());
    }
    let share = resample(&binary, grid, Interpolation::Linear, 0.0)?;
    let mut label: Vec<bool> = share.data.iter().map(|&v| v >= 0.5).collect();
    // Lesions of the coarse look that the fine one lost.
    let nearest = resample(&binary, grid, Interpolation::Nearest, 0.0)?;
    let nearest: Vec<bool> = nearest.data.iter().map(|&v| v > 0.5).collect();
    let found = components(&nearest, grid.shape, Connectivity::TwentySix);
    let mut kept = vec![false; found.count() + 1];
    for (&id, &lesion) in found.labels.iter().zip(&label) {
        kept[id as usize] |= lesion;
    }
    for (&id, lesion) in found.labels.iter().zip(&mut label) {
        *lesion |= id != 0 && !kept[id as usize];
    }
    Ok(label)
}
