//! Codes of up to four bits, two a byte: element 0 in the low nibble of byte 0, element 1 in its high one (ONNX's order).
//! Signed codes are in two's complement. Behind an odd number of elements the last high nibble is the code of 0, the last
//! element's zero point.
//!
//! Tensors are taken in pieces whose codes stay in the level-1 cache, on their way from the kernels of
//! [`quantize`](crate::quantize()) to packing, or back: every granularity and rounding, and the same codes.

use super::rounding::{Nearest, Rounding};
use super::{Dequantize, Groups, Quantize};
use crate::codes::{Code, CodeRange};
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::params::QuantParams;
use crate::random::Stream;
use crate::sign::Sign;
use crate::simd::LANES;
use crate::simd::memory::Memory;
use crate::simd::walk::fold_blocks;

/// The codes of a piece: even.
const PIECE: usize = 4096;

/// Packs codes into nibbles: `codes.len().div_ceil(2)` bytes, of which the last high nibble is `pad` when the codes are odd in
/// number.
///
/// ```
/// use zeropoint::{Isa, pack_nibbles, unpack_nibbles};
/// let isa = Isa::best()?;
/// let mut bytes = [0; 2];
/// pack_nibbles(isa, &[1_i8, -2, 7], 0, &mut bytes)?;
/// assert_eq!(bytes, [0xe1, 0x07]);
/// let mut codes = [0_i8; 3];
/// unpack_nibbles(isa, &bytes, &mut codes)?;
/// assert_eq!(codes, [1, -2, 7]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] of `bytes`; [`Error::Code`] for a code, or a pad, that needs more than four bits.
pub fn pack_nibbles<C: Code>(isa: Isa, codes: &[C], pad: C, bytes: &mut [u8]) -> Result<(), Error> {
    check_length("the packed codes", codes.len().div_ceil(2), bytes.len())?;
    let range = nibbles::<C>();
    // Of four bits, whatever the order, none is left above.
    let outside = |code: &C| !(range.0..=range.1).contains(&Into::<i32>::into(*code));
    if isa.run(AnyOutside { codes, range }) || outside(&pad) {
        let code = codes.iter().copied().find(outside).unwrap_or(pad).into();
        return Err(Error::Code { code, min: range.0, max: range.1 });
    }
    isa.run(Pack { codes, pad, bytes });
    Ok(())
}

/// The codes of nibbles: of `bytes`, `codes.len().div_ceil(2)` of them.
///
/// # Errors
/// [`Error::Length`] of `bytes`.
pub fn unpack_nibbles<C: Code>(isa: Isa, bytes: &[u8], codes: &mut [C]) -> Result<(), Error> {
    check_length("the packed codes", codes.len().div_ceil(2), bytes.len())?;
    isa.run(Unpack { bytes, codes });
    Ok(())
}

/// Quantizes `x` into codes of up to four bits, two a byte: what [`pack_nibbles`] makes of what
/// [`quantize`](crate::quantize()) makes of `x`, padded with the last element's zero point.
///
/// ```
/// use zeropoint::{CodeRange, Isa, QuantParams, dequantize_packed, quantize_packed};
/// let isa = Isa::best()?;
/// let params = QuantParams::per_tensor(CodeRange::unsigned(4)?, 0.5, 8)?;
/// let mut bytes = [0; 2];
/// quantize_packed(isa, &[0.5, -1.0, 100.0], &params, &mut bytes)?;
/// assert_eq!(bytes, [0x69, 0x8f]);
/// let mut real = [0.0; 3];
/// dequantize_packed(isa, &bytes, &params, &mut real)?;
/// assert_eq!(real, [0.5, -1.0, 3.5]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`quantize`](crate::quantize()); [`Error::Length`] of `bytes`; [`Error::Code`] for codes of more than four bits.
pub fn quantize_packed<C: Code>(isa: Isa, x: &[f32], params: &QuantParams<C>, bytes: &mut [u8]) -> Result<(), Error> {
    quantize_pieces(isa, x, params, Nearest, bytes)
}

/// The same of [`quantize_stochastic`](crate::quantize_stochastic()).
///
/// # Errors
/// As [`quantize_packed`]; [`Error::Stream`].
pub fn quantize_packed_stochastic<C: Code>(
    isa: Isa,
    x: &[f32],
    params: &QuantParams<C>,
    stream: Stream,
    bytes: &mut [u8],
) -> Result<(), Error> {
    stream.check(x.len())?;
    quantize_pieces(isa, x, params, stream, bytes)
}

/// The real numbers that packed codes stand for: what [`dequantize`](crate::dequantize()) makes of what [`unpack_nibbles`]
/// makes of `bytes`.
///
/// # Errors
/// As [`quantize_packed`].
pub fn dequantize_packed<C: Code>(
    isa: Isa,
    bytes: &[u8],
    params: &QuantParams<C>,
    out: &mut [f32],
) -> Result<(), Error> {
    check(out.len(), params, bytes)?;
    let mut codes = [C::default(); PIECE];
    for (i, (bytes, out)) in bytes.chunks(PIECE / 2).zip(out.chunks_mut(PIECE)).enumerate() {
        let codes = &mut codes[..out.len()];
        isa.run(Unpack { bytes, codes });
        let first = i * PIECE;
        Groups { params, x: codes, out, op: Dequantize, rounding: Nearest, first, past_caches: false }.run(isa);
    }
    Ok(())
}

fn quantize_pieces<C: Code>(
    isa: Isa,
    x: &[f32],
    params: &QuantParams<C>,
    rounding: impl Rounding,
    bytes: &mut [u8],
) -> Result<(), Error> {
    check(x.len(), params, bytes)?;
    let mut codes = [C::default(); PIECE];
    for (i, (x, bytes)) in x.chunks(PIECE).zip(bytes.chunks_mut(PIECE / 2)).enumerate() {
        let (codes, first) = (&mut codes[..x.len()], i * PIECE);
        Groups { params, x, out: codes, op: Quantize, rounding, first, past_caches: false }.run(isa);
        let zero_point = params.zero_points()[params.granularity().group_of(first + x.len() - 1)];
        let pad = C::try_from(zero_point).ok().expect("zero points are codes");
        isa.run(Pack { codes, pad, bytes });
    }
    Ok(())
}

fn check<C: Code>(elements: usize, params: &QuantParams<C>, bytes: &[u8]) -> Result<(), Error> {
    params.check_elements(elements)?;
    check_length("the packed codes", elements.div_ceil(2), bytes.len())?;
    let (codes, (min, max)): (CodeRange<C>, _) = (params.codes(), nibbles::<C>());
    let outside = [codes.min(), codes.max()].map(Into::into).into_iter().find(|code| !(min..=max).contains(code));
    outside.map_or(Ok(()), |code| Err(Error::Code { code, min, max }))
}

/// The codes of four bits.
fn nibbles<C: Code>() -> (i32, i32) {
    if C::SIGN == Sign::Signed { (-8, 7) } else { (0, 15) }
}

/// Whether a code is outside a range.
struct AnyOutside<'a, C> {
    codes: &'a [C],
    range: (i32, i32),
}

impl<C: Code> Kernel for AnyOutside<'_, C> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) -> bool {
        let AnyOutside { codes, range: (least, most) } = self;
        let (mut min, mut max) = (simd.splat_i32(least), simd.splat_i32(most));
        if !codes.is_empty() {
            fold_blocks(
                codes,
                Memory::Cached,
                #[inline(always)]
                |_, codes| {
                    let codes = C::load(simd, codes);
                    min = simd.min_i32(min, codes);
                    max = simd.max_i32(max, codes);
                },
            );
        }
        let below = simd.max_of_i32(simd.sub_i32(simd.splat_i32(least), min));
        below > 0 || simd.max_of_i32(max) > most
    }
}

/// Codes into nibbles.
struct Pack<'a, C> {
    codes: &'a [C],
    pad: C,
    bytes: &'a mut [u8],
}

impl<C: Code> Kernel for Pack<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        let Pack { codes, pad, bytes } = self;
        let (blocks, tail) = C::bytes(codes).as_chunks();
        let (out_blocks, out_tail) = bytes.as_chunks_mut::<LANES>();
        // `out_blocks` has one more when the tail fills its last half.
        let whole = blocks.len().min(out_blocks.len());
        for (codes, out) in blocks.iter().zip(&mut *out_blocks) {
            simd.pack_nibbles(codes, out);
        }
        if !tail.is_empty() {
            let (mut padded, mut packed) = ([pad.to_byte(); 2 * LANES], [0; LANES]);
            padded[..tail.len()].copy_from_slice(tail);
            simd.pack_nibbles(&padded, &mut packed);
            let out = if out_blocks.len() > whole { &mut out_blocks[whole][..] } else { out_tail };
            out.copy_from_slice(&packed[..out.len()]);
        }
    }
}

/// Nibbles into codes.
struct Unpack<'a, C> {
    bytes: &'a [u8],
    codes: &'a mut [C],
}

impl<C: Code> Kernel for Unpack<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) {
        let Unpack { bytes, codes } = self;
        let flip = if C::SIGN == Sign::Signed { 8 } else { 0 };
        let (out_blocks, out_tail) = C::bytes_mut(codes).as_chunks_mut();
        let whole = out_blocks.len();
        for (out, bytes) in out_blocks.iter_mut().zip(bytes.as_chunks().0) {
            simd.unpack_nibbles(bytes, flip, out);
        }
        if !out_tail.is_empty() {
            let rest = &bytes[whole * LANES..];
            let (mut padded, mut out) = ([0; LANES], [0; 2 * LANES]);
            padded[..rest.len()].copy_from_slice(rest);
            simd.unpack_nibbles(&padded, flip, &mut out);
            out_tail.copy_from_slice(&out[..out_tail.len()]);
        }
    }
}
