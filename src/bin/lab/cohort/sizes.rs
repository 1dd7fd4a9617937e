//! Which lesions are found, by their size: a table and a figure.

use super::figure::{Figure, Line};
use super::score::Scored;
use super::word;
use crate::Outcome;
use equipoise::metrics::{SIZE_CLASSES_MM3, SizeClass};
use std::fmt::Write as _;
use std::path::Path;

/// A class in words, in mm3.
fn name(lower: f64, upper: Option<f64>) -> String {
    upper.map_or(format!("{lower} and more"), |upper| format!("{lower}-{upper}"))
}

pub(super) fn table(scored: &[&Scored<'_>]) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "**By lesion size**\n")?;
    writeln!(
        out,
        "Lesions of the reference (18-connected), cut at the threshold of the tables above. Detected: shares a voxel \
         with what was marked. Dice: of a lesion and the union of the marked components that touch it, 0 if it was \
         missed; a component that runs through several lesions counts whole for each.\n"
    )?;
    writeln!(
        out,
        "| network | case | channels | rater | mm3 | n lesions | detected | TPR of their voxels | mean Dice |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
    for s in scored {
        let mut row = |size: &str, n: usize, scores: [Option<f64>; 3]| {
            let [detected, tpr, dice] = scores.map(word);
            writeln!(
                out,
                "| {} | {} | {} | {} | {size} | {n} | {detected} | {tpr} | {dice} |",
                s.model.display(),
                s.case,
                s.channels,
                s.rater,
            )
        };
        for class in &s.sizes.classes {
            row(
                &name(class.lower_mm3, class.upper_mm3),
                class.lesions,
                [class.detected_share(), class.tpr(), class.mean_dice],
            )?;
        }
        if s.sizes.smaller > 0 {
            let size = format!("below {}, in no class", SIZE_CLASSES_MM3[0]);
            row(&size, s.sizes.smaller, [None; 3])?;
        }
    }
    writeln!(out)?;
    Ok(out)
}

pub(super) fn draw(path: &Path, scored: &[&Scored<'_>]) -> Outcome {
    let counted = |s: &Scored<'_>| -> Vec<String> {
        let classes = s.sizes.classes.iter();
        classes.map(|class| class.lesions.to_string()).collect()
    };
    let lines: Vec<Line> = scored
        .iter()
        .map(|s| Line {
            label: format!("{}, n = {}", s.label(), counted(s).join(", ")),
            points: s
                .sizes
                .classes
                .iter()
                .map(SizeClass::detected_share)
                .enumerate()
                .filter_map(|(index, share)| Some((index as f64, share?)))
                .collect(),
        })
        .collect();
    let ends = SIZE_CLASSES_MM3[1..].iter().copied().map(Some).chain([None]);
    let names = SIZE_CLASSES_MM3
        .iter()
        .zip(ends)
        .map(|(lower, upper)| name(*lower, upper));
    Figure {
        title: "Lesions detected by size (n: lesions of each class)",
        x: "volume of the lesion, mm3",
        y: "share detected",
        places: names.collect(),
        markers: true,
        ..Figure::default()
    }
    .write(path, &lines)
}
