//! Backward passes of [`Kernels`] as burn autodiff operators.

use super::Kernels;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::{Shape, Slice};

/// A differentiable pair `(x, w)` and which member's gradients it takes.
macro_rules! pair {
    ($name:ident, $dx:ident, $dw:ident) => {
        #[derive(Debug)]
        struct $name;

        impl<B: Kernels> Backward<B, 2> for $name {
            type State = (FloatTensor<B>, FloatTensor<B>);

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let [node_x, node_w] = ops.parents;
                let dy = grads.consume::<B>(&ops.node);
                let (x, w) = ops.state;
                if let Some(node) = node_x {
                    grads.register::<B>(node.id, B::$dx(dy.clone(), w.clone()));
                }
                if let Some(node) = node_w {
                    grads.register::<B>(node.id, B::$dw(x, dy, w));
                }
            }
        }
    };
}

pair!(Conv1, conv1_dx, conv1_dw);
pair!(Conv3, conv3_dx, conv3_dw);
pair!(Up2, up2_dx, up2_dw);

#[derive(Debug)]
struct NormRelu;

impl<B: Kernels> Backward<B, 3> for NormRelu {
    type State = (
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        bool,
    );

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_x, node_gamma, node_beta] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (x, gamma, beta, stats, frozen) = ops.state;
        let (dx, params) = B::norm_relu_backward(x, dy, gamma, beta, stats, frozen);
        let channels = params.shape()[1];
        let row = |i: isize| {
            let slices = [Slice::from(i..i + 1), Slice::from(0..channels as isize)];
            B::float_reshape(B::float_slice(params.clone(), &slices), Shape::from([channels]))
        };
        if let Some(node) = node_x {
            grads.register::<B>(node.id, dx);
        }
        if let Some(node) = node_gamma {
            grads.register::<B>(node.id, row(0));
        }
        if let Some(node) = node_beta {
            grads.register::<B>(node.id, row(1));
        }
    }
}

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn conv1(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let y = B::conv1(x.primitive().clone(), w.primitive().clone());
        match Conv1
            .prepare::<C>([x.node(), w.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((x.into_primitive(), w.into_primitive()), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn conv3(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let y = B::conv3(x.primitive().clone(), w.primitive().clone());
        match Conv3
            .prepare::<C>([x.node(), w.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((x.into_primitive(), w.into_primitive()), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn up2(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let y = B::up2(x.primitive().clone(), w.primitive().clone());
        match Up2.prepare::<C>([x.node(), w.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x.into_primitive(), w.into_primitive()), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn channel_stats(x: FloatTensor<Self>) -> FloatTensor<Self> {
        FloatTensor::<Self>::new(B::channel_stats(x.into_primitive()))
    }

    fn norm_relu_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        frozen: bool,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
        let (beta, stats) = (beta.into_primitive(), stats.into_primitive());
        let y = B::norm_relu_train(x.clone(), gamma.clone(), beta.clone(), stats.clone(), frozen);
        match NormRelu.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, gamma, beta, stats, frozen), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}
