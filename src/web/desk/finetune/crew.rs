//! The engines of a fine-tuning run as one [`Learner`]: the first one trains, and all of them predict.

use std::cell::RefCell;
use std::rc::Rc;

use gloo_timers::future::TimeoutFuture;

use super::super::link::Link;
use super::super::pool::Engine;
use crate::learn::augment::patch::Patch;
use crate::learn::tune::{Held, StepReport};
use crate::pipeline::finetune::{LearnError, Learner, Start};
use crate::pipeline::{PredictError, Predictor};
use crate::web::channel::{self, Parcel};
use crate::web::messages::finetune::{FromTutor, ToTutor};
use crate::web::messages::{EngineKind, FromEngine, ToEngine};

/// Engines of one kind. Dropping it ends them.
pub(super) struct Crew {
    kind: EngineKind,
    tutor: Link,
    /// They only predict, so that an evaluation uses all processors.
    helpers: Vec<Link>,
    /// Numbers of the engines that are free to predict: 0 is the tutor.
    idle: RefCell<Vec<usize>>,
    /// The network's configuration, for the helpers.
    config: RefCell<String>,
}

impl Crew {
    /// Starts one engine that trains and, on the CPU, as many that help it predict.
    ///
    /// # Errors
    /// Why the first did not start, in words. Helpers that do not start are done without.
    pub(super) async fn start(
        kind: EngineKind,
        helpers: usize,
        allow_software: bool,
    ) -> Result<Self, String> {
        let tutor = Link::start_for_training(kind, allow_software).await?;
        let mut more = Vec::new();
        if kind == EngineKind::Cpu {
            for _ in 0..helpers {
                match Link::start_for_training(kind, allow_software).await {
                    Ok(link) => more.push(link),
                    Err(_) => break,
                }
            }
        }
        Ok(Self {
            kind,
            tutor,
            idle: RefCell::new((0..=more.len()).collect()),
            helpers: more,
            config: RefCell::default(),
        })
    }

    /// Where they run.
    pub(super) fn kind(&self) -> EngineKind {
        self.kind
    }

    fn link(&self, number: usize) -> &Link {
        number
            .checked_sub(1)
            .and_then(|i| self.helpers.get(i))
            .unwrap_or(&self.tutor)
    }

    /// Asks the engine that trains.
    async fn ask(&self, parcel: Parcel<ToTutor>) -> Result<Parcel<FromTutor>, LearnError> {
        // An answer that nobody waits for any more comes first.
        if !self.tutor.usable().await {
            return Err(LearnError::Lost(self.tutor.why()));
        }
        let Parcel {
            message,
            buffers,
            files,
            case,
        } = parcel;
        let parcel = Parcel {
            message: ToEngine::Tune(message),
            buffers,
            files,
            case,
        };
        let answer = self.tutor.ask(parcel).await.map_err(LearnError::Lost)?;
        match answer.message {
            FromEngine::Tune(FromTutor::Refused { problem }) => Err(LearnError::Refused(problem)),
            FromEngine::Tune(message) => Ok(Parcel {
                message,
                buffers: answer.buffers,
                files: answer.files,
                case: answer.case,
            }),
            _ => Err(self.nonsense()),
        }
    }

    fn nonsense(&self) -> LearnError {
        LearnError::Lost(self.tutor.nonsense())
    }

    /// The helpers predict by these weights from now on.
    async fn teach(&self, weights: &[u8]) -> Result<(), LearnError> {
        for helper in &self.helpers {
            let load = Parcel::new(ToEngine::Load {
                config: self.config.borrow().clone(),
            })
            .with_buffer(channel::bytes_out(weights));
            if !helper.usable().await {
                return Err(LearnError::Lost(helper.why()));
            }
            match helper.ask(load).await.map_err(LearnError::Lost)?.message {
                FromEngine::Loaded => {}
                _ => return Err(LearnError::Lost(helper.nonsense())),
            }
        }
        Ok(())
    }
}

/// The bytes that came with an answer.
fn bytes<M>(parcel: &Parcel<M>) -> Option<Vec<u8>> {
    parcel.buffers.first().map(channel::bytes_in)
}

impl Learner for Crew {
    async fn held(&self) -> Result<Option<Held>, LearnError> {
        match self.ask(Parcel::new(ToTutor::State)).await?.message {
            FromTutor::State(held) => Ok(held),
            _ => Err(self.nonsense()),
        }
    }

    async fn begin(&self, start: Start) -> Result<(), LearnError> {
        self.config.borrow_mut().clone_from(&start.config);
        let mut parcel = Parcel::new(ToTutor::Begin {
            run: start.run,
            config: start.config,
            recipe: start.recipe,
        })
        .with_buffer(channel::bytes_out(&start.weights));
        if let Some(snapshot) = &start.snapshot {
            parcel = parcel.with_buffer(channel::bytes_out(snapshot));
        }
        match self.ask(parcel).await?.message {
            FromTutor::Begun => self.teach(&start.weights).await,
            _ => Err(self.nonsense()),
        }
    }

    async fn step(&self, step: u64, patch: Patch) -> Result<StepReport, LearnError> {
        let parcel = Parcel::new(ToTutor::Step {
            step,
            side: patch.side,
        })
        .with_buffer(channel::floats_out(&patch.image))
        .with_buffer(channel::floats_out(&patch.label));
        match self.ask(parcel).await?.message {
            FromTutor::Stepped(report) => Ok(report),
            FromTutor::Diverged { step, loss } => Err(LearnError::Diverged {
                step,
                loss: loss.parse().unwrap_or(f32::NAN),
            }),
            _ => Err(self.nonsense()),
        }
    }

    async fn publish(&self) -> Result<Vec<u8>, LearnError> {
        let answer = self.ask(Parcel::new(ToTutor::Publish)).await?;
        match (&answer.message, bytes(&answer)) {
            (FromTutor::Published, Some(weights)) => {
                self.teach(&weights).await?;
                Ok(weights)
            }
            _ => Err(self.nonsense()),
        }
    }

    async fn show(&self, weights: Vec<u8>) -> Result<(), LearnError> {
        let parcel = Parcel::new(ToTutor::Show).with_buffer(channel::bytes_out(&weights));
        match self.ask(parcel).await?.message {
            FromTutor::Shown => self.teach(&weights).await,
            _ => Err(self.nonsense()),
        }
    }

    async fn snapshot(&self) -> Result<Vec<u8>, LearnError> {
        let answer = self.ask(Parcel::new(ToTutor::Snapshot)).await?;
        match (&answer.message, bytes(&answer)) {
            (FromTutor::Snapped, Some(snapshot)) => Ok(snapshot),
            _ => Err(self.nonsense()),
        }
    }
}

impl Predictor for Crew {
    async fn predict(&self, patch: Vec<f32>, side: usize) -> Result<Vec<f32>, PredictError> {
        let taken = loop {
            let next = self.idle.borrow_mut().pop();
            match next {
                Some(number) => break Taken { crew: self, number },
                // Not more than `parallelism` patches are in flight, but one that was dropped may still be at work.
                None => TimeoutFuture::new(5).await,
            }
        };
        let link = self.link(taken.number);
        if !link.usable().await {
            return Err(PredictError::Lost(link.why()));
        }
        let answer = link.predict(&patch, side).await.map_err(PredictError::Lost)?;
        crate::pipeline::check_probabilities(&answer.values, side)?;
        Ok(answer.values)
    }

    fn parallelism(&self) -> usize {
        1 + self.helpers.len()
    }
}

/// An engine at work on a patch; free again when dropped, be the patch predicted or not.
struct Taken<'a> {
    crew: &'a Crew,
    number: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.crew.idle.borrow_mut().push(self.number);
    }
}

/// A crew that is shared between plans and runs.
pub(super) type Hired = Rc<Crew>;
