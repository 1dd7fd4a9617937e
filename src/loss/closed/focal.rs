//! The focal loss (Lin et al., ICCV 2017).

use super::{LOG_EPSILON, LossGrad, pairs};

/// The focal loss's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FocalSettings {
    /// Weight of lesion voxels; background has one minus it.
    pub alpha: f64,
    /// How strongly sure answers are discounted: 0, or at least 1.
    pub gamma: f64,
    /// Added to the probability before the logarithm.
    pub epsilon: f64,
}

impl Default for FocalSettings {
    /// Lin's alpha 0.25 and gamma 2. That alpha, on the rare class, lowers recall.
    fn default() -> Self {
        Self {
            alpha: 0.25,
            gamma: 2.0,
            epsilon: LOG_EPSILON,
        }
    }
}

/// The focal loss, averaged over the voxels (0 if there are none).
///
/// ```text
/// FL = mean of  - g       alpha  (1 - p)^gamma log(p + eps)
///               - (1 - g) (1 - alpha) p^gamma  log(1 - p + eps)
/// ```
///
/// which for binary g is -alpha_t (1 - p_t)^gamma log(p_t + eps).
///
/// # Panics
/// If `p` and `g` differ in length.
#[must_use]
pub fn focal(p: &[f64], g: &[f64], settings: &FocalSettings) -> LossGrad {
    let FocalSettings {
        alpha,
        gamma,
        epsilon,
    } = *settings;
    // Price of the probability q given to the true class, and its derivative with respect to q.
    let price = |q: f64| {
        let (log, discount) = ((q + epsilon).ln(), (1.0 - q).powf(gamma));
        // Without this case gamma = 0 would make 0 * inf of a sure answer.
        let slope = if gamma == 0.0 {
            0.0
        } else {
            gamma * (1.0 - q).powf(gamma - 1.0)
        };
        (-discount * log, slope * log - discount / (q + epsilon))
    };
    let scale = 1.0 / (p.len().max(1) as f64);
    let mut value = 0.0;
    let gradient = pairs(p, g)
        .map(|(p, g)| {
            let (lesion, lesion_slope) = price(p);
            let (background, background_slope) = price(1.0 - p);
            let (w1, w0) = (g * alpha * scale, (1.0 - g) * (1.0 - alpha) * scale);
            value += w1 * lesion + w0 * background;
            w1 * lesion_slope - w0 * background_slope
        })
        .collect();
    LossGrad { value, gradient }
}

#[cfg(test)]
mod tests {
    use super::super::cross_entropy;
    use super::super::testing::{assert_gradient, cases};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hand_made_case() {
        let found = focal(
            &[0.9, 0.3],
            &[1.0, 0.0],
            &FocalSettings {
                epsilon: 0.0,
                ..Default::default()
            },
        );
        let expected = -(0.25 * 0.01 * 0.9_f64.ln() + 0.75 * 0.09 * 0.7_f64.ln()) / 2.0;
        assert!((found.value - expected).abs() < 1e-15);
    }

    #[test]
    fn sure_mistakes_have_a_finite_price_and_sure_answers_no_gradient() {
        let found = focal(
            &[0.0, 1.0, 1.0, 0.0],
            &[1.0, 0.0, 1.0, 0.0],
            &FocalSettings::default(),
        );
        let expected = -(0.25 + 0.75) * LOG_EPSILON.ln() / 4.0;
        assert!((found.value - expected).abs() < 1e-12, "{found:?}");
        assert!(found.gradient.iter().all(|d| d.is_finite()), "{found:?}");
        assert_eq!(found.gradient[2..], [0.0, 0.0]);
        assert_eq!(focal(&[], &[], &FocalSettings::default()).value, 0.0);
    }

    proptest! {
        #[test]
        fn gradient((p, g) in cases(), alpha in 0.05..0.95_f64, gamma in 1.0..4.0_f64) {
            let settings = FocalSettings { alpha, gamma, ..FocalSettings::default() };
            assert_gradient(&p, |p| focal(p, &g, &settings));
        }

        #[test]
        fn without_focus_it_is_half_the_cross_entropy((p, g) in cases()) {
            let settings = FocalSettings { alpha: 0.5, gamma: 0.0, epsilon: LOG_EPSILON };
            let (focal, entropy) = (focal(&p, &g, &settings), cross_entropy(&p, &g, LOG_EPSILON));
            prop_assert!((2.0 * focal.value - entropy.value).abs() < 1e-12);
            for (a, b) in focal.gradient.iter().zip(entropy.gradient) {
                prop_assert!((2.0 * a - b).abs() < 1e-12 * (1.0 + b.abs()));
            }
        }
    }
}
