//! A training run frozen between two steps.

use super::TrainConfig;
use crate::net::DenseNet;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use serde::{Deserialize, Serialize};

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// burn refuses its own record.
    #[error("the checkpoint's {part} cannot be used: {reason}")]
    Record {
        /// Weights or optimiser.
        part: &'static str,
        /// burn's reason.
        reason: String,
    },
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
    pub(super) average: Vec<Vec<f32>>,
    weights: Vec<u8>,
    optimiser: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    config: TrainConfig,
    step: u64,
    average: Vec<usize>,
    weights: usize,
    optimiser: usize,
}

const MAGIC: &[u8; 8] = b"EQPCKPT1";

impl Checkpoint {
    pub(super) fn take(
        config: &TrainConfig,
        step: u64,
        net: &DenseNet,
        optimiser: &ModuleOptimizer,
        average: &[Vec<f32>],
    ) -> Result<Self, CheckpointError> {
        let failed = |part| {
            move |e: burn::store::RecordError| CheckpointError::Record {
                part,
                reason: e.to_string(),
            }
        };
        let weights = net
            .clone()
            .into_record()
            .into_bytes()
            .map_err(failed("weights"))?
            .to_vec();
        let optimiser = optimiser.into_bytes().map_err(failed("optimiser"))?.to_vec();
        Ok(Self {
            config: config.clone(),
            step,
            average: average.to_vec(),
            weights,
            optimiser,
        })
    }

    pub(super) fn restore_network(&self, net: DenseNet) -> Result<DenseNet, CheckpointError> {
        let failed = |e: burn::store::RecordError| CheckpointError::Record {
            part: "weights",
            reason: e.to_string(),
        };
        let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(self.weights.clone())).map_err(failed)?;
        net.try_load_record(record).map_err(failed)
    }

    pub(super) fn restore_optimiser(
        &self,
        optimiser: ModuleOptimizer,
    ) -> Result<ModuleOptimizer, CheckpointError> {
        optimiser
            .from_bytes(Bytes::from_bytes_vec(self.optimiser.clone()))
            .map_err(|e| CheckpointError::Record {
                part: "optimiser",
                reason: e.to_string(),
            })
    }

    /// The checkpoint as one file.
    ///
    /// # Errors
    /// [`CheckpointError::Header`] if the configuration cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let header = serde_json::to_vec(&Header {
            config: self.config.clone(),
            step: self.step,
            average: self.average.iter().map(Vec::len).collect(),
            weights: self.weights.len(),
            optimiser: self.optimiser.len(),
        })?;
        let mut out = MAGIC.to_vec();
        out.extend((header.len() as u64).to_le_bytes());
        out.extend(header);
        out.extend(self.average.iter().flatten().flat_map(|v| v.to_le_bytes()));
        out.extend(&self.weights);
        out.extend(&self.optimiser);
        Ok(out)
    }

    /// Reads a file written by [`Checkpoint::to_bytes`].
    ///
    /// # Errors
    /// [`CheckpointError`] if the file is something else or ends early.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut rest = bytes
            .strip_prefix(MAGIC.as_slice())
            .ok_or(CheckpointError::Damaged("it is no checkpoint"))?;
        let length = u64::from_le_bytes(*take(&mut rest, 8)?.as_array().ok_or(CheckpointError::Shape)?);
        let length =
            usize::try_from(length).map_err(|_| CheckpointError::Damaged("its header is too long"))?;
        let header: Header = serde_json::from_slice(take(&mut rest, length)?)?;
        let mut average = Vec::new();
        for count in header.average {
            let count = count
                .checked_mul(4)
                .ok_or(CheckpointError::Damaged("a length is too large"))?;
            let values = take(&mut rest, count)?.as_chunks::<4>().0;
            average.push(values.iter().map(|b| f32::from_le_bytes(*b)).collect());
        }
        let weights = take(&mut rest, header.weights)?.to_vec();
        let optimiser = take(&mut rest, header.optimiser)?.to_vec();
        Ok(Self {
            config: header.config,
            step: header.step,
            average,
            weights,
            optimiser,
        })
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], CheckpointError> {
    let (head, tail) = rest
        .split_at_checked(length)
        .ok_or(CheckpointError::Damaged("it ends early"))?;
    *rest = tail;
    Ok(head)
}
