//! Reals of 16 bits: f16 (IEEE binary16) and bf16, as their bits.
//!
//! Operations compute in f32. A source of 16 bits is widened, which is exact; a result is computed in f32 and rounded once more,
//! to nearest, ties to even. Between memory and a kernel the f32 are in a piece of workspace that the level-1 cache holds.

pub(crate) mod f16;
pub(crate) mod vectors;

use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::simd::LANES;
use crate::simd::walk::block;

/// Which reals of 16 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HalfKind {
    /// IEEE binary16: 5 bits of exponent, 10 of mantissa.
    F16,
    /// The upper half of an f32: 8 bits of exponent, 7 of mantissa.
    Bf16,
}

/// Reals of 16 bits that an operation reads as f32: f16 (IEEE binary16) or bf16, as their bits. Every one is an f32, so they are
/// exact. (The types of the crate `half` become bits by its `reinterpret_cast`, or by `bytemuck`.)
///
/// ```
/// use zeropoint::{CodeRange, Exec, Halves, QuantParams, Rounding, quantize};
/// let params = QuantParams::per_tensor(CodeRange::signed(8)?, 0.5, 0)?;
/// let mut codes = [0_i8; 3];
/// quantize(Exec::best()?, Halves::bf16(&[0x3f80, 0xc000, 0x3f00]), &params, Rounding::Nearest, &mut codes)?;
/// assert_eq!(codes, [2, -4, 1]); // 1, −2, ½
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Halves<'a> {
    pub(crate) bits: &'a [u16],
    pub(crate) kind: HalfKind,
}

impl<'a> Halves<'a> {
    /// f16, IEEE binary16.
    #[must_use]
    pub fn f16(bits: &'a [u16]) -> Self {
        Halves { bits, kind: HalfKind::F16 }
    }

    /// bf16, the upper halves of f32.
    #[must_use]
    pub fn bf16(bits: &'a [u16]) -> Self {
        Halves { bits, kind: HalfKind::Bf16 }
    }
}

/// Reals of 16 bits that an operation writes: f16 (IEEE binary16) or bf16, as their bits. What the operation would write as f32
/// is rounded to nearest, ties to even: beyond the largest to infinity, and NaN to 0x7e00 (f16) or 0x7fc0 (bf16).
///
/// ```
/// use zeropoint::{CodeRange, Exec, HalvesMut, QuantParams, dequantize};
/// let params = QuantParams::per_tensor(CodeRange::signed(8)?, 0.1, 0)?;
/// let mut out = [0; 3];
/// dequantize(Exec::best()?, &[10_i8, -20, 1], &params, HalvesMut::f16(&mut out))?;
/// assert_eq!(out, [0x3c00, 0xc000, 0x2e66]); // 1, −2, 0.0999756
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Debug)]
pub struct HalvesMut<'a> {
    pub(crate) bits: &'a mut [u16],
    pub(crate) kind: HalfKind,
}

impl<'a> HalvesMut<'a> {
    /// f16, IEEE binary16.
    #[must_use]
    pub fn f16(bits: &'a mut [u16]) -> Self {
        HalvesMut { bits, kind: HalfKind::F16 }
    }

    /// bf16, the upper halves of f32.
    #[must_use]
    pub fn bf16(bits: &'a mut [u16]) -> Self {
        HalvesMut { bits, kind: HalfKind::Bf16 }
    }
}

/// Elements that a core converts in a nanosecond at most.
const RATE: usize = 16;

/// Elements of a piece that a thread takes.
const PIECE: usize = 32 << 10;

/// Widens reals of 16 bits to f32, exactly: for operations that take slices of f32.
///
/// ```
/// use zeropoint::{Exec, Halves, raw};
/// let mut x = [0.0; 2];
/// raw::widen(Exec::best()?, Halves::f16(&[0x3555, 0xfc00]), &mut x)?;
/// assert_eq!(x, [0.333_251_95, f32::NEG_INFINITY]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] of the output.
pub fn widen<'e>(exec: impl Into<Exec<'e>>, x: Halves<'_>, out: &mut [f32]) -> Result<(), Error> {
    widen_all(exec.into(), x, out)
}

fn widen_all(exec: Exec<'_>, x: Halves<'_>, out: &mut [f32]) -> Result<(), Error> {
    check_length("the output", x.bits.len(), out.len())?;
    let pieces = x.bits.chunks(PIECE).zip(out.chunks_mut(PIECE));
    exec.team(x.bits.len() / RATE).share(pieces, |(bits, out)| widen_piece(exec.isa(), Halves { bits, ..x }, out));
    Ok(())
}

/// Rounds f32 to reals of 16 bits, to nearest, ties to even, as [`HalvesMut`] says.
///
/// ```
/// use zeropoint::{Exec, HalvesMut, raw};
/// let mut bits = [0; 3];
/// raw::narrow(Exec::best()?, &[1.0 / 3.0, 65_520.0, -0.0], HalvesMut::f16(&mut bits))?;
/// assert_eq!(bits, [0x3555, 0x7c00, 0x8000]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] of the output.
pub fn narrow<'e>(exec: impl Into<Exec<'e>>, x: &[f32], out: HalvesMut<'_>) -> Result<(), Error> {
    narrow_all(exec.into(), x, out)
}

fn narrow_all(exec: Exec<'_>, x: &[f32], out: HalvesMut<'_>) -> Result<(), Error> {
    check_length("the output", x.len(), out.bits.len())?;
    let HalvesMut { bits, kind } = out;
    let pieces = x.chunks(PIECE).zip(bits.chunks_mut(PIECE));
    exec.team(x.len() / RATE).share(pieces, |(x, bits)| narrow_piece(exec.isa(), x, HalvesMut { bits, kind }));
    Ok(())
}

/// [`widen`] of a piece, into as many f32.
pub(crate) fn widen_piece(isa: Isa, x: Halves<'_>, out: &mut [f32]) {
    isa.run(Widen { x, out });
}

/// [`narrow`] of a piece, into as many reals of 16 bits.
pub(crate) fn narrow_piece(isa: Isa, x: &[f32], out: HalvesMut<'_>) {
    isa.run(Narrow { x, out });
}

struct Widen<'a> {
    x: Halves<'a>,
    out: &'a mut [f32],
}

impl Kernel for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Widen { x: Halves { bits, kind }, out } = self;
        match kind {
            HalfKind::F16 => convert(
                bits,
                out,
                #[inline(always)]
                |x, out| v.store_f32(v.load_f16(x), out),
            ),
            HalfKind::Bf16 => convert(
                bits,
                out,
                #[inline(always)]
                |x, out| v.store_f32(v.of_bits(v.shift_left::<16>(v.load_u16(x))), out),
            ),
        }
    }
}

struct Narrow<'a> {
    x: &'a [f32],
    out: HalvesMut<'a>,
}

impl Kernel for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let Narrow { x, out: HalvesMut { bits, kind } } = self;
        match kind {
            HalfKind::F16 => convert(
                x,
                bits,
                #[inline(always)]
                |x, out| v.store_f16(v.load_f32(x), out),
            ),
            HalfKind::Bf16 => convert(
                x,
                bits,
                #[inline(always)]
                |x, out| v.store_u16(to_bf16(v, v.load_f32(x)), out),
            ),
        }
    }
}

/// Converts whole vectors, and the rest by a padded one.
#[inline(always)]
fn convert<X: Copy + Default, Y: Copy + Default>(
    x: &[X],
    out: &mut [Y],
    convert: impl Fn(&[X; LANES], &mut [Y; LANES]),
) {
    let (vectors, tail) = x.as_chunks();
    let (out, out_tail) = out.as_chunks_mut();
    for (x, out) in vectors.iter().zip(out) {
        convert(x, out);
    }
    if !tail.is_empty() {
        let mut padded = [Y::default(); LANES];
        convert(&block(tail, 0), &mut padded);
        out_tail.copy_from_slice(&padded[..out_tail.len()]);
    }
}

/// The bits of the nearest bf16, ties to even: half a unit of what falls off is added, less a bit when that leaves an even
/// number, and a carry moves the exponent, at last to infinity. NaN, whose mantissa might fall off, becomes 0x7fc0.
#[inline(always)]
fn to_bf16<V: Vectors>(v: V, x: V::F32) -> V::I32 {
    let (bits, sixteen) = (v.to_bits(x), v.splat_i32(16));
    let odd = v.and_i32(v.shift_right_logical(bits, sixteen), v.splat_i32(1));
    let rounded = v.shift_right_logical(v.add_i32(v.add_i32(bits, odd), v.splat_i32(0x7fff)), sixteen);
    v.select_i32(v.is_nan(x), v.splat_i32(0x7fc0), rounded)
}
