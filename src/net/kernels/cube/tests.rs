//! The kernels against those of the CPU backend, over odd sizes, on whatever adapter there is.
use crate::net::Engine;
use crate::net::kernels::tiles::{Class, Tiles};
use crate::net::kernels::{self, Kernels, Normalisation, Renorm};
use burn::backend::Dispatch;
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use std::sync::OnceLock;

pub(in crate::net::kernels) fn gpu() -> Option<&'static Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    DEVICE
        .get_or_init(|| match pollster::block_on(Engine::gpu()) {
            Ok(engine) => Some(engine.device().clone()),
            Err(why) => {
                eprintln!("skipped: no GPU adapter ({why})");
                None
            }
        })
        .as_ref()
}

pub(super) fn values<const D: usize>(shape: [usize; D], seed: usize) -> TensorData {
    let n = shape.iter().product();
    let value = |i: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
    TensorData::new((0..n).map(value).collect::<Vec<f32>>(), shape)
}

fn normalisation(frozen: bool) -> Normalisation {
    Normalisation {
        epsilon: 1.1e-5,
        batch: (!frozen).then_some(Renorm {
            momentum: 0.1,
            r_max: 2.0,
            d_max: 0.5,
        }),
        by_sample: false,
    }
}

pub(super) fn agree(what: &str, operator: impl Fn(&Device) -> Tensor<5>) {
    let Some(gpu) = gpu() else { return };
    let data = |device: &Device| operator(device).into_data();
    let (ours, expected) = (data(gpu), data(&Device::flex()));
    assert_eq!(ours.shape(), expected.shape(), "{what}");
    let (ours, expected): (Vec<f32>, Vec<f32>) = (ours.try_to_vec().unwrap(), expected.try_to_vec().unwrap());
    let scale = expected.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
    for (i, (a, b)) in ours.iter().zip(&expected).enumerate() {
        // f32 sums of up to a few thousand products, in another order; at the points of Winograd's tiles a few bits fewer are left.
        assert!(
            (a - b).abs() <= 1e-5 * scale,
            "{what}: element {i} is {a}, not {b}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn convolutions_are_those_of_the_cpu(
        batch in 1_usize..3, cin in 1_usize..14, cout in 1_usize..14,
        [d, h, w] in prop::array::uniform3(1_usize..12), seed in 0_usize..1000,
    ) {
        let tensor = |shape: [usize; 5], s, device: &Device| Tensor::<5>::from_data(values(shape, s), device);
        let x = |device: &Device| tensor([batch, cin, d, h, w], seed, device);
        agree("conv3", |on| kernels::conv3(x(on), tensor([cout, cin, 3, 3, 3], seed + 1, on)));
        agree("up2", |on| kernels::up2(x(on), tensor([cin, cout, 3, 3, 3], seed + 2, on)));
        agree("conv1", |on| {
            kernels::conv1(x(on), Tensor::<2>::from_data(values([cout, cin], seed + 3), on))
        });
    }

    #[test]
    fn steps_of_a_dense_layer_are_those_of_the_cpu(
        batch in 1_usize..3, room in 0_usize..5, cin in 1_usize..10, cout in 1_usize..10,
        [d, h, w] in prop::array::uniform3(1_usize..12), seed in 0_usize..1000, by_sample: bool,
    ) {
        let columns = if by_sample { batch } else { 1 } * cin;
        let norm = |on: &Device| Tensor::<2>::from_data(values([2, columns], seed), on);
        let total = room + cin + cout;
        let block = |on: &Device| Tensor::<5>::from_data(values([batch, total, d, h, w], seed + 2), on);
        agree("norm_relu_conv1", |on| {
            let w = Tensor::<2>::from_data(values([cout, cin], seed + 3), on);
            kernels::norm_relu_conv1(block(on), room, norm(on), w)
        });
        agree("norm_relu_conv3_into", |on| {
            let x = Tensor::<5>::from_data(values([batch, cin, d, h, w], seed + 4), on);
            let w = Tensor::<5>::from_data(values([cout, cin, 3, 3, 3], seed + 5), on);
            kernels::norm_relu_conv3_into(block(on), room, x, norm(on), w)
        });
        agree("channel_stats", |on| {
            kernels::channel_stats(block(on), room, cin, by_sample).reshape([1, 1, 1, 2, columns])
        });
    }
}

#[cfg(feature = "learn")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn gradients_are_those_of_the_cpu(
        batch in 1_usize..3, cin in 1_usize..11, cout in 1_usize..11,
        [d, h, w] in prop::array::uniform3(1_usize..9), seed in 0_usize..1000,
    ) {
        let five = |shape: [usize; 5], s, on: &Device| Tensor::<5>::from_data(values(shape, s), on);
        // The gradient of a weighted sum of the operator's output, for its input and for its weights.
        type Operator = fn(Tensor<5>, Tensor<5>) -> Tensor<5>;
        let operators: [(&str, Operator, [usize; 5]); 3] = [
            ("conv3", |x, w| kernels::conv3(x, w), [cout, cin, 3, 3, 3]),
            ("up2", |x, w| kernels::up2(x, w), [cin, cout, 3, 3, 3]),
            ("conv1", |x, w| {
                let [out, input, ..] = w.dims();
                kernels::conv1(x, w.reshape([out, input]))
            }, [cout, cin, 1, 1, 1]),
        ];
        for (what, operator, weights) in operators {
            for of_weights in [false, true] {
                agree(&format!("{what} gradient, weights: {of_weights}"), |on| {
                    let on = on.clone().autodiff();
                    let x = five([batch, cin, d, h, w], seed, &on).require_grad();
                    let k = five(weights, seed + 1, &on).require_grad();
                    let y = operator(x.clone(), k.clone());
                    let g = five(y.dims(), seed + 2, &on);
                    let grads = (y * g).sum().backward();
                    if of_weights { k.grad(&grads).unwrap() } else { x.grad(&grads).unwrap() }
                });
            }
        }
        for of_bias in [false, true] {
            agree(&format!("bias_relu gradient, bias: {of_bias}"), |on| {
                let on = on.clone().autodiff();
                let x = five([batch, cin, d, h, w], seed, &on).require_grad();
                let bias = Tensor::<1>::from_data(values([cin], seed + 3), &on).require_grad();
                let y = kernels::bias_relu(x.clone(), bias.clone());
                let g = five(y.dims(), seed + 4, &on);
                let grads = (y * g).sum().backward();
                if of_bias {
                    bias.grad(&grads).unwrap().reshape([1, cin, 1, 1, 1])
                } else {
                    x.grad(&grads).unwrap()
                }
            });
        }
        for channels in [cin, cin.div_ceil(2)] {
            // As a block's backward pass asks: the first channels of a wider buffer, normalised while they are read.
            agree(&format!("norm_relu_conv1_dw of {channels} channels of {cin}"), |on| {
                let folded = Tensor::<2>::from_data(values([2, channels], seed + 7), on);
                let k = Tensor::<2>::from_data(values([cout, channels], seed + 8), on);
                let dw = Dispatch::norm_relu_conv1_dw(
                    five([batch, cin, d, h, w], seed, on).into_dispatch(),
                    folded.into_dispatch(),
                    five([batch, cout, d, h, w], seed + 9, on).into_dispatch(),
                    k.into_dispatch(),
                );
                Tensor::<2>::from_dispatch(dw).reshape([1, 1, 1, cout, channels])
            });
        }
        agree("norm_relu_conv3_dw", |on| {
            let folded = Tensor::<2>::from_data(values([2, cin], seed + 7), on);
            let dw = Dispatch::norm_relu_conv3_dw(
                five([batch, cin, d, h, w], seed, on).into_dispatch(),
                folded.into_dispatch(),
                five([batch, cout, d, h, w], seed + 9, on).into_dispatch(),
                five([cout, cin, 3, 3, 3], seed + 8, on).into_dispatch(),
            );
            Tensor::<5>::from_dispatch(dw)
        });
        for (frozen, of_input) in [(false, true), (true, true), (false, false)] {
            agree(&format!("norm_relu_train gradient, frozen: {frozen}"), |on| {
                let on = on.clone().autodiff();
                let x = five([batch, cin, d, h, w], seed, &on).require_grad();
                let [gamma, beta] = [3, 4].map(|s| {
                    Tensor::<1>::from_data(values([cin], seed + s), &on).require_grad()
                });
                let norm = normalisation(frozen);
                let running = Tensor::<2>::from_data(values([2, cin], seed + 5), &on).abs();
                let now = kernels::channel_stats(x.clone(), 0, x.dims()[1], false);
                let applied = kernels::norm_rows(
                    Some(now),
                    Some(running),
                    [gamma.clone(), beta.clone()],
                    1,
                    norm,
                );
                let y = kernels::norm_relu_train(x.clone(), gamma.clone(), beta.clone(), applied, frozen);
                let g = five(y.dims(), seed + 6, &on);
                let grads = (y * g).sum().backward();
                if of_input {
                    return x.grad(&grads).unwrap();
                }
                let both = vec![gamma.grad(&grads).unwrap(), beta.grad(&grads).unwrap()];
                Tensor::cat(both, 0).reshape([1, 2, cin, 1, 1])
            });
        }
    }
}

#[test]
fn tiles_of_every_shape_give_the_same() {
    let Some(_) = gpu() else { return };
    let usual = Tiles::get();
    for tiles in usual.candidates().concat() {
        tiles.set();
        let tensor = |shape: [usize; 5], s, on: &Device| Tensor::<5>::from_data(values(shape, s), on);
        agree(&format!("conv3 by {tiles:?}"), |on| {
            kernels::conv3(tensor([1, 5, 3, 19, 6], 1, on), tensor([14, 5, 3, 3, 3], 2, on))
        });
        agree(&format!("conv1 by {tiles:?}"), |on| {
            let w = Tensor::<2>::from_data(values([14, 5], 3), on);
            kernels::conv1(tensor([2, 5, 3, 4, 19], 1, on), w)
        });
    }
    usual.set();
}

/// The tests' adapter is of one class only.
#[test]
fn tiles_of_both_classes_give_the_same_gradients() {
    let Some(_) = gpu() else { return };
    let usual = Tiles::get();
    for tiles in [Tiles::of(Class::Software), Tiles::of(Class::Hardware)] {
        tiles.set();
        let of =
            |shape: [usize; 5], s, on: &Device| Tensor::<5>::from_data(values(shape, s), on).into_dispatch();
        let (x, dy) = ([2, 13, 5, 7, 6], [2, 14, 5, 7, 6]);
        agree(&format!("conv3_dw by {tiles:?}"), |on| {
            let w = of([14, 13, 3, 3, 3], 3, on);
            Tensor::from_dispatch(Dispatch::conv3_dw(of(x, 1, on), of(dy, 2, on), w))
        });
        agree(&format!("conv1_dw by {tiles:?}"), |on| {
            let w = Tensor::<2>::from_data(values([14, 13], 3), on).into_dispatch();
            let dw = Dispatch::conv1_dw(of(x, 1, on), of(dy, 2, on), w);
            Tensor::<2>::from_dispatch(dw).reshape([14, 13, 1, 1, 1])
        });
        let (x, dy, w) = ([2, 13, 3, 2, 5], [2, 7, 6, 4, 10], [13, 7, 3, 3, 3]);
        agree(&format!("up2 by {tiles:?}"), |on| {
            Tensor::from_dispatch(Dispatch::up2(of(x, 1, on), of(w, 3, on)))
        });
        agree(&format!("up2_dx by {tiles:?}"), |on| {
            Tensor::from_dispatch(Dispatch::up2_dx(of(dy, 2, on), of(w, 3, on)))
        });
        agree(&format!("up2_dw by {tiles:?}"), |on| {
            Tensor::from_dispatch(Dispatch::up2_dw(of(x, 1, on), of(dy, 2, on), of(w, 3, on)))
        });
    }
    usual.set();
}

#[cfg(feature = "learn")]
#[test]
fn a_dense_block_is_that_of_the_cpu() {
    use kernels::tests::{block_on, block_plan, by_sample, close_to, part};
    let Some(gpu) = gpu() else { return };
    for (samples, frozen, keep, own) in [
        (1, false, true, false),
        (2, false, false, false),
        (2, true, true, false),
        (3, false, true, true),
    ] {
        let batch = normalisation(frozen).batch;
        let plan = kernels::BlockPlan {
            keep,
            ..block_plan(4, 3, batch)
        };
        let plan = if own { by_sample(plan) } else { plan };
        let ours = block_on(gpu, samples, (plan, true), false);
        let cpu = block_on(&Device::flex(), samples, (plan, true), false);
        assert_eq!(ours.len(), cpu.len());
        for (i, (a, b)) in ours.iter().zip(&cpu).enumerate() {
            // Three layers of sums of a few hundred products in f32, in another order.
            close_to(a, b, 3e-5, &format!("{} of {plan:?}", part(i)));
        }
    }
}

#[cfg(feature = "learn")]
#[test]
fn statistics_far_from_zero_survive() {
    agree("channel_stats", |on| {
        let x = Tensor::<5>::from_data(values([2, 3, 5, 6, 7], 3), on)
            .mul_scalar(0.1)
            .add_scalar(300.0);
        let stats = kernels::channel_stats(x.clone(), 0, x.dims()[1], false);
        // The variance alone, at its own scale.
        stats
            .slice([1..2, 0..3])
            .mul_scalar(100.0)
            .reshape([1, 1, 1, 1, 3])
    });
}

#[test]
fn a_block_that_others_hold_is_not_changed() {
    let Some(gpu) = gpu() else { return };
    let ones = Tensor::<5>::ones([1, 5, 4, 4, 4], gpu);
    let x = Tensor::<5>::ones([1, 2, 4, 4, 4], gpu);
    let norm = Tensor::ones([2, 2], gpu);
    let w = Tensor::<5>::ones([2, 2, 3, 3, 3], gpu);
    let changed = kernels::norm_relu_conv3_into(ones.clone(), 1, x, norm, w);
    assert_eq!(ones.sum().into_scalar::<f32>(), 320.0);
    assert!(changed.sum().into_scalar::<f32>() > 1000.0);
}

#[test]
fn maxima_are_those_of_the_cpu() {
    for shape in [[1, 1, 2, 2, 2], [2, 3, 4, 6, 10], [1, 5, 12, 2, 8]] {
        agree("max_pool2", |on| {
            kernels::max_pool2(Tensor::<5>::from_data(values(shape, 5), on))
        });
        #[cfg(feature = "learn")]
        agree("max_pool2 gradient", |on| {
            let on = on.clone().autodiff();
            // Few values, so that many cubes have several largest voxels.
            let x = Tensor::<5>::from_data(values(shape, 5), &on)
                .mul_scalar(3.0)
                .round()
                .require_grad();
            let y = kernels::max_pool2(x.clone());
            let g = Tensor::<5>::from_data(values(y.dims(), 6), &on);
            x.grad(&(y * g).sum().backward()).unwrap()
        });
    }
}
