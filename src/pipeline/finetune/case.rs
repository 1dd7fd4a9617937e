//! A case of one's own: what is trained on, and what results are scored against.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::learn::augment::patch::{self, Patch};
use crate::learn::augment::pose::{self, Pose, Poses};
use crate::learn::case::View;
use crate::learn::config::{PatchAugmentation, Selection};
use crate::learn::random::{self, Purpose};
use crate::learn::sampler::choose_origin;
use crate::pipeline::cohort::Checked;
use crate::pipeline::{Head, Prepared, Reference};
use crate::volume::nifti::Header;
use crate::volume::{Volume, VolumeError};

/// Every so many voxels of the head a lesion-free patch may be centred.
const SPARSE: usize = 17;

/// Share of the steps in which only lesion-rich patches are drawn (Hashemi et al. 2018, "patch selection").
const RICH: f64 = 0.25;

/// A checked case.
#[derive(Clone, Debug)]
pub struct Case {
    name: String,
    head: Arc<Head>,
    native: Header,
    reference: Reference,
    label: Vec<bool>,
    lesion_voxels: Vec<usize>,
    brain_voxels: Vec<usize>,
    lesions: usize,
    load_ml: f64,
    fingerprint: String,
}

impl Case {
    /// Takes over a checked case.
    #[must_use]
    pub fn new(name: String, checked: Checked) -> Self {
        let Checked {
            prepared: Prepared { head, native, .. },
            reference,
            label,
            lesions,
            load_ml,
            warnings: _,
        } = checked;
        let voxels = |wanted: &[bool]| -> Vec<usize> { (0..wanted.len()).filter(|&i| wanted[i]).collect() };
        let fingerprint = fingerprint(&head, &reference, &label);
        Self {
            name,
            lesion_voxels: voxels(&label),
            brain_voxels: voxels(head.foreground()).into_iter().step_by(SPARSE).collect(),
            head: Arc::new(head),
            native,
            reference,
            label,
            lesions,
            load_ml,
            fingerprint,
        }
    }

    /// What the person calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The head on the network's grid.
    #[must_use]
    pub fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// The FLAIR's header: the grid that it is scored on.
    #[must_use]
    pub fn native(&self) -> &Header {
        &self.native
    }

    /// The mask on the FLAIR's grid.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The mask on the network's grid.
    #[must_use]
    pub fn label(&self) -> &[bool] {
        &self.label
    }

    /// Number of lesions.
    #[must_use]
    pub fn lesions(&self) -> usize {
        self.lesions
    }

    /// Their volume in millilitres.
    #[must_use]
    pub fn load_ml(&self) -> f64 {
        self.load_ml
    }

    /// SHA-256 of all that training and scoring use, in hexadecimal: the same files give the same.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Brings a probability on the head's grid back to the FLAIR's own.
    ///
    /// # Errors
    /// [`VolumeError::Length`] if there is not one value per voxel of the head.
    pub fn restore(&self, probability: Vec<f32>) -> Result<Volume, VolumeError> {
        crate::pipeline::prepare::restore(self.head.grid(), &self.native, probability)
    }

    fn view(&self) -> View<'_> {
        View {
            shape: self.head.grid().shape,
            images: [self.head.flair(), self.head.t1().unwrap_or_default()],
            lesions: &self.label,
            unknown: &[],
            lesion_voxels: &self.lesion_voxels,
            brain_voxels: &self.brain_voxels,
        }
    }
}

/// Everything that decides which patch a step trains on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) cases: &'a [Arc<Case>],
    /// Numbers of the cases that are trained on; not empty.
    pub(super) train: &'a [usize],
    pub(super) side: usize,
    pub(super) augment: bool,
    pub(super) seed: u64,
    /// Steps in all.
    pub(super) steps: u64,
}

impl Source<'_> {
    /// The patch of the step that follows `step` steps. It depends on nothing else, so a run can go on anywhere.
    ///
    /// Cases come in turn. The first quarter of the steps asks for lesion-rich patches, the rest for nearly any, as the paper
    /// does.
    pub(super) fn patch(&self, step: u64) -> Option<Patch> {
        let turn = usize::try_from(step).unwrap_or(0) % self.train.len().max(1);
        let case = self.cases.get(*self.train.get(turn)?)?;
        let mut rng = random::stream(self.seed, Purpose::Finetune, step);
        let selection = Selection::default();
        let rich = (step as f64) < RICH * self.steps as f64;
        let least = if rich { selection.rich } else { selection.later };
        let view = case.view();
        let origin = choose_origin(&mut rng, view, self.side, least, &selection);
        let (pose, how) = if self.augment {
            let how = PatchAugmentation {
                missing_t1: 0.1,
                scale: 0.1,
                shift: 0.1,
                ..PatchAugmentation::default()
            };
            (Pose::draw(&mut rng, &Poses::default()), how)
        } else {
            let how = PatchAugmentation {
                rotate: false,
                missing_t1: 0.0,
                scale: 0.0,
                shift: 0.0,
            };
            (Pose::NONE, how)
        };
        let patch = pose::cut(view, origin, self.side, pose);
        Some(patch::vary(&mut rng, patch, &how))
    }
}

fn fingerprint(head: &Head, reference: &Reference, label: &[bool]) -> String {
    let mut hash = Sha256::new();
    let mut floats = |values: &[f32]| {
        hash.update((values.len() as u64).to_le_bytes());
        for chunk in values.chunks(1024) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|v| v.to_le_bytes()).collect();
            hash.update(&bytes);
        }
    };
    floats(head.flair());
    floats(head.t1().unwrap_or_default());
    let shape: Vec<f32> = head.grid().shape.iter().map(|&n| n as f32).collect();
    floats(&shape);
    for mask in [head.foreground(), &reference.voxels, label] {
        let bytes: Vec<u8> = mask.iter().map(|&v| u8::from(v)).collect();
        hash.update(&bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
