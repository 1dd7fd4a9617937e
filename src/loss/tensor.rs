//! The losses on tensors, for training.

use super::Loss;
use super::closed::{FocalSettings, GENERALIZED_DICE_SMOOTH, TverskyWeights};
use burn::tensor::{Tensor, activation};

impl Loss {
    /// The loss of `logits` against `labels` (0 or 1), both of one shape: a scalar tensor.
    ///
    /// All voxels of the batch are taken together (method.md 3.2). The closed forms of [`super::closed`] are the
    /// oracle: values and gradients are tested against them.
    #[must_use]
    pub fn forward<const D: usize>(&self, logits: Tensor<D>, labels: Tensor<D>) -> Tensor<1> {
        match *self {
            Self::FBeta { beta, smooth } => f_beta(activation::sigmoid(logits), labels, beta, smooth),
            Self::Focal { alpha, gamma } => focal(activation::sigmoid(logits), labels, alpha, gamma),
            Self::GeneralizedDice => generalized_dice(activation::sigmoid(logits), labels),
            Self::CrossEntropy => cross_entropy(logits, labels, 1.0),
        }
    }
}

/// `1 - (TP + s) / (a sum p + (1 - a) sum g + s)`, `a = 1 / (1 + beta^2)` (method.md 3.1).
fn f_beta<const D: usize>(p: Tensor<D>, g: Tensor<D>, beta: f64, smooth: f64) -> Tensor<1> {
    let weights = TverskyWeights::of_beta(beta);
    let overlap = (p.clone() * g.clone()).sum();
    let total = p.sum() * weights.false_positive + g.sum() * weights.false_negative;
    -((overlap + smooth) / (total + smooth)) + 1.0
}

/// Mean of `-alpha_t (1 - p_t)^gamma log(p_t + eps)`.
fn focal<const D: usize>(p: Tensor<D>, g: Tensor<D>, alpha: f64, gamma: f64) -> Tensor<1> {
    let epsilon = FocalSettings::default().epsilon;
    let not_g = -g.clone() + 1.0;
    let true_class = p.clone() * g.clone() + (-p + 1.0) * not_g.clone();
    let weight = g * alpha + not_g * (1.0 - alpha);
    // Bounded from below: the power's derivative at 0 is not finite for gamma < 1.
    let unsure = (-true_class.clone() + 1.0)
        .clamp_min(1e-12)
        .powf_scalar(gamma as f32);
    -(weight * unsure * (true_class + epsilon).log()).mean()
}

/// Sudre's loss for lesion and background, weights `1 / n_l^2`, the weight of an absent class replaced by the other's.
fn generalized_dice<const D: usize>(p: Tensor<D>, g: Tensor<D>) -> Tensor<1> {
    let voxels = p.shape().num_elements() as f64;
    let sum_g = g.clone().sum();
    let overlap = (p.clone() * g).sum();
    let sum_p = p.sum();
    let background_overlap = overlap.clone() - sum_p.clone() - sum_g.clone() + voxels;
    let background_total = -(sum_p.clone() + sum_g.clone()) + 2.0 * voxels;
    // Labels are whole numbers: a count under one half is zero.
    let absent = |n: Tensor<1>| n.lower_elem(0.5);
    let (lesions, rest) = (sum_g.clone(), -sum_g.clone() + voxels);
    let weight = |n: Tensor<1>| n.clamp_min(1.0).powi_scalar(2).recip();
    let w_lesion = weight(lesions.clone()).mask_where(absent(lesions.clone()), weight(rest.clone()));
    let w_rest = weight(rest.clone()).mask_where(absent(rest), weight(lesions));
    let numerator = (w_lesion.clone() * overlap + w_rest.clone() * background_overlap) * 2.0;
    let denominator = w_lesion * (sum_p + sum_g) + w_rest * background_total;
    -((numerator + GENERALIZED_DICE_SMOOTH) / (denominator + GENERALIZED_DICE_SMOOTH)) + 1.0
}

/// Mean over the voxels of the binary cross-entropy in which a lesion voxel counts `lesion_weight` times, from the logits
/// so that it stays finite: `-w g log s(z) - (1 - g) log s(-z)`.
#[must_use]
pub fn cross_entropy<const D: usize>(z: Tensor<D>, g: Tensor<D>, lesion_weight: f64) -> Tensor<1> {
    cross_entropy_by_voxel(z, g.clone(), g * lesion_weight)
}

/// As [`cross_entropy`], each lesion voxel counting as often as its own entry of `weighted` (0 where there is no lesion) says.
#[must_use]
pub fn cross_entropy_by_voxel<const D: usize>(z: Tensor<D>, g: Tensor<D>, weighted: Tensor<D>) -> Tensor<1> {
    let lesion = activation::log_sigmoid(z.clone()) * weighted;
    let rest = activation::log_sigmoid(-z) * (-g + 1.0);
    -(lesion + rest).mean()
}

/// Nearer to 0 and 1 than this a share is a share of this.
const LEAST_SHARE: f32 = 1e-6;

/// The logits of `share` times the probabilities of the logits `z`: `log(s p) - log(1 - s p)`, from the logits so that it stays finite.
///
/// `s p = s / (1 + e^-z)`, so it is `z + log s - log(1 + (1 - s) e^z)`. Shares lie in `[0, 1]` and are kept 1e-6 away from both ends.
#[must_use]
pub fn scaled<const D: usize>(z: Tensor<D>, share: Tensor<D>) -> Tensor<D> {
    let share = share.clamp(LEAST_SHARE, 1.0 - LEAST_SHARE);
    let rest = (-share.clone() + 1.0).log();
    z.clone() + share.log() + activation::log_sigmoid(-(z + rest))
}

#[cfg(test)]
#[cfg(feature = "learn")]
mod tests {
    use super::super::closed::{self, LossGrad};
    use super::*;
    use burn::tensor::Device;

    fn check(loss: Loss, oracle: impl Fn(&[f64], &[f64]) -> LossGrad, labels: &[f32]) {
        let z: Vec<f32> = (0..labels.len())
            .map(|i| ((i * 37 % 23) as f32 - 11.0) / 3.0)
            .collect();
        let device = Device::flex().autodiff();
        let logits = Tensor::<1>::from_floats(z.as_slice(), &device).require_grad();
        let value = loss.forward(logits.clone(), Tensor::from_floats(labels, &device));
        let grads = value.clone().backward();
        let found: Vec<f32> = logits.grad(&grads).unwrap().into_data().try_to_vec().unwrap();
        let p: Vec<f64> = z.iter().map(|z| 1.0 / (1.0 + (-f64::from(*z)).exp())).collect();
        let g: Vec<f64> = labels.iter().map(|g| f64::from(*g)).collect();
        let expected = oracle(&p, &g);
        let value = f64::from(value.into_scalar::<f32>());
        assert!(
            (value - expected.value).abs() < 1e-5,
            "{loss:?}: {value} for {}",
            expected.value
        );
        for ((found, slope), p) in found.iter().zip(&expected.gradient).zip(&p) {
            // The closed forms differentiate by p; the chain rule brings it to the logit.
            let want = slope * p * (1.0 - p);
            assert!(
                (f64::from(*found) - want).abs() < 1e-6 + 1e-4 * want.abs(),
                "{loss:?}: {found} for {want}"
            );
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_closed_forms() {
        let some: Vec<f32> = (0..60).map(|i| f32::from(u8::from(i % 7 == 0))).collect();
        for labels in [some, vec![0.0; 60]] {
            for beta in [1.0, 1.5, 3.0] {
                let loss = Loss::FBeta { beta, smooth: 1.0 };
                check(loss, |p, g| closed::f_beta(p, g, beta, 1.0), &labels);
            }
            let focal = FocalSettings::default();
            let loss = Loss::Focal {
                alpha: focal.alpha,
                gamma: focal.gamma,
            };
            check(loss, |p, g| closed::focal(p, g, &focal), &labels);
            check(
                Loss::GeneralizedDice,
                |p, g| closed::generalized_dice(p, g, GENERALIZED_DICE_SMOOTH),
                &labels,
            );
            check(
                Loss::CrossEntropy,
                |p, g| closed::cross_entropy(p, g, 0.0),
                &labels,
            );
        }
    }

    #[test]
    fn a_lesion_voxel_counts_as_often_as_asked() {
        let device = Device::flex();
        let z = [-3.0_f32, -0.5, 0.0, 1.5, 4.0];
        let g = [1.0_f32, 0.0, 1.0, 0.0, 1.0];
        let weighted = cross_entropy(
            Tensor::<1>::from_floats(z, &device),
            Tensor::from_floats(g, &device),
            7.0,
        );
        let voxel = |(&z, &g): (&f32, &f32)| {
            let p = 1.0 / (1.0 + (-f64::from(z)).exp());
            if g > 0.5 { -7.0 * p.ln() } else { -(1.0 - p).ln() }
        };
        let expected = z.iter().zip(&g).map(voxel).sum::<f64>() / 5.0;
        assert!((f64::from(weighted.into_scalar::<f32>()) - expected).abs() < 1e-5);
        let own = cross_entropy_by_voxel(
            Tensor::<1>::from_floats(z, &device),
            Tensor::from_floats(g, &device),
            Tensor::from_floats([7.0_f32, 0.0, 2.0, 0.0, 1.0], &device),
        );
        let log_sigmoid = |i: usize| -(1.0 + (-f64::from(z[i])).exp()).ln();
        let fewer = 5.0 * log_sigmoid(2) + 6.0 * log_sigmoid(4);
        assert!((f64::from(own.into_scalar::<f32>()) - expected - fewer / 5.0).abs() < 1e-5);
    }

    #[test]
    fn cross_entropy_of_a_sure_mistake_is_finite() {
        let device = Device::flex();
        let loss = Loss::CrossEntropy
            .forward(
                Tensor::<1>::from_floats([200.0], &device),
                Tensor::from_floats([0.0], &device),
            )
            .into_scalar::<f32>();
        assert_eq!(loss, 200.0);
    }

    #[test]
    fn a_scaled_logit_is_that_of_the_scaled_probability() {
        let device = Device::flex().autodiff();
        let (z, share): (Vec<f32>, Vec<f32>) = [-20.0, -9.0, -2.0, 0.5, 6.0, 25.0]
            .into_iter()
            .flat_map(|z| [0.0, 0.1, 0.5, 0.9, 0.99, 1.0].map(|share| (z, share)))
            .unzip();
        let logits = Tensor::<1>::from_floats(z.as_slice(), &device).require_grad();
        let found = scaled(logits.clone(), Tensor::from_floats(share.as_slice(), &device));
        let p = activation::sigmoid(found.clone());
        let grads = p.clone().sum().backward();
        let read = |t: Tensor<1>| t.into_data().try_to_vec::<f32>().unwrap();
        let slopes = read(logits.grad(&grads).unwrap().clone());
        for (((z, share), p), slope) in z.iter().zip(&share).zip(read(p.inner())).zip(slopes) {
            let own = 1.0 / (1.0 + (-f64::from(*z)).exp());
            let want = f64::from(*share) * own;
            // The ends of the share are cut by 1e-6; f32 adds as much.
            assert!((f64::from(p) - want).abs() < 4e-6, "{p} for {want}");
            let want = want * (1.0 - own);
            assert!((f64::from(slope) - want).abs() < 4e-6, "slope {slope} for {want}");
        }
    }
}
