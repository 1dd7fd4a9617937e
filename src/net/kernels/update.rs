//! Steps of the optimiser, and of the average that follows the weights, a tensor at a time.
//!
//! A network has hundreds of small tensors: composed of single operators a step is more than a dozen launches for each of
//! them, which cost a GPU more than what they compute.

use super::Kernels;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata};
use burn::tensor::{Shape, Slice, Tensor};

/// Decay of the mean gradient.
pub(super) const BETA_1: f32 = 0.9;
/// Decay of the mean squared gradient.
pub(super) const BETA_2: f32 = 0.999;
/// Added to the root of the mean squared gradient.
pub(super) const EPSILON: f32 = 1e-8;

/// A step of `AdamW` (Loshchilov and Hutter 2019), the gradient of each tensor clipped to a norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Number of the step, counted from 1.
    pub time: u64,
    /// Learning rate.
    pub rate: f64,
    /// Weight decay, before the learning rate.
    pub decay: f64,
    /// Largest norm of a tensor's gradient; above 0.
    pub clip: f64,
    /// Share of the old average of the weights that is kept.
    pub keep: f64,
}

impl AdamStep {
    /// What the means are divided by, having started from nothing.
    pub(super) fn corrections(&self) -> [f32; 2] {
        let time = i32::try_from(self.time).unwrap_or(i32::MAX);
        [BETA_1, BETA_2].map(|beta| 1.0 - beta.powi(time))
    }

    /// Share of a weight that its decay leaves.
    pub(super) fn left(&self) -> f64 {
        1.0 - self.rate * self.decay
    }
}

/// [`Kernels::adamw`] of stock operators.
pub(super) fn stock_adamw<B: Backend>(
    w: FloatTensor<B>,
    grad: FloatTensor<B>,
    state: &FloatTensor<B>,
    step: AdamStep,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let shape = w.shape();
    let n = shape.num_elements();
    let [w, grad] = [w, grad].map(|t| B::float_reshape(t, Shape::from([1, n])));
    let square = |t: &FloatTensor<B>| B::float_mul(t.clone(), t.clone());
    let times = |t: FloatTensor<B>, by: f32| B::float_mul_scalar(t, by.into());
    let norm = B::float_sqrt(B::float_sum(square(&grad)));
    let share = B::float_recip(B::float_add_scalar(norm, f32::MIN_POSITIVE.into()));
    let share = B::float_clamp_max(B::float_mul_scalar(share, step.clip.into()), 1.0f32.into());
    let grad = B::float_mul(grad, B::float_reshape(share, Shape::from([1, 1])));
    let row = |i: isize| {
        B::float_slice(
            state.clone(),
            &[Slice::from(i..i + 1), Slice::from(0..n as isize)],
        )
    };
    let squared = square(&grad);
    let first = B::float_add(times(row(0), BETA_1), times(grad, 1.0 - BETA_1));
    let second = B::float_add(times(row(1), BETA_2), times(squared, 1.0 - BETA_2));
    let divided = |t: &FloatTensor<B>, by: f32| B::float_div_scalar(t.clone(), by.into());
    let [of_first, of_second] = step.corrections();
    let root = B::float_add_scalar(B::float_sqrt(divided(&second, of_second)), EPSILON.into());
    let way = B::float_div(divided(&first, of_first), root);
    let left = B::float_mul_scalar(w, step.left().into());
    let w = B::float_sub(left, B::float_mul_scalar(way, step.rate.into()));
    let kept = B::float_mul_scalar(row(2), step.keep.into());
    let average = B::float_add(kept, B::float_mul_scalar(w.clone(), (1.0 - step.keep).into()));
    (
        B::float_reshape(w, shape),
        B::float_cat(vec![first, second, average], 0),
    )
}

/// The next weights and state of one tensor; the rows of `state`, `[3, number]`, are its mean gradient and mean squared gradient, at
/// first 0, and its average, at first the tensor.
#[must_use]
pub fn adamw<const D: usize>(
    w: Tensor<D>,
    grad: Tensor<D>,
    state: Tensor<2>,
    step: AdamStep,
) -> (Tensor<D>, Tensor<2>) {
    let (w, grad, state) = (w.into_dispatch(), grad.into_dispatch(), state.into_dispatch());
    let (w, state) = Dispatch::adamw(w, grad, state, step);
    (Tensor::from_dispatch(w), Tensor::from_dispatch(state))
}

#[cfg(test)]
#[cfg(feature = "gpu")]
mod tests {
    //! The kernels of whatever adapter there is against stock operators on the CPU, which `AdamW`'s test holds to burn's.
    use super::*;
    use crate::net::kernels::cube::tests::gpu;
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    /// Numbers about 0.
    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0)
            .collect()
    }

    fn values<const D: usize>(t: Tensor<D>) -> Vec<f32> {
        t.into_data().try_to_vec().unwrap()
    }

    /// Weights and state after two steps whose gradients are `size` large.
    fn steps(device: &Device, [rows, columns]: [usize; 2], size: f32, step: AdamStep) -> [Vec<f32>; 2] {
        let tensor = |seed| {
            let data = TensorData::new(numbers(rows * columns, seed), [rows, columns]);
            Tensor::<2>::from_data(data, device)
        };
        let mut w = tensor(0);
        let n = rows * columns;
        let mut state = Tensor::cat(vec![Tensor::zeros([2, n], device), w.clone().reshape([1, n])], 0);
        for time in 0..2 {
            let grad = tensor(1 + time) * size;
            let step = AdamStep {
                time: step.time + time as u64,
                ..step
            };
            (w, state) = adamw(w, grad, state, step);
        }
        [values(w), values(state)]
    }

    fn apart(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn a_step_is_that_of_stock_operators(
            shape in prop_oneof![
                [1usize..4, 1usize..10],
                Just([1, 255]), Just([2, 128]), Just([1, 257]), Just([12, 1296]), Just([3, 70_001]),
            ],
            size in prop_oneof![Just(0.0f32), Just(1e-6), 1e-3f32..1.0, 1.0f32..100.0],
            time in 1u64..2000,
            clip in prop_oneof![Just(0.05), Just(1e30)],
            keep in 0.0f64..1.0,
        ) {
            let Some(device) = gpu() else { return Ok(()) };
            let step = AdamStep { time, rate: 1e-2, decay: 0.1, clip, keep };
            let ours = steps(device, shape, size, step);
            let stock = steps(&Device::flex(), shape, size, step);
            // A weight moves by a rate or so; f32 sums of up to 210 003 squares.
            prop_assert!(apart(&ours[0], &stock[0]) < 2e-6, "{} of weights", apart(&ours[0], &stock[0]));
            let n = shape[0] * shape[1];
            for row in 0..3 {
                let [a, b] = [&ours[1], &stock[1]].map(|s| &s[row * n..(row + 1) * n]);
                let largest = b.iter().fold(0.0f32, |a, v| a.max(v.abs()));
                prop_assert!(apart(a, b) <= 1e-5 * largest, "row {row}: {} of {largest}", apart(a, b));
            }
            if size > 0.0 {
                prop_assert!(apart(&ours[0], &numbers(n, 0)) > 1e-4, "nothing moved");
            }
        }
    }
}
