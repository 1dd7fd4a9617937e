//! Backward passes of [`Kernels`] as burn autodiff operators.

use super::{Ballot, BlockPlan, Kernels, Normalisation, Tensors, block};
use crate::net::config::MAX_LAYERS;
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
        let (dx, dgamma, dbeta) = B::norm_relu_backward(x, dy, rows, folded, frozen);
        for (node, gradient) in [(node_x, dx), (node_gamma, dgamma), (node_beta, dbeta)] {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

/// The input of a block and the parameters of the most layers that one may have. burn asks for the number of an operator's parents at
/// compile time; where there are fewer the input stands again, and is given no more gradients.
const PARENTS: usize = 1 + block::LAYER * MAX_LAYERS;

#[derive(Debug)]
struct DenseBlock;

impl<B: Kernels> Backward<B, PARENTS> for DenseBlock {
    type State = block::Done<B>;

    fn backward(self, ops: Ops<Self::State, PARENTS>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (dx, params) = block::backward::<B>(ops.state, dy);
        for (node, gradient) in ops.parents.into_iter().zip(std::iter::once(dx).chain(params)) {
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

    fn channel_stats_into(
        stats: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        from: usize,
        count: usize,
        by_sample: bool,
    ) -> FloatTensor<Self> {
        let [stats, x] = [stats, x].map(FloatTensor::<Self>::into_primitive);
        FloatTensor::<Self>::new(B::channel_stats_into(stats, at, x, from, count, by_sample))
    }

    fn norm_rows(
        now: Tensors<Self>,
        running: Tensors<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        samples: usize,
        norm: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [now, running] = [now, running].map(|t| t.map(FloatTensor::<Self>::into_primitive));
        let [gamma, beta] = [gamma, beta].map(FloatTensor::<Self>::into_primitive);
        let (rows, folded) = B::norm_rows(now, running, gamma, beta, samples, norm);
        (FloatTensor::<Self>::new(rows), FloatTensor::<Self>::new(folded))
    }

    fn norm_rows_measured(
        stats: FloatTensor<Self>,
        x: FloatTensor<Self>,
        from: usize,
        count: usize,
        running: Tensors<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [stats, x, gamma, beta] = [stats, x, gamma, beta].map(FloatTensor::<Self>::into_primitive);
        let running = running.map::<B>(FloatTensor::<Self>::into_primitive);
        let (stats, rows, folded) = B::norm_rows_measured(stats, x, from, count, running, gamma, beta, norm);
        let [stats, rows, folded] = [stats, rows, folded].map(FloatTensor::<Self>::new);
        (stats, rows, folded)
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
        params: Tensors<Self>,
        running: Tensors<Self>,
        mask: Tensors<Self>,
        plan: BlockPlan,
    ) -> (FloatTensor<Self>, Vec<FloatTensor<Self>>) {
        let nodes = std::array::from_fn(|i| match i.checked_sub(1).and_then(|i| params.0.get(i)) {
            Some(param) => param.node(),
            None => x.node(),
        });
        let [params, running, mask] =
            [params, running, mask].map(|t| t.map::<B>(FloatTensor::<Self>::into_primitive));
        let (done, next) = block::forward::<B>(x.into_primitive(), params.0, running.0, mask.one(), plan);
        let next = next.into_iter().map(FloatTensor::<Self>::new).collect();
        let all = done.buffer.clone();
        let all = match DenseBlock.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(done, all),
            OpsKind::UnTracked(prep) => prep.finish(all),
        };
        (all, next)
    }
}
