//! JSONPath as custom columns and selectable fields use it: fields, positions, slices, wildcards and filters.
//!
//! `.a.b`, `.a\.b`, `['a.b']`, `[0]`, `[-1]`, `[1:3]`, `[-1:]`, `[*]`, `[?(@.type=="Ready")]`. Reading never panics, whatever the text.

use std::cmp::Ordering;

use serde_json::Value;

/// A path, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Filter { left: JsonPath, test: Option<(Compare, Value)> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A path that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a JSON path: {reason}")]
pub struct JsonPathError {
    /// The path.
    pub path: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl JsonPath {
    /// Reads a path, with or without braces around it.
    ///
    /// # Errors
    /// [`JsonPathError`] where the text is no path of the forms that this module lists.
    pub fn parse(path: &str) -> Result<Self, JsonPathError> {
        let text = path.trim();
        let text = text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(text);
        let text = text.strip_prefix('$').unwrap_or(text);
        steps(text).map(Self).map_err(|reason| JsonPathError { path: path.to_owned(), reason })
    }

    /// All values that the path leads to.
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.find(value)).collect();
        }
        found
    }

    /// The first value that the path leads to.
    pub fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.find(value).into_iter().next()
    }
}

impl Step {
    fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(object)) => object.get(name).into_iter().collect(),
            (Self::Index(at), Value::Array(items)) => {
                let at = if *at < 0 { at.saturating_add(items.len() as i64) } else { *at };
                usize::try_from(at).ok().and_then(|at| items.get(at)).into_iter().collect()
            }
            (Self::Slice(from, to), Value::Array(items)) => {
                let place = |at: i64| {
                    let at = if at < 0 { at.saturating_add(items.len() as i64).max(0) } else { at };
                    usize::try_from(at).unwrap_or(usize::MAX).min(items.len())
                };
                let (from, to) = (from.map_or(0, place), to.map_or(items.len(), place));
                items.get(from..to).unwrap_or_default().iter().collect()
            }
            (Self::All, Value::Array(items)) => items.iter().collect(),
            (Self::All, Value::Object(object)) => object.values().collect(),
            (Self::Filter { left, test }, Value::Array(items)) => {
                items.iter().filter(|item| passes(left, test.as_ref(), item)).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn passes(left: &JsonPath, test: Option<&(Compare, Value)>, item: &Value) -> bool {
    let Some(found) = left.first(item) else { return false };
    let Some((compare, wanted)) = test else { return true };
    let order = match (found, wanted) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b))
        }
        (a, b) => (a == b).then_some(Ordering::Equal),
    };
    match compare {
        Compare::Equal => order == Some(Ordering::Equal),
        Compare::NotEqual => order != Some(Ordering::Equal),
        Compare::Less => order == Some(Ordering::Less),
        Compare::LessOrEqual => order.is_some_and(Ordering::is_le),
        Compare::Greater => order == Some(Ordering::Greater),
        Compare::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
    }
}

fn steps(text: &str) -> Result<Vec<Step>, &'static str> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (inside, after) = bracket(after)?;
            steps.push(subscript(inside.trim())?);
            rest = after;
            continue;
        }
        let after = match rest.strip_prefix('.') {
            Some(after) => after,
            None if steps.is_empty() => rest,
            None => return Err("a field must follow a dot"),
        };
        if after.starts_with('[') {
            rest = after;
            continue;
        }
        let (name, after) = field(after);
        match name.as_str() {
            // A dot alone is the whole object.
            "" if after.is_empty() && steps.is_empty() => {}
            "" => return Err("a field name is missing"),
            "*" => steps.push(Step::All),
            _ => steps.push(Step::Field(name)),
        }
        rest = after;
    }
    Ok(steps)
}

/// A field name up to the next dot or bracket; a backslash takes the next character as it is.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '.' | '[' => return (name, &text[at..]),
            '\\' => name.extend(chars.next().map(|(_, next)| next)),
            _ => name.push(char),
        }
    }
    (name, "")
}

/// What stands before the bracket that closes; quotes and inner brackets are passed over.
fn bracket(text: &str) -> Result<(&str, &str), &'static str> {
    let (mut depth, mut quote) = (0_u32, None);
    for (at, char) in text.char_indices() {
        match (quote, char) {
            (Some(open), _) if char == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(char),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Ok((&text[..at], &text[at + 1..])),
            (None, ']') => depth -= 1,
            (None, _) => {}
        }
    }
    Err("a bracket is not closed")
}

fn unquote(text: &str) -> Option<&str> {
    ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}

fn subscript(text: &str) -> Result<Step, &'static str> {
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = unquote(text) {
        return Ok(Step::Field(name.to_owned()));
    }
    if let Some(filter) = text.strip_prefix("?(") {
        return self::filter(filter.strip_suffix(')').ok_or("a filter is not closed")?);
    }
    if let Some((from, to)) = text.split_once(':') {
        let bound = |text: &str| match text.trim() {
            "" => Ok(None),
            number => number.parse().map(Some).map_err(|_| "a slice goes from a number to a number"),
        };
        return Ok(Step::Slice(bound(from)?, bound(to)?));
    }
    text.parse().map(Step::Index).map_err(|_| "a bracket holds neither a position, a name nor a filter")
}

fn filter(text: &str) -> Result<Step, &'static str> {
    const OPERATORS: [(&str, Compare); 6] = [
        ("==", Compare::Equal),
        ("!=", Compare::NotEqual),
        ("<=", Compare::LessOrEqual),
        (">=", Compare::GreaterOrEqual),
        ("<", Compare::Less),
        (">", Compare::Greater),
    ];
    let left = |text: &str| -> Result<JsonPath, &'static str> {
        steps(text.trim().strip_prefix('@').ok_or("a filter must begin with @")?).map(JsonPath)
    };
    let first = OPERATORS
        .iter()
        .filter_map(|(sign, compare)| Some((text.find(sign)?, *sign, *compare)))
        .min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())));
    let Some((at, sign, compare)) = first else {
        return Ok(Step::Filter { left: left(text)?, test: None });
    };
    let right = text[at + sign.len()..].trim();
    let wanted = match unquote(right) {
        Some(text) => Value::String(text.to_owned()),
        None => {
            serde_json::from_str(right).map_err(|_| "a filter compares with neither a text nor a number")?
        }
    };
    Ok(Step::Filter { left: left(&text[..at])?, test: Some((compare, wanted)) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_form_leads_where_it_says() {
        let object = json!({"a": {"b.c": 1, "d": [{"n": "x", "v": 1}, {"n": "y", "v": 2}]}});
        let cases = [
            (".a['b.c']", json!([1])),
            (r".a.b\.c", json!([1])),
            ("{.a.d[0].v}", json!([1])),
            (".a.d[-1].v", json!([2])),
            (".a.d[-1:].v", json!([2])),
            (".a.d[:1].v", json!([1])),
            (".a.d[1:9].v", json!([2])),
            (".a.d[2:1].v", json!([])),
            (".a.d[*].v", json!([1, 2])),
            (r#".a.d[?(@.n=="y")].v"#, json!([2])),
            (".a.d[?(@.v>1)].n", json!(["y"])),
            (".a.d[?(@.v)].n", json!(["x", "y"])),
            (".a.d[?(@.v<=1)].n", json!(["x"])),
            (".nothing.at.all", json!([])),
        ];
        for (path, wanted) in cases {
            let found: Vec<Value> =
                JsonPath::parse(path).unwrap().find(&object).into_iter().cloned().collect();
            assert_eq!(Value::Array(found), wanted, "{path}");
        }
        for path in [".a[", ".a..b", ".a[x]", ".a[?(b)]", ".a[?(@.b==c)]"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            if let Ok(path) = JsonPath::parse(&text) {
                path.find(&json!({"a": [1, {"b": "c"}]}));
            }
        }
    }
}
