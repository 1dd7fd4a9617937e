//! The network as numbers: configuration, presets, and the table of layers with their parameters and cost.

use serde::{Deserialize, Serialize};

/// Layers that a dense block may have at the most.
pub const MAX_LAYERS: usize = 16;

/// Normalisation before each ReLU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Batch normalisation (Ioffe & Szegedy 2015), trained with batch renormalisation (Ioffe 2017) so that a batch of
    /// one patch trains the very function that inference computes. Folds into a scale and a shift per channel.
    Batch,
    /// Instance normalisation (Ulyanov et al. 2016): every patch by its own statistics, in training and at inference, so
    /// that nothing learnt from the training heads' statistics stands between the network and an unfamiliar one. Costs a
    /// pass over each map.
    Instance,
}

/// Why a configuration is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A count that must be at least one is zero.
    #[error("{field} is 0; it must be at least 1")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// A fraction is outside its range.
    #[error("{field} is {value}; it must be {range}")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value as text.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
    /// The patch side cannot be halved as often as the network does.
    #[error("a patch side of {side} does not fit the network: it must be a multiple of {multiple}")]
    Side {
        /// Side asked for.
        side: usize,
        /// What it must be a multiple of.
        multiple: usize,
    },
    /// There is no preset of that name.
    #[error("there is no preset \"{name}\"; the presets are: {known}")]
    Preset {
        /// Name asked for.
        name: String,
        /// Names that exist.
        known: String,
    },
}

/// A densely connected U-shaped network (method.md 2.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetConfig {
    /// Input channels: FLAIR and T1 are 2.
    pub in_channels: usize,
    /// Growth rate k: new channels per dense layer.
    pub growth: usize,
    /// Layers per dense block, L.
    pub layers: usize,
    /// Dense blocks on the way down, D (as many on the way up, and one at the centre).
    pub blocks: usize,
    /// Channels of the stem's convolutions.
    pub stem: usize,
    /// Halve the volume by a strided convolution before, and double it by a transposed one after, all else.
    pub compact: bool,
    /// 1x1x1 convolution to `4 k` channels inside each dense layer.
    pub bottleneck: bool,
    /// Share of channels a transition down drops (the published 0.5 keeps half).
    pub compression: f64,
    /// Share of values dropped after each dense layer's last convolution, in training.
    pub dropout: f64,
    /// Normalisation before each ReLU.
    pub norm: Norm,
}

/// Names of the presets.
pub const PRESETS: [&str; 4] = ["paper", "browser", "light", "toy"];

impl NetConfig {
    fn paper() -> Self {
        Self {
            in_channels: 2,
            growth: 16,
            layers: 5,
            blocks: 5,
            stem: 48,
            compact: false,
            bottleneck: true,
            compression: 0.5,
            dropout: 0.2,
            norm: Norm::Batch,
        }
    }

    /// The preset `browser` with two input channels.
    #[must_use]
    pub fn browser() -> Self {
        Self {
            growth: 12,
            layers: 4,
            blocks: 4,
            stem: 32,
            compact: true,
            dropout: 0.1,
            ..Self::paper()
        }
    }

    /// The configuration of a preset.
    ///
    /// - `paper`: the authors' published graph, k = 16, L = 5, D = 5, stem 48 (method.md 2.1), not compact.
    /// - `browser`: k = 12, L = 4, D = 4, stem 32, compact: about 0.9 M parameters and 9 GMAC per 64^3 patch.
    /// - `light`: k = 12, L = 3, D = 3, stem 24, compact, for patches of 48^3: about a quarter of the browser preset's cost
    ///   per patch.
    /// - `toy`: a few thousand parameters, for tests of everything around the network.
    ///
    /// # Errors
    /// [`ConfigError::Preset`] for another name.
    pub fn preset(name: &str, in_channels: usize) -> Result<Self, ConfigError> {
        let base = Self {
            in_channels,
            growth: 16,
            layers: 5,
            blocks: 5,
            stem: 48,
            compact: false,
            bottleneck: true,
            compression: 0.5,
            dropout: 0.2,
            norm: Norm::Batch,
        };
        match name {
            "paper" => Ok(base),
            "browser" => Ok(Self {
                growth: 12,
                layers: 4,
                blocks: 4,
                stem: 32,
                compact: true,
                dropout: 0.1,
                ..base
            }),
            "light" => Ok(Self {
                in_channels,
                layers: 3,
                blocks: 3,
                stem: 24,
                ..Self::browser()
            }),
            "toy" => Ok(Self {
                growth: 4,
                layers: 2,
                blocks: 1,
                stem: 8,
                compact: true,
                dropout: 0.0,
                ..base
            }),
            _ => Err(ConfigError::Preset {
                name: name.to_owned(),
                known: PRESETS.join(", "),
            }),
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError::Zero`] or [`ConfigError::Range`] for the first field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("in_channels", self.in_channels),
            ("growth", self.growth),
            ("layers", self.layers),
            ("blocks", self.blocks),
            ("stem", self.stem),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero { field });
            }
            // Far above any network that could run; keeps a hostile file from asking for terabytes.
            if value > 512 {
                return Err(ConfigError::Range {
                    field,
                    value: value.to_string(),
                    range: "at most 512",
                });
            }
        }
        for (field, value) in [("compression", self.compression), ("dropout", self.dropout)] {
            if !(0.0..1.0).contains(&value) {
                return Err(ConfigError::Range {
                    field,
                    value: value.to_string(),
                    range: "in [0, 1)",
                });
            }
        }
        if self.layers > MAX_LAYERS {
            return Err(ConfigError::Range {
                field: "layers",
                value: self.layers.to_string(),
                range: "at most 16",
            });
        }
        if self.blocks > 8 {
            return Err(ConfigError::Range {
                field: "blocks",
                value: self.blocks.to_string(),
                range: "at most 8",
            });
        }
        Ok(())
    }

    /// What a patch side must be a multiple of.
    #[must_use]
    pub fn side_multiple(&self) -> usize {
        1 << (self.blocks + usize::from(self.compact))
    }

    /// Checks a patch side.
    ///
    /// # Errors
    /// [`ConfigError::Side`] if the side cannot be halved often enough.
    pub fn check_side(&self, side: usize) -> Result<(), ConfigError> {
        let multiple = self.side_multiple();
        if side == 0 || !side.is_multiple_of(multiple) {
            return Err(ConfigError::Side { side, multiple });
        }
        Ok(())
    }

    /// Channels a transition down keeps of `channels`.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn compressed(&self, channels: usize) -> usize {
        // The published code floors: 159 channels become 79.
        ((channels as f64 * (1.0 - self.compression)) as usize).max(1)
    }
}

/// One row of the table of layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerRow {
    /// Where in the network, for example `down1.layer2.conv3`.
    pub name: String,
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Side of the output for the patch side asked for.
    pub side: usize,
    /// Trainable parameters (running statistics are not).
    pub parameters: usize,
    /// Multiply-adds of one patch.
    pub macs: u64,
}

/// The table of layers of a configuration for one patch side, in the order they run.
///
/// Counts are by arithmetic alone, so that `lab info` answers at once; a test holds them against the built network
/// and against the published counts.
#[must_use]
pub fn layer_table(config: &NetConfig, side: usize) -> Vec<LayerRow> {
    let mut table = Table { rows: Vec::new() };
    let k = config.growth;
    let mut side = side;
    let mut channels = config.in_channels;
    if config.compact {
        side /= 2;
        table.conv("stem.down", channels, config.stem, 8, true, side, side);
        channels = config.stem;
    }
    for i in 0..3 {
        table.conv(
            &format!("stem.conv{}", i + 1),
            channels,
            config.stem,
            27,
            false,
            side,
            side,
        );
        channels = config.stem;
        table.norm(&format!("stem.norm{}", i + 1), channels, side);
    }
    let mut skips = Vec::new();
    for block in 1..=config.blocks {
        channels = table.block(config, &format!("down{block}"), channels, side);
        skips.push(channels);
        table.norm(&format!("down{block}.transition.norm"), channels, side);
        let kept = config.compressed(channels);
        table.conv(
            &format!("down{block}.transition.conv"),
            channels,
            kept,
            1,
            false,
            side,
            side,
        );
        channels = kept;
        side /= 2;
    }
    table.block(config, "centre", channels, side);
    let new = config.layers * k;
    for (block, skip) in skips.iter().rev().enumerate() {
        side *= 2;
        table.conv(
            &format!("up{}.transition.conv", block + 1),
            new,
            new,
            27,
            true,
            side,
            side / 2,
        );
        channels = table.block(config, &format!("up{}", block + 1), new + skip, side);
    }
    if config.compact {
        side *= 2;
        table.conv("head.up", channels, config.stem, 8, true, side, side / 2);
        channels = config.stem;
    }
    table.conv("head.conv", channels, 1, 1, false, side, side);
    table.rows
}

struct Table {
    rows: Vec<LayerRow>,
}

impl Table {
    /// `work` is the side of the grid on which every tap is used once per position.
    #[allow(clippy::too_many_arguments)]
    fn conv(
        &mut self,
        name: &str,
        input: usize,
        output: usize,
        taps: usize,
        bias: bool,
        side: usize,
        work: usize,
    ) {
        let weights = input * output * taps;
        self.rows.push(LayerRow {
            name: name.to_owned(),
            input,
            output,
            side,
            parameters: weights + if bias { output } else { 0 },
            macs: weights as u64 * (work as u64).pow(3),
        });
    }

    fn norm(&mut self, name: &str, channels: usize, side: usize) {
        self.rows.push(LayerRow {
            name: name.to_owned(),
            input: channels,
            output: channels,
            side,
            parameters: 2 * channels,
            macs: channels as u64 * (side as u64).pow(3),
        });
    }

    /// A dense block; returns the channels of its concatenated output.
    fn block(&mut self, config: &NetConfig, name: &str, input: usize, side: usize) -> usize {
        let mut channels = input;
        for layer in 1..=config.layers {
            let name = format!("{name}.layer{layer}");
            self.norm(&format!("{name}.norm1"), channels, side);
            let mut inner = channels;
            if config.bottleneck {
                inner = 4 * config.growth;
                self.conv(&format!("{name}.conv1"), channels, inner, 1, false, side, side);
                self.norm(&format!("{name}.norm3"), inner, side);
            }
            self.conv(
                &format!("{name}.conv3"),
                inner,
                config.growth,
                27,
                false,
                side,
                side,
            );
            channels += config.growth;
        }
        channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// method.md 2.1, "train" column.
    pub(crate) const PUBLISHED: [(usize, usize, bool, usize, usize); 7] = [
        (16, 5, false, 4, 3_207_804),
        (16, 5, false, 5, 3_209_100),
        (16, 5, true, 4, 3_376_812),
        (16, 5, true, 5, 3_377_196),
        (12, 4, false, 5, 1_396_368),
        (12, 4, false, 3, 1_393_776),
        (12, 4, true, 3, 1_526_928),
    ];

    #[test]
    fn parameters_are_the_published_counts() {
        for (growth, layers, compact, in_channels, expected) in PUBLISHED {
            let paper = NetConfig::preset("paper", in_channels).unwrap();
            let config = NetConfig {
                growth,
                layers,
                compact,
                ..paper
            };
            let total: usize = layer_table(&config, 128).iter().map(|r| r.parameters).sum();
            assert_eq!(
                total, expected,
                "k {growth} L {layers} compact {compact} in {in_channels}"
            );
        }
    }

    #[test]
    fn cost_is_the_published_cost() {
        // method.md 2.1: 157 GMAC at 64^3; compact 201 GMAC at 128^3, 25 at 64^3; k12 L4 compact 15 at 64^3.
        let paper = NetConfig::preset("paper", 4).unwrap();
        let gmac =
            |c: &NetConfig, side| layer_table(c, side).iter().map(|r| r.macs).sum::<u64>() as f64 / 1e9;
        assert!((gmac(&paper, 64) - 157.0).abs() < 1.5);
        let compact = NetConfig {
            compact: true,
            ..paper
        };
        assert!((gmac(&compact, 128) - 201.0).abs() < 2.0);
        assert!((gmac(&compact, 64) - 25.0).abs() < 0.5);
        let small = NetConfig {
            growth: 12,
            layers: 4,
            ..compact
        };
        assert!((gmac(&small, 64) - 15.0).abs() < 0.5);
    }

    #[test]
    fn sides_and_fields_are_checked() {
        let browser = NetConfig::preset("browser", 2).unwrap();
        assert_eq!(browser.side_multiple(), 32);
        assert!(browser.check_side(64).is_ok());
        assert_eq!(
            browser.check_side(48),
            Err(ConfigError::Side {
                side: 48,
                multiple: 32
            })
        );
        assert!(browser.check_side(0).is_err());
        let bad = |c: NetConfig| assert!(c.validate().is_err(), "{c:?}");
        bad(NetConfig {
            growth: 0,
            ..browser.clone()
        });
        bad(NetConfig {
            stem: 1 << 40,
            ..browser.clone()
        });
        bad(NetConfig {
            compression: 1.0,
            ..browser.clone()
        });
        bad(NetConfig {
            dropout: f64::NAN,
            ..browser.clone()
        });
        assert!(browser.validate().is_ok());
        assert!(NetConfig::preset("unknown", 2).is_err());
    }
}
