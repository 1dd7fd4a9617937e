//! Patches made ahead on other threads, in order.

use super::augment::patch::Patch;
use super::sampler::{Sampler, SamplerError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How long a thread sleeps that has made all cases that may be made yet. A case takes a hundred times as long.
const NAP: Duration = Duration::from_millis(20);

/// Patches `first`, `first + 1`, ... of a sampler, made by a few threads while the consumer is busy.
///
/// A patch takes milliseconds, but a case takes seconds: other threads make the cases that will be needed next, so that no patch
/// waits for its case and all others for that patch. Which thread makes what changes nothing in it. The threads end when this
/// iterator is dropped, or after an error, which is the iterator's last item.
#[derive(Debug)]
pub struct Ahead {
    lanes: Vec<Receiver<Result<Patch, SamplerError>>>,
    next: usize,
    ended: bool,
    progress: Arc<Progress>,
}

/// What the threads that make cases know of the rest.
#[derive(Debug)]
struct Progress {
    /// Number of the patch that is wanted next.
    wanted: AtomicU64,
    /// Number of the next patch whose case was not looked at.
    looked_at: AtomicU64,
    over: AtomicBool,
}

impl Ahead {
    /// Starts `threads` threads (at least one) that make patches, each of which keeps up to `depth` of them ready, and as many that
    /// make cases.
    #[must_use]
    pub fn start(sampler: &Arc<Sampler>, first: u64, threads: usize, depth: usize) -> Self {
        let threads = threads.max(1);
        let lanes = (0..threads as u64)
            .map(|lane| {
                let (sender, receiver) = sync_channel(depth.max(1));
                let sampler = Arc::clone(sampler);
                thread::spawn(move || make(&sampler, (first + lane..).step_by(threads), &sender));
                receiver
            })
            .collect();
        let progress = Arc::new(Progress {
            wanted: AtomicU64::new(first),
            looked_at: AtomicU64::new(first),
            over: AtomicBool::new(false),
        });
        for _ in 0..threads {
            let (sampler, progress) = (Arc::clone(sampler), Arc::clone(&progress));
            thread::spawn(move || make_cases(&sampler, first, &progress));
        }
        Self {
            lanes,
            next: 0,
            ended: false,
            progress,
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.progress.over.store(true, Ordering::Relaxed);
    }
}

/// Makes the cases of patches `first` and later that nobody has begun, each by half a generation of cases before its first patch.
fn make_cases(sampler: &Sampler, first: u64, progress: &Progress) {
    let alive = sampler.config().cases_alive as u64;
    let ahead = (alive * sampler.config().patches_per_case as u64).div_ceil(2);
    loop {
        let counter = progress.looked_at.fetch_add(1, Ordering::Relaxed);
        let case = sampler.case_of(counter);
        if counter >= first + alive && counter != sampler.first_patch_of(case) {
            continue;
        }
        while counter > progress.wanted.load(Ordering::Relaxed) + ahead {
            if progress.over.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(NAP);
        }
        // A thread that makes patches meets the same error, and tells.
        if progress.over.load(Ordering::Relaxed) || sampler.case(case).is_err() {
            return;
        }
    }
}

/// Makes patches until nobody wants them or one fails.
fn make(
    sampler: &Sampler,
    counters: impl Iterator<Item = u64>,
    sender: &SyncSender<Result<Patch, SamplerError>>,
) {
    for counter in counters {
        let patch = sampler.next_patch(counter);
        let failed = patch.is_err();
        if sender.send(patch).is_err() || failed {
            return;
        }
    }
}

impl Iterator for Ahead {
    type Item = Result<Patch, SamplerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let lane = self.next;
        self.next = (lane + 1) % self.lanes.len();
        let patch = self.lanes.get(lane)?.recv().ok();
        self.progress.wanted.fetch_add(1, Ordering::Relaxed);
        self.ended = !matches!(patch, Some(Ok(_)));
        patch
    }
}
