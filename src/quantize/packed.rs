//! Packing codes of up to four bits, two in a byte, and unpacking them.

use crate::codes::{Code, CodeBounds, Codes};
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::sign::Sign;
use crate::simd::LANES;
use crate::simd::memory::Memory;
use crate::simd::walk::fold_blocks;

/// Packs codes into nibbles, in the layout of [`Nibbles`](crate::Nibbles): `codes.len().div_ceil(2)` bytes. If the number of
/// codes is odd, the last high nibble is `pad`. No codes are no bytes.
///
/// ```
/// use zeropoint::{Exec, raw};
/// let exec = Exec::best()?;
/// let mut bytes = [0; 2];
/// raw::pack_nibbles(exec, &[1_i8, -2, 7], 0, &mut bytes)?;
/// assert_eq!(bytes, [0xe1, 0x07]);
/// let mut codes = [0_i8; 3];
/// raw::unpack_nibbles(exec, &bytes, &mut codes)?;
/// assert_eq!(codes, [1, -2, 7]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] of `bytes`; [`Error::Code`] for a code that needs more than four bits, or a pad (whose index is behind
/// the last code).
pub fn pack_nibbles<'e, C: Code>(
    exec: impl Into<Exec<'e>>,
    codes: &[C],
    pad: C,
    bytes: &mut [u8],
) -> Result<(), Error> {
    check_length("the packed codes", codes.len().div_ceil(2), bytes.len())?;
    let isa = exec.into().isa();
    check_codes(isa, C::erase(codes))?;
    bounds(C::SIGN).check_code(codes.len(), pad.into())?;
    pack(isa, bytemuck::cast_slice(codes), pad.to_byte(), bytes);
    Ok(())
}

/// Unpacks the codes of nibbles, in the layout of [`Nibbles`](crate::Nibbles), from `codes.len().div_ceil(2)` bytes.
///
/// # Errors
/// [`Error::Length`] of `bytes`.
pub fn unpack_nibbles<'e, C: Code>(exec: impl Into<Exec<'e>>, bytes: &[u8], codes: &mut [C]) -> Result<(), Error> {
    check_length("the packed codes", codes.len().div_ceil(2), bytes.len())?;
    unpack(exec.into().isa(), bytes, C::SIGN, bytemuck::cast_slice_mut(codes));
    Ok(())
}

/// The codes of four bits.
pub(crate) fn bounds(sign: Sign) -> CodeBounds {
    match sign {
        Sign::Unsigned => CodeBounds { min: 0, max: 15 },
        Sign::Signed => CodeBounds { min: -8, max: 7 },
    }
}

/// An error with the first code that needs more than four bits, if there is one.
fn check_codes(isa: Isa, codes: Codes<'_>) -> Result<(), Error> {
    let bounds = bounds(match codes {
        Codes::U8(_) => Sign::Unsigned,
        Codes::I8(_) => Sign::Signed,
    });
    if !isa.run(AnyOutside { codes, bounds }) {
        return Ok(());
    }
    match codes {
        Codes::U8(codes) => codes.iter().enumerate().try_for_each(|(i, &code)| bounds.check_code(i, code.into())),
        Codes::I8(codes) => codes.iter().enumerate().try_for_each(|(i, &code)| bounds.check_code(i, code.into())),
    }
}

/// Packs the bytes of codes that have four bits.
pub(crate) fn pack(isa: Isa, codes: &[u8], pad: u8, bytes: &mut [u8]) {
    isa.run(Pack { codes, pad, bytes });
}

/// Unpacks nibbles into the bytes of codes.
pub(crate) fn unpack(isa: Isa, bytes: &[u8], sign: Sign, codes: &mut [u8]) {
    // The value of the sign bit of a nibble.
    let flip = if sign == Sign::Signed { 8 } else { 0 };
    isa.run(Unpack { bytes, flip, codes });
}

/// Whether a code is outside of the bounds.
struct AnyOutside<'a> {
    codes: Codes<'a>,
    bounds: CodeBounds,
}

impl Kernel for AnyOutside<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> bool {
        let AnyOutside { codes, bounds } = self;
        let (low, high) = (v.splat_i32(bounds.min), v.splat_i32(bounds.max));
        let (mut min, mut max) = (low, high);
        match codes {
            Codes::U8([]) | Codes::I8([]) => {}
            Codes::U8(codes) => fold_blocks(
                codes,
                Memory::Cached,
                #[inline(always)]
                |_, codes| max = v.max_i32(max, v.load_u8(codes)),
            ),
            Codes::I8(codes) => fold_blocks(
                codes,
                Memory::Cached,
                #[inline(always)]
                |_, codes| {
                    let codes = v.load_i8(codes);
                    min = v.min_i32(min, codes);
                    max = v.max_i32(max, codes);
                },
            ),
        }
        v.any(v.less_i32(min, low)) || v.any(v.less_i32(high, max))
    }
}

struct Pack<'a> {
    codes: &'a [u8],
    pad: u8,
    bytes: &'a mut [u8],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Pack { codes, pad, bytes } = self;
        let (blocks, tail) = codes.as_chunks();
        let (out, out_tail) = bytes.as_chunks_mut::<LANES>();
        // `out` has one block more when the tail of the codes fills it.
        for (codes, out) in blocks.iter().zip(&mut *out) {
            v.pack_nibbles(codes, out);
        }
        if !tail.is_empty() {
            let (mut padded, mut packed) = ([pad; 2 * LANES], [0; LANES]);
            padded[..tail.len()].copy_from_slice(tail);
            v.pack_nibbles(&padded, &mut packed);
            let out = if out.len() > blocks.len() { &mut out[blocks.len()][..] } else { out_tail };
            out.copy_from_slice(&packed[..out.len()]);
        }
    }
}

struct Unpack<'a> {
    bytes: &'a [u8],
    flip: u8,
    codes: &'a mut [u8],
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Unpack { bytes, flip, codes } = self;
        let (out, out_tail) = codes.as_chunks_mut();
        let whole = out.len();
        for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
            v.unpack_nibbles(bytes, flip, out);
        }
        if !out_tail.is_empty() {
            let rest = &bytes[whole * LANES..];
            let (mut padded, mut out) = ([0; LANES], [0; 2 * LANES]);
            padded[..rest.len()].copy_from_slice(rest);
            v.unpack_nibbles(&padded, flip, &mut out);
            out_tail.copy_from_slice(&out[..out_tail.len()]);
        }
    }
}
