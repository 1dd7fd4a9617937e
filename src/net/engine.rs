//! A network on a device: weights in, then patches in, probabilities out.

mod group;

use super::config::NetConfig;
use super::graph::DenseNet;
#[cfg(not(feature = "stock"))]
use super::infer::InferNet;
use super::weights::{self, WeightsError};
#[cfg(feature = "stock")]
use burn::tensor::activation;
use burn::tensor::{Device, Tensor, TensorData};

/// Why an engine failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no usable device.
    #[error("there is no usable GPU: {0}")]
    NoDevice(String),
    /// The model's configuration is no JSON of a network.
    #[error("the model's configuration cannot be read: {0}")]
    Config(#[from] serde_json::Error),
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Asked to predict before a network was loaded.
    #[error("no network is loaded")]
    NotLoaded,
    /// The patch has another number of values than its side says.
    #[error("a patch of {got} values was given; side {side} and {channels} channels need {expected}")]
    Patch {
        /// Values given.
        got: usize,
        /// Values needed.
        expected: usize,
        /// Side in voxels.
        side: usize,
        /// Channels of the network.
        channels: usize,
    },
    /// The side does not fit the network.
    #[error(transparent)]
    Side(#[from] super::ConfigError),
    /// The device cannot compute with half precision.
    #[error("{device} cannot store maps in half precision (WebGPU's feature shader-f16)")]
    NoHalf {
        /// The device in words.
        device: String,
    },
    /// The device did not finish.
    #[error("the device failed: {0}")]
    Device(String),
    /// The device computes something else than the CPU.
    #[error(
        "the self-test failed: probabilities differ from the CPU's by {difference:.2e} (allowed {allowed:.0e})"
    )]
    SelfTest {
        /// Largest difference.
        difference: f64,
        /// Largest allowed.
        allowed: f64,
    },
    /// The device returned values that are no probabilities.
    #[error("the device returned {count} values that are no probabilities")]
    NotProbabilities {
        /// How many.
        count: usize,
    },
}

/// Largest difference of probability between two devices that run the same network.
const AGREEMENT: f64 = 1e-3;

/// The same where one of them stores its maps in half precision.
const AGREEMENT_IN_HALF: f64 = 2e-2;

/// A device, and the network loaded on it.
#[derive(Debug)]
pub struct Engine {
    device: Device,
    name: String,
    software: bool,
    /// Bytes of the largest buffer that a kernel can use; `None` where patches are best predicted one by one.
    binding: Option<u64>,
    can_halve: bool,
    half: bool,
    net: Option<(NetConfig, Loaded)>,
}

/// A network as it predicts.
#[cfg(not(feature = "stock"))]
type Loaded = InferNet;
#[cfg(feature = "stock")]
type Loaded = DenseNet;

#[cfg(not(feature = "stock"))]
fn loaded(net: &DenseNet, half: bool) -> Loaded {
    let net = InferNet::new(net);
    if half { net.in_half() } else { net }
}
#[cfg(feature = "stock")]
fn loaded(net: &DenseNet, _half: bool) -> Loaded {
    net.clone()
}

impl Engine {
    /// The CPU engine (burn-flex under our kernels).
    #[must_use]
    pub fn cpu() -> Self {
        Self {
            device: Device::flex(),
            name: "CPU".to_owned(),
            software: false,
            binding: None,
            can_halve: false,
            half: false,
            net: None,
        }
    }

    /// The GPU engine: WebGPU in a browser, Vulkan, Metal or DirectX natively.
    ///
    /// # Errors
    /// [`EngineError::NoDevice`] if no adapter can be opened.
    #[cfg(feature = "gpu")]
    pub async fn gpu() -> Result<Self, EngineError> {
        let opened = super::adapter::open().await?;
        Ok(Self {
            device: opened.device,
            name: opened.name,
            software: opened.software,
            binding: Some(opened.binding),
            can_halve: opened.half,
            half: false,
            net: None,
        })
    }

    /// The device in words.
    #[must_use]
    pub fn describe(&self) -> String {
        self.name.clone()
    }

    /// True if the device is a GPU emulated in software.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.software
    }

    /// True if maps can be stored in half precision here.
    #[must_use]
    pub fn can_halve(&self) -> bool {
        self.can_halve
    }

    /// Whether networks loaded from now on store their maps in half precision (`docs/performance.md` says what it costs).
    ///
    /// # Errors
    /// [`EngineError::NoHalf`] if the device cannot.
    pub fn set_half(&mut self, half: bool) -> Result<(), EngineError> {
        if half && !self.can_halve {
            return Err(EngineError::NoHalf {
                device: self.describe(),
            });
        }
        self.half = half;
        Ok(())
    }

    /// The configuration of the loaded network.
    #[must_use]
    pub fn config(&self) -> Option<&NetConfig> {
        self.net.as_ref().map(|(config, _)| config)
    }

    /// Loads a network: its configuration as JSON and its weights as a safetensors file.
    ///
    /// # Errors
    /// [`EngineError::Config`] or [`EngineError::Weights`]; a network loaded before stays.
    pub fn load(&mut self, config_json: &str, safetensors: Vec<u8>) -> Result<(), EngineError> {
        let config: NetConfig = serde_json::from_str(config_json)?;
        let net = weights::from_bytes(&config, safetensors, &self.device)?;
        self.set(config, &net);
        Ok(())
    }

    /// Takes over a network that lives on this engine's device.
    pub fn set(&mut self, config: NetConfig, net: &DenseNet) {
        self.net = Some((config, loaded(net, self.half)));
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Lesion probabilities of one patch: `channels * side^3` values, channel slowest, x fastest, to `side^3`.
    ///
    /// # Errors
    /// [`EngineError`] if no network is loaded, the patch does not fit it, or the device fails.
    pub async fn predict(&self, patch: Vec<f32>, side: usize) -> Result<Vec<f32>, EngineError> {
        let (config, net) = self.net.as_ref().ok_or(EngineError::NotLoaded)?;
        config.check_side(side)?;
        run(net, config.in_channels, patch, side, &self.device).await
    }

    /// Runs a small fixed network here and on the CPU and compares, and sums known votes: an invalid shader is only logged on WebGPU, and
    /// stale memory comes back as if nothing had happened.
    ///
    /// # Errors
    /// [`EngineError::SelfTest`] if the probabilities differ by more than 1e-3 anywhere, or any error of the device.
    pub async fn self_test(&self) -> Result<(), EngineError> {
        let config = NetConfig::preset("toy", 2)?;
        let side = 2 * config.side_multiple();
        let cpu = Device::flex();
        let reference = DenseNet::new(&config, 1, &cpu)?;
        let file = weights::to_bytes(&reference)?;
        let patch: Vec<f32> = (0..2 * side.pow(3))
            .map(|i| ((i * 7919 % 2003) as f32 / 1001.0 - 1.0) * 2.0)
            .collect();
        let known = loaded(&weights::from_bytes(&config, file.clone(), &cpu)?, false);
        let expected = run(&known, 2, patch.clone(), side, &cpu).await?;
        let differs = |difference: f64, allowed: f64| {
            if difference > allowed {
                return Err(EngineError::SelfTest { difference, allowed });
            }
            Ok(())
        };
        let ours = loaded(&weights::from_bytes(&config, file, &self.device)?, self.half);
        let allowed = if self.half { AGREEMENT_IN_HALF } else { AGREEMENT };
        // Twice: the second run meets buffers that were used before.
        for _ in 0..2 {
            let found = run(&ours, 2, patch.clone(), side, &self.device).await?;
            let difference = found
                .iter()
                .zip(&expected)
                .map(|(a, b)| f64::from((a - b).abs()))
                .fold(0.0, f64::max);
            differs(difference, allowed)?;
            differs(group::vote_differs(&self.device).await?, AGREEMENT)?;
        }
        Ok(())
    }
}

/// One forward pass and its read-back.
async fn run(
    net: &Loaded,
    channels: usize,
    patch: Vec<f32>,
    side: usize,
    device: &Device,
) -> Result<Vec<f32>, EngineError> {
    let expected = side
        .checked_pow(3)
        .and_then(|v| v.checked_mul(channels))
        .unwrap_or(usize::MAX);
    if patch.len() != expected {
        return Err(EngineError::Patch {
            got: patch.len(),
            expected,
            side,
            channels,
        });
    }
    let p = read(probabilities(net, channels, patch, side, device)).await?;
    let count = p.iter().filter(|p| !(0.0..=1.0).contains(*p)).count();
    if count > 0 {
        return Err(EngineError::NotProbabilities { count });
    }
    Ok(p)
}

/// One forward pass over whole patches; `[patch, 1, z, y, x]`.
fn probabilities(
    net: &Loaded,
    channels: usize,
    patches: Vec<f32>,
    side: usize,
    device: &Device,
) -> Tensor<5> {
    let batch = patches.len() / (channels * side.pow(3)).max(1);
    let shape = [batch, channels, side, side, side];
    let x = Tensor::<5>::from_data(TensorData::new(patches, shape), device);
    #[cfg(not(feature = "stock"))]
    let p = net.probabilities(x);
    #[cfg(feature = "stock")]
    let p = activation::sigmoid(super::stock::forward(net, x, false));
    p
}

/// The values of a tensor. Only asynchronous reads work in a browser.
async fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EngineError> {
    let data = tensor
        .into_data_async()
        .await
        .map_err(|e| EngineError::Device(e.to_string()))?;
    data.try_to_vec().map_err(|e| EngineError::Device(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_passes_its_own_test_and_refuses_misfits() {
        pollster::block_on(async {
            let mut engine = Engine::cpu();
            engine.self_test().await.unwrap();
            assert!(matches!(
                engine.predict(vec![0.0; 16], 2).await,
                Err(EngineError::NotLoaded)
            ));
            assert!(matches!(engine.set_half(true), Err(EngineError::NoHalf { .. })));
            let config = NetConfig::preset("toy", 2).unwrap();
            let file = weights::to_bytes(&DenseNet::new(&config, 1, engine.device()).unwrap()).unwrap();
            assert!(engine.load("{}", file.clone()).is_err());
            engine
                .load(&serde_json::to_string(&config).unwrap(), file)
                .unwrap();
            assert!(matches!(
                engine.predict(vec![0.0; 17], 8).await,
                Err(EngineError::Patch { .. })
            ));
            assert!(matches!(
                engine.predict(vec![0.0; 54], 3).await,
                Err(EngineError::Side(_))
            ));
            let p = engine.predict(vec![0.5; 1024], 8).await.unwrap();
            assert_eq!(p.len(), 512);
            assert!(matches!(
                engine.predict(vec![f32::NAN; 1024], 8).await,
                Err(EngineError::NotProbabilities { count: 1.. })
            ));
        });
    }
}
