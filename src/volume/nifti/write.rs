//! Results as NIfTI files with the header of the scan they belong to.

use std::io::Write;

use byteordered::Endianness;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Limits;
use super::datatype::Datatype;
use super::header::Header;
use super::layout::{Layout, Version};
use super::transform;
use crate::volume::{Grid, VolumeError};

/// What `descrip` says in every file written.
const DESCRIPTION: &[u8] = b"Equipoise; research use only";

/// A lesion mask (one `u8` a voxel, x fastest) as `.nii.gz` bytes with the scan's dimensions, affine, codes, units,
/// NIfTI version and byte order. Extensions of the scan's header are dropped.
///
/// # Errors
/// [`VolumeError::Length`] if there are not as many values as voxels.
pub fn write_mask(header: &Header, mask: &[u8]) -> Result<Vec<u8>, VolumeError> {
    compressed(header, Datatype::Uint8, (0.0, 1.0), mask, |v, _| [v])
}

/// A probability map, or any other image, as float32 `.nii.gz` bytes; for the rest as [`write_mask`].
///
/// # Errors
/// [`VolumeError::Length`] if there are not as many values as voxels.
pub fn write_float(header: &Header, data: &[f32]) -> Result<Vec<u8>, VolumeError> {
    compressed(header, Datatype::Float32, display_range(data), data, float_bytes)
}

/// 16-bit integers as `.nii.gz` bytes, a quarter of the size of [`write_float`] for an image made of whole numbers;
/// for the rest as [`write_mask`].
///
/// # Errors
/// [`VolumeError::Length`] if there are not as many values as voxels.
pub fn write_int16(header: &Header, data: &[i16]) -> Result<Vec<u8>, VolumeError> {
    let range = (data.iter().min().copied(), data.iter().max().copied());
    let range = (range.0.map_or(0.0, f64::from), range.1.map_or(0.0, f64::from));
    compressed(header, Datatype::Int16, range, data, |v, order| match order {
        Endianness::Little => v.to_le_bytes(),
        Endianness::Big => v.to_be_bytes(),
    })
}

/// A float32 image as uncompressed NIfTI-1 bytes, for a viewer that knows nothing else. A NIfTI-2 header is
/// rewritten as NIfTI-1.
///
/// # Errors
/// [`VolumeError::Length`], or [`VolumeError::DoesNotFitNifti1`] if an axis has more than 32767 voxels.
pub fn write_float_plain(header: &Header, data: &[f32]) -> Result<Vec<u8>, VolumeError> {
    let header = header.to_nifti1()?;
    let head = header.for_result(Datatype::Float32, display_range(data));
    let mut out = Vec::with_capacity(head.len() + size_of_val(data));
    out.extend(head);
    write_voxels(&mut out, &header, data, float_bytes)?;
    Ok(out)
}

fn float_bytes(value: f32, order: Endianness) -> [u8; 4] {
    match order {
        Endianness::Little => value.to_le_bytes(),
        Endianness::Big => value.to_be_bytes(),
    }
}

/// Lowest and highest value; probabilities are shown from 0 to 1 whatever the highest is.
fn display_range(data: &[f32]) -> (f64, f64) {
    let (low, high) = data
        .iter()
        .fold((0.0f32, 0.0f32), |(low, high), &v| (low.min(v), high.max(v)));
    let high = if low == 0.0 && high <= 1.0 { 1.0 } else { high };
    (f64::from(low), f64::from(high))
}

fn compressed<T: Copy, const N: usize>(
    header: &Header,
    datatype: Datatype,
    range: (f64, f64),
    data: &[T],
    bytes: impl Fn(T, Endianness) -> [u8; N],
) -> Result<Vec<u8>, VolumeError> {
    let failed = |error: std::io::Error| VolumeError::Compress {
        reason: error.to_string(),
    };
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(&header.for_result(datatype, range))
        .map_err(failed)?;
    write_voxels(&mut out, header, data, bytes)?;
    out.finish().map_err(failed)
}

fn write_voxels<T: Copy, const N: usize>(
    out: &mut impl Write,
    header: &Header,
    data: &[T],
    bytes: impl Fn(T, Endianness) -> [u8; N],
) -> Result<(), VolumeError> {
    let expected = header.grid.len();
    if data.len() != expected {
        return Err(VolumeError::Length {
            expected,
            got: data.len(),
        });
    }
    let mut buffer = Vec::new();
    for chunk in data.chunks(1 << 14) {
        buffer.clear();
        buffer.extend(chunk.iter().flat_map(|&v| bytes(v, header.order)));
        out.write_all(&buffer).map_err(|error| VolumeError::Compress {
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

impl Header {
    /// A new header for a grid: NIfTI-1, little-endian, millimetres, sform code 2 ("aligned") and, unless the grid is
    /// sheared, the same as a qform.
    ///
    /// # Errors
    /// [`VolumeError::DoesNotFitNifti1`] if an axis has more than 32767 voxels, [`VolumeError::BadDims`] if it has
    /// none.
    pub fn from_grid(grid: &Grid) -> Result<Self, VolumeError> {
        let (quatern, qfac, exact) = transform::quaternion(&grid.affine);
        let spacing = grid.spacing();
        let mut raw = Raw::new_nifti1();
        raw.put_dim(&[3, grid.shape[0], grid.shape[1], grid.shape[2], 1, 1, 1, 1].map(|d| d as i64))?;
        raw.put_floats(
            raw.layout.pixdim,
            &[qfac, spacing[0], spacing[1], spacing[2], 0.0, 0.0, 0.0, 0.0],
        );
        raw.put_units(2);
        raw.put_code(raw.layout.qform_code, if exact { 2 } else { 0 });
        raw.put_code(raw.layout.sform_code, 2);
        let origin = [grid.affine[(0, 3)], grid.affine[(1, 3)], grid.affine[(2, 3)]];
        raw.put_floats(raw.layout.quatern, &quatern);
        raw.put_floats(raw.layout.quatern + 12, &origin);
        for row in 0..3 {
            let values = [0, 1, 2, 3].map(|column| grid.affine[(row, column)]);
            raw.put_floats(raw.layout.srow + 16 * row, &values);
        }
        raw.into_header()
    }

    /// This header, or its fields in a NIfTI-1 header.
    fn to_nifti1(&self) -> Result<Self, VolumeError> {
        if self.version == Version::One {
            return Ok(self.clone());
        }
        let fields = &self.fields;
        let mut raw = Raw::new_nifti1();
        raw.put_dim(&fields.dim)?;
        raw.put_floats(raw.layout.pixdim, &fields.pixdim);
        raw.put_units(fields.xyzt_units as u8);
        raw.put_code(raw.layout.qform_code, fields.qform_code);
        raw.put_code(raw.layout.sform_code, fields.sform_code);
        raw.put_floats(raw.layout.quatern, &fields.quatern);
        raw.put_floats(raw.layout.srow, fields.srow.as_flattened());
        raw.into_header()
    }

    /// The header's bytes (with the four that say "no extensions") for a result of another type on the same grid.
    fn for_result(&self, datatype: Datatype, (cal_min, cal_max): (f64, f64)) -> Vec<u8> {
        let mut raw = Raw {
            bytes: self.raw.clone(),
            layout: Layout::of(self.version),
            version: self.version,
            order: self.order,
        };
        let layout = raw.layout;
        raw.put_sizeof_hdr();
        raw.put_datatype(datatype);
        raw.put_vox_offset();
        raw.put_floats(layout.scl_slope, &[1.0]);
        raw.put_floats(layout.scl_inter, &[0.0]);
        raw.put_floats(layout.cal_max, &[cal_max]);
        raw.put_floats(layout.cal_min, &[cal_min]);
        // What the scan's voxels meant is not what the result's mean.
        raw.put_floats(layout.intent_p, &[0.0; 3]);
        raw.put_code(layout.intent_code, 0);
        raw.put_text(layout.intent_name, 16, b"");
        raw.put_text(layout.aux_file, 24, b"");
        raw.put_text(layout.descrip, 80, DESCRIPTION);
        raw.bytes.extend([0; 4]);
        raw.bytes
    }
}

/// A header's bytes, to be changed field by field in the width and byte order they have.
struct Raw {
    bytes: Vec<u8>,
    layout: &'static Layout,
    version: Version,
    order: Endianness,
}

impl Raw {
    fn new_nifti1() -> Self {
        let layout = &Layout::ONE;
        let mut raw = Self {
            bytes: vec![0; layout.size],
            layout,
            version: Version::One,
            order: Endianness::Little,
        };
        raw.put_sizeof_hdr();
        raw.put_datatype(Datatype::Float32);
        raw.put_vox_offset();
        raw.put_floats(layout.scl_slope, &[1.0]);
        raw.put_text(layout.magic, 4, b"n+1");
        raw
    }

    fn into_header(self) -> Result<Header, VolumeError> {
        // Notes are about files that people made; this one is ours.
        Header::parse(&self.bytes, &Limits::NATIVE, &mut Vec::new())
    }

    /// Writes into the header; the offsets of [`Layout`] lie within it.
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        if let Some(place) = self.bytes.get_mut(at..at + N) {
            place.copy_from_slice(&bytes);
        }
    }

    fn put_i16(&mut self, at: usize, value: i16) {
        match self.order {
            Endianness::Little => self.put(at, value.to_le_bytes()),
            Endianness::Big => self.put(at, value.to_be_bytes()),
        }
    }

    fn put_i32(&mut self, at: usize, value: i32) {
        match self.order {
            Endianness::Little => self.put(at, value.to_le_bytes()),
            Endianness::Big => self.put(at, value.to_be_bytes()),
        }
    }

    fn put_i64(&mut self, at: usize, value: i64) {
        match self.order {
            Endianness::Little => self.put(at, value.to_le_bytes()),
            Endianness::Big => self.put(at, value.to_be_bytes()),
        }
    }

    /// Consecutive numbers: `f32` in NIfTI-1, `f64` in NIfTI-2.
    fn put_floats(&mut self, at: usize, values: &[f64]) {
        for (i, &value) in values.iter().enumerate() {
            match self.version {
                Version::One => self.put_i32(at + 4 * i, (value as f32).to_bits() as i32),
                Version::Two => self.put_i64(at + 8 * i, value.to_bits() as i64),
            }
        }
    }

    /// A code: `i16` in NIfTI-1, `i32` in NIfTI-2.
    fn put_code(&mut self, at: usize, code: i32) {
        match self.version {
            Version::One => self.put_i16(at, code as i16),
            Version::Two => self.put_i32(at, code),
        }
    }

    fn put_units(&mut self, units: u8) {
        match self.version {
            Version::One => self.put(self.layout.xyzt_units, [units]),
            Version::Two => self.put_i32(self.layout.xyzt_units, i32::from(units)),
        }
    }

    fn put_dim(&mut self, dim: &[i64; 8]) -> Result<(), VolumeError> {
        for (i, &value) in dim.iter().enumerate() {
            let at = self.layout.dim;
            match self.version {
                Version::One => {
                    let short = i16::try_from(value).map_err(|_| VolumeError::DoesNotFitNifti1 {
                        what: "number of voxels",
                    })?;
                    self.put_i16(at + 2 * i, short);
                }
                Version::Two => self.put_i64(at + 8 * i, value),
            }
        }
        Ok(())
    }

    fn put_sizeof_hdr(&mut self) {
        self.put_i32(0, self.layout.size as i32);
    }

    fn put_datatype(&mut self, datatype: Datatype) {
        self.put_i16(self.layout.datatype, datatype.code());
        self.put_i16(self.layout.bitpix, 8 * datatype.size() as i16);
    }

    fn put_vox_offset(&mut self) {
        let offset = self.layout.first_voxel();
        match self.version {
            Version::One => self.put_floats(self.layout.vox_offset, &[offset as f64]),
            Version::Two => self.put_i64(self.layout.vox_offset, offset as i64),
        }
    }

    fn put_text(&mut self, at: usize, size: usize, text: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + size) {
            place.fill(0);
            let used = text.len().min(size);
            place[..used].copy_from_slice(&text[..used]);
        }
    }
}
