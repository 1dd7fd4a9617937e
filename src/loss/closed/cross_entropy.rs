//! Binary cross-entropy.

use super::{LossGrad, pairs};

/// Binary cross-entropy, averaged over the voxels (0 if there are none):
/// mean of -g log(p + eps) - (1 - g) log(1 - p + eps), in nats.
///
/// `epsilon` bounds the price of a sure mistake; [`LOG_EPSILON`](super::LOG_EPSILON) is usual.
///
/// # Panics
/// If `p` and `g` differ in length.
#[must_use]
pub fn cross_entropy(p: &[f64], g: &[f64], epsilon: f64) -> LossGrad {
    let scale = 1.0 / (p.len().max(1) as f64);
    let mut value = 0.0;
    let gradient = pairs(p, g)
        .map(|(p, g)| {
            let (lesion, background) = (p + epsilon, 1.0 - p + epsilon);
            value -= scale * (g * lesion.ln() + (1.0 - g) * background.ln());
            scale * ((1.0 - g) / background - g / lesion)
        })
        .collect();
    LossGrad { value, gradient }
}

#[cfg(test)]
mod tests {
    use super::super::LOG_EPSILON;
    use super::super::testing::{assert_gradient, cases};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_coin_costs_one_bit() {
        let found = cross_entropy(&[0.5; 4], &[1.0, 0.0, 0.0, 1.0], 0.0);
        assert!((found.value - std::f64::consts::LN_2).abs() < 1e-15);
        assert_eq!(found.gradient, [-0.5, 0.5, 0.5, -0.5]);
    }

    #[test]
    fn a_sure_mistake_has_a_finite_price() {
        let found = cross_entropy(&[0.0, 1.0], &[1.0, 0.0], LOG_EPSILON);
        assert!((found.value + LOG_EPSILON.ln()).abs() < 1e-12, "{found:?}");
        assert!(found.gradient.iter().all(|d| d.is_finite()));
        assert_eq!(cross_entropy(&[], &[], LOG_EPSILON).value, 0.0);
    }

    proptest! {
        #[test]
        fn gradient((p, g) in cases()) {
            assert_gradient(&p, |p| cross_entropy(p, &g, LOG_EPSILON));
        }
    }
}
