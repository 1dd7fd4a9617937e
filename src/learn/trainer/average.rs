//! The exponential moving average of all weights and statistics.

use super::CheckpointError;
use crate::net::DenseNet;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

/// Averaged values, one vector per parameter in visiting order.
pub(super) struct Average {
    values: Vec<Vec<f32>>,
}

/// Calls `f` with each float parameter's values in visiting order.
struct Read<F>(F);

impl<F: FnMut(Vec<f32>)> ModuleVisitor for Read<F> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // The networks are float32 by construction; another type would show as a missing value in every test.
        (self.0)(param.val().into_data().try_to_vec().unwrap_or_default());
    }
}

/// Sets each float parameter in visiting order.
struct Write<'a>(std::slice::Iter<'a, Vec<f32>>);

impl ModuleMapper for Write<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.0.next() else { return param };
        param.map(|old| Tensor::from_data(TensorData::new(values.clone(), old.shape()), &old.device()))
    }
}

impl Average {
    pub(super) fn of(net: &DenseNet) -> Self {
        let mut values = Vec::new();
        net.visit(&mut Read(|v| values.push(v)));
        Self { values }
    }

    pub(super) fn from_values(net: &DenseNet, values: Vec<Vec<f32>>) -> Result<Self, CheckpointError> {
        let lengths = |v: &[Vec<f32>]| v.iter().map(Vec::len).collect::<Vec<_>>();
        let expected = Self::of(net);
        if lengths(&values) != lengths(&expected.values) {
            return Err(CheckpointError::Shape);
        }
        Ok(Self { values })
    }

    pub(super) fn values(&self) -> &[Vec<f32>] {
        &self.values
    }

    /// `average = keep * average + (1 - keep) * net`.
    pub(super) fn add(&mut self, net: &DenseNet, keep: f64) {
        let keep = keep as f32;
        let mut averages = self.values.iter_mut();
        net.visit(&mut Read(|now: Vec<f32>| {
            if let Some(average) = averages.next() {
                for (a, n) in average.iter_mut().zip(now) {
                    *a = keep * *a + (1.0 - keep) * n;
                }
            }
        }));
    }

    /// `net` with the averaged values.
    pub(super) fn apply(&self, net: DenseNet) -> DenseNet {
        net.map(&mut Write(self.values.iter()))
    }
}
