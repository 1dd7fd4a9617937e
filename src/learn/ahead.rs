//! Patches made ahead on other threads, in order.

use super::augment::patch::Patch;
use super::sampler::{Sampler, SamplerError};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Patches `first`, `first + 1`, ... of a sampler, made by a few threads while the consumer is busy.
///
/// Which thread makes a patch changes nothing in it. The threads end when this iterator is dropped, or after an error, which is
/// the iterator's last item.
#[derive(Debug)]
pub struct Ahead {
    lanes: Vec<Receiver<Result<Patch, SamplerError>>>,
    next: usize,
    ended: bool,
}

impl Ahead {
    /// Starts `threads` threads (at least one), each of which keeps up to `depth` patches ready.
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
        Self {
            lanes,
            next: 0,
            ended: false,
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
        self.ended = !matches!(patch, Some(Ok(_)));
        patch
    }
}
