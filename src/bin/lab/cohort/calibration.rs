//! Whether the probabilities are right: a table, and a reliability diagram.

use super::figure::{Figure, Line};
use super::score::Scored;
use super::word;
use crate::Outcome;
use std::fmt::Write as _;
use std::path::Path;

/// Voxels below this probability are nearly all sure background.
const LEAST: f64 = 0.1;

pub(super) fn table(scored: &[&Scored<'_>]) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "**Calibration**\n")?;
    writeln!(
        out,
        "Expected calibration error (ECE): the mean over voxels of the distance between mean predicted probability and \
         observed share of lesion in their bin; bins are 0.1 wide. Over all voxels of the reference's grid, most of \
         which are sure background, and over those of probability {LEAST} and above. The last columns are of the \
         voxels of probability 0.4 to 0.6.\n"
    )?;
    writeln!(
        out,
        "| network | case | channels | rater | n voxels | ECE | n voxels, p >= {LEAST} | ECE, p >= {LEAST} \
         | n voxels, 0.4-0.6 | mean predicted | observed |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|")?;
    for s in scored {
        let calibration = &s.evaluation.calibration;
        let (likely, middle) = (calibration.band(LEAST, 1.0), calibration.band(0.4, 0.6));
        let all = calibration
            .expected_error
            .map_or("-".to_owned(), |error| format!("{error:.5}"));
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {all} | {} | {} | {} | {} | {} |",
            s.model.display(),
            s.case,
            s.channels,
            s.rater,
            s.evaluation.n_voxels,
            likely.voxels,
            word(likely.expected_error),
            middle.voxels,
            word(middle.mean_probability),
            word(middle.frequency),
        )?;
    }
    writeln!(out)?;
    Ok(out)
}

pub(super) fn draw(path: &Path, scored: &[&Scored<'_>]) -> Outcome {
    let lines: Vec<Line> = scored
        .iter()
        .map(|s| {
            let calibration = &s.evaluation.calibration;
            let voxels = calibration.band(LEAST, 1.0).voxels;
            Line {
                label: format!("{}, n = {voxels}", s.label()),
                points: calibration
                    .bins
                    .iter()
                    .filter_map(|bin| bin.mean_probability.zip(bin.frequency))
                    .collect(),
            }
        })
        .collect();
    Figure {
        title: "Reliability (n: voxels of probability 0.1 and above)",
        x: "mean predicted probability of the bin",
        y: "observed share of lesion",
        diagonal: true,
        markers: true,
        ..Figure::default()
    }
    .write(path, &lines)
}
