//! The operators on the CPU backend: our kernels under burn's tensors.

use super::{Kernels, cpu};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Shape, TensorData};

/// The values of a tensor in order, copied only if its layout needs it.
struct Values(FloatTensor<Flex>);

impl Values {
    fn new(tensor: FloatTensor<Flex>) -> Self {
        Self(if tensor.is_contiguous() {
            tensor
        } else {
            tensor.to_contiguous()
        })
    }

    fn get(&self) -> &[f32] {
        let all: &[f32] = self.0.storage();
        let (start, end) = self.0.layout().contiguous_offsets().unwrap_or((0, all.len()));
        &all[start..end]
    }
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

/// `[batch, channel]` and the extent.
fn split(t: &FloatTensor<Flex>) -> (usize, usize, cpu::Extent) {
    let [batch, channels, d, h, w] = t.shape().dims::<5>();
    (batch, channels, [d, h, w])
}

/// The rows of a `[rows, channels]` matrix.
fn row(values: &[f32], channels: usize, index: usize) -> &[f32] {
    &values[index * channels..][..channels]
}

impl Kernels for Flex {
    fn conv3(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, cin, extent) = split(&x);
        let cout = w.shape()[0];
        let (x, w) = (Values::new(x), Values::new(w));
        let voxels: usize = extent.iter().product();
        let mut y = vec![0.0; batch * cout * voxels];
        for (x, y) in x.get().chunks(cin * voxels).zip(y.chunks_mut(cout * voxels)) {
            cpu::forward(x, w.get(), cin, cout, extent, y);
        }
        tensor(y, [batch, cout, extent[0], extent[1], extent[2]])
    }

    fn conv3_dx(dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, cout, extent) = split(&dy);
        let cin = w.shape()[1];
        let (dy, w) = (Values::new(dy), Values::new(w));
        let voxels: usize = extent.iter().product();
        let mut dx = vec![0.0; batch * cin * voxels];
        for (dy, dx) in dy.get().chunks(cout * voxels).zip(dx.chunks_mut(cin * voxels)) {
            cpu::data_gradient(dy, w.get(), cin, cout, extent, dx);
        }
        tensor(dx, [batch, cin, extent[0], extent[1], extent[2]])
    }

    fn conv3_dw(x: FloatTensor<Self>, dy: FloatTensor<Self>, _w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (_, cin, extent) = split(&x);
        let cout = dy.shape()[1];
        let (x, dy) = (Values::new(x), Values::new(dy));
        let voxels: usize = extent.iter().product();
        let mut dw = vec![0.0; cout * cin * 27];
        for (x, dy) in x.get().chunks(cin * voxels).zip(dy.get().chunks(cout * voxels)) {
            cpu::weight_gradient(x, dy, cin, cout, extent, &mut dw);
        }
        tensor(dw, [cout, cin, 3, 3, 3])
    }

    fn up2(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, cin, small) = split(&x);
        let cout = w.shape()[1];
        let voxels: usize = small.iter().product();
        // columns = w^T x, one matrix product; then each column goes to its place.
        let x = Self::float_reshape(x, Shape::from([batch, cin, voxels]));
        let w = Self::float_reshape(w, Shape::from([1, cin, cout * 27]));
        let w = Self::float_expand(
            Self::float_swap_dims(w, 1, 2),
            Shape::from([batch, cout * 27, cin]),
        );
        let columns = Values::new(Self::float_matmul(w, x));
        let mut y = vec![0.0; batch * cout * 8 * voxels];
        for (c, y) in columns
            .get()
            .chunks(cout * 27 * voxels)
            .zip(y.chunks_mut(cout * 8 * voxels))
        {
            cpu::fold(c, cout, small, y);
        }
        tensor(y, [batch, cout, 2 * small[0], 2 * small[1], 2 * small[2]])
    }

    fn up2_dx(dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, cout, small, columns) = unfolded(dy);
        let cin = w.shape()[0];
        let w = Self::float_reshape(w, Shape::from([1, cin, cout * 27]));
        let w = Self::float_expand(w, Shape::from([batch, cin, cout * 27]));
        let dx = Self::float_matmul(w, columns);
        Self::float_reshape(dx, Shape::from([batch, cin, small[0], small[1], small[2]]))
    }

    fn up2_dw(x: FloatTensor<Self>, dy: FloatTensor<Self>, _w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, cout, small, columns) = unfolded(dy);
        let cin = x.shape()[1];
        let voxels: usize = small.iter().product();
        let x = Self::float_reshape(x, Shape::from([batch, cin, voxels]));
        let dw = Self::float_matmul(x, Self::float_swap_dims(columns, 1, 2));
        Self::float_reshape(Self::float_sum_dim(dw, 0), Shape::from([cin, cout, 3, 3, 3]))
    }

    fn norm_relu(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (batch, channels, extent) = split(&x);
        let (x, scale, shift) = (Values::new(x), Values::new(scale), Values::new(shift));
        let mut y = vec![0.0; x.get().len()];
        cpu::norm_relu(x.get(), scale.get(), shift.get(), batch, &mut y);
        tensor(y, [batch, channels, extent[0], extent[1], extent[2]])
    }

    fn norm_relu_conv1(
        x: FloatTensor<Self>,
        from: usize,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (batch, channels, extent) = split(&x);
        let cin = w.shape()[1];
        let (x, scale, shift) = (Values::new(x), Values::new(scale), Values::new(shift));
        let voxels: usize = extent.iter().product();
        let mut y = vec![0.0; batch * cin * voxels];
        for (x, y) in x.get().chunks(channels * voxels).zip(y.chunks_mut(cin * voxels)) {
            let used = &x[from * voxels..][..cin * voxels];
            cpu::norm_relu(used, scale.get(), shift.get(), 1, y);
        }
        Self::conv1(tensor(y, [batch, cin, extent[0], extent[1], extent[2]]), w)
    }

    fn norm_relu_conv3_into(
        mut block: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (_, channels, extent) = split(&block);
        let [cout, cin, ..] = w.shape().dims::<5>();
        let (x, w) = (Values::new(Self::norm_relu(x, scale, shift)), Values::new(w));
        let voxels: usize = extent.iter().product();
        if block.layout().contiguous_offsets() != Some((0, block.storage::<f32>().len())) {
            block = block.to_contiguous();
        }
        let all: &mut [f32] = block.storage_mut();
        for (x, y) in x
            .get()
            .chunks(cin * voxels)
            .zip(all.chunks_mut(channels * voxels))
        {
            let maps = &mut y[at * voxels..][..cout * voxels];
            cpu::forward(x, w.get(), cin, cout, extent, maps);
        }
        block
    }

    fn channel_stats(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, channels, _) = split(&x);
        tensor(
            cpu::channel_stats(Values::new(x).get(), batch, channels),
            [2, channels],
        )
    }

    fn norm_relu_backward(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        stats: FloatTensor<Self>,
        frozen: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (batch, channels, [d, h, w]) = split(&x);
        let (x, dy, stats) = (Values::new(x), Values::new(dy), Values::new(stats));
        let (gamma, beta) = (Values::new(gamma), Values::new(beta));
        let stats = stats.get();
        let normaliser = cpu::Normaliser {
            mean: row(stats, channels, 0),
            rstd: row(stats, channels, 1),
            r: row(stats, channels, 2),
            d: row(stats, channels, 3),
            frozen,
        };
        let mut dx = vec![0.0; x.get().len()];
        let params = cpu::norm_relu_backward(
            x.get(),
            dy.get(),
            gamma.get(),
            beta.get(),
            normaliser,
            batch,
            &mut dx,
        );
        (
            tensor(dx, [batch, channels, d, h, w]),
            tensor(params, [2, channels]),
        )
    }
}

/// The columns `[batch, cout * 27, voxels]` of an output gradient of [`Kernels::up2`].
fn unfolded(dy: FloatTensor<Flex>) -> (usize, usize, cpu::Extent, FloatTensor<Flex>) {
    let (batch, cout, large) = split(&dy);
    let small = large.map(|n| n / 2);
    let voxels: usize = small.iter().product();
    let dy = Values::new(dy);
    let mut columns = vec![0.0; batch * cout * 27 * voxels];
    for (dy, c) in dy
        .get()
        .chunks(cout * 8 * voxels)
        .zip(columns.chunks_mut(cout * 27 * voxels))
    {
        cpu::unfold(dy, cout, small, c);
    }
    (batch, cout, small, tensor(columns, [batch, cout * 27, voxels]))
}
