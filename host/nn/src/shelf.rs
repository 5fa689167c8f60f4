//! What is in use or on its way, by what it was read from: each content is read once however many ask for it, and is kept
//! for as long as somebody has it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use sha2::{Digest, Sha256};

use crate::backend::{Device, Encoding, LoadOptions, ModelFile};
use crate::error::NnError;

/// Keeps the loaded things of one sort.
pub(crate) struct Shelf<T>(Arc<Places<T>>);

type Places<T> = Mutex<HashMap<Key, Place<T>>>;

type Loading<T> = Shared<BoxFuture<'static, Result<Arc<T>, NnError>>>;

enum Place<T> {
    Loading(Loading<T>),
    Loaded(Weak<T>),
}

/// What was read, and how.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    content: Content,
    encoding: Encoding,
    device: Device,
    threads: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Content {
    Digest([u8; 32]),
    File { path: PathBuf, bytes: u64, changed: Option<SystemTime> },
}

impl Key {
    /// Content in memory is known by its digest; a file by its place, size and time of change, because the weights beside
    /// it belong to it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) async fn of(
        file: ModelFile,
        encoding: Encoding,
        options: &LoadOptions,
    ) -> Result<(Key, ModelFile), NnError> {
        let (content, file) = blocking(move || Content::of(&file).map(|content| (content, file))).await?;
        Ok((Key { content, encoding, device: options.device, threads: options.threads }, file))
    }
}

impl Content {
    fn of(file: &ModelFile) -> Result<Content, NnError> {
        match file {
            ModelFile::Memory(content) => Ok(Content::Digest(Sha256::digest(content).into())),
            ModelFile::Path(path) => {
                let unreadable = |error| NnError::Unreadable(format!("{}: {error}", path.display()));
                let whole = path.canonicalize().map_err(unreadable)?;
                let metadata = whole.metadata().map_err(unreadable)?;
                Ok(Content::File { path: whole, bytes: metadata.len(), changed: metadata.modified().ok() })
            }
        }
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Shelf(Arc::default())
    }
}

fn lock<T>(places: &Places<T>) -> MutexGuard<'_, HashMap<Key, Place<T>>> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Send + Sync + 'static> Shelf<T> {
    /// What was read from this already, or what `load` makes of it. What it makes holds the keeper. Dropping the future
    /// does not stop the load for others who wait for it.
    ///
    /// # Errors
    /// Those of `load`. A failure is not remembered.
    pub(crate) async fn get(
        &self,
        key: Key,
        load: impl FnOnce(Keeper<T>) -> Result<T, NnError> + Send + 'static,
    ) -> Result<Arc<T>, NnError> {
        let loading = {
            let mut places = lock(&self.0);
            match places.entry(key.clone()) {
                Entry::Occupied(mut place) => match place.get() {
                    Place::Loading(loading) => loading.clone(),
                    Place::Loaded(loaded) => match loaded.upgrade() {
                        Some(loaded) => return Ok(loaded),
                        // Its last user is just letting go of it.
                        None => {
                            let loading = self.begin(key, load);
                            place.insert(Place::Loading(loading.clone()));
                            loading
                        }
                    },
                },
                Entry::Vacant(place) => {
                    let loading = self.begin(key, load);
                    place.insert(Place::Loading(loading.clone()));
                    loading
                }
            }
        };
        loading.await
    }

    fn begin(
        &self,
        key: Key,
        load: impl FnOnce(Keeper<T>) -> Result<T, NnError> + Send + 'static,
    ) -> Loading<T> {
        let shelf = self.0.clone();
        let load = move || {
            let keeper = Keeper { shelf: Arc::downgrade(&shelf), key: key.clone() };
            let read = catch_unwind(AssertUnwindSafe(|| load(keeper)));
            let read = read.unwrap_or_else(|_| Err(NnError::Failed("the backend panicked".to_owned())));
            let loaded = read.map(Arc::new);
            let mut places = lock(&shelf);
            let before = match &loaded {
                Ok(loaded) => places.insert(key, Place::Loaded(Arc::downgrade(loaded))),
                Err(_) => places.remove(&key),
            };
            // Nothing is dropped under the lock that might want it.
            drop(places);
            drop(before);
            loaded
        };
        blocking(load).boxed().shared()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NnError> + Send + 'static,
) -> Result<T, NnError> {
    let ended = |error| NnError::Failed(format!("loading was ended: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

/// Takes what was loaded off the shelf when its last user lets go of it.
pub(crate) struct Keeper<T> {
    shelf: Weak<Places<T>>,
    key: Key,
}

impl<T> Drop for Keeper<T> {
    fn drop(&mut self) {
        let Some(shelf) = self.shelf.upgrade() else { return };
        let mut places = lock(&shelf);
        // It may have been asked for again meanwhile, and stand there anew.
        if let Some(Place::Loaded(loaded)) = places.get(&self.key)
            && loaded.strong_count() == 0
        {
            places.remove(&self.key);
        }
    }
}
