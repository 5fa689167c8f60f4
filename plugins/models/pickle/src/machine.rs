//! The stack machine.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use crate::call::is_wrapper;
use crate::error::Error;
use crate::opcode as op;
use crate::text::{unescape_unicode, unquote};
use crate::value::{Bytes, Id, Object, Value};
use crate::{Limits, call};

/// How deep pickles may lie in pickles, as joblib puts arrays of objects.
const DEPTH: usize = 8;

/// Bytes that may be copied for each of the pickle's.
const COPIES: usize = 16;

/// Runs a pickle. What is built stays when one pickle within another ends.
pub(crate) struct Machine<'a> {
    pub(crate) source: &'a [u8],
    pub(crate) at: usize,
    values: Vec<Value>,
    limits: Limits,
    /// Bytes that were made, not only referred to.
    made: usize,
    depth: usize,
    none: Option<Id>,
}

/// The stack and memo of one pickle.
#[derive(Default)]
struct Frame {
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: BTreeMap<u64, Id>,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(source: &'a [u8], limits: Limits) -> Self {
        Machine { source, at: 0, values: Vec::new(), limits, made: 0, depth: 0, none: None }
    }

    pub(crate) fn into_values(self) -> Vec<Value> {
        self.values
    }

    pub(crate) fn value(&self, id: Id) -> &Value {
        &self.values[id.index()]
    }

    pub(crate) fn put(&mut self, id: Id, value: Value) {
        self.values[id.index()] = value;
    }

    pub(crate) fn fail<T>(&self, reason: impl Into<String>) -> Result<T, Error> {
        Err(Error::Malformed { offset: self.at, reason: reason.into() })
    }

    pub(crate) fn make(&mut self, value: Value) -> Result<Id, Error> {
        if self.values.len() >= self.limits.values {
            return Err(Error::Limit { what: "values", limit: self.limits.values });
        }
        let id = Id::new(self.values.len());
        let id = id.ok_or(Error::Limit { what: "values", limit: self.limits.values })?;
        self.values.push(value);
        Ok(id)
    }

    /// Counts bytes that are copied: what is remembered can be copied by each of many short instructions. Pickles that were
    /// written to be read copy a few for each of their own.
    pub(crate) fn count(&mut self, bytes: usize) -> Result<(), Error> {
        self.made = self.made.saturating_add(bytes);
        let limit = self.source.len().saturating_mul(COPIES).saturating_add(1 << 20);
        if self.made > limit {
            return Err(Error::Limit { what: "bytes that are copied", limit });
        }
        Ok(())
    }

    /// Bytes that do not lie in the source.
    pub(crate) fn make_bytes(&mut self, bytes: Vec<u8>) -> Result<Bytes, Error> {
        self.count(bytes.len())?;
        Ok(Bytes::Own(bytes.into()))
    }

    pub(crate) fn bytes<'b>(&'b self, bytes: &'b Bytes) -> &'b [u8] {
        match bytes {
            Bytes::Source(range) => &self.source[range.clone()],
            Bytes::Own(bytes) => bytes,
        }
    }

    /// The next bytes of the source.
    pub(crate) fn take(&mut self, length: usize) -> Result<Range<usize>, Error> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.source.len());
        let Some(end) = end else {
            let left = self.source.len() - self.at;
            return self.fail(format!("it ends where {length} more bytes are needed, after {left}"));
        };
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        let range = self.take(1)?;
        Ok(self.source[range.start])
    }

    fn little<const N: usize>(&mut self) -> Result<u64, Error> {
        let range = self.take(N)?;
        let mut number = [0; 8];
        number[..N].copy_from_slice(&self.source[range]);
        Ok(u64::from_le_bytes(number))
    }

    fn length<const N: usize>(&mut self) -> Result<usize, Error> {
        let length = self.little::<N>()?;
        usize::try_from(length).or_else(|_| self.fail(format!("a length of {length}")))
    }

    /// A line, without its end.
    fn line(&mut self) -> Result<&'a [u8], Error> {
        let rest = &self.source[self.at..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return self.fail("a line has no end");
        };
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn line_text(&mut self) -> Result<&'a str, Error> {
        let line = self.line()?;
        std::str::from_utf8(line).or_else(|_| self.fail("a line is not UTF-8"))
    }

    fn text(&mut self, length: usize) -> Result<Value, Error> {
        let range = self.take(length)?;
        match std::str::from_utf8(&self.source[range]) {
            Ok(text) => Ok(Value::Text(text.into())),
            Err(_) => self.fail("a text is not UTF-8"),
        }
    }

    /// Runs the pickle that starts here to its end.
    pub(crate) fn run(&mut self) -> Result<Id, Error> {
        if self.depth >= DEPTH {
            return Err(Error::Limit { what: "pickles within each other", limit: DEPTH });
        }
        self.depth += 1;
        let mut frame = Frame::default();
        let root = loop {
            if let Some(root) = self.step(&mut frame)? {
                break root;
            }
        };
        self.depth -= 1;
        Ok(root)
    }

    /// One instruction. Gives what the pickle is, after the last.
    fn step(&mut self, frame: &mut Frame) -> Result<Option<Id>, Error> {
        let offset = self.at;
        let opcode = self.byte()?;
        let pushed = match opcode {
            op::STOP => return self.pop(frame).map(Some),
            op::PROTO => {
                let version = self.byte()?;
                if version > 5 {
                    return self.fail(format!("protocol {version}; 0 to 5 are read"));
                }
                return Ok(None);
            }
            op::FRAME => {
                self.take(8)?;
                return Ok(None);
            }
            op::MARK => {
                frame.marks.push(frame.stack.len());
                return Ok(None);
            }
            op::POP => {
                // Above a mark it takes the mark itself.
                if frame.marks.last() == Some(&frame.stack.len()) {
                    frame.marks.pop();
                } else {
                    self.pop(frame)?;
                }
                return Ok(None);
            }
            op::POP_MARK => {
                self.above_mark(frame)?;
                return Ok(None);
            }
            op::DUP => {
                let top = self.top(frame)?;
                frame.stack.push(top);
                return Ok(None);
            }
            op::PUT | op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => {
                let index = match opcode {
                    op::PUT => self.decimal()?,
                    op::BINPUT => self.little::<1>()?,
                    op::LONG_BINPUT => self.little::<4>()?,
                    _ => frame.memo.len() as u64,
                };
                let top = self.top(frame)?;
                self.count(size_of::<(u64, Id)>())?;
                frame.memo.insert(index, top);
                return Ok(None);
            }
            op::GET | op::BINGET | op::LONG_BINGET => {
                let index = match opcode {
                    op::GET => self.decimal()?,
                    op::BINGET => self.little::<1>()?,
                    _ => self.little::<4>()?,
                };
                let Some(found) = frame.memo.get(&index) else {
                    return self.fail(format!("nothing was remembered as {index}"));
                };
                frame.stack.push(*found);
                return Ok(None);
            }
            op::APPEND | op::APPENDS | op::ADDITEMS => {
                let items = match opcode {
                    op::APPEND => vec![self.pop(frame)?],
                    _ => self.above_mark(frame)?,
                };
                let into = self.top(frame)?;
                self.append(into, items)?;
                return Ok(None);
            }
            op::SETITEM | op::SETITEMS => {
                let items = match opcode {
                    op::SETITEM => {
                        let value = self.pop(frame)?;
                        vec![self.pop(frame)?, value]
                    }
                    _ => self.above_mark(frame)?,
                };
                let entries = self.pairs(&items)?;
                let into = self.top(frame)?;
                self.set_entries(into, entries)?;
                return Ok(None);
            }
            op::BUILD => {
                let state = self.pop(frame)?;
                let object = self.top(frame)?;
                call::build(self, object, state)?;
                return Ok(None);
            }
            op::NONE => {
                let none = match self.none {
                    Some(none) => none,
                    None => self.make(Value::None)?,
                };
                self.none = Some(none);
                frame.stack.push(none);
                return Ok(None);
            }
            op::REDUCE => {
                let arguments = self.pop(frame)?;
                let function = self.pop(frame)?;
                call::reduce(self, function, arguments)?
            }
            op::NEWOBJ | op::NEWOBJ_EX => {
                if opcode == op::NEWOBJ_EX {
                    self.pop(frame)?;
                }
                let arguments = self.pop(frame)?;
                let class = self.pop(frame)?;
                object(class, arguments)
            }
            op::OBJ | op::INST => {
                let class = if opcode == op::INST { Some(self.global_lines()?) } else { None };
                let mut arguments = self.above_mark(frame)?;
                let class = match class {
                    Some(class) => self.make(class)?,
                    None if arguments.is_empty() => return self.fail("an object without a class"),
                    None => arguments.remove(0),
                };
                let arguments = self.make(Value::Tuple(arguments))?;
                object(class, arguments)
            }
            op::GLOBAL => self.global_lines()?,
            op::STACK_GLOBAL => {
                let name = self.pop(frame)?;
                let module = self.pop(frame)?;
                let (Value::Text(module), Value::Text(name)) = (self.value(module), self.value(name)) else {
                    return self.fail("the name of a class is no text");
                };
                Value::Class { module: Rc::clone(module), name: Rc::clone(name) }
            }
            op::TUPLE | op::LIST | op::FROZENSET => {
                let items = self.above_mark(frame)?;
                match opcode {
                    op::TUPLE => Value::Tuple(items),
                    op::LIST => Value::List(items),
                    _ => Value::Set(items),
                }
            }
            op::DICT => {
                let items = self.above_mark(frame)?;
                Value::Dictionary(self.pairs(&items)?)
            }
            op::EMPTY_TUPLE => Value::Tuple(Vec::new()),
            op::EMPTY_LIST => Value::List(Vec::new()),
            op::EMPTY_DICT => Value::Dictionary(Vec::new()),
            op::EMPTY_SET => Value::Set(Vec::new()),
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                let mut items = Vec::with_capacity(3);
                for _ in op::TUPLE1..=opcode {
                    items.push(self.pop(frame)?);
                }
                items.reverse();
                Value::Tuple(items)
            }
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::INT => match self.line_text()?.trim() {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => self.integer(digits)?,
            },
            op::LONG => {
                let line = self.line_text()?.trim();
                self.integer(line.strip_suffix('L').unwrap_or(line))?
            }
            op::BININT => Value::Integer(i64::from(self.little::<4>()? as u32 as i32)),
            op::BININT1 => Value::Integer(self.little::<1>()? as i64),
            op::BININT2 => Value::Integer(self.little::<2>()? as i64),
            op::LONG1 | op::LONG4 => {
                let length = if opcode == op::LONG1 { self.length::<1>()? } else { self.length::<4>()? };
                let range = self.take(length)?;
                long(&self.source[range])
            }
            op::FLOAT => {
                let line = self.line_text()?.trim();
                match line.parse() {
                    Ok(number) => Value::Float(number),
                    Err(_) => return self.fail(format!("{line:?} is no number")),
                }
            }
            op::BINFLOAT => Value::Float(f64::from_bits(self.little::<8>()?.swap_bytes())),
            op::STRING => {
                let line = self.line()?;
                let Some(bytes) = unquote(line) else { return self.fail("a string is not between quotes") };
                self.python2_string(bytes)?
            }
            op::BINSTRING | op::SHORT_BINSTRING => {
                let length = if opcode == op::BINSTRING { self.length::<4>()? } else { self.length::<1>()? };
                let range = self.take(length)?;
                match std::str::from_utf8(&self.source[range.clone()]) {
                    Ok(text) => Value::Text(text.into()),
                    Err(_) => Value::Bytes(Bytes::Source(range)),
                }
            }
            op::UNICODE => {
                let line = self.line()?;
                match unescape_unicode(line) {
                    Some(text) => Value::Text(text.into()),
                    None => return self.fail("a text has an escape that is none"),
                }
            }
            op::SHORT_BINUNICODE => {
                let length = self.length::<1>()?;
                self.text(length)?
            }
            op::BINUNICODE => {
                let length = self.length::<4>()?;
                self.text(length)?
            }
            op::BINUNICODE8 => {
                let length = self.length::<8>()?;
                self.text(length)?
            }
            op::SHORT_BINBYTES | op::BINBYTES | op::BINBYTES8 | op::BYTEARRAY8 => {
                let length = match opcode {
                    op::SHORT_BINBYTES => self.length::<1>()?,
                    op::BINBYTES => self.length::<4>()?,
                    _ => self.length::<8>()?,
                };
                Value::Bytes(Bytes::Source(self.take(length)?))
            }
            op::PERSID | op::BINPERSID => {
                return Err(Error::Opcode {
                    opcode,
                    offset,
                    reason: "refers to an object outside the pickle",
                });
            }
            op::EXT1 | op::EXT2 | op::EXT4 => {
                let reason = "refers to a registry of extensions that only the writer has";
                return Err(Error::Opcode { opcode, offset, reason });
            }
            op::NEXT_BUFFER | op::READONLY_BUFFER => {
                let reason = "refers to a buffer outside the pickle; write it without buffer_callback";
                return Err(Error::Opcode { opcode, offset, reason });
            }
            _ => return Err(Error::Opcode { opcode, offset, reason: "is none of a pickle's" }),
        };
        let id = self.make(pushed)?;
        frame.stack.push(id);
        Ok(None)
    }

    /// A module and a name, a line each.
    fn global_lines(&mut self) -> Result<Value, Error> {
        let (module, name) = (self.line_text()?, self.line_text()?);
        Ok(Value::Class { module: module.into(), name: name.into() })
    }

    fn python2_string(&mut self, bytes: Vec<u8>) -> Result<Value, Error> {
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(text.into())),
            Err(error) => self.make_bytes(error.into_bytes()).map(Value::Bytes),
        }
    }

    fn decimal(&mut self) -> Result<u64, Error> {
        let line = self.line_text()?.trim();
        line.parse().or_else(|_| self.fail(format!("{line:?} is no index")))
    }

    fn integer(&self, digits: &str) -> Result<Value, Error> {
        if let Ok(number) = digits.parse() {
            return Ok(Value::Integer(number));
        }
        let unsigned = digits.strip_prefix('-').unwrap_or(digits);
        if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.fail("a whole number has other characters than digits");
        }
        Ok(Value::Huge)
    }

    fn top(&self, frame: &Frame) -> Result<Id, Error> {
        let floor = frame.marks.last().copied().unwrap_or(0);
        match frame.stack.last() {
            Some(top) if frame.stack.len() > floor => Ok(*top),
            _ => self.fail("the stack is empty"),
        }
    }

    fn pop(&self, frame: &mut Frame) -> Result<Id, Error> {
        let top = self.top(frame)?;
        frame.stack.pop();
        Ok(top)
    }

    fn above_mark(&self, frame: &mut Frame) -> Result<Vec<Id>, Error> {
        match frame.marks.pop() {
            Some(mark) => Ok(frame.stack.split_off(mark)),
            None => self.fail("there is no mark"),
        }
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, Error> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return self.fail("a key has no value");
        }
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    }

    fn append(&mut self, into: Id, items: Vec<Id>) -> Result<(), Error> {
        match &mut self.values[into.index()] {
            Value::List(list) | Value::Set(list) => list.extend(items),
            Value::Object(object) => object.items.extend(items),
            other => {
                let reason = format!("{} is appended to", other.describe());
                return self.fail(reason);
            }
        }
        Ok(())
    }

    fn set_entries(&mut self, into: Id, entries: Vec<(Id, Id)>) -> Result<(), Error> {
        match &mut self.values[into.index()] {
            Value::Dictionary(dictionary) => dictionary.extend(entries),
            Value::Object(object) => object.entries.extend(entries),
            other => {
                let reason = format!("keys of {} are set", other.describe());
                return self.fail(reason);
            }
        }
        Ok(())
    }

    /// Bytes that the entries of a dictionary take.
    pub(crate) fn size_of_dictionary(&self, dictionary: Id) -> usize {
        match self.value(dictionary) {
            Value::Dictionary(entries) => size_of_val(entries.as_slice()),
            _ => 0,
        }
    }

    /// The value under a key that is a text, the last one where there are several.
    pub(crate) fn entry(&self, dictionary: Id, key: &str) -> Option<Id> {
        let Value::Dictionary(entries) = self.value(dictionary) else { return None };
        let named = |(name, _): &&(Id, Id)| matches!(self.value(*name), Value::Text(text) if &**text == key);
        entries.iter().rev().find(named).map(|(_, value)| *value)
    }

    /// Whether an object is joblib's description of an array that follows.
    pub(crate) fn describes_array(&self, object: &Object) -> bool {
        matches!(self.value(object.class), Value::Class { module, name } if is_wrapper(module, name))
    }
}

pub(crate) fn object(class: Id, arguments: Id) -> Value {
    Value::Object(Object { class, arguments, state: None, items: Vec::new(), entries: Vec::new() })
}

/// A whole number in two's complement, little-endian.
fn long(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let (low, high) = bytes.split_at(bytes.len().min(8));
    let mut number = [fill; 8];
    number[..low.len()].copy_from_slice(low);
    let number = i64::from_le_bytes(number);
    let fits = high.iter().all(|byte| *byte == fill) && (number < 0) == negative;
    if fits { Value::Integer(number) } else { Value::Huge }
}

#[cfg(test)]
mod tests {
    use super::long;
    use crate::value::Value;

    #[test]
    fn long_integers_are_read() {
        let cases: [(&[u8], Option<i64>); 6] = [
            (&[], Some(0)),
            (&[0xff], Some(-1)),
            (&[0xff, 0x00], Some(255)),
            (&[0xff; 12], Some(-1)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], None),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 1], None),
        ];
        for (bytes, expected) in cases {
            let found = match long(bytes) {
                Value::Integer(number) => Some(number),
                _ => None,
            };
            assert_eq!(found, expected, "{bytes:?}");
        }
    }
}
