//! Raw clinical scans without lesion labels, as training material.
//!
//! Two labelled patients show two scanners, and no skull. Clinical scans show what else a network will meet: other contrasts, thick
//! slices, dura, marrow, bright cortex. Nobody marked their lesions, but most voxels of such a scan surely hold none: those outside the
//! brain, those that are not bright, and bright ones where the atlas has cortex or deep grey matter and hardly ever saw a lesion. These
//! train as what they are. Bright voxels elsewhere may be lesion; they are [unknown](Clinical::unknown) and train nothing. Known lesions
//! are painted beside them.
//!
//! A lesion is hard to tell from an artefact by its rim, but a group of voxels much brighter than white and grey matter, in a place where lesions
//! lie, in a patient known to have some, is [surely one](Clinical::lesions). One as bright in deep grey matter, where the atlas saw next to none, is unknown. [`Mix::marked`] says whether such groups train as lesions or are unknown like the rest.

use super::anatomy::{self, Tissue};
use super::config::Mix;
use super::field;
use super::itk;
use super::material::{Clinical, Fold, Material, SHAPE};
use super::register::{self, Map};
use super::subjects::{MaterialError, read, read_mni};
use crate::volume::components::{self, Connectivity};
use crate::volume::conform::conform;
use crate::volume::distance::{dilate, erode};
use crate::volume::intensity::even_out;
use crate::volume::resample::{Interpolation, resample};
use crate::volume::{Grid, VolumeError};
use nalgebra::{Matrix4, Vector3};
use std::path::{Path, PathBuf};

/// Darker than this share of the brain's median is fluid.
const FLUID: f32 = 0.6;

/// Brighter than this multiple of white matter, and than this one of grey matter, may be lesion.
const BRIGHT: [f32; 2] = [1.12, 1.06];

/// The core of what is surely lesion is brighter than these multiples of white and of grey matter, and what hangs on such a core
/// and is brighter than those is lesion too: about half of the contrast that lesions have in slices of 4 mm (1.21 to 1.32 by size).
const CORE: [f32; 2] = [1.3, 1.2];
const BODY: [f32; 2] = [1.2, 1.13];

/// Fewer voxels in a group, or in its core, may be a vessel or noise.
const LEAST_BODY: usize = 30;
const LEAST_CORE: usize = 8;

/// Where the atlas, blurred by [`PLACE_BLUR`] mm, has more white matter than this share, a bright voxel may be lesion,
const WHITE_SHARE: f32 = 0.65;

/// and where it saw more lesions than this, of 117 at the most frequent place.
const SEEN: f32 = 10.0;

/// Deeper under the brain's surface than this, in mm, grey matter is no cortex, whose brightness differs from scan to scan: a group that is
/// as bright as a sure lesion may be one, however seldom the atlas saw one there.
const DEEP: f32 = 25.0;

/// How exactly the atlas is laid over a scan, in mm.
const PLACE_BLUR: f32 = 2.0;

/// The atlas on the material's grid.
struct Atlas {
    /// Tissue ([`Tissue`]).
    tissue: Vec<u8>,
    /// Where a bright voxel may be lesion.
    plausible: Vec<bool>,
    /// Where fluid is: what is bright there is choroid plexus, or flow.
    fluid: Vec<bool>,
}

impl Atlas {
    fn load(shapes: &Path) -> Result<Self, MaterialError> {
        let tissue: Vec<u8> = read_mni(&shapes.join("MNI152_T1_1mm_brain_tissues.nii.gz"))?
            .iter()
            .map(|v| *v as u8)
            .collect();
        let share = |of: Tissue| -> Vec<f32> {
            tissue
                .iter()
                .map(|t| f32::from(u8::from(*t == of as u8)))
                .collect()
        };
        let [mut white, mut fluid] = [Tissue::White, Tissue::Csf].map(share);
        let mut seen = read_mni(&shapes.join("lesion_frequency.nii.gz"))?;
        for map in [&mut white, &mut fluid, &mut seen] {
            field::blur(map, SHAPE, [PLACE_BLUR; 3]);
        }
        let plausible = white
            .iter()
            .zip(&seen)
            .map(|(w, s)| *w > WHITE_SHARE || *s > SEEN)
            .collect();
        let fluid = fluid.iter().map(|share| *share > 0.5).collect();
        Ok(Self {
            tissue,
            plausible,
            fluid,
        })
    }
}

/// One visit's files.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Visit {
    flair: PathBuf,
    /// From the common space of the patient's visits to the FLAIR.
    to_common: PathBuf,
    /// The brain in that space.
    brain: PathBuf,
    /// T1, and the transform from the FLAIR to it.
    t1: Option<[PathBuf; 2]>,
}

/// The visits that come with a brain mask, in the order of their names.
fn visits(data: &Path) -> Result<Vec<Visit>, MaterialError> {
    let mut found = Vec::new();
    for patient in folders(&data.join("open_ms/raw_longitudinal"))? {
        let brain = patient.join("common_space_brainmask.nii.gz");
        if !brain.exists() {
            continue;
        }
        for visit in folders(&patient)? {
            let name = visit
                .file_name()
                .map(|n| n.to_string_lossy().replace("ses-", "study"));
            let beside =
                |suffix: &str| visit.join(format!("{}_{suffix}.txt", name.as_deref().unwrap_or_default()));
            let (flair, t1) = (visit.join("FLAIR.nii.gz"), visit.join("T1W.nii.gz"));
            if flair.exists() {
                found.push(Visit {
                    flair,
                    to_common: beside("FLAIR_to_common_space"),
                    brain: brain.clone(),
                    t1: t1.exists().then(|| [t1, beside("T1W_intrastudy_to_FLAIR")]),
                });
            }
        }
    }
    Ok(found)
}

/// The folders in a folder, sorted.
fn folders(path: &Path) -> Result<Vec<PathBuf>, MaterialError> {
    let io = |source| MaterialError::Io {
        path: path.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl Material {
    /// Loads what a fold may use, with the raw clinical scans if the mix has a share for them. Their patients are none of the labelled
    /// ones (another study), so every fold may use them.
    ///
    /// # Errors
    /// [`MaterialError`] naming the file that is missing or not as expected.
    pub fn for_mix(data: &Path, fold: Fold, mix: &Mix) -> Result<Self, MaterialError> {
        let mut material = Self::load(data, fold)?;
        if mix.clinical > 0.0 {
            let atlas = Atlas::load(&data.join("lesion_shapes"))?;
            let visits = visits(data)?;
            // Laying the atlas over a scan takes seconds, and the scans know nothing of each other.
            material.clinical = std::thread::scope(|scope| {
                let loading: Vec<_> = visits
                    .iter()
                    .map(|visit| scope.spawn(|| load(visit, &atlas)))
                    .collect();
                loading
                    .into_iter()
                    .map(|scan| {
                        scan.join()
                            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                    })
                    .collect::<Result<_, _>>()
            })?;
        }
        Ok(material)
    }
}

fn read_transform(path: &Path) -> Result<Matrix4<f64>, MaterialError> {
    let text = std::fs::read_to_string(path).map_err(|source| MaterialError::Io {
        path: path.to_owned(),
        source,
    })?;
    itk::parse(&text).map_err(|problem| MaterialError::Inconsistent {
        path: path.to_owned(),
        problem,
    })
}

fn in_file(path: &Path) -> impl FnOnce(VolumeError) -> MaterialError {
    let path = path.to_owned();
    move |source| MaterialError::Volume { path, source }
}

/// An image on another's grid; `to_world` takes its own world points to the other's.
fn carried(path: &Path, to_world: &Matrix4<f64>, grid: &Grid) -> Result<Vec<f32>, MaterialError> {
    let mut volume = read(path)?;
    volume.grid.affine = to_world * volume.grid.affine;
    let carried = resample(&volume, grid, Interpolation::Linear, 0.0).map_err(in_file(path))?;
    Ok(carried.data)
}

/// The groups of a body's voxels, touching by a corner at least, that are large enough and hold enough of the core.
fn grouped(core: &[bool], body: &[bool]) -> Vec<bool> {
    let groups = components::label(body, SHAPE, Connectivity::TwentySix);
    let mut cores = vec![0; groups.count() + 1];
    for (group, _) in groups.labels.iter().zip(core).filter(|(_, core)| **core) {
        cores[*group as usize] += 1;
    }
    groups
        .labels
        .iter()
        .map(|&group| {
            group > 0 && groups.sizes[group as usize - 1] >= LEAST_BODY && cores[group as usize] >= LEAST_CORE
        })
        .collect()
}

fn load(visit: &Visit, atlas: &Atlas) -> Result<Clinical, MaterialError> {
    let native = read(&visit.flair)?;
    let thickness = native.grid.spacing().into_iter().fold(0.0, f64::max) as f32;
    let flair = conform(&native).map_err(in_file(&visit.flair))?.volume;
    let grid = flair.grid.clone();
    let common_to_flair = read_transform(&visit.to_common)?;
    let brain: Vec<bool> = carried(&visit.brain, &common_to_flair, &grid)?
        .iter()
        .map(|share| *share >= 0.5)
        .collect();
    let t1 = match &visit.t1 {
        None => None,
        Some([image, transform]) => {
            let to_flair =
                read_transform(transform)?
                    .try_inverse()
                    .ok_or_else(|| MaterialError::Inconsistent {
                        path: transform.clone(),
                        problem: "the matrix cannot be inverted".to_owned(),
                    })?;
            Some(carried(image, &to_flair, &grid)?)
        }
    };
    let no_brain = || MaterialError::NoBrain {
        path: visit.flair.clone(),
    };

    // What is fluid and what is bright is told on an even copy; training sees the scan as it is.
    let mut even = flair.clone();
    even_out(&mut even, &brain);
    let mut inside: Vec<f32> = even
        .data
        .iter()
        .zip(&brain)
        .filter(|(_, b)| **b)
        .map(|(v, _)| *v)
        .collect();
    let median = field::median(&mut inside).ok_or_else(no_brain)?;
    let own: Vec<u8> = even
        .data
        .iter()
        .zip(&brain)
        .map(|(v, b)| match b {
            false => Tissue::Outside as u8,
            true if *v < FLUID * median => Tissue::Csf as u8,
            true => Tissue::Grey as u8,
        })
        .collect();
    let reference: Vec<u8> = atlas
        .tissue
        .iter()
        .map(|t| (*t).min(Tissue::Grey as u8))
        .collect();
    let pose = register::register(
        Map {
            tissue: &reference,
            shape: SHAPE,
            spacing: [1.0; 3],
        },
        Map {
            tissue: &own,
            shape: grid.shape,
            spacing: grid.spacing(),
        },
    )
    .ok_or_else(no_brain)?;

    let (origin, matrix) = pose.linear();
    let place = |i: usize| {
        let at = origin + matrix * Vector3::from(field::voxel(SHAPE, i).map(|c| c as f64));
        [0, 1, 2].map(|a| at[a] as f32)
    };
    let laid = |image: &[f32]| -> Vec<f32> {
        (0..field::len(SHAPE))
            .map(|i| field::sample(image, grid.shape, place(i), 0.0))
            .collect()
    };
    let own = Map {
        tissue: &own,
        shape: grid.shape,
        spacing: grid.spacing(),
    };
    let tissue: Vec<u8> = register::resample(&pose, own, SHAPE)
        .iter()
        .zip(&atlas.tissue)
        .map(|(own, atlas)| match own {
            0 | 1 => *own,
            _ if *atlas == Tissue::White as u8 => Tissue::White as u8,
            _ => Tissue::Grey as u8,
        })
        .collect();
    let none = vec![false; tissue.len()];
    let level = |image: &[f32]| anatomy::white_matter_level(image, &tissue, &none);
    let even = laid(&even.data);
    let white = level(&even).ok_or_else(no_brain)?;
    let mut grey: Vec<f32> = (0..tissue.len())
        .filter(|&i| tissue[i] == Tissue::Grey as u8)
        .map(|i| even[i])
        .collect();
    let grey = field::median(&mut grey).ok_or_else(no_brain)?;
    let brighter = |than: [f32; 2], place: &[bool]| -> Vec<bool> {
        let least = (than[0] * white).max(than[1] * grey);
        (0..tissue.len())
            .map(|i| tissue[i] >= Tissue::Grey as u8 && place[i] && even[i] > least)
            .collect()
    };
    let groups = |place: &[bool]| {
        let [core, body] = [CORE, BODY].map(|than| {
            let mut found = brighter(than, place);
            found
                .iter_mut()
                .zip(&atlas.fluid)
                .for_each(|(f, fluid)| *f &= !fluid);
            found
        });
        grouped(&core, &body)
    };
    let lesions = groups(&atlas.plausible);
    let brain: Vec<bool> = tissue.iter().map(|t| *t != Tissue::Outside as u8).collect();
    let bright = brighter(BRIGHT, &atlas.plausible);
    let doubtful: Vec<bool> = bright
        .iter()
        .zip(groups(&erode(&brain, SHAPE, DEEP)))
        .map(|(bright, deep)| *bright || deep)
        .collect();
    // A lesion's rim is not bright, and is lesion to a rater.
    let mut unknown = dilate(&doubtful, SHAPE, 1.5);
    unknown.iter_mut().zip(&lesions).for_each(|(u, l)| *u &= !l);
    let allowed = anatomy::allowed(&tissue, SHAPE);
    let t1 = t1.map_or_else(|| vec![0.0; tissue.len()], |t1| laid(&t1));
    let white_t1 = level(&t1).filter(|level| *level > 0.0).unwrap_or(1.0);
    Ok(Clinical {
        flair: laid(&flair.data),
        white: [white, white_t1],
        t1,
        tissue,
        lesions,
        unknown,
        allowed,
        thickness,
    })
}
