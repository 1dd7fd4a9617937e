//! The pool with engines that fail on purpose.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures_util::future::join_all;

use super::*;
use crate::tiling::{Rotation, Window};

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
    /// Voxels of the patches that a GPU takes together.
    group_voxels: Cell<usize>,
    wears_out: Cell<bool>,
    /// Every engine dies over its tile of this number, counted from 1.
    dies_at: Cell<usize>,
    started: RefCell<Vec<EngineKind>>,
    alive: Cell<usize>,
    most_alive: Cell<usize>,
    abandoned: Cell<usize>,
}

struct Fake(Rc<Stage>, Cell<bool>, Cell<usize>);

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
    async fn predict(&self, patch: &[f32], side: usize) -> Result<Answer<Vec<f32>>, String> {
        self.2.set(self.2.get() + 1);
        let act = if self.2.get() == self.0.dies_at.get() {
            Act::Die
        } else {
            self.0.acts.borrow_mut().pop_front().unwrap_or(Act::Answer)
        };
        Pause(false).await;
        match act {
            Act::Answer => Ok(Answer {
                values: patch[..side.pow(3)].iter().map(|v| v / 2.0).collect(),
                millis: Some(7.0),
            }),
            Act::Garbage => Ok(Answer {
                values: vec![f32::NAN; side.pow(3)],
                millis: Some(7.0),
            }),
            Act::Die => Err("out of memory".into()),
            Act::Hang => std::future::pending().await,
        }
    }
    fn group_voxels(&self) -> usize {
        self.0.group_voxels.get()
    }
    async fn predict_group(&self, bundle: &Bundle) -> Result<Answer<Sums>, String> {
        let act = self.0.acts.borrow_mut().pop_front().unwrap_or(Act::Answer);
        Pause(false).await;
        let all = |p: f32| Sums {
            votes: bundle.weight().iter().map(|w| w * p).collect(),
            spread: None,
        };
        match act {
            Act::Answer => Ok(Answer {
                values: all(0.5),
                millis: Some(8.0),
            }),
            Act::Garbage => Ok(Answer {
                values: all(1.5),
                millis: Some(8.0),
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
        Ok(Fake(stage.clone(), Cell::new(true), Cell::new(0)))
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
fn a_tile_is_tried_again_in_a_new_engine_not_in_one_as_old() {
    for workers in 1..5 {
        let (stage, pool, _) = pool(EngineKind::Cpu, workers, &[]);
        stage.dies_at.set(2);
        assert!(all_right(&tiles(&pool, 12)), "{workers} workers");
        assert!(stage.most_alive.get() <= workers);
    }
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

/// Two patches side by side.
fn bundle() -> Bundle {
    let places = [[0; 3], [1, 0, 0]].map(|origin| (origin, Rotation::Identity));
    Bundle::new(Group::gather(2, places), vec![0.0; 16], Window::Uniform, false)
}

#[test]
fn a_gpu_takes_groups_and_a_cpu_does_not() {
    let (stage, gpu, events) = pool(EngineKind::WebGpu, 2, &[]);
    stage.gpu_starts.set(true);
    stage.group_voxels.set(24);
    assert_eq!(gpu.group(2), None, "not before the engine has said so");
    assert_eq!(finish(gpu.ready()), Ok(()));
    assert_eq!((gpu.group(2), gpu.group(3)), (Some(3), None));
    assert_eq!(finish(gpu.predict_group(&bundle())).unwrap().votes.len(), 12);
    let timed = Event::Timed {
        engine: EngineKind::WebGpu,
        millis: 4.0,
    };
    assert_eq!(*events.borrow(), [timed], "by the patch");

    let (stage, cpu, _) = pool(EngineKind::Cpu, 2, &[]);
    stage.group_voxels.set(24);
    assert_eq!(finish(cpu.ready()), Ok(()));
    assert_eq!(cpu.group(2), None);
    let refused = finish(cpu.predict_group(&bundle()));
    assert!(matches!(refused, Err(PredictError::Lost(_))));
}

#[test]
fn a_gpu_lost_over_a_group_hands_its_patches_over() {
    for act in [Act::Die, Act::Garbage] {
        let (stage, pool, events) = pool(EngineKind::WebGpu, 2, &[act]);
        stage.gpu_starts.set(true);
        stage.group_voxels.set(24);
        assert_eq!(finish(pool.ready()), Ok(()));
        let lost = finish(pool.predict_group(&bundle()));
        assert!(matches!(lost, Err(PredictError::Lost(_))), "{lost:?}");
        assert_eq!((pool.kind(), pool.group(2)), (EngineKind::Cpu, None));
        assert!(matches!(&events.borrow()[..], [Event::Changed { .. }]));
        assert!(all_right(&tiles(&pool, 4)));
    }
}

#[test]
fn a_group_that_is_cancelled_is_abandoned() {
    let (stage, pool, _) = pool(EngineKind::WebGpu, 2, &[Act::Hang]);
    stage.gpu_starts.set(true);
    assert!(drive(pool.predict_group(&bundle()), 50).is_none());
    assert_eq!(stage.abandoned.get(), 1);
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
        check_probabilities(&[0.5; 7], 2),
        Err(PredictError::Length { expected: 8, got: 7 })
    );
    assert_eq!(
        check_probabilities(&[0.0, 1.0, 0.5, 0.5, 0.5, 0.5, 1.5, -0.1], 2),
        Err(PredictError::NotProbabilities { count: 2 })
    );
    assert_eq!(check_probabilities(&[0.0; 8], 2), Ok(()));
}
