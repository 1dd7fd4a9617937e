//! A training run frozen between two steps.

use super::TrainConfig;
use super::host::State;
use serde::{Deserialize, Serialize};

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// An earlier version of this program wrote it.
    #[error(
        "the checkpoint is of an earlier version, which is not read any more; start from the run's weights instead"
    )]
    Old,
    /// The file ends early or is something else.
    #[error("the checkpoint is damaged: {0}")]
    Damaged(&'static str),
    /// The header is not readable.
    #[error("the checkpoint's header cannot be read: {0}")]
    Header(#[from] serde_json::Error),
    /// Parameters have other shapes than the network's.
    #[error("the checkpoint belongs to another network")]
    Shape,
}

/// Everything a run needs to go on as if it had not stopped.
pub struct Checkpoint {
    /// The run's configuration.
    pub config: TrainConfig,
    /// Steps done.
    pub step: u64,
    pub(super) state: State,
}

/// What stands before the numbers: weights, average, mean gradients, mean squared gradients.
#[derive(Serialize, Deserialize)]
struct Header {
    config: TrainConfig,
    step: u64,
    /// Length of each tensor, the same in all four parts.
    lengths: Vec<usize>,
}

const MAGIC: &[u8; 8] = b"EQPCKPT2";

/// With burn's own records, up to version 1.
const OLD: &[u8; 8] = b"EQPCKPT1";

impl Checkpoint {
    /// The checkpoint as one file.
    ///
    /// # Errors
    /// [`CheckpointError::Header`] if the configuration cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let header = serde_json::to_vec(&Header {
            config: self.config.clone(),
            step: self.step,
            lengths: self.state.values.iter().map(Vec::len).collect(),
        })?;
        let mut out = MAGIC.to_vec();
        out.extend((header.len() as u64).to_le_bytes());
        out.extend(header);
        let values = self.state.parts().into_iter().flatten().flatten();
        out.extend(values.flat_map(|v| v.to_le_bytes()));
        Ok(out)
    }

    /// Reads a file written by [`Checkpoint::to_bytes`].
    ///
    /// # Errors
    /// [`CheckpointError`] if the file is something else, of an earlier version, or of another length than it says.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        if bytes.starts_with(OLD) {
            return Err(CheckpointError::Old);
        }
        let mut rest = bytes
            .strip_prefix(MAGIC.as_slice())
            .ok_or(CheckpointError::Damaged("it is no checkpoint"))?;
        let length = u64::from_le_bytes(*take(&mut rest, 8)?.as_array().ok_or(CheckpointError::Shape)?);
        let length =
            usize::try_from(length).map_err(|_| CheckpointError::Damaged("its header is too long"))?;
        let header: Header = serde_json::from_slice(take(&mut rest, length)?)?;
        let mut part = || -> Result<Vec<Vec<f32>>, CheckpointError> {
            let lengths = header.lengths.iter();
            lengths.map(|length| numbers(&mut rest, *length)).collect()
        };
        let state = State {
            values: part()?,
            average: part()?,
            first: part()?,
            second: part()?,
        };
        if !rest.is_empty() {
            return Err(CheckpointError::Damaged("it is longer than it says"));
        }
        Ok(Self {
            config: header.config,
            step: header.step,
            state,
        })
    }
}

fn numbers(rest: &mut &[u8], count: usize) -> Result<Vec<f32>, CheckpointError> {
    let bytes = count
        .checked_mul(4)
        .ok_or(CheckpointError::Damaged("a length is too large"))?;
    let values = take(rest, bytes)?.as_chunks::<4>().0;
    Ok(values.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], CheckpointError> {
    let (head, tail) = rest
        .split_at_checked(length)
        .ok_or(CheckpointError::Damaged("it ends early"))?;
    *rest = tail;
    Ok(head)
}
