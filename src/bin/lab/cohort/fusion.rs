//! The same network with other windows, overlaps, rotations, and without T1.

use super::list::Group;
use super::runner::Runner;
use super::score::{Pass, Subject, way};
use equipoise::pipeline::{Prepared, Settings};
use equipoise::tiling::Window;
use equipoise::volume::Volume;
use serde::Serialize;
use std::fmt::Write as _;

/// Overlaps that are tried beside that of the first run.
const OVERLAPS: [f64; 2] = [0.0, 0.75];

/// One case in one way, beside its first rater's reference.
#[derive(Serialize)]
pub(super) struct Trial<'a> {
    heading: &'a str,
    case: &'a str,
    channels: &'static str,
    /// The T1 was left out.
    without_t1: bool,
    settings: Settings,
    /// Patches predicted, rotations counted.
    patches: usize,
    /// Time from prepared scan to fused probability; windows that share their votes share it.
    seconds: f64,
    #[serde(rename = "DSC")]
    dsc: Option<f64>,
    #[serde(rename = "PPV")]
    ppv: Option<f64>,
    #[serde(rename = "TPR")]
    tpr: Option<f64>,
    #[serde(rename = "APR")]
    apr: Option<f64>,
}

impl Trial<'_> {
    /// The setting in words.
    fn setting(&self) -> String {
        let window = match self.settings.window {
            Window::Bspline => "B-spline",
            Window::Gaussian => "Gaussian",
            Window::Uniform => "uniform",
        };
        let t1 = if self.without_t1 { ", without T1" } else { "" };
        let way = way(self.settings.rotations, !self.settings.hyperintensity);
        format!("{window}, overlap {}{t1}{way}", self.settings.overlap)
    }
}

/// Every way over one case, whose first run (with all windows) is `first`.
pub(super) fn trials<'a>(
    group: &'a Group,
    subject: &Subject<'a>,
    prepared: &Prepared,
    first: Pass,
    runner: &Runner,
) -> Result<Vec<Trial<'a>>, Box<dyn std::error::Error>> {
    let Some((_, truth)) = subject.raters.first() else {
        return Ok(Vec::new());
    };
    let trial = |probability: &Volume, window: Window, pass: &Pass, without_t1: bool| {
        let scores = truth.evaluate(&truth.place(probability)?)?;
        Ok::<_, Box<dyn std::error::Error>>(Trial {
            heading: &group.heading,
            case: &subject.case.name,
            channels: if without_t1 { "FLAIR" } else { subject.channels() },
            without_t1,
            settings: Settings {
                window,
                compare_windows: false,
                ..pass.settings.clone()
            },
            patches: pass.patches,
            seconds: pass.seconds,
            dsc: scores.dsc,
            ppv: scores.ppv,
            tpr: scores.tpr,
            apr: scores.apr,
        })
    };
    let base = Settings {
        compare_windows: false,
        ..first.settings.clone()
    };
    let mut all = Vec::new();
    for (window, probability) in &first.others {
        all.push(trial(probability, *window, &first, false)?);
    }
    all.push(trial(&first.probability, base.window, &first, false)?);
    // Probabilities of a whole head are large, and these are no longer needed.
    drop(first);

    let overlaps = OVERLAPS.iter().filter(|overlap| **overlap != base.overlap);
    let overlapped = overlaps.map(|&overlap| Settings {
        overlap,
        ..base.clone()
    });
    let turned = Settings {
        rotations: true,
        ..base.clone()
    };
    let plain = Settings {
        hyperintensity: false,
        ..base.clone()
    };
    for settings in overlapped.chain([turned, plain]) {
        let pass = runner.pass(prepared, &settings)?;
        all.push(trial(&pass.probability, settings.window, &pass, false)?);
    }
    if let Some(flair) = subject.prepare_flair()? {
        let pass = runner.pass(&flair, &base)?;
        all.push(trial(&pass.probability, base.window, &pass, true)?);
    }
    Ok(all)
}

/// A mean over the cases of a setting; says so where not all of them have a value.
fn mean(trials: &[&Trial<'_>], of: impl Fn(&Trial<'_>) -> Option<f64>) -> String {
    let values: Vec<f64> = trials.iter().filter_map(|trial| of(trial)).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    match values.len() {
        0 => "-".to_owned(),
        n if n == trials.len() => format!("{mean:.3}"),
        n => format!("{mean:.3} (n = {n})"),
    }
}

/// A table for each group; empty without trials.
pub(super) fn table(trials: &[Trial<'_>]) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    for group in trials.chunk_by(|a, b| a.heading == b.heading) {
        let heading = group[0].heading;
        writeln!(out, "**Fusion and input** ({heading})\n")?;
        writeln!(
            out,
            "Threshold 0.5, first rater, means over the n cases. At the overlap of the first row the windows fuse the \
             same votes, so patches and seconds are of one run.\n"
        )?;
        writeln!(
            out,
            "| setting | channels | patches | seconds | DSC | PPV | TPR | APR | n |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
        let mut keys: Vec<(String, &str)> = Vec::new();
        for trial in group {
            let key = (trial.setting(), trial.channels);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        for (setting, channels) in keys {
            let same = |trial: &&Trial<'_>| trial.setting() == setting && trial.channels == channels;
            let members: Vec<&Trial<'_>> = group.iter().filter(same).collect();
            let n = members.len() as f64;
            writeln!(
                out,
                "| {setting} | {channels} | {:.0} | {:.1} | {} | {} | {} | {} | {n} |",
                members.iter().map(|t| t.patches as f64).sum::<f64>() / n,
                members.iter().map(|t| t.seconds).sum::<f64>() / n,
                mean(&members, |t| t.dsc),
                mean(&members, |t| t.ppv),
                mean(&members, |t| t.tpr),
                mean(&members, |t| t.apr),
            )?;
        }
        writeln!(out)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(case: &'static str, window: Window, dsc: Option<f64>) -> Trial<'static> {
        Trial {
            heading: "Two heads",
            case,
            channels: "FLAIR",
            without_t1: false,
            settings: Settings {
                window,
                ..Settings::default()
            },
            patches: 10,
            seconds: 2.0,
            dsc,
            ppv: dsc,
            tpr: None,
            apr: Some(0.25),
        }
    }

    #[test]
    fn a_row_is_the_mean_of_a_setting_s_cases() {
        let trials = [
            trial("a", Window::Uniform, Some(0.25)),
            trial("a", Window::Bspline, Some(0.5)),
            trial("b", Window::Uniform, Some(0.75)),
            trial("b", Window::Bspline, None),
        ];
        let table = table(&trials).unwrap();
        for row in [
            "**Fusion and input** (Two heads)",
            "| uniform, overlap 0.5 | FLAIR | 10 | 2.0 | 0.500 | 0.500 | - | 0.250 | 2 |",
            "| B-spline, overlap 0.5 | FLAIR | 10 | 2.0 | 0.500 (n = 1) | 0.500 (n = 1) | - | 0.250 | 2 |",
        ] {
            assert!(table.contains(row), "{row} in\n{table}");
        }
        assert_eq!(super::table(&[]).unwrap(), "");
    }
}
