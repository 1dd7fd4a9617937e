//! NIfTI-1 and NIfTI-2 files, `.nii` and `.nii.gz`, in and out.
//!
//! Reading never trusts a number before it is checked against the file's real size: nothing is allocated that the
//! file cannot fill, and a compressed file is unpacked through a small buffer, no further than its header goes.

mod datatype;
mod fields;
mod header;
mod inflate;
mod layout;
mod limits;
mod transform;
mod write;

use inflate::Source;

pub use header::Header;
pub use layout::Version;
pub use limits::Limits;
pub use transform::AffineSource;
pub use write::{write_float, write_float_plain, write_int16, write_mask};

use crate::volume::{Volume, VolumeError};

/// A scan as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Voxel values (scaling applied) on the scan's own grid.
    pub volume: Volume,
    /// Header, for writing results on the same grid.
    pub header: Header,
    /// What a person should know about the file, one sentence each.
    pub notes: Vec<String>,
}

/// Bytes that may follow the voxels; beyond that header and data are said to disagree.
const MAX_TRAILING: u64 = 1 << 20;

/// Reads a NIfTI file from its bytes, gzip-compressed or not (the content decides, not the name).
///
/// Voxels that are NaN, infinite or beyond `f32` become 0 and are counted in the notes.
///
/// # Errors
/// [`VolumeError`], whose text says what is wrong and what to do.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Scan, VolumeError> {
    limits.check_file(bytes.len() as u64)?;
    let mut notes = Vec::new();
    let mut source = Source::new(bytes);

    let mut start = [0; layout::Layout::TWO.size];
    let got = source.fill(&mut start)?;
    let header = Header::parse(&start[..got], limits, &mut notes)?;
    // A NIfTI-1 file may be shorter than a NIfTI-2 header, so its voxels may have been read along.
    let mut source = Source::new(bytes);

    let count = header.grid.len();
    let expected = count as u64 * header.datatype.size() as u64;
    let offset = header.voxel_offset(&mut notes)?;
    let bound = Source::upper_bound(bytes);
    if bound < offset + expected {
        return Err(truncated(bytes, offset, expected, bound));
    }

    let promise = |error| match error {
        VolumeError::TruncatedGzip { got, .. } => VolumeError::TruncatedGzip {
            expected: Some(offset + expected),
            got,
        },
        other => other,
    };
    skip(&mut source, offset).map_err(promise)?;
    let scaling = header.scaling(&mut notes);
    let voxels =
        datatype::decode(&mut source, header.datatype, header.order, scaling, count).map_err(promise)?;
    if voxels.data.len() < count {
        let got = source.position().saturating_sub(offset);
        return Err(VolumeError::TruncatedVoxels { expected, got });
    }
    check_end(&mut source, expected, &mut notes)?;

    match voxels.replaced {
        0 => {}
        n if n == count => return Err(VolumeError::NoFiniteValue { voxels: count }),
        1 => notes.push("1 voxel was not a finite number and was set to 0.".to_owned()),
        n => notes.push(format!("{n} voxels were not finite numbers and were set to 0.")),
    }
    Ok(Scan {
        volume: Volume {
            grid: header.grid.clone(),
            data: voxels.data,
        },
        header,
        notes,
    })
}

/// The error for a file that is too small for what its header promises.
fn truncated(bytes: &[u8], offset: u64, expected: u64, bound: u64) -> VolumeError {
    if Source::is_gzip(bytes) {
        VolumeError::TooSmallForVoxels {
            expected,
            file: bytes.len() as u64,
        }
    } else {
        VolumeError::TruncatedVoxels {
            expected,
            got: bound.saturating_sub(offset),
        }
    }
}

/// Passes over `count` bytes, or as many as there are.
fn skip(source: &mut Source<'_>, count: u64) -> Result<(), VolumeError> {
    let mut buffer = [0; 4096];
    let mut left = count;
    while left > 0 {
        let wanted = left.min(buffer.len() as u64) as usize;
        let got = source.fill(&mut buffer[..wanted])?;
        if got == 0 {
            break;
        }
        left -= got as u64;
    }
    Ok(())
}

/// Reads what follows the voxels: it should be nothing, and the checksum of a compressed file comes after it.
fn check_end(source: &mut Source<'_>, expected: u64, notes: &mut Vec<String>) -> Result<(), VolumeError> {
    let before = source.position();
    skip(source, MAX_TRAILING + 1)?;
    let trailing = source.position() - before;
    if trailing > MAX_TRAILING {
        return Err(VolumeError::TrailingData {
            expected,
            got: expected + trailing,
        });
    }
    if trailing > 0 || source.has_garbage() {
        notes.push("The file has bytes after the last voxel; they were ignored.".to_owned());
    }
    Ok(())
}
