//! A run: from the open case over the engines to the result.

use std::ops::ControlFlow;
use std::rc::Rc;

use futures_util::future::{AbortHandle, Abortable};
use gloo_timers::future::TimeoutFuture;
use wasm_bindgen_futures::spawn_local;
use web_time::Instant;

use super::bench::{Model, Team};
use super::choice::{Choice, Gpu, choose};
use super::estimate::Workload;
use super::pool::Event;
use super::{Desk, LastCut, breathe, browser};
use crate::pipeline::fusion::FusionStudy;
use crate::pipeline::memory::estimate;
use crate::pipeline::{self, Head, Predictor, Prepared, Record, Run, Segmentation, Settings, Stage, report};
use crate::tiling::{Plan as Tiles, Window};
use crate::volume::components::Connectivity;
use crate::web::channel;
use crate::web::messages::{EngineChoice, EngineKind, FromDesk, Plan, Progress, SegmentSettings};

/// Patch sides that are let through; the network says which of them it can take.
const PATCHES: std::ops::RangeInclusive<usize> = 8..=256;

/// Milliseconds after which engines without work are ended, so that their memory goes back to the system.
const REST_MS: u32 = 120_000;

/// The cut of a first result, unless the model's card names a threshold: voxels more likely lesion than not, and
/// nothing below 3 mm3, as the MSSEG challenge counts lesions.
const FIRST_CUT: LastCut = LastCut {
    threshold: 0.5,
    min_lesion_mm3: 3.0,
    connectivity: Connectivity::Eighteen,
};

/// Everything that is decided before the first patch.
pub(super) struct Setup {
    model: Rc<Model>,
    choice: Choice,
    pub(super) prepared: Rc<Prepared>,
    pub(super) settings: Settings,
    team: Team,
    plan: Plan,
}

/// A run that has come to its end.
pub(super) struct Computed {
    pub(super) setup: Setup,
    pub(super) segmentation: Segmentation,
    /// Where the patches lay.
    pub(super) tiles: Tiles,
    /// Things a person should know, one sentence each.
    pub(super) notes: Vec<String>,
    /// When it started.
    pub(super) start: Instant,
    /// Seconds until the patches could be cut, and from then until they had voted.
    pub(super) prepared_in: f64,
    pub(super) segmented_in: f64,
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
            // An emulated GPU may take minutes, and a run in progress times itself.
            let trial =
                setup.plan.seconds.is_none() && setup.choice.warning.is_none() && desk.runs.get() == 0;
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
        self.case.borrow_mut().drop_result();
        self.start(case, |desk| async move { desk.run(&asked, case).await });
    }

    /// Ends the run in progress, if there is one, and starts another.
    pub(super) fn start<F: Future<Output = Result<(), String>> + 'static>(
        self: &Rc<Self>,
        case: Option<u32>,
        work: impl FnOnce(Rc<Self>) -> F,
    ) {
        self.stop();
        // Word on an older plan would only confuse from now on.
        self.plans.set(self.plans.get() + 1);
        let (stop, registration) = AbortHandle::new_pair();
        *self.stop.borrow_mut() = Some(stop);
        let desk = self.clone();
        desk.runs.set(desk.runs.get() + 1);
        let work = work(desk.clone());
        spawn_local(async move {
            let end = Abortable::new(work, registration).await;
            desk.runs.set(desk.runs.get() - 1);
            if let Ok(Err(problem)) = end {
                desk.fail(case, &problem);
            }
            desk.rest();
        });
    }

    /// The settings of a run, as the pipeline knows them.
    pub(super) async fn settings_of(
        self: &Rc<Self>,
        asked: &SegmentSettings,
        case: Option<u32>,
    ) -> Result<Settings, String> {
        let stage = |stage| self.say(case, progress(pipeline::Progress::of(stage), None));
        Ok(self.setup(asked, stage).await?.settings)
    }

    async fn run(self: &Rc<Self>, asked: &SegmentSettings, case: Option<u32>) -> Result<(), String> {
        let Computed {
            setup,
            mut segmentation,
            tiles,
            notes,
            start,
            prepared_in,
            segmented_in,
        } = self.compute(asked, case, None).await?;
        let (plan, prepared) = (setup.plan, setup.prepared);
        let record = Record {
            model: setup.model.in_report(),
            engine: match plan.engine {
                EngineKind::Cpu => format!("CPU, workers in a browser: {}", plan.workers),
                EngineKind::WebGpu => "WebGPU in a browser".to_owned(),
            },
            settings: setup.settings.clone(),
            notes: notes.clone(),
            timings: report::Timings {
                prepare: prepared_in,
                segment: segmented_in,
                finish: start.elapsed().as_secs_f64() - prepared_in - segmented_in,
            },
        };
        let fusion = if setup.settings.compare_windows {
            breathe().await;
            let study = FusionStudy::new(&prepared.head, tiles, &setup.settings, &mut segmentation);
            Some(study.map_err(|e| e.to_string())?)
        } else {
            None
        };
        let compared = fusion.is_some();
        let file = {
            let mut open = self.case.borrow_mut();
            open.fusion = fusion;
            open.finish(&prepared, segmentation, record)
                .map_err(|e| e.to_string())?
        };
        let seconds = start.elapsed().as_secs_f64();
        self.hand_over(
            case,
            FromDesk::Segmented {
                plan,
                seconds,
                notes,
                t1_laid: prepared.t1_laid.map(Box::new),
            },
            channel::bytes_out(&file),
        );
        let first = LastCut {
            threshold: setup.model.card.threshold().unwrap_or(FIRST_CUT.threshold),
            ..FIRST_CUT
        };
        self.cut(case, self.cut.get().unwrap_or(first));
        if compared {
            self.say(case, FromDesk::Fused);
        }
        self.compare(case);
        Ok(())
    }

    /// Runs a network over the open case. `which` says which of several it is.
    pub(super) async fn compute(
        self: &Rc<Self>,
        asked: &SegmentSettings,
        case: Option<u32>,
        which: Option<String>,
    ) -> Result<Computed, String> {
        let start = Instant::now();
        let tell = |now: pipeline::Progress, guess| {
            let mut said = progress(now, guess);
            if let (FromDesk::Progress(now), Some(which)) = (&mut said, &which) {
                now.stage = format!("{}, {which}", now.stage);
            }
            self.say(case, said);
        };
        let stage = |stage| tell(pipeline::Progress::of(stage), None);
        let mut setup = self.setup(asked, stage).await?;
        let prepared_in = start.elapsed().as_secs_f64();
        let pool = self.bench.pool(&setup.model, setup.team);
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
                    tell(now, guess);
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
        let segmented_in = start.elapsed().as_secs_f64() - prepared_in;
        let tiles = run.plan().clone();
        let segmentation = run.finish().map_err(|e| e.to_string())?;
        let mut notes = prepared.notes.clone();
        notes.extend(setup.choice.warning.take());
        notes.extend(segmentation.notes.clone());
        let plan = &mut setup.plan;
        if plan.engine != pool.kind() {
            plan.engine = pool.kind();
            plan.workers = pool.parallelism();
            plan.why = format!(
                "WebGPU failed ({}), so the CPU took over.",
                pool.gpu_failed().unwrap_or_default()
            );
        }
        Ok(Computed {
            setup,
            segmentation,
            tiles,
            notes,
            start,
            prepared_in,
            segmented_in,
        })
    }

    /// Loads the model, looks at the GPU, prepares the case and counts the patches.
    async fn setup(&self, asked: &SegmentSettings, stage: impl Fn(Stage)) -> Result<Setup, String> {
        stage(Stage::Loading);
        let model = self.find_model(&asked.model).await?;
        let gpu = match asked.engine {
            EngineChoice::Use(EngineKind::Cpu) => Gpu::Missing,
            _ => self.bench.gpu(&self.scope).await,
        };
        let choice = choose(asked.engine, &gpu, self.bench.gpu_failed().as_deref());
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
            variance: true,
            compare_windows: asked.compare_windows,
            hyperintensity: asked.hyperintensity,
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
        let team = Team {
            engine: choice.engine,
            cpu_workers: self.memory.pool(browser::processors(&self.scope), engine_bytes),
            allow_software: asked.engine == EngineChoice::Use(EngineKind::WebGpu),
        };
        let workers = match team.engine {
            EngineKind::Cpu => team.cpu_workers.min(tiles.max(1)),
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
        Ok(Setup {
            model,
            choice,
            prepared,
            settings,
            team,
            plan,
        })
    }

    /// Starts an engine ahead of the run and times it on a patch of zeros. True if there is something new to say.
    async fn time_one_patch(self: &Rc<Self>, setup: &Setup) -> bool {
        let pool = self.bench.pool(&setup.model, setup.team);
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
        let zeros = vec![0.0; Head::CHANNELS * side.pow(3)];
        // What fails here fails again in the run, which is where it is told.
        let mut well = pool.ready().await.is_ok();
        // The first patch only warms the engine up.
        for _ in 0..2 {
            well = well && pool.predict(zeros.clone(), side).await.is_ok();
        }
        self.bench.note_failure(&pool);
        well || pool.gpu_failed().is_some()
    }

    /// Ends engines that have had no work for a while.
    fn rest(self: &Rc<Self>) {
        let (desk, plans) = (self.clone(), self.plans.get());
        spawn_local(async move {
            TimeoutFuture::new(REST_MS).await;
            // Every run counts as a plan, so an equal count means that nothing was asked since.
            if desk.plans.get() == plans {
                desk.bench.dismiss_idle();
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
