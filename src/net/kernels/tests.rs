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
    let affine = [gamma.clone(), beta.clone()];
    let applied = norm_rows(Some(found), Some(running), affine, 1, norm);
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
        let [of_now, of_running] = [&now, &running].map(|t| Some(two(t)));
        let affine = [gamma.clone(), beta.clone()];
        let stock = norm::stock_rows::<Flex>(of_now.clone(), of_running.clone(), affine, 1, norm);
        let (rows, folded) = Flex::norm_rows(
            Tensors::maybe(of_now),
            Tensors::maybe(of_running),
            gamma,
            beta,
            1,
            norm,
        );
        same2(rows.clone(), stock.0, "rows");
        same2(folded.clone(), stock.1, "folded rows");

        let frozen = norm.frozen();
        let part = channels_of::<Flex>(five(&x), 0, 3);
        let ours = Flex::norm_relu_backward(part.clone(), five(&dy), rows.clone(), folded.clone(), frozen);
        let stock = norm::stock_backward::<Flex>(part, five(&dy), &rows, &folded, frozen);
        same5(ours.0.clone(), stock.0, "dx");
        let flat = |t| Tensor::<1>::from_primitive::<Flex>(t);
        close(&flat(ours.1.clone()), &flat(stock.1), "gamma");
        close(&flat(ours.2.clone()), &flat(stock.2), "beta");
        let into = Flex::norm_relu_backward_into(five(&x), five(&x), five(&dy), rows, folded, frozen);
        let sum = Flex::float_add(channels_of::<Flex>(five(&x), 0, 3), ours.0);
        same5(into.0, put::<Flex>(five(&x), 0, sum), "added");
        close(&flat(into.1), &flat(ours.1), "gamma");
        close(&flat(into.2), &flat(ours.2), "beta");
    }
}

/// A dense block of single differentiable operators, as it stands in the paper.
#[cfg(feature = "learn")]
fn composed_block(
    x: Tensor<5>,
    layers: &[LayerTensors],
    mask: Option<&Tensor<5>>,
    plan: BlockPlan,
) -> Tensor<5> {
    let norm = |x: Tensor<5>, t: &NormTensors| {
        let [batch, channels, ..] = x.dims();
        let now = channel_stats(x.clone(), 0, channels, plan.norm.by_sample);
        let samples = plan.norm.samples(batch);
        let affine = [t.gamma.clone(), t.beta.clone()];
        let applied = norm_rows(Some(now), t.running.clone(), affine, samples, plan.norm);
        norm_relu_train(x, t.gamma.clone(), t.beta.clone(), applied, plan.norm.frozen())
    };
    let mut all = x;
    for (l, layer) in layers.iter().enumerate() {
        let b = conv1(norm(all.clone(), &layer.outer), layer.w1.clone());
        let mut y = conv3(norm(b, &layer.middle), layer.w3.clone());
        if let Some(mask) = mask {
            y = y * mask.clone().narrow(1, l * plan.growth, plan.growth);
        }
        all = Tensor::cat(vec![all, y], 1);
    }
    all
}

/// Values, gradients and next statistics of a dense block on a device, ours or composed.
#[cfg(feature = "learn")]
pub(super) fn block_on(
    device: &Device,
    batch: usize,
    (plan, dropout): (BlockPlan, bool),
    composed: bool,
) -> Vec<Vec<f32>> {
    let device = &device.clone().autodiff();
    let values = |n: usize, seed: usize, scale: f32| {
        let value = |i: usize| (((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0) * scale;
        TensorData::new((0..n).map(value).collect::<Vec<f32>>(), [n])
    };
    let vector = |n: usize, seed, scale: f32, shift: f32| {
        Tensor::<1>::from_data(values(n, seed, scale), device).add_scalar(shift)
    };
    let voxels = [3, 4, 6];
    let five = |channels: usize, seed| {
        let shape = [batch, channels, voxels[0], voxels[1], voxels[2]];
        vector(shape.iter().product(), seed, 1.0, 0.0).reshape(shape)
    };
    let norm = |channels: usize, seed| NormTensors {
        gamma: vector(channels, seed, 0.3, 1.0).require_grad(),
        beta: vector(channels, seed + 1, 0.3, 0.2).require_grad(),
        running: (plan.norm.reads_running())
            .then(|| vector(2 * channels, seed + 2, 0.5, 1.0).reshape([2, channels])),
    };
    let layers: Vec<LayerTensors> = (0..plan.layers)
        .map(|l| {
            let (reads, seed) = (plan.reads(l), 20 * l);
            let w1 = vector(plan.inner * reads, seed + 13, 0.3, 0.0).reshape([plan.inner, reads]);
            let w3 = vector(plan.growth * plan.inner * 27, seed + 14, 0.1, 0.0);
            LayerTensors {
                outer: norm(reads, seed + 10),
                w1: w1.require_grad(),
                middle: norm(plan.inner, seed + 15),
                w3: w3.reshape([plan.growth, plan.inner, 3, 3, 3]).require_grad(),
            }
        })
        .collect();
    let mask = dropout.then(|| five(plan.layers * plan.growth, 6).greater_elem(-0.5).float());
    let x = five(plan.input, 7).require_grad();
    let (all, next) = if composed {
        (
            composed_block(x.clone(), &layers, mask.as_ref(), plan),
            Vec::new(),
        )
    } else {
        dense_block(x.clone(), layers.clone(), mask, plan)
    };
    let weight = five(plan.channels(), 8);
    let grads = (all.clone() * weight).sum().backward();
    let read = |data: TensorData| data.try_to_vec::<f32>().unwrap();
    let mut out = vec![read(all.into_data()), read(x.grad(&grads).unwrap().into_data())];
    for layer in &layers {
        for norm in [&layer.outer, &layer.middle] {
            out.push(read(norm.gamma.grad(&grads).unwrap().into_data()));
            out.push(read(norm.beta.grad(&grads).unwrap().into_data()));
        }
        out.push(read(layer.w1.grad(&grads).unwrap().into_data()));
        out.push(read(layer.w3.grad(&grads).unwrap().into_data()));
    }
    out.extend(next.into_iter().map(|next| read(next.into_data())));
    out
}

#[cfg(feature = "learn")]
pub(super) fn block_plan(input: usize, layers: usize, batch: Option<Renorm>) -> BlockPlan {
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
        let plan = block_plan(input, layers, batch);
        let ours = block_on(&Device::flex(), samples, (plan, dropout), false);
        let composed = block_on(&Device::flex(), samples, (plan, dropout), true);
        for (i, (a, b)) in ours.iter().zip(&composed).enumerate() {
            close_to(a, b, 1e-5, &format!("{} of {plan:?}", part(i)));
        }
        let updates = batch.is_some_and(|batch| batch.momentum > 0.0);
        let next = if updates { 2 * layers } else { 0 };
        assert_eq!(
            (composed.len(), ours.len()),
            (2 + 6 * layers, 2 + 6 * layers + next)
        );
        let again = BlockPlan { keep: false, ..plan };
        assert_eq!(
            block_on(&Device::flex(), samples, (again, dropout), false),
            ours,
            "made again"
        );
    }
}

/// What [`block_on`] answers at `i`.
#[cfg(feature = "learn")]
pub(super) fn part(i: usize) -> String {
    let names = ["dgamma", "dbeta", "inner dgamma", "inner dbeta", "dw1", "dw3"];
    match i {
        0 => "maps".into(),
        1 => "dx".into(),
        _ => format!("{} of layer {}", names[(i - 2) % 6], (i - 2) / 6),
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
    let plan = by_sample(block_plan(4, 3, None));
    let ours = block_on(&Device::flex(), 3, (plan, true), false);
    let composed = block_on(&Device::flex(), 3, (plan, true), true);
    assert_eq!(ours.len(), composed.len());
    for (i, (a, b)) in ours.iter().zip(&composed).enumerate() {
        close_to(a, b, 1e-5, &part(i));
    }
}

#[test]
fn scale_and_shift_per_channel() {
    let x = Tensor::<5>::from_data([[[[[1.0, -1.0]]], [[[2.0, 3.0]]]]], &device());
    let folded = Tensor::<2>::from_data([[2.0, -1.0], [0.5, 2.5]], &device());
    let y: Vec<f32> = norm_relu(x, folded).into_data().try_to_vec().unwrap();
    assert_eq!(y, [2.5, 0.0, 0.5, 0.0]);
}
