//! Plain values that parameters are made of: schemes, granularities, ranges, codes, roundings.

use core::mem::MaybeUninit;

use zeropoint::{CodeRange, Granularity, OffsetKind, Range, Rounding, RoundingKind, ScaleKind, Scheme, Stream};

use crate::boundary::{Caller, call, zp_message};
use crate::element::{CEnum, c_enum, zp_type};
use crate::error::zp_error;
use crate::failure::{Failure, Reason};
use crate::params::CodeType;

/// Which values a scale may have.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_scale {
    /// Any float.
    Float = 0,
    /// A power of two.
    PowerOfTwo = 1,
}

/// Which values a zero point may have.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_offset {
    /// Any code: asymmetric quantization.
    Integer = 0,
    /// Zero: symmetric quantization.
    Zero = 1,
    /// The middle of the codes, 128 of u8: symmetric quantization to codes without a sign.
    Middle = 2,
}

/// How values between two codes are rounded.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_rounding_kind {
    /// To the nearest code, ties to even.
    Nearest = 0,
    /// Up with the probability of the fraction.
    Stochastic = 1,
}

/// Which elements of a tensor share a scale and a zero point.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_granularity_kind {
    /// All elements.
    Tensor = 0,
    /// Those with the same index on one axis.
    Channel = 1,
    /// Blocks of neighbours along one axis.
    Block = 2,
}

c_enum! {
    zp_scale { Float, PowerOfTwo }
    zp_offset { Integer, Zero, Middle }
    zp_rounding_kind { Nearest, Stochastic }
    zp_granularity_kind { Tensor, Channel, Block }
}

/// A type of quantization. One of zeros is asymmetric with float scales, for rounding to nearest.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_scheme {
    /// Float or power-of-two scale.
    pub scale: MaybeUninit<zp_scale>,
    /// Any zero point, zero, or the middle.
    pub offset: MaybeUninit<zp_offset>,
    /// The rounding that parameters leave room for: stochastic rounding needs one step of headroom.
    pub rounding: MaybeUninit<zp_rounding_kind>,
}

/// How an operation rounds. One of zeros is to nearest.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_rounding {
    /// To nearest or stochastically.
    pub kind: MaybeUninit<zp_rounding_kind>,
    /// The stream of random words; not read to nearest.
    pub seed: u64,
    /// Element i of the tensor takes the word `offset + i`, on every ISA and for any number of threads; not read to nearest.
    pub offset: u64,
}

/// The codes that a quantizer may produce, `min` to `max`, 0 among them: {ZP_TYPE_U8, 0, 255}, or {ZP_TYPE_I8, -127, 127} for
/// weights, or {ZP_TYPE_I8, -8, 7} of four bits. The type is U8, I8, U16 or I16; codes of few bits may be packed in buffers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_codes {
    /// The type that stores them.
    pub r#type: MaybeUninit<zp_type>,
    /// The smallest code.
    pub min: i32,
    /// The largest code.
    pub max: i32,
}

/// A range of real numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_range {
    /// The lower end.
    pub min: f32,
    /// The upper end.
    pub max: f32,
}

/// Which elements of a row-major tensor share a scale and a zero point. One of zeros is the whole tensor;
/// zp_granularity_channel() and zp_granularity_block() make the others of a shape.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_granularity {
    /// All elements, an axis, or blocks along an axis.
    pub kind: MaybeUninit<zp_granularity_kind>,
    /// The length of the axis.
    pub axis: usize,
    /// The product of the lengths of the axes behind it; 1 of the innermost axis.
    pub inner: usize,
    /// The elements of a block, the last of which may be shorter.
    pub block: usize,
}

impl zp_scheme {
    pub(crate) fn checked(self) -> Result<Scheme, Failure> {
        Ok(Scheme {
            scale: match CEnum::checked(self.scale, "scheme.scale")? {
                zp_scale::Float => ScaleKind::Float,
                zp_scale::PowerOfTwo => ScaleKind::PowerOfTwo,
            },
            offset: match CEnum::checked(self.offset, "scheme.offset")? {
                zp_offset::Integer => OffsetKind::Integer,
                zp_offset::Zero => OffsetKind::Zero,
                zp_offset::Middle => OffsetKind::Middle,
            },
            rounding: match CEnum::checked(self.rounding, "scheme.rounding")? {
                zp_rounding_kind::Nearest => RoundingKind::Nearest,
                zp_rounding_kind::Stochastic => RoundingKind::Stochastic,
            },
        })
    }
}

impl zp_rounding {
    #[inline]
    pub(crate) fn checked(self) -> Result<Rounding, Failure> {
        let zp_rounding { seed, offset, .. } = self;
        Ok(match CEnum::checked(self.kind, "rounding.kind")? {
            zp_rounding_kind::Nearest => Rounding::Nearest,
            zp_rounding_kind::Stochastic => Rounding::Stochastic(Stream { seed, offset }),
        })
    }
}

impl zp_codes {
    /// The type, one of those that have parameters.
    pub(crate) fn code_type(self) -> Result<zp_type, Failure> {
        match CEnum::checked(self.r#type, "codes.type")? {
            code @ (zp_type::U8 | zp_type::I8 | zp_type::U16 | zp_type::I16) => Ok(code),
            found => {
                let expected = "ZP_TYPE_U8, ZP_TYPE_I8, ZP_TYPE_U16 or ZP_TYPE_I16";
                Err(Reason::Type { what: "codes", found, expected }.into())
            }
        }
    }

    /// The range, in the type that it says.
    pub(crate) fn range<C: CodeType>(self) -> Result<CodeRange<C>, Failure> {
        let zp_codes { min, max, .. } = self;
        let (Ok(min_code), Ok(max_code)) = (C::try_from(min), C::try_from(max)) else {
            return Err(zeropoint::Error::Codes { min, max, why: "the type does not have all of them" }.into());
        };
        Ok(CodeRange::new(min_code, max_code)?)
    }
}

/// Ranges as the library has them.
pub(crate) fn ranges(ranges: &[zp_range]) -> Vec<Range> {
    ranges.iter().map(|&zp_range { min, max }| Range { min, max }).collect()
}

impl From<Range> for zp_range {
    fn from(Range { min, max }: Range) -> Self {
        zp_range { min, max }
    }
}

impl zp_granularity {
    pub(crate) fn checked(self) -> Result<Granularity, Failure> {
        let zp_granularity { axis, inner, block: length, .. } = self;
        Ok(match CEnum::checked(self.kind, "granularity.kind")? {
            zp_granularity_kind::Tensor => Granularity::Tensor,
            zp_granularity_kind::Channel => Granularity::Channel { channels: axis, inner },
            zp_granularity_kind::Block => Granularity::Block { length, axis, inner },
        })
    }
}

impl From<Granularity> for zp_granularity {
    fn from(granularity: Granularity) -> Self {
        let (kind, axis, inner, block) = match granularity {
            Granularity::Tensor => (zp_granularity_kind::Tensor, 0, 0, 0),
            Granularity::Channel { channels, inner } => (zp_granularity_kind::Channel, channels, inner, 0),
            Granularity::Block { length, axis, inner } => (zp_granularity_kind::Block, axis, inner, length),
        };
        zp_granularity { kind: MaybeUninit::new(kind), axis, inner, block }
    }
}

/// Per channel of the axis with this index, of a tensor of this shape: for a scale for every output, axis 0 of weights
/// `[outputs, inputs]` or `[outputs, channels, height, width]`.
///
/// Errors: ZP_ERROR_SHAPE when there is no such axis.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_granularity_channel(
    shape: *const usize,
    axes: usize,
    axis: usize,
    granularity: *mut zp_granularity,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (shape, out) = (c.array(shape, axes, "shape")?, c.out(granularity, "granularity")?);
            out.write(Granularity::channel(shape, axis)?.into());
            Ok(())
        })
    }
}

/// Per block of `length` elements along the axis with this index, of a tensor of this shape. Scales are those of a tensor whose axis
/// has as many elements as there are blocks, row-major.
///
/// Errors: ZP_ERROR_SHAPE when there is no such axis, or a block has no length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_granularity_block(
    shape: *const usize,
    axes: usize,
    axis: usize,
    length: usize,
    granularity: *mut zp_granularity,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (shape, out) = (c.array(shape, axes, "shape")?, c.out(granularity, "granularity")?);
            out.write(Granularity::block_along(shape, axis, length)?.into());
            Ok(())
        })
    }
}
