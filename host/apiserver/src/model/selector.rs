//! Label and field selectors, parsed from their text forms.
//!
//! Pure; used by lists, watches and deletions of collections.

use purlin_schema::builtin::validation::{key_faults, value_faults};

use crate::status::ApiError;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
    Greater(i64),
    Less(i64),
}

/// Requirements on labels; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels(Vec<(String, Test)>);

impl Labels {
    /// Parses `a=b,c in (d,e),!f`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let mut parser = Parser { rest: text };
        let mut tests = Vec::new();
        loop {
            parser.spaces();
            if parser.rest.is_empty() {
                break;
            }
            if !parser.rest.starts_with('!') && parser.at_symbol() {
                return Err(parser.unexpected("!, identifier, or 'end of string'"));
            }
            tests
                .push(parser.requirement().map_err(|error| error.prefixed("unable to parse requirement: "))?);
            parser.spaces();
            if parser.eat(",") {
                parser.spaces();
                if parser.rest.is_empty() || (parser.at_symbol() && !parser.rest.starts_with('!')) {
                    return Err(parser.unexpected("identifier after ','"));
                }
            } else if !parser.rest.is_empty() {
                return Err(parser.unexpected("',' or 'end of string'"));
            }
        }
        Ok(Self(tests))
    }

    /// Whether the labels that `label` answers fulfil every requirement.
    pub(crate) fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|(name, test)| {
            let value = label(name);
            let numeric = || value.and_then(|value| value.parse::<i64>().ok());
            match test {
                Test::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
                Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::Greater(bound) => numeric().is_some_and(|value| value > *bound),
                Test::Less(bound) => numeric().is_some_and(|value| value < *bound),
            }
        })
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.spaces();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> String {
        self.spaces();
        let end =
            self.rest.find(|c: char| c.is_whitespace() || "=!,()<>".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    /// Whether a symbol comes next, rather than a word or the end.
    fn at_symbol(&self) -> bool {
        self.rest.starts_with(['=', '!', ',', '(', ')', '<', '>'])
    }

    fn unexpected(&self, expected: &str) -> ApiError {
        let found = ["==", "!=", "=", ",", "(", ")", "<", ">", "!"]
            .iter()
            .find(|token| self.rest.starts_with(**token))
            .map_or_else(
                || self.rest.split_whitespace().next().unwrap_or_default().to_owned(),
                |token| (*token).to_owned(),
            );
        ApiError::bad_request(format!("found '{found}', expected: {expected}"))
    }

    fn requirement(&mut self) -> Result<(String, Test), ApiError> {
        if self.eat("!") {
            let name = self.word();
            if name.is_empty() {
                return Err(self.unexpected("identifier"));
            }
            check("<nil>", &name, &key_faults(&name))?;
            return Ok((name, Test::Missing));
        }
        let name = self.word();
        check("<nil>", &name, &key_faults(&name))?;
        self.spaces();
        let test = if self.eat("!=") {
            Test::NotIn(vec![self.word()])
        } else if self.eat("==") || self.eat("=") {
            Test::In(vec![self.word()])
        } else if self.eat(">") {
            Test::Greater(self.bound()?)
        } else if self.eat("<") {
            Test::Less(self.bound()?)
        } else if self.rest.is_empty() || self.rest.starts_with(',') {
            Test::Exists
        } else {
            let unexpected = self.unexpected("in, notin, =, ==, !=, gt, lt");
            match self.word().as_str() {
                "in" => Test::In(self.values()?),
                "notin" => Test::NotIn(self.values()?),
                _ => return Err(unexpected),
            }
        };
        if let Test::In(values) | Test::NotIn(values) = &test {
            for (at, value) in values.iter().enumerate() {
                check(&format!("values[{at}][{name}]"), value, &value_faults(value))?;
            }
        }
        Ok((name, test))
    }

    fn bound(&mut self) -> Result<i64, ApiError> {
        let word = self.word();
        word.parse().map_err(|_| {
            ApiError::bad_request(format!("values[0][]: Invalid value: \"{word}\": for 'Gt', 'Lt' operators, the value must be an integer"))
        })
    }

    fn values(&mut self) -> Result<Vec<String>, ApiError> {
        if !self.eat("(") {
            return Err(self.unexpected("'('"));
        }
        self.spaces();
        if self.rest.is_empty() || (self.at_symbol() && !self.rest.starts_with([',', ')'])) {
            return Err(self.unexpected("',', ')' or identifier"));
        }
        let mut values = vec![self.word()];
        while self.eat(",") {
            values.push(self.word());
        }
        if self.eat(")") { Ok(values) } else { Err(self.unexpected("',' or ')'")) }
    }
}

/// Refuses a key or a value that no label has.
fn check(path: &str, text: &str, faults: &[String]) -> Result<(), ApiError> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("{path}: Invalid value: \"{text}\": {}", faults.join("; "))))
}

/// Requirements on fields: path, whether it must be equal, value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) Vec<(String, bool, String)>);

impl Fields {
    /// Parses `metadata.name=a,status.phase!=b`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        text.split(',')
            .filter(|term| !term.is_empty())
            .map(|term| {
                let split = |by: &str| term.split_once(by);
                let (path, equal, value) = split("!=")
                    .map(|(path, value)| (path, false, value))
                    .or_else(|| split("==").map(|(path, value)| (path, true, value)))
                    .or_else(|| split("=").map(|(path, value)| (path, true, value)))
                    .ok_or_else(|| {
                        ApiError::bad_request(format!(
                            "invalid selector: '{text}'; can't understand '{term}'"
                        ))
                    })?;
                Ok((path.to_owned(), equal, value.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the values that `field` answers fulfil every requirement.
    pub(crate) fn matches(&self, field: impl Fn(&str) -> String) -> bool {
        self.0.iter().all(|(path, equal, value)| (field(path) == *value) == *equal)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(selector: &str, labels: &[(&str, &'static str)]) -> bool {
        let labels = labels.to_vec();
        Labels::parse(selector)
            .expect("valid")
            .matches(|name| labels.iter().find(|(k, _)| *k == name).map(|(_, v)| *v))
    }

    #[test]
    fn requirements_hold_together() {
        let labels = [("a", "b"), ("n", "5")];
        for yes in
            ["", "a=b", "a==b", "a!=c", "a", "!x", "a in (b, c)", "x notin (b)", "n>4", "n<6", "a=b,n=5,!x"]
        {
            assert!(holds(yes, &labels), "{yes}");
        }
        for no in ["a=c", "a!=b", "x", "!a", "a in (c)", "a notin (b)", "n>5", "x>1", "a=b,x"] {
            assert!(!holds(no, &labels), "{no}");
        }
    }

    #[test]
    fn broken_text_is_refused() {
        for text in ["a==b==c", "a in", "a in (b", "=b", "a ~ b", "a>x"] {
            assert_eq!(Labels::parse(text).expect_err(text).code, 400, "{text}");
        }
        assert_eq!(
            Labels::parse("a==b==c").expect_err("refused").message,
            "found '==', expected: ',' or 'end of string'"
        );
        assert!(Fields::parse("nonsense").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = Labels::parse(&text);
            let _ = Fields::parse(&text);
        }
    }
}
