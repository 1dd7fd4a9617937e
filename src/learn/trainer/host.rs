//! The optimiser and the moving average, on the host.
//!
//! A network has hundreds of small tensors. Updating each on a GPU takes hundreds of kernel launches that do next to nothing
//! (`net::kernels::update`, for fine-tuning, whose numbers stay on the device); reading all gradients at once, a million numbers, takes
//! one synchronisation.

use super::{TrainConfig, TrainError, flat};
use crate::net::DenseNet;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData, Transaction};

/// Decay of the mean gradient.
const BETA_1: f32 = 0.9;

/// What a run knows of the parameters, one vector per tensor in visiting order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    /// Weights and running statistics.
    pub(super) values: Vec<Vec<f32>>,
    /// Their exponential moving average.
    pub(super) average: Vec<Vec<f32>>,
    /// Mean gradient; zero where there never was one.
    pub(super) first: Vec<Vec<f32>>,
    /// Mean squared gradient; zero where there never was one.
    pub(super) second: Vec<Vec<f32>>,
}

impl State {
    /// The start of a run with this network.
    pub(super) fn of(net: &DenseNet) -> Result<Self, TrainError> {
        let transaction = flat::read(net)
            .into_iter()
            .fold(Transaction::default(), Transaction::register);
        let values = read(transaction)?;
        let zeros: Vec<Vec<f32>> = values.iter().map(|v| vec![0.0; v.len()]).collect();
        Ok(Self {
            average: values.clone(),
            values,
            first: zeros.clone(),
            second: zeros,
        })
    }

    /// The vectors, in the order of the fields.
    pub(super) fn parts(&self) -> [&[Vec<f32>]; 4] {
        [&self.values, &self.average, &self.first, &self.second]
    }

    /// Whether both belong to the same network.
    pub(super) fn fits(&self, other: &Self) -> bool {
        let lengths = |part: &[Vec<f32>]| part.iter().map(Vec::len).collect::<Vec<_>>();
        self.parts().map(lengths) == other.parts().map(lengths)
    }
}

/// AdamW (Loshchilov and Hutter 2019) with the gradient of each tensor clipped to a norm, and the average that follows the weights.
/// The same arithmetic as burn's, which is the oracle of the test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) beta_2: f32,
    pub(super) epsilon: f32,
    pub(super) weight_decay: f32,
    /// Largest norm of a tensor's gradient.
    pub(super) clip: f32,
}

/// What differs from step to step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Number of the step, counted from 1.
    pub(super) time: u64,
    pub(super) learning_rate: f64,
    /// Share of the old average that is kept.
    pub(super) keep: f64,
}

impl Rule {
    pub(super) fn of(config: &TrainConfig) -> Self {
        Self {
            beta_2: config.beta_2,
            epsilon: config.epsilon,
            weight_decay: config.weight_decay,
            clip: config.clip,
        }
    }

    /// A step with what [`Gathered`] asked of the device. A tensor without a gradient takes over its value there.
    pub(super) fn step(&self, state: &mut State, read: Vec<Vec<f32>>, learned: &[bool], now: Now) {
        let keep = now.keep as f32;
        let State {
            values,
            average,
            first,
            second,
        } = state;
        let moments = first.iter_mut().zip(second);
        let tensors = values.iter_mut().zip(average).zip(moments);
        for (((values, average), (first, second)), (read, learned)) in
            tensors.zip(read.into_iter().zip(learned))
        {
            if *learned {
                self.update(values, [first, second], &read, now);
            } else {
                *values = read;
            }
            for (a, v) in average.iter_mut().zip(values) {
                *a = keep * *a + (1.0 - keep) * *v;
            }
        }
    }

    fn update(&self, values: &mut [f32], [first, second]: [&mut [f32]; 2], gradient: &[f32], now: Now) {
        let time = i32::try_from(now.time).unwrap_or(i32::MAX);
        let square: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum();
        let scale = (self.clip / (square.sqrt() as f32 + f32::MIN_POSITIVE)).min(1.0);
        let corrections = [BETA_1, self.beta_2].map(|beta| 1.0 - beta.powi(time));
        let decay = (1.0 - now.learning_rate * f64::from(self.weight_decay)) as f32;
        let rate = now.learning_rate as f32;
        let moments = first.iter_mut().zip(second);
        for ((value, (first, second)), gradient) in values.iter_mut().zip(moments).zip(gradient) {
            let gradient = gradient * scale;
            *first = *first * BETA_1 + gradient * (1.0 - BETA_1);
            *second = *second * self.beta_2 + gradient * gradient * (1.0 - self.beta_2);
            let step = (*first / corrections[0]) / ((*second / corrections[1]).sqrt() + self.epsilon);
            *value = *value * decay - step * rate;
        }
    }
}

/// All that a step has to read of the network: each tensor's gradient, or the value of one that has none.
pub(super) struct Gathered {
    /// What is to be read, in visiting order after what was there before.
    pub(super) transaction: Transaction,
    /// Whether it is a gradient.
    pub(super) learned: Vec<bool>,
}

impl Gathered {
    /// Adds the network's part to what is read anyway.
    pub(super) fn new(transaction: Transaction, net: &DenseNet, gradients: GradientsParams) -> Self {
        let mut gather = Gather {
            gradients,
            of: Self {
                transaction,
                learned: Vec::new(),
            },
        };
        net.visit(&mut gather);
        gather.of
    }
}

struct Gather {
    gradients: GradientsParams,
    of: Gathered,
}

impl ModuleVisitor for Gather {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.gradients.remove::<D>(param.id);
        self.of.learned.push(gradient.is_some());
        let tensor = gradient.unwrap_or_else(|| param.val().without_autodiff());
        self.of.transaction = std::mem::take(&mut self.of.transaction).register(tensor);
    }
}

/// Waits for the device, once.
pub(super) fn read(transaction: Transaction) -> Result<Vec<Vec<f32>>, TrainError> {
    let read = transaction
        .try_execute()
        .map_err(|e| TrainError::Device(e.to_string()))?;
    let host = |data: TensorData| data.try_into_vec().map_err(|e| TrainError::Device(e.to_string()));
    read.into_iter().map(host).collect()
}

/// `net` with these numbers; where `which` says no, the old ones stay.
pub(super) fn write(
    net: DenseNet,
    values: &[Vec<f32>],
    which: impl Fn(usize) -> bool,
    device: &Device,
) -> DenseNet {
    let device = device.clone().without_autodiff();
    let tensor = |(at, values): (usize, &Vec<f32>)| which(at).then(|| flat::tensor(values.clone(), &device));
    flat::write(net, values.iter().enumerate().map(tensor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetConfig;
    use burn::grad_clipping::GradientClippingConfig;
    use burn::optim::AdamWConfig;

    /// Made-up gradients of everything that learns.
    struct Invent {
        seed: u64,
        gradients: GradientsParams,
    }

    impl ModuleVisitor for Invent {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let old = param.val();
            self.seed += 1;
            if !old.is_require_grad() {
                return;
            }
            let mut s = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            // Norms on both sides of where they are clipped.
            let size = [1e-4, 1e-2, 1.0][self.seed as usize % 3];
            let mut draw = || {
                s ^= s << 13;
                s ^= s >> 7;
                s ^= s << 17;
                size * ((s >> 40) as f32 / (1u64 << 24) as f32 - 0.3)
            };
            let values = (0..old.shape().num_elements()).map(|_| draw()).collect();
            let device = old.device().without_autodiff();
            let gradient = Tensor::from_data(TensorData::new(values, old.shape()), &device);
            self.gradients.register::<D>(param.id, gradient);
        }
    }

    fn invent(net: &DenseNet, seed: u64) -> GradientsParams {
        let mut invent = Invent {
            seed,
            gradients: GradientsParams::new(),
        };
        net.visit(&mut invent);
        invent.gradients
    }

    fn apart(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
        let pairs = a.iter().flatten().zip(b.iter().flatten());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn steps_are_those_of_burn() {
        let device = Device::flex().autodiff();
        let rule = Rule {
            beta_2: 0.995,
            epsilon: 1e-8,
            weight_decay: 0.01,
            clip: 0.05,
        };
        let config = NetConfig::preset("toy", 2).unwrap();
        // Two networks, as running statistics are shared by a network's clones.
        let [mut theirs, mut ours] = [(), ()].map(|()| DenseNet::new(&config, 1, &device).unwrap());
        let mut oracle = AdamWConfig::new()
            .with_beta_2(rule.beta_2)
            .with_epsilon(rule.epsilon)
            .with_weight_decay(rule.weight_decay)
            .with_grad_clipping(Some(GradientClippingConfig::Norm(rule.clip)))
            .init();
        let mut state = State::of(&ours).unwrap();
        let before = state.clone();
        let mut average = before.average.clone();
        let learning = flat::learning(&ours);
        assert!(learning.contains(&true) && learning.contains(&false));
        for time in 1..=100 {
            let keep = 0.9;
            let learning_rate = 3e-3 / time as f64;
            // Running statistics move in the forward pass.
            [theirs, ours] = [theirs, ours].map(|net| {
                let moved = before
                    .values
                    .iter()
                    .map(|v| v.iter().map(|v| v + time as f32).collect());
                let moved: Vec<Vec<f32>> = moved.collect();
                write(net, &moved, |at| !learning[at], &device)
            });
            let gradients = invent(&theirs, time * 1000);
            theirs = oracle.step(learning_rate, theirs, gradients);
            let gradients = invent(&ours, time * 1000);
            let Gathered { transaction, learned } = Gathered::new(Transaction::default(), &ours, gradients);
            assert_eq!(learned, learning);
            let now = Now {
                time,
                learning_rate,
                keep,
            };
            rule.step(&mut state, read(transaction).unwrap(), &learned, now);
            ours = write(ours, &state.values, |at| learned[at], &device);

            let expected = State::of(&theirs).unwrap().values;
            for (a, v) in average.iter_mut().flatten().zip(expected.iter().flatten()) {
                *a = (keep * f64::from(*a) + (1.0 - keep) * f64::from(*v)) as f32;
            }
            assert!(apart(&state.values, &expected) < 1e-6, "{time}");
        }
        let moved = |which: bool| {
            let pairs = state.values.iter().zip(&before.values).zip(&learning);
            let of = pairs.filter(|(_, l)| **l == which);
            of.map(|((a, b), _)| apart(std::slice::from_ref(a), std::slice::from_ref(b)))
                .fold(f32::INFINITY, f32::min)
        };
        assert!(moved(true) > 1e-3 && moved(false) == 100.0, "nothing moved");
        // The averages of running statistics are near 100 here.
        let scale = 1.0 + average.iter().flatten().fold(0.0f32, |a, v| a.max(v.abs()));
        assert!(apart(&state.average, &average) < 1e-6 * scale);
        // What is on the device is what the host knows, and it still learns.
        assert_eq!(State::of(&ours).unwrap().values, state.values);
        assert_eq!(flat::learning(&ours), learning);
    }
}
