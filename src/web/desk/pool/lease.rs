//! An engine lent out of the pool, and the place among the engines at work that it takes.

use super::{Answer, Engine, Pool, Starter};
use crate::pipeline::Bundle;
use crate::tiling::Sums;
use crate::web::messages::EngineKind;

/// A place among the engines at work; leaving it lets the next one in.
pub(super) struct Slot<'a, S: Starter> {
    pub(super) pool: &'a Pool<S>,
    pub(super) kind: EngineKind,
}

impl<S: Starter> Drop for Slot<'_, S> {
    fn drop(&mut self) {
        self.pool.state.borrow_mut().busy -= 1;
        // All are woken, not one: the one woken may itself have been dropped meanwhile.
        self.pool.wake_all();
    }
}

/// An engine in use. When it is dropped in mid-tile (a cancelled run) the engine is told so and kept for the next run.
pub(super) struct Lease<'a, S: Starter> {
    pub(super) slot: Slot<'a, S>,
    pub(super) engine: Option<S::Engine>,
    /// A tile is under way inside the engine.
    at_work: bool,
}

impl<'a, S: Starter> Lease<'a, S> {
    pub(super) fn new(slot: Slot<'a, S>, engine: S::Engine) -> Self {
        Self {
            slot,
            engine: Some(engine),
            at_work: false,
        }
    }

    pub(super) async fn predict(&mut self, patch: &[f32], side: usize) -> Result<Answer<Vec<f32>>, String> {
        let Some(engine) = &self.engine else {
            return Err("it has ended".into());
        };
        self.at_work = true;
        let answer = engine.predict(patch, side).await;
        self.at_work = false;
        answer
    }

    pub(super) async fn predict_group(&mut self, bundle: &Bundle) -> Result<Answer<Sums>, String> {
        let Some(engine) = &self.engine else {
            return Err("it has ended".into());
        };
        self.at_work = true;
        let answer = engine.predict_group(bundle).await;
        self.at_work = false;
        answer
    }
}

impl<S: Starter> Drop for Lease<'_, S> {
    fn drop(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        if self.at_work {
            engine.abandon();
        } else if engine.worn() {
            return;
        }
        let mut state = self.slot.pool.state.borrow_mut();
        if state.kind == self.slot.kind && state.idle.len() < state.workers {
            state.idle.push(engine);
        }
    }
}
