//! Components and metrics against scipy, scikit-learn and lesion-metrics (`golden/metrics.py`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use equipoise::metrics::{IsbiLesions, MssegLesions, MssegSettings, PrCurve, Settings, evaluate};
use equipoise::volume::components::{Connectivity, Labels, label};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Golden {
    components: Vec<ComponentsCase>,
    voxelwise: Vec<VoxelCase>,
    lesionwise: Vec<LesionCase>,
}

#[derive(Deserialize)]
struct ComponentsCase {
    shape: [usize; 3],
    mask: String,
    labels: BTreeMap<u8, GoldenLabels>,
}

#[derive(Deserialize)]
struct GoldenLabels {
    labels: Vec<u32>,
    sizes: Vec<usize>,
}

#[derive(Deserialize)]
struct VoxelCase {
    shape: [usize; 3],
    reference: String,
    probability: Vec<f32>,
    threshold: f32,
    scores: BTreeMap<String, Option<f64>>,
    best_f_beta: Vec<(f64, f64)>,
    curve: Vec<(f32, f64, f64)>,
    reliability: Reliability,
}

#[derive(Deserialize)]
struct Reliability {
    frequency: Vec<f64>,
    mean_probability: Vec<f64>,
    expected_error: f64,
    average_error: f64,
}

#[derive(Deserialize)]
struct LesionCase {
    shape: [usize; 3],
    reference: String,
    automatic: String,
    voxel_volume: f64,
    #[serde(rename = "LTPR")]
    ltpr: Option<f64>,
    #[serde(rename = "LFPR")]
    lfpr: Option<f64>,
    settings: MssegCase,
    msseg: MssegScores,
}

#[derive(Deserialize)]
struct MssegCase {
    connectivity: Connectivity,
    minimum: f64,
    alpha: f64,
    beta: f64,
    gamma: f64,
}

#[derive(Deserialize)]
struct MssegScores {
    reference: usize,
    automatic: usize,
    detected: usize,
    confirmed: usize,
    #[serde(rename = "SensL")]
    sens_l: Option<f64>,
    #[serde(rename = "PPVL")]
    ppv_l: Option<f64>,
    #[serde(rename = "F1")]
    f1: Option<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/metrics.json")).unwrap()
}

fn mask(text: &str) -> Vec<bool> {
    text.bytes().map(|byte| byte == b'1').collect()
}

/// Both sides are f64 sums of the same few hundred terms, in different orders.
#[track_caller]
fn assert_close(what: &str, found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < 1e-12,
        "{what}: {found}, but {expected} expected"
    );
}

#[track_caller]
fn assert_same(what: &str, found: Option<f64>, expected: Option<f64>) {
    match (found, expected) {
        (Some(found), Some(expected)) => assert_close(what, found, expected),
        (found, expected) => assert_eq!(found, expected, "{what}"),
    }
}

#[test]
fn components_are_scipys() {
    for case in golden().components {
        for (neighbours, expected) in case.labels {
            let connectivity = Connectivity::try_from(neighbours).unwrap();
            let found = label(&mask(&case.mask), case.shape, connectivity);
            let expected = Labels {
                labels: expected.labels,
                sizes: expected.sizes,
            };
            assert_eq!(found, expected, "{neighbours} neighbours, shape {:?}", case.shape);
        }
    }
}

#[test]
fn voxelwise_scores_are_scikit_learns() {
    for case in golden().voxelwise {
        let settings = Settings {
            threshold: case.threshold,
            ..Settings::default()
        };
        let reference = mask(&case.reference);
        let found = evaluate(&reference, &case.probability, case.shape, 1.0, &settings).unwrap();
        let json = serde_json::to_value(&found).unwrap();
        for (name, &expected) in &case.scores {
            assert!(json.get(name).is_some(), "{name} is missing");
            assert_same(name, json[name].as_f64(), expected);
        }
        for (best, &(beta, f_beta)) in found.best_thresholds.iter().zip(&case.best_f_beta) {
            assert_eq!(best.beta, beta);
            assert_close("best F_beta", best.f_beta, f_beta);
        }
        assert_eq!(found.best_thresholds.len(), case.best_f_beta.len());

        let points = PrCurve::new(&reference, &case.probability)
            .unwrap()
            .points(usize::MAX);
        assert_eq!(points.len(), case.curve.len());
        for (point, &(threshold, precision, recall)) in points.iter().zip(&case.curve) {
            assert_eq!(point.threshold, threshold);
            assert_close("precision", point.precision, precision);
            assert_close("recall", point.recall, recall);
        }
    }
}

#[test]
fn reliability_is_scikit_learns() {
    for case in golden().voxelwise {
        let settings = Settings::default();
        let found = evaluate(
            &mask(&case.reference),
            &case.probability,
            case.shape,
            1.0,
            &settings,
        )
        .unwrap();
        let bins: Vec<_> = found
            .calibration
            .bins
            .iter()
            .filter(|bin| bin.voxels > 0)
            .collect();
        assert_eq!(bins.len(), case.reliability.frequency.len());
        for (index, bin) in bins.iter().enumerate() {
            assert_same(
                "frequency",
                bin.frequency,
                Some(case.reliability.frequency[index]),
            );
            // The golden means are over the decimal probabilities, ours over their f32 neighbours.
            let difference = bin.mean_probability.unwrap() - case.reliability.mean_probability[index];
            assert!(difference.abs() < 1e-7, "{difference}");
        }
        let errors = [
            (found.calibration.expected_error, case.reliability.expected_error),
            (found.calibration.average_error, case.reliability.average_error),
        ];
        for (found, expected) in errors {
            assert!(
                (found.unwrap() - expected).abs() < 1e-7,
                "{found:?}, but {expected} expected"
            );
        }
    }
}

#[test]
fn lesionwise_scores_are_those_of_lesion_metrics_and_the_msseg_rule() {
    for (index, case) in golden().lesionwise.into_iter().enumerate() {
        let (reference, automatic) = (mask(&case.reference), mask(&case.automatic));
        let isbi = IsbiLesions::new(&reference, &automatic, case.shape, Connectivity::Eighteen).unwrap();
        assert_same("LTPR", isbi.ltpr(), case.ltpr);
        assert_same("LFPR", isbi.lfpr(), case.lfpr);

        let settings = MssegSettings {
            min_volume_mm3: case.settings.minimum,
            alpha: case.settings.alpha,
            beta: case.settings.beta,
            gamma: case.settings.gamma,
            connectivity: case.settings.connectivity,
        };
        let found =
            MssegLesions::new(&reference, &automatic, case.shape, case.voxel_volume, &settings).unwrap();
        let numbers = [found.reference, found.automatic, found.detected, found.confirmed];
        let expected = [
            case.msseg.reference,
            case.msseg.automatic,
            case.msseg.detected,
            case.msseg.confirmed,
        ];
        assert_eq!(
            numbers, expected,
            "case {index}: lesions of both masks, detected, confirmed"
        );
        assert_same("SensL", found.sensitivity(), case.msseg.sens_l);
        assert_same("PPVL", found.ppv(), case.msseg.ppv_l);
        assert_same("lesion F1", found.f1(), case.msseg.f1);
    }
}
