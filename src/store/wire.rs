//! The alphabet of the journal: bytes, variable-length numbers, texts and options.
//!
//! Numbers are LEB128 (seven bits a byte, least first). It knows nothing of records.
//!
//! Invariant: reading never panics and never reserves more memory than the bytes it was given.

use super::codec::CodecError;

/// Bytes kept of a text: names are short, and a client that sends a long one must not swell the journal.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Bytes of the largest number of 64 bits.
const NUMBER_BYTES_MAX: usize = 10;

/// Bytes of the largest number of 63 bits.
const SMALL_BYTES_MAX: usize = 9;

/// Appends values to a buffer.
pub struct Put<'a>(pub &'a mut Vec<u8>);

/// Takes values from the front of some bytes.
pub struct Take<'a>(pub &'a [u8]);

impl Put<'_> {
    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Bytes as they are, without their length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A number, small ones in few bytes.
    pub fn number(&mut self, mut number: u64) {
        if number < 0x80 {
            return self.0.push(low_bits(number));
        }
        let (mut bytes, mut length) = ([0; NUMBER_BYTES_MAX], 0);
        while number >= 0x80 {
            bytes[length] = low_bits(number) | 0x80;
            number >>= 7;
            length += 1;
        }
        bytes[length] = low_bits(number);
        self.0.extend_from_slice(&bytes[..=length]);
    }

    /// A number that may be larger than 64 bits, in the same form.
    pub fn amount(&mut self, mut amount: u128) {
        loop {
            if let Ok(small) = u64::try_from(amount) {
                return self.number(small);
            }
            self.0.push((amount & 0x7f) as u8 | 0x80);
            amount >>= 7;
        }
    }

    /// A name, cut at [`TEXT_BYTES_MAX`].
    pub fn text(&mut self, text: &str) {
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.whole_text(&text[..end]);
    }

    /// A text that is never cut.
    pub fn whole_text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.raw(text.as_bytes());
    }

    /// Whether there is a value, then the value.
    pub fn maybe<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }
}

impl<'a> Take<'a> {
    /// One byte.
    pub fn byte(&mut self) -> Result<u8, CodecError> {
        let (first, rest) = self.0.split_first().ok_or(CodecError::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    /// The next `N` bytes.
    pub fn raw<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(CodecError::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    /// The next `length` bytes.
    pub fn slice(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (first, rest) = self.0.split_at_checked(length).ok_or(CodecError::Short)?;
        self.0 = rest;
        Ok(first)
    }

    /// A number of up to 64 bits.
    pub fn number(&mut self) -> Result<u64, CodecError> {
        if let [byte @ ..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok(u64::from(*byte));
        }
        match self.small() {
            Some(small) => Ok(small),
            None => u64::try_from(self.large_amount()?).map_err(|_| CodecError::TooLarge),
        }
    }

    /// A number that must fit a narrower type.
    pub fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, CodecError> {
        T::try_from(self.number()?).map_err(|_| CodecError::TooLarge)
    }

    /// A number of up to 128 bits.
    pub fn amount(&mut self) -> Result<u128, CodecError> {
        match self.small() {
            Some(small) => Ok(small.into()),
            None => self.large_amount(),
        }
    }

    /// A number of up to 63 bits. Nearly all are, and take a fraction of the time like this.
    fn small(&mut self) -> Option<u64> {
        let mut small: u64 = 0;
        for (place, byte) in self.0.iter().take(SMALL_BYTES_MAX).enumerate() {
            small |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                self.0 = self.0.get(place + 1..)?;
                return Some(small);
            }
        }
        None
    }

    fn large_amount(&mut self) -> Result<u128, CodecError> {
        let mut amount: u128 = 0;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            let placed = bits << shift;
            if placed >> shift != bits {
                return Err(CodecError::TooLarge);
            }
            amount |= placed;
            if byte < 0x80 {
                return Ok(amount);
            }
        }
        Err(CodecError::TooLarge)
    }

    /// A text.
    pub fn text(&mut self) -> Result<&'a str, CodecError> {
        let length = self.narrow()?;
        std::str::from_utf8(self.slice(length)?).map_err(|_| CodecError::NotText)
    }

    /// Goes past a text, whatever it says.
    pub fn skip_text(&mut self) -> Result<(), CodecError> {
        let length = self.narrow()?;
        self.slice(length).map(drop)
    }

    /// Yes or no.
    pub fn flag(&mut self) -> Result<bool, CodecError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            code => Err(CodecError::UnknownCode { what: "flag", code }),
        }
    }

    /// A value, if there is one.
    pub fn maybe<T>(&mut self, take: impl FnOnce(&mut Self) -> Result<T, CodecError>) -> Result<Option<T>, CodecError> {
        if self.flag()? { take(self).map(Some) } else { Ok(None) }
    }

    /// A count, then as many values.
    pub fn list<T>(&mut self, mut take: impl FnMut(&mut Self) -> Result<T, CodecError>) -> Result<Vec<T>, CodecError> {
        let count = self.number()?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(take(self)?);
        }
        Ok(list)
    }

    /// Nothing must be left.
    pub fn end(&self) -> Result<(), CodecError> {
        if self.0.is_empty() { Ok(()) } else { Err(CodecError::Trailing) }
    }
}

/// The seven lowest bits.
const fn low_bits(number: u64) -> u8 {
    (number & 0x7f) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_size_are_read_back() {
        for bits in 0..128 {
            for amount in [1_u128 << bits, (1 << bits) - 1, u128::MAX >> bits] {
                let mut bytes = Vec::new();
                Put(&mut bytes).amount(amount);
                assert_eq!(Take(&bytes).amount(), Ok(amount));
                if let Ok(number) = u64::try_from(amount) {
                    let mut narrow = Vec::new();
                    Put(&mut narrow).number(number);
                    assert_eq!(narrow, bytes);
                }
            }
        }
        assert_eq!(Take(&[0xff; 19]).amount(), Err(CodecError::TooLarge));
        assert_eq!(Take(&[0xff; 18]).amount(), Err(CodecError::Short));
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let mut bytes = Vec::new();
        Put(&mut bytes).text(&"ü".repeat(TEXT_BYTES_MAX));
        assert_eq!(Take(&bytes).text().unwrap().len(), TEXT_BYTES_MAX);
        let mut bytes = Vec::new();
        Put(&mut bytes).text(&format!("x{}", "ü".repeat(TEXT_BYTES_MAX)));
        assert_eq!(Take(&bytes).text().unwrap().len(), TEXT_BYTES_MAX - 1);
    }
}
