//! Products by weights in groups.

use core::mem::MaybeUninit;

use zeropoint::groups::{Activations, GroupStage, PackedWeights, RealStage, Reals, Weights, matmul};
use zeropoint::{Destination, Exec, Quantized, Scheme};

use crate::boundary::{Caller, call, zp_message};
use crate::element::{CEnum, zp_type};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::failure::{Failure, Reason};
use crate::handle::{Handle, Owned, Shared};
use crate::params::{Params, zp_params};
use crate::scheme::{zp_codes, zp_offset};
use crate::stored::zp_stored_weights;
use crate::view::{self, Input, RealsMut, zp_view, zp_view_mut};
use crate::weights::{Byte, zp_order};

/// Weights in groups, packed for one ISA, at their width in memory. A shared handle: zp_group_weights_share() makes one more owner without
/// a copy, and each owner frees it with zp_group_weights_free(). It never changes, so threads may share it.
pub struct zp_group_weights {
    _opaque: (),
}

/// What becomes of the products by weights in groups: a bias and bounds. An owned handle: free it with zp_group_stage_free(). It never
/// changes, so threads may share it.
pub struct zp_group_stage {
    _opaque: (),
}

impl Handle for zp_group_weights {
    type Value = PackedWeights;
    type Ownership = Shared;
    const NAME: &str = "zp_group_weights";
    const KIND: u32 = 0x7a70_0008;
}

impl Handle for zp_group_stage {
    type Value = RealStage;
    type Ownership = Owned;
    const NAME: &str = "zp_group_stage";
    const KIND: u32 = 0x7a70_0009;
}

/// Packs stored weights on the ISA of `exec`.
///
/// Errors: ZP_ERROR_MEMORY; those of values that no product can have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_group_weights_pack(
    exec: *const zp_exec,
    stored: *const zp_stored_weights,
    weights: *mut *mut zp_group_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec) = (c.out_handle(weights)?, c.exec(exec)?);
            out.write(PackedWeights::pack(exec, &c.handle(stored)?.weights())?);
            Ok(())
        })
    }
}

/// The parts of weights in groups, as an engine has them in memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_group_parts {
    /// A byte for every code, U8 or I8.
    pub codes: zp_view,
    /// The range of the codes: its bits are those of the packed weights.
    pub range: zp_codes,
    /// How the codes lie.
    pub order: MaybeUninit<zp_order>,
    /// The weights of a group along the depth, the last of which may be shorter.
    pub length: usize,
    /// One for every group, `[outputs, groups]`: F32, F16, BF16, or U8 for powers of two as E8M0 has them.
    pub scales: zp_view,
    /// One for every group, `[outputs, groups]`, I32; none with `data` NULL.
    pub zero_points: zp_view,
    /// What is added to scale · code, one for every group, `[outputs, groups]`, as the scales; none with `data` NULL. Not with zero
    /// points.
    pub offsets: zp_view,
}

/// Reals of any of the types that scales and offsets have.
fn group_reals<'c>(values: &Input<'c>) -> Result<Reals<'c>, Failure> {
    if values.element() == zp_type::U8 {
        return Ok(Reals::e8m0(values.slice()?));
    }
    match values.reals()? {
        view::Reals::F32(_) => Ok(values.slice::<f32>()?.into()),
        view::Reals::Halves(halves) => Ok(halves.into()),
    }
}

fn pack_parts<C: Byte>(exec: Exec<'_>, parts: &zp_group_parts, c: Caller<'_>) -> Result<PackedWeights, Failure> {
    let (zero_points, has_zero_points) = parts.zero_points.optional::<i32>();
    let (offsets, has_offsets) = parts.offsets.optional::<f32>();
    let inputs = [
        (&parts.codes, "parts->codes"),
        (&parts.scales, "parts->scales"),
        (&zero_points, "parts->zero_points"),
        (&offsets, "parts->offsets"),
    ];
    let ([codes, scales, zero_points, offsets], []) = c.buffers(inputs, [])?;
    let (codes, range, scales) = (codes.matrix::<C>()?, parts.range.range()?, group_reals(&scales)?);
    let weights = match zp_order::checked(parts.order, "parts->order")? {
        zp_order::Rows => Weights::new(codes, range, parts.length, scales)?,
        zp_order::Columns => Weights::columns(codes, range, parts.length, scales)?,
    };
    let weights = match (has_zero_points, has_offsets) {
        (false, false) => weights,
        (true, false) => weights.with_zero_points(zero_points.slice()?)?,
        (false, true) => weights.with_offsets(group_reals(&offsets)?)?,
        (true, true) => {
            let why = "weights have zero points or offsets, not both";
            return Err(zeropoint::Error::Shape { why, found: 2 }.into());
        }
    };
    Ok(PackedWeights::pack(exec, &weights)?)
}

/// Packs weights that are given in parts, on the ISA of `exec`. All are copied.
///
/// Errors: ZP_ERROR_LENGTH, ZP_ERROR_SHAPE, ZP_ERROR_CODE, ZP_ERROR_CODES, ZP_ERROR_ZERO_POINT, ZP_ERROR_TYPE, ZP_ERROR_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_group_weights_pack_parts(
    exec: *const zp_exec,
    parts: *const zp_group_parts,
    weights: *mut *mut zp_group_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec, parts) = (c.out_handle(weights)?, c.exec(exec)?, c.value(parts, "parts")?);
            out.write(match parts.range.code_type()? {
                zp_type::I8 => pack_parts::<i8>(exec, parts, c)?,
                zp_type::U8 => pack_parts::<u8>(exec, parts, c)?,
                found => {
                    let expected = "ZP_TYPE_U8 or ZP_TYPE_I8";
                    return Err(Reason::Type { what: "parts->range", found, expected }.into());
                }
            });
            Ok(())
        })
    }
}

/// The depth, the outputs and the bytes of packed weights. Any of the pointers may be NULL.
///
/// Errors: ZP_ERROR_HANDLE, ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_group_weights_get(
    weights: *const zp_group_weights,
    depth: *mut usize,
    outputs: *mut usize,
    bytes: *mut usize,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let weights = c.handle(weights)?;
            c.out_optional(depth, "depth")?.write(weights.depth());
            c.out_optional(outputs, "outputs")?.write(weights.outputs());
            c.out_optional(bytes, "bytes")?.write(weights.bytes());
            Ok(())
        })
    }
}

/// One more owner of weights: `other` becomes a handle of the same weights, to be freed too. Nothing is copied.
///
/// Errors: ZP_ERROR_HANDLE, ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_group_weights_share(
    weights: *const zp_group_weights,
    other: *mut *mut zp_group_weights,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.share(weights, other)) }
}

/// Frees weights: the memory goes with the last owner. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_group_weights_free(weights: *mut zp_group_weights, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(weights)) }
}

/// A stage that adds a bias, `count` numbers or none, and clamps to `min` … `max`: −INFINITY and INFINITY are no bounds, 0 and INFINITY a
/// ReLU.
///
/// Errors: ZP_ERROR_NON_FINITE in the bias; ZP_ERROR_RANGE for empty bounds. (A count that is not that of the outputs is an error of the
/// product.)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_group_stage_new(
    bias: *const f32,
    count: usize,
    min: f32,
    max: f32,
    stage: *mut *mut zp_group_stage,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let out = c.out_handle(stage)?;
            out.write(RealStage::new().with_bias(c.array(bias, count, "bias")?)?.with_bounds(min, max)?);
            Ok(())
        })
    }
}

/// Frees a stage. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_group_stage_free(stage: *mut zp_group_stage, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(stage)) }
}

/// Activations of a product by weights in groups.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_group_activations {
    /// `[rows, depth]`: codes of U8 or I8, or floats of 32 or 16 bits.
    pub x: zp_view,
    /// Of codes, their parameters: per tensor, per row, or in blocks along the row. Of floats NULL: the call quantizes them to 8 bits.
    pub params: *const zp_params,
    /// Of floats, how: ZP_OFFSET_ZERO symmetric, ZP_OFFSET_INTEGER with a zero point. Not read of codes.
    pub offset: MaybeUninit<zp_offset>,
    /// Of floats, the elements that share a scale: 0 for a row, or the length of the weights' groups. Not read of codes.
    pub length: usize,
}

fn coded<'c, C: Byte>(x: &Input<'c>, params: &'c Params) -> Result<Activations<'c>, Failure> {
    Ok(Activations::quantized(Quantized::new(x.matrix::<C>()?, params.typed("x->params")?)?)?)
}

impl zp_group_activations {
    fn checked<'c>(&self, x: &Input<'c>, params: Option<&'c Params>) -> Result<Activations<'c>, Failure> {
        if let Some(params) = params {
            return match x.element() {
                zp_type::I8 => coded::<i8>(x, params),
                _ => coded::<u8>(x, params),
            };
        }
        let scheme = match zp_offset::checked(self.offset, "x->offset")? {
            zp_offset::Integer => Scheme::ASYMMETRIC,
            zp_offset::Zero => Scheme::SYMMETRIC,
            zp_offset::Middle => Scheme::MIDDLE,
        };
        let [rows, depth] = x.shape();
        let reals = match x.reals()? {
            view::Reals::F32(x) => Activations::reals(x, scheme),
            view::Reals::Halves(x) => Activations::halves(x, rows, depth, scheme)?,
        };
        Ok(if self.length == 0 { reals } else { reals.in_groups(self.length)? })
    }
}

/// A product whose operands were checked.
struct Product<'c> {
    exec: Exec<'c>,
    x: Activations<'c>,
    weights: &'c PackedWeights,
}

impl Product<'_> {
    fn run<S: GroupStage>(&self, stage: &S, out: impl Destination<S::Element>) -> Result<(), Failure> {
        Ok(matmul(self.exec, &self.x, self.weights, stage, out)?)
    }
}

/// The product of activations `x`, `[rows, depth]`, and weights in groups, into `out`, `[rows, outputs]`: floats of 32 or 16 bits; or codes
/// with the parameters `y`, per tensor, unless that is NULL. `stage` may be NULL: no bias, no bounds. The bytes of a row do not depend on
/// the other rows.
///
/// Errors: ZP_ERROR_PACKED_ISA when the weights are packed for another ISA; ZP_ERROR_LENGTH when the shapes do not go together;
/// ZP_ERROR_SHAPE for activations in groups of another length; ZP_ERROR_DEPTH when a sum could leave 32 bits; ZP_ERROR_NON_FINITE and
/// ZP_ERROR_RANGE for floats that have no parameters; ZP_ERROR_TYPE; ZP_ERROR_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_group_matmul(
    exec: *const zp_exec,
    x: *const zp_group_activations,
    weights: *const zp_group_weights,
    stage: *const zp_group_stage,
    y: *const zp_params,
    out: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, activations, weights) = (c.exec(exec)?, c.value(x, "x")?, c.handle(weights)?);
            let (stage, y) = (c.optional_handle(stage)?, c.optional_handle(y)?);
            let params = c.optional_handle(activations.params)?;
            let ([x], [out]) = c.buffers([(&activations.x, "x->x")], [(&out, "out")])?;
            let product = Product { exec, x: activations.checked(&x, params)?, weights };
            let plain = RealStage::new();
            let stage = stage.unwrap_or(&plain);
            match y {
                None => match out.reals()? {
                    RealsMut::F32(out) => product.run(stage, out),
                    RealsMut::Halves(out) => product.run(stage, out),
                },
                Some(Params::U8(y)) => product.run(&stage.clone().quantized(y)?, out.matrix()?),
                Some(Params::I8(y)) => product.run(&stage.clone().quantized(y)?, out.matrix()?),
                Some(Params::U16(y)) => product.run(&stage.clone().quantized(y)?, out.matrix()?),
                Some(Params::I16(y)) => product.run(&stage.clone().quantized(y)?, out.matrix()?),
            }
        })
    }
}
