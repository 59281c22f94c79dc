//! Reading `MessagePack`, as far as log drivers use it.
//!
//! Invariant: whatever comes over the socket, no more is kept than was received, and depth is bounded.

/// Values within each other at most; a message of a log driver has three levels.
const DEPTH_MAX: u8 = 8;
/// Entries of an array or map at most.
const ENTRIES_MAX: usize = 100_000;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Bytes(Vec<u8>),
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Extension(i8, Vec<u8>),
}

/// Why there is no value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// More bytes are needed.
    Short,
    /// It never becomes one.
    Malformed(&'static str),
}

/// The first value in `bytes`, and how many bytes it takes.
pub(crate) fn read(bytes: &[u8]) -> Result<(Value, usize), ReadError> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(DEPTH_MAX)?;
    Ok((value, reader.at))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], ReadError> {
        let end = self.at.checked_add(count).ok_or(ReadError::Short)?;
        let taken = self.bytes.get(self.at..end).ok_or(ReadError::Short)?;
        self.at = end;
        Ok(taken)
    }

    /// A big-endian number of `width` bytes.
    fn number(&mut self, width: usize) -> Result<u64, ReadError> {
        let bytes = self.take(width)?;
        Ok(bytes
            .iter()
            .fold(0, |all, byte| all << 8 | u64::from(*byte)))
    }

    fn length(&mut self, width: usize) -> Result<usize, ReadError> {
        usize::try_from(self.number(width)?).map_err(|_| ReadError::Malformed("a length"))
    }

    fn signed(&mut self, width: usize) -> Result<i64, ReadError> {
        let shift = 64 - 8 * u32::try_from(width).unwrap_or(8);
        Ok((self.number(width)? << shift).cast_signed() >> shift)
    }

    fn value(&mut self, depth: u8) -> Result<Value, ReadError> {
        let first = *self.take(1)?.first().ok_or(ReadError::Short)?;
        let low = usize::from(first);
        Ok(match first {
            0x00..=0x7f => Value::Integer(i64::from(first)),
            0x80..=0x8f => self.map(low & 0x0f, depth)?,
            0x90..=0x9f => self.array(low & 0x0f, depth)?,
            0xa0..=0xbf => self.blob(low & 0x1f)?,
            0xc0 => Value::Nil,
            0xc2 | 0xc3 => Value::Bool(first == 0xc3),
            0xc4 | 0xd9 => self.sized_blob(1)?,
            0xc5 | 0xda => self.sized_blob(2)?,
            0xc6 | 0xdb => self.sized_blob(4)?,
            0xc7 => self.sized_extension(1)?,
            0xc8 => self.sized_extension(2)?,
            0xc9 => self.sized_extension(4)?,
            0xca => Value::Float(f64::from(f32::from_bits(
                u32::try_from(self.number(4)?).unwrap_or_default(),
            ))),
            0xcb => Value::Float(f64::from_bits(self.number(8)?)),
            0xcc..=0xcf => {
                let number = self.number(1 << (first - 0xcc))?;
                Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
            }
            0xd0..=0xd3 => Value::Integer(self.signed(1 << (first - 0xd0))?),
            0xd4..=0xd8 => self.extension(1 << (first - 0xd4))?,
            0xdc | 0xdd => {
                let count = self.length(if first == 0xdc { 2 } else { 4 })?;
                self.array(count, depth)?
            }
            0xde | 0xdf => {
                let count = self.length(if first == 0xde { 2 } else { 4 })?;
                self.map(count, depth)?
            }
            0xe0..=0xff => Value::Integer(i64::from(first.cast_signed())),
            0xc1 => return Err(ReadError::Malformed("an unknown type")),
        })
    }

    fn inner(count: usize, depth: u8) -> Result<u8, ReadError> {
        if count > ENTRIES_MAX {
            return Err(ReadError::Malformed("too many entries"));
        }
        depth.checked_sub(1).ok_or(ReadError::Malformed("too deep"))
    }

    fn array(&mut self, count: usize, depth: u8) -> Result<Value, ReadError> {
        let depth = Self::inner(count, depth)?;
        // Grows with what is there, not with what is announced.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.value(depth)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, count: usize, depth: u8) -> Result<Value, ReadError> {
        let depth = Self::inner(count, depth)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push((self.value(depth)?, self.value(depth)?));
        }
        Ok(Value::Map(entries))
    }

    fn blob(&mut self, count: usize) -> Result<Value, ReadError> {
        Ok(Value::Bytes(self.take(count)?.to_vec()))
    }

    fn sized_blob(&mut self, width: usize) -> Result<Value, ReadError> {
        let count = self.length(width)?;
        self.blob(count)
    }

    fn extension(&mut self, count: usize) -> Result<Value, ReadError> {
        let kind = self.take(1)?.first().copied().unwrap_or_default();
        Ok(Value::Extension(
            kind.cast_signed(),
            self.take(count)?.to_vec(),
        ))
    }

    fn sized_extension(&mut self, width: usize) -> Result<Value, ReadError> {
        let count = self.length(width)?;
        self.extension(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn text(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn a_message_of_a_log_driver_is_read() {
        let bytes = [
            &b"\x94\xa4main\xd7\x00\x00\x00\x00\x05\x00\x00\x00\x07\x82\xa3log\xa2hi\xa1n\xd1\xff\xfe\x80"[..],
            b"rest",
        ]
        .concat();
        let (value, length) = read(&bytes).unwrap();
        assert_eq!(length, bytes.len() - 4);
        assert_eq!(
            value,
            Value::Array(vec![
                text("main"),
                Value::Extension(0, vec![0, 0, 0, 5, 0, 0, 0, 7]),
                Value::Map(vec![
                    (text("log"), text("hi")),
                    (text("n"), Value::Integer(-2))
                ]),
                Value::Map(vec![]),
            ])
        );
        for end in 0..length {
            assert_eq!(read(&bytes[..end]), Err(ReadError::Short), "{end}");
        }
    }

    #[test]
    fn numbers_keep_their_sign_and_size() {
        for (bytes, expected) in [
            (&b"\x7f"[..], Value::Integer(127)),
            (b"\xff", Value::Integer(-1)),
            (b"\xcd\x01\x00", Value::Integer(256)),
            (b"\xd3\xff\xff\xff\xff\xff\xff\xff\xfe", Value::Integer(-2)),
            (
                b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
                Value::Integer(i64::MAX),
            ),
            (b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", Value::Float(1.5)),
            (b"\xc3", Value::Bool(true)),
            (b"\xc0", Value::Nil),
        ] {
            assert_eq!(read(bytes), Ok((expected, bytes.len())));
        }
    }

    #[test]
    fn what_is_too_deep_or_announces_too_much_is_refused() {
        assert_eq!(read(&[0x91; 20]), Err(ReadError::Malformed("too deep")));
        assert_eq!(
            read(b"\xdd\xff\xff\xff\xff"),
            Err(ReadError::Malformed("too many entries"))
        );
        assert_eq!(read(b"\xc1"), Err(ReadError::Malformed("an unknown type")));
        // Four gigabytes announced are not reserved.
        assert_eq!(read(b"\xc6\xff\xff\xff\xff"), Err(ReadError::Short));
    }
}
