//! Which lesions a case gets, and where.

use super::field::{self, Shape};
use super::lesions::{Lesion, Placement, largest_part};
use super::material::Material;
use super::random;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// Lesions are kept at least this many voxels apart.
const GAP: usize = 2;

/// Least share of a lesion's voxels that must lie where lesions may be; what does not is cut off. Of a large one, which
/// hugs the ventricles of the patient it was found in, less must fit those of another.
const LEAST_INSIDE: f64 = 0.6;
const LEAST_INSIDE_OF_LARGE: f64 = 0.4;

/// A lesion of more voxels than this is large: it is varied less, for its shape is that of its place.
const LARGE: usize = 300;

/// Smallest painted lesion in voxels.
const LEAST_VOXELS: usize = 4;

/// Largest lesion shape that is put down alone.
const LARGEST_ALONE: usize = 6000;

/// The lesions put into one head so far.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    shape: Shape,
    allowed: &'a [bool],
    blocked: Vec<bool>,
    /// The voxels of each planned lesion.
    pub lesions: Vec<Vec<usize>>,
}

impl<'a> Plan<'a> {
    /// A plan without lesions for a head that has `existing` ones and takes more where `allowed`.
    #[must_use]
    pub fn new(shape: Shape, allowed: &'a [bool], existing: &[bool]) -> Self {
        let mut plan = Self {
            shape,
            allowed,
            blocked: vec![false; allowed.len()],
            lesions: Vec::new(),
        };
        for i in (0..existing.len()).filter(|&i| existing[i]) {
            plan.block(i);
        }
        plan
    }

    /// Shape of the head.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Plans a lesion made of voxels of this head, as far as they are not taken.
    pub fn take(&mut self, voxels: Vec<usize>) {
        let free: Vec<usize> = voxels.into_iter().filter(|&i| !self.blocked[i]).collect();
        let kept = largest_part(&free, self.shape);
        if kept.len() >= LEAST_VOXELS {
            kept.iter().for_each(|&i| self.block(i));
            self.lesions.push(kept);
        }
    }

    /// Marks a voxel's neighbourhood as taken.
    fn block(&mut self, i: usize) {
        let v = field::voxel(self.shape, i);
        let low = v.map(|c| c.saturating_sub(GAP));
        let high = [0, 1, 2].map(|a| (v[a] + GAP + 1).min(self.shape[a]));
        for z in low[2]..high[2] {
            for y in low[1]..high[1] {
                let row = field::index(self.shape, [0, y, z]);
                self.blocked[row + low[0]..row + high[0]].fill(true);
            }
        }
    }

    /// Puts a lesion down if enough of it lies where lesions may be; says whether it did.
    pub fn put(&mut self, lesion: &Lesion, placement: &Placement) -> bool {
        let covered = lesion.rasterise(placement, self.shape);
        let total = covered.len();
        let free: Vec<usize> = covered
            .into_iter()
            .filter(|&i| self.allowed[i] && !self.blocked[i])
            .collect();
        let least = if lesion.voxels > LARGE {
            LEAST_INSIDE_OF_LARGE
        } else {
            LEAST_INSIDE
        };
        if (free.len() as f64) < least * total as f64 {
            return false;
        }
        let kept = largest_part(&free, self.shape);
        if kept.len() < LEAST_VOXELS {
            return false;
        }
        kept.iter().for_each(|&i| self.block(i));
        self.lesions.push(kept);
        true
    }
}

/// Plans the lesions of a case: in one half of the cases those of another patient, thinned and varied; in the other a
/// random number of lesions of all patients and of the lesion shapes, at home or where the atlas saw lesions.
pub fn plan_lesions(rng: &mut impl Rng, plan: &mut Plan<'_>, material: &Material) {
    if random::chance(rng, 0.5)
        && let Some(patient) = material.masks.choose(rng)
    {
        let keep = f64::from(random::between(rng, 0.4, 1.0));
        let mirror = random::chance(rng, 0.5);
        for lesion in &patient.lesions {
            if random::chance(rng, keep) {
                let home = mirrored(lesion.home, plan.shape, mirror);
                scatter(rng, plan, lesion, home, 1.0, mirror);
            }
        }
        return;
    }
    // From a few to many: every order of magnitude alike.
    let wanted = random::between(rng, 3.0_f32.ln(), 70.0_f32.ln()).exp() as usize;
    for _ in 0..wanted {
        one(rng, plan, material);
    }
}

/// Puts one lesion of any source down.
fn one(rng: &mut impl Rng, plan: &mut Plan<'_>, material: &Material) {
    let of_patient = random::chance(rng, 0.6);
    let chosen = if of_patient {
        material.masks.choose(rng).and_then(|p| p.lesions.choose(rng))
    } else {
        material.shapes.choose(rng)
    };
    let Some(lesion) = chosen.filter(|l| l.voxels <= LARGEST_ALONE) else {
        return;
    };
    // The lesion shapes start at 50 mm³; smaller ones are what is missing most.
    let size = if of_patient {
        1.0
    } else {
        random::between(rng, 0.45, 1.1)
    };
    let mirror = random::chance(rng, 0.5);
    let home = if random::chance(rng, 0.5) {
        mirrored(lesion.home, plan.shape, mirror)
    } else {
        match drawn_by_frequency(rng, material) {
            Some(i) => field::voxel(plan.shape, i).map(|c| c as f32),
            None => lesion.home,
        }
    };
    scatter(rng, plan, lesion, home, size, mirror);
}

/// A voxel drawn with the atlas's lesion frequency.
fn drawn_by_frequency(rng: &mut impl Rng, material: &Material) -> Option<usize> {
    let total = material.frequency.last()?.1;
    let at = rng.random::<f32>() * total;
    let i = material.frequency.partition_point(|(_, sum)| *sum <= at);
    material.frequency.get(i).map(|(voxel, _)| *voxel)
}

/// The position on the other side of the head.
fn mirrored(home: [f32; 3], shape: Shape, mirror: bool) -> [f32; 3] {
    let [x, y, z] = home;
    [if mirror { shape[0] as f32 - 1.0 - x } else { x }, y, z]
}

/// Puts a varied lesion down near a place, with a few tries further and further away.
pub(super) fn scatter(
    rng: &mut impl Rng,
    plan: &mut Plan<'_>,
    lesion: &Lesion,
    home: [f32; 3],
    size: f32,
    mirror: bool,
) {
    let loose = (LARGE as f32 / lesion.voxels.max(1) as f32)
        .sqrt()
        .clamp(0.15, 1.0);
    for attempt in 0..4 {
        let spread = loose * (2.0 + 3.0 * attempt as f32);
        let centre = home.map(|c| c + random::within(rng, spread));
        let placement = Placement::varied(rng, centre, size, 0.18 * loose, 0.3 * loose, mirror);
        if plan.put(lesion, &placement) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lesions_stay_where_they_may_be_and_apart() {
        let shape = [30, 20, 20];
        let allowed: Vec<bool> = (0..field::len(shape))
            .map(|i| field::voxel(shape, i)[0] >= 6)
            .collect();
        let cube: Vec<[usize; 3]> = (0..64).map(|i| field::voxel([4, 4, 4], i)).collect();
        let Some(lesion) = Lesion::from_voxels(&cube) else {
            return;
        };
        let mut existing = vec![false; allowed.len()];
        existing[field::index(shape, [20, 10, 10])] = true;
        let mut plan = Plan::new(shape, &allowed, &existing);
        let at = |x: f32| Placement {
            centre: [x, 9.5, 9.5],
            ..Placement::unchanged(&lesion)
        };
        assert!(!plan.put(&lesion, &at(3.5)), "outside");
        assert!(!plan.put(&lesion, &at(20.5)), "on another lesion");
        assert!(plan.put(&lesion, &at(6.5)), "three quarters inside");
        assert_eq!(plan.lesions[0].len(), 48);
        assert!(!plan.put(&lesion, &at(8.5)), "on the lesion just put down");
        assert!(plan.put(&lesion, &at(12.5)), "two voxels away");
        assert_eq!(plan.lesions[1].len(), 64);
    }
}
