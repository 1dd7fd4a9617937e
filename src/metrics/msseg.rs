//! Lesion detection as the MSSEG 2016 challenge scores it (Commowick et al., Scientific Reports 8, 2018; its
//! tool is Anima's `animaSegPerfAnalyzer`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MetricsError, ratio};
use crate::volume::components::{Connectivity, label, voxels_above};

/// When a lesion counts as detected. The defaults are those of `animaSegPerfAnalyzer`'s command line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MssegSettings {
    /// Lesions must be *larger* than this, in cubic millimetres: smaller ones count as background (`-v`, 3).
    pub min_volume_mm3: f64,
    /// A lesion's share that the other mask must *exceed* (`-x`, 0.10).
    pub alpha: f64,
    /// Largest share of an overlapping lesion that may lie outside all lesions of the other mask (`-y`, 0.70).
    pub beta: f64,
    /// Share of the overlap whose lesions must respect `beta` (`-z`, 0.65).
    pub gamma: f64,
    /// Neighbourhood that makes voxels one lesion. The tool joins faces only, [`Connectivity::Six`]; the paper
    /// speaks of 18 neighbours.
    pub connectivity: Connectivity,
}

impl Default for MssegSettings {
    fn default() -> Self {
        Self {
            min_volume_mm3: 3.0,
            alpha: 0.10,
            beta: 0.70,
            gamma: 0.65,
            connectivity: Connectivity::Six,
        }
    }
}

impl MssegSettings {
    /// Refuses settings that make no sense.
    pub(super) fn check(&self) -> Result<(), MetricsError> {
        let volume = self.min_volume_mm3;
        let allowed = volume.is_finite() && volume >= 0.0;
        MetricsError::check_setting("MSSEG smallest lesion, mm3", volume, allowed, "0 or more")?;
        for (name, share) in [("alpha", self.alpha), ("beta", self.beta), ("gamma", self.gamma)] {
            MetricsError::check_setting(name, share, (0.0..=1.0).contains(&share), "within 0 and 1")?;
        }
        Ok(())
    }
}

/// Numbers of lesions, after the small ones were removed, and how many of them are detected.
///
/// Empty cases follow the tool: without a reference lesion nothing can be detected or right, so no score has a
/// value and only [`automatic`](Self::automatic) and [`automatic_mm3`](Self::automatic_mm3) speak; with
/// reference lesions but no automatic one, all scores are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MssegLesions {
    /// Lesions of the reference.
    pub reference: usize,
    /// Lesions of the reference that the automatic mask detects.
    pub detected: usize,
    /// Lesions of the automatic mask.
    pub automatic: usize,
    /// Lesions of the automatic mask that the reference confirms (the same rule with exchanged roles).
    pub confirmed: usize,
    /// Volume of the automatic lesions, in cubic millimetres.
    pub automatic_mm3: f64,
}

impl MssegLesions {
    /// Counts lesions and detections in two masks of the shape `shape`, x fastest.
    ///
    /// Lesion i is detected if more than `alpha` of it is covered by lesions of the other mask, and if those,
    /// visited by decreasing overlap, are each at most `beta` outside of all lesions, until the visited ones make
    /// up `gamma` of the overlap.
    ///
    /// The tool bounds that visit by the number of lesions of the *wrong* mask, so that with fewer of them it may
    /// stop early and call the lesion detected; this is not repeated here.
    ///
    /// # Errors
    /// [`MetricsError::Length`] if a mask has another number of voxels than the shape,
    /// [`MetricsError::Setting`] if a setting or the voxel volume is out of range.
    pub fn new(
        reference: &[bool],
        automatic: &[bool],
        shape: [usize; 3],
        voxel_volume_mm3: f64,
        settings: &MssegSettings,
    ) -> Result<Self, MetricsError> {
        let voxels = shape.iter().product();
        MetricsError::check_length("reference", voxels, reference.len())?;
        MetricsError::check_length("automatic mask", voxels, automatic.len())?;
        let allowed = voxel_volume_mm3.is_finite() && voxel_volume_mm3 > 0.0;
        MetricsError::check_setting("voxel volume, mm3", voxel_volume_mm3, allowed, "more than 0")?;
        settings.check()?;

        let min_voxels = voxels_above(settings.min_volume_mm3, voxel_volume_mm3);
        let reference = Lesions::find(reference, shape, settings.connectivity, min_voxels);
        let automatic = Lesions::find(automatic, shape, settings.connectivity, min_voxels);
        let overlaps = overlaps(&reference, &automatic);
        let exchanged = overlaps.iter().map(|(&(i, j), &n)| ((j, i), n)).collect();
        Ok(Self {
            reference: reference.count(),
            detected: detected(&reference, &automatic, &overlaps, settings),
            automatic: automatic.count(),
            confirmed: detected(&automatic, &reference, &exchanged, settings),
            automatic_mm3: automatic.sizes[1..].iter().sum::<usize>() as f64 * voxel_volume_mm3,
        })
    }

    /// Lesion sensitivity, SensL: detected / lesions of the reference.
    #[must_use]
    pub fn sensitivity(&self) -> Option<f64> {
        ratio(self.detected as f64, self.reference as f64)
    }

    /// Positive predictive value for lesions, PPVL: confirmed / lesions of the automatic mask.
    #[must_use]
    pub fn ppv(&self) -> Option<f64> {
        self.sensitivity()?;
        Some(ratio(self.confirmed as f64, self.automatic as f64).unwrap_or(0.0))
    }

    /// Lesion F1: the harmonic mean of SensL and PPVL, 0 if both are 0.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        let (sensitivity, ppv) = (self.sensitivity()?, self.ppv()?);
        Some(ratio(2.0 * sensitivity * ppv, sensitivity + ppv).unwrap_or(0.0))
    }
}

/// The lesions of one mask that are large enough.
struct Lesions {
    /// Lesion of each voxel, 0 for background.
    labels: Vec<u32>,
    /// Number of voxels of each lesion, by label; entry 0 stands for the background and is 0.
    sizes: Vec<usize>,
}

impl Lesions {
    fn find(mask: &[bool], shape: [usize; 3], connectivity: Connectivity, min_voxels: usize) -> Self {
        let found = label(mask, shape, connectivity);
        let mut sizes = vec![0];
        let mut new_label = vec![0; found.count() + 1];
        for (old, &size) in (1..).zip(&found.sizes) {
            if size >= min_voxels {
                new_label[old] = sizes.len() as u32;
                sizes.push(size);
            }
        }
        let labels = found
            .labels
            .into_iter()
            .map(|old| new_label[old as usize])
            .collect();
        Self { labels, sizes }
    }

    fn count(&self) -> usize {
        self.sizes.len() - 1
    }
}

/// Number of voxels for each pair of labels that occurs, but for background on background.
type Overlaps = BTreeMap<(u32, u32), usize>;

fn overlaps(a: &Lesions, b: &Lesions) -> Overlaps {
    let mut overlaps = Overlaps::new();
    for (&i, &j) in a.labels.iter().zip(&b.labels) {
        if i != 0 || j != 0 {
            *overlaps.entry((i, j)).or_default() += 1;
        }
    }
    overlaps
}

/// How many lesions of `these` the lesions of `others` detect; `overlaps` has these first.
fn detected(these: &Lesions, others: &Lesions, overlaps: &Overlaps, settings: &MssegSettings) -> usize {
    let is_detected = |&i: &u32| {
        let mut met: Vec<(u32, usize)> = overlaps
            .range((i, 1)..=(i, u32::MAX))
            .map(|(&(_, j), &n)| (j, n))
            .collect();
        let covered: usize = met.iter().map(|&(_, n)| n).sum();
        if covered as f64 / these.sizes[i as usize] as f64 <= settings.alpha {
            return false;
        }
        // A stable sort: of equal overlaps the lesion met first in a scan comes first.
        met.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
        let mut visited = 0.0;
        for (j, n) in met {
            if visited >= settings.gamma {
                break;
            }
            let outside = overlaps.get(&(0, j)).copied().unwrap_or(0);
            if outside as f64 / others.sizes[j as usize] as f64 > settings.beta {
                return false;
            }
            visited += n as f64 / covered as f64;
        }
        true
    };
    (1..these.sizes.len() as u32).filter(is_detected).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Scores two rows of voxels of 1 mm3, '#' for lesion.
    fn score(reference: &str, automatic: &str) -> MssegLesions {
        score_with(reference, automatic, &MssegSettings::default())
    }

    fn score_with(reference: &str, automatic: &str, settings: &MssegSettings) -> MssegLesions {
        let row = |text: &str| text.bytes().map(|byte| byte == b'#').collect::<Vec<_>>();
        let (reference, automatic) = (row(reference), row(automatic));
        MssegLesions::new(&reference, &automatic, [reference.len(), 1, 1], 1.0, settings).unwrap()
    }

    #[test]
    fn lesions_of_just_3_mm3_are_removed_and_of_4_kept() {
        let found = score("###.####", "###.####");
        assert_eq!(
            (
                found.reference,
                found.automatic,
                found.detected,
                found.automatic_mm3
            ),
            (1, 1, 1, 4.0)
        );
        // Half a cubic millimetre a voxel: 6 voxels are 3 mm3 and go, 7 stay.
        let mask = [
            true, true, true, true, true, true, false, true, true, true, true, true, true, true,
        ];
        let found = MssegLesions::new(&mask, &mask, [14, 1, 1], 0.5, &MssegSettings::default()).unwrap();
        assert_eq!((found.reference, found.automatic_mm3), (1, 3.5));
    }

    #[test]
    fn a_removed_lesion_is_background_for_the_other_mask() {
        // The automatic lesion lies in a reference lesion too small to count: it is a false one.
        let found = score("###.....", "####....");
        assert_eq!((found.reference, found.automatic, found.confirmed), (0, 1, 0));
    }

    #[test]
    fn alpha_must_be_exceeded() {
        let reference = "#".repeat(40) + "....";
        // 4 of 40 voxels are exactly 0.10: not detected. 5 of 40 are.
        let four = "####".to_owned() + &".".repeat(40);
        let five = "#####".to_owned() + &".".repeat(39);
        assert_eq!(score(&reference, &four).detected, 0);
        assert_eq!(score(&reference, &five).detected, 1);
        // Neither is confirmed: 35 or more of the reference lesion's 40 voxels lie outside of it.
        assert_eq!(
            (
                score(&reference, &four).confirmed,
                score(&reference, &five).confirmed
            ),
            (0, 0)
        );
    }

    #[test]
    fn a_lesion_that_leaks_more_than_beta_does_not_detect() {
        // 6 of 20 voxels inside: 0.70 outside is still allowed; 5 of 20, 0.75 outside, is not.
        let automatic = "#".repeat(20);
        assert_eq!(
            score(&("######".to_owned() + &".".repeat(14)), &automatic).detected,
            1
        );
        assert_eq!(
            score(&("#####".to_owned() + &".".repeat(15)), &automatic).detected,
            0
        );
    }

    #[test]
    fn the_visit_stops_at_gamma() {
        // A reference lesion of 24 voxels; a clean automatic lesion covers 14 or 13 of the 20 voxels that are
        // covered, a leaking one (6 or 7 inside, 30 outside) the rest. 14/20 reaches 0.65, 13/20 does too.
        let case = |clean: usize, leaking: usize| {
            let reference = "#".repeat(24) + &".".repeat(30);
            let automatic = "#".repeat(clean)
                + &".".repeat(24 - clean - leaking)
                + &"#".repeat(leaking)
                + &"#".repeat(30);
            score(&reference, &automatic).detected
        };
        assert_eq!(case(14, 6), 1);
        assert_eq!(case(13, 7), 1);
        // 12/20 does not: the leaking lesion is looked at, and spoils it.
        assert_eq!(case(12, 8), 0);
    }

    #[test]
    fn the_largest_overlap_is_visited_first() {
        // The leaking lesion (40 of 46 voxels outside) comes first in the scan, but has the smaller overlap:
        // it is not looked at.
        let reference = ".".repeat(40) + &"#".repeat(24);
        let automatic = "#".repeat(46) + &".".repeat(4) + &"#".repeat(14);
        assert_eq!(score(&reference, &automatic).detected, 1);
        // Now it (40 of 54 outside) has the larger overlap, and is.
        let automatic = "#".repeat(54) + &".".repeat(4) + &"#".repeat(6);
        assert_eq!(score(&reference, &automatic).detected, 0);
    }

    #[test]
    fn outside_means_outside_of_every_lesion() {
        // One automatic lesion over two reference lesions: only the gap of 2 of 14 voxels is outside.
        let found = score("######..######", "##############");
        assert_eq!((found.detected, found.confirmed), (2, 1));
        assert_eq!(found.f1(), Some(1.0));
    }

    #[test]
    fn empty_masks() {
        let nothing_there = score("........", "####.###");
        assert_eq!((nothing_there.automatic, nothing_there.automatic_mm3), (1, 4.0));
        assert_eq!(
            (
                nothing_there.sensitivity(),
                nothing_there.ppv(),
                nothing_there.f1()
            ),
            (None, None, None)
        );
        let all_missed = score("####....", "........");
        assert_eq!(
            (all_missed.sensitivity(), all_missed.ppv(), all_missed.f1()),
            (Some(0.0), Some(0.0), Some(0.0))
        );
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let settings = MssegSettings {
            beta: 70.0,
            ..MssegSettings::default()
        };
        let error = MssegLesions::new(&[true], &[true], [1, 1, 1], 1.0, &settings).unwrap_err();
        assert_eq!(
            error,
            MetricsError::Setting {
                name: "beta",
                value: 70.0,
                range: "within 0 and 1"
            }
        );
        assert!(MssegLesions::new(&[true], &[true], [1, 1, 1], 0.0, &MssegSettings::default()).is_err());
    }

    proptest! {
        #[test]
        fn a_mask_detects_itself_and_roles_exchange(
            voxels in proptest::collection::vec((proptest::bool::weighted(0.35), proptest::bool::weighted(0.35)), 210),
        ) {
            let (reference, automatic): (Vec<bool>, Vec<bool>) = voxels.into_iter().unzip();
            for connectivity in [Connectivity::Six, Connectivity::Eighteen] {
                let settings = MssegSettings { connectivity, ..MssegSettings::default() };
                let score = |r: &[bool], a: &[bool]| MssegLesions::new(r, a, [7, 6, 5], 1.0, &settings).unwrap();
                let (one, other) = (score(&reference, &automatic), score(&automatic, &reference));
                prop_assert_eq!((one.reference, one.detected), (other.automatic, other.confirmed));
                prop_assert!(one.detected <= one.reference && one.confirmed <= one.automatic);
                let same = score(&reference, &reference);
                prop_assert_eq!((same.detected, same.confirmed), (same.reference, same.reference));
            }
        }

        /// Asking for less can only detect more.
        #[test]
        fn looser_settings_detect_no_less(
            voxels in proptest::collection::vec((proptest::bool::weighted(0.35), proptest::bool::weighted(0.35)), 210),
            alpha in 0.0..0.5_f64, beta in 0.3..1.0_f64, gamma in 0.3..1.0_f64,
        ) {
            let (reference, automatic): (Vec<bool>, Vec<bool>) = voxels.into_iter().unzip();
            let strict = MssegSettings { alpha, beta, gamma, ..MssegSettings::default() };
            let detected = |settings: MssegSettings| {
                MssegLesions::new(&reference, &automatic, [7, 6, 5], 1.0, &settings).unwrap().detected
            };
            for looser in [
                MssegSettings { alpha: alpha / 2.0, ..strict },
                MssegSettings { beta: f64::midpoint(beta, 1.0), ..strict },
                MssegSettings { gamma: gamma / 2.0, ..strict },
            ] {
                prop_assert!(detected(looser) >= detected(strict));
            }
        }
    }
}
