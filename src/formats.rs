//! Block formats for interchange: 32 numbers, one scale, codes, as other programs store them.
//!
//! | format | bytes | layout | number |
//! |---|---|---|---|
//! | [MXINT8](BlockFormat::MxInt8) | 33 | E (E8M0), 32 × i8 | `q · 2⁻⁶ · 2^(E − 127)`; NaN when E is 255 |
//! | [Q8_0](BlockFormat::Q8_0) | 34 | d (f16, little-endian), 32 × i8 | `q · d` |
//! | [Q4_0](BlockFormat::Q4_0) | 18 | d (f16, little-endian), 16 × u8 | `(nibble − 8) · d`; byte j has number j low, j + 16 high |
//!
//! Every block's scale comes from its own largest magnitude. Sixteen blocks are encoded together: their largest magnitudes
//! make one vector, and so do their scales, so that a division is paid for once and not per block; then the codes are
//! written, block by block. The formulas stand with each format, in a file of its own. Rounding follows the document or the
//! scalar code that defines the format, on every ISA. (The vector code of ggml rounds ties of Q8_0 otherwise than its scalar
//! code.)

pub(crate) mod half;
mod mxint8;
mod q4_0;
mod q8_0;

use crate::arch;
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::reduce::{abs_max, magnitude_bits};
use crate::simd::{Kernel, LANES, Simd};
pub(crate) use mxint8::MxInt8;
pub(crate) use q4_0::Q4_0;
pub(crate) use q8_0::Q8_0;

/// The numbers of a block, of every format.
pub(crate) const BLOCK: usize = 2 * LANES;

/// How 32 numbers are stored together.
///
/// ```
/// use zeropoint::{BlockFormat, Isa, decode_blocks, encode_blocks};
/// let isa = Isa::best()?;
/// let x: Vec<f32> = (0..64).map(|i| (i - 15) as f32 * 0.11).collect();
/// let mut bytes = vec![0; BlockFormat::Q8_0.bytes(x.len())?];
/// encode_blocks(isa, BlockFormat::Q8_0, &x, &mut bytes)?;
/// assert_eq!(bytes.len(), 2 * 34);
/// let mut back = [0.0; 64];
/// decode_blocks(isa, BlockFormat::Q8_0, &bytes, &mut back)?;
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
    Q8_0,
    /// ggml's Q4_0: a scale in f16, and four bits.
    ///
    /// ```text
    /// d = m / −8, m the first number of the largest magnitude     nibble = min(15, trunc(x · (1 / d) + 8.5)); d as above
    /// ```
    Q4_0,
}

impl BlockFormat {
    /// All of them.
    pub const ALL: [BlockFormat; 3] = [BlockFormat::MxInt8, BlockFormat::Q8_0, BlockFormat::Q4_0];

    /// The numbers of a block: 32.
    #[must_use]
    pub const fn block_length(self) -> usize {
        BLOCK
    }

    /// The bytes of a block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            BlockFormat::MxInt8 => 33,
            BlockFormat::Q8_0 => 34,
            BlockFormat::Q4_0 => 18,
        }
    }

    /// The bytes of so many numbers.
    ///
    /// # Errors
    /// [`Error::Multiple`] when they are not whole blocks.
    pub fn bytes(self, elements: usize) -> Result<usize, Error> {
        if elements.is_multiple_of(BLOCK) {
            Ok(elements / BLOCK * self.block_bytes())
        } else {
            Err(Error::Multiple { what: "the tensor", unit: BLOCK, found: elements })
        }
    }

    /// The largest magnitude whose scale the format can store; for those that store no infinity.
    fn largest(self) -> Option<f32> {
        // Below 65520 an f16 is finite.
        match self {
            BlockFormat::MxInt8 => None,
            BlockFormat::Q8_0 => Some(127.0 * 65_519.0),
            BlockFormat::Q4_0 => Some(8.0 * 65_519.0),
        }
    }
}

/// Encodes `x`, block after block, into `bytes`: `BlockFormat::bytes(x.len())` of them.
///
/// # Errors
/// [`Error::Multiple`] when `x` is not whole blocks, [`Error::Length`] of `bytes`. For the formats with f16 scales
/// [`Error::NonFinite`], and [`Error::Range`] for magnitudes above 127 · 65519 (Q8_0) or 8 · 65519 (Q4_0), whose scale would
/// be infinite.
pub fn encode_blocks(isa: Isa, format: BlockFormat, x: &[f32], bytes: &mut [u8]) -> Result<(), Error> {
    check_length("the blocks", format.bytes(x.len())?, bytes.len())?;
    if let (Some(largest), false) = (format.largest(), x.is_empty()) {
        let amax = abs_max(isa, x)?;
        if amax > largest {
            let why = "the scale of its block would be above the largest f16";
            return Err(Error::Range { min: -amax, max: amax, why });
        }
    }
    match format {
        BlockFormat::MxInt8 => isa.run(Encode::<MxInt8, 33> { format: MxInt8, x, bytes }),
        BlockFormat::Q8_0 => isa.run(Encode::<Q8_0, 34> { format: Q8_0, x, bytes }),
        BlockFormat::Q4_0 => isa.run(Encode::<Q4_0, 18> { format: Q4_0, x, bytes }),
    }
    Ok(())
}

/// The numbers that `bytes` stand for, into `out`. Any NaN is `f32::NAN`.
///
/// # Errors
/// [`Error::Multiple`] when `out` is not whole blocks, [`Error::Length`] of `bytes`.
pub fn decode_blocks(isa: Isa, format: BlockFormat, bytes: &[u8], out: &mut [f32]) -> Result<(), Error> {
    check_length("the blocks", format.bytes(out.len())?, bytes.len())?;
    match format {
        BlockFormat::MxInt8 => isa.run(Decode::<MxInt8, 33> { format: MxInt8, bytes, out }),
        BlockFormat::Q8_0 => isa.run(Decode::<Q8_0, 34> { format: Q8_0, bytes, out }),
        BlockFormat::Q4_0 => isa.run(Decode::<Q4_0, 18> { format: Q4_0, bytes, out }),
    }
    Ok(())
}

/// The codes of blocks as integers, −8…7 of Q4_0, and the scale of every block, NaN where MXINT8 holds no numbers: what
/// [`decode_blocks`] multiplies.
///
/// # Errors
/// [`Error::Multiple`] when `codes` is not whole blocks, [`Error::Length`] of `bytes` and `scales`.
pub fn split_blocks(
    isa: Isa,
    format: BlockFormat,
    bytes: &[u8],
    codes: &mut [i8],
    scales: &mut [f32],
) -> Result<(), Error> {
    check_length("the blocks", format.bytes(codes.len())?, bytes.len())?;
    check_length("the scales", codes.len() / BLOCK, scales.len())?;
    match format {
        BlockFormat::MxInt8 => isa.run(SplitBlocks::<MxInt8, 33> { format: MxInt8, bytes, codes, scales }),
        BlockFormat::Q8_0 => isa.run(SplitBlocks::<Q8_0, 34> { format: Q8_0, bytes, codes, scales }),
        BlockFormat::Q4_0 => isa.run(SplitBlocks::<Q4_0, 18> { format: Q4_0, bytes, codes, scales }),
    }
    Ok(())
}

/// Sixteen blocks, of two vectors each.
pub(crate) type Sixteen = [[[f32; LANES]; 2]; LANES];

/// A block of BYTES bytes.
pub(crate) trait Format<const BYTES: usize>: Copy {
    /// The largest multiple of the scale.
    const LIMIT: f32;
    /// The scales of sixteen blocks.
    fn scales<S: Simd>(self, simd: S, x: &Sixteen) -> Scales<S>;
    /// Writes the block of these multiples of its scale: within ±LIMIT, but for what rounding made of it.
    fn write<S: Simd>(self, simd: S, stored: i32, multiples: [S::F32; 2], block: &mut [u8; BYTES]);
    /// The scale of a block, and its codes as integers.
    fn read<S: Simd>(self, simd: S, block: &[u8; BYTES]) -> (f32, [S::I32; 2]);
}

/// What sixteen blocks store of their scales, and what their numbers are multiplied by.
pub(crate) struct Scales<S: Simd> {
    stored: S::I32,
    /// One after the other.
    factors: [S::F32; 2],
    /// The second factor is 1, and all products are multiples within the limit: as almost always.
    plain: bool,
}

impl<S: Simd> Scales<S> {
    /// Of scales that are stored as f16: the factor is 1 / d, or 0.
    #[inline(always)]
    fn halves(simd: S, d: S::F32) -> Self {
        let not_zero = simd.shift_right(simd.sub_i32(simd.splat_i32(0), magnitude_bits(simd, d)), simd.splat_i32(31));
        let one = simd.splat_f32(1.0);
        let reciprocal = simd.and_i32(simd.to_bits(simd.div_f32(one, d)), not_zero);
        let reciprocal = simd.of_bits(reciprocal);
        // That of the smallest scales is infinite.
        let largest = simd.splat_i32(f32::MAX.to_bits() as i32);
        let plain = !simd.any_negative(simd.sub_i32(largest, magnitude_bits(simd, reciprocal)));
        Scales { stored: half::to_half(simd, d), factors: [reciprocal, one], plain }
    }
}

/// The largest `bits` of every block.
#[inline(always)]
fn largest_of_each<S: Simd>(simd: S, x: &Sixteen, bits: impl Fn(S::F32) -> S::I32) -> S::I32 {
    let [largest] = simd.max_of_each(
        #[inline(always)]
        |i| [simd.max_i32(bits(simd.load_f32(&x[i][0])), bits(simd.load_f32(&x[i][1])))],
    );
    largest
}

/// Both halves of a block. (The methods of arrays are functions without target features.)
#[inline(always)]
fn both<T: Copy, U>(x: [T; 2], f: impl Fn(T) -> U) -> [U; 2] {
    [f(x[0]), f(x[1])]
}

/// Writes codes of eight bits, −127…127 of them.
#[inline(always)]
fn store_i8<S: Simd>(simd: S, q: [S::I32; 2], out: &mut [u8; BLOCK]) {
    // SAFETY: the same bytes.
    simd.store_symmetric_i8(q, unsafe { &mut *core::ptr::from_mut(out).cast::<[i8; BLOCK]>() });
}

/// Reads codes of eight bits.
#[inline(always)]
fn load_i8<S: Simd>(simd: S, codes: &[u8; BLOCK]) -> [S::I32; 2] {
    // SAFETY: the same bytes.
    let halves = unsafe { &*core::ptr::from_ref(codes).cast::<[[i8; LANES]; 2]>() };
    [simd.load_i8(&halves[0]), simd.load_i8(&halves[1])]
}

struct Encode<'a, F, const BYTES: usize> {
    format: F,
    x: &'a [f32],
    bytes: &'a mut [u8],
}

impl<F: Format<BYTES>, const BYTES: usize> Kernel for Encode<'_, F, BYTES> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if size_of_val(self.x) > arch::last_level() {
            self.encode::<S, true>(simd)
        } else {
            self.encode::<S, false>(simd)
        }
    }
}

impl<F: Format<BYTES>, const BYTES: usize> Encode<'_, F, BYTES> {
    #[inline(always)]
    fn encode<S: Simd, const BEYOND_CACHES: bool>(self, simd: S) {
        let (halves, _) = self.x.as_chunks::<LANES>();
        let (sixteens, rest) = halves.as_chunks::<2>().0.as_chunks();
        let (outs, rest_out) = self.bytes.as_chunks_mut().0.as_chunks_mut::<LANES>();
        // Scales take long to be there: those of the next blocks are on their way while these are written.
        let mut pending: Option<Pending<'_, BYTES>> = None;
        for (x, out) in sixteens.iter().zip(outs) {
            let next = Pending::new(simd, self.format, x, out);
            if let Some(pending) = pending.replace(next) {
                pending.write::<S, F, BEYOND_CACHES>(simd, self.format);
            }
        }
        if let Some(pending) = pending {
            pending.write::<S, F, false>(simd, self.format);
        }
        if !rest.is_empty() {
            let mut padded = Sixteen::default();
            padded[..rest.len()].copy_from_slice(rest);
            Pending::new(simd, self.format, &padded, rest_out).write::<S, F, false>(simd, self.format);
        }
    }
}

/// Sixteen blocks whose scales are known, of which as many are written as `out` has.
struct Pending<'a, const BYTES: usize> {
    x: &'a Sixteen,
    out: &'a mut [[u8; BYTES]],
    stored: [i32; LANES],
    factors: [[f32; LANES]; 2],
    plain: bool,
}

impl<'a, const BYTES: usize> Pending<'a, BYTES> {
    #[inline(always)]
    fn new<S: Simd>(simd: S, format: impl Format<BYTES>, x: &'a Sixteen, out: &'a mut [[u8; BYTES]]) -> Self {
        let Scales { stored, factors: [first, second], plain } = format.scales(simd, x);
        let mut pending = Pending { x, out, stored: [0; LANES], factors: [[0.0; LANES]; 2], plain };
        simd.store_i32(stored, &mut pending.stored);
        simd.store_f32(first, &mut pending.factors[0]);
        simd.store_f32(second, &mut pending.factors[1]);
        pending
    }

    #[inline(always)]
    fn write<S: Simd, F: Format<BYTES>, const BEYOND_CACHES: bool>(self, simd: S, format: F) {
        let Pending { x, out, stored, factors, plain } = self;
        let (min, max) = (simd.splat_f32(-F::LIMIT), simd.splat_f32(F::LIMIT));
        for (i, (x, block)) in x.iter().zip(out).enumerate() {
            if BEYOND_CACHES {
                arch::prefetch_ahead(x);
            }
            let first = simd.splat_f32(factors[0][i]);
            let mut multiples = [simd.mul_f32(simd.load_f32(&x[0]), first), simd.mul_f32(simd.load_f32(&x[1]), first)];
            if !plain {
                let second = simd.splat_f32(factors[1][i]);
                multiples = both(
                    multiples,
                    #[inline(always)]
                    |v| simd.clamp_f32(simd.mul_f32(v, second), min, max),
                );
            }
            format.write(simd, stored[i], multiples, block);
        }
    }
}

struct Decode<'a, F, const BYTES: usize> {
    format: F,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl<F: Format<BYTES>, const BYTES: usize> Kernel for Decode<'_, F, BYTES> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (halves, _) = self.out.as_chunks_mut::<LANES>();
        for (out, block) in halves.as_chunks_mut::<2>().0.iter_mut().zip(self.bytes.as_chunks().0) {
            let (scale, codes) = self.format.read(simd, block);
            let scale = simd.splat_f32(scale);
            let real = both(
                codes,
                #[inline(always)]
                // ∞ · 0 is NaN of another sign on every architecture.
                |q| simd.replace_nan(simd.mul_f32(simd.to_f32(q), scale), simd.splat_f32(f32::NAN)),
            );
            simd.store_f32(real[0], &mut out[0]);
            simd.store_f32(real[1], &mut out[1]);
        }
    }
}

struct SplitBlocks<'a, F, const BYTES: usize> {
    format: F,
    bytes: &'a [u8],
    codes: &'a mut [i8],
    scales: &'a mut [f32],
}

impl<F: Format<BYTES>, const BYTES: usize> Kernel for SplitBlocks<'_, F, BYTES> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (halves, _) = self.codes.as_chunks_mut::<LANES>();
        let blocks = halves.as_chunks_mut::<2>().0.iter_mut().zip(self.scales);
        for ((codes, scale), block) in blocks.zip(self.bytes.as_chunks().0) {
            let (block_scale, q) = self.format.read(simd, block);
            *scale = block_scale;
            simd.store_i8(q[0], &mut codes[0]);
            simd.store_i8(q[1], &mut codes[1]);
        }
    }
}
