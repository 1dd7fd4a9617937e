//! A pool of engines as one [`Predictor`]: starts them when tiles come, replaces those that end, and goes on with the
//! CPU when the GPU fails. Knows nothing of the browser, so it is tested with engines that fail on purpose.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

use futures_channel::oneshot;

use crate::pipeline::{PredictError, Predictor};
use crate::web::messages::EngineKind;

/// A predicted patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// `side^3` probabilities, x fastest.
    pub probabilities: Vec<f32>,
    /// Milliseconds it took inside the engine.
    pub millis: f64,
}

/// One engine that runs, with its network loaded. Dropping it ends it.
pub trait Engine {
    /// Predicts a patch of `channels * side^3` values.
    ///
    /// # Errors
    /// Why the engine ended, in words. An engine that failed once is not asked again.
    fn predict(&self, patch: &[f32], side: usize) -> impl Future<Output = Result<Answer, String>>;

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
    idle: Vec<E>,
    /// Engines lent or starting.
    busy: usize,
    waiting: VecDeque<oneshot::Sender<()>>,
    gpu_failed: Option<String>,
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
            match self.lease().await {
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
    async fn lease(&self) -> Result<Lease<'_, S>, PredictError> {
        loop {
            let slot = self.slot().await;
            let kind = slot.kind;
            let idle = self.state.borrow_mut().idle.pop();
            if let Some(engine) = idle {
                if engine.usable().await {
                    return Ok(Lease::new(slot, engine));
                }
                continue;
            }
            match self.starter.start(kind).await {
                Ok(engine) => return Ok(Lease::new(slot, engine)),
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
            state.workers = self.cpu_workers;
            state.gpu_failed = Some(problem.to_owned());
        }
        self.dismiss_idle();
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
        loop {
            let mut lease = self.lease().await?;
            let kind = lease.slot.kind;
            let problem = match lease.predict(&patch, side).await {
                Ok(answer) => match check(&answer.probabilities, side) {
                    Ok(()) => {
                        self.tell(Event::Timed {
                            engine: kind,
                            millis: answer.millis,
                        });
                        return Ok(answer.probabilities);
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
        }
    }

    fn parallelism(&self) -> usize {
        self.state.borrow().workers
    }
}

/// The engine's answer must be `side^3` probabilities: a kernel that was skipped leaves anything in its output.
fn check(probabilities: &[f32], side: usize) -> Result<(), PredictError> {
    let expected = side.pow(3);
    if probabilities.len() != expected {
        return Err(PredictError::Length {
            expected,
            got: probabilities.len(),
        });
    }
    match probabilities.iter().filter(|p| !(0.0..=1.0).contains(*p)).count() {
        0 => Ok(()),
        count => Err(PredictError::NotProbabilities { count }),
    }
}

/// A place among the engines at work; leaving it lets the next one in.
struct Slot<'a, S: Starter> {
    pool: &'a Pool<S>,
    kind: EngineKind,
}

impl<S: Starter> Drop for Slot<'_, S> {
    fn drop(&mut self) {
        self.pool.state.borrow_mut().busy -= 1;
        // All are woken, not one: the one woken may itself have been dropped meanwhile.
        self.pool.wake_all();
    }
}

/// An engine in use. When it is dropped in mid-tile (a cancelled run) the engine is told so and kept for the next run.
struct Lease<'a, S: Starter> {
    slot: Slot<'a, S>,
    engine: Option<S::Engine>,
    /// A tile is under way inside the engine.
    at_work: bool,
}

impl<'a, S: Starter> Lease<'a, S> {
    fn new(slot: Slot<'a, S>, engine: S::Engine) -> Self {
        Self {
            slot,
            engine: Some(engine),
            at_work: false,
        }
    }

    async fn predict(&mut self, patch: &[f32], side: usize) -> Result<Answer, String> {
        let Some(engine) = &self.engine else {
            return Err("it has ended".into());
        };
        self.at_work = true;
        let answer = engine.predict(patch, side).await;
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use futures_util::future::join_all;

    use super::*;

    /// What a fake engine does with its next tile.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Act {
        Answer,
        Die,
        Garbage,
        Hang,
    }

    /// Shared by the fakes of one test.
    #[derive(Default)]
    struct Stage {
        /// Acts in the order tiles reach engines; `Answer` once they run out.
        acts: RefCell<VecDeque<Act>>,
        gpu_starts: Cell<bool>,
        cpu_refuses: Cell<usize>,
        wears_out: Cell<bool>,
        started: RefCell<Vec<EngineKind>>,
        alive: Cell<usize>,
        most_alive: Cell<usize>,
        abandoned: Cell<usize>,
    }

    struct Fake(Rc<Stage>, Cell<bool>);

    impl Drop for Fake {
        fn drop(&mut self) {
            self.0.alive.set(self.0.alive.get() - 1);
        }
    }

    /// Pending once, so that engines overlap.
    struct Pause(bool);

    impl Future for Pause {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            if self.0 {
                return Poll::Ready(());
            }
            self.0 = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }

    impl Engine for Fake {
        async fn predict(&self, patch: &[f32], side: usize) -> Result<Answer, String> {
            let act = self.0.acts.borrow_mut().pop_front().unwrap_or(Act::Answer);
            Pause(false).await;
            match act {
                Act::Answer => Ok(Answer {
                    probabilities: patch[..side.pow(3)].iter().map(|v| v / 2.0).collect(),
                    millis: 7.0,
                }),
                Act::Garbage => Ok(Answer {
                    probabilities: vec![f32::NAN; side.pow(3)],
                    millis: 7.0,
                }),
                Act::Die => Err("out of memory".into()),
                Act::Hang => std::future::pending().await,
            }
        }
        fn abandon(&self) {
            self.0.abandoned.set(self.0.abandoned.get() + 1);
            self.1.set(false);
        }
        async fn usable(&self) -> bool {
            self.1.get()
        }
        fn worn(&self) -> bool {
            self.0.wears_out.get()
        }
    }

    struct Stager(Rc<Stage>);

    impl Starter for Stager {
        type Engine = Fake;
        async fn start(&self, kind: EngineKind) -> Result<Fake, String> {
            Pause(false).await;
            let stage = &self.0;
            if kind == EngineKind::WebGpu && !stage.gpu_starts.get() {
                return Err("the self-test differs by 0.4".into());
            }
            if kind == EngineKind::Cpu && stage.cpu_refuses.get() > 0 {
                stage.cpu_refuses.set(stage.cpu_refuses.get() - 1);
                return Err("no memory".into());
            }
            stage.started.borrow_mut().push(kind);
            stage.alive.set(stage.alive.get() + 1);
            stage
                .most_alive
                .set(stage.most_alive.get().max(stage.alive.get()));
            Ok(Fake(stage.clone(), Cell::new(true)))
        }
    }

    fn pool(
        kind: EngineKind,
        workers: usize,
        acts: &[Act],
    ) -> (Rc<Stage>, Pool<Stager>, Rc<RefCell<Vec<Event>>>) {
        let stage = Rc::new(Stage::default());
        stage.acts.borrow_mut().extend(acts);
        let pool = Pool::new(Stager(stage.clone()), kind, workers);
        let events = Rc::new(RefCell::new(Vec::new()));
        let heard = events.clone();
        pool.listen(move |event| heard.borrow_mut().push(event));
        (stage, pool, events)
    }

    /// Polls up to `polls` times; `None` if it is still not done.
    fn drive<F: Future>(future: F, polls: usize) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        (0..polls).find_map(|_| match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    }

    fn finish<F: Future>(future: F) -> F::Output {
        drive(future, 1000).expect("the pool stalls")
    }

    /// Predicts tiles as a run does: those lost with a GPU are asked for again.
    fn tiles(pool: &Pool<Stager>, count: u8) -> Vec<Result<Vec<f32>, PredictError>> {
        let tile = async |i: u8| loop {
            let answer = pool.predict(vec![f32::from(i) / 100.0; 8], 2).await;
            if !matches!(answer, Err(PredictError::Lost(_))) {
                return answer;
            }
        };
        finish(join_all((0..count).map(tile)))
    }

    fn all_right(answers: &[Result<Vec<f32>, PredictError>]) -> bool {
        answers
            .iter()
            .enumerate()
            .all(|(i, a)| a.as_ref() == Ok(&vec![i as f32 / 200.0; 8]))
    }

    #[test]
    fn every_tile_gets_its_own_answer_and_no_more_engines_run_than_workers() {
        let (stage, pool, events) = pool(EngineKind::Cpu, 3, &[]);
        assert!(all_right(&tiles(&pool, 20)));
        assert_eq!(stage.most_alive.get(), 3);
        assert_eq!(stage.started.borrow().len(), 3, "engines are used again");
        assert_eq!(events.borrow().len(), 20);
    }

    #[test]
    fn a_dead_engine_is_replaced_and_its_tile_tried_again() {
        let (stage, pool, _) = pool(EngineKind::Cpu, 2, &[Act::Answer, Act::Die]);
        assert!(all_right(&tiles(&pool, 6)));
        assert!(stage.most_alive.get() <= 2);
    }

    #[test]
    fn a_tile_that_kills_two_engines_fails_the_run_with_the_reason() {
        let (_, pool, _) = pool(EngineKind::Cpu, 1, &[Act::Die, Act::Die]);
        assert_eq!(
            tiles(&pool, 1),
            vec![Err(PredictError::Engine("out of memory".into()))]
        );
        assert!(all_right(&tiles(&pool, 2)), "the pool is usable afterwards");
    }

    #[test]
    fn a_gpu_that_fails_its_self_test_hands_over_before_the_first_tile() {
        let (stage, pool, events) = pool(EngineKind::WebGpu, 2, &[]);
        assert_eq!(finish(pool.ready()), Ok(()));
        assert_eq!(pool.kind(), EngineKind::Cpu);
        assert_eq!(pool.parallelism(), 2);
        assert_eq!(*stage.started.borrow(), [EngineKind::Cpu]);
        assert!(pool.gpu_failed().unwrap().contains("0.4"));
        let Event::Changed {
            engine: EngineKind::Cpu,
            why,
        } = &events.borrow()[0]
        else {
            panic!("not told")
        };
        assert!(why.contains("0.4"), "{why}");
    }

    #[test]
    fn a_gpu_lost_in_mid_run_hands_its_tile_over() {
        for act in [Act::Die, Act::Garbage] {
            let (stage, pool, events) = pool(EngineKind::WebGpu, 2, &[Act::Answer, act]);
            stage.gpu_starts.set(true);
            assert!(all_right(&tiles(&pool, 5)));
            assert_eq!(stage.started.borrow()[0], EngineKind::WebGpu);
            assert!(stage.started.borrow()[1..].iter().all(|k| *k == EngineKind::Cpu));
            let changes = events
                .borrow()
                .iter()
                .filter(|e| matches!(e, Event::Changed { .. }))
                .count();
            assert_eq!(changes, 1);
        }
    }

    #[test]
    fn a_pool_that_gets_fewer_engines_than_hoped_goes_on_with_those() {
        let (stage, pool, _) = pool(EngineKind::Cpu, 4, &[]);
        stage.cpu_refuses.set(2);
        assert!(all_right(&tiles(&pool, 9)));
        assert_eq!(stage.most_alive.get(), pool.parallelism());
        assert!(pool.parallelism() < 4);
    }

    #[test]
    fn no_engine_at_all_is_an_error_in_words() {
        let (stage, pool, _) = pool(EngineKind::Cpu, 2, &[]);
        stage.cpu_refuses.set(usize::MAX);
        assert_eq!(
            finish(pool.ready()),
            Err(PredictError::Engine("no memory".into()))
        );
        stage.cpu_refuses.set(0);
        assert!(all_right(&tiles(&pool, 2)), "the pool is usable afterwards");
    }

    #[test]
    fn a_cancelled_run_leaves_no_engine_stuck() {
        let (stage, pool, _) = pool(EngineKind::Cpu, 2, &[Act::Hang, Act::Hang]);
        let run = join_all((0..4).map(|_| pool.predict(vec![0.0; 8], 2)));
        assert!(drive(run, 50).is_none());
        assert_eq!(stage.abandoned.get(), 2);
        assert!(all_right(&tiles(&pool, 4)), "the next run works");
        assert_eq!(stage.alive.get(), 2);
        pool.dismiss_idle();
        assert_eq!(stage.alive.get(), 0);
    }

    #[test]
    fn an_engine_whose_memory_grew_is_replaced() {
        let (stage, pool, _) = pool(EngineKind::Cpu, 1, &[]);
        stage.wears_out.set(true);
        assert!(all_right(&tiles(&pool, 3)));
        assert_eq!(stage.started.borrow().len(), 3);
        assert_eq!(
            stage.most_alive.get(),
            1,
            "the old one goes before the new one comes"
        );
    }

    #[test]
    fn an_answer_of_another_length_is_refused() {
        assert_eq!(
            check(&[0.5; 7], 2),
            Err(PredictError::Length { expected: 8, got: 7 })
        );
        assert_eq!(
            check(&[0.0, 1.0, 0.5, 0.5, 0.5, 0.5, 1.5, -0.1], 2),
            Err(PredictError::NotProbabilities { count: 2 })
        );
        assert_eq!(check(&[0.0; 8], 2), Ok(()));
    }
}
