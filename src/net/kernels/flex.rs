//! The operators on the CPU backend: our kernels under burn's tensors.

use super::infer::Infer;
use super::{Ballot, Kernels, Normalisation, Tensors, cpu, norm, samples};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::TensorData;

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

/// The values of a tensor that is changed in place, copied first if others hold it or its layout needs it.
fn values_mut(t: &mut FloatTensor<Flex>) -> &mut [f32] {
    if t.layout().contiguous_offsets() != Some((0, t.storage::<f32>().len())) {
        *t = t.to_contiguous();
    }
    t.storage_mut()
}

impl Values {
    /// `count` channels of `[batch, channel, z, y, x]` from `from` on.
    fn maps(&self, from: usize, count: usize) -> cpu::Maps<'_> {
        let (batch, channels, _) = split(&self.0);
        cpu::Maps {
            values: self.get(),
            batch,
            channels,
            from,
            count,
        }
    }

    /// The first `count` channels, as a convolution reads them.
    fn input<'a>(&'a self, count: usize, folded: Option<&'a [f32]>) -> cpu::Input<'a> {
        cpu::Input {
            maps: self.maps(0, count),
            folded,
            extent: split(&self.0).2,
        }
    }
}

/// All channels of an output.
fn all(values: &mut [f32], channels: usize) -> cpu::Output<'_> {
    cpu::Output {
        values,
        channels,
        from: 0,
    }
}

/// `w`, or its transpose, times `count` channels of `x` from `from` on.
fn product(
    x: FloatTensor<Flex>,
    (from, count): (usize, usize),
    folded: Option<FloatTensor<Flex>>,
    w: FloatTensor<Flex>,
    how: cpu::Matrix,
    out: usize,
) -> FloatTensor<Flex> {
    let [batch, _, d, h, wd] = x.shape().dims::<5>();
    let y = product_values(x, (from, count), folded, w, how, out);
    tensor(y, [batch, out, d, h, wd])
}

/// The values of [`product`].
fn product_values(
    x: FloatTensor<Flex>,
    (from, count): (usize, usize),
    folded: Option<FloatTensor<Flex>>,
    w: FloatTensor<Flex>,
    how: cpu::Matrix,
    out: usize,
) -> Vec<f32> {
    let (batch, _, extent) = split(&x);
    let (x, w, folded) = (Values::new(x), Values::new(w), folded.map(Values::new));
    let mut y = vec![0.0; batch * out * extent.iter().product::<usize>()];
    let folded = folded.as_ref().map(Values::get);
    cpu::conv1(x.maps(from, count), folded, w.get(), how, out, &mut y);
    y
}

/// Convolves `x` into channels `at..` of `block`, in place where nobody else holds it.
fn conv3_into(
    mut block: FloatTensor<Flex>,
    at: usize,
    x: FloatTensor<Flex>,
    folded: Option<FloatTensor<Flex>>,
    w: FloatTensor<Flex>,
) -> FloatTensor<Flex> {
    let channels = block.shape()[1];
    let [cout, cin, ..] = w.shape().dims::<5>();
    let (x, w, folded) = (Values::new(x), Values::new(w), folded.map(Values::new));
    let y = cpu::Output {
        values: values_mut(&mut block),
        channels,
        from: at,
    };
    let folded = folded.as_ref().map(Values::get);
    cpu::forward(x.input(cin, folded), w.get(), cout, y);
    block
}

/// The weight gradient of the 3x3x3 convolution of `x`, normalised while loading if asked.
fn conv3_dw(
    x: FloatTensor<Flex>,
    folded: Option<FloatTensor<Flex>>,
    dy: FloatTensor<Flex>,
) -> FloatTensor<Flex> {
    let (cin, cout) = (x.shape()[1], dy.shape()[1]);
    let (x, dy, folded) = (Values::new(x), Values::new(dy), folded.map(Values::new));
    let mut dw = vec![0.0; cout * cin * 27];
    let folded = folded.as_ref().map(Values::get);
    cpu::weight_gradient(x.input(cin, folded), dy.maps(0, cout), &mut dw);
    tensor(dw, [cout, cin, 3, 3, 3])
}

impl Kernels for Flex {
    fn conv3(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, cin, [d, h, wd]) = split(&x);
        let cout = w.shape()[0];
        let (x, w) = (Values::new(x), Values::new(w));
        let mut y = vec![0.0; batch * cout * d * h * wd];
        cpu::forward(x.input(cin, None), w.get(), cout, all(&mut y, cout));
        tensor(y, [batch, cout, d, h, wd])
    }

    fn conv3_dx(dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, cout, [d, h, wd]) = split(&dy);
        let cin = w.shape()[1];
        let (dy, w) = (Values::new(dy), Values::new(w));
        let mut dx = vec![0.0; batch * cin * d * h * wd];
        cpu::data_gradient(dy.input(cout, None), w.get(), cin, all(&mut dx, cin));
        tensor(dx, [batch, cin, d, h, wd])
    }

    fn conv3_dw(x: FloatTensor<Self>, dy: FloatTensor<Self>, _w: FloatTensor<Self>) -> FloatTensor<Self> {
        conv3_dw(x, None, dy)
    }

    fn norm_relu_conv3_dw(
        x: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        _w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let cin = x.shape()[1];
        if samples::own::<Self>(&x, cin, &folded) {
            return conv3_dw(samples::norm_relu::<Self>(x, 0, cin, folded), None, dy);
        }
        conv3_dw(x, Some(folded), dy)
    }

    fn conv1(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (cin, cout) = (w.shape()[1], w.shape()[0]);
        product(x, (0, cin), None, w, cpu::Matrix::Forward, cout)
    }

    fn conv1_dx(dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (cin, cout) = (w.shape()[1], w.shape()[0]);
        product(dy, (0, cout), None, w, cpu::Matrix::Transposed, cin)
    }

    fn norm_relu_conv1(
        x: FloatTensor<Self>,
        from: usize,
        folded: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (cin, cout) = (w.shape()[1], w.shape()[0]);
        if samples::own::<Self>(&x, cin, &folded) {
            return Self::conv1(samples::norm_relu::<Self>(x, from, cin, folded), w);
        }
        product(x, (from, cin), Some(folded), w, cpu::Matrix::Forward, cout)
    }

    fn conv1_dw(x: FloatTensor<Self>, dy: FloatTensor<Self>, _w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (cin, cout) = (x.shape()[1], dy.shape()[1]);
        let (x, dy) = (Values::new(x), Values::new(dy));
        tensor(cpu::conv1_dw(x.maps(0, cin), None, dy.maps(0, cout)), [cout, cin])
    }

    fn norm_relu_conv1_dw(
        x: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (cin, cout) = (w.shape()[1], dy.shape()[1]);
        if samples::own::<Self>(&x, cin, &folded) {
            return Self::conv1_dw(samples::norm_relu::<Self>(x, 0, cin, folded), dy, w);
        }
        let [x, folded, dy] = [x, folded, dy].map(Values::new);
        let dw = cpu::conv1_dw(x.maps(0, cin), Some(folded.get()), dy.maps(0, cout));
        tensor(dw, [cout, cin])
    }

    fn up2(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, cin, small) = split(&x);
        let cout = w.shape()[1];
        let [d, h, wd] = small.map(|n| 2 * n);
        let (x, w) = (Values::new(x), Values::new(w));
        let mut y = vec![0.0; batch * cout * d * h * wd];
        cpu::up2(x.maps(0, cin), small, w.get(), None, cout, all(&mut y, cout));
        tensor(y, [batch, cout, d, h, wd])
    }

    fn up2_dx(dy: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, cout, large) = split(&dy);
        let cin = w.shape()[0];
        let small = large.map(|n| n / 2);
        let (dy, w) = (Values::new(dy), Values::new(w));
        let mut dx = vec![0.0; batch * cin * small.iter().product::<usize>()];
        cpu::up2_dx(dy.maps(0, cout), small, w.get(), cin, &mut dx);
        tensor(dx, [batch, cin, small[0], small[1], small[2]])
    }

    fn up2_dw(x: FloatTensor<Self>, dy: FloatTensor<Self>, _w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (_, cin, small) = split(&x);
        let cout = dy.shape()[1];
        let (x, dy) = (Values::new(x), Values::new(dy));
        let mut dw = vec![0.0; cin * cout * 27];
        cpu::up2_dw(x.maps(0, cin), dy.maps(0, cout), small, &mut dw);
        tensor(dw, [cin, cout, 3, 3, 3])
    }

    fn bias_relu(mut x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let voxels = split(&x).2.iter().product();
        cpu::bias_relu(values_mut(&mut x), Values::new(bias).get(), voxels);
        x
    }

    fn bias_relu_backward(
        y: FloatTensor<Self>,
        mut dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let channels = y.shape()[1];
        let y = Values::new(y);
        let dbias = cpu::relu_backward(y.maps(0, channels), values_mut(&mut dy));
        (dy, tensor(dbias, [channels]))
    }

    fn widened(x: FloatTensor<Self>, channels: usize) -> FloatTensor<Self> {
        let (batch, own, [d, h, w]) = split(&x);
        let (voxels, x) = (d * h * w, Values::new(x));
        let mut all = Vec::with_capacity(batch * channels * voxels);
        for sample in x.get().chunks_exact((own * voxels).max(1)) {
            all.extend_from_slice(sample);
            all.resize(all.len() + (channels - own) * voxels, 0.0);
        }
        tensor(all, [batch, channels, d, h, w])
    }

    fn max_pool2(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, channels, large) = split(&x);
        let x = Values::new(x);
        let mut y = vec![0.0; x.get().len() / 8];
        cpu::max_pool2(x.get(), large, &mut y);
        let [d, h, w] = large.map(|n| n / 2);
        tensor(y, [batch, channels, d, h, w])
    }

    fn max_pool2_dx(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        let (batch, channels, large) = split(&x);
        let (x, dy) = (Values::new(x), Values::new(dy));
        let mut dx = vec![0.0; x.get().len()];
        cpu::max_pool2_dx(x.get(), dy.get(), large, &mut dx);
        tensor(dx, [batch, channels, large[0], large[1], large[2]])
    }

    fn norm_relu(
        x: FloatTensor<Self>,
        from: usize,
        channels: usize,
        folded: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        if samples::own::<Self>(&x, channels, &folded) {
            return samples::norm_relu::<Self>(x, from, channels, folded);
        }
        let (batch, _, extent) = split(&x);
        let (x, folded) = (Values::new(x), Values::new(folded));
        let mut y = vec![0.0; batch * channels * extent.iter().product::<usize>()];
        cpu::norm_relu(x.maps(from, channels), folded.get(), &mut y);
        tensor(y, [batch, channels, extent[0], extent[1], extent[2]])
    }

    fn norm_relu_conv3_into(
        block: FloatTensor<Self>,
        at: usize,
        x: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        w: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let cin = w.shape()[1];
        if samples::own::<Self>(&x, cin, &folded) {
            return conv3_into(block, at, samples::norm_relu::<Self>(x, 0, cin, folded), None, w);
        }
        conv3_into(block, at, x, Some(folded), w)
    }

    fn channel_stats(x: FloatTensor<Self>, from: usize, count: usize, by_sample: bool) -> FloatTensor<Self> {
        if by_sample && x.shape()[0] > 1 {
            return samples::channel_stats::<Self>(x, from, count);
        }
        let stats = cpu::channel_stats(Values::new(x).maps(from, count));
        tensor(stats, [2, count])
    }

    fn vote(
        p: FloatTensor<Self>,
        places: FloatTensor<Self>,
        window: FloatTensor<Self>,
        ballot: Ballot,
    ) -> FloatTensor<Self> {
        let side = p.shape()[4];
        let [p, places, window] = [p, places, window].map(Values::new);
        let ([w, h, d], arrays) = (ballot.shape, 1 + usize::from(ballot.spread));
        let mut sums = vec![0.0; arrays * w * h * d];
        cpu::vote(p.get(), side, places.get(), window.get(), ballot, &mut sums);
        tensor(sums, [arrays, d, h, w])
    }

    fn norm_rows(
        now: Tensors<Self>,
        running: Tensors<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        samples: usize,
        norm: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let channels = gamma.shape()[0];
        let (now, running) = norm::given::<Self>(now.one(), running.one(), &gamma, samples);
        if !norm.frozen() && samples > 1 {
            return samples::norm_rows::<Self>(now, running, [gamma, beta], samples, norm);
        }
        let [now, running, gamma, beta] = [now, running, gamma, beta].map(Values::new);
        let (rows, folded) = cpu::norm_rows(now.get(), running.get(), gamma.get(), beta.get(), norm);
        (tensor(rows, [6, channels]), tensor(folded, [2, channels]))
    }

    fn norm_relu_backward(
        x: FloatTensor<Self>,
        mut dy: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        frozen: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let channels = x.shape()[1];
        if samples::own::<Self>(&dy, channels, &folded) {
            return samples::norm_relu_backward::<Self>(x, dy, [rows, folded], frozen);
        }
        let [x, rows, folded] = [x, rows, folded].map(Values::new);
        let maps = x.maps(0, channels);
        let mut dgamma = cpu::norm_relu_backward(maps, rows.get(), folded.get(), frozen, values_mut(&mut dy));
        let dbeta = dgamma.split_off(channels);
        (dy, tensor(dgamma, [channels]), tensor(dbeta, [channels]))
    }

    fn norm_relu_backward_into(
        mut grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        rows: FloatTensor<Self>,
        folded: FloatTensor<Self>,
        frozen: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let channels = dy.shape()[1];
        if samples::own::<Self>(&dy, channels, &folded) {
            let x = super::channels_of::<Self>(x, 0, channels);
            let (dx, dgamma, dbeta) = samples::norm_relu_backward::<Self>(x, dy, [rows, folded], frozen);
            return (samples::added::<Self>(grad, dx), dgamma, dbeta);
        }
        let [x, dy, rows, folded] = [x, dy, rows, folded].map(Values::new);
        let mut dgamma = cpu::norm_relu_backward_into(
            x.maps(0, channels),
            dy.get(),
            rows.get(),
            folded.get(),
            frozen,
            values_mut(&mut grad),
        );
        let dbeta = dgamma.split_off(channels);
        (grad, tensor(dgamma, [channels]), tensor(dbeta, [channels]))
    }
}

impl Infer for Flex {
    fn measured(
        mut folds: FloatTensor<Self>,
        x: FloatTensor<Self>,
        affine: FloatTensor<Self>,
        from: usize,
        count: usize,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let channels = x.shape()[1];
        let stats = Values::new(Self::channel_stats(x, from, count, true));
        let affine = Values::new(affine);
        cpu::scales_of(
            stats.get(),
            affine.get(),
            (channels, from, count),
            epsilon as f32,
            values_mut(&mut folds),
        );
        folds
    }

    fn product_relu(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: usize,
    ) -> FloatTensor<Self> {
        let (batch, channels, [d, h, wd]) = split(&x);
        let mut y = product_values(x, (0, channels), None, w, cpu::Matrix::Forward, out);
        cpu::bias_relu(&mut y, Values::new(bias).get(), d * h * wd);
        tensor(y, [batch, out, d, h, wd])
    }

    fn up2_into(
        mut block: FloatTensor<Self>,
        below: FloatTensor<Self>,
        from: usize,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (channels, small) = (block.shape()[1], split(&below).2);
        let [cin, cout, ..] = w.shape().dims::<5>();
        let [below, w, bias] = [below, w, bias].map(Values::new);
        let y = cpu::Output {
            values: values_mut(&mut block),
            channels,
            from: 0,
        };
        cpu::up2(below.maps(from, cin), small, w.get(), Some(bias.get()), cout, y);
        block
    }

    fn doubled_sum(x: FloatTensor<Self>, w: FloatTensor<Self>, probabilities: bool) -> FloatTensor<Self> {
        let (batch, _, small) = split(&x);
        let (x, w) = (Values::new(x), Values::new(w));
        let [d, h, wd] = small.map(|n| 2 * n);
        let mut y = vec![0.0; batch * d * h * wd];
        cpu::doubled_sum(x.get(), w.get(), small, probabilities, &mut y);
        tensor(y, [batch, 1, d, h, wd])
    }
}
