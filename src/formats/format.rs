//! The block formats, and their sizes.

use super::block::Blocks;
use crate::codes::CodeRange;
use crate::error::Error;
use crate::simd::LANES;

/// Calls a function with the type that implements a format, and the sizes of its blocks.
macro_rules! with_format {
    ($format:expr, $function:ident($($argument:expr),*)) => {
        match $format {
            BlockFormat::MxInt8 => $function::<$crate::formats::mxint8::MxInt8, _, _>($($argument),*),
            BlockFormat::Q8_0 => $function::<$crate::formats::q8_0::Q8_0, _, _>($($argument),*),
            BlockFormat::Q4_0 => $function::<$crate::formats::q4_0_q5_0::Q4_0, _, _>($($argument),*),
            BlockFormat::Q4_1 => $function::<$crate::formats::q4_1_q5_1::Q4_1, _, _>($($argument),*),
            BlockFormat::Q5_0 => $function::<$crate::formats::q4_0_q5_0::Q5_0, _, _>($($argument),*),
            BlockFormat::Q5_1 => $function::<$crate::formats::q4_1_q5_1::Q5_1, _, _>($($argument),*),
            BlockFormat::Q2_K => $function::<$crate::formats::q2_k::Q2_K, _, _>($($argument),*),
            BlockFormat::Q4_K => $function::<$crate::formats::q4_k::Q4_K, _, _>($($argument),*),
            BlockFormat::Q5_K => $function::<$crate::formats::q5_k::Q5_K, _, _>($($argument),*),
            BlockFormat::Q6_K => $function::<$crate::formats::q6_k::Q6_K, _, _>($($argument),*),
            BlockFormat::MxFp4 => $function::<$crate::formats::mxfp4::MxFp4, _, _>($($argument),*),
            BlockFormat::NvFp4 => $function::<$crate::formats::nvfp4::NvFp4, _, _>($($argument),*),
        }
    };
}
pub(super) use with_format;

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
#[allow(non_camel_case_types, reason = "the names that ggml gives them")]
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
    /// ggml's Q4_1: a scale and an offset in f16, and four bits.
    ///
    /// ```text
    /// m = min     d = (max − min) / 15     nibble = min(15, trunc((x − m) · (1 / d) + 0.5))
    /// ```
    ///
    /// d and m in f32 here, rounded to f16 where they are stored. Of zeros of both signs the first is the minimum.
    Q4_1,
    /// ggml's Q5_0: [Q4_0](BlockFormat::Q4_0) with five bits: `d = m / −16`, `code = min(31, trunc(x · (1 / d) + 16.5))`.
    ///
    /// A block of magnitudes up to 4.7683716e-7 decodes to zeros, since its d is rounded to 0.
    Q5_0,
    /// ggml's Q5_1: [Q4_1](BlockFormat::Q4_1) with five bits: `d = (max − min) / 31`.
    Q5_1,
    /// ggml's Q2_K: two bits in groups of 16, with scales and offsets of four bits.
    ///
    /// ```text
    /// S, B ≤ 0     of each group those of the smallest Σ w · |S · q + B − x| that were tried, w = |x|, q = 0 … 3
    /// d = max S / 15     dmin = max −B / 15     s = RNE(S / d)     m = RNE(−B / dmin)     d and dmin rounded to f16 where stored
    /// code = clamp(RNE((x + dmin · m) / (d · s)), 0, 3)
    /// ```
    ///
    /// The codes of a group whose d · s is 0 are those of the search. S / d is computed as `S · (15 / max S)`, −B / dmin
    /// likewise.
    Q2_K,
    /// ggml's Q4_K: four bits in groups of 32, with scales and offsets of six bits. As [Q2_K](BlockFormat::Q2_K), with
    /// squares of errors, `w = |x| + √(Σx² / 32)`, codes up to 15, s and m up to 63.
    Q4_K,
    /// ggml's Q5_K: five bits in groups of 32, with scales and offsets of six bits. As [Q4_K](BlockFormat::Q4_K), with
    /// codes up to 31.
    Q5_K,
    /// ggml's Q6_K: six bits in groups of 16, with scales of eight bits.
    ///
    /// ```text
    /// S     of each group that of the smallest Σ x² · (S · q − x)² that was tried, q = −32 … 31
    /// d = S of the largest magnitude / −128     s = min(127, RNE(S / d))     code = clamp(RNE(x / (d · s)), −32, 31) + 32
    /// ```
    ///
    /// A block whose scales S are all below 1e-15 is one of zero bytes.
    Q6_K,
    /// OCP Microscaling MXFP4: a power of two, and E2M1, in ggml's layout.
    ///
    /// ```text
    /// E = max(0, 127 + floor(log₂ amax) − 2)     element = E2M1(x / 2^(E − 127)), ties to the even pattern, saturating at 6
    /// ```
    ///
    /// A block with NaN or infinity is E = 255, codes 0; one of zeros E = 0. An element that is rounded to zero keeps its
    /// sign, as in any conversion to a smaller float; it decodes to +0.
    ///
    /// ggml's own encoder differs in three cases: it rounds ties towards zero, gives zeros no sign, and takes log₂ in f32,
    /// whose result just below a power of two may be that of the power.
    MxFp4,
    /// NVFP4: E2M1 in groups of 16 with scales of E4M3, and one scale t in f32 for the tensor, in ggml's layout of four
    /// groups. t is 1 unless an [`NvFp4`](super::NvFp4) says otherwise.
    ///
    /// ```text
    /// s = E4M3((amax / 6) / t), ties to even     element = E2M1(x / (s · t)), ties to the even pattern, saturating at 6
    /// ```
    ///
    /// In f32, each quotient and product is rounded; s · t is twice `(s / 2) · t`, which is the factor of
    /// [`decode_blocks`]. The codes of a group whose s is 0 are zeros. Signs of zeros are as in
    /// [MXFP4](BlockFormat::MxFp4).
    ///
    /// ggml's own encoder (t = 1) differs: ties of scales are rounded up, ties of elements towards zero, zeros have no
    /// sign, the largest scale below 2⁻⁶ is 7 · 2⁻⁹, and groups above 464 · 6 saturate.
    ///
    /// [`decode_blocks`]: super::decode_blocks
    NvFp4,
}

impl BlockFormat {
    /// All formats.
    pub const ALL: [BlockFormat; 12] = [
        BlockFormat::MxInt8,
        BlockFormat::Q8_0,
        BlockFormat::Q4_0,
        BlockFormat::Q4_1,
        BlockFormat::Q5_0,
        BlockFormat::Q5_1,
        BlockFormat::Q2_K,
        BlockFormat::Q4_K,
        BlockFormat::Q5_K,
        BlockFormat::Q6_K,
        BlockFormat::MxFp4,
        BlockFormat::NvFp4,
    ];

    /// Values of a block.
    #[must_use]
    pub const fn block_length(self) -> usize {
        self.layout().values
    }

    /// Values that share a scale, and an offset if the format has any: those of a block or of a part of it.
    #[must_use]
    pub const fn group_length(self) -> usize {
        self.layout().group
    }

    /// Whether a group has a real offset beside its scale.
    #[must_use]
    pub const fn has_offsets(self) -> bool {
        self.layout().has_offsets
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        self.layout().bytes
    }

    /// The codes that [`split_blocks`](super::split_blocks) makes of a block; those of E2M1 are its values doubled.
    #[must_use]
    pub fn codes(self) -> CodeRange<i8> {
        let [min, max] = self.layout().codes;
        CodeRange::new(min, max).expect("they are bounds of at most 8 bits")
    }

    const fn layout(self) -> Layout {
        with_format!(self, layout_of())
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

/// What the type that implements a format says of its blocks.
struct Layout {
    values: usize,
    group: usize,
    bytes: usize,
    has_offsets: bool,
    codes: [i8; 2],
}

const fn layout_of<F: Blocks<BYTES, VECTORS>, const BYTES: usize, const VECTORS: usize>() -> Layout {
    Layout {
        values: VECTORS * LANES,
        group: F::GROUP * LANES,
        bytes: BYTES,
        has_offsets: F::HAS_OFFSETS,
        codes: F::CODES,
    }
}
