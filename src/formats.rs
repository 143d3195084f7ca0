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
//! written, two blocks at a time. What a format cannot store is found before the first byte is written: numbers in the caches
//! are read once for all largest magnitudes, which are kept, and once for the codes.
//!
//! The formulas stand with each format, in a file of its own. Rounding follows the document or the scalar code that defines
//! the format, on every ISA. (The vector code of ggml rounds ties of Q8_0 otherwise than its scalar code.)

pub(crate) mod half;
mod mxint8;
mod q4_0;
mod q8_0;
pub(crate) mod vectors;

use crate::cache;
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::memory::Workspace;
use crate::reduce::{AbsMax, finite, magnitude_bits, memory_of};
use crate::simd::LANES;
use crate::simd::memory::Memory;
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
}

/// Encodes `x`, block after block, into `bytes`: `BlockFormat::bytes(x.len())` of them.
///
/// # Errors
/// [`Error::Multiple`] when `x` is not whole blocks, [`Error::Length`] of `bytes`. For the formats with f16 scales
/// [`Error::NonFinite`], and [`Error::Range`] for magnitudes above 127 · 65519 (Q8_0) or 8 · 65519 (Q4_0), whose scale would
/// be infinite.
pub fn encode_blocks(isa: Isa, format: BlockFormat, x: &[f32], bytes: &mut [u8]) -> Result<(), Error> {
    check_length("the blocks", format.bytes(x.len())?, bytes.len())?;
    match format {
        BlockFormat::MxInt8 => encode::<_, 33>(isa, MxInt8, x, bytes),
        BlockFormat::Q8_0 => encode::<_, 34>(isa, Q8_0, x, bytes),
        BlockFormat::Q4_0 => encode::<_, 18>(isa, Q4_0, x, bytes),
    }
}

fn encode<F: Format<BYTES>, const BYTES: usize>(isa: Isa, format: F, x: &[f32], bytes: &mut [u8]) -> Result<(), Error> {
    let memory = memory_of(x);
    let keeps = F::LARGEST.is_some() && memory == Memory::Cached;
    let mut kept = Workspace::default();
    let kept = kept.elements(if keeps { (x.len() / BLOCK).next_multiple_of(LANES) } else { 0 });
    isa.run(Encode { format, x, bytes, memory, kept }).or_else(|magnitude| {
        let amax = finite(magnitude, x)?;
        let why = "the scale of its block would be above the largest f16";
        Err(Error::Range { min: -amax, max: amax, why })
    })
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
    /// The largest multiple, in units of the scale or of what part of it [`Format::scales`] takes.
    const LIMIT: f32;
    /// The largest magnitude whose scale the format can store, if it is not all of them.
    const LARGEST: Option<f32>;
    /// The numbers that the scales of sixteen blocks are made of, or their magnitudes: the largest ones, as bits.
    fn largest<S: Vectors>(self, simd: S, x: &Sixteen) -> S::I32;
    /// The scales of sixteen blocks.
    fn scales<S: Vectors>(self, simd: S, largest: S::I32) -> Scales<S>;
    /// Writes two blocks of these multiples of their scales: within ±LIMIT, but for what rounding made of it.
    fn write<S: Vectors>(self, simd: S, stored: [i32; 2], multiples: [[S::F32; 2]; 2], blocks: &mut [[u8; BYTES]; 2]);
    /// The scale of a block, and its codes as integers.
    fn read<S: Vectors>(self, simd: S, block: &[u8; BYTES]) -> (f32, [S::I32; 2]);
}

/// What sixteen blocks store of their scales, and what their numbers are multiplied by.
pub(crate) struct Scales<S: Vectors> {
    stored: S::I32,
    /// One after the other.
    factors: [S::F32; 2],
    /// The first factor stands for both, and all products are multiples within the limit: as almost always.
    plain: bool,
}

impl<S: Vectors> Scales<S> {
    /// Of scales that are stored as f16, for multiples of d / `units`: the factor is units / d, or 0.
    #[inline(always)]
    fn halves(simd: S, d: S::F32, units: f32) -> Self {
        let not_zero = simd.shift_right(simd.sub_i32(simd.splat_i32(0), magnitude_bits(simd, d)), simd.splat_i32(31));
        let reciprocal = simd.and_i32(simd.to_bits(simd.div_f32(simd.splat_f32(1.0), d)), not_zero);
        let (reciprocal, units) = (simd.of_bits(reciprocal), simd.splat_f32(units));
        let factor = simd.mul_f32(reciprocal, units);
        // That of the smallest scales is infinite.
        let largest = simd.splat_i32(f32::MAX.to_bits() as i32);
        let plain = !simd.any_negative(simd.sub_i32(largest, magnitude_bits(simd, factor)));
        Scales { stored: half::to_half(simd, d), factors: [if plain { factor } else { reciprocal }, units], plain }
    }
}

/// The largest magnitude of every block, as bits.
#[inline(always)]
fn largest_magnitudes<S: Vectors>(simd: S, x: &Sixteen) -> S::I32 {
    let [largest] = simd.max_of_each(
        #[inline(always)]
        |i| {
            // Level 2 is read faster, too: with 512 bits by a tenth.
            cache::prefetch_ahead(&x[i]);
            let [first, second] = both(
                [&x[i][0], &x[i][1]],
                #[inline(always)]
                |x| magnitude_bits(simd, simd.load_f32(x)),
            );
            [simd.max_i32(first, second)]
        },
    );
    largest
}

/// Both of two. (The methods of arrays are functions without target features.)
#[inline(always)]
fn both<T: Copy, U>(x: [T; 2], f: impl Fn(T) -> U) -> [U; 2] {
    [f(x[0]), f(x[1])]
}

/// The multiples of two blocks as integers.
#[inline(always)]
fn integers<S: Vectors>(multiples: [[S::F32; 2]; 2], round: impl Fn(S::F32) -> S::I32) -> [[S::I32; 2]; 2] {
    both(
        multiples,
        #[inline(always)]
        |[first, second]| [round(first), round(second)],
    )
}

/// Room for codes of eight bits.
#[inline(always)]
fn as_i8(codes: &mut [u8; BLOCK]) -> &mut [i8; BLOCK] {
    // SAFETY: the same bytes.
    unsafe { &mut *core::ptr::from_mut(codes).cast() }
}

/// Reads codes of eight bits.
#[inline(always)]
fn load_i8<S: Vectors>(simd: S, codes: &[u8; BLOCK]) -> [S::I32; 2] {
    // SAFETY: the same bytes.
    let halves = unsafe { &*core::ptr::from_ref(codes).cast::<[[i8; LANES]; 2]>() };
    [simd.load_i8(&halves[0]), simd.load_i8(&halves[1])]
}

struct Encode<'a, F, const BYTES: usize> {
    format: F,
    x: &'a [f32],
    bytes: &'a mut [u8],
    memory: Memory,
    /// Room for [`Format::largest`] of all blocks, and up to whole sixteens, if the format asks for it and the numbers are in the
    /// caches: from memory, finding it again takes no longer than reading it.
    kept: &'a mut [i32],
}

impl<F: Format<BYTES>, const BYTES: usize> Kernel for Encode<'_, F, BYTES> {
    /// What is wrong is the largest magnitude, as bits.
    type Output = Result<(), i32>;

    #[inline(always)]
    fn run<S: Vectors>(mut self, simd: S) -> Result<(), i32> {
        let beyond_caches = self.memory != Memory::Cached;
        if let Some(largest) = F::LARGEST {
            let magnitude = match self.x {
                [] => 0,
                x if beyond_caches => AbsMax { x }.run(simd),
                _ => self.keep(simd),
            };
            // (Of infinity and NaN as well.)
            if magnitude > largest.to_bits() as i32 {
                return Err(magnitude);
            }
        }
        if beyond_caches {
            self.encode::<S, true>(simd);
        } else {
            self.encode::<S, false>(simd);
        }
        Ok(())
    }
}

impl<F: Format<BYTES>, const BYTES: usize> Encode<'_, F, BYTES> {
    /// Finds what the scales of all blocks are made of. Of all, the largest magnitude.
    #[inline(always)]
    fn keep<S: Vectors>(&mut self, simd: S) -> i32 {
        let (sixteens, rest) = sixteens_of(self.x);
        let (format, (kept, _)) = (self.format, self.kept.as_chunks_mut());
        let mut magnitude = simd.splat_i32(0);
        for (x, kept) in sixteens.iter().zip(&mut *kept) {
            magnitude = simd.max_i32(magnitude, Self::keep_sixteen(format, simd, x, kept));
        }
        if let (false, Some(kept)) = (rest.is_empty(), kept.last_mut()) {
            magnitude = simd.max_i32(magnitude, Self::keep_sixteen(format, simd, &padded(rest), kept));
        }
        simd.max_of_i32(magnitude)
    }

    /// The same of sixteen blocks; the magnitudes of each.
    #[inline(always)]
    fn keep_sixteen<S: Vectors>(format: F, simd: S, x: &Sixteen, kept: &mut [i32; LANES]) -> S::I32 {
        let largest = format.largest(simd, x);
        simd.store_i32(largest, kept);
        magnitude_bits(simd, simd.of_bits(largest))
    }

    /// The scales of the i-th sixteen blocks.
    #[inline(always)]
    fn scales<S: Vectors, const BEYOND_CACHES: bool>(
        format: F,
        simd: S,
        kept: &[i32],
        i: usize,
        x: &Sixteen,
    ) -> Scales<S> {
        let largest = match kept.as_chunks().0.get(i) {
            Some(kept) if !BEYOND_CACHES && F::LARGEST.is_some() => simd.load_i32(kept),
            _ => format.largest(simd, x),
        };
        format.scales(simd, largest)
    }

    #[inline(always)]
    fn encode<S: Vectors, const BEYOND_CACHES: bool>(self, simd: S) {
        let Encode { format, x, bytes, kept, .. } = self;
        let (sixteens, rest) = sixteens_of(x);
        let (outs, rest_out) = bytes.as_chunks_mut().0.as_chunks_mut::<LANES>();
        // Scales take long to be there: those of the next blocks are on their way while these are written.
        let mut pending: Option<Pending<'_, BYTES>> = None;
        for (i, (x, out)) in sixteens.iter().zip(outs).enumerate() {
            let next = Pending::new(simd, Self::scales::<S, BEYOND_CACHES>(format, simd, kept, i, x), x, out);
            if let Some(pending) = pending.replace(next) {
                pending.write::<S, F, BEYOND_CACHES>(simd, format);
            }
        }
        if let Some(pending) = pending {
            pending.write::<S, F, false>(simd, format);
        }
        if !rest.is_empty() {
            let x = padded(rest);
            let mut out = [[0; BYTES]; LANES];
            let scales = Self::scales::<S, BEYOND_CACHES>(format, simd, kept, sixteens.len(), &x);
            Pending::new(simd, scales, &x, &mut out).write::<S, F, false>(simd, format);
            rest_out.copy_from_slice(&out[..rest_out.len()]);
        }
    }
}

/// Sixteen blocks after sixteen, and the last ones.
#[inline(always)]
fn sixteens_of(x: &[f32]) -> (&[Sixteen], &[[[f32; LANES]; 2]]) {
    x.as_chunks::<LANES>().0.as_chunks::<2>().0.as_chunks()
}

/// Fewer than sixteen blocks, with zeros behind.
#[inline(always)]
fn padded(rest: &[[[f32; LANES]; 2]]) -> Sixteen {
    let mut padded = Sixteen::default();
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

/// Sixteen blocks whose scales are known.
struct Pending<'a, const BYTES: usize> {
    x: &'a Sixteen,
    out: &'a mut [[u8; BYTES]; LANES],
    stored: [i32; LANES],
    factors: [[f32; LANES]; 2],
    plain: bool,
}

impl<'a, const BYTES: usize> Pending<'a, BYTES> {
    #[inline(always)]
    fn new<S: Vectors>(simd: S, scales: Scales<S>, x: &'a Sixteen, out: &'a mut [[u8; BYTES]; LANES]) -> Self {
        let Scales { stored, factors: [first, second], plain } = scales;
        let mut pending = Pending { x, out, stored: [0; LANES], factors: [[0.0; LANES]; 2], plain };
        simd.store_i32(stored, &mut pending.stored);
        simd.store_f32(first, &mut pending.factors[0]);
        simd.store_f32(second, &mut pending.factors[1]);
        pending
    }

    #[inline(always)]
    fn write<S: Vectors, F: Format<BYTES>, const BEYOND_CACHES: bool>(self, simd: S, format: F) {
        let Pending { x, out, stored, factors, plain } = self;
        for (pair, blocks) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let (i, j) = (2 * pair, 2 * pair + 1);
            if BEYOND_CACHES {
                cache::prefetch_ahead(&x[i]);
                cache::prefetch_ahead(&x[j]);
            }
            let multiples = [
                multiples_of::<S, F, BYTES>(simd, &x[i], [factors[0][i], factors[1][i]], plain),
                multiples_of::<S, F, BYTES>(simd, &x[j], [factors[0][j], factors[1][j]], plain),
            ];
            format.write(simd, [stored[i], stored[j]], multiples, blocks);
        }
    }
}

/// A block divided by its scale.
#[inline(always)]
fn multiples_of<S: Vectors, F: Format<BYTES>, const BYTES: usize>(
    simd: S,
    x: &[[f32; LANES]; 2],
    factors: [f32; 2],
    plain: bool,
) -> [S::F32; 2] {
    let [first, second] = both(
        factors,
        #[inline(always)]
        |factor| simd.splat_f32(factor),
    );
    let multiples = [simd.mul_f32(simd.load_f32(&x[0]), first), simd.mul_f32(simd.load_f32(&x[1]), first)];
    if plain {
        return multiples;
    }
    let (min, max) = (simd.splat_f32(-F::LIMIT), simd.splat_f32(F::LIMIT));
    both(
        multiples,
        #[inline(always)]
        |v| simd.clamp_f32(simd.mul_f32(v, second), min, max),
    )
}

struct Decode<'a, F, const BYTES: usize> {
    format: F,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl<F: Format<BYTES>, const BYTES: usize> Kernel for Decode<'_, F, BYTES> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        let (halves, _) = self.out.as_chunks_mut::<LANES>();
        for (out, block) in halves.as_chunks_mut::<2>().0.iter_mut().zip(self.bytes.as_chunks().0) {
            let (scale, codes) = self.format.read(simd, block);
            let scale = simd.splat_f32(scale);
            let real = both(
                codes,
                #[inline(always)]
                // ∞ · 0 is NaN of another sign on every architecture.
                |q| {
                    let x = simd.mul_f32(simd.to_f32(q), scale);
                    simd.select_f32(simd.is_nan(x), simd.splat_f32(f32::NAN), x)
                },
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
    fn run<S: Vectors>(self, simd: S) {
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
