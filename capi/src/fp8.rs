//! FP8: floats of eight bits.

use core::mem::MaybeUninit;

use zeropoint::fp8::{Fp8, Fp8Params, decode, encode};

use crate::boundary::{Caller, call, zp_message};
use crate::element::{CEnum, c_enum, truth};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::handle::{Handle, Owned};
use crate::scheme::{zp_granularity, zp_rounding};
use crate::view::{Reals, RealsMut, zp_view, zp_view_mut};

/// A format of FP8.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_fp8 {
    /// Four bits of exponent and three of mantissa, without infinity: up to 448.
    E4m3 = 1,
    /// Five bits of exponent and two of mantissa: up to 57344.
    E5m2 = 2,
}

c_enum! { zp_fp8 { E4m3, E5m2 } }

impl From<zp_fp8> for Fp8 {
    fn from(format: zp_fp8) -> Self {
        match format {
            zp_fp8::E4m3 => Fp8::E4M3,
            zp_fp8::E5m2 => Fp8::E5M2,
        }
    }
}

/// The parameters of a tensor in FP8: the format, the granularity, a scale for every group, and whether values beyond the largest
/// become it (else infinity, or NaN in E4M3). An owned handle: free it with zp_fp8_params_free(). It never changes.
pub struct zp_fp8_params {
    _opaque: (),
}

impl Handle for zp_fp8_params {
    type Value = Fp8Params;
    type Ownership = Owned;
    const NAME: &str = "zp_fp8_params";
    const KIND: u32 = 0x7a70_0006;
}

fn saturating(params: Fp8Params, saturates: MaybeUninit<bool>) -> Fp8Params {
    if truth(saturates) { params } else { params.without_saturation() }
}

/// Given scales, `count`: one for every group.
///
/// Errors: ZP_ERROR_LENGTH unless there are as many as groups, ZP_ERROR_SCALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_fp8_params_new(
    format: MaybeUninit<zp_fp8>,
    saturates: MaybeUninit<bool>,
    granularity: zp_granularity,
    scales: *const f32,
    count: usize,
    params: *mut *mut zp_fp8_params,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, format) = (c.out_handle(params)?, zp_fp8::checked(format, "format")?);
            let (granularity, scales) = (granularity.checked()?, c.array(scales, count, "scales")?);
            out.write(saturating(Fp8Params::new(format.into(), granularity, scales)?, saturates));
            Ok(())
        })
    }
}

/// The scales by which the largest magnitude of every group of `x`, floats without gaps, becomes the largest value of the format.
///
/// Errors: ZP_ERROR_NON_FINITE with the first NaN or infinity; ZP_ERROR_MULTIPLE when the length does not go with the granularity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_fp8_params_fit(
    exec: *const zp_exec,
    x: zp_view,
    format: MaybeUninit<zp_fp8>,
    saturates: MaybeUninit<bool>,
    granularity: zp_granularity,
    params: *mut *mut zp_fp8_params,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec) = (c.out_handle(params)?, c.exec(exec)?);
            let (format, granularity) = (zp_fp8::checked(format, "format")?, granularity.checked()?);
            let ([x], []) = c.buffers([(&x, "x")], [])?;
            out.write(saturating(Fp8Params::fit(exec, x.slice()?, format.into(), granularity)?, saturates));
            Ok(())
        })
    }
}

/// The scales, `count` of them: they belong to the parameters and live as long as they.
///
/// Errors: ZP_ERROR_HANDLE, ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_fp8_params_scales(
    params: *const zp_fp8_params,
    scales: *mut *const f32,
    count: *mut usize,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let params = c.handle(params)?;
            let (scales, count) = (c.out(scales, "scales")?, c.out(count, "count")?);
            scales.write(params.scales().as_ptr());
            count.write(params.scales().len());
            Ok(())
        })
    }
}

/// Encodes `x`, floats of 32 or 16 bits, into `codes`, bytes of U8.
///
/// Errors: ZP_ERROR_LENGTH and ZP_ERROR_MULTIPLE when the lengths do not go with each other or with the parameters; ZP_ERROR_TYPE;
/// ZP_ERROR_STREAM when the stream has fewer words than `x` elements; ZP_ERROR_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_fp8_encode(
    exec: *const zp_exec,
    x: zp_view,
    params: *const zp_fp8_params,
    rounding: zp_rounding,
    codes: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, params, rounding) = (c.exec(exec)?, c.handle(params)?, rounding.checked()?);
            let ([x], [codes]) = c.buffers([(&x, "x")], [(&codes, "codes")])?;
            let codes = codes.matrix::<u8>()?;
            match x.reals()? {
                Reals::F32(x) => Ok(encode(exec, x, params, rounding, codes)?),
                Reals::Halves(x) => Ok(encode(exec, x, params, rounding, codes)?),
            }
        })
    }
}

/// The real numbers that `codes`, bytes of U8, stand for, into `out`, floats of 32 or 16 bits.
///
/// Errors: ZP_ERROR_LENGTH and ZP_ERROR_MULTIPLE when the lengths do not go with each other or with the parameters; ZP_ERROR_TYPE;
/// ZP_ERROR_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_fp8_decode(
    exec: *const zp_exec,
    codes: zp_view,
    params: *const zp_fp8_params,
    out: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, params) = (c.exec(exec)?, c.handle(params)?);
            let ([codes], [out]) = c.buffers([(&codes, "codes")], [(&out, "out")])?;
            let codes = codes.matrix::<u8>()?;
            match out.reals()? {
                RealsMut::F32(out) => Ok(decode(exec, codes, params, out)?),
                RealsMut::Halves(out) => Ok(decode(exec, codes, params, out)?),
            }
        })
    }
}

/// Frees parameters of FP8. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_fp8_params_free(params: *mut zp_fp8_params, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(params)) }
}
