//! What the page hears of a run, and what of it is stored.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use js_sys::Uint8Array;
use wasm_bindgen_futures::spawn_local;
use web_time::Instant;

use super::super::Desk;
use super::Wish;
use super::cases::packed;
use super::run::Active;
use crate::pipeline::finetune::{Event, FoldRecord, HeldOutMap, Session};
use crate::pipeline::picture::{Over, Picture, fullest, picture};
use crate::volume::resample::{Interpolation, resample};
use crate::volume::slice::Plane;
use crate::volume::{Grid, Volume};
use crate::web::messages::finetune::{FromTuner, TuneStep};

/// Steps are told together, so often at most.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// What was not told or stored yet.
#[derive(Default)]
pub(super) struct Telling {
    /// Steps that were not told yet, and when some were told last.
    steps: RefCell<Vec<TuneStep>>,
    seconds_left: Cell<Option<f64>>,
    told: Cell<Option<Instant>>,
    /// Steps done in the round in progress.
    step: Cell<u64>,
    /// The newest checkpoint that waits to be stored, and its steps.
    unsaved: RefCell<Option<(u64, Uint8Array)>>,
    saving: Cell<bool>,
}

impl Telling {
    /// Whether it is time to tell something again.
    fn due(&self) -> bool {
        self.told.get().is_none_or(|last| last.elapsed() >= TELL_EVERY)
    }
}

/// Hears of what a session does.
pub(super) fn hear(desk: &Rc<Desk>, run: &Rc<Active>, event: &Event<'_>) -> ControlFlow<()> {
    match event {
        Event::Stage(place) => {
            flush(desk, run);
            run.telling.step.set(place.step);
            let round = if place.folds > 1 {
                format!(", run {} of {}", place.fold + 1, place.folds)
            } else {
                String::new()
            };
            desk.tune(FromTuner::Stage(format!("{}{round}", place.stage)));
        }
        Event::Patches { done, total } => {
            if run.telling.due() {
                run.telling.told.set(Some(Instant::now()));
                desk.tune(FromTuner::Patches {
                    done: *done,
                    total: *total,
                });
            }
        }
        Event::Step(point, place) => {
            run.telling.step.set(point.step);
            run.telling
                .seconds_left
                .set(place.left.map(|left| left.as_secs_f64()));
            run.telling.steps.borrow_mut().push(TuneStep {
                fold: point.fold,
                step: point.step,
                loss: point.loss,
                smoothed: point.smoothed,
            });
            if run.telling.due() {
                flush(desk, run);
            }
        }
        Event::Look { look, maps } => {
            flush(desk, run);
            let drawn = maps.first().and_then(|map| look_picture(run, map));
            let (sizes, buffers) = packed(drawn.as_slice());
            let looked = FromTuner::Looked {
                look: (*look).clone(),
                picture: sizes.first().copied(),
            };
            desk.tune_with(looked, buffers);
        }
        Event::Checkpoint(bytes) => save(desk, run, bytes),
    }
    match run.ear.wish.get() {
        Wish::Go => ControlFlow::Continue(()),
        Wish::Pause | Wish::Stop | Wish::Leave => ControlFlow::Break(()),
    }
}

/// Tells the steps that were not told yet.
pub(super) fn flush(desk: &Desk, run: &Active) {
    let points = std::mem::take(&mut *run.telling.steps.borrow_mut());
    if !points.is_empty() {
        run.telling.told.set(Some(Instant::now()));
        desk.tune(FromTuner::Steps {
            points,
            seconds_left: run.telling.seconds_left.get(),
        });
    }
}

/// Stores a checkpoint beside the training. While one is being written, only the newest of the next waits.
pub(super) fn save(desk: &Rc<Desk>, run: &Rc<Active>, bytes: &[u8]) {
    *run.telling.unsaved.borrow_mut() = Some((run.telling.step.get(), Uint8Array::new_from_slice(bytes)));
    if run.telling.saving.replace(true) {
        return;
    }
    let (desk, run) = (desk.clone(), run.clone());
    spawn_local(async move {
        loop {
            let next = run.telling.unsaved.borrow_mut().take();
            let Some((step, bytes)) = next else { break };
            // A run that was discarded must not come back.
            if run.ear.wish.get() == Wish::Leave {
                break;
            }
            match desk.store_checkpoint(&bytes).await {
                Ok(()) => desk.tune(FromTuner::Saved { step }),
                Err(problem) => desk.not_saved(&problem),
            }
        }
        run.telling.saving.set(false);
    });
}

/// The axial slice of a held-out case with most lesion, with both masks.
fn look_picture(run: &Active, map: &HeldOutMap) -> Option<Picture> {
    slice(run, map.case, &map.probability)
}

fn slice(run: &Active, case: usize, probability: &Volume) -> Option<Picture> {
    let case = run.setup.cases.get(case)?;
    let head = case.head();
    let grid = head.grid();
    let [_, _, z] = fullest(grid.shape, case.label());
    // Only this slice is brought onto the head's grid.
    let mut affine = grid.affine;
    let corner = grid.world([0.0, 0.0, z as f64]);
    for (axis, value) in corner.into_iter().enumerate() {
        affine[(axis, 3)] = value;
    }
    let plane = Grid {
        shape: [grid.shape[0], grid.shape[1], 1],
        affine,
    };
    let there = resample(probability, &plane, Interpolation::Linear, 0.0).ok()?;
    let threshold = run.setup.how.settings.threshold;
    let mut found = vec![false; grid.len()];
    let from = z * grid.shape[0] * grid.shape[1];
    for (voxel, p) in found[from..].iter_mut().zip(&there.data) {
        *voxel = *p >= threshold && *p > 0.0;
    }
    let over = Over::Comparison {
        found: &found,
        truth: case.label(),
    };
    Some(picture(head, Plane::Axial, [0, 0, z], over))
}

/// The steps of a round that an interruption left.
pub(super) fn steps_of(fold: usize, round: &FoldRecord) -> Vec<TuneStep> {
    let mut so_far = FoldRecord::default();
    let mut steps = Vec::with_capacity(round.losses.len());
    for (number, &loss) in round.losses.iter().enumerate() {
        so_far.losses.push(loss);
        steps.push(TuneStep {
            fold,
            step: number as u64 + 1,
            loss,
            smoothed: so_far.smoothed(),
        });
    }
    steps
}

/// Tells that a run ended well.
pub(super) fn tell_end(desk: &Desk, run: &Active, session: &Session) {
    let Some(outcome) = session.outcome() else {
        return desk.tune(FromTuner::Failed {
            problem: "The run ended without a result.".into(),
        });
    };
    let pictures: Vec<Picture> = outcome
        .maps
        .first()
        .into_iter()
        .flat_map(|maps| [(maps.case, &maps.before), (maps.case, &maps.after)])
        .filter_map(|(case, map)| slice(run, case, map.as_ref()?))
        .collect();
    let (sizes, buffers) = packed(&pictures);
    let ended = FromTuner::Ended {
        record: Box::new(outcome.record.clone()),
        choices: session.choices(),
        pictures: sizes,
    };
    *run.outcome.borrow_mut() = Some(Rc::new(outcome));
    desk.tune_with(ended, buffers);
}
