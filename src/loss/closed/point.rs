//! Losses at one operating point, as they are drawn on paper: from the counts alone, without a volume.
//!
//! A patch of n voxels, of which TP + FN are lesion, is told by its soft counts. Every loss here is a function of them
//! (or of n), so the gradient that a voxel receives has a closed form that a slider can follow.

use super::{FocalSettings, TverskyWeights};

/// Soft numbers of voxels: sums of probabilities, so they need not be whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts {
    /// sum p g.
    pub tp: f64,
    /// sum p (1 - g).
    pub fp: f64,
    /// sum (1 - p) g.
    pub fn_: f64,
}

impl Counts {
    /// TP / (TP + FP); `None` if nothing is marked.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        ratio(self.tp, self.tp + self.fp)
    }

    /// TP / (TP + FN); `None` if there is no lesion.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        ratio(self.tp, self.tp + self.fn_)
    }

    /// TP / (TP + a FP + (1 - a) FN) with the weights of [`TverskyWeights::of_beta`]; `None` if all three are 0.
    #[must_use]
    pub fn f_beta(&self, beta: f64) -> Option<f64> {
        ratio(self.tp, self.denominator(beta))
    }

    fn denominator(&self, beta: f64) -> f64 {
        let weights = TverskyWeights::of_beta(beta);
        self.tp + weights.false_positive * self.fp + weights.false_negative * self.fn_
    }
}

/// F_beta = (1 + b^2) precision recall / (b^2 precision + recall); `None` if both are 0.
#[must_use]
pub fn f_beta_of(precision: f64, recall: f64, beta: f64) -> Option<f64> {
    let b2 = beta * beta;
    ratio((1.0 + b2) * precision * recall, b2 * precision + recall)
}

/// The recall that, with this precision, makes F_beta equal to `f`: a point of an iso-line.
///
/// ```text
/// R = f b^2 P / ((1 + b^2) P - f)
/// ```
///
/// `None` where the line does not run: that recall would be negative or above 1.
#[must_use]
pub fn iso_recall(f: f64, precision: f64, beta: f64) -> Option<f64> {
    let b2 = beta * beta;
    let recall = ratio(f * b2 * precision, (1.0 + b2) * precision - f)?;
    (0.0..=1.0).contains(&recall).then_some(recall)
}

/// The smallest precision of the iso-line of `f`, which it has at a recall of 1: f / (1 + b^2 - f b^2).
#[must_use]
pub fn iso_least_precision(f: f64, beta: f64) -> f64 {
    let b2 = beta * beta;
    f / (1.0 + b2 - f * b2)
}

/// dL/dp of two voxels: how a loss pulls at their probabilities. Descent goes against the sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pull {
    /// Of a missed lesion voxel (g = 1): negative, its probability shall rise.
    pub missed: f64,
    /// Of a falsely marked voxel (g = 0): positive, its probability shall fall.
    pub falsely_marked: f64,
}

/// The pull of 1 - F_beta (without smoothing), the same on every voxel of its kind, whatever its probability and however
/// much background there is. `None` where F_beta has no value.
///
/// ```text
/// a = 1 / (1 + b^2),  D = TP + a FP + (1 - a) FN
/// missed: (a TP - D) / D^2,  falsely marked: a TP / D^2
/// ```
#[must_use]
pub fn f_beta_pull(counts: &Counts, beta: f64) -> Option<Pull> {
    let a = TverskyWeights::of_beta(beta).false_positive;
    let d = counts.denominator(beta);
    Some(Pull {
        missed: ratio(a * counts.tp - d, d * d)?,
        falsely_marked: ratio(a * counts.tp, d * d)?,
    })
}

/// The pull of the mean cross-entropy over `voxels` on two voxels that give their true class the probability `wrong`.
#[must_use]
pub fn cross_entropy_pull(voxels: f64, wrong: f64) -> Pull {
    let slope = 1.0 / (wrong * voxels);
    Pull {
        missed: -slope,
        falsely_marked: slope,
    }
}

/// The pull of the mean focal loss over `voxels` on two voxels that give their true class the probability `wrong`.
///
/// ```text
/// d/dq of -(1 - q)^gamma log q = gamma (1 - q)^(gamma - 1) log q - (1 - q)^gamma / q
/// ```
#[must_use]
pub fn focal_pull(voxels: f64, wrong: f64, settings: &FocalSettings) -> Pull {
    let FocalSettings {
        alpha,
        gamma,
        epsilon,
    } = *settings;
    let (sure, price) = (1.0 - wrong, wrong + epsilon);
    let slope = gamma * sure.powf(gamma - 1.0) * price.ln() - sure.powf(gamma) / price;
    Pull {
        missed: alpha * slope / voxels,
        falsely_marked: -(1.0 - alpha) * slope / voxels,
    }
}

fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (denominator != 0.0).then(|| numerator / denominator)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::cases;
    use super::super::{cross_entropy, f_beta, focal};
    use super::*;

    fn counts(p: &[f64], g: &[f64]) -> Counts {
        let sum = |f: &dyn Fn(f64, f64) -> f64| p.iter().zip(g).map(|(&p, &g)| f(p, g)).sum();
        Counts {
            tp: sum(&|p, g| p * g),
            fp: sum(&|p, g| p * (1.0 - g)),
            fn_: sum(&|p, g| (1.0 - p) * g),
        }
    }

    /// The slope of `f` at `x` by central differences.
    fn slope(x: f64, f: impl Fn(f64) -> f64) -> f64 {
        let h = 1e-6;
        (f(x + h) - f(x - h)) / (2.0 * h)
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-5 * (1.0 + a.abs().max(b.abs()))
    }

    #[test]
    fn a_hand_made_point() {
        let at = Counts {
            tp: 60.0,
            fp: 20.0,
            fn_: 40.0,
        };
        assert_eq!((at.precision(), at.recall()), (Some(0.75), Some(0.6)));
        // F_2 = 5 TP / (5 TP + 4 FN + FP) = 300 / 480.
        assert!((at.f_beta(2.0).unwrap() - 0.625).abs() < 1e-15);
        let pull = f_beta_pull(&at, 2.0).unwrap();
        // D = 60 + 4 + 32 = 96, a = 0.2: (12 - 96) / 9216 and 12 / 9216.
        assert!((pull.missed + 84.0 / 9216.0).abs() < 1e-15);
        assert!((pull.falsely_marked - 12.0 / 9216.0).abs() < 1e-15);
    }

    #[test]
    fn nothing_has_no_value() {
        let nothing = Counts {
            tp: 0.0,
            fp: 0.0,
            fn_: 0.0,
        };
        assert_eq!(
            (nothing.precision(), nothing.recall(), nothing.f_beta(1.0)),
            (None, None, None)
        );
        assert_eq!(f_beta_pull(&nothing, 1.0), None);
        assert_eq!(f_beta_of(0.0, 0.0, 1.5), None);
    }

    proptest! {
        #[test]
        fn counts_and_both_definitions_agree((p, g) in cases(), beta in 0.3..4.0_f64) {
            let at = counts(&p, &g);
            prop_assume!(at.tp > 1e-3);
            let f = at.f_beta(beta).unwrap();
            prop_assert!((f - (1.0 - f_beta(&p, &g, beta, 0.0).value)).abs() < 1e-12);
            let of = f_beta_of(at.precision().unwrap(), at.recall().unwrap(), beta).unwrap();
            prop_assert!((f - of).abs() < 1e-12);
        }

        #[test]
        fn an_iso_line_has_one_value(f in 0.02..0.98_f64, beta in 0.3..4.0_f64, along in 0.0..1.0_f64) {
            let least = iso_least_precision(f, beta);
            prop_assert!((f_beta_of(least, 1.0, beta).unwrap() - f).abs() < 1e-12);
            // From there to a precision of 1 the line runs within the square.
            let precision = least + (1.0 - least) * (1e-9 + along * (1.0 - 1e-9));
            let recall = iso_recall(f, precision, beta).unwrap();
            prop_assert!((f_beta_of(precision, recall, beta).unwrap() - f).abs() < 1e-9);
            prop_assert_eq!(iso_recall(f, least * 0.99, beta), None);
        }

        /// Finite differences of F_beta in one voxel's probability: a lesion voxel moves TP against FN, background FP.
        #[test]
        fn f_beta_pulls_as_it_slopes(tp in 1.0..500.0_f64, fp in 0.0..500.0_f64, fn_ in 0.0..500.0_f64, beta in 0.5..3.0_f64) {
            let at = Counts { tp, fp, fn_ };
            let pull = f_beta_pull(&at, beta).unwrap();
            let missed = slope(0.0, |p| 1.0 - Counts { tp: tp + p, fn_: fn_ - p, fp }.f_beta(beta).unwrap());
            let marked = slope(0.0, |p| 1.0 - Counts { fp: fp + p, ..at }.f_beta(beta).unwrap());
            prop_assert!(close(pull.missed, missed), "{} {missed}", pull.missed);
            prop_assert!(close(pull.falsely_marked, marked), "{} {marked}", pull.falsely_marked);
            prop_assert!(pull.missed < 0.0 && pull.falsely_marked > 0.0);
        }

        #[test]
        fn pulls_are_the_gradients_of_the_closed_forms((p, g) in cases(), beta in 0.5..3.0_f64, wrong in 0.02..0.98_f64) {
            let (mut p, mut g) = (p, g);
            // A missed and a falsely marked voxel among the others.
            p.extend([wrong, 1.0 - wrong]);
            g.extend([1.0, 0.0]);
            let n = p.len();
            let same = |pull: Pull, gradient: &[f64]| {
                (pull.missed - gradient[n - 2]).abs() < 1e-9 * (1.0 + pull.missed.abs())
                    && (pull.falsely_marked - gradient[n - 1]).abs() < 1e-9 * (1.0 + pull.falsely_marked.abs())
            };
            let pull = f_beta_pull(&counts(&p, &g), beta).unwrap();
            prop_assert!(same(pull, &f_beta(&p, &g, beta, 0.0).gradient));
            prop_assert!(same(cross_entropy_pull(n as f64, wrong), &cross_entropy(&p, &g, 0.0).gradient));
            let settings = FocalSettings { epsilon: 0.0, ..FocalSettings::default() };
            prop_assert!(same(focal_pull(n as f64, wrong, &settings), &focal(&p, &g, &settings).gradient));
        }
    }
}
