//! The samples that ship with the project: synthetic heads with synthetic lesions, so that everybody can try the program without
//! a patient's scan.
//!
//! Anatomy: the ICBM152 2009a symmetric average brain (grey and white matter maps and T1), deformed at random. Lesions: outlines of an Apache-2.0
//! collection of lesion shapes, painted by [`paint`](super::paint). The brain comes without skull, as after brain extraction.
//! Nothing of it is used in training: the maps are not training material, and the random numbers have a purpose of their own.

use super::anatomy;
use super::augment::{acquisition, geometry};
use super::case;
use super::config::Geometry;
use super::field::{self, Region, Shape};
use super::head::Head;
use super::lesions::Lesion;
use super::plan::{self, Plan};
use super::random::{self, Purpose};
use super::subjects::{self, MaterialError};
use crate::volume::nifti::{self, Header};
use crate::volume::{Grid, VolumeError};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::path::{Path, PathBuf};

/// The part of the atlas grid (1 mm, RAS) that the whole-head sample shows.
const WHOLE: Region = Region {
    start: [18, 21, 0],
    end: [178, 213, 160],
};

/// Shape of the small sample.
const SMALL: Shape = [64, 72, 64];

/// First voxel of the MNI152 grid of the lesion shapes (RAS) on the atlas grid: both are 1 mm and in MNI space.
const SHAPES_AT: [f32; 3] = [7.0, 8.0, 0.0];

/// Lesions of a sample head.
const LESIONS: usize = 36;

/// The seed of the shipped samples.
pub const SEED: u64 = 152;

/// White matter's value in the files.
const WHITE: f32 = 120.0;

/// Why a sample could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// The atlas or the lesion shapes could not be read.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// The atlas's maps lie on different grids.
    #[error("the T1, grey and white matter maps have shapes {0:?}, but must all be alike and at least {min:?}", min = WHOLE.end)]
    Grids([Shape; 3]),
    /// A file could not be encoded.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A file could not be written.
    #[error("{path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// A sample as it is written: whole-number intensities and the true mask.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Voxels of 1 mm in MNI space.
    pub grid: Grid,
    /// FLAIR, white matter at about 120.
    pub flair: Vec<i16>,
    /// T1, white matter at about 120.
    pub t1: Vec<i16>,
    /// 1 where there is lesion.
    pub mask: Vec<u8>,
}

/// The atlas: shares of grey and white matter and the average T1.
#[derive(Clone, Debug)]
pub struct Atlas {
    grid: Grid,
    t1: Vec<f32>,
    grey: Vec<f32>,
    white: Vec<f32>,
}

impl Atlas {
    /// Reads `mni_icbm152_{t1,gm,wm}_tal_nlin_sym_09a_converted.nii.gz`, as in the folder `nilearn/datasets/data` of the
    /// Python package nilearn.
    ///
    /// # Errors
    /// [`SampleError`] if a map is missing or lies on another grid.
    pub fn load(folder: &Path) -> Result<Self, SampleError> {
        let read = |what: &str| {
            subjects::read_ras(&folder.join(format!("mni_icbm152_{what}_tal_nlin_sym_09a_converted.nii.gz")))
        };
        let (t1, grey, white) = (read("t1")?, read("gm")?, read("wm")?);
        let shapes = [t1.grid.shape, grey.grid.shape, white.grid.shape];
        if shapes != [shapes[0]; 3] || (0..3).any(|a| shapes[0][a] < WHOLE.end[a]) {
            return Err(SampleError::Grids(shapes));
        }
        let mut grid = t1.grid.clone();
        let corner = grid.world(WHOLE.start.map(|c| c as f64));
        for (a, c) in corner.into_iter().enumerate() {
            grid.affine[(a, 3)] = c;
        }
        grid.shape = WHOLE.shape();
        let share = |data: &[f32]| -> Vec<f32> {
            let highest = data.iter().copied().fold(1.0_f32, f32::max);
            WHOLE.cut(data, shapes[0]).iter().map(|v| v / highest).collect()
        };
        Ok(Self {
            grid,
            t1: share(&t1.data),
            grey: share(&grey.data),
            white: share(&white.data),
        })
    }

    /// FLAIR and T1 of the average brain, before texture. An average over 152 people is blurred; a power of the tissue shares makes it
    /// look more like one person.
    fn head(&self) -> Head {
        let n = self.t1.len();
        let mut head = Head {
            shape: self.grid.shape,
            images: [vec![0.0; n], vec![0.0; n]],
            lesions: vec![false; n],
            unknown: vec![false; n],
            tissue: vec![0; n],
            white: [WHITE; 2],
        };
        // The average T1's own white matter, for scale.
        let mut bright: Vec<f32> = (0..n)
            .filter(|&i| self.white[i] > 0.95)
            .map(|i| self.t1[i])
            .collect();
        let bright = field::median(&mut bright).unwrap_or(1.0);
        for i in (0..n).filter(|&i| self.t1[i] > 0.02) {
            let shares = [
                (1.0 - self.grey[i] - self.white[i]).max(0.0),
                self.grey[i],
                self.white[i],
            ];
            let sharp = shares.map(|s| s.powi(3));
            let sum: f32 = sharp.iter().sum::<f32>().max(1e-6);
            let [csf, grey, white] = sharp.map(|s| s / sum);
            let mixed = white + 0.69 * grey + 0.12 * csf;
            head.images[0][i] = WHITE * (white + 1.14 * grey + 0.22 * csf);
            head.images[1][i] = WHITE * (0.5 * mixed + 0.5 * (self.t1[i] / bright).min(1.15));
            head.tissue[i] = if csf > grey && csf > white {
                1
            } else if grey > white {
                2
            } else {
                3
            };
        }
        head
    }
}

/// Lesion shapes with homes on the sample's grid.
///
/// # Errors
/// [`SampleError`] if the file is missing or broken.
pub fn load_shapes(path: &Path) -> Result<Vec<Lesion>, SampleError> {
    let mut shapes = subjects::load_shapes(path)?;
    for lesion in &mut shapes {
        for ((home, at), start) in lesion.home.iter_mut().zip(SHAPES_AT).zip(WHOLE.start) {
            *home += at - start as f32;
        }
    }
    Ok(shapes)
}

/// Makes the whole-head sample number `number`.
#[must_use]
pub fn make_head(atlas: &Atlas, shapes: &[Lesion], seed: u64, number: u64) -> Sample {
    let mut rng = random::stream(seed, Purpose::Sample, number);
    let one_person = Geometry {
        mirror: 0.5,
        deform: 1.0,
        rotation: 4.0,
        scale: 0.03,
        shear: 0.02,
        elastic: 2.2,
        elastic_spacing: 22.0,
        misregistered: 0.0,
        shift: 0.0,
    };
    let mut head = geometry::vary(&mut rng, atlas.head(), &one_person);
    let shape = head.shape;
    add_texture(&mut rng, &mut head);
    let allowed = anatomy::allowed(&head.tissue, shape);
    let mut plan = Plan::new(shape, &allowed, &head.lesions);
    // Every third lesion is a large one.
    for _ in 0..2000 {
        if plan.lesions.len() >= LESIONS {
            break;
        }
        let sizes = if plan.lesions.len().is_multiple_of(3) {
            800..4000
        } else {
            50..300
        };
        let Some(lesion) = shapes.choose(&mut rng).filter(|l| sizes.contains(&l.voxels)) else {
            continue;
        };
        let size = random::between(&mut rng, 0.5, 1.0);
        plan::scatter(&mut rng, &mut plan, lesion, lesion.home, size, false);
    }
    let lesions = plan.lesions;
    case::paint_lesions(&mut rng, &mut head, &lesions);
    let whole = |image: &[f32], tissue: &[u8]| -> Vec<i16> {
        image
            .iter()
            .zip(tissue)
            .map(|(v, t)| {
                if *t == 0 {
                    0
                } else {
                    v.round().clamp(1.0, 1000.0) as i16
                }
            })
            .collect()
    };
    for image in &mut head.images {
        acquisition::apply_bias(&mut rng, image, shape, 0.03);
        acquisition::add_noise(&mut rng, image, 0.02 * WHITE, |_, v| v > 0.0);
    }
    Sample {
        grid: atlas.grid.clone(),
        flair: whole(&head.images[0], &head.tissue),
        t1: whole(&head.images[1], &head.tissue),
        mask: head.lesions.iter().map(|l| u8::from(*l)).collect(),
    }
}

/// Slow and fine variation of the tissues, as in a real brain.
fn add_texture(rng: &mut impl Rng, head: &mut Head) {
    let shape = head.shape;
    for (image, [slow, fine]) in head.images.iter_mut().zip([[0.03, 0.045], [0.02, 0.03]]) {
        let drift = field::smooth_noise(rng, shape, 14.0);
        let grain = field::texture(rng, shape, 0.8);
        for (i, v) in image.iter_mut().enumerate() {
            *v = (*v * (1.0 + slow * drift[i] + fine * grain[i])).max(0.0);
        }
    }
}

/// The block of `SMALL` voxels of a head that holds the most lesion, among those of which 15 to 40 % are background.
#[must_use]
pub fn make_small(head: &Sample) -> Sample {
    let shape = head.grid.shape;
    let mut best = (
        0,
        Region {
            start: [0; 3],
            end: SMALL,
        },
    );
    for z in (0..=shape[2] - SMALL[2]).step_by(4) {
        for y in (0..=shape[1] - SMALL[1]).step_by(4) {
            for x in (0..=shape[0] - SMALL[0]).step_by(4) {
                let start = [x, y, z];
                let region = Region {
                    start,
                    end: [0, 1, 2].map(|a| start[a] + SMALL[a]),
                };
                let (mut lesion, mut blank) = (0_usize, 0_usize);
                region.for_each(shape, |i, _| {
                    lesion += usize::from(head.mask[i]);
                    blank += usize::from(head.flair[i] == 0);
                });
                let share = blank as f64 / field::len(SMALL) as f64;
                if lesion > best.0 && (0.15..0.4).contains(&share) {
                    best = (lesion, region);
                }
            }
        }
    }
    let region = best.1;
    let mut grid = head.grid.clone();
    let corner = grid.world(region.start.map(|c| c as f64));
    for (a, c) in corner.into_iter().enumerate() {
        grid.affine[(a, 3)] = c;
    }
    grid.shape = region.shape();
    Sample {
        grid,
        flair: region.cut(&head.flair, shape),
        t1: region.cut(&head.t1, shape),
        mask: region.cut(&head.mask, shape),
    }
}

/// A scanner whose images look otherwise: what [`Sample::shifted`] does to a sample.
const SHIFT: Shift = Shift {
    contrast: [0.55, 1.5],
    bias: 0.12,
    noise: 0.045,
    slices: 4,
};

struct Shift {
    /// Power of the intensities of FLAIR and T1, white matter staying: lesions, grey and white matter move together in FLAIR
    /// and apart in T1.
    contrast: [f32; 2],
    /// Standard deviation of the bias field's logarithm.
    bias: f32,
    /// Standard deviation of the noise, in units of white matter.
    noise: f32,
    /// Thickness of the axial slices in mm.
    slices: usize,
}

impl Sample {
    /// The same head by another scanner: another contrast, a stronger bias field, more noise, and 4 mm axial slices on their
    /// own grid. A voxel of the mask is lesion if half of what it covers is.
    #[must_use]
    pub fn shifted(&self, seed: u64, number: u64) -> Self {
        let mut rng = random::stream(seed, Purpose::Sample, u64::MAX - number);
        let shape = self.grid.shape;
        let [nx, ny, nz] = shape;
        let slices = nz / SHIFT.slices;
        let plane = nx * ny;
        // Mean over the slices that a thick one covers.
        let thick = |image: &[f32]| -> Vec<f32> {
            (0..slices * plane)
                .map(|i| {
                    let (z, at) = (i / plane, i % plane);
                    let of = |k: usize| image[at + plane * (z * SHIFT.slices + k)];
                    (0..SHIFT.slices).map(of).sum::<f32>() / SHIFT.slices as f32
                })
                .collect()
        };
        let mut image = |values: &[i16], power: f32| -> Vec<i16> {
            let mut image: Vec<f32> = values.iter().map(|&v| f32::from(v)).collect();
            acquisition::change_contrast(&mut image, WHITE, power);
            acquisition::apply_bias(&mut rng, &mut image, shape, SHIFT.bias);
            let mut image = thick(&image);
            acquisition::add_noise(&mut rng, &mut image, SHIFT.noise * WHITE, |_, v| v > 0.0);
            image
                .iter()
                .map(|v| v.round().clamp(0.0, 1000.0) as i16)
                .collect()
        };
        let flair = image(&self.flair, SHIFT.contrast[0]);
        let t1 = image(&self.t1, SHIFT.contrast[1]);
        let mask: Vec<f32> = self.mask.iter().map(|&m| f32::from(m)).collect();
        let mask = thick(&mask).iter().map(|&share| u8::from(share >= 0.5)).collect();
        let mut grid = self.grid.clone();
        // The centre of the first thick slice lies between those of the thin ones.
        let middle = (SHIFT.slices as f64 - 1.0) / 2.0;
        let origin = grid.world([0.0, 0.0, middle]);
        for (axis, value) in origin.into_iter().enumerate() {
            grid.affine[(axis, 2)] *= SHIFT.slices as f64;
            grid.affine[(axis, 3)] = value;
        }
        grid.shape[2] = slices;
        Self {
            grid,
            flair,
            t1,
            mask,
        }
    }

    /// Writes `<prefix>_FLAIR.nii.gz`, `<prefix>_T1w.nii.gz` and `<prefix>_mask.nii.gz`.
    ///
    /// # Errors
    /// [`SampleError`] if a file cannot be written.
    pub fn write(&self, folder: &Path, prefix: &str) -> Result<(), SampleError> {
        let header = Header::from_grid(&self.grid)?;
        for (what, bytes) in [
            ("FLAIR", nifti::write_int16(&header, &self.flair)?),
            ("T1w", nifti::write_int16(&header, &self.t1)?),
            ("mask", nifti::write_mask(&header, &self.mask)?),
        ] {
            let path = folder.join(format!("{prefix}_{what}.nii.gz"));
            std::fs::write(&path, bytes).map_err(|source| SampleError::Write { path, source })?;
        }
        Ok(())
    }
}

/// Makes and writes both shipped samples, `head_*` and `small_*`, into `out`. `maps` holds the ICBM152 maps ([`Atlas::load`]),
/// `shapes` is `lesions_compact.npz`.
///
/// # Errors
/// [`SampleError`] if something cannot be read or written.
pub fn write_samples(maps: &Path, shapes: &Path, out: &Path, seed: u64) -> Result<(), SampleError> {
    let atlas = Atlas::load(maps)?;
    let shapes = load_shapes(shapes)?;
    make_head(&atlas, &shapes, seed, 0).write(out, "head")?;
    // The small one is of another head.
    make_small(&make_head(&atlas, &shapes, seed, 1)).write(out, "small")
}
