//! Numbers, texts and arrays one after another, little-endian.

use crate::error::Error;

/// Fields that are written.
#[derive(Default, Debug)]
pub struct Fields(Vec<u8>);

impl Fields {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    pub fn size(&mut self, size: usize) {
        self.number(size as u64);
    }

    /// A length and bytes, padded to whole numbers.
    pub fn blob(&mut self, bytes: &[u8]) {
        self.size(bytes.len());
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
    }

    pub fn text(&mut self, text: &str) {
        self.blob(text.as_bytes());
    }

    pub fn integer(&mut self, integer: i32) {
        self.number(i64::from(integer).cast_unsigned());
    }

    pub fn integers(&mut self, values: &[i32]) {
        self.blob(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    }

    pub fn reals(&mut self, values: &[f32]) {
        self.blob(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    }
}

/// Fields that are read. What is there may be anything: every length is held against the bytes that are left.
#[derive(Clone, Copy, Debug)]
pub struct FieldReader<'a>(pub &'a [u8]);

impl<'a> FieldReader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let Some((taken, rest)) = self.0.split_at_checked(length) else { return broken("it ends within an entry") };
        self.0 = rest;
        Ok(taken)
    }

    pub fn number(&mut self) -> Result<u64, Error> {
        let bytes = self.take(8)?.first_chunk().expect("eight bytes");
        Ok(u64::from_le_bytes(*bytes))
    }

    pub fn size(&mut self) -> Result<usize, Error> {
        usize::try_from(self.number()?).or(broken("a size is beyond this machine's addresses"))
    }

    pub fn blob(&mut self) -> Result<&'a [u8], Error> {
        let length = self.size()?;
        let padded = length.checked_next_multiple_of(8).unwrap_or(usize::MAX);
        Ok(&self.take(padded)?[..length])
    }

    pub fn text(&mut self) -> Result<&'a str, Error> {
        str::from_utf8(self.blob()?).or(broken("a name is no UTF-8"))
    }

    pub fn integer(&mut self) -> Result<i32, Error> {
        i32::try_from(self.number()?.cast_signed()).or(broken("an integer is beyond i32"))
    }

    fn words(&mut self) -> Result<&'a [[u8; 4]], Error> {
        match self.blob()?.as_chunks() {
            (words, []) => Ok(words),
            _ => broken("an array ends within a number"),
        }
    }

    pub fn integers(&mut self) -> Result<Vec<i32>, Error> {
        Ok(self.words()?.iter().map(|&word| i32::from_le_bytes(word)).collect())
    }

    pub fn reals(&mut self) -> Result<Vec<f32>, Error> {
        Ok(self.words()?.iter().map(|&word| f32::from_le_bytes(word)).collect())
    }

    /// `Ok` when nothing is left.
    pub fn end(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { broken("an entry is longer than its fields") }
    }
}

/// Bytes that are no archive, or not this one.
pub(crate) fn broken<T>(why: &'static str) -> Result<T, Error> {
    Err(Error::File { why })
}
