//! A reader of OMG CDR (version 1, both byte orders), which never reads outside the payload.
//!
//! Source of the rules: DDS-RTPS 2.2, section 10 (encapsulation), and CORBA 3.0, section 15.3: every number stands at a multiple of its
//! own size, counted from the end of the four-byte encapsulation header; strings and sequences are preceded by their length.

/// Why a payload is not CDR, and at which byte.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum CdrError {
    #[error("expected an encapsulation header 00 00 (big endian) or 00 01 (little endian), got {0}")]
    Header(String),
    #[error(
        "expected a message, got one that is compressed by zstd\nhint: the bag was recorded with compression_mode message; `ros2 bag convert` to one of mode none, or \
         MCAP's own chunk compression, is read"
    )]
    Compressed,
    #[error("expected {needed} more bytes for {what} at byte {at}, got {left}")]
    Short { what: &'static str, at: usize, needed: usize, left: usize },
    #[error("expected UTF-8 text at byte {at}")]
    Text { at: usize },
    #[error("expected 0 or 1 for a truth value at byte {at}, got {got}")]
    Bool { at: usize, got: u8 },
    #[error("expected the message to end at byte {at}, got {extra} more bytes")]
    Extra { at: usize, extra: usize },
}

/// Bytes that may follow a message: writers pad to a multiple of 4, some to 8.
const MAX_PADDING: usize = 8;

/// A cursor over the body of a message.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    big_endian: bool,
}

macro_rules! numbers {
    ($($name:ident: $number:ty),*) => {
        $(pub(super) fn $name(&mut self) -> Result<$number, CdrError> {
            let bytes = self.aligned(stringify!($number))?;
            Ok(if self.big_endian { <$number>::from_be_bytes(bytes) } else { <$number>::from_le_bytes(bytes) })
        })*
    };
}

impl<'a> Reader<'a> {
    /// Reads the encapsulation header.
    pub(super) fn new(payload: &'a [u8]) -> Result<Self, CdrError> {
        let big_endian = match payload {
            [0, 0, _, _, ..] => true,
            [0, 1, _, _, ..] => false,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return Err(CdrError::Compressed),
            [] => return Err(CdrError::Header("nothing".to_owned())),
            other => {
                let shown: Vec<String> = other.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                return Err(CdrError::Header(shown.join(" ")));
            }
        };
        Ok(Self { body: payload.get(4..).unwrap_or_default(), at: 0, big_endian })
    }

    numbers!(u32: u32, i32: i32, f64: f64);

    pub(super) fn u8(&mut self) -> Result<u8, CdrError> {
        self.take(1, "u8").map(|bytes| bytes.first().copied().unwrap_or_default())
    }

    pub(super) fn bool(&mut self) -> Result<bool, CdrError> {
        let at = self.at + 4;
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(CdrError::Bool { at, got }),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[f64; N], CdrError> {
        let mut values = [0.0; N];
        for value in &mut values {
            *value = self.f64()?;
        }
        Ok(values)
    }

    /// Text; its closing zero byte is left out.
    pub(super) fn string(&mut self) -> Result<&'a str, CdrError> {
        let length = self.u32()? as usize;
        let at = self.at + 4;
        let bytes = self.take(length, "text")?;
        let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        std::str::from_utf8(bytes).map_err(|_| CdrError::Text { at })
    }

    /// A sequence of bytes.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], CdrError> {
        let length = self.u32()? as usize;
        self.take(length, "a sequence of bytes")
    }

    /// A sequence of numbers.
    pub(super) fn f64_sequence(&mut self) -> Result<Vec<f64>, CdrError> {
        let length = self.u32()?;
        // No capacity is reserved from the length: a wrong one ends the loop at the end of the payload.
        (0..length).map(|_| self.f64()).collect::<Result<Vec<_>, _>>()
    }

    /// Byte offset within the payload at which `bytes` (a result of [`Self::bytes`]) begins.
    pub(super) fn offset_of(&self, bytes: &[u8]) -> usize {
        4 + self.at - bytes.len()
    }

    /// Checks that nothing but padding follows.
    pub(super) fn finish(&self) -> Result<(), CdrError> {
        let extra = self.body.len().saturating_sub(self.at);
        if extra > MAX_PADDING {
            return Err(CdrError::Extra { at: self.at + 4, extra });
        }
        Ok(())
    }

    fn aligned<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], CdrError> {
        let padding = self.at.next_multiple_of(N) - self.at;
        self.take(padding, what)?;
        let bytes = self.take(N, what)?;
        let mut number = [0; N];
        number.copy_from_slice(bytes);
        Ok(number)
    }

    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], CdrError> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or(CdrError::Short { what, at: self.at + 4, needed: count, left: rest.len() })?;
        self.at += count;
        Ok(taken)
    }
}
