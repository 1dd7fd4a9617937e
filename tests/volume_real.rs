//! The real scans, where they are at hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};

use equipoise::pipeline::Head;
use equipoise::volume::conform::{conform, to_native};
use equipoise::volume::intensity::{Foreground, ForegroundKind, Scene, normalise, percentiles, tissue};
use equipoise::volume::motion::Motion;
use equipoise::volume::nifti::{self, Limits, Scan};
use equipoise::volume::resample::{Interpolation, resample};
use equipoise::volume::{Orientation, Volume, VolumeError, check};
use nalgebra::{Matrix3, Matrix4, Point3, Vector3};

fn data() -> Option<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !data.is_dir() {
        eprintln!("skipped: no data");
        return None;
    }
    Some(data)
}

fn scan(path: &Path) -> Scan {
    nifti::read(&std::fs::read(path).unwrap(), &Limits::PAGE)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All NIfTI files below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.to_string_lossy().ends_with(".nii.gz") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_real_scan_can_be_prepared() {
    let Some(data) = data() else { return };
    let folders = [
        "open_ms/labelled",
        "open_ms/raw_longitudinal",
        "isbi2015_eval_only",
    ];
    let paths: Vec<_> = folders
        .iter()
        .flat_map(|folder| files(&data.join(folder)))
        .collect();
    assert!(paths.len() >= 20, "{} files", paths.len());
    for path in paths {
        let what = path.display();
        let scan = scan(&path);
        assert!(scan.notes.is_empty(), "{what}: {:?}", scan.notes);
        if path.to_string_lossy().contains("mask") {
            assert!(
                matches!(check(&scan.volume), Err(VolumeError::LooksLikeMask { .. })),
                "{what}"
            );
            continue;
        }
        check(&scan.volume).unwrap_or_else(|error| panic!("{what}: {error}"));
        let conformed = conform(&scan.volume).unwrap();
        let grid = &conformed.volume.grid;
        assert_eq!(Orientation::of(&grid.affine), Orientation::RAS, "{what}");
        let foreground = Foreground::find(&conformed.volume);
        let expected = if path.to_string_lossy().contains("labelled") {
            assert!(!conformed.interpolated, "{what}");
            assert_eq!(
                to_native(&clamped(&conformed.volume), &scan.volume.grid).unwrap(),
                clamped(&scan.volume).data
            );
            ForegroundKind::Stripped
        } else {
            ForegroundKind::Outlined
        };
        // The outline is made for FLAIR.
        if !path.to_string_lossy().contains("T1W") {
            assert_eq!(foreground.kind, expected, "{what}");
            let voxels = foreground.mask.iter().filter(|m| **m).count();
            let millilitres = voxels as f64 * grid.voxel_volume() / 1000.0;
            assert!(
                (900.0..2000.0).contains(&millilitres),
                "{what}: a brain of {millilitres} mL"
            );
        }
        if !path.to_string_lossy().contains("FLAIR") && !path.to_string_lossy().contains("flair") {
            continue;
        }
        let tissue = tissue(&conformed.volume, &foreground.mask);
        let scaled = normalise(&conformed.volume, &foreground.mask, &tissue);
        let bright: Vec<f32> = (0..tissue.len())
            .filter(|&i| tissue[i])
            .map(|i| scaled[i])
            .collect();
        let [median] = percentiles(&bright, [50.0]).unwrap();
        assert!(median.abs() < 1e-6, "{what}: {median}");
        let voxels = foreground.mask.iter().filter(|m| **m).count();
        let share = bright.len() as f64 / voxels as f64;
        assert!(
            (0.4..1.0).contains(&share),
            "{what}: {share} of the foreground is tissue"
        );
    }
}

fn clamped(volume: &Volume) -> Volume {
    let data = volume.data.iter().map(|v| v.clamp(0.0, 1.0)).collect();
    Volume {
        grid: volume.grid.clone(),
        data,
    }
}

/// The transform of an ITK text file (`MatrixOffsetTransformBase`), in RAS millimetres.
fn itk(path: &Path) -> Matrix4<f64> {
    let text = std::fs::read_to_string(path).unwrap();
    let numbers = |key: &str| -> Vec<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect()
    };
    let (parameters, centre) = (numbers("Parameters:"), numbers("FixedParameters:"));
    let linear = Matrix3::from_row_slice(&parameters[..9]);
    let centre = Vector3::from_row_slice(&centre);
    let offset = Vector3::from_row_slice(&parameters[9..]) + centre - linear * centre;
    let mut transform = Matrix4::identity();
    transform.fixed_view_mut::<3, 3>(0, 0).copy_from(&linear);
    transform.fixed_view_mut::<3, 1>(0, 3).copy_from(&offset);
    let lps = Matrix4::from_diagonal(&[-1.0, -1.0, 1.0, 1.0].into());
    lps * transform * lps
}

/// Every FLAIR scan with skull that has a brain mask, and that mask (in the FLAIR's world).
fn scans_with_brain_masks(data: &Path) -> Vec<(String, Scan, Volume)> {
    let mut cases = Vec::new();
    for name in ["training01", "training04"] {
        let folder = data.join("isbi2015_eval_only").join(name);
        let mask = scan(&folder.join("brainmask_t1space.nii.gz")).volume;
        cases.push((name.to_owned(), scan(&folder.join("flair_raw.nii.gz")), mask));
    }
    for flair in files(&data.join("open_ms/raw_longitudinal")) {
        let session = flair.parent().unwrap();
        let mask = session.parent().unwrap().join("common_space_brainmask.nii.gz");
        if flair.file_name().unwrap() != "FLAIR.nii.gz" || !mask.exists() {
            continue;
        }
        let mut mask = scan(&mask).volume;
        let study = std::fs::read_dir(session)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let transform = study
            .filter(|p| p.to_string_lossy().ends_with("_FLAIR_to_common_space.txt"))
            .last()
            .unwrap();
        // ITK's transforms map points of the fixed image (the common space) to points of the moving one.
        mask.grid.affine = itk(&transform) * mask.grid.affine;
        cases.push((session.display().to_string(), scan(&flair), mask));
    }
    cases
}

#[test]
fn brains_are_outlined_as_the_published_masks_have_them() {
    let Some(data) = data() else { return };
    let cases = scans_with_brain_masks(&data);
    assert!(cases.len() >= 11);
    let mut all = Vec::new();
    for (name, flair, mask) in cases {
        let conformed = conform(&flair.volume).unwrap().volume;
        let truth = resample(&mask, &conformed.grid, Interpolation::Nearest, 0.0).unwrap();
        let found = Foreground::find(&conformed);
        let (mut both, mut sum) = (0usize, 0usize);
        for (&found, &truth) in found.mask.iter().zip(&truth.data) {
            both += usize::from(found && truth > 0.0);
            sum += usize::from(found) + usize::from(truth > 0.0);
        }
        let dice = 2.0 * both as f64 / sum as f64;
        println!("{name}: {:?}, Dice {dice:.3}", found.kind);
        let outside = found
            .mask
            .iter()
            .zip(&truth.data)
            .filter(|(f, t)| **f && **t == 0.0)
            .count();
        println!(
            "    {:.0} mL outside",
            outside as f64 * conformed.grid.voxel_volume() / 1000.0
        );
        assert!(dice > 0.88, "{name}: {dice}");
        all.push(dice);
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    println!("mean of {}: {mean:.3}", all.len());
    assert!(mean > 0.94, "{mean}");
}

/// What `pipeline::Head::depth` leaves out costs next to no lesion: counted on masks and published brain masks alone.
#[test]
fn lesions_do_not_lie_at_the_surface_of_the_brain() {
    let Some(data) = data() else { return };
    let labelled = |name: &str| {
        let folder = data.join("open_ms/labelled").join(name);
        let file = |what: &str| folder.join(format!("{name}_{what}.nii.gz"));
        let lesion = scan(&file("desc-consensus_mask")).volume;
        let brain = Foreground::find(&scan(&file("FLAIR")).volume).mask;
        (format!("{name}, consensus"), lesion, brain)
    };
    let isbi = |name: &str, rater: &str| {
        let folder = data.join("isbi2015_eval_only").join(name);
        let lesion = scan(&folder.join(format!("mask{rater}_t1space.nii.gz"))).volume;
        let lesion = conform_mask(&lesion);
        let brain = scan(&folder.join("brainmask_t1space.nii.gz")).volume;
        let brain = resample(&brain, &lesion.grid, Interpolation::Nearest, 0.0).unwrap();
        let brain = brain.data.iter().map(|v| *v > 0.0).collect();
        (format!("{name}, rater {rater}"), lesion, brain)
    };
    let cases = [
        labelled("sub-07"),
        labelled("sub-19"),
        isbi("training01", "1"),
        isbi("training01", "2"),
        isbi("training04", "1"),
        isbi("training04", "2"),
    ];
    for (name, lesion, brain) in cases {
        let n = brain.len();
        let head = Head::new(lesion.grid.clone(), vec![0.0; n], None, brain).unwrap();
        let depth = head.depth();
        let inside = lesion.data.iter().zip(&depth).filter(|(l, _)| **l > 0.0);
        let (all, lost) = inside.fold((0, 0), |(all, lost), (_, deep)| {
            (all + 1, lost + i32::from(!deep))
        });
        println!("{name}: {lost} of {all} mm3 within 2 mm of the surface");
        assert!(
            all > 1000 && f64::from(lost) <= 0.0015 * f64::from(all),
            "{name}: {lost} of {all}"
        );
    }
}

/// A mask on a grid of 1 mm.
fn conform_mask(mask: &Volume) -> Volume {
    let grid = conform(mask).unwrap().volume.grid;
    resample(mask, &grid, Interpolation::Nearest, 0.0).unwrap()
}

/// The study's own transforms say how patients moved between FLAIR and T1.
#[test]
fn a_t1_is_laid_on_the_flair_as_the_published_transforms_do() {
    let Some(data) = data() else { return };
    let mut compared = 0;
    for flair in files(&data.join("open_ms/raw_longitudinal")) {
        let session = flair.parent().unwrap();
        let t1 = session.join("T1W.nii.gz");
        if flair.file_name().unwrap() != "FLAIR.nii.gz" || !t1.exists() {
            continue;
        }
        let transform = files_named(session, "_T1W_intrastudy_to_FLAIR.txt");
        let published = itk(&transform);
        let conformed = conform(&scan(&flair).volume).unwrap().volume;
        let grid = conformed.grid.clone();
        let scene = Scene::new(conformed);
        let start = std::time::Instant::now();
        let found = Motion::find(&scene.flair, &grid, &scene.foreground.mask, &scan(&t1).volume).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let to_second = found.to_second.affine();
        let [nx, ny, _] = grid.shape;
        let inside = scene
            .foreground
            .mask
            .iter()
            .enumerate()
            .filter(|(i, m)| **m && i % 101 == 0);
        let [mut apart, mut far, mut n] = [0.0; 3];
        for (i, _) in inside {
            let p = Point3::from(grid.world([i % nx, i / nx % ny, i / nx / ny].map(|c| c as f64)));
            apart += (published.transform_point(&p) - to_second.transform_point(&p)).norm();
            far += (published.transform_point(&p) - p).norm();
            n += 1.0;
        }
        println!(
            "{}: published {:.2} mm, found {:.2} mm ({:.2} degrees, information {:.4} to {:.4}), apart {:.2} mm, {seconds:.1} s",
            session.display(),
            far / n,
            found.mean_mm,
            found.to_second.degrees(),
            found.information[0],
            found.information[1],
            apart / n
        );
        compared += 1;
        assert!(apart / n < 1.5, "{}: {} mm apart", session.display(), apart / n);
    }
    assert_eq!(compared, 8);
}

/// The file of a folder whose name ends so.
fn files_named(folder: &Path, end: &str) -> PathBuf {
    let mut all = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    all.find(|p| p.to_string_lossy().ends_with(end)).unwrap()
}
