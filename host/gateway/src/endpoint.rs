//! Which operation of which protocol a path is, once a route's own part of it is taken off.

use std::borrow::Cow;

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    /// `/v2`
    V2Server,
    /// `/v2/health/live`
    V2Live,
    /// `/v2/health/ready`
    V2Ready,
    /// `/v2/models`
    V2Models,
    /// Below `/v2/models/NAME`.
    V2(V2, Name<'a>),
    /// `/v2/repository/index`
    V2Index,
    /// `/v2/repository/models/NAME/load`
    V2Load(Cow<'a, str>),
    /// `/v2/repository/models/NAME/unload`
    V2Unload(Cow<'a, str>),
    /// `/v1/models`, of V1 and of OpenAI.
    V1Models,
    /// `/v1/models/NAME`
    V1Model(Cow<'a, str>),
    /// `/v1/models/NAME:predict`
    V1Predict(Cow<'a, str>),
    /// `/v1/models/NAME:explain`
    V1Explain(Cow<'a, str>),
    /// Below `/openai/v1` or `/v1`.
    OpenAi(OpenAi),
    /// Anything else.
    Other,
}

/// Operations on one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum V2 {
    Metadata,
    Ready,
    Infer,
    Explain,
    Generate,
    GenerateStream,
}

/// Operations of the OpenAI API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenAi {
    Models,
    Completions,
    Chat,
    Embeddings,
}

/// A model's name and, where the path has one, its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    pub(crate) model: Cow<'a, str>,
    pub(crate) version: Option<Cow<'a, str>>,
}

impl Endpoint<'_> {
    /// Reads a path.
    pub(crate) fn parse(path: &str) -> Endpoint<'_> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if let Some(rest) = path.strip_prefix("/v2") {
            return v2(rest).unwrap_or(Endpoint::Other);
        }
        let (path, openai) = match path.strip_prefix("/openai") {
            Some(rest) => (rest, true),
            None => (path, false),
        };
        let Some(rest) = path.strip_prefix("/v1/") else { return Endpoint::Other };
        match rest {
            "models" if openai => return Endpoint::OpenAi(OpenAi::Models),
            "models" => return Endpoint::V1Models,
            "completions" => return Endpoint::OpenAi(OpenAi::Completions),
            "chat/completions" => return Endpoint::OpenAi(OpenAi::Chat),
            "embeddings" => return Endpoint::OpenAi(OpenAi::Embeddings),
            _ => {}
        }
        let Some(name) = rest.strip_prefix("models/") else { return Endpoint::Other };
        // Names of models may have slashes, encoded or not, as those of hubs do.
        let found = match name.rsplit_once(':') {
            Some((name, "predict")) => decode(name).map(Endpoint::V1Predict),
            Some((name, "explain")) => decode(name).map(Endpoint::V1Explain),
            _ => decode(name).map(Endpoint::V1Model),
        };
        found.unwrap_or(Endpoint::Other)
    }
}

fn v2(rest: &str) -> Option<Endpoint<'_>> {
    match rest {
        "" => return Some(Endpoint::V2Server),
        "/health/live" => return Some(Endpoint::V2Live),
        "/health/ready" => return Some(Endpoint::V2Ready),
        "/models" => return Some(Endpoint::V2Models),
        "/repository/index" => return Some(Endpoint::V2Index),
        _ => {}
    }
    if let Some(rest) = rest.strip_prefix("/repository/models/") {
        return match rest.rsplit_once('/')? {
            (name, "load") => decode(name).map(Endpoint::V2Load),
            (name, "unload") => decode(name).map(Endpoint::V2Unload),
            _ => None,
        };
    }
    let rest = rest.strip_prefix("/models/")?;
    let (rest, operation) = match rest.rsplit_once('/') {
        Some((rest, "infer")) => (rest, V2::Infer),
        Some((rest, "ready")) => (rest, V2::Ready),
        Some((rest, "explain")) => (rest, V2::Explain),
        Some((rest, "generate")) => (rest, V2::Generate),
        Some((rest, "generate_stream")) => (rest, V2::GenerateStream),
        _ => (rest, V2::Metadata),
    };
    let (model, version) = match rest.rsplit_once("/versions/") {
        Some((model, version)) => (model, Some(decode(version)?)),
        None => (rest, None),
    };
    Some(Endpoint::V2(operation, Name { model: decode(model)?, version }))
}

/// A part of a path without its percent signs; `None` where it is empty or no text.
fn decode(part: &str) -> Option<Cow<'_, str>> {
    if part.is_empty() || part.len() > 512 {
        return None;
    }
    if !part.contains('%') {
        return Some(Cow::Borrowed(part));
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || (rest.next()? as char).to_digit(16);
        bytes.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::{Endpoint, Name, OpenAi, V2};

    fn name(model: &str) -> Name<'_> {
        Name { model: Cow::Borrowed(model), version: None }
    }

    #[test]
    fn every_operation_has_its_path() {
        let versioned = Name { version: Some("3".into()), ..name("m") };
        for (path, endpoint) in [
            ("/v2", Endpoint::V2Server),
            ("/v2/", Endpoint::V2Server),
            ("/v2/health/live", Endpoint::V2Live),
            ("/v2/health/ready", Endpoint::V2Ready),
            ("/v2/models", Endpoint::V2Models),
            ("/v2/models/m", Endpoint::V2(V2::Metadata, name("m"))),
            ("/v2/models/m/versions/3", Endpoint::V2(V2::Metadata, versioned.clone())),
            ("/v2/models/m/versions/3/infer", Endpoint::V2(V2::Infer, versioned)),
            ("/v2/models/m/infer", Endpoint::V2(V2::Infer, name("m"))),
            ("/v2/models/m/ready", Endpoint::V2(V2::Ready, name("m"))),
            ("/v2/models/a%2Fb/generate", Endpoint::V2(V2::Generate, name("a/b"))),
            ("/v2/models/m/generate_stream", Endpoint::V2(V2::GenerateStream, name("m"))),
            ("/v2/repository/index", Endpoint::V2Index),
            ("/v2/repository/models/m/load", Endpoint::V2Load("m".into())),
            ("/v2/repository/models/m/unload", Endpoint::V2Unload("m".into())),
            ("/v1/models", Endpoint::V1Models),
            ("/v1/models/m", Endpoint::V1Model("m".into())),
            ("/v1/models/m:predict", Endpoint::V1Predict("m".into())),
            ("/v1/models/m:explain", Endpoint::V1Explain("m".into())),
            ("/openai/v1/models", Endpoint::OpenAi(OpenAi::Models)),
            ("/openai/v1/chat/completions", Endpoint::OpenAi(OpenAi::Chat)),
            ("/v1/completions", Endpoint::OpenAi(OpenAi::Completions)),
            ("/v1/embeddings", Endpoint::OpenAi(OpenAi::Embeddings)),
            ("/", Endpoint::Other),
            ("/v2x", Endpoint::Other),
            ("/v2/models/", Endpoint::V2Models),
            ("/v2/models/%zz/infer", Endpoint::Other),
            ("/v2/models/%ff/infer", Endpoint::Other),
        ] {
            assert_eq!(Endpoint::parse(path), endpoint, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_survived(path in any::<String>()) {
            Endpoint::parse(&path);
        }
    }
}
