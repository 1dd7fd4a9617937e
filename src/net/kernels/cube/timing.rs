//! Times of single operators, measured when asked for.

use crate::net::{Engine, kernels};
use burn::tensor::{Device, Tensor};
use std::time::Instant;

#[test]
#[ignore = "a measurement"]
fn operators() {
    let gpu = pollster::block_on(Engine::gpu()).unwrap().device().clone();
    let time = |what: &str, gflop: f64, f: &dyn Fn(&Device) -> Tensor<5>| {
        let mut best = f64::MAX;
        for _ in 0..3 {
            let start = Instant::now();
            let y = f(&gpu);
            assert!(
                y.slice([0..1, 0..1, 0..1, 0..1, 0..1])
                    .into_scalar::<f32>()
                    .is_finite()
            );
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{what}: {:.1} ms, {:.2} GFLOPS", best * 1e3, gflop / best);
    };
    let x = |c, n| Tensor::<5>::ones([1, c, n, n, n], &gpu);
    let v = |c| Tensor::<1>::ones([c], &gpu);
    let folded = |c| Tensor::<2>::ones([2, c], &gpu);
    let (x48, x60, x36) = (x(48, 24), x(60, 24), x(36, 12));
    let w3 = Tensor::<5>::ones([12, 48, 3, 3, 3], &gpu);
    let w1 = Tensor::<2>::ones([48, 60], &gpu);
    let wu = Tensor::<5>::ones([36, 36, 3, 3, 3], &gpu);
    let n = 13.824e-6;
    time("conv3 48->12", 2.0 * 48.0 * 12.0 * 27.0 * n, &|_| {
        kernels::conv3(x48.clone(), w3.clone())
    });
    time("conv1 60->48", 2.0 * 48.0 * 60.0 * n, &|_| {
        kernels::conv1(x60.clone(), w1.clone())
    });
    time("norm conv1", 2.0 * 48.0 * 60.0 * n, &|_| {
        kernels::norm_relu_conv1(x60.clone(), 0, folded(60), w1.clone())
    });
    time("norm conv3 into", 2.0 * 48.0 * 12.0 * 27.0 * n, &|_| {
        kernels::norm_relu_conv3_into(x(60, 24), 48, x48.clone(), folded(48), w3.clone())
    });
    time("up2", 2.0 * 36.0 * 36.0 * 27.0 * n / 8.0, &|_| {
        kernels::up2(x36.clone(), wu.clone())
    });
    time("pool", 0.0, &|_| kernels::max_pool2(x48.clone()));
    let grads = |x: &Tensor<5>, w: Tensor<5>, f: &dyn Fn(Tensor<5>, Tensor<5>) -> Tensor<5>, of_x: bool| {
        let (mut x, mut w) = (x.clone().autodiff(), w.autodiff());
        if of_x {
            x = x.require_grad();
        } else {
            w = w.require_grad();
        }
        let grads = f(x.clone(), w.clone()).sum().backward();
        if of_x {
            x.grad(&grads).unwrap()
        } else {
            w.grad(&grads).unwrap()
        }
    };
    let w1 = w1.reshape([48, 60, 1, 1, 1]);
    let conv1 = |x: Tensor<5>, w: Tensor<5>| kernels::conv1(x, w.reshape([48, 60]));
    for of_x in [true, false] {
        println!("forward and gradient of {}", if of_x { "x" } else { "w" });
        let flop = 4.0 * 48.0 * 12.0 * 27.0 * n;
        time("conv3", flop, &|_| grads(&x48, w3.clone(), &kernels::conv3, of_x));
        time("conv1", 4.0 * 48.0 * 60.0 * n, &|_| {
            grads(&x60, w1.clone(), &conv1, of_x)
        });
        time("up2", 4.0 * 36.0 * 36.0 * 27.0 * n / 8.0, &|_| {
            grads(&x36, wu.clone(), &kernels::up2, of_x)
        });
    }
    time("norm", 0.0, &|_| {
        let x = x60.clone().autodiff().require_grad();
        let rows = (Tensor::<2>::ones([6, 60], &gpu), folded(60));
        let grads = kernels::norm_relu_train(x.clone(), v(60).autodiff(), v(60).autodiff(), rows, false)
            .sum()
            .backward();
        x.grad(&grads).unwrap()
    });
    time("statistics", 0.0, &|_| {
        kernels::channel_stats(x60.clone(), 0, 60, false).reshape([1, 1, 1, 2, 60])
    });
}
