//! The table of lesions as CSV.

use std::fmt::Write;

use super::{Lesion, Verdict};

/// The columns, units in their names.
const HEADER: &str = "id,of,verdict,voxels,volume_mm3,centre_x_mm,centre_y_mm,centre_z_mm,centre_i,centre_j,centre_k,\
                      extent_i_mm,extent_j_mm,extent_k_mm,mean_probability,max_probability";

/// One line a lesion: those of the mask in their order, then those of the reference that it misses.
///
/// `of` is `mask` or `reference`; `verdict` is empty without a reference. World coordinates are RAS+ millimetres,
/// `i j k` (fractional) voxel indices from 0. Numbers have a point, fields a comma (RFC 4180).
#[must_use]
pub fn csv(lesions: &[Lesion], verdicts: &[Verdict], missed: &[Lesion]) -> String {
    let mut text = format!("{HEADER}\r\n");
    for (at, lesion) in lesions.iter().enumerate() {
        line(&mut text, "mask", verdicts.get(at).copied(), lesion);
    }
    for lesion in missed {
        line(&mut text, "reference", Some(Verdict::FalseNegative), lesion);
    }
    text
}

fn line(text: &mut String, of: &str, verdict: Option<Verdict>, lesion: &Lesion) {
    let Lesion {
        id,
        voxels,
        volume_mm3,
        centre_voxel,
        centre_mm,
        extent_mm,
        mean_probability,
        max_probability,
    } = lesion;
    // Writing to a String cannot fail.
    let _ = write!(text, "{id},{of},{}", verdict.map_or("", Verdict::letters));
    let _ = write!(text, ",{voxels},{volume_mm3:.3}");
    for value in centre_mm.iter().chain(centre_voxel).chain(extent_mm) {
        // No negative zero.
        let _ = write!(text, ",{:.3}", (value * 1e3).round() / 1e3 + 0.0);
    }
    let _ = write!(text, ",{mean_probability:.4},{max_probability:.4}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_every_column() {
        let lesion = Lesion {
            id: 3,
            voxels: 12,
            volume_mm3: 11.25,
            centre_voxel: [1.0, 2.5, 3.0],
            centre_mm: [-20.125, -1e-9, 7.0],
            extent_mm: [2.0, 3.0, 1.5],
            mean_probability: 0.75,
            max_probability: 1.0,
        };
        let text = csv(
            &[lesion.clone(), lesion.clone()],
            &[Verdict::TruePositive, Verdict::FalsePositive],
            std::slice::from_ref(&lesion),
        );
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines.len(), 5, "a heading, three lesions and the end: {text}");
        let columns = lines[0].split(',').count();
        assert!(lines[..4].iter().all(|line| line.split(',').count() == columns));
        assert_eq!(
            lines[1],
            "3,mask,TP,12,11.250,-20.125,0.000,7.000,1.000,2.500,3.000,2.000,3.000,1.500,0.7500,1.0000"
        );
        assert!(lines[3].starts_with("3,reference,FN,"));
        assert!(
            csv(&[lesion], &[], &[]).contains("3,mask,,12"),
            "no reference, no verdict"
        );
    }
}
