//! The network that fine-tuning starts from.

use serde_json::Value;

use super::FinetuneError;
use crate::net::NetConfig;
use crate::pipeline::report::sha256;

/// Patch side in voxels where a card names none.
const PATCH: usize = 64;

/// A model: its card and its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Base {
    card: Value,
    config: NetConfig,
    weights: Vec<u8>,
    sha256: String,
}

impl Base {
    /// Takes a model over: the text of its `card.json` and its safetensors file.
    ///
    /// # Errors
    /// [`FinetuneError::Base`] if the card is no JSON, describes no network or names other weights.
    pub fn new(card: &str, weights: Vec<u8>) -> Result<Self, FinetuneError> {
        let bad = |e: &dyn std::fmt::Display| FinetuneError::Base(e.to_string());
        let card: Value = serde_json::from_str(card).map_err(|e| bad(&e))?;
        let config: NetConfig = serde_json::from_value(card["config"].clone()).map_err(|e| bad(&e))?;
        config.validate()?;
        let sha256 = sha256(&weights);
        let said = card["weights"]["sha256"].as_str().or(card["sha256"].as_str());
        if let Some(said) = said.filter(|said| !said.eq_ignore_ascii_case(&sha256)) {
            let text = format!("the SHA-256 of its weights is {sha256}, the card says {said}");
            return Err(FinetuneError::Base(text));
        }
        Ok(Self {
            card,
            config,
            weights,
            sha256,
        })
    }

    /// Its card.
    #[must_use]
    pub fn card(&self) -> &Value {
        &self.card
    }

    /// Its name; empty if the card has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.card["name"].as_str().unwrap_or_default()
    }

    /// The network.
    #[must_use]
    pub fn config(&self) -> &NetConfig {
        &self.config
    }

    /// The safetensors file.
    #[must_use]
    pub fn weights(&self) -> &[u8] {
        &self.weights
    }

    /// SHA-256 of the weights, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Patch side in voxels that it was trained on.
    #[must_use]
    pub fn patch(&self) -> usize {
        let side = self.card["patch"]
            .as_u64()
            .and_then(|side| usize::try_from(side).ok());
        side.filter(|side| (1..=512).contains(side)).unwrap_or(PATCH)
    }

    /// Threshold of the probability that its card recommends.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        let threshold = self.card["threshold"].as_f64().map(|t| t as f32);
        threshold.filter(|t| (0.0..=1.0).contains(t)).unwrap_or(0.5)
    }
}
