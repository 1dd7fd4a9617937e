//! A finished run over one scan: its maps, the last cut, and every file that is made of them.
//!
//! Page and `lab` both save through [`Finished::file`], so that one scan gives the same files in both.

use std::rc::Rc;

use super::archive::{self, ArchiveError};
use super::compare::{CompareError, Comparer, Comparison, Reference};
use super::mask::{self, Cut, Mask};
use super::names::{self, Output};
use super::prepare::Prepared;
use super::report::{self, Compared, Findings, Input, RESEARCH_ONLY, Report, Software};
use super::{Segmentation, Settings, table};
use crate::volume::nifti::{self, Header};
use crate::volume::{Volume, VolumeError};

/// What went into a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    /// The FLAIR's file name, of which the names of files are made. It stands in no file but as part of its name.
    pub name: String,
    /// The FLAIR.
    pub flair: Input,
    /// The T1, if there was one.
    pub t1: Option<Input>,
}

/// How a result came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The network.
    pub model: report::Model,
    /// Where it ran, in words.
    pub engine: String,
    /// How patches were cut, predicted and fused.
    pub settings: Settings,
    /// Things a person should know, one sentence each.
    pub notes: Vec<String>,
    /// How long it took.
    pub timings: report::Timings,
}

/// What a report says of a mask that a person changed.
const CORRECTED: &str = "The mask was corrected by hand after the cut.";

/// Why a file cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// An image cannot be written.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The report cannot be written.
    #[error("The report cannot be written: {0}")]
    Report(String),
    /// The archive cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// See the module. All volumes lie on the FLAIR's own grid.
#[derive(Debug)]
pub struct Finished {
    inputs: Inputs,
    header: Header,
    record: Record,
    patches: usize,
    probability: Rc<Volume>,
    /// Standard deviation of the votes, if the run kept it.
    disagreement: Option<Vec<f32>>,
    cut: Cut,
    mask: Mask,
    comparison: Option<Compared>,
    /// A person changed the mask after the cut.
    corrected: bool,
}

impl Finished {
    /// Brings a segmentation back to the FLAIR's own grid. There is no mask before the first [`Finished::cut`].
    ///
    /// The disagreement is the square root of the votes' variance on the network's grid, brought back as the
    /// probability is.
    ///
    /// # Errors
    /// [`VolumeError`] if the segmentation is of another head.
    pub fn new(
        prepared: &Prepared,
        segmentation: Segmentation,
        inputs: Inputs,
        record: Record,
    ) -> Result<Self, VolumeError> {
        let disagreement = match segmentation.variance {
            Some(mut variance) => {
                for value in &mut variance {
                    *value = value.max(0.0).sqrt();
                }
                Some(prepared.restore(variance)?.data)
            }
            None => None,
        };
        Ok(Self {
            inputs,
            header: prepared.native.clone(),
            record,
            patches: segmentation.patches,
            probability: Rc::new(prepared.restore(segmentation.probability)?),
            disagreement,
            cut: Cut::default(),
            mask: Mask {
                voxels: Vec::new(),
                lesions: Vec::new(),
                load_ml: 0.0,
            },
            comparison: None,
            corrected: false,
        })
    }

    /// Cuts the probability anew; a comparison made before is forgotten.
    pub fn cut(&mut self, cut: &Cut) -> &Mask {
        self.mask = mask::cut_with(&self.probability, self.disagreement.as_deref(), cut);
        self.cut = *cut;
        self.corrected = false;
        self.comparison = None;
        &self.mask
    }

    /// Takes the mask over as a person corrected it, one value a voxel of the FLAIR's grid (0: no lesion), in the place
    /// of the last cut; a comparison made before is forgotten. The report says so.
    ///
    /// # Errors
    /// [`VolumeError::Length`] if there are more or fewer voxels.
    pub fn correct(&mut self, drawn: &[u8]) -> Result<&Mask, VolumeError> {
        let expected = self.probability.data.len();
        if drawn.len() != expected {
            return Err(VolumeError::Length {
                expected,
                got: drawn.len(),
            });
        }
        let apart = self.disagreement.as_deref();
        self.mask = mask::of_voxels(&self.probability, apart, drawn, self.cut.connectivity);
        self.comparison = None;
        self.corrected = true;
        Ok(&self.mask)
    }

    /// How the last mask was cut.
    #[must_use]
    pub fn last_cut(&self) -> &Cut {
        &self.cut
    }

    /// Compares the last cut with a reference, whose file was `input`; `notes` are those of reading it. `comparer` was made
    /// of this probability and that reference.
    ///
    /// # Errors
    /// [`CompareError`].
    pub fn compare(
        &mut self,
        comparer: &Comparer,
        reference: &Reference,
        input: &Input,
    ) -> Result<&Comparison, CompareError> {
        let comparison = comparer.compare(
            &self.probability,
            self.disagreement.as_deref(),
            &self.mask,
            &self.cut,
            reference,
        )?;
        let compared = self.comparison.insert(Compared {
            reference: input.clone(),
            notes: reference.notes.clone(),
            comparison,
        });
        Ok(&compared.comparison)
    }

    /// Forgets the comparison.
    pub fn forget_comparison(&mut self) {
        self.comparison = None;
    }

    /// Lesion probability.
    #[must_use]
    pub fn probability(&self) -> &Rc<Volume> {
        &self.probability
    }

    /// The last cut's mask; without voxels before the first.
    #[must_use]
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// True if the last cut was compared with a reference.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        self.comparison.is_some()
    }

    /// The record of the run with every number of the last cut.
    #[must_use]
    pub fn report(&self) -> Report {
        let record = self.record.clone();
        Report {
            format: report::FORMAT,
            software: Software::this(),
            intended_use: RESEARCH_ONLY.to_owned(),
            flair: self.inputs.flair.clone(),
            t1: self.inputs.t1.clone(),
            model: record.model,
            engine: record.engine,
            settings: record.settings,
            cut: self.cut,
            result: Findings::of(&self.mask, self.patches),
            comparison: self.comparison.clone(),
            timings: record.timings,
            notes: record
                .notes
                .into_iter()
                .chain(self.corrected.then(|| CORRECTED.to_owned()))
                .collect(),
        }
    }

    /// Name and bytes of a file: images as `.nii.gz` with the FLAIR's own shape, affine and codes; all of the last cut.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn file(&self, output: Output) -> Result<(String, Vec<u8>), FileError> {
        let bytes = match output {
            Output::Mask => nifti::write_mask(&self.header, &self.mask.voxels)?,
            Output::Probability => nifti::write_float(&self.header, &self.probability.data)?,
            Output::Report => pretty(&self.report())?,
            Output::Lesions => table::csv(&self.report()).into_bytes(),
            Output::Summary => table::summary(&self.report()).into_bytes(),
            Output::Archive => self.archive()?,
        };
        Ok((names::output(&self.inputs.name, output), bytes))
    }

    /// The BIDS-derivatives dataset as a zip.
    fn archive(&self) -> Result<Vec<u8>, FileError> {
        let report = self.report();
        let mut files = archive::about_dataset(&report)?;
        let folder = names::bids_folder(&self.inputs.name);
        let inside = |name: &str| format!("{folder}/{}", names::in_bids(&self.inputs.name, name));
        for output in [Output::Mask, Output::Probability, Output::Report, Output::Lesions] {
            let (name, bytes) = self.file(output)?;
            if let Some(sidecar) = archive::sidecar(&report, output) {
                let name = name.replace(".nii.gz", ".json");
                files.push((inside(&name), pretty(&sidecar)?));
            }
            files.push((inside(&name), bytes));
        }
        Ok(archive::zip(&files)?)
    }
}

/// JSON for people to read.
pub(super) fn pretty(value: &impl serde::Serialize) -> Result<Vec<u8>, FileError> {
    serde_json::to_vec_pretty(value).map_err(|e| FileError::Report(e.to_string()))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use nalgebra::Matrix4;

    use super::*;
    use crate::pipeline::prepare::prepare;
    use crate::pipeline::report::{Model, Timings};
    use crate::volume::Grid;
    use crate::volume::nifti::{Limits, Scan, read, write_float};

    fn scan() -> (Scan, Input) {
        let grid = Grid {
            shape: [8, 9, 10],
            affine: Matrix4::identity(),
        };
        let data: Vec<f32> = (0..720_u16).map(|i| f32::from(i % 97)).collect();
        let bytes = write_float(&Header::from_grid(&grid).unwrap(), &data).unwrap();
        let scan = read(&bytes, &Limits::PAGE).unwrap();
        let input = Input::of(&bytes, &scan.header);
        (scan, input)
    }

    fn finished() -> Finished {
        let (scan, input) = scan();
        let prepared = prepare(&scan, None).unwrap();
        let mut probability = vec![0.0; 720];
        probability[100..104].fill(0.75);
        let mut variance = vec![0.0; 720];
        variance[100] = 0.25;
        let segmentation = Segmentation {
            probability,
            variance: Some(variance),
            windows: Vec::new(),
            patches: 8,
            notes: Vec::new(),
        };
        let inputs = Inputs {
            name: "patient_one.nii.gz".to_owned(),
            flair: input,
            t1: None,
        };
        let record = Record {
            model: Model {
                name: "toy".to_owned(),
                sha256: "ab".to_owned(),
            },
            engine: "CPU".to_owned(),
            settings: Settings::default(),
            notes: Vec::new(),
            timings: Timings::default(),
        };
        let mut finished = Finished::new(&prepared, segmentation, inputs, record).unwrap();
        finished.cut(&Cut::default());
        finished
    }

    #[test]
    fn disagreement_is_the_square_root_of_the_variance() {
        let lesion = &finished().report().result.table[0];
        assert_eq!((lesion.voxels, lesion.mean_disagreement), (4, Some(0.125)));
    }

    #[test]
    fn an_archive_is_a_dataset_that_names_inputs_by_their_bytes() {
        let finished = finished();
        let (name, bytes) = finished.file(Output::Archive).unwrap();
        assert_eq!(name, "patient_one_desc-lesion_derivatives.zip");
        let mut archive = ::zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut found: Vec<String> = archive
            .file_names()
            .map(|name| name.unwrap().into_owned())
            .collect();
        found.sort();
        let inside = |name: &str| format!("sub-patientone/anat/sub-patientone_desc-lesion_{name}");
        let expected = [
            ".bidsignore".to_owned(),
            "README".to_owned(),
            "dataset_description.json".to_owned(),
            inside("lesions.csv"),
            inside("mask.json"),
            inside("mask.nii.gz"),
            inside("probseg.json"),
            inside("probseg.nii.gz"),
            inside("report.json"),
        ];
        assert_eq!(found, expected);
        let mut member = |name: &str| {
            let mut bytes = Vec::new();
            archive.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(
            member(&inside("mask.nii.gz")),
            finished.file(Output::Mask).unwrap().1
        );
        assert_eq!(
            member(&inside("report.json")),
            finished.file(Output::Report).unwrap().1
        );
        for name in [inside("mask.json"), inside("probseg.json"), inside("report.json")] {
            let text = String::from_utf8(member(&name)).unwrap();
            let sha = scan().1.sha256;
            assert!(
                text.contains(&sha) && text.contains("\"ab\"") && text.contains("Research use only"),
                "{text}"
            );
            assert!(!text.contains("patient"), "{text}");
        }
    }
}
