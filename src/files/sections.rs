//! The bytes of an entry that stay where they are.

use std::sync::Arc;

use super::fields::broken;
use crate::error::Error;
use crate::memory::CACHE_LINE;
use crate::shared::{FileOwner, SharedBytes};

/// The sections of an entry that are still to be read, one behind another, each from a cache line on.
pub struct Sections<'a> {
    pub file: &'a FileOwner,
    /// Where the next one begins.
    pub start: usize,
    /// The bytes of each.
    pub lengths: &'a [usize],
}

impl Sections<'_> {
    /// The next section, of a length that the weights' shape says.
    pub(crate) fn next(&mut self, length: usize) -> Result<SharedBytes, Error> {
        let Some((&found, rest)) = self.lengths.split_first() else { return broken("an entry lacks a section") };
        self.lengths = rest;
        if found != length {
            return broken("a section has not the bytes of its weights' shape");
        }
        let range = self.start..self.start + length;
        self.start = range.end.next_multiple_of(CACHE_LINE);
        Ok(SharedBytes::InFile { file: Arc::clone(self.file), range })
    }

    /// `Ok` when all are read.
    pub fn end(self) -> Result<(), Error> {
        if self.lengths.is_empty() { Ok(()) } else { broken("an entry has a section too many") }
    }
}
