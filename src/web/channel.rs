//! Posting and receiving the messages of [`super::messages`] between page, desk and engines.
//!
//! On the wire a message is one JavaScript object `{ message, buffers, files, case }`. Buffers are transferred: the sender's
//! handle is detached and no voxel is copied by the browser.

use js_sys::{Array, ArrayBuffer, Float32Array, Object, Reflect, Uint8Array};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{DedicatedWorkerGlobalScope, File, MessageEvent, Worker};

/// Why a message could not be posted or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The message could not be turned into a JavaScript value.
    #[error("a message could not be written: {0}")]
    Write(String),
    /// What arrived is not a message of ours.
    #[error("a message could not be read: {0}")]
    Read(String),
    /// The browser refused to post it.
    #[error("the browser did not take a message: {0}")]
    Post(String),
    /// This program does not run in a dedicated worker.
    #[error("this program must run in a dedicated worker")]
    NotAWorker,
}

/// A message with what travels beside it.
#[derive(Debug, Clone)]
pub struct Parcel<M> {
    /// What is said.
    pub message: M,
    /// Voxels and files' bytes, transferred.
    pub buffers: Vec<ArrayBuffer>,
    /// The browser's own handles of files the person chose.
    pub files: Vec<File>,
    /// Number of the case it belongs to; answers copy it (see [`super::messages`]).
    pub case: Option<u32>,
}

impl<M> Parcel<M> {
    /// A message alone.
    pub fn new(message: M) -> Self {
        Self {
            message,
            buffers: Vec::new(),
            files: Vec::new(),
            case: None,
        }
    }

    /// Adds a buffer, which posting will detach.
    #[must_use]
    pub fn with_buffer(mut self, buffer: ArrayBuffer) -> Self {
        self.buffers.push(buffer);
        self
    }

    /// Says which case it belongs to.
    #[must_use]
    pub fn for_case(mut self, case: Option<u32>) -> Self {
        self.case = case;
        self
    }

    /// Adds a file handle.
    #[must_use]
    pub fn with_file(mut self, file: File) -> Self {
        self.files.push(file);
        self
    }
}

/// Something a parcel can be posted to.
pub trait Port {
    /// The browser's `postMessage` with a transfer list.
    ///
    /// # Errors
    /// The exception the browser threw.
    fn post_value(&self, value: &JsValue, transfer: &Array) -> Result<(), JsValue>;
}

impl Port for Worker {
    fn post_value(&self, value: &JsValue, transfer: &Array) -> Result<(), JsValue> {
        self.post_message_with_transfer(value, transfer)
    }
}

impl Port for DedicatedWorkerGlobalScope {
    fn post_value(&self, value: &JsValue, transfer: &Array) -> Result<(), JsValue> {
        self.post_message_with_transfer(value, transfer)
    }
}

/// Posts a parcel; its buffers are detached.
///
/// # Errors
/// [`ChannelError::Write`] if the message cannot be represented, [`ChannelError::Post`] if the browser refuses.
pub fn post<M: Serialize>(port: &impl Port, parcel: &Parcel<M>) -> Result<(), ChannelError> {
    let message =
        serde_wasm_bindgen::to_value(&parcel.message).map_err(|e| ChannelError::Write(e.to_string()))?;
    let buffers: Array = parcel.buffers.iter().collect();
    let files: Array = parcel.files.iter().collect();
    let case = parcel.case.map_or(JsValue::UNDEFINED, JsValue::from);
    let value = Object::new();
    for (key, part) in [
        ("case", &case),
        ("message", &message),
        ("buffers", buffers.as_ref()),
        ("files", files.as_ref()),
    ] {
        Reflect::set(&value, &key.into(), part).map_err(|e| ChannelError::Write(words(&e)))?;
    }
    port.post_value(&value, &buffers)
        .map_err(|e| ChannelError::Post(words(&e)))
}

/// Reads the parcel of a `message` event.
///
/// # Errors
/// [`ChannelError::Read`] if the event's data is not a parcel of `M`, whatever else it is.
pub fn receive<M: DeserializeOwned>(event: &MessageEvent) -> Result<Parcel<M>, ChannelError> {
    let data = event.data();
    let message = serde_wasm_bindgen::from_value(part(&data, "message")?)
        .map_err(|e| ChannelError::Read(e.to_string()))?;
    Ok(Parcel {
        message,
        buffers: list(&data, "buffers")?,
        files: list(&data, "files")?,
        case: whole(&part(&data, "case")?),
    })
}

fn part(data: &JsValue, key: &str) -> Result<JsValue, ChannelError> {
    // `Reflect::get` throws on anything that is no object.
    Reflect::get(data, &key.into()).map_err(|e| ChannelError::Read(words(&e)))
}

/// A whole number, if it is one.
fn whole(value: &JsValue) -> Option<u32> {
    let number = value.as_f64()?;
    // The cast saturates; only numbers that survive it unchanged are whole.
    (f64::from(number as u32) == number).then_some(number as u32)
}

fn list<T: JsCast>(data: &JsValue, key: &str) -> Result<Vec<T>, ChannelError> {
    let value = part(data, key)?;
    if value.is_undefined() {
        return Ok(Vec::new());
    }
    let array: Array = value
        .dyn_into()
        .map_err(|_| ChannelError::Read(format!("`{key}` is not a list")))?;
    array
        .iter()
        .map(|item| {
            item.dyn_into()
                .map_err(|_| ChannelError::Read(format!("`{key}` holds a stranger")))
        })
        .collect()
}

/// The global scope of the worker this runs in.
///
/// # Errors
/// [`ChannelError::NotAWorker`] anywhere else.
pub fn scope() -> Result<DedicatedWorkerGlobalScope, ChannelError> {
    js_sys::global().dyn_into().map_err(|_| ChannelError::NotAWorker)
}

/// A new buffer with a copy of `values`, ready to be transferred.
#[must_use]
pub fn floats_out(values: &[f32]) -> ArrayBuffer {
    Float32Array::new_from_slice(values).buffer().unchecked_into()
}

/// The float32 values of a buffer.
///
/// # Errors
/// [`ChannelError::Read`] if its length is not a multiple of four bytes.
pub fn floats_in(buffer: &ArrayBuffer) -> Result<Vec<f32>, ChannelError> {
    if !buffer.byte_length().is_multiple_of(4) {
        return Err(ChannelError::Read(format!(
            "{} bytes are no float32 values",
            buffer.byte_length()
        )));
    }
    Ok(Float32Array::new(buffer).to_vec())
}

/// A new buffer with a copy of `bytes`, ready to be transferred.
#[must_use]
pub fn bytes_out(bytes: &[u8]) -> ArrayBuffer {
    Uint8Array::new_from_slice(bytes).buffer().unchecked_into()
}

/// The bytes of a buffer.
#[must_use]
pub fn bytes_in(buffer: &ArrayBuffer) -> Vec<u8> {
    Uint8Array::new(buffer).to_vec()
}

/// An exception in words.
#[must_use]
pub fn words(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => thrown.as_string().unwrap_or_else(|| format!("{thrown:?}")),
    }
}
