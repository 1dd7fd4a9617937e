//! The engines as predictors of the pipeline, and files on disk.

use clap::ValueEnum;
use equipoise::net::{Engine, EngineError};
use equipoise::pipeline::{Bundle, PredictError, Predictor};
use equipoise::tiling::{Group, Sums};
use std::path::{Path, PathBuf};

/// Where the network runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceChoice {
    /// Every core of this machine.
    Cpu,
    /// A GPU through Vulkan, Metal or DirectX.
    Gpu,
}

/// An engine on this machine.
pub(crate) struct Native(pub(crate) Engine);

impl Native {
    /// Opens a device; a GPU must pass its self-test.
    pub(crate) fn open(device: DeviceChoice) -> Result<Self, EngineError> {
        Self::open_as(device, false)
    }

    /// The same, its maps stored in half precision if asked.
    pub(crate) fn open_as(device: DeviceChoice, half: bool) -> Result<Self, EngineError> {
        let mut engine = match device {
            DeviceChoice::Cpu => Engine::cpu(),
            DeviceChoice::Gpu => pollster::block_on(Engine::gpu())?,
        };
        engine.set_half(half)?;
        if device == DeviceChoice::Gpu {
            pollster::block_on(engine.self_test())?;
        }
        Ok(Self(engine))
    }
}

impl Native {
    /// The device in words.
    pub(crate) fn describe(&self) -> String {
        self.0.describe()
    }
}

impl Predictor for Native {
    async fn predict(&self, patch: Vec<f32>, side: usize) -> Result<Vec<f32>, PredictError> {
        self.0
            .predict(patch, side)
            .await
            .map_err(|e| PredictError::Engine(e.to_string()))
    }

    fn group(&self, side: usize) -> Option<usize> {
        Group::size(self.0.group_voxels(), side)
    }

    async fn predict_group(&self, bundle: &Bundle) -> Result<Sums, PredictError> {
        self.0
            .predict_group(bundle.patches(), bundle.group(), bundle.window(), bundle.spread())
            .await
            .map_err(|e| PredictError::Engine(e.to_string()))
    }
}

/// A failure that names the file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Puts a file's name before whatever went wrong with it.
pub(crate) fn at<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    path: &Path,
) -> impl Fn(E) -> FileError + '_ {
    |e| FileError {
        path: path.to_path_buf(),
        source: e.into(),
    }
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(at(path))
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".part");
    std::fs::write(&temporary, bytes).map_err(at(path))?;
    std::fs::rename(&temporary, path).map_err(at(path))
}
