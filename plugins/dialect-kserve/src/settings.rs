//! Arguments and environment variables of a model server, as settings of a plugin that takes its place.

use purlin_sdk::Object as _;
use purlin_sdk::serde_json::{Value, json};

/// Flags that only make sense for a process: where it listens, and where it finds what it is given otherwise.
const OF_THE_PROCESS: &[&str] =
    &["--model_name", "--model_dir", "--http_port", "--grpc_port", "--workers", "--enable_grpc"];

/// One argument: a flag with its value, or a word of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Argument {
    /// With its dashes.
    pub(crate) name: String,
    /// `true` for a flag without a value, empty for a word that is not a flag.
    pub(crate) value: String,
}

/// Arguments, where `--name=value` and `--name value` are the same.
pub(crate) fn arguments(args: &[Value]) -> Vec<Argument> {
    let words: Vec<&str> = args.iter().filter_map(Value::as_str).collect();
    let mut arguments = Vec::with_capacity(words.len());
    let mut rest = words.iter().copied().peekable();
    while let Some(word) = rest.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if is_flag(name) => (name, value.to_owned()),
            _ if is_flag(word) => match rest.next_if(|next| !is_flag(next)) {
                Some(value) => (word, value.to_owned()),
                None => (word, "true".to_owned()),
            },
            _ => (word, String::new()),
        };
        arguments.push(Argument { name: name.to_owned(), value });
    }
    arguments
}

/// `-5` is a value; `-m` and `--max-length` are flags.
fn is_flag(word: &str) -> bool {
    word.strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|first: char| first == '-' || first.is_alphabetic()))
}

/// The value of a flag. Words of its name may be joined by `-` or by `_`.
pub(crate) fn flag(args: &[Value], name: &str) -> Option<String> {
    arguments(args).into_iter().find(|argument| same(&argument.name, name)).map(|argument| argument.value)
}

/// Arguments without a flag and its value.
pub(crate) fn without(args: &[Value], name: &str) -> Vec<Value> {
    let mut kept = Vec::with_capacity(args.len());
    let mut rest = args.iter().peekable();
    while let Some(argument) = rest.next() {
        let word = argument.as_str().unwrap_or_default();
        if same(word, name) {
            rest.next_if(|next| next.as_str().is_some_and(|next| !is_flag(next)));
        } else if !word.split_once('=').is_some_and(|(flag, _)| same(flag, name)) {
            kept.push(argument.clone());
        }
    }
    kept
}

/// Whether two names are of one flag.
fn same(one: &str, other: &str) -> bool {
    one.replace('_', "-") == other.replace('_', "-")
}

/// The settings of a component: its arguments without those in `used`, then its environment variables that are plain
/// text. The names of the others, which are read from somewhere, are returned beside them.
pub(crate) fn settings(component: &Value, used: &[&str]) -> (Vec<Value>, Vec<String>) {
    let dashed = |name: &str| name.replace('-', "_");
    let passed = |argument: &Argument| {
        !OF_THE_PROCESS.iter().chain(used).any(|other| dashed(other) == dashed(&argument.name))
    };
    let arguments = arguments(component.items(&["args"])).into_iter().filter(passed);
    let mut settings: Vec<Value> =
        arguments.map(|argument| json!({"name": argument.name, "value": argument.value})).collect();
    let mut elsewhere = Vec::new();
    for variable in component.items(&["env"]) {
        let name = variable.text(&["name"]);
        if variable.at(&["valueFrom"]).is_some() {
            elsewhere.push(name.to_owned());
        } else if !name.is_empty() {
            settings.push(json!({"name": name, "value": variable.text(&["value"])}));
        }
    }
    (settings, elsewhere)
}

/// The value of an environment variable that is plain text.
pub(crate) fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let variables = container.items(&["env"]).iter();
    let mut found = variables.filter(|variable| variable.text(&["name"]) == name);
    found.next().map(|variable| variable.text(&["value"])).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(args: &Value) -> Vec<(String, String)> {
        let args = args.as_array().cloned().unwrap_or_default();
        arguments(&args).into_iter().map(|argument| (argument.name, argument.value)).collect()
    }

    #[test]
    fn a_flag_has_its_value_in_either_form() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs(&json!(["--a=1", "--b", "2", "--c", "--d=x=y", "word", "--e", "-5", "-m", "name", 7])),
            [
                pair("--a", "1"),
                pair("--b", "2"),
                pair("--c", "true"),
                pair("--d", "x=y"),
                pair("word", ""),
                pair("--e", "-5"),
                pair("-m", "name"),
            ]
        );
        assert_eq!(pairs(&json!(["--a="])), [pair("--a", "")]);
    }

    #[test]
    fn a_flag_goes_with_its_value() {
        let args =
            [json!("serve"), json!("--port=1"), json!("--port"), json!("2"), json!("--port"), json!("-x")];
        assert_eq!(without(&args, "--port"), [json!("serve"), json!("-x")]);
        assert_eq!(without(&args, "--part"), args);
    }

    #[test]
    fn what_concerns_the_process_is_left_out() {
        let component = json!({
            "args": ["--model_name=x", "--http_port", "8080", "--max_length=9", "--model-id", "a/b"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {}}, {"name": "C"}],
        });
        let (settings, elsewhere) = settings(&component, &["--model_id"]);
        assert_eq!(
            Value::from(settings),
            json!([
                {"name": "--max_length", "value": "9"}, {"name": "A", "value": "1"}, {"name": "C", "value": ""},
            ])
        );
        assert_eq!(elsewhere, ["B"]);
    }
}
