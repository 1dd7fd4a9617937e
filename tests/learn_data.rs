//! The training material itself, on the real data: the fold rule, the sampler's promises, and what painted lesions look like.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use equipoise::learn::ahead::Ahead;
use equipoise::learn::anatomy::{self, Tissue};
use equipoise::learn::augment::patch::Patch;
use equipoise::learn::case::{self, Origin, head_of};
use equipoise::learn::config::{DataConfig, PatchAugmentation};
use equipoise::learn::field;
use equipoise::learn::material::{Fold, Material, SHAPE};
use equipoise::learn::paint::{expected_ratio, ring_ratio};
use equipoise::learn::plan::{Plan, plan_lesions};
use equipoise::learn::random::{Purpose, stream};
use equipoise::learn::sampler::{Sampler, SamplerError};
use equipoise::learn::subjects::Files;
use equipoise::learn::validation::validation_cases;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The data directory, if there is one.
fn data() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if path.join("open_ms").is_dir() {
        return Some(path);
    }
    println!("skipped: no data");
    None
}

/// The fold most tests use: patient 19 held out.
const FOLD: Fold = Fold { held_out: Some(19) };

/// That fold's material, loaded once.
fn material() -> Option<Arc<Material>> {
    static LOADED: OnceLock<Option<Arc<Material>>> = OnceLock::new();
    LOADED
        .get_or_init(|| data().map(|data| Arc::new(Material::load(&data, FOLD).unwrap())))
        .clone()
}

/// A configuration whose cases are quick to make.
fn quick() -> DataConfig {
    let mut config = DataConfig {
        side: 48,
        cases_alive: 3,
        patches_per_case: 40,
        ..DataConfig::default()
    };
    config.geometry.deform = 0.0;
    config.surround.head = 0.0;
    config.surround.residue = 0.0;
    config
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

#[test]
fn a_held_out_patient_is_not_in_memory_either() {
    let Some(material) = material() else { return };
    assert!(material.labelled.iter().all(|l| l.patient != 19));
    assert!(material.masks.iter().all(|m| m.patient != 19));
    assert!(material.tissue_maps.iter().all(|t| t.patient != 19));
    assert_eq!(
        (
            material.labelled.len(),
            material.masks.len(),
            material.tissue_maps.len()
        ),
        (1, 28, 8)
    );
    assert_eq!(material.shapes.len(), 2229);
    // Another fold cannot be drawn from this material.
    let refused = Sampler::new(Arc::clone(&material), quick(), Fold { held_out: Some(7) }, 1);
    assert!(matches!(
        refused,
        Err(SamplerError::Fold {
            loaded: Some(19),
            asked: Some(7)
        })
    ));
}

#[test]
fn images_and_masks_lie_on_each_other() {
    let Some(material) = material() else { return };
    for patient in &material.labelled {
        assert_eq!(
            patient.mask.iter().filter(|m| **m).count(),
            1300,
            "sub-07's 1.30 mL"
        );
        // The same mask by the other way in.
        let by_lesion: usize = material
            .masks
            .iter()
            .find(|m| m.patient == 7)
            .unwrap()
            .lesions
            .iter()
            .map(|l| l.voxels)
            .sum();
        assert_eq!(by_lesion, 1300);
        let brain = patient.tissue.iter().filter(|t| **t > 0).count();
        let image = patient.flair.iter().filter(|v| **v != 0.0).count();
        assert!(brain.abs_diff(image) < image / 100, "{brain} {image}");
    }
    // Tissue maps in scanner space were laid over the labelled brain: white matter meets white matter, less so if the map lay a
    // centimetre elsewhere, and the brains overlap.
    let reference = &material.labelled[0].tissue;
    for map in &material.tissue_maps {
        let step = [1, SHAPE[0] as isize, (SHAPE[0] * SHAPE[1]) as isize];
        let share = |shift: isize| {
            let white = (0..reference.len()).filter(|&i| reference[i] == 3);
            let met = |i: &usize| map.tissue.get(i.wrapping_add_signed(shift)) == Some(&3);
            white.clone().filter(met).count() as f64 / white.count() as f64
        };
        let here = share(0);
        let elsewhere: Vec<f64> = step
            .into_iter()
            .flat_map(|s| [10 * s, -10 * s])
            .map(share)
            .collect();
        let brain = |t: &[u8]| t.iter().filter(|t| **t > 0).count();
        let both = map
            .tissue
            .iter()
            .zip(reference)
            .filter(|(a, b)| **a > 0 && **b > 0)
            .count();
        let dice = 2.0 * both as f64 / (brain(&map.tissue) + brain(reference)) as f64;
        println!(
            "patient {}: brain Dice {dice:.3}, white matter {here:.2}, a centimetre away {elsewhere:.2?}",
            map.patient
        );
        assert!(
            dice > 0.9 && elsewhere.iter().all(|e| *e < here),
            "patient {}: {dice}",
            map.patient
        );
    }
}

#[test]
fn painted_lesions_have_the_measured_contrast() {
    let Some(material) = material() else { return };
    let patient = &material.labelled[0];
    let edges = [10.0, 50.0, 200.0, 1000.0, f32::INFINITY];
    let mut found = vec![Vec::new(); 4];
    for i in 0..40 {
        let mut rng = stream(3, Purpose::Case, i);
        let mut plan = Plan::new(SHAPE, &patient.allowed, &patient.mask);
        plan_lesions(&mut rng, &mut plan, &material);
        let mut head = head_of(patient);
        case::paint_with_contrast(&mut rng, &mut head, &plan.lesions, [1.0; 2]);
        for lesion in &plan.lesions {
            assert!(lesion.iter().all(|&v| patient.tissue[v] > 1 && !patient.mask[v]));
            let excluded = |v: usize| head.lesions[v] || head.tissue[v] < 2;
            let ratios = head
                .images
                .each_ref()
                .map(|image| ring_ratio(image, SHAPE, lesion, excluded));
            let mm3 = lesion.len() as f32;
            if let (Some(class), [Some(flair), Some(t1)]) =
                (edges.windows(2).position(|e| mm3 >= e[0] && mm3 < e[1]), ratios)
            {
                found[class].push((mm3, flair, t1));
            }
        }
    }
    for (class, lesions) in found.iter().enumerate() {
        assert!(lesions.len() >= 5, "class {class}: {} lesions", lesions.len());
        let mean =
            |f: &dyn Fn(&(f32, f32, f32)) -> f32| lesions.iter().map(f).sum::<f32>() / lesions.len() as f32;
        let (flair, t1) = (mean(&|l| l.1), mean(&|l| l.2));
        let expected = [
            mean(&|l| expected_ratio(l.0)[0]),
            mean(&|l| expected_ratio(l.0)[1]),
        ];
        println!(
            "{} lesions from {} mm³: FLAIR {flair:.2} ({:.2}), T1 {t1:.2} ({:.2})",
            lesions.len(),
            edges[class],
            expected[0],
            expected[1]
        );
        // Lesions scatter by 0.07 and 0.08 around the table; three standard errors, and 0.03 for what they are painted on.
        let error = 3.0 / (lesions.len() as f32).sqrt();
        assert!((flair - expected[0]).abs() < 0.03 + 0.07 * error);
        assert!((t1 - expected[1]).abs() < 0.03 + 0.08 * error);
        let bright = lesions.iter().filter(|l| l.1 > 1.0).count();
        assert!(
            bright as f64 > 0.99 * lesions.len() as f64,
            "{bright} of {}",
            lesions.len()
        );
    }
}

/// Lesion voxels in a patch, in all and in its central half-cube.
fn lesion_voxels(patch: &Patch) -> (usize, usize) {
    let n = patch.side;
    let central = |c: usize| c >= n / 4 && c < n / 4 + n / 2;
    let at = |i: usize| [i % n, i / n % n, i / n / n];
    let lesion = |i: &usize| patch.label[*i] > 0.5;
    let all = (0..patch.label.len()).filter(lesion).count();
    let inner = (0..patch.label.len())
        .filter(lesion)
        .filter(|i| at(*i).into_iter().all(central))
        .count();
    (all, inner)
}

#[test]
fn patches_are_a_function_of_seed_and_counter_alone() {
    let Some(material) = material() else { return };
    let sampler = |seed| Arc::new(Sampler::new(Arc::clone(&material), quick(), FOLD, seed).unwrap());
    let one = sampler(1);
    let forward: Vec<Patch> = (5..11).map(|i| one.next_patch(i).unwrap()).collect();
    // Another sampler, the other way round, as after a restart; and made ahead by two threads.
    let two = sampler(1);
    for (i, patch) in forward.iter().enumerate().rev() {
        assert!(two.next_patch(5 + i as u64).unwrap() == *patch, "patch {i}");
    }
    let ahead: Vec<Patch> = Ahead::start(&two, 5, 2, 2).take(6).map(Result::unwrap).collect();
    assert!(ahead == forward);
    assert!(sampler(2).next_patch(5).unwrap() != forward[0]);
    for patch in &forward {
        assert_eq!(
            (patch.image.len(), patch.label.len()),
            (2 * 48 * 48 * 48, 48 * 48 * 48)
        );
        assert!(patch.image.iter().all(|v| v.is_finite()));
        assert!(patch.label.iter().all(|l| *l == 0.0 || *l == 1.0));
    }
}

#[test]
fn patches_are_selected_and_shared_out_as_configured() {
    let Some(material) = material() else { return };
    let mut config = quick();
    config.patch = PatchAugmentation {
        missing_t1: 0.3,
        ..PatchAugmentation::default()
    };
    config.selection.rich_until = 120;
    let sampler = Sampler::new(material, config, FOLD, 4).unwrap();
    let (mut rich, mut later, mut free, mut missing) = (0, 0, 0, 0);
    let count = 240;
    for i in 0..count {
        let patch = sampler.next_patch(i).unwrap();
        let (all, inner) = lesion_voxels(&patch);
        free += usize::from(all == 0);
        missing += usize::from(patch.image[48 * 48 * 48..].iter().all(|v| *v == 0.0));
        if all > 0 {
            rich += usize::from(i < 120 && inner >= 50);
            later += usize::from(i >= 120 && inner >= 5);
        }
    }
    println!("{count} patches: {free} without lesion, {rich} rich, {later} later, {missing} without T1");
    let near = |found: usize, of: f64, share: f64| (found as f64 / of - share).abs() < 0.12;
    assert!(near(free, count as f64, 0.3), "{free} lesion-free");
    assert!(near(rich, 120.0, 0.7), "{rich} rich");
    assert!(near(later, 120.0, 0.7), "{later} later");
    assert!(near(missing, count as f64, 0.3), "{missing} without T1");
}

#[test]
fn lesions_of_patches_are_brighter_than_their_surroundings() {
    let Some(material) = material() else { return };
    let sampler = Sampler::new(material, quick(), FOLD, 6).unwrap();
    let (mut brighter, mut all) = (0, 0);
    for i in 0..120 {
        let patch = sampler.next_patch(i).unwrap();
        let lesion: Vec<usize> = (0..patch.label.len()).filter(|&i| patch.label[i] > 0.5).collect();
        // Moved so that a ratio above 1 means brighter.
        let image: Vec<f32> = patch.image[..patch.label.len()]
            .iter()
            .map(|v| v + 20.0)
            .collect();
        let excluded = |i: usize| patch.label[i] > 0.5 || patch.image[i] == 0.0;
        if lesion.len() >= 20 {
            all += 1;
            brighter += usize::from(ring_ratio(&image, [patch.side; 3], &lesion, excluded) > Some(1.0));
        }
    }
    assert!(all > 20 && brighter * 100 >= all * 95, "{brighter} of {all}");
}

#[test]
fn the_average_brain_is_what_the_map_gives() {
    let Some(data) = data() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/volume/intensity/atlas.bin");
    assert_eq!(
        std::fs::read(path).unwrap(),
        equipoise::learn::average::average_brain(&data).unwrap()
    );
}

/// The fold's material with the clinical scans, loaded once.
fn with_clinical() -> Option<Arc<Material>> {
    static LOADED: OnceLock<Option<Arc<Material>>> = OnceLock::new();
    let load = |data: PathBuf| {
        let mut mix = quick().mix;
        mix.clinical = 1.0;
        Arc::new(Material::for_mix(&data, FOLD, &mix).unwrap())
    };
    LOADED.get_or_init(|| data().map(load)).clone()
}

#[test]
fn clinical_scans_lie_on_the_materials_grid_and_most_of_them_is_known() {
    let Some(material) = with_clinical() else { return };
    // Nine visits of six patients come with a brain mask, seven of them with T1.
    assert_eq!(material.clinical.len(), 9);
    assert_eq!(material.clinical.iter().filter(|s| s.white[1] != 1.0).count(), 7);
    for (number, scan) in material.clinical.iter().enumerate() {
        let count =
            |wanted: &dyn Fn(usize) -> bool| (0..scan.tissue.len()).filter(|&i| wanted(i)).count() as f64;
        let mean = |image: &[f32], tissue: u8| {
            let values: Vec<f64> = (0..scan.tissue.len())
                .filter(|&i| scan.tissue[i] == tissue)
                .map(|i| f64::from(image[i]))
                .collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        let brain = count(&|i| scan.tissue[i] > 0);
        // On the atlas's grid a brain is about as large as the atlas's 1.85 litres, which is larger than brains are.
        let millilitres = brain / 1000.0;
        assert!(
            (1650.0..2050.0).contains(&millilitres),
            "{number}: {millilitres} mL of brain"
        );
        let unknown = count(&|i| scan.unknown[i]) / brain;
        let marked = count(&|i| scan.lesions[i]) / 1000.0;
        println!(
            "{number}: {marked:.1} mL surely lesion, {:.1} % unknown",
            100.0 * unknown
        );
        // As much as the 29 patients' masks hold: 0.3 to 52 mL.
        assert!((0.3..60.0).contains(&marked), "{number}: {marked} mL");
        let level = |of: &[bool]| {
            let mut values: Vec<f32> = (0..of.len()).filter(|&i| of[i]).map(|i| scan.flair[i]).collect();
            field::median(&mut values).unwrap()
        };
        assert!(level(&scan.lesions) > 1.1 * scan.white[0], "{number}");
        for i in 0..scan.tissue.len() {
            assert!(!scan.lesions[i] || scan.tissue[i] >= Tissue::Grey as u8 && !scan.unknown[i]);
        }
        assert!((0.005..0.25).contains(&unknown), "{number}: {unknown} unknown");
        let [fluid, grey, white] = [1, 2, 3].map(|tissue| mean(&scan.flair, tissue));
        assert!(
            fluid < 0.75 * white && white < grey,
            "{number}: {fluid} {white} {grey}"
        );
        // White matter is the atlas's. Where the atlas lies right it agrees with what T1 says, and less so wherever else it is laid.
        if scan.white[1] != 1.0 {
            let in_brain = |(v, t): (&f32, &u8)| if *t > 0 { *v } else { 0.0 };
            let t1: Vec<f32> = scan.t1.iter().zip(&scan.tissue).map(in_brain).collect();
            let own = anatomy::segment_t1(&t1, &vec![false; t1.len()]);
            let dice = |by: isize| {
                let white = |i: usize| own[i] == Tissue::White as u8;
                let at = |i: usize| {
                    i.checked_add_signed(by)
                        .is_some_and(|j| j < own.len() && white(j))
                };
                let both = count(&|i| scan.tissue[i] == Tissue::White as u8 && at(i));
                2.0 * both / (count(&|i| scan.tissue[i] == Tissue::White as u8) + count(&white))
            };
            let right = dice(0);
            for (axis, stride) in [
                (0, 1),
                (1, SHAPE[0] as isize),
                (2, (SHAPE[0] * SHAPE[1]) as isize),
            ] {
                for by in [-8, 8] {
                    let wrong = dice(by * stride);
                    assert!(
                        wrong < right,
                        "{number}: {wrong} moved by {by} along {axis}, {right} not"
                    );
                }
            }
        }
        // The skull is there.
        let around = count(&|i| scan.tissue[i] == 0 && scan.flair[i] > 0.3 * scan.white[0]);
        assert!(around > 0.1 * brain, "{number}: {around} voxels around the brain");
        assert!((2.99..4.01).contains(&scan.thickness), "{}", scan.thickness);
    }
}

#[test]
fn a_clinical_case_knows_its_painted_lesions_and_its_own_where_they_are_marked() {
    let Some(material) = with_clinical() else { return };
    let config = quick();
    let mut painted = 0;
    for seed in 0..4 {
        let make = || {
            case::make_from(
                &mut stream(seed, Purpose::Case, 0),
                &material,
                &config,
                Origin::Clinical,
            )
        };
        let case = make().unwrap();
        assert_eq!(case, make().unwrap());
        painted += usize::from(!case.lesion_voxels.is_empty());
        assert!(!case.lesions.iter().zip(&case.unknown).any(|(l, u)| *l && *u));
        // Labels of a patch tell the three apart.
        let voxel = case.unknown.iter().position(|u| *u).unwrap();
        let corner = field::voxel(case.shape, voxel).map(|c| c as isize - 8);
        let patch = equipoise::learn::sampler::cut(case.view(), corner, 16);
        assert!(patch.has_unknown());
        for (i, label) in patch.label.iter().enumerate() {
            let local = field::voxel([16; 3], i);
            let v = [0, 1, 2].map(|a| corner[a] + local[a] as isize);
            let inside = (0..3).all(|a| v[a] >= 0 && v[a] < case.shape[a] as isize);
            let wanted = if inside {
                let j = field::index(case.shape, v.map(|c| c as usize));
                if case.unknown[j] {
                    -1.0
                } else {
                    f32::from(u8::from(case.lesions[j]))
                }
            } else {
                0.0
            };
            assert_eq!(*label, wanted);
        }
    }
    // With `marked` more is lesion, nothing less, and what was unknown is known.
    let mut told = config.clone();
    told.mix.marked = true;
    let [without, with] = [&config, &told]
        .map(|c| case::make_from(&mut stream(0, Purpose::Case, 0), &material, c, Origin::Clinical).unwrap());
    let count = |mask: &[bool]| mask.iter().filter(|m| **m).count();
    assert!(count(&with.lesions) > count(&without.lesions) + 200);
    assert!(count(&with.unknown) < count(&without.unknown));
    // A patient's few lesions may all fall where there is no room for them.
    assert!(painted >= 3, "{painted} of 4 cases with lesions");
}

#[test]
fn the_validation_set_is_fixed_and_holds_the_held_out_patient() {
    let (Some(data), Some(material)) = (data(), material()) else {
        return;
    };
    let make = |made| validation_cases(&data, &material, &quick(), 9, made).unwrap();
    let cases = make(2);
    let names: Vec<&str> = cases.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "sub-19",
            "sub-19-thick",
            "sub-19-head",
            "painted-0",
            "synthetic-0"
        ]
    );
    assert_eq!(cases.iter().filter(|c| c.real).count(), 1);
    // Nothing of the patient was lost on the way.
    assert_eq!(cases[0].case.lesion_voxels.len(), 49_769);
    assert!(cases[3].case.origin == Origin::Painted && cases[4].case.origin == Origin::Synthetic);
    let again = make(2);
    assert!(cases.iter().zip(&again).all(|(a, b)| a.case == b.case));
}
