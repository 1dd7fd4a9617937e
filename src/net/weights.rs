//! Weights in and out: safetensors, convolution weights in half precision, statistics and affine terms in float32.

use super::config::{ConfigError, NetConfig};
use super::graph::DenseNet;
use burn::tensor::Device;
use burn_store::{HalfPrecisionAdapter, ModuleSnapshot, SafetensorsStore, SafetensorsStoreError};

/// Why weights could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The configuration is not a network.
    #[error("the model's configuration is not usable: {0}")]
    Config(#[from] ConfigError),
    /// The file is no safetensors file, or lacks a tensor of the network.
    #[error("the weights cannot be read: {0}")]
    Store(String),
    /// Tensors of the network were not in the file.
    #[error("the weights lack {} tensors of the network, the first is \"{}\"", .missing.len(), .missing[0])]
    Missing {
        /// Names of the missing tensors.
        missing: Vec<String>,
    },
    /// A weight is NaN or infinite.
    #[error("{count} weights are not finite numbers; the file is damaged")]
    NotFinite {
        /// How many.
        count: usize,
    },
}

impl From<SafetensorsStoreError> for WeightsError {
    fn from(error: SafetensorsStoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// Modules whose tensors are stored in half precision. Normalisations are not: a variance may underflow.
fn half() -> HalfPrecisionAdapter {
    ["Conv3", "Conv1", "Halve", "Double", "TransitionUp"]
        .into_iter()
        .fold(HalfPrecisionAdapter::new(), HalfPrecisionAdapter::with_module)
}

/// The weights of a network as a safetensors file.
///
/// # Errors
/// [`WeightsError::Store`] if the store refuses.
pub fn to_bytes(net: &DenseNet) -> Result<Vec<u8>, WeightsError> {
    // burn's own entries are written in any order: one entry, so that the same weights are the same bytes.
    let mut store = SafetensorsStore::from_bytes(None)
        .clear_metadata()
        .metadata("format", "safetensors")
        .with_to_adapter(half());
    net.save_into(&mut store)?;
    Ok(store.get_bytes()?)
}

/// A network with the weights of a safetensors file written by [`to_bytes`].
///
/// # Errors
/// [`WeightsError`] if the configuration is out of range, the file is damaged, a tensor is missing or of another
/// shape, or a value is not finite.
pub fn from_bytes(config: &NetConfig, bytes: Vec<u8>, device: &Device) -> Result<DenseNet, WeightsError> {
    let mut net = DenseNet::new(config, 0, device)?;
    let mut store = SafetensorsStore::from_bytes(Some(bytes))
        .with_from_adapter(half())
        .allow_partial(true);
    let result = net.load_from(&mut store)?;
    if let Some(error) = result.errors.first() {
        return Err(WeightsError::Store(error.to_string()));
    }
    if !result.missing.is_empty() {
        return Err(WeightsError::Missing {
            missing: result.missing.iter().map(|(name, _)| name.clone()).collect(),
        });
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Mode;
    use burn::module::Module;
    use burn::tensor::{Distribution, Tensor};

    #[test]
    fn a_network_survives_its_file_to_half_precision() {
        let config = NetConfig::preset("toy", 2).unwrap();
        let device = Device::flex();
        let net = DenseNet::new(&config, 1, &device).unwrap();
        let bytes = to_bytes(&net).unwrap();
        let back = from_bytes(&config, bytes.clone(), &device).unwrap();
        let x = Tensor::random([1, 2, 8, 8, 8], Distribution::Normal(0.0, 1.0), &device);
        let (a, b) = (
            net.forward(x.clone(), Mode::Infer),
            back.forward(x.clone(), Mode::Infer),
        );
        let scale = a.clone().abs().max().into_scalar::<f32>();
        let difference = (a - b.clone()).abs().max().into_scalar::<f32>();
        // Eleven bits of mantissa in every convolution.
        assert!(
            difference > 0.0 && difference < 5e-3 * scale,
            "{difference} of {scale}"
        );
        // The second generation is exact: half precision is a fixed point.
        let again = from_bytes(&config, to_bytes(&back).unwrap(), &device).unwrap();
        assert_eq!(
            (again.forward(x, Mode::Infer) - b)
                .abs()
                .max()
                .into_scalar::<f32>(),
            0.0
        );
        // The same weights are the same bytes.
        assert!((0..8).all(|_| to_bytes(&net).unwrap() == bytes));
        // And the file is about half the float32 size.
        assert!(bytes.len() < net.num_params() * 4);
    }

    #[test]
    fn damaged_and_foreign_files_are_refused() {
        let config = NetConfig::preset("toy", 2).unwrap();
        let device = Device::flex();
        let bytes = to_bytes(&DenseNet::new(&config, 1, &device).unwrap()).unwrap();
        assert!(from_bytes(&config, bytes[..bytes.len() / 2].to_vec(), &device).is_err());
        assert!(from_bytes(&config, Vec::new(), &device).is_err());
        assert!(from_bytes(&config, vec![0xFF; 64], &device).is_err());
        let other = NetConfig {
            growth: 6,
            ..config.clone()
        };
        assert!(from_bytes(&other, bytes.clone(), &device).is_err());
        let deeper = NetConfig {
            layers: 3,
            ..config.clone()
        };
        assert!(from_bytes(&deeper, bytes, &device).is_err());
    }
}
