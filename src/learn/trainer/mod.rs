//! Training: one step after another, checkpointed, watched on held-out patches.
//!
//! Free of files and user interface: the caller feeds patches and decides when to save.

mod adamw;
mod checkpoint;
mod config;
mod flat;
mod host;
mod recipe;
mod snapshot;
mod tuner;
mod watch;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use config::{TrainConfig, TrainConfigError};
pub use tuner::{Tuner, TunerError};
pub use watch::{Counts, Watch};

use crate::learn::augment::patch::Patch;
use crate::loss::{Loss, cross_entropy};
use crate::net::{ConfigError, DenseNet};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData, Transaction};
use host::{Gathered, Now, Rule, State};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The network's configuration is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A number of the training configuration is out of range.
    #[error(transparent)]
    Train(#[from] TrainConfigError),
    /// The loss is no number: the learning rate is too high, or a patch holds NaN.
    #[error("the loss became {loss} at step {step}; lower the learning rate or look at the data")]
    Diverged {
        /// Step that failed.
        step: u64,
        /// The loss.
        loss: f32,
    },
    /// A checkpoint could not be taken up.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The device did not answer.
    #[error("the device failed: {0}")]
    Device(String),
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: u64,
    /// Loss of the step's patches.
    pub loss: f32,
    /// What the network answered to the step's patches, before the step; only in the steps of
    /// [`Trainer::with_counts_every`].
    pub counts: Option<Counts>,
    /// Learning rate used.
    pub learning_rate: f64,
}

/// A network in training.
pub struct Trainer {
    config: TrainConfig,
    net: DenseNet,
    state: State,
    step: u64,
    counts_every: u64,
    device: Device,
}

impl Trainer {
    /// A network with random weights drawn from the configuration's seed, on `device` (without autodiff).
    ///
    /// # Errors
    /// [`TrainError::Config`] or [`TrainError::Train`] if a number is out of range.
    pub fn new(config: TrainConfig, device: &Device) -> Result<Self, TrainError> {
        config.validate()?;
        let device = device.clone().autodiff();
        let net = DenseNet::new(&config.net, config.seed, &device)?;
        Self::start(config, net, device)
    }

    /// Starts from the weights of a trained network that lives on `device` (without autodiff).
    ///
    /// # Errors
    /// [`TrainError::Train`] if a number is out of range.
    pub fn from_network(config: TrainConfig, net: DenseNet, device: &Device) -> Result<Self, TrainError> {
        config.validate()?;
        let device = device.clone().autodiff();
        let net = net.to_device(&device).train();
        Self::start(config, net, device)
    }

    fn start(config: TrainConfig, net: DenseNet, device: Device) -> Result<Self, TrainError> {
        Ok(Self {
            state: State::of(&net)?,
            config,
            net,
            step: 0,
            counts_every: 1,
            device,
        })
    }

    /// Goes on where a checkpoint was taken.
    ///
    /// # Errors
    /// [`TrainError`] if the checkpoint does not fit its own configuration.
    pub fn resume(checkpoint: Checkpoint, device: &Device) -> Result<Self, TrainError> {
        let mut trainer = Self::new(checkpoint.config, device)?;
        if !trainer.state.fits(&checkpoint.state) {
            return Err(CheckpointError::Shape.into());
        }
        trainer.state = checkpoint.state;
        trainer.step = checkpoint.step;
        trainer.restore();
        Ok(trainer)
    }

    /// Everything needed to go on later.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            config: self.config.clone(),
            step: self.step,
            state: self.state.clone(),
        }
    }

    /// Reads what the network answers in every `steps`-th step only; in every step unless told. On a GPU that is megabytes.
    #[must_use]
    pub fn with_counts_every(self, steps: u64) -> Self {
        Self {
            counts_every: steps.max(1),
            ..self
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Changes the number of steps, and with it how fast the learning rate falls.
    pub fn plan(&mut self, steps: u64) {
        self.config.steps = steps.max(1);
    }

    /// Steps done.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Number of the first patch of the next step.
    #[must_use]
    pub fn next_patch(&self) -> u64 {
        self.step * self.config.batch as u64
    }

    /// One optimiser step on [`TrainConfig::batch`] patches.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if the loss is no finite number; the weights are then as before.
    pub fn step(&mut self, patches: &[Patch]) -> Result<StepReport, TrainError> {
        let (images, labels) = self.tensors(patches);
        let logits = self.net.forward(images, self.config.mode(self.step));
        let counted = (self.step + 1).is_multiple_of(self.counts_every);
        let answers = counted.then(|| logits.clone().without_autodiff());
        let (logits, labels) = if patches.iter().any(Patch::has_unknown) {
            without_unknown(logits, labels)
        } else {
            (logits, labels)
        };
        let loss = Guarded {
            loss: &self.config.loss,
            guard: self.config.guard,
            lesion_weight: self.config.lesion_weight_at(self.step),
        }
        .forward(logits, labels);
        // All of it is read at once, so that the device is waited for once.
        let mut transaction = Transaction::default().register(loss.clone().without_autodiff());
        if let Some(answers) = answers {
            transaction = transaction.register(answers);
        }
        let grads = GradientsParams::from_grads(loss.backward(), &self.net);
        let Gathered { transaction, learned } = Gathered::new(transaction, &self.net, grads);
        let mut read = host::read(transaction)?.into_iter();
        let loss = read.next().and_then(|v| v.first().copied()).unwrap_or(f32::NAN);
        if !loss.is_finite() {
            // The forward pass has moved the running statistics.
            self.restore();
            return Err(TrainError::Diverged {
                step: self.step,
                loss,
            });
        }
        let answers = if counted { read.next() } else { None };
        let learning_rate = self.config.learning_rate_at(self.step);
        let now = Now {
            time: self.step + 1,
            learning_rate,
            keep: self.config.average_weight(self.step),
        };
        Rule::of(&self.config).step(&mut self.state, read.collect(), &learned, now);
        self.write(|at| learned.get(at).is_some_and(|learned| *learned));
        self.step += 1;
        Ok(StepReport {
            step: self.step,
            loss,
            counts: answers.map(|answers| count(&answers, patches)),
            learning_rate,
        })
    }

    /// The averaged network for inference, without autodiff.
    #[must_use]
    pub fn averaged(&self) -> DenseNet {
        host::write(self.net.valid(), &self.state.average, |_| true, &self.device)
    }

    /// Brings all that the host knows to the device.
    fn restore(&mut self) {
        self.write(|_| true);
    }

    fn write(&mut self, which: impl Fn(usize) -> bool) {
        self.net = host::write(self.net.clone(), &self.state.values, which, &self.device);
    }

    fn tensors(&self, patches: &[Patch]) -> (Tensor<5>, Tensor<5>) {
        let side = patches.first().map_or(0, |p| p.side);
        let tensor = |values: fn(&Patch) -> &[f32], channels: usize| {
            let mut all = Vec::with_capacity(patches.len() * channels * side.pow(3));
            for patch in patches {
                all.extend_from_slice(values(patch));
            }
            Tensor::from_data(
                TensorData::new(all, [patches.len(), channels, side, side, side]),
                &self.device,
            )
        };
        (
            tensor(|p| &p.image, self.config.net.in_channels),
            tensor(|p| &p.label, 1),
        )
    }
}

/// What the logits of a batch are worth.
fn count(logits: &[f32], patches: &[Patch]) -> Counts {
    let mut rest = logits;
    let mut counts = Counts::default();
    for patch in patches {
        let (own, others) = rest.split_at(patch.label.len().min(rest.len()));
        counts = counts + Counts::of_logits(own, &patch.label);
        rest = others;
    }
    counts
}

/// A logit so low that its voxel counts nowhere: its probability, its cross-entropy and their slopes are below 1e-13.
const SURELY_NOT: f32 = -30.0;

/// Takes the voxels with the label [`UNKNOWN`](crate::learn::augment::patch::UNKNOWN) out of a loss: the answer there is that there is
/// no lesion, which is right and has no slope.
fn without_unknown(logits: Tensor<5>, labels: Tensor<5>) -> (Tensor<5>, Tensor<5>) {
    let unknown = labels.clone().lower_elem(0.0);
    (logits.mask_fill(unknown, SURELY_NOT), labels.clamp_min(0.0))
}

/// A loss, and a little cross-entropy that has a gradient where an overlap loss has none.
struct Guarded<'a> {
    loss: &'a Loss,
    /// Weight of the cross-entropy.
    guard: f64,
    /// How many times a lesion voxel counts in it.
    lesion_weight: f64,
}

impl Guarded<'_> {
    /// A scalar.
    fn forward(&self, logits: Tensor<5>, labels: Tensor<5>) -> Tensor<1> {
        let loss = self.loss.forward(logits.clone(), labels.clone());
        if self.guard > 0.0 {
            loss + cross_entropy(logits, labels, self.lesion_weight) * self.guard
        } else {
            loss
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetConfig;

    /// A bright ball on noise: learnable in a few steps.
    fn patch(counter: u64) -> Patch {
        let side = 8usize;
        let n = side.pow(3);
        let mut s = counter.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut noise = || {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            (s >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let centre = [2.0 + counter as f32 % 4.0, 3.5, 2.5 + counter as f32 % 3.0];
        let label: Vec<f32> = (0..n)
            .map(|i| {
                let at = [i % side, i / side % side, i / side / side].map(|v| v as f32);
                let d2: f32 = at.iter().zip(centre).map(|(a, c)| (a - c).powi(2)).sum();
                f32::from(u8::from(d2 < 4.5))
            })
            .collect();
        let image = (0..2 * n)
            .map(|i| noise() + if i < n { 2.0 * label[i] } else { 0.0 })
            .collect();
        Patch { image, label, side }
    }

    fn config(steps: u64) -> TrainConfig {
        let net = NetConfig {
            dropout: 0.1,
            ..NetConfig::preset("toy", 2).unwrap()
        };
        TrainConfig {
            net,
            steps,
            // The balance of recall and precision is the loss's alone.
            guard_lesion_weight: 1.0,
            learning_rate: 1e-2,
            warmup: 5,
            freeze_from: steps * 3 / 4,
            ..TrainConfig::default()
        }
    }

    fn run(trainer: &mut Trainer, until: u64) -> Vec<f32> {
        (trainer.steps()..until)
            .map(|i| trainer.step(&[patch(i)]).unwrap().loss)
            .collect()
    }

    #[test]
    fn training_learns_a_bright_ball() {
        let mut trainer = Trainer::new(config(120), &Device::flex()).unwrap();
        let losses = run(&mut trainer, 120);
        let mean = |l: &[f32]| l.iter().sum::<f32>() / l.len() as f32;
        let (first, last) = (mean(&losses[..10]), mean(&losses[110..]));
        assert!(last < 0.35 && last < 0.6 * first, "{first} -> {last}");
        // The averaged network, by inference on unseen patches.
        let patches: Vec<Patch> = (1000..1004).map(patch).collect();
        let score = Watch::new(patches)
            .score(&trainer.averaged(), &Device::flex())
            .unwrap();
        assert!(score.dsc().unwrap() > 0.7, "{score:?}");
    }

    #[test]
    fn what_is_unknown_has_no_say() {
        use crate::loss::closed::{LossGrad, f_beta};
        let n = 48;
        let z: Vec<f32> = (0..n).map(|i| ((i * 37 % 23) as f32 - 11.0) / 3.0).collect();
        let label = |i: usize| [1.0, 0.0, 0.0, -1.0][i % 4];
        let labels: Vec<f32> = (0..n).map(label).collect();
        let device = Device::flex().autodiff();
        let cube = |values: &[f32]| Tensor::<1>::from_floats(values, &device).reshape([1, 1, 3, 4, 4]);
        let logits = cube(&z).require_grad();
        let (known, truth) = without_unknown(logits.clone(), cube(&labels));
        let loss = Loss::FBeta {
            beta: 1.5,
            smooth: 50.0,
        }
        .forward(known, truth);
        let grads = loss.clone().backward();
        let slopes: Vec<f32> = logits.grad(&grads).unwrap().into_data().try_to_vec().unwrap();

        // The oracle never sees the unknown voxels.
        let kept: Vec<usize> = (0..n).filter(|&i| label(i) >= 0.0).collect();
        let p = |i: usize| 1.0 / (1.0 + (-f64::from(z[i])).exp());
        let probabilities: Vec<f64> = kept.iter().map(|&i| p(i)).collect();
        let truth: Vec<f64> = kept.iter().map(|&i| f64::from(label(i))).collect();
        let LossGrad { value, gradient } = f_beta(&probabilities, &truth, 1.5, 50.0);
        let found = f64::from(loss.into_scalar::<f32>());
        assert!((found - value).abs() < 1e-6, "{found} for {value}");
        for (i, slope) in slopes.iter().enumerate() {
            let want = kept
                .iter()
                .position(|&k| k == i)
                .map_or(0.0, |k| gradient[k] * p(i) * (1.0 - p(i)));
            assert!((f64::from(*slope) - want).abs() < 1e-7, "{i}: {slope} for {want}");
        }
    }

    #[test]
    fn a_resumed_run_repeats_the_uninterrupted_one() {
        let config = config(14);
        let device = Device::flex();
        let mut straight = Trainer::new(config.clone(), &device).unwrap();
        let expected = run(&mut straight, 14);
        let mut first = Trainer::new(config, &device).unwrap();
        let mut found = run(&mut first, 6);
        let bytes = first.checkpoint().to_bytes().unwrap();
        drop(first);
        let mut second = Trainer::resume(Checkpoint::from_bytes(&bytes).unwrap(), &device).unwrap();
        assert_eq!(second.steps(), 6);
        found.extend(run(&mut second, 14));
        assert_eq!(found, expected);
        assert_eq!(second.state, straight.state);
        assert_eq!(State::of(&second.net).unwrap().values, second.state.values);
    }

    #[test]
    fn a_file_that_is_no_whole_checkpoint_of_this_version_is_refused() {
        let trainer = Trainer::new(config(10), &Device::flex()).unwrap();
        let bytes = trainer.checkpoint().to_bytes().unwrap();
        let refused = |bytes: &[u8]| Checkpoint::from_bytes(bytes).err().unwrap();
        let old = [b"EQPCKPT1".as_slice(), &bytes[8..]].concat();
        assert!(matches!(refused(&old), CheckpointError::Old));
        for bytes in [
            &bytes[1..],
            &bytes[..bytes.len() - 4],
            &[&bytes[..], &[0]].concat(),
        ] {
            assert!(matches!(refused(bytes), CheckpointError::Damaged(_)));
        }
        let mut foreign = Checkpoint::from_bytes(&bytes).unwrap();
        foreign.config.net = NetConfig::preset("toy", 1).unwrap();
        assert!(matches!(
            Trainer::resume(foreign, &Device::flex()),
            Err(TrainError::Checkpoint(CheckpointError::Shape))
        ));
    }

    #[test]
    fn a_patch_with_nan_is_reported_and_changes_nothing() {
        let mut trainer = Trainer::new(config(10), &Device::flex()).unwrap();
        let before = trainer.state.clone();
        let mut bad = patch(0);
        bad.image.fill(f32::NAN);
        assert!(matches!(
            trainer.step(&[bad]),
            Err(TrainError::Diverged { step: 0, .. })
        ));
        assert_eq!(trainer.state, before);
        // Running statistics on the device, too.
        assert_eq!(State::of(&trainer.net).unwrap().values, before.values);
    }

    #[test]
    fn answers_are_counted_as_often_as_asked_and_change_nothing() {
        let batch: Vec<Patch> = (0..2).map(patch).collect();
        let run = |every: u64| {
            let config = TrainConfig {
                batch: 2,
                ..config(10)
            };
            let trainer = Trainer::new(config, &Device::flex()).unwrap();
            let mut trainer = trainer.with_counts_every(every);
            let reports: Vec<StepReport> = (0..4).map(|_| trainer.step(&batch).unwrap()).collect();
            (reports, trainer.state)
        };
        let ((always, a), (sometimes, b)) = (run(1), run(2));
        assert_eq!(a, b);
        for (always, sometimes) in always.into_iter().zip(sometimes) {
            let counts = always.counts.unwrap();
            let lesion = batch.iter().flat_map(|p| &p.label).filter(|l| **l > 0.5);
            assert_eq!(counts.found + counts.missed, lesion.count() as u64);
            let counts = always.counts.filter(|_| always.step % 2 == 0);
            assert_eq!(sometimes, StepReport { counts, ..always });
        }
    }

    #[test]
    fn larger_beta_raises_recall() {
        // Lesion and background overlap: where to cut is the loss's choice.
        let noisy = |counter: u64| {
            let mut p = patch(counter);
            let label = p.label.clone();
            for (v, g) in p.image.iter_mut().zip(&label) {
                *v = *v * 2.5 - g;
            }
            p
        };
        let recall = |beta: f64| {
            let loss = Loss::FBeta { beta, smooth: 1.0 };
            let mut trainer = Trainer::new(TrainConfig { loss, ..config(100) }, &Device::flex()).unwrap();
            for i in 0..100 {
                trainer.step(&[noisy(i)]).unwrap();
            }
            let watch = Watch::new((1000..1006).map(noisy).collect());
            watch.score(&trainer.averaged(), &Device::flex()).unwrap()
        };
        let (low, high) = (recall(1.0), recall(3.0));
        assert!(high.tpr() > low.tpr(), "{low:?} {high:?}");
        assert!(high.ppv() < low.ppv(), "{low:?} {high:?}");
    }
}
