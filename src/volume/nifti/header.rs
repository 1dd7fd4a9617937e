//! A scan's header, kept as it was read so that results can be written with the same one.

use byteordered::Endianness;
use nalgebra::Matrix4;

use super::Limits;
use super::datatype::{Datatype, Scaling};
use super::fields::Fields;
use super::layout::{self, Layout, Version};
use super::transform::{self, AffineSource};
use crate::volume::{Grid, Orientation, VolumeError};

/// Header of a single-file NIfTI image that holds one scalar volume.
///
/// The raw bytes are kept, byte order included: what Equipoise writes for a scan differs from the scan's own header
/// only where the voxels differ (type, scaling, description).
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub(super) version: Version,
    pub(super) order: Endianness,
    /// The header proper, 348 or 540 bytes, without extensions.
    pub(super) raw: Vec<u8>,
    pub(super) fields: Fields,
    pub(super) datatype: Datatype,
    pub(super) grid: Grid,
    pub(super) affine_source: AffineSource,
}

impl Header {
    /// Reads and checks a header from the first bytes of an (unpacked) file.
    pub(super) fn parse(bytes: &[u8], limits: &Limits, notes: &mut Vec<String>) -> Result<Self, VolumeError> {
        let (version, order) = layout::detect(bytes)?;
        let layout = Layout::of(version);
        let raw = bytes[..layout.size].to_vec();
        let fields = Fields::parse(&raw, version, order)?;
        let shape = shape(&fields.dim, limits)?;
        let datatype = Datatype::from_code(fields.datatype)?;
        let (affine, affine_source) = transform::affine(&fields, shape, notes);
        let affine = to_millimetres(affine, shape, fields.xyzt_units, notes);
        Ok(Self {
            version,
            order,
            raw,
            fields,
            datatype,
            grid: Grid { shape, affine },
            affine_source,
        })
    }

    /// Version of the NIfTI standard.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Voxels along x, y, z.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.grid.shape
    }

    /// Voxel edge lengths in mm, from the affine.
    #[must_use]
    pub fn spacing(&self) -> [f64; 3] {
        self.grid.spacing()
    }

    /// The scan's voxel grid.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Which part of the header the grid's affine comes from.
    #[must_use]
    pub fn affine_source(&self) -> AffineSource {
        self.affine_source
    }

    /// The stored voxels' type in numpy's words, for example `int16`.
    #[must_use]
    pub fn datatype_name(&self) -> &'static str {
        self.datatype.name()
    }

    /// Directions in which the voxel axes run, for example `LAS` ([`Orientation`]).
    #[must_use]
    pub fn orientation(&self) -> String {
        Orientation::of(&self.grid.affine).code()
    }

    /// Where the voxels start in the (unpacked) file.
    pub(super) fn voxel_offset(&self, notes: &mut Vec<String>) -> Result<u64, VolumeError> {
        let offset = self.fields.vox_offset;
        let first = Layout::of(self.version).first_voxel();
        // Some writers leave the field 0.
        if offset == 0.0 {
            return Ok(first);
        }
        if !(offset >= first as f64 && offset <= MAX_VOXEL_OFFSET) {
            return Err(VolumeError::BadOffset { offset });
        }
        if offset.fract() != 0.0 {
            notes.push(format!(
                "The header says that the voxels start at byte {offset}; it was rounded down."
            ));
        }
        Ok(offset as u64)
    }

    /// How stored numbers become values; `None` if they are values already (slope 0, not finite, or identity).
    pub(super) fn scaling(&self, notes: &mut Vec<String>) -> Option<Scaling> {
        let Fields {
            scl_slope: slope,
            scl_inter: mut inter,
            ..
        } = self.fields;
        if slope == 0.0 || !slope.is_finite() {
            return None;
        }
        if !inter.is_finite() {
            notes.push("The header's intensity intercept is not a number; 0 was used.".to_owned());
            inter = 0.0;
        }
        (slope != 1.0 || inter != 0.0).then_some(Scaling { slope, inter })
    }
}

/// Extensions of more than 64 MiB before the voxels are not believed.
const MAX_VOXEL_OFFSET: f64 = (1u64 << 26) as f64;

/// The three spatial dimensions; more may follow if they are 1.
fn shape(dim: &[i64; 8], limits: &Limits) -> Result<[usize; 3], VolumeError> {
    // `detect` made sure of 1..=7.
    let rank = dim[0].clamp(0, 7) as usize;
    let dims = dim[1..=rank].to_vec();
    if dims.iter().any(|&d| d < 1) {
        return Err(VolumeError::BadDims { dims });
    }
    if dims.iter().skip(3).any(|&d| d > 1) {
        return Err(VolumeError::Series { dims });
    }
    let voxels = dims
        .iter()
        .try_fold(1u128, |product, &d| product.checked_mul(d as u128))
        .unwrap_or(u128::MAX);
    // A shape also has to be addressable: its bytes are counted in `usize` (32 bits in a browser).
    if voxels > u128::from(limits.max_voxels) || voxels > (isize::MAX / 4) as u128 {
        return Err(VolumeError::TooManyVoxels {
            dims,
            voxels,
            limit: limits.max_voxels,
        });
    }
    Ok([0, 1, 2].map(|i| dims.get(i).map_or(1, |&d| d as usize)))
}

/// Affines are in mm by convention whatever `xyzt_units` says, and many files say it wrongly. Metres and micrometres
/// are believed only where millimetres make no head and they do.
fn to_millimetres(
    affine: Matrix4<f64>,
    shape: [usize; 3],
    units: i32,
    notes: &mut Vec<String>,
) -> Matrix4<f64> {
    let (factor, unit) = match units & 7 {
        1 => (1e3, "metres"),
        3 => (1e-3, "micrometres"),
        _ => return affine,
    };
    let extent = Grid { shape, affine }.extent();
    let widest = extent.into_iter().fold(0.0, f64::max);
    let plausible = |mm: f64| (20.0..2000.0).contains(&mm);
    if plausible(widest) || !plausible(widest * factor) {
        return affine;
    }
    notes.push(format!(
        "The header measures in {unit}; lengths were converted to millimetres."
    ));
    let mut scaled = affine * factor;
    scaled[(3, 3)] = 1.0;
    scaled
}
