//! What can be wrong with a scan, in sentences for the person who opened it.

/// Why a scan cannot be read, used or written.
///
/// Every `Display` text says what is wrong and what to do about it; the fields carry the numbers.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// The file holds no byte.
    #[error("The file is empty (0 bytes). Copy or download it again.")]
    Empty,
    /// The file is larger than the reader may hold.
    #[error(
        "The file is {} and the limit is {}. Crop the scan, or segment it with the command line `lab`.",
        bytes_in_words(*.bytes), bytes_in_words(*.limit)
    )]
    FileTooLarge {
        /// Size of the file.
        bytes: u64,
        /// [`crate::volume::nifti::Limits::max_file_bytes`].
        limit: u64,
    },
    /// The bytes are no NIfTI file.
    #[error("This is not a NIfTI file: it looks like {looks_like}. {remedy}")]
    NotNifti {
        /// What it looks like, with an article.
        looks_like: &'static str,
        /// What to do, a whole sentence.
        remedy: &'static str,
    },
    /// The file ends before its header does.
    #[error(
        "The file ends after {got} bytes, inside its header of {expected} bytes: it is incomplete. Copy or \
         download it again."
    )]
    TruncatedHeader {
        /// Bytes of a header.
        expected: usize,
        /// Bytes there are.
        got: usize,
    },
    /// The gzip stream stops before its end.
    #[error(
        "The compressed file is cut off: it unpacks to {got} bytes{}. Copy or download it again.",
        expected.map(|n| format!(" and its header promises {n}")).unwrap_or_default()
    )]
    TruncatedGzip {
        /// Bytes the header promises; `None` if the cut lies in the header.
        expected: Option<u64>,
        /// Bytes that could be unpacked.
        got: u64,
    },
    /// The gzip stream is damaged.
    #[error(
        "The compressed file is damaged ({reason}, after {at} unpacked bytes). Copy or download it again."
    )]
    CorruptGzip {
        /// What the decompressor said.
        reason: String,
        /// Unpacked bytes before the damage was noticed.
        at: u64,
    },
    /// The header promises more voxels than the file has.
    #[error(
        "Header and data disagree: the header promises {expected} bytes of voxels and the file has {got}. The \
         file is incomplete or was written wrongly; copy or export it again."
    )]
    TruncatedVoxels {
        /// Bytes of voxels according to the header.
        expected: u64,
        /// Bytes of voxels in the file.
        got: u64,
    },
    /// The header promises more voxels than a compressed file of this size can hold.
    #[error(
        "Header and data disagree: the header promises {expected} bytes of voxels, more than a compressed file of \
         {file} bytes can hold. The file is incomplete or was written wrongly; copy or export it again."
    )]
    TooSmallForVoxels {
        /// Bytes of voxels according to the header.
        expected: u64,
        /// Size of the file.
        file: u64,
    },
    /// The file goes on long after the voxels that its header promises.
    #[error(
        "Header and data disagree: the header promises {expected} bytes of voxels and the file has at least \
         {got}. It was written wrongly; export it again."
    )]
    TrailingData {
        /// Bytes of voxels according to the header.
        expected: u64,
        /// Bytes found after the header before reading was given up.
        got: u64,
    },
    /// A series of volumes instead of one.
    #[error(
        "This is a series of {} volumes ({}). Save the one volume to be segmented as a file of its own and open \
         that.",
        .dims.iter().skip(3).product::<i64>(), dims_in_words(.dims)
    )]
    Series {
        /// Dimensions, trailing ones included.
        dims: Vec<i64>,
    },
    /// The dimensions make no volume.
    #[error(
        "The header gives impossible dimensions ({}). The file is damaged or was written wrongly; export it again.",
        dims_in_words(.dims)
    )]
    BadDims {
        /// Dimensions as read (the number of dimensions itself if that is impossible).
        dims: Vec<i64>,
    },
    /// The voxels start at an impossible place.
    #[error(
        "The header says that the voxels start at byte {offset}, which cannot be. Export the file again."
    )]
    BadOffset {
        /// `vox_offset` as read.
        offset: f64,
    },
    /// More voxels than may be held.
    #[error(
        "The scan has {voxels} voxels ({}) and the limit is {limit}: it does not fit in memory. Crop it to the \
         head or resample it to 1 mm, then open it again.",
        dims_in_words(.dims)
    )]
    TooManyVoxels {
        /// Dimensions.
        dims: Vec<i64>,
        /// Number of voxels.
        voxels: u128,
        /// [`crate::volume::nifti::Limits::max_voxels`].
        limit: u64,
    },
    /// The browser or the system gave no memory.
    #[error(
        "There is not enough memory for this scan ({} were asked for). Close other tabs or programs and try again.",
        bytes_in_words(*.bytes)
    )]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// A data type that is no scalar image.
    #[error(
        "The voxels are stored as {name} (NIfTI data type {code}), which is no plain grey-scale image. Save the \
         scan as 16-bit integers or 32-bit floating point and open that."
    )]
    UnsupportedDatatype {
        /// NIfTI `datatype`.
        code: i16,
        /// Its name in words.
        name: &'static str,
    },
    /// Not one voxel is a number.
    #[error("None of the {voxels} voxels is a number (all are NaN or infinite). Export the scan again.")]
    NoFiniteValue {
        /// Number of voxels.
        voxels: usize,
    },
    /// All voxels are equal.
    #[error(
        "Every voxel has the same value ({value}): there is no image to segment. Check that this is the right file."
    )]
    Constant {
        /// The value.
        value: f32,
    },
    /// One slice instead of a volume.
    #[error(
        "The image is a single slice ({} x {} x {} voxels); the network needs a whole 3-D volume.",
        .shape[0], .shape[1], .shape[2]
    )]
    SingleSlice {
        /// Voxels along each axis.
        shape: [usize; 3],
    },
    /// Voxels of a size that no scan of a head has.
    #[error(
        "The header gives voxels of {:.3} x {:.3} x {:.3} mm, which no scan of a head has. Correct the voxel size \
         (or its unit) and open the file again.",
        .spacing[0], .spacing[1], .spacing[2]
    )]
    VoxelSize {
        /// Voxel edges in mm.
        spacing: [f64; 3],
    },
    /// A label image was given as a scan.
    #[error(
        "This looks like a mask, not a scan: it holds only {labels} different whole numbers. Open the scan that \
         the mask was drawn on."
    )]
    LooksLikeMask {
        /// Number of distinct values.
        labels: usize,
    },
    /// The scan is too wide in millimetres to be conformed to 1 mm.
    #[error(
        "The scan spans {:.0} x {:.0} x {:.0} mm, which at 1 mm is more than {limit} voxels. If that is not the \
         real size, the voxel size in the header is wrong; otherwise crop the scan to the head.",
        .extent[0], .extent[1], .extent[2]
    )]
    FieldOfView {
        /// Edge to edge, in mm.
        extent: [f64; 3],
        /// Most voxels that a conformed volume may have.
        limit: usize,
    },
    /// A grid whose affine cannot be inverted.
    #[error("The voxel grid has no volume: its affine cannot be inverted. Export the scan again.")]
    SingularGrid,
    /// Values do not fit the grid they are to be written on.
    #[error("{got} values were given for a grid of {expected} voxels.")]
    Length {
        /// Voxels in the grid.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// The scan cannot be expressed in the file format asked for.
    #[error("The scan's {what} does not fit a NIfTI-1 file. Save it as NIfTI-2 instead.")]
    DoesNotFitNifti1 {
        /// The property at fault.
        what: &'static str,
    },
    /// Compression failed (out of memory).
    #[error("The file could not be compressed ({reason}). Close other tabs and try again.")]
    Compress {
        /// What the compressor said.
        reason: String,
    },
}

/// `182 x 218 x 182`.
fn dims_in_words(dims: &[i64]) -> String {
    let words: Vec<String> = dims.iter().map(ToString::to_string).collect();
    words.join(" x ")
}

/// `512 bytes`, `1.5 GiB`.
fn bytes_in_words(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (size, unit) in units {
        if bytes >= size {
            return format!("{:.1} {unit}", bytes as f64 / size as f64);
        }
    }
    format!("{bytes} bytes")
}
