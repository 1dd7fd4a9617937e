//! What threads share: an output that each writes its own part of, and a scratch that each keeps.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::thread::LocalKey;

/// An output that several threads write, each its own places.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    holds: PhantomData<&'a mut [f32]>,
}

// SAFETY: `write` asks its callers to keep to places that are theirs alone.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(super) fn new(values: &'a mut [f32]) -> Self {
        Self {
            start: values.as_mut_ptr(),
            len: values.len(),
            holds: PhantomData,
        }
    }

    /// The `n` places from `at` on.
    ///
    /// # Safety
    /// No other thread may write or read these places while they are lent, nor may they be lent twice at a time.
    pub(super) unsafe fn part(&self, at: usize, n: usize) -> &'a mut [f32] {
        assert!(at + n <= self.len, "{n} values at {at} of {}", self.len);
        // SAFETY: the places exist, and are the caller's alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), n) }
    }

    /// Where place `at` is, with `n` places from there on, not all of which need be the caller's.
    pub(super) fn places(&self, at: usize, n: usize) -> *mut f32 {
        assert!(at + n <= self.len, "{n} places at {at} of {}", self.len);
        // SAFETY: the place exists.
        unsafe { self.start.add(at) }
    }

    /// Writes values from place `at` on.
    ///
    /// # Safety
    /// No other thread may write or read these places meanwhile.
    pub(super) unsafe fn write(&self, at: usize, values: &[f32]) {
        assert!(
            at + values.len() <= self.len,
            "{} values at {at} of {}",
            values.len(),
            self.len
        );
        // SAFETY: the places exist, and are the caller's alone.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(at), values.len()) };
    }
}

thread_local! {
    static SHORT: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    static LONG: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends `n` values of anything that this thread keeps, so that temporaries are neither allocated nor cleared each time.
/// For the work of one thread on one chunk.
pub(super) fn scratch<T>(n: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    lend(&SHORT, n, work)
}

/// The same for what all threads read during one operator.
pub(super) fn long_scratch<T>(n: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    lend(&LONG, n, work)
}

fn lend<T>(kept: &'static LocalKey<RefCell<Vec<f32>>>, n: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    kept.with(|kept| match kept.try_borrow_mut() {
        Ok(mut kept) => {
            if kept.len() < n {
                kept.resize(n, 0.0);
            }
            work(&mut kept[..n])
        }
        // A thread that waits for others may be given another operator's work meanwhile.
        Err(_) => work(&mut vec![0.0; n]),
    })
}
