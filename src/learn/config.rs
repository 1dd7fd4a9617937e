//! Everything about the training material that a person may want to turn: one serialisable struct.

use serde::{Deserialize, Serialize};

/// How the training patches are made. Probabilities are per case or, where said, per patch; lengths are in
/// millimetres, which are voxels of the 1 mm training grid; intensities are relative to normal-appearing
/// white matter unless said otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Patch side in voxels.
    pub side: usize,
    /// What cases are made of.
    pub mix: Mix,
    /// Probability that a made case gets confluent lesions around its ventricles ([`confluent`](super::confluent)).
    pub confluent: f64,
    /// Which patches are taken from a case.
    pub selection: Selection,
    /// Shape and place of a whole head.
    pub geometry: Geometry,
    /// How a scanner and a clinical protocol degrade a head.
    pub acquisition: Acquisition,
    /// What surrounds the brain.
    pub surround: Surround,
    /// What is done to a patch after normalisation.
    pub patch: PatchAugmentation,
    /// Patches over which the degradations of [`DataConfig::acquisition`] and [`DataConfig::surround`] grow from never to their
    /// probabilities: up to the first of the two all is clean, from the second on all is as configured.
    pub harden: [u64; 2],
    /// Number of cases that patches are drawn from at any one time.
    pub cases_alive: usize,
    /// Number of patches taken from a case before another takes its place.
    pub patches_per_case: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            side: 64,
            mix: Mix::default(),
            confluent: 0.35,
            selection: Selection::default(),
            geometry: Geometry::default(),
            acquisition: Acquisition::default(),
            surround: Surround::default(),
            patch: PatchAugmentation::default(),
            harden: [0, 0],
            cases_alive: 8,
            patches_per_case: 24,
        }
    }
}

impl DataConfig {
    /// The configuration of a case whose first patch is number `counter` ([`DataConfig::harden`]).
    #[must_use]
    pub fn at(&self, counter: u64) -> Self {
        let [from, until] = self.harden;
        let share = if counter >= until {
            1.0
        } else {
            counter.saturating_sub(from) as f64 / (until - from.min(until)).max(1) as f64
        };
        let mut config = self.clone();
        let Acquisition {
            grey,
            limbic,
            caps,
            thick,
            blur,
            bias,
            gamma,
            noise,
            crop,
            ..
        } = &mut config.acquisition;
        let Surround { head, residue, relit } = &mut config.surround;
        for probability in [
            grey, limbic, caps, thick, blur, bias, gamma, noise, crop, head, residue, relit,
        ] {
            *probability *= share;
        }
        config
    }
}

/// Shares of the kinds of case; they are divided by their sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    /// A labelled patient as it is.
    pub real: f64,
    /// A labelled patient with further lesions painted in.
    pub painted: f64,
    /// An image drawn from a tissue map, with painted lesions.
    pub synthetic: f64,
    /// A raw clinical scan without labels, with painted lesions ([`clinical`](super::clinical)).
    pub clinical: f64,
    /// Whether what is surely lesion in a clinical scan trains as lesion; if not, it is unknown.
    pub marked: bool,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            real: 0.25,
            painted: 0.45,
            synthetic: 0.30,
            clinical: 0.0,
            marked: false,
        }
    }
}

/// The paper's patch selection (lesion-rich patches first, then nearly all), and a share without lesions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Share of patches that hold no lesion voxel (or as few as can be found).
    pub lesion_free: f64,
    /// Least number of lesion voxels in the central half-cube of the first patches.
    pub rich: usize,
    /// Number of patches that count as the first.
    pub rich_until: u64,
    /// Least number of lesion voxels in the central half-cube afterwards.
    pub later: usize,
    /// Furthest distance along each axis from the drawn lesion voxel to the patch centre, as a share of the side
    /// (the paper's 20 of 64 voxels).
    pub jitter: f64,
    /// Number of draws before the best patch so far is taken.
    pub attempts: usize,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            lesion_free: 0.3,
            rich: 50,
            rich_until: 1000,
            later: 5,
            jitter: 20.0 / 64.0,
            attempts: 40,
        }
    }
}

/// Random pose and shape of the head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Geometry {
    /// Probability of a left-right mirror image.
    pub mirror: f64,
    /// Probability of an affine and elastic deformation. The rest keep their voxels, and so their sharpness.
    pub deform: f64,
    /// Largest rotation about each axis in degrees.
    pub rotation: f32,
    /// Largest relative change of size along each axis.
    pub scale: f32,
    /// Largest shear coefficient.
    pub shear: f32,
    /// Largest standard deviation of the elastic displacement in mm.
    pub elastic: f32,
    /// Distance of the elastic control points in mm.
    pub elastic_spacing: f32,
    /// Probability that T1 is not quite aligned with FLAIR.
    pub misregistered: f64,
    /// Largest shift of T1 along each axis in mm when it is not.
    pub shift: f32,
}

impl Default for Geometry {
    fn default() -> Self {
        Self {
            mirror: 0.5,
            deform: 0.6,
            rotation: 15.0,
            scale: 0.12,
            shear: 0.06,
            elastic: 1.6,
            elastic_spacing: 24.0,
            misregistered: 0.25,
            shift: 1.2,
        }
    }
}

/// Degradations between a head and its image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acquisition {
    /// Probability that grey matter is brighter or darker than in the image at hand.
    pub grey: f64,
    /// Standard deviation of the logarithm of that factor, over the whole head and from place to place.
    pub grey_strength: f32,
    /// Probability that limbic cortex is brighter than other cortex ([`limbic`](super::limbic)).
    pub limbic: f64,
    /// Probability of bright caps and bands around the ventricles ([`caps`](super::caps)).
    pub caps: f64,
    /// Probability of thick slices in FLAIR.
    pub thick: f64,
    /// Thinnest and thickest simulated slice in mm.
    pub thickness: [f32; 2],
    /// Share of thick stacks that are axial; the rest are sagittal or coronal.
    pub axial: f64,
    /// Probability that T1 has thick slices too, given that FLAIR has.
    pub thick_t1: f64,
    /// Probability of an in-plane blur.
    pub blur: f64,
    /// Largest standard deviation of that blur in mm.
    pub blur_sigma: f32,
    /// Probability of a bias field.
    pub bias: f64,
    /// Largest standard deviation of the bias field's logarithm.
    pub bias_strength: f32,
    /// Probability of another contrast (a power of the intensity).
    pub gamma: f64,
    /// Standard deviation of the logarithm of that power.
    pub gamma_strength: f32,
    /// Probability of Rician noise.
    pub noise: f64,
    /// Largest standard deviation of the noise.
    pub noise_sigma: f32,
    /// Probability that the field of view ends inside the head.
    pub crop: f64,
    /// Longest piece cut off at the bottom or top in mm.
    pub crop_length: f32,
}

impl Default for Acquisition {
    fn default() -> Self {
        Self {
            grey: 0.6,
            grey_strength: 0.06,
            limbic: 0.7,
            caps: 0.0,
            thick: 0.5,
            thickness: [1.5, 5.0],
            axial: 0.75,
            thick_t1: 0.7,
            blur: 0.3,
            blur_sigma: 0.8,
            bias: 0.6,
            bias_strength: 0.18,
            gamma: 0.4,
            gamma_strength: 0.2,
            noise: 0.7,
            noise_sigma: 0.07,
            crop: 0.2,
            crop_length: 35.0,
        }
    }
}

/// What is left around the brain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Surround {
    /// Probability of a whole head: dura, skull, scalp and neck, as in a raw upload.
    pub head: f64,
    /// Probability of pieces of dura and skull left by an imperfect extraction of the brain.
    pub residue: f64,
    /// Probability that what lies around the brain of a clinical scan is made brighter or darker.
    pub relit: f64,
}

impl Default for Surround {
    fn default() -> Self {
        Self {
            head: 0.35,
            residue: 0.2,
            relit: 0.7,
        }
    }
}

/// Augmentation of a normalised patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PatchAugmentation {
    /// The paper's 180-degree rotation in one plane: xy with probability 1/4, xz 3/16, yz 9/64, none 27/64.
    pub rotate: bool,
    /// Probability that T1 is missing: its channel is zero.
    pub missing_t1: f64,
    /// Standard deviation of the logarithm of a factor on each channel.
    pub scale: f32,
    /// Standard deviation of a shift of each channel, in standard deviations of the head.
    pub shift: f32,
}

impl Default for PatchAugmentation {
    fn default() -> Self {
        Self {
            rotate: true,
            missing_t1: 0.3,
            scale: 0.05,
            shift: 0.05,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degradations_grow_to_what_is_configured() {
        let config = DataConfig {
            harden: [100, 300],
            ..DataConfig::default()
        };
        let thick = |counter| config.at(counter).acquisition.thick;
        assert_eq!(
            [thick(0), thick(100), thick(200), thick(300)],
            [0.0, 0.0, 0.25, 0.5]
        );
        assert_eq!(config.at(50).surround.head, 0.0);
        assert_eq!(config.at(400), config);
        assert_eq!(DataConfig::default().at(0), DataConfig::default());
    }

    #[test]
    fn survives_json_and_fills_in_what_is_left_out() -> Result<(), serde_json::Error> {
        let config = DataConfig::default();
        let text = serde_json::to_string(&config)?;
        assert_eq!(serde_json::from_str::<DataConfig>(&text)?, config);
        let partial: DataConfig = serde_json::from_str(r#"{"side": 48, "mix": {"real": 1.0}}"#)?;
        assert_eq!(partial.side, 48);
        assert_eq!(partial.selection, Selection::default());
        assert!(serde_json::from_str::<DataConfig>(r#"{"sides": 48}"#).is_err());
        Ok(())
    }
}
