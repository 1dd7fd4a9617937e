//! A run: from the open case over the engines to the result.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;

use futures_util::future::{AbortHandle, Abortable};
use gloo_timers::future::TimeoutFuture;
use wasm_bindgen_futures::spawn_local;
use web_sys::DedicatedWorkerGlobalScope;
use web_time::Instant;

use super::choice::{Choice, Gpu, choose};
use super::estimate::Workload;
use super::link::Workers;
use super::model::{Card, ModelError, directory};
use super::pool::{Event, Pool};
use super::{Desk, LastCut, breathe, browser};
use crate::pipeline::memory::estimate;
use crate::pipeline::{self, Head, Predictor, Prepared, Run, Settings, Stage};
use crate::tiling::{Plan as Tiles, Window};
use crate::web::messages::{EngineChoice, EngineKind, FromDesk, Plan, Progress, SegmentSettings};
use crate::web::{assets, channel};

/// Patch sides that are let through; the network says which of them it can take.
const PATCHES: std::ops::RangeInclusive<usize> = 8..=256;

/// Milliseconds after which engines without work are ended, so that their memory goes back to the system.
const REST_MS: u32 = 120_000;

/// The cut of a first result, unless the model's card names a threshold: voxels more likely lesion than not, and
/// nothing below 3 mm3, as the MSSEG challenge counts lesions.
const FIRST_CUT: LastCut = LastCut {
    threshold: 0.5,
    min_lesion_mm3: 3.0,
};

/// Model and engines, kept from one run to the next.
#[derive(Default)]
pub(super) struct Bench {
    gpu: RefCell<Option<Gpu>>,
    model: RefCell<Option<Rc<Model>>>,
    pool: RefCell<Option<Hired>>,
    /// Why WebGPU failed in this session, if it did.
    gpu_failed: RefCell<Option<String>>,
}

/// A model whose weights are those its card speaks of.
struct Model {
    name: String,
    card: Card,
    weights: Rc<[u8]>,
}

/// The engines of a pool and what they were hired for.
struct Hired {
    model: Rc<Model>,
    workers: usize,
    allow_software: bool,
    pool: Rc<Pool<Workers>>,
}

impl Bench {
    async fn gpu(&self, scope: &DedicatedWorkerGlobalScope) -> Gpu {
        let known = self.gpu.borrow().clone();
        match known {
            Some(gpu) => gpu,
            None => {
                let gpu = browser::gpu(scope).await;
                *self.gpu.borrow_mut() = Some(gpu.clone());
                gpu
            }
        }
    }

    async fn model(&self, scope: &DedicatedWorkerGlobalScope, name: &str) -> Result<Rc<Model>, ModelError> {
        let name = directory(name)?;
        let known = self.model.borrow().clone();
        if let Some(model) = known.filter(|model| model.name == name) {
            return Ok(model);
        }
        let card = browser::fetch(scope, &assets::url(&format!("{name}/card.json")), "card").await?;
        let card = Card::read(&String::from_utf8_lossy(&card))?;
        let weights = assets::url(&format!("{name}/weights.safetensors"));
        let weights = browser::fetch(scope, &weights, "weights").await?;
        card.verify(&weights)?;
        let model = Rc::new(Model {
            name: name.to_owned(),
            card,
            weights: weights.into(),
        });
        *self.model.borrow_mut() = Some(model.clone());
        Ok(model)
    }

    /// The engines for a run: those of the last one if they fit.
    fn pool(&self, setup: &Setup) -> Rc<Pool<Workers>> {
        let mut hired = self.pool.borrow_mut();
        if let Some(hired) = &*hired {
            let fits = Rc::ptr_eq(&hired.model, &setup.model)
                && hired.pool.kind() == setup.choice.engine
                && hired.workers == setup.cpu_workers
                && hired.allow_software == setup.allow_software;
            if fits {
                return hired.pool.clone();
            }
        }
        let workers = Workers {
            config: setup.model.card.config.to_string(),
            weights: setup.model.weights.clone(),
            allow_software: setup.allow_software,
        };
        let pool = Rc::new(Pool::new(workers, setup.choice.engine, setup.cpu_workers));
        *hired = Some(Hired {
            model: setup.model.clone(),
            workers: setup.cpu_workers,
            allow_software: setup.allow_software,
            pool: pool.clone(),
        });
        pool
    }

    fn note_failure(&self, pool: &Pool<Workers>) {
        if let Some(why) = pool.gpu_failed() {
            *self.gpu_failed.borrow_mut() = Some(why);
        }
    }
}

/// Everything that is decided before the first patch.
struct Setup {
    model: Rc<Model>,
    choice: Choice,
    prepared: Rc<Prepared>,
    settings: Settings,
    cpu_workers: usize,
    allow_software: bool,
    plan: Plan,
}

impl Setup {
    fn workload(&self, engine: EngineKind) -> Workload {
        Workload {
            engine,
            model: self.model.name.clone(),
            patch: self.settings.patch,
        }
    }
}

impl Desk {
    /// Answers [`ToDesk::Plan`](crate::web::messages::ToDesk::Plan), and again once a patch was timed if none was.
    pub(super) fn plan(self: &Rc<Self>, asked: SegmentSettings, case: Option<u32>) {
        let number = self.plans.get() + 1;
        self.plans.set(number);
        let desk = self.clone();
        spawn_local(async move {
            let newest = || desk.plans.get() == number;
            let setup = match desk.setup(&asked, |_| {}).await {
                Ok(setup) => setup,
                Err(problem) if newest() => return desk.fail(case, &problem),
                Err(_) => return,
            };
            if !newest() {
                return;
            }
            desk.say(case, FromDesk::Planned(setup.plan.clone()));
            let trial = setup.plan.seconds.is_none() && setup.choice.warning.is_none();
            if trial && desk.time_one_patch(&setup).await && newest() {
                // The GPU may have failed meanwhile, so everything is decided anew.
                if let Ok(setup) = desk.setup(&asked, |_| {}).await {
                    desk.say(case, FromDesk::Planned(setup.plan));
                }
            }
            desk.rest();
        });
    }

    /// Starts a run beside the other work. What the run before left is dropped.
    pub(super) fn segment(self: &Rc<Self>, asked: SegmentSettings, case: Option<u32>) {
        self.stop();
        // Word on an older plan would only confuse from now on.
        self.plans.set(self.plans.get() + 1);
        self.case.borrow_mut().drop_result();
        let (stop, registration) = AbortHandle::new_pair();
        *self.stop.borrow_mut() = Some(stop);
        let desk = self.clone();
        spawn_local(async move {
            let run = Abortable::new(desk.run(&asked, case), registration);
            if let Ok(Err(problem)) = run.await {
                desk.fail(case, &problem);
            }
            desk.rest();
        });
    }

    async fn run(self: &Rc<Self>, asked: &SegmentSettings, case: Option<u32>) -> Result<(), String> {
        let start = Instant::now();
        let stage = |stage| self.say(case, progress(pipeline::Progress::of(stage), None));
        let mut setup = self.setup(asked, stage).await?;
        let pool = self.bench.pool(&setup);
        let desk = self.clone();
        let workload = setup.workload(EngineKind::Cpu);
        pool.listen(move |event| match event {
            Event::Changed { engine, why } => desk.say(case, FromDesk::EngineChanged { engine, why }),
            Event::Timed { engine, millis } => {
                desk.timings.borrow_mut().record(
                    &Workload {
                        engine,
                        ..workload.clone()
                    },
                    millis,
                );
            }
        });
        stage(Stage::Loading);
        let ready = pool.ready().await;
        self.bench.note_failure(&pool);
        ready.map_err(|e| format!("The network could not be started: {e}."))?;

        let prepared = setup.prepared.clone();
        let mut run = Run::new(&prepared.head, &setup.settings).map_err(|e| e.to_string())?;
        loop {
            let workload = setup.workload(pool.kind());
            let end = run
                .advance(&*pool, |now| {
                    let left = now.total - now.done;
                    let guess = self.timings.borrow().seconds(&workload, left, pool.parallelism());
                    self.say(case, progress(now, guess));
                    ControlFlow::Continue(())
                })
                .await;
            self.bench.note_failure(&pool);
            match end {
                Ok(()) => break,
                // The pool has gone over to the CPU; nothing that was fused is lost.
                Err(problem) if problem.is_lost() => {}
                Err(problem) => return Err(problem.to_string()),
            }
        }

        stage(Stage::Fusing);
        breathe().await;
        let done = run.finish().map_err(|e| e.to_string())?;
        let mut notes = prepared.notes.clone();
        notes.extend(setup.choice.warning.take());
        notes.extend(done.notes);
        let file = self
            .case
            .borrow_mut()
            .finish(&prepared, done.probability)
            .map_err(|e| e.to_string())?;
        let mut plan = setup.plan;
        if plan.engine != pool.kind() {
            plan.engine = pool.kind();
            plan.workers = pool.parallelism();
            plan.why = format!(
                "WebGPU failed ({}), so the CPU took over.",
                pool.gpu_failed().unwrap_or_default()
            );
        }
        let seconds = start.elapsed().as_secs_f64();
        self.hand_over(
            case,
            FromDesk::Segmented { plan, seconds, notes },
            channel::bytes_out(&file),
        );
        let first = LastCut {
            threshold: setup.model.card.threshold().unwrap_or(FIRST_CUT.threshold),
            ..FIRST_CUT
        };
        let LastCut {
            threshold,
            min_lesion_mm3,
        } = self.cut.get().unwrap_or(first);
        self.cut(case, threshold, min_lesion_mm3);
        Ok(())
    }

    /// Loads the model, looks at the GPU, prepares the case and counts the patches.
    async fn setup(&self, asked: &SegmentSettings, stage: impl Fn(Stage)) -> Result<Setup, String> {
        stage(Stage::Loading);
        let model = self
            .bench
            .model(&self.scope, &asked.model)
            .await
            .map_err(|e| e.to_string())?;
        let gpu = match asked.engine {
            EngineChoice::Use(EngineKind::Cpu) => Gpu::Missing,
            _ => self.bench.gpu(&self.scope).await,
        };
        let choice = choose(asked.engine, &gpu, self.bench.gpu_failed.borrow().as_deref());
        let patch = asked.patch.unwrap_or(model.card.patch);
        if !PATCHES.contains(&patch) {
            return Err(format!(
                "A patch of {patch} voxels cannot be used; choose {} to {}.",
                PATCHES.start(),
                PATCHES.end()
            ));
        }
        let settings = Settings {
            patch,
            overlap: asked.overlap,
            window: asked.window.parse::<Window>().map_err(|e| e.to_string())?,
            rotations: asked.rotations,
            ..Settings::default()
        };
        stage(Stage::Preparing);
        // A cancel that is on its way comes before the desk is deaf for a while.
        breathe().await;
        let mut case = self.case.borrow_mut();
        let prepared = case.prepared().map_err(|e| e.to_string())?;
        let tiles = Tiles::new(prepared.head.grid().shape, patch, settings.overlap)
            .and_then(|tiles| tiles.within(prepared.head.foreground()))
            .map_err(|e| e.to_string())?;
        let tiles = tiles.len() * settings.orientations().len();

        let engine_bytes = model.card.engine_bytes(patch);
        let cpu_workers = self.memory.pool(browser::processors(&self.scope), engine_bytes);
        let workers = match choice.engine {
            EngineKind::Cpu => cpu_workers.min(tiles.max(1)),
            EngineKind::WebGpu => 1,
        };
        let native = case.native().map_err(|e| e.to_string())?;
        let grid = prepared.head.grid();
        let bytes = estimate(native, grid, case.has_t1(), &settings, workers, engine_bytes).total();
        let workload = Workload {
            engine: choice.engine,
            model: model.name.clone(),
            patch,
        };
        let seconds = self.timings.borrow().seconds(&workload, tiles, workers);
        let plan = Plan {
            engine: choice.engine,
            why: choice.why.clone(),
            workers,
            patch,
            tiles,
            seconds,
            bytes,
        };
        drop(case);
        let allow_software = asked.engine == EngineChoice::Use(EngineKind::WebGpu);
        Ok(Setup {
            model,
            choice,
            prepared,
            settings,
            cpu_workers,
            allow_software,
            plan,
        })
    }

    /// Starts an engine ahead of the run and times it on a patch of zeros. True if there is something new to say.
    async fn time_one_patch(self: &Rc<Self>, setup: &Setup) -> bool {
        let pool = self.bench.pool(setup);
        let desk = self.clone();
        let workload = setup.workload(EngineKind::Cpu);
        pool.listen(move |event| {
            if let Event::Timed { engine, millis } = event {
                desk.timings.borrow_mut().record(
                    &Workload {
                        engine,
                        ..workload.clone()
                    },
                    millis,
                );
            }
        });
        let side = setup.settings.patch;
        let ready = pool.ready().await;
        // What fails here fails again in the run, which is where it is told.
        let timed = ready.is_ok()
            && pool
                .predict(vec![0.0; Head::CHANNELS * side.pow(3)], side)
                .await
                .is_ok();
        self.bench.note_failure(&pool);
        timed || pool.gpu_failed().is_some()
    }

    /// Ends engines that have had no work for a while.
    fn rest(self: &Rc<Self>) {
        let (desk, plans) = (self.clone(), self.plans.get());
        spawn_local(async move {
            TimeoutFuture::new(REST_MS).await;
            // Every run counts a plan, so an equal count means that nothing was asked since.
            if desk.plans.get() == plans
                && let Some(hired) = &*desk.bench.pool.borrow()
            {
                hired.pool.dismiss_idle();
            }
        });
    }
}

/// A run's progress as the page hears it; `guess` stands in until the run has timed itself.
fn progress(now: pipeline::Progress, guess: Option<f64>) -> FromDesk {
    FromDesk::Progress(Progress {
        stage: now.stage.to_string(),
        done: now.done,
        total: now.total,
        seconds_left: now.left.map(|left| left.as_secs_f64()).or(guess),
    })
}
