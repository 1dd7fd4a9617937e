//! Names of the files that come out, made from the name of the scan that went in.

use serde::{Deserialize, Serialize};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Output {
    /// Binary lesion mask.
    Mask,
    /// Lesion probability.
    Probability,
    /// The record of the run and its numbers.
    Report,
    /// The table of lesions.
    Lesions,
    /// One line with the scan's numbers, for a table of many scans.
    Summary,
    /// Mask, probability, report and table as a BIDS-derivatives dataset in a zip file.
    Archive,
}

/// Longest stem kept of an input's name, in bytes; file systems allow 255 for the whole.
const LONGEST_STEM: usize = 120;

/// The BIDS-derivatives name of an output, without any folder.
///
/// A BIDS name loses its suffix and gains `desc-lesion` (in place of another `desc`): `sub-01_ses-2_FLAIR.nii.gz`
/// gives `sub-01_ses-2_desc-lesion_mask.nii.gz` and `.._desc-lesion_probseg.nii.gz`. No `space` entity is added, as
/// the outputs lie in the input's own grid; one that is there stays. Any other name is kept whole before
/// `_desc-lesion`: `myscan.nii.gz` gives `myscan_desc-lesion_mask.nii.gz`. What a file system may not bear becomes
/// `-`, and a name with nothing left becomes `scan`.
#[must_use]
pub fn output(input: &str, output: Output) -> String {
    let stem = stem(input);
    let base = bids_entities(&stem).unwrap_or(stem);
    let suffix = match output {
        Output::Mask => "mask.nii.gz",
        Output::Probability => "probseg.nii.gz",
        Output::Report => "report.json",
        Output::Lesions => "lesions.csv",
        Output::Summary => "summary.csv",
        Output::Archive => "derivatives.zip",
    };
    format!("{base}_desc-lesion_{suffix}")
}

/// The folder of a BIDS dataset in which the outputs belong: `sub-01/ses-2/anat`. A name that is not BIDS's is taken for the
/// subject's.
#[must_use]
pub fn bids_folder(input: &str) -> String {
    let stem = stem(input);
    let Some(entities) = bids_entities(&stem) else {
        return format!("{}/anat", subject(&stem));
    };
    let parts = entities.split('_');
    let folders = parts.filter(|part| part.starts_with("sub-") || part.starts_with("ses-"));
    folders.chain(["anat"]).collect::<Vec<_>>().join("/")
}

/// The name that an output of [`output`] has inside a BIDS dataset, where every name begins with the subject.
#[must_use]
pub fn in_bids(input: &str, output: &str) -> String {
    let stem = stem(input);
    if bids_entities(&stem).is_some() {
        return output.to_owned();
    }
    let rest = output.strip_prefix(&stem).unwrap_or(output);
    format!("{}{rest}", subject(&stem))
}

/// A BIDS subject made of a name that is not BIDS's: labels are letters and digits.
fn subject(stem: &str) -> String {
    let stem = stem.strip_prefix("sub-").unwrap_or(stem);
    let label: String = stem.chars().filter(char::is_ascii_alphanumeric).collect();
    let label = if label.is_empty() { "scan" } else { &label };
    format!("sub-{label}")
}

/// The name without folder and extension, in characters that any file system bears.
fn stem(input: &str) -> String {
    let name = input.rsplit(['/', '\\']).next().unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    let cut = [".nii.gz", ".nii", ".gz"]
        .iter()
        .find(|extension| lower.ends_with(**extension))
        .map_or(name.len(), |extension| name.len() - extension.len());
    // Lower-casing ASCII moves no byte, so the cut is a character boundary of `name` too.
    let mut clean = String::with_capacity(cut);
    for c in name[..cut].chars() {
        let kept = c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        let c = if kept { c } else { '-' };
        if !(c == '-' && clean.ends_with('-')) {
            clean.push(c);
        }
    }
    let end = clean
        .char_indices()
        .map(|(start, c)| start + c.len_utf8())
        .take_while(|&end| end <= LONGEST_STEM)
        .last()
        .unwrap_or(0);
    let trimmed = clean[..end].trim_matches(['-', '_', '.']);
    if trimmed.is_empty() {
        "scan".to_owned()
    } else {
        trimmed.to_owned()
    }
}

/// The entities of a BIDS name without suffix and `desc`; `None` if it is no BIDS name.
fn bids_entities(stem: &str) -> Option<String> {
    let mut parts: Vec<&str> = stem.split('_').collect();
    let is_entity = |part: &str| {
        part.split_once('-').is_some_and(|(key, value)| {
            let alphanumeric = |s: &str| !s.is_empty() && s.chars().all(char::is_alphanumeric);
            alphanumeric(key) && alphanumeric(value)
        })
    };
    // The suffix is the one part without a hyphen, at the end.
    let suffix = parts.pop()?;
    let bids = !suffix.is_empty()
        && suffix.chars().all(char::is_alphanumeric)
        && parts.first().is_some_and(|first| first.starts_with("sub-"))
        && parts.iter().all(|part| is_entity(part));
    if !bids {
        return None;
    }
    parts.retain(|part| !part.starts_with("desc-"));
    Some(parts.join("_"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_bids_derivatives() {
        for (input, base) in [
            ("sub-01_FLAIR.nii.gz", "sub-01"),
            ("sub-01_ses-2_acq-3D_run-1_FLAIR.nii", "sub-01_ses-2_acq-3D_run-1"),
            ("sub-01_space-MNI152_FLAIR.nii.gz", "sub-01_space-MNI152"),
            ("sub-01_space-T1w_desc-preproc_FLAIR.nii.gz", "sub-01_space-T1w"),
            ("sub-01_desc-lesion_probseg.nii.gz", "sub-01"),
            ("SUB-01_FLAIR.NII.GZ", "SUB-01_FLAIR"),
            ("myscan.nii.gz", "myscan"),
            ("myscan", "myscan"),
            ("flair.raw.gz", "flair.raw"),
            // BIDS-like but not BIDS: kept whole.
            ("sub-01.nii.gz", "sub-01"),
            ("sub-01_FLAIR_brain.nii.gz", "sub-01_FLAIR_brain"),
            ("sub-01__FLAIR.nii.gz", "sub-01__FLAIR"),
            ("sub-0-1_FLAIR.nii.gz", "sub-0-1_FLAIR"),
            // Odd ones.
            ("C:\\scans\\My Scan (1).nii", "My-Scan-1"),
            ("../../etc/passwd", "passwd"),
            ("müller FLAIR.nii.gz", "müller-FLAIR"),
            ("a\u{0}b\u{202e}c.nii", "a-b-c"),
            (".nii.gz", "scan"),
            ("...", "scan"),
            ("", "scan"),
            ("<|>?*.nii", "scan"),
        ] {
            assert_eq!(
                output(input, Output::Mask),
                format!("{base}_desc-lesion_mask.nii.gz"),
                "{input}"
            );
            assert_eq!(
                output(input, Output::Probability),
                format!("{base}_desc-lesion_probseg.nii.gz")
            );
            assert_eq!(
                output(input, Output::Report),
                format!("{base}_desc-lesion_report.json")
            );
        }
    }

    #[test]
    fn a_dataset_begins_with_its_subject() {
        for (input, folder, name) in [
            (
                "sub-01_FLAIR.nii.gz",
                "sub-01/anat",
                "sub-01_desc-lesion_mask.nii.gz",
            ),
            (
                "sub-01_ses-2_acq-3D_FLAIR.nii",
                "sub-01/ses-2/anat",
                "sub-01_ses-2_acq-3D_desc-lesion_mask.nii.gz",
            ),
            (
                "my_scan.nii.gz",
                "sub-myscan/anat",
                "sub-myscan_desc-lesion_mask.nii.gz",
            ),
            ("sub-01.nii.gz", "sub-01/anat", "sub-01_desc-lesion_mask.nii.gz"),
            ("ä.nii", "sub-scan/anat", "sub-scan_desc-lesion_mask.nii.gz"),
        ] {
            assert_eq!(bids_folder(input), folder, "{input}");
            assert_eq!(in_bids(input, &output(input, Output::Mask)), name, "{input}");
        }
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        let name = output(&"ä".repeat(500), Output::Mask);
        assert_eq!(name, format!("{}_desc-lesion_mask.nii.gz", "ä".repeat(60)));
    }

    proptest! {
        #[test]
        fn any_name_gives_a_safe_name(input in any::<String>()) {
            for (kind, ending) in [(Output::Mask, "mask"), (Output::Probability, "probseg")] {
                let name = output(&input, kind);
                let ending = format!("_desc-lesion_{ending}.nii.gz");
                prop_assert!(name.len() <= 160 && name.len() > ending.len() && name.ends_with(&ending));
                prop_assert!(!name.starts_with(['.', '-', '_']));
                prop_assert!(name.chars().all(|c| c.is_alphanumeric() || "-_.+".contains(c)), "{name}");
            }
        }
    }
}
