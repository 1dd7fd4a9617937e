//! The reference mask: neither part of the case nor of the run, so it comes and goes while both stay.

use std::rc::Rc;

use super::{Display, Effect, FileCard, Input, Outcome, Run, State};
use crate::pipeline::{Comparison, Verdict};
use crate::web::messages::{ScanInfo, ToDesk};

impl Outcome {
    /// What each lesion of the newest mask is; empty while that mask was not compared yet, or without a reference.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        let (Some(mask), Some(comparison)) = (&self.mask, &self.comparison) else {
            return &[];
        };
        let of = &comparison.evaluation.settings;
        let same = of.threshold == mask.threshold
            && of.min_lesion_mm3 == mask.min_lesion_mm3
            && of.connectivity == mask.connectivity
            && comparison.verdicts.len() == mask.lesions.len();
        if same { &comparison.verdicts } else { &[] }
    }
}

impl State {
    pub(super) fn open_reference(&mut self, file: FileCard) -> Vec<Effect> {
        let mut effects = self.end_comparison();
        self.references += 1;
        let (number, id) = (self.references, file.id);
        self.reference = Input::Reading { file, case: number };
        effects.push(Effect::Send {
            case: self.case,
            message: ToDesk::Reference { number },
            file: Some(id),
        });
        effects.push(self.keep_files());
        effects
    }

    /// Gives a new desk what the one before had.
    pub(super) fn reopen_reference(&mut self) -> Vec<Effect> {
        match std::mem::take(&mut self.reference) {
            Input::Reading { file, .. } | Input::Open { file, .. } => self.open_reference(file),
            other => {
                self.reference = other;
                Vec::new()
            }
        }
    }

    /// The caller keeps the files that are still needed: a new scan's may not be an input yet.
    pub(super) fn remove_reference(&mut self) -> Vec<Effect> {
        if matches!(self.reference, Input::Empty) {
            return Vec::new();
        }
        self.reference = Input::Empty;
        let mut effects = self.end_comparison();
        effects.push(self.send(ToDesk::ClearReference));
        effects
    }

    /// Forgets the comparison with the reference as it was.
    fn end_comparison(&mut self) -> Vec<Effect> {
        if let Run::Done(outcome) = &mut self.run {
            outcome.comparison = None;
        }
        if self.look.display == Display::Comparison {
            self.look.display = Display::Mask;
            return vec![Effect::Restyle];
        }
        Vec::new()
    }

    fn awaits_reference(&self, number: u32) -> bool {
        matches!(self.reference, Input::Reading { case, .. } if case == number)
    }

    pub(super) fn reference_opened(&mut self, number: u32, info: ScanInfo) -> Vec<Effect> {
        if self.awaits_reference(number)
            && let Some(file) = self.reference.file().cloned()
        {
            self.reference = Input::Open { file, info };
        }
        Vec::new()
    }

    pub(super) fn reference_refused(&mut self, number: u32, problem: String) -> Vec<Effect> {
        if !self.awaits_reference(number) {
            return Vec::new();
        }
        let name = self
            .reference
            .file()
            .map(|file| file.name.clone())
            .unwrap_or_default();
        self.reference = Input::Refused { name, problem };
        vec![self.keep_files()]
    }

    pub(super) fn compared(&mut self, comparison: Comparison) -> Vec<Effect> {
        let known = self.reference.is_open();
        let Run::Done(outcome) = &mut self.run else {
            return Vec::new();
        };
        if !known {
            return Vec::new();
        }
        let first = outcome.comparison.is_none();
        outcome.comparison = Some(Rc::new(comparison));
        let mut effects = vec![Effect::ShowComparison];
        // Who brings a reference wants to see where the two differ.
        if first && self.look.display == Display::Mask {
            self.look.display = Display::Comparison;
            effects.push(Effect::Restyle);
        }
        effects
    }
}
