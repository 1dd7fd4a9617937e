//! What the desk asks of the browser.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DedicatedWorkerGlobalScope, File, Response};

use super::choice::{Gpu, names_software};
use super::limits::Memory;
use super::model::ModelError;
use crate::web::channel::words;

/// The device's memory as far as the browser tells.
pub(super) fn memory(scope: &DedicatedWorkerGlobalScope) -> Memory {
    Memory::reported(get(&scope.navigator(), "deviceMemory").as_f64())
}

/// Logical processors; 1 if the browser does not tell.
pub(super) fn processors(scope: &DedicatedWorkerGlobalScope) -> usize {
    (scope.navigator().hardware_concurrency() as usize).max(1)
}

/// Asks for a GPU adapter. Everything WebGPU goes through reflection: it is an unstable part of `web-sys`.
pub(super) async fn gpu(scope: &DedicatedWorkerGlobalScope) -> Gpu {
    let gpu = get(&scope.navigator(), "gpu");
    let Ok(request) = get(&gpu, "requestAdapter").dyn_into::<Function>() else {
        return Gpu::Missing;
    };
    let options = js_sys::Object::new();
    // The preference is only a hint; a laptop's second GPU is what it is for.
    let _ = Reflect::set(&options, &"powerPreference".into(), &"high-performance".into());
    let Ok(promise) = request.call1(&gpu, &options) else {
        return Gpu::NoAdapter;
    };
    let Ok(adapter) = JsFuture::from(Promise::resolve(&promise)).await else {
        return Gpu::NoAdapter;
    };
    if adapter.is_null() || adapter.is_undefined() {
        return Gpu::NoAdapter;
    }
    let info = get(&adapter, "info");
    let words: Vec<String> = ["vendor", "architecture", "description"]
        .iter()
        .filter_map(|key| get(&info, key).as_string())
        .filter(|word| !word.is_empty())
        .collect();
    let name = words.join(" ");
    // Older browsers have the mark on the adapter, newer ones on its info.
    let marked = [&info, &adapter]
        .iter()
        .any(|object| get(object, "isFallbackAdapter").is_truthy());
    Gpu::Adapter {
        software: marked || names_software(&name),
        name,
    }
}

/// A file's bytes.
///
/// # Errors
/// The browser's words, for example when the file has been moved since it was chosen.
pub(super) async fn read(file: &File) -> Result<Vec<u8>, String> {
    let buffer = JsFuture::from(file.array_buffer()).await.map_err(|e| words(&e))?;
    Ok(js_sys::Uint8Array::new(&buffer).to_vec())
}

/// A file of the site.
///
/// # Errors
/// [`ModelError::Fetch`] if the browser or the server refuses.
pub(super) async fn fetch(
    scope: &DedicatedWorkerGlobalScope,
    url: &str,
    what: &'static str,
) -> Result<Vec<u8>, ModelError> {
    let failed = |reason| ModelError::Fetch { what, reason };
    let thrown = |e: JsValue| failed(words(&e));
    let response: Response = JsFuture::from(scope.fetch_with_str(url))
        .await
        .map_err(thrown)?
        .dyn_into()
        .map_err(thrown)?;
    if !response.ok() {
        return Err(failed(format!(
            "the server answered {} {}",
            response.status(),
            response.status_text()
        )));
    }
    let body = response.array_buffer().map_err(thrown)?;
    let buffer = JsFuture::from(body).await.map_err(thrown)?;
    Ok(js_sys::Uint8Array::new(&buffer).to_vec())
}

/// A property, or undefined where there is none, be the object what it may.
fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap_or(JsValue::UNDEFINED)
}
