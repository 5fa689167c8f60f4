//! The protobuf wire format: tags, varints, fixed-width numbers, byte strings and the groups that nothing uses any more.
//!
//! Called by the rest of this module. It borrows from the body, allocates nothing and knows no message.

use super::ProtobufError;

/// How deep groups, which are only ever skipped, may lie in one another.
pub(super) const MAX_GROUPS: usize = 32;

/// One field's value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Reads one message's fields in their order.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field's number and value; groups are passed over.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Payload<'a>)>, ProtobufError> {
        let mut groups = 0_usize;
        loop {
            if self.rest.is_empty() {
                return if groups == 0 { Ok(None) } else { Err(ProtobufError::Truncated) };
            }
            let tag = self.varint()?;
            let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
            let number = number.ok_or(ProtobufError::Tag(tag))?;
            let payload = match tag & 7 {
                0 => Payload::Varint(self.varint()?),
                1 => Payload::Fixed64(u64::from_le_bytes(self.array()?)),
                2 => Payload::Bytes(self.bytes()?),
                3 if groups < MAX_GROUPS => {
                    groups += 1;
                    continue;
                }
                4 if groups > 0 => {
                    groups -= 1;
                    continue;
                }
                3 | 4 => return Err(ProtobufError::Group),
                5 => Payload::Fixed32(u32::from_le_bytes(self.array()?)),
                _ => return Err(ProtobufError::Tag(tag)),
            };
            if groups == 0 {
                return Ok(Some((number, payload)));
            }
        }
    }

    /// The next integer of a packed list.
    pub(super) fn packed(&mut self) -> Result<Option<u64>, ProtobufError> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(ProtobufError::Truncated)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Overflow)
    }

    fn bytes(&mut self) -> Result<&'a [u8], ProtobufError> {
        let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(ProtobufError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<(u32, Payload<'_>)>, ProtobufError> {
        let mut reader = Reader::new(bytes);
        let mut out = Vec::new();
        while let Some(field) = reader.next()? {
            out.push(field);
        }
        Ok(out)
    }

    #[test]
    fn fields_are_read_and_groups_passed_over() {
        let bytes = [0x08, 0x96, 0x01, 0x1b, 0x08, 0x01, 0x1c, 0x12, 0x01, b'x', 0x25, 1, 0, 0, 0];
        assert_eq!(
            all(&bytes).unwrap(),
            [(1, Payload::Varint(150)), (2, Payload::Bytes(b"x")), (4, Payload::Fixed32(1))]
        );
    }

    #[test]
    fn broken_bytes_are_refused() {
        assert_eq!(all(&[0x08]), Err(ProtobufError::Truncated));
        assert_eq!(all(&[0x12, 0x05, b'x']), Err(ProtobufError::Truncated));
        let endless = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(all(&endless), Err(ProtobufError::Truncated), "a length is never allocated");
        assert_eq!(all(&[0x08; 1]), Err(ProtobufError::Truncated));
        assert_eq!(all(&[0xff; 11]), Err(ProtobufError::Overflow));
        assert_eq!(all(&[0x00, 0x00]), Err(ProtobufError::Tag(0)));
        assert_eq!(all(&[0x0f]), Err(ProtobufError::Tag(15)));
        assert_eq!(all(&[0x1c]), Err(ProtobufError::Group), "an end without a start");
        assert_eq!(all(&[0x1b]), Err(ProtobufError::Truncated), "a start without an end");
        assert_eq!(all(&[0x1b; 40]), Err(ProtobufError::Group));
    }
}
