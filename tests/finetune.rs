//! Fine-tuning from end to end on the CPU engine: repeatable to the bit, whatever interrupts it.

#![cfg(feature = "learn")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use equipoise::net::{DenseNet, Engine, NetConfig, weights};
use equipoise::pipeline::cohort::Checked;
use equipoise::pipeline::finetune::{
    Base, Case, Event, FinetuneError, FoldRecord, Held, HeldOut, LearnError, Learner, Local, Part, Patch,
    Session, Settings, Stage, Start, StepReport, fit, peek, rehearse,
};
use equipoise::pipeline::mask::cut;
use equipoise::pipeline::{Comparer, Cut, Head, PredictError, Predictor, Prepared, Reference, segment};
use equipoise::volume::Grid;
use equipoise::volume::nifti::Header;
use nalgebra::Matrix4;
use pollster::block_on;

const SHAPE: [usize; 3] = [24, 20, 16];

/// Bright balls in noise.
fn case(number: u64) -> Arc<Case> {
    let grid = Grid {
        shape: SHAPE,
        affine: Matrix4::identity(),
    };
    let mut s = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    let centres = [
        [6.0, 6.0, 6.0],
        [16.0, 12.0 - number as f32, 9.0],
        [9.0 + number as f32, 14.0, 11.0],
    ];
    let label: Vec<bool> = (0..grid.len())
        .map(|i| {
            let at = [i % SHAPE[0], i / SHAPE[0] % SHAPE[1], i / SHAPE[0] / SHAPE[1]].map(|v| v as f32);
            centres
                .iter()
                .any(|c| (0..3).map(|a| (at[a] - c[a]).powi(2)).sum::<f32>() < 7.0)
        })
        .collect();
    let flair = label
        .iter()
        .map(|&l| noise() + if l { 1.5 } else { 0.01 })
        .collect();
    let t1 = label.iter().map(|_| noise()).collect();
    let head = Head::new(grid.clone(), flair, Some(t1), vec![true; grid.len()]).unwrap();
    Arc::new(Case::new(
        format!("case {number}"),
        Checked {
            prepared: Prepared {
                head,
                native: Header::from_grid(&grid).unwrap(),
                t1_laid: None,
                notes: Vec::new(),
            },
            reference: Reference {
                voxels: label.clone(),
                notes: Vec::new(),
            },
            load_ml: label.iter().filter(|l| **l).count() as f64 / 1000.0,
            label,
            lesions: 3,
            warnings: Vec::new(),
        },
    ))
}

fn cases() -> Vec<Arc<Case>> {
    (0..3).map(case).collect()
}

fn base() -> Base {
    let config = NetConfig {
        dropout: 0.1,
        ..NetConfig::preset("toy", 2).unwrap()
    };
    let net = DenseNet::new(&config, 3, Engine::cpu().device()).unwrap();
    let card =
        serde_json::json!({ "name": "toy", "config": config, "patch": 8, "licence": "CC0-1.0", "cite": [] });
    Base::new(&card.to_string(), weights::to_bytes(&net).unwrap()).unwrap()
}

fn settings() -> Settings {
    Settings {
        part: Part::Everything,
        steps: 24,
        learning_rate: 5e-3,
        patch: 8,
        look_every: 8,
        checkpoint_every: 5,
        patience: 0,
        ..Settings::default()
    }
}

fn new(settings: Settings) -> Session {
    Session::new(cases(), base(), settings, true).unwrap()
}

fn go_on(_: Event<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn learner() -> Local {
    Local::new(Engine::cpu())
}

fn straight(settings: Settings) -> Session {
    let mut session = new(settings);
    block_on(session.advance(&learner(), go_on)).unwrap();
    session
}

/// Part by part, for a difference fills a screen.
fn same(a: &Session, b: &Session) {
    for (a, b) in a.history().iter().zip(b.history()) {
        assert_eq!(a.losses, b.losses);
        let looks = |run: &FoldRecord| -> Vec<(u64, f64)> {
            run.looks.iter().map(|look| (look.step, look.score)).collect()
        };
        assert_eq!(looks(a), looks(b));
        assert_eq!((a.best_step, a.ended), (b.best_step, b.ended));
        for (a, b) in a
            .before
            .iter()
            .chain(&a.after)
            .zip(b.before.iter().chain(&b.after))
        {
            assert_eq!(a.evaluation.voxels, b.evaluation.voxels);
        }
        assert!(a == b, "something else of a run differs");
    }
    let (a, b) = (a.outcome().unwrap(), b.outcome().unwrap());
    assert!(a.weights == b.weights, "other weights");
    assert!(a.record == b.record, "other records");
}

#[test]
fn it_learns_and_says_how_much() {
    let session = straight(Settings {
        steps: 120,
        look_every: 20,
        ..settings()
    });
    let run = &session.history()[0];
    let mean = |l: &[f32]| l.iter().sum::<f32>() / l.len() as f32;
    let (first, last) = (mean(&run.losses[..20]), mean(&run.losses[100..]));
    assert!(last < 0.8 * first, "{first} -> {last}");
    let (before, after) = (&run.before[0].evaluation, &run.after[0].evaluation);
    assert!(after.dsc > before.dsc, "{:?} -> {:?}", before.dsc, after.dsc);
    let outcome = session.outcome().unwrap();
    assert!(
        outcome.record.verdict.contains("better"),
        "{}",
        outcome.record.verdict
    );
    assert!(
        outcome.record.verdict.contains("weak evidence"),
        "{}",
        outcome.record.verdict
    );
    // Looks are made at step 0, every 20 steps, and at the end; the best of them is what is kept.
    let steps: Vec<u64> = run.looks.iter().map(|look| look.step).collect();
    assert_eq!(steps, [0, 20, 40, 60, 80, 100, 120]);
    let best = run
        .looks
        .iter()
        .max_by(|a, b| a.score.total_cmp(&b.score))
        .unwrap();
    assert_eq!(best.step, run.best_step);
}

#[test]
fn the_same_seed_gives_the_same_curve_and_another_another() {
    let one = straight(settings());
    same(&one, &straight(settings()));
    let other = straight(Settings {
        seed: 2,
        ..settings()
    });
    assert_ne!(one.history()[0].losses, other.history()[0].losses);
}

/// Breaks at the event of a number, counted over all calls.
fn pausing(session: &mut Session, learner: &impl Learner, every: usize) -> usize {
    let (mut events, mut pauses) = (0, 0);
    loop {
        let result = block_on(session.advance(learner, |_| {
            events += 1;
            if events % every == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }));
        match result {
            Ok(()) => return pauses,
            Err(problem) => assert!(problem.is_pause(), "{problem}"),
        }
        pauses += 1;
    }
}

#[test]
fn pauses_change_nothing() {
    let expected = straight(settings());
    for every in [7, 40] {
        let mut session = new(settings());
        assert!(pausing(&mut session, &learner(), every) > 3);
        same(&expected, &session);
    }
}

#[test]
fn a_checkpoint_goes_on_to_the_bit_in_another_process() {
    let expected = straight(settings());
    let mut checkpoints: Vec<Vec<u8>> = Vec::new();
    let mut session = new(settings());
    block_on(session.advance(&learner(), |event| {
        if let Event::Checkpoint(bytes) = event {
            checkpoints.push(bytes.to_vec());
        }
        ControlFlow::Continue(())
    }))
    .unwrap();
    // After scoring the base, at 5, 10, 15 and 20 steps, after the last, and at the end.
    assert_eq!(checkpoints.len(), 7);
    for (number, bytes) in checkpoints.iter().enumerate() {
        let peeked = peek(bytes).unwrap();
        assert_eq!(peeked.cases, ["case 0", "case 1", "case 2"]);
        assert_eq!(peeked.settings, settings());
        let mut resumed = Session::resume(cases(), base(), bytes).unwrap();
        assert_eq!(resumed.place().stage, peeked.place.stage);
        if number == 2 {
            assert_eq!((peeked.place.stage, peeked.place.step), (Stage::Training, 10));
        }
        block_on(resumed.advance(&learner(), go_on)).unwrap();
        same(&expected, &resumed);
    }
}

#[test]
fn a_pause_can_be_stored_where_it_is() {
    let expected = straight(settings());
    for every in [1, 3] {
        let (mut session, mut looks, mut lives) = (new(settings()), Vec::new(), 0);
        loop {
            // A life of few steps, in a process of its own; or it ends in the middle of a look, which is made again.
            let (learner, mut steps) = (learner(), 0);
            let ended = block_on(session.advance(&learner, |event| {
                let stop = match event {
                    Event::Step(..) => {
                        steps += 1;
                        steps == every
                    }
                    Event::Patches { done: 20, .. } => {
                        let new = !looks.contains(&steps);
                        looks.push(steps);
                        new
                    }
                    _ => false,
                };
                if stop {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            }));
            let Err(problem) = ended else { break };
            assert!(problem.is_pause(), "{problem}");
            let here = session.place();
            let bytes = block_on(session.checkpoint_now(&learner)).unwrap();
            session = Session::resume(cases(), base(), &bytes).unwrap();
            let there = session.place();
            assert_eq!((here.stage, here.step), (there.stage, there.step));
            lives += 1;
            assert!(lives < 100, "it gets nowhere: {there:?}");
        }
        assert!(lives >= 24 / every && !looks.is_empty(), "{lives} lives");
        same(&expected, &session);
    }
}

#[test]
fn a_resumption_brings_the_maps_back() {
    let expected = straight(settings()).outcome().unwrap();
    assert!(expected.maps[0].before.is_some() && expected.maps[0].after.is_some());
    let mut checkpoints: Vec<Vec<u8>> = Vec::new();
    block_on(new(settings()).advance(&learner(), |event| {
        if let Event::Checkpoint(bytes) = event {
            checkpoints.push(bytes.to_vec());
        }
        ControlFlow::Continue(())
    }))
    .unwrap();
    // In the middle of training, and when all was over.
    for bytes in [&checkpoints[2], &checkpoints[6]] {
        let mut session = Session::resume(cases(), base(), bytes).unwrap();
        let learner = learner();
        block_on(session.advance(&learner, go_on)).unwrap();
        let maps = session.outcome().unwrap().maps;
        assert!(maps.first().is_none_or(|maps| maps.before.is_none()));
        // Pauses lose nothing of it.
        let mut patches = 0;
        while let Err(problem) = block_on(session.redraw(&learner, |event| match event {
            Event::Patches { .. } => {
                patches += 1;
                if patches % 5 == 0 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            }
            _ => ControlFlow::Continue(()),
        })) {
            assert!(problem.is_pause(), "{problem}");
            assert!(patches < 10_000, "it gets nowhere");
        }
        let again = session.outcome().unwrap();
        assert!(again.maps == expected.maps, "other maps");
        assert!(again == expected, "another outcome");
        // Nothing is missing any more.
        block_on(session.redraw(&learner, |_| panic!("it did something"))).unwrap();
    }
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused() {
    let session = straight(Settings {
        steps: 4,
        ..settings()
    });
    let bytes = session.checkpoint();
    assert!(Session::resume(cases(), base(), &bytes).is_ok());
    for cut in [0, 7, 20, bytes.len() / 2, bytes.len() - 1] {
        let refused = Session::resume(cases(), base(), &bytes[..cut])
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(refused, FinetuneError::Checkpoint(_)), "{refused}");
    }
    for at in [3, 12, 200, bytes.len() / 2, bytes.len() - 3] {
        let mut wrong = bytes.clone();
        wrong[at] ^= 4;
        assert!(Session::resume(cases(), base(), &wrong).is_err(), "byte {at}");
    }
    let foreign = |cases| {
        Session::resume(cases, base(), &bytes)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(foreign(vec![case(0), case(1)]).contains("3 cases"));
    assert!(foreign(vec![case(0), case(2), case(1)]).contains("\"case 1\""));
}

/// A learner that is lost after so many steps.
struct Mortal {
    inner: Local,
    left: Cell<u32>,
}

impl Mortal {
    fn living(left: u32) -> Self {
        Self {
            inner: learner(),
            left: Cell::new(left),
        }
    }
}

impl Predictor for Mortal {
    async fn predict(&self, patch: Vec<f32>, side: usize) -> Result<Vec<f32>, PredictError> {
        if self.left.get() == 0 {
            return Err(PredictError::Lost("gone".into()));
        }
        self.inner.predict(patch, side).await
    }
}

impl Learner for Mortal {
    async fn held(&self) -> Result<Option<Held>, LearnError> {
        self.inner.held().await
    }
    async fn begin(&self, start: Start) -> Result<(), LearnError> {
        self.inner.begin(start).await
    }
    async fn step(&self, step: u64, patch: Patch) -> Result<StepReport, LearnError> {
        let report = self.inner.step(step, patch).await?;
        self.left.set(self.left.get().saturating_sub(1));
        // It dies after the step was made and before it is told.
        if self.left.get() == 0 {
            return Err(LearnError::Lost("gone".into()));
        }
        Ok(report)
    }
    async fn publish(&self) -> Result<Vec<u8>, LearnError> {
        self.inner.publish().await
    }
    async fn show(&self, weights: Vec<u8>) -> Result<(), LearnError> {
        self.inner.show(weights).await
    }
    async fn snapshot(&self) -> Result<Vec<u8>, LearnError> {
        self.inner.snapshot().await
    }
}

#[test]
fn a_lost_engine_costs_the_steps_since_the_last_checkpoint() {
    let expected = straight(settings());
    let mut session = new(settings());
    let mut learners = 0;
    let mut reached = 0;
    loop {
        learners += 1;
        let result = block_on(session.advance(&Mortal::living(9), go_on));
        let Err(problem) = result else { break };
        assert!(problem.is_lost(), "{problem}");
        // Nine steps a life, of which at most five are lost.
        assert!(session.place().step >= reached + 3, "{:?}", session.place());
        reached = session.place().step;
        assert!(learners < 12);
    }
    assert!(learners > 2);
    same(&expected, &session);
}

#[test]
fn what_is_exported_predicts_what_was_scored() {
    let session = straight(settings());
    let outcome = session.outcome().unwrap();
    let card = outcome.card("mine");
    let mut engine = Engine::cpu();
    engine
        .load(&card["config"].to_string(), outcome.weights.clone())
        .unwrap();

    struct Plain(Engine);
    impl Predictor for Plain {
        async fn predict(&self, patch: Vec<f32>, side: usize) -> Result<Vec<f32>, PredictError> {
            self.0
                .predict(patch, side)
                .await
                .map_err(|e| PredictError::Engine(e.to_string()))
        }
    }
    let case = case(0);
    let how = session.settings().scoring();
    let result = block_on(segment(case.head(), &Plain(engine), &how, |_| {
        ControlFlow::Continue(())
    }))
    .unwrap();
    let probability = case.restore(result.probability).unwrap();
    assert!(Some(&probability) == outcome.maps[0].after.as_ref());
    let threshold = Cut::default();
    let mask = cut(&probability, &threshold);
    let found = Comparer::new(&probability, case.reference())
        .unwrap()
        .compare(&probability, None, &mask, &threshold, case.reference())
        .unwrap();
    assert!(found.evaluation == outcome.record.folds[0].after[0].evaluation);
    // The card names its weights, its base and no case.
    let again = Base::new(&card.to_string(), outcome.weights.clone()).unwrap();
    assert_eq!(again.name(), "mine");
    assert_eq!(card["fine_tuning"]["base_sha256"], base().sha256());
    assert!(!card.to_string().contains("case 0"));
    assert!(
        card["intended_use"]
            .as_str()
            .unwrap()
            .contains("Research use only")
    );
}

#[test]
fn an_earlier_look_can_be_gone_back_to() {
    let mut session = straight(settings());
    let other = session
        .choices()
        .into_iter()
        .find(|step| *step != session.history()[0].best_step)
        .unwrap();
    let before = session.outcome().unwrap();
    session.choose(other).unwrap();
    assert!(!session.is_done() && session.outcome().is_none());
    // A new learner, as after a reload.
    block_on(session.advance(&learner(), go_on)).unwrap();
    let after = session.outcome().unwrap();
    assert!(before.weights != after.weights);
    assert_eq!(after.record.folds[0].best_step, other);
    assert!(session.choose(999).is_err());
}

#[test]
fn stopping_keeps_the_best_so_far() {
    let mut session = new(settings());
    let learner = learner();
    let paused = block_on(session.advance(&learner, |event| match event {
        Event::Step(point, _) if point.step == 11 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }));
    assert!(paused.unwrap_err().is_pause());
    session.stop();
    block_on(session.advance(&learner, go_on)).unwrap();
    let run = &session.history()[0];
    assert_eq!((run.losses.len(), run.looks.last().unwrap().step), (11, 11));
    assert!(session.outcome().is_some());
}

#[test]
fn patience_ends_a_run_that_does_not_get_better() {
    // A rate at which nothing can change: no look is better than the first.
    let session = straight(Settings {
        learning_rate: 1e-12,
        steps: 400,
        patience: 2,
        look_every: 3,
        ..settings()
    });
    let run = &session.history()[0];
    assert_eq!(run.losses.len(), 6);
    assert_eq!(run.best_step, 0);
    assert!(session.outcome().unwrap().weights == base().weights());
    assert!(
        session
            .outcome()
            .unwrap()
            .record
            .verdict
            .contains("No step scored better")
    );
}

#[test]
fn k_fold_scores_every_case_and_ends_with_a_network_of_all() {
    let session = straight(Settings {
        held_out: HeldOut::Folds(3),
        steps: 12,
        look_every: 6,
        ..settings()
    });
    let runs = session.history();
    assert_eq!(runs.len(), 4);
    for (number, run) in runs[..3].iter().enumerate() {
        assert_eq!(run.held_out, [number]);
        assert_eq!((run.before.len(), run.after.len()), (1, 1));
    }
    let mut best: Vec<u64> = runs[..3].iter().map(|run| run.best_step).collect();
    best.sort_unstable();
    assert_eq!(runs[3].planned, best[1]);
    assert_eq!(runs[3].train, [0, 1, 2]);
    assert_eq!(runs[3].losses.len() as u64, best[1]);
    let record = session.outcome().unwrap().record;
    let dsc = record
        .summary
        .iter()
        .find(|change| change.figure == "DSC")
        .unwrap();
    assert_eq!(dsc.change.unwrap().n, 3);
    assert!(dsc.change.unwrap().sd.is_some());
    assert!(record.verdict.contains("n = 3"), "{}", record.verdict);
}

#[test]
fn a_dry_step_leaves_no_trace() {
    let expected = straight(settings());
    let learner = learner();
    let dry = block_on(rehearse(&learner, &base(), &cases(), &settings(), true)).unwrap();
    assert!(dry.step_seconds > 0.0 && dry.patch_seconds > 0.0);
    assert_eq!(dry.steps, 24);
    let mut session = new(settings());
    block_on(session.advance(&learner, go_on)).unwrap();
    same(&expected, &session);
    assert!(fit(base().config(), &settings(), &cases(), 2_000_000_000).is_ok());
}

#[test]
fn too_few_cases_and_odd_settings_are_named() {
    let refused = |cases: Vec<Arc<Case>>, settings: Settings| {
        Session::new(cases, base(), settings, true)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(vec![case(0)], settings()).contains("2 are needed"));
    let folds = Settings {
        held_out: HeldOut::Folds(5),
        ..settings()
    };
    assert!(refused(cases(), folds).contains("5 are needed"));
    let beta = Settings {
        beta: f64::NAN,
        ..settings()
    };
    assert!(refused(cases(), beta).contains("beta"));
    let patch = Settings {
        patch: 9,
        ..settings()
    };
    assert!(refused(cases(), patch).contains("multiple of"));
}
