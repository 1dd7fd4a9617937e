//! The network composed of burn's own operators: the oracle of the tests and the baseline of the benchmarks.
//!
//! Shipped programs do not contain it.

use super::DenseNet;
use super::layers::DenseBlock;
use super::norm::{EPSILON, NormRelu};
use burn::backend::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Tensor, activation, module};

/// Logits as [`DenseNet::forward`] gives them. Normalises with the running statistics, or, if `train`, with the
/// batch's, as plain batch normalisation (and, of one patch, instance normalisation) does; nothing is dropped, and no statistics are updated.
#[must_use]
pub fn forward(net: &DenseNet, x: Tensor<5>, train: bool) -> Tensor<5> {
    let stem = &net.stem;
    let halved = match &stem.down {
        Some(down) => {
            let y = conv(x, down.weight.val(), 2, 0);
            activation::relu(y + per_channel(down.bias.val()))
        }
        None => x,
    };
    let mut x = stem.convs.iter().zip(&stem.norms).fold(halved, |x, (c, norm)| {
        norm_relu(norm, conv(x, c.weight.val(), 1, 1), train)
    });
    let mut skips = Vec::new();
    for (b, transition) in net.down.iter().zip(&net.transition_down) {
        let (all, _) = block(b, x, train);
        let y = norm_relu(&transition.norm, all.clone(), train);
        x = max_pool(pointwise(y, transition.conv.weight.val()));
        skips.push(all);
    }
    let (mut all, mut new) = block(&net.centre, x, train);
    for (transition, b) in net.transition_up.iter().zip(&net.up) {
        let [batch, _, d, h, w] = new.dims();
        let out = transition.bias.dims()[0];
        let options = ConvTransposeOptions::new([2; 3], [0; 3], [0; 3], [1; 3], 1);
        let y = module::conv_transpose3d(new, transition.weight.val(), None, options);
        // Keras drops the last of 2 n + 1 voxels.
        let y = y.slice([0..batch, 0..out, 0..2 * d, 0..2 * h, 0..2 * w]);
        let raised = activation::relu(y + per_channel(transition.bias.val()));
        let input = skips
            .pop()
            .map_or(raised.clone(), |skip| Tensor::cat(vec![raised, skip], 1));
        (all, new) = block(b, input, train);
    }
    let y = match &net.head.up {
        Some(up) => {
            let options = ConvTransposeOptions::new([2; 3], [0; 3], [0; 3], [1; 3], 1);
            let y = module::conv_transpose3d(all, up.weight.val(), None, options);
            activation::relu(y + per_channel(up.bias.val()))
        }
        None => all,
    };
    pointwise(y, net.head.conv.weight.val())
}

fn conv(x: Tensor<5>, w: Tensor<5>, stride: usize, padding: usize) -> Tensor<5> {
    let options = ConvOptions::new([stride; 3], [padding; 3], [1; 3], 1);
    module::conv3d(x, w, None, options)
}

fn pointwise(x: Tensor<5>, w: Tensor<2>) -> Tensor<5> {
    let [out, input] = w.dims();
    conv(x, w.reshape([out, input, 1, 1, 1]), 1, 0)
}

fn per_channel(v: Tensor<1>) -> Tensor<5> {
    let [n] = v.dims();
    v.reshape([1, n, 1, 1, 1])
}

fn norm_relu(norm: &NormRelu, x: Tensor<5>, train: bool) -> Tensor<5> {
    let own = || {
        let mean = [0, 2, 3, 4].into_iter().fold(x.clone(), Tensor::mean_dim);
        let square = (x.clone() - mean.clone()).powi_scalar(2);
        let variance = [0, 2, 3, 4].into_iter().fold(square, Tensor::mean_dim);
        (mean, variance)
    };
    let (mean, variance) = match (&norm.mean, &norm.variance) {
        (Some(mean), Some(variance)) if !train => {
            let device = x.device();
            let running = |v: Tensor<1>| per_channel(v).to_device(&device);
            (running(mean.value()), running(variance.value()))
        }
        _ => own(),
    };
    let y = (x - mean) / variance.add_scalar(EPSILON).sqrt();
    activation::relu(y * per_channel(norm.gamma.val()) + per_channel(norm.beta.val()))
}

fn block(block: &DenseBlock, x: Tensor<5>, train: bool) -> (Tensor<5>, Tensor<5>) {
    let mut all = x;
    let mut new = Vec::new();
    for layer in &block.layers {
        let mut y = norm_relu(&layer.norm1, all.clone(), train);
        if let (Some(conv1), Some(norm)) = (&layer.conv1, &layer.norm3) {
            y = norm_relu(norm, pointwise(y, conv1.weight.val()), train);
        }
        let maps = conv(y, layer.conv3.weight.val(), 1, 1);
        all = Tensor::cat(vec![all, maps.clone()], 1);
        new.push(maps);
    }
    (all, Tensor::cat(new, 1))
}

fn max_pool(x: Tensor<5>) -> Tensor<5> {
    let [batch, c, d, h, w] = x.dims();
    let x = x.reshape([batch * c * d * h, w / 2, 2]).max_dim(2);
    let x = x.reshape([batch * c * d, h / 2, 2, w / 2]).max_dim(2);
    let x = x.reshape([batch * c, d / 2, 2, (h / 2) * (w / 2)]).max_dim(2);
    x.reshape([batch, c, d / 2, h / 2, w / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Mode, NetConfig, Norm};
    use burn::tensor::{Device, TensorData};

    #[test]
    fn the_network_is_that_of_stock_operators() {
        let toy = NetConfig::preset("toy", 2).unwrap();
        let plain = NetConfig {
            compact: false,
            bottleneck: false,
            ..toy.clone()
        };
        let instance = NetConfig {
            norm: Norm::Instance,
            ..toy.clone()
        };
        let light = NetConfig::preset("light", 2).unwrap();
        for config in [toy, plain, light, instance] {
            let net = DenseNet::new(&config, 3, &Device::flex()).unwrap();
            for batch in [1, 2] {
                let side = 2 * config.side_multiple();
                let n = batch * 2 * side.pow(3);
                let values: Vec<f32> = (0..n).map(|i| (i * 7919 % 2003) as f32 / 500.0 - 2.0).collect();
                let x = Tensor::from_data(
                    TensorData::new(values, [batch, 2, side, side, side]),
                    &Device::flex(),
                );
                let ours = net.forward(x.clone(), Mode::Infer);
                let one = |i| forward(&net, x.clone().narrow(0, i, 1), false);
                let stock = Tensor::cat((0..batch).map(one).collect(), 0);
                let difference = (ours - stock.clone()).abs().max().into_scalar::<f32>();
                let scale = stock.abs().max().into_scalar::<f32>();
                assert!(difference <= 1e-4 * scale, "{config:?}: {difference} at {scale}");
            }
        }
    }
}
