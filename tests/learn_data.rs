//! The training material itself: the fold rule, the sampler's promises, and what painted lesions look like, on the real data.

use equipoise::learn::case;
use equipoise::learn::config::DataConfig;
use equipoise::learn::material::{Fold, Material};
use equipoise::learn::preview;
use equipoise::learn::sampler::Sampler;
use equipoise::learn::subjects::Files;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

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
#[ignore = "writes pictures for people: cargo test --test learn_data pictures -- --ignored"]
fn pictures() {
    let Some(data) = data() else { return };
    let out = std::env::var("PICTURES").map_or_else(|_| std::env::temp_dir(), PathBuf::from);
    let fold = Fold { held_out: None };
    let t = Instant::now();
    let material = Arc::new(Material::load(&data, fold).unwrap());
    println!(
        "loaded in {:?}: {} masks, {} shapes, {} tissue maps",
        t.elapsed(),
        material.masks.len(),
        material.shapes.len(),
        material.tissue_maps.len()
    );
    let sampler = Sampler::new(material, DataConfig::default(), fold, 1).unwrap();
    let t = Instant::now();
    let made: Vec<_> = (0..12).map(|i| sampler.case(i).unwrap()).collect();
    println!("{:?} a case", t.elapsed() / 12);
    for c in &made {
        println!(
            "{:?} {:?} {} lesion voxels",
            c.origin,
            c.shape,
            c.lesion_voxels.len()
        );
    }
    let refs: Vec<&case::Case> = made.iter().map(AsRef::as_ref).collect();
    preview::cases(&refs[..6])
        .write(std::fs::File::create(out.join("cases1.png")).unwrap())
        .unwrap();
    preview::cases(&refs[6..])
        .write(std::fs::File::create(out.join("cases2.png")).unwrap())
        .unwrap();
    let t = Instant::now();
    let patches: Vec<_> = (0..48).map(|i| sampler.next_patch(i).unwrap()).collect();
    println!("{:?} a patch from ready cases", t.elapsed() / 48);
    preview::patches(&patches[..24], 2)
        .write(std::fs::File::create(out.join("patches.png")).unwrap())
        .unwrap();
    let _ = Files::of(&data, fold);
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
