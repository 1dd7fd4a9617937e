//! Training: one step after another, checkpointed, watched on held-out patches.
//!
//! Free of files and user interface: the caller feeds patches and decides when to save.

mod adamw;
mod balance;
mod checkpoint;
mod config;
mod flat;
mod host;
mod recipe;
mod self_test;
mod snapshot;
mod soup;
mod tuner;
mod watch;

pub use adamw::AdamW;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use config::{TrainConfig, TrainConfigError};
pub use soup::soup;
pub use tuner::{Tuner, TunerError};
pub use watch::{Counts, Watch};

use crate::learn::augment::patch::Patch;
use crate::loss::{Loss, cross_entropy, cross_entropy_by_voxel, scaled};
use crate::net::{ConfigError, DenseNet};
use crate::volume::intensity::hyperintensity;
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
        .forward(
            logits,
            labels,
            self.brightness(patches),
            self.lesion_weights(patches),
        );
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

    /// What the brightness of the voxels is worth, `[batch, 1, z, y, x]`, if the loss is weighed by it.
    fn brightness(&self, patches: &[Patch]) -> Option<Tensor<5>> {
        let side = patches.first().filter(|_| self.config.weighed)?.side;
        let all = patches
            .iter()
            .flat_map(|p| p.image.iter().take(p.label.len()))
            .map(|flair| hyperintensity(*flair))
            .collect::<Vec<f32>>();
        let shape = [patches.len(), 1, side, side, side];
        Some(Tensor::from_data(TensorData::new(all, shape), &self.device))
    }

    /// How many times the voxels of each lesion count, `[batch, 1, z, y, x]`, if small ones count more.
    fn lesion_weights(&self, patches: &[Patch]) -> Option<Tensor<5>> {
        let power = self.config.guard_small;
        let side = patches.first().filter(|_| power > 0.0)?.side;
        let all = patches
            .iter()
            .flat_map(|p| balance::lesion_weights(&p.label, side, power))
            .collect::<Vec<f32>>();
        let shape = [patches.len(), 1, side, side, side];
        Some(Tensor::from_data(TensorData::new(all, shape), &self.device))
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
    /// A scalar. The loss is that of probabilities times `brightness`, if there is one. `weights` say how many times a voxel of each
    /// lesion counts in the cross-entropy, beside all lesions' weight.
    fn forward(
        &self,
        logits: Tensor<5>,
        labels: Tensor<5>,
        brightness: Option<Tensor<5>>,
        weights: Option<Tensor<5>>,
    ) -> Tensor<1> {
        let judged = match brightness {
            Some(brightness) => scaled(logits.clone(), brightness),
            None => logits.clone(),
        };
        let loss = self.loss.forward(judged, labels.clone());
        if self.guard <= 0.0 {
            return loss;
        }
        let guard = match weights {
            Some(weights) => {
                let weighted = labels.clone() * weights * self.lesion_weight;
                cross_entropy_by_voxel(logits, labels, weighted)
            }
            None => cross_entropy(logits, labels, self.lesion_weight),
        };
        loss + guard * self.guard
    }
}

#[cfg(test)]
mod tests;
