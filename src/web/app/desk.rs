//! The desk as the page sees it: a worker that can die and be replaced.

use std::cell::RefCell;
use std::rc::Rc;

use gloo_events::EventListener;
use wasm_bindgen::JsCast;
use web_sys::{ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType};
use yew::Callback;

use crate::web::assets;
use crate::web::channel::{self, ChannelError, Parcel};
use crate::web::messages::{FromDesk, ToDesk};

/// What a desk tells the page besides its messages.
#[derive(Debug)]
pub(super) enum Event {
    /// It said something.
    Said(Parcel<FromDesk>),
    /// It died, with the browser's words.
    Died(String),
    /// Something arrived that is no message of ours.
    Garbled(ChannelError),
}

/// A running desk. Dropping it ends the worker and, with it, the engines it started.
pub(super) struct DeskLink {
    worker: Worker,
    /// Messages that wait until the desk's code runs; `None` once it does.
    waiting: Rc<RefCell<Option<Vec<Parcel<ToDesk>>>>>,
    _listeners: [EventListener; 3],
}

impl DeskLink {
    /// Starts a desk.
    ///
    /// # Errors
    /// The browser's words if it cannot start a worker at all.
    pub(super) fn start(events: Callback<Event>) -> Result<Self, String> {
        Self::start_named("desk", events)
    }

    /// Starts a desk under another name, which browsers show where they list workers.
    ///
    /// # Errors
    /// As [`DeskLink::start`].
    pub(super) fn start_named(name: &str, events: Callback<Event>) -> Result<Self, String> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        options.set_name(name);
        let worker = Worker::new_with_options(&assets::url("desk.js"), &options)
            .map_err(|error| channel::words(&error))?;
        let waiting = Rc::new(RefCell::new(Some(Vec::new())));

        let on_message = {
            let (worker, waiting, events) = (worker.clone(), waiting.clone(), events.clone());
            EventListener::new(&worker.clone(), "message", move |event| {
                let Some(event) = event.dyn_ref::<MessageEvent>() else {
                    return;
                };
                match channel::receive::<FromDesk>(event) {
                    Ok(parcel) => {
                        if parcel.message == FromDesk::Ready {
                            for parcel in waiting.borrow_mut().take().unwrap_or_default() {
                                if let Err(error) = channel::post(&worker, &parcel) {
                                    events.emit(Event::Garbled(error));
                                }
                            }
                        }
                        events.emit(Event::Said(parcel));
                    }
                    Err(error) => events.emit(Event::Garbled(error)),
                }
            })
        };
        let on_error = {
            let events = events.clone();
            EventListener::new(&worker, "error", move |event| {
                // A script that cannot be fetched gives a bare event without words.
                let words = event
                    .dyn_ref::<ErrorEvent>()
                    .map(ErrorEvent::message)
                    .unwrap_or_default();
                let words = if words.is_empty() {
                    "its program could not be loaded".into()
                } else {
                    words
                };
                events.emit(Event::Died(words));
            })
        };
        let on_message_error = EventListener::new(&worker, "messageerror", move |_| {
            events.emit(Event::Garbled(ChannelError::Read(
                "it could not be copied".into(),
            )));
        });
        Ok(Self {
            worker,
            waiting,
            _listeners: [on_message, on_error, on_message_error],
        })
    }

    /// Posts a message, as soon as the desk can take it.
    ///
    /// # Errors
    /// See [`channel::post`].
    pub(super) fn send(&self, parcel: Parcel<ToDesk>) -> Result<(), ChannelError> {
        match &mut *self.waiting.borrow_mut() {
            Some(waiting) => {
                waiting.push(parcel);
                Ok(())
            }
            None => channel::post(&self.worker, &parcel),
        }
    }
}

impl Drop for DeskLink {
    fn drop(&mut self) {
        self.worker.terminate();
    }
}
