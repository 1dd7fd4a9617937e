//! The open case: its scans, what was made ready of them, and the result.

use std::rc::Rc;

use crate::pipeline::mask::{self, Cut};
use crate::pipeline::names::{self, Output};
use crate::pipeline::prepare::{self, PrepareError, Prepared};
use crate::volume::nifti::{self, Header, Limits, Scan};
use crate::volume::{Grid, Volume, VolumeError};
use crate::web::messages::{MaskSummary, Product, ScanInfo, Slot};

/// What the desk holds for a person.
#[derive(Debug, Default)]
pub struct Case {
    flair: Option<Opened>,
    t1: Option<Opened>,
    prepared: Option<Rc<Prepared>>,
    fused: Option<Fused>,
}

#[derive(Debug)]
struct Opened {
    name: String,
    scan: Scan,
}

/// A finished run.
#[derive(Debug)]
struct Fused {
    /// The FLAIR's name and header, for the files to save.
    name: String,
    header: Header,
    /// Lesion probability on the FLAIR's own grid.
    probability: Volume,
    mask: Vec<u8>,
}

/// Why the case cannot do what was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// There is no FLAIR.
    #[error("Open a FLAIR scan first.")]
    NoFlair,
    /// There is no result.
    #[error("There is no result yet. Segment the scan first.")]
    NoResult,
    /// The cut is no cut.
    #[error("A threshold of {threshold} and a smallest lesion of {min_lesion_mm3} mm3 make no mask.")]
    Cut {
        /// As asked.
        threshold: f32,
        /// As asked.
        min_lesion_mm3: f64,
    },
    /// The scans cannot be used together.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

impl Case {
    /// Forgets a scan and everything made from it.
    pub fn clear(&mut self, slot: Slot) {
        self.prepared = None;
        self.fused = None;
        match slot {
            Slot::Flair => self.flair = None,
            Slot::T1 => self.t1 = None,
        }
    }

    /// Reads a scan and takes it in. The one before in the same slot is forgotten first, so that both are never in
    /// memory at once.
    ///
    /// # Errors
    /// Whatever is wrong with the file, or a T1 that does not lie where the FLAIR does.
    pub fn open(
        &mut self,
        slot: Slot,
        name: &str,
        bytes: Vec<u8>,
        limits: &Limits,
    ) -> Result<ScanInfo, CaseError> {
        self.clear(slot);
        let scan = nifti::read(&bytes, limits)?;
        drop(bytes);
        prepare::check(&scan.volume)?;
        let mut notes = scan.notes.clone();
        if let (Slot::T1, Some(flair)) = (slot, &self.flair) {
            notes.extend(prepare::fits(&flair.scan.volume.grid, &scan.volume.grid)?);
        }
        let header = &scan.header;
        let info = ScanInfo {
            name: name.to_owned(),
            shape: header.shape(),
            spacing: header.spacing(),
            datatype: header.datatype_name().to_owned(),
            orientation: header.orientation(),
            notes,
        };
        let opened = Some(Opened {
            name: name.to_owned(),
            scan,
        });
        match slot {
            Slot::Flair => self.flair = opened,
            Slot::T1 => self.t1 = opened,
        }
        Ok(info)
    }

    /// The case on the network's grid; made at the first call and kept.
    ///
    /// # Errors
    /// [`CaseError::NoFlair`], [`CaseError::Prepare`].
    pub fn prepared(&mut self) -> Result<Rc<Prepared>, CaseError> {
        if let Some(prepared) = &self.prepared {
            return Ok(prepared.clone());
        }
        let flair = self.flair.as_ref().ok_or(CaseError::NoFlair)?;
        let t1 = self.t1.as_ref().map(|t1| &t1.scan);
        let prepared = Rc::new(prepare::prepare(&flair.scan, t1)?);
        self.prepared = Some(prepared.clone());
        Ok(prepared)
    }

    /// The FLAIR's own grid.
    ///
    /// # Errors
    /// [`CaseError::NoFlair`].
    pub fn native(&self) -> Result<&Grid, CaseError> {
        Ok(&self.flair.as_ref().ok_or(CaseError::NoFlair)?.scan.volume.grid)
    }

    /// Forgets the result, which a new run replaces.
    pub fn drop_result(&mut self) {
        self.fused = None;
    }

    /// Takes a result in (one probability a voxel of the prepared head) and gives it back on the FLAIR's own grid, as
    /// an uncompressed NIfTI-1 file for the viewer.
    ///
    /// # Errors
    /// [`CaseError::NoFlair`], [`CaseError::Volume`].
    pub fn finish(&mut self, prepared: &Prepared, probability: Vec<f32>) -> Result<Vec<u8>, CaseError> {
        let flair = self.flair.as_ref().ok_or(CaseError::NoFlair)?;
        let probability = prepared.restore(probability)?;
        let file = nifti::write_float_plain(&prepared.native, &probability.data)?;
        self.fused = Some(Fused {
            name: flair.name.clone(),
            header: prepared.native.clone(),
            probability,
            mask: Vec::new(),
        });
        Ok(file)
    }

    /// Cuts the result into a mask, which [`Case::save`] then saves: one `u8` a voxel in the FLAIR's storage order.
    ///
    /// # Errors
    /// [`CaseError::NoResult`], [`CaseError::Cut`].
    pub fn cut(&mut self, threshold: f32, min_lesion_mm3: f64) -> Result<(MaskSummary, &[u8]), CaseError> {
        let fused = self.fused.as_mut().ok_or(CaseError::NoResult)?;
        // Ranges also refuse what is not a number.
        if !(0.0..=1.0).contains(&threshold) || !(0.0..f64::INFINITY).contains(&min_lesion_mm3) {
            return Err(CaseError::Cut {
                threshold,
                min_lesion_mm3,
            });
        }
        let cut = Cut {
            threshold,
            min_lesion_mm3,
            ..Cut::default()
        };
        let mask = mask::cut(&fused.probability, &cut);
        fused.mask = mask.voxels;
        let summary = MaskSummary {
            threshold,
            min_lesion_mm3,
            load_ml: mask.load_ml,
            lesions: mask.lesions.len(),
        };
        Ok((summary, &fused.mask))
    }

    /// Name and bytes of a result as `.nii.gz` in the FLAIR's own grid; the mask is that of the last cut.
    ///
    /// # Errors
    /// [`CaseError::NoResult`], [`CaseError::Volume`].
    pub fn save(&self, product: Product) -> Result<(String, Vec<u8>), CaseError> {
        let fused = self.fused.as_ref().ok_or(CaseError::NoResult)?;
        let (output, bytes) = match product {
            Product::Mask => (Output::Mask, nifti::write_mask(&fused.header, &fused.mask)?),
            Product::Probability => (
                Output::Probability,
                nifti::write_float(&fused.header, &fused.probability.data)?,
            ),
        };
        Ok((names::output(&fused.name, output), bytes))
    }

    /// True if a T1 is open.
    #[must_use]
    pub fn has_t1(&self) -> bool {
        self.t1.is_some()
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;

    use super::*;

    /// A head in air, 1 mm voxels, stored from right to left.
    fn scan(shift_mm: f64) -> Vec<u8> {
        let mut affine = Matrix4::new_nonuniform_scaling(&[-1.0, 1.0, 1.0].into());
        affine[(0, 3)] = 20.0 + shift_mm;
        let grid = Grid {
            shape: [12, 14, 10],
            affine,
        };
        let data: Vec<f32> = (0..grid.len())
            .map(|i| {
                let (x, y, z) = (i % 12, i / 12 % 14, i / 168);
                let inside = (2..10).contains(&x) && (2..12).contains(&y) && (2..8).contains(&z);
                if inside { 100.0 + (i % 31) as f32 } else { 0.0 }
            })
            .collect();
        nifti::write_float(&Header::from_grid(&grid).unwrap(), &data).unwrap()
    }

    fn open(case: &mut Case, slot: Slot, shift_mm: f64) -> Result<ScanInfo, CaseError> {
        case.open(slot, "sub-01_FLAIR.nii.gz", scan(shift_mm), &Limits::PAGE)
    }

    /// Ends a run with these probabilities, given on the FLAIR's own grid.
    fn finish(case: &mut Case, data: Vec<f32>) {
        let prepared = case.prepared().unwrap();
        let grid = case.native().unwrap().clone();
        let conformed = Volume { grid, data }.to_closest_ras();
        case.finish(&prepared, conformed.data).unwrap();
    }

    #[test]
    fn a_scan_is_described_as_it_is() {
        let info = open(&mut Case::default(), Slot::Flair, 0.0).unwrap();
        assert_eq!(info.shape, [12, 14, 10]);
        assert_eq!(info.spacing, [1.0; 3]);
        assert_eq!(info.datatype, "float32");
        assert_eq!(info.orientation, "LAS");
        assert_eq!(info.notes, Vec::<String>::new());
    }

    #[test]
    fn a_refused_file_leaves_no_old_scan_behind() {
        let mut case = Case::default();
        open(&mut case, Slot::Flair, 0.0).unwrap();
        assert!(case.prepared().is_ok());
        assert!(case.open(Slot::Flair, "x", vec![1, 2, 3], &Limits::PAGE).is_err());
        assert_eq!(case.prepared().unwrap_err(), CaseError::NoFlair);
    }

    #[test]
    fn a_t1_elsewhere_is_refused_and_one_beside_is_noted() {
        let mut case = Case::default();
        open(&mut case, Slot::Flair, 0.0).unwrap();
        let apart = open(&mut case, Slot::T1, 500.0).unwrap_err();
        assert!(apart.to_string().contains("0 %"), "{apart}");
        assert!(!case.has_t1());
        assert_eq!(open(&mut case, Slot::T1, 0.0).unwrap().notes.len(), 0);
        assert_eq!(open(&mut case, Slot::T1, 3.0).unwrap().notes.len(), 1);
        assert!(case.prepared().unwrap().head.t1().is_some());
        case.clear(Slot::T1);
        assert!(case.prepared().unwrap().head.t1().is_none(), "prepared anew");
    }

    #[test]
    fn a_flair_that_comes_after_its_t1_is_checked_against_it() {
        let mut case = Case::default();
        open(&mut case, Slot::T1, 500.0).unwrap();
        open(&mut case, Slot::Flair, 0.0).unwrap();
        assert!(matches!(
            case.prepared(),
            Err(CaseError::Prepare(PrepareError::Apart { .. }))
        ));
    }

    #[test]
    fn results_are_saved_on_the_grid_of_the_flair() {
        let mut case = Case::default();
        assert_eq!(case.cut(0.5, 0.0).unwrap_err(), CaseError::NoResult);
        assert_eq!(case.save(Product::Mask).unwrap_err(), CaseError::NoResult);
        open(&mut case, Slot::Flair, 0.0).unwrap();
        let native = case.native().unwrap().clone();
        let mut probability = vec![0.1; native.len()];
        // Two lesions: one of 3 voxels (3 mm3), one of 1.
        probability[500..503].fill(0.9);
        probability[900] = 0.6;
        finish(&mut case, probability.clone());
        let (summary, mask) = case.cut(0.5, 0.0).unwrap();
        assert_eq!((summary.lesions, summary.load_ml), (2, 0.004));
        assert_eq!(mask.iter().filter(|v| **v == 1).count(), 4);
        let (summary, _) = case.cut(0.5, 2.0).unwrap();
        assert_eq!((summary.lesions, summary.load_ml), (1, 0.003));

        let (name, bytes) = case.save(Product::Mask).unwrap();
        assert_eq!(name, "sub-01_desc-lesion_mask.nii.gz");
        let saved = nifti::read(&bytes, &Limits::PAGE).unwrap();
        assert_eq!(saved.volume.grid, native);
        assert_eq!(
            saved.volume.data.iter().sum::<f32>(),
            3.0,
            "the mask of the last cut"
        );
        let (name, bytes) = case.save(Product::Probability).unwrap();
        assert_eq!(name, "sub-01_desc-lesion_probseg.nii.gz");
        let saved = nifti::read(&bytes, &Limits::PAGE).unwrap();
        assert_eq!((saved.volume.grid, saved.volume.data), (native, probability));
    }

    #[test]
    fn a_cut_that_is_none_is_refused() {
        let mut case = Case::default();
        open(&mut case, Slot::Flair, 0.0).unwrap();
        finish(&mut case, vec![0.5; 12 * 14 * 10]);
        for (threshold, least) in [
            (f32::NAN, 0.0),
            (1.5, 0.0),
            (-0.1, 0.0),
            (0.5, -1.0),
            (0.5, f64::NAN),
        ] {
            assert!(
                matches!(case.cut(threshold, least), Err(CaseError::Cut { .. })),
                "{threshold} {least}"
            );
        }
    }

    #[test]
    fn anything_new_makes_the_result_old() {
        for slot in [Slot::Flair, Slot::T1] {
            let mut case = Case::default();
            open(&mut case, Slot::Flair, 0.0).unwrap();
            finish(&mut case, vec![0.5; 12 * 14 * 10]);
            open(&mut case, slot, 0.0).unwrap();
            assert_eq!(case.cut(0.5, 0.0).unwrap_err(), CaseError::NoResult);
        }
    }
}
