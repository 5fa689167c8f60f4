//! The ways to run a container, a file each. A [`Way`] turns a container into what its shim shall run; it starts
//! nothing. [`Images::resolve`] chooses the way for an image.

mod oci;
mod process;
mod wasm;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Container;

use crate::image::{ImageError, ImageSource};
use crate::image_map::{ImageMap, normalize};
use crate::shim::files::{Bind, Isolation, Program};

/// One way to run one image.
pub(crate) trait Way: Send + Sync {
    /// What the Pod's status shows as imageID.
    fn image_id(&self) -> String;

    /// The image's own environment.
    fn env(&self) -> BTreeMap<String, String>;

    /// What stands for the image, said in an `ImageMapped` Event; `None` when the image runs as itself.
    fn stands_for(&self) -> Option<String>;

    /// Turns `order` into a program.
    fn program(&self, order: Order<'_>) -> Result<Planned, String>;
}

/// A container with everything about it resolved.
pub(crate) struct Order<'a> {
    pub(crate) container: &'a Container,
    /// `command` and `args`, expanded.
    pub(crate) command: Vec<String>,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) binds: Vec<Bind>,
    pub(crate) isolation: Isolation,
    pub(crate) dir: &'a Path,
    pub(crate) id: &'a str,
    pub(crate) cgroup: Option<&'a Path>,
}

/// What a shim shall run.
pub(crate) struct Planned {
    pub(crate) program: Program,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) binds: Vec<Bind>,
    pub(crate) working_dir: Option<String>,
    /// Something that the user should know, for an Event.
    pub(crate) caveat: Option<String>,
}

/// Everything that images are looked up in.
pub(crate) struct Images {
    pub(crate) map: Option<ImageMap>,
    pub(crate) source: Arc<dyn ImageSource>,
    pub(crate) crun: Option<PathBuf>,
    /// Where pulled components are kept for shims to read.
    pub(crate) store: PathBuf,
}

impl Images {
    /// Chooses the way to run `image`, or says why there is none.
    pub(crate) async fn resolve(&self, image: &str) -> Result<Box<dyn Way>, String> {
        if let Some(mapping) = self.map.as_ref().and_then(|map| map.find(image)) {
            let Some(rootfs) = &mapping.rootfs else {
                return Ok(Box::new(process::HostProcess { mapping: mapping.clone() }));
            };
            let runtime = self.crun.clone().ok_or_else(|| {
                format!("image {image} is mapped to a rootfs, which needs crun; install crun or map it to a process")
            })?;
            return Ok(Box::new(oci::Bundle { mapping: mapping.clone(), rootfs: rootfs.clone(), runtime }));
        }
        if self.source.may_hold(image) {
            match self.source.pull(image).await {
                Ok(wasm) => return Ok(Box::new(wasm::WasmCommand::store(image, wasm, &self.store)?)),
                Err(ImageError::NotWasm(_)) => {}
                Err(ImageError::Pull(message)) => {
                    return Err(format!("failed to pull image {image:?}: {message}"));
                }
            }
        }
        let normalized = normalize(image);
        Err(match &self.map {
            Some(map) => format!(
                "no entry of the image map {} matches {normalized}; add one with `image: {normalized}` and the \
                 `paths`, `path` or `entrypoint` of the host program that stands for it",
                map.file().display()
            ),
            None => format!(
                "{normalized} is not a Wasm image and there is no image map; write one that says which host program \
                 stands for it and pass it as --image-map"
            ),
        })
    }
}
