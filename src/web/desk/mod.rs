//! The desk: owns the scans and runs the pipeline in a worker of its own.
//!
//! Messages wait in an [`inbox::Inbox`] and are worked on one after the other; a run goes on beside them, from answer
//! to answer of the engines, until it ends or is dropped.

mod bench;
mod browser;
pub mod case;
pub mod choice;
pub mod estimate;
pub mod family;
mod finetune;
pub mod inbox;
pub mod limits;
mod link;
pub mod model;
pub mod pool;
mod run;
mod store;
mod study;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::mpsc;
use futures_util::StreamExt;
use futures_util::future::AbortHandle;
use gloo_timers::future::TimeoutFuture;
use js_sys::ArrayBuffer;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use wasm_bindgen_futures::spawn_local;
use web_sys::{DedicatedWorkerGlobalScope, File, MessageEvent};

use crate::pipeline::names::Output;
use crate::volume::components::Connectivity;
use crate::web::channel::{self, ChannelError, Parcel};
use crate::web::messages::finetune::KEPT;
use crate::web::messages::{FromDesk, Slot, ToDesk};

use case::Case;
use estimate::Timings;
use inbox::{Effect, Inbox};
use limits::Memory;

/// Serves the page until the worker is ended.
///
/// # Errors
/// [`ChannelError`] outside a dedicated worker or if the page cannot be told that the desk runs.
pub fn serve() -> Result<(), ChannelError> {
    console_error_panic_hook::set_once();
    let scope = channel::scope()?;
    let (bell, mut rings) = mpsc::unbounded();
    let desk = Rc::new(Desk::new(scope.clone()));
    let (receiver, desk_models) = (desk.clone(), desk.clone());
    let receive = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        receiver.receive(&event);
        // The receiver lives as long as the worker.
        let _ = bell.unbounded_send(());
    });
    scope.set_onmessage(Some(receive.as_ref().unchecked_ref()));
    receive.forget();
    channel::post(&scope, &Parcel::new(FromDesk::Ready))?;
    desk_models.recall_models();
    spawn_local(async move {
        while rings.next().await.is_some() {
            // Messages that are already in the browser's queue come in first, so that of many cuts one is made.
            breathe().await;
            let next = desk.inbox.borrow_mut().take();
            if let Some((message, beside)) = next {
                desk.work(message, beside).await;
            }
        }
    });
    Ok(())
}

/// Lets the browser deliver what waits for this worker.
async fn breathe() {
    TimeoutFuture::new(0).await;
}

/// What travels beside a message to the desk.
struct Beside {
    case: Option<u32>,
    files: Vec<File>,
    buffer: Option<ArrayBuffer>,
}

/// The cut that a result starts with: the last one the person asked for.
#[derive(Clone, Copy)]
struct LastCut {
    threshold: f32,
    min_lesion_mm3: f64,
    connectivity: Connectivity,
}

struct Desk {
    scope: DedicatedWorkerGlobalScope,
    memory: Memory,
    inbox: RefCell<Inbox<Beside>>,
    case: RefCell<Case>,
    timings: RefCell<Timings>,
    /// Model and engines in use.
    bench: bench::Bench,
    /// Ends the run in progress.
    stop: RefCell<Option<AbortHandle>>,
    /// Runs that have not ended; a cancelled one may outlive its successor's start for a moment.
    runs: Cell<usize>,
    cut: Cell<Option<LastCut>>,
    /// Counts the plans asked for, so that a late word on an old one is not sent.
    plans: Cell<u64>,
    /// What belongs to fine-tuning.
    tuning: finetune::Tuning,
    /// The browser's storage, once it was opened.
    store: RefCell<Option<Rc<store::Store>>>,
}

impl Desk {
    fn new(scope: DedicatedWorkerGlobalScope) -> Self {
        Self {
            memory: browser::memory(&scope),
            scope,
            inbox: RefCell::default(),
            case: RefCell::default(),
            timings: RefCell::default(),
            bench: bench::Bench::default(),
            stop: RefCell::default(),
            runs: Cell::new(0),
            cut: Cell::new(None),
            plans: Cell::new(0),
            tuning: finetune::Tuning::default(),
            store: RefCell::default(),
        }
    }

    /// Takes a message in. A cancel takes effect here, whatever the desk is at.
    fn receive(&self, event: &MessageEvent) {
        match channel::receive::<ToDesk>(event) {
            Ok(Parcel {
                message,
                files,
                case,
                buffers,
            }) => {
                let beside = Beside {
                    case,
                    files,
                    buffer: buffers.into_iter().next(),
                };
                if self.inbox.borrow_mut().put(message, beside) == Effect::Stop {
                    self.stop();
                }
            }
            Err(problem) => self.fail(None, &problem),
        }
    }

    fn stop(&self) {
        if let Some(run) = self.stop.borrow_mut().take() {
            run.abort();
        }
    }

    async fn work(self: &Rc<Self>, message: ToDesk, beside: Beside) {
        let Beside { case, files, buffer } = beside;
        if let ToDesk::Tune(message) = message {
            return self.tuning(message, files).await;
        }
        let file = files.into_iter().next();
        match message {
            ToDesk::Open { slot } => match self.open(slot, file).await {
                Ok(info) => self.say(case, FromDesk::Opened { slot, info }),
                Err(problem) => self.say(case, FromDesk::Refused { slot, problem }),
            },
            ToDesk::Clear { slot } => self.case.borrow_mut().clear(slot),
            ToDesk::Plan(settings) => self.plan(settings, case),
            ToDesk::Segment(settings) => self.segment(settings, case),
            ToDesk::Family { settings, members } => self.family(settings, members, case),
            ToDesk::Look(look) => self.look(look, case).await,
            ToDesk::Print => self.print(case),
            ToDesk::Cancel => self.say(case, FromDesk::Cancelled),
            ToDesk::Cut {
                threshold,
                min_lesion_mm3,
                connectivity,
            } => {
                let cut = LastCut {
                    threshold,
                    min_lesion_mm3,
                    connectivity,
                };
                self.cut.set(Some(cut));
                self.cut(case, cut);
                // Scores take longer than the mask: the last of many cuts will do.
                breathe().await;
                if !self.inbox.borrow().has_cut() {
                    self.compare(case);
                }
            }
            ToDesk::Reference { number } => {
                let answer = match self.open_reference(file).await {
                    Ok(info) => FromDesk::ReferenceOpened { number, info },
                    Err(problem) => FromDesk::ReferenceRefused { number, problem },
                };
                self.say(case, answer);
                self.compare(case);
                self.rank_family(case);
            }
            ToDesk::ClearReference => {
                self.case.borrow_mut().clear_reference();
                self.rank_family(case);
            }
            ToDesk::Save(product) => {
                let saved = self.case.borrow_mut().save(product);
                match saved {
                    Ok((name, bytes)) => {
                        self.hand_over(case, FromDesk::Saved { name }, channel::bytes_out(&bytes));
                    }
                    Err(problem) => self.fail(case, &problem),
                }
            }
            ToDesk::HandOver => {
                let saved = self.case.borrow_mut().save(Output::Mask);
                match saved {
                    Ok((name, bytes)) => {
                        self.hand_over(case, FromDesk::HandedOver { name }, channel::bytes_out(&bytes));
                    }
                    Err(problem) => self.fail(case, &problem),
                }
            }
            ToDesk::Correct => {
                self.correct(case, &buffer.map(|b| channel::bytes_in(&b)).unwrap_or_default());
                self.compare(case);
            }
            // Taken above.
            ToDesk::Tune(_) => {}
        }
    }

    async fn open(&self, slot: Slot, file: Option<File>) -> Result<crate::web::messages::ScanInfo, String> {
        // Whatever comes of it, the scan before is no longer meant.
        self.case.borrow_mut().clear(slot);
        let (name, bytes) = self.read(file).await?;
        self.case
            .borrow_mut()
            .open(slot, &name, bytes, &self.memory.scan_limits())
            .map_err(|e| e.to_string())
    }

    async fn open_reference(&self, file: Option<File>) -> Result<crate::web::messages::ScanInfo, String> {
        self.case.borrow_mut().clear_reference();
        let (name, bytes) = self.read(file).await?;
        self.case
            .borrow_mut()
            .open_reference(&name, &bytes, &self.memory.scan_limits())
            .map_err(|e| e.to_string())
    }

    /// Name and bytes of a file that is not too large.
    async fn read(&self, file: Option<File>) -> Result<(String, Vec<u8>), String> {
        let file = file.ok_or("No file came with the request to open one. Choose the file again.")?;
        let limits = self.memory.scan_limits();
        // A file's size is a whole number of bytes, exact in a double.
        limits.check_file(file.size() as u64).map_err(|e| e.to_string())?;
        let bytes = browser::read(&file).await.map_err(|reason| {
            format!(
                "The browser could not read the file ({reason}). It may have been moved; choose it again."
            )
        })?;
        Ok((file.name(), bytes))
    }

    /// A model by its directory: one that ships with the page, or one that this browser keeps.
    async fn find_model(&self, name: &str) -> Result<Rc<bench::Model>, String> {
        let Some(key) = name.strip_prefix(KEPT) else {
            return self
                .bench
                .model(&self.scope, name)
                .await
                .map_err(|e| e.to_string());
        };
        if let Some(model) = self.bench.known(name) {
            return Ok(model);
        }
        let (card, weights) = self.kept_model(key).await.map_err(|e| e.to_string())?;
        let model = bench::Model::new(name, card, weights).map_err(|e| e.to_string())?;
        Ok(self.bench.remember(model))
    }

    /// Cuts the result and shows the mask.
    fn cut(&self, case: Option<u32>, cut: LastCut) {
        let mut open = self.case.borrow_mut();
        match open.cut(cut.threshold, cut.min_lesion_mm3, cut.connectivity) {
            Ok((summary, mask)) => self.hand_over(case, FromDesk::Mask(summary), channel::bytes_out(mask)),
            Err(problem) => self.fail(case, &problem),
        }
    }

    /// Takes the mask over as a person corrected it.
    fn correct(&self, case: Option<u32>, voxels: &[u8]) {
        let mut open = self.case.borrow_mut();
        match open.correct(voxels) {
            Ok((summary, mask)) => self.hand_over(case, FromDesk::Mask(summary), channel::bytes_out(mask)),
            Err(problem) => self.fail(case, &problem),
        }
    }

    /// Compares the newest mask with the reference, if there are both.
    fn compare(&self, case: Option<u32>) {
        let compared = self.case.borrow_mut().compare();
        match compared {
            Ok(None) => {}
            Ok(Some((comparison, overlay))) => {
                let comparison = FromDesk::Compared(Box::new(comparison));
                self.hand_over(case, comparison, channel::bytes_out(&overlay));
            }
            Err(problem) => self.fail(case, &problem),
        }
    }

    fn fail(&self, case: Option<u32>, problem: &impl ToString) {
        self.say(
            case,
            FromDesk::Failed {
                problem: problem.to_string(),
            },
        );
    }

    fn say(&self, case: Option<u32>, message: FromDesk) {
        self.post(&Parcel::new(message).for_case(case));
    }

    fn hand_over(&self, case: Option<u32>, message: FromDesk, buffer: ArrayBuffer) {
        self.post(&Parcel::new(message).for_case(case).with_buffer(buffer));
    }

    fn post(&self, parcel: &Parcel<FromDesk>) {
        if let Err(problem) = channel::post(&self.scope, parcel) {
            // Without a channel only the console is left.
            web_sys::console::error_1(&problem.to_string().into());
        }
    }
}
