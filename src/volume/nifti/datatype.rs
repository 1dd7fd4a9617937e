//! NIfTI data types and their voxels as `f32`.

use byteordered::Endianness;

use super::inflate::Source;
use crate::volume::VolumeError;

/// Voxel types that are read: every integer and floating-point type of up to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Datatype {
    Uint8,
    Int8,
    Uint16,
    Int16,
    Uint32,
    Int32,
    Uint64,
    Int64,
    Float32,
    Float64,
}

impl Datatype {
    /// From the header's `datatype` code.
    pub(super) fn from_code(code: i16) -> Result<Self, VolumeError> {
        let name = match code {
            2 => return Ok(Self::Uint8),
            4 => return Ok(Self::Int16),
            8 => return Ok(Self::Int32),
            16 => return Ok(Self::Float32),
            64 => return Ok(Self::Float64),
            256 => return Ok(Self::Int8),
            512 => return Ok(Self::Uint16),
            768 => return Ok(Self::Uint32),
            1024 => return Ok(Self::Int64),
            1280 => return Ok(Self::Uint64),
            1 => "single bits",
            32 | 1792 | 2048 => "complex numbers",
            128 | 2304 => "colours (RGB)",
            1536 => "128-bit floating point",
            _ => "an unknown type",
        };
        Err(VolumeError::UnsupportedDatatype { code, name })
    }

    /// The header's `datatype` code.
    pub(super) fn code(self) -> i16 {
        match self {
            Self::Uint8 => 2,
            Self::Int16 => 4,
            Self::Int32 => 8,
            Self::Float32 => 16,
            Self::Float64 => 64,
            Self::Int8 => 256,
            Self::Uint16 => 512,
            Self::Uint32 => 768,
            Self::Int64 => 1024,
            Self::Uint64 => 1280,
        }
    }

    /// Bytes a voxel.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 => 2,
            Self::Uint32 | Self::Int32 | Self::Float32 => 4,
            Self::Uint64 | Self::Int64 | Self::Float64 => 8,
        }
    }

    /// Its name in numpy's words, for example `int16`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uint8 => "uint8",
            Self::Int8 => "int8",
            Self::Uint16 => "uint16",
            Self::Int16 => "int16",
            Self::Uint32 => "uint32",
            Self::Int32 => "int32",
            Self::Uint64 => "uint64",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        }
    }
}

/// How stored numbers become values: `slope * stored + inter`, in double precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scaling {
    pub(super) slope: f64,
    pub(super) inter: f64,
}

/// Voxels and how many of them were no finite `f32` (and are 0 now).
pub(super) struct Voxels {
    pub(super) data: Vec<f32>,
    pub(super) replaced: usize,
}

/// Reads `count` voxels. Fewer come back if the source ends early.
///
/// Voxels are converted as they stream in, so that a file's raw and converted voxels are never held at once.
pub(super) fn decode(
    source: &mut Source<'_>,
    datatype: Datatype,
    order: Endianness,
    scaling: Option<Scaling>,
    count: usize,
) -> Result<Voxels, VolumeError> {
    macro_rules! decode_as {
        ($type:ty, $widen:expr) => {
            match order {
                Endianness::Little => stream(source, count, scaling, |b| {
                    $widen(<$type>::from_le_bytes(b))
                }),
                Endianness::Big => stream(source, count, scaling, |b| {
                    $widen(<$type>::from_be_bytes(b))
                }),
            }
        };
    }
    match datatype {
        Datatype::Uint8 => decode_as!(u8, f64::from),
        Datatype::Int8 => decode_as!(i8, f64::from),
        Datatype::Uint16 => decode_as!(u16, f64::from),
        Datatype::Int16 => decode_as!(i16, f64::from),
        Datatype::Uint32 => decode_as!(u32, f64::from),
        Datatype::Int32 => decode_as!(i32, f64::from),
        Datatype::Uint64 => decode_as!(u64, |v| v as f64),
        Datatype::Int64 => decode_as!(i64, |v| v as f64),
        Datatype::Float32 => decode_as!(f32, f64::from),
        Datatype::Float64 => decode_as!(f64, f64::from),
    }
}

fn stream<const N: usize>(
    source: &mut Source<'_>,
    count: usize,
    scaling: Option<Scaling>,
    convert: impl Fn([u8; N]) -> f64,
) -> Result<Voxels, VolumeError> {
    const CHUNK: usize = 1 << 16;
    let mut buffer = vec![0u8; CHUNK];
    let mut data = Vec::new();
    let bytes = count as u64 * size_of::<f32>() as u64;
    data.try_reserve_exact(count)
        .map_err(|_| VolumeError::OutOfMemory { bytes })?;
    let mut replaced = 0;
    while data.len() < count {
        let wanted = CHUNK.min((count - data.len()) * N);
        let got = source.fill(&mut buffer[..wanted])?;
        let (voxels, _) = buffer[..got].as_chunks::<N>();
        data.extend(voxels.iter().map(|&bytes| {
            let stored = convert(bytes);
            // Without scaling the number is kept as it is: 1 * x + 0 would turn -0 into 0.
            let value = scaling.map_or(stored, |s| s.slope * stored + s.inter) as f32;
            if value.is_finite() {
                value
            } else {
                replaced += 1;
                0.0
            }
        }));
        if got < wanted {
            break;
        }
    }
    Ok(Voxels { data, replaced })
}
