//! All scores of one scan at once.

use serde::{Deserialize, Serialize};

use super::{
    BestThreshold, Calibration, Confusion, IsbiLesions, MetricsError, MssegLesions, MssegSettings, PrCurve,
    PrPoint,
};
use crate::volume::components::{Connectivity, remove_small, voxels_of};

/// How to turn a probability map into a mask, and how to count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Probability at and above which a voxel is lesion; one of probability 0 never is.
    pub threshold: f32,
    /// Lesions of the automatic mask smaller than this, in cubic millimetres, are removed before anything is
    /// counted at the threshold. The curve and the calibration know no lesions and stay as they are.
    pub min_lesion_mm3: f64,
    /// Which voxels make up one lesion, for that removal and for LTPR and LFPR.
    pub connectivity: Connectivity,
    /// The rule behind SensL, PPVL and the lesion F1.
    pub msseg: MssegSettings,
    /// For each of these the threshold with the largest F_beta is sought.
    pub betas: Vec<f64>,
    /// Most points that the precision-recall curve is reduced to.
    pub curve_points: usize,
    /// Number of bins of the reliability diagram.
    pub calibration_bins: usize,
}

impl Default for Settings {
    /// Threshold 0.5, nothing removed, 18 neighbours (ISBI 2015), Anima's MSSEG rule, beta 1, 1.5 and 2.
    fn default() -> Self {
        Self {
            threshold: 0.5,
            min_lesion_mm3: 0.0,
            connectivity: Connectivity::Eighteen,
            msseg: MssegSettings::default(),
            betas: vec![1.0, 1.5, 2.0],
            curve_points: 200,
            calibration_bins: 10,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), MetricsError> {
        let threshold = f64::from(self.threshold);
        let allowed = (0.0..=1.0).contains(&threshold);
        MetricsError::check_setting("threshold", threshold, allowed, "within 0 and 1")?;
        let volume = self.min_lesion_mm3;
        let allowed = volume.is_finite() && volume >= 0.0;
        MetricsError::check_setting("smallest lesion, mm3", volume, allowed, "0 or more")?;
        for &beta in &self.betas {
            MetricsError::check_setting("beta", beta, beta.is_finite() && beta > 0.0, "more than 0")?;
        }
        Calibration::check_bins(self.calibration_bins)?;
        self.msseg.check()
    }
}

/// Every score of one scan, with the settings that were used.
///
/// In JSON the scores have the names of the literature (`DSC`, `LTPR`, ...), and one without a value is `null`
/// (see [the room's page](super) on empty denominators).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Dice similarity coefficient.
    #[serde(rename = "DSC")]
    pub dsc: Option<f64>,
    /// Positive predictive value of voxels.
    #[serde(rename = "PPV")]
    pub ppv: Option<f64>,
    /// True positive rate of voxels.
    #[serde(rename = "TPR")]
    pub tpr: Option<f64>,
    /// True negative rate of voxels.
    pub specificity: Option<f64>,
    /// F_1 of voxels: the same as DSC, listed because papers list both.
    #[serde(rename = "F1")]
    pub f1: Option<f64>,
    /// F_2 of voxels.
    #[serde(rename = "F2")]
    pub f2: Option<f64>,
    /// Area under the precision-recall curve, as [average precision](PrCurve::average_precision).
    #[serde(rename = "APR")]
    pub apr: Option<f64>,
    /// Absolute volume difference relative to the reference.
    #[serde(rename = "VD")]
    pub vd: Option<f64>,
    /// Lesion-wise true positive rate (ISBI 2015).
    #[serde(rename = "LTPR")]
    pub ltpr: Option<f64>,
    /// Lesion-wise false positive rate (ISBI 2015).
    #[serde(rename = "LFPR")]
    pub lfpr: Option<f64>,
    /// Lesion sensitivity (MSSEG 2016).
    #[serde(rename = "SensL")]
    pub sens_l: Option<f64>,
    /// Positive predictive value of lesions (MSSEG 2016).
    #[serde(rename = "PPVL")]
    pub ppv_l: Option<f64>,
    /// Harmonic mean of SensL and PPVL (MSSEG 2016).
    #[serde(rename = "lesion_F1")]
    pub lesion_f1: Option<f64>,
    /// Lesion load of the reference, in millilitres.
    pub reference_ml: f64,
    /// Lesion load of the automatic mask, in millilitres.
    pub automatic_ml: f64,
    /// Numbers of voxels behind the voxel-wise scores.
    pub voxels: Confusion,
    /// Numbers of lesions behind LTPR and LFPR.
    pub isbi: IsbiLesions,
    /// Numbers of lesions behind SensL, PPVL and the lesion F1.
    pub msseg: MssegLesions,
    /// For each beta of the settings the threshold that would have been best; empty without reference lesions.
    pub best_thresholds: Vec<BestThreshold>,
    /// The precision-recall curve, reduced for drawing.
    pub curve: Vec<PrPoint>,
    /// The reliability diagram.
    pub calibration: Calibration,
    /// Number of voxels compared.
    pub n_voxels: usize,
    /// Volume of one voxel, in cubic millimetres.
    pub voxel_volume_mm3: f64,
    /// What was asked for.
    pub settings: Settings,
}

/// Scores a probability map (or a mask, as 0 and 1) against a reference mask on the same grid of shape `shape`,
/// x fastest, with voxels of `voxel_volume_mm3` cubic millimetres.
///
/// # Errors
/// [`MetricsError::Length`] if an input has another number of voxels than the shape,
/// [`MetricsError::NotAProbability`] if the map holds anything but numbers within 0 and 1,
/// [`MetricsError::Setting`] if a setting or the voxel volume is out of range.
pub fn evaluate(
    reference: &[bool],
    probability: &[f32],
    shape: [usize; 3],
    voxel_volume_mm3: f64,
    settings: &Settings,
) -> Result<Evaluation, MetricsError> {
    settings.check()?;
    let pair = Pair {
        reference,
        probability,
        shape,
        voxel_volume_mm3,
    };
    Ranking::new(&pair, settings.calibration_bins)?.evaluate(&pair, settings)
}

/// A probability map (or a mask, as 0 and 1) beside its reference mask.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Lesion or not, x fastest.
    pub reference: &'a [bool],
    /// Lesion probability on the same grid.
    pub probability: &'a [f32],
    /// Voxels along each axis.
    pub shape: [usize; 3],
    /// Volume of one voxel, in cubic millimetres.
    pub voxel_volume_mm3: f64,
}

impl Pair<'_> {
    fn check(&self) -> Result<(), MetricsError> {
        let n_voxels = self.shape.iter().product();
        MetricsError::check_length("reference", n_voxels, self.reference.len())?;
        MetricsError::check_length("probability map", n_voxels, self.probability.len())?;
        let volume = self.voxel_volume_mm3;
        let allowed = volume.is_finite() && volume > 0.0;
        MetricsError::check_setting("voxel volume, mm3", volume, allowed, "more than 0")
    }
}

/// What of an [`Evaluation`] no threshold changes: made once, so that a slider can be followed.
#[derive(Clone, Debug)]
pub struct Ranking {
    curve: PrCurve,
    average_precision: Option<f64>,
    calibration: Calibration,
}

impl Ranking {
    /// Orders the voxels of a pair.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn new(pair: &Pair, calibration_bins: usize) -> Result<Self, MetricsError> {
        pair.check()?;
        let curve = PrCurve::new(pair.reference, pair.probability)?;
        Ok(Self {
            average_precision: curve.average_precision(),
            calibration: Calibration::new(pair.reference, pair.probability, calibration_bins)?,
            curve,
        })
    }

    /// Scores the pair that this was made of. The number of calibration bins is that of [`Ranking::new`].
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn evaluate(&self, pair: &Pair, settings: &Settings) -> Result<Evaluation, MetricsError> {
        pair.check()?;
        settings.check()?;
        let Pair {
            reference,
            probability,
            shape,
            voxel_volume_mm3,
        } = *pair;
        let cut: Vec<bool> = probability
            .iter()
            .map(|&p| p > 0.0 && p >= settings.threshold)
            .collect();
        let min_voxels = voxels_of(settings.min_lesion_mm3, voxel_volume_mm3);
        let automatic = remove_small(&cut, shape, settings.connectivity, min_voxels);

        let voxels = Confusion::new(reference, &automatic)?;
        let isbi = IsbiLesions::new(reference, &automatic, shape, settings.connectivity)?;
        let msseg = MssegLesions::new(reference, &automatic, shape, voxel_volume_mm3, &settings.msseg)?;
        let millilitres = |voxels: u64| voxels as f64 * voxel_volume_mm3 / 1000.0;
        Ok(Evaluation {
            dsc: voxels.dice(),
            ppv: voxels.ppv(),
            tpr: voxels.tpr(),
            specificity: voxels.specificity(),
            f1: voxels.f_beta(1.0),
            f2: voxels.f_beta(2.0),
            apr: self.average_precision,
            vd: voxels.volume_difference(),
            ltpr: isbi.ltpr(),
            lfpr: isbi.lfpr(),
            sens_l: msseg.sensitivity(),
            ppv_l: msseg.ppv(),
            lesion_f1: msseg.f1(),
            reference_ml: millilitres(voxels.reference_voxels()),
            automatic_ml: millilitres(voxels.automatic_voxels()),
            voxels,
            isbi,
            msseg,
            best_thresholds: settings
                .betas
                .iter()
                .filter_map(|&beta| self.curve.best_threshold(beta))
                .collect(),
            curve: self.curve.points(settings.curve_points),
            calibration: self.calibration.clone(),
            n_voxels: reference.len(),
            voxel_volume_mm3,
            settings: settings.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_without_a_value_are_null_in_json() {
        let found = evaluate(&[false; 8], &[0.0; 8], [2, 2, 2], 1.0, &Settings::default()).unwrap();
        let json = serde_json::to_value(&found).unwrap();
        for score in [
            "DSC",
            "PPV",
            "TPR",
            "F1",
            "F2",
            "APR",
            "VD",
            "LTPR",
            "LFPR",
            "SensL",
            "PPVL",
            "lesion_F1",
        ] {
            assert!(
                json.get(score).is_some_and(serde_json::Value::is_null),
                "{score} in {json}"
            );
        }
        assert_eq!(json["specificity"], 1.0);
        assert_eq!(json["settings"]["connectivity"], 18);
        assert_eq!(serde_json::from_value::<Evaluation>(json).unwrap(), found);
    }

    #[test]
    fn the_threshold_itself_is_lesion_and_small_lesions_go() {
        let reference = [true, true, false, false, false, false, true, false];
        let probability = [0.7, 0.9, 0.69, 0.0, 0.0, 0.0, 0.0, 0.7];
        let mut settings = Settings {
            threshold: 0.7,
            ..Settings::default()
        };
        let found = evaluate(&reference, &probability, [8, 1, 1], 2.0, &settings).unwrap();
        assert_eq!(
            (found.voxels.true_positives, found.voxels.false_positives),
            (2, 1)
        );
        assert_eq!((found.ltpr, found.lfpr), (Some(0.5), Some(0.5)));
        assert_eq!((found.reference_ml, found.automatic_ml), (0.006, 0.006));
        // One voxel is 2 mm3: it stays at 2 and goes at 2.1; the pair of 4 mm3 stays.
        settings.min_lesion_mm3 = 2.0;
        let found = evaluate(&reference, &probability, [8, 1, 1], 2.0, &settings).unwrap();
        assert_eq!((found.voxels.false_positives, found.isbi.automatic), (1, 2));
        settings.min_lesion_mm3 = 2.1;
        let found = evaluate(&reference, &probability, [8, 1, 1], 2.0, &settings).unwrap();
        assert_eq!((found.voxels.false_positives, found.isbi.automatic), (0, 1));
        assert_eq!((found.voxels.true_positives, found.settings), (2, settings));
    }

    #[test]
    fn what_cannot_be_scored_is_refused() {
        let run = |reference: &[bool], probability: &[f32], mm3, settings: &Settings| {
            evaluate(reference, probability, [2, 2, 1], mm3, settings).unwrap_err()
        };
        let (r, p, good) = ([false; 4], [0.0; 4], Settings::default());
        assert!(matches!(
            run(&r[1..], &p, 1.0, &good),
            MetricsError::Length {
                expected: 4,
                found: 3,
                ..
            }
        ));
        assert!(matches!(
            run(&r, &p[1..], 1.0, &good),
            MetricsError::Length {
                expected: 4,
                found: 3,
                ..
            }
        ));
        assert!(matches!(
            run(&r, &[0.0, 2.0, 0.0, 0.0], 1.0, &good),
            MetricsError::NotAProbability { index: 1, .. }
        ));
        assert!(matches!(
            run(&r, &p, f64::NAN, &good),
            MetricsError::Setting { .. }
        ));
        for bad in [
            Settings {
                threshold: 50.0,
                ..good.clone()
            },
            Settings {
                min_lesion_mm3: -1.0,
                ..good.clone()
            },
            Settings {
                betas: vec![1.0, 0.0],
                ..good.clone()
            },
            Settings {
                calibration_bins: 0,
                ..good.clone()
            },
            Settings {
                msseg: MssegSettings {
                    alpha: 10.0,
                    ..good.msseg
                },
                ..good.clone()
            },
        ] {
            assert!(
                matches!(run(&r, &p, 1.0, &bad), MetricsError::Setting { .. }),
                "{bad:?}"
            );
        }
    }
}
