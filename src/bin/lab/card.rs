//! Model cards: what a network is, beside its weights.

use crate::native::{FileError, at, read};
use equipoise::learn::trainer::TrainConfig;
use equipoise::net::{NetConfig, layer_table};
use equipoise::pipeline::report::sha256;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// `card.json`: read by the page and `lab`, written by `lab pretrain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Card {
    /// Name of the model.
    pub(crate) name: String,
    /// What sets it apart from its family, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) summary: String,
    /// True for the member that is used unless told otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) default: bool,
    /// The network.
    pub(crate) config: NetConfig,
    /// Patch side it was trained on, in voxels of 1 mm.
    pub(crate) patch: usize,
    /// Recommended threshold of the probability.
    pub(crate) threshold: f64,
    /// The file of weights.
    pub(crate) weights: WeightsEntry,
    /// What it must not be used for.
    pub(crate) intended_use: String,
    /// How it was trained.
    pub(crate) training: Option<Training>,
    /// How it was fine-tuned, from which base and on what: the record of `lab finetune` and the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fine_tuning: Option<serde_json::Value>,
    /// What it scored on data that trained nothing of it or of its fold; filled in after evaluation.
    #[serde(default)]
    pub(crate) held_out: Vec<serde_json::Value>,
    /// Licence of the weights and the data behind them.
    pub(crate) licence: String,
    /// Publications to cite.
    pub(crate) cite: Vec<String>,
    /// Known failures, one sentence each.
    #[serde(default)]
    pub(crate) known_failures: Vec<String>,
}

impl Card {
    /// The card in a file.
    ///
    /// # Errors
    /// With the file's name, if it cannot be read or is no card.
    pub(crate) fn read(path: &Path) -> Result<Self, FileError> {
        serde_json::from_slice(&read(path)?).map_err(at(path))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WeightsEntry {
    pub(crate) file: String,
    pub(crate) sha256: String,
    pub(crate) bytes: usize,
    pub(crate) parameters: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Training {
    /// Steps done.
    pub(crate) steps: u64,
    /// Held-out patient, if the model belongs to a fold.
    pub(crate) held_out_patient: Option<u8>,
    /// Real labelled patients whose images trained it.
    pub(crate) labelled_patients: Vec<u8>,
    /// The whole configuration.
    pub(crate) config: TrainConfig,
}

impl Training {
    /// Whether raw clinical scans were among the material.
    fn clinical(&self) -> bool {
        self.config.data.mix.clinical > 0.0
    }

    /// What is to be cited.
    fn cite(&self) -> impl Iterator<Item = &'static str> {
        let clinical = self.clinical().then_some(CITE_CLINICAL);
        [Some(CITE_LABELLED), clinical, Some(CITE_METHOD)]
            .into_iter()
            .flatten()
    }
}

const LICENCE: &str =
    "CC-BY-4.0. Trained on: Lesjak et al. 2017 (CC-BY), lesion shapes and MNI maps (Apache-2.0).";

/// As [`LICENCE`], with raw clinical scans among the material.
const LICENCE_CLINICAL: &str =
    "CC-BY-4.0. Trained on: Lesjak et al. 2016 and 2017 (CC-BY), lesion shapes and MNI maps (Apache-2.0).";

const CITE_CLINICAL: &str = "Lesjak Ž, Pernuš F, Likar B, Špiclin Ž. Validation of white-matter lesion change detection methods on a \
     novel publicly available MRI image database. Neuroinformatics, 2016, doi:10.1007/s12021-016-9301-1.";

const CITE_LABELLED: &str = "Lesjak Ž, Pernuš F, Likar B, Špiclin Ž. A novel public MR image dataset of multiple sclerosis patients with \
     lesion segmentations based on multi-rater consensus. Neuroinformatics, 2017, doi:10.1007/s12021-017-9348-7.";

const CITE_METHOD: &str = "Hashemi SR, et al. Asymmetric loss functions and deep densely connected networks for highly imbalanced medical \
     image segmentation. IEEE Access 7, 2019.";

impl Card {
    pub(crate) fn new(
        name: &str,
        config: &NetConfig,
        patch: usize,
        weights: &[u8],
        training: Option<Training>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            summary: String::new(),
            default: false,
            config: config.clone(),
            patch,
            threshold: 0.5,
            weights: WeightsEntry {
                file: "weights.safetensors".to_owned(),
                sha256: sha256(weights),
                bytes: weights.len(),
                parameters: layer_table(config, patch).iter().map(|r| r.parameters).sum(),
            },
            intended_use: "Research use only. Not a medical device; not for diagnosis.".to_owned(),
            licence: match &training {
                Some(training) if training.clinical() => LICENCE_CLINICAL,
                Some(_) => LICENCE,
                None => "CC0-1.0 (random weights)",
            }
            .to_owned(),
            cite: training
                .iter()
                .flat_map(Training::cite)
                .map(str::to_owned)
                .collect(),
            training,
            fine_tuning: None,
            held_out: Vec::new(),
            known_failures: Vec::new(),
        }
    }
}

impl Card {
    /// The card for people: `CARD.md`.
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("# {}\n\n**{}**\n\n", self.name, self.intended_use);
        if !self.summary.is_empty() {
            out.push_str(&format!("{}\n\n", self.summary));
        }
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        let c = &self.config;
        line(format!(
            "- Network: densely connected, k = {}, L = {}, D = {}, stem {}, {}, {} input channels (FLAIR, T1; T1 may be \
             missing), {} trainable parameters",
            c.growth,
            c.layers,
            c.blocks,
            c.stem,
            if c.compact { "compact" } else { "not compact" },
            c.in_channels,
            self.weights.parameters
        ));
        line(format!(
            "- Patch: {} mm cube of 1 mm voxels; threshold {}",
            self.patch, self.threshold
        ));
        line(format!(
            "- Weights: `{}`, {} bytes, SHA-256 `{}`",
            self.weights.file, self.weights.bytes, self.weights.sha256
        ));
        if let Some(training) = &self.training {
            line(format!(
                "- Trained for {} steps of {} patches on {} labelled patients (n = {}), lesions painted into them and heads \
                 synthesised from tissue maps{}; the whole configuration is in `card.json`",
                training.steps,
                training.config.batch,
                training.labelled_patients.len(),
                training.labelled_patients.len(),
                match (training.clinical(), training.config.data.mix.marked) {
                    (false, _) => "",
                    (true, false) => ", and on raw clinical scans without labels with lesions painted in",
                    (true, true) => {
                        ", and on raw clinical scans without labels, whose brightest lesions were marked by rule, with lesions \
                         painted in"
                    }
                }
            ));
        }
        if let Some(record) = &self.fine_tuning {
            line(format!(
                "- Fine-tuned from {} (weights {}) on n = {} cases; settings, curves and seed are in `card.json`",
                record["base"].as_str().unwrap_or("a base network"),
                record["base_sha256"].as_str().unwrap_or("unknown"),
                record["n"]
            ));
        }
        line(format!("- Licence: {}", self.licence));
        line("\n## Figures on held-out data\n".to_owned());
        if self.held_out.is_empty() {
            line("None yet.".to_owned());
        }
        for entry in &self.held_out {
            line(format!("- {}", entry["text"].as_str().unwrap_or_default()));
        }
        line("\n## Known failures\n".to_owned());
        if self.known_failures.is_empty() {
            line("None recorded.".to_owned());
        }
        for failure in &self.known_failures {
            line(format!("- {failure}"));
        }
        line("\n## Cite\n".to_owned());
        for cite in &self.cite {
            line(format!("- {cite}"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_card_that_ships_is_one_of_today() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/models");
        let mut read = 0;
        for folder in std::fs::read_dir(models).unwrap() {
            let path = folder.unwrap().path().join("card.json");
            let text = std::fs::read_to_string(&path).unwrap();
            let card: Card =
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            // Nothing is left over and nothing is missing: what is read is what would be written.
            let again = serde_json::to_string_pretty(&card).unwrap();
            assert_eq!(again.trim(), text.trim(), "{}", path.display());
            read += 1;
        }
        assert!(read >= 4, "{read} cards");
    }
}
