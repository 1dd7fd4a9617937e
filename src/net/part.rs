//! Which part of a network is trained.

use serde::{Deserialize, Serialize};

/// What of a network learns; the rest keeps its weights, and no gradient is computed there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The head alone: what is made of the topmost maps.
    Head,
    /// The way up and the head: everything from the first transition up.
    #[default]
    Decoder,
    /// The whole network.
    Everything,
}
