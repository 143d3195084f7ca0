//! Elementwise operations.

use zeropoint::{
    Code, Destination, Exec, QuantParams, Rounding, Source, dequantize, fake_quantize, fake_quantize_in_place,
    quantize, raw, straight_through, straight_through_in_place,
};

use crate::boundary::{Caller, call, zp_message};
use crate::element::{Element, zp_type};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::failure::{Failure, Reason};
use crate::params::{Params, with_params, zp_params};
use crate::scheme::zp_rounding;
use crate::view::{Input, Output, Reals, RealsMut, zp_view, zp_view_mut};

/// Codes of one type, in whole elements or packed.
trait Codes: Code + Element {
    /// Quantizes into the output, whole codes or packed ones.
    fn quantize(job: Quantize<'_, Self, impl Source<f32>>, codes: Output<'_>) -> Result<(), Failure>;
    /// Dequantizes the input, whole codes or packed ones.
    fn dequantize(job: Dequantize<'_, Self, impl Destination<f32>>, codes: Input<'_>) -> Result<(), Failure>;
}

struct Quantize<'a, C, S> {
    exec: Exec<'a>,
    x: S,
    params: &'a QuantParams<C>,
    rounding: Rounding,
}

struct Dequantize<'a, C, D> {
    exec: Exec<'a>,
    params: &'a QuantParams<C>,
    out: D,
}

impl<C: Code, S: Source<f32>> Quantize<'_, C, S> {
    fn run(self, codes: impl Destination<C>) -> Result<(), Failure> {
        Ok(quantize(self.exec, self.x, self.params, self.rounding, codes)?)
    }
}

impl<C: Code, D: Destination<f32>> Dequantize<'_, C, D> {
    fn run(self, codes: impl Source<C>) -> Result<(), Failure> {
        Ok(dequantize(self.exec, codes, self.params, self.out)?)
    }
}

macro_rules! byte_codes {
    ($($Code:ident)+) => { $(
        impl Codes for $Code {
            fn quantize(job: Quantize<'_, Self, impl Source<f32>>, codes: Output<'_>) -> Result<(), Failure> {
                match codes.packed()? {
                    Ok(packed) => job.run(packed),
                    Err(codes) => job.run(codes.matrix()?),
                }
            }
            fn dequantize(job: Dequantize<'_, Self, impl Destination<f32>>, codes: Input<'_>) -> Result<(), Failure> {
                match codes.packed()? {
                    Some(packed) => job.run(packed),
                    None => job.run(codes.matrix()?),
                }
            }
        }
    )+ };
}
byte_codes! { u8 i8 }

macro_rules! wide_codes {
    ($($Code:ident)+) => { $(
        impl Codes for $Code {
            fn quantize(job: Quantize<'_, Self, impl Source<f32>>, codes: Output<'_>) -> Result<(), Failure> {
                job.run(codes.matrix()?)
            }
            fn dequantize(job: Dequantize<'_, Self, impl Destination<f32>>, codes: Input<'_>) -> Result<(), Failure> {
                job.run(codes.matrix()?)
            }
        }
    )+ };
}
wide_codes! { u16 i16 }

/// Quantizes `x`, floats of 32 or 16 bits, into `codes`, of the type of the parameters, whole or packed: the element i becomes
/// clamp(round(x / S) + Z). NaN becomes the zero point.
///
/// Errors: ZP_ERROR_LENGTH and ZP_ERROR_MULTIPLE when the lengths do not go with each other or with the parameters; ZP_ERROR_TYPE;
/// ZP_ERROR_STREAM when the stream has fewer words than `x` elements; ZP_ERROR_ROUNDING for stochastic rounding with parameters for
/// nearest rounding; ZP_ERROR_CODES for packed codes and parameters of more bits; ZP_ERROR_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_quantize(
    exec: *const zp_exec,
    x: zp_view,
    params: *const zp_params,
    rounding: zp_rounding,
    codes: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, params, rounding) = (c.exec(exec)?, c.handle(params)?, rounding.checked()?);
            let ([x], [codes]) = c.buffers([(&x, "x")], [(&codes, "codes")])?;
            with_params!(params, params => match x.reals()? {
                Reals::F32(x) => Codes::quantize(Quantize { exec, x, params, rounding }, codes),
                Reals::Halves(x) => Codes::quantize(Quantize { exec, x, params, rounding }, codes),
            })
        })
    }
}

/// The real numbers that `codes` stand for, S · (q − Z), into `out`, floats of 32 or 16 bits.
///
/// Errors: ZP_ERROR_LENGTH and ZP_ERROR_MULTIPLE when the lengths do not go with each other or with the parameters; ZP_ERROR_TYPE;
/// ZP_ERROR_CODES for packed codes and parameters of more bits; ZP_ERROR_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_dequantize(
    exec: *const zp_exec,
    codes: zp_view,
    params: *const zp_params,
    out: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, params) = (c.exec(exec)?, c.handle(params)?);
            let ([codes], [out]) = c.buffers([(&codes, "codes")], [(&out, "out")])?;
            with_params!(params, params => match out.reals()? {
                RealsMut::F32(out) => Codes::dequantize(Dequantize { exec, params, out }, codes),
                RealsMut::Halves(out) => Codes::dequantize(Dequantize { exec, params, out }, codes),
            })
        })
    }
}

/// What dequantizing the codes of `x` gives, without codes in memory, into `out`; both are floats of 32 bits. `out` may be `x`: the
/// same memory, type and shape. `mask`, of U8, becomes 1 where the code of `x` needs no clamping, else 0: the derivative by the
/// straight-through rule. A mask whose `data` is NULL is none.
///
/// Errors: those of zp_quantize().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_fake_quantize(
    exec: *const zp_exec,
    x: zp_view,
    params: *const zp_params,
    rounding: zp_rounding,
    out: zp_view_mut,
    mask: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, params, rounding) = (c.exec(exec)?, c.handle(params)?, rounding.checked()?);
            let has_mask = !mask.data.is_null();
            let mask = if has_mask { mask } else { zp_view_mut::array::<u8>(mask.data.cast(), 0) };
            if out.is(x) {
                let ([], [x, mask]) = c.buffers([], [(&out, "out"), (&mask, "mask")])?;
                return fake_in_place(exec, x, params, rounding, has_mask.then_some(mask));
            }
            let ([x], [out, mask]) = c.buffers([(&x, "x")], [(&out, "out"), (&mask, "mask")])?;
            let (x, out) = (x.matrix()?, out.matrix()?);
            with_params!(params, params => match has_mask {
                true => fake_quantize(exec, x, params, rounding, (out, mask.matrix()?))?,
                false => fake_quantize(exec, x, params, rounding, out)?,
            });
            Ok(())
        })
    }
}

fn fake_in_place(
    exec: Exec<'_>,
    x: Output<'_>,
    params: &Params,
    rounding: Rounding,
    mask: Option<Output<'_>>,
) -> Result<(), Failure> {
    let x = x.matrix()?;
    with_params!(params, params => match mask {
        Some(mask) => fake_quantize_in_place(exec, (x, mask.matrix()?), params, rounding)?,
        None => fake_quantize_in_place(exec, x, params, rounding)?,
    });
    Ok(())
}

/// The straight-through gradient of fake-quantization at `x`: `gradient` where the code of `x` needs no clamping, else 0, into `out`;
/// all are floats of 32 bits. `out` may be `gradient`.
///
/// Errors: ZP_ERROR_LENGTH and ZP_ERROR_MULTIPLE when the lengths do not go with each other or with the parameters; ZP_ERROR_TYPE;
/// ZP_ERROR_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_straight_through(
    exec: *const zp_exec,
    x: zp_view,
    gradient: zp_view,
    params: *const zp_params,
    out: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, params) = (c.exec(exec)?, c.handle(params)?);
            if out.is(gradient) {
                let ([x], [gradient]) = c.buffers([(&x, "x")], [(&out, "out")])?;
                let (x, gradient) = (x.matrix()?, gradient.matrix()?);
                with_params!(params, params => straight_through_in_place(exec, x, gradient, params)?);
                return Ok(());
            }
            let ([x, gradient], [out]) = c.buffers([(&x, "x"), (&gradient, "gradient")], [(&out, "out")])?;
            let (x, gradient, out) = (x.matrix()?, gradient.matrix()?, out.matrix()?);
            with_params!(params, params => straight_through(exec, x, gradient, params, out)?);
            Ok(())
        })
    }
}

/// Packs `codes`, of U8 or I8 without gaps, into `packed`, of 4 or 2 bits with the same sign. What the last byte has above the last
/// code becomes `pad`.
///
/// Errors: ZP_ERROR_LENGTH; ZP_ERROR_CODE for a code, or a pad, that needs more bits; ZP_ERROR_TYPE; ZP_ERROR_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_pack_codes(
    exec: *const zp_exec,
    codes: zp_view,
    pad: i32,
    packed: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let exec = c.exec(exec)?;
            let ([codes], [packed]) = c.buffers([(&codes, "codes")], [(&packed, "packed")])?;
            match packed.element() {
                zp_type::I4 | zp_type::I2 => pack::<i8>(exec, codes, pad, packed),
                _ => pack::<u8>(exec, codes, pad, packed),
            }
        })
    }
}

fn pack<C: zeropoint::ByteCode + Element>(
    exec: Exec<'_>,
    codes: Input<'_>,
    pad: i32,
    packed: Output<'_>,
) -> Result<(), Failure> {
    let (min, max) = (C::MIN.into(), C::MAX.into());
    let codes = codes.slice::<C>()?;
    let index = codes.len();
    let pad = C::try_from(pad).map_err(|_| zeropoint::Error::Code { index, code: pad, min, max })?;
    match packed.packed::<C>()? {
        Ok(packed) => Ok(raw::pack_codes(exec, codes, pad, packed)?),
        Err(whole) => Err(Reason::Type { what: "packed", found: whole.element(), expected: "packed codes" }.into()),
    }
}

/// Unpacks `packed`, of 4 or 2 bits, into `codes`, of U8 or I8 with the same sign, without gaps.
///
/// Errors: ZP_ERROR_LENGTH, ZP_ERROR_TYPE, ZP_ERROR_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_unpack_codes(
    exec: *const zp_exec,
    packed: zp_view,
    codes: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let exec = c.exec(exec)?;
            let ([packed], [codes]) = c.buffers([(&packed, "packed")], [(&codes, "codes")])?;
            match packed.element() {
                zp_type::I4 | zp_type::I2 => unpack::<i8>(exec, packed, codes),
                _ => unpack::<u8>(exec, packed, codes),
            }
        })
    }
}

fn unpack<C: zeropoint::ByteCode + Element>(
    exec: Exec<'_>,
    packed: Input<'_>,
    codes: Output<'_>,
) -> Result<(), Failure> {
    match packed.packed::<C>()? {
        Some(packed) => Ok(raw::unpack_codes(exec, packed, codes.slice()?)?),
        None => Err(Reason::Type { what: "packed", found: packed.element(), expected: "packed codes" }.into()),
    }
}
