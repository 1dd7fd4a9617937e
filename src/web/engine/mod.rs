//! An engine: the network in a worker of its own. Weights in, then patches in and probabilities out.
//!
//! Built four times: with the feature `gpu` it computes on WebGPU, without it on the CPU; with the feature `learn` it can
//! train, too. Messages are answered one at a
//! time, in order, on one task: burn's GPU streams are bound to the task that opened them.

mod alarm;
#[cfg(feature = "learn")]
mod tutor;

#[cfg(feature = "learn")]
use tutor::Seat;

use futures_channel::mpsc;
use futures_util::StreamExt;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::MessageEvent;
use web_time::Instant;

use crate::net::engine::Engine;
use crate::web::channel::{self, ChannelError, Parcel};
use crate::web::messages::{FromEngine, ToEngine};

/// Serves the desk until the worker is ended.
///
/// # Errors
/// [`ChannelError::NotAWorker`] outside a dedicated worker.
pub fn serve() -> Result<(), ChannelError> {
    let scope = channel::scope()?;
    alarm::install(&scope);
    let (sender, mut inbox) = mpsc::unbounded::<MessageEvent>();
    let receive = Closure::<dyn FnMut(MessageEvent)>::new(move |event| {
        // The receiver lives as long as the worker.
        let _ = sender.unbounded_send(event);
    });
    scope.set_onmessage(Some(receive.as_ref().unchecked_ref()));
    receive.forget();
    spawn_local(async move {
        let engine = match start().await {
            Ok(engine) => engine,
            Err(problem) => return alarm::raise(&problem),
        };
        answer(&Parcel::new(FromEngine::Ready {
            device: engine.describe(),
            software: engine.is_software(),
            group: engine.group_voxels(),
        }));
        let mut seat = Seat::new(engine);
        while let Some(event) = inbox.next().await {
            match handle(&mut seat, &event).await {
                Ok(parcel) => answer(&parcel),
                Err(problem) => alarm::raise(&problem),
            }
        }
    });
    Ok(())
}

/// The engine, in a program that cannot train.
#[cfg(not(feature = "learn"))]
struct Seat(Engine);

#[cfg(not(feature = "learn"))]
impl Seat {
    fn new(engine: Engine) -> Self {
        Self(engine)
    }

    fn engine(&mut self) -> &mut Engine {
        &mut self.0
    }

    async fn tune(
        &mut self,
        _: crate::web::messages::finetune::ToTutor,
        _: &[js_sys::ArrayBuffer],
    ) -> Result<Parcel<FromEngine>, String> {
        Err("this engine cannot train".into())
    }
}

#[cfg(feature = "gpu")]
async fn start() -> Result<Engine, String> {
    Engine::gpu().await.map_err(|e| e.to_string())
}

#[cfg(not(feature = "gpu"))]
async fn start() -> Result<Engine, String> {
    Ok(Engine::cpu())
}

async fn handle(seat: &mut Seat, event: &MessageEvent) -> Result<Parcel<FromEngine>, String> {
    let Parcel { message, buffers, .. } = channel::receive::<ToEngine>(event).map_err(|e| e.to_string())?;
    let buffer = || buffers.first().ok_or("a message came without its buffer");
    let message = match message {
        ToEngine::Tune(message) => {
            let answer = seat.tune(message, &buffers).await?;
            settle().await;
            return Ok(answer);
        }
        other => other,
    };
    let engine = seat.engine();
    match message {
        ToEngine::Load { config } => {
            engine
                .load(&config, channel::bytes_in(buffer()?))
                .map_err(|e| e.to_string())?;
            Ok(Parcel::new(FromEngine::Loaded))
        }
        ToEngine::SelfTest => {
            engine.self_test().await.map_err(|e| e.to_string())?;
            settle().await;
            Ok(Parcel::new(FromEngine::Passed))
        }
        ToEngine::Predict { tile, side } => {
            let patch = channel::floats_in(buffer()?).map_err(|e| e.to_string())?;
            let start = Instant::now();
            let probabilities = engine.predict(patch, side).await.map_err(|e| e.to_string())?;
            settle().await;
            let millis = start.elapsed().as_secs_f64() * 1000.0;
            let message = FromEngine::Predicted {
                tile,
                millis,
                heap: heap(),
            };
            Ok(Parcel::new(message).with_buffer(channel::floats_out(&probabilities)))
        }
        ToEngine::PredictGroup {
            tile,
            group,
            window,
            spread,
        } => {
            let patches = channel::floats_in(buffer()?).map_err(|e| e.to_string())?;
            let start = Instant::now();
            let sums = engine.predict_group(&patches, &group, window, spread).await;
            let sums = sums.map_err(|e| e.to_string())?;
            settle().await;
            let answer = Parcel::new(FromEngine::Voted {
                tile,
                millis: start.elapsed().as_secs_f64() * 1000.0,
                heap: heap(),
            });
            let arrays = [Some(sums.votes), sums.spread].into_iter().flatten();
            Ok(arrays.fold(answer, |answer, values| {
                answer.with_buffer(channel::floats_out(&values))
            }))
        }
        // Answered above.
        ToEngine::Tune(_) => Err("training was asked for twice".into()),
    }
}

/// Lets what the browser has to say about the GPU's work arrive before that work is trusted: an invalid shader is
/// reported on a task of its own, and by then the alarm has been raised.
async fn settle() {
    if cfg!(feature = "gpu") {
        gloo_timers::future::TimeoutFuture::new(0).await;
    }
}

/// Bytes of this program's memory, which never shrinks.
fn heap() -> f64 {
    let buffer =
        js_sys::Reflect::get(&wasm_bindgen::memory(), &"buffer".into()).unwrap_or(JsValue::UNDEFINED);
    js_sys::Reflect::get(&buffer, &"byteLength".into())
        .ok()
        .and_then(|n| n.as_f64())
        .unwrap_or(0.0)
}

fn answer(parcel: &Parcel<FromEngine>) {
    let sent = channel::scope().and_then(|scope| channel::post(&scope, parcel));
    if let Err(problem) = sent {
        // Without a channel only the console is left.
        web_sys::console::error_1(&problem.to_string().into());
    }
}
