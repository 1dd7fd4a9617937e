//! The messages that wait for the desk, less those that later ones make pointless.

use std::collections::VecDeque;

use crate::web::messages::{Slot, ToDesk};

/// What an arriving message means for the run in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// It ends: the person cancels, or its case changes under it.
    Stop,
}

/// Messages in order of arrival; `F` is what travels beside a message.
#[derive(Debug)]
pub struct Inbox<F> {
    queue: VecDeque<(ToDesk, F)>,
}

impl<F> Default for Inbox<F> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
        }
    }
}

impl<F> Inbox<F> {
    /// Takes a message in.
    ///
    /// Of several cuts, plans or looks that wait only the last is of use (a slider sends dozens a second); a change of the
    /// case or a cancel makes waiting runs pointless. [`ToDesk::Cancel`] itself waits in line only to be answered.
    pub fn put(&mut self, message: ToDesk, beside: F) -> Effect {
        let superseded = |old: &ToDesk| match &message {
            ToDesk::Cut { .. } => matches!(old, ToDesk::Cut { .. }),
            ToDesk::Plan(_) => matches!(old, ToDesk::Plan(_)),
            ToDesk::Segment(_) | ToDesk::Family { .. } | ToDesk::Cancel => runs(old),
            ToDesk::Open { slot } | ToDesk::Clear { slot } => runs(old) || opens(old) == Some(*slot),
            ToDesk::Look(_) => matches!(old, ToDesk::Look(_)),
            ToDesk::Reference { .. } | ToDesk::ClearReference => matches!(old, ToDesk::Reference { .. }),
            ToDesk::Save(_) | ToDesk::Print | ToDesk::HandOver | ToDesk::Correct | ToDesk::Tune(_) => false,
        };
        self.queue.retain(|(old, _)| !superseded(old));
        let effect = match &message {
            ToDesk::Cancel
            | ToDesk::Segment(_)
            | ToDesk::Family { .. }
            | ToDesk::Open { .. }
            | ToDesk::Clear { .. } => Effect::Stop,
            ToDesk::Cut { .. }
            | ToDesk::Plan(_)
            | ToDesk::Save(_)
            | ToDesk::Look(_)
            | ToDesk::Print
            | ToDesk::Reference { .. }
            | ToDesk::ClearReference
            | ToDesk::HandOver
            | ToDesk::Correct
            | ToDesk::Tune(_) => Effect::None,
        };
        self.queue.push_back((message, beside));
        effect
    }

    /// True if another cut waits, so that what follows from the present one would be thrown away.
    #[must_use]
    pub fn has_cut(&self) -> bool {
        self.queue
            .iter()
            .any(|(message, _)| matches!(message, ToDesk::Cut { .. }))
    }

    /// True if anything waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next message.
    pub fn take(&mut self) -> Option<(ToDesk, F)> {
        self.queue.pop_front()
    }
}

fn runs(message: &ToDesk) -> bool {
    matches!(message, ToDesk::Segment(_) | ToDesk::Family { .. })
}

fn opens(message: &ToDesk) -> Option<Slot> {
    match message {
        ToDesk::Open { slot } => Some(*slot),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::names::Output;
    use crate::volume::components::Connectivity;
    use crate::web::messages::{EngineChoice, SegmentSettings};

    fn settings(model: &str) -> SegmentSettings {
        SegmentSettings {
            model: model.into(),
            engine: EngineChoice::Auto,
            overlap: 0.5,
            window: "bspline".into(),
            patch: None,
            rotations: false,
            hyperintensity: true,
            compare_windows: false,
        }
    }

    fn left(messages: &[ToDesk]) -> Vec<ToDesk> {
        let mut inbox = Inbox::default();
        for message in messages {
            inbox.put(message.clone(), ());
        }
        std::iter::from_fn(|| inbox.take().map(|(m, ())| m)).collect()
    }

    fn cut(threshold: f32) -> ToDesk {
        ToDesk::Cut {
            threshold,
            min_lesion_mm3: 3.0,
            connectivity: Connectivity::Eighteen,
        }
    }

    #[test]
    fn only_the_last_of_many_cuts_and_plans_is_worked_on() {
        let plan = |m| ToDesk::Plan(settings(m));
        let save = ToDesk::Save(Output::Mask);
        assert_eq!(
            left(&[cut(0.1), plan("a"), save.clone(), cut(0.2), plan("b"), cut(0.3)]),
            [save, plan("b"), cut(0.3)]
        );
    }

    #[test]
    fn a_new_scan_replaces_the_one_that_waits_for_the_same_slot_only() {
        let open = |slot| ToDesk::Open { slot };
        assert_eq!(
            left(&[open(Slot::Flair), open(Slot::T1), open(Slot::Flair)]),
            [open(Slot::T1), open(Slot::Flair)]
        );
        assert_eq!(
            left(&[open(Slot::T1), ToDesk::Clear { slot: Slot::T1 }]),
            [ToDesk::Clear { slot: Slot::T1 }]
        );
    }

    #[test]
    fn a_reference_stops_nothing_and_only_the_last_is_read() {
        let reference = |number| ToDesk::Reference { number };
        let segment = ToDesk::Segment(settings("a"));
        assert_eq!(
            left(&[segment.clone(), reference(1), reference(2)]),
            [segment.clone(), reference(2)]
        );
        let mut inbox = Inbox::default();
        assert_eq!(inbox.put(reference(1), ()), Effect::None);
        assert!(!inbox.has_cut());
        inbox.put(cut(0.1), ());
        assert!(inbox.has_cut());
    }

    #[test]
    fn what_changes_the_case_stops_runs_and_what_reads_it_does_not() {
        let mut inbox = Inbox::default();
        let segment = ToDesk::Segment(settings("a"));
        assert_eq!(inbox.put(segment.clone(), ()), Effect::Stop);
        assert_eq!(inbox.put(cut(0.5), ()), Effect::None);
        assert_eq!(inbox.put(ToDesk::Save(Output::Mask), ()), Effect::None);
        assert_eq!(inbox.put(ToDesk::Plan(settings("a")), ()), Effect::None);
        assert_eq!(inbox.put(ToDesk::Open { slot: Slot::T1 }, ()), Effect::Stop);
        assert!(std::iter::from_fn(|| inbox.take()).all(|(m, ())| m != segment));
    }

    #[test]
    fn a_cancel_drops_waiting_runs_and_is_answered_in_turn() {
        let segment = ToDesk::Segment(settings("a"));
        assert_eq!(left(&[segment.clone(), ToDesk::Cancel]), [ToDesk::Cancel]);
        assert_eq!(
            left(&[ToDesk::Cancel, segment.clone()]),
            [ToDesk::Cancel, segment]
        );
    }
}
