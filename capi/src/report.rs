//! What quantization costs.

use zeropoint::report::{ErrorReport, quantization_error, reconstruction_error};

use crate::boundary::{Caller, call, zp_message};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::params::{with_params, zp_params};
use crate::view::zp_view;

/// How far a reconstruction r is from real values x.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_error_report {
    /// How many elements there are.
    pub elements: usize,
    /// The sum of x².
    pub signal: f64,
    /// The sum of (x − r)².
    pub sse: f64,
    /// The mean of (x − r)².
    pub mse: f64,
    /// The ratio of signal to quantization noise in dB; infinity without noise.
    pub sqnr: f64,
    /// The bits of codes with that ratio, 6.02 dB each; infinity without noise.
    pub effective_bits: f64,
    /// The largest |x − r|.
    pub max_error: f32,
    /// How many elements have a code that needs clamping; 0 of a reconstruction, of which nothing is known.
    pub saturated: u64,
}

impl From<ErrorReport> for zp_error_report {
    fn from(report: ErrorReport) -> Self {
        zp_error_report {
            elements: report.elements(),
            signal: report.signal(),
            sse: report.sse(),
            mse: report.mse(),
            sqnr: report.sqnr(),
            effective_bits: report.effective_bits(),
            max_error: report.max_error(),
            saturated: report.saturated().unwrap_or(0),
        }
    }
}

/// What quantizing `x`, floats without gaps, with these parameters costs.
///
/// Errors: ZP_ERROR_LENGTH and ZP_ERROR_MULTIPLE when the length does not go with the parameters; ZP_ERROR_EMPTY;
/// ZP_ERROR_NON_FINITE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_quantization_error(
    exec: *const zp_exec,
    x: zp_view,
    params: *const zp_params,
    report: *mut zp_error_report,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec, params) = (c.out(report, "report")?, c.exec(exec)?, c.handle(params)?);
            let ([x], []) = c.buffers([(&x, "x")], [])?;
            out.write(with_params!(params, params => quantization_error(exec, x.slice()?, params)?).into());
            Ok(())
        })
    }
}

/// What is lost between `x` and its reconstruction, by whatever method it was made; floats without gaps.
///
/// Errors: ZP_ERROR_LENGTH, ZP_ERROR_EMPTY, ZP_ERROR_NON_FINITE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_reconstruction_error(
    exec: *const zp_exec,
    x: zp_view,
    reconstruction: zp_view,
    report: *mut zp_error_report,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec) = (c.out(report, "report")?, c.exec(exec)?);
            let ([x, r], []) = c.buffers([(&x, "x"), (&reconstruction, "reconstruction")], [])?;
            out.write(reconstruction_error(exec, x.slice()?, r.slice()?)?.into());
            Ok(())
        })
    }
}
