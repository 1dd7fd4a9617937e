//! The operators of inference on CubeCL backends.

use super::launch::{Folds, Shaped, empty};
use super::{conv1, conv3, norm, owned, up2};
use crate::net::kernels::infer::{Infer, Read};
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;

impl Infer for CubeBackend {
    fn packed1(w: FloatTensor<Self>) -> FloatTensor<Self> {
        conv1::pack(&into_contiguous(w), false)
    }

    fn packed3(w: FloatTensor<Self>) -> FloatTensor<Self> {
        conv3::pack(&into_contiguous(w), false)
    }

    fn measured(
        folds: FloatTensor<Self>,
        x: FloatTensor<Self>,
        affine: FloatTensor<Self>,
        from: usize,
        count: usize,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let [folds, x, affine] = [folds, x, affine].map(into_contiguous);
        let folds = owned(folds);
        norm::measured(&folds, &x, &affine, from, count, epsilon);
        folds
    }

    fn product(
        x: FloatTensor<Self>,
        folds: FloatTensor<Self>,
        w: FloatTensor<Self>,
        read: Read,
    ) -> FloatTensor<Self> {
        let [x, folds, w] = [x, folds, w].map(into_contiguous);
        let folds = Folds::of(folds, x.dims5()[1], read);
        conv1::conv1(&x, Some(folds), &w, None, read)
    }

    fn product_relu(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: usize,
    ) -> FloatTensor<Self> {
        let [x, w, bias] = [x, w, bias].map(into_contiguous);
        let read = Read::all(x.dims5()[1], out);
        conv1::conv1(&x, None, &w, Some(bias), read)
    }

    fn packed_conv3(x: FloatTensor<Self>, w: FloatTensor<Self>, out: usize) -> FloatTensor<Self> {
        let [x, w] = [x, w].map(into_contiguous);
        let [batch, channels, d, h, width] = x.dims5();
        let y = empty(&x, [batch, out, d, h, width]);
        conv3::conv3_into(&x, None, &w, Read::all(channels, out), &y, 0);
        y
    }

    fn conv3_into(
        block: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        folds: FloatTensor<Self>,
        w: FloatTensor<Self>,
        read: Read,
    ) -> FloatTensor<Self> {
        let [block, x, folds, w] = [block, x, folds, w].map(into_contiguous);
        let block = owned(block);
        let folds = Folds::of(folds, x.dims5()[1], read);
        conv3::conv3_into(&x, Some(folds), &w, read, &block, at);
        block
    }

    fn conv3_within(
        block: FloatTensor<Self>,
        at: usize,
        folds: FloatTensor<Self>,
        w: FloatTensor<Self>,
        read: Read,
    ) -> FloatTensor<Self> {
        let [block, folds, w] = [block, folds, w].map(into_contiguous);
        let block = owned(block);
        let folds = Folds::of(folds, block.dims5()[1], read);
        conv3::conv3_into(&block, Some(folds), &w, read, &block, at);
        block
    }

    fn norm_relu_into(
        block: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        folds: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [block, x, folds] = [block, x, folds].map(into_contiguous);
        let block = owned(block);
        let channels = x.dims5()[1];
        let folds = Folds::of(folds, channels, Read::all(channels, channels));
        norm::norm_relu_into(&x, 0, channels, &folds, &block, at);
        block
    }

    fn max_pool2_into(block: FloatTensor<Self>, at: usize, x: FloatTensor<Self>) -> FloatTensor<Self> {
        let [block, x] = [block, x].map(into_contiguous);
        let block = owned(block);
        up2::max_pool2_into(&x, &block, at);
        block
    }

    fn up2_into(
        block: FloatTensor<Self>,
        below: FloatTensor<Self>,
        from: usize,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [block, below, w, bias] = [block, below, w, bias].map(into_contiguous);
        let block = owned(block);
        up2::up2_into(&below, from, &w, Some(bias), &block, 0);
        block
    }

    fn doubled_sum(x: FloatTensor<Self>, w: FloatTensor<Self>, probabilities: bool) -> FloatTensor<Self> {
        up2::doubled_sum(&into_contiguous(x), &into_contiguous(w), probabilities)
    }
}

#[cfg(test)]
mod tests {
    //! Against the compositions on the CPU, over odd sizes.
    use super::super::tests::{agree, values};
    use crate::net::kernels::infer::{self as ops, Read};
    use burn::tensor::{Device, Tensor};
    use proptest::prelude::*;

    fn five(shape: [usize; 5], seed: usize, on: &Device) -> Tensor<5> {
        Tensor::from_data(values(shape, seed), on)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10))]

        #[test]
        fn operators_are_those_of_the_cpu(
            batch in 1_usize..4, from in 0_usize..4, count in 1_usize..14, out in 1_usize..14, norms in 1_usize..4,
            [d, h, w] in prop::array::uniform3(1_usize..10), seed in 0_usize..1000, own: bool,
        ) {
            // What is read, what is written, and one channel more.
            let at = from + count;
            let width = at + out + 1;
            let read = Read { from, count, norm: norms - 1, out };
            let table = |columns: usize, on: &Device| {
                Tensor::<3>::from_data(values([norms, 2, columns], seed + 1), on)
            };
            let columns = if own { batch } else { 1 } * width;
            let block = |on: &Device| five([batch, width, d, h, w], seed, on);
            let matrix = |shape: [usize; 2], on: &Device| Tensor::<2>::from_data(values(shape, seed + 2), on);
            let weights = |shape: [usize; 5], on: &Device| five(shape, seed + 3, on);
            let bias = |n: usize, on: &Device| Tensor::<1>::from_data(values([n], seed + 4), on);

            agree("measured", |on| {
                let folds = Tensor::zeros([norms, 2, batch * width], on);
                // A variance of nothing but rounding has no digits in common.
                let folds = ops::measured(folds, block(on), table(width, on), (from, count), 0.1);
                folds.reshape([1, 1, norms, 2, batch * width])
            });
            agree("product", |on| {
                ops::product(block(on), table(columns, on), ops::packed1(matrix([out, count], on)), read)
            });
            agree("product_relu", |on| {
                ops::product_relu(block(on), ops::packed1(matrix([out, width], on)), bias(out, on), out)
            });
            agree("packed_conv3", |on| {
                ops::packed_conv3(block(on), ops::packed3(weights([out, width, 3, 3, 3], on)), out)
            });
            let w3 = |on: &Device| ops::packed3(weights([out, count, 3, 3, 3], on));
            agree("conv3_into", |on| {
                let room = five([batch, out + 3, d, h, w], seed + 5, on);
                ops::conv3_into(room, 2, block(on), table(columns, on), w3(on), read)
            });
            agree("conv3_within", |on| ops::conv3_within(block(on), at, table(columns, on), w3(on), read));
            agree("norm_relu_into", |on| {
                let room = five([batch, width + 2, d, h, w], seed + 5, on);
                let table = table(columns, on).narrow(0, 0, 1);
                ops::norm_relu_into(room, 1, block(on), table)
            });
            let large = |channels: usize, on: &Device| five([batch, channels, 2 * d, 2 * h, 2 * w], seed + 6, on);
            agree("max_pool2_into", |on| ops::max_pool2_into(block(on), 1, large(out, on)));
            agree("up2_into", |on| {
                let w = weights([count, out, 3, 3, 3], on);
                ops::up2_into(large(out + 2, on), block(on), from, w, bias(out, on))
            });
            for probabilities in [false, true] {
                agree("doubled_sum", |on| {
                    let x = five([batch, 8 * out, d, h, w], seed, on);
                    ops::doubled_sum(x, matrix([1, out], on), probabilities)
                });
            }
        }
    }
}
