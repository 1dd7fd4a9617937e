//! The list of cases, as a file.

use crate::native::{at, read};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Cases that one network is scored on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    /// Heading of its table: real or synthetic, held out or trained on.
    pub(super) heading: String,
    /// Folder of the network (`card.json` and weights).
    pub(crate) model: PathBuf,
    /// Folder that its files are relative to, if not that of all others; itself relative to the current one.
    #[serde(default)]
    root: Option<PathBuf>,
    /// Its cases are run in four orientations (four times the work).
    #[serde(default)]
    pub(super) rotations: bool,
    /// Its probabilities are not weighed by brightness.
    #[serde(default)]
    pub(super) any_brightness: bool,
    /// Groups of one name compare networks: their first raters' curves are in one figure, and each network's thresholds are chosen
    /// by its other patients.
    #[serde(default)]
    pub(super) compare: Option<String>,
    /// Pictures of its cases may be shown (their licence allows it): the worst of them all is.
    #[serde(default)]
    pub(super) show: bool,
    /// What the cards of the family say of its cases: the network's own card, or every card if it is no member.
    #[serde(default)]
    pub(crate) card: Option<String>,
    /// Its cases are among those of which the others choose a case's threshold.
    #[serde(default)]
    pub(super) pool: bool,
    /// Its cases are also run with other windows, overlaps, rotations and without T1.
    #[serde(default)]
    pub(super) ablation: bool,
    pub(super) cases: Vec<Case>,
}

impl Group {
    /// The folder that its files are relative to, `data` being that of all others.
    pub(super) fn folder<'a>(&'a self, data: &'a Path) -> &'a Path {
        self.root.as_deref().unwrap_or(data)
    }
}

/// One scan and what is right.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The patient: cases of one name are of one patient.
    pub(super) name: String,
    pub(super) flair: PathBuf,
    pub(super) t1: Option<PathBuf>,
    /// Reference masks by rater, in this order in the table. On another grid the probability is resampled to it.
    pub(super) references: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reference {
    pub(super) rater: String,
    pub(super) mask: PathBuf,
}

/// No heading contains what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("no heading of the {groups} groups contains any of {only:?}")]
struct NoGroup {
    groups: usize,
    only: Vec<String>,
}

/// A file that is read later is not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} of {cases:?} is missing ({count} missing in all): `lab synthetic --maps MAPS --count 4 --out runs/synthetic` makes \
     synthetic heads, and `--data` names the folder of the others",
    file.display()
)]
pub(crate) struct Missing {
    file: PathBuf,
    cases: String,
    count: usize,
}

/// That all images and masks of the groups are there: nobody shall learn of one that is not after hours of training.
pub(crate) fn check(groups: &[Group], data: &Path) -> Result<(), Missing> {
    let mut missing = groups.iter().flat_map(|group| {
        let root = group.folder(data);
        group.cases.iter().flat_map(move |case| {
            let masks = case.references.iter().map(|reference| &reference.mask);
            let files = [&case.flair].into_iter().chain(&case.t1).chain(masks);
            files
                .map(move |file| root.join(file))
                .filter(|file| !file.is_file())
                .map(|file| (file, group.heading.clone()))
        })
    });
    let Some((file, cases)) = missing.next() else {
        return Ok(());
    };
    Err(Missing {
        file,
        cases,
        count: 1 + missing.count(),
    })
}

/// The groups whose heading contains one of `only`, or all if `only` is empty.
pub(crate) fn read_groups(path: &Path, only: &[String]) -> Result<Vec<Group>, Box<dyn std::error::Error>> {
    let mut groups: Vec<Group> = serde_json::from_slice(&read(path)?).map_err(at(path))?;
    let all = groups.len();
    groups.retain(|group| only.is_empty() || only.iter().any(|part| group.heading.contains(part)));
    if groups.is_empty() {
        let only = only.to_vec();
        return Err(at(path)(NoGroup { groups: all, only }).into());
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_before_anything_is_done() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let group = |mask: &str| -> Group {
            serde_json::from_value(serde_json::json!({
                "heading": "some cases", "model": "m",
                "cases": [{"name": "a", "flair": "Cargo.toml", "t1": null, "references": [{"rater": "1", "mask": mask}]}],
            }))
            .unwrap()
        };
        assert!(check(&[group("README.md")], here).is_ok());
        let groups = [group("README.md"), group("no mask"), group("none either")];
        let error = check(&groups, here).unwrap_err().to_string();
        assert!(
            error.contains("no mask") && error.contains("2 missing"),
            "{error}"
        );
    }

    #[test]
    fn the_project_s_cohort_is_read_and_picked_from() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/training/cohort.json");
        let all = read_groups(&path, &[]).unwrap();
        assert!(all.iter().any(|group| group.pool) && all.iter().any(|group| group.ablation));
        // What chooses a threshold must be new to the network.
        assert!(
            all.iter()
                .all(|group| !(group.pool && group.heading.contains("trained on")))
        );
        let some = read_groups(&path, &["Fold 07: real, held out".to_owned()]).unwrap();
        assert_eq!(
            some.iter()
                .map(|group| group.heading.as_str())
                .collect::<Vec<_>>(),
            [
                "Fold 07: real, held out",
                "Fold 07: real, held out, four rotations"
            ]
        );
        let error = read_groups(&path, &["no such".to_owned()])
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(&all.len().to_string()), "{error}");
    }
}
