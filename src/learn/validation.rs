//! A fixed set of whole heads to validate on: the held-out patient, and made heads that were never trained on.

use super::augment::acquisition;
use super::augment::surround::{self, Kind};
use super::case::{self, Case, Origin};
use super::config::DataConfig;
use super::material::Material;
use super::random::{self, Purpose};
use super::subjects::{self, MaterialError};
use std::path::Path;

/// One head of the validation set.
#[derive(Clone, Debug)]
pub struct ValidationCase {
    /// What it is, for a log: `sub-19`, `sub-19-thick`, `sub-19-head`, `painted-0`, `synthetic-1`.
    pub name: String,
    /// True if this is a real patient's unchanged image; results on these are to be reported apart.
    pub real: bool,
    /// The normalised head and its truth.
    pub case: Case,
}

/// The validation set of the material's fold, always the same for the same seed.
///
/// - If a labelled patient is held out: that patient as is; with simulated 4 mm axial slices; and with a simulated head around the
///   brain and 4 mm slices, as raw uploads have.
/// - `made` heads from streams of random numbers that no training case uses, painted and synthetic in turn, with the
///   augmentation of `config`.
///
/// # Errors
/// [`MaterialError`] if the held-out patient cannot be read.
pub fn validation_cases(
    data: &Path,
    material: &Material,
    config: &DataConfig,
    seed: u64,
    made: usize,
) -> Result<Vec<ValidationCase>, MaterialError> {
    let mut cases = Vec::new();
    if let Some(patient) = material.fold.held_out.filter(|p| subjects::LABELLED.contains(p)) {
        let patient = subjects::load_labelled(data, patient)?;
        let name = format!("sub-{:02}", patient.patient);
        let head = case::head_of(&patient);
        let thick = |mut head: super::head::Head| {
            let shape = head.shape;
            for image in &mut head.images {
                acquisition::thicken(image, shape, 2, 4.0, 0.5);
            }
            head
        };
        let mut rng = random::stream(seed, Purpose::Validation, u64::MAX);
        let whole = surround::surround(&mut rng, head.clone(), Kind::Head);
        for (suffix, real, head) in [
            ("", true, head.clone().cut_to_brain(12)),
            ("-thick", false, thick(head.cut_to_brain(12))),
            ("-head", false, thick(whole)),
        ] {
            cases.push(ValidationCase {
                name: format!("{name}{suffix}"),
                real,
                case: Case::from_head(head, Origin::Real),
            });
        }
    }
    for i in 0..made {
        let origin = if i % 2 == 0 {
            Origin::Painted
        } else {
            Origin::Synthetic
        };
        let mut rng = random::stream(seed, Purpose::Validation, i as u64);
        if let Some(case) = case::make_from(&mut rng, material, config, origin) {
            let kind = if i % 2 == 0 { "painted" } else { "synthetic" };
            cases.push(ValidationCase {
                name: format!("{kind}-{}", i / 2),
                real: false,
                case,
            });
        }
    }
    Ok(cases)
}
