//! Training: the material and its fold rule, lesions painted into real and synthetic heads, augmentation, patches; the trainer.
//!
//! Everything up to the trainer is plain arrays and needs no burn. All randomness comes from a seed ([`random`]).

#[cfg(not(target_arch = "wasm32"))]
pub mod ahead;
pub mod anatomy;
pub mod augment;
#[cfg(not(target_arch = "wasm32"))]
pub mod average;
pub mod caps;
pub mod case;
#[cfg(not(target_arch = "wasm32"))]
pub mod clinical;
pub mod config;
pub mod confluent;
pub mod field;
pub mod head;
#[cfg(not(target_arch = "wasm32"))]
mod itk;
pub mod lesions;
pub mod limbic;
pub mod material;
#[cfg(not(target_arch = "wasm32"))]
pub mod npz;
pub mod paint;
pub mod plan;
#[cfg(not(target_arch = "wasm32"))]
pub mod preview;
pub mod random;
pub mod register;
#[cfg(not(target_arch = "wasm32"))]
pub mod sample;
pub mod sampler;
#[cfg(not(target_arch = "wasm32"))]
pub mod subjects;
pub mod synth;
#[cfg(feature = "learn")]
pub mod trainer;
pub mod tune;
#[cfg(not(target_arch = "wasm32"))]
pub mod validation;
