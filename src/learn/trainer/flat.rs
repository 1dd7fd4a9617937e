//! A network's numbers as flat tensors in visiting order, on its device; read without blocking.

use crate::net::DenseNet;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};

struct Read(Vec<Tensor<1>>);

impl ModuleVisitor for Read {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val().without_autodiff();
        let n = values.shape().num_elements();
        self.0.push(values.reshape([n]));
    }
}

/// All weights and running statistics.
pub(super) fn read(net: &DenseNet) -> Vec<Tensor<1>> {
    let mut read = Read(Vec::new());
    net.visit(&mut read);
    read.0
}

struct Learns(Vec<bool>);

impl ModuleVisitor for Learns {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().is_require_grad());
    }
}

/// For each of [`read`], whether a gradient is computed for it.
pub(super) fn learning(net: &DenseNet) -> Vec<bool> {
    let mut learns = Learns(Vec::new());
    net.visit(&mut learns);
    learns.0
}

struct Write<I>(I);

impl<I: Iterator<Item = Option<Tensor<1>>>> ModuleMapper for Write<I> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(Some(values)) = self.0.next() else {
            return param;
        };
        param.map(|old| {
            let new = values
                .to_device(&old.device().without_autodiff())
                .reshape(old.shape());
            if old.device().is_autodiff() {
                Tensor::from_inner(new).set_require_grad(old.is_require_grad())
            } else {
                new
            }
        })
    }
}

/// `net` with other numbers, in the order of [`read`]; where there is none the old one stays.
pub(super) fn write(net: DenseNet, values: impl Iterator<Item = Option<Tensor<1>>>) -> DenseNet {
    net.map(&mut Write(values))
}

/// The numbers of a tensor, brought to the host.
pub(super) async fn host(tensor: Tensor<1>) -> Result<Vec<f32>, String> {
    let data = tensor.into_data_async().await.map_err(|e| e.to_string())?;
    data.try_to_vec().map_err(|e| e.to_string())
}

/// Numbers of the host on a device.
pub(super) fn tensor(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}
