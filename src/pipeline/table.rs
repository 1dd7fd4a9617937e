//! The table of lesions as CSV.

use std::fmt::Write;

use super::report::Report;
use super::{Lesion, Verdict};

/// The columns of a lesion, units in their names.
const OF_LESION: &str = "id,of,verdict,voxels,volume_mm3,centre_x_mm,centre_y_mm,centre_z_mm,centre_i,centre_j,centre_k,\
                         extent_i_mm,extent_j_mm,extent_k_mm,mean_probability,max_probability,mean_disagreement";

/// The columns that say where a line comes from; they are the same in every line of a scan, so that lines of many scans
/// can be put together.
const OF_RUN: &str = "threshold,min_lesion_mm3,connectivity,patch,overlap,window,rotations,hyperintensity,model,model_sha256,\
                      flair_sha256,t1_sha256,software";

/// One line a lesion: those of the mask in their order, then those of the reference that it misses.
///
/// `of` is `mask` or `reference`; `verdict` is empty without a reference. World coordinates are RAS+ millimetres,
/// `i j k` (fractional) voxel indices from 0; `mean_disagreement` is the mean standard deviation of the votes. Numbers have
/// a point, fields a comma (RFC 4180).
#[must_use]
pub fn csv(report: &Report) -> String {
    let mut text = format!("{OF_LESION},{OF_RUN}\r\n");
    let run = of_run(report);
    let comparison = report.comparison.as_ref().map(|compared| &compared.comparison);
    for (at, lesion) in report.result.table.iter().enumerate() {
        let verdict = comparison.and_then(|comparison| comparison.verdicts.get(at));
        line(&mut text, "mask", verdict.copied(), lesion, &run);
    }
    for lesion in comparison.iter().flat_map(|comparison| &comparison.missed) {
        line(&mut text, "reference", Some(Verdict::FalseNegative), lesion, &run);
    }
    text
}

/// A scan in one line below its heading: load, count, mean disagreement inside the lesions, patches, seconds, and what
/// [`csv`] says about the run.
#[must_use]
pub fn summary(report: &Report) -> String {
    let found = &report.result;
    let voxels: usize = found.table.iter().map(|lesion| lesion.voxels).sum();
    let disagreement: Option<f64> = found
        .table
        .iter()
        .map(|lesion| Some(lesion.mean_disagreement? * lesion.voxels as f64))
        .sum::<Option<f64>>()
        .filter(|_| voxels > 0)
        .map(|sum| sum / voxels as f64);
    format!(
        "load_ml,lesions,mean_disagreement,patches,seconds,{OF_RUN}\r\n{:.4},{},{},{},{:.1},{}\r\n",
        found.load_ml,
        found.lesions,
        disagreement.map_or_else(String::new, |mean| format!("{mean:.4}")),
        found.patches,
        report.timings.prepare + report.timings.segment + report.timings.finish,
        of_run(report)
    )
}

fn of_run(report: &Report) -> String {
    let (cut, settings) = (&report.cut, &report.settings);
    [
        format!("{}", cut.threshold),
        format!("{}", cut.min_lesion_mm3),
        u8::from(cut.connectivity).to_string(),
        settings.patch.to_string(),
        format!("{}", settings.overlap),
        settings.window.to_string(),
        settings.rotations.to_string(),
        settings.hyperintensity.to_string(),
        quoted(&report.model.name),
        quoted(&report.model.sha256),
        report.flair.sha256.clone(),
        report
            .t1
            .as_ref()
            .map_or_else(String::new, |t1| t1.sha256.clone()),
        quoted(&format!("{} {}", report.software.name, report.software.version)),
    ]
    .join(",")
}

/// Text as a field: quoted where a comma, a quote or a line's end would be misread.
pub(super) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn line(text: &mut String, of: &str, verdict: Option<Verdict>, lesion: &Lesion, run: &str) {
    let Lesion {
        id,
        voxels,
        volume_mm3,
        centre_voxel,
        centre_mm,
        extent_mm,
        mean_probability,
        max_probability,
        mean_disagreement,
    } = lesion;
    // Writing to a String cannot fail.
    let _ = write!(text, "{id},{of},{}", verdict.map_or("", Verdict::letters));
    let _ = write!(text, ",{voxels},{volume_mm3:.3}");
    for value in centre_mm.iter().chain(centre_voxel).chain(extent_mm) {
        // No negative zero.
        let _ = write!(text, ",{:.3}", (value * 1e3).round() / 1e3 + 0.0);
    }
    let disagreement = mean_disagreement.map_or_else(String::new, |mean| format!("{mean:.4}"));
    let _ = write!(
        text,
        ",{mean_probability:.4},{max_probability:.4},{disagreement},{run}\r\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::report::tests::report;

    fn lesion() -> Lesion {
        Lesion {
            id: 3,
            voxels: 12,
            volume_mm3: 11.25,
            centre_voxel: [1.0, 2.5, 3.0],
            centre_mm: [-20.125, -1e-9, 7.0],
            extent_mm: [2.0, 3.0, 1.5],
            mean_probability: 0.75,
            max_probability: 1.0,
            mean_disagreement: Some(0.0625),
        }
    }

    #[test]
    fn every_line_has_every_column() {
        let mut report = report();
        report.model.name = "odd, \"name\"".to_owned();
        report.result.table = vec![lesion(), lesion()];
        let text = csv(&report);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines.len(), 4, "a heading, two lesions and the end: {text}");
        let columns = lines[0].split(',').count();
        // The name holds one comma more.
        assert_eq!(lines[1].split(',').count(), columns + 1);
        let sha = &report.flair.sha256;
        let expected = format!(
            "3,mask,,12,11.250,-20.125,0.000,7.000,1.000,2.500,3.000,2.000,3.000,1.500,0.7500,1.0000,0.0625,\
             0.5,0,26,64,0.5,bspline,false,true,\"odd, \"\"name\"\"\",{},{sha},,equipoise {}",
            report.model.sha256, report.software.version
        );
        assert_eq!(lines[1], expected);
    }

    #[test]
    fn a_scan_is_one_line() {
        let mut report = report();
        let apart = |voxels, mean| Lesion {
            voxels,
            mean_disagreement: Some(mean),
            ..lesion()
        };
        report.result.table = vec![apart(3, 0.2), apart(1, 0.6)];
        report.result.lesions = 2;
        report.result.load_ml = 1.5;
        let text = summary(&report);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
        assert!(lines[1].starts_with("1.5000,2,0.3000,8,0.0,0.5,0,26,"), "{text}");
        report.result.table.clear();
        assert!(summary(&report).contains(",2,,8,"), "no lesion, no mean");
    }
}
