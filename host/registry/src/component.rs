//! Looks at a component without running or compiling it: its custom sections, and the names that it imports and
//! exports. Called for components that were just pulled, so any bytes are accepted as input and none are trusted;
//! full validation is left to the sandbox's engine.

use wasmparser::{Encoding, Parser, Payload};

/// What a component imports and exports at its outermost level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Full names, such as `purlin:plugin/log@0.1.0`, in the component's order.
    pub imports: Vec<String>,
    /// The same of what it exports.
    pub exports: Vec<String>,
}

/// Why bytes are not a component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// A core module: it lacks the component layer.
    #[error(
        "this is a core WebAssembly module, not a component; make a component of it with `purlin plugin pack`"
    )]
    CoreModule,
    /// Not WebAssembly, or damaged.
    #[error("not a valid WebAssembly component: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
}

/// The names that a component imports and exports.
pub fn interfaces(bytes: &[u8]) -> Result<Interfaces, ComponentError> {
    let mut found = Interfaces::default();
    outermost(bytes, |payload| {
        match payload {
            Payload::ComponentImportSection(section) => {
                for import in section {
                    found.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    found.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// How the interfaces of the contract are named in short: those of `purlin:plugin` by their name, those of wasi-nn with
/// `nn/` before it, each with its version; `None` for names of other packages.
pub fn short(name: &str) -> Option<(&str, &str)> {
    let own = match name.strip_prefix("purlin:plugin/") {
        Some(own) => own,
        // What stays is `nn/graph`.
        None => name.strip_prefix("wasi:").filter(|own| own.starts_with("nn/"))?,
    };
    Some(own.split_once('@').unwrap_or((own, "")))
}

/// The contents of all custom sections called `name` at the component's outermost level. A module or component inside
/// it may have sections of the same name, which say nothing about the whole.
pub fn custom_sections<'a>(bytes: &'a [u8], name: &str) -> Result<Vec<&'a [u8]>, ComponentError> {
    let mut found = Vec::new();
    outermost(bytes, |payload| {
        if let Payload::CustomSection(section) = payload
            && section.name() == name
        {
            found.push(section.data());
        }
        Ok(())
    })?;
    Ok(found)
}

/// Whether a core module carries the type of the component that it is meant for.
pub(crate) fn has_type(module: &[u8]) -> Result<bool, ComponentError> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload?
            && section.name().starts_with("component-type")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the bytes begin as a component does.
pub(crate) fn is_component(bytes: &[u8]) -> bool {
    Parser::is_component(bytes)
}

fn outermost<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(Payload<'a>) -> Result<(), wasmparser::BinaryReaderError>,
) -> Result<(), ComponentError> {
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(ComponentError::CoreModule);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            other if depth == 0 => visit(other)?,
            _ => {}
        }
    }
    Ok(())
}
