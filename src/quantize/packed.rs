//! Packing codes of a few bits, several in a byte, and unpacking them.

use crate::codes::{ByteCode, CodeBounds};
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::sign::Sign;
use crate::simd::LANES;
use crate::simd::memory::Memory;
use crate::simd::walk::fold_blocks;
use crate::views::{Packed, PackedCodes, PackedCodesMut, PackedMut, Packing, Width};

/// Packs as many codes as `packed` has. What its last byte has above the last code becomes `pad`.
///
/// ```
/// use zeropoint::{Exec, PackedCodes, PackedCodesMut, raw};
/// let exec = Exec::best()?;
/// let mut bytes = [0; 2];
/// raw::pack_codes(exec, &[1_i8, -2, 7], 0, PackedCodesMut::four_bits(&mut bytes, 3)?)?;
/// assert_eq!(bytes, [0xe1, 0x07]);
/// let mut codes = [0_i8; 3];
/// raw::unpack_codes(exec, PackedCodes::four_bits(&bytes, 3)?, &mut codes)?;
/// assert_eq!(codes, [1, -2, 7]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] of `codes`; [`Error::Code`] for a code that needs more bits, or a pad (whose index is behind the last
/// code).
pub fn pack_codes<'e, C: ByteCode>(
    exec: impl Into<Exec<'e>>,
    codes: &[C],
    pad: C,
    mut packed: PackedCodesMut<'_, C>,
) -> Result<(), Error> {
    pack_checked(exec.into().isa(), bytemuck::cast_slice(codes), pad.into(), packed.erase())
}

fn pack_checked(isa: Isa, codes: &[u8], pad: i32, packed: PackedMut<'_>) -> Result<(), Error> {
    let PackedMut { bytes, length, packing: Packing { width, sign } } = packed;
    check_length("the codes", length, codes.len())?;
    let bounds = width.bounds(sign);
    if isa.run(AnyOutside { codes, sign, bounds }) {
        codes.iter().enumerate().try_for_each(|(i, &code)| bounds.check_code(i, sign.value(code)))?;
    }
    bounds.check_code(length, pad)?;
    pack(isa, codes, pad as u8, width, bytes);
    Ok(())
}

/// Unpacks all codes.
///
/// # Errors
/// [`Error::Length`] of `codes`.
pub fn unpack_codes<'e, C: ByteCode>(
    exec: impl Into<Exec<'e>>,
    packed: PackedCodes<'_, C>,
    codes: &mut [C],
) -> Result<(), Error> {
    let Packed { bytes, length, packing } = packed.erase();
    check_length("the codes", length, codes.len())?;
    unpack(exec.into().isa(), bytes, packing, bytemuck::cast_slice_mut(codes));
    Ok(())
}

/// Packs the bytes of codes that have no more bits.
pub(crate) fn pack(isa: Isa, codes: &[u8], pad: u8, width: Width, bytes: &mut [u8]) {
    isa.run(Pack { codes, pad, width, bytes });
}

/// Unpacks into the bytes of codes.
pub(crate) fn unpack(isa: Isa, bytes: &[u8], packing: Packing, codes: &mut [u8]) {
    isa.run(Unpack { bytes, packing, codes });
}

/// Whether a code is outside of the bounds.
struct AnyOutside<'a> {
    codes: &'a [u8],
    sign: Sign,
    bounds: CodeBounds,
}

impl Kernel for AnyOutside<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> bool {
        let AnyOutside { codes, sign, bounds } = self;
        if codes.is_empty() {
            return false;
        }
        let (low, high) = (v.splat_i32(bounds.min), v.splat_i32(bounds.max));
        let (mut min, mut max) = (low, high);
        match sign {
            Sign::Unsigned => fold_blocks(
                codes,
                Memory::Cached,
                #[inline(always)]
                |_, codes| max = v.max_i32(max, v.load_u8(codes)),
            ),
            Sign::Signed => fold_blocks(
                bytemuck::must_cast_slice(codes),
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
    width: Width,
    bytes: &'a mut [u8],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Pack { codes, pad, width, bytes } = self;
        match width {
            Width::Four => pack_blocks(
                codes,
                pad,
                bytes,
                #[inline(always)]
                |codes: &[u8; 2 * LANES], out| v.pack_pairs::<4>(codes, out),
            ),
            Width::Two => pack_blocks(
                codes,
                pad,
                bytes,
                #[inline(always)]
                |codes: &[u8; 4 * LANES], out| {
                    let mut pairs = [0; 2 * LANES];
                    for (codes, pairs) in codes.as_chunks().0.iter().zip(pairs.as_chunks_mut().0) {
                        v.pack_pairs::<2>(codes, pairs);
                    }
                    v.pack_pairs::<4>(&pairs, out);
                },
            ),
        }
    }
}

/// Packs blocks of `CODES` codes into a vector of bytes each, and the rest out of a padded block.
#[inline(always)]
fn pack_blocks<const CODES: usize>(
    codes: &[u8],
    pad: u8,
    bytes: &mut [u8],
    pack: impl Fn(&[u8; CODES], &mut [u8; LANES]),
) {
    let (blocks, tail) = codes.as_chunks();
    let (out, rest) = bytes.split_at_mut(blocks.len() * LANES);
    for (codes, out) in blocks.iter().zip(out.as_chunks_mut().0) {
        pack(codes, out);
    }
    if !tail.is_empty() {
        let (mut padded, mut packed) = ([pad; CODES], [0; LANES]);
        padded[..tail.len()].copy_from_slice(tail);
        pack(&padded, &mut packed);
        rest.copy_from_slice(&packed[..rest.len()]);
    }
}

struct Unpack<'a> {
    bytes: &'a [u8],
    packing: Packing,
    codes: &'a mut [u8],
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Unpack { bytes, packing: Packing { width, sign }, codes } = self;
        // The value of a sign bit.
        let flip = if sign == Sign::Signed { width.bounds(sign).min.unsigned_abs() as u8 } else { 0 };
        match width {
            Width::Four => unpack_blocks(
                bytes,
                codes,
                #[inline(always)]
                |bytes, out: &mut [u8; 2 * LANES]| v.unpack_pairs::<4>(bytes, flip, out),
            ),
            Width::Two => unpack_blocks(
                bytes,
                codes,
                #[inline(always)]
                |bytes, out: &mut [u8; 4 * LANES]| {
                    let mut pairs = [0; 2 * LANES];
                    v.unpack_pairs::<4>(bytes, 0, &mut pairs);
                    for (pairs, out) in pairs.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                        v.unpack_pairs::<2>(pairs, flip, out);
                    }
                },
            ),
        }
    }
}

/// Unpacks a vector of bytes into each block of `CODES` codes, and the rest into a padded block.
#[inline(always)]
fn unpack_blocks<const CODES: usize>(bytes: &[u8], codes: &mut [u8], unpack: impl Fn(&[u8; LANES], &mut [u8; CODES])) {
    let (blocks, tail) = codes.as_chunks_mut();
    let (bytes, rest) = bytes.split_at(blocks.len() * LANES);
    for (bytes, out) in bytes.as_chunks().0.iter().zip(blocks) {
        unpack(bytes, out);
    }
    if !tail.is_empty() {
        let (mut padded, mut out) = ([0; LANES], [0; CODES]);
        padded[..rest.len()].copy_from_slice(rest);
        unpack(&padded, &mut out);
        tail.copy_from_slice(&out[..tail.len()]);
    }
}
