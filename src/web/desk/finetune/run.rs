//! A run of fine-tuning: from start or resumption over pauses and lost engines to its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;

use super::super::Desk;
use super::super::store::StoreError;
use super::keeping::StoredRun;
use super::plan::Setup;
use super::tell::{Telling, flush, hear, save, steps_of, tell_end};
use super::{Ear, Wish};
use crate::pipeline::finetune::{Outcome, Session};
use crate::pipeline::names::{self, Output};
use crate::volume::nifti;
use crate::web::channel;
use crate::web::messages::EngineKind;
use crate::web::messages::finetune::{FromTuner, TuneSettings};

/// Engines that may be lost without a step between them before the run gives up.
const MOST_LOSSES: usize = 3;

/// A run that is in progress or has ended.
pub(super) struct Active {
    pub(super) ear: Ear,
    pub(super) setup: Setup,
    /// Taken out while it is at work.
    session: RefCell<Option<Session>>,
    pub(super) outcome: RefCell<Option<Rc<Outcome>>>,
    at_work: Cell<bool>,
    pub(super) telling: Telling,
}

impl Active {
    fn new(setup: Setup, session: Session) -> Self {
        Self {
            ear: Ear::new(),
            setup,
            session: RefCell::new(Some(session)),
            outcome: RefCell::default(),
            at_work: Cell::new(false),
            telling: Telling::default(),
        }
    }

    pub(super) fn outcome(&self) -> Option<Rc<Outcome>> {
        self.outcome.borrow().clone()
    }

    /// Goes back to the weights of a look; they are evaluated when the run goes on.
    pub(super) fn choose(&self, step: u64) -> Result<(), String> {
        match &mut *self.session.borrow_mut() {
            Some(session) => session.choose(step).map_err(|e| e.to_string()),
            None => Err("the run is at work".into()),
        }
    }
}

impl Desk {
    /// True while a run is at work or stands still.
    pub(super) fn is_tuning(&self) -> bool {
        self.tuning
            .run
            .borrow()
            .as_ref()
            .is_some_and(|run| run.at_work.get())
    }

    pub(super) fn start_tuning(self: &Rc<Self>, how: TuneSettings) {
        self.stop_rehearsing();
        let desk = self.clone();
        spawn_local(async move {
            if let Err(problem) = desk.begin(how).await {
                desk.tune(FromTuner::Failed {
                    problem: super::sentence(&problem),
                });
            }
        });
    }

    async fn begin(self: &Rc<Self>, how: TuneSettings) -> Result<(), String> {
        let setup = self.setup_tuning(how).await?;
        let needs = setup.needs(self.memory).map_err(|e| e.to_string())?;
        let settings = setup.how.settings.clone();
        let session = Session::new(setup.cases.clone(), setup.base()?, settings, needs.keep)
            .map_err(|e| e.to_string())?;
        let (stored, files) = {
            let cases = self.tuning.cases.borrow();
            let loaded: Vec<_> = setup.how.cases.iter().filter_map(|id| cases.get(id)).collect();
            let stored = StoredRun {
                how: setup.how.clone(),
                cases: loaded
                    .iter()
                    .map(|loaded| (loaded.case.name().to_owned(), loaded.t1))
                    .collect(),
            };
            let files: Vec<_> = loaded.iter().map(|loaded| loaded.files.clone()).collect();
            (stored, files)
        };
        if let Err(problem) = self.store_run(&stored, &files).await {
            self.not_saved(&problem);
        }
        self.run_session(setup, session);
        Ok(())
    }

    /// Goes on with the stored run.
    pub(super) fn resume_tuning(self: &Rc<Self>) {
        let desk = self.clone();
        spawn_local(async move {
            if let Err(problem) = desk.take_up().await {
                desk.tune(FromTuner::Failed {
                    problem: format!("The run could not be taken up: {problem}"),
                });
            }
        });
    }

    async fn take_up(self: &Rc<Self>) -> Result<(), String> {
        self.end_run();
        self.stop_rehearsing();
        self.tune(FromTuner::Stage("Reading the scans again".into()));
        let stored = self.stored_run().await.map_err(|e| e.to_string())?;
        let (stored, checkpoint) = stored.ok_or("it is not kept any more.")?;
        self.tuning.cases.borrow_mut().clear();
        for (number, (name, t1)) in stored.cases.iter().enumerate() {
            let files = self.stored_files(number, *t1).await.map_err(|e| e.to_string())?;
            let (loaded, info, pictures) = self
                .read_case(name, *t1, files)
                .await
                .map_err(|e| format!("{name}: {e}"))?;
            let Some(&case) = stored.how.cases.get(number) else {
                continue;
            };
            self.tuning.cases.borrow_mut().insert(case, loaded);
            let message = FromTuner::Restored {
                case,
                name: name.clone(),
                info,
            };
            self.tune_with(message, pictures);
        }
        let setup = self.setup_tuning(stored.how).await?;
        let base = setup.base()?;
        let session = match &checkpoint {
            Some(checkpoint) => Session::resume(setup.cases.clone(), base, checkpoint),
            None => {
                let keep = setup.needs(self.memory).is_ok_and(|needs| needs.keep);
                Session::new(setup.cases.clone(), base, setup.how.settings.clone(), keep)
            }
        };
        self.run_session(setup, session.map_err(|e| e.to_string())?);
        Ok(())
    }

    fn run_session(self: &Rc<Self>, setup: Setup, session: Session) {
        let place = session.place();
        let round = session.history().get(place.fold);
        self.tune(FromTuner::Started {
            how: setup.how.clone(),
            names: setup.cases.iter().map(|case| case.name().to_owned()).collect(),
            rounds: place.folds,
            steps: round.map(|round| steps_of(place.fold, round)).unwrap_or_default(),
            looks: round.map(|round| round.looks.clone()).unwrap_or_default(),
        });
        let run = Rc::new(Active::new(setup, session));
        *self.tuning.run.borrow_mut() = Some(run.clone());
        go_on(self, run);
    }

    pub(super) fn not_saved(&self, problem: &StoreError) {
        let remedy = match problem {
            StoreError::Full => "free disk space or delete kept networks",
            _ => "keep this tab open until the end",
        };
        self.tune(FromTuner::NotSaved {
            problem: format!(
                "The run cannot be stored, so it would be lost with this tab: {problem}. It goes on; {remedy}."
            ),
        });
    }

    /// Makes a map of a held-out case a file.
    pub(super) fn save_map(&self, map: usize, after: bool) {
        let made = self.outcome().and_then(|outcome| {
            let maps = outcome.maps.get(map)?;
            let run = self.tuning.run.borrow().clone()?;
            let id = run.setup.how.cases.get(maps.case)?;
            let cases = self.tuning.cases.borrow();
            let loaded = cases.get(id)?;
            let volume = if after {
                maps.after.as_ref()?
            } else {
                maps.before.as_ref()?
            };
            let when = if after { "after" } else { "before" };
            let name = names::output(
                &format!("{}_{when}.nii.gz", loaded.case.name()),
                Output::Probability,
            );
            Some((name, nifti::write_float(loaded.case.native(), &volume.data)))
        });
        match made {
            Some((name, Ok(bytes))) => {
                let names = vec![name];
                self.tune_with(FromTuner::Files { names }, vec![channel::bytes_out(&bytes)]);
            }
            Some((_, Err(problem))) => self.refuse(&problem),
            None => self.refuse(&"There is no such map."),
        }
    }
}

/// Sets a run to work, beside the desk's other work.
pub(super) fn go_on(desk: &Rc<Desk>, run: Rc<Active>) {
    let desk = desk.clone();
    run.ear.wish.set(Wish::Go);
    run.at_work.set(true);
    spawn_local(async move {
        let session = run.session.borrow_mut().take();
        if let Some(mut session) = session {
            let end = work(&desk, &run, &mut session).await;
            flush(&desk, &run);
            if run.ear.wish.get() != Wish::Leave {
                match end {
                    Ok(()) => tell_end(&desk, &run, &session),
                    Err(problem) => desk.tune(FromTuner::Failed {
                        problem: super::sentence(&problem),
                    }),
                }
            }
            *run.session.borrow_mut() = Some(session);
        }
        run.at_work.set(false);
    });
}

/// Advances a session to its end, over pauses and lost engines.
async fn work(desk: &Rc<Desk>, run: &Rc<Active>, session: &mut Session) -> Result<(), String> {
    let mut kind = run.setup.choice.engine;
    let (mut losses, mut lost_at) = (0, None);
    loop {
        let crew = match desk.hire_kind(&run.setup, kind).await {
            Ok(crew) => crew,
            Err(problem) if kind == EngineKind::WebGpu => {
                kind = change_engine(desk, &problem);
                continue;
            }
            Err(problem) => return Err(format!("The network could not be started: {problem}.")),
        };
        let mut end = session.advance(&*crew, |event| hear(desk, run, &event)).await;
        if end.is_ok() {
            end = session.redraw(&*crew, |event| hear(desk, run, &event)).await;
        }
        match end {
            Ok(()) => return Ok(()),
            Err(problem) if problem.is_pause() => {
                flush(desk, run);
                if run.ear.wish.get() == Wish::Pause {
                    // Who pauses may close the tab next. An engine that is lost here is noticed when the run goes on.
                    if let Ok(bytes) = session.checkpoint_now(&*crew).await {
                        save(desk, run, &bytes);
                    }
                    desk.tune(FromTuner::Paused);
                    run.ear.wait().await;
                }
                match run.ear.wish.get() {
                    Wish::Leave => return Ok(()),
                    Wish::Stop => {
                        session.stop();
                        run.ear.wish.set(Wish::Go);
                    }
                    Wish::Go | Wish::Pause => {}
                }
            }
            Err(problem) if problem.is_lost() => {
                flush(desk, run);
                desk.dismiss_crew();
                let here = Some(session.place().step);
                losses = if lost_at == Some(here) { losses + 1 } else { 1 };
                lost_at = Some(here);
                if kind == EngineKind::WebGpu {
                    kind = change_engine(desk, &problem.to_string());
                } else if losses == MOST_LOSSES {
                    return Err(format!(
                        "{problem} The engine was lost {losses} times at the same place. If memory ran out, close \
                         other tabs or choose a smaller patch."
                    ));
                } else {
                    desk.tune(FromTuner::Stage("Starting the engine again".into()));
                }
            }
            Err(problem) => return Err(problem.to_string()),
        }
    }
}

fn change_engine(desk: &Desk, problem: &str) -> EngineKind {
    let problem = problem.trim_end_matches('.');
    desk.tune(FromTuner::EngineChanged {
        engine: EngineKind::Cpu,
        why: format!("WebGPU failed ({problem}), so the CPU takes over from the last checkpoint."),
    });
    EngineKind::Cpu
}
