//! What a file's name says: which image it is, and whose.

use std::collections::BTreeMap;

/// What a file is in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Fluid-attenuated inversion recovery; every case has one.
    Flair,
    /// T1-weighted, without contrast agent; optional.
    T1,
    /// Where the lesions are.
    Mask,
}

/// What a file's name seems to say it is; `None` if it says nothing.
///
/// BIDS suffixes and entities first (`sub-01_ses-1_FLAIR.nii.gz`, `.._T1w.nii.gz`, `.._desc-lesion_mask.nii.gz`,
/// `.._label-lesion_roi.nii.gz`, `.._lesion.nii.gz`), then words that are common elsewhere (`patient01_flair.nii`,
/// `01/Consensus.nii.gz`, `labels/01.nii.gz`).
#[must_use]
pub fn role(name: &str) -> Option<Role> {
    match Name::read(name).kind {
        Kind::Image(role) => Some(role),
        Kind::Other(_) => None,
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Part of a case.
    Image(Role),
    /// No part of a case, and why.
    Other(&'static str),
}

/// A name taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// What it is.
    pub(super) kind: Kind,
    /// Whose it is: the words that the files of one case have in common, in the order of the name.
    pub(super) whose: Vec<String>,
    /// Further BIDS entities, which decide between several that fit (`acq`, `run`, `space`, ...).
    pub(super) details: BTreeMap<String, String>,
}

const NOT_NIFTI: &str = "It is no NIfTI file (.nii or .nii.gz).";
const NO_ROLE: &str =
    "Its name does not say whether it is a FLAIR, a T1 or a mask; choose its place by hand.";
const CONTRAST: &str = "It is a T1 with contrast agent, which the network has never seen.";
const OTHER_MASK: &str = "It is a mask of something else than lesions.";
const OTHER_IMAGE: &str = "It is another kind of image than FLAIR and T1.";

const FLAIR: [&str; 8] = [
    "flair", "3dflair", "2dflair", "t2flair", "flair3d", "flair2d", "flairw", "fl",
];
const T1: [&str; 10] = [
    "t1", "t1w", "t13d", "3dt1", "t1w3d", "mprage", "mp2rage", "spgr", "bravo", "t1mprage",
];
const MASK: [&str; 21] = [
    "mask",
    "masks",
    "lesion",
    "lesions",
    "seg",
    "segmentation",
    "label",
    "labels",
    "labelstr",
    "roi",
    "rois",
    "dseg",
    "gt",
    "consensus",
    "wmh",
    "manual",
    "annotation",
    "groundtruth",
    "truth",
    "delineation",
    "lesionmask",
];
/// Words that say it is another image.
const OTHER: [&str; 12] = [
    "t2", "t2w", "pd", "pdw", "dwi", "bold", "swi", "adc", "t2star", "t1map", "dti", "asl",
];
/// Words of masks that mark no lesions.
const OTHER_MASKS: [&str; 9] = [
    "brain",
    "brainmask",
    "bet",
    "skull",
    "head",
    "tissue",
    "wm",
    "gm",
    "csf",
];
/// Words of a T1 with contrast agent.
const AGENT: [&str; 9] = [
    "gd",
    "gado",
    "gad",
    "gadolinium",
    "t1c",
    "t1ce",
    "t1gd",
    "t1gado",
    "3dt1gado",
];
/// Words that say nothing about whose it is.
const NOISE: [&str; 44] = [
    "anat",
    "images",
    "imagestr",
    "image",
    "raw",
    "rawdata",
    "derivatives",
    "data",
    "dataset",
    "cohort",
    "preprocessed",
    "preproc",
    "pp",
    "processed",
    "bias",
    "n4",
    "corrected",
    "reg",
    "registered",
    "coreg",
    "resampled",
    "space",
    "stripped",
    "skullstripped",
    "brain",
    "bet",
    "3d",
    "2d",
    "axial",
    "ax",
    "sag",
    "cor",
    "final",
    "orig",
    "original",
    "nifti",
    "nii",
    "manual",
    "consensus",
    "rater",
    "expert",
    "desc",
    "binary",
    "bin",
];

impl Name {
    /// Takes a name apart; folders are parted by `/` or `\`.
    pub(super) fn read(name: &str) -> Self {
        let mut folders: Vec<&str> = name.split(['/', '\\']).collect();
        let file = folders.pop().unwrap_or_default();
        let lower = file.to_lowercase();
        let Some(stem) = [".nii.gz", ".nii"]
            .iter()
            .find_map(|extension| lower.strip_suffix(extension))
        else {
            return Self {
                kind: Kind::Other(NOT_NIFTI),
                whose: Vec::new(),
                details: BTreeMap::new(),
            };
        };
        Self::bids(stem).unwrap_or_else(|| Self::common(&folders, stem))
    }

    /// A BIDS name: `sub-..`, further entities, a suffix.
    fn bids(stem: &str) -> Option<Self> {
        let mut parts: Vec<&str> = stem.split('_').collect();
        let suffix = parts.pop()?;
        let mut details = BTreeMap::new();
        for part in parts {
            let (key, value) = part
                .split_once('-')
                .filter(|(k, v)| !k.is_empty() && !v.is_empty())?;
            details.insert(key.to_owned(), value.to_owned());
        }
        let subject = details.remove("sub")?;
        let mut whose = vec![format!("sub-{subject}")];
        whose.extend(details.remove("ses").map(|session| format!("ses-{session}")));
        let says = |words: &[&str]| {
            let of = |key| details.get(key).map(String::as_str);
            [of("desc"), of("label"), of("res"), Some(suffix)]
                .into_iter()
                .flatten()
                .any(|word| words.contains(&without_digits(word)))
        };
        let kind = if FLAIR.contains(&suffix) {
            Kind::Image(Role::Flair)
        } else if suffix == "t1w" || suffix == "t1" {
            if details.contains_key("ce") {
                Kind::Other(CONTRAST)
            } else {
                Kind::Image(Role::T1)
            }
        } else if MASK.contains(&without_digits(suffix)) {
            if says(&OTHER_MASKS) {
                Kind::Other(OTHER_MASK)
            } else {
                Kind::Image(Role::Mask)
            }
        } else {
            Kind::Other(OTHER_IMAGE)
        };
        Some(Self { kind, whose, details })
    }

    /// Any other name: by the words in it, then by those of its folders.
    fn common(folders: &[&str], stem: &str) -> Self {
        let mut words = split(stem);
        let mut around: Vec<String> = folders
            .iter()
            .flat_map(|folder| split(&folder.to_lowercase()))
            .collect();
        let kind = match take_role(&mut words) {
            // A folder may say what the file does not.
            Kind::Other(NO_ROLE) => take_role(&mut around),
            kind => kind,
        };
        let mut whose: Vec<String> = Vec::new();
        let says_nothing = |word: &String| {
            let bare = without_digits(word);
            NOISE.contains(&word.as_str())
                || (NOISE.contains(&bare) && !bare.is_empty())
                || MASK.contains(&bare)
                || FLAIR.contains(&word.as_str())
                || word.ends_with("space")
        };
        // Folders of images and masks are named for what they hold; T1 may be a point in time.
        around.retain(|word| !says_nothing(word) && !T1.contains(&word.as_str()));
        words.retain(|word| !says_nothing(word));
        for word in around.into_iter().chain(words) {
            if !whose.contains(&word) {
                whose.push(word);
            }
        }
        Self {
            kind,
            whose,
            details: BTreeMap::new(),
        }
    }
}

/// The words of a name in lower case.
fn split(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A word without the number at its end: `mask2` is a mask.
fn without_digits(word: &str) -> &str {
    word.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Takes the word away that says what the file is: a mask of a FLAIR is a mask, and the last word counts (`P1_T1_T1` is the T1
/// of the first point in time).
fn take_role(words: &mut Vec<String>) -> Kind {
    let last = |known: &[&str], bare: bool| {
        words.iter().rposition(|word| {
            known.contains(&word.as_str()) || (bare && known.contains(&without_digits(word)))
        })
    };
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    if let Some(at) = last(&MASK, true) {
        // `brain_mask`, but `brain_lesion_mask` and `t1_brain_lesions` are of lesions.
        let lesion = words.iter().any(|word| {
            let bare = without_digits(word);
            bare.starts_with("lesion") || bare == "wmh" || bare == "consensus"
        });
        if has(&OTHER_MASKS) && !lesion {
            return Kind::Other(OTHER_MASK);
        }
        words.remove(at);
        return Kind::Image(Role::Mask);
    }
    if let Some(at) = last(&FLAIR, false) {
        words.remove(at);
        // `t2_flair`: not a T2.
        words.retain(|word| word != "t2" && word != "t2w");
        return Kind::Image(Role::Flair);
    }
    if has(&AGENT) {
        return Kind::Other(CONTRAST);
    }
    if has(&OTHER_MASKS[1..2]) {
        return Kind::Other(OTHER_MASK);
    }
    if let Some(at) = last(&T1, false) {
        if words[at + 1..].iter().any(|word| OTHER.contains(&word.as_str())) {
            return Kind::Other(OTHER_IMAGE);
        }
        words.remove(at);
        return Kind::Image(Role::T1);
    }
    if has(&OTHER) {
        return Kind::Other(OTHER_IMAGE);
    }
    Kind::Other(NO_ROLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_of_names_in_use() {
        use Role::{Flair, Mask, T1};
        for (name, expected) in [
            // BIDS.
            ("sub-01_FLAIR.nii.gz", Some(Flair)),
            (
                "x/sub-01/ses-2/anat/sub-01_ses-2_acq-3D_run-1_FLAIR.nii",
                Some(Flair),
            ),
            ("sub-01_T1w.nii.gz", Some(T1)),
            ("sub-01_ce-gadolinium_T1w.nii.gz", None),
            ("sub-01_T2w.nii.gz", None),
            ("sub-01_desc-consensus_mask.nii.gz", Some(Mask)),
            ("sub-01_desc-lesion_mask.nii.gz", Some(Mask)),
            ("sub-01_label-lesion_roi.nii.gz", Some(Mask)),
            ("sub-01_space-FLAIR_label-L_dseg.nii.gz", Some(Mask)),
            ("sub-01_lesion.nii.gz", Some(Mask)),
            ("sub-01_desc-brain_mask.nii.gz", None),
            ("sub-01_FLAIR.json", None),
            // ISBI 2015, MSSEG 2016, the WMH challenge, MSLesSeg, 3D-MR-MS, the data at hand.
            ("training01_01_flair_pp.nii", Some(Flair)),
            ("training01_01_mprage_pp.nii", Some(T1)),
            ("training01_01_mask2.nii", Some(Mask)),
            ("training01_01_t2_pp.nii", None),
            ("training01_01_pd_pp.nii", None),
            ("Case01/3DFLAIR.nii.gz", Some(Flair)),
            ("Case01/Consensus.nii.gz", Some(Mask)),
            ("Case01/3DT1.nii.gz", Some(T1)),
            ("Case01/3DT1GADO.nii.gz", None),
            ("Brain_Mask.nii.gz", None),
            ("11/pre/FLAIR.nii.gz", Some(Flair)),
            ("11/wmh.nii.gz", Some(Mask)),
            ("P1/T1/P1_T1_FLAIR.nii.gz", Some(Flair)),
            ("P1/T1/P1_T1_T1.nii.gz", Some(T1)),
            ("P1/T1/P1_T1_MASK.nii.gz", Some(Mask)),
            ("patient01_consensus_gt.nii.gz", Some(Mask)),
            ("patient01_T2_FLAIR.nii.gz", Some(Flair)),
            ("training01/flair_raw.nii.gz", Some(Flair)),
            ("training01/brainmask_t1space.nii.gz", None),
            ("training01/mask1_t1space.nii.gz", Some(Mask)),
            // By folder, or not at all.
            ("labelsTr/case_001.nii.gz", Some(Mask)),
            ("flair/01.nii.gz", Some(Flair)),
            ("case_001_0000.nii.gz", None),
            ("", None),
            ("mask", None),
        ] {
            assert_eq!(role(name), expected, "{name}");
        }
    }

    #[test]
    fn whose_it_is_is_what_files_of_a_case_share() {
        let whose = |name| Name::read(name).whose.join(" ");
        for (files, expected) in [
            (
                &[
                    "P1/T1/P1_T1_FLAIR.nii.gz",
                    "P1/T1/P1_T1_T1.nii.gz",
                    "P1/T1/P1_T1_MASK.nii.gz",
                ][..],
                "p1 t1",
            ),
            (
                &[
                    "images/training01_01_flair_pp.nii",
                    "masks/training01_01_mask1.nii",
                ],
                "training01 01",
            ),
            (&["Case01/3DFLAIR.nii.gz", "Case01/Consensus.nii.gz"], "case01"),
            (
                &["sub-01_ses-2_FLAIR.nii", "sub-01_ses-2_desc-x_mask.nii"],
                "sub-01 ses-2",
            ),
            (&["flair.nii", "t1.nii", "lesion_mask.nii"], ""),
        ] {
            for file in files {
                assert_eq!(whose(file), expected, "{file}");
            }
        }
    }
}
