//! Normalisation: what it is asked for, and its steps composed of stock operators, for backends without kernels of ours.

use super::{Kernels, row, samples};
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Shape, TensorData};

/// Batch renormalisation (Ioffe 2017): batch statistics, corrected towards the running ones within limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Renorm {
    /// Weight of the new statistics in the running ones.
    pub momentum: f64,
    /// Largest ratio of standard deviations that is corrected; 1 gives plain batch normalisation.
    pub r_max: f64,
    /// Largest difference of means, in standard deviations, that is corrected; 0 gives plain batch normalisation.
    pub d_max: f64,
}

impl Renorm {
    /// No correction: each batch by its own statistics, whatever the running ones.
    pub const PLAIN: Self = Self {
        momentum: 0.0,
        r_max: 1.0,
        d_max: 0.0,
    };
}

/// How channels are normalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// Added to variances.
    pub epsilon: f64,
    /// By batch statistics; `None`: by the running ones, which stay.
    pub batch: Option<Renorm>,
    /// Each sample of a batch by its own statistics (instance normalisation) instead of all by those of the batch.
    pub by_sample: bool,
}

impl Normalisation {
    /// True if statistics are constants rather than functions of the input.
    #[must_use]
    pub fn frozen(&self) -> bool {
        self.batch.is_none()
    }

    /// Groups of columns that a batch has: its samples, where each is normalised by its own statistics.
    #[must_use]
    pub fn samples(&self, batch: usize) -> usize {
        if self.by_sample { batch } else { 1 }
    }

    /// True if running statistics are read: as constants, to be corrected towards, or to be followed.
    #[must_use]
    pub fn reads_running(&self) -> bool {
        self.batch != Some(Renorm::PLAIN)
    }

    /// True if there are next running statistics.
    #[must_use]
    pub fn updates_running(&self) -> bool {
        self.batch.is_some_and(|batch| batch.momentum > 0.0)
    }
}

/// Rows and folded rows of a normalisation that changes none of the channels of `x`.
pub(super) fn identity<B: Kernels>(x: &FloatTensor<B>) -> [FloatTensor<B>; 2] {
    let channels = x.shape()[1];
    // Means, reciprocals of deviations, r, d, and the running statistics; scales and shifts.
    let made = |of_rows: &[f32]| constant_rows::<B>(of_rows, channels, x);
    [made(&[0.0, 1.0, 1.0, 0.0, 0.0, 1.0]), made(&[1.0, 0.0])]
}

/// Statistics of the channels that `gamma` has, for kernels that want both kinds whether they read them or not.
pub(super) fn given<B: Kernels>(
    now: Option<FloatTensor<B>>,
    running: Option<FloatTensor<B>>,
    gamma: &FloatTensor<B>,
    samples: usize,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let channels = gamma.shape()[0];
    let running = running.unwrap_or_else(|| constant_rows::<B>(&[0.0, 1.0], channels, gamma));
    let now = match now {
        Some(now) => samples::first_columns::<B>(now, channels, samples),
        None => running.clone(),
    };
    (now, running)
}

/// Rows of one number each, beside `like`.
fn constant_rows<B: Kernels>(rows: &[f32], columns: usize, like: &FloatTensor<B>) -> FloatTensor<B> {
    let values = rows.iter().flat_map(|v| std::iter::repeat_n(*v, columns));
    B::float_from_data(
        TensorData::new(values.collect(), [rows.len(), columns]),
        &like.device(),
    )
}

/// [`Kernels::norm_rows`] from stock operators.
pub(super) fn stock_rows<B: Kernels>(
    now: Option<FloatTensor<B>>,
    running: Option<FloatTensor<B>>,
    [gamma, beta]: [FloatTensor<B>; 2],
    samples: usize,
    norm: Normalisation,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (now, running) = given::<B>(now, running, &gamma, samples);
    if !norm.frozen() && samples > 1 {
        return samples::norm_rows::<B>(now, running, [gamma, beta], samples, norm);
    }
    let (now, running) = (&now, &running);
    let deviation = |variance| B::float_sqrt(B::float_add_scalar(variance, norm.epsilon.into()));
    let (running_mean, running_variance) = (row::<B>(running, 0), row::<B>(running, 1));
    let running_rstd = B::float_recip(deviation(running_variance.clone()));
    let [mean, rstd, r, d, next_mean, next_variance] = match norm.batch {
        None => {
            let ones = B::float_add_scalar(B::float_mul_scalar(gamma.clone(), 0.0.into()), 1.0.into());
            let zeros = B::float_mul_scalar(gamma.clone(), 0.0.into());
            [
                running_mean.clone(),
                running_rstd,
                ones,
                zeros,
                running_mean,
                running_variance,
            ]
        }
        Some(Renorm {
            momentum,
            r_max,
            d_max,
        }) => {
            let (mean, variance) = (row::<B>(now, 0), row::<B>(now, 1));
            let std = deviation(variance.clone());
            let r = B::float_mul(std.clone(), running_rstd.clone());
            let d = B::float_mul(B::float_sub(mean.clone(), running_mean.clone()), running_rstd);
            let blend = |old, new| {
                let old = B::float_mul_scalar(old, (1.0 - momentum).into());
                B::float_add(old, B::float_mul_scalar(new, momentum.into()))
            };
            [
                mean.clone(),
                B::float_recip(std),
                B::float_clamp(r, (1.0 / r_max).into(), r_max.into()),
                B::float_clamp(d, (-d_max).into(), d_max.into()),
                blend(running_mean, mean),
                blend(running_variance, variance),
            ]
        }
    };
    let scale = B::float_mul(B::float_mul(rstd.clone(), r.clone()), gamma.clone());
    let shift = B::float_add(beta, B::float_mul(gamma, d.clone()));
    let shift = B::float_sub(shift, B::float_mul(mean.clone(), scale.clone()));
    let stack = |rows: Vec<FloatTensor<B>>| {
        let one = |t: FloatTensor<B>| {
            let n = t.shape()[0];
            B::float_reshape(t, Shape::from([1, n]))
        };
        B::float_cat(rows.into_iter().map(one).collect(), 0)
    };
    (
        stack(vec![mean, rstd, r, d, next_mean, next_variance]),
        stack(vec![scale, shift]),
    )
}

/// [`Kernels::norm_relu_backward`] from stock operators.
pub(super) fn stock_backward<B: Kernels>(
    x: FloatTensor<B>,
    dy: FloatTensor<B>,
    rows: &FloatTensor<B>,
    folded: &FloatTensor<B>,
    frozen: bool,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let [batch, c, d, h, w] = x.shape().dims::<5>();
    let wide = |t: FloatTensor<B>| B::float_reshape(t, Shape::from([1, c, 1, 1, 1]));
    let [mean, rstd, r, offset] = [0, 1, 2, 3].map(|i| wide(row::<B>(rows, i)));
    let y = B::relu(B::float_add(
        B::float_mul(x.clone(), wide(row::<B>(folded, 0))),
        wide(row::<B>(folded, 1)),
    ));
    let centred = B::float_mul(B::float_sub(x, mean), rstd);
    let g = B::relu_backward(y, dy);
    let sum = |t: FloatTensor<B>| B::float_sum_dims(t, &[0, 2, 3, 4]);
    let (s0, s1) = (sum(g.clone()), sum(B::float_mul(g.clone(), centred.clone())));
    let scale = wide(row::<B>(folded, 0));
    let dx = if frozen {
        B::float_mul(g, scale)
    } else {
        let n = (batch * d * h * w) as f64;
        let mean0 = B::float_div_scalar(s0.clone(), n.into());
        let mean1 = B::float_div_scalar(s1.clone(), n.into());
        let rest = B::float_sub(B::float_sub(g, mean0), B::float_mul(centred, mean1));
        B::float_mul(rest, scale)
    };
    let dgamma = B::float_add(B::float_mul(s1, r), B::float_mul(s0.clone(), offset));
    let flat = |t| B::float_reshape(t, Shape::from([c]));
    (dx, flat(dgamma), flat(s0))
}
