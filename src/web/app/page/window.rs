//! What the page hears from the whole window: files dropped anywhere, and changes of the address.

use gloo_events::{EventListener, EventListenerOptions};
use wasm_bindgen::JsCast;
use web_sys::{DragEvent, File};
use yew::prelude::*;

use super::{Msg, Page};

/// Files can be dropped anywhere; the address chooses the view.
pub(super) fn listeners(ctx: &Context<Page>) -> Vec<EventListener> {
    let Some(window) = web_sys::window() else {
        return Vec::new();
    };
    let link = ctx.link();
    let on = |kind: &'static str, handle: Callback<DragEvent>| {
        // Not passive: without `preventDefault` the browser would leave the page and open the file.
        EventListener::new_with_options(
            &window,
            kind,
            EventListenerOptions::enable_prevent_default(),
            move |event| {
                if let Some(event) = event.dyn_ref::<DragEvent>() {
                    event.prevent_default();
                    handle.emit(event.clone());
                }
            },
        )
    };
    let address = link.callback(|()| Msg::Address);
    vec![
        on(
            "dragover",
            link.callback(|event| Msg::Dragging(has_files(&event))),
        ),
        // Leaving the window, not merely an element of it.
        on(
            "dragleave",
            link.batch_callback(|event: DragEvent| {
                event.related_target().is_none().then_some(Msg::Dragging(false))
            }),
        ),
        on(
            "drop",
            link.callback(|event: DragEvent| Msg::Dropped(dropped_files(&event))),
        ),
        EventListener::new(&window, "hashchange", move |_| address.emit(())),
    ]
}

fn has_files(event: &DragEvent) -> bool {
    event
        .data_transfer()
        .is_some_and(|data| data.types().includes(&"Files".into(), 0))
}

fn dropped_files(event: &DragEvent) -> Vec<File> {
    let list = event.data_transfer().and_then(|data| data.files());
    list.map(|list| (0..list.length()).filter_map(|i| list.get(i)).collect())
        .unwrap_or_default()
}
