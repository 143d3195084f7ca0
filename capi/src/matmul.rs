//! Products of matrices.

use zeropoint::{Exec, PackedMatrix, Quantized, Stage, matmul};

use crate::boundary::{Caller, call, zp_message};
use crate::element::Element;
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::failure::Failure;
use crate::params::zp_params;
use crate::stage::{Product, zp_stage};
use crate::view::{Output, zp_view, zp_view_mut};
use crate::weights::{Byte, PackedPair, quantized, with_pair, zp_weights};

struct Multiply<'c, A: Byte, B> {
    exec: Exec<'c>,
    x: Quantized<'c, A>,
    weights: &'c PackedMatrix<A, B>,
}

impl<'c, A: Byte, B: Byte> Product<'c> for Multiply<'c, A, B> {
    #[inline(always)]
    fn run<S: Stage<Element: Element>>(self, stage: &S, out: Output<'c>) -> Result<(), Failure> {
        Ok(matmul(self.exec, self.x, self.weights, stage, out.matrix()?)?)
    }
}

/// The product of activations `x`, `[rows, depth]`, and packed weights, with a stage, into `out`, `[rows, outputs]` of the type of the
/// stage. `x_params` are per tensor or per row. A product of no rows is empty. Calls that repeat do not allocate.
///
/// Errors: ZP_ERROR_PACKED_ISA when the weights are packed for another ISA; ZP_ERROR_TYPE for activations or a result of another type;
/// ZP_ERROR_SHAPE for activations that are quantized in another way; ZP_ERROR_OPERAND when the stage, or the bias of the weights, was
/// made for other scales; ZP_ERROR_LENGTH when the shapes do not go together; ZP_ERROR_DEPTH when a sum could leave 32 bits;
/// ZP_ERROR_STREAM when a stochastic stage has too few words; ZP_ERROR_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_matmul(
    exec: *const zp_exec,
    x: zp_view,
    x_params: *const zp_params,
    weights: *const zp_weights,
    stage: *const zp_stage,
    out: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, params) = (c.exec(exec)?, c.handle(x_params)?);
            let (weights, stage) = (c.handle(weights)?, c.handle(stage)?);
            let ([x], [out]) = c.buffers([(&x, "x")], [(&out, "out")])?;
            with_pair!(PackedPair, weights, weights => {
                stage.run(out, Multiply { exec, x: quantized(x, params)?, weights })
            })
        })
    }
}
