//! "Explore" with a scan: a family of networks, and how patches are fused.

use std::rc::Rc;

use super::{Cut, Effect, Input, Run, State};
use crate::pipeline;
use crate::pipeline::fusion::Layer;
use crate::tiling::Window;
use crate::web::messages::{FromDesk, Progress, SegmentSettings, ToDesk};
use crate::web::studies::{FamilyLook, FusionLook, Kin, Look, MemberCurves, Seen, What};

/// Which drawing is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawing {
    /// A family of networks on the scan.
    Family,
    /// How patches are fused.
    Fusion,
    /// The newest mask, for the printed report.
    Result,
}

/// What a member is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Another member, by its place in the family.
    Member(usize),
    /// The reference mask.
    Reference,
}

/// What a person does here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StudyAction {
    /// This drawing came on the screen, or none.
    Show(Option<Drawing>),
    /// Run every network.
    RunFamily,
    /// Segment, and fuse by every window.
    RunWindows,
    /// Show this member.
    Member(usize),
    /// Compare it with this.
    With(With),
    /// Draw this layer.
    Layer(Layer),
    /// Draw it for this window.
    Window(Window),
    /// Look here, in world millimetres.
    Place([f64; 3]),
}

/// The run of a family.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum StudyRun {
    /// None, or it has ended well.
    #[default]
    Idle,
    /// The desk runs one network after the other.
    Running {
        /// Its last word on how far it is.
        progress: Option<Progress>,
        /// The person asked to stop.
        cancelling: bool,
    },
}

/// Everything that is known about the studies.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    /// What is on the screen.
    pub drawing: Option<Drawing>,
    /// The family's run.
    pub run: StudyRun,
    /// The family's curves, in the order of [`State::kin`]; empty before its run.
    pub members: Vec<MemberCurves>,
    /// The member on show.
    pub member: usize,
    /// What it is compared with.
    pub with: With,
    /// The newest result was fused by every window.
    pub fused: bool,
    /// The layer on show.
    pub layer: Layer,
    /// The window it is drawn for.
    pub window: Window,
    /// Where the person looks; `None`: where there is something to see.
    pub place: Option<[f64; 3]>,
    /// What was drawn last.
    pub seen: Option<Rc<Seen>>,
    /// A drawing is on its way, and whether another is wanted after it.
    waiting: Option<bool>,
}

impl Default for Study {
    fn default() -> Self {
        Self {
            drawing: None,
            run: StudyRun::Idle,
            members: Vec::new(),
            member: 0,
            with: With::Member(0),
            fused: false,
            layer: Layer::default(),
            window: Window::Bspline,
            place: None,
            seen: None,
            waiting: None,
        }
    }
}

impl Study {
    /// Forgets what belongs to the scan.
    pub(super) fn reset(&mut self) {
        *self = Self {
            drawing: self.drawing,
            member: self.member,
            layer: self.layer,
            window: self.window,
            ..Self::default()
        };
    }

    /// True while a family runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.run, StudyRun::Running { .. })
    }

    /// What was drawn, if it is of this kind.
    #[must_use]
    pub fn seen(&self, drawing: Drawing) -> Option<&Rc<Seen>> {
        self.seen
            .as_ref()
            .filter(|seen| drawing_of(&seen.look.what) == drawing)
    }
}

fn drawing_of(what: &What) -> Drawing {
    match what {
        What::Family(_) => Drawing::Family,
        What::Fusion(_) => Drawing::Fusion,
        What::Result => Drawing::Result,
    }
}

impl State {
    /// The shipped networks by rising beta; those whose card names none come last.
    #[must_use]
    pub fn kin(&self) -> Vec<Kin> {
        let mut kin: Vec<Kin> = self
            .models
            .iter()
            .map(|model| Kin {
                path: model.path.clone(),
                beta: model.card.beta,
            })
            .collect();
        let key = |of: &Kin| of.beta.unwrap_or(f64::INFINITY);
        kin.sort_by(|a, b| key(a).total_cmp(&key(b)));
        kin
    }

    pub(super) fn study(&mut self, action: StudyAction) -> Vec<Effect> {
        match action {
            StudyAction::Show(drawing) => {
                if self.study.drawing == drawing {
                    return Vec::new();
                }
                self.study.drawing = drawing;
            }
            StudyAction::RunFamily => return self.run_family(),
            StudyAction::RunWindows => return self.run_windows(),
            StudyAction::Member(member) => self.study.member = member,
            StudyAction::With(with) => self.study.with = with,
            StudyAction::Layer(layer) => self.study.layer = layer,
            StudyAction::Window(window) => self.study.window = window,
            StudyAction::Place(place) => self.study.place = Some(place),
        }
        self.ask_look()
    }

    pub(super) fn run_family(&mut self) -> Vec<Effect> {
        if !self.can_segment() {
            return Vec::new();
        }
        self.notices.clear();
        self.study.run = StudyRun::Running {
            progress: None,
            cancelling: false,
        };
        let settings = SegmentSettings {
            compare_windows: false,
            ..self.settings.clone()
        };
        let members = self.kin();
        vec![self.send(ToDesk::Family { settings, members })]
    }

    pub(super) fn run_windows(&mut self) -> Vec<Effect> {
        self.settings.compare_windows = true;
        let effects = self.segment();
        self.settings.compare_windows = false;
        effects
    }

    /// What the desk is to draw now, if anything can be.
    fn wanted_look(&self) -> Option<What> {
        let Cut {
            threshold,
            min_lesion_mm3,
            connectivity,
        } = self.cut;
        let cut = pipeline::Cut {
            threshold,
            min_lesion_mm3,
            connectivity,
        };
        match self.study.drawing? {
            Drawing::Family if !self.study.members.is_empty() => {
                let last = self.study.members.len() - 1;
                Some(What::Family(FamilyLook {
                    member: self.study.member.min(last),
                    with: match self.study.with {
                        With::Reference if self.reference.is_open() => None,
                        With::Reference => Some(0),
                        With::Member(at) => Some(at.min(last)),
                    },
                    cut,
                }))
            }
            Drawing::Fusion if self.flair.is_open() => Some(What::Fusion(FusionLook {
                patch: self.patch()?,
                overlap: self.settings.overlap,
                rotations: self.settings.rotations,
                window: self.study.window,
                layer: self.study.layer,
            })),
            Drawing::Result if self.outcome().is_some() => Some(What::Result),
            Drawing::Family | Drawing::Fusion | Drawing::Result => None,
        }
    }

    /// The patch that a run would take, or took.
    fn patch(&self) -> Option<usize> {
        let planned = match (&self.plan, &self.run) {
            (super::Planning::Known(plan), _) => Some(plan.patch),
            (_, Run::Done(outcome)) => Some(outcome.plan.patch),
            _ => None,
        };
        self.settings.patch.or(planned)
    }

    /// Asks for the drawing; while one is on its way, only the last wish is kept.
    pub(super) fn ask_look(&mut self) -> Vec<Effect> {
        let Some(what) = self.wanted_look() else {
            return Vec::new();
        };
        if let Some(again) = &mut self.study.waiting {
            *again = true;
            return Vec::new();
        }
        self.study.waiting = Some(false);
        let place = self.study.place.filter(|_| what != What::Result);
        vec![self.send(ToDesk::Look(Look { place, what }))]
    }

    /// Hears what the desk says about the studies.
    pub(super) fn hear_of_study(&mut self, message: FromDesk) -> Vec<Effect> {
        match message {
            FromDesk::Family(members) => {
                let first = self.study.members.is_empty();
                self.study.run = StudyRun::Idle;
                self.deaths = 0;
                self.study.members = members;
                if first {
                    self.study.with = if self.reference.is_open() {
                        With::Reference
                    } else {
                        // A network against itself shows nothing: begin with the ends of the family.
                        if self.study.member == 0 {
                            self.study.member = self.study.members.len().saturating_sub(1);
                        }
                        With::Member(0)
                    };
                }
                let mut effects = self.ask_look();
                effects.extend(self.ask_lost_plan());
                effects
            }
            FromDesk::Fused => {
                self.study.fused = true;
                self.study.layer = Layer::Disagreement;
                self.ask_look()
            }
            FromDesk::Seen(seen) => {
                let again = self.study.waiting.take().unwrap_or(false);
                self.study.seen = Some(Rc::new(*seen));
                let mut effects = vec![Effect::ShowPictures];
                if again {
                    effects.extend(self.ask_look());
                }
                effects
            }
            FromDesk::Unseen => {
                if self.study.waiting.take() == Some(true) {
                    return self.ask_look();
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// A run drops the plan that was asked for before it; after the run it is wanted again.
    pub(super) fn ask_lost_plan(&mut self) -> Vec<Effect> {
        if self.plan == super::Planning::Asked && self.outcome().is_none() {
            return self.ask_plan();
        }
        Vec::new()
    }

    /// A look or a family failed.
    pub(super) fn study_failed(&mut self) {
        self.study.waiting = None;
        self.study.run = StudyRun::Idle;
    }

    pub(super) fn cancel_study(&mut self) -> Vec<Effect> {
        match &mut self.study.run {
            StudyRun::Running { cancelling, .. } if !*cancelling => {
                *cancelling = true;
                vec![self.send(ToDesk::Cancel)]
            }
            _ => Vec::new(),
        }
    }

    /// True if there is a reference to compare with.
    #[must_use]
    pub fn has_reference(&self) -> bool {
        matches!(self.reference, Input::Open { .. })
    }
}
