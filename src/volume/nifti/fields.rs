//! The header fields that matter, from NIfTI-1 and NIfTI-2 alike.

use byteordered::{ByteOrdered, Endianness};
use nifti::NiftiHeader;

use super::layout::{Layout, Version};
use crate::volume::VolumeError;

/// Header fields in the wider types of NIfTI-2, whichever version they were read from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fields {
    pub(super) dim: [i64; 8],
    pub(super) datatype: i16,
    pub(super) pixdim: [f64; 8],
    pub(super) vox_offset: f64,
    pub(super) scl_slope: f64,
    pub(super) scl_inter: f64,
    pub(super) xyzt_units: i32,
    pub(super) qform_code: i32,
    pub(super) sform_code: i32,
    /// `quatern_b`, `quatern_c`, `quatern_d`, `qoffset_x`, `qoffset_y`, `qoffset_z`.
    pub(super) quatern: [f64; 6],
    pub(super) srow: [[f64; 4]; 3],
}

impl Fields {
    /// Reads a header whose version and byte order are known ([`super::layout::detect`]).
    pub(super) fn parse(raw: &[u8], version: Version, order: Endianness) -> Result<Self, VolumeError> {
        let fields = match version {
            Version::One => Self::parse_1(raw),
            Version::Two => Self::parse_2(raw, order),
        };
        let expected = Layout::of(version).size;
        fields.ok_or(VolumeError::TruncatedHeader {
            expected,
            got: raw.len(),
        })
    }

    /// The crate takes the byte order from `dim[0]`, as `detect` does.
    fn parse_1(raw: &[u8]) -> Option<Self> {
        let header = NiftiHeader::from_reader(raw).ok()?;
        Some(Self {
            // The standard's dimensions are signed; the crate reads them as unsigned.
            dim: header.dim.map(|d| i64::from(d as i16)),
            datatype: header.datatype,
            pixdim: header.pixdim.map(f64::from),
            vox_offset: f64::from(header.vox_offset),
            scl_slope: f64::from(header.scl_slope),
            scl_inter: f64::from(header.scl_inter),
            xyzt_units: i32::from(header.xyzt_units),
            qform_code: i32::from(header.qform_code),
            sform_code: i32::from(header.sform_code),
            quatern: [
                header.quatern_b,
                header.quatern_c,
                header.quatern_d,
                header.quatern_x,
                header.quatern_y,
                header.quatern_z,
            ]
            .map(f64::from),
            srow: [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from)),
        })
    }

    /// Field order and types: `nifti2.h`.
    fn parse_2(raw: &[u8], order: Endianness) -> Option<Self> {
        let at = |offset: usize| raw.get(offset..).map(|bytes| ByteOrdered::runtime(bytes, order));
        let float = |offset: usize| at(offset)?.read_f64().ok();
        let int = |offset: usize| at(offset)?.read_i32().ok();
        let short = |offset: usize| at(offset)?.read_i16().ok();

        let mut dim = [0; 8];
        at(16)?.read_i64_into(&mut dim).ok()?;
        let mut pixdim = [0.0; 8];
        at(104)?.read_f64_into(&mut pixdim).ok()?;
        let mut quatern = [0.0; 6];
        at(352)?.read_f64_into(&mut quatern).ok()?;
        let mut srow = [[0.0; 4]; 3];
        for (row, offset) in srow.iter_mut().zip([400, 432, 464]) {
            at(offset)?.read_f64_into(row).ok()?;
        }
        Some(Self {
            dim,
            datatype: short(12)?,
            pixdim,
            vox_offset: at(168)?.read_i64().ok()? as f64,
            scl_slope: float(176)?,
            scl_inter: float(184)?,
            xyzt_units: int(500)?,
            qform_code: int(344)?,
            sform_code: int(348)?,
            quatern,
            srow,
        })
    }
}
