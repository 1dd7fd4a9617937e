//! What is taken home.

use serde_json::{Value, json};

use super::record::Record;
use crate::net::{NetConfig, layer_table};
use crate::pipeline::report::{RESEARCH_ONLY, sha256};
use crate::volume::Volume;

/// Probabilities of a held-out case before and after, on the FLAIR's own grid. What a resumption lost comes back by
/// [`Session::redraw`](super::Session::redraw).
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// Number of the case.
    pub case: usize,
    /// By the base network.
    pub before: Option<Volume>,
    /// By the weights that are kept.
    pub after: Option<Volume>,
}

/// The end of a fine-tuning.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The weights that are kept: a safetensors file.
    pub weights: Vec<u8>,
    /// All that is known about them.
    pub record: Record,
    /// Probabilities of the held-out cases; none in k-fold.
    pub maps: Vec<Maps>,
    base: Value,
}

impl Outcome {
    pub(super) fn new(weights: Vec<u8>, base: Value, record: Record, maps: Vec<Maps>) -> Self {
        Self {
            weights,
            record,
            maps,
            base,
        }
    }

    /// The model's `card.json`, to be written beside its weights: that of the base with another name, other weights, and the
    /// record. It names no file and no case.
    #[must_use]
    pub fn card(&self, name: &str) -> Value {
        let settings = &self.record.settings;
        let base = if self.record.base.is_empty() {
            "a base network".to_owned()
        } else {
            self.record.base.clone()
        };
        let parameters = serde_json::from_value::<NetConfig>(self.base["config"].clone()).map_or(0, |net| {
            layer_table(&net, settings.patch)
                .iter()
                .map(|row| row.parameters)
                .sum::<usize>()
        });
        let mut card = json!({
            "name": name,
            "config": self.base["config"],
            "patch": settings.patch,
            "threshold": settings.threshold,
            "weights": {
                "file": "weights.safetensors",
                "sha256": sha256(&self.weights),
                "bytes": self.weights.len(),
                "parameters": parameters,
            },
            "intended_use": RESEARCH_ONLY,
            "training": self.base["training"],
            "fine_tuning": self.record,
            "held_out": [{ "text": format!(
                "Fine-tuned from {base} on {} of n = {} cases for {} steps (beta {}, {}): {}",
                self.record.folds.last().map_or(0, |fold| fold.train.len()),
                self.record.n,
                self.record.folds.last().map_or(0, |fold| fold.best_step),
                settings.beta,
                part(settings.part),
                self.record.verdict
            ) }],
            "licence": format!(
                "That of the base network ({}), and whatever the cases it was fine-tuned on ask for.",
                self.base["licence"].as_str().unwrap_or("see its card")
            ),
            "cite": self.base["cite"],
            "known_failures": self.base["known_failures"],
        });
        if let Some(fields) = card.as_object_mut() {
            // Measured for the base's patch: the same network takes the same.
            if let Some(bytes) = self
                .base
                .get("engine_bytes")
                .filter(|_| self.base["patch"] == json!(settings.patch))
            {
                fields.insert("engine_bytes".to_owned(), bytes.clone());
            }
            // What is missing stays missing: the reader has defaults, `null` may have none.
            fields.retain(|_, value| !value.is_null());
        }
        card
    }
}

fn part(part: super::Part) -> &'static str {
    match part {
        super::Part::Head => "the head alone",
        super::Part::Decoder => "decoder and head",
        super::Part::Everything => "the whole network",
    }
}
