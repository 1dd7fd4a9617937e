//! The training material itself: the fold rule, the sampler's promises, and what painted lesions look like, on the real data.

use equipoise::learn::material::Fold;
use equipoise::learn::subjects::Files;
use std::path::{Path, PathBuf};

/// The data directory, if there is one.
fn data() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if path.join("open_ms").is_dir() {
        return Some(path);
    }
    println!("skipped: no data");
    None
}

#[test]
fn a_held_out_patient_is_in_no_file_of_the_fold() {
    let Some(data) = data() else { return };
    for held_out in [None, Some(7), Some(19), Some(3), Some(26)] {
        let files = Files::of(&data, Fold { held_out });
        let all: Vec<String> = files
            .all()
            .map(|p| p.strip_prefix(&data).unwrap().display().to_string())
            .collect();
        assert!(
            all.iter()
                .all(|p| !p.contains("isbi") && !p.contains("raw_longitudinal")),
            "{all:?}"
        );
        if let Some(patient) = held_out {
            let name = format!("sub-{patient:02}");
            assert!(all.iter().all(|p| !p.contains(&name)), "{all:?}");
        }
        assert!(
            all.iter().all(|p| !p.contains("sub-26")),
            "the mask of patient 26 is held back"
        );
    }
    // Without the rule they would be there: the test can fail.
    let everything = Files::of(&data, Fold::default());
    assert_eq!(
        (
            everything.labelled.len(),
            everything.masks.len(),
            everything.tissue.len()
        ),
        (2, 29, 8)
    );
    let fold = Files::of(&data, Fold { held_out: Some(7) });
    assert_eq!(
        (fold.labelled.len(), fold.masks.len(), fold.tissue.len()),
        (1, 28, 7)
    );
}
