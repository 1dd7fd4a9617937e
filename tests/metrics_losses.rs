//! The losses against their definitions (`golden/loss.py`) and against the metric of the same name; and beta does
//! what it is for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use equipoise::loss::closed::{FocalSettings, LossGrad, cross_entropy, f_beta, focal, generalized_dice};
use equipoise::metrics::Confusion;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Case {
    loss: String,
    parameters: BTreeMap<String, f64>,
    p: Vec<f64>,
    g: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

impl Case {
    fn run(&self) -> LossGrad {
        let Self {
            p,
            g,
            parameters: with,
            ..
        } = self;
        match self.loss.as_str() {
            "f_beta" => f_beta(p, g, with["beta"], with["smooth"]),
            "focal" => {
                let [alpha, gamma, epsilon] = ["alpha", "gamma", "epsilon"].map(|name| with[name]);
                focal(
                    p,
                    g,
                    &FocalSettings {
                        alpha,
                        gamma,
                        epsilon,
                    },
                )
            }
            "generalized_dice" => generalized_dice(p, g, with["smooth"]),
            "cross_entropy" => cross_entropy(p, g, with["epsilon"]),
            other => panic!("no loss is called {other}"),
        }
    }
}

#[test]
fn values_and_gradients_are_those_of_the_definitions() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden/loss.json")).unwrap();
    assert_eq!(cases.len(), 24);
    for case in cases {
        let found = case.run();
        let what = format!("{} with {:?}", case.loss, case.parameters);
        let close = |found: f64, expected: f64| (found - expected).abs() < 1e-12 * (1.0 + expected.abs());
        assert!(
            close(found.value, case.value),
            "{what}: {} != {}",
            found.value,
            case.value
        );
        assert_eq!(found.gradient.len(), case.gradient.len());
        for (found, expected) in found.gradient.iter().zip(case.gradient) {
            assert!(close(*found, expected), "{what}: gradient {found} != {expected}");
        }
    }
}

fn numbers(mask: &[bool]) -> Vec<f64> {
    mask.iter().map(|&inside| f64::from(u8::from(inside))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// On masks the soft index is the metric of the same name.
    #[test]
    fn the_loss_of_a_mask_is_one_minus_its_score(
        voxels in proptest::collection::vec((any::<bool>(), any::<bool>()), 1..40), beta in 0.5..3.0_f64,
    ) {
        let (automatic, reference): (Vec<bool>, Vec<bool>) = voxels.into_iter().unzip();
        let loss = f_beta(&numbers(&automatic), &numbers(&reference), beta, 0.0).value;
        let score = Confusion::new(&reference, &automatic).unwrap().f_beta(beta);
        prop_assert!((loss - (1.0 - score.unwrap_or(1.0))).abs() < 1e-12);
    }
}

/// A logistic model of two noisy features, trained on 1 - F_beta by gradient descent; its precision and recall
/// on the training set at 0.5.
fn precision_and_recall(beta: f64, seed: u64) -> [f64; 2] {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut noise = |shift: f64| {
        let value: f64 = StandardNormal.sample(&mut rng);
        value + shift
    };
    // One in ten is lesion, one standard deviation apart from the background in each feature.
    let lesion: Vec<bool> = (0..3000).map(|index| index % 10 == 0).collect();
    let features: Vec<[f64; 2]> = lesion
        .iter()
        .map(|&lesion| {
            let shift = f64::from(u8::from(lesion));
            [noise(shift), noise(shift)]
        })
        .collect();
    let labels = numbers(&lesion);

    let mut weights = [0.0; 3];
    let mut probability = vec![0.0; labels.len()];
    for _ in 0..2000 {
        for (p, [x, y]) in probability.iter_mut().zip(&features) {
            *p = 1.0 / (1.0 + (-(weights[0] * x + weights[1] * y + weights[2])).exp());
        }
        let slope = f_beta(&probability, &labels, beta, 1.0).gradient;
        let mut step = [0.0; 3];
        for ((slope, p), [x, y]) in slope.iter().zip(&probability).zip(&features) {
            for (step, input) in step.iter_mut().zip([*x, *y, 1.0]) {
                *step += slope * p * (1.0 - p) * input;
            }
        }
        for (weight, step) in weights.iter_mut().zip(step) {
            *weight -= 2.0 * step;
        }
    }
    let found: Vec<bool> = probability.iter().map(|&p| p >= 0.5).collect();
    let confusion = Confusion::new(&lesion, &found).unwrap();
    [confusion.ppv().unwrap(), confusion.tpr().unwrap()]
}

/// Exchanging the two Tversky weights turns beta into 1 / beta: beta = 1/3 stands for that mistake here, and it
/// must lie on the other side of Dice.
#[test]
fn larger_beta_raises_recall_and_lowers_precision() {
    for seed in [1, 2, 3] {
        let runs = [1.0 / 3.0, 1.0, 1.5, 3.0].map(|beta| precision_and_recall(beta, seed));
        eprintln!("precision and recall at beta 1/3, 1, 1.5, 3: {runs:.3?}");
        for pair in runs.windows(2) {
            assert!(
                pair[1][1] > pair[0][1] + 0.03,
                "recall must rise with beta: {runs:.3?}"
            );
            assert!(
                pair[1][0] < pair[0][0] - 0.01,
                "precision must fall with beta: {runs:.3?}"
            );
        }
    }
}
