//! What a fine-tuning takes in memory, said beforehand, and what to change if it does not fit.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Case, Part, Settings};
use crate::net::{ConfigError, NetConfig, layer_table, memory};

/// Bytes of a value.
const VALUE: u64 = 4;

/// Memory of a fine-tuning at its worst moment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The engine: a step, the weights, their average, gradients and moments.
    pub engine: u64,
    /// Where the cases live.
    pub desk: u64,
    /// True if the engine keeps maps for the backward pass instead of making them again.
    pub keep: bool,
}

/// A plan that does not fit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "Training needs {:.1} GB of the engine's memory, and {:.1} GB are there.{}",
    *.needed as f64 / 1e9, *.limit as f64 / 1e9,
    .remedy.as_ref().map_or(" No setting of this network fits; use another engine or a smaller network.".to_owned(),
        |remedy| format!(" This fits: {remedy}."))
)]
pub struct TooLarge {
    /// Bytes needed.
    pub needed: u64,
    /// Bytes there are.
    pub limit: u64,
    /// What to change, in words.
    pub remedy: Option<String>,
    /// The settings with that change.
    pub fits: Option<Box<Settings>>,
}

/// Memory of a fine-tuning with maps kept or made again.
///
/// # Errors
/// [`ConfigError`] if the patch does not fit the network.
pub fn needs(
    net: &NetConfig,
    settings: &Settings,
    cases: &[Arc<Case>],
    keep: bool,
) -> Result<Needs, ConfigError> {
    let step = memory::tuning(net, settings.patch, settings.part, keep)?;
    let looking = memory::inference(net, settings.patch, 1)?;
    let table = layer_table(net, settings.patch);
    let all: u64 = table.iter().map(|row| row.parameters as u64).sum();
    let learns = |name: &str| match settings.part {
        Part::Head => name.starts_with("head"),
        Part::Decoder => name.starts_with("head") || name.starts_with("up"),
        Part::Everything => true,
    };
    let moving: u64 = table
        .iter()
        .filter(|row| learns(&row.name))
        .map(|row| row.parameters as u64)
        .sum();
    // The network that learns, the one that predicts, the one that is packed, and a packed file; average, gradient, two
    // moments and their next values.
    let weights = (4 * all + 8 * moving) * VALUE;
    let voxels = |case: &Arc<Case>| case.head().grid().len() as u64;
    // FLAIR, T1, foreground, label, and indices of the voxels where patches are centred.
    let kept: u64 = cases
        .iter()
        .map(|case| voxels(case) * (2 * VALUE + 2) + voxels(case) / 4 + case.reference().voxels.len() as u64)
        .sum();
    // While a case is scored: two sums, the probability on both grids, the order of the voxels.
    let scored = cases
        .iter()
        .map(|case| voxels(case) * 3 * VALUE + case.reference().voxels.len() as u64 * 4 * VALUE)
        .max()
        .unwrap_or(0);
    Ok(Needs {
        engine: weights + step.max(looking),
        desk: kept + scored,
        keep,
    })
}

/// Whether a fine-tuning fits into `limit` bytes of the engine's memory: with maps kept if that fits, which is faster, else with maps made
/// again.
///
/// # Errors
/// [`TooLarge`] with the first change that fits: a smaller patch, then the decoder alone, then both, then the head.
pub fn fit(net: &NetConfig, settings: &Settings, cases: &[Arc<Case>], limit: u64) -> Result<Needs, TooLarge> {
    let fits = |settings: &Settings| {
        [true, false]
            .into_iter()
            .filter_map(|keep| needs(net, settings, cases, keep).ok())
            .find(|needs| needs.engine <= limit)
    };
    if let Some(needs) = fits(settings) {
        return Ok(needs);
    }
    let multiple = net.side_multiple();
    let smaller = |settings: &Settings| {
        (1..settings.patch.div_ceil(multiple))
            .rev()
            .map(|n| Settings {
                patch: n * multiple,
                ..settings.clone()
            })
            // Below 32 mm a patch shows too little of the surroundings.
            .filter(|settings| settings.patch >= 32.max(multiple))
            .find(|settings| fits(settings).is_some())
    };
    let part = |part| Settings {
        part,
        ..settings.clone()
    };
    let patch = |s: &Settings| format!("a patch of {} voxels", s.patch);
    let mut remedy = None;
    if let Some(small) = smaller(settings) {
        remedy = Some((patch(&small), small));
    } else if settings.part == Part::Everything {
        let decoder = part(Part::Decoder);
        if fits(&decoder).is_some() {
            remedy = Some(("training the decoder alone".to_owned(), decoder));
        } else if let Some(small) = smaller(&decoder) {
            remedy = Some((
                format!("training the decoder alone with {}", patch(&small)),
                small,
            ));
        }
    }
    if remedy.is_none() && settings.part != Part::Head {
        let head = part(Part::Head);
        let found = fits(&head).map(|_| head.clone()).or_else(|| smaller(&head));
        remedy = found.map(|s| (format!("training the head alone with {}", patch(&s)), s));
    }
    let needed = needs(net, settings, cases, false).map_or(u64::MAX, |needs| needs.engine);
    let (remedy, fits) = remedy.map_or((None, None), |(words, settings)| {
        (Some(words), Some(Box::new(settings)))
    });
    Err(TooLarge {
        needed,
        limit,
        remedy,
        fits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_fits_two_gigabytes_at_64() {
        let net = NetConfig::browser();
        let settings = Settings {
            patch: 64,
            part: Part::Everything,
            ..Settings::default()
        };
        let found = fit(&net, &settings, &[], 2_000_000_000).unwrap();
        assert!(found.engine <= 2_000_000_000, "{found:?}");
        // Smaller parts take less, and maps made again take less than kept ones.
        let engine = |part, keep| {
            needs(
                &net,
                &Settings {
                    part,
                    ..settings.clone()
                },
                &[],
                keep,
            )
            .unwrap()
            .engine
        };
        assert!(engine(Part::Head, false) < engine(Part::Decoder, false));
        assert!(engine(Part::Decoder, false) < engine(Part::Everything, false));
        assert!(engine(Part::Everything, false) < engine(Part::Everything, true));
    }

    #[test]
    fn what_does_not_fit_names_what_would() {
        let net = NetConfig::browser();
        let settings = Settings {
            patch: 96,
            part: Part::Everything,
            ..Settings::default()
        };
        let mut last = u64::MAX;
        for limit in [600_000_000, 250_000_000, 120_000_000, 60_000_000] {
            let refused = fit(&net, &settings, &[], limit).unwrap_err();
            assert!(refused.needed > limit);
            let Some(change) = refused.fits.clone() else {
                assert!(refused.to_string().contains("No setting"), "{refused}");
                continue;
            };
            let fitting = fit(&net, &change, &[], limit).unwrap();
            assert!(fitting.engine <= limit && fitting.engine <= last, "{refused}");
            assert!(refused.to_string().contains(refused.remedy.as_deref().unwrap()));
            last = fitting.engine;
        }
        assert!(fit(&net, &settings, &[], 1000).unwrap_err().remedy.is_none());
    }
}
