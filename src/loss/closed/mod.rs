//! The loss functions in closed form, in f64: value and gradient with respect to the lesion probabilities.
//!
//! They are the references for the versions on tensors, and small enough to be checked against the papers by
//! eye. Throughout, `p` holds lesion probabilities within 0 and 1, `g` the labels (1 lesion, 0 background; soft
//! labels between are allowed), and all voxels of a batch are taken together. A gradient is with respect to `p`;
//! through the sigmoid it is multiplied by p (1 - p).
//!
//! # Panics
//! All functions panic if `p` and `g` differ in length: that is a mistake of the caller, not of any input.

mod cross_entropy;
mod f_beta;
mod focal;
mod generalized_dice;
pub mod point;

pub use cross_entropy::cross_entropy;
pub use f_beta::{TverskyWeights, dice, f_beta};
pub use focal::{FocalSettings, focal};
pub use generalized_dice::{GENERALIZED_DICE_SMOOTH, generalized_dice};

/// Added to a probability before its logarithm is taken, so that a sure mistake has a finite price.
pub const LOG_EPSILON: f64 = 1e-8;

/// A loss and its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct LossGrad {
    /// The loss.
    pub value: f64,
    /// Its derivative with respect to each probability.
    pub gradient: Vec<f64>,
}

/// Pairs of probability and label.
fn pairs<'a>(p: &'a [f64], g: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    assert_eq!(p.len(), g.len(), "as many probabilities as labels are needed");
    p.iter().copied().zip(g.iter().copied())
}

#[cfg(test)]
mod testing {
    use super::LossGrad;
    use proptest::prelude::*;

    /// Probabilities away from the ends, where finite differences have room, and their labels.
    pub(super) fn cases() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
        proptest::collection::vec((0.02..0.98_f64, any::<bool>()), 1..30).prop_map(|voxels| {
            voxels
                .into_iter()
                .map(|(p, g)| (p, f64::from(u8::from(g))))
                .unzip()
        })
    }

    /// Compares a gradient with central differences.
    pub(super) fn assert_gradient(p: &[f64], loss: impl Fn(&[f64]) -> LossGrad) {
        let h = 1e-5;
        let found = loss(p);
        assert_eq!(found.gradient.len(), p.len());
        for index in 0..p.len() {
            let shifted = |by: f64| {
                let mut p = p.to_vec();
                p[index] += by;
                loss(&p).value
            };
            let expected = (shifted(h) - shifted(-h)) / (2.0 * h);
            // Truncation is h^2 times a third derivative, rounding 1e-16 / h times the value.
            let tolerance = 1e-6 * (1.0 + expected.abs());
            assert!(
                (found.gradient[index] - expected).abs() < tolerance,
                "voxel {index} of {p:?}: {} but finite differences give {expected}",
                found.gradient[index]
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "as many probabilities as labels")]
    fn lengths_must_agree() {
        let _ = dice(&[0.5, 0.5], &[1.0], 1.0);
    }

    /// All losses have their minimum at the labels and fall towards it.
    #[test]
    fn right_answers_cost_less() {
        type Loss = fn(&[f64], &[f64]) -> LossGrad;
        let losses: [(&str, Loss); 5] = [
            ("F_1.5", |p, g| f_beta(p, g, 1.5, 1.0)),
            ("Dice", |p, g| dice(p, g, 0.0)),
            ("focal", |p, g| focal(p, g, &FocalSettings::default())),
            ("generalized Dice", |p, g| {
                generalized_dice(p, g, GENERALIZED_DICE_SMOOTH)
            }),
            ("cross-entropy", |p, g| cross_entropy(p, g, LOG_EPSILON)),
        ];
        let g = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let answer = |sure: f64| g.map(|g| g * sure + (1.0 - g) * (1.0 - sure));
        for (name, loss) in losses {
            let values = [0.1, 0.3, 0.5, 0.7, 0.9, 1.0].map(|sure| loss(&answer(sure), &g).value);
            assert!(values.windows(2).all(|w| w[0] > w[1]), "{name}: {values:?}");
            assert!(values[5].abs() < 1e-7, "{name}: {values:?}");
        }
    }
}
