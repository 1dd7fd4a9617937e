//! Random numbers of the network: initial weights and dropout, drawn on the host.
//!
//! burn's own generator is one per process, so what it gives depends on who else draws. These numbers depend on the
//! seed alone: the same weights on every device, the same run after a resume.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

/// Draws initial weights, one tensor after another.
pub(super) struct Draw {
    rng: StdRng,
    device: Device,
    layers: u64,
}

impl Draw {
    pub(super) fn new(seed: u64, device: &Device) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            device: device.clone(),
            layers: 0,
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// A number of its own for each layer that asks.
    pub(super) fn number(&mut self) -> u64 {
        self.layers += 1;
        self.layers
    }

    /// he_normal: standard deviation sqrt(2 / fan_in) (method.md 2.1).
    pub(super) fn he<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        self.normal(shape, (2.0 / fan_in.max(1) as f64).sqrt())
    }

    /// glorot_normal: standard deviation sqrt(2 / (fan_in + fan_out)).
    pub(super) fn glorot<const D: usize>(
        &mut self,
        shape: [usize; D],
        fan_in: usize,
        fan_out: usize,
    ) -> Param<Tensor<D>> {
        self.normal(shape, (2.0 / (fan_in + fan_out).max(1) as f64).sqrt())
    }

    fn normal<const D: usize>(&mut self, shape: [usize; D], deviation: f64) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        let deviation = deviation as f32;
        let values: Vec<f32> = (0..count)
            .map(|_| deviation * Distribution::<f32>::sample(&StandardNormal, &mut self.rng))
            .collect();
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }
}

/// A dropout mask: 0 with probability `rate`, else `1 / (1 - rate)`.
pub(super) fn dropout(count: usize, rate: f64, seed: u64, layer: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed ^ layer.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let kept = (1.0 / (1.0 - rate)) as f32;
    // Sixteen random bits a value are plenty, and a quarter of the cost.
    let bound = (rate * 65536.0) as u16;
    let mut mask = Vec::with_capacity(count);
    while mask.len() < count {
        let mut bits: u64 = rng.random();
        for _ in 0..4.min(count - mask.len()) {
            mask.push(if (bits as u16) < bound { 0.0 } else { kept });
            bits >>= 16;
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_keeps_the_mean_and_its_rate() {
        let mask = dropout(100_001, 0.2, 7, 3);
        let dropped = mask.iter().filter(|v| **v == 0.0).count() as f64 / mask.len() as f64;
        // Four standard deviations of a binomial share.
        assert!((dropped - 0.2).abs() < 4.0 * (0.16f64 / 100_001.0).sqrt());
        assert!(mask.iter().all(|v| *v == 0.0 || *v == 1.25));
        assert_eq!(mask, dropout(100_001, 0.2, 7, 3));
        assert_ne!(mask, dropout(100_001, 0.2, 7, 4));
    }

    #[test]
    fn weights_have_the_he_deviation() {
        let device = Device::flex();
        let weight = Draw::new(3, &device).he([50, 40, 3, 3, 3], 1080);
        let values: Vec<f32> = weight.val().into_data().try_to_vec().unwrap();
        let n = values.len() as f64;
        let variance = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
        // The variance of a normal sample's variance is 2 / n.
        assert!(
            (variance * 540.0 - 1.0).abs() < 5.0 * (2.0 / n).sqrt(),
            "{variance}"
        );
    }
}
