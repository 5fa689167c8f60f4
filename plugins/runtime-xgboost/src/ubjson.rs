//! UBJSON (ubjson.org, draft 12) as XGBoost writes it, read into the same document as JSON.

use purlin_tabular::ModelError;

use crate::document::Node;

/// How deep lists and objects may lie in each other.
const DEPTH: usize = 64;

/// Reads a document.
pub(crate) fn read(content: &[u8]) -> Result<Node, ModelError> {
    let mut reader = Reader { content, at: 0 };
    let marker = reader.marker()?;
    reader.value(marker, 0)
}

struct Reader<'a> {
    content: &'a [u8],
    at: usize,
}

/// Type of the elements and their number, where they are said before them.
#[derive(Default)]
struct Header {
    kind: Option<u8>,
    count: Option<usize>,
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, ModelError> {
        Err(ModelError::malformed(format!("the UBJSON document, byte {}", self.at), reason))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ModelError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.content.len());
        let Some(end) = end else {
            return self.fail(format!("it ends where {length} more bytes are needed"));
        };
        let taken = &self.content[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, ModelError> {
        Ok(self.array::<1>()?[0])
    }

    /// The next marker that means something.
    fn marker(&mut self) -> Result<u8, ModelError> {
        loop {
            match self.byte()? {
                b'N' => {}
                marker => return Ok(marker),
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.content.get(self.at).copied()
    }

    fn number(&mut self, marker: u8) -> Result<Option<f64>, ModelError> {
        Ok(Some(match marker {
            b'i' => f64::from(i8::from_be_bytes(self.array()?)),
            b'U' => f64::from(self.byte()?),
            b'I' => f64::from(i16::from_be_bytes(self.array()?)),
            b'l' => f64::from(i32::from_be_bytes(self.array()?)),
            b'L' => i64::from_be_bytes(self.array()?) as f64,
            b'd' => f64::from(f32::from_be_bytes(self.array()?)),
            b'D' => f64::from_be_bytes(self.array()?),
            _ => return Ok(None),
        }))
    }

    fn length(&mut self) -> Result<usize, ModelError> {
        let marker = self.byte()?;
        match self.number(marker)? {
            Some(length) if length >= 0.0 && length.fract() == 0.0 => Ok(length as usize),
            _ => self.fail("a length is no whole number"),
        }
    }

    fn text(&mut self) -> Result<String, ModelError> {
        let length = self.length()?;
        let text = std::str::from_utf8(self.take(length)?);
        text.map(str::to_owned).or_else(|_| self.fail("a text is not UTF-8"))
    }

    fn value(&mut self, marker: u8, depth: usize) -> Result<Node, ModelError> {
        if depth > DEPTH {
            return self.fail(format!("lists and objects lie more than {DEPTH} deep in each other"));
        }
        if let Some(number) = self.number(marker)? {
            return Ok(Node::Number(number));
        }
        match marker {
            b'Z' => Ok(Node::Null),
            b'T' => Ok(Node::Truth(true)),
            b'F' => Ok(Node::Truth(false)),
            b'S' | b'H' => self.text().map(Node::Text),
            b'C' => self.byte().map(|byte| Node::Text(char::from(byte).to_string())),
            b'[' => self.list(depth),
            b'{' => self.object(depth),
            other => self.fail(format!("{:?} marks no type", char::from(other))),
        }
    }

    fn header(&mut self) -> Result<Header, ModelError> {
        let mut header = Header::default();
        if self.peek() == Some(b'$') {
            self.at += 1;
            header.kind = Some(self.byte()?);
        }
        if self.peek() == Some(b'#') {
            self.at += 1;
            header.count = Some(self.length()?);
        }
        if header.kind.is_some() && header.count.is_none() {
            return self.fail("a type is said for all elements and their number is not");
        }
        // An element takes at least a byte, so that what is said here is bounded by what is there.
        if header.kind.is_some_and(|kind| matches!(kind, b'Z' | b'T' | b'F' | b'N')) {
            return self.fail("elements take no bytes");
        }
        Ok(header)
    }

    fn list(&mut self, depth: usize) -> Result<Node, ModelError> {
        let header = self.header()?;
        if let (Some(kind @ (b'i' | b'U' | b'I' | b'l' | b'L' | b'd' | b'D')), Some(count)) =
            (header.kind, header.count)
        {
            return self.numbers(kind, count);
        }
        let mut items = Vec::new();
        while !self.ends(&header, items.len(), b']') {
            let marker = match header.kind {
                Some(kind) => kind,
                None => self.marker()?,
            };
            items.push(self.value(marker, depth + 1)?);
        }
        Ok(Node::list(items))
    }

    fn numbers(&mut self, kind: u8, count: usize) -> Result<Node, ModelError> {
        let mut numbers = Vec::with_capacity(count.min(self.content.len() - self.at));
        for _ in 0..count {
            numbers.extend(self.number(kind)?);
        }
        Ok(Node::Numbers(numbers))
    }

    fn object(&mut self, depth: usize) -> Result<Node, ModelError> {
        let header = self.header()?;
        let mut members = Vec::new();
        while !self.ends(&header, members.len(), b'}') {
            let name = self.text()?;
            let marker = match header.kind {
                Some(kind) => kind,
                None => self.marker()?,
            };
            members.push((name, self.value(marker, depth + 1)?));
        }
        Ok(Node::Object(members))
    }

    /// Whether a list or object is over, after so many elements. Takes the mark of its end, where it has one.
    fn ends(&mut self, header: &Header, length: usize, mark: u8) -> bool {
        match header.count {
            Some(count) => length >= count,
            None if self.peek() == Some(mark) => {
                self.at += 1;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::document::Node;

    #[test]
    fn plain_and_optimized_forms_are_read() {
        let content =
            b"{U\x01a[$d#U\x02\x3f\x80\0\0\x40\0\0\0U\x01b[i\xffTSU\x01x]U\x01c{}U\x01d[#L\0\0\0\0\0\0\0\0}";
        let node = read(content).expect("a document");
        assert_eq!(node.numbers("a"), Ok([1.0, 2.0].as_slice()));
        let items = [Node::Number(-1.0), Node::Truth(true), Node::Text("x".to_owned())];
        assert_eq!(node.items("b"), Ok(items.as_slice()));
        assert_eq!(node.member("c"), Ok(&Node::Object(Vec::new())));
        assert_eq!(node.numbers("d"), Ok([].as_slice()));
    }

    #[test]
    fn what_would_cost_without_bound_is_refused() {
        let deep = [b"[".repeat(100), b"]".repeat(100)].concat();
        for content in
            [b"[$Z#L\x7f\xff\xff\xff\xff\xff\xff\xff".to_vec(), b"[$d#L\x7f\0\0\0\0\0\0\0".to_vec(), deep]
        {
            assert!(read(&content).is_err(), "{content:?}");
        }
    }
}
