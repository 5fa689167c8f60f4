//! Katib's success and failure conditions, which are GJSON paths into the object that a trial runs, as CEL.
//!
//! Katib takes a condition for met when the path yields an object, or a list that is not empty. These forms can be met so,
//! and are translated:
//!
//! | GJSON | CEL |
//! |---|---|
//! | `status.conditions.#(type=="Complete")#\|#(status=="True")#` | `object.status.conditions.exists(c, c.type == "Complete" && c.status == "True")` |
//! | `status.conditions.#(type=="Complete")` | `object.status.conditions.exists(c, c.type == "Complete")` |
//! | `status.[@this].#(phase=="Succeeded")#` | `object.status.phase == "Succeeded"` |
//!
//! A query compares a field (`a.b`) with `==`, `!=`, `<`, `<=`, `>`, `>=`, `%` (like) or `!%` (not like) to a string, a
//! number, `true`, `false` or `null`; any number of queries may follow each other with `|`. All else (modifiers,
//! projections, nested queries) is refused, with the place.

use std::fmt::Write as _;

/// Why a condition cannot be translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GjsonError {
    reason: String,
    rest: String,
}

impl std::fmt::Display for GjsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.reason)?;
        if !self.rest.is_empty() {
            write!(f, ", at `{}`", self.rest)?;
        }
        write!(f, "; write it as status.conditions.#(type==\"Complete\")#|#(status==\"True\")#")
    }
}

impl std::error::Error for GjsonError {}

/// One comparison of a query.
struct Comparison {
    field: Vec<String>,
    operator: Operator,
    /// A CEL literal, or the pattern of a like.
    operand: Operand,
}

#[derive(Clone, Copy)]
enum Operator {
    Compare(&'static str),
    Like,
    NotLike,
}

enum Operand {
    Text(String),
    Literal(String),
}

/// The CEL expression over `object` for a condition.
///
/// # Errors
/// When the condition is not one of the forms above.
pub fn to_cel(condition: &str) -> Result<String, GjsonError> {
    let mut parser = Parser { rest: condition.trim() };
    let (path, this) = parser.path()?;
    let mut comparisons = vec![parser.query()?];
    while parser.take("|") {
        comparisons.push(parser.query()?);
    }
    if !parser.rest.is_empty() {
        return Err(parser.error("nothing can follow a query but `|` and another query"));
    }
    let list = select("object", &path);
    if this {
        let terms: Vec<String> = comparisons.iter().map(|comparison| comparison.cel(&list, true)).collect();
        return Ok(terms.join(" && "));
    }
    let terms: Vec<String> = comparisons.iter().map(|comparison| comparison.cel("c", false)).collect();
    Ok(format!("{list}.exists(c, {})", terms.join(" && ")))
}

impl Comparison {
    /// The comparison of a field of `root`. An element of a list may lack a field that its neighbours have, which must
    /// not decide for them; `type` and `status` are in every condition.
    fn cel(&self, root: &str, single: bool) -> String {
        let field = select(root, &self.field);
        let comparison = match (self.operator, &self.operand) {
            (Operator::Compare(operator), Operand::Text(text)) => {
                format!("{field} {operator} {}", quoted(text))
            }
            (Operator::Compare(operator), Operand::Literal(literal)) => {
                format!("{field} {operator} {literal}")
            }
            (Operator::Like, operand) => format!("{field}.matches({})", quoted(&pattern(operand))),
            (Operator::NotLike, operand) => format!("!{field}.matches({})", quoted(&pattern(operand))),
        };
        let always = matches!(self.field.as_slice(), [name] if name == "type" || name == "status");
        if single || always || !self.field.iter().all(|name| is_identifier(name)) {
            comparison
        } else {
            format!("has({field}) && {comparison}")
        }
    }
}

/// `root.a.b`, with brackets for names that CEL cannot select with a dot.
fn select(root: &str, names: &[String]) -> String {
    names.iter().fold(root.to_owned(), |mut path, name| {
        if is_identifier(name) {
            path.push('.');
            path.push_str(name);
        } else {
            path.push('[');
            path.push_str(&quoted(name));
            path.push(']');
        }
        path
    })
}

fn is_identifier(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ];
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !RESERVED.contains(&name)
}

/// A CEL string literal.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => literal.extend(['\\', letter]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            // Writing to a String cannot fail.
            letter if letter.is_control() => drop(write!(literal, "\\u{:04x}", u32::from(letter))),
            letter => literal.push(letter),
        }
    }
    literal.push('"');
    literal
}

/// The regular expression for a pattern in which `*` stands for any text and `?` for one character.
fn pattern(operand: &Operand) -> String {
    let (Operand::Text(text) | Operand::Literal(text)) = operand;
    let mut expression = String::from("^");
    for letter in text.chars() {
        match letter {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            letter if letter.is_alphanumeric() || letter == '_' || letter == ' ' => expression.push(letter),
            letter => expression.extend(['\\', letter]),
        }
    }
    expression.push('$');
    expression
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn error(&self, reason: impl Into<String>) -> GjsonError {
        GjsonError { reason: reason.into(), rest: self.rest.chars().take(60).collect() }
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// The names before the first query, and whether the last step was `[@this]`, which makes a list of the value.
    fn path(&mut self) -> Result<(Vec<String>, bool), GjsonError> {
        let mut names = Vec::new();
        loop {
            if self.rest.starts_with("#(") {
                return Ok((names, false));
            }
            if self.take("[@this]") {
                if self.take(".") || self.take("|") {
                    return Ok((names, true));
                }
                return Err(self.error("a query must follow [@this]"));
            }
            names.push(self.name(&['.', '|'])?);
            if !self.take(".") && !self.take("|") {
                return Err(self.error("a condition needs a query, `#(field==\"value\")#`"));
            }
        }
    }

    /// A name up to one of the characters that end it; `\` takes the next character as it is.
    fn name(&mut self, ends: &[char]) -> Result<String, GjsonError> {
        let mut name = String::new();
        let mut letters = self.rest.char_indices();
        let mut length = self.rest.len();
        while let Some((index, letter)) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some((_, escaped)) => name.push(escaped),
                    None => return Err(self.error("a backslash at the end")),
                },
                letter if ends.contains(&letter) => {
                    length = index;
                    break;
                }
                '*' | '?' | '#' | '@' | '[' | ']' | '{' | '}' | '(' | ')' | '"' => {
                    return Err(self.error(format!("`{letter}` is not supported in a path")));
                }
                letter => name.push(letter),
            }
        }
        if name.is_empty() {
            return Err(self.error("a name is missing"));
        }
        self.rest = &self.rest[length..];
        Ok(name)
    }

    /// `#(field op value)` with or without the `#` that asks for all and not the first: either is met by one.
    fn query(&mut self) -> Result<Comparison, GjsonError> {
        if !self.take("#(") {
            return Err(self.error("expected a query, `#(field==\"value\")#`"));
        }
        let mut field = Vec::new();
        loop {
            self.skip_space();
            field.push(self.name(&['.', '=', '!', '<', '>', '%', ' '])?);
            if !self.take(".") {
                break;
            }
        }
        self.skip_space();
        let operator = self.operator()?;
        self.skip_space();
        let operand = self.operand()?;
        self.skip_space();
        if !self.take(")") {
            return Err(self.error("the query is not closed"));
        }
        let all = self.take("#");
        if !all && self.rest.starts_with('|') {
            return Err(self.error("a query on the first match only must be the last; add `#` after its `)`"));
        }
        Ok(Comparison { field, operator, operand })
    }

    fn operator(&mut self) -> Result<Operator, GjsonError> {
        // Longer ones first; `=` is GJSON's older spelling of `==`.
        for (token, operator) in [
            ("==", Operator::Compare("==")),
            ("!=", Operator::Compare("!=")),
            ("!%", Operator::NotLike),
            ("<=", Operator::Compare("<=")),
            (">=", Operator::Compare(">=")),
            ("=", Operator::Compare("==")),
            ("<", Operator::Compare("<")),
            (">", Operator::Compare(">")),
            ("%", Operator::Like),
        ] {
            if self.take(token) {
                return Ok(operator);
            }
        }
        Err(self.error("expected a comparison such as `==`"))
    }

    fn operand(&mut self) -> Result<Operand, GjsonError> {
        if let Some(text) = self.rest.strip_prefix('"') {
            let mut value = String::new();
            let mut letters = text.char_indices();
            while let Some((index, letter)) = letters.next() {
                match letter {
                    '"' => {
                        self.rest = &text[index + 1..];
                        return Ok(Operand::Text(value));
                    }
                    '\\' => match letters.next() {
                        Some((_, escaped)) => value.push(escaped),
                        None => break,
                    },
                    letter => value.push(letter),
                }
            }
            return Err(self.error("the text is not closed"));
        }
        let end = self.rest.find([')', ' ']).unwrap_or(self.rest.len());
        let (literal, rest) = self.rest.split_at(end);
        let number = literal.parse::<f64>().is_ok_and(f64::is_finite)
            && literal.starts_with(|first: char| first.is_ascii_digit() || first == '-');
        if number || matches!(literal, "true" | "false" | "null") {
            self.rest = rest;
            return Ok(Operand::Literal(literal.to_owned()));
        }
        Err(self.error("expected a text in double quotes, a number, true, false or null"))
    }
}
