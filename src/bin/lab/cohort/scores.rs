//! A group's scores as a table, and all precision-recall curves in one figure.

use super::figure::{Figure, Line};
use super::list::Group;
use super::score::{Scored, best_dsc};
use super::word;
use crate::Outcome;
use std::fmt::Write as _;
use std::path::Path;

/// One group as a Markdown table; `-` where a ratio has no value.
pub(super) fn table(group: &Group, scored: &[Scored<'_>]) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let patients = patients(scored.iter());
    writeln!(out, "**{}** (n = {patients})\n", group.heading)?;
    writeln!(
        out,
        "| case | channels | rater | mL | DSC | PPV | TPR | F2 | APR | VD | LTPR | LFPR | lesion F1 | best DSC, hindsight (threshold) |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
    for s in scored {
        let e = &s.evaluation;
        let best = best_dsc(e).map_or("-".to_owned(), |b| {
            format!("{:.3} ({:.2e})", b.f_beta, b.threshold)
        });
        writeln!(
            out,
            "| {} | {} | {} | {:.1} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {best} |",
            s.case,
            s.channels,
            s.rater,
            e.reference_ml,
            word(e.dsc),
            word(e.ppv),
            word(e.tpr),
            word(e.f2),
            word(e.apr),
            word(e.vd),
            word(e.ltpr),
            word(e.lfpr),
            word(e.lesion_f1),
        )?;
    }
    writeln!(out)?;
    Ok(out)
}

/// Number of patients.
pub(super) fn patients<'s>(scored: impl Iterator<Item = &'s Scored<'s>>) -> usize {
    let mut names: Vec<&str> = scored.map(|s| s.case).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

pub(super) fn draw(path: &Path, scored: &[&Scored<'_>]) -> Outcome {
    let lines: Vec<Line> = scored
        .iter()
        .map(|s| Line {
            label: s.label(),
            points: s
                .evaluation
                .curve
                .iter()
                .map(|p| (p.recall, p.precision))
                .collect(),
        })
        .collect();
    Figure {
        title: "Precision and recall over all thresholds",
        x: "recall (TPR)",
        y: "precision (PPV)",
        ..Figure::default()
    }
    .write(path, &lines)
}
