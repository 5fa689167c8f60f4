//! Metrics in lines of text: `accuracy=0.93`, wherever it stands in the line.

use regex::{Regex, RegexBuilder};

/// What is looked for without a filter: a name, an equals sign and a number.
const DEFAULT_FILTER: &str = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)";
/// A user's expression may not compile to more than this.
const EXPRESSION_SIZE: usize = 1 << 20;

/// Why a filter cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{filter}` cannot be used as a metrics filter: {why}; write a regular expression with two groups, name and value"
)]
pub struct FilterError {
    filter: String,
    why: String,
}

/// Finds names and values by regular expressions.
#[derive(Debug)]
pub(super) struct TextFilter {
    expressions: Vec<Regex>,
}

impl TextFilter {
    pub(super) fn new(filters: &[String]) -> Result<Self, FilterError> {
        let default = [DEFAULT_FILTER.to_owned()];
        let filters = if filters.is_empty() { &default } else { filters };
        Ok(TextFilter {
            expressions: filters.iter().map(|filter| compile(filter)).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn read_line(&self, line: &str, found: &mut impl FnMut(&str, &str)) {
        for expression in &self.expressions {
            for groups in expression.captures_iter(line) {
                if let (Some(name), Some(value)) = (groups.get(1), groups.get(2)) {
                    found(name.as_str().trim(), value.as_str().trim());
                }
            }
        }
    }
}

fn compile(filter: &str) -> Result<Regex, FilterError> {
    let wrong = |why: String| FilterError { filter: filter.to_owned(), why };
    let expression = RegexBuilder::new(filter)
        .size_limit(EXPRESSION_SIZE)
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    if expression.captures_len() < 3 {
        return Err(wrong(format!("it has {} groups", expression.captures_len() - 1)));
    }
    Ok(expression)
}

#[cfg(test)]
mod tests {
    use super::TextFilter;

    fn read(filters: &[&str], line: &str) -> Vec<(String, String)> {
        let filters: Vec<_> = filters.iter().map(|filter| (*filter).to_owned()).collect();
        let mut found = Vec::new();
        TextFilter::new(&filters).unwrap().read_line(line, &mut |name, value| {
            found.push((name.to_owned(), value.to_owned()));
        });
        found
    }

    #[test]
    fn numbers_are_found_as_they_were_printed() {
        let found = read(&[], "2024-05-01T10:00:00Z INFO Validation-accuracy=0.930 loss = -1.5e-3 step=12");
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("Validation-accuracy", "0.930"), ("loss", "-1.5e-3"), ("step", "12")]);
    }

    #[test]
    fn a_user_s_filter_replaces_the_default() {
        assert_eq!(read(&[r"(\w+): (\d+)"], "a: 1 b=2"), [("a".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_filter_without_two_groups_is_refused() {
        for filter in ["(a)", "plain", "(", "(a{1000}{1000}{1000})(b)"] {
            assert!(TextFilter::new(&[filter.to_owned()]).is_err(), "{filter}");
        }
    }
}
