//! The 3-D densely connected network: its graph, its weights, its kernels and the engines it runs on.

#[cfg(feature = "gpu")]
mod adapter;
pub mod config;
mod draw;
pub mod engine;
pub mod graph;
pub mod kernels;
pub mod layers;
pub mod memory;
#[cfg(any(test, feature = "lab", feature = "stock"))]
pub mod stock;
pub mod weights;

pub use config::{ConfigError, NetConfig, layer_table};
pub use engine::{Engine, EngineError};
pub use graph::DenseNet;
pub use layers::{Mode, Training};
