//! Pictures of the training material, for people to look at:
//! `PICTURES=<folder> cargo test --no-default-features --test learn_pictures -- --ignored --nocapture`.

#![allow(clippy::unwrap_used)]

use equipoise::learn::case::{Case, Origin, head_of};
use equipoise::learn::config::DataConfig;
use equipoise::learn::head::Head;
use equipoise::learn::material::{Fold, Material};
use equipoise::learn::preview;
use equipoise::learn::sampler::Sampler;
use equipoise::volume::conform::conform;
use equipoise::volume::nifti::{Limits, read};
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

/// Where the pictures go.
fn out(name: &str) -> std::fs::File {
    let folder = std::env::var("PICTURES").map_or_else(|_| std::env::temp_dir(), PathBuf::from);
    std::fs::File::create(folder.join(name)).unwrap()
}

/// Raw uploads as the network sees them, to compare the simulated ones with.
#[test]
#[ignore = "writes pictures for people"]
fn raw() {
    let Some(data) = data() else { return };
    let mut cases = Vec::new();
    for (subject, session) in [
        ("L01", 1),
        ("L01", 2),
        ("L03", 1),
        ("L12", 2),
        ("L19", 1),
        ("L20", 2),
    ] {
        let folder = data.join(format!("open_ms/raw_longitudinal/sub-{subject}/ses-{session}"));
        let bytes = std::fs::read(folder.join("FLAIR.nii.gz")).unwrap();
        let flair = conform(&read(&bytes, &Limits::NATIVE).unwrap().volume)
            .unwrap()
            .volume;
        let n = flair.data.len();
        let head = Head {
            shape: flair.grid.shape,
            images: [flair.data.clone(), flair.data],
            lesions: vec![false; n],
            unknown: vec![false; n],
            tissue: vec![0; n],
            white: [1.0; 2],
        };
        cases.push(Case::from_head(head, Origin::Real));
    }
    preview::cases(&cases.iter().collect::<Vec<_>>())
        .write(out("raw.png"))
        .unwrap();
}

#[test]
#[ignore = "writes pictures for people"]
fn made() {
    let Some(data) = data() else { return };
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
    let refs: Vec<&Case> = made.iter().map(AsRef::as_ref).collect();
    preview::cases(&refs[..6]).write(out("cases1.png")).unwrap();
    preview::cases(&refs[6..]).write(out("cases2.png")).unwrap();
    let t = Instant::now();
    let patches: Vec<_> = (0..48).map(|i| sampler.next_patch(i).unwrap()).collect();
    println!("{:?} a patch from ready cases", t.elapsed() / 48);
    preview::patches(&patches[..24], 2)
        .write(out("patches.png"))
        .unwrap();
}

/// Painted lesions beside real ones, neither augmented: labelled patients as they are, then with painted lesions.
#[test]
#[ignore = "writes pictures for people"]
fn painted_beside_real() {
    let Some(data) = data() else { return };
    let material = Material::load(&data, Fold::default()).unwrap();
    let mut heads: Vec<Head> = material.labelled.iter().map(head_of).collect();
    for i in 0..4 {
        let mut rng = equipoise::learn::random::stream(5, equipoise::learn::random::Purpose::Case, i);
        let origin = if i < 2 { Origin::Painted } else { Origin::Synthetic };
        heads.push(
            equipoise::learn::case::draw_head(&mut rng, &material, &DataConfig::default(), origin).unwrap(),
        );
    }
    let cases: Vec<Case> = heads
        .into_iter()
        .map(|h| Case::from_head(h.cut_to_brain(2), Origin::Real))
        .collect();
    preview::cases(&cases.iter().collect::<Vec<_>>())
        .write(out("painted.png"))
        .unwrap();
}
