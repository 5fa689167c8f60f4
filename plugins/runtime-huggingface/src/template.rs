//! Conversations in a model's own form, by its `chat_template`: Jinja, as transformers renders it.

use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use purlin_sdk::serving::Message;
use purlin_sdk::{Fault, fault};
use serde_json::{Map, Value as Json};

use crate::folder::Folder;

/// Steps that a template may take; it is the model's, and may be anything.
const FUEL: u64 = 5_000_000;

const NAME: &str = "chat_template";

/// A model's template.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    begin: Option<String>,
    end: Option<String>,
}

impl ChatTemplate {
    /// The template of a folder: `chat_template.jinja`, or in `tokenizer_config.json`. Models without one do not chat.
    ///
    /// # Errors
    /// It is no template.
    pub(crate) fn load(folder: &Folder, config: &Map<String, Json>) -> Result<Option<ChatTemplate>, Fault> {
        let wrong = |reason: String| fault::invalid("spec.source.uri", "", format!("{NAME}: {reason}"));
        let source = match folder.has("chat_template.jinja") {
            true => Some(
                String::from_utf8(folder.bytes("chat_template.jinja")?)
                    .map_err(|error| wrong(error.to_string()))?,
            ),
            false => source(config).map(str::to_owned),
        };
        let Some(source) = source else { return Ok(None) };
        ChatTemplate::new(source, config).map(Some).map_err(|error| wrong(error.to_string()))
    }

    fn new(source: String, config: &Map<String, Json>) -> Result<ChatTemplate, Error> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", |reason: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        });
        environment.add_template_owned(NAME, source)?;
        Ok(ChatTemplate { environment, begin: token(config, "bos_token"), end: token(config, "eos_token") })
    }

    /// The prompt for the assistant's next message.
    ///
    /// # Errors
    /// The template refuses the conversation, such as one that begins with the assistant.
    pub(crate) fn render(&self, messages: &[Message]) -> Result<String, String> {
        let message = |message: &Message| context! { role => message.role, content => message.content };
        let messages: Vec<Value> = messages.iter().map(message).collect();
        let context = context! {
            messages,
            add_generation_prompt => true,
            bos_token => self.begin.as_deref().unwrap_or_default(),
            eos_token => self.end.as_deref().unwrap_or_default(),
        };
        let rendered = self.environment.get_template(NAME).and_then(|template| template.render(context));
        rendered.map_err(|error| error.detail().map_or_else(|| error.to_string(), str::to_owned))
    }
}

/// The template in a tokenizer's configuration; of several the one named `default`.
fn source(config: &Map<String, Json>) -> Option<&str> {
    match config.get("chat_template")? {
        Json::String(source) => Some(source),
        Json::Array(several) => {
            let default = several.iter().find(|one| one["name"] == "default").or_else(|| several.first())?;
            default["template"].as_str()
        }
        _ => None,
    }
}

/// A special token by its role: its text, or an object that has it as `content`.
pub(crate) fn token(config: &Map<String, Json>, role: &str) -> Option<String> {
    let token = config.get(role)?;
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

/// As transformers has it: what HTML would take for markup stays as it is.
fn to_json(value: Value, options: Kwargs) -> Result<Value, Error> {
    let failed = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let indent: Option<usize> = options.get("indent")?;
    // Others are about what is done here anyway.
    for name in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = options.get(name)?;
    }
    options.assert_all_used()?;
    let text = match indent {
        Some(indent) => {
            let indent = vec![b' '; indent.min(16)];
            let mut text = Vec::new();
            let formatter = serde_json::ser::PrettyFormatter::with_indent(&indent);
            let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
            serde::Serialize::serialize(&value, &mut serializer).map_err(failed)?;
            String::from_utf8_lossy(&text).into_owned()
        }
        None => serde_json::to_string(&value).map_err(failed)?,
    };
    Ok(Value::from_safe_string(text))
}

#[cfg(test)]
mod tests {
    use purlin_sdk::serving::Message;
    use serde_json::{Value, json};

    use super::{ChatTemplate, source, token};

    fn render(template: &str, messages: &[(&str, &str)]) -> Result<String, String> {
        let config = json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}});
        let template = ChatTemplate::new(template.to_owned(), config.as_object().unwrap()).unwrap();
        let message = |(role, content): &(&str, &str)| Message {
            role: (*role).to_owned(),
            content: (*content).to_owned(),
        };
        template.render(&messages.iter().map(message).collect::<Vec<_>>())
    }

    const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + \
        message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}\
        {% endif %}";

    /// The form of Llama 2, with what templates of many models use: namespaces, Python's methods, exceptions.
    const LLAMA2: &str = "\
{%- if messages[0]['role'] == 'system' %}
    {%- set loop_messages = messages[1:] %}
    {%- set system_message = messages[0]['content'] %}
{%- else %}
    {%- set loop_messages = messages %}
    {%- set system_message = false %}
{%- endif %}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if loop.index0 == 0 and system_message != false %}
        {%- set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}
    {%- else %}
        {%- set content = message['content'] %}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {{- bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + content.strip() + ' ' + eos_token }}
    {%- endif %}
{%- endfor %}";

    #[test]
    fn a_conversation_gets_the_models_form() {
        let messages = [("system", "Be brief."), ("user", " Hello "), ("assistant", "Hi"), ("user", "Bye")];
        let chatml = render(CHATML, &messages[1..2]).unwrap();
        assert_eq!(chatml, "<|im_start|>user\n Hello <|im_end|>\n<|im_start|>assistant\n");
        let llama = render(LLAMA2, &messages).unwrap();
        let expected =
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hello [/INST] Hi </s><s>[INST] Bye [/INST]";
        assert_eq!(llama, expected);
    }

    #[test]
    fn a_template_may_refuse_and_cannot_run_for_ever() {
        let refused = render(LLAMA2, &[("assistant", "Hi")]).unwrap_err();
        assert!(refused.contains("must alternate"), "{refused}");
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
        assert!(render(endless, &[]).is_err());
    }

    #[test]
    fn json_is_not_made_fit_for_html() {
        assert_eq!(render("{{ {'a': '<é>'} | tojson }}", &[]).unwrap(), r#"{"a":"<é>"}"#);
    }

    #[test]
    fn one_of_several_templates_is_taken() {
        let config = |value: Value| json!({"chat_template": value});
        let several =
            config(json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]));
        assert_eq!(source(several.as_object().unwrap()), Some("d"));
        assert_eq!(source(config(json!("x")).as_object().unwrap()), Some("x"));
        assert_eq!(token(json!({"bos_token": null}).as_object().unwrap(), "bos_token"), None);
    }
}
