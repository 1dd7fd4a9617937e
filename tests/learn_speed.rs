//! What a patch costs, in processor time: `cargo test --no-default-features --test learn_speed -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use equipoise::learn::augment::{acquisition, geometry, surround};
use equipoise::learn::case::{self, Case, Origin};
use equipoise::learn::config::DataConfig;
use equipoise::learn::material::{Fold, Material};
use equipoise::learn::random::{Purpose, stream};
use equipoise::learn::sampler::Sampler;
use std::path::Path;
use std::sync::Arc;

/// Processor time of this process in seconds (Linux; 0 elsewhere).
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    // utime and stime, in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}

#[test]
#[ignore = "a measurement"]
fn patch() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !data.join("open_ms").is_dir() {
        println!("skipped: no data");
        return;
    }
    let start = cpu();
    let material = Arc::new(Material::load(&data, Fold::default()).unwrap());
    println!("load {:.1} s", cpu() - start);
    let config = DataConfig::default();
    let mut times = std::collections::BTreeMap::<&str, (f64, usize)>::new();
    let mut timed = |name: &'static str, since: f64| {
        let entry = times.entry(name).or_default();
        entry.0 += cpu() - since;
        entry.1 += 1;
    };
    for i in 0..12 {
        let mut rng = stream(7, Purpose::Case, i);
        let origin = [Origin::Real, Origin::Painted, Origin::Synthetic][i as usize % 3];
        let t = cpu();
        let head = case::draw_head(&mut rng, &material, &DataConfig::default(), origin).unwrap();
        timed(["draw real", "draw painted", "draw synthetic"][i as usize % 3], t);
        let kind = surround::draw(&mut rng, &config.surround);
        let head = if kind == surround::Kind::Head {
            head
        } else {
            head.cut_to_brain(12)
        };
        let t = cpu();
        let head = geometry::vary(&mut rng, head, &config.geometry);
        timed("geometry", t);
        let t = cpu();
        let head = surround::surround(&mut rng, head, kind);
        timed("surround", t);
        let t = cpu();
        let head = acquisition::acquire(&mut rng, head, &config.acquisition, true);
        timed("acquisition", t);
        let t = cpu();
        let _ = Case::from_head(head, origin);
        timed("normalise", t);
    }
    for (name, (sum, n)) in times {
        println!("{name}: {:.2} s", sum / n as f64);
    }
    let sampler = Sampler::new(Arc::clone(&material), config, Fold::default(), 1).unwrap();
    let count = 192;
    // The first cases have to be made before the first patches; after that one case is made every 24 patches.
    for i in 0..8 {
        let _ = sampler.next_patch(i).unwrap();
    }
    let t = cpu();
    for i in 8..8 + count {
        let _ = sampler.next_patch(i).unwrap();
    }
    println!(
        "{:.1} ms a patch over {count}",
        1000.0 * (cpu() - t) / f64::from(count as u32)
    );
}

/// Where white matter and lesions lie after normalisation, over made cases and over the labelled patients as they are.
#[test]
#[ignore = "a measurement"]
fn levels() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !data.join("open_ms").is_dir() {
        println!("skipped: no data");
        return;
    }
    let material = Material::load(&data, Fold::default()).unwrap();
    let config = DataConfig::default();
    let median = |mut v: Vec<f32>| equipoise::learn::field::median(&mut v).unwrap_or(f32::NAN);
    let report = |name: &str, head: equipoise::learn::head::Head| {
        let tissue = head.tissue.clone();
        let raw = equipoise::volume::Volume {
            grid: equipoise::volume::Grid {
                shape: head.shape,
                affine: nalgebra::Matrix4::identity(),
            },
            data: head.images[0].clone(),
        };
        let inside = equipoise::volume::intensity::foreground(&raw);
        let mut values: Vec<f32> = raw
            .data
            .iter()
            .zip(&inside)
            .filter(|(_, f)| **f)
            .map(|(v, _)| *v)
            .collect();
        values.sort_unstable_by(f32::total_cmp);
        // Two classes of the foreground by k-means: dark (air, bone, fluid) and tissue.
        let mut cut = values[values.len() / 2];
        for _ in 0..30 {
            let k = values.partition_point(|v| *v < cut);
            let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len().max(1) as f32;
            cut = 0.5 * (mean(&values[..k]) + mean(&values[k..]));
        }
        let k = values.partition_point(|v| *v < cut);
        let middle = values[k + (values.len() - k) / 2];
        let relative = |wanted: &dyn Fn(usize) -> bool| {
            median(
                (0..tissue.len())
                    .filter(|&i| wanted(i))
                    .map(|i| raw.data[i] / middle)
                    .collect(),
            )
        };
        let case = Case::from_head(head, Origin::Real);
        let of = |c: usize, wanted: &dyn Fn(usize) -> bool| {
            median(
                (0..tissue.len())
                    .filter(|&i| wanted(i))
                    .map(|i| case.images[c][i])
                    .collect(),
            )
        };
        let white = |i: usize| tissue[i] == 3 && !case.lesions[i];
        let grey = |i: usize| tissue[i] == 2 && !case.lesions[i];
        println!(
            "   relative: white {:.2} grey {:.2} lesion {:.2}",
            relative(&white),
            relative(&grey),
            relative(&|i| case.lesions[i])
        );
        println!(
            "{name}: FLAIR white {:.2} grey {:.2} lesion {:.2} | T1 white {:.2} grey {:.2} lesion {:.2}",
            of(0, &white),
            of(0, &grey),
            of(0, &|i| case.lesions[i]),
            of(1, &white),
            of(1, &grey),
            of(1, &|i| case.lesions[i]),
        );
    };
    for patient in &material.labelled {
        report(
            &format!("sub-{:02}", patient.patient),
            case::head_of(patient).cut_to_brain(12),
        );
    }
    for i in 0..18 {
        let mut rng = stream(11, Purpose::Case, i);
        let origin = [Origin::Real, Origin::Painted, Origin::Synthetic][i as usize % 3];
        let head = case::draw_head(&mut rng, &material, &DataConfig::default(), origin).unwrap();
        let kind = surround::draw(&mut rng, &config.surround);
        let head = if kind == surround::Kind::Head {
            head
        } else {
            head.cut_to_brain(12)
        };
        let head = geometry::vary(&mut rng, head, &config.geometry);
        let head = surround::surround(&mut rng, head, kind);
        let head = acquisition::acquire(&mut rng, head, &config.acquisition, kind == surround::Kind::Head);
        report(&format!("{origin:?} {kind:?}"), head);
    }
}
