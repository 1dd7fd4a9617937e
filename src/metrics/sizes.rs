//! How well lesions are found by their size.

use serde::{Deserialize, Serialize};

use super::{MetricsError, ratio};
use crate::volume::components::{Connectivity, label, voxels_of};

/// Where the size classes begin, in cubic millimetres; each ends where the next begins, the last has no end.
pub const SIZE_CLASSES_MM3: [f64; 5] = [3.0, 10.0, 50.0, 200.0, 1000.0];

/// The lesions of a reference, sorted by size, and what of them an automatic mask found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BySize {
    /// Lesions smaller than the first class, which are in none.
    pub smaller: usize,
    /// The classes of [`SIZE_CLASSES_MM3`], ascending.
    pub classes: Vec<SizeClass>,
}

/// The lesions of the reference whose volume v is `lower_mm3 <= v < upper_mm3`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizeClass {
    /// Smallest volume, in cubic millimetres.
    pub lower_mm3: f64,
    /// Volume from which on a lesion is in the next class; `None` for the last.
    pub upper_mm3: Option<f64>,
    /// Number of lesions.
    pub lesions: usize,
    /// Those of them that share a voxel with the automatic mask (as in LTPR).
    pub detected: usize,
    /// Voxels of these lesions.
    pub voxels: u64,
    /// Those of them that are in the automatic mask.
    pub found_voxels: u64,
    /// Mean over the lesions, missed ones included, of [`Found::dice`]; `None` if there are none.
    pub mean_dice: Option<f64>,
}

impl SizeClass {
    /// Share of the lesions that were detected; `None` if there are none.
    #[must_use]
    pub fn detected_share(&self) -> Option<f64> {
        ratio(self.detected as f64, self.lesions as f64)
    }

    /// Share of the lesions' voxels that were found (TPR within the class); `None` if there are none.
    #[must_use]
    pub fn tpr(&self) -> Option<f64> {
        ratio(self.found_voxels as f64, self.voxels as f64)
    }
}

/// One lesion of the reference, and what of it was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its voxels.
    pub voxels: usize,
    /// Those of them that are in the automatic mask.
    pub found: usize,
    /// Voxels of all components of the automatic mask that share a voxel with it. One that runs through several
    /// lesions of the reference counts whole for each of them.
    pub touching: usize,
}

impl Found {
    /// Dice of the lesion and the union of the automatic components that touch it; 0 if it was missed.
    #[must_use]
    pub fn dice(&self) -> f64 {
        2.0 * self.found as f64 / (self.voxels + self.touching) as f64
    }
}

/// Every lesion of `reference` in the order in which a scan meets it. Masks have the shape `shape`, x fastest.
///
/// # Errors
/// [`MetricsError::Length`] if a mask has another number of voxels than the shape.
pub fn found_lesions(
    reference: &[bool],
    automatic: &[bool],
    shape: [usize; 3],
    connectivity: Connectivity,
) -> Result<Vec<Found>, MetricsError> {
    let voxels = shape.iter().product();
    MetricsError::check_length("reference", voxels, reference.len())?;
    MetricsError::check_length("automatic mask", voxels, automatic.len())?;
    let lesions = label(reference, shape, connectivity);
    let components = label(automatic, shape, connectivity);
    let mut all: Vec<Found> = lesions
        .sizes
        .iter()
        .map(|&voxels| Found {
            voxels,
            ..Found::default()
        })
        .collect();
    let mut meetings = Vec::new();
    for (&lesion, &component) in lesions.labels.iter().zip(&components.labels) {
        if lesion > 0 && component > 0 {
            all[lesion as usize - 1].found += 1;
            let meeting = (lesion, component);
            // Neighbours along x mostly meet alike.
            if meetings.last() != Some(&meeting) {
                meetings.push(meeting);
            }
        }
    }
    meetings.sort_unstable();
    meetings.dedup();
    for (lesion, component) in meetings {
        all[lesion as usize - 1].touching += components.sizes[component as usize - 1];
    }
    Ok(all)
}

impl BySize {
    /// Sorts the lesions of `reference` into [`SIZE_CLASSES_MM3`]. Masks have the shape `shape`, x fastest, and
    /// voxels of `voxel_volume_mm3` cubic millimetres.
    ///
    /// # Errors
    /// [`MetricsError::Length`] if a mask has another number of voxels than the shape, [`MetricsError::Setting`] if
    /// the voxel volume is not a number above 0.
    pub fn new(
        reference: &[bool],
        automatic: &[bool],
        shape: [usize; 3],
        voxel_volume_mm3: f64,
        connectivity: Connectivity,
    ) -> Result<Self, MetricsError> {
        let allowed = voxel_volume_mm3.is_finite() && voxel_volume_mm3 > 0.0;
        MetricsError::check_setting("voxel volume, mm3", voxel_volume_mm3, allowed, "more than 0")?;
        let lesions = found_lesions(reference, automatic, shape, connectivity)?;
        // In voxels, so that rounding of the voxel's volume moves no lesion.
        let starts = SIZE_CLASSES_MM3.map(|mm3| voxels_of(mm3, voxel_volume_mm3));
        let class_of = |lesion: &Found| starts.partition_point(|&start| start <= lesion.voxels);
        let class = |index: usize| {
            let members = || lesions.iter().filter(move |lesion| class_of(lesion) == index + 1);
            let count = members().count();
            SizeClass {
                lower_mm3: SIZE_CLASSES_MM3[index],
                upper_mm3: SIZE_CLASSES_MM3.get(index + 1).copied(),
                lesions: count,
                detected: members().filter(|lesion| lesion.found > 0).count(),
                voxels: members().map(|lesion| lesion.voxels as u64).sum(),
                found_voxels: members().map(|lesion| lesion.found as u64).sum(),
                mean_dice: ratio(members().map(Found::dice).sum(), count as f64),
            }
        };
        Ok(Self {
            smaller: lesions.iter().filter(|lesion| class_of(lesion) == 0).count(),
            classes: (0..SIZE_CLASSES_MM3.len()).map(class).collect(),
        })
    }

    /// Number of lesions in the reference, those below the first class included.
    #[must_use]
    pub fn lesions(&self) -> usize {
        self.smaller + self.classes.iter().map(|class| class.lesions).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Confusion, IsbiLesions};
    use proptest::prelude::*;

    /// A mask in one dimension, '#' for lesion.
    fn row(text: &str) -> Vec<bool> {
        text.bytes().map(|byte| byte == b'#').collect()
    }

    #[test]
    fn a_hand_made_row() {
        let reference = row("##.###..#.####.");
        let automatic = row(".#####..#......");
        let shape = [15, 1, 1];
        let lesions = found_lesions(&reference, &automatic, shape, Connectivity::Eighteen).unwrap();
        let found = |voxels, found, touching| Found {
            voxels,
            found,
            touching,
        };
        // The first component runs through two lesions; the last lesion is missed.
        assert_eq!(
            lesions,
            [found(2, 1, 5), found(3, 3, 5), found(1, 1, 1), found(4, 0, 0)]
        );
        let dice: Vec<f64> = lesions.iter().map(Found::dice).collect();
        assert_eq!(dice, [2.0 / 7.0, 6.0 / 8.0, 1.0, 0.0]);

        // 3 mm3 a voxel: 6, 9, 3 and 12 mm3.
        let sizes = BySize::new(&reference, &automatic, shape, 3.0, Connectivity::Eighteen).unwrap();
        assert_eq!((sizes.smaller, sizes.lesions()), (0, 4));
        let small = &sizes.classes[0];
        assert_eq!((small.lower_mm3, small.upper_mm3), (3.0, Some(10.0)));
        assert_eq!((small.lesions, small.detected), (3, 3));
        assert_eq!((small.voxels, small.found_voxels), (6, 5));
        assert!((small.mean_dice.unwrap() - (2.0 / 7.0 + 0.75 + 1.0) / 3.0).abs() < 1e-15);
        let next = &sizes.classes[1];
        assert_eq!((next.lesions, next.detected_share()), (1, Some(0.0)));
        assert_eq!((next.tpr(), next.mean_dice), (Some(0.0), Some(0.0)));
        let last = &sizes.classes[4];
        assert_eq!((last.lesions, last.upper_mm3), (0, None));
        assert_eq!(
            (last.detected_share(), last.tpr(), last.mean_dice),
            (None, None, None)
        );
    }

    #[test]
    fn a_lesion_on_the_edge_belongs_to_the_class_above_it() {
        let sizes = |voxel| {
            let mask = row("###.#");
            BySize::new(&mask, &mask, [5, 1, 1], voxel, Connectivity::Six).unwrap()
        };
        // Three voxels of 1 mm3, also if the header's numbers make them a little less.
        for voxel in [1.0, 1.0 - 1e-9] {
            assert_eq!((sizes(voxel).smaller, sizes(voxel).classes[0].lesions), (1, 1));
        }
        assert_eq!(sizes(1000.0).classes[4].lesions, 2);
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let run = |automatic: &[bool], voxel| {
            BySize::new(&[true; 4], automatic, [4, 1, 1], voxel, Connectivity::Six).unwrap_err()
        };
        assert!(matches!(
            run(&[true; 3], 1.0),
            MetricsError::Length { found: 3, .. }
        ));
        for voxel in [0.0, f64::NAN] {
            assert!(matches!(run(&[true; 4], voxel), MetricsError::Setting { .. }));
        }
    }

    proptest! {
        #[test]
        fn classes_add_up_to_the_whole(
            voxels in proptest::collection::vec((proptest::bool::weighted(0.2), proptest::bool::weighted(0.2)), 120),
            voxel in 0.5..40.0_f64,
        ) {
            let (reference, automatic): (Vec<bool>, Vec<bool>) = voxels.into_iter().unzip();
            let (shape, near) = ([6, 5, 4], Connectivity::Eighteen);
            let lesions = found_lesions(&reference, &automatic, shape, near).unwrap();
            let isbi = IsbiLesions::new(&reference, &automatic, shape, near).unwrap();
            let voxelwise = Confusion::new(&reference, &automatic).unwrap();
            prop_assert_eq!(lesions.len(), isbi.reference);
            prop_assert_eq!(lesions.iter().filter(|l| l.found > 0).count(), isbi.detected);
            prop_assert_eq!(lesions.iter().map(|l| l.found as u64).sum::<u64>(), voxelwise.true_positives);
            for lesion in &lesions {
                prop_assert!(lesion.found <= lesion.voxels.min(lesion.touching));
                prop_assert!((0.0..=1.0).contains(&lesion.dice()));
                prop_assert_eq!(lesion.found > 0, lesion.touching > 0);
            }

            let sizes = BySize::new(&reference, &automatic, shape, voxel, near).unwrap();
            prop_assert_eq!(sizes.lesions(), isbi.reference);
            for class in &sizes.classes {
                prop_assert!(class.detected <= class.lesions && class.found_voxels <= class.voxels);
                let mm3 = class.voxels as f64 * voxel;
                prop_assert!(mm3 * (1.0 + 1e-5) >= class.lesions as f64 * class.lower_mm3);
            }
            let same = BySize::new(&reference, &reference, shape, voxel, near).unwrap();
            for class in same.classes.iter().filter(|class| class.lesions > 0) {
                prop_assert_eq!((class.detected_share(), class.tpr(), class.mean_dice), (Some(1.0), Some(1.0), Some(1.0)));
            }
        }
    }
}
