//! Opening a GPU through wgpu.

use super::engine::EngineError;
use super::kernels::tiles::{Class, Tiles};
use burn::tensor::Device;
use burn::tensor::wgpu::wgpu::{DeviceType, Features};
use futures_util::lock::Mutex;
use std::sync::OnceLock;

/// Launches that are submitted together. A training step has a thousand, and every submission costs a pause; many more in one keep a
/// browser's own drawing waiting.
const TASKS: usize = 64;

/// An opened device.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) device: Device,
    pub(super) name: String,
    /// Emulated on the CPU.
    pub(super) software: bool,
    /// Bytes of the largest buffer that a kernel can read or write.
    pub(super) binding: u64,
    /// Computes in half precision.
    pub(super) half: bool,
}

/// Opens the best adapter, or hands out the one opened before: burn registers a runtime once per process. Who asks meanwhile waits.
///
/// # Errors
/// [`EngineError::NoDevice`] with the reason.
pub(super) async fn open() -> Result<Opened, EngineError> {
    static OPENED: OnceLock<Mutex<Option<Opened>>> = OnceLock::new();
    let mut kept = OPENED.get_or_init(Default::default).lock().await;
    if let Some(opened) = &*kept {
        return Ok(opened.clone());
    }
    let (device, setup) = Device::wgpu_options()
        .tasks_max(TASKS)
        .init_with_setup_async()
        .await
        .map_err(|e| EngineError::NoDevice(e.to_string()))?;
    let info = setup.adapter.get_info();
    let name = if info.name.is_empty() {
        "WebGPU adapter".to_owned()
    } else {
        info.name.clone()
    };
    let words = format!("{} {}", info.name, info.driver).to_lowercase();
    // Browsers report no device type; the software adapters say who they are.
    let software = info.device_type == DeviceType::Cpu
        || ["swiftshader", "llvmpipe", "lavapipe", "basic render"]
            .iter()
            .any(|s| words.contains(s));
    let class = if software {
        Class::Software
    } else {
        Class::Hardware
    };
    Tiles::of(class).set();
    let limits = setup.device.limits();
    let opened = Opened {
        device,
        name: format!("{name} ({:?})", info.backend),
        software,
        half: setup.device.features().contains(Features::SHADER_F16),
        binding: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
    };
    *kept = Some(opened.clone());
    Ok(opened)
}
