//! Affine transforms as text files of the Insight Toolkit (ITK).

use nalgebra::{Matrix3, Matrix4, Vector3};

/// Reads a `MatrixOffsetTransformBase_double_3_3` and gives it as a matrix on world points in millimetres, RAS+ (ITK's are LPS+): from a
/// point of the image that was resampled to (fixed) to the same place in the one that was resampled (moving).
///
/// # Errors
/// What is wrong with the text, in words.
pub(super) fn parse(text: &str) -> Result<Matrix4<f64>, String> {
    let line = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    match line("Transform").map(str::trim) {
        Some("MatrixOffsetTransformBase_double_3_3" | "AffineTransform_double_3_3") => {}
        other => return Err(format!("a transform of the kind {other:?}, not an affine one")),
    }
    let numbers = |name: &str, count: usize| -> Result<Vec<f64>, String> {
        let words = line(name).ok_or_else(|| format!("no line '{name}:'"))?;
        let values: Vec<f64> = words
            .split_whitespace()
            .map(|w| w.parse().map_err(|_| format!("{name}: '{w}' is no number")))
            .collect::<Result<_, String>>()?;
        if values.len() == count && values.iter().all(|v| v.is_finite()) {
            Ok(values)
        } else {
            Err(format!(
                "{name}: {} numbers, not {count} finite ones",
                values.len()
            ))
        }
    };
    let parameters = numbers("Parameters", 12)?;
    let centre = Vector3::from_row_slice(&numbers("FixedParameters", 3)?);
    let linear = Matrix3::from_row_slice(&parameters[..9]);
    let offset = Vector3::from_row_slice(&parameters[9..]) + centre - linear * centre;
    let mut lps = Matrix4::identity();
    lps.fixed_view_mut::<3, 3>(0, 0).copy_from(&linear);
    lps.fixed_view_mut::<3, 1>(0, 3).copy_from(&offset);
    let flip = Matrix4::from_diagonal(&[-1.0, -1.0, 1.0, 1.0].into());
    Ok(flip * lps * flip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Vector4;

    const TURN: &str = "#Insight Transform File V1.0\n#Transform 0\nTransform: MatrixOffsetTransformBase_double_3_3\n\
                        Parameters: 0 -1 0 1 0 0 0 0 1 5 6 7\nFixedParameters: 10 20 30\n";

    #[test]
    fn a_turn_about_a_centre_and_a_shift() {
        let matrix = parse(TURN).unwrap();
        // In LPS the point (11, 20, 30) is one to the left of the centre; the turn brings it one behind, then comes the shift: (15, 27, 37).
        let moved = matrix * Vector4::new(-11.0, -20.0, 30.0, 1.0);
        assert!(
            (moved - Vector4::new(-15.0, -27.0, 37.0, 1.0)).norm() < 1e-12,
            "{moved}"
        );
    }

    #[test]
    fn what_is_no_affine_transform_is_refused() {
        for (broken, word) in [
            ("", "kind"),
            ("Transform: BSplineTransform_double_3_3\n", "kind"),
            (&TURN.replace("5 6 7", "5 6"), "11 numbers"),
            (&TURN.replace("5 6 7", "5 6 x"), "'x'"),
            (&TURN.replace("5 6 7", "5 6 inf"), "finite"),
            (&TURN.replace("Fixed", "Free"), "FixedParameters"),
        ] {
            let problem = parse(broken).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
