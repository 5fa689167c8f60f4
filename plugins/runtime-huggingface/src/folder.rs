//! The folder of a model among the files at its source, and what its files say about it.

use purlin_sdk::{Fault, ModelRequest, fault, files};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::settings::Task;

/// The files of a model by their names within its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    /// The folder with a `/` at its end, or nothing.
    prefix: String,
    /// Names within it.
    names: Vec<String>,
}

impl Folder {
    /// The folder of the `config.json` that is nearest to the top of the source, or of the GGUF file.
    ///
    /// # Errors
    /// There is neither.
    pub(crate) fn find(request: &ModelRequest) -> Result<Folder, Fault> {
        let named = |wanted: &str| {
            let files = request.files.iter().map(|file| file.name.as_str());
            let same = files.filter(|name| name.rsplit('/').next() == Some(wanted));
            same.min_by_key(|name| (name.matches('/').count(), name.len()))
        };
        let gguf = || request.file_ending(&[".gguf"]).map(|file| file.name.as_str());
        let Some(anchor) = named("config.json").or_else(gguf) else {
            let found: Vec<_> = request.files.iter().map(|file| file.name.as_str()).collect();
            let reason = format!(
                "there is neither a config.json nor a .gguf at the source; it has [{}]",
                found.join(", ")
            );
            return Err(fault::invalid("spec.source.uri", "", reason));
        };
        let prefix = anchor.rfind('/').map_or("", |slash| &anchor[..=slash]).to_owned();
        let within = request.files.iter().filter_map(|file| file.name.strip_prefix(prefix.as_str()));
        Ok(Folder { names: within.map(str::to_owned).collect(), prefix })
    }

    /// The name at the source of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|other| other == name)
    }

    /// The GGUF file at the folder's top; the first by name where there are several.
    pub(crate) fn gguf(&self) -> Option<&str> {
        let here = self.names.iter().map(String::as_str);
        here.filter(|name| !name.contains('/') && name.ends_with(".gguf")).min()
    }

    /// A file's content.
    ///
    /// # Errors
    /// There is no such file.
    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, Fault> {
        if !self.has(name) {
            return Err(files::missing(&self.path(name)));
        }
        files::read(&self.path(name))
    }

    /// A JSON file's content; nothing where there is no such file.
    ///
    /// # Errors
    /// It is not such JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Fault> {
        if !self.has(name) {
            return Ok(None);
        }
        let content = self.bytes(name)?;
        let wrong = |error| fault::invalid("spec.source.uri", "", format!("{}: {error}", self.path(name)));
        serde_json::from_slice(&content).map(Some).map_err(wrong)
    }

    /// What the model can be served for, by its files.
    ///
    /// # Errors
    /// It is of a sort that is not served.
    pub(crate) fn task(&self) -> Result<Task, Fault> {
        if self.has("modules.json") {
            return Ok(Task::Embedding);
        }
        let config: Option<Map<String, Value>> = self.json("config.json")?;
        task_of(config.as_ref(), self.gguf().is_some()).map_err(|architecture| {
            let reason = format!(
                "config.json: architectures: models of {architecture} are not served; those that end in ForCausalLM or \
                 LMHeadModel generate text, and others embed where --task=text_embedding says so"
            );
            fault::invalid("spec.source.uri", "", reason)
        })
    }
}

/// What a configuration's architecture is for; the architecture where that is nothing that is served.
fn task_of(config: Option<&Map<String, Value>>, gguf: bool) -> Result<Task, String> {
    let architectures = config.and_then(|config| config.get("architectures")).and_then(Value::as_array);
    let Some(first) = architectures.and_then(|all| all.first()).and_then(Value::as_str) else {
        let kind = config.and_then(|config| config.get("model_type")).and_then(Value::as_str);
        let encoder = kind.is_some_and(|kind| kind.contains("bert") || kind == "mpnet");
        return if gguf || !encoder { Ok(Task::Generation) } else { Ok(Task::Embedding) };
    };
    let ends = |ending: &str| first.ends_with(ending);
    if ends("ForCausalLM") || ends("LMHeadModel") {
        return Ok(Task::Generation);
    }
    // An encoder without a head: what it gives is what embeddings are made of.
    if ends("Model") { Ok(Task::Embedding) } else { Err(first.to_owned()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use purlin_sdk::serving::ModelFile;
    use purlin_sdk::{Context, Fault, ModelRequest};
    use serde_json::{Value, json};

    use super::{Folder, task_of};
    use crate::settings::Task;

    /// A request for a model with these files.
    pub(crate) fn request(files: &[&str]) -> ModelRequest {
        let file = |name: &&str| ModelFile { name: (*name).to_owned(), size: 1 };
        ModelRequest {
            context: Context { now_ms: 0, seed: 0, config: String::new() },
            name: "m".to_owned(),
            version: String::new(),
            format: "huggingface".to_owned(),
            format_version: String::new(),
            settings: Vec::new(),
            files: files.iter().map(file).collect(),
        }
    }

    #[test]
    fn the_folder_is_that_of_the_uppermost_config() {
        let folder = |files: &[&str]| Folder::find(&request(files));
        let found =
            folder(&["m/1_Pooling/config.json", "m/config.json", "m/onnx/model.onnx", "readme"]).unwrap();
        assert_eq!(
            (found.path("tokenizer.json").as_str(), found.has("onnx/model.onnx")),
            ("m/tokenizer.json", true)
        );
        assert!(!found.has("readme"));
        let found = folder(&["a.gguf", "b.gguf"]).unwrap();
        assert_eq!((found.gguf(), found.path("x").as_str()), (Some("a.gguf"), "x"));
        assert!(matches!(folder(&["model.onnx"]), Err(Fault::Invalid(_))));
    }

    #[test]
    fn the_task_is_seen_by_the_architecture() {
        let task = |config: Value| task_of(config.as_object(), false);
        assert_eq!(task(json!({"architectures": ["LlamaForCausalLM"]})), Ok(Task::Generation));
        assert_eq!(task(json!({"architectures": ["GPT2LMHeadModel"]})), Ok(Task::Generation));
        assert_eq!(task(json!({"architectures": ["BertModel"]})), Ok(Task::Embedding));
        assert_eq!(task(json!({"model_type": "xlm-roberta"})), Ok(Task::Embedding));
        assert_eq!(task(json!({"model_type": "llama"})), Ok(Task::Generation));
        assert_eq!(
            task(json!({"architectures": ["T5ForConditionalGeneration"]})),
            Err("T5ForConditionalGeneration".to_owned())
        );
    }
}
