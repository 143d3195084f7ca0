//! Packed weights of 8 bits.

use zeropoint::{ByteCode, Exec, PackedMatrix, QuantParams, Quantized};

use crate::boundary::{Caller, call, zp_message};
use crate::element::{CEnum, Element, c_enum, zp_type};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::failure::Failure;
use crate::handle::{Handle, Shared, share};
use crate::params::{CodeType, Params, zp_params};
use crate::view::{Input, zp_view};
use core::mem::MaybeUninit;

/// Weights of 8 bits, packed once for many multiplications on one ISA, with their scales, their zero points and a bias if they have
/// one. A shared handle: zp_weights_share() makes one more owner without a copy, and each owner frees it with zp_weights_free(). It
/// never changes, so threads may share it.
pub struct zp_weights {
    _opaque: (),
}

/// How weights lie in memory.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_order {
    /// `[outputs, depth]`: a row for every output, as linear layers keep them.
    Rows = 0,
    /// `[depth, outputs]`: a column for every output.
    Columns = 1,
}

c_enum! { zp_order { Rows, Columns } }

/// A bias in real numbers, added to every product. It is quantized at the scale of the accumulators, so products with another scale of
/// the activations are refused; for scales that change from call to call, give it to zp_stage_dequantize_new() instead.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_bias {
    /// One for every output.
    pub values: *const f32,
    /// The outputs.
    pub count: usize,
    /// The parameters of the activations, per tensor.
    pub x: *const zp_params,
}

/// Packed weights for activations of either type.
pub(crate) enum PackedPair {
    U8U8(PackedMatrix<u8, u8>),
    U8I8(PackedMatrix<u8, i8>),
    I8U8(PackedMatrix<i8, u8>),
    I8I8(PackedMatrix<i8, i8>),
}

impl Handle for zp_weights {
    type Value = PackedPair;
    type Ownership = Shared;
    const NAME: &str = "zp_weights";
    const KIND: u32 = 0x7a70_0002;
}

/// Evaluates an expression with weights of whatever types.
macro_rules! with_pair {
    ($Pair:ident, $pair:expr, $typed:ident => $body:expr) => {
        match $pair {
            $Pair::U8U8($typed) => $body,
            $Pair::U8I8($typed) => $body,
            $Pair::I8U8($typed) => $body,
            $Pair::I8I8($typed) => $body,
        }
    };
}
pub(crate) use with_pair;

/// A type of codes that are multiplied.
pub(crate) trait Byte: ByteCode + CodeType {}
impl Byte for u8 {}
impl Byte for i8 {}

/// The types of activations and of weights, of which `$what` is the name, as a case of `$Pair`: evaluates `$body` with the types `A`
/// and `B`.
macro_rules! make_pair {
    ($Pair:ident, $activations:expr, ($codes:expr, $what:literal), ($A:ident, $B:ident) => $body:expr) => {{
        use $crate::element::zp_type;
        match ($activations, $codes) {
            (zp_type::U8, zp_type::U8) => make_pair!(@ $Pair::U8U8, u8, u8, $A, $B, $body),
            (zp_type::U8, zp_type::I8) => make_pair!(@ $Pair::U8I8, u8, i8, $A, $B, $body),
            (zp_type::I8, zp_type::U8) => make_pair!(@ $Pair::I8U8, i8, u8, $A, $B, $body),
            (zp_type::I8, zp_type::I8) => make_pair!(@ $Pair::I8I8, i8, i8, $A, $B, $body),
            (activations, codes) => {
                let has_activations = matches!(activations, zp_type::U8 | zp_type::I8);
                let (what, found) = if has_activations { ($what, codes) } else { ("activations", activations) };
                let expected = "ZP_TYPE_U8 or ZP_TYPE_I8";
                return Err($crate::failure::Reason::Type { what, found, expected }.into());
            }
        }
    }};
    (@ $Pair:ident :: $case:ident, $TypeA:ident, $TypeB:ident, $A:ident, $B:ident, $body:expr) => {{
        type $A = $TypeA;
        type $B = $TypeB;
        $Pair::$case($body)
    }};
}
pub(crate) use make_pair;

/// A bias whose pointers were checked.
#[derive(Clone, Copy)]
pub(crate) struct Bias<'c> {
    values: &'c [f32],
    x: &'c Params,
}

impl<'c> Bias<'c> {
    /// The values, and the parameters of activations of this type.
    pub fn typed<A: CodeType>(self) -> Result<(&'c [f32], &'c QuantParams<A>), Failure> {
        Ok((self.values, self.x.typed("bias->x")?))
    }
}

impl<'c> Caller<'c> {
    /// A bias, if there is one.
    pub fn bias(self, bias: *const zp_bias) -> Result<Option<Bias<'c>>, Failure> {
        let Some(&zp_bias { values, count, x }) = self.optional(bias, "bias")? else { return Ok(None) };
        Ok(Some(Bias { values: self.array(values, count, "bias->values")?, x: self.handle(x)? }))
    }
}

fn pack<A: Byte, B: Byte>(
    exec: Exec<'_>,
    codes: Input<'_>,
    params: &Params,
    order: zp_order,
    bias: Option<Bias<'_>>,
) -> Result<PackedMatrix<A, B>, Failure> {
    let weights = Quantized::new(codes.matrix::<B>()?, params.typed("params")?)?;
    let packed = match order {
        zp_order::Rows => PackedMatrix::pack(exec, weights)?,
        zp_order::Columns => PackedMatrix::pack_columns(exec, weights)?,
    };
    let Some(bias) = bias else { return Ok(packed) };
    let (values, x) = bias.typed()?;
    Ok(packed.with_bias(values, x)?)
}

/// Packs `codes`, of U8 or I8, for products with activations of the type `activations`, U8 or I8, on the ISA of `exec`. The parameters
/// are per tensor or per output. `bias` may be NULL. The codes and parameters are copied: both may be freed.
///
/// Errors: ZP_ERROR_SHAPE for parameters of another granularity; ZP_ERROR_TYPE; ZP_ERROR_LENGTH of the bias; ZP_ERROR_NON_FINITE and
/// ZP_ERROR_BIAS for a bias that 32 bits do not hold; ZP_ERROR_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_weights_pack(
    exec: *const zp_exec,
    activations: MaybeUninit<zp_type>,
    codes: zp_view,
    params: *const zp_params,
    order: MaybeUninit<zp_order>,
    bias: *const zp_bias,
    weights: *mut *mut zp_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec) = (c.out_handle(weights)?, c.exec(exec)?);
            let (params, order, bias) = (c.handle(params)?, zp_order::checked(order, "order")?, c.bias(bias)?);
            let activations = zp_type::checked(activations, "activations")?;
            let ([codes], []) = c.buffers([(&codes, "codes")], [])?;
            out.write(make_pair!(PackedPair, activations, (params.code_type(), "params"), (A, B) => {
                pack::<A, B>(exec, codes, params, order, bias)?
            }));
            Ok(())
        })
    }
}

/// The depth and the outputs of weights. Either pointer may be NULL.
///
/// Errors: ZP_ERROR_HANDLE, ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_weights_get(
    weights: *const zp_weights,
    depth: *mut usize,
    outputs: *mut usize,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            with_pair!(PackedPair, c.handle(weights)?, weights => {
                c.out_optional(depth, "depth")?.write(weights.depth());
                c.out_optional(outputs, "outputs")?.write(weights.columns());
            });
            Ok(())
        })
    }
}

/// One more owner of weights: `other` becomes a handle of the same weights, to be freed too. Nothing is copied.
///
/// Errors: ZP_ERROR_HANDLE, ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_weights_share(
    weights: *const zp_weights,
    other: *mut *mut zp_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.share(weights, other)) }
}

/// Frees weights: the memory goes with the last owner. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_weights_free(weights: *mut zp_weights, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(weights)) }
}

impl Caller<'_> {
    /// Gives a shared handle one more owner.
    pub fn share<H: Handle<Ownership = Shared>>(self, handle: *const H, other: *mut *mut H) -> Result<(), Failure> {
        let out = self.out_handle(other)?;
        // SAFETY: the caller says that it is a handle, not freed until the call ends.
        out.write_shared(unsafe { share(handle) }?);
        Ok(())
    }
}

/// Activations with their parameters, of the type that they are multiplied in.
#[inline(always)]
pub(crate) fn quantized<'c, A: CodeType + Element>(
    x: Input<'c>,
    params: &'c Params,
) -> Result<Quantized<'c, A>, Failure> {
    Ok(Quantized::new(x.matrix()?, params.typed("x_params")?)?)
}
