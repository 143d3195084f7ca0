//! The model file.
//!
//! ```text
//! "E5S1", u32 1
//! i32 width, layers, heads, hidden width, words, positions, types; f32 ε of layer norms; i32 32, the values of a block
//! i32 pieces, and the indices of <s>, </s>, <pad> and <unk>; u64 bytes of all pieces
//!     u32 the offset of every piece, and of their end; f32 the score of every piece; the bytes
//! i32 replacements; u32 their bytes
//!     u32 a character, u8 n, u32 × n the characters that replace it; in ascending order
//! i32 tensors
//!     u16 bytes of the name, the name, u8 type (0: f32, 1: Q4_0), u32 values, u64 offset in the file, u64 bytes
//! the tensors
//! ```
//!
//! All numbers are little-endian. A matrix is `[outputs, depth]`, row after row of blocks.

use std::collections::HashMap;

use zeropoint::formats::BlockFormat;

use crate::error::Error;
use crate::reader::Reader;

/// The sizes of an encoder.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sizes {
    /// Values of a token, and of an embedding.
    pub width: usize,
    /// Encoder layers.
    pub layers: usize,
    /// Attention heads of a layer.
    pub heads: usize,
    /// Values of a token inside the feed-forward part of a layer.
    pub hidden: usize,
    /// Tokens that there are.
    pub words: usize,
    /// Tokens of the longest sequence.
    pub positions: usize,
    /// What layer norms add to a variance.
    pub epsilon: f32,
}

/// The vocabulary as the file has it.
pub(crate) struct Vocabulary<'a> {
    /// Where each piece begins in `bytes`, and their end.
    pub offsets: &'a [[u8; 4]],
    pub scores: &'a [[u8; 4]],
    pub bytes: &'a [u8],
    /// `<s>`, which every sequence begins with.
    pub begin: usize,
    /// `</s>`, which every sequence ends with.
    pub end: usize,
    pub unknown: usize,
    pub replacements: usize,
    pub replacement_bytes: &'a [u8],
}

/// A model file, its sizes checked. Tensors are checked when they are asked for.
pub struct ModelFile<'a> {
    sizes: Sizes,
    /// Types of tokens.
    types: usize,
    pub(crate) vocabulary: Vocabulary<'a>,
    tensors: HashMap<&'a [u8], Tensor>,
    bytes: &'a [u8],
}

struct Tensor {
    kind: u8,
    values: u32,
    offset: u64,
    length: u64,
}

impl<'a> ModelFile<'a> {
    /// Reads the sizes, the vocabulary and the list of tensors.
    ///
    /// # Errors
    /// [`Error::Magic`], [`Error::Truncated`], and [`Error::Value`] for a version or sizes that are not supported.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader(bytes.strip_prefix(b"E5S1").ok_or(Error::Magic)?);
        let version = reader.u32("the sizes")?;
        check("the version", version as usize, version == 1, "is not 1")?;
        let (sizes, types) = Self::read_sizes(&mut reader)?;
        let vocabulary = Self::read_vocabulary(&mut reader, sizes.words)?;
        let mut tensors = HashMap::new();
        for _ in 0..reader.count("the list of tensors")? {
            let what = "the list of tensors";
            let length = reader.u16(what)?;
            let name = reader.bytes(what, length.into())?;
            let (kind, values) = (reader.u8(what)?, reader.u32(what)?);
            let (offset, length) = (reader.u64(what)?, reader.u64(what)?);
            tensors.entry(name).or_insert(Tensor { kind, values, offset, length });
        }
        Ok(ModelFile { sizes, types, vocabulary, tensors, bytes })
    }

    fn read_sizes(reader: &mut Reader<'_>) -> Result<(Sizes, usize), Error> {
        let mut counts = [0; 7];
        for count in &mut counts {
            *count = reader.count("the sizes")?;
        }
        let [width, layers, heads, hidden, words, positions, types] = counts;
        let (epsilon, block) = (reader.f32("the sizes")?, reader.count("the sizes")?);
        let length = BlockFormat::Q4_0.block_length();
        check("the values of a block", block, block == length, "are not 32")?;
        let is_blocks = |size: usize| size > 0 && size.is_multiple_of(length);
        check("the width", width, is_blocks(width), "is not whole blocks of 32")?;
        check("the hidden width", hidden, is_blocks(hidden), "is not whole blocks of 32")?;
        check("the heads", heads, heads > 0 && width.is_multiple_of(heads), "do not divide the width")?;
        check("the positions", positions, positions > 2, "leave no room for a token")?;
        check("the types", types, types > 0, "are none")?;
        let why = "(its bits) is no small positive number";
        check("ε", epsilon.to_bits() as usize, epsilon.is_finite() && epsilon > 0.0, why)?;
        Ok((Sizes { width, layers, heads, hidden, words, positions, epsilon }, types))
    }

    fn read_vocabulary(reader: &mut Reader<'a>, words: usize) -> Result<Vocabulary<'a>, Error> {
        let what = "the vocabulary";
        let pieces = reader.count(what)?;
        check("the pieces", pieces, pieces <= words, "are more than words that have an embedding")?;
        let mut special = || {
            let index = reader.count(what)?;
            check("the index of a special token", index, index < words, "has no embedding").map(|()| index)
        };
        let [begin, end, _padding, unknown] = [special()?, special()?, special()?, special()?];
        let length = usize::try_from(reader.u64(what)?).map_err(|_| Error::Truncated { what })?;
        let offsets = reader.words(what, pieces + 1)?;
        let scores = reader.words(what, pieces)?;
        let bytes = reader.bytes(what, length)?;
        let replacements = reader.count("the replacements")?;
        let length = reader.u32("the replacements")?;
        let replacement_bytes = reader.bytes("the replacements", length as usize)?;
        Ok(Vocabulary { offsets, scores, bytes, begin, end, unknown, replacements, replacement_bytes })
    }

    /// The sizes of the encoder.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// What is added to every token of the first type, the one that is in use.
    pub(crate) fn first_type(&self) -> Result<Vec<f32>, Error> {
        let mut types = self.floats("emb.type", self.types.saturating_mul(self.sizes.width))?;
        types.truncate(self.sizes.width);
        Ok(types)
    }

    /// The values of a tensor of f32, all of them finite.
    pub(crate) fn floats(&self, name: &str, values: usize) -> Result<Vec<f32>, Error> {
        let bytes = self.tensor(name, 0, values, values.checked_mul(4))?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(Error::Tensor { name: name.to_owned(), why: "contains NaN or infinity" }),
        }
    }

    /// The blocks of a Q4_0 matrix.
    pub(crate) fn blocks(&self, name: &str, outputs: usize, depth: usize) -> Result<&'a [u8], Error> {
        let values = outputs.saturating_mul(depth);
        self.tensor(name, 1, values, BlockFormat::Q4_0.bytes(values).ok())
    }

    fn tensor(&self, name: &str, kind: u8, values: usize, expected: Option<usize>) -> Result<&'a [u8], Error> {
        let wrong = |why| Error::Tensor { name: name.to_owned(), why };
        let tensor = self.tensors.get(name.as_bytes()).ok_or(wrong("is missing"))?;
        if tensor.kind != kind {
            return Err(wrong(if kind == 0 { "is not of f32" } else { "is not of Q4_0 blocks" }));
        }
        if tensor.values as usize != values || Some(tensor.length) != expected.map(|bytes| bytes as u64) {
            return Err(wrong("has another size than the model"));
        }
        let end = tensor.offset.checked_add(tensor.length);
        let range = usize::try_from(tensor.offset).ok().zip(end.and_then(|end| usize::try_from(end).ok()));
        range.and_then(|(start, end)| self.bytes.get(start..end)).ok_or(wrong("is not within the file"))
    }
}

/// `Ok` if a number of the file is what it has to be.
fn check(what: &'static str, found: usize, is_right: bool, why: &'static str) -> Result<(), Error> {
    if is_right { Ok(()) } else { Err(Error::Value { what, found: found as i64, why }) }
}
