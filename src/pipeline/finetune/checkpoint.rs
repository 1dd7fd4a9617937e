//! A session as bytes: versioned, checksummed, complete.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::session::{Blobs, Place, State};
use super::{Base, Case, FinetuneError, Settings};

const MAGIC: &[u8; 8] = b"EQPTUNE1";

/// Length of a SHA-256.
const SUM: usize = 32;

/// Weights of a look.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) step: u64,
    pub(super) weights: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) base: String,
    pub(super) base_sha256: String,
    /// Names and fingerprints.
    pub(super) cases: Vec<(String, String)>,
    pub(super) settings: Settings,
    pub(super) keep: bool,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    header: Header,
    state: State,
    snapshot: Option<usize>,
    best: Option<usize>,
    kept: Vec<(u64, usize)>,
}

pub(super) struct Checkpoint {
    pub(super) header: Header,
    pub(super) state: State,
    pub(super) blobs: Blobs,
}

impl Checkpoint {
    pub(super) fn to_bytes(
        base: &Base,
        settings: &Settings,
        keep: bool,
        cases: &[Arc<Case>],
        state: &State,
        blobs: &Blobs,
    ) -> Vec<u8> {
        let name = |case: &Arc<Case>| (case.name().to_owned(), case.fingerprint().to_owned());
        let contents = Contents {
            header: Header {
                base: base.name().to_owned(),
                base_sha256: base.sha256().to_owned(),
                cases: cases.iter().map(name).collect(),
                settings: settings.clone(),
                keep,
            },
            state: state.clone(),
            snapshot: blobs.snapshot.as_ref().map(Vec::len),
            best: blobs.best.as_ref().map(Vec::len),
            kept: blobs
                .kept
                .iter()
                .map(|kept| (kept.step, kept.weights.len()))
                .collect(),
        };
        let plain = plain(&contents);
        let mut out = MAGIC.to_vec();
        out.extend((plain.len() as u64).to_le_bytes());
        out.extend(plain);
        out.extend(blobs.snapshot.iter().flatten());
        out.extend(blobs.best.iter().flatten());
        out.extend(blobs.kept.iter().flat_map(|kept| &kept.weights));
        let sum = Sha256::digest(&out);
        out.extend(sum);
        out
    }

    /// Nothing is allocated that the bytes do not hold.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, FinetuneError> {
        let (contents, mut rest) = contents(bytes)?;
        let mut take = |length: usize| {
            let (head, tail) = rest
                .split_at_checked(length)
                .ok_or_else(|| damaged("it ends early"))?;
            rest = tail;
            Ok::<_, FinetuneError>(head.to_vec())
        };
        let blobs = Blobs {
            snapshot: contents.snapshot.map(&mut take).transpose()?,
            best: contents.best.map(&mut take).transpose()?,
            kept: contents
                .kept
                .into_iter()
                .map(|(step, length)| {
                    Ok(Kept {
                        step,
                        weights: take(length)?,
                    })
                })
                .collect::<Result<_, FinetuneError>>()?,
        };
        Ok(Self {
            header: contents.header,
            state: contents.state,
            blobs,
        })
    }
}

/// The readable part, and what follows it.
fn contents(bytes: &[u8]) -> Result<(Contents, &[u8]), FinetuneError> {
    let (body, sum) = bytes
        .len()
        .checked_sub(SUM)
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or_else(|| damaged("it ends early"))?;
    let rest = body
        .strip_prefix(MAGIC.as_slice())
        .ok_or_else(|| damaged("it is no checkpoint of this version"))?;
    if Sha256::digest(body).as_slice() != sum {
        return Err(damaged("its checksum is wrong"));
    }
    let (length, rest) = rest
        .split_first_chunk::<8>()
        .ok_or_else(|| damaged("it ends early"))?;
    let length =
        usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged("a length is too large"))?;
    let (plain, rest) = rest
        .split_at_checked(length)
        .ok_or_else(|| damaged("it ends early"))?;
    let contents = ciborium::from_reader(plain).map_err(|e| damaged(&e.to_string()))?;
    Ok((contents, rest))
}

/// The readable part as CBOR, which keeps every bit of a number; JSON does not.
fn plain(contents: &Contents) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing plain data into memory does not fail.
    let _ = ciborium::into_writer(contents, &mut out);
    out
}

fn damaged(why: &str) -> FinetuneError {
    FinetuneError::Checkpoint(why.to_owned())
}

/// What a checkpoint holds, read without its cases: to offer to go on with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peek {
    /// Name of the base model.
    pub base: String,
    /// SHA-256 of its weights.
    pub base_sha256: String,
    /// Names of the cases.
    pub cases: Vec<String>,
    /// The settings.
    pub settings: Settings,
    /// Where it stands.
    pub place: Place,
}

/// Reads what a checkpoint holds.
///
/// # Errors
/// [`FinetuneError::Checkpoint`] if it is damaged or of another version.
pub fn peek(checkpoint: &[u8]) -> Result<Peek, FinetuneError> {
    let (Contents { header, state, .. }, _) = contents(checkpoint)?;
    let steps = state.folds.get(state.fold).map_or(0, |fold| fold.planned);
    Ok(Peek {
        base: header.base,
        base_sha256: header.base_sha256,
        cases: header.cases.into_iter().map(|(name, _)| name).collect(),
        settings: header.settings,
        place: Place {
            stage: state.stage,
            fold: state.fold,
            folds: state.folds.len(),
            step: state.step,
            steps,
            left: None,
        },
    })
}
