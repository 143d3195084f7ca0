//! Weights of few bits as other programs store them, or quantized here: what weights in groups are packed from.

use core::mem::MaybeUninit;

use zeropoint::Matrix;
use zeropoint::groups::{GroupScheme, StoredWeights};

use crate::boundary::{Caller, call, zp_message};
use crate::element::truth;
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::formats::zp_tensor_format;
use crate::handle::{Handle, Owned};
use crate::view::{zp_view, zp_view_mut};

/// Weights `[outputs, depth]` in groups along the depth, of 2 to 8 bits, not packed yet. An owned handle: free it with
/// zp_stored_weights_free(), which may be right after packing.
pub struct zp_stored_weights {
    _opaque: (),
}

impl Handle for zp_stored_weights {
    type Value = StoredWeights;
    type Ownership = Owned;
    const NAME: &str = "zp_stored_weights";
    const KIND: u32 = 0x7a70_0007;
}

/// How weights are quantized in groups.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_group_scheme {
    /// The bits of a code, 2 to 8.
    pub bits: u32,
    /// The weights of a group, the last of which may be shorter.
    pub length: usize,
    /// With zero points; or symmetric around the middle code.
    pub has_zero_points: MaybeUninit<bool>,
    /// By the least squared error; or by minima and maxima.
    pub least_error: MaybeUninit<bool>,
    /// Scales of binary16; or of float.
    pub f16_scales: MaybeUninit<bool>,
}

impl zp_group_scheme {
    fn checked(self) -> Result<GroupScheme, zeropoint::Error> {
        let zp_group_scheme { bits, length, has_zero_points, least_error, f16_scales } = self;
        let scheme = if truth(has_zero_points) { GroupScheme::with_zero_points } else { GroupScheme::symmetric };
        let scheme = scheme(bits, length)?;
        let scheme = if truth(least_error) { scheme.least_error() } else { scheme };
        Ok(if truth(f16_scales) { scheme.f16_scales() } else { scheme })
    }
}

/// Quantizes `weights`, `[outputs, depth]` of F32.
///
/// Errors: ZP_ERROR_BITS, ZP_ERROR_SHAPE for groups without a length, ZP_ERROR_NON_FINITE, ZP_ERROR_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stored_weights_quantize(
    exec: *const zp_exec,
    weights: zp_view,
    scheme: zp_group_scheme,
    stored: *mut *mut zp_stored_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec) = (c.out_handle(stored)?, c.exec(exec)?);
            let ([weights], []) = c.buffers([(&weights, "weights")], [])?;
            let weights: Matrix<'_, f32> = weights.matrix()?;
            out.write(StoredWeights::quantize(exec, weights, scheme.checked()?)?);
            Ok(())
        })
    }
}

/// Weights `[outputs, depth]` of a block format, whose blocks lie along the depth; `bytes` are U8 without gaps.
///
/// Errors: ZP_ERROR_LENGTH, ZP_ERROR_MULTIPLE for a depth that is not of whole blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stored_weights_from_format(
    exec: *const zp_exec,
    format: zp_tensor_format,
    bytes: zp_view,
    outputs: usize,
    depth: usize,
    stored: *mut *mut zp_stored_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec, format) = (c.out_handle(stored)?, c.exec(exec)?, format.checked()?);
            let ([bytes], []) = c.buffers([(&bytes, "bytes")], [])?;
            out.write(StoredWeights::from_format(exec, format, bytes.slice()?, outputs, depth)?);
            Ok(())
        })
    }
}

/// Weights of ONNX's MatMulNBits: `bits` of 2, 4 or 8, blocks of `length`; `codes` are U8, `scales` F32, `zero_points` U8 or, with `data`
/// NULL, none: all are the middle code. All are without gaps.
///
/// Errors: ZP_ERROR_BITS, ZP_ERROR_SHAPE, ZP_ERROR_LENGTH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stored_weights_matmul_nbits(
    bits: u32,
    length: usize,
    codes: zp_view,
    scales: zp_view,
    zero_points: zp_view,
    outputs: usize,
    depth: usize,
    stored: *mut *mut zp_stored_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let out = c.out_handle(stored)?;
            let (zero_points, has_zero_points) = zero_points.optional::<u8>();
            let inputs = [(&codes, "codes"), (&scales, "scales"), (&zero_points, "zero_points")];
            let ([codes, scales, zero_points], []) = c.buffers(inputs, [])?;
            let zero_points = has_zero_points.then(|| zero_points.slice()).transpose()?;
            let shape = [outputs, depth];
            out.write(StoredWeights::matmul_nbits(bits, length, codes.slice()?, scales.slice()?, zero_points, shape)?);
            Ok(())
        })
    }
}

/// Weights of GPTQ, of 4 bits: `codes` and `zero_points` are I32, `scales` F16, `g_idx` I32 or, with `data` NULL, none: groups of
/// neighbours. All are without gaps.
///
/// Errors: ZP_ERROR_SHAPE, ZP_ERROR_MULTIPLE, ZP_ERROR_LENGTH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stored_weights_gptq(
    length: usize,
    codes: zp_view,
    zero_points: zp_view,
    scales: zp_view,
    g_idx: zp_view,
    outputs: usize,
    depth: usize,
    stored: *mut *mut zp_stored_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let out = c.out_handle(stored)?;
            let (g_idx, has_order) = g_idx.optional::<i32>();
            let inputs = [(&codes, "codes"), (&zero_points, "zero_points"), (&scales, "scales"), (&g_idx, "g_idx")];
            let ([codes, zero_points, scales, g_idx], []) = c.buffers(inputs, [])?;
            let (codes, zero_points, scales) = (codes.slice()?, zero_points.slice()?, scales.f16_bits()?);
            let g_idx = has_order.then(|| g_idx.slice()).transpose()?;
            out.write(StoredWeights::gptq(length, codes, zero_points, scales, g_idx, [outputs, depth])?);
            Ok(())
        })
    }
}

/// Weights of AWQ, of 4 bits: `codes` and `zero_points` are I32, `scales` F16, all without gaps.
///
/// Errors: ZP_ERROR_SHAPE, ZP_ERROR_MULTIPLE, ZP_ERROR_LENGTH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stored_weights_awq(
    length: usize,
    codes: zp_view,
    zero_points: zp_view,
    scales: zp_view,
    outputs: usize,
    depth: usize,
    stored: *mut *mut zp_stored_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let out = c.out_handle(stored)?;
            let inputs = [(&codes, "codes"), (&zero_points, "zero_points"), (&scales, "scales")];
            let ([codes, zero_points, scales], []) = c.buffers(inputs, [])?;
            let (codes, zero_points, scales) = (codes.slice()?, zero_points.slice()?, scales.f16_bits()?);
            out.write(StoredWeights::awq(length, codes, zero_points, scales, [outputs, depth])?);
            Ok(())
        })
    }
}

/// The real values of stored weights into `out`, F32 without gaps: `[outputs, depth]`.
///
/// Errors: ZP_ERROR_LENGTH, ZP_ERROR_TYPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stored_weights_values(
    stored: *const zp_stored_weights,
    out: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let stored = c.handle(stored)?;
            let ([], [out]) = c.buffers([], [(&out, "out")])?;
            let (out, values) = (out.slice::<f32>()?, stored.values());
            if out.len() != values.len() {
                return Err(zeropoint::Error::Length { what: "out", expected: values.len(), found: out.len() }.into());
            }
            out.copy_from_slice(&values);
            Ok(())
        })
    }
}

/// Frees stored weights. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stored_weights_free(stored: *mut zp_stored_weights, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(stored)) }
}
