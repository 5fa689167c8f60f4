//! A Wasm OCI image: the component is stored by digest for the shim to compile and run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::image::WasmImage;
use crate::shim::files::Program;

use super::{Order, Planned, Way};

/// A component on disk.
pub(super) struct WasmCommand {
    name: String,
    digest: String,
    file: PathBuf,
}

impl WasmCommand {
    /// Puts the component where shims read it.
    pub(super) fn store(name: &str, image: WasmImage, store: &Path) -> Result<Self, String> {
        let file = store.join(format!("{}.wasm", hex::encode(Sha256::digest(&image.wasm))));
        let write = || -> std::io::Result<()> {
            if !file.exists() {
                fs::create_dir_all(store)?;
                let partial = file.with_extension(uuid::Uuid::new_v4().simple().to_string());
                fs::write(&partial, &image.wasm)?;
                fs::rename(&partial, &file)?;
            }
            Ok(())
        };
        write().map_err(|error| format!("storing image {name} in {}: {error}", store.display()))?;
        Ok(WasmCommand { name: name.to_owned(), digest: image.digest, file })
    }
}

impl Way for WasmCommand {
    fn image_id(&self) -> String {
        let name = self.name.split('@').next().unwrap_or(&self.name);
        // A colon after the last slash begins the tag; one before it begins the registry's port.
        let path = name.rfind('/').map_or(0, |slash| slash + 1);
        let repository = name[path..].find(':').map_or(name, |tag| &name[..path + tag]);
        format!("{repository}@{}", self.digest)
    }

    fn env(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn stands_for(&self) -> Option<String> {
        None
    }

    fn program(&self, order: Order<'_>) -> Result<Planned, String> {
        // A component has one entry point: `command` can only name it, as the program's first argument.
        let mut args = if order.command.is_empty() { vec![self.name.clone()] } else { order.command };
        args.extend(order.args);
        // Preopened folders are the only view that a component has, so files cannot be mounted alone.
        if let Some(file) = order
            .binds
            .iter()
            .find(|bind| bind.source.is_file() && bind.target != Path::new("/dev/termination-log"))
        {
            return Err(format!("a Wasm container cannot mount the single file {}", file.target.display()));
        }
        let binds = order.binds.into_iter().filter(|bind| bind.source.is_dir()).collect();
        Ok(Planned {
            program: Program::Wasm { module: self.file.clone(), args },
            env: order.env,
            binds,
            working_dir: None,
            caveat: None,
        })
    }
}
