//! What a fold may train on, in memory.

use super::field::Shape;
use super::lesions::Lesion;

/// Shape of all training volumes: 1 mm voxels, RAS.
pub const SHAPE: Shape = [164, 198, 158];

/// What is kept out of training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    /// Number of the patient (1-30) whose image, lesion mask and tissue map train nothing; `None` to use all.
    pub held_out: Option<u8>,
}

impl Fold {
    /// Whether a patient's material may train this fold.
    #[must_use]
    pub fn admits(&self, patient: u8) -> bool {
        self.held_out != Some(patient)
    }
}

/// One patient's image with its consensus mask. Fields have [`SHAPE`].
#[derive(Clone, Debug)]
pub struct Labelled {
    /// Patient number.
    pub patient: u8,
    /// FLAIR, 0 outside the brain.
    pub flair: Vec<f32>,
    /// T1, 0 outside the brain.
    pub t1: Vec<f32>,
    /// Lesion voxels.
    pub mask: Vec<bool>,
    /// Tissue ([`Tissue`](super::anatomy::Tissue)) from the T1 intensities.
    pub tissue: Vec<u8>,
    /// Where further lesions may be painted.
    pub allowed: Vec<bool>,
    /// Median white-matter intensity of FLAIR and T1.
    pub white: [f32; 2],
}

/// A raw clinical scan of a patient with lesions that nobody marked, laid on the material's grid. Fields have [`SHAPE`].
#[derive(Clone, Debug)]
pub struct Clinical {
    /// FLAIR as it came from the scanner, with skull.
    pub flair: Vec<f32>,
    /// T1 of the same visit; zero if there is none.
    pub t1: Vec<f32>,
    /// Tissue ([`Tissue`](super::anatomy::Tissue)): the scan's own brain and fluid, the atlas's grey and white matter.
    pub tissue: Vec<u8>,
    /// Where what is bright is surely lesion.
    pub lesions: Vec<bool>,
    /// Where what is bright may be lesion; never where it surely is.
    pub unknown: Vec<bool>,
    /// Where lesions may be painted.
    pub allowed: Vec<bool>,
    /// Median white-matter intensity of FLAIR and T1 (1 for a T1 that is missing).
    pub white: [f32; 2],
    /// Thickness of the FLAIR's slices in mm.
    pub thickness: f32,
}

impl Clinical {
    /// Where something bright is surely lesion or may be.
    #[must_use]
    pub fn suspect(&self) -> Vec<bool> {
        let both = self.lesions.iter().zip(&self.unknown);
        both.map(|(lesion, unknown)| *lesion || *unknown).collect()
    }
}

/// One patient's tissue map without an image. Fields have [`SHAPE`].
#[derive(Clone, Debug)]
pub struct TissueMap {
    /// Patient number.
    pub patient: u8,
    /// Tissue ([`Tissue`](super::anatomy::Tissue)).
    pub tissue: Vec<u8>,
    /// Where lesions may be painted.
    pub allowed: Vec<bool>,
}

/// The lesions of one patient's mask.
#[derive(Clone, Debug)]
pub struct PatientLesions {
    /// Patient number.
    pub patient: u8,
    /// 26-connected lesions.
    pub lesions: Vec<Lesion>,
}

/// Everything that one fold may train on.
#[derive(Clone, Debug)]
pub struct Material {
    /// The fold.
    pub fold: Fold,
    /// Labelled patients.
    pub labelled: Vec<Labelled>,
    /// Lesions of all patients with a mask.
    pub masks: Vec<PatientLesions>,
    /// Lesion shapes of another data set, with homes mapped to this grid.
    pub shapes: Vec<Lesion>,
    /// Voxels of this grid where the atlas saw lesions, with the sum of their counts so far (for drawing).
    pub frequency: Vec<(usize, f32)>,
    /// Where ventricles may lie, by the atlas: [`SHAPE`] voxels.
    pub ventricles: Vec<bool>,
    /// Tissue maps of patients without images.
    pub tissue_maps: Vec<TissueMap>,
    /// Raw clinical scans without labels; empty unless [asked for](Material::for_mix).
    pub clinical: Vec<Clinical>,
}
