//! The threshold that other patients choose for a case: what could have been known before looking at it.

use super::score::Scored;
use super::scores::patients;
use super::word;
use equipoise::metrics::{Confusion, MetricsError, confusions_at};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

/// Scores at one threshold; `None` where a ratio has no value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct DscAt {
    pub(super) threshold: f32,
    #[serde(rename = "DSC")]
    pub(super) dsc: Option<f64>,
    #[serde(rename = "PPV")]
    pub(super) ppv: Option<f64>,
    #[serde(rename = "TPR")]
    pub(super) tpr: Option<f64>,
    #[serde(rename = "F2")]
    pub(super) f2: Option<f64>,
}

impl DscAt {
    pub(super) fn new(threshold: f32, confusion: &Confusion) -> Self {
        Self {
            threshold,
            dsc: confusion.dice(),
            ppv: confusion.ppv(),
            tpr: confusion.tpr(),
            f2: confusion.f_beta(2.0),
        }
    }
}

/// The thresholds to choose from, ascending.
pub(super) fn grid() -> Vec<f32> {
    (1..=19_u8)
        .map(|step| f32::from(step) / 20.0)
        .chain([0.97, 0.99])
        .collect()
}

/// Scores at every threshold of the grid, from all voxels.
pub(super) fn dsc_at(reference: &[bool], probability: &[f32]) -> Result<Vec<DscAt>, MetricsError> {
    let thresholds = grid();
    let found = confusions_at(reference, probability, &thresholds)?;
    let pairs = thresholds.into_iter().zip(found);
    Ok(pairs
        .map(|(threshold, confusion)| DscAt::new(threshold, &confusion))
        .collect())
}

/// What the other patients choose.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Choice {
    /// Place in the grid; of several equally good ones the highest.
    place: usize,
    /// Mean DSC of the other patients there.
    mean: f64,
    /// Number of other patients.
    others: usize,
}

/// Mean; `None` of nothing.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_u32);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// The threshold at which the mean DSC of all patients but `patient` is largest, of their DSC by threshold. A patient
/// with several sets of channels counts once, by their mean. `None` without other patients.
fn choose(patient: &str, pool: &[(&str, Vec<Option<f64>>)]) -> Option<Choice> {
    let mut others: Vec<&str> = pool.iter().map(|entry| entry.0).collect();
    others.sort_unstable();
    others.dedup();
    others.retain(|name| *name != patient);
    let of = |name: &str, place: usize| {
        let own = pool.iter().filter(|entry| entry.0 == name);
        mean(own.filter_map(|entry| *entry.1.get(place)?))
    };
    let places = pool.iter().map(|entry| entry.1.len()).max()?;
    let mut best: Option<Choice> = None;
    for place in 0..places {
        let Some(mean) = mean(others.iter().filter_map(|name| of(name, place))) else {
            continue;
        };
        if best.is_none_or(|best| mean >= best.mean) {
            best = Some(Choice {
                place,
                mean,
                others: others.len(),
            });
        }
    }
    best
}

/// The pool's thresholds, and those of networks that are compared, each from its own other patients.
pub(super) fn table(scored: &[&Scored<'_>]) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let pool: Vec<&Scored<'_>> = scored.iter().copied().filter(|s| s.pool).collect();
    if !pool.is_empty() {
        heading(
            &mut out,
            "Threshold from other patients",
            patients(pool.iter().copied()),
        )?;
        rows(&mut out, &pool)?;
        writeln!(out)?;
    }
    let mut names: Vec<&str> = scored.iter().filter_map(|s| s.group.compare.as_deref()).collect();
    names.dedup();
    for name in names {
        let compared: Vec<&Scored<'_>> = scored
            .iter()
            .copied()
            .filter(|s| s.group.compare.as_deref() == Some(name))
            .collect();
        let title = format!("Threshold from the network's other patients, {name}");
        heading(&mut out, &title, patients(compared.iter().copied()))?;
        let mut models: Vec<&Path> = compared.iter().map(|s| s.model).collect();
        models.sort_unstable();
        models.dedup();
        for model in models {
            let own: Vec<&Scored<'_>> = compared.iter().copied().filter(|s| s.model == model).collect();
            rows(&mut out, &own)?;
        }
        writeln!(out)?;
    }
    Ok(out)
}

fn heading(out: &mut String, title: &str, n: usize) -> std::fmt::Result {
    writeln!(out, "**{title}** (n = {n})\n")?;
    if n < 2 {
        writeln!(out, "It takes two patients at least.\n")?;
    }
    writeln!(
        out,
        "For each case that threshold of 0.05, 0.10, ..., 0.95, 0.97, 0.99 at which the mean DSC of the other patients \
         is largest (a patient with several sets of channels counts once, by their mean; first rater; every patient \
         by the network named beside it), and what it gives on the case.\n"
    )?;
    writeln!(
        out,
        "| network | case | channels | n others | threshold | mean DSC of the others there | DSC there | PPV | TPR | F2 | DSC at 0.5 |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|")
}

/// A line for each case of several patients, first rater.
fn rows(out: &mut String, scored: &[&Scored<'_>]) -> std::fmt::Result {
    let mut members: Vec<&Scored<'_>> = Vec::new();
    for s in scored {
        if !members
            .iter()
            .any(|m| (m.case, m.channels) == (s.case, s.channels))
        {
            members.push(s);
        }
    }
    let pool: Vec<(&str, Vec<Option<f64>>)> = members
        .iter()
        .map(|m| (m.case, m.dsc_at.iter().map(|at| at.dsc).collect()))
        .collect();
    for m in members {
        let Some(choice) = choose(m.case, &pool) else {
            continue;
        };
        let there = m.dsc_at[choice.place];
        writeln!(
            out,
            "| {} | {} | {} | {} | {:.2} | {:.3} | {} | {} | {} | {} | {} |",
            m.model.display(),
            m.case,
            m.channels,
            choice.others,
            there.threshold,
            choice.mean,
            word(there.dsc),
            word(there.ppv),
            word(there.tpr),
            word(there.f2),
            word(m.evaluation.dsc),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_ascends_and_holds_a_half() {
        let grid = grid();
        assert_eq!(grid.len(), 21);
        assert!(grid.is_sorted_by(|a, b| a < b) && grid.contains(&0.5));
    }

    #[test]
    fn a_case_never_chooses_its_own_threshold() {
        let some = |values: [f64; 3]| values.map(Some).to_vec();
        let pool = [
            ("a", some([0.9, 0.1, 0.0])),
            ("a", some([0.9, 0.3, 0.0])),
            ("b", some([0.0, 0.8, 0.4])),
            ("c", some([0.0, 0.2, 0.5])),
        ];
        // Of b and c the means are 0, 0.5, 0.45: a's own 0.9 counts for nothing.
        let choice = choose("a", &pool).unwrap();
        assert_eq!((choice.place, choice.others), (1, 2));
        assert!((choice.mean - 0.5).abs() < 1e-12);
        // a counts once, by its mean of 0.9, 0.2, 0.
        let choice = choose("b", &pool).unwrap();
        assert_eq!((choice.place, choice.others), (0, 2));
        assert!((choice.mean - 0.45).abs() < 1e-12);
        assert_eq!(choose("a", &pool[..2]), None);
        assert_eq!(choose("a", &[]), None);
    }

    #[test]
    fn patients_without_a_value_are_left_out_and_ties_go_up() {
        let pool = [
            ("a", vec![Some(0.4), Some(0.4)]),
            ("b", vec![None, None]),
            ("c", vec![Some(0.1), Some(0.1)]),
        ];
        let choice = choose("c", &pool).unwrap();
        assert_eq!(choice.place, 1);
        assert!((choice.mean - 0.4).abs() < 1e-12);
    }
}
