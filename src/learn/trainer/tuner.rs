//! Fine-tuning on an engine: the burn half of what the pipeline calls a learner.

use super::adamw::AdamW;
use super::self_test::self_test;
use super::{Guarded, flat, snapshot};
use crate::learn::augment::patch::Patch;
use crate::learn::tune::{Held, Recipe, Statistics, StepReport};
use crate::net::kernels::AdamStep;
use crate::net::weights::{self, WeightsError};
use crate::net::{DenseNet, Engine, EngineError, NetConfig};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

/// Why a tuner did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunerError {
    /// No run was begun.
    #[error("no training was begun")]
    NotBegun,
    /// A step was asked for that does not follow.
    #[error("step {asked} was asked for after {done} steps")]
    Order {
        /// Steps that should have been done.
        asked: u64,
        /// Steps done.
        done: u64,
    },
    /// The patch has another number of values than its side says.
    #[error("a patch of {got} values was given where {expected} are needed")]
    Patch {
        /// Values needed.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// The loss is no number. The weights are as before the step.
    #[error("the loss became {loss} at step {step}")]
    Diverged {
        /// Steps done before.
        step: u64,
        /// The loss.
        loss: f32,
    },
    /// The engine, its network's configuration or its weights.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The device does not train as the CPU does.
    #[error(
        "the self-test of training failed: gradients or weights differ from the CPU's by {difference:.1e} (allowed {allowed:.0e})"
    )]
    SelfTest {
        /// Largest difference, as a share.
        difference: f64,
        /// What is let pass.
        allowed: f64,
    },
    /// The snapshot does not fit.
    #[error("the snapshot cannot be used: {0}")]
    Snapshot(String),
    /// The device did not answer.
    #[error("the device failed: {0}")]
    Device(String),
}

/// An engine that can be trained. What it predicts with is apart from what is trained: the base network at first, then
/// whatever [`Tuner::publish`] or [`Tuner::show`] put there.
///
/// Nothing blocks: every read from the device is awaited. A future that is dropped leaves the tuner as it was before.
pub struct Tuner {
    engine: Engine,
    /// Whether the device trained as the CPU does.
    tested: bool,
    run: Option<Run>,
}

/// One training run.
struct Run {
    number: u64,
    config: NetConfig,
    recipe: Recipe,
    net: DenseNet,
    /// The base network on the CPU, into which weights are written to be packed.
    packing: DenseNet,
    /// Which tensors change at all.
    moving: Vec<bool>,
    /// The averages of those that do without learning: running statistics. The optimiser knows the others'.
    average: Vec<Option<Tensor<1>>>,
    optimiser: AdamW,
    step: u64,
    last: Option<StepReport>,
}

impl Tuner {
    /// A tuner on an engine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            tested: false,
            run: None,
        }
    }

    /// The engine, to predict with.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine, to load another network for prediction, which does not touch training.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Sees that a GPU trains as the CPU does, once: a bad shader is only logged on WebGPU, and stale memory comes back as if nothing had
    /// happened.
    async fn self_test(&mut self) -> Result<(), TunerError> {
        if !self.tested && *self.engine.device() != Device::flex() {
            self_test(self.engine.device()).await?;
        }
        self.tested = true;
        Ok(())
    }

    /// What is being trained.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        self.run.as_ref().map(|run| Held {
            run: run.number,
            step: run.step,
        })
    }

    /// Takes up a run: from the weights of a safetensors file, or from a snapshot of a run that started with them. Before the first, a GPU
    /// must train small networks as the CPU does.
    ///
    /// # Errors
    /// [`TunerError::SelfTest`] if it does not; [`TunerError`] if the parts do not fit, and an earlier run stays.
    pub async fn begin(
        &mut self,
        number: u64,
        config_json: &str,
        weights: &[u8],
        recipe: &Recipe,
        taken: Option<&[u8]>,
    ) -> Result<(), TunerError> {
        self.self_test().await?;
        let config: NetConfig = serde_json::from_str(config_json).map_err(EngineError::Config)?;
        let trained = NetConfig {
            dropout: recipe.dropout,
            ..config.clone()
        };
        let packing = weights::from_bytes(&config, weights.to_vec(), &Device::flex())?;
        let device = self.engine.device().clone();
        let net = weights::from_bytes(&trained, weights.to_vec(), &device)?;
        let net = net
            .to_device(&device.clone().autodiff())
            .train()
            .train_only(recipe.part);
        let learning = flat::learning(&net);
        let adapted = recipe.statistics == Statistics::Adapted;
        let moving = learning.iter().map(|learns| *learns || adapted).collect();
        let average = flat::read(&net)
            .into_iter()
            .zip(learning)
            .map(|(tensor, learns)| (adapted && !learns).then_some(tensor))
            .collect();
        let mut run = Run {
            number,
            optimiser: AdamW::new(&net),
            recipe: recipe.clone(),
            config,
            net,
            packing,
            moving,
            average,
            step: 0,
            last: None,
        };
        if let Some(bytes) = taken {
            run = run.restore(bytes, &device)?;
        }
        self.engine.load(config_json, weights.to_vec())?;
        self.run = Some(run);
        Ok(())
    }

    /// The step that follows `step` steps. One that was made already is answered again.
    ///
    /// # Errors
    /// [`TunerError`]; the weights are then as before.
    pub async fn step(&mut self, step: u64, patch: &Patch) -> Result<StepReport, TunerError> {
        let device = self.engine.device().clone().autodiff();
        let run = self.run.as_mut().ok_or(TunerError::NotBegun)?;
        if let Some(last) = run
            .last
            .filter(|last| last.step == step + 1 && run.step == step + 1)
        {
            return Ok(last);
        }
        if run.step != step {
            return Err(TunerError::Order {
                asked: step,
                done: run.step,
            });
        }
        run.config.check_side(patch.side).map_err(EngineError::Side)?;
        let tensor = |values: &[f32], channels: usize| {
            let shape = [1, channels, patch.side, patch.side, patch.side];
            let expected = shape.iter().product();
            if values.len() == expected {
                Ok(Tensor::<5>::from_data(
                    TensorData::new(values.to_vec(), shape),
                    &device,
                ))
            } else {
                Err(TunerError::Patch {
                    expected,
                    got: values.len(),
                })
            }
        };
        let image = tensor(&patch.image, run.config.in_channels)?;
        let label = tensor(&patch.label, 1)?;
        let logits = run.net.forward(image, run.recipe.mode(step));
        let loss = Guarded {
            loss: &run.recipe.loss,
            guard: run.recipe.guard,
            lesion_weight: run.recipe.lesion_weight_at(step),
        }
        .forward(logits, label, None, None);
        let value = loss.clone().without_autodiff();
        let value = flat::host(value).await.map_err(TunerError::Device)?;
        let value = value.first().copied().unwrap_or(f32::NAN);
        if !value.is_finite() {
            return Err(TunerError::Diverged { step, loss: value });
        }
        let grads = GradientsParams::from_grads(loss.backward(), &run.net);
        let learning_rate = run.recipe.learning_rate_at(step);
        let next = AdamStep {
            time: step + 1,
            rate: learning_rate,
            decay: run.recipe.weight_decay,
            clip: run.recipe.clip,
            keep: run.recipe.average_weight(step),
        };
        run.net = run.optimiser.step(run.net.clone(), grads, next);
        run.follow(next.keep);
        run.step += 1;
        let report = StepReport {
            step: run.step,
            loss: value,
            learning_rate,
        };
        run.last = Some(report);
        Ok(report)
    }

    /// The averaged weights as a safetensors file, which the engine predicts with from now on.
    ///
    /// # Errors
    /// [`TunerError`] if there is no run or the device fails.
    pub async fn publish(&mut self) -> Result<Vec<u8>, TunerError> {
        let run = self.run.as_mut().ok_or(TunerError::NotBegun)?;
        let flex = Device::flex();
        let mut values = Vec::with_capacity(run.average.len());
        for at in 0..run.average.len() {
            values.push(match run.average_of(at) {
                Some(tensor) => {
                    let numbers = flat::host(tensor).await.map_err(TunerError::Device)?;
                    Some(flat::tensor(numbers, &flex))
                }
                None => None,
            });
        }
        run.packing = flat::write(run.packing.clone(), values.into_iter());
        let bytes = weights::to_bytes(&run.packing)?;
        self.show(bytes.clone())?;
        Ok(bytes)
    }

    /// Predictions are those of this safetensors file from now on.
    ///
    /// # Errors
    /// [`TunerError`] if there is no run or the weights do not fit its network.
    pub fn show(&mut self, weights: Vec<u8>) -> Result<(), TunerError> {
        let run = self.run.as_ref().ok_or(TunerError::NotBegun)?;
        let net = weights::from_bytes(&run.config, weights, self.engine.device())?;
        self.engine.set(run.config.clone(), &net);
        Ok(())
    }

    /// Everything that is needed to go on as if nothing had happened.
    ///
    /// # Errors
    /// [`TunerError`] if there is no run or the device fails.
    pub async fn snapshot(&self) -> Result<Vec<u8>, TunerError> {
        let run = self.run.as_ref().ok_or(TunerError::NotBegun)?;
        let mut parts = Vec::new();
        let weights = flat::read(&run.net);
        for ((weight, average), state) in weights.into_iter().zip(&run.average).zip(&run.optimiser.states) {
            let n = weight.shape().num_elements();
            let rest = match (state, average) {
                (Some(state), _) => state.clone().reshape([3 * n]),
                (None, Some(average)) => average.clone(),
                (None, None) => continue,
            };
            let mut part = Vec::new();
            for tensor in [weight, rest] {
                part.push(flat::host(tensor).await.map_err(TunerError::Device)?);
            }
            if state.is_some()
                && let Some(mut first) = part.pop()
            {
                let mut second = first.split_off(n);
                let average = second.split_off(n);
                part.extend([average, first, second]);
            }
            parts.push(part);
        }
        let held = Held {
            run: run.number,
            step: run.step,
        };
        Ok(snapshot::to_bytes(held, run.last, &parts))
    }
}

impl Run {
    /// The average of tensor `at`, if it moves.
    fn average_of(&self, at: usize) -> Option<Tensor<1>> {
        let known = self.optimiser.average(at);
        known.or_else(|| self.average.get(at).cloned().flatten())
    }

    /// Lets the averages of running statistics follow them.
    fn follow(&mut self, keep: f64) {
        if self.average.iter().all(Option::is_none) {
            return;
        }
        let now = flat::read(&self.net);
        for (average, now) in self.average.iter_mut().zip(now) {
            if let Some(tensor) = average.take() {
                *average = Some(tensor * keep + now * (1.0 - keep));
            }
        }
    }

    /// The same run at another step.
    fn restore(mut self, bytes: &[u8], device: &Device) -> Result<Self, TunerError> {
        let (held, last, parts) = snapshot::from_bytes(bytes).map_err(TunerError::Snapshot)?;
        let foreign = || TunerError::Snapshot("it belongs to another network or another recipe".into());
        let lengths: Vec<usize> = flat::read(&self.net)
            .iter()
            .map(|t| t.shape().num_elements())
            .collect();
        let mut parts = parts.into_iter();
        let mut weights = Vec::with_capacity(lengths.len());
        for (at, length) in lengths.into_iter().enumerate() {
            if !self.moving.get(at).is_some_and(|moves| *moves) {
                weights.push(None);
                continue;
            }
            let part = parts.next().ok_or_else(foreign)?;
            if !matches!(part.len(), 2 | 4) || part.iter().any(|values| values.len() != length) {
                return Err(foreign());
            }
            let mut tensors = part.into_iter().map(|values| flat::tensor(values, device));
            weights.push(tensors.next());
            let average = tensors.next();
            let mut moment = || tensors.next().unwrap_or_else(|| Tensor::zeros([length], device));
            match (&mut self.optimiser.states[at], average) {
                (Some(state), Some(average)) => {
                    *state = Tensor::stack(vec![moment(), moment(), average], 0);
                }
                (_, average) => self.average[at] = average,
            }
        }
        if parts.next().is_some() || held.run != self.number {
            return Err(foreign());
        }
        self.net = flat::write(self.net, weights.into_iter());
        self.step = held.step;
        self.last = last;
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
