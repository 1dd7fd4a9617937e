//! What of the state goes into the address, and what an address asks for.

use super::{Drawing, Effect, Sample, State, Study};
use crate::volume::components::Connectivity;
use crate::web::app::address::StudyLink;
use crate::web::messages::{EngineChoice, EngineKind};

/// The settings of a view that another person's page can take over. Holds nothing of a person's own scans.
///
/// What is absent is left as it is when the link is followed.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Link {
    /// Sample to open.
    pub sample: Option<Sample>,
    /// Segment it, too.
    pub result: bool,
    /// Folder of the network below `models/`.
    pub network: Option<String>,
    /// Overlap of neighbouring patches: 0, 0.5 or 0.75.
    pub overlap: Option<f64>,
    /// Voting window.
    pub window: Option<String>,
    /// Patch side in voxels.
    pub patch: Option<usize>,
    /// Average over rotations.
    pub rotations: bool,
    /// Do not weigh the result by brightness.
    pub any_brightness: bool,
    /// Threshold of the mask.
    pub threshold: Option<f32>,
    /// Smallest lesion kept, in cubic millimetres.
    pub min_lesion_mm3: Option<f64>,
    /// Which voxels belong to one lesion.
    pub connectivity: Option<Connectivity>,
    /// Engine that was asked for by name.
    pub engine: Option<EngineKind>,
}

/// What a link asked for that waits for something.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Wanted {
    /// Segment as soon as the sample is open.
    run: bool,
    /// Run this study instead.
    study: Option<Drawing>,
    /// Network that is not known yet.
    network: Option<String>,
    /// A threshold that the network's own recommendation must not replace.
    pub(super) threshold: Option<f32>,
}

const FOLDER: &str = "models/";

impl State {
    /// The link to what is on screen; settings that are as they come are left out.
    #[must_use]
    pub fn link(&self) -> Link {
        let normal = Self::default();
        let model = self.models.iter().find(|model| model.path == self.settings.model);
        let recommended = model
            .and_then(|model| model.threshold)
            .unwrap_or(normal.cut.threshold);
        let first = self.models.first().map(|model| &model.path);
        let name = self.settings.model.strip_prefix(FOLDER);
        Link {
            sample: self.shown_sample,
            result: self.shown_sample.is_some() && self.outcome().is_some(),
            network: name
                .filter(|_| first != Some(&self.settings.model))
                .map(str::to_owned),
            overlap: (self.settings.overlap != normal.settings.overlap).then_some(self.settings.overlap),
            window: (self.settings.window != normal.settings.window).then(|| self.settings.window.clone()),
            patch: self.settings.patch,
            rotations: self.settings.rotations,
            any_brightness: !self.settings.hyperintensity,
            threshold: (self.cut.threshold != recommended).then_some(self.cut.threshold),
            min_lesion_mm3: (self.cut.min_lesion_mm3 != normal.cut.min_lesion_mm3)
                .then_some(self.cut.min_lesion_mm3),
            connectivity: (self.cut.connectivity != normal.cut.connectivity).then_some(self.cut.connectivity),
            // Another person's machine has another GPU; only who chose an engine himself keeps it in his link.
            engine: match self.settings.engine {
                EngineChoice::Use(engine) => Some(engine),
                EngineChoice::Auto => None,
            },
        }
    }

    /// Takes over what a link asks for.
    pub(super) fn follow(&mut self, link: Link) -> Vec<Effect> {
        let settings = &mut self.settings;
        settings.overlap = link.overlap.unwrap_or(settings.overlap);
        settings.window = link.window.unwrap_or_else(|| settings.window.clone());
        settings.patch = link.patch.or(settings.patch);
        settings.rotations |= link.rotations;
        settings.hyperintensity &= !link.any_brightness;
        if let Some(engine) = link.engine {
            settings.engine = EngineChoice::Use(engine);
        }
        self.cut.connectivity = link.connectivity.unwrap_or(self.cut.connectivity);
        self.cut.min_lesion_mm3 = link.min_lesion_mm3.unwrap_or(self.cut.min_lesion_mm3);
        self.cut.threshold = link.threshold.unwrap_or(self.cut.threshold);
        self.wanted = Wanted {
            run: link.result && link.sample.is_some(),
            study: None,
            network: link.network.map(|name| format!("{FOLDER}{name}")),
            threshold: link.threshold,
        };
        let mut effects = vec![Effect::Restyle];
        if self.wanted.network.is_some()
            && let Some(path) = self.first_model()
        {
            effects.extend(self.choose_model(path));
        }
        match link.sample {
            Some(sample) if self.shown_sample != Some(sample) => {
                self.sample = sample;
                effects.extend(self.open_sample());
            }
            _ => {
                effects.extend(self.ask_plan());
                effects.extend(self.ask_cut());
            }
        }
        effects
    }

    /// The person does something else than the link asked for.
    pub(super) fn forget_link(&mut self) {
        self.wanted = Wanted::default();
    }

    /// The network to use: what a link asked for, if there is such a one, else the recommended one.
    pub(super) fn first_model(&mut self) -> Option<String> {
        let known = |path: &String| self.models.iter().any(|model| model.path == *path);
        let linked = self.wanted.network.clone().filter(known);
        if !self.models.is_empty() {
            self.wanted.network = None;
        }
        linked.or_else(|| self.models.first().map(|model| model.path.clone()))
    }

    /// Starts the run that a link asked for, once everything is there.
    pub(super) fn run_as_linked(&mut self) -> Vec<Effect> {
        if !self.wanted.run || self.fetching || !self.can_segment() {
            return Vec::new();
        }
        self.wanted.run = false;
        match self.wanted.study {
            Some(Drawing::Family) => self.run_family(),
            Some(Drawing::Fusion) => self.run_windows(),
            _ => self.segment(),
        }
    }

    /// The link to a study that is on screen.
    #[must_use]
    pub fn study_link(&self, drawing: Drawing) -> StudyLink {
        let (normal, study) = (Study::default(), &self.study);
        let done = match drawing {
            Drawing::Family => !study.members.is_empty(),
            _ => study.fused,
        };
        let family = drawing == Drawing::Family;
        StudyLink {
            link: Link {
                result: self.shown_sample.is_some() && done,
                ..self.link()
            },
            member: (family && study.member != normal.member).then_some(study.member),
            with: (family && study.with != normal.with).then_some(study.with),
            layer: (!family && study.layer != normal.layer).then_some(study.layer),
            drawn: (!family && study.window != normal.window).then_some(study.window),
        }
    }

    /// Takes over what a link to a study asks for.
    pub(super) fn follow_study(&mut self, drawing: Drawing, to: StudyLink) -> Vec<Effect> {
        let study = &mut self.study;
        study.member = to.member.unwrap_or(study.member);
        study.with = to.with.unwrap_or(study.with);
        study.layer = to.layer.unwrap_or(study.layer);
        study.window = to.drawn.unwrap_or(study.window);
        let known = match drawing {
            Drawing::Family => !study.members.is_empty(),
            _ => study.fused,
        };
        let run =
            to.link.result && to.link.sample.is_some() && !(known && self.shown_sample == to.link.sample);
        let mut effects = self.follow(to.link);
        self.wanted.run = run;
        self.wanted.study = Some(drawing);
        effects.extend(self.ask_look());
        effects
    }
}
