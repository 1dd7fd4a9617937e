//! What the desk says.

use std::rc::Rc;

use super::{Desk, Drawing, Effect, Input, NoticeKind, Outcome, Planning, Run, State, StudyRun};
use crate::web::messages::{EngineKind, FromDesk, MaskSummary, Progress, ScanInfo, Slot};

impl State {
    /// Hears the desk; what answers an earlier case is dropped.
    pub(super) fn hear(&mut self, case: Option<u32>, message: FromDesk) -> Vec<Effect> {
        match message {
            FromDesk::Ready => {
                self.desk = Desk::Ready;
                self.ask_plan()
            }
            FromDesk::Opened { slot, info } => self.opened(case, slot, info),
            FromDesk::Refused { slot, problem } => self.refused(case, slot, problem),
            FromDesk::ReferenceOpened { number, info } => self.reference_opened(number, info),
            FromDesk::ReferenceRefused { number, problem } => self.reference_refused(number, problem),
            _ if case.is_some_and(|case| case != self.case) => Vec::new(),
            FromDesk::Planned(plan) => {
                self.plan = Planning::Known(plan);
                // The tiles may lie elsewhere now.
                if self.study.drawing == Some(Drawing::Fusion) {
                    return self.ask_look();
                }
                Vec::new()
            }
            FromDesk::Progress(now) => self.progressed(now),
            FromDesk::EngineChanged { engine, why } => {
                let name = match engine {
                    EngineKind::Cpu => "CPU",
                    EngineKind::WebGpu => "WebGPU",
                };
                self.notices.add(
                    NoticeKind::Warning,
                    format!("The engine was changed to {name}: {why}"),
                );
                Vec::new()
            }
            FromDesk::Segmented {
                plan,
                seconds,
                notes,
                t1_laid,
            } => {
                if !self.is_running() {
                    return Vec::new();
                }
                self.deaths = 0;
                // What was estimated is now known.
                self.plan = Planning::None;
                self.run = Run::Done(Outcome {
                    plan,
                    seconds,
                    notes,
                    t1_laid,
                    mask: None,
                    comparison: None,
                    asked: None,
                    waiting: true,
                });
                let mut effects = vec![Effect::ShowProbability];
                // A T1 on show moves to where it was laid.
                if let (Some(_), Input::Open { file, .. }) = (self.laid(), &self.t1) {
                    effects.insert(0, Effect::ShowScan(file.id));
                }
                effects
            }
            FromDesk::Mask(summary) => self.masked(summary),
            FromDesk::Compared(comparison) => self.compared(*comparison),
            FromDesk::HandedOver { name } => vec![Effect::HandToTraining(name)],
            // Taken by the page itself.
            FromDesk::Tune(_) => Vec::new(),
            FromDesk::Fused | FromDesk::Family(_) | FromDesk::Seen(_) | FromDesk::Unseen => {
                self.hear_of_study(message)
            }
            FromDesk::Printable { report, seen } => vec![Effect::Print(Rc::new(*report), Rc::new(*seen))],
            FromDesk::Saved { name } if self.is_for_batch(&name) => vec![Effect::CollectLine],
            FromDesk::Saved { name } => vec![Effect::Download(name)],
            FromDesk::Cancelled => {
                if self.is_running() {
                    self.run = Run::Cancelled;
                }
                self.study.run = StudyRun::Idle;
                self.ask_lost_plan()
            }
            FromDesk::Failed { problem } => self.failed(problem),
        }
    }

    /// True if the desk's word is about the file that this input waits for.
    fn awaits(&self, case: Option<u32>, slot: Slot) -> bool {
        matches!(self.input(slot), Input::Reading { case: own, .. } if case.is_none_or(|case| case == *own))
    }

    fn opened(&mut self, case: Option<u32>, slot: Slot, info: ScanInfo) -> Vec<Effect> {
        if !self.awaits(case, slot) {
            return Vec::new();
        }
        let Some(file) = self.input(slot).file().cloned() else {
            return Vec::new();
        };
        self.deaths = 0;
        let id = file.id;
        *self.input_mut(slot) = Input::Open { file, info };
        let mut effects = Vec::new();
        if slot == Slot::Flair || self.look.image == slot {
            self.look.image = slot;
            effects.push(Effect::ShowScan(id));
        }
        effects.extend(self.ask_plan());
        effects
    }

    fn refused(&mut self, case: Option<u32>, slot: Slot, problem: String) -> Vec<Effect> {
        if !self.awaits(case, slot) {
            return Vec::new();
        }
        let name = self
            .input(slot)
            .file()
            .map(|file| file.name.clone())
            .unwrap_or_default();
        *self.input_mut(slot) = Input::Refused { name, problem };
        let mut effects = self.show_remaining(slot);
        effects.push(self.keep_files());
        effects.extend(self.ask_plan());
        effects
    }

    fn progressed(&mut self, now: Progress) -> Vec<Effect> {
        if let Run::Running { progress, .. } = &mut self.run {
            *progress = Some(now);
        } else if let StudyRun::Running { progress, .. } = &mut self.study.run {
            *progress = Some(now);
        }
        Vec::new()
    }

    fn masked(&mut self, summary: MaskSummary) -> Vec<Effect> {
        let cut = self.cut;
        let Run::Done(outcome) = &mut self.run else {
            return Vec::new();
        };
        outcome.waiting = false;
        // The desk's own first cut may be what is wanted.
        if outcome.asked.is_none()
            && summary.threshold == cut.threshold
            && summary.min_lesion_mm3 == cut.min_lesion_mm3
            && summary.connectivity == cut.connectivity
        {
            outcome.asked = Some(cut);
        }
        outcome.mask = Some(Rc::new(summary));
        let mut effects = vec![Effect::ShowMask];
        effects.extend(self.ask_cut());
        effects
    }

    fn failed(&mut self, problem: String) -> Vec<Effect> {
        match &mut self.run {
            Run::Running { .. } => self.run = Run::Failed,
            Run::Done(outcome) if outcome.mask.is_none() => self.run = Run::Failed,
            // A later cut or a save failed: what is on screen stays.
            Run::Done(outcome) => outcome.waiting = false,
            Run::Idle | Run::Cancelled | Run::Failed => {}
        }
        self.study_failed();
        if self.plan == Planning::Asked {
            self.plan = Planning::None;
        }
        self.error(problem);
        Vec::new()
    }
}
