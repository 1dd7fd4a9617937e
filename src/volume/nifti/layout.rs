//! Where NIfTI-1 and NIfTI-2 headers keep the fields that we look for or change.
//!
//! Sources: `nifti1.h` and `nifti2.h`.

use byteordered::Endianness;

use crate::volume::VolumeError;

/// Version of the NIfTI standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// NIfTI-1: 348 bytes, at most 32767 voxels along an axis.
    One,
    /// NIfTI-2: 540 bytes.
    Two,
}

/// Byte offsets of a version's fields.
pub(super) struct Layout {
    /// Bytes of the header.
    pub(super) size: usize,
    pub(super) magic: usize,
    pub(super) dim: usize,
    pub(super) datatype: usize,
    pub(super) bitpix: usize,
    pub(super) intent_p: usize,
    pub(super) intent_code: usize,
    pub(super) intent_name: usize,
    pub(super) pixdim: usize,
    pub(super) vox_offset: usize,
    pub(super) scl_slope: usize,
    pub(super) scl_inter: usize,
    pub(super) cal_max: usize,
    pub(super) cal_min: usize,
    pub(super) xyzt_units: usize,
    pub(super) descrip: usize,
    pub(super) aux_file: usize,
    pub(super) qform_code: usize,
    pub(super) sform_code: usize,
    pub(super) quatern: usize,
    pub(super) srow: usize,
}

impl Layout {
    pub(super) const ONE: Self = Self {
        size: 348,
        magic: 344,
        dim: 40,
        datatype: 70,
        bitpix: 72,
        intent_p: 56,
        intent_code: 68,
        intent_name: 328,
        pixdim: 76,
        vox_offset: 108,
        scl_slope: 112,
        scl_inter: 116,
        cal_max: 124,
        cal_min: 128,
        xyzt_units: 123,
        descrip: 148,
        aux_file: 228,
        qform_code: 252,
        sform_code: 254,
        quatern: 256,
        srow: 280,
    };

    pub(super) const TWO: Self = Self {
        size: 540,
        magic: 4,
        dim: 16,
        datatype: 12,
        bitpix: 14,
        intent_p: 80,
        intent_code: 504,
        intent_name: 508,
        pixdim: 104,
        vox_offset: 168,
        scl_slope: 176,
        scl_inter: 184,
        cal_max: 192,
        cal_min: 200,
        xyzt_units: 500,
        descrip: 240,
        aux_file: 320,
        qform_code: 344,
        sform_code: 348,
        quatern: 352,
        srow: 400,
    };

    pub(super) fn of(version: Version) -> &'static Self {
        match version {
            Version::One => &Self::ONE,
            Version::Two => &Self::TWO,
        }
    }

    /// Where voxels may start at the earliest: after the header and the four bytes that announce extensions.
    pub(super) fn first_voxel(&self) -> u64 {
        self.size as u64 + 4
    }
}

/// Tells a NIfTI header by its first bytes (540 of them, or as many as the file has).
///
/// # Errors
/// [`VolumeError::NotNifti`], with a guess at what it is, [`VolumeError::TruncatedHeader`] or
/// [`VolumeError::BadDims`].
pub(super) fn detect(bytes: &[u8]) -> Result<(Version, Endianness), VolumeError> {
    let magic = |at: usize| bytes.get(at..at + 4);
    let version = if matches!(magic(Layout::ONE.magic), Some(b"n+1\0")) {
        Version::One
    } else if matches!(magic(Layout::TWO.magic), Some(b"n+2\0")) {
        Version::Two
    } else {
        return Err(stranger(bytes));
    };
    let layout = Layout::of(version);
    if bytes.len() < layout.size {
        return Err(VolumeError::TruncatedHeader {
            expected: layout.size,
            got: bytes.len(),
        });
    }
    // The rank, 1 to 7, tells the byte order; sizeof_hdr, which would too, is wrong in some files.
    let rank = match version {
        Version::One => i64::from(i16::from_le_bytes([bytes[40], bytes[41]])),
        Version::Two => i64::from_le_bytes(std::array::from_fn(|i| bytes[16 + i])),
    };
    let swapped = match version {
        Version::One => i64::from((rank as i16).swap_bytes()),
        Version::Two => rank.swap_bytes(),
    };
    if (1..=7).contains(&rank) {
        Ok((version, Endianness::Little))
    } else if (1..=7).contains(&swapped) {
        Ok((version, Endianness::Big))
    } else {
        Err(VolumeError::BadDims { dims: vec![rank] })
    }
}

/// What a file without the NIfTI magic is.
fn stranger(bytes: &[u8]) -> VolumeError {
    const CHOOSE: &str = "Choose a NIfTI file (.nii or .nii.gz).";
    const UNPACK: &str = "Unpack it first and open the .nii or .nii.gz file inside.";
    const CONVERT: &str = "Convert the scan to NIfTI first (for example with dcm2niix for DICOM, mri_convert for \
                           MGH, or 3D Slicer for anything) and open that.";
    const PAIR: &str = "Join the pair into one .nii file (for example with fslchfiletype NIFTI, or nib-convert) \
                        and open that.";
    let starts = |prefix: &[u8]| bytes.starts_with(prefix);
    let at = |offset: usize, text: &[u8]| bytes.get(offset..).is_some_and(|b| b.starts_with(text));

    let (looks_like, remedy) = if at(128, b"DICM") {
        ("a DICOM file", CONVERT)
    } else if at(Layout::ONE.magic, b"ni1\0") || at(Layout::TWO.magic, b"ni2\0") {
        ("the header half of a NIfTI pair (.hdr and .img)", PAIR)
    } else if starts(&348i32.to_le_bytes()) || starts(&348i32.to_be_bytes()) {
        if bytes.len() < Layout::ONE.size {
            return VolumeError::TruncatedHeader {
                expected: Layout::ONE.size,
                got: bytes.len(),
            };
        }
        ("an ANALYZE 7.5 header, the forerunner of NIfTI", CONVERT)
    } else if starts(&540i32.to_le_bytes()) && bytes.len() < Layout::TWO.size {
        return VolumeError::TruncatedHeader {
            expected: Layout::TWO.size,
            got: bytes.len(),
        };
    } else if starts(&1i32.to_be_bytes()) {
        ("a FreeSurfer MGH file", CONVERT)
    } else if starts(b"NRRD") {
        ("an NRRD file", CONVERT)
    } else if starts(b"\x89HDF") || starts(b"CDF") {
        ("a MINC file", CONVERT)
    } else if starts(b"PK") {
        ("a ZIP archive", UNPACK)
    } else if starts(b"BZh") || starts(b"\xfd7zXZ") || starts(b"\x28\xb5\x2f\xfd") || starts(b"7z\xbc\xaf") {
        ("a file compressed with something else than gzip", UNPACK)
    } else if at(257, b"ustar") {
        ("a TAR archive", UNPACK)
    } else if starts(b"\x89PNG")
        || starts(b"\xff\xd8\xff")
        || starts(b"GIF8")
        || starts(b"II*\0")
        || starts(b"MM\0*")
    {
        ("a picture, which does not hold the scan itself", CHOOSE)
    } else if starts(b"%PDF") {
        ("a PDF document", CHOOSE)
    } else if !bytes.is_empty() && bytes.iter().all(|b| matches!(b, 9..=13 | 32..=126)) {
        ("a text file", CHOOSE)
    } else if bytes.iter().all(|&b| b == 0) {
        (
            "a file of zeros, perhaps a download that failed",
            "Copy or download it again.",
        )
    } else {
        ("something else", CHOOSE)
    };
    VolumeError::NotNifti { looks_like, remedy }
}
