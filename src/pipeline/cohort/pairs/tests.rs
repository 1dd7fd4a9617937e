use proptest::prelude::*;

use super::*;

fn pairs(names: &[&str]) -> Pairing {
    pair(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
}

/// `(name, T1, mask)` of every case, as file names.
fn told(names: &[&str]) -> Vec<(String, Option<String>, Option<String>)> {
    let file = |i: Option<usize>| i.map(|i| names[i].to_owned());
    pairs(names)
        .cases
        .into_iter()
        .map(|case| (case.name, file(case.t1), file(case.mask)))
        .collect()
}

fn row(name: &str, t1: &str, mask: &str) -> (String, Option<String>, Option<String>) {
    let some = |s: &str| (!s.is_empty()).then(|| s.to_owned());
    (name.to_owned(), some(t1), some(mask))
}

#[test]
fn cohorts_as_they_are_found() {
    // BIDS with derivatives, two visits, ten subjects in natural order.
    assert_eq!(
        told(&[
            "d/sub-10/anat/sub-10_FLAIR.nii.gz",
            "d/sub-10/anat/sub-10_T1w.nii.gz",
            "d/sub-9/ses-1/anat/sub-9_ses-1_FLAIR.nii.gz",
            "d/sub-9/ses-2/anat/sub-9_ses-2_FLAIR.nii.gz",
            "d/derivatives/sub-9/ses-2/sub-9_ses-2_space-FLAIR_desc-lesion_mask.nii.gz",
            "d/derivatives/sub-10/sub-10_desc-consensus_mask.nii.gz",
            "d/derivatives/sub-9/ses-1/sub-9_ses-1_label-lesion_roi.nii.gz",
            "d/participants.tsv",
        ]),
        [
            row(
                "sub-9_ses-1",
                "",
                "d/derivatives/sub-9/ses-1/sub-9_ses-1_label-lesion_roi.nii.gz"
            ),
            row(
                "sub-9_ses-2",
                "",
                "d/derivatives/sub-9/ses-2/sub-9_ses-2_space-FLAIR_desc-lesion_mask.nii.gz"
            ),
            row(
                "sub-10",
                "d/sub-10/anat/sub-10_T1w.nii.gz",
                "d/derivatives/sub-10/sub-10_desc-consensus_mask.nii.gz"
            ),
        ]
    );
    // Runs are told apart; a T1 is another acquisition.
    assert_eq!(
        told(&[
            "sub-1_acq-3D_run-1_FLAIR.nii",
            "sub-1_acq-3D_run-2_FLAIR.nii",
            "sub-1_acq-3D_run-2_desc-x_mask.nii",
            "sub-1_acq-3D_run-1_desc-x_mask.nii",
            "sub-1_acq-mprage_run-1_T1w.nii",
        ]),
        [
            row(
                "sub-1_acq-3d_run-1",
                "sub-1_acq-mprage_run-1_T1w.nii",
                "sub-1_acq-3D_run-1_desc-x_mask.nii"
            ),
            row("sub-1_acq-3d_run-2", "", "sub-1_acq-3D_run-2_desc-x_mask.nii"),
        ]
    );
    // ISBI 2015, WMH, MSLesSeg, MSSEG.
    assert_eq!(
        told(&[
            "training01/preprocessed/training01_02_flair_pp.nii",
            "training01/preprocessed/training01_02_mprage_pp.nii",
            "training01/preprocessed/training01_01_flair_pp.nii",
            "training01/masks/training01_01_mask1.nii",
            "training01/masks/training01_01_mask2.nii",
            "training01/masks/training01_02_mask1.nii",
        ]),
        [
            row("training01_01", "", "training01/masks/training01_01_mask1.nii"),
            row(
                "training01_02",
                "training01/preprocessed/training01_02_mprage_pp.nii",
                "training01/masks/training01_02_mask1.nii"
            ),
        ]
    );
    assert_eq!(
        told(&[
            "11/pre/FLAIR.nii.gz",
            "11/pre/T1.nii.gz",
            "11/wmh.nii.gz",
            "12/pre/FLAIR.nii.gz",
            "12/wmh.nii.gz"
        ]),
        [
            row("11_pre", "11/pre/T1.nii.gz", "11/wmh.nii.gz"),
            row("12_pre", "", "12/wmh.nii.gz"),
        ]
    );
    assert_eq!(
        told(&[
            "P1/T1/P1_T1_T1.nii.gz",
            "P1/T1/P1_T1_FLAIR.nii.gz",
            "P1/T1/P1_T1_MASK.nii.gz"
        ]),
        [row("p1_t1", "P1/T1/P1_T1_T1.nii.gz", "P1/T1/P1_T1_MASK.nii.gz")]
    );
    assert_eq!(
        told(&[
            "training04/flair_raw.nii.gz",
            "training04/mask1_t1space.nii.gz",
            "training04/brainmask_t1space.nii.gz"
        ]),
        [row("training04", "", "training04/mask1_t1space.nii.gz")]
    );
    // One of each, whatever they are called.
    let odd = pairs(&["my_FLAIR_scan.nii", "annas_lesions_final.nii"]);
    assert_eq!(odd.cases[0].mask, Some(1));
    assert!(
        odd.cases[0].notes[0].contains("Check"),
        "{:?}",
        odd.cases[0].notes
    );
}

#[test]
fn what_is_left_says_why() {
    let found = pairs(&[
        "sub-1_FLAIR.nii",
        "sub-1_desc-a_mask.nii",
        "sub-1_desc-b_mask.nii",
        "sub-2_desc-a_mask.nii",
        "sub-1_T2w.nii",
        "notes.txt",
        "sub-1_ce-gd_T1w.nii",
    ]);
    assert_eq!(found.cases.len(), 1);
    assert!(
        found.cases[0].notes[0].contains("More than one mask"),
        "{found:?}"
    );
    let why: Vec<(usize, &str)> = found.left.iter().map(|l| (l.file, l.why.as_str())).collect();
    for ((file, why), (expected, word)) in why.iter().zip([
        (2, "Another mask"),
        (3, "no FLAIR"),
        (4, "another kind"),
        (5, "NIfTI"),
        (6, "contrast agent"),
    ]) {
        assert_eq!(*file, expected);
        assert!(why.contains(word), "{why}");
    }
    assert_eq!(why.len(), 5);
    let alone = pairs(&["sub-1_FLAIR.nii"]);
    assert!(alone.cases[0].notes[0].contains("by hand"));
    assert_eq!(pairs(&[]), Pairing::default());
}

fn any_name() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "sub-01",
        "sub-02",
        "ses-1",
        "ses-2",
        "run-1",
        "desc-lesion",
        "acq-3D",
        "FLAIR",
        "T1w",
        "mask",
        "lesion",
        "T1",
        "P1",
        "01",
        "anat",
        "brain",
        "gd",
        "x",
        "T2",
        "mask2",
    ]);
    let dir = prop::option::of(prop::sample::select(vec!["sub-01", "masks", "a/b", "T1"]));
    let end = prop::sample::select(vec![".nii.gz", ".nii", ".json", ""]);
    (dir, prop::collection::vec(word, 0..5), end)
        .prop_map(|(dir, words, end)| dir.map_or(String::new(), |d| format!("{d}/")) + &words.join("_") + end)
}

proptest! {
    /// Every file is in one place, names differ, and the order of the files changes nothing.
    #[test]
    fn nothing_is_lost_or_used_twice(
        names in prop::collection::vec(prop_oneof![3 => any_name(), 1 => any::<String>()], 0..14),
        seed in any::<u64>(),
    ) {
        let found = pair(&names);
        let mut seen: Vec<usize> = found.left.iter().map(|l| l.file).collect();
        for case in &found.cases {
            seen.extend([Some(case.flair), case.t1, case.mask].into_iter().flatten());
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..names.len()).collect::<Vec<_>>());
        let mut titles: Vec<&String> = found.cases.iter().map(|c| &c.name).collect();
        titles.sort();
        titles.dedup();
        prop_assert_eq!(titles.len(), found.cases.len());
        prop_assert!(found.left.iter().all(|l| !l.why.is_empty()));

        // Files of one and the same path cannot be told apart.
        let mut distinct = names.clone();
        distinct.sort();
        distinct.dedup();
        let mut turned = distinct.clone();
        let n = turned.len().max(1);
        turned.rotate_left((seed % n as u64) as usize);
        if seed % 2 == 0 { turned.reverse(); }
        let by_name = |names: &[String]| {
            let file = |i: Option<usize>| i.map(|i| names[i].clone());
            let p = pair(names);
            p.cases.into_iter().map(|c| (c.name, file(Some(c.flair)), file(c.t1), file(c.mask), c.notes)).collect::<Vec<_>>()
        };
        prop_assert_eq!(by_name(&distinct), by_name(&turned));
    }

    /// A BIDS cohort is paired completely, whatever its labels, derivatives' folder and mask pattern.
    #[test]
    fn bids_is_paired_completely(
        cases in prop::collection::btree_set(("[a-zA-Z0-9]{1,5}", prop::option::of("[0-9]{1,2}")), 1..7),
        mask in prop::sample::select(vec!["desc-lesion_mask", "label-lesion_mask", "desc-manual_dseg", "lesion", "label-L_roi"]),
        with_t1 in any::<bool>(),
        derivatives in any::<bool>(),
    ) {
        // Names are compared without case, and so are subjects; one subject either has sessions or has none.
        let mut lower = BTreeSet::new();
        let cases: Vec<_> = cases
            .into_iter()
            .filter(|(sub, _)| lower.insert(sub.to_lowercase()))
            .collect();
        let mut names = Vec::new();
        for (sub, ses) in &cases {
            let base = format!("sub-{sub}{}", ses.as_ref().map_or(String::new(), |s| format!("_ses-{s}")));
            let root = if derivatives { "derivatives/manual/" } else { "" };
            names.push(format!("{root}sub-{sub}/anat/{base}_{mask}.nii.gz"));
            names.push(format!("sub-{sub}/anat/{base}_FLAIR.nii.gz"));
            if with_t1 { names.push(format!("sub-{sub}/anat/{base}_T1w.nii.gz")); }
        }
        let found = pair(&names);
        prop_assert_eq!(found.cases.len(), cases.len());
        prop_assert!(found.left.is_empty(), "{:?}", found.left);
        for case in &found.cases {
            prop_assert!(case.notes.is_empty(), "{:?}", case);
            let prefix = |i: usize| names[i].rsplit('/').next().unwrap().split("_FLAIR").next().unwrap().to_owned();
            let base = prefix(case.flair);
            let wanted = format!("/{base}_{mask}");
            prop_assert!(names[case.mask.unwrap()].contains(&wanted), "{:?} lacks {}", case, wanted);
            prop_assert_eq!(case.t1.is_some(), with_t1);
        }
    }
}
