//! The asymmetric loss 1 - F_beta, and Dice as its symmetric case.

use super::{LossGrad, pairs};

/// What a false and what a missed lesion voxel cost, as the weights of a Tversky index that add up to one.
///
/// Several public ports exchange the two. The check: larger beta makes *missed* voxels dearer, so recall rises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TverskyWeights {
    /// Weight of false positives, 1 / (1 + b^2) (Tversky's alpha).
    pub false_positive: f64,
    /// Weight of false negatives, b^2 / (1 + b^2) (Tversky's beta).
    pub false_negative: f64,
}

impl TverskyWeights {
    /// The weights of F_beta (Hashemi et al., IEEE Access 7, 2019, Eq. 3).
    #[must_use]
    pub fn of_beta(beta: f64) -> Self {
        let b2 = beta * beta;
        Self {
            false_positive: 1.0 / (1.0 + b2),
            false_negative: b2 / (1.0 + b2),
        }
    }
}

/// The asymmetric similarity loss, 1 - F_beta (Hashemi et al. 2019).
///
/// ```text
/// TP = sum p g,  FP = sum p (1 - g),  FN = sum (1 - p) g,  a = 1 / (1 + b^2)
/// F_beta = (TP + s) / (TP + a FP + (1 - a) FN + s)
///        = (TP + s) / (a sum p + (1 - a) sum g + s)
/// dF_beta/dp_i = (g_i D - a N) / D^2,  N and D being numerator and denominator
/// ```
///
/// `smooth` is s, in voxels. With it an empty patch that is left empty costs nothing, and the loss is smooth
/// there. Without it (s = 0) that case is 0/0: the loss is then taken as 0 with a gradient of 0.
///
/// # Panics
/// If `p` and `g` differ in length.
#[must_use]
pub fn f_beta(p: &[f64], g: &[f64], beta: f64, smooth: f64) -> LossGrad {
    let a = TverskyWeights::of_beta(beta).false_positive;
    let [mut overlap, mut sum_p, mut sum_g] = [0.0; 3];
    for (p, g) in pairs(p, g) {
        overlap += p * g;
        sum_p += p;
        sum_g += g;
    }
    let numerator = overlap + smooth;
    let denominator = a * sum_p + (1.0 - a) * sum_g + smooth;
    if denominator == 0.0 {
        return LossGrad {
            value: 0.0,
            gradient: vec![0.0; p.len()],
        };
    }
    LossGrad {
        value: 1.0 - numerator / denominator,
        gradient: g
            .iter()
            .map(|g| (a * numerator - g * denominator) / denominator.powi(2))
            .collect(),
    }
}

/// The soft Dice loss, 1 - F_1 = 1 - (2 TP + 2 s) / (sum p + sum g + 2 s).
///
/// Mind the smoothing when comparing: codes that add 1 to numerator and denominator of 2 TP / (sum p + sum g) use
/// s = 0.5.
///
/// # Panics
/// If `p` and `g` differ in length.
#[must_use]
pub fn dice(p: &[f64], g: &[f64], smooth: f64) -> LossGrad {
    f_beta(p, g, 1.0, smooth)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradient, cases};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_published_weights() {
        // Beta, false positive, false negative, to the four digits of the paper's table.
        for (beta, fp, fn_) in [
            (1.0, 0.5, 0.5),
            (1.2, 0.4098, 0.5902),
            (1.5, 0.3077, 0.6923),
            (2.0, 0.2, 0.8),
            (2.5, 0.1379, 0.8621),
            (3.0, 0.1, 0.9),
        ] {
            let weights = TverskyWeights::of_beta(beta);
            assert!((weights.false_positive - fp).abs() < 5e-5, "{beta}: {weights:?}");
            assert!((weights.false_negative - fn_).abs() < 5e-5, "{beta}: {weights:?}");
        }
    }

    #[test]
    fn a_missed_voxel_costs_more_than_a_false_one() {
        let g = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let missed = f_beta(&[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], &g, 2.0, 0.0).value;
        let false_ = f_beta(&[1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0], &g, 2.0, 0.0).value;
        // F_2 = 5 TP / (5 TP + 4 FN + FP).
        assert!((missed - (1.0 - 15.0 / 19.0)).abs() < 1e-15);
        assert!((false_ - (1.0 - 20.0 / 21.0)).abs() < 1e-15);
    }

    #[test]
    fn an_empty_patch_is_free_and_smoothing_decides_how_false_voxels_cost() {
        assert_eq!(f_beta(&[0.0; 3], &[0.0; 3], 1.5, 1.0).value, 0.0);
        assert_eq!(
            f_beta(&[0.0; 3], &[0.0; 3], 1.5, 0.0),
            LossGrad {
                value: 0.0,
                gradient: vec![0.0; 3]
            }
        );
        // One false voxel: 1 - 1 / (0.5 + 1) with s = 1, all of 1 without.
        assert!((dice(&[1.0, 0.0], &[0.0; 2], 1.0).value - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!(dice(&[1.0, 0.0], &[0.0; 2], 0.0).value, 1.0);
    }

    proptest! {
        #[test]
        fn gradient((p, g) in cases(), beta in 0.5..3.0_f64, smooth in 0.1..2.0_f64) {
            assert_gradient(&p, |p| f_beta(p, &g, beta, smooth));
        }

        /// Through precision and recall, the definition of F_beta.
        #[test]
        fn equals_the_harmonic_mean_of_precision_and_recall((p, g) in cases(), beta in 0.5..3.0_f64) {
            let tp: f64 = p.iter().zip(&g).map(|(p, g)| p * g).sum();
            let fp: f64 = p.iter().zip(&g).map(|(p, g)| p * (1.0 - g)).sum();
            let fn_: f64 = p.iter().zip(&g).map(|(p, g)| (1.0 - p) * g).sum();
            prop_assume!(tp > 0.0);
            let (precision, recall) = (tp / (tp + fp), tp / (tp + fn_));
            let b2 = beta * beta;
            let expected = (1.0 + b2) * precision * recall / (b2 * precision + recall);
            prop_assert!((1.0 - f_beta(&p, &g, beta, 0.0).value - expected).abs() < 1e-12);
        }

        #[test]
        fn dice_is_symmetric((p, g) in cases()) {
            prop_assert!((dice(&p, &g, 1.0).value - dice(&g, &p, 1.0).value).abs() < 1e-15);
        }

        #[test]
        fn lesion_voxels_pull_up_and_background_pulls_down((p, g) in cases(), beta in 1.0..3.0_f64) {
            prop_assume!(g.contains(&1.0));
            for (d, g) in f_beta(&p, &g, beta, 1.0).gradient.into_iter().zip(g) {
                prop_assert_eq!(d < 0.0, g == 1.0, "{}", d);
            }
        }
    }
}
