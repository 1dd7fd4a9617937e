//! The cases of the cohort: files in, checked cases and their pictures out.

use std::sync::Arc;

use js_sys::ArrayBuffer;
use web_sys::File;

use super::super::Desk;
use super::super::case::info;
use crate::pipeline::cohort::{self, CaseProblem};
use crate::pipeline::finetune::Case;
use crate::pipeline::picture::{Over, Picture, fullest, picture};
use crate::volume::VolumeError;
use crate::volume::nifti::{self, Scan};
use crate::volume::slice::Plane;
use crate::web::channel;
use crate::web::messages::finetune::CaseInfo;

/// A case that is fit for use.
pub(super) struct Loaded {
    pub(super) case: Arc<Case>,
    /// The browser's handles of its files, for storage.
    pub(super) files: Vec<File>,
    pub(super) t1: bool,
}

/// Why a case cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CaseError {
    /// The request came without its files.
    #[error("the files did not come along; choose them again")]
    Files,
    /// A file cannot be read.
    #[error("{what}: {problem}")]
    Read {
        /// Which.
        what: &'static str,
        /// Why.
        problem: String,
    },
    /// A file is no scan.
    #[error("{what}: {problem}")]
    Scan {
        /// Which.
        what: &'static str,
        /// Why.
        problem: VolumeError,
    },
    /// The scans do not make a case.
    #[error(transparent)]
    Unfit(#[from] CaseProblem),
}

impl Desk {
    /// Reads and checks a case: FLAIR, T1 if there is one, mask.
    pub(super) async fn read_case(
        &self,
        name: &str,
        t1: bool,
        files: Vec<File>,
    ) -> Result<(Loaded, CaseInfo, Vec<ArrayBuffer>), CaseError> {
        let (flair_file, t1_file, mask_file) = match (t1, &files[..]) {
            (true, [flair, t1, mask]) => (flair, Some(t1), mask),
            (false, [flair, mask]) => (flair, None, mask),
            _ => return Err(CaseError::Files),
        };
        let (flair_name, flair) = self.read_scan("FLAIR", flair_file).await?;
        let t1_scan = match t1_file {
            Some(file) => Some(self.read_scan("T1", file).await?.1),
            None => None,
        };
        let (_, mask) = self.read_scan("Mask", mask_file).await?;
        let checked = cohort::check(&flair, t1_scan.as_ref(), &mask)?;
        let head = &checked.prepared.head;
        let through = fullest(head.grid().shape, &checked.label);
        let pictures = Plane::ALL.map(|plane| picture(head, plane, through, Over::Outline(&checked.label)));
        let (sizes, buffers) = packed(&pictures);
        let mut warnings = flair.notes.clone();
        warnings.extend(checked.warnings.iter().cloned());
        let about = CaseInfo {
            flair: info(&flair_name, &flair.header, Vec::new()),
            t1,
            lesions: checked.lesions,
            load_ml: checked.load_ml,
            warnings,
            pictures: sizes,
        };
        let loaded = Loaded {
            case: Arc::new(Case::new(name.to_owned(), checked)),
            files,
            t1,
        };
        Ok((loaded, about, buffers))
    }

    async fn read_scan(&self, what: &'static str, file: &File) -> Result<(String, Scan), CaseError> {
        let (name, bytes) = self
            .read(Some(file.clone()))
            .await
            .map_err(|problem| CaseError::Read { what, problem })?;
        let scan = nifti::read(&bytes, &self.memory.scan_limits())
            .map_err(|problem| CaseError::Scan { what, problem })?;
        Ok((name, scan))
    }
}

/// Pictures for the way to the page.
pub(super) fn packed(pictures: &[Picture]) -> (Vec<[usize; 2]>, Vec<ArrayBuffer>) {
    pictures
        .iter()
        .map(|picture| ([picture.width, picture.height], channel::bytes_out(&picture.rgba)))
        .unzip()
}
