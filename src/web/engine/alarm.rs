//! What goes wrong out of sight is told to the desk.
//!
//! On the web a shader that does not compile is only logged; its kernel is skipped and stale memory is read back as
//! the answer. A lost device is only logged, too. So a log record of level `error` from any crate counts as a failure
//! of the engine, as does a panic.

use std::panic::PanicHookInfo;

use log::{Level, LevelFilter, Log, Metadata, Record};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{DedicatedWorkerGlobalScope, Event};

use crate::web::channel::{Parcel, words};
use crate::web::messages::FromEngine;

/// Catches panics, error records and unhandled rejections from now on.
pub(super) fn install(scope: &DedicatedWorkerGlobalScope) {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        console_error_panic_hook::hook(info);
        raise(&first_line(&info.to_string().replace('\n', " ")));
    }));
    static ALARM: Alarm = Alarm;
    // Only the first call in a program can set the logger, and this is it.
    if log::set_logger(&ALARM).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
    let rejected = Closure::<dyn FnMut(Event)>::new(|event: Event| {
        let reason = js_sys::Reflect::get(&event, &"reason".into()).unwrap_or_default();
        raise(&first_line(&words(&reason)));
    });
    // Without the listener only this last net is missing.
    let _ = scope.add_event_listener_with_callback("unhandledrejection", rejected.as_ref().unchecked_ref());
    rejected.forget();
}

/// Tells the desk that this engine cannot go on.
pub(super) fn raise(problem: &str) {
    super::answer(&Parcel::new(FromEngine::Failed {
        problem: problem.to_owned(),
    }));
}

struct Alarm;

impl Log for Alarm {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        if record.level() == Level::Error {
            web_sys::console::error_1(&text.as_str().into());
            raise(&first_line(&text));
        } else if record.level() == Level::Warn {
            web_sys::console::warn_1(&text.into());
        }
    }

    fn flush(&self) {}
}

/// Enough to recognise the problem in a sentence; the whole text, shader source and all, is on the console.
fn first_line(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::first_line;

    #[test]
    fn a_problem_is_told_in_one_line() {
        assert_eq!(
            first_line("WGSL compilation failed\nfn main()"),
            "WGSL compilation failed"
        );
        assert_eq!(first_line(&"x".repeat(1000)).len(), 300);
        assert_eq!(first_line(""), "");
    }
}
