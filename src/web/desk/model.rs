//! A model's card and weights, checked against each other.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Patch side in voxels where a card names none.
const PATCH: usize = 64;

/// Peak memory in bytes of one CPU engine at [`PATCH`] where a card does not say. Measured in Chromium with 0.48 M
/// parameters: 99 MB of WebAssembly memory at 64 voxels (49 at 48, 316 at 96); doubled for code, buffers in flight
/// and larger networks.
const ENGINE_BYTES: u64 = 192 << 20;

/// What the desk needs from a model card (`card.json`); cards hold much more, for people.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Card {
    /// The model's name; its folder's will do.
    #[serde(default)]
    pub name: Option<String>,
    /// The network's configuration, handed to the engine as it is.
    pub config: Value,
    /// Patch side in voxels that the network was trained on.
    #[serde(default = "default_patch")]
    pub patch: usize,
    /// Measured peak memory in bytes of one CPU engine at [`Card::patch`].
    #[serde(default)]
    engine_bytes: Option<u64>,
    #[serde(default)]
    threshold: Option<f64>,
    weights: Option<WeightsEntry>,
    sha256: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct WeightsEntry {
    sha256: Option<String>,
}

fn default_patch() -> usize {
    PATCH
}

/// Why a model cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The name does not lead to a directory below the page.
    #[error("\"{0}\" is not the name of a model.")]
    Name(String),
    /// The browser could not fetch a file.
    #[error(
        "The network's {what} could not be fetched ({reason}). Check the connection and reload the page."
    )]
    Fetch {
        /// Which file.
        what: &'static str,
        /// What the browser or the server said.
        reason: String,
    },
    /// The card is not what it should be.
    #[error("The network's card cannot be read ({0}). The site is incomplete; tell whoever runs it.")]
    Card(String),
    /// The weights are other bytes than the card says.
    #[error(
        "The network's weights are damaged: their SHA-256 is {got}, and the card says {expected}. Reload the page \
         without its cache; if that does not help, tell whoever runs the site."
    )]
    Hash {
        /// From the card.
        expected: String,
        /// Of the bytes received.
        got: String,
    },
}

impl Card {
    /// Reads a card.
    ///
    /// # Errors
    /// [`ModelError::Card`] if it is not JSON, has no `config` object, no hash or an impossible patch.
    pub fn read(text: &str) -> Result<Self, ModelError> {
        let card: Self = serde_json::from_str(text).map_err(|e| ModelError::Card(e.to_string()))?;
        if !card.config.is_object() {
            return Err(ModelError::Card("`config` is no object".into()));
        }
        // A patch beyond 512 voxels is larger than any conformed head.
        if !(1..=512).contains(&card.patch) {
            return Err(ModelError::Card(format!(
                "a patch of {} voxels is impossible",
                card.patch
            )));
        }
        if card.hash().is_none() {
            return Err(ModelError::Card("it has no `sha256` of the weights".into()));
        }
        Ok(card)
    }

    /// Threshold that the card recommends, if it is a probability.
    #[must_use]
    pub fn threshold(&self) -> Option<f32> {
        self.threshold
            .map(|t| t as f32)
            .filter(|t| (0.0..=1.0).contains(t))
    }

    /// Peak memory in bytes of one CPU engine at a patch side: measured by whoever made the card, else assumed.
    /// Activations, nearly all of it, grow with the patch's voxels.
    #[must_use]
    pub fn engine_bytes(&self, patch: usize) -> u64 {
        let (bytes, side) = self
            .engine_bytes
            .map_or((ENGINE_BYTES, PATCH), |bytes| (bytes, self.patch));
        (bytes as f64 * (patch as f64 / side as f64).powi(3)) as u64
    }

    /// SHA-256 of the weights in hexadecimal; a card that was read has one.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        self.weights
            .as_ref()
            .and_then(|w| w.sha256.as_deref())
            .or(self.sha256.as_deref())
    }

    /// Checks the weights' SHA-256.
    ///
    /// # Errors
    /// [`ModelError::Hash`] if it is not the card's.
    pub fn verify(&self, weights: &[u8]) -> Result<(), ModelError> {
        let got: String = Sha256::digest(weights)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let expected = self.hash().unwrap_or_default();
        if got.eq_ignore_ascii_case(expected) {
            Ok(())
        } else {
            Err(ModelError::Hash {
                expected: expected.to_owned(),
                got,
            })
        }
    }
}

/// The model's directory if it is one below the page: letters, digits and `._-/`, nothing that climbs out.
///
/// # Errors
/// [`ModelError::Name`] otherwise.
pub fn directory(name: &str) -> Result<&str, ModelError> {
    let sane = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let trimmed = name.trim_end_matches('/');
    if trimmed.split('/').all(sane) {
        Ok(trimmed)
    } else {
        Err(ModelError::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "abc" (FIPS 180-2, example B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn weights_are_checked_against_the_card() {
        for card in [
            format!(r#"{{"config":{{"growth":12}},"patch":48,"weights":{{"sha256":"{ABC}"}},"more":1}}"#),
            format!(
                r#"{{"config":{{"growth":12}},"patch":48,"sha256":"{}"}}"#,
                ABC.to_uppercase()
            ),
        ] {
            let card = Card::read(&card).unwrap();
            assert_eq!(card.patch, 48);
            assert_eq!(card.verify(b"abc"), Ok(()));
            let problem = card.verify(b"abd").unwrap_err();
            assert!(matches!(&problem, ModelError::Hash { got, .. } if got.len() == 64));
        }
    }

    #[test]
    fn cards_that_cannot_be_used_are_refused() {
        for card in [
            "",
            "<!doctype html>",
            "{}",
            r#"{"config":{}}"#,
            r#"{"config":3,"sha256":"0"}"#,
            r#"{"config":{},"sha256":"0","patch":0}"#,
            r#"{"config":{},"sha256":"0","patch":100000}"#,
            r#"{"config":{},"sha256":"0","patch":-1}"#,
        ] {
            assert!(matches!(Card::read(card), Err(ModelError::Card(_))), "{card}");
        }
        assert_eq!(Card::read(r#"{"config":{},"sha256":"0"}"#).unwrap().patch, PATCH);
    }

    #[test]
    fn an_engine_needs_memory_by_the_voxel() {
        let card = |extra: &str| {
            Card::read(&format!(r#"{{"config":{{}},"sha256":"0","patch":48{extra}}}"#)).unwrap()
        };
        let assumed = card("");
        assert_eq!(assumed.engine_bytes(PATCH), ENGINE_BYTES);
        assert_eq!(assumed.engine_bytes(2 * PATCH), 8 * ENGINE_BYTES);
        let measured = card(r#","engine_bytes":1000"#);
        assert_eq!(measured.engine_bytes(48), 1000);
        assert_eq!(measured.engine_bytes(24), 125);
    }

    #[test]
    fn a_recommended_threshold_is_a_probability() {
        let threshold = |t: &str| {
            Card::read(&format!(r#"{{"config":{{}},"sha256":"0","threshold":{t}}}"#))
                .unwrap()
                .threshold()
        };
        assert_eq!(threshold("0.25"), Some(0.25));
        assert_eq!(threshold("7"), None);
        assert_eq!(threshold("null"), None);
    }

    #[test]
    fn a_model_lies_below_the_page() {
        assert_eq!(directory("models/browser-b1.5/"), Ok("models/browser-b1.5"));
        for name in [
            "",
            "/",
            "/etc",
            "../x",
            "a/../b",
            "https://x.org/m",
            "a//b",
            "a?b",
            "a/.b",
        ] {
            assert!(directory(name).is_err(), "{name}");
        }
    }
}
