//! A case: one whole head, as the network would see it, with its truth.

use super::augment::surround::{self, Kind};
use super::augment::{acquisition, geometry};
use super::caps;
use super::config::{Acquisition, DataConfig};
use super::confluent;
use super::field::{self, Shape};
use super::head::Head;
use super::limbic;
use super::material::{Clinical, Labelled, Material, SHAPE};
use super::paint::{self, Appearance, Ground};
use super::plan::{Plan, plan_lesions};
use super::random;
use super::synth;
use crate::volume::intensity::Scene;
use crate::volume::{Grid, Volume};
use nalgebra::Matrix4;
use rand::Rng;
use rand::seq::IndexedRandom;

/// How much of a clinical scan is kept around the brain, in mm: skull and scalp.
const HEAD_MARGIN: usize = 20;

/// Where a case comes from. Results on real and on made cases are to be reported apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A labelled patient.
    Real,
    /// A labelled patient with painted lesions.
    Painted,
    /// Drawn from a tissue map.
    Synthetic,
    /// A raw clinical scan without labels, with painted lesions; its own are [unknown](Case::unknown) where they are not sure.
    Clinical,
}

/// One head, normalised as at inference.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Where it comes from.
    pub origin: Origin,
    /// Shape in voxels of 1 mm, RAS.
    pub shape: Shape,
    /// FLAIR and T1 as [`Scene`] makes them.
    pub images: [Vec<f32>; 2],
    /// The truth.
    pub lesions: Vec<bool>,
    /// Where nobody knows the truth; never where there is lesion.
    pub unknown: Vec<bool>,
    /// Indices of the lesion voxels.
    pub lesion_voxels: Vec<usize>,
    /// Indices of every 17th brain voxel: where lesion-free patches are centred.
    pub brain_voxels: Vec<usize>,
}

/// What patches are drawn from: a case, or a head that lives elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Shape in voxels of 1 mm, RAS.
    pub shape: Shape,
    /// FLAIR and T1, normalised; an empty T1 is missing and counts as zero.
    pub images: [&'a [f32]; 2],
    /// The truth.
    pub lesions: &'a [bool],
    /// Where nobody knows the truth; empty if it is known everywhere.
    pub unknown: &'a [bool],
    /// Indices of the lesion voxels.
    pub lesion_voxels: &'a [usize],
    /// Indices of voxels where lesion-free patches may be centred.
    pub brain_voxels: &'a [usize],
}

impl Case {
    /// The case to draw patches from.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View {
            shape: self.shape,
            images: [&self.images[0], &self.images[1]],
            lesions: &self.lesions,
            unknown: &self.unknown,
            lesion_voxels: &self.lesion_voxels,
            brain_voxels: &self.brain_voxels,
        }
    }

    /// Normalises a head's images as the pipeline does and indexes its voxels.
    #[must_use]
    pub fn from_head(head: Head, origin: Origin) -> Self {
        let indices = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..head.lesions.len()).filter(|&i| wanted(i)).collect()
        };
        let lesion_voxels = indices(&|i| head.lesions[i]);
        let brain_voxels = indices(&|i| head.tissue[i] > 0).into_iter().step_by(17).collect();
        let grid = Grid {
            shape: head.shape,
            affine: Matrix4::identity(),
        };
        let [flair, t1] = head.images.map(|data| Volume {
            grid: grid.clone(),
            data,
        });
        let scene = Scene::new(flair);
        let everywhere = vec![true; t1.data.len()];
        let second = scene.channel(t1, &everywhere);
        Self {
            origin,
            shape: head.shape,
            images: [scene.flair, second],
            lesions: head.lesions,
            unknown: head.unknown,
            lesion_voxels,
            brain_voxels,
        }
    }
}

/// A labelled patient as a head.
#[must_use]
pub fn head_of(patient: &Labelled) -> Head {
    Head {
        shape: SHAPE,
        images: [patient.flair.clone(), patient.t1.clone()],
        lesions: patient.mask.clone(),
        unknown: vec![false; field::len(SHAPE)],
        tissue: patient.tissue.clone(),
        white: patient.white,
    }
}

/// Paints planned lesions into a head and adds them to its truth. Scanner, protocol and stage of the disease change the
/// contrast of all lesions of a patient together.
pub fn paint_lesions(rng: &mut impl Rng, head: &mut Head, lesions: &[Vec<usize>]) {
    let contrast = [random::between(rng, 0.75, 1.3), random::between(rng, 0.6, 2.0)];
    paint_with_contrast(rng, head, lesions, contrast);
}

/// As [`paint_lesions`], with the usual contrast in FLAIR and T1 times the given factors.
pub fn paint_with_contrast(rng: &mut impl Rng, head: &mut Head, lesions: &[Vec<usize>], contrast: [f32; 2]) {
    for &i in lesions.iter().flatten() {
        head.lesions[i] = true;
    }
    for lesion in lesions {
        let appearance = Appearance::draw(rng, lesion.len() as f32, contrast);
        let ground = Ground {
            shape: head.shape,
            tissue: &head.tissue,
            lesions: &head.lesions,
            white: head.white,
        };
        let [flair, t1] = &mut head.images;
        paint::paint(rng, [flair, t1], &ground, lesion, &appearance);
    }
}

/// Draws the origin of a case.
fn draw_origin(rng: &mut impl Rng, config: &DataConfig) -> Origin {
    let mix = &config.mix;
    let total = (mix.real + mix.painted + mix.synthetic + mix.clinical).max(f64::MIN_POSITIVE);
    let u = total * rand::RngExt::random::<f64>(rng);
    if u < mix.real {
        Origin::Real
    } else if u < mix.real + mix.painted {
        Origin::Painted
    } else if u < mix.real + mix.painted + mix.synthetic {
        Origin::Synthetic
    } else {
        Origin::Clinical
    }
}

/// A clinical scan as a head, with its own lesions `marked` as such or unknown.
fn clinical_head(scan: &Clinical, marked: bool) -> Head {
    let (lesions, unknown) = if marked {
        (scan.lesions.clone(), scan.unknown.clone())
    } else {
        (vec![false; field::len(SHAPE)], scan.suspect())
    };
    Head {
        shape: SHAPE,
        images: [scan.flair.clone(), scan.t1.clone()],
        lesions,
        unknown,
        tissue: scan.tissue.clone(),
        white: scan.white,
    }
}

/// Paints lesions into a clinical scan, as its thick slices would show them.
fn paint_clinical(rng: &mut impl Rng, scan: &Clinical, marked: bool, lesions: &[Vec<usize>]) -> Head {
    let mut head = clinical_head(scan, marked);
    paint_lesions(rng, &mut head, lesions);
    let phase = random::between(rng, 0.0, 1.0);
    for (image, own) in head.images.iter_mut().zip([&scan.flair, &scan.t1]) {
        let mut painted: Vec<f32> = image.iter().zip(own).map(|(v, own)| v - own).collect();
        acquisition::thicken(&mut painted, SHAPE, 2, scan.thickness, phase);
        for ((v, own), painted) in image.iter_mut().zip(own).zip(&painted) {
            *v = (own + painted).max(0.0);
        }
    }
    for (unknown, lesion) in head.unknown.iter_mut().zip(&head.lesions) {
        *unknown &= !lesion;
    }
    head
}

/// A head before augmentation: real, painted, synthetic or clinical; `None` without material for it.
pub fn draw_head(
    rng: &mut impl Rng,
    material: &Material,
    config: &DataConfig,
    origin: Origin,
) -> Option<Head> {
    // What lies around the ventricles comes first: the rest keeps its distance.
    let grow = |rng: &mut _, plan: &mut Plan<'_>, tissue: &[u8]| {
        if random::chance(rng, config.confluent) {
            confluent::grow(rng, plan, tissue, &material.ventricles);
        }
    };
    match origin {
        Origin::Real => material.labelled.choose(rng).map(head_of),
        Origin::Painted => {
            let patient = material.labelled.choose(rng)?;
            let mut plan = Plan::new(SHAPE, &patient.allowed, &patient.mask);
            grow(rng, &mut plan, &patient.tissue);
            plan_lesions(rng, &mut plan, material);
            let mut head = head_of(patient);
            paint_lesions(rng, &mut head, &plan.lesions);
            Some(head)
        }
        Origin::Synthetic => {
            // The labelled patients' tissue counts like any other's.
            let maps: Vec<(&[u8], &[bool])> = material
                .tissue_maps
                .iter()
                .map(|m| (m.tissue.as_slice(), m.allowed.as_slice()))
                .chain(
                    material
                        .labelled
                        .iter()
                        .map(|l| (l.tissue.as_slice(), l.allowed.as_slice())),
                )
                .collect();
            let (tissue, allowed) = maps.choose(rng)?;
            let mut head = synth::draw(rng, tissue, SHAPE);
            let mut plan = Plan::new(SHAPE, allowed, &vec![false; field::len(SHAPE)]);
            grow(rng, &mut plan, tissue);
            plan_lesions(rng, &mut plan, material);
            paint_lesions(rng, &mut head, &plan.lesions);
            Some(head)
        }
        Origin::Clinical => {
            let scan = material.clinical.choose(rng)?;
            let mut plan = Plan::new(SHAPE, &scan.allowed, &scan.suspect());
            plan_lesions(rng, &mut plan, material);
            Some(paint_clinical(rng, scan, config.mix.marked, &plan.lesions))
        }
    }
}

/// Makes a case of a kind drawn from the configured mix ([`make_from`]).
pub fn make(rng: &mut impl Rng, material: &Material, config: &DataConfig) -> Option<Case> {
    let origin = draw_origin(rng, config);
    make_from(rng, material, config, origin)
}

/// Makes a case: draws a head, varies its pose and surround, and images it. `None` without material.
pub fn make_from(
    rng: &mut impl Rng,
    material: &Material,
    config: &DataConfig,
    origin: Origin,
) -> Option<Case> {
    let mut head = draw_head(rng, material, config, origin)?;
    if origin == Origin::Clinical {
        // A scanner's thick slices and a whole head are there already, and its tissue map is an atlas's.
        let acquisition = Acquisition {
            grey: 0.0,
            thick: 0.0,
            ..config.acquisition.clone()
        };
        if random::chance(rng, config.surround.relit) {
            surround::relight(rng, &mut head);
        }
        let head = geometry::vary(rng, head.cut_to_brain(HEAD_MARGIN), &config.geometry);
        let head = acquisition::acquire(rng, head, &acquisition, false);
        return Some(Case::from_head(head, origin));
    }
    if random::chance(rng, config.acquisition.limbic) {
        limbic::brighten(rng, &mut head);
    }
    // Configurations without caps draw what they always drew.
    if config.acquisition.caps > 0.0 && random::chance(rng, config.acquisition.caps) {
        caps::brighten(rng, &mut head, &material.ventricles);
    }
    let kind = surround::draw(rng, &config.surround);
    // What lies far outside the brain costs time and says nothing, unless it is to be painted.
    let head = if kind == Kind::Head {
        head
    } else {
        head.cut_to_brain(12)
    };
    let head = geometry::vary(rng, head, &config.geometry);
    let head = surround::surround(rng, head, kind);
    let head = acquisition::acquire(rng, head, &config.acquisition, kind == Kind::Head);
    Some(Case::from_head(head, origin))
}
