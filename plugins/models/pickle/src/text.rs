//! The texts of protocol 0, which stand in lines of their own.

/// A text with `\uXXXX` and `\UXXXXXXXX` in it, every other byte being a character of Latin-1.
pub(crate) fn unescape_unicode(line: &[u8]) -> Option<String> {
    let (mut rest, mut found) = (line, String::with_capacity(line.len()));
    while let Some((first, behind)) = rest.split_first() {
        let digits = match (first, behind.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                found.push(char::from(*first));
                rest = behind;
                continue;
            }
        };
        let code = std::str::from_utf8(behind.get(1..1 + digits)?).ok()?;
        found.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        rest = behind.get(1 + digits..)?;
    }
    Some(found)
}

/// Bytes as Python writes them between quotes.
pub(crate) fn unquote(line: &[u8]) -> Option<Vec<u8>> {
    let (quote, behind) = line.trim_ascii().split_first()?;
    let (last, inside) = behind.split_last()?;
    if quote != last || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let (mut rest, mut found) = (inside, Vec::with_capacity(inside.len()));
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'\\' {
            found.push(*first);
            continue;
        }
        let (escaped, behind) = rest.split_first()?;
        rest = behind;
        found.push(match escaped {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let code = std::str::from_utf8(rest.get(..2)?).ok()?;
                rest = rest.get(2..)?;
                u8::from_str_radix(code, 16).ok()?
            }
            b'\\' | b'\'' | b'"' => *escaped,
            _ => return None,
        });
    }
    Some(found)
}

/// The bytes that Latin-1 writes a text with.
pub(crate) fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{latin1, unescape_unicode, unquote};

    #[test]
    fn texts_of_protocol_0_are_read() {
        assert_eq!(unescape_unicode(b"a\\u00e4\\U0001f600\xe4\\n").as_deref(), Some("aä😀ä\\n"));
        assert_eq!(unescape_unicode(b"\\u12"), None);
        assert_eq!(unescape_unicode(b"\\ud800"), None);
        assert_eq!(unquote(br"'a\x00\'\\'").as_deref(), Some(b"a\0'\\".as_slice()));
        assert_eq!(unquote(b"'a"), None);
        assert_eq!(unquote(b"'"), None);
        assert_eq!(latin1("aä"), Some(vec![b'a', 0xe4]));
        assert_eq!(latin1("ω"), None);
    }
}
