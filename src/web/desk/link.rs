//! An engine in a nested worker, seen from the desk.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot;
use gloo_timers::future::TimeoutFuture;
use js_sys::Function;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use wasm_bindgen_futures::spawn_local;
use web_sys::{ErrorEvent, Event, MessageEvent, Worker, WorkerOptions, WorkerType};

use super::pool::{Answer, Engine, Starter};
use crate::pipeline::Bundle;
use crate::tiling::Sums;
use crate::web::messages::{EngineKind, FromEngine, ToEngine};
use crate::web::{assets, channel, channel::Parcel};

/// Milliseconds that an engine may go on with a tile that nobody waits for before it is ended. A GPU or a quick
/// processor is done by then and keeps its compiled kernels; anything slower would keep the machine busy for nothing.
const GRACE_MS: u32 = 2000;

/// An engine is replaced once its memory is larger than this many times what it was after its first tile, and at
/// least [`WORN_BYTES`].
const WORN_FACTOR: f64 = 2.0;
const WORN_BYTES: f64 = (1u64 << 29) as f64;

/// Starts engines that hold one model's network.
pub(super) struct Workers {
    /// The card's `config` as JSON.
    pub(super) config: String,
    /// The safetensors file.
    pub(super) weights: Rc<[u8]>,
    /// Whether a GPU that is emulated in software will do.
    pub(super) allow_software: bool,
}

impl Starter for Workers {
    type Engine = Link;

    async fn start(&self, kind: EngineKind) -> Result<Link, String> {
        let program = match kind {
            EngineKind::Cpu => "engine-cpu.js",
            EngineKind::WebGpu => "engine-gpu.js",
        };
        let link = Link::start(program, kind, self.allow_software).await?;
        let load = Parcel::new(ToEngine::Load {
            config: self.config.clone(),
        })
        .with_buffer(channel::bytes_out(&self.weights));
        let FromEngine::Loaded = link.ask(load).await?.message else {
            return Err(link.nonsense());
        };
        Ok(link)
    }
}

/// One engine's worker; dropping it ends the worker.
pub(super) struct Link {
    shared: Rc<Shared>,
    /// Voxels of the patches that it takes together.
    group: Cell<usize>,
    /// Memory in bytes after the first tile and now.
    heap: Cell<Option<(f64, f64)>>,
    tiles: Cell<usize>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _error: Closure<dyn FnMut(Event)>,
}

pub(super) type Reply = Result<Parcel<FromEngine>, String>;

struct Shared {
    worker: Worker,
    /// Who waits for the next message, and the number of that wait.
    waiting: RefCell<Option<oneshot::Sender<Reply>>>,
    waits: Cell<u64>,
    /// Why the engine ended, if it did.
    ended: RefCell<Option<String>>,
}

impl Shared {
    /// Ends the worker; whoever waits hears why. The first reason counts.
    fn end(&self, why: &str) {
        self.worker.terminate();
        let why = self
            .ended
            .borrow_mut()
            .get_or_insert_with(|| why.to_owned())
            .clone();
        self.hand(Err(why));
    }

    fn hand(&self, reply: Reply) {
        let waiting = self.waiting.borrow_mut().take();
        if let Some(waiting) = waiting {
            // A cancelled run does not wait any more.
            let _ = waiting.send(reply);
        }
    }
}

impl Link {
    /// Starts the worker; its `Ready` is the first thing to wait for.
    fn open(url: &str) -> Result<Self, String> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = Worker::new_with_options(url, &options).map_err(|e| channel::words(&e))?;
        let shared = Rc::new(Shared {
            worker,
            waiting: RefCell::new(None),
            waits: Cell::new(0),
            ended: RefCell::new(None),
        });
        let hearer = shared.clone();
        let message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            match channel::receive::<FromEngine>(&event) {
                Ok(Parcel {
                    message: FromEngine::Failed { problem },
                    ..
                }) => hearer.end(&told(&problem)),
                Ok(parcel) => hearer.hand(Ok(parcel)),
                Err(problem) => hearer.end(&problem.to_string()),
            }
        });
        let mourner = shared.clone();
        let error = Closure::<dyn FnMut(Event)>::new(move |event: Event| {
            // Unhandled, it would travel on to the page as an error of the desk.
            event.prevent_default();
            let reason = event
                .dyn_ref::<ErrorEvent>()
                .map(ErrorEvent::message)
                .unwrap_or_default();
            mourner.end(match reason.trim_start_matches("Uncaught ") {
                "" => "its program could not be loaded",
                reason => reason,
            });
        });
        shared
            .worker
            .set_onmessage(Some(message.as_ref().unchecked_ref()));
        shared.worker.set_onerror(Some(error.as_ref().unchecked_ref()));
        Ok(Self {
            shared,
            group: Cell::new(0),
            heap: Cell::new(None),
            tiles: Cell::new(0),
            _message: message,
            _error: error,
        })
    }

    /// Starts an engine that can train, too; it holds no network yet.
    ///
    /// # Errors
    /// Why it did not start, in words.
    pub(super) async fn start_for_training(kind: EngineKind, allow_software: bool) -> Result<Self, String> {
        let program = match kind {
            EngineKind::Cpu => "tutor-cpu.js",
            EngineKind::WebGpu => "tutor-gpu.js",
        };
        Self::start(program, kind, allow_software).await
    }

    /// Starts a program and, on a GPU, runs its self-test.
    async fn start(program: &str, kind: EngineKind, allow_software: bool) -> Result<Self, String> {
        let link = Self::open(&assets::url(program))?;
        let FromEngine::Ready { software, group, .. } = link.next(None).await?.message else {
            return Err(link.nonsense());
        };
        link.group.set(group);
        if kind == EngineKind::WebGpu {
            if software && !allow_software {
                return Err("the GPU is only emulated in software".into());
            }
            let FromEngine::Passed = link.ask(Parcel::new(ToEngine::SelfTest)).await?.message else {
                return Err(link.nonsense());
            };
        }
        Ok(link)
    }

    /// Why it ended, once it has.
    pub(super) fn why(&self) -> String {
        let why = self.shared.ended.borrow().clone();
        why.unwrap_or_else(|| "its answer was lost".into())
    }

    pub(super) async fn ask(&self, parcel: Parcel<ToEngine>) -> Reply {
        self.next(Some(parcel)).await
    }

    /// Posts a message, if there is one, and waits for the next answer.
    async fn next(&self, parcel: Option<Parcel<ToEngine>>) -> Reply {
        if let Some(why) = self.shared.ended.borrow().clone() {
            return Err(why);
        }
        let (sender, receiver) = oneshot::channel();
        *self.shared.waiting.borrow_mut() = Some(sender);
        self.shared.waits.set(self.shared.waits.get() + 1);
        if let Some(parcel) = parcel
            && let Err(problem) = channel::post(&self.shared.worker, &parcel)
        {
            self.shared.end(&problem.to_string());
        }
        receiver
            .await
            .unwrap_or_else(|_| Err("its answer was lost".into()))
    }

    pub(super) fn nonsense(&self) -> String {
        let why = "its answer did not fit the question";
        self.shared.end(why);
        why.into()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.worker.set_onmessage(None);
        // An error that is on its way is reported even after the worker was ended (HTML, "runtime script errors in workers");
        // with nobody to take it, it would travel on to the page and end the desk.
        DEAF.with(|deaf| self.shared.worker.set_onerror(Some(deaf)));
        self.shared.end("it was ended");
    }
}

thread_local! {
    /// Takes the errors of engines that were let go.
    static DEAF: Function = Closure::<dyn FnMut(Event)>::new(|event: Event| event.prevent_default())
        .into_js_value()
        .unchecked_into();
}

impl Link {
    /// The number of the next question.
    fn number(&self) -> usize {
        self.tiles.replace(self.tiles.get() + 1)
    }

    /// Notes the engine's memory after an answer. Milliseconds count from the second one on.
    fn note(&self, tile: usize, millis: f64, heap: f64) -> Option<f64> {
        let first = self.heap.get().map_or(heap, |(first, _)| first);
        self.heap.set(Some((first, heap)));
        (tile > 0).then_some(millis)
    }
}

impl Engine for Link {
    async fn predict(&self, patch: &[f32], side: usize) -> Result<Answer<Vec<f32>>, String> {
        let tile = self.number();
        let ask = Parcel::new(ToEngine::Predict { tile, side }).with_buffer(channel::floats_out(patch));
        let answer = self.ask(ask).await?;
        match (answer.message, answer.buffers.first()) {
            (
                FromEngine::Predicted {
                    tile: echo,
                    millis,
                    heap,
                },
                Some(buffer),
            ) if echo == tile => {
                let millis = self.note(tile, millis, heap);
                let values = channel::floats_in(buffer).map_err(|e| e.to_string())?;
                Ok(Answer { values, millis })
            }
            _ => Err(self.nonsense()),
        }
    }

    fn group_voxels(&self) -> usize {
        self.group.get()
    }

    async fn predict_group(&self, bundle: &Bundle) -> Result<Answer<Sums>, String> {
        let tile = self.number();
        let ask = Parcel::new(ToEngine::PredictGroup {
            tile,
            group: bundle.group().clone(),
            window: bundle.window(),
            spread: bundle.spread(),
        })
        .with_buffer(channel::floats_out(bundle.patches()));
        let answer = self.ask(ask).await?;
        match (answer.message, &answer.buffers[..]) {
            (
                FromEngine::Voted {
                    tile: echo,
                    millis,
                    heap,
                },
                [votes, spread @ ..],
            ) if echo == tile => {
                let millis = self.note(tile, millis, heap);
                let floats = |buffer| channel::floats_in(buffer).map_err(|e| e.to_string());
                let votes = floats(votes)?;
                let spread = spread.first().map(floats).transpose()?;
                let values = Sums { votes, spread };
                Ok(Answer { values, millis })
            }
            _ => Err(self.nonsense()),
        }
    }

    fn abandon(&self) {
        let (shared, wait) = (self.shared.clone(), self.shared.waits.get());
        spawn_local(async move {
            TimeoutFuture::new(GRACE_MS).await;
            let still_at_it = shared.waiting.borrow().is_some() && shared.waits.get() == wait;
            if still_at_it {
                shared.end("it was cancelled");
            }
        });
    }

    async fn usable(&self) -> bool {
        // `abandon` bounds this loop.
        while self.shared.waiting.borrow().is_some() {
            TimeoutFuture::new(20).await;
        }
        self.shared.ended.borrow().is_none()
    }

    fn worn(&self) -> bool {
        self.heap
            .get()
            .is_some_and(|(first, now)| now >= WORN_BYTES && now > WORN_FACTOR * first)
    }
}

/// A problem as one sentence: the GPU's libraries tell a chain of causes over many lines, repeat themselves on the way and
/// end in a backtrace.
fn told(problem: &str) -> String {
    let mut told = String::new();
    for line in problem.replace("\\n", "\n").lines().map(str::trim) {
        if line.starts_with("Backtrace") {
            break;
        }
        if line.is_empty() || line == "Caused by:" || told.ends_with(line) {
            continue;
        }
        if !told.is_empty() {
            told.push_str(": ");
        }
        told.push_str(line);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn a_chain_of_causes_is_told_in_a_sentence() {
        assert_eq!(told("the loss became NaN"), "the loss became NaN");
        // As cubecl words a lost device; the line breaks come as two letters.
        let chain = "the device failed: An error happened\\nCaused by:\\n  An error happened\\nCaused by:\\n  no buffer\\nBacktrace:\\nNone";
        assert_eq!(told(chain), "the device failed: An error happened: no buffer");
        assert_eq!(told("one\ntwo\n"), "one: two");
        assert_eq!(told(""), "");
    }
}
