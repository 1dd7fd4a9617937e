//! What must outlive the tab: kept models, and a fine-tuning run with its scans. In IndexedDB, which belongs to this
//! origin and this browser and is sent nowhere.
//!
//! [`Store::write`] makes all of its changes or none, so that a tab that is killed in the middle leaves the state
//! before.

use idb::{Database, DatabaseEvent, Factory, ObjectStoreParams, TransactionMode};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::DomException;

const DATABASE: &str = "equipoise";
const VERSION: u32 = 1;

/// What is kept together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shelf {
    /// The run as it stands: settings, cohort, curves.
    Run,
    /// The run's checkpoints, by step.
    Checkpoints,
    /// The files of the run's cohort, by number.
    Scans,
    /// Kept models, by their key.
    Models,
}

impl Shelf {
    const ALL: [Self; 4] = [Self::Run, Self::Checkpoints, Self::Scans, Self::Models];

    const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Checkpoints => "checkpoints",
            Self::Scans => "scans",
            Self::Models => "models",
        }
    }
}

/// One change of what is kept.
pub(super) enum Change {
    /// Put a value in the place of what has this key.
    Put(Shelf, JsValue, JsValue),
    /// Remove what has this key.
    Remove(Shelf, JsValue),
    /// Remove everything.
    Clear(Shelf),
}

impl Change {
    const fn shelf(&self) -> Shelf {
        match self {
            Self::Put(shelf, ..) | Self::Remove(shelf, _) | Self::Clear(shelf) => *shelf,
        }
    }
}

/// Why nothing could be kept or found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum StoreError {
    /// The browser gives no storage, as some do in private windows.
    #[error("this browser gives the page no storage of its own ({0}); private windows often do not")]
    None(String),
    /// There is no room.
    #[error("the storage that this browser gives the page is full")]
    Full,
    /// The browser's words.
    #[error("the browser's storage failed: {0}")]
    Failed(String),
}

/// The name by which browsers say that there is no room.
const QUOTA: &str = "QuotaExceededError";

impl From<idb::Error> for StoreError {
    fn from(error: idb::Error) -> Self {
        match error {
            idb::Error::DomException(thrown) => Self::thrown(&thrown),
            idb::Error::UpdateFailed(value) | idb::Error::TransactionCommitError(value) => {
                match value.dyn_ref::<DomException>() {
                    Some(thrown) => Self::thrown(thrown),
                    None => Self::Failed(crate::web::channel::words(&value)),
                }
            }
            idb::Error::IndexedDbNotFound(_) => Self::None("it has no IndexedDB".into()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl StoreError {
    fn thrown(error: &DomException) -> Self {
        if error.name() == QUOTA {
            Self::Full
        } else {
            Self::Failed(error.message())
        }
    }
}

/// The browser's storage, open.
pub(super) struct Store {
    database: Database,
}

impl Store {
    /// Opens the storage, and makes it at the first time.
    ///
    /// # Errors
    /// [`StoreError::None`] if the browser gives none.
    pub(super) async fn open() -> Result<Self, StoreError> {
        let mut request = Factory::new()?.open(DATABASE, Some(VERSION))?;
        request.on_upgrade_needed(|event| {
            // What fails here fails the opening, too.
            let Ok(database) = event.database() else { return };
            for shelf in Shelf::ALL {
                drop(database.create_object_store(shelf.name(), ObjectStoreParams::new()));
            }
        });
        match request.await {
            Ok(database) => Ok(Self { database }),
            Err(problem) => Err(StoreError::None(problem.to_string())),
        }
    }

    /// Makes all changes, or none.
    ///
    /// # Errors
    /// [`StoreError::Full`] if there is no room; everything is then as before.
    pub(super) async fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut shelves: Vec<&str> = changes.iter().map(|change| change.shelf().name()).collect();
        shelves.sort_unstable();
        shelves.dedup();
        let Some(first) = shelves.first() else {
            return Ok(());
        };
        let transaction = self.database.transaction(&shelves, TransactionMode::ReadWrite)?;
        // A second handle, to ask for the reason of an abort.
        let asked = transaction.object_store(first)?.transaction();
        for change in changes {
            let store = transaction.object_store(change.shelf().name())?;
            match change {
                Change::Put(_, key, value) => {
                    store.put(value, Some(key))?.await?;
                }
                Change::Remove(_, key) => store.delete(key.clone())?.await?,
                Change::Clear(_) => store.clear()?.await?,
            }
        }
        if transaction.commit()?.await?.is_committed() {
            return Ok(());
        }
        Err(asked.error().as_ref().map_or_else(
            || StoreError::Failed("it gave up a transaction".into()),
            StoreError::thrown,
        ))
    }

    /// What has this key.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub(super) async fn get(&self, shelf: Shelf, key: &JsValue) -> Result<Option<JsValue>, StoreError> {
        let transaction = self
            .database
            .transaction(&[shelf.name()], TransactionMode::ReadOnly)?;
        Ok(transaction.object_store(shelf.name())?.get(key.clone())?.await?)
    }

    /// All keys, in order.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub(super) async fn keys(&self, shelf: Shelf) -> Result<Vec<JsValue>, StoreError> {
        let transaction = self
            .database
            .transaction(&[shelf.name()], TransactionMode::ReadOnly)?;
        let keys = transaction
            .object_store(shelf.name())?
            .get_all_keys(None, None)?
            .await?;
        Ok(keys)
    }

    /// Removes everything that was ever kept.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub(super) async fn clear(&self) -> Result<(), StoreError> {
        let all: Vec<Change> = Shelf::ALL.into_iter().map(Change::Clear).collect();
        self.write(&all).await
    }
}
