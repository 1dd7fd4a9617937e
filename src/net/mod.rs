//! The 3-D densely connected network: its graph, its weights, its kernels and the engines it runs on.
//!
//! Its configuration and the memory it takes are arithmetic, and known without burn.

#[cfg(feature = "gpu")]
mod adapter;
pub mod config;
#[cfg(feature = "net")]
mod draw;
#[cfg(feature = "net")]
pub mod engine;
#[cfg(feature = "net")]
pub mod graph;
#[cfg(feature = "net")]
mod infer;
#[cfg(feature = "net")]
pub mod kernels;
#[cfg(feature = "net")]
pub mod layers;
pub mod memory;
#[cfg(feature = "net")]
pub mod norm;
mod part;
#[cfg(all(feature = "net", any(test, feature = "lab", feature = "stock")))]
pub mod stock;
#[cfg(feature = "net")]
pub mod weights;

pub use config::{ConfigError, NetConfig, Norm, layer_table};
#[cfg(feature = "net")]
pub use engine::{Engine, EngineError};
#[cfg(feature = "net")]
pub use graph::DenseNet;
#[cfg(feature = "net")]
pub use infer::InferNet;
#[cfg(feature = "net")]
pub use layers::{Mode, Training};
pub use part::Part;
