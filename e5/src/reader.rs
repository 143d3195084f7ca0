//! Little-endian numbers, one after another. Every length is compared with the bytes that are left before anything is
//! allocated.

use crate::error::Error;

/// The bytes of a file that are not read yet.
#[derive(Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes of a part.
    pub fn bytes(&mut self, what: &'static str, count: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Error::Truncated { what })?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        Ok(self.bytes(what, N)?.try_into().expect("so many bytes"))
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub fn f32(&mut self, what: &'static str) -> Result<f32, Error> {
        Ok(f32::from_le_bytes(self.array(what)?))
    }

    /// A count or an index: an i32 that is not negative.
    pub fn count(&mut self, what: &'static str) -> Result<usize, Error> {
        let found = i32::from_le_bytes(self.array(what)?);
        usize::try_from(found).map_err(|_| Error::Value { what, found: found.into(), why: "is negative" })
    }

    /// So many words of 32 bits.
    pub fn words(&mut self, what: &'static str, count: usize) -> Result<&'a [[u8; 4]], Error> {
        let bytes = count.checked_mul(4).ok_or(Error::Truncated { what })?;
        Ok(self.bytes(what, bytes)?.as_chunks().0)
    }
}
