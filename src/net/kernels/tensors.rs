//! Any number of tensors as one argument of an operator; burn's extensions know single ones.

use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Backend, BackendTensor, Dispatch, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind,
    ExtensionType,
};

/// Tensors of one backend, in order.
#[derive(Clone, Debug)]
pub struct Tensors<B: Backend>(pub Vec<FloatTensor<B>>);

impl<B: Backend> Tensors<B> {
    /// One or none.
    pub(super) fn maybe(tensor: Option<FloatTensor<B>>) -> Self {
        Self(tensor.into_iter().collect())
    }

    /// The only one, where there may be one.
    pub(super) fn one(self) -> Option<FloatTensor<B>> {
        self.0.into_iter().next()
    }

    /// The same on another backend.
    #[cfg(feature = "learn")]
    pub(super) fn map<O: Backend>(self, to: fn(FloatTensor<B>) -> FloatTensor<O>) -> Tensors<O> {
        Tensors(self.0.into_iter().map(to).collect())
    }
}

impl<const D: usize> From<Option<burn::tensor::Tensor<D>>> for Tensors<Dispatch> {
    fn from(tensor: Option<burn::tensor::Tensor<D>>) -> Self {
        Self::maybe(tensor.map(burn::tensor::Tensor::into_dispatch))
    }
}

impl<B: Backend> ExtensionType<B> for Tensors<B> {
    type Target = Tensors<Dispatch>;

    fn map_to_dispatch<F>(self, map_kind: F, autodiff: DispatchAutodiffContext) -> Self::Target
    where
        F: Fn(BackendTensor<B>) -> DispatchTensorKind,
    {
        let wrapped = |tensor| DispatchTensor {
            kind: map_kind(BackendTensor::Float(tensor)),
            autodiff,
        };
        Tensors(self.0.into_iter().map(wrapped).collect())
    }

    fn map_from_dispatch<F>(target: Self::Target, unwrap_kind: F) -> Self
    where
        F: Fn(DispatchTensor) -> BackendTensor<B>,
    {
        Self(target.0.into_iter().map(|t| unwrap_kind(t).float()).collect())
    }

    fn routing_tensor(target: &Self::Target) -> Option<&DispatchTensor> {
        target.0.first()
    }

    fn routing_float_tensor(target: &Self::Target) -> Option<&DispatchTensor> {
        target.0.first()
    }

    fn autodiff_context(target: &Self::Target) -> DispatchAutodiffContext {
        (target.0.iter()).fold(DispatchAutodiffContext::Disabled, |all, t| all.merge(t.autodiff))
    }
}
