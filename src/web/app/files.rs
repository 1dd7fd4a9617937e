//! Files in and out: samples, model cards, downloads.

use std::rc::Rc;

use js_sys::{Array, ArrayBuffer};
use serde::Deserialize;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, BlobPropertyBag, File, HtmlAnchorElement, Response, Url};

use super::state::{Model, ModelCard, Sample};
use super::viewer;
use crate::web::messages::Slot;
use crate::web::messages::finetune::{KEPT, KeptModel};
use crate::web::{assets, channel};

/// Fetches a sample's files, which from then on are treated as a person's own.
///
/// # Errors
/// A sentence that says what could not be fetched.
pub(super) async fn sample(sample: Sample) -> Result<Vec<(Slot, File)>, String> {
    let mut files = Vec::new();
    for (slot, contrast) in [(Slot::Flair, "FLAIR"), (Slot::T1, "T1w")] {
        files.push((slot, sample_file(sample, contrast).await?));
    }
    Ok(files)
}

/// Fetches the mask of the lesions that a sample is known to have.
///
/// # Errors
/// As [`sample`].
pub(super) async fn sample_reference(sample: Sample) -> Result<File, String> {
    sample_file(sample, "mask").await
}

async fn sample_file(sample: Sample, what: &str) -> Result<File, String> {
    let stem = match sample {
        Sample::Small => "small",
        Sample::Head => "head",
    };
    let name = format!("{stem}_{what}.nii.gz");
    let response = fetch(&assets::url(&format!("samples/{name}"))).await?;
    let blob: Blob = settle(response.blob()).await?;
    File::new_with_blob_sequence(&Array::of1(&blob), &name).map_err(|e| channel::words(&e))
}

/// What the page reads of a model card; a card says much more.
#[derive(Deserialize)]
struct Card {
    #[serde(alias = "title")]
    name: Option<String>,
    #[serde(alias = "description")]
    summary: Option<String>,
    threshold: Option<f32>,
    beta: Option<f64>,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    weights: Weights,
    /// `null` where a network was not trained.
    training: Option<Training>,
    #[serde(default)]
    held_out: Vec<Figure>,
    #[serde(default)]
    known_failures: Vec<String>,
    #[serde(default)]
    licence: String,
    #[serde(default)]
    cite: Vec<String>,
}

#[derive(Deserialize, Default)]
struct Weights {
    #[serde(default)]
    sha256: String,
    parameters: Option<u64>,
}

#[derive(Deserialize, Default)]
struct Training {
    labelled_patients: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(default)]
    config: TrainingConfig,
}

#[derive(Deserialize, Default)]
struct TrainingConfig {
    #[serde(default)]
    loss: Loss,
}

#[derive(Deserialize, Default)]
struct Loss {
    beta: Option<f64>,
}

#[derive(Deserialize)]
struct Figure {
    text: String,
}

impl Card {
    /// What it says to people.
    fn about(self) -> ModelCard {
        let training = self.training.unwrap_or_default();
        ModelCard {
            beta: training.config.loss.beta.or(self.beta),
            patients: training.labelled_patients.map(|patients| patients.len()),
            parameters: self.weights.parameters,
            sha256: self.weights.sha256,
            held_out: self.held_out.into_iter().map(|figure| figure.text).collect(),
            known_failures: self.known_failures,
            licence: self.licence,
            cite: self.cite,
        }
    }
}

/// The networks that this build ships, the recommended one first.
pub(super) async fn models() -> Vec<Model> {
    let mut models = Vec::new();
    for card_name in assets::list("models/") {
        let Some(path) = card_name.strip_suffix("/card.json") else {
            continue;
        };
        // A card that cannot be read must not hide the network: its folder's name will do.
        let card = card(&card_name).await.ok();
        let folder = path.rsplit('/').next().unwrap_or(path);
        let first = card.as_ref().is_some_and(|card| card.default);
        let model = Model {
            path: path.to_owned(),
            title: card
                .as_ref()
                .and_then(|c| c.name.clone())
                .unwrap_or_else(|| folder.to_owned()),
            summary: card.as_ref().and_then(|c| c.summary.clone()).unwrap_or_default(),
            threshold: card.as_ref().and_then(|c| c.threshold),
            card: Rc::new(card.map(Card::about).unwrap_or_default()),
        };
        if first {
            models.insert(0, model);
        } else {
            models.push(model);
        }
    }
    models
}

/// A model that this browser keeps, as one of the networks to choose from. One whose card cannot be read is left out.
pub(super) fn kept(model: &KeptModel) -> Option<Model> {
    let card: Card = serde_json::from_str(&model.card).ok()?;
    Some(Model {
        path: format!("{KEPT}{}", model.key),
        title: card.name.clone().unwrap_or_else(|| model.key.clone()),
        summary: card.summary.clone().unwrap_or_default(),
        threshold: card.threshold,
        card: Rc::new(card.about()),
    })
}

/// Bytes as a file of this name, which from then on is treated as one that a person chose.
///
/// # Errors
/// The browser's words if it refuses.
pub(super) fn file(name: &str, bytes: &ArrayBuffer) -> Result<File, String> {
    File::new_with_blob_sequence(&viewer::parts(bytes), name).map_err(|e| channel::words(&e))
}

async fn card(name: &str) -> Result<Card, String> {
    let response = fetch(&assets::url(name)).await?;
    let text: js_sys::JsString = settle(response.text()).await?;
    serde_json::from_str(&String::from(text)).map_err(|e| e.to_string())
}

async fn fetch(url: &str) -> Result<Response, String> {
    let window = web_sys::window().ok_or("there is no window")?;
    let response: Response = JsFuture::from(window.fetch_with_str(url))
        .await
        .and_then(JsCast::dyn_into)
        .map_err(|_| "the server does not answer; check the connection and try again".to_owned())?;
    if response.ok() {
        Ok(response)
    } else {
        Err(format!(
            "the server answers {} {}",
            response.status(),
            response.status_text()
        ))
    }
}

async fn settle<T: JsCast>(promise: Result<js_sys::Promise, JsValue>) -> Result<T, String> {
    let promise = promise.map_err(|e| channel::words(&e))?;
    JsFuture::from(promise)
        .await
        .and_then(JsCast::dyn_into)
        .map_err(|e| channel::words(&e))
}

/// Hands bytes to the person as a file of this name.
///
/// # Errors
/// The browser's words if it refuses.
pub(super) fn download(name: &str, bytes: &ArrayBuffer) -> Result<(), String> {
    let words = |e: JsValue| channel::words(&e);
    let kind = BlobPropertyBag::new();
    kind.set_type("application/octet-stream");
    let blob = Blob::new_with_u8_array_sequence_and_options(&viewer::parts(bytes), &kind).map_err(words)?;
    let url = Url::create_object_url_with_blob(&blob).map_err(words)?;
    let document = web_sys::window()
        .and_then(|window| window.document())
        .ok_or("there is no document")?;
    let link: HtmlAnchorElement = document
        .create_element("a")
        .map_err(words)?
        .dyn_into()
        .map_err(|_| "an <a> is no link")?;
    link.set_href(&url);
    link.set_download(name);
    link.click();
    // The browser took the bytes over with the click; a minute is ample for slow disks and prompts.
    gloo_timers::callback::Timeout::new(60_000, move || drop(Url::revoke_object_url(&url))).forget();
    Ok(())
}
