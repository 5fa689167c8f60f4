//! What the user set: the flags of KServe's huggingfaceserver, as far as they mean something here.

use purlin_sdk::{Fault, ModelRequest, fault, log};

/// What a model is served for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// A vector for a text.
    Embedding,
    /// A text for a text.
    Generation,
}

/// The flags that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `--task`; else it is seen by the model.
    pub(crate) task: Option<Task>,
    /// `--max_length` or `--max_model_len`: tokens of a text, or of prompt and answer together.
    pub(crate) max_length: Option<usize>,
    /// `--disable_lower_case`: texts keep their capitals, also where the tokenizer would not leave them.
    pub(crate) keep_case: bool,
}

/// Flags that mean nothing here and are no reason to say so: they are about the process, or about how weights are held.
const OF_THE_SERVER: &[&str] = &[
    "model_name",
    "model_dir",
    "model_id",
    "model_revision",
    "tokenizer_revision",
    "http_port",
    "grpc_port",
    "workers",
    "backend",
    "trust_remote_code",
    "dtype",
    "tensor_parallel_size",
    "gpu_memory_utilization",
    "max_num_seqs",
    "disable_log_requests",
    "disable_log_stats",
    "log_config_file",
    "enable_docs_url",
];

impl Settings {
    /// The flags of a request. One that is not known is left out, with a line in the log.
    ///
    /// # Errors
    /// `invalid` names the setting whose value is wrong.
    pub(crate) fn read(request: &ModelRequest) -> Result<Settings, Fault> {
        let mut settings = Settings::default();
        for (index, setting) in request.settings.iter().enumerate() {
            let field = || format!("spec.settings[{index}].value");
            let value = setting.value.as_str();
            // Environment variables are for libraries that are not here.
            let Some(name) = setting.name.strip_prefix('-') else { continue };
            match name.trim_start_matches('-').replace('-', "_").as_str() {
                "task" => settings.task = Some(task(value, field)?),
                "max_length" | "max_model_len" => settings.max_length = Some(length(value, field)?),
                "disable_lower_case" => settings.keep_case = flag(value, field)?,
                "return_probabilities" if !flag(value, field)? => {}
                known if OF_THE_SERVER.contains(&known) => {}
                _ => log::info(&format!("the setting {} has no effect", setting.name)),
            }
        }
        Ok(settings)
    }
}

/// A task by its name, with `-` or `_` between its words.
fn task(value: &str, field: impl FnOnce() -> String) -> Result<Task, Fault> {
    match value.replace('-', "_").to_lowercase().as_str() {
        "text_embedding" | "embedding" | "embed" | "feature_extraction" => Ok(Task::Embedding),
        "text_generation" | "generate" => Ok(Task::Generation),
        _ => Err(fault::invalid(field(), value, "it must be text_embedding or text_generation")),
    }
}

fn length(value: &str, field: impl FnOnce() -> String) -> Result<usize, Fault> {
    let length = value.parse().ok().filter(|length| *length > 0);
    length.ok_or_else(|| fault::invalid(field(), value, "it must be a whole number of tokens above 0"))
}

fn flag(value: &str, field: impl FnOnce() -> String) -> Result<bool, Fault> {
    match value.to_lowercase().as_str() {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(fault::invalid(field(), value, "it must be true or false")),
    }
}

#[cfg(test)]
mod tests {
    use purlin_sdk::{Fault, ModelRequest, Setting};

    use super::{Settings, Task};

    fn read(settings: &[(&str, &str)]) -> Result<Settings, Fault> {
        let setting =
            |(name, value): &(&str, &str)| Setting { name: (*name).to_owned(), value: (*value).to_owned() };
        let settings = settings.iter().map(setting).collect();
        Settings::read(&ModelRequest { settings, ..crate::folder::tests::request(&[]) })
    }

    #[test]
    fn the_flags_of_kserve_are_understood() {
        let settings = read(&[
            ("--model_name", "llama2"),
            ("--task", "text-embedding"),
            ("--max-length", "128"),
            ("--disable_lower_case", "true"),
            ("--dtype", "float16"),
            ("--never_heard_of", "1"),
            ("HF_HOME", "/tmp"),
        ]);
        let expected = Settings { task: Some(Task::Embedding), max_length: Some(128), keep_case: true };
        assert_eq!(settings.unwrap(), expected);
        assert_eq!(read(&[]).unwrap(), Settings::default());
    }

    #[test]
    fn a_wrong_value_is_named() {
        for (name, value) in
            [("--task", "translate"), ("--max_model_len", "-1"), ("--disable_lower_case", "maybe")]
        {
            let Err(Fault::Invalid(fields)) = read(&[("--dtype", "auto"), (name, value)]) else {
                panic!("{name}={value} was taken");
            };
            assert_eq!(
                (fields[0].field.as_str(), fields[0].value.as_str()),
                ("spec.settings[1].value", value)
            );
        }
    }
}
