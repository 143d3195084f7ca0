//! Block formats of other programs.

use core::mem::MaybeUninit;

use zeropoint::formats::{BlockFormat, NvFp4, TensorFormat, decode_blocks, encode_blocks_with};

use crate::boundary::{Caller, call, zp_message};
use crate::element::{CEnum, c_enum};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::failure::Failure;
use crate::scheme::zp_rounding;
use crate::view::{zp_view, zp_view_mut};

/// A format of blocks along the innermost axis, byte for byte that of the program it is from.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_format {
    /// OCP MXINT8.
    Mxint8 = 1,
    /// OCP MXFP4.
    Mxfp4 = 2,
    /// NVFP4, with the scale of the tensor.
    Nvfp4 = 3,
    /// ggml's Q4_0.
    Q4_0 = 16,
    /// ggml's Q4_1.
    Q4_1 = 17,
    /// ggml's Q5_0.
    Q5_0 = 18,
    /// ggml's Q5_1.
    Q5_1 = 19,
    /// ggml's Q8_0.
    Q8_0 = 20,
    /// ggml's Q2_K.
    Q2_K = 24,
    /// ggml's Q4_K.
    Q4_K = 25,
    /// ggml's Q5_K.
    Q5_K = 26,
    /// ggml's Q6_K.
    Q6_K = 27,
}

c_enum! { zp_format { Mxint8, Mxfp4, Nvfp4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q4_K, Q5_K, Q6_K } }

impl From<zp_format> for BlockFormat {
    fn from(format: zp_format) -> Self {
        match format {
            zp_format::Mxint8 => BlockFormat::MxInt8,
            zp_format::Mxfp4 => BlockFormat::MxFp4,
            zp_format::Nvfp4 => BlockFormat::NvFp4,
            zp_format::Q4_0 => BlockFormat::Q4_0,
            zp_format::Q4_1 => BlockFormat::Q4_1,
            zp_format::Q5_0 => BlockFormat::Q5_0,
            zp_format::Q5_1 => BlockFormat::Q5_1,
            zp_format::Q8_0 => BlockFormat::Q8_0,
            zp_format::Q2_K => BlockFormat::Q2_K,
            zp_format::Q4_K => BlockFormat::Q4_K,
            zp_format::Q5_K => BlockFormat::Q5_K,
            zp_format::Q6_K => BlockFormat::Q6_K,
        }
    }
}

/// The format of a tensor.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_tensor_format {
    /// The format of its blocks.
    pub format: MaybeUninit<zp_format>,
    /// The scale of the tensor, which NVFP4 has; not read for other formats. See zp_nvfp4_fit().
    pub tensor_scale: f32,
}

impl zp_tensor_format {
    pub(crate) fn checked(self) -> Result<TensorFormat, Failure> {
        Ok(match zp_format::checked(self.format, "format.format")? {
            zp_format::Nvfp4 => NvFp4::new(self.tensor_scale)?.into(),
            format => BlockFormat::from(format).into(),
        })
    }
}

/// The elements and the bytes of a block. Either pointer may be NULL.
///
/// Errors: ZP_ERROR_ENUM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_format_block(
    format: MaybeUninit<zp_format>,
    elements: *mut usize,
    bytes: *mut usize,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let format = BlockFormat::from(zp_format::checked(format, "format")?);
            c.out_optional(elements, "elements")?.write(format.block_length());
            c.out_optional(bytes, "bytes")?.write(format.block_bytes());
            Ok(())
        })
    }
}

/// The scale that NVFP4 gives a tensor, floats without gaps.
///
/// Errors: ZP_ERROR_NON_FINITE with the first NaN or infinity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_nvfp4_fit(
    exec: *const zp_exec,
    x: zp_view,
    tensor_scale: *mut f32,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec) = (c.out(tensor_scale, "tensor_scale")?, c.exec(exec)?);
            let ([x], []) = c.buffers([(&x, "x")], [])?;
            out.write(NvFp4::fit(exec, x.slice()?)?.tensor_scale());
            Ok(())
        })
    }
}

/// Encodes `x`, floats without gaps of whole blocks, into `bytes`, U8. Stochastic rounding is for MXFP4 and NVFP4.
///
/// Errors: ZP_ERROR_MULTIPLE unless `x` is of whole blocks; ZP_ERROR_LENGTH of `bytes`; ZP_ERROR_ROUNDING for stochastic rounding of
/// another format; ZP_ERROR_SCALE; ZP_ERROR_OVERLAP; those of the format.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_encode_blocks(
    exec: *const zp_exec,
    format: zp_tensor_format,
    x: zp_view,
    rounding: zp_rounding,
    bytes: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, format, rounding) = (c.exec(exec)?, format.checked()?, rounding.checked()?);
            let ([x], [bytes]) = c.buffers([(&x, "x")], [(&bytes, "bytes")])?;
            Ok(encode_blocks_with(exec, format, rounding, x.slice()?, bytes.slice()?)?)
        })
    }
}

/// Decodes `bytes`, U8, into `out`, floats without gaps of whole blocks.
///
/// Errors: ZP_ERROR_MULTIPLE unless `out` is of whole blocks; ZP_ERROR_LENGTH of `bytes`; ZP_ERROR_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_decode_blocks(
    exec: *const zp_exec,
    format: zp_tensor_format,
    bytes: zp_view,
    out: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, format) = (c.exec(exec)?, format.checked()?);
            let ([bytes], [out]) = c.buffers([(&bytes, "bytes")], [(&out, "out")])?;
            Ok(decode_blocks(exec, format, bytes.slice()?, out.slice()?)?)
        })
    }
}
