//! The record of a run: what went in, how it was done, what came out.
//!
//! Inputs are named by the SHA-256 of their bytes, never by file name: a report may be passed on, and file names hold
//! names.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::volume::nifti::Header;

use super::{Comparison, Cut, Lesion, Mask, Settings};

/// Version of the report's layout, raised when a field changes its meaning or goes.
pub const FORMAT: u32 = 1;

/// The contents of `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Layout of this report ([`FORMAT`]).
    pub format: u32,
    /// What made it.
    pub software: Software,
    /// What it must not be used for.
    pub intended_use: String,
    /// The FLAIR.
    pub flair: Input,
    /// The T1, if there was one.
    pub t1: Option<Input>,
    /// The network.
    pub model: Model,
    /// Where the network ran, in words.
    pub engine: String,
    /// How patches were cut, predicted and fused.
    pub settings: Settings,
    /// How the probability was cut into lesions.
    pub cut: Cut,
    /// What came out.
    pub result: Findings,
    /// How it compares with a reference mask, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Compared>,
    /// How long it took.
    pub timings: Timings,
    /// Things a person should know, one sentence each.
    pub notes: Vec<String>,
}

/// A program and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Software {
    /// Name of the program.
    pub name: String,
    /// Version of the program.
    pub version: String,
}

impl Software {
    /// This program.
    #[must_use]
    pub fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The sentence for [`Report::intended_use`].
pub const RESEARCH_ONLY: &str = "Research use only. Not a medical device; not for diagnosis or treatment.";

/// A scan, without its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// SHA-256 of the file's bytes as they were read, in hexadecimal.
    pub sha256: String,
    /// Voxels along each axis.
    pub shape: [usize; 3],
    /// Voxel edge lengths in mm.
    pub spacing_mm: [f64; 3],
    /// Orientation code of the voxel axes, for example `LAS`.
    pub orientation: String,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Its name, for example `browser-b1.5`.
    pub name: String,
    /// SHA-256 of the weights' file in hexadecimal.
    pub sha256: String,
}

/// Lesions in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// Number of lesions.
    pub lesions: usize,
    /// Volume of all lesions together, in millilitres.
    pub load_ml: f64,
    /// Patches predicted, rotations counted.
    pub patches: usize,
    /// The lesions, largest first.
    pub table: Vec<Lesion>,
}

impl Findings {
    /// The numbers of a mask that took `patches` predictions.
    #[must_use]
    pub fn of(mask: &Mask, patches: usize) -> Self {
        Self {
            lesions: mask.lesions.len(),
            load_ml: mask.load_ml,
            patches,
            table: mask.lesions.clone(),
        }
    }
}

/// Durations in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// Reading, checking, conforming and normalising the scans.
    pub prepare: f64,
    /// Predicting and fusing the patches.
    pub segment: f64,
    /// Bringing the probability back to the scan's grid, cutting and writing.
    pub finish: f64,
}

/// A comparison and what it was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The reference mask.
    pub reference: Input,
    /// What was done to it that a person should know, one sentence each.
    pub notes: Vec<String>,
    /// Scores, verdicts in the order of [`Findings::table`], and missed lesions.
    #[serde(flatten)]
    pub comparison: Comparison,
}

impl Input {
    /// A file by its bytes and what was read from them.
    #[must_use]
    pub fn of(bytes: &[u8], header: &Header) -> Self {
        Self {
            sha256: sha256(bytes),
            shape: header.shape(),
            spacing_mm: header.spacing(),
            orientation: header.orientation(),
        }
    }
}

/// SHA-256 of a file's bytes in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;

    let digest = Sha256::digest(bytes);
    digest
        .iter()
        .fold(String::with_capacity(2 * digest.len()), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::volume::components::Connectivity;

    #[test]
    fn sha256_is_the_published_one() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    /// A report without lesions.
    pub(in crate::pipeline) fn report() -> Report {
        let input = Input {
            sha256: sha256(b""),
            shape: [1, 2, 3],
            spacing_mm: [0.1, 1.0 / 3.0, 3.0],
            orientation: "LAS".to_owned(),
        };
        Report {
            format: FORMAT,
            software: Software::this(),
            intended_use: RESEARCH_ONLY.to_owned(),
            flair: input,
            t1: None,
            model: Model {
                name: "toy".to_owned(),
                sha256: sha256(b"weights"),
            },
            engine: "CPU".to_owned(),
            settings: Settings::default(),
            cut: Cut {
                connectivity: Connectivity::TwentySix,
                ..Cut::default()
            },
            result: Findings {
                lesions: 0,
                load_ml: 0.0,
                patches: 8,
                table: Vec::new(),
            },
            comparison: None,
            timings: Timings::default(),
            notes: vec!["A note.".to_owned()],
        }
    }

    #[test]
    fn a_report_survives_json() {
        let report = report();
        let json = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        assert!(
            json.contains("\"window\": \"bspline\"") && json.contains("\"connectivity\": 26"),
            "{json}"
        );
        assert!(!json.contains(".nii"), "no file name: {json}");
    }
}
