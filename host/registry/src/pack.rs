//! Makes a plugin out of a compiled module and a manifest: `purlin plugin pack` and the build of the first-party
//! plugins. The same inputs give the same bytes, which is what lets a build be checked against a committed digest.

use wasm_encoder::{ComponentSection, CustomSection};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use crate::capability::Capability;
use crate::component::{self, ComponentError};
use crate::contract;
use crate::manifest::{FieldError, Manifest, ManifestError, SECTION, Stage, WIT_0_1};
use crate::preview1;

/// Why no plugin could be made.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The module could not be made a component.
    #[error(
        "cannot make a component of the module: {0}; build it for wasm32-unknown-unknown with wit-bindgen, or for wasip1 as a library"
    )]
    Encode(String),
    /// The input is not WebAssembly of a usable form.
    #[error("cannot read the input: {0}")]
    Component(#[from] ComponentError),
    /// The component already holds a manifest.
    #[error("the component already has a manifest; pack the module that it was made from")]
    AlreadyPacked,
    /// The component exports or imports something else than the manifest says.
    #[error("the manifest does not fit the component: {}", join(.0))]
    Mismatch(Vec<FieldError>),
}

fn join(errors: &[FieldError]) -> String {
    errors.iter().map(FieldError::to_string).collect::<Vec<_>>().join("; ")
}

/// Makes a component of `module` and appends the manifest. The module is one of
///
/// - a core module that carries its type, as wit-bindgen makes it;
/// - a core module without one, whose imports and exports have the names that the canonical ABI gives them: its type is
///   the world of its manifest. It may import WASI preview 1, behind which there is nothing;
/// - a component, as other languages' tools make it.
pub fn pack(module: &[u8], manifest: &Manifest) -> Result<Vec<u8>, PackError> {
    let errors = manifest.validate();
    if !errors.is_empty() {
        return Err(ManifestError::Invalid(errors).into());
    }
    let mut component =
        if component::is_component(module) { module.to_vec() } else { encode(module, manifest)? };
    if !component::custom_sections(&component, SECTION)?.is_empty() {
        return Err(PackError::AlreadyPacked);
    }
    let mismatches = mismatches(&component::interfaces(&component)?, manifest);
    if !mismatches.is_empty() {
        return Err(PackError::Mismatch(mismatches));
    }
    let text = manifest.to_json()?;
    let section = CustomSection { name: SECTION.into(), data: text.as_bytes().into() };
    section.append_to_component(&mut component);
    Ok(component)
}

fn encode(module: &[u8], manifest: &Manifest) -> Result<Vec<u8>, PackError> {
    let mut module = module.to_vec();
    if !component::has_type(&module)? {
        embed(&mut module, contract::resolve(manifest, contract::WORLD))?;
    }
    let log = format!("purlin:plugin/log@{}", manifest.wit);
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).map_err(refused)?.validate(true);
    if let Some(mut adapter) = preview1::adapter(&module, &log).map_err(PackError::Encode)? {
        embed(&mut adapter, contract::resolve(manifest, contract::LOG_WORLD))?;
        encoder.adapter(preview1::MODULE, &adapter).map_err(refused)?;
    }
    encoder.encode().map_err(refused)
}

/// Adds the type of a world to a module.
fn embed(module: &mut Vec<u8>, world: Result<(Resolve, WorldId), String>) -> Result<(), PackError> {
    let (resolve, world) = world.map_err(PackError::Encode)?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8, false).map_err(refused)
}

// The encoder's errors are chains; the alternate form prints all of one.
fn refused(error: impl std::fmt::Display) -> PackError {
    PackError::Encode(format!("{error:#}"))
}

/// Where a component's exports and imports are not what its manifest says. Also asked by the sandbox of what it loads.
pub fn mismatches(interfaces: &component::Interfaces, manifest: &Manifest) -> Vec<FieldError> {
    let mut found = Vec::new();
    let mut add = |field: &str, value: &str, reason: String| {
        found.push(FieldError { field: field.to_owned(), value: value.to_owned(), reason });
    };
    let name = |interface: &str| format!("purlin:plugin/{interface}@{}", manifest.wit);
    for stage in Stage::ALL {
        let export = name(stage.interface());
        let exported = interfaces.exports.contains(&export);
        match (manifest.serves(*stage), exported) {
            (true, false) => add("stages", stage.as_str(), format!("the component does not export {export}")),
            (false, true) => {
                add("stages", "", format!("the component exports {export}, so `{stage}` must be listed"))
            }
            (true, true) | (false, false) => {}
        }
    }
    let lifecycle = name("lifecycle");
    if manifest.wit > WIT_0_1 && !interfaces.exports.contains(&lifecycle) {
        add("wit", &manifest.wit.to_string(), format!("the component does not export {lifecycle}"));
    }
    for import in &interfaces.imports {
        let Some((interface, _)) = component::short(import) else { continue };
        let Some(form) = Capability::form_of_interface(interface) else { continue };
        if !manifest.capabilities.iter().any(|request| request.name.interfaces().contains(&interface)) {
            add("capabilities", "", format!("the component imports {import}, so `{form}` must be listed"));
        }
    }
    found
}
