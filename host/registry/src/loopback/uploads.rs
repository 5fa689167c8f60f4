//! Uploads of blobs: a session is a file in `uploads/` that grows, by one request or many, until a digest closes it. A
//! session outlives the process; one piece is written at a time, and only where the one before ended.

use axum::body::Body;
use futures::StreamExt;
use sha2::{Digest as _, Sha256};
use tokio::fs::{self, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use super::MAX_BLOB;
use super::error::Refusal;
use super::store::Store;
use crate::digest::Digest;

pub(super) async fn begin(store: &Store) -> Result<Uuid, Refusal> {
    let session = Uuid::new_v4();
    OpenOptions::new().write(true).create_new(true).open(store.upload_path(session)).await?;
    Ok(session)
}

/// How many bytes a session has.
pub(super) async fn size(store: &Store, session: Uuid) -> Result<u64, Refusal> {
    match fs::metadata(store.upload_path(session)).await {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Refusal::UploadUnknown),
        Err(error) => Err(error.into()),
    }
}

/// Adds a request's body at the session's end. A body that breaks off is taken back whole, so that what a client was
/// told about the session's size stays true.
pub(super) async fn append(store: &Store, session: Uuid, body: Body) -> Result<u64, Refusal> {
    let before = size(store, session).await?;
    let path = store.upload_path(session);
    let mut file = OpenOptions::new().append(true).open(&path).await?;
    let mut written = before;
    let mut pieces = body.into_data_stream();
    let mut outcome = Ok(());
    while let Some(piece) = pieces.next().await {
        outcome = match piece {
            Ok(piece) if written + piece.len() as u64 > MAX_BLOB => Err(Refusal::TooLarge(MAX_BLOB)),
            Ok(piece) => {
                written += piece.len() as u64;
                file.write_all(&piece).await.map_err(Refusal::from)
            }
            Err(error) => Err(Refusal::UploadInvalid(format!("the body broke off: {error}"))),
        };
        if outcome.is_err() {
            break;
        }
    }
    file.flush().await?;
    if let Err(refusal) = outcome {
        file.set_len(before).await?;
        return Err(refusal);
    }
    Ok(written)
}

/// Closes a session: compares the digest, and makes the file a blob. With a wrong digest the session is gone, as what it
/// holds can never become right.
pub(super) async fn finish(store: &Store, session: Uuid, expected: &Digest) -> Result<(), Refusal> {
    let path = store.upload_path(session);
    let mut file = match fs::File::open(&path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Refusal::UploadUnknown),
        Err(error) => return Err(error.into()),
    };
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let found = Digest::of_hasher(hasher);
    if found != *expected {
        cancel(store, session).await?;
        return Err(Refusal::DigestInvalid(format!("the content has the digest {found}, not {expected}")));
    }
    file.sync_all().await?;
    store.adopt(session, expected)?;
    Ok(())
}

pub(super) async fn cancel(store: &Store, session: Uuid) -> Result<(), Refusal> {
    match fs::remove_file(store.upload_path(session)).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Refusal::UploadUnknown),
        Err(error) => Err(error.into()),
    }
}
