//! An engine that trains: messages in, [`Tuner`] at work, answers out.

use js_sys::ArrayBuffer;

use crate::learn::augment::patch::Patch;
use crate::learn::trainer::{Tuner, TunerError};
use crate::net::engine::Engine;
use crate::web::channel::{self, Parcel};
use crate::web::messages::FromEngine;
use crate::web::messages::finetune::{FromTutor, ToTutor};

/// The engine, in a program that can train.
pub(super) struct Seat(Tuner);

impl Seat {
    pub(super) fn new(engine: Engine) -> Self {
        Self(Tuner::new(engine))
    }

    /// The engine, for everything else.
    pub(super) fn engine(&mut self) -> &mut Engine {
        self.0.engine_mut()
    }

    /// Answers a message about training.
    ///
    /// # Errors
    /// What ends this engine. A request that cannot be met, and a loss that is no number, are answered.
    pub(super) async fn tune(
        &mut self,
        message: ToTutor,
        buffers: &[ArrayBuffer],
    ) -> Result<Parcel<FromEngine>, String> {
        let buffer = |number: usize| buffers.get(number).ok_or("a message came without its buffer");
        let floats = |number: usize| channel::floats_in(buffer(number)?).map_err(|e| e.to_string());
        let done = match message {
            ToTutor::State => Ok((FromTutor::State(self.0.held()), None)),
            ToTutor::Begin { run, config, recipe } => {
                let weights = channel::bytes_in(buffer(0)?);
                let snapshot = buffers.get(1).map(channel::bytes_in);
                let snapshot = snapshot.as_deref();
                let begun = self.0.begin(run, &config, &weights, &recipe, snapshot).await;
                begun.map(|()| (FromTutor::Begun, None))
            }
            ToTutor::Step { step, side } => {
                let patch = Patch {
                    image: floats(0)?,
                    label: floats(1)?,
                    side,
                };
                let stepped = self.0.step(step, &patch).await;
                stepped.map(|report| (FromTutor::Stepped(report), None))
            }
            ToTutor::Publish => {
                let published = self.0.publish().await;
                published.map(|weights| (FromTutor::Published, Some(weights)))
            }
            ToTutor::Show => {
                let shown = self.0.show(channel::bytes_in(buffer(0)?));
                shown.map(|()| (FromTutor::Shown, None))
            }
            ToTutor::Snapshot => {
                let snapshot = self.0.snapshot().await;
                snapshot.map(|bytes| (FromTutor::Snapped, Some(bytes)))
            }
        };
        let (message, bytes) = match done {
            Ok(answer) => answer,
            Err(TunerError::Diverged { step, loss }) => {
                let loss = loss.to_string();
                (FromTutor::Diverged { step, loss }, None)
            }
            // The device is gone, or never was any good, and this engine with it.
            Err(problem @ (TunerError::Engine(_) | TunerError::Device(_) | TunerError::SelfTest { .. })) => {
                return Err(problem.to_string());
            }
            Err(problem) => {
                let problem = problem.to_string();
                (FromTutor::Refused { problem }, None)
            }
        };
        let parcel = Parcel::new(FromEngine::Tune(message));
        Ok(match bytes {
            Some(bytes) => parcel.with_buffer(channel::bytes_out(&bytes)),
            None => parcel,
        })
    }
}
