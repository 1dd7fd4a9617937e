//! The generalized Dice loss (Sudre et al., DLMIA 2017).

use super::{LossGrad, pairs};

/// MONAI's default smoothing of numerator and denominator.
pub const GENERALIZED_DICE_SMOOTH: f64 = 1e-5;

/// The generalized Dice loss of the two classes lesion (probability p) and background (1 - p), all voxels taken
/// together.
///
/// ```text
/// n_l = sum of the labels of class l,  w_l = 1 / n_l^2
/// GDL = 1 - (2 sum_l w_l sum r_l q_l + s) / (sum_l w_l sum (r_l + q_l) + s)
/// ```
///
/// with r_l and q_l the labels and probabilities of class l. As in MONAI's `GeneralizedDiceLoss` (`w_type`
/// "square", `batch=True`, both channels), the infinite weight of a class that does not occur is replaced by the
/// largest finite one, and `smooth` is s in numerator and denominator, 1e-5 by default there.
///
/// The weights are tiny where classes are large: in a patch of 64^3 voxels without lesion both are 1.5e-11, and
/// s = 1e-5 outweighs the sums. A loss with an absolute s is not the same for another patch size.
///
/// # Panics
/// If `p` and `g` differ in length.
#[must_use]
pub fn generalized_dice(p: &[f64], g: &[f64], smooth: f64) -> LossGrad {
    let voxels = p.len() as f64;
    let [mut overlap, mut sum_p, mut sum_g] = [0.0; 3];
    for (p, g) in pairs(p, g) {
        overlap += p * g;
        sum_p += p;
        sum_g += g;
    }
    let [lesion, background] = class_weights(sum_g, voxels - sum_g);
    // sum (1 - g)(1 - p), and the two sums of the background.
    let background_overlap = voxels - sum_p - sum_g + overlap;
    let background_total = 2.0 * voxels - sum_p - sum_g;
    let numerator = 2.0 * (lesion * overlap + background * background_overlap) + smooth;
    let denominator = lesion * (sum_p + sum_g) + background * background_total + smooth;
    if denominator == 0.0 {
        return LossGrad {
            value: 0.0,
            gradient: vec![0.0; p.len()],
        };
    }
    let slope = |g: f64| {
        let d_numerator = 2.0 * (lesion * g - background * (1.0 - g));
        let d_denominator = lesion - background;
        (numerator * d_denominator - d_numerator * denominator) / denominator.powi(2)
    };
    LossGrad {
        value: 1.0 - numerator / denominator,
        gradient: g.iter().map(|&g| slope(g)).collect(),
    }
}

/// 1 / n^2 for lesion and background; a class that does not occur gets the other's weight.
fn class_weights(lesion: f64, background: f64) -> [f64; 2] {
    let weight = |n: f64| (n > 0.0).then(|| 1.0 / (n * n));
    let (w1, w0) = (weight(lesion), weight(background));
    [w1.or(w0).unwrap_or(0.0), w0.or(w1).unwrap_or(0.0)]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_gradient, cases};
    use super::*;
    use proptest::prelude::*;

    /// The definition, class by class.
    fn by_definition(p: &[f64], g: &[f64], smooth: f64) -> f64 {
        let classes: [Vec<(f64, f64)>; 2] = [
            p.iter().zip(g).map(|(&p, &g)| (p, g)).collect(),
            p.iter().zip(g).map(|(&p, &g)| (1.0 - p, 1.0 - g)).collect(),
        ];
        let sizes = classes
            .each_ref()
            .map(|class| class.iter().map(|(_, r)| r).sum::<f64>());
        let mut weights = sizes.map(|n| 1.0 / (n * n));
        let largest = weights
            .iter()
            .copied()
            .filter(|w| w.is_finite())
            .fold(0.0, f64::max);
        for w in &mut weights {
            if w.is_infinite() {
                *w = largest;
            }
        }
        let sum = |f: fn(&(f64, f64)) -> f64| -> f64 {
            classes
                .iter()
                .zip(weights)
                .map(|(class, w)| w * class.iter().map(f).sum::<f64>())
                .sum()
        };
        1.0 - (2.0 * sum(|(q, r)| q * r) + smooth) / (sum(|(q, r)| q + r) + smooth)
    }

    #[test]
    fn an_absent_class_gets_the_largest_finite_weight() {
        assert_eq!(class_weights(0.0, 4.0), [1.0 / 16.0; 2]);
        assert_eq!(class_weights(2.0, 0.0), [1.0 / 4.0; 2]);
        assert_eq!(class_weights(1.0, 2.0), [1.0, 1.0 / 4.0]);
        assert_eq!(class_weights(0.0, 0.0), [0.0; 2]);
    }

    #[test]
    fn an_empty_batch_costs_nothing() {
        assert_eq!(generalized_dice(&[], &[], 0.0).value, 0.0);
        assert_eq!(generalized_dice(&[], &[], 1e-5).value, 0.0);
    }

    #[test]
    fn a_rare_lesion_voxel_outweighs_many_of_the_background() {
        let g = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let slope = generalized_dice(&[0.5; 10], &g, 0.0).gradient;
        assert!(
            slope[0] < 0.0 && slope[0].abs() > slope[1..].iter().map(|d| d.abs()).sum(),
            "{slope:?}"
        );
    }

    proptest! {
        #[test]
        fn equals_its_definition((p, g) in cases(), smooth in 0.0..0.1_f64) {
            prop_assert!((generalized_dice(&p, &g, smooth).value - by_definition(&p, &g, smooth)).abs() < 1e-12);
        }

        #[test]
        fn gradient((p, g) in cases(), smooth in 1e-5..0.1_f64) {
            assert_gradient(&p, |p| generalized_dice(p, &g, smooth));
        }

        /// Lesion and background are classes like any other.
        #[test]
        fn exchanging_the_classes_changes_nothing((p, g) in cases()) {
            let other = |values: &[f64]| values.iter().map(|v| 1.0 - v).collect::<Vec<_>>();
            let (one, two) = (generalized_dice(&p, &g, 1e-5), generalized_dice(&other(&p), &other(&g), 1e-5));
            prop_assert!((one.value - two.value).abs() < 1e-12);
            for (a, b) in one.gradient.iter().zip(two.gradient) {
                prop_assert!((a + b).abs() < 1e-9 * (1.0 + a.abs()));
            }
        }
    }
}
