//! From the header's qform, sform and pixdim to an affine, and from an affine to a quaternion.
//!
//! Source: the comments of `nifti1.h` (sections "3D IMAGE (VOLUME) ORIENTATION AND LOCATION IN SPACE").

use nalgebra::{Matrix3, Matrix4, Quaternion, Rotation3, UnitQuaternion, Vector3};

use super::fields::Fields;

/// Which part of the header an affine was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AffineSource {
    /// `srow_x/y/z` (`sform_code` > 0).
    Sform,
    /// `quatern_b/c/d`, `qoffset_x/y/z` and `pixdim` (`qform_code` > 0).
    Qform,
    /// `pixdim` alone: the header does not say how the scan lies.
    Pixdim,
}

/// The affine a header gives: sform if it has one, else qform, else voxel sizes alone. A form that cannot be used
/// (not finite, or flat) is passed over, and the notes say so.
pub(super) fn affine(
    fields: &Fields,
    shape: [usize; 3],
    notes: &mut Vec<String>,
) -> (Matrix4<f64>, AffineSource) {
    if fields.sform_code > 0 {
        let affine = sform(fields);
        if is_usable(&affine) {
            return (affine, AffineSource::Sform);
        }
        notes.push("The header's sform is not usable (it has no volume); it was ignored.".to_owned());
    }
    if fields.qform_code > 0 {
        let affine = qform(fields);
        if is_usable(&affine) {
            return (affine, AffineSource::Qform);
        }
        notes.push("The header's qform is not usable (it has no volume); it was ignored.".to_owned());
    }
    notes.push(
        "The header does not say how the scan lies (no qform, no sform). It is taken to be in radiological order \
         (left, anterior, superior); left and right may be swapped."
            .to_owned(),
    );
    (from_pixdim(fields, shape, notes), AffineSource::Pixdim)
}

fn sform(fields: &Fields) -> Matrix4<f64> {
    let mut affine = Matrix4::identity();
    for (row, values) in fields.srow.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            affine[(row, column)] = *value;
        }
    }
    affine
}

fn qform(fields: &Fields) -> Matrix4<f64> {
    let [b, c, d, x, y, z] = fields.quatern;
    let squares = b * b + c * c + d * d;
    // The fourth part follows from the unit length; rounding may leave nothing for it.
    let a = (1.0 - squares).max(0.0).sqrt();
    let rotation = UnitQuaternion::from_quaternion(Quaternion::new(a, b, c, d)).to_rotation_matrix();
    let qfac = if fields.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let scale = Vector3::new(
        fields.pixdim[1].abs(),
        fields.pixdim[2].abs(),
        fields.pixdim[3].abs() * qfac,
    );
    compose(&(rotation.matrix() * Matrix3::from_diagonal(&scale)), [x, y, z])
}

/// nibabel's base affine: voxel sizes, the first axis running to the left, the world's origin in the centre.
fn from_pixdim(fields: &Fields, shape: [usize; 3], notes: &mut Vec<String>) -> Matrix4<f64> {
    let mut size = [0, 1, 2].map(|i| fields.pixdim[i + 1].abs());
    if size
        .iter()
        .any(|s| !s.is_finite() || *s < MIN_EDGE || *s > MAX_EDGE)
    {
        notes.push("The header gives no voxel size; 1 x 1 x 1 mm is assumed.".to_owned());
        size = [1.0; 3];
    }
    let scale = Vector3::new(-size[0], size[1], size[2]);
    let centre = [0, 1, 2].map(|i| -scale[i] * (shape[i] as f64 - 1.0) / 2.0);
    compose(&Matrix3::from_diagonal(&scale), centre)
}

fn compose(linear: &Matrix3<f64>, origin: [f64; 3]) -> Matrix4<f64> {
    let mut affine = Matrix4::identity();
    affine.fixed_view_mut::<3, 3>(0, 0).copy_from(linear);
    affine
        .fixed_view_mut::<3, 1>(0, 3)
        .copy_from(&Vector3::from(origin));
    affine
}

/// Voxel edges outside these bounds (in the header's unit) are no measurement.
const MIN_EDGE: f64 = 1e-6;
const MAX_EDGE: f64 = 1e6;

fn is_usable(affine: &Matrix4<f64>) -> bool {
    let linear = affine.fixed_view::<3, 3>(0, 0);
    let edges = [0, 1, 2].map(|i| linear.column(i).norm());
    affine.iter().all(|v| v.is_finite())
        && edges.iter().all(|e| (MIN_EDGE..=MAX_EDGE).contains(e))
        // The parallelepiped of the unit edges must not be flat.
        && (linear.determinant() / edges.iter().product::<f64>()).abs() > 1e-3
}

/// Quaternion parts b, c, d and `qfac` of an affine, and whether they hold all of it (no shear).
pub(super) fn quaternion(affine: &Matrix4<f64>) -> ([f64; 3], f64, bool) {
    let mut directions: Matrix3<f64> = affine.fixed_view::<3, 3>(0, 0).into_owned();
    for mut column in directions.column_iter_mut() {
        column.normalize_mut();
    }
    let qfac = if directions.determinant() < 0.0 { -1.0 } else { 1.0 };
    let mut last = directions.column_mut(2);
    last *= qfac;
    // The closest rotation: what is left of the singular value decomposition without the stretches.
    let svd = directions.svd(true, true);
    let (Some(u), Some(v_t)) = (svd.u, svd.v_t) else {
        return ([0.0; 3], qfac, false);
    };
    let rotation = u * v_t;
    let exact = (rotation - directions).amax() < 1e-6;
    let q = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(rotation)).into_inner();
    let sign = if q.w < 0.0 { -1.0 } else { 1.0 };
    ([q.i * sign, q.j * sign, q.k * sign], qfac, exact)
}
