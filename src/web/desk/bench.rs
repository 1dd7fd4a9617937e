//! Model and engines, kept from one run to the next.

use std::cell::RefCell;
use std::rc::Rc;

use web_sys::DedicatedWorkerGlobalScope;

use super::browser;
use super::choice::Gpu;
use super::link::Workers;
use super::model::{Card, ModelError, directory};
use super::pool::Pool;
use crate::pipeline::finetune::{Base, FinetuneError};
use crate::pipeline::report;
use crate::web::assets;
use crate::web::messages::EngineKind;

/// What a run finds ready from the one before.
#[derive(Default)]
pub(super) struct Bench {
    gpu: RefCell<Option<Gpu>>,
    model: RefCell<Option<Rc<Model>>>,
    pool: RefCell<Option<Hired>>,
    /// Why WebGPU failed in this session, if it did.
    gpu_failed: RefCell<Option<String>>,
}

/// A model whose weights are those its card speaks of.
pub(super) struct Model {
    /// Its directory.
    pub(super) name: String,
    pub(super) card: Card,
    /// The card as it was read.
    text: String,
    weights: Rc<[u8]>,
}

impl Model {
    /// The network to start fine-tuning from.
    ///
    /// # Errors
    /// If card and weights do not make one.
    pub(super) fn base(&self) -> Result<Base, FinetuneError> {
        Base::new(&self.text, self.weights.to_vec())
    }

    /// A model from its card and weights.
    ///
    /// # Errors
    /// [`ModelError`] if they do not go together.
    pub(super) fn new(name: &str, text: String, weights: Vec<u8>) -> Result<Self, ModelError> {
        let card = Card::read(&text)?;
        card.verify(&weights)?;
        Ok(Self {
            name: name.to_owned(),
            card,
            text,
            weights: weights.into(),
        })
    }

    /// Its line in a report.
    pub(super) fn in_report(&self) -> report::Model {
        let folder = self.name.rsplit('/').next().unwrap_or(&self.name);
        report::Model {
            name: self.card.name.clone().unwrap_or_else(|| folder.to_owned()),
            sha256: self.card.hash().unwrap_or_default().to_owned(),
        }
    }
}

/// The engines that a run asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Team {
    pub(super) engine: EngineKind,
    /// Engines of the pool, if it is or becomes one of CPUs.
    pub(super) cpu_workers: usize,
    /// Whether a GPU that is emulated in software will do.
    pub(super) allow_software: bool,
}

/// The engines there are and what they were hired for.
struct Hired {
    model: Rc<Model>,
    team: Team,
    pool: Rc<Pool<Workers>>,
}

impl Bench {
    /// What the browser says about its GPU; asked once.
    pub(super) async fn gpu(&self, scope: &DedicatedWorkerGlobalScope) -> Gpu {
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

    /// A model by its directory, fetched and verified unless it is the one used last.
    ///
    /// # Errors
    /// [`ModelError`].
    pub(super) async fn model(
        &self,
        scope: &DedicatedWorkerGlobalScope,
        name: &str,
    ) -> Result<Rc<Model>, ModelError> {
        let name = directory(name)?;
        if let Some(model) = self.known(name) {
            return Ok(model);
        }
        let card = browser::fetch(scope, &assets::url(&format!("{name}/card.json")), "card").await?;
        let card = String::from_utf8_lossy(&card).into_owned();
        // What is wrong with the card is said before the weights are fetched.
        Card::read(&card)?;
        let weights = assets::url(&format!("{name}/weights.safetensors"));
        let weights = browser::fetch(scope, &weights, "weights").await?;
        Ok(self.remember(Model::new(name, card, weights)?))
    }

    /// The model used last, if it has this name.
    pub(super) fn known(&self, name: &str) -> Option<Rc<Model>> {
        self.model.borrow().clone().filter(|model| model.name == name)
    }

    /// Makes a model the one used last.
    pub(super) fn remember(&self, model: Model) -> Rc<Model> {
        let model = Rc::new(model);
        *self.model.borrow_mut() = Some(model.clone());
        model
    }

    /// The engines for a run: those of the last one if they fit.
    pub(super) fn pool(&self, model: &Rc<Model>, team: Team) -> Rc<Pool<Workers>> {
        let mut hired = self.pool.borrow_mut();
        if let Some(hired) = &*hired {
            // A pool may have gone over from the GPU to the CPU.
            let now = Team {
                engine: hired.pool.kind(),
                ..hired.team
            };
            if Rc::ptr_eq(&hired.model, model) && now == team {
                return hired.pool.clone();
            }
        }
        let workers = Workers {
            config: model.card.config.to_string(),
            weights: model.weights.clone(),
            allow_software: team.allow_software,
        };
        let pool = Rc::new(Pool::new(workers, team.engine, team.cpu_workers));
        *hired = Some(Hired {
            model: model.clone(),
            team,
            pool: pool.clone(),
        });
        pool
    }

    /// Remembers why WebGPU failed, if it did.
    pub(super) fn note_failure(&self, pool: &Pool<Workers>) {
        if let Some(why) = pool.gpu_failed() {
            *self.gpu_failed.borrow_mut() = Some(why);
        }
    }

    /// Why WebGPU failed in this session, if it did.
    pub(super) fn gpu_failed(&self) -> Option<String> {
        self.gpu_failed.borrow().clone()
    }

    /// Ends the engines that have no work.
    pub(super) fn dismiss_idle(&self) {
        if let Some(hired) = &*self.pool.borrow() {
            hired.pool.dismiss_idle();
        }
    }
}
