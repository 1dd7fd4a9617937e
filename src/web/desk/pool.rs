//! A pool of engines as one [`Predictor`]: starts them when tiles come, replaces those that end, and goes on with the
//! CPU when the GPU fails. Knows nothing of the browser, so it is tested with engines that fail on purpose.

mod lease;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

use futures_channel::oneshot;

use crate::pipeline::{Bundle, PredictError, Predictor, check_probabilities};
use crate::tiling::{Group, Sums};
use crate::web::messages::EngineKind;
use lease::{Lease, Slot};

/// A predicted patch, or a group of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// `side^3` probabilities, x fastest, or the sums of a group.
    pub values: T,
    /// Milliseconds it took inside the engine; `None` for its first patch, which is slow while code is compiled.
    pub millis: Option<f64>,
}

/// One engine that runs, with its network loaded. Dropping it ends it.
pub trait Engine {
    /// Predicts a patch of `channels * side^3` values.
    ///
    /// # Errors
    /// Why the engine ended, in words. An engine that failed once is not asked again.
    fn predict(&self, patch: &[f32], side: usize) -> impl Future<Output = Result<Answer<Vec<f32>>, String>>;

    /// Voxels of the patches that it takes together; 0 if it takes them one by one.
    fn group_voxels(&self) -> usize;

    /// Predicts and fuses a group of patches.
    ///
    /// # Errors
    /// As [`Engine::predict`].
    fn predict_group(&self, bundle: &Bundle) -> impl Future<Output = Result<Answer<Sums>, String>>;

    /// Nobody waits for the answer any more: be done with it soon, or end.
    fn abandon(&self);

    /// Waits out an abandoned answer. False if the engine has ended.
    fn usable(&self) -> impl Future<Output = bool>;

    /// True if it should be replaced by a fresh one: its memory has grown and cannot shrink.
    fn worn(&self) -> bool;
}

/// Starts engines.
pub trait Starter {
    /// What it starts.
    type Engine: Engine;

    /// Starts an engine, loads the network and, on a GPU, runs the self-test.
    ///
    /// # Errors
    /// Why it did not start, in words.
    fn start(&self, kind: EngineKind) -> impl Future<Output = Result<Self::Engine, String>>;
}

/// What happens in a pool.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The GPU failed; the run goes on with this engine.
    Changed {
        /// The new engine.
        engine: EngineKind,
        /// Why, in a sentence.
        why: String,
    },
    /// A tile was predicted.
    Timed {
        /// By which engine.
        engine: EngineKind,
        /// Milliseconds inside the engine.
        millis: f64,
    },
}

/// Engines of one kind with one network, as a [`Predictor`].
///
/// When the GPU fails, the patch in question ends with [`PredictError::Lost`] and the pool is one of CPU engines from
/// then on: a [`Run`](crate::pipeline::Run) that advances again over the same pool goes on where it was, and asks anew
/// how many patches may be in flight. An error that is not `Lost` is final.
pub struct Pool<S: Starter> {
    starter: S,
    /// Workers of a CPU pool; a GPU has one engine.
    cpu_workers: usize,
    state: RefCell<State<S::Engine>>,
    listener: RefCell<Rc<dyn Fn(Event)>>,
}

struct State<E> {
    kind: EngineKind,
    workers: usize,
    /// Voxels of the patches that a GPU takes together, once its engine has said so.
    group: usize,
    idle: Vec<E>,
    /// Engines lent or starting.
    busy: usize,
    waiting: VecDeque<oneshot::Sender<()>>,
    gpu_failed: Option<String>,
}

/// Which engine will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// One that waits for work, or else a new one.
    Any,
    /// A new one: those that wait are as old as the one that just ended, and may end the same way. They make room.
    Fresh,
}

/// Times a tile is tried on CPU engines: an engine that ends twice over the same tile will end a third time.
const TRIES: usize = 2;

impl<S: Starter> Pool<S> {
    /// A pool without engines; they start when they are needed.
    pub fn new(starter: S, kind: EngineKind, cpu_workers: usize) -> Self {
        let cpu_workers = cpu_workers.max(1);
        let workers = match kind {
            EngineKind::Cpu => cpu_workers,
            EngineKind::WebGpu => 1,
        };
        let idle = Vec::new();
        let waiting = VecDeque::new();
        Self {
            starter,
            cpu_workers,
            state: RefCell::new(State {
                kind,
                workers,
                group: 0,
                idle,
                busy: 0,
                waiting,
                gpu_failed: None,
            }),
            listener: RefCell::new(Rc::new(|_| {})),
        }
    }

    /// Says who hears of [`Event`]s from now on.
    pub fn listen(&self, listener: impl Fn(Event) + 'static) {
        *self.listener.borrow_mut() = Rc::new(listener);
    }

    /// The engine in use.
    pub fn kind(&self) -> EngineKind {
        self.state.borrow().kind
    }

    /// Why the GPU was given up, if it was.
    pub fn gpu_failed(&self) -> Option<String> {
        self.state.borrow().gpu_failed.clone()
    }

    /// Starts the first engine, so that what can fail at the start fails before any work is done.
    ///
    /// # Errors
    /// [`PredictError::Engine`] if no engine starts, neither GPU nor CPU.
    pub async fn ready(&self) -> Result<(), PredictError> {
        loop {
            match self.lease(Want::Any).await {
                Ok(_) => return Ok(()),
                // The GPU was given up; the CPU is next.
                Err(PredictError::Lost(_)) => {}
                Err(problem) => return Err(problem),
            }
        }
    }

    /// Ends the engines that wait for work, which gives their memory back to the system.
    pub fn dismiss_idle(&self) {
        let idle = std::mem::take(&mut self.state.borrow_mut().idle);
        drop(idle);
    }

    fn tell(&self, event: Event) {
        // Cloned out, so that the listener may set another listener.
        let listener = self.listener.borrow().clone();
        listener(event);
    }

    /// An engine to oneself, started if need be.
    async fn lease(&self, want: Want) -> Result<Lease<'_, S>, PredictError> {
        loop {
            let slot = self.slot().await;
            let kind = slot.kind;
            let idle = self.state.borrow_mut().idle.pop();
            if let Some(engine) = idle {
                if want == Want::Any && engine.usable().await {
                    return Ok(Lease::new(slot, engine));
                }
                continue;
            }
            match self.starter.start(kind).await {
                Ok(engine) => {
                    if kind == EngineKind::WebGpu {
                        self.state.borrow_mut().group = engine.group_voxels();
                    }
                    return Ok(Lease::new(slot, engine));
                }
                Err(problem) if kind == EngineKind::WebGpu => {
                    self.fall_back(&problem);
                    return Err(PredictError::Lost(problem));
                }
                // With other engines at work the pool is simply smaller than hoped: memory is the usual reason.
                Err(_) if self.shrink() => {}
                Err(problem) => return Err(PredictError::Engine(problem)),
            }
        }
    }

    /// Room for one more engine at work.
    async fn slot(&self) -> Slot<'_, S> {
        loop {
            let turn = {
                let mut state = self.state.borrow_mut();
                if state.busy < state.workers {
                    state.busy += 1;
                    return Slot {
                        pool: self,
                        kind: state.kind,
                    };
                }
                let (sender, receiver) = oneshot::channel();
                state.waiting.push_back(sender);
                receiver
            };
            // Either way it is time to look again.
            let _ = turn.await;
        }
    }

    fn fall_back(&self, problem: &str) {
        {
            let mut state = self.state.borrow_mut();
            if state.kind == EngineKind::Cpu {
                return;
            }
            state.kind = EngineKind::Cpu;
            state.group = 0;
            state.workers = self.cpu_workers;
            state.gpu_failed = Some(problem.trim_end_matches('.').to_owned());
        }
        self.dismiss_idle();
        let problem = problem.trim_end_matches('.');
        let why = format!("WebGPU failed ({problem}), so the CPU takes over.");
        self.tell(Event::Changed {
            engine: EngineKind::Cpu,
            why,
        });
        self.wake_all();
    }

    /// Makes the pool smaller by one if another engine is at work. True if it did.
    fn shrink(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let others = state.busy > 1;
        if others {
            state.workers = (state.busy - 1).max(1);
        }
        others
    }

    fn wake_all(&self) {
        let waiting = std::mem::take(&mut self.state.borrow_mut().waiting);
        for turn in waiting {
            // A waiter that was dropped needs no waking.
            let _ = turn.send(());
        }
    }
}

impl<S: Starter> Predictor for Pool<S> {
    async fn predict(&self, patch: Vec<f32>, side: usize) -> Result<Vec<f32>, PredictError> {
        let mut tries = 0;
        let mut want = Want::Any;
        loop {
            let mut lease = self.lease(want).await?;
            let kind = lease.slot.kind;
            let problem = match lease.predict(&patch, side).await {
                Ok(answer) => match check_probabilities(&answer.values, side) {
                    Ok(()) => {
                        if let Some(millis) = answer.millis {
                            self.tell(Event::Timed { engine: kind, millis });
                        }
                        return Ok(answer.values);
                    }
                    Err(problem) => problem.to_string(),
                },
                Err(problem) => problem,
            };
            lease.engine = None;
            if kind == EngineKind::WebGpu {
                self.fall_back(&problem);
                return Err(PredictError::Lost(problem));
            }
            tries += 1;
            if tries == TRIES {
                return Err(PredictError::Engine(problem));
            }
            self.shrink();
            want = Want::Fresh;
        }
    }

    fn parallelism(&self) -> usize {
        self.state.borrow().workers
    }

    fn group(&self, side: usize) -> Option<usize> {
        Group::size(self.state.borrow().group, side)
    }

    async fn predict_group(&self, bundle: &Bundle) -> Result<Sums, PredictError> {
        let mut lease = self.lease(Want::Any).await?;
        let engine = lease.slot.kind;
        if engine == EngineKind::Cpu {
            // It took over after the group was made; asked again, the patches come one by one.
            return Err(PredictError::Lost("the GPU was given up".into()));
        }
        let problem = match lease.predict_group(bundle).await {
            Ok(answer) => match bundle.check(&answer.values) {
                Ok(()) => {
                    if let Some(millis) = answer.millis {
                        let millis = millis / bundle.count() as f64;
                        self.tell(Event::Timed { engine, millis });
                    }
                    return Ok(answer.values);
                }
                Err(problem) => problem.to_string(),
            },
            Err(problem) => problem,
        };
        lease.engine = None;
        self.fall_back(&problem);
        Err(PredictError::Lost(problem))
    }
}

#[cfg(test)]
mod tests;
