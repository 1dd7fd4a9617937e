//! Ctrl-C, and being asked to end: training stops where it can be gone on with.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell expects of a program that Ctrl-C ended: 128 and the number of SIGINT.
pub(crate) const CODE: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// A run that was interrupted and is stored.
#[derive(Debug, thiserror::Error)]
#[error("interrupted after {step} of {steps} steps, all of them stored in {}; the same command goes on from there", .file.display())]
pub(crate) struct Interrupted {
    /// Steps done.
    pub(crate) step: u64,
    /// Steps planned.
    pub(crate) steps: u64,
    /// The checkpoint.
    pub(crate) file: PathBuf,
}

/// From now on the first Ctrl-C (or SIGTERM, SIGHUP) only asks; the second ends the program at once. May be called for every run of a
/// program that trains several.
///
/// # Errors
/// If the system takes no handler.
pub(crate) fn listen() -> Result<(), ctrlc::Error> {
    static LISTENS: AtomicBool = AtomicBool::new(false);
    if LISTENS.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(CODE));
        }
        eprintln!("stopping after the step in hand and storing it; once more Ctrl-C ends at once");
    })
}

/// Whether somebody asked to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
