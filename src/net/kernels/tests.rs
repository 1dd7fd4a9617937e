//! Our operators against compositions of burn's stock ones, values and gradients.
use super::*;
use burn::tensor::Device;
#[cfg(feature = "learn")]
use burn::tensor::{Distribution, module};

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
    let found = channel_stats(x.clone());
    close(
        &found,
        &Tensor::cat(vec![mean.clone(), variance.clone()], 1)
            .swap_dims(0, 1)
            .detach(),
        "statistics",
    );
    let now = found.clone().slice([0..1, 0..3]).reshape([3]);
    let rstd = found
        .slice([1..2, 0..3])
        .reshape([3])
        .add_scalar(1e-5)
        .sqrt()
        .recip();
    let rows = vec![now.clone(), rstd, now.ones_like(), now.zeros_like()];
    let ours = norm_relu_train(
        x.clone(),
        gamma.clone(),
        beta.clone(),
        Tensor::stack(rows, 0),
        false,
    );
    close(&ours, &stock, "forward");
    let g = (ours * dy.clone()).sum().backward();
    let s = (stock * dy).sum().backward();
    close(&x.grad(&g).unwrap(), &x.grad(&s).unwrap(), "dx");
    close(&gamma.grad(&g).unwrap(), &gamma.grad(&s).unwrap(), "dgamma");
    close(&beta.grad(&g).unwrap(), &beta.grad(&s).unwrap(), "dbeta");
}

#[test]
#[cfg(feature = "learn")]
fn the_stock_backward_pass_equals_ours() {
    use burn::backend::Flex;
    use burn::tensor::Device;
    let plain = Device::flex();
    let random = |shape: [usize; 5]| Tensor::<5>::random(shape, Distribution::Normal(0.0, 1.0), &plain);
    let (x, dy) = (random([2, 3, 2, 3, 4]), random([2, 3, 2, 3, 4]));
    let row = || Tensor::<1>::random([3], Distribution::Uniform(0.5, 1.5), &plain);
    let stats = Tensor::stack::<2>(vec![row(), row(), row(), row()], 0);
    let (gamma, beta) = (row(), row());
    let primitive5 = |t: &Tensor<5>| t.clone().try_into_primitive::<Flex>().unwrap();
    let primitive1 = |t: &Tensor<1>| t.clone().try_into_primitive::<Flex>().unwrap();
    for frozen in [false, true] {
        let stats = || stats.clone().try_into_primitive::<Flex>().unwrap();
        let (x, dy) = (primitive5(&x), primitive5(&dy));
        let (gamma, beta) = (primitive1(&gamma), primitive1(&beta));
        let ours = Flex::norm_relu_backward(
            x.clone(),
            dy.clone(),
            gamma.clone(),
            beta.clone(),
            stats(),
            frozen,
        );
        let stock = stock_norm_relu_backward::<Flex>(x, dy, gamma, beta, &stats(), frozen);
        close(
            &Tensor::<5>::from_primitive::<Flex>(ours.0),
            &Tensor::<5>::from_primitive::<Flex>(stock.0),
            "dx",
        );
        close(
            &Tensor::<2>::from_primitive::<Flex>(ours.1),
            &Tensor::<2>::from_primitive::<Flex>(stock.1),
            "parameters",
        );
    }
}

#[test]
fn scale_and_shift_per_channel() {
    let x = Tensor::<5>::from_data([[[[[1.0, -1.0]]], [[[2.0, 3.0]]]]], &device());
    let scale = Tensor::<1>::from_data([2.0, -1.0], &device());
    let shift = Tensor::<1>::from_data([0.5, 2.5], &device());
    let y: Vec<f32> = norm_relu(x, scale, shift).into_data().try_to_vec().unwrap();
    assert_eq!(y, [2.5, 0.0, 0.5, 0.0]);
}
