//! The block formats, and their sizes.

use crate::codes::CodeRange;
use crate::error::Error;

/// How a block of values is stored together.
///
/// ```
/// use zeropoint::Exec;
/// use zeropoint::formats::{BlockFormat, decode_blocks, encode_blocks};
/// let exec = Exec::best()?;
/// let x: Vec<f32> = (0..64).map(|i| (i - 15) as f32 * 0.11).collect();
/// let mut bytes = vec![0; BlockFormat::Q8_0.bytes(x.len())?];
/// encode_blocks(exec, BlockFormat::Q8_0, &x, &mut bytes)?;
/// assert_eq!(bytes.len(), 2 * 34);
/// let mut back = [0.0; 64];
/// decode_blocks(exec, BlockFormat::Q8_0, &bytes, &mut back)?;
/// assert!(x.iter().zip(back).all(|(x, back)| (x - back).abs() < 0.03));
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum BlockFormat {
    /// OCP Microscaling MXINT8: a power of two, and eight bits.
    ///
    /// ```text
    /// E = max(0, 127 + floor(log₂ amax))     q = clamp(RNE(x · 2⁶ / 2^(E − 127)), −127, 127)
    /// ```
    ///
    /// A block with NaN or infinity is E = 255, codes 0; one of zeros E = 0.
    MxInt8,
    /// ggml's Q8_0: a scale in f16, and eight bits.
    ///
    /// ```text
    /// d = amax / 127     q = round(x · (1 / d)), ties away from zero; d in f32 here, rounded to f16 where it is stored
    /// ```
    ///
    /// A block of magnitudes up to 3.784895e-6 decodes to zeros, since its d is rounded to 0.
    Q8_0,
    /// ggml's Q4_0: a scale in f16, and four bits.
    ///
    /// ```text
    /// d = m / −8, m the first value of the largest magnitude     nibble = min(15, trunc(x · (1 / d) + 8.5)); d as in Q8_0
    /// ```
    ///
    /// A block of magnitudes up to 2.3841858e-7 decodes to zeros, since its d is rounded to 0.
    Q4_0,
}

impl BlockFormat {
    /// All formats.
    pub const ALL: [BlockFormat; 3] = [BlockFormat::MxInt8, BlockFormat::Q8_0, BlockFormat::Q4_0];

    /// Values of a block.
    #[must_use]
    pub const fn block_length(self) -> usize {
        match self {
            BlockFormat::MxInt8 | BlockFormat::Q8_0 | BlockFormat::Q4_0 => 32,
        }
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            BlockFormat::MxInt8 => 33,
            BlockFormat::Q8_0 => 34,
            BlockFormat::Q4_0 => 18,
        }
    }

    /// The codes that [`split_blocks`](super::split_blocks) makes of a block.
    #[must_use]
    pub fn codes(self) -> CodeRange<i8> {
        let bits = match self {
            BlockFormat::MxInt8 | BlockFormat::Q8_0 => 8,
            BlockFormat::Q4_0 => 4,
        };
        CodeRange::signed(bits).expect("at most 8 bits")
    }

    /// Bytes of this many values.
    ///
    /// # Errors
    /// [`Error::Multiple`] when they are not whole blocks; [`Error::Shape`] when the bytes exceed `usize`.
    pub fn bytes(self, elements: usize) -> Result<usize, Error> {
        let unit = self.block_length();
        if !elements.is_multiple_of(unit) {
            return Err(Error::Multiple { what: "the tensor", unit, found: elements });
        }
        let bytes = (elements / unit).checked_mul(self.block_bytes());
        bytes.ok_or(Error::Shape { why: "no memory holds the blocks of so many values", found: elements })
    }
}
