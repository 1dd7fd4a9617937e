//! Fine-tuning on an engine: the burn half of what the pipeline calls a learner.

use super::adamw::AdamW;
use super::{Guarded, flat, snapshot};
use crate::learn::augment::patch::Patch;
use crate::learn::tune::{Held, Recipe, Statistics, StepReport};
use crate::net::kernels::Renorm;
use crate::net::weights::{self, WeightsError};
use crate::net::{DenseNet, Engine, EngineError, Mode, NetConfig, Training};
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
    /// The averages of those that do.
    average: Vec<Option<Tensor<1>>>,
    optimiser: AdamW,
    step: u64,
    last: Option<StepReport>,
}

impl Tuner {
    /// A tuner on an engine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, run: None }
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

    /// What is being trained.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        self.run.as_ref().map(|run| Held {
            run: run.number,
            step: run.step,
        })
    }

    /// Takes up a run: from the weights of a safetensors file, or from a snapshot of a run that started with them.
    ///
    /// # Errors
    /// [`TunerError`] if the parts do not fit; an earlier run stays.
    pub fn begin(
        &mut self,
        number: u64,
        config_json: &str,
        weights: &[u8],
        recipe: &Recipe,
        taken: Option<&[u8]>,
    ) -> Result<(), TunerError> {
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
        let moving: Vec<bool> = flat::learning(&net)
            .into_iter()
            .map(|learns| learns || recipe.statistics == Statistics::Adapted)
            .collect();
        let average = flat::read(&net)
            .into_iter()
            .zip(&moving)
            .map(|(tensor, moves)| moves.then_some(tensor))
            .collect();
        let mut run = Run {
            number,
            optimiser: AdamW::new(moving.len(), recipe.weight_decay, recipe.clip),
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
        .forward(logits, label);
        let value = loss.clone().without_autodiff();
        let value = flat::host(value).await.map_err(TunerError::Device)?;
        let value = value.first().copied().unwrap_or(f32::NAN);
        if !value.is_finite() {
            return Err(TunerError::Diverged { step, loss: value });
        }
        let grads = GradientsParams::from_grads(loss.backward(), &run.net);
        let learning_rate = run.recipe.learning_rate_at(step);
        let net = run.net.clone();
        run.net = run.optimiser.step(net, grads, learning_rate, step + 1);
        run.follow();
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
        for average in &run.average {
            values.push(match average {
                Some(tensor) => {
                    let numbers = flat::host(tensor.clone()).await.map_err(TunerError::Device)?;
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
        self.engine.set(run.config.clone(), net);
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
        for ((weight, average), moments) in weights.into_iter().zip(&run.average).zip(&run.optimiser.moments)
        {
            let Some(average) = average else { continue };
            let mut tensors = vec![weight, average.clone()];
            tensors.extend(moments.iter().flatten().cloned());
            let mut part = Vec::with_capacity(tensors.len());
            for tensor in tensors {
                part.push(flat::host(tensor).await.map_err(TunerError::Device)?);
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
    /// Lets the average follow the weights.
    fn follow(&mut self) {
        let keep = self.recipe.average_weight(self.step);
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
            self.average[at] = tensors.next();
            self.optimiser.moments[at] = match (tensors.next(), tensors.next()) {
                (Some(first), Some(second)) => Some([first, second]),
                _ => None,
            };
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

impl Recipe {
    /// Learning rate after `step` steps: linear warm-up, then a cosine down to [`Recipe::final_rate`].
    #[must_use]
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        super::config::learning_rate(self.learning_rate, self.warmup, self.final_rate, self.steps, step)
    }

    /// How many times a lesion voxel counts in the cross-entropy after `step` steps.
    #[must_use]
    pub fn lesion_weight_at(&self, step: u64) -> f64 {
        super::config::lesion_weight([self.lesion_weight, 1.0], self.lesion_decay, step)
    }

    /// Share of the old average kept after `step` steps; less at first, so that the base counts no longer than it must.
    #[must_use]
    pub fn average_weight(&self, step: u64) -> f64 {
        super::config::average_weight(self.average, step)
    }

    /// How normalisation and dropout behave after `step` steps.
    #[must_use]
    pub fn mode(&self, step: u64) -> Mode {
        Mode::Train(Training {
            dropout: super::config::dropout_seed(self.seed, step),
            batch: (self.statistics == Statistics::Adapted).then_some(Renorm {
                momentum: 0.02,
                r_max: 3.0,
                d_max: 5.0,
            }),
            keep: self.keep,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Loss;
    use crate::net::Part;
    use pollster::block_on;

    fn recipe(part: Part) -> Recipe {
        Recipe {
            part,
            statistics: Statistics::Frozen,
            loss: Loss::FBeta {
                beta: 1.5,
                smooth: 1.0,
            },
            guard: 1.0,
            lesion_weight: 4.0,
            lesion_decay: 3,
            dropout: 0.1,
            steps: 10,
            learning_rate: 1e-2,
            warmup: 0,
            final_rate: 0.1,
            weight_decay: 1e-4,
            clip: 1.0,
            average: 0.9,
            keep: true,
            seed: 1,
        }
    }

    fn patch(seed: usize) -> Patch {
        let n = 512;
        Patch {
            image: (0..2 * n)
                .map(|i| ((i + seed) * 7919 % 2003) as f32 / 500.0 - 2.0)
                .collect(),
            label: (0..n)
                .map(|i| f32::from(u8::from((i + seed).is_multiple_of(9))))
                .collect(),
            side: 8,
        }
    }

    fn begun(recipe: &Recipe) -> Tuner {
        let config = NetConfig::preset("toy", 2).unwrap();
        let file = weights::to_bytes(&DenseNet::new(&config, 2, &Device::flex()).unwrap()).unwrap();
        let mut tuner = Tuner::new(Engine::cpu());
        let json = serde_json::to_string(&config).unwrap();
        tuner.begin(7, &json, &file, recipe, None).unwrap();
        tuner
    }

    /// Names of the modules at the top are enough: which tensors moved.
    fn moved(tuner: &Tuner, before: &[Vec<f32>]) -> Vec<bool> {
        numbers(tuner).iter().zip(before).map(|(a, b)| a != b).collect()
    }

    fn numbers(tuner: &Tuner) -> Vec<Vec<f32>> {
        flat::read(&tuner.run.as_ref().unwrap().net)
            .into_iter()
            .map(|t| block_on(flat::host(t)).unwrap())
            .collect()
    }

    #[test]
    fn no_gradient_exists_below_the_part_that_learns() {
        let mut counts = Vec::new();
        for part in [Part::Head, Part::Decoder, Part::Everything] {
            let mut tuner = begun(&recipe(part));
            let before = numbers(&tuner);
            let run = tuner.run.as_ref().unwrap();
            let learns = flat::learning(&run.net);
            // What the backward pass computes at all.
            let device = Device::flex().autodiff();
            let image = TensorData::new(patch(0).image, [1, 2, 8, 8, 8]);
            let logits = run
                .net
                .forward(Tensor::from_data(image, &device), run.recipe.mode(0));
            let grads = GradientsParams::from_grads(logits.square().mean().backward(), &run.net);
            assert_eq!(grads.len(), learns.iter().filter(|l| **l).count(), "{part:?}");
            counts.push(grads.len());
            block_on(tuner.step(0, &patch(0))).unwrap();
            for ((moved, learns), old) in moved(&tuner, &before).into_iter().zip(learns).zip(&before) {
                assert!(
                    learns || !moved,
                    "{part:?}: a frozen tensor of {} moved",
                    old.len()
                );
            }
        }
        assert!(counts[0] < counts[1] && counts[1] < counts[2], "{counts:?}");
        // Doubling and its bias, and the logit.
        assert_eq!(counts[0], 3);
    }

    #[test]
    fn a_snapshot_goes_on_to_the_bit() {
        for (part, statistics) in [
            (Part::Decoder, Statistics::Frozen),
            (Part::Everything, Statistics::Adapted),
        ] {
            let recipe = Recipe {
                statistics,
                ..recipe(part)
            };
            let mut straight = begun(&recipe);
            for step in 0..3 {
                block_on(straight.step(step, &patch(step as usize))).unwrap();
            }
            let taken = block_on(straight.snapshot()).unwrap();
            let run = straight.run.as_ref().unwrap();
            let json = serde_json::to_string(&run.config).unwrap();
            let base = weights::to_bytes(&DenseNet::new(&run.config, 2, &Device::flex()).unwrap()).unwrap();
            let mut other = Tuner::new(Engine::cpu());
            other.begin(7, &json, &base, &recipe, Some(&taken)).unwrap();
            assert_eq!(other.held(), straight.held());
            for step in 3..6 {
                let expected = block_on(straight.step(step, &patch(step as usize))).unwrap();
                assert_eq!(
                    block_on(other.step(step, &patch(step as usize))).unwrap(),
                    expected
                );
                // A step asked for again is answered again and not made again.
                assert_eq!(
                    block_on(other.step(step, &patch(step as usize))).unwrap(),
                    expected
                );
            }
            assert!(numbers(&other) == numbers(&straight));
            assert!(block_on(other.publish()).unwrap() == block_on(straight.publish()).unwrap());
            // Another run's, a damaged one, one for another recipe.
            let mut begin = |run, bytes: &[u8], recipe| other.begin(run, &json, &base, recipe, Some(bytes));
            assert!(begin(8, &taken, &recipe).is_err());
            assert!(begin(7, &taken[..taken.len() - 1], &recipe).is_err());
            let head = self::recipe(Part::Head);
            assert!(begin(7, &taken, &head).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut tuner = begun(&recipe(Part::Everything));
        let before = numbers(&tuner);
        let mut nan = patch(0);
        nan.image.fill(f32::NAN);
        assert!(matches!(
            block_on(tuner.step(0, &nan)),
            Err(TunerError::Diverged { step: 0, .. })
        ));
        let mut short = patch(0);
        short.label.pop();
        assert!(matches!(
            block_on(tuner.step(0, &short)),
            Err(TunerError::Patch { .. })
        ));
        assert!(matches!(
            block_on(tuner.step(4, &patch(0))),
            Err(TunerError::Order { asked: 4, done: 0 })
        ));
        assert!(numbers(&tuner) == before);
        assert!(matches!(
            block_on(Tuner::new(Engine::cpu()).step(0, &patch(0))),
            Err(TunerError::NotBegun)
        ));
    }
}
