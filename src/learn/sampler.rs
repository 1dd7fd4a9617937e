//! Patches for training: which case, which place, which augmentation, all from a seed and a counter.

use super::augment::patch::{self, Patch, UNKNOWN};
use super::case::{self, Case, View};
use super::config::{DataConfig, Selection};
use super::field;
use super::material::{Fold, Material};
use super::random::{self, Purpose};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Why a sampler cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SamplerError {
    /// The material was loaded for another fold.
    #[error(
        "the material was loaded with patient {loaded:?} held out, the sampler is to hold out {asked:?}; load it again"
    )]
    Fold {
        /// Held out when the material was loaded.
        loaded: Option<u8>,
        /// To be held out now.
        asked: Option<u8>,
    },
    /// There is nothing to draw.
    #[error("no labelled patient and no tissue map in the training material")]
    Empty,
    /// A number that must be positive is not.
    #[error("{name} must be at least {least}, not {found}")]
    TooSmall {
        /// The setting.
        name: &'static str,
        /// Its least value.
        least: usize,
        /// What was given.
        found: usize,
    },
}

/// What a slot of the case cache holds: made once, by whoever asks first.
type Slot = Arc<OnceLock<Option<Arc<Case>>>>;

/// An endless, repeatable source of training patches.
///
/// Patch `n` depends on the seed, the configuration, the material and `n` alone: training can resume at any counter, and
/// several threads can make patches ahead. Patches come in turn from [`DataConfig::cases_alive`] cases, each of which is replaced
/// after [`DataConfig::patches_per_case`] patches, one at a time.
#[derive(Debug)]
pub struct Sampler {
    material: Arc<Material>,
    config: DataConfig,
    seed: u64,
    cases: Mutex<BTreeMap<u64, Slot>>,
}

impl Sampler {
    /// A sampler of one fold.
    ///
    /// # Errors
    /// [`SamplerError`] if the material is of another fold or empty, or a size in the configuration is zero.
    pub fn new(
        material: Arc<Material>,
        config: DataConfig,
        fold: Fold,
        seed: u64,
    ) -> Result<Self, SamplerError> {
        if material.fold != fold {
            return Err(SamplerError::Fold {
                loaded: material.fold.held_out,
                asked: fold.held_out,
            });
        }
        if material.labelled.is_empty() {
            return Err(SamplerError::Empty);
        }
        for (name, least, found) in [
            ("side", 4, config.side),
            ("cases_alive", 1, config.cases_alive),
            ("patches_per_case", 1, config.patches_per_case),
            ("selection.attempts", 1, config.selection.attempts),
        ] {
            if found < least {
                return Err(SamplerError::TooSmall { name, least, found });
            }
        }
        Ok(Self {
            material,
            config,
            seed,
            cases: Mutex::new(BTreeMap::new()),
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &DataConfig {
        &self.config
    }

    /// Number of the case from which patch `counter` comes. Cases grow old at different times, so that one is replaced
    /// every [`DataConfig::patches_per_case`] patches, not all at once.
    #[must_use]
    pub fn case_of(&self, counter: u64) -> u64 {
        let alive = self.config.cases_alive as u64;
        let life = self.config.patches_per_case as u64;
        let slot = counter % alive;
        let age = counter / alive + slot * life / alive;
        (age / life) * alive + slot
    }

    /// Number of the first patch from a case.
    #[must_use]
    pub(super) fn first_patch_of(&self, case: u64) -> u64 {
        let alive = self.config.cases_alive as u64;
        let life = self.config.patches_per_case as u64;
        let (generation, slot) = (case / alive, case % alive);
        (generation * life).saturating_sub(slot * life / alive) * alive + slot
    }

    /// A case by its number: from the cache, or made now.
    ///
    /// # Errors
    /// [`SamplerError::Empty`] if there is no material for it.
    pub fn case(&self, number: u64) -> Result<Arc<Case>, SamplerError> {
        let slot = {
            let mut cases = self.cases.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = cases.entry(number).or_default().clone();
            // Cases are begun by half a generation before the first patch is taken from them, and threads may be ahead of each other by
            // less than another.
            while cases.len() > 3 * self.config.cases_alive {
                cases.pop_first();
            }
            slot
        };
        slot.get_or_init(|| {
            let mut rng = random::stream(self.seed, Purpose::Case, number);
            let config = self.config.at(self.first_patch_of(number));
            case::make(&mut rng, &self.material, &config).map(Arc::new)
        })
        .clone()
        .ok_or(SamplerError::Empty)
    }

    /// Patch number `counter`.
    ///
    /// # Errors
    /// [`SamplerError::Empty`] if there is no material.
    pub fn next_patch(&self, counter: u64) -> Result<Patch, SamplerError> {
        let case = self.case(self.case_of(counter))?;
        let mut rng = random::stream(self.seed, Purpose::Patch, counter);
        let least = if counter < self.config.selection.rich_until {
            self.config.selection.rich
        } else {
            self.config.selection.later
        };
        let view = case.view();
        let origin = choose_origin(&mut rng, view, self.config.side, least, &self.config.selection);
        let patch = cut(view, origin, self.config.side);
        Ok(patch::vary(&mut rng, patch, &self.config.patch))
    }
}

/// Chooses where a patch starts (it may reach beyond the head where that is smaller than a patch).
///
/// With probability `lesion_free`: centred near a random brain voxel, without a lesion. Otherwise centred near a random lesion voxel, with
/// at least `least` lesion voxels in the central half-cube (the paper's rule). If no draw will do, the best one is taken.
pub fn choose_origin(
    rng: &mut impl Rng,
    case: View<'_>,
    side: usize,
    least: usize,
    selection: &Selection,
) -> [isize; 3] {
    let free = case.lesion_voxels.len() < least.max(1) || random::chance(rng, selection.lesion_free);
    let centres = if free {
        case.brain_voxels
    } else {
        case.lesion_voxels
    };
    let reach = (selection.jitter * side as f64) as f32;
    let mut best = (usize::MAX, [0; 3]);
    for _ in 0..selection.attempts.max(1) {
        let Some(&centre) = centres.choose(rng) else {
            break;
        };
        let centre = field::voxel(case.shape, centre);
        let origin = [0, 1, 2].map(|a| {
            let jittered = centre[a] as f32 + random::within(rng, reach);
            let start = jittered.round() as isize - side as isize / 2;
            let room = case.shape[a] as isize - side as isize;
            // A head smaller than the patch is centred in it.
            if room < 0 { room / 2 } else { start.clamp(0, room) }
        });
        let shortfall = if free {
            count_up_to(case, origin, side, best.0)
        } else {
            let inner = origin.map(|o| o + side as isize / 4);
            least.saturating_sub(count_up_to(case, inner, side / 2, least))
        };
        if shortfall < best.0 {
            best = (shortfall, origin);
        }
        if shortfall == 0 {
            break;
        }
    }
    best.1
}

/// Number of lesion voxels in a cube.
#[must_use]
pub fn count_lesion(case: View<'_>, origin: [isize; 3], side: usize) -> usize {
    count_up_to(case, origin, side, usize::MAX)
}

/// Number of lesion voxels in a cube; counting ends with the row in which `enough` are reached.
fn count_up_to(case: View<'_>, origin: [isize; 3], side: usize, enough: usize) -> usize {
    let mut count = 0;
    rows(case.shape, origin, side, |from, _, width| {
        if count < enough {
            count += case.lesions[from..from + width].iter().filter(|l| **l).count();
        }
    });
    count
}

/// Calls `visit(index in the case, index in the cube, width)` for every row of a cube, as far as it lies inside.
fn rows(shape: [usize; 3], origin: [isize; 3], side: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let low = origin.map(|o| (-o).max(0) as usize);
    let high = [0, 1, 2].map(|a| (shape[a] as isize - origin[a]).clamp(0, side as isize) as usize);
    if low[0] >= high[0] {
        return;
    }
    for z in low[2]..high[2] {
        for y in low[1]..high[1] {
            let at = [low[0], y, z];
            let from = [0, 1, 2].map(|a| (origin[a] + at[a] as isize) as usize);
            visit(
                field::index(shape, from),
                field::index([side; 3], at),
                high[0] - low[0],
            );
        }
    }
}

/// Cuts a patch out of a case; zero beyond its border, as at inference.
#[must_use]
pub fn cut(case: View<'_>, origin: [isize; 3], side: usize) -> Patch {
    let n = side.pow(3);
    let mut patch = Patch {
        image: vec![0.0; 2 * n],
        label: vec![0.0; n],
        side,
    };
    rows(case.shape, origin, side, |from, to, width| {
        for (cube, image) in patch.image.chunks_exact_mut(n).zip(&case.images) {
            // A missing image stays zero.
            if let Some(row) = image.get(from..from + width) {
                cube[to..to + width].copy_from_slice(row);
            }
        }
        for (label, lesion) in patch.label[to..to + width].iter_mut().zip(&case.lesions[from..]) {
            *label = f32::from(u8::from(*lesion));
        }
        if let Some(row) = case.unknown.get(from..from + width) {
            for (label, _) in patch.label[to..to + width]
                .iter_mut()
                .zip(row)
                .filter(|(_, u)| **u)
            {
                *label = UNKNOWN;
            }
        }
    });
    patch
}
