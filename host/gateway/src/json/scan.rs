//! A cursor over JSON text. It reads exactly what RFC 8259 allows, and says where and why it does not go on.

use std::borrow::Cow;

use super::DEPTH;

/// Why a text is not read further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {what}")]
pub(crate) struct SyntaxError {
    /// Where, from the beginning of the text.
    pub(crate) at: usize,
    /// What stands there, and what would be right.
    pub(crate) what: Cow<'static, str>,
}

/// The cursor.
#[derive(Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// A number as it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    /// Follows the grammar of JSON.
    pub(crate) text: &'a str,
    /// Whether it has neither a fraction nor an exponent.
    pub(crate) whole: bool,
}

impl<'a> Scanner<'a> {
    /// At the beginning of a text.
    ///
    /// # Errors
    /// The text is not UTF-8.
    pub(crate) fn new(text: &'a [u8]) -> Result<Scanner<'a>, SyntaxError> {
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Scanner { text, at: 0 }),
            Err(error) => {
                Err(SyntaxError { at: error.valid_up_to(), what: "the text is not UTF-8 here".into() })
            }
        }
    }

    /// Where the cursor is.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// How much is left.
    pub(crate) fn remaining(&self) -> usize {
        self.text.len() - self.at
    }

    /// Another cursor over the same text.
    pub(crate) fn moved_to(&self, at: usize) -> Scanner<'a> {
        Scanner { text: self.text, at }
    }

    /// An error at the cursor.
    pub(crate) fn error(&self, what: impl Into<Cow<'static, str>>) -> SyntaxError {
        SyntaxError { at: self.at, what: what.into() }
    }

    /// The next byte that is no white space; the cursor stands before it.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes the byte if it comes next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes the byte, which must come next.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), SyntaxError> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(&format!("`{}`", byte as char))) }
    }

    /// Nothing but white space may be left.
    pub(crate) fn end(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end of the text")),
        }
    }

    /// An error that says what stands at the cursor and what should.
    pub(crate) fn unexpected(&mut self, wanted: &str) -> SyntaxError {
        if self.peek().is_none() {
            return self.error(format!("the text ends where {wanted} is expected"));
        }
        let rest = &self.text[self.at..];
        if ["NaN", "Infinity", "-Infinity", "Inf", "-Inf", "nan", "inf", "-inf"]
            .iter()
            .any(|word| rest.starts_with(word))
        {
            return self.error(
                "JSON has no NaN or infinite numbers; send the tensor as binary data (binary_data_size) or leave \
                 such values out",
            );
        }
        let found: String = rest.chars().take(12).collect();
        self.error(format!("{found:?} stands where {wanted} is expected"))
    }

    /// A string.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        if !self.take(b'"') {
            return Err(self.unexpected("a string"));
        }
        let bytes = self.text.as_bytes();
        let start = self.at;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
                }
                b'\\' => return self.escaped(start).map(Cow::Owned),
                0..0x20 => return Err(self.error("a control character in a string; write it as \\u00XX")),
                _ => self.at += 1,
            }
        }
        Err(self.error("the text ends within a string"))
    }

    /// The rest of a string whose first escape is at the cursor.
    fn escaped(&mut self, start: usize) -> Result<String, SyntaxError> {
        let bytes = self.text.as_bytes();
        let mut out = String::from(&self.text[start..self.at]);
        let mut plain = self.at;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    out.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => {
                    out.push_str(&self.text[plain..self.at]);
                    out.push(self.escape()?);
                    plain = self.at;
                }
                0..0x20 => return Err(self.error("a control character in a string; write it as \\u00XX")),
                _ => self.at += 1,
            }
        }
        Err(self.error("the text ends within a string"))
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let kind = self.text.as_bytes().get(self.at + 1).copied();
        let simple = match kind {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.error("an unknown escape in a string")),
        };
        self.at += 2;
        Ok(simple)
    }

    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let wrong = self.error("\\u wants four hexadecimal digits that make up a character");
        let high = self.hex().ok_or_else(|| wrong.clone())?;
        let code = match high {
            0xd800..0xdc00 => {
                let low = self.hex().ok_or_else(|| wrong.clone())?;
                if !(0xdc00..0xe000).contains(&low) {
                    return Err(wrong);
                }
                0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or(wrong)
    }

    /// `\uXXXX`, as a number.
    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 6)?.strip_prefix(b"\\u")?;
        let mut code = 0;
        for digit in digits {
            code = code * 16 + (*digit as char).to_digit(16)?;
        }
        self.at += 6;
        Some(code)
    }

    /// A number.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<Number<'a>, SyntaxError> {
        self.peek();
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        match bytes.get(at) {
            Some(b'0') => at += 1,
            Some(b'1'..=b'9') => at = digits(at + 1),
            _ => return Err(self.unexpected("a number")),
        }
        let mut whole = true;
        if bytes.get(at) == Some(&b'.') {
            whole = false;
            let behind = digits(at + 1);
            if behind == at + 1 {
                return Err(self.unexpected("a number with digits behind its point"));
            }
            at = behind;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            whole = false;
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let behind = digits(at + 1 + sign);
            if behind == at + 1 + sign {
                return Err(self.unexpected("a number with digits in its exponent"));
            }
            at = behind;
        }
        if bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric()) {
            return Err(self.unexpected("a number"));
        }
        self.at = at;
        Ok(Number { text: &self.text[start..at], whole })
    }

    /// One of the words `true`, `false` and `null`.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), SyntaxError> {
        self.peek();
        let behind = self.at + word.len();
        let ends = !self.text.as_bytes().get(behind).is_some_and(u8::is_ascii_alphanumeric);
        if self.text[self.at..].starts_with(word) && ends {
            self.at = behind;
            return Ok(());
        }
        Err(self.unexpected("a value"))
    }

    /// Members of an object; the function reads each one's value.
    pub(crate) fn object<E: From<SyntaxError>>(
        &mut self,
        mut member: impl FnMut(&mut Scanner<'a>, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.take(b'{') {
            return Err(self.unexpected("an object").into());
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            member(self, &key)?;
            if self.take(b',') {
                continue;
            }
            if self.take(b'}') {
                return Ok(());
            }
            return Err(self.unexpected("`,` or `}`").into());
        }
    }

    /// Elements of an array; the function reads each.
    pub(crate) fn array<E: From<SyntaxError>>(
        &mut self,
        mut element: impl FnMut(&mut Scanner<'a>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.take(b'[') {
            return Err(self.unexpected("an array").into());
        }
        if self.take(b']') {
            return Ok(());
        }
        for index in 0.. {
            element(self, index)?;
            if self.take(b',') {
                continue;
            }
            if self.take(b']') {
                break;
            }
            return Err(self.unexpected("`,` or `]`").into());
        }
        Ok(())
    }

    /// Any value, which is checked and left out.
    pub(crate) fn skip(&mut self) -> Result<(), SyntaxError> {
        self.skip_nested(DEPTH)
    }

    fn skip_nested(&mut self, depth: usize) -> Result<(), SyntaxError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(self.error(format!("nested deeper than {DEPTH}")));
        };
        match self.peek() {
            Some(b'{') => self.object(|scanner, _| scanner.skip_nested(depth)),
            Some(b'[') => self.array(|scanner, _| scanner.skip_nested(depth)),
            Some(b'"') => self.string().map(drop),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ => Err(self.unexpected("a value")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::Scanner;

    fn valid(text: &[u8]) -> bool {
        Scanner::new(text)
            .and_then(|mut scanner| {
                scanner.skip()?;
                scanner.end()
            })
            .is_ok()
    }

    #[test]
    fn what_json_allows_is_read_and_nothing_else() {
        for text in ["0", "-0.5e+10", "[]", "{ }", r#"{"a":[1,2.5,{"b":null}],"c":"\u00e9\ud83d\ude00"}"#] {
            assert!(valid(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "NaN",
            "-Infinity",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "'a'",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"a",
            "1 2",
            "tru",
            "nulll",
            "\"\n\"",
            "[1 2]",
            "1x",
        ] {
            assert!(!valid(text.as_bytes()), "{text}");
        }
        assert!(!valid(b"\"\xff\""));
        assert!(!valid("[".repeat(100_000).as_bytes()));
    }

    #[test]
    fn strings_are_unescaped() {
        let text = r#""a\"\\\/\b\f\n\r\té\ud83d\ude00z""#;
        let read = Scanner::new(text.as_bytes()).unwrap().string().unwrap();
        assert_eq!(read, serde_json::from_str::<String>(text).unwrap());
    }

    #[test]
    fn what_is_not_a_number_in_json_is_named() {
        let error = Scanner::new(b" NaN").unwrap().number().unwrap_err();
        assert!(error.to_string().contains("no NaN"), "{error}");
        let error = Scanner::new(b"-Infinity").unwrap().number().unwrap_err();
        assert!(error.to_string().contains("no NaN"), "{error}");
    }

    proptest! {
        #[test]
        fn the_scanner_agrees_with_serde(text in r#"[\[\]{}":, 0-9a-z.eE+\\-]{0,24}"#) {
            // A number beyond f64 is none for serde_json; here, the datatype decides.
            prop_assume!(!text.contains(['e', 'E']));
            prop_assert_eq!(valid(text.as_bytes()), serde_json::from_str::<Value>(&text).is_ok());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            valid(&bytes);
        }
    }
}
