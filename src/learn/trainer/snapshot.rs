//! A tuner's numbers as bytes.

use crate::learn::tune::{Held, StepReport};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"EQPSNAP1";

#[derive(Serialize, Deserialize)]
struct Header {
    held: Held,
    last: Option<StepReport>,
    /// Lengths of the vectors of each part.
    parts: Vec<Vec<usize>>,
}

/// Packs parts of vectors.
pub(super) fn to_bytes(held: Held, last: Option<StepReport>, parts: &[Vec<Vec<f32>>]) -> Vec<u8> {
    let header = Header {
        held,
        last,
        parts: parts
            .iter()
            .map(|part| part.iter().map(Vec::len).collect())
            .collect(),
    };
    // CBOR keeps every bit of a number. Writing plain data into memory does not fail.
    let mut plain = Vec::new();
    let _ = ciborium::into_writer(&header, &mut plain);
    let mut out = MAGIC.to_vec();
    out.extend((plain.len() as u64).to_le_bytes());
    out.extend(plain);
    out.extend(parts.iter().flatten().flatten().flat_map(|v| v.to_le_bytes()));
    out
}

type Unpacked = (Held, Option<StepReport>, Vec<Vec<Vec<f32>>>);

/// Unpacks what [`to_bytes`] packed. Nothing is allocated that the bytes do not hold.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<Unpacked, String> {
    let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or("it is no snapshot")?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or("it ends early")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| "its header is too long")?;
    let (header, mut rest) = rest.split_at_checked(length).ok_or("it ends early")?;
    let header: Header = ciborium::from_reader(header).map_err(|e| e.to_string())?;
    let mut parts = Vec::new();
    for lengths in header.parts {
        let mut part = Vec::new();
        for length in lengths {
            let bytes = length.checked_mul(4).ok_or("a length is too large")?;
            let (values, after) = rest.split_at_checked(bytes).ok_or("it ends early")?;
            part.push(
                values
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|b| f32::from_le_bytes(*b))
                    .collect(),
            );
            rest = after;
        }
        parts.push(part);
    }
    if !rest.is_empty() {
        return Err("it is longer than it says".into());
    }
    Ok((header.held, header.last, parts))
}
