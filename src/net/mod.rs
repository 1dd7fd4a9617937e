//! The 3-D densely connected network: its graph, its weights, its kernels and the engines it runs on.

pub mod config;
pub mod graph;
pub mod kernels;
pub mod layers;

pub use config::{ConfigError, NetConfig, layer_table};
pub use graph::DenseNet;
pub use layers::Mode;
