//! Results as a BIDS-derivatives dataset in one zip file.
//!
//! Layout and keys follow BIDS 1.10, "Derivatives: imaging data types" (masks, probabilistic segmentations) and "Dataset
//! description". Scans are named by the SHA-256 of their bytes where BIDS would have paths to them.

use std::io::{Cursor, Write};

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::finished::{FileError, pretty};
use super::names::Output;
use super::report::Report;

/// Why an archive cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The archive cannot be written: {0}")]
pub struct ArchiveError(String);

/// A zip of these files, by their paths. Nothing is compressed, since images are already, and every file has the same
/// date, so that one result gives one archive.
///
/// # Errors
/// [`ArchiveError`] if two files have one path or the archive would be too large.
pub fn zip(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, ArchiveError> {
    let broken = |e: &dyn std::fmt::Display| ArchiveError(e.to_string());
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let how = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    for (path, bytes) in files {
        writer.start_file(path.as_str(), how).map_err(|e| broken(&e))?;
        writer.write_all(bytes).map_err(|e| broken(&e))?;
    }
    Ok(writer.finish().map_err(|e| broken(&e))?.into_inner())
}

/// The files that describe the dataset.
///
/// # Errors
/// [`FileError::Report`].
pub(super) fn about_dataset(report: &Report) -> Result<Vec<(String, Vec<u8>)>, FileError> {
    let description = json!({
        "Name": "Multiple-sclerosis lesions by Equipoise",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{
            "Name": report.software.name,
            "Version": report.software.version,
            "Description": format!("Network {}, SHA-256 {}", report.model.name, report.model.sha256),
        }],
    });
    let readme = format!(
        "Lesion mask, lesion probability, table of lesions and report of one scan, made by {} {}.\n{}\n\
         The report holds the settings, the SHA-256 of network and inputs, and every number.\n",
        report.software.name, report.software.version, report.intended_use
    );
    let text = |words: &str| words.as_bytes().to_vec();
    Ok(vec![
        ("dataset_description.json".to_owned(), pretty(&description)?),
        ("README".to_owned(), readme.into_bytes()),
        // Neither is a BIDS suffix yet.
        (".bidsignore".to_owned(), text("*_report.json\n*_lesions.csv\n")),
    ])
}

/// The sidecar of an image; nothing for what is no image.
pub(super) fn sidecar(report: &Report, output: Output) -> Option<Value> {
    let mut keys = json!({
        "SpatialReference": "orig",
        "Manual": false,
        "IntendedUse": report.intended_use,
        "GeneratedBy": report.software,
        "Model": report.model,
        "Settings": report.settings,
        "InputSHA256": {
            "FLAIR": report.flair.sha256,
            "T1w": report.t1.as_ref().map(|t1| &t1.sha256),
        },
    });
    let more = match output {
        Output::Mask => json!({
            "Description": "Multiple-sclerosis lesions: 1 inside, 0 outside",
            "Type": "Lesion",
            "Cut": report.cut,
        }),
        Output::Probability => json!({
            "Description": "Probability of multiple-sclerosis lesion, fused over overlapping patches",
            "LabelMap": "MS lesion",
        }),
        Output::Report | Output::Lesions | Output::Summary | Output::Archive => return None,
    };
    if let (Value::Object(keys), Value::Object(more)) = (&mut keys, more) {
        keys.extend(more);
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn files_come_back_and_one_result_gives_one_archive() {
        let files = vec![
            ("a/b.txt".to_owned(), b"words".to_vec()),
            ("c".to_owned(), vec![0, 255, 7]),
            ("empty".to_owned(), Vec::new()),
        ];
        let bytes = zip(&files).unwrap();
        assert_eq!(bytes, zip(&files).unwrap());
        let mut archive = ::zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        assert_eq!(archive.len(), 3);
        for (path, expected) in &files {
            let mut got = Vec::new();
            archive.by_name(path).unwrap().read_to_end(&mut got).unwrap();
            assert_eq!(&got, expected, "{path}");
        }
        let twice = [files[0].clone(), files[0].clone()];
        assert!(zip(&twice).is_err());
    }
}
