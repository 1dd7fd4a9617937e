//! Fine-tuning on the desk: it owns the cases, runs [`pipeline::finetune`](crate::pipeline::finetune) over engines that
//! train, and keeps what must outlive the tab.

mod cases;
mod crew;
mod keeping;
mod plan;
mod run;
mod tell;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_channel::oneshot;
use futures_util::future::AbortHandle;
use js_sys::ArrayBuffer;
use wasm_bindgen_futures::spawn_local;
use web_sys::File;

use super::Desk;
use crate::pipeline::finetune::Outcome;
use crate::web::channel::{self, Parcel};
use crate::web::messages::FromDesk;
use crate::web::messages::finetune::{FromTuner, ToTuner};

use cases::Loaded;

/// What the person wants of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// It goes on.
    Go,
    /// It stands still.
    Pause,
    /// It evaluates the best so far and ends.
    Stop,
    /// It ends at once.
    Leave,
}

/// What the desk holds for fine-tuning.
#[derive(Default)]
pub(super) struct Tuning {
    cases: RefCell<BTreeMap<u32, Loaded>>,
    /// The run in progress, or the one that ended last.
    run: RefCell<Option<Rc<run::Active>>>,
    /// The engines, kept from the dry step to the run.
    crew: RefCell<Option<crew::Hired>>,
    /// Ends the dry step in progress.
    rehearsing: RefCell<Option<AbortHandle>>,
    /// Dry steps that were timed.
    rehearsals: RefCell<Vec<plan::Timed>>,
    /// Counts the plans asked for, so that a late word on an old one is not sent.
    plans: Cell<u32>,
}

/// What a run hears of the person.
struct Ear {
    wish: Cell<Wish>,
    bell: RefCell<Option<oneshot::Sender<()>>>,
}

impl Ear {
    fn new() -> Self {
        Self {
            wish: Cell::new(Wish::Go),
            bell: RefCell::new(None),
        }
    }

    fn tell(&self, wish: Wish) {
        self.wish.set(wish);
        let bell = self.bell.borrow_mut().take();
        if let Some(bell) = bell {
            // Nobody may be waiting.
            let _ = bell.send(());
        }
    }

    /// Waits until the person wants something else than a pause.
    async fn wait(&self) {
        while self.wish.get() == Wish::Pause {
            let (bell, rings) = oneshot::channel();
            *self.bell.borrow_mut() = Some(bell);
            // A dropped bell means that there is a newer one.
            let _ = rings.await;
        }
    }
}

impl Desk {
    /// Takes a message about fine-tuning. What takes long goes on beside the other work.
    pub(super) async fn tuning(self: &Rc<Self>, message: ToTuner, files: Vec<File>) {
        match message {
            ToTuner::Recall => self.recall().await,
            ToTuner::Check {
                case,
                revision,
                name,
                t1,
            } => self.check(case, revision, &name, t1, files).await,
            ToTuner::Drop { case } => {
                self.tuning.cases.borrow_mut().remove(&case);
            }
            ToTuner::Plan { number, how } => self.plan_tuning(number, *how),
            ToTuner::Start(how) => self.start_tuning(*how),
            ToTuner::Pause => self.wish(Wish::Pause),
            ToTuner::Go => self.wish(Wish::Go),
            ToTuner::Stop => self.wish(Wish::Stop),
            ToTuner::Choose { step } => self.choose(step),
            ToTuner::Keep { name } => self.keep(&name).await,
            ToTuner::Discard => {
                self.end_run();
                self.settle(
                    self.forget_run().await.map(|()| FromTuner::Discarded),
                    "discarded",
                );
            }
            ToTuner::Resume => self.resume_tuning(),
            ToTuner::SaveMap { map, after } => self.save_map(map, after),
            ToTuner::Export { key } => self.export(&key).await,
            ToTuner::Import => self.import(files).await,
            ToTuner::Remove { key } => {
                let removed = self.remove_model(&key).await;
                if let Err(problem) = removed {
                    self.refuse(&problem);
                }
                self.tell_models().await;
            }
            ToTuner::ForgetEverything => {
                self.end_run();
                let cleared = match self.store().await {
                    Ok(store) => store.clear().await,
                    Err(problem) => Err(problem),
                };
                self.settle(cleared.map(|()| FromTuner::Forgotten), "deleted");
                self.tell_models().await;
            }
        }
    }

    /// Says something about fine-tuning.
    fn tune(&self, message: FromTuner) {
        self.say(None, FromDesk::Tune(Box::new(message)));
    }

    fn tune_with(&self, message: FromTuner, buffers: Vec<ArrayBuffer>) {
        self.post(&Parcel {
            message: FromDesk::Tune(Box::new(message)),
            buffers,
            files: Vec::new(),
            case: None,
        });
    }

    fn refuse(&self, problem: &impl ToString) {
        self.tune(FromTuner::Refused {
            problem: sentence(&problem.to_string()),
        });
    }

    /// Says what came of something.
    fn settle(&self, done: Result<FromTuner, super::store::StoreError>, what: &str) {
        match done {
            Ok(message) => self.tune(message),
            Err(problem) => self.refuse(&format!("It could not be {what}: {problem}")),
        }
    }

    async fn check(&self, case: u32, revision: u32, name: &str, t1: bool, files: Vec<File>) {
        self.tuning.cases.borrow_mut().remove(&case);
        match self.read_case(name, t1, files).await {
            Ok((loaded, info, pictures)) => {
                self.tuning.cases.borrow_mut().insert(case, loaded);
                let message = FromTuner::Checked { case, revision, info };
                self.tune_with(message, pictures);
            }
            Err(problem) => self.tune(FromTuner::Unfit {
                case,
                revision,
                problem: problem.to_string(),
            }),
        }
    }

    fn wish(&self, wish: Wish) {
        if let Some(run) = &*self.tuning.run.borrow() {
            run.ear.tell(wish);
        }
    }

    /// Ends the run, if there is one, and its engines.
    fn end_run(&self) {
        let run = self.tuning.run.borrow_mut().take();
        if let Some(run) = run {
            run.ear.tell(Wish::Leave);
        }
        self.tuning.crew.borrow_mut().take();
    }

    fn choose(self: &Rc<Self>, step: u64) {
        let run = self.tuning.run.borrow().clone();
        let Some(run) = run else { return };
        match run.choose(step) {
            Ok(()) => run::go_on(self, run),
            Err(problem) => self.refuse(&problem),
        }
    }

    /// Keeps the outcome as a model.
    async fn keep(&self, name: &str) {
        let Some(outcome) = self.outcome() else {
            return self.refuse(&"There is no finished run to keep.");
        };
        let card = outcome.card(name).to_string();
        match self.keep_model(&card, &outcome.weights, true).await {
            Ok(key) => {
                self.tune(FromTuner::Kept { key });
                self.tell_models().await;
            }
            Err(problem) => self.refuse(&format!(
                "The network could not be kept: {problem}. Delete networks that you do not need, then keep it again."
            )),
        }
    }

    fn outcome(&self) -> Option<Rc<Outcome>> {
        self.tuning.run.borrow().as_ref().and_then(|run| run.outcome())
    }

    async fn export(&self, key: &str) {
        match self.kept_model(key).await {
            Ok((card, weights)) => {
                let names = keeping::file_names(&card);
                let buffers = vec![channel::bytes_out(&weights), channel::bytes_out(card.as_bytes())];
                self.tune_with(
                    FromTuner::Files {
                        names: names.into_iter().collect(),
                    },
                    buffers,
                );
            }
            Err(problem) => self.refuse(&problem),
        }
    }

    async fn import(&self, files: Vec<File>) {
        let mut read = Vec::new();
        for file in files {
            match self.read(Some(file)).await {
                Ok(file) => read.push(file),
                Err(problem) => return self.refuse(&problem),
            }
        }
        let (card, weights) = match keeping::card_and_weights(read) {
            Ok(both) => both,
            Err(problem) => return self.refuse(&problem),
        };
        match self.keep_model(&card, &weights, false).await {
            Ok(_) => self.tell_models().await,
            Err(problem) => self.refuse(&format!("The network could not be kept: {problem}")),
        }
    }

    /// Says at the start which models are kept, if any are.
    pub(super) fn recall_models(self: &Rc<Self>) {
        let desk = self.clone();
        spawn_local(async move { desk.tell_models().await });
    }
}

/// A problem as a sentence of its own.
fn sentence(problem: &str) -> String {
    let mut letters = problem.chars();
    let mut text: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(letters)
        .collect();
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}
