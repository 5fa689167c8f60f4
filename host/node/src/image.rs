//! Where a Wasm image's bytes come from. The node knows no registry: the binary implements [`ImageSource`] with the
//! registry's client, tests with a folder.

use async_trait::async_trait;

/// A Wasm command component, as resolved.
#[derive(Clone, Debug)]
pub struct WasmImage {
    /// `sha256:...` of the manifest.
    pub digest: String,
    /// The component.
    pub wasm: Vec<u8>,
}

/// Why an image is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The reference names something that is no Wasm image; another way to run it may exist.
    #[error("{0} is not a Wasm image")]
    NotWasm(String),
    /// The registry could not be asked or did not have it.
    #[error("{0}")]
    Pull(String),
}

/// Resolves a reference to a Wasm image.
#[async_trait]
pub trait ImageSource: Send + Sync {
    /// Whether `reference` may be a Wasm image at all: `false` skips the registry, so that a Pod with a mapped image
    /// never waits for a network.
    fn may_hold(&self, reference: &str) -> bool;

    /// Fetches the image. Repeated calls should be answered from a cache.
    async fn pull(&self, reference: &str) -> Result<WasmImage, ImageError>;
}

/// A source that has nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoImages;

#[async_trait]
impl ImageSource for NoImages {
    fn may_hold(&self, _reference: &str) -> bool {
        false
    }

    async fn pull(&self, reference: &str) -> Result<WasmImage, ImageError> {
        Err(ImageError::NotWasm(reference.to_owned()))
    }
}
