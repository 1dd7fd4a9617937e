//! What a person does.

use super::{
    Action, Cut, Desk, Display, Drawing, Effect, FileCard, Input, NoticeKind, Pen, Planning, Run, State,
    Window,
};
use crate::web::messages::finetune::KEPT;
use crate::web::messages::{Slot, ToDesk};

/// The desk may die so often in a row before the page stops starting it again.
const MOST_DEATHS: u32 = 3;

impl State {
    /// Takes one step.
    #[must_use = "the page must carry out the effects"]
    pub fn step(&mut self, action: Action) -> Vec<Effect> {
        let mut effects = self.take(action);
        effects.extend(self.run_as_linked());
        effects.extend(self.advance_batch());
        effects
    }

    fn take(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Picked(files) => {
                self.fetching = false;
                self.forget_link();
                self.end_batch();
                self.pick(files)
            }
            Action::Follow(link) => self.follow(link),
            Action::FollowStudy(drawing, link) => self.follow_study(drawing, link),
            Action::Batch(action) => self.batch(action),
            Action::Remove(slot) => {
                self.end_batch();
                self.remove(slot)
            }
            Action::ChooseSample(sample) => {
                self.sample = sample;
                Vec::new()
            }
            Action::PickedReference(file) => self.open_reference(file),
            Action::RemoveReference => {
                let mut effects = self.remove_reference();
                effects.push(self.keep_files());
                effects
            }
            Action::OpenSampleReference => {
                let sample = self.shown_sample;
                sample.map(Effect::FetchReference).into_iter().collect()
            }
            Action::GoTo(place) => vec![Effect::GoTo(place)],
            Action::Connect(connectivity) => {
                self.cut.connectivity = connectivity;
                self.recut()
            }
            Action::OpenSample => {
                self.forget_link();
                self.open_sample()
            }
            // A file that the person chose meanwhile wins.
            Action::SampleArrived(sample, files) if self.fetching && sample == self.sample => {
                self.fetching = false;
                self.end_batch();
                let effects = self.pick(files);
                self.shown_sample = Some(sample);
                effects
            }
            Action::SampleArrived(..) => Vec::new(),
            Action::SampleFailed(problem) => {
                self.fetching = false;
                self.error(format!("The sample could not be fetched: {problem}"));
                Vec::new()
            }
            Action::KeptFound(kept) => {
                self.models.retain(|model| !model.path.starts_with(KEPT));
                self.models.extend(kept);
                let gone = self.models.iter().all(|model| model.path != self.settings.model);
                match self.first_model() {
                    // A kept network that was deleted.
                    Some(path) if gone && self.settings.model.starts_with(KEPT) => self.choose_model(path),
                    _ => Vec::new(),
                }
            }
            Action::UseForTraining if self.outcome().is_some() => vec![self.send(ToDesk::HandOver)],
            Action::UseForTraining => Vec::new(),
            Action::StartCorrecting => self.start_correcting(),
            Action::DrawWith(pen) if self.correcting.is_some() => {
                self.correcting = Some(pen);
                vec![Effect::DrawWith]
            }
            Action::UndoStroke if self.correcting.is_some() => vec![Effect::UndoStroke],
            Action::EndCorrecting(keep) if self.correcting.take().is_some() => vec![Effect::EndDrawing(keep)],
            Action::DrawWith(_) | Action::UndoStroke | Action::EndCorrecting(_) => Vec::new(),
            Action::Corrected if self.outcome().is_some() => vec![Effect::SendDrawn { case: self.case }],
            Action::Corrected => Vec::new(),
            Action::ModelsFound(models) => {
                // The kept ones may have been found first.
                let kept: Vec<_> = self.models.drain(..).collect();
                self.models = models;
                self.models.extend(kept);
                match self.first_model() {
                    Some(path) if self.settings.model.is_empty() => self.choose_model(path),
                    _ => Vec::new(),
                }
            }
            Action::ChooseModel(path) => self.choose_model(path),
            Action::ChooseEngine(engine) => {
                self.settings.engine = engine;
                self.ask_plan()
            }
            Action::ChooseOverlap(overlap) => {
                self.settings.overlap = overlap;
                self.ask_plan()
            }
            Action::ChooseVoting(window) => {
                self.settings.window = window;
                self.ask_plan()
            }
            Action::ChoosePatch(patch) => {
                self.settings.patch = patch;
                self.ask_plan()
            }
            Action::ChooseRotations(rotations) => {
                self.settings.rotations = rotations;
                self.ask_plan()
            }
            Action::ChooseHyperintensity(hyperintensity) => {
                self.settings.hyperintensity = hyperintensity;
                self.ask_plan()
            }
            Action::Segment => self.segment(),
            Action::Cancel => self.cancel(),
            Action::Save(product) if self.outcome().is_some() => vec![self.send(ToDesk::Save(product))],
            Action::Print if self.outcome().is_some() => vec![self.send(ToDesk::Print)],
            Action::Save(_) | Action::Print => Vec::new(),
            Action::Threshold(threshold) => {
                self.cut.threshold = threshold.clamp(0.0, 1.0);
                self.wanted.threshold = None;
                let mut effects = vec![Effect::Restyle];
                effects.extend(self.recut());
                effects
            }
            Action::MinLesion(mm3) => {
                self.cut.min_lesion_mm3 = mm3.max(0.0);
                self.recut()
            }
            Action::Study(action) => self.study(action),
            Action::Show(display) => {
                self.look.display = display;
                vec![Effect::Restyle]
            }
            Action::Opacity(opacity) => {
                self.look.opacity = opacity.clamp(0.0, 1.0);
                // Moving the slider asks to see something.
                if self.look.display == Display::None && opacity > 0.0 {
                    self.look.display = Display::Mask;
                }
                vec![Effect::Restyle]
            }
            Action::Arrange(layout) => {
                self.look.layout = layout;
                vec![Effect::Rearrange]
            }
            Action::Radiological(radiological) => {
                self.look.radiological = radiological;
                vec![Effect::Rearrange]
            }
            Action::SetWindow(window) => self.set_window(window),
            Action::ShowImage(slot) => match self.input(slot) {
                Input::Open { file, .. } if self.look.image != slot => {
                    let id = file.id;
                    self.look.image = slot;
                    vec![Effect::ShowScan(id)]
                }
                _ => Vec::new(),
            },
            Action::ViewerShows(window) => {
                self.look.window = Some(window);
                self.look.full_window = Some(window);
                self.look.broken = None;
                Vec::new()
            }
            Action::ViewerWindowed(window) => {
                // The viewer rounds to float32, so hearing oneself must not count as a change.
                if let Some(now) = &mut self.look.window
                    && (now.low as f32 != window.low as f32 || now.high as f32 != window.high as f32)
                {
                    *now = window;
                }
                Vec::new()
            }
            Action::ViewerFailed(problem) => {
                self.look.broken = Some(problem);
                Vec::new()
            }
            Action::Desk { case, message } => self.hear(case, message),
            Action::DeskDied(why) => self.bury_desk(&why),
            Action::ChannelFailed(problem) => {
                self.error(format!("The page lost a message ({problem}). Please reload it."));
                Vec::new()
            }
            Action::Dismiss(id) => {
                self.notices.dismiss(id);
                Vec::new()
            }
        }
    }

    /// A message for the desk under the present case.
    pub(super) fn send(&self, message: ToDesk) -> Effect {
        Effect::Send {
            case: self.case,
            message,
            file: None,
        }
    }

    pub(super) fn error(&mut self, text: impl Into<String>) {
        self.notices.add(NoticeKind::Error, text);
    }

    pub(super) fn input_mut(&mut self, slot: Slot) -> &mut Input {
        match slot {
            Slot::Flair => &mut self.flair,
            Slot::T1 => &mut self.t1,
        }
    }

    pub(super) fn pick(&mut self, files: Vec<(Slot, FileCard)>) -> Vec<Effect> {
        if files.is_empty() {
            return Vec::new();
        }
        self.notices.clear();
        self.shown_sample = None;
        let mut effects = self.end_result();
        // Another patient's FLAIR must not meet the last one's T1.
        let new_flair = files.iter().any(|(slot, _)| *slot == Slot::Flair);
        if new_flair {
            effects.extend(self.remove_reference());
        }
        if new_flair && self.flair.file().is_some() && self.t1.file().is_some() {
            effects.extend(self.forget(Slot::T1));
            if files.iter().all(|(slot, _)| *slot != Slot::T1) {
                self.notices.add(
                    NoticeKind::Warning,
                    "The T1 belonged to the scan before and was removed; choose this scan's own T1 if there is one.",
                );
            }
        }
        for (slot, file) in files {
            effects.push(self.open(slot, file));
        }
        effects.push(self.keep_files());
        effects
    }

    /// Hands a file to the desk under a new case.
    fn open(&mut self, slot: Slot, file: FileCard) -> Effect {
        self.case += 1;
        let case = self.case;
        let id = file.id;
        *self.input_mut(slot) = Input::Reading { file, case };
        self.plan = Planning::None;
        self.study.reset();
        Effect::Send {
            case,
            message: ToDesk::Open { slot },
            file: Some(id),
        }
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Vec<Effect> {
        if matches!(self.input(slot), Input::Empty) {
            return Vec::new();
        }
        self.forget_link();
        self.shown_sample = None;
        let mut effects = self.end_result();
        if slot == Slot::Flair {
            effects.extend(self.remove_reference());
        }
        effects.extend(self.forget(slot));
        effects.push(self.keep_files());
        effects.extend(self.ask_plan());
        effects
    }

    /// Empties an input, on the desk and in the viewer.
    fn forget(&mut self, slot: Slot) -> Vec<Effect> {
        *self.input_mut(slot) = Input::Empty;
        self.plan = Planning::None;
        self.study.reset();
        self.case += 1;
        let mut effects = vec![self.send(ToDesk::Clear { slot })];
        effects.extend(self.show_remaining(slot));
        effects
    }

    /// Keeps the viewer in step when `slot` has no scan any more.
    pub(super) fn show_remaining(&mut self, slot: Slot) -> Vec<Effect> {
        if self.look.image != slot {
            return Vec::new();
        }
        self.look.image = Slot::Flair;
        self.look.window = None;
        match (slot, &self.flair) {
            (Slot::T1, Input::Open { file, .. }) => vec![Effect::ShowScan(file.id)],
            _ => vec![Effect::ClearViewer],
        }
    }

    /// Puts the mask under the pen; the FLAIR, whose mask it is, must be on show for that.
    fn start_correcting(&mut self) -> Vec<Effect> {
        if self.outcome().is_none_or(|outcome| outcome.mask.is_none()) {
            return Vec::new();
        }
        self.correcting = Some(Pen::default());
        let mut effects = Vec::new();
        if let (Slot::T1, Input::Open { file, .. }) = (self.look.image, &self.flair) {
            effects.push(Effect::ShowScan(file.id));
            self.look.image = Slot::Flair;
        }
        effects.extend([Effect::StartDrawing, Effect::DrawWith]);
        effects
    }

    /// Ends what belongs to the inputs as they were.
    fn end_result(&mut self) -> Vec<Effect> {
        self.correcting = None;
        match std::mem::take(&mut self.run) {
            Run::Running { .. } => vec![self.send(ToDesk::Cancel)],
            Run::Done(_) => vec![Effect::ClearOverlay],
            Run::Idle | Run::Cancelled | Run::Failed => Vec::new(),
        }
    }

    pub(super) fn keep_files(&self) -> Effect {
        let ids = [&self.flair, &self.t1, &self.reference]
            .into_iter()
            .filter_map(|input| input.file().map(|file| file.id));
        Effect::KeepFiles(ids.chain(self.batch.files()).collect())
    }

    pub(super) fn open_sample(&mut self) -> Vec<Effect> {
        self.fetching = true;
        vec![Effect::FetchSample(self.sample)]
    }

    pub(super) fn choose_model(&mut self, path: String) -> Vec<Effect> {
        if let Some(threshold) = self
            .models
            .iter()
            .find(|model| model.path == path)
            .and_then(|model| model.threshold)
            .filter(|_| self.wanted.threshold.is_none())
        {
            // A result that is on screen keeps the cut that it was made with.
            if self.outcome().is_none() {
                self.cut.threshold = threshold;
            }
        }
        self.settings.model = path;
        self.ask_plan()
    }

    /// Asks what a run would cost, when there is something to run.
    pub(super) fn ask_plan(&mut self) -> Vec<Effect> {
        if !self.can_segment() {
            return Vec::new();
        }
        self.plan = Planning::Asked;
        vec![self.send(ToDesk::Plan(self.settings.clone()))]
    }

    pub(super) fn segment(&mut self) -> Vec<Effect> {
        if !self.can_segment() {
            return Vec::new();
        }
        self.notices.clear();
        let mut effects = self.end_result();
        self.study.fused = false;
        self.run = Run::Running {
            progress: None,
            cancelling: false,
        };
        effects.push(self.send(ToDesk::Segment(self.settings.clone())));
        effects
    }

    pub(super) fn cancel(&mut self) -> Vec<Effect> {
        match &mut self.run {
            Run::Running { cancelling, .. } if !*cancelling => {
                *cancelling = true;
                vec![self.send(ToDesk::Cancel)]
            }
            _ => self.cancel_study(),
        }
    }

    /// Asks for the mask of the present cut; while one is on its way, only the last wish is kept.
    pub(super) fn ask_cut(&mut self) -> Vec<Effect> {
        let cut = self.cut;
        let Run::Done(outcome) = &mut self.run else {
            return Vec::new();
        };
        if outcome.waiting || outcome.asked == Some(cut) {
            return Vec::new();
        }
        outcome.waiting = true;
        outcome.asked = Some(cut);
        let Cut {
            threshold,
            min_lesion_mm3,
            connectivity,
        } = cut;
        vec![self.send(ToDesk::Cut {
            threshold,
            min_lesion_mm3,
            connectivity,
        })]
    }

    /// The cut has changed: everything that is made by it is asked for anew.
    fn recut(&mut self) -> Vec<Effect> {
        let mut effects = self.ask_cut();
        if self.study.drawing == Some(Drawing::Family) {
            effects.extend(self.ask_look());
        }
        effects
    }

    fn set_window(&mut self, window: Window) -> Vec<Effect> {
        if !(window.low.is_finite() && window.high.is_finite() && window.low < window.high) {
            return Vec::new();
        }
        self.look.window = Some(window);
        vec![Effect::Rewindow]
    }

    /// The desk died: start another, give it the scans again, and say what was lost.
    fn bury_desk(&mut self, why: &str) -> Vec<Effect> {
        self.deaths += 1;
        let was_starting = self.desk == Desk::Starting;
        let mut run = std::mem::take(&mut self.run);
        if self.study.is_running() {
            run = Run::Running {
                progress: None,
                cancelling: false,
            };
        }
        self.study.reset();
        self.plan = Planning::None;
        if self.deaths > MOST_DEATHS || self.desk == Desk::Gone {
            self.desk = Desk::Gone;
            self.error(format!(
                "The part of the page that does the work cannot run here ({why}). Reload the page."
            ));
            return vec![Effect::ClearOverlay];
        }
        self.desk = Desk::Starting;
        self.case += 1;
        let mut effects = vec![Effect::RestartDesk];
        match run {
            Run::Running { .. } => {
                self.run = Run::Failed;
                self.error(format!(
                    "The run stopped unexpectedly ({why}). If memory ran out, close other tabs or choose less \
                     overlap or a smaller patch, then press Segment again."
                ));
            }
            Run::Done(_) => {
                effects.push(Effect::ClearOverlay);
                self.error(format!(
                    "The result was lost ({why}). Press Segment to make it again."
                ));
            }
            Run::Idle | Run::Cancelled | Run::Failed if !was_starting => {
                self.error(format!(
                    "The part of the page that does the work was restarted ({why})."
                ));
            }
            Run::Idle | Run::Cancelled | Run::Failed => {}
        }
        for slot in [Slot::Flair, Slot::T1] {
            match std::mem::take(self.input_mut(slot)) {
                // It died over this file: do not feed it the same again.
                Input::Reading { file, .. } if !was_starting => {
                    *self.input_mut(slot) = Input::Refused {
                        name: file.name,
                        problem: format!(
                            "Reading this file stopped unexpectedly ({why}). If it is very large, close other tabs, \
                             or crop or down-sample it, and try again."
                        ),
                    };
                    effects.extend(self.show_remaining(slot));
                }
                Input::Reading { file, .. } | Input::Open { file, .. } => effects.push(self.open(slot, file)),
                other => *self.input_mut(slot) = other,
            }
        }
        effects.extend(self.reopen_reference());
        effects.push(self.keep_files());
        effects
    }
}
