//! The page: what a person sees. Draws and forwards, never computes.
//!
//! - [`state`]: what the page knows and how that changes, without a browser;
//! - [`address`]: the state in the address, for links;
//! - [`finetune`]: cases, a run and its verdict, with a state machine and a desk of its own;
//! - [`explore`]: the loss on paper, drawn from [`crate::loss`];
//! - `page`: carries out what the state machine asks for, and draws;
//! - `desk`, `viewer`, `files`, `theme`: the browser's side, one matter each;
//! - `words`, `guess`: numbers in words, file names in inputs;
//! - the rest: one component a file.

mod about;
pub mod address;
mod batch;
mod comparison;
mod controls;
mod desk;
mod diagnostics;
pub mod explore;
mod files;
pub mod finetune;
pub mod guess;
mod header;
mod lesions;
mod notices;
mod offline;
mod page;
mod plot;
mod print;
mod result;
mod run;
mod scans;
mod stage;
pub mod state;
mod theme;
mod view;
mod viewer;
pub mod words;

use wasm_bindgen::JsCast;

/// Opens the page in the element `app` of `index.html`.
pub fn start() {
    theme::Theme::remembered().apply();
    yew::set_custom_panic_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        show_failure();
    }));
    match web_sys::window()
        .and_then(|w| w.document())
        .and_then(|d| d.get_element_by_id("app"))
    {
        Some(root) => {
            yew::Renderer::<page::Page>::with_root(root).render();
        }
        None => show_failure(),
    }
}

/// Uncovers the sentence that waits in `index.html` for the case that nothing else can be drawn any more.
fn show_failure() {
    let failure = web_sys::window()
        .and_then(|w| w.document())
        .and_then(|d| d.get_element_by_id("failure"))
        .and_then(|e| e.dyn_into::<web_sys::HtmlElement>().ok());
    if let Some(failure) = failure {
        failure.set_hidden(false);
    }
}
