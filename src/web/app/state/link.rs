//! What of the state goes into the address, and what an address asks for.

use super::{Effect, Sample, State};

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
    /// Threshold of the mask.
    pub threshold: Option<f32>,
    /// Smallest lesion kept, in cubic millimetres.
    pub min_lesion_mm3: Option<f64>,
}

/// What a link asked for that waits for something.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Wanted {
    /// Segment as soon as the sample is open.
    run: bool,
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
            threshold: (self.cut.threshold != recommended).then_some(self.cut.threshold),
            min_lesion_mm3: (self.cut.min_lesion_mm3 != normal.cut.min_lesion_mm3)
                .then_some(self.cut.min_lesion_mm3),
        }
    }

    /// Takes over what a link asks for.
    pub(super) fn follow(&mut self, link: Link) -> Vec<Effect> {
        let settings = &mut self.settings;
        settings.overlap = link.overlap.unwrap_or(settings.overlap);
        settings.window = link.window.unwrap_or_else(|| settings.window.clone());
        settings.patch = link.patch.or(settings.patch);
        settings.rotations |= link.rotations;
        self.cut.min_lesion_mm3 = link.min_lesion_mm3.unwrap_or(self.cut.min_lesion_mm3);
        self.cut.threshold = link.threshold.unwrap_or(self.cut.threshold);
        self.wanted = Wanted {
            run: link.result && link.sample.is_some(),
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
        self.segment()
    }
}
