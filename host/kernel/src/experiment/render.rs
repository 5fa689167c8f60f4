//! Puts a trial's values into the experiment's template.
//!
//! `${trialParameters.NAME}` stands for the value of the parameter that the template maps NAME to, and
//! `${trialSpec.Name}`, `.Namespace`, `.Kind`, `.APIVersion`, `.Labels[key]` and `.Annotations[key]` for facts about
//! the object itself. Replacement is in strings of the object, never in keys, and never twice: a value that looks like
//! a placeholder stays what it is.

use std::collections::{BTreeMap, BTreeSet};

use purlin_sandbox::contract::FieldError;
use serde_json::{Map, Value};

use crate::api::{Assignment, Parameter, TrialTemplate};
use crate::stage::field_error;

/// A template and the parameters that it may speak of.
pub(super) struct Template<'a> {
    template: &'a TrialTemplate,
    parameters: &'a [Parameter],
}

/// Which object is made.
pub(super) struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
}

impl<'a> Template<'a> {
    /// A template with an experiment's parameters.
    pub(super) fn new(template: &'a TrialTemplate, parameters: &'a [Parameter]) -> Self {
        Template { template, parameters }
    }

    /// Every placeholder that means nothing, and every parameter that is not used.
    pub(super) fn check(&self) -> Vec<FieldError> {
        let assignments: Vec<_> = self
            .parameters
            .iter()
            .map(|parameter| Assignment { name: parameter.name.clone(), value: String::new() })
            .collect();
        let target = Target { name: "name", namespace: "namespace" };
        match self.render(&assignments, &target) {
            Ok(_) => Vec::new(),
            Err(errors) => errors,
        }
    }

    /// The object of a trial.
    ///
    /// # Errors
    /// A placeholder means nothing, or a parameter is not used.
    pub(super) fn render(
        &self,
        assignments: &[Assignment],
        target: &Target<'_>,
    ) -> Result<Map<String, Value>, Vec<FieldError>> {
        let mut errors = Vec::new();
        let values = self.values(assignments, target, &mut errors);
        let mut rendering =
            Rendering { values: &values, template: self.template, target, used: BTreeSet::new(), errors };
        let mut object = self.template.object.clone();
        for (field, value) in &mut object {
            rendering.value(value, &format!("spec.trialTemplate.object.{field}"));
        }
        let Rendering { used, mut errors, .. } = rendering;
        for (at, parameter) in self.template.parameters.iter().enumerate() {
            if !used.contains(&parameter.name) {
                errors.push(field_error(
                    format!("spec.trialTemplate.parameters[{at}].name"),
                    &parameter.name,
                    format!(
                        "the object does not use it; write ${{trialParameters.{}}} somewhere",
                        parameter.name
                    ),
                ));
            }
        }
        if errors.is_empty() { Ok(object) } else { Err(errors) }
    }

    /// What each name in `trialParameters` stands for.
    fn values(
        &self,
        assignments: &[Assignment],
        target: &Target<'_>,
        errors: &mut Vec<FieldError>,
    ) -> BTreeMap<&'a str, String> {
        let mut values = BTreeMap::new();
        for (at, parameter) in self.template.parameters.iter().enumerate() {
            let reference = parameter.reference.as_str();
            let assigned = assignments.iter().find(|assignment| assignment.name == reference);
            let value = match assigned {
                Some(assignment) => Some(assignment.value.clone()),
                None => reference
                    .strip_prefix("${trialSpec.")
                    .and_then(|rest| rest.strip_suffix('}'))
                    .and_then(|fact| fact_of(self.template, target, fact)),
            };
            match value {
                Some(value) if values.contains_key(parameter.name.as_str()) => {
                    let field = format!("spec.trialTemplate.parameters[{at}].name");
                    errors.push(field_error(field, &parameter.name, "two parameters have this name"));
                    drop(value);
                }
                Some(value) => {
                    values.insert(parameter.name.as_str(), value);
                }
                None => {
                    let field = format!("spec.trialTemplate.parameters[{at}].reference");
                    errors.push(field_error(
                        field,
                        reference,
                        "no parameter of the experiment has this name",
                    ));
                }
            }
        }
        values
    }
}

struct Rendering<'a> {
    values: &'a BTreeMap<&'a str, String>,
    template: &'a TrialTemplate,
    target: &'a Target<'a>,
    used: BTreeSet<String>,
    errors: Vec<FieldError>,
}

impl Rendering<'_> {
    fn value(&mut self, value: &mut Value, path: &str) {
        match value {
            Value::String(text) => {
                if let Some(rendered) = self.text(text, path) {
                    *text = rendered;
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    self.value(item, &format!("{path}[{at}]"));
                }
            }
            Value::Object(fields) => {
                for (field, value) in fields {
                    self.value(value, &format!("{path}.{field}"));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The text with its placeholders replaced; none where there are none.
    fn text(&mut self, text: &str, path: &str) -> Option<String> {
        let mut rendered = String::with_capacity(text.len());
        let (mut rest, mut changed) = (text, false);
        while let Some(start) = rest.find("${trial") {
            let (before, from) = rest.split_at(start);
            rendered.push_str(before);
            let Some(end) = from.find('}') else {
                rendered.push_str(from);
                rest = "";
                break;
            };
            let (placeholder, after) = from.split_at(end + 1);
            let inner = &placeholder[2..end];
            let value = if let Some(name) = inner.strip_prefix("trialParameters.") {
                self.used.insert(name.to_owned());
                self.values.get(name).cloned()
            } else if let Some(fact) = inner.strip_prefix("trialSpec.") {
                fact_of(self.template, self.target, fact)
            } else {
                // Somebody else's: a shell variable that happens to begin with `trial`.
                Some(placeholder.to_owned())
            };
            match value {
                Some(value) => rendered.push_str(&value),
                None => {
                    let declared =
                        self.template.parameters.iter().any(|p| inner.ends_with(&format!(".{}", p.name)));
                    // One that is declared wrongly was reported where it is declared.
                    if !declared {
                        self.errors.push(field_error(
                            path,
                            placeholder,
                            "means nothing; declare it in parameters",
                        ));
                    }
                }
            }
            changed = true;
            rest = after;
        }
        rendered.push_str(rest);
        changed.then_some(rendered)
    }
}

fn fact_of(template: &TrialTemplate, target: &Target<'_>, fact: &str) -> Option<String> {
    let entry = |map: &str, key: &str| {
        let value = template.object.get("metadata")?.get(map)?.get(key)?.as_str()?;
        Some(value.to_owned())
    };
    let top = |field: &str| template.object.get(field)?.as_str().map(str::to_owned);
    let indexed = |name: &str| fact.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']');
    match fact {
        "Name" => Some(target.name.to_owned()),
        "Namespace" => Some(target.namespace.to_owned()),
        "Kind" => top("kind"),
        "APIVersion" => top("apiVersion"),
        _ => match (indexed("Labels"), indexed("Annotations")) {
            (Some(key), _) => entry("labels", key),
            (None, Some(key)) => entry("annotations", key),
            (None, None) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, Template};
    use crate::api::{Assignment, Parameter, TrialParameter, TrialTemplate};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn template(object: Value, parameters: &[(&str, &str)]) -> TrialTemplate {
        TrialTemplate {
            object: object.as_object().cloned().unwrap(),
            parameters: parameters
                .iter()
                .map(|(name, reference)| TrialParameter {
                    name: (*name).to_owned(),
                    reference: (*reference).to_owned(),
                })
                .collect(),
            ..TrialTemplate::default()
        }
    }

    fn render(template: &TrialTemplate, value: &str) -> Result<Value, Vec<String>> {
        let parameters = [Parameter { name: "lr".to_owned(), ..Parameter::default() }];
        let assignments = [Assignment { name: "lr".to_owned(), value: value.to_owned() }];
        let target = Target { name: "exp-1", namespace: "ns" };
        let rendered = Template::new(template, &parameters).render(&assignments, &target);
        rendered.map(Value::Object).map_err(|errors| errors.into_iter().map(|error| error.field).collect())
    }

    #[test]
    fn values_and_facts_are_put_in() {
        let template = template(
            json!({"kind": "Job", "metadata": {"labels": {"app": "web"}}, "args": [
                "--lr=${trialParameters.learningRate}", "${trialSpec.Name}/${trialSpec.Namespace}",
                "${trialParameters.app}", "${HOME} ${trial"]}),
            &[("learningRate", "lr"), ("app", "${trialSpec.Labels[app]}")],
        );
        assert_eq!(
            render(&template, "0.1").unwrap()["args"],
            json!(["--lr=0.1", "exp-1/ns", "web", "${HOME} ${trial"])
        );
    }

    #[test]
    fn what_means_nothing_or_is_not_used_is_named() {
        let unknown = template(json!({"a": ["${trialParameters.x}"]}), &[]);
        assert_eq!(render(&unknown, "1").unwrap_err(), ["spec.trialTemplate.object.a[0]"]);
        let unused = template(json!({"a": 1}), &[("x", "lr")]);
        assert_eq!(render(&unused, "1").unwrap_err(), ["spec.trialTemplate.parameters[0].name"]);
        let dangling = template(json!({"a": "${trialParameters.x}"}), &[("x", "nothing")]);
        assert_eq!(render(&dangling, "1").unwrap_err(), ["spec.trialTemplate.parameters[0].reference"]);
    }

    proptest! {
        /// A value is put in as it is, whatever it looks like.
        #[test]
        fn a_value_is_not_rendered_again(value in "\\PC*") {
            let template = template(json!({"a": "<${trialParameters.x}>"}), &[("x", "lr")]);
            prop_assert_eq!(&render(&template, &value).unwrap()["a"], &json!(format!("<{value}>")));
        }

        #[test]
        fn any_template_is_rendered_or_refused(text in "(\\$\\{trial(Parameters|Spec)?\\.?|\\}|[a-zA-Z\\[\\]. ])*") {
            let _ = render(&template(json!({"a": text}), &[("x", "lr")]), "1");
        }
    }
}
