//! Backward passes of [`Kernels`] as burn autodiff operators.

use super::{Ballot, BlockPlan, Kernels, Normalisation, block, row};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};

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
struct MaxPool2;

impl<B: Kernels> Backward<B, 1> for MaxPool2 {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        if let Some(node) = node {
            grads.register::<B>(node.id, B::max_pool2_dx(ops.state, dy));
        }
    }
}

#[derive(Debug)]
struct BiasRelu;

impl<B: Kernels> Backward<B, 2> for BiasRelu {
    /// What it returned.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (dx, dbias) = B::bias_relu_backward(ops.state, dy);
        for (node, gradient) in ops.parents.into_iter().zip([dx, dbias]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct NormRelu;

impl<B: Kernels> Backward<B, 3> for NormRelu {
    /// Input, rows, folded rows, frozen.
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, bool);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_x, node_gamma, node_beta] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (x, rows, folded, frozen) = ops.state;
        let (dx, params) = B::norm_relu_backward(x, dy, rows, folded, frozen);
        if let Some(node) = node_x {
            grads.register::<B>(node.id, dx);
        }
        if let Some(node) = node_gamma {
            grads.register::<B>(node.id, row::<B>(&params, 0));
        }
        if let Some(node) = node_beta {
            grads.register::<B>(node.id, row::<B>(&params, 1));
        }
    }
}

#[derive(Debug)]
struct DenseBlock;

impl<B: Kernels> Backward<B, 5> for DenseBlock {
    type State = block::Done<B>;

    fn backward(self, ops: Ops<Self::State, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (dx, params) = block::backward::<B>(ops.state, dy);
        let block::Params { gamma, beta, w1, w3 } = params;
        for (node, gradient) in ops.parents.into_iter().zip([dx, gamma, beta, w1, w3]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
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

    fn bias_relu(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node(), bias.node()];
        let y = B::bias_relu(x.into_primitive(), bias.into_primitive());
        match BiasRelu.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(y.clone(), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn max_pool2(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let y = B::max_pool2(x.primitive().clone());
        match MaxPool2.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x.into_primitive(), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn max_pool2_dx(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        FloatTensor::<Self>::new(B::max_pool2_dx(x.into_primitive(), dy.into_primitive()))
    }

    fn vote(
        p: FloatTensor<Self>,
        places: FloatTensor<Self>,
        window: FloatTensor<Self>,
        ballot: Ballot,
    ) -> FloatTensor<Self> {
        let [p, places, window] = [p, places, window].map(FloatTensor::<Self>::into_primitive);
        FloatTensor::<Self>::new(B::vote(p, places, window, ballot))
    }

    fn channel_stats(x: FloatTensor<Self>, from: usize, count: usize, by_sample: bool) -> FloatTensor<Self> {
        FloatTensor::<Self>::new(B::channel_stats(x.into_primitive(), from, count, by_sample))
    }

    fn norm_rows(
        now: FloatTensor<Self>,
        running: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (now, running) = (now.into_primitive(), running.into_primitive());
        let (rows, folded) = B::norm_rows(now, running, gamma.into_primitive(), beta.into_primitive(), norm);
        (FloatTensor::<Self>::new(rows), FloatTensor::<Self>::new(folded))
    }

    fn norm_relu_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        frozen: bool,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let [x, rows, folded] = [x, rows, folded].map(FloatTensor::<Self>::into_primitive);
        let channels = x.shape()[1];
        let y = B::norm_relu(x.clone(), 0, channels, folded.clone());
        match NormRelu.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, rows, folded, frozen), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn dense_block(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        w1: FloatTensor<Self>,
        w3: FloatTensor<Self>,
        running: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        plan: BlockPlan,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node(), w1.node(), w3.node()];
        let params = block::Params {
            gamma: gamma.into_primitive(),
            beta: beta.into_primitive(),
            w1: w1.into_primitive(),
            w3: w3.into_primitive(),
        };
        let (x, running, mask) = (
            x.into_primitive(),
            running.into_primitive(),
            mask.into_primitive(),
        );
        let (done, next) = block::forward::<B>(x, &params, &running, mask, plan);
        let next = FloatTensor::<Self>::new(next);
        let all = done.buffer.clone();
        let all = match DenseBlock.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(done, all),
            OpsKind::UnTracked(prep) => prep.finish(all),
        };
        (all, next)
    }
}
