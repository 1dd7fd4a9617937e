//! The open case: its scans, what was made ready of them, and the result.

mod looks;

use std::rc::Rc;

use crate::pipeline::compare::{self, CompareError};
use crate::pipeline::finished::{FileError, Finished, Inputs, Record};
use crate::pipeline::fusion::FusionStudy;
use crate::pipeline::mask::Cut;
use crate::pipeline::names::Output;
use crate::pipeline::prepare::{self, PrepareError, Prepared};
use crate::pipeline::report::{Input, Report};
use crate::pipeline::{Comparer, Comparison, Reference, Segmentation};
use crate::volume::components::Connectivity;
use crate::volume::nifti::{self, Header, Limits, Scan};
use crate::volume::{Grid, VolumeError};
use crate::web::messages::{MaskSummary, ScanInfo, Slot};

use super::family::Family;
pub use looks::Drawn;

/// What the desk holds for a person.
#[derive(Debug, Default)]
pub struct Case {
    flair: Option<Opened>,
    t1: Option<Opened>,
    prepared: Option<Rc<Prepared>>,
    result: Option<Finished>,
    reference: Option<OpenedReference>,
    /// The maps of a family of networks.
    pub family: Family,
    /// The votes of the newest run, if it kept them for every window.
    pub fusion: Option<FusionStudy>,
    /// The FLAIR's values that are drawn black and white; made at the first picture.
    window: Option<[f32; 2]>,
}

#[derive(Debug)]
struct Opened {
    name: String,
    scan: Scan,
    input: Input,
}

#[derive(Debug)]
struct OpenedReference {
    input: Input,
    /// On the FLAIR's own grid.
    reference: Reference,
    /// Made at the first comparison with a result, and only good for that one.
    comparer: Option<Comparer>,
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
    /// The reference cannot be used, or not with this result.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A file cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file cannot be read, or a result is of another scan.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

impl Case {
    /// Forgets a scan and everything made from it.
    pub fn clear(&mut self, slot: Slot) {
        self.prepared = None;
        self.result = None;
        self.fusion = None;
        self.family.clear();
        self.forget_ranking();
        match slot {
            Slot::Flair => {
                self.flair = None;
                self.window = None;
                // It lay on that FLAIR's grid.
                self.reference = None;
            }
            Slot::T1 => self.t1 = None,
        }
    }

    /// Forgets the reference mask.
    pub fn clear_reference(&mut self) {
        self.reference = None;
        if let Some(result) = &mut self.result {
            result.forget_comparison();
        }
    }

    fn forget_ranking(&mut self) {
        if let Some(reference) = &mut self.reference {
            reference.comparer = None;
        }
    }

    /// Reads a reference mask and brings it onto the FLAIR's grid.
    ///
    /// # Errors
    /// [`CaseError::NoFlair`], or whatever is wrong with the file.
    pub fn open_reference(
        &mut self,
        name: &str,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<ScanInfo, CaseError> {
        self.clear_reference();
        let flair = self.flair.as_ref().ok_or(CaseError::NoFlair)?;
        let scan = nifti::read(bytes, limits)?;
        let mut reference = Reference::on(&flair.scan.volume.grid, &scan.volume)?;
        reference.notes.splice(0..0, scan.notes);
        let info = info(name, &scan.header, reference.notes.clone());
        self.reference = Some(OpenedReference {
            input: Input::of(bytes, &scan.header),
            reference,
            comparer: None,
        });
        Ok(info)
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
        let input = Input::of(&bytes, &scan.header);
        drop(bytes);
        prepare::check(&scan.volume)?;
        let mut notes = scan.notes.clone();
        if let (Slot::T1, Some(flair)) = (slot, &self.flair) {
            notes.extend(prepare::fits(&flair.scan.volume.grid, &scan.volume.grid)?);
        }
        let info = info(name, &scan.header, notes);
        let opened = Some(Opened {
            name: name.to_owned(),
            scan,
            input,
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
        self.result = None;
        self.fusion = None;
        self.forget_ranking();
    }

    /// Takes a result in and gives its probability back on the FLAIR's own grid, as an uncompressed NIfTI-1 file for the
    /// viewer. The scans' own notes are put before those of the record.
    ///
    /// # Errors
    /// [`CaseError::NoFlair`], [`CaseError::Volume`].
    pub fn finish(
        &mut self,
        prepared: &Prepared,
        segmentation: Segmentation,
        mut record: Record,
    ) -> Result<Vec<u8>, CaseError> {
        self.forget_ranking();
        let flair = self.flair.as_ref().ok_or(CaseError::NoFlair)?;
        let scans = [Some(flair), self.t1.as_ref()].into_iter().flatten();
        let notes: Vec<String> = scans.flat_map(|opened| opened.scan.notes.clone()).collect();
        record.notes.splice(0..0, notes);
        let inputs = Inputs {
            name: flair.name.clone(),
            flair: flair.input.clone(),
            t1: self.t1.as_ref().map(|t1| t1.input.clone()),
        };
        let result = Finished::new(prepared, segmentation, inputs, record)?;
        let file = nifti::write_float_plain(&prepared.native, &result.probability().data)?;
        self.result = Some(result);
        Ok(file)
    }

    /// Cuts the result into a mask, which [`Case::save`] then saves: one `u8` a voxel in the FLAIR's storage order.
    ///
    /// # Errors
    /// [`CaseError::NoResult`], [`CaseError::Cut`].
    pub fn cut(
        &mut self,
        threshold: f32,
        min_lesion_mm3: f64,
        connectivity: Connectivity,
    ) -> Result<(MaskSummary, &[u8]), CaseError> {
        let result = self.result.as_mut().ok_or(CaseError::NoResult)?;
        // Ranges also refuse what is not a number.
        if !(0.0..=1.0).contains(&threshold) || !(0.0..f64::INFINITY).contains(&min_lesion_mm3) {
            return Err(CaseError::Cut {
                threshold,
                min_lesion_mm3,
            });
        }
        let mask = result.cut(&Cut {
            threshold,
            min_lesion_mm3,
            connectivity,
        });
        let summary = MaskSummary {
            threshold,
            min_lesion_mm3,
            load_ml: mask.load_ml,
            connectivity,
            lesions: mask.lesions.clone(),
        };
        Ok((summary, &mask.voxels))
    }

    /// Takes the mask over as a person corrected it, one `u8` a voxel in the FLAIR's storage order: from now on it is the
    /// last cut, until the next.
    ///
    /// # Errors
    /// [`CaseError::NoResult`], [`CaseError::Volume`].
    pub fn correct(&mut self, voxels: &[u8]) -> Result<(MaskSummary, &[u8]), CaseError> {
        let result = self.result.as_mut().ok_or(CaseError::NoResult)?;
        let cut = *result.last_cut();
        let mask = result.correct(voxels)?;
        let summary = MaskSummary {
            threshold: cut.threshold,
            min_lesion_mm3: cut.min_lesion_mm3,
            load_ml: mask.load_ml,
            connectivity: cut.connectivity,
            lesions: mask.lesions.clone(),
        };
        Ok((summary, &mask.voxels))
    }

    /// The last cut beside the reference, and where they differ (see [`compare::overlay`]); nothing if one of the two is
    /// missing.
    ///
    /// # Errors
    /// [`CaseError::Compare`].
    pub fn compare(&mut self) -> Result<Option<(Comparison, Vec<u8>)>, CaseError> {
        let (Some(result), Some(opened)) = (&mut self.result, &mut self.reference) else {
            return Ok(None);
        };
        if result.mask().voxels.is_empty() {
            return Ok(None);
        }
        let comparer = match &mut opened.comparer {
            Some(comparer) => comparer,
            none => none.insert(Comparer::new(result.probability(), &opened.reference)?),
        };
        let comparison = result
            .compare(comparer, &opened.reference, &opened.input)?
            .clone();
        let overlay = compare::overlay(&result.mask().voxels, &opened.reference.voxels);
        Ok(Some((comparison, overlay)))
    }

    /// Name and bytes of a file, which is the one that `lab segment` writes; all of the last cut.
    ///
    /// # Errors
    /// [`CaseError::NoResult`], [`CaseError::File`], [`CaseError::Compare`].
    pub fn save(&mut self, output: Output) -> Result<(String, Vec<u8>), CaseError> {
        let fresh = self.result.as_ref().is_some_and(Finished::is_compared);
        if !matches!(output, Output::Mask | Output::Probability) && !fresh {
            // The comparison may have been put off while a slider moved.
            self.compare()?;
        }
        let result = self.result.as_ref().ok_or(CaseError::NoResult)?;
        Ok(result.file(output)?)
    }

    /// The record of the run with every number of the last cut.
    ///
    /// # Errors
    /// [`CaseError::NoResult`], [`CaseError::Compare`].
    pub fn report(&mut self) -> Result<Report, CaseError> {
        if !self.result.as_ref().is_some_and(Finished::is_compared) {
            self.compare()?;
        }
        Ok(self.result.as_ref().ok_or(CaseError::NoResult)?.report())
    }

    /// True if a T1 is open.
    #[must_use]
    pub fn has_t1(&self) -> bool {
        self.t1.is_some()
    }
}

/// A file for a person.
pub(super) fn info(name: &str, header: &Header, notes: Vec<String>) -> ScanInfo {
    ScanInfo {
        name: name.to_owned(),
        shape: header.shape(),
        spacing: header.spacing(),
        datatype: header.datatype_name().to_owned(),
        orientation: header.orientation(),
        notes,
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;

    use super::*;
    use crate::pipeline::Settings;
    use crate::pipeline::report;
    use crate::volume::Volume;

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
        let record = Record {
            model: report::Model {
                name: "toy".into(),
                sha256: "0".into(),
            },
            engine: "CPU".into(),
            settings: Settings::default(),
            notes: vec!["A note.".into()],
            timings: report::Timings::default(),
        };
        let segmentation = Segmentation {
            probability: conformed.data,
            variance: None,
            windows: Vec::new(),
            patches: 8,
            notes: Vec::new(),
        };
        case.finish(&prepared, segmentation, record).unwrap();
    }

    fn cut(
        case: &mut Case,
        threshold: f32,
        min_lesion_mm3: f64,
    ) -> Result<(MaskSummary, Vec<u8>), CaseError> {
        let (summary, mask) = case.cut(threshold, min_lesion_mm3, Connectivity::Eighteen)?;
        Ok((summary, mask.to_vec()))
    }

    /// A result with a lesion of 3 voxels and one of 1.
    fn two_lesions(case: &mut Case) -> Vec<f32> {
        open(case, Slot::Flair, 0.0).unwrap();
        let mut probability = vec![0.1; case.native().unwrap().len()];
        probability[500..503].fill(0.9);
        probability[900] = 0.6;
        finish(case, probability.clone());
        probability
    }

    /// A mask on the FLAIR's grid with lesions at these voxels.
    fn mask_file(lesion: &[usize]) -> Vec<u8> {
        let header = nifti::read(&scan(0.0), &Limits::PAGE).unwrap().header;
        let mut mask = vec![0_u8; 12 * 14 * 10];
        lesion.iter().for_each(|&at| mask[at] = 1);
        nifti::write_mask(&header, &mask).unwrap()
    }

    #[test]
    fn a_reference_is_compared_and_reported_as_lab_does() {
        let mut case = Case::default();
        let file = mask_file(&[501, 502, 503, 1200]);
        assert_eq!(
            case.open_reference("m.nii.gz", &file, &Limits::PAGE).unwrap_err(),
            CaseError::NoFlair
        );
        let probability = two_lesions(&mut case);
        assert_eq!(case.compare().unwrap(), None, "neither mask nor reference");
        cut(&mut case, 0.5, 0.0).unwrap();
        case.open_reference("m.nii.gz", &file, &Limits::PAGE).unwrap();
        let (comparison, overlay) = case.compare().unwrap().unwrap();
        let counts = comparison.evaluation.voxels;
        assert_eq!(
            [
                counts.true_positives,
                counts.false_positives,
                counts.false_negatives
            ],
            [2, 2, 2]
        );
        assert_eq!((overlay[500], overlay[501], overlay[503]), (2, 1, 3));

        // `lab evaluate` on the saved probability and the same mask.
        let reference: Vec<bool> = (0..probability.len())
            .map(|i| [501, 502, 503, 1200].contains(&i))
            .collect();
        let settings = crate::metrics::Settings::default();
        let volume = case.native().unwrap().voxel_volume();
        let expected =
            crate::metrics::evaluate(&reference, &probability, [12, 14, 10], volume, &settings).unwrap();
        assert_eq!(comparison.evaluation, expected);

        let (name, bytes) = case.save(Output::Report).unwrap();
        assert_eq!(name, "sub-01_desc-lesion_report.json");
        let text = String::from_utf8(bytes).unwrap();
        let report: Report = serde_json::from_str(&text).unwrap();
        let written = report.comparison.unwrap().comparison;
        assert_eq!(
            (&written.verdicts, written.missed.len()),
            (&comparison.verdicts, 1)
        );
        assert_eq!(written.evaluation.isbi, expected.isbi);
        // Reading JSON may cost a float its last bit.
        let areas = written.evaluation.apr.zip(expected.apr).unwrap();
        assert!((areas.0 - areas.1).abs() < 1e-15, "{areas:?}");
        assert_eq!(report.flair.sha256, report::sha256(&scan(0.0)));
        assert_eq!((report.result.lesions, report.result.patches), (2, 8));
        assert!(
            !text.contains("sub-01") && !text.contains(".nii"),
            "a report names no file: {text}"
        );
        let (name, bytes) = case.save(Output::Lesions).unwrap();
        assert_eq!(name, "sub-01_desc-lesion_lesions.csv");
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(
            text.contains("1,mask,TP,3") && text.contains("2,mask,FP,1") && text.contains("reference,FN,1")
        );

        // A later cut is compared before it is written, even if nobody asked for it.
        cut(&mut case, 0.7, 0.0).unwrap();
        let text = String::from_utf8(case.save(Output::Lesions).unwrap().1).unwrap();
        assert!(text.contains("1,mask,TP,3") && !text.contains("FP"), "{text}");
        case.clear_reference();
        let text = String::from_utf8(case.save(Output::Lesions).unwrap().1).unwrap();
        assert!(text.contains("1,mask,,3") && !text.contains("FN"), "{text}");
    }

    #[test]
    fn a_reference_goes_with_its_flair_and_stays_when_the_t1_changes() {
        let mut case = Case::default();
        two_lesions(&mut case);
        cut(&mut case, 0.5, 0.0).unwrap();
        case.open_reference("m", &mask_file(&[501]), &Limits::PAGE)
            .unwrap();
        assert!(case.compare().unwrap().is_some());
        assert!(
            matches!(
                case.open_reference("m", &scan(0.0), &Limits::PAGE),
                Err(CaseError::Compare(CompareError::NotAMask { .. }))
            ),
            "a scan is no mask"
        );
        assert_eq!(case.compare().unwrap(), None, "and the one before is gone");
        case.open_reference("m", &mask_file(&[501]), &Limits::PAGE)
            .unwrap();
        case.clear(Slot::T1);
        assert!(case.reference.is_some());
        case.clear(Slot::Flair);
        assert!(case.reference.is_none());
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
        assert_eq!(cut(&mut case, 0.5, 0.0).unwrap_err(), CaseError::NoResult);
        assert_eq!(case.save(Output::Mask).unwrap_err(), CaseError::NoResult);
        let probability = two_lesions(&mut case);
        let native = case.native().unwrap().clone();
        let (summary, mask) = cut(&mut case, 0.5, 0.0).unwrap();
        assert_eq!((summary.lesions.len(), summary.load_ml), (2, 0.004));
        assert_eq!(mask.iter().filter(|v| **v == 1).count(), 4);
        let (summary, _) = cut(&mut case, 0.5, 2.0).unwrap();
        assert_eq!((summary.lesions.len(), summary.load_ml), (1, 0.003));

        let (name, bytes) = case.save(Output::Mask).unwrap();
        assert_eq!(name, "sub-01_desc-lesion_mask.nii.gz");
        let saved = nifti::read(&bytes, &Limits::PAGE).unwrap();
        assert_eq!(saved.volume.grid, native);
        assert_eq!(
            saved.volume.data.iter().sum::<f32>(),
            3.0,
            "the mask of the last cut"
        );
        let (name, bytes) = case.save(Output::Probability).unwrap();
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
                matches!(cut(&mut case, threshold, least), Err(CaseError::Cut { .. })),
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
            assert_eq!(cut(&mut case, 0.5, 0.0).unwrap_err(), CaseError::NoResult);
        }
    }
}
