//! What of fine-tuning the browser keeps: the run in progress and the models that came out well.

use std::rc::Rc;

use js_sys::{Object, Reflect, Uint8Array};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::File;

use super::super::Desk;
use super::super::model::Card;
use super::super::store::{Change, Shelf, Store, StoreError};
use crate::pipeline::finetune::peek;
use crate::web::messages::finetune::{FromTuner, Interrupted, KeptModel, TuneSettings};

/// The run in progress, as it is stored beside its checkpoint and its scans.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredRun {
    /// How it was started.
    pub(super) how: TuneSettings,
    /// For each case its name and whether it has a T1.
    pub(super) cases: Vec<(String, bool)>,
}

impl StoredRun {
    /// The files of a case: FLAIR, T1, mask.
    const fn files(t1: bool) -> usize {
        if t1 { 3 } else { 2 }
    }
}

/// The key of the only run, and of its newest checkpoint.
const ONLY: &str = "only";

fn scan_key(case: usize, file: usize) -> JsValue {
    format!("{case}-{file}").into()
}

/// The key under which a model is kept: the beginning of its weights' SHA-256.
fn model_key(weights: &[u8]) -> String {
    Sha256::digest(weights)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A stored value that is not what we put there.
fn strange() -> StoreError {
    StoreError::Failed("it holds something that this page did not write".into())
}

impl Desk {
    /// The browser's storage, opened once.
    pub(in super::super) async fn store(&self) -> Result<Rc<Store>, StoreError> {
        let known = self.store.borrow().clone();
        match known {
            Some(store) => Ok(store),
            None => {
                let store = Rc::new(Store::open().await?);
                *self.store.borrow_mut() = Some(store.clone());
                Ok(store)
            }
        }
    }

    /// Puts a run and its scans in the place of the last one. Its checkpoints follow.
    pub(super) async fn store_run(&self, run: &StoredRun, files: &[Vec<File>]) -> Result<(), StoreError> {
        let text = serde_json::to_string(run).map_err(|e| StoreError::Failed(e.to_string()))?;
        let mut changes = vec![
            Change::Clear(Shelf::Checkpoints),
            Change::Clear(Shelf::Scans),
            Change::Put(Shelf::Run, ONLY.into(), text.into()),
        ];
        for (case, files) in files.iter().enumerate() {
            for (number, file) in files.iter().enumerate() {
                changes.push(Change::Put(Shelf::Scans, scan_key(case, number), file.into()));
            }
        }
        self.store().await?.write(&changes).await
    }

    /// Puts a checkpoint in the place of the last one.
    pub(super) async fn store_checkpoint(&self, bytes: &Uint8Array) -> Result<(), StoreError> {
        let change = Change::Put(Shelf::Checkpoints, ONLY.into(), bytes.into());
        self.store().await?.write(&[change]).await
    }

    /// The run that was interrupted, and its newest checkpoint.
    pub(super) async fn stored_run(&self) -> Result<Option<(StoredRun, Option<Vec<u8>>)>, StoreError> {
        let store = self.store().await?;
        let Some(text) = store.get(Shelf::Run, &ONLY.into()).await? else {
            return Ok(None);
        };
        let text = text.as_string().ok_or_else(strange)?;
        // A run of another version of this page cannot be gone on with.
        let Ok(run) = serde_json::from_str(&text) else {
            return Ok(None);
        };
        let checkpoint = match store.get(Shelf::Checkpoints, &ONLY.into()).await? {
            Some(value) => Some(value.dyn_into::<Uint8Array>().map_err(|_| strange())?.to_vec()),
            None => None,
        };
        Ok(Some((run, checkpoint)))
    }

    /// The stored files of a case.
    pub(super) async fn stored_files(&self, case: usize, t1: bool) -> Result<Vec<File>, StoreError> {
        let store = self.store().await?;
        let mut files = Vec::new();
        for number in 0..StoredRun::files(t1) {
            let file = store.get(Shelf::Scans, &scan_key(case, number)).await?;
            files.push(
                file.and_then(|file| file.dyn_into().ok())
                    .ok_or_else(|| StoreError::Failed("a scan of the run is missing".into()))?,
            );
        }
        Ok(files)
    }

    /// Forgets the run and its scans.
    pub(super) async fn forget_run(&self) -> Result<(), StoreError> {
        let changes = [Shelf::Run, Shelf::Checkpoints, Shelf::Scans].map(Change::Clear);
        self.store().await?.write(&changes).await
    }

    /// Tells the page which models are kept, and whether a run can be gone on with.
    pub(super) async fn recall(&self) {
        self.tell_models().await;
        // Without storage nothing can have been kept; that is said when something is to be stored.
        let run = self.stored_run().await.ok().flatten();
        let interrupted = run.map(|(run, checkpoint)| {
            let at = checkpoint.as_deref().and_then(|bytes| peek(bytes).ok());
            Interrupted {
                cases: run.cases.into_iter().map(|(name, _)| name).collect(),
                step: at.as_ref().map_or(0, |at| at.place.step),
                steps: at.map_or(run.how.settings.steps, |at| at.place.steps),
            }
        });
        self.tune(FromTuner::Interrupted(interrupted));
    }

    /// Tells the page which models are kept.
    pub(in super::super) async fn tell_models(&self) {
        if let Ok(models) = self.kept_models().await {
            self.tune(FromTuner::Models(models));
        }
    }

    async fn kept_models(&self) -> Result<Vec<KeptModel>, StoreError> {
        let store = self.store().await?;
        let mut models = Vec::new();
        for key in store.keys(Shelf::Models).await? {
            let Some(value) = store.get(Shelf::Models, &key).await? else {
                continue;
            };
            if let (Some(key), Ok((card, _))) = (key.as_string(), unpack(&value)) {
                models.push(KeptModel { key, card });
            }
        }
        Ok(models)
    }

    /// Card and weights of a kept model.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if it is not kept (any more).
    pub(in super::super) async fn kept_model(&self, key: &str) -> Result<(String, Vec<u8>), StoreError> {
        let value = self.store().await?.get(Shelf::Models, &key.into()).await?;
        unpack(&value.ok_or_else(|| StoreError::Failed("this network is not kept here any more".into()))?)
    }

    /// Keeps a model and, if the run is over with that, forgets the run. Answers the model's key.
    pub(super) async fn keep_model(
        &self,
        card: &str,
        weights: &[u8],
        run_is_over: bool,
    ) -> Result<String, StoreError> {
        let key = model_key(weights);
        let value = Object::new();
        let parts = [
            ("card", card.into()),
            ("weights", Uint8Array::new_from_slice(weights).into()),
        ];
        for (name, part) in parts {
            // Setting a property of a new, plain object cannot fail.
            let _: Result<bool, JsValue> = Reflect::set(&value, &name.into(), &part);
        }
        let mut changes = vec![Change::Put(Shelf::Models, key.as_str().into(), value.into())];
        if run_is_over {
            changes.extend([Shelf::Run, Shelf::Checkpoints, Shelf::Scans].map(Change::Clear));
        }
        self.store().await?.write(&changes).await?;
        Ok(key)
    }

    /// Removes a kept model.
    pub(super) async fn remove_model(&self, key: &str) -> Result<(), StoreError> {
        let change = Change::Remove(Shelf::Models, key.into());
        self.store().await?.write(&[change]).await
    }
}

/// Card and weights of a stored model.
fn unpack(value: &JsValue) -> Result<(String, Vec<u8>), StoreError> {
    let part = |name: &str| Reflect::get(value, &name.into()).map_err(|_| strange());
    let card = part("card")?.as_string().ok_or_else(strange)?;
    let weights: Uint8Array = part("weights")?.dyn_into().map_err(|_| strange())?;
    Ok((card, weights.to_vec()))
}

/// A model's files, told apart: card and weights.
///
/// # Errors
/// What is missing or does not go together, in a sentence.
pub(super) fn card_and_weights(files: Vec<(String, Vec<u8>)>) -> Result<(String, Vec<u8>), String> {
    let (mut card, mut weights) = (None, None);
    for (name, bytes) in files {
        if name.to_lowercase().ends_with(".json") {
            card = Some(String::from_utf8(bytes).map_err(|_| format!("{name} is no text."))?);
        } else {
            weights = Some(bytes);
        }
    }
    let (Some(card), Some(weights)) = (card, weights) else {
        return Err(
            "A network is two files: its weights (.safetensors) and its card (.json). Choose both at once."
                .into(),
        );
    };
    Card::read(&card)
        .map_err(|_| "The card is not that of a network of this program.".to_owned())?
        .verify(&weights)
        .map_err(|_| {
            "The weights are not those that the card speaks of. Choose the two files that were saved together."
                .to_owned()
        })?;
    Ok((card, weights))
}

/// The names of a model's files, from its name for a person.
pub(super) fn file_names(card: &str) -> [String; 2] {
    let name = Card::read(card).ok().and_then(|card| card.name);
    let stem: String = name
        .unwrap_or_default()
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let stem = match stem.trim_matches(['-', '.']) {
        "" => "network",
        stem => stem,
    };
    [format!("{stem}.safetensors"), format!("{stem}.card.json")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_two_files_that_belong_together() {
        let weights = b"abc".to_vec();
        let card = r#"{"name":"Scanner B, 3 cases","config":{},"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}"#;
        let card_file = ("x.card.json".to_owned(), card.as_bytes().to_vec());
        let both = vec![("x.safetensors".to_owned(), weights.clone()), card_file.clone()];
        assert_eq!(
            card_and_weights(both).unwrap(),
            (card.to_owned(), weights.clone())
        );
        assert!(
            card_and_weights(vec![card_file.clone()])
                .unwrap_err()
                .contains("two files")
        );
        let wrong = vec![card_file, ("y.safetensors".to_owned(), b"abd".to_vec())];
        assert!(card_and_weights(wrong).unwrap_err().contains("not those"));
        assert_eq!(
            file_names(card),
            ["Scanner-B--3-cases.safetensors", "Scanner-B--3-cases.card.json"]
        );
        assert_eq!(file_names("{}")[0], "network.safetensors");
        assert_eq!(model_key(&weights), "ba7816bf8f01cfea");
    }
}
