//! What a run would cost: memory by counting, time by a dry step.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::{AbortHandle, Abortable};
use wasm_bindgen_futures::spawn_local;

use super::super::bench::Model;
use super::super::choice::{Choice, Gpu, choose};
use super::super::limits::Memory;
use super::super::{Desk, browser};
use super::crew::{Crew, Hired};
use crate::learn::tune::Part;
use crate::net::NetConfig;
use crate::pipeline::finetune::{Base, Case, Needs, Rehearsal, Settings, TooLarge, fit, rehearse};
use crate::web::messages::finetune::{FromTuner, TunePlan, TuneSettings};
use crate::web::messages::{EngineChoice, EngineKind};

/// What the duration of a step depends on, and what was measured.
pub(super) struct Timed {
    engine: EngineKind,
    model: String,
    part: Part,
    patch: usize,
    cases: Vec<String>,
    rehearsal: Rehearsal,
}

/// Memory in bytes that a GPU is assumed to have to spare: browsers do not tell, and integrated ones share the
/// computer's.
const GPU_BYTES: u64 = 2 << 30;

/// Memory in bytes that a WebAssembly program can have.
const WASM_BYTES: u64 = 4 << 30;

/// Everything that is decided before the first step.
pub(super) struct Setup {
    pub(super) model: Rc<Model>,
    pub(super) choice: Choice,
    /// As asked, with everything filled in.
    pub(super) how: TuneSettings,
    pub(super) net: NetConfig,
    pub(super) cases: Vec<Arc<Case>>,
}

impl Setup {
    /// What the run takes in memory.
    ///
    /// # Errors
    /// [`TooLarge`] if there is less.
    pub(super) fn needs(&self, memory: Memory) -> Result<Needs, TooLarge> {
        let limit = match self.choice.engine {
            EngineKind::WebGpu => GPU_BYTES,
            EngineKind::Cpu => memory.half().min(WASM_BYTES),
        };
        fit(&self.net, &self.how.settings, &self.cases, limit)
    }

    /// The network to start from.
    ///
    /// # Errors
    /// If card and weights do not make one.
    pub(super) fn base(&self) -> Result<Base, String> {
        self.model.base().map_err(|e| e.to_string())
    }

    fn same(&self, timed: &Timed) -> bool {
        let settings = &self.how.settings;
        timed.engine == self.choice.engine
            && timed.model == self.how.model
            && timed.part == settings.part
            && timed.patch == settings.patch
            && timed.cases == self.fingerprints()
    }

    fn fingerprints(&self) -> Vec<String> {
        self.cases
            .iter()
            .map(|case| case.fingerprint().to_owned())
            .collect()
    }
}

impl Desk {
    /// Answers [`ToTuner::Plan`](crate::web::messages::finetune::ToTuner::Plan), and again after a dry step.
    pub(super) fn plan_tuning(self: &Rc<Self>, number: u32, how: TuneSettings) {
        self.tuning.plans.set(number);
        self.stop_rehearsing();
        let desk = self.clone();
        spawn_local(async move {
            let newest = || desk.tuning.plans.get() == number && !desk.is_tuning();
            let setup = match desk.setup_tuning(how).await {
                Ok(setup) => setup,
                Err(problem) if newest() => {
                    let problem = super::sentence(&problem);
                    return desk.tune(FromTuner::NoPlan { number, problem });
                }
                Err(_) => return,
            };
            let plan = desk.cost(&setup);
            let timed = plan.step_seconds.is_some();
            let refused = plan.refusal.is_some();
            if !newest() {
                return;
            }
            desk.tune(FromTuner::Planned { number, plan });
            if timed || refused {
                return;
            }
            let (stop, registration) = AbortHandle::new_pair();
            *desk.tuning.rehearsing.borrow_mut() = Some(stop);
            // A run, or a newer plan, needs the engines that this one uses.
            let Ok(measured) = Abortable::new(desk.time_a_step(&setup), registration).await else {
                return;
            };
            if !newest() {
                return;
            }
            match measured {
                Ok(()) => {
                    let plan = desk.cost(&setup);
                    desk.tune(FromTuner::Planned { number, plan });
                }
                // What fails here fails again in the run, which tells more of it.
                Err(problem) => desk.tune(FromTuner::NoPlan {
                    number,
                    problem: format!("The dry step failed: {problem}"),
                }),
            }
        });
    }

    /// Ends the dry step in progress, if there is one.
    pub(super) fn stop_rehearsing(&self) {
        let rehearsing = self.tuning.rehearsing.borrow_mut().take();
        if let Some(rehearsing) = rehearsing {
            rehearsing.abort();
        }
    }

    /// Loads the network, looks at the GPU and fills the settings in.
    pub(super) async fn setup_tuning(&self, mut how: TuneSettings) -> Result<Setup, String> {
        let model = self.find_model(&how.model).await?;
        let gpu = match how.engine {
            EngineChoice::Use(EngineKind::Cpu) => Gpu::Missing,
            _ => self.bench.gpu(&self.scope).await,
        };
        let choice = choose(how.engine, &gpu, self.bench.gpu_failed().as_deref());
        let net: NetConfig = serde_json::from_value(model.card.config.clone())
            .map_err(|e| format!("the network's card: {e}"))?;
        let settings = &mut how.settings;
        settings.patch = how.patch.unwrap_or(model.card.patch);
        settings.segment.patch = settings.patch;
        settings.threshold = model.card.threshold().unwrap_or(settings.threshold);
        let cases: Option<Vec<_>> = {
            let known = self.tuning.cases.borrow();
            how.cases
                .iter()
                .map(|id| known.get(id).map(|loaded| loaded.case.clone()))
                .collect()
        };
        let cases = cases.ok_or("a case is not there any more; add it again")?;
        let mut setup = Setup {
            model,
            choice,
            how,
            net,
            cases,
        };
        if let Some(steps) = self.steps_in_time(&setup) {
            setup.how.settings.steps = steps;
        }
        setup
            .how
            .settings
            .validate(setup.cases.len(), &setup.net)
            .map_err(|e| e.to_string())?;
        Ok(setup)
    }

    fn rehearsed(&self, setup: &Setup) -> Option<Rehearsal> {
        let all = self.tuning.rehearsals.borrow();
        let known = all.iter().find(|timed| setup.same(timed));
        known.map(|timed| timed.rehearsal.planned(&setup.cases, &setup.how.settings))
    }

    /// Steps that fit into the minutes asked for, once a step was timed.
    fn steps_in_time(&self, setup: &Setup) -> Option<u64> {
        let minutes = setup.how.minutes?;
        Some(self.rehearsed(setup)?.steps_in(minutes))
    }

    /// What is known of a run's cost.
    fn cost(&self, setup: &Setup) -> TunePlan {
        let mut settings: Settings = setup.how.settings.clone();
        if let Some(steps) = self.steps_in_time(setup) {
            settings.steps = steps;
        }
        let (engine_bytes, desk_bytes, refusal) = match setup.needs(self.memory) {
            Ok(needs) => (needs.engine, needs.desk, None),
            Err(problem) => (problem.needed, 0, Some(problem.to_string())),
        };
        let rehearsal = self
            .rehearsed(setup)
            .map(|timed| timed.planned(&setup.cases, &settings));
        TunePlan {
            engine: setup.choice.engine,
            why: setup.choice.why.clone(),
            engine_bytes,
            desk_bytes,
            refusal,
            steps: settings.steps,
            step_seconds: rehearsal.as_ref().map(|timed| timed.step_seconds),
            seconds: rehearsal.map(|timed| timed.total().as_secs_f64()),
        }
    }

    /// Makes one dry step and notes how long it took.
    async fn time_a_step(self: &Rc<Self>, setup: &Setup) -> Result<(), String> {
        let crew = self.hire(setup).await?;
        let base = setup.base()?;
        let keep = setup.needs(self.memory).is_ok_and(|needs| needs.keep);
        let rehearsal = rehearse(&*crew, &base, &setup.cases, &setup.how.settings, keep)
            .await
            .map_err(|e| e.to_string())?;
        self.tuning.rehearsals.borrow_mut().push(Timed {
            engine: crew.kind(),
            model: setup.how.model.clone(),
            part: setup.how.settings.part,
            patch: setup.how.settings.patch,
            cases: setup.fingerprints(),
            rehearsal,
        });
        Ok(())
    }

    /// The engines for a run: those of the dry step if they are of the right kind.
    async fn hire(&self, setup: &Setup) -> Result<Hired, String> {
        self.hire_kind(setup, setup.choice.engine).await
    }

    /// As above, of a kind that may have changed since the setup.
    pub(super) async fn hire_kind(&self, setup: &Setup, kind: EngineKind) -> Result<Hired, String> {
        let known = self
            .tuning
            .crew
            .borrow()
            .clone()
            .filter(|crew| crew.kind() == kind);
        if let Some(crew) = known {
            return Ok(crew);
        }
        self.tuning.crew.borrow_mut().take();
        let workers = self.memory.pool(
            browser::processors(&self.scope),
            setup.model.card.engine_bytes(setup.how.settings.patch),
        );
        let software = setup.how.engine == EngineChoice::Use(EngineKind::WebGpu);
        let crew = Rc::new(Crew::start(kind, workers - 1, software).await?);
        *self.tuning.crew.borrow_mut() = Some(crew.clone());
        Ok(crew)
    }

    /// Ends the engines, as soon as nobody uses them.
    pub(super) fn dismiss_crew(&self) {
        self.tuning.crew.borrow_mut().take();
    }
}
