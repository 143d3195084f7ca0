//! Output stages: what becomes of the accumulators of a product.

use core::mem::MaybeUninit;
use core::ops::RangeInclusive;

use zeropoint::layers::Weights;
use zeropoint::{
    Accumulators, ByteCode, Dequantize, QuantParams, Requantize, Rule, Stage as LibraryStage, Stream, raw,
};

use crate::boundary::{Caller, call, zp_message};
use crate::conv::{ConvPair, zp_conv2d};
use crate::element::{CEnum, c_enum, zp_type};
use crate::error::zp_error;
use crate::failure::{Failure, Reason};
use crate::handle::{Handle, Owned, Static};
use crate::params::{Params, zp_params};
use crate::scheme::zp_codes;
use crate::view::Output;
use crate::weights::{PackedPair, with_pair, zp_weights};

/// What becomes of the exact 32-bit accumulators of a product: a stage, and with it the type of the result.
///
/// | function | type of the result | value |
/// |---|---|---|
/// | zp_stage_accumulators() | I32 | the accumulator |
/// | zp_stage_dequantize() | F32 | accumulator · (S_x · S_w) |
/// | zp_stage_dequantize_new() | F32 | accumulator · (S_x · S_w) + bias |
/// | zp_stage_requantize_new(), zp_stage_requantize_conv2d_new() | U8 or I8 | round(accumulator · S_x · S_w / S_y) + Z_y, clamped |
/// | zp_stage_multipliers_new() | U8 or I8 | the same, with multipliers by hand |
/// | zp_stage_stochastic_new() | as the stage | one of zp_requantize's, rounded stochastically |
///
/// A stage never changes, so threads may share it. What a function with `_new` makes is owned: free it with zp_stage_free(). The others
/// are borrowed, and const.
pub struct zp_stage {
    _opaque: (),
}

/// A stage of any type.
#[derive(Clone)]
pub(crate) enum Stage {
    Accumulators(Accumulators),
    Dequantize(Dequantize),
    U8(Requantize<u8>),
    I8(Requantize<i8>),
}

impl Handle for zp_stage {
    type Value = Stage;
    type Ownership = Owned;
    const NAME: &str = "zp_stage";
    const KIND: u32 = 0x7a70_0003;
}

/// How an accumulator is multiplied by the real multiplier of its column.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_rule {
    /// In float, rounded to nearest, ties to even.
    Float = 0,
    /// A 64-bit product of integers, rounded once, halves up.
    FixedPoint = 1,
    /// A 64-bit product of integers, rounded once, halves away from zero.
    HalfAway = 2,
    /// gemmlowp's two roundings.
    Gemmlowp = 3,
    /// A rounding shift, for multipliers that are powers of two.
    Shift = 4,
    /// As ZP_RULE_FLOAT, with multipliers computed in float: the bits of onnxruntime.
    Onnxruntime = 5,
}

/// How results in codes are clamped, besides to the codes of the result's parameters.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_activation_kind {
    /// Not.
    None = 0,
    /// No result below the zero point, which stands for 0.
    Relu = 1,
    /// To `min` … `max`.
    Bounds = 2,
}

c_enum! {
    zp_rule { Float, FixedPoint, HalfAway, Gemmlowp, Shift, Onnxruntime }
    zp_activation_kind { None, Relu, Bounds }
}

/// How results in codes are clamped. One of zeros is not at all.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_activation {
    /// Not, a ReLU, or bounds.
    pub kind: MaybeUninit<zp_activation_kind>,
    /// The smallest code of the result; read with bounds only.
    pub min: i32,
    /// The largest code of the result; read with bounds only.
    pub max: i32,
}

/// A rule of the library; `None` is onnxruntime's, whose multipliers are others.
impl zp_rule {
    fn rule(self) -> Option<Rule> {
        match self {
            zp_rule::Float => Some(Rule::Float),
            zp_rule::FixedPoint => Some(Rule::FixedPoint),
            zp_rule::HalfAway => Some(Rule::HalfAway),
            zp_rule::Gemmlowp => Some(Rule::Gemmlowp),
            zp_rule::Shift => Some(Rule::Shift),
            zp_rule::Onnxruntime => None,
        }
    }
}

/// Codes of the type, from two numbers of C.
fn bounds<C: ByteCode>(min: i32, max: i32) -> Result<RangeInclusive<C>, Failure> {
    let (least, most) = (C::MIN.into(), C::MAX.into());
    let code =
        |index, code| C::try_from(code).map_err(|_| zeropoint::Error::Code { index, code, min: least, max: most });
    Ok(code(0, min)?..=code(1, max)?)
}

impl zp_activation {
    fn apply<C: ByteCode>(self, stage: Requantize<C>) -> Result<Requantize<C>, Failure> {
        Ok(match CEnum::checked(self.kind, "activation.kind")? {
            zp_activation_kind::None => stage,
            zp_activation_kind::Relu => stage.relu(),
            zp_activation_kind::Bounds => stage.bounds(bounds(self.min, self.max)?)?,
        })
    }
}

impl Stage {
    /// Does something with the typed stage and the output in its type. (Inlined, since the product would be copied to be passed.)
    #[inline(always)]
    pub fn run<'c>(&self, out: Output<'c>, product: impl Product<'c>) -> Result<(), Failure> {
        match self {
            Stage::Accumulators(stage) => product.run(stage, out),
            Stage::Dequantize(stage) => product.run(stage, out),
            Stage::U8(stage) => product.run(stage, out),
            Stage::I8(stage) => product.run(stage, out),
        }
    }
}

/// What is computed with a stage.
pub(crate) trait Product<'c> {
    fn run<S: LibraryStage<Element: crate::element::Element>>(self, stage: &S, out: Output<'c>) -> Result<(), Failure>;
}

static ACCUMULATORS: Static<zp_stage> = Static::new(Stage::Accumulators(Accumulators));

/// The accumulators themselves, I32. Borrowed: nobody frees it.
#[unsafe(no_mangle)]
pub extern "C" fn zp_stage_accumulators() -> *const zp_stage {
    ACCUMULATORS.handle()
}

static DEQUANTIZE: std::sync::LazyLock<Static<zp_stage>> =
    std::sync::LazyLock::new(|| Static::new(Stage::Dequantize(Dequantize::new())));

/// Real results, F32, by the scales of both operands. Borrowed: nobody frees it.
#[unsafe(no_mangle)]
pub extern "C" fn zp_stage_dequantize() -> *const zp_stage {
    DEQUANTIZE.handle()
}

/// Real results, F32, plus a bias for every output: `count` numbers.
///
/// Errors: ZP_ERROR_NON_FINITE. (A count that is not that of the outputs is an error of the product.)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stage_dequantize_new(
    bias: *const f32,
    count: usize,
    stage: *mut *mut zp_stage,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let out = c.out_handle(stage)?;
            out.write(Stage::Dequantize(Dequantize::new().with_bias(c.array(bias, count, "bias")?)?));
            Ok(())
        })
    }
}

/// The stage from weights with activations `x` to codes `y`.
fn requantize<A: ByteCode, C: ByteCode>(
    weights: &impl Weights<A>,
    x: &QuantParams<A>,
    y: &QuantParams<C>,
    rule: zp_rule,
    activation: zp_activation,
) -> Result<Requantize<C>, Failure> {
    activation.apply(match rule.rule() {
        Some(rule) => Requantize::new(weights, x, y, rule)?,
        None => Requantize::onnxruntime(weights, x, y)?,
    })
}

/// [`requantize`], to codes of whatever type.
fn requantize_to<A: ByteCode>(
    weights: &impl Weights<A>,
    x: &QuantParams<A>,
    y: &Params,
    rule: zp_rule,
    activation: zp_activation,
) -> Result<Stage, Failure> {
    match y {
        Params::U8(y) => Ok(Stage::U8(requantize(weights, x, y, rule, activation)?)),
        Params::I8(y) => Ok(Stage::I8(requantize(weights, x, y, rule, activation)?)),
        _ => Err(Reason::Type { what: "y", found: y.code_type(), expected: "ZP_TYPE_U8 or ZP_TYPE_I8" }.into()),
    }
}

/// Codes with the parameters `y` of products of `weights` and activations with the parameters `x`, both per tensor.
///
/// Errors: ZP_ERROR_SHAPE when `x` or `y` is not per tensor; ZP_ERROR_MULTIPLIER for scales whose ratio the rule does not have;
/// ZP_ERROR_BOUNDS and ZP_ERROR_CODE for bounds that are empty or no codes; ZP_ERROR_TYPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stage_requantize_new(
    weights: *const zp_weights,
    x: *const zp_params,
    y: *const zp_params,
    rule: MaybeUninit<zp_rule>,
    activation: zp_activation,
    stage: *mut *mut zp_stage,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, weights, x, y) = (c.out_handle(stage)?, c.handle(weights)?, c.handle(x)?, c.handle(y)?);
            let rule = zp_rule::checked(rule, "rule")?;
            out.write(with_pair!(PackedPair, weights, weights => {
                requantize_to(weights, x.typed("x")?, y, rule, activation)?
            }));
            Ok(())
        })
    }
}

/// As zp_stage_requantize_new(), for a convolution.
///
/// Errors: those of zp_stage_requantize_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stage_requantize_conv2d_new(
    conv: *const zp_conv2d,
    x: *const zp_params,
    y: *const zp_params,
    rule: MaybeUninit<zp_rule>,
    activation: zp_activation,
    stage: *mut *mut zp_stage,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, conv, x, y) = (c.out_handle(stage)?, c.handle(conv)?, c.handle(x)?, c.handle(y)?);
            let rule = zp_rule::checked(rule, "rule")?;
            out.write(with_pair!(ConvPair, conv, conv => requantize_to(conv, x.typed("x")?, y, rule, activation)?));
            Ok(())
        })
    }
}

/// Codes with multipliers by hand: one, or one for every output, and the zero point that is added. The result is clamped to `codes`.
/// Nothing checks that they go with the operands. The rule is none of ZP_RULE_ONNXRUNTIME, whose multipliers are the caller's here.
///
/// Errors: ZP_ERROR_MULTIPLIER for one that the rule does not have; ZP_ERROR_EMPTY without multipliers; ZP_ERROR_ZERO_POINT outside
/// the type; ZP_ERROR_BOUNDS; ZP_ERROR_CODE; ZP_ERROR_TYPE; ZP_ERROR_ENUM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stage_multipliers_new(
    rule: MaybeUninit<zp_rule>,
    multipliers: *const f64,
    count: usize,
    zero_point: i32,
    codes: zp_codes,
    stage: *mut *mut zp_stage,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let out = c.out_handle(stage)?;
            let number = zp_rule::Onnxruntime as u32;
            let rule = zp_rule::checked(rule, "rule")?.rule();
            let rule =
                rule.ok_or(Reason::Enum { what: "rule, of multipliers by hand", name: zp_rule::NAME, number })?;
            let (multipliers, zp_codes { min, max, .. }) = (c.array(multipliers, count, "multipliers")?, codes);
            out.write(match codes.code_type()? {
                zp_type::U8 => Stage::U8(raw::requantize(rule, multipliers, zero_point, bounds(min, max)?)?),
                zp_type::I8 => Stage::I8(raw::requantize(rule, multipliers, zero_point, bounds(min, max)?)?),
                found => {
                    let expected = "ZP_TYPE_U8 or ZP_TYPE_I8";
                    return Err(Reason::Type { what: "codes", found, expected }.into());
                }
            });
            Ok(())
        })
    }
}

/// A stage of codes, by ZP_RULE_FLOAT, with stochastic rounding: element (row, column) of a result of N columns takes the word
/// `offset + row · N + column` of the stream of `seed`. It shares the multipliers, so that every call may have one of its own.
///
/// Errors: ZP_ERROR_ROUNDING for another rule; ZP_ERROR_TYPE for a stage whose results are no codes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stage_stochastic_new(
    stage: *const zp_stage,
    seed: u64,
    offset: u64,
    stochastic: *mut *mut zp_stage,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, stream) = (c.out_handle(stochastic)?, Stream { seed, offset });
            let expected = "a stage of codes";
            out.write(match c.handle(stage)? {
                Stage::U8(stage) => Stage::U8(stage.stochastic(stream)?),
                Stage::I8(stage) => Stage::I8(stage.stochastic(stream)?),
                Stage::Accumulators(_) => {
                    return Err(Reason::Type { what: "stage", found: zp_type::I32, expected }.into());
                }
                Stage::Dequantize(_) => {
                    return Err(Reason::Type { what: "stage", found: zp_type::F32, expected }.into());
                }
            });
            Ok(())
        })
    }
}

/// Frees a stage that a function with `_new` made. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE for a borrowed stage, and where another mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_stage_free(stage: *mut zp_stage, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(stage)) }
}
