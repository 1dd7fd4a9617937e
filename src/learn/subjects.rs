//! The training material on disk, and the rule that keeps a held-out patient out of it.
//!
//! All of it is brought to one grid: the 1 mm MNI grid of the labelled patients turned to RAS and cut to the
//! box that holds every brain and its skull ([`SHAPE`] voxels).

use super::anatomy;
use super::field::{self, Region, Shape};
use super::lesions::Lesion;
use super::material::{Fold, Labelled, Material, PatientLesions, SHAPE, TissueMap};
use super::npz::{NpzError, read_array};
use super::register::{self, Map};
use crate::volume::nifti::{self, Limits};
use crate::volume::{Volume, VolumeError};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Shape of the MNI grid on which images, masks and atlases come.
const MNI: Shape = [182, 218, 182];

/// The part of the MNI grid (RAS) that is kept.
const KEPT: Region = Region {
    start: [9, 10, 2],
    end: [173, 208, 160],
};

/// Patients whose images are labelled.
pub const LABELLED: [u8; 2] = [7, 19];

/// Patients numbered 1 to this one may have a lesion mask.
const LAST_PATIENT: u8 = 30;

/// Patients numbered 1 to this one may have a tissue map.
const LAST_TISSUE: u8 = 8;

/// Why the training material could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaterialError {
    /// A file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is not the image it should be.
    #[error("{path}: {source}", path = path.display())]
    Volume {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: VolumeError,
    },
    /// A file does not lie on the grid that the material shares.
    #[error("{path}: shape {found:?} where the MNI grid has {MNI:?}", path = path.display())]
    OffGrid {
        /// The file.
        path: PathBuf,
        /// Its shape.
        found: Shape,
    },
    /// The lesion shapes could not be read.
    #[error("{path}: {source}", path = path.display())]
    Shapes {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<NpzError>,
    },
    /// A file does not hold what it should: lesion shapes that contradict themselves, a transform that is none.
    #[error("{path}: {problem}", path = path.display())]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A brain is empty.
    #[error("{path}: no brain tissue found", path = path.display())]
    NoBrain {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to train on.
    #[error("no labelled patient is left to train on when patient {held_out:?} is held out")]
    NothingLeft {
        /// The held-out patient.
        held_out: Option<u8>,
    },
}

/// The files of one fold; nothing else is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Patient number, FLAIR, T1, mask.
    pub labelled: Vec<(u8, [PathBuf; 3])>,
    /// Patient number, mask.
    pub masks: Vec<(u8, PathBuf)>,
    /// Patient number, tissue map.
    pub tissue: Vec<(u8, PathBuf)>,
    /// Lesion shapes, their frequency map, the atlas's tissue map, and its ventricles.
    pub atlas: [PathBuf; 4],
}

impl Files {
    /// The files of a fold below a data directory. Masks and tissue maps that do not exist are left out
    /// (that of patient 26 is missing on purpose).
    #[must_use]
    pub fn of(data: &Path, fold: Fold) -> Self {
        let open_ms = data.join("open_ms");
        let shapes = data.join("lesion_shapes");
        let patients = |last: u8| (1..=last).filter(|p| fold.admits(*p));
        Self {
            labelled: LABELLED
                .into_iter()
                .filter(|p| fold.admits(*p))
                .map(|p| (p, labelled_paths(data, p)))
                .collect(),
            masks: patients(LAST_PATIENT)
                .map(|p| {
                    (
                        p,
                        open_ms.join(format!("lesion_masks_mni/sub-{p:02}_mask.nii.gz")),
                    )
                })
                .filter(|(_, path)| path.exists())
                .collect(),
            tissue: patients(LAST_TISSUE)
                .map(|p| {
                    (
                        p,
                        open_ms.join(format!("tissue/sub-{p:02}_desc-fast_dseg.nii.gz")),
                    )
                })
                .filter(|(_, path)| path.exists())
                .collect(),
            atlas: [
                shapes.join("lesions_compact.npz"),
                shapes.join("lesion_frequency.nii.gz"),
                shapes.join("MNI152_T1_1mm_brain_tissues.nii.gz"),
                shapes.join("MNI_1mm_Ventricules_Dilated.nii.gz"),
            ],
        }
    }

    /// Every path.
    pub fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.labelled
            .iter()
            .flat_map(|(_, paths)| paths)
            .chain(self.masks.iter().map(|(_, p)| p))
            .chain(self.tissue.iter().map(|(_, p)| p))
            .chain(&self.atlas)
    }
}

/// FLAIR, T1 and mask of a labelled patient.
fn labelled_paths(data: &Path, patient: u8) -> [PathBuf; 3] {
    ["FLAIR", "T1w", "desc-consensus_mask"].map(|what| {
        data.join(format!(
            "open_ms/labelled/sub-{patient:02}/sub-{patient:02}_{what}.nii.gz"
        ))
    })
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Volume, MaterialError> {
    let bytes = std::fs::read(path).map_err(|source| MaterialError::Io {
        path: path.to_owned(),
        source,
    })?;
    let scan = nifti::read(&bytes, &Limits::NATIVE).map_err(|source| MaterialError::Volume {
        path: path.to_owned(),
        source,
    })?;
    Ok(scan.volume)
}

/// Reads a file, turned to RAS without interpolation.
pub(super) fn read_ras(path: &Path) -> Result<Volume, MaterialError> {
    Ok(read(path)?.to_closest_ras())
}

/// Reads a file on the MNI grid and cuts the kept box out.
pub(super) fn read_mni(path: &Path) -> Result<Vec<f32>, MaterialError> {
    let volume = read_ras(path)?;
    if volume.grid.shape != MNI {
        return Err(MaterialError::OffGrid {
            path: path.to_owned(),
            found: volume.grid.shape,
        });
    }
    Ok(KEPT.cut(&volume.data, MNI))
}

/// Loads one labelled patient. Also the way to get at the held-out patient's image for validation.
///
/// # Errors
/// [`MaterialError`] if a file is missing or not on the MNI grid.
pub fn load_labelled(data: &Path, patient: u8) -> Result<Labelled, MaterialError> {
    let paths = labelled_paths(data, patient);
    let flair = read_mni(&paths[0])?;
    let t1 = read_mni(&paths[1])?;
    let mask: Vec<bool> = read_mni(&paths[2])?.iter().map(|v| *v > 0.5).collect();
    let mut tissue = anatomy::segment_t1(&t1, &mask);
    anatomy::mend_lesions(&mut tissue, SHAPE, &mask);
    let level = |image: &[f32], path: &Path| {
        anatomy::white_matter_level(image, &tissue, &mask).ok_or_else(|| MaterialError::NoBrain {
            path: path.to_owned(),
        })
    };
    let white = [level(&flair, &paths[0])?, level(&t1, &paths[1])?];
    let allowed = anatomy::allowed(&tissue, SHAPE);
    Ok(Labelled {
        patient,
        flair,
        t1,
        mask,
        tissue,
        allowed,
        white,
    })
}

impl Material {
    /// Loads what a fold may use from a data directory (`../shared/data`).
    ///
    /// # Errors
    /// [`MaterialError`] naming the file that is missing or not as expected.
    pub fn load(data: &Path, fold: Fold) -> Result<Self, MaterialError> {
        let files = Files::of(data, fold);
        let labelled = files
            .labelled
            .iter()
            .map(|(p, _)| load_labelled(data, *p))
            .collect::<Result<Vec<_>, _>>()?;
        let Some((reference, frame)) = labelled
            .iter()
            .find_map(|l| Some((&l.tissue, anatomy::moments(&l.tissue, SHAPE)?)))
        else {
            return Err(MaterialError::NothingLeft {
                held_out: fold.held_out,
            });
        };
        let reference = Map {
            tissue: reference,
            shape: SHAPE,
            spacing: [1.0; 3],
        };
        let mut masks = Vec::new();
        let mut tissue_maps = Vec::new();
        for (patient, path) in &files.masks {
            let mask: Vec<bool> = read_mni(path)?.iter().map(|v| *v > 0.5).collect();
            // Without a mask it is not known which grey matter of a tissue map is lesion, so such a map is not used.
            if let Some((_, tissue)) = files.tissue.iter().find(|(p, _)| p == patient) {
                tissue_maps.push(load_tissue(*patient, tissue, reference, &mask)?);
            }
            masks.push(PatientLesions {
                patient: *patient,
                lesions: Lesion::all_of(&mask, SHAPE),
            });
        }

        let [shapes_path, frequency_path, atlas_path, ventricles_path] = &files.atlas;
        let atlas: Vec<u8> = read_mni(atlas_path)?.iter().map(|v| *v as u8).collect();
        let to_frame = Fit::between(&atlas, frame, atlas_path)?;
        let mut shapes = load_shapes(shapes_path)?;
        for lesion in &mut shapes {
            lesion.home = to_frame.map([0, 1, 2].map(|a| lesion.home[a] - KEPT.start[a] as f32));
        }
        let frequency = load_frequency(frequency_path, &to_frame)?;
        let ventricles = read_mni(ventricles_path)?.iter().map(|v| *v > 0.5).collect();
        Ok(Self {
            fold,
            labelled,
            masks,
            shapes,
            frequency,
            ventricles,
            tissue_maps,
            clinical: Vec::new(),
        })
    }
}

/// Lays the atlas's brain over the patients' by centre and extent along each axis.
struct Fit {
    from: [f64; 3],
    to: [f64; 3],
    scale: [f64; 3],
}

impl Fit {
    fn between(atlas: &[u8], to: ([f64; 3], [f64; 3]), path: &Path) -> Result<Self, MaterialError> {
        let from = anatomy::moments(atlas, SHAPE).ok_or_else(|| MaterialError::NoBrain {
            path: path.to_owned(),
        })?;
        Ok(Self {
            from: from.0,
            to: to.0,
            scale: [0, 1, 2].map(|a| to.1[a] / from.1[a].max(1.0)),
        })
    }

    fn map(&self, at: [f32; 3]) -> [f32; 3] {
        [0, 1, 2].map(|a| (self.to[a] + self.scale[a] * (f64::from(at[a]) - self.from[a])) as f32)
    }
}

/// Where lesions of the atlas lie: voxels of this grid with running sums of counts.
fn load_frequency(path: &Path, fit: &Fit) -> Result<Vec<(usize, f32)>, MaterialError> {
    let counts = read_mni(path)?;
    let mut total = 0.0;
    let mut frequency = Vec::new();
    for (i, &count) in counts.iter().enumerate().filter(|(_, c)| **c > 0.0) {
        let at = fit.map(field::voxel(SHAPE, i).map(|c| c as f32)).map(f32::round);
        if (0..3).all(|a| at[a] >= 0.0 && at[a] < SHAPE[a] as f32) {
            total += count;
            frequency.push((field::index(SHAPE, at.map(|c| c as usize)), total));
        }
    }
    Ok(frequency)
}

/// The lesion shapes, with homes on the whole MNI grid (RAS). The file holds coordinates on the grid as stored (LAS) and each shape's
/// offset.
pub(super) fn load_shapes(path: &Path) -> Result<Vec<Lesion>, MaterialError> {
    let file = File::open(path).map_err(|source| MaterialError::Io {
        path: path.to_owned(),
        source,
    })?;
    let wrap = |source: NpzError| MaterialError::Shapes {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let mut archive = zip::ZipArchive::new(file).map_err(|source| {
        wrap(NpzError::Container {
            name: "all".to_owned(),
            source,
        })
    })?;
    let coords = read_array(&mut archive, "coords", "|u1").map_err(wrap)?;
    let offsets = read_array(&mut archive, "offsets", "<i8").map_err(wrap)?;
    let inconsistent = |problem: String| MaterialError::Inconsistent {
        path: path.to_owned(),
        problem,
    };
    let &[count, 3] = coords.shape.as_slice() else {
        return Err(inconsistent(format!("coordinates of shape {:?}", coords.shape)));
    };
    let (row, column) = if coords.fortran_order { (1, count) } else { (3, 1) };
    let coordinate =
        |voxel: usize, axis: usize| (coords.bytes[voxel * row + axis * column] as usize).min(MNI[axis] - 1);
    let offsets: Vec<usize> = offsets
        .bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|b| usize::try_from(i64::from_le_bytes(*b)).unwrap_or(usize::MAX))
        .collect();
    offsets
        .windows(2)
        .filter_map(|w| {
            if w[0] > w[1] || w[1] > count {
                return Some(Err(inconsistent(format!(
                    "a shape from coordinate {} to {} of {count}",
                    w[0], w[1]
                ))));
            }
            let ras: Vec<[usize; 3]> = (w[0]..w[1])
                .map(|v| [MNI[0] - 1 - coordinate(v, 0), coordinate(v, 1), coordinate(v, 2)])
                .collect();
            Lesion::from_voxels(&ras).map(Ok)
        })
        .collect()
}

/// A tissue map in scanner space, laid over the reference's brain; `mask` holds the patient's lesions there.
fn load_tissue(
    patient: u8,
    path: &Path,
    reference: Map<'_>,
    mask: &[bool],
) -> Result<TissueMap, MaterialError> {
    let volume = read_ras(path)?;
    let own: Vec<u8> = volume.data.iter().map(|v| *v as u8).collect();
    let moving = Map {
        tissue: &own,
        shape: volume.grid.shape,
        spacing: volume.grid.spacing(),
    };
    let pose = register::register(reference, moving).ok_or_else(|| MaterialError::NoBrain {
        path: path.to_owned(),
    })?;
    let mut tissue = register::resample(&pose, moving, SHAPE);
    anatomy::mend_lesions(&mut tissue, SHAPE, mask);
    let allowed = anatomy::allowed(&tissue, SHAPE);
    Ok(TissueMap {
        patient,
        tissue,
        allowed,
    })
}
