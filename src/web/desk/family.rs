//! The maps of a family of networks over the open case, kept so that going from one to another costs nothing.

use std::rc::Rc;

use crate::pipeline::family::{self, AtCut, Level, Ranked, Split};
use crate::pipeline::mask;
use crate::pipeline::{CompareError, Cut, Mask, Reference, Settings};
use crate::volume::Volume;
use crate::volume::slice::Slice;
use crate::web::studies::{FamilyLook, Kin, MemberCurves};

/// See the module.
#[derive(Debug, Default)]
pub struct Family {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    kin: Kin,
    settings: Settings,
    /// On the FLAIR's own grid.
    probability: Rc<Volume>,
    /// The newest cut.
    mask: Option<(Cut, Mask)>,
    /// The cut that the levels belong to (its threshold does not matter).
    counted: Option<Cut>,
    levels: Vec<Level>,
    ranked: Option<Ranked>,
}

impl Family {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.members.clear();
    }

    /// The members whose maps are here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True without a member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Puts the members in the order asked for and drops those that were not asked for, or were run otherwise. The answer
    /// names the members that are missing.
    pub fn gather(&mut self, kin: &[Kin], settings: &Settings) -> Vec<Kin> {
        self.members
            .retain(|member| kin.contains(&member.kin) && same_run(&member.settings, settings));
        let place = |of: &Kin| kin.iter().position(|known| known == of);
        self.members.sort_by_key(|member| place(&member.kin));
        let here = |of: &&Kin| self.members.iter().all(|member| member.kin != **of);
        kin.iter().filter(here).cloned().collect()
    }

    /// Takes a member's map in, after those that are here.
    pub fn add(&mut self, kin: Kin, settings: Settings, probability: Rc<Volume>) {
        self.members.push(Member {
            kin,
            settings,
            probability,
            mask: None,
            counted: None,
            levels: Vec::new(),
            ranked: None,
        });
    }

    /// Puts every member beside the reference, or beside none.
    ///
    /// # Errors
    /// [`CompareError`] if it lies on another grid.
    pub fn rank(&mut self, reference: Option<&Reference>) -> Result<(), CompareError> {
        for member in &mut self.members {
            member.ranked = match reference {
                Some(reference) => {
                    let betas = [member.kin.beta.unwrap_or(1.0), 1.0, 2.0];
                    Some(family::rank(&member.probability, reference, &betas)?)
                }
                None => None,
            };
        }
        Ok(())
    }

    /// Counts at one more threshold. False if there is nothing left to count for this smallest lesion and connectivity.
    pub fn count_on(&mut self, cut: &Cut) -> bool {
        for member in &mut self.members {
            let same = |counted: &Cut| {
                counted.min_lesion_mm3 == cut.min_lesion_mm3 && counted.connectivity == cut.connectivity
            };
            if !member.counted.as_ref().is_some_and(same) {
                member.counted = Some(*cut);
                member.levels.clear();
            }
            if let Some(threshold) = family::thresholds().nth(member.levels.len()) {
                member
                    .levels
                    .push(family::level(&member.probability, threshold, cut));
                return true;
            }
        }
        false
    }

    /// The members' curves; those whose counting is not complete are without.
    #[must_use]
    pub fn curves(&self) -> Vec<MemberCurves> {
        let complete = family::thresholds().count();
        let curves = |member: &Member| MemberCurves {
            path: member.kin.path.clone(),
            levels: if member.levels.len() == complete {
                member.levels.clone()
            } else {
                Vec::new()
            },
            ranked: member.ranked.clone(),
        };
        self.members.iter().map(curves).collect()
    }

    /// Cuts every member that is not cut so yet, and answers the numbers.
    ///
    /// # Errors
    /// [`CompareError`] if the reference lies on another grid.
    pub fn cut(&mut self, cut: &Cut, reference: Option<&Reference>) -> Result<Vec<AtCut>, CompareError> {
        let mut numbers = Vec::new();
        for member in &mut self.members {
            let made = match member.mask.take() {
                Some((old, mask)) if old == *cut => mask,
                _ => mask::cut(&member.probability, cut),
            };
            let (_, mask) = member.mask.insert((*cut, made));
            numbers.push(AtCut::of(mask, reference)?);
        }
        Ok(numbers)
    }

    /// The masks that a look compares: the member's, and what it is compared with. `None` before [`Family::cut`], or if a
    /// member or the reference is missing.
    fn pair<'a>(&'a self, look: &FamilyLook, reference: Option<&'a [u8]>) -> Option<(&'a [u8], &'a [u8])> {
        let mask = |at: usize| Some(&self.members.get(at)?.mask.as_ref()?.1.voxels[..]);
        let other = match look.with {
            Some(with) => mask(with)?,
            None => reference?,
        };
        Some((mask(look.member)?, other))
    }

    /// Codes of agreement and difference over a slice, and volumes; nothing if there is nothing to compare.
    pub fn differences<'a>(
        &'a self,
        look: &FamilyLook,
        reference: Option<&'a [u8]>,
    ) -> Option<(impl Fn(&Slice) -> Vec<f32> + 'a, Split)> {
        let (first, second) = self.pair(look, reference)?;
        let voxel = self.members.first()?.probability.grid.voxel_volume();
        let codes = move |slice: &Slice| slice.values(|at| family::code(first[at] != 0, second[at] != 0));
        Some((codes, family::split(first, second, voxel)))
    }

    /// The middle of the largest lesion of a member's mask.
    #[must_use]
    pub fn sight(&self, member: usize) -> Option<[f64; 3]> {
        let (_, mask) = self.members.get(member)?.mask.as_ref()?;
        mask.lesions.first().map(|lesion| lesion.centre_mm)
    }
}

/// True if two runs of one network give the same map.
fn same_run(a: &Settings, b: &Settings) -> bool {
    let plain = |settings: &Settings| Settings {
        variance: false,
        compare_windows: false,
        ..settings.clone()
    };
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix4;

    use super::*;
    use crate::volume::Grid;

    fn map(values: &[f32]) -> Rc<Volume> {
        let grid = Grid {
            shape: [values.len(), 1, 1],
            affine: Matrix4::identity(),
        };
        Rc::new(Volume {
            grid,
            data: values.to_vec(),
        })
    }

    fn kin(beta: f64) -> Kin {
        Kin {
            path: format!("models/b{beta}"),
            beta: Some(beta),
        }
    }

    fn two() -> Family {
        let mut family = Family::default();
        family.add(
            kin(1.0),
            Settings::default(),
            map(&[0.9, 0.4, 0.0, 0.0, 0.6, 0.0]),
        );
        family.add(
            kin(3.0),
            Settings::default(),
            map(&[0.9, 0.7, 0.0, 0.8, 0.2, 0.0]),
        );
        family
    }

    #[test]
    fn only_what_is_missing_is_asked_for() {
        let mut family = two();
        let settings = Settings::default();
        let kept = Settings {
            variance: true,
            compare_windows: true,
            ..settings.clone()
        };
        assert_eq!(family.gather(&[kin(3.0), kin(2.0), kin(1.0)], &kept), [kin(2.0)]);
        let paths: Vec<_> = family.curves().into_iter().map(|curves| curves.path).collect();
        assert_eq!(paths, ["models/b3", "models/b1"], "in the order asked for");
        let other = Settings {
            overlap: 0.75,
            ..settings
        };
        assert_eq!(family.gather(&[kin(3.0)], &other), [kin(3.0)], "another run");
        assert!(family.is_empty());
    }

    #[test]
    fn members_are_cut_counted_and_compared() {
        let mut family = two();
        let cut = Cut::default();
        let reference = Reference {
            voxels: [1, 1, 0, 0, 0, 0].map(|v| v == 1).to_vec(),
            notes: Vec::new(),
        };
        let numbers = family.cut(&cut, Some(&reference)).unwrap();
        let found: Vec<_> = numbers
            .iter()
            .map(|at| (at.lesions, at.voxels.unwrap().true_positives))
            .collect();
        assert_eq!(found, [(2, 1), (2, 2)]);
        let look = FamilyLook {
            member: 1,
            with: Some(0),
            cut,
        };
        let (_, split) = family.differences(&look, None).unwrap();
        assert_eq!(
            [split.both_ml, split.first_ml, split.second_ml],
            [0.001, 0.002, 0.001]
        );
        let alone = FamilyLook { with: None, ..look };
        assert!(family.differences(&alone, None).is_none(), "no reference");
        assert!(
            family
                .differences(&FamilyLook { member: 7, ..look }, None)
                .is_none()
        );
        assert_eq!(family.sight(1), Some([0.5, 0.0, 0.0]));

        assert!(family.curves().iter().all(|curves| curves.levels.is_empty()));
        let mut steps = 0;
        while family.count_on(&cut) {
            steps += 1;
        }
        assert_eq!(steps, 2 * 19);
        assert!(family.curves().iter().all(|curves| curves.levels.len() == 19));
        let large = Cut {
            min_lesion_mm3: 2.0,
            ..cut
        };
        assert!(family.count_on(&large), "another smallest lesion is counted anew");
        assert!(family.curves()[0].levels.is_empty());

        family.rank(Some(&reference)).unwrap();
        let ranked = family.curves()[1].ranked.clone().unwrap();
        assert_eq!(
            ranked.best.iter().map(|best| best.beta).collect::<Vec<_>>(),
            [3.0, 1.0, 2.0]
        );
        family.rank(None).unwrap();
        assert!(family.curves()[1].ranked.is_none());
    }
}
