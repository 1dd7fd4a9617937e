//! Runs over closed-form predictors: order, failure, loss, cancellation, resumption.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use equipoise::pipeline::{
    Bundle, Head, PipelineError, PredictError, Predictor, Progress, Run, Segmentation, Settings, Stage,
    segment,
};
use equipoise::tiling::{Fuser, Sums, TilingError, Window};
use equipoise::volume::Grid;
use equipoise::volume::intensity::weigh;
use nalgebra::Matrix4;
use pollster::block_on;

const SHAPE: [usize; 3] = [21, 18, 25];

/// A ball of foreground in noise.
fn head() -> Head {
    let [nx, ny, nz] = SHAPE;
    let grid = Grid {
        shape: SHAPE,
        affine: Matrix4::identity(),
    };
    let noise = |i: usize, seed: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
    let flair = (0..grid.len()).map(|i| noise(i, 1)).collect();
    let t1 = (0..grid.len()).map(|i| noise(i, 2)).collect();
    let foreground = (0..grid.len())
        .map(|i| {
            let r = [(i % nx, nx), (i / nx % ny, ny), (i / nx / ny, nz)]
                .map(|(at, n)| (at as f64 - n as f64 / 2.0) / (n as f64 / 2.0));
            r.iter().map(|v| v * v).sum::<f64>() < 0.7
        })
        .collect();
    Head::new(grid, flair, Some(t1), foreground).unwrap()
}

fn settings() -> Settings {
    Settings {
        patch: 8,
        // What is fused, as the tests expect it; `brightness_weighs_the_result_...` has the weight.
        hyperintensity: false,
        ..Settings::default()
    }
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A probability that depends on a voxel, its channels, its place and its patch.
fn closed_form(patch: &[f32], side: usize) -> Vec<f32> {
    let cube = side * side * side;
    let mean = patch.iter().sum::<f32>() / patch.len() as f32;
    (0..cube)
        .map(|i| {
            let place = (i % side) as f32 / side as f32;
            1.0 / (1.0 + (-(2.0 * patch[i] - patch[cube + i] + place + 30.0 * mean)).exp())
        })
        .collect()
}

/// Pending for a number of polls, then ready: stands in for a worker that takes its time.
struct Wait(usize);

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A scripted engine.
struct Engine<'a> {
    parallelism: usize,
    /// Patches of a group, if it takes groups.
    group: Option<usize>,
    /// Polls that the n-th call takes.
    slowness: &'a dyn Fn(usize) -> usize,
    /// What the n-th call answers instead of the closed form.
    fault: &'a dyn Fn(usize) -> Option<Result<Vec<f32>, PredictError>>,
    calls: Cell<usize>,
    /// Calls in the order in which they ended.
    ended: RefCell<Vec<usize>>,
    flying: Cell<usize>,
    most_flying: Cell<usize>,
}

impl<'a> Engine<'a> {
    fn new(parallelism: usize) -> Self {
        Self {
            parallelism,
            group: None,
            slowness: &|_| 0,
            fault: &|_| None,
            calls: Cell::new(0),
            ended: RefCell::new(Vec::new()),
            flying: Cell::new(0),
            most_flying: Cell::new(0),
        }
    }

    fn grouped(most: usize) -> Self {
        Self {
            group: Some(most),
            ..Self::new(1)
        }
    }

    /// Takes its time over a call.
    async fn work(&self) -> usize {
        let call = self.calls.replace(self.calls.get() + 1);
        self.flying.set(self.flying.get() + 1);
        self.most_flying
            .set(self.most_flying.get().max(self.flying.get()));
        Wait((self.slowness)(call)).await;
        self.flying.set(self.flying.get() - 1);
        self.ended.borrow_mut().push(call);
        call
    }

    fn slow(self, slowness: &'a dyn Fn(usize) -> usize) -> Self {
        Self { slowness, ..self }
    }

    fn faulty(self, fault: &'a dyn Fn(usize) -> Option<Result<Vec<f32>, PredictError>>) -> Self {
        Self { fault, ..self }
    }
}

impl Predictor for Engine<'_> {
    async fn predict(&self, patch: Vec<f32>, side: usize) -> Result<Vec<f32>, PredictError> {
        assert_eq!(patch.len(), 2 * side * side * side);
        let call = self.work().await;
        (self.fault)(call).unwrap_or_else(|| Ok(closed_form(&patch, side)))
    }

    fn parallelism(&self) -> usize {
        self.parallelism
    }

    fn group(&self, side: usize) -> Option<usize> {
        assert_eq!(side, 8);
        self.group
    }

    async fn predict_group(&self, bundle: &Bundle) -> Result<Sums, PredictError> {
        let group = bundle.group();
        assert!((1..=self.group.unwrap()).contains(&bundle.count()));
        let call = self.work().await;
        let (side, weights) = (group.side(), bundle.window().weights(group.side()));
        let mut fuser = Fuser::new(group.shape(), &weights).unwrap().with_variance();
        let patches = bundle.patches().chunks_exact(2 * side.pow(3));
        assert_eq!(patches.len(), bundle.count());
        for (patch, placed) in patches.zip(group.patches()) {
            let mut answer = (self.fault)(call).unwrap_or_else(|| Ok(closed_form(patch, side)))?;
            placed.turn.apply(&mut answer, side);
            fuser
                .add(placed.offset.map(|o| isize::try_from(o).unwrap()), &answer)
                .unwrap();
        }
        let fused = fuser.finish();
        let times = |v: Vec<f32>| v.iter().zip(bundle.weight()).map(|(v, w)| v * w).collect();
        Ok(Sums {
            votes: times(fused.probability),
            spread: fused.variance.filter(|_| bundle.spread()).map(times),
        })
    }
}

fn plain(settings: &Settings) -> Segmentation {
    block_on(segment(&head(), &Engine::new(1), settings, go_on)).unwrap()
}

#[test]
fn the_result_is_the_vote_below_the_foreground_s_surface() {
    let head = head();
    for settings in [
        settings(),
        Settings {
            rotations: true,
            overlap: 0.75,
            window: Window::Gaussian,
            ..settings()
        },
    ] {
        let got = plain(&settings);
        // The definition, voxel by voxel, in f64.
        let run = Run::new(&head, &settings).unwrap();
        let weights = settings.window.weights(8);
        let axis = weights.axis();
        let mut sums = vec![(0.0_f64, 0.0_f64); head.grid().len()];
        for &origin in run.plan().origins() {
            for turn in settings.orientations() {
                let mut patch = head.patch(origin, 8).unwrap();
                turn.apply(&mut patch, 8);
                let mut answer = closed_form(&patch, 8);
                turn.apply(&mut answer, 8);
                for (i, &p) in answer.iter().enumerate() {
                    let at = [i % 8, i / 8 % 8, i / 64];
                    let [x, y, z] = [0, 1, 2].map(|a| usize::try_from(origin[a]).unwrap() + at[a]);
                    let w = (axis[at[0]] * axis[at[1]] * axis[at[2]]).max(weights.floor());
                    let sum = &mut sums[x + SHAPE[0] * (y + SHAPE[1] * z)];
                    sum.0 += w * f64::from(p);
                    sum.1 += w;
                }
            }
        }
        let depth = head.depth();
        assert!(depth.contains(&true), "nothing would be compared");
        for (i, &p) in got.probability.iter().enumerate() {
            if depth[i] {
                let expected = sums[i].0 / sums[i].1;
                assert!(
                    (f64::from(p) - expected).abs() < 1e-5,
                    "voxel {i}: {p} and {expected}"
                );
            } else {
                assert_eq!(p, 0.0, "voxel {i} lies outside or at the surface");
            }
        }
        assert_eq!(got.patches, run.total());
        assert_eq!(got.notes, Vec::<String>::new());
    }
}

#[test]
fn the_order_of_answers_changes_no_bit() {
    let settings = Settings {
        variance: true,
        overlap: 0.75,
        ..settings()
    };
    let expected = plain(&settings);
    // Every third patch is slow, so later ones overtake it.
    let slowness = |call: usize| if call.is_multiple_of(3) { 7 } else { call % 2 };
    for parallelism in [2, 3, 8, 100] {
        let engine = Engine::new(parallelism).slow(&slowness);
        let got = block_on(segment(&head(), &engine, &settings, go_on)).unwrap();
        assert_eq!(got, expected, "{parallelism} side by side");
        assert!(
            !engine.ended.borrow().is_sorted(),
            "the test must put answers out of order"
        );
        let most = engine.most_flying.get();
        assert!(
            (2..=parallelism).contains(&most),
            "{most} at once of {parallelism}"
        );
    }
}

#[test]
fn a_patch_that_hangs_holds_back_no_more_than_a_bounded_number() {
    // The first patch ends last; the others must not pile up without bound.
    let slowness = |call: usize| if call == 0 { 10_000 } else { 0 };
    let engine = Engine::new(2).slow(&slowness);
    let done = Cell::new(0);
    let head = head();
    let settings = settings();
    let mut run = Run::new(&head, &settings).unwrap();
    let total = run.total();
    assert!(total > 20, "{total}");
    let most = Cell::new(0);
    block_on(run.advance(&engine, |progress| {
        if engine.ended.borrow().contains(&0) {
            return ControlFlow::Break(());
        }
        done.set(progress.done);
        most.set(most.get().max(progress.done));
        ControlFlow::Continue(())
    }))
    .unwrap_err();
    assert_eq!(most.get(), 8, "4 answers wait per patch in flight");
}

#[test]
fn progress_counts_every_patch_once() {
    let head = head();
    let settings = Settings {
        rotations: true,
        ..settings()
    };
    let total = Run::new(&head, &settings).unwrap().total();
    let seen = RefCell::new(Vec::new());
    block_on(segment(&head, &Engine::new(3), &settings, |progress| {
        assert_eq!((progress.stage, progress.total), (Stage::Segmenting, total));
        assert_eq!(
            progress.left.is_some(),
            progress.done >= 3,
            "known once three are done"
        );
        seen.borrow_mut().push(progress.done);
        ControlFlow::Continue(())
    }))
    .unwrap();
    assert_eq!(*seen.borrow(), (0..=total).collect::<Vec<_>>());
    assert_eq!(total % 4, 0, "four orientations a tile");
}

#[test]
fn cancelling_stops_before_the_next_patch_and_keeps_what_is_done() {
    let head = head();
    let settings = settings();
    let mut run = Run::new(&head, &settings).unwrap();
    let total = run.total();
    let first = Engine::new(1);
    let stop_at = |n: usize| {
        move |p: Progress| {
            if p.done >= n {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    };
    let problem = block_on(run.advance(&first, stop_at(5))).unwrap_err();
    assert_eq!(problem, PipelineError::Cancelled { done: 5, total });
    assert_eq!(first.calls.get(), 5, "no patch was begun after the cancel");

    // At once, before any patch.
    let second = Engine::new(1);
    assert!(block_on(run.advance(&second, |_| ControlFlow::Break(()))).is_err());
    assert_eq!(second.calls.get(), 0);

    let third = Engine::new(2);
    block_on(run.advance(&third, go_on)).unwrap();
    assert_eq!(third.calls.get(), total - 5, "nothing is predicted twice");
    assert_eq!(run.finish().unwrap(), plain(&settings));
}

#[test]
fn a_dropped_future_loses_no_answer() {
    let head = head();
    let settings = settings();
    let mut run = Run::new(&head, &settings).unwrap();
    let slowness = |call: usize| usize::from(call >= 6) * 1_000_000;
    let engine = Engine::new(3).slow(&slowness);
    {
        let mut advance = std::pin::pin!(run.advance(&engine, go_on));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..50 {
            assert!(advance.as_mut().poll(&mut cx).is_pending());
        }
    }
    assert_eq!(run.done(), 6);
    let total = run.total();
    let other = Engine::new(1);
    block_on(run.advance(&other, go_on)).unwrap();
    assert_eq!(other.calls.get(), total - 6);
    assert_eq!(run.finish().unwrap(), plain(&settings));
}

#[test]
fn a_lost_engine_can_be_replaced() {
    let head = head();
    let settings = Settings {
        variance: true,
        rotations: true,
        ..settings()
    };
    let mut run = Run::new(&head, &settings).unwrap();
    let total = run.total();
    // Patch 7 is slow, so that answers wait for it when the device is lost.
    let slowness = |call: usize| if call == 6 { 1000 } else { 0 };
    let fault = |call| (call == 11).then(|| Err(PredictError::Lost("device lost".to_owned())));
    let gpu = Engine::new(4).slow(&slowness).faulty(&fault);
    let problem = block_on(run.advance(&gpu, go_on)).unwrap_err();
    assert!(problem.is_lost(), "{problem:?}");
    assert!(problem.to_string().contains("device lost"), "{problem}");
    let kept = run.done();
    assert!(kept > 6, "answers after the missing one are kept too: {kept}");
    assert!(matches!(problem, PipelineError::Predict { patch: 12, total: t, .. } if t == total));

    let cpu = Engine::new(2);
    block_on(run.advance(&cpu, go_on)).unwrap();
    assert_eq!(cpu.calls.get(), total - kept, "only what was missing");
    assert_eq!(run.finish().unwrap(), plain(&settings));
}

/// A run whose pool was lost while patch 3 hung; those behind it have answered.
fn with_a_gap<'h>(head: &'h Head, settings: &Settings) -> Run<&'h Head> {
    let mut run = Run::new(head, settings).unwrap();
    let slowness = |call: usize| if call == 3 { 1000 } else { 0 };
    let fault = |call| (call == 9).then(|| Err(PredictError::Lost("gone".to_owned())));
    let pool = Engine::new(3).slow(&slowness).faulty(&fault);
    block_on(run.advance(&pool, go_on)).unwrap_err();
    run
}

#[test]
fn an_engine_that_fills_a_gap_asks_for_nothing_that_was_answered() {
    let (head, settings) = (head(), settings());
    let mut run = with_a_gap(&head, &settings);
    let (total, kept) = (run.total(), run.done());
    let one = Engine::new(1);
    block_on(run.advance(&one, go_on)).unwrap();
    assert_eq!((one.calls.get(), run.done()), (total - kept, total));
    assert_eq!(run.finish().unwrap(), plain(&settings));
}

#[test]
fn an_answer_that_is_no_probability_is_refused() {
    let n = 8 * 8 * 8;
    let mut nan = vec![0.5; n];
    nan[17] = f32::NAN;
    nan[18] = f32::INFINITY;
    let cases: [(Vec<f32>, PredictError); 4] = [
        (nan, PredictError::NotProbabilities { count: 2 }),
        (vec![1.0001; n], PredictError::NotProbabilities { count: n }),
        (vec![-0.1; n], PredictError::NotProbabilities { count: n }),
        (
            vec![0.5; n - 1],
            PredictError::Length {
                expected: n,
                got: n - 1,
            },
        ),
    ];
    for (answer, expected) in cases {
        let fault = |call| (call == 3).then(|| Ok(answer.clone()));
        let engine = Engine::new(1).faulty(&fault);
        let head = head();
        let settings = settings();
        let mut run = Run::new(&head, &settings).unwrap();
        let problem = block_on(run.advance(&engine, go_on)).unwrap_err();
        let PipelineError::Predict { patch: 4, source, .. } = &problem else {
            panic!("{problem:?}")
        };
        assert_eq!(*source, expected);
        assert!(!problem.is_lost());
        assert_eq!(run.done(), 3, "the bad answer did not vote");
    }
}

#[test]
fn an_engine_error_ends_the_run_with_its_words() {
    let fault = |_| Some(Err(PredictError::Engine("out of memory".to_owned())));
    let engine = Engine::new(2).faulty(&fault);
    let problem = block_on(segment(&head(), &engine, &settings(), go_on)).unwrap_err();
    assert!(problem.to_string().contains("out of memory"), "{problem}");
}

#[test]
fn a_network_stuck_at_a_constant_is_noted() {
    let n = 8 * 8 * 8;
    let constant = |_| Some(Ok(vec![0.25; n]));
    let got = block_on(segment(
        &head(),
        &Engine::new(1).faulty(&constant),
        &settings(),
        go_on,
    ))
    .unwrap();
    assert_eq!(got.notes.len(), 1, "{:?}", got.notes);
    assert!(got.notes[0].contains("not to be trusted"));
    // Another constant in every patch (stale data of a skipped kernel) is as bad.
    let stale = |call: usize| Some(Ok(vec![call as f32 / 1000.0; n]));
    let got = block_on(segment(
        &head(),
        &Engine::new(1).faulty(&stale),
        &settings(),
        go_on,
    ))
    .unwrap();
    assert_eq!(got.notes.len(), 1);
    // One voxel of difference anywhere clears it.
    let mut almost = vec![0.25; n];
    almost[100] = 0.26;
    let almost = |call: usize| Some(Ok(if call == 9 { almost.clone() } else { vec![0.25; n] }));
    let got = block_on(segment(
        &head(),
        &Engine::new(1).faulty(&almost),
        &settings(),
        go_on,
    ))
    .unwrap();
    assert_eq!(got.notes.len(), 0);
}

#[test]
fn unfinished_runs_and_bad_settings_are_refused() {
    let head = head();
    let settings = settings();
    let run = Run::new(&head, &settings).unwrap();
    let total = run.total();
    assert_eq!(run.finish(), Err(PipelineError::Unfinished { done: 0, total }));
    let bad = Settings {
        overlap: 1.0,
        ..settings
    };
    assert_eq!(
        Run::new(&head, &bad).map(|_| ()),
        Err(PipelineError::Tiling(TilingError::Overlap { overlap: 1.0 }))
    );
}

/// Asserts that two results agree but for rounding: 8 votes a voxel or fewer, or up to 64 of them.
fn alike(a: &Segmentation, b: &Segmentation, settings: &Settings) {
    let few = settings.overlap <= 0.5 && !settings.rotations;
    let allowed = if few { 1e-6 } else { 3e-6 };
    let near = |a: &[f32], b: &[f32], what: &str| {
        assert_eq!(a.len(), b.len(), "{what}");
        let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < allowed, "{what} differs by {worst}");
    };
    near(&a.probability, &b.probability, "probability");
    match (&a.variance, &b.variance) {
        (Some(a), Some(b)) => near(a, b, "variance"),
        (a, b) => assert_eq!(a.is_some(), b.is_some()),
    }
    assert_eq!((a.patches, &a.notes), (b.patches, &b.notes));
}

fn settings_of_groups() -> [Settings; 3] {
    [
        settings(),
        Settings {
            variance: true,
            rotations: true,
            ..settings()
        },
        Settings {
            variance: true,
            overlap: 0.75,
            window: Window::Gaussian,
            ..settings()
        },
    ]
}

#[test]
fn groups_give_what_single_patches_do_and_the_same_every_time() {
    for settings in settings_of_groups() {
        let expected = plain(&settings);
        for most in [1, 2, 5, 8, 1000] {
            let engine = Engine::grouped(most);
            let got = block_on(segment(&head(), &engine, &settings, go_on)).unwrap();
            alike(&got, &expected, &settings);
            let calls = engine.calls.get();
            assert!(calls >= expected.patches.div_ceil(most), "{calls} of {most}");
            assert!(most == 1 || calls < expected.patches * 2 / 3, "{calls} of {most}");
            // To the last bit, also when the run is cut short in between and groups overtake one another.
            let slowness = |call: usize| if call.is_multiple_of(3) { 7 } else { call % 2 };
            let other = Engine {
                parallelism: 3,
                ..Engine::grouped(most).slow(&slowness)
            };
            let head = head();
            let mut run = Run::new(&head, &settings).unwrap();
            while run.done() < run.total() {
                let stop = run.done() + run.total() / 3;
                let _ = block_on(run.advance(&other, |p| {
                    if p.done > stop {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                }));
            }
            assert_eq!(run.finish().unwrap(), got, "{most}");
        }
    }
}

#[test]
fn an_engine_lost_over_a_group_is_replaced_by_one_that_takes_none() {
    for settings in settings_of_groups() {
        let head = head();
        let mut run = Run::new(&head, &settings).unwrap();
        let total = run.total();
        let fault = |call| (call == 2).then(|| Err(PredictError::Lost("device lost".to_owned())));
        let problem = block_on(run.advance(&Engine::grouped(4).faulty(&fault), go_on)).unwrap_err();
        assert!(problem.is_lost(), "{problem:?}");
        let kept = run.done();
        assert!(kept > 2, "two groups are kept: {kept}");
        assert!(matches!(problem, PipelineError::Predict { patch, .. } if patch == kept + 1));
        let cpu = Engine::new(2);
        block_on(run.advance(&cpu, go_on)).unwrap();
        assert_eq!(cpu.calls.get(), total - kept, "only what was missing");
        alike(&run.finish().unwrap(), &plain(&settings), &settings);
    }
}

#[test]
fn groups_stop_at_answers_that_are_there() {
    let (head, settings) = (head(), settings());
    let mut run = with_a_gap(&head, &settings);
    let (total, kept) = (run.total(), run.done());
    assert!(kept > 4, "{kept}");
    let seen = RefCell::new(Vec::new());
    block_on(run.advance(&Engine::grouped(4), |p| {
        seen.borrow_mut().push(p.done);
        ControlFlow::Continue(())
    }))
    .unwrap();
    assert_eq!(seen.borrow()[..2], [kept, kept + 1], "the missing patch alone");
    assert_eq!(seen.borrow().last(), Some(&total));
    alike(&run.finish().unwrap(), &plain(&settings), &settings);
}

#[test]
fn a_group_is_cancelled_and_dropped_as_a_patch_is() {
    let (head, settings) = (head(), settings());
    let mut run = Run::new(&head, &settings).unwrap();
    let engine = Engine::grouped(4);
    let stop = |p: Progress| {
        if p.done > 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    block_on(run.advance(&engine, stop)).unwrap_err();
    assert_eq!(engine.calls.get(), 1);
    let done = run.done();
    assert!((2..=4).contains(&done), "{done}");
    let slowness = |_| 1_000_000;
    let slow = Engine::grouped(4).slow(&slowness);
    {
        let mut advance = std::pin::pin!(run.advance(&slow, go_on));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..50 {
            assert!(advance.as_mut().poll(&mut cx).is_pending());
        }
    }
    assert_eq!(run.done(), done);
    block_on(run.advance(&Engine::grouped(4), go_on)).unwrap();
    alike(&run.finish().unwrap(), &plain(&settings), &settings);
}

#[test]
fn sums_that_are_none_of_probabilities_are_refused() {
    let n = 8 * 8 * 8;
    for bad in [f32::NAN, 1.5, -0.5] {
        let fault = |call| (call == 1).then(|| Ok(vec![bad; n]));
        let engine = Engine::grouped(4).faulty(&fault);
        let problem = block_on(segment(&head(), &engine, &settings(), go_on)).unwrap_err();
        let PipelineError::Predict { patch, source, .. } = problem else {
            panic!("{problem:?}")
        };
        assert!(patch > 1, "the first group was good");
        assert!(matches!(source, PredictError::NotProbabilities { count: n } if n > 0));
    }
}

#[test]
fn a_network_stuck_at_a_constant_is_noted_in_groups_too() {
    let n = 8 * 8 * 8;
    for p in [0.0, 0.25, 1.0] {
        let constant = |_| Some(Ok(vec![p; n]));
        let engine = Engine::grouped(5).faulty(&constant);
        let got = block_on(segment(&head(), &engine, &settings(), go_on)).unwrap();
        assert_eq!(got.notes.len(), 1, "{p}: {:?}", got.notes);
    }
    let got = block_on(segment(&head(), &Engine::grouped(5), &settings(), go_on)).unwrap();
    assert_eq!(got.notes, Vec::<String>::new());
}

#[test]
fn windows_to_be_compared_hear_every_patch_by_itself() {
    let settings = Settings {
        compare_windows: true,
        ..settings()
    };
    let engine = Engine::grouped(4);
    let got = block_on(segment(&head(), &engine, &settings, go_on)).unwrap();
    assert_eq!(engine.calls.get(), got.patches);
    assert_eq!(got, plain(&settings));
}

#[test]
fn brightness_weighs_the_result_and_leaves_the_votes_that_are_compared() {
    let head = head();
    let unweighed = Settings {
        variance: true,
        compare_windows: true,
        ..settings()
    };
    let weighed = Settings {
        hyperintensity: true,
        ..unweighed.clone()
    };
    let run = |settings| block_on(segment(&head, &Engine::new(2), settings, go_on)).unwrap();
    let (mut expected, got) = (run(&unweighed), run(&weighed));
    assert_ne!(got.probability, expected.probability);
    assert_eq!(got.windows.len(), Window::ALL.len());
    weigh(
        head.flair(),
        &mut expected.probability,
        expected.variance.as_deref_mut(),
    );
    assert_eq!(got, expected);
}

#[test]
fn windows_side_by_side_are_the_same_as_one_after_the_other() {
    let head = head();
    for window in Window::ALL {
        let settings = Settings {
            window,
            variance: true,
            compare_windows: true,
            ..settings()
        };
        let together = block_on(segment(&head, &Engine::new(2), &settings, go_on)).unwrap();
        assert_eq!(together.windows.len(), 3);
        for (other, fused) in &together.windows {
            let alone = plain(&Settings {
                window: *other,
                compare_windows: false,
                ..settings.clone()
            });
            assert_eq!(fused.probability, alone.probability);
            assert_eq!(fused.variance, alone.variance);
        }
    }
}
