//! Our operators against compositions of burn's stock ones, values and gradients.
use super::*;
#[cfg(feature = "learn")]
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{Device, Tensor};
#[cfg(feature = "learn")]
use burn::tensor::{Distribution, TensorData, module};

fn device() -> Device {
    #[cfg(feature = "learn")]
    return Device::flex().autodiff();
    #[cfg(not(feature = "learn"))]
    Device::flex()
}

#[cfg(feature = "learn")]
fn close<const D: usize>(a: &Tensor<D>, b: &Tensor<D>, what: &str) {
    let difference = (a.clone() - b.clone()).abs().max().into_scalar::<f32>();
    let scale = b.clone().abs().max().into_scalar::<f32>();
    // Relative to the largest value: f32 sums of a few thousand products.
    assert!(
        difference <= 1e-4 * (1.0 + scale),
        "{what}: {difference} at scale {scale}"
    );
}

#[cfg(feature = "learn")]
fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device()).require_grad()
}

#[test]
#[cfg(feature = "learn")]
fn conv3_is_the_stock_convolution() {
    for (batch, cin, cout, [d, h, w]) in [(1, 3, 5, [4, 5, 7]), (2, 13, 12, [3, 3, 9]), (2, 1, 1, [2, 2, 2])]
    {
        let (x, k) = (random([batch, cin, d, h, w]), random([cout, cin, 3, 3, 3]));
        let dy = random([batch, cout, d, h, w]).detach();
        let ours = conv3(x.clone(), k.clone());
        let stock = module::conv3d(x.clone(), k.clone(), None, same());
        close(&ours, &stock, "forward");
        let g = (ours * dy.clone()).sum().backward();
        let s = (stock * dy).sum().backward();
        close(&x.grad(&g).unwrap(), &x.grad(&s).unwrap(), "dx");
        close(&k.grad(&g).unwrap(), &k.grad(&s).unwrap(), "dw");
    }
}

#[test]
#[cfg(feature = "learn")]
fn up2_is_the_stock_transposed_convolution_without_its_last_voxel() {
    for (batch, cin, cout, [d, h, w]) in [(1, 3, 5, [2, 3, 4]), (2, 8, 8, [1, 1, 1])] {
        let (x, k) = (random([batch, cin, d, h, w]), random([cin, cout, 3, 3, 3]));
        let dy = random([batch, cout, 2 * d, 2 * h, 2 * w]).detach();
        let ours = up2(x.clone(), k.clone());
        let options = ConvTransposeOptions::new([2; 3], [0; 3], [0; 3], [1; 3], 1);
        let stock = module::conv_transpose3d(x.clone(), k.clone(), None, options).slice([
            0..batch,
            0..cout,
            0..2 * d,
            0..2 * h,
            0..2 * w,
        ]);
        close(&ours, &stock, "forward");
        let g = (ours * dy.clone()).sum().backward();
        let s = (stock * dy).sum().backward();
        close(&x.grad(&g).unwrap(), &x.grad(&s).unwrap(), "dx");
        close(&k.grad(&g).unwrap(), &k.grad(&s).unwrap(), "dw");
    }
}

#[test]
#[cfg(feature = "learn")]
fn norm_relu_is_batch_normalisation_and_relu() {
    let (x, gamma, beta) = (random([2, 3, 2, 3, 4]), random([3]), random([3]));
    let dy = random([2, 3, 2, 3, 4]).detach();
    let rows = x.clone().swap_dims(0, 1).reshape([3, 48]);
    let mean = rows.clone().mean_dim(1);
    let variance = (rows.clone() - mean.clone()).powi_scalar(2).mean_dim(1);
    let normal = (rows - mean.clone()) / variance.clone().add_scalar(1e-5).sqrt();
    let stock = normal * gamma.clone().reshape([3, 1]) + beta.clone().reshape([3, 1]);
    let stock = burn::tensor::activation::relu(stock)
        .reshape([3, 2, 2, 3, 4])
        .swap_dims(0, 1);
    let found = channel_stats(x.clone(), 0, x.dims()[1], false);
    close(
        &found,
        &Tensor::cat(vec![mean.clone(), variance.clone()], 1)
            .swap_dims(0, 1)
            .detach(),
        "statistics",
    );
    let norm = Normalisation {
        epsilon: 1e-5,
        batch: Some(PLAIN),
        by_sample: false,
    };
    let running = Tensor::<2>::ones([2, 3], &device());
    let applied = norm_rows(found, running, gamma.clone(), beta.clone(), norm);
    let ours = norm_relu_train(x.clone(), gamma.clone(), beta.clone(), applied, false);
    close(&ours, &stock, "forward");
    let g = (ours * dy.clone()).sum().backward();
    let s = (stock * dy).sum().backward();
    close(&x.grad(&g).unwrap(), &x.grad(&s).unwrap(), "dx");
    close(&gamma.grad(&g).unwrap(), &gamma.grad(&s).unwrap(), "dgamma");
    close(&beta.grad(&g).unwrap(), &beta.grad(&s).unwrap(), "dbeta");
}

#[test]
#[cfg(feature = "learn")]
fn bias_relu_is_its_composition() {
    for (batch, channels, [d, h, w]) in [(1, 3, [4, 5, 7]), (2, 5, [1, 1, 1]), (3, 2, [9, 16, 16])] {
        let (x, bias) = (random([batch, channels, d, h, w]), random([channels]));
        let dy = random([batch, channels, d, h, w]).detach();
        let ours = bias_relu(x.clone(), bias.clone());
        let stock = burn::tensor::activation::relu(x.clone() + bias.clone().reshape([1, channels, 1, 1, 1]));
        close(&ours, &stock, "forward");
        let g = (ours * dy.clone()).sum().backward();
        let s = (stock * dy).sum().backward();
        close(&x.grad(&g).unwrap(), &x.grad(&s).unwrap(), "dx");
        close(&bias.grad(&g).unwrap(), &bias.grad(&s).unwrap(), "dbias");
    }
}

/// In place where nobody else holds the maps, and only there.
#[test]
fn bias_relu_leaves_alone_what_others_hold() {
    let x = Tensor::<5>::from_data([[[[[1.0, f32::NAN]]], [[[-2.0, 3.0]]]]], &device());
    let bias = Tensor::<1>::from_data([-0.5, 1.0], &device());
    let y: Vec<f32> = bias_relu(x.clone(), bias).into_data().try_to_vec().unwrap();
    assert_eq!((y[0], y[2], y[3]), (0.5, 0.0, 4.0));
    assert!(y[1].is_nan(), "0 would hide it");
    let x: Vec<f32> = x.into_data().try_to_vec().unwrap();
    assert_eq!((x[0], x[2], x[3]), (1.0, -2.0, 3.0));
}

/// Plain batch normalisation.
#[cfg(feature = "learn")]
const PLAIN: Renorm = Renorm {
    momentum: 0.1,
    r_max: 1.0,
    d_max: 0.0,
};

#[test]
#[cfg(feature = "learn")]
fn the_stock_normalisation_equals_ours() {
    use burn::backend::Flex;
    let plain = Device::flex();
    let random = |shape: [usize; 5]| Tensor::<5>::random(shape, Distribution::Normal(0.0, 1.0), &plain);
    let (x, dy) = (random([2, 5, 2, 3, 4]), random([2, 3, 2, 3, 4]));
    let values = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Uniform(0.5, 1.5), &plain);
    let (now, running, affine) = (values([2, 3]), values([2, 3]), values([2, 3]));
    let five = |t: &Tensor<5>| t.clone().try_into_primitive::<Flex>().unwrap();
    let two = |t: &Tensor<2>| t.clone().try_into_primitive::<Flex>().unwrap();
    let same5 = |a, b, what| {
        close(
            &Tensor::<5>::from_primitive::<Flex>(a),
            &Tensor::from_primitive::<Flex>(b),
            what,
        );
    };
    let same2 = |a, b, what| {
        close(
            &Tensor::<2>::from_primitive::<Flex>(a),
            &Tensor::from_primitive::<Flex>(b),
            what,
        );
    };
    let renorm = Renorm {
        momentum: 0.3,
        r_max: 1.1,
        d_max: 0.2,
    };
    for batch in [None, Some(renorm)] {
        let norm = Normalisation {
            epsilon: 1e-3,
            batch,
            by_sample: false,
        };
        let (gamma, beta) = (row::<Flex>(&two(&affine), 0), row::<Flex>(&two(&affine), 1));
        let (rows, folded) = Flex::norm_rows(two(&now), two(&running), gamma.clone(), beta.clone(), norm);
        let stock = norm::stock_rows::<Flex>(&two(&now), &two(&running), gamma, beta, norm);
        same2(rows.clone(), stock.0, "rows");
        same2(folded.clone(), stock.1, "folded rows");

        let frozen = norm.frozen();
        let part = channels_of::<Flex>(five(&x), 0, 3);
        let ours = Flex::norm_relu_backward(part.clone(), five(&dy), rows.clone(), folded.clone(), frozen);
        let stock = norm::stock_backward::<Flex>(part, five(&dy), &rows, &folded, frozen);
        same5(ours.0.clone(), stock.0, "dx");
        same2(ours.1.clone(), stock.1, "parameters");
        let into = Flex::norm_relu_backward_into(five(&x), five(&x), five(&dy), rows, folded, frozen);
        let sum = Flex::float_add(channels_of::<Flex>(five(&x), 0, 3), ours.0);
        same5(into.0, put::<Flex>(five(&x), 0, sum), "added");
        same2(into.1, ours.1, "parameters");
    }
}

/// A dense block of single differentiable operators, as it stands in the paper.
#[cfg(feature = "learn")]
fn composed_block(x: Tensor<5>, t: &BlockTensors, plan: BlockPlan) -> Tensor<5> {
    let mut all = x;
    let mut first1 = 0;
    let norm = |x: Tensor<5>, at: usize| {
        let channels = x.dims()[1];
        let [gamma, beta] = [&t.gamma, &t.beta].map(|v| v.clone().narrow(0, at, channels));
        let running = t.running.clone().slice([0..2, at..at + channels]);
        let now = channel_stats(x.clone(), 0, x.dims()[1], plan.norm.by_sample);
        let applied = norm_rows(now, running, gamma.clone(), beta.clone(), plan.norm);
        norm_relu_train(x, gamma, beta, applied, plan.norm.frozen())
    };
    for l in 0..plan.layers {
        let (reads, at) = (plan.reads(l), plan.norms_before(l));
        let w1 = t.w1.clone().narrow(0, first1, plan.inner * reads);
        first1 += plan.inner * reads;
        let size = plan.growth * plan.inner * 27;
        let w3 = t.w3.clone().narrow(0, l * size, size);
        let b = conv1(norm(all.clone(), at), w1.reshape([plan.inner, reads]));
        let mut y = conv3(
            norm(b, at + reads),
            w3.reshape([plan.growth, plan.inner, 3, 3, 3]),
        );
        if plan.dropout {
            y = y * t.mask.clone().narrow(1, l * plan.growth, plan.growth);
        }
        all = Tensor::cat(vec![all, y], 1);
    }
    all
}

/// Values, gradients and next statistics of a dense block on a device, ours or composed.
#[cfg(feature = "learn")]
pub(super) fn block_on(device: &Device, batch: usize, plan: BlockPlan, composed: bool) -> Vec<Vec<f32>> {
    let plain = device.clone();
    let device = &device.clone().autodiff();
    let values = |n: usize, seed: usize, scale: f32| {
        let value = |i: usize| (((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0) * scale;
        (0..n).map(value).collect::<Vec<f32>>()
    };
    let norms = plan.norms_before(plan.layers);
    let weights: usize = (0..plan.layers).map(|l| plan.inner * plan.reads(l)).sum();
    let vector = |n: usize, seed, scale: f32, shift: f32| {
        let data = TensorData::new(values(n, seed, scale), [n]);
        Tensor::<1>::from_data(data, device)
            .add_scalar(shift)
            .require_grad()
    };
    let voxels = [3, 4, 6];
    let five = |channels: usize, seed| {
        let shape = [batch, channels, voxels[0], voxels[1], voxels[2]];
        let n = shape.iter().product();
        Tensor::<5>::from_data(TensorData::new(values(n, seed, 1.0), shape), device)
    };
    let running = Tensor::<2>::from_data(TensorData::new(values(2 * norms, 5, 0.5), [2, norms]), device);
    let mask = five(plan.layers * plan.growth, 6).greater_elem(-0.5).float();
    let t = BlockTensors {
        gamma: vector(norms, 1, 0.3, 1.0),
        beta: vector(norms, 2, 0.3, 0.2),
        w1: vector(weights, 3, 0.3, 0.0),
        w3: vector(plan.layers * plan.growth * plan.inner * 27, 4, 0.1, 0.0),
        running: running.add_scalar(1.0),
        mask,
    };
    let x = five(plan.input, 7).require_grad();
    let (all, next) = if composed {
        (
            composed_block(x.clone(), &t, plan),
            Tensor::zeros([2, norms], &plain),
        )
    } else {
        dense_block(x.clone(), t.clone(), plan)
    };
    let weight = five(plan.channels(), 8);
    let grads = (all.clone() * weight).sum().backward();
    let read = |data: TensorData| data.try_to_vec::<f32>().unwrap();
    let mut out = vec![read(all.into_data()), read(x.grad(&grads).unwrap().into_data())];
    for v in [&t.gamma, &t.beta, &t.w1, &t.w3] {
        out.push(read(v.grad(&grads).unwrap().into_data()));
    }
    out.push(read(next.into_data()));
    out
}

#[cfg(feature = "learn")]
pub(super) fn block_plan(input: usize, layers: usize, batch: Option<Renorm>, dropout: bool) -> BlockPlan {
    BlockPlan {
        input,
        growth: 3,
        inner: 5,
        layers,
        norm: Normalisation {
            epsilon: 1.1e-5,
            batch,
            by_sample: false,
        },
        dropout,
        keep: true,
    }
}

#[cfg(feature = "learn")]
pub(super) fn close_to(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let scale = b.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * scale,
            "{what}: element {i} is {a}, not {b}"
        );
    }
}

#[test]
#[cfg(feature = "learn")]
fn a_dense_block_is_its_composition() {
    let renorm = Renorm {
        momentum: 0.1,
        r_max: 1.5,
        d_max: 0.3,
    };
    for (samples, input, layers, batch, dropout) in [
        (1, 4, 3, Some(renorm), true),
        (2, 3, 2, Some(PLAIN), false),
        (2, 5, 3, None, true),
        (1, 2, 1, None, false),
    ] {
        let plan = block_plan(input, layers, batch, dropout);
        let ours = block_on(&Device::flex(), samples, plan, false);
        let composed = block_on(&Device::flex(), samples, plan, true);
        let names = ["maps", "dx", "dgamma", "dbeta", "dw1", "dw3"];
        for ((a, b), name) in ours.iter().zip(&composed).zip(names) {
            close_to(a, b, 1e-5, &format!("{name} of {plan:?}"));
        }
        let again = BlockPlan { keep: false, ..plan };
        assert_eq!(
            block_on(&Device::flex(), samples, again, false),
            ours,
            "made again"
        );
    }
}

/// `plan` with each sample normalised by its own statistics.
#[cfg(feature = "learn")]
pub(super) fn by_sample(plan: BlockPlan) -> BlockPlan {
    let norm = Normalisation {
        batch: Some(Renorm::PLAIN),
        by_sample: true,
        ..plan.norm
    };
    BlockPlan { norm, ..plan }
}

#[test]
#[cfg(feature = "learn")]
fn a_dense_block_by_sample_is_its_composition() {
    let plan = by_sample(block_plan(4, 3, None, true));
    let ours = block_on(&Device::flex(), 3, plan, false);
    let composed = block_on(&Device::flex(), 3, plan, true);
    for ((a, b), name) in ours
        .iter()
        .zip(&composed)
        .zip(["maps", "dx", "dgamma", "dbeta", "dw1", "dw3"])
    {
        close_to(a, b, 1e-5, name);
    }
}

#[test]
fn scale_and_shift_per_channel() {
    let x = Tensor::<5>::from_data([[[[[1.0, -1.0]]], [[[2.0, 3.0]]]]], &device());
    let folded = Tensor::<2>::from_data([[2.0, -1.0], [0.5, 2.5]], &device());
    let y: Vec<f32> = norm_relu(x, folded).into_data().try_to_vec().unwrap();
    assert_eq!(y, [2.5, 0.0, 0.5, 0.0]);
}
