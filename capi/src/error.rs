//! Numbers of errors. A number, once released, keeps its meaning for ever and is never given to another error.
//!
//! Groups have gaps, so that related errors stay together. Last added: 7125 (`ZP_ERROR_FILE`).
//!
//! | numbers | what |
//! |---|---|
//! | 7000 … 7029 | the call itself: pointers, enums, handles, panics |
//! | 7100 … 7199 | errors of the library, a number for each of its variants |

use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;

use zeropoint::Error;

use crate::element::{CEnum, c_enum};

/// What a function returns: `ZP_ERROR_NONE`, 0, or the number of an error. Numbers never change their meaning.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum zp_error {
    /// No error.
    None = 0,
    /// A pointer is NULL that may not be.
    Null = 7000,
    /// A pointer is not a multiple of the alignment of its elements.
    Misaligned = 7001,
    /// A buffer that is written overlaps another buffer of the call.
    Overlap = 7002,
    /// Sizes whose product no memory holds.
    Size = 7003,
    /// A number that the enum does not have.
    Enum = 7004,
    /// A handle that was freed, is borrowed, is of another kind, or never was one.
    Handle = 7005,
    /// Elements or codes of another type than the operation takes.
    Type = 7006,
    /// Text that is not UTF-8.
    Text = 7007,
    /// A function of the caller's that takes bytes failed.
    Sink = 7008,
    /// A panic inside the library, which is a bug of it: please report the message.
    Panic = 7020,
    /// An error of the library that this table does not have yet.
    Other = 7099,
    /// No ISA of this name or number, or not on this CPU.
    Isa = 7100,
    /// A buffer does not have the length that the shapes ask for.
    Length = 7101,
    /// A length is not a multiple of the unit its granularity asks for.
    Multiple = 7102,
    /// A row stride is shorter than the row.
    Stride = 7103,
    /// There is no element to take a minimum or a maximum of.
    Empty = 7104,
    /// NaN or infinity where a finite number is needed.
    NonFinite = 7105,
    /// A range whose minimum is above its maximum, or that does not fit the scheme.
    Range = 7106,
    /// Codes of fewer than 2 bits, or of more than their type has.
    Bits = 7107,
    /// A code range that no quantizer can have.
    Codes = 7108,
    /// A code outside of its range.
    Code = 7109,
    /// A zero point outside the code range.
    ZeroPoint = 7110,
    /// A scale that is not finite or below the smallest normal float.
    Scale = 7111,
    /// Activation bounds that are empty.
    Bounds = 7112,
    /// A multiplier that the output stage cannot represent.
    Multiplier = 7113,
    /// A bias that has no 32-bit code at the accumulators' scale.
    Bias = 7114,
    /// A sum could leave 32 bits.
    Depth = 7115,
    /// The random words end before the elements do.
    Stream = 7116,
    /// Two observers that cannot be merged.
    Merge = 7117,
    /// A setting of an observer that it cannot have.
    Setting = 7118,
    /// No calibration method of this name.
    Method = 7119,
    /// Weights that were packed for another ISA.
    PackedIsa = 7120,
    /// Parameters that were made for another rounding.
    Rounding = 7121,
    /// A stage or a bias that was made for other operands.
    Operand = 7122,
    /// No memory for a result.
    Memory = 7123,
    /// Shapes that do not go together.
    Shape = 7124,
    /// Bytes that are no archive of packed weights, or lack what was asked for.
    File = 7125,
}

c_enum! {
    zp_error {
        None, Null, Misaligned, Overlap, Size, Enum, Handle, Type, Text, Sink, Panic, Other, Isa, Length, Multiple, Stride, Empty,
        NonFinite, Range, Bits, Codes, Code, ZeroPoint, Scale, Bounds, Multiplier, Bias, Depth, Stream, Merge, Setting, Method,
        PackedIsa, Rounding, Operand, Memory, Shape, File,
    }
}

impl zp_error {
    /// The number of an error of the library. (tests/errors.rs checks that every variant has one.)
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Isa { .. } => zp_error::Isa,
            Error::File { .. } => zp_error::File,
            Error::Length { .. } => zp_error::Length,
            Error::Multiple { .. } => zp_error::Multiple,
            Error::Stride { .. } => zp_error::Stride,
            Error::Empty { .. } => zp_error::Empty,
            Error::NonFinite { .. } => zp_error::NonFinite,
            Error::Range { .. } => zp_error::Range,
            Error::Bits { .. } => zp_error::Bits,
            Error::Codes { .. } => zp_error::Codes,
            Error::Code { .. } => zp_error::Code,
            Error::ZeroPoint { .. } => zp_error::ZeroPoint,
            Error::Scale { .. } => zp_error::Scale,
            Error::Bounds { .. } => zp_error::Bounds,
            Error::Multiplier { .. } => zp_error::Multiplier,
            Error::Bias { .. } => zp_error::Bias,
            Error::Depth { .. } => zp_error::Depth,
            Error::Stream { .. } => zp_error::Stream,
            Error::Merge { .. } => zp_error::Merge,
            Error::Setting { .. } => zp_error::Setting,
            Error::Method { .. } => zp_error::Method,
            Error::PackedIsa { .. } => zp_error::PackedIsa,
            Error::Rounding { .. } => zp_error::Rounding,
            Error::Operand { .. } => zp_error::Operand,
            Error::Memory { .. } => zp_error::Memory,
            Error::Shape { .. } => zp_error::Shape,
            _ => zp_error::Other,
        }
    }

    /// A few words on it.
    fn description(self) -> &'static CStr {
        match self {
            zp_error::None => c"no error",
            zp_error::Null => c"a null pointer",
            zp_error::Misaligned => c"a misaligned pointer",
            zp_error::Overlap => c"buffers that overlap",
            zp_error::Size => c"sizes that no memory holds",
            zp_error::Enum => c"a number that the enum does not have",
            zp_error::Handle => c"an invalid handle",
            zp_error::Type => c"elements of another type",
            zp_error::Text => c"text that is not UTF-8",
            zp_error::Sink => c"a function of the caller's that failed",
            zp_error::Panic => c"a panic inside the library",
            zp_error::Other => c"an error without a number",
            zp_error::Isa => c"an ISA that this CPU lacks",
            zp_error::Length => c"a wrong length",
            zp_error::Multiple => c"a length that is not a multiple",
            zp_error::Stride => c"a stride shorter than a row",
            zp_error::Empty => c"no elements",
            zp_error::NonFinite => c"NaN or infinity",
            zp_error::Range => c"an invalid range",
            zp_error::Bits => c"an invalid number of bits",
            zp_error::Codes => c"an invalid range of codes",
            zp_error::Code => c"a code outside of its range",
            zp_error::ZeroPoint => c"a zero point outside the codes",
            zp_error::Scale => c"an invalid scale",
            zp_error::Bounds => c"empty bounds",
            zp_error::Multiplier => c"an invalid multiplier",
            zp_error::Bias => c"a bias beyond 32 bits",
            zp_error::Depth => c"a depth that could overflow 32 bits",
            zp_error::Stream => c"too few random words",
            zp_error::Merge => c"observers that cannot be merged",
            zp_error::Setting => c"an invalid setting",
            zp_error::Method => c"no such calibration method",
            zp_error::PackedIsa => c"weights packed for another ISA",
            zp_error::Rounding => c"parameters for another rounding",
            zp_error::Operand => c"a stage for other operands",
            zp_error::Memory => c"no memory",
            zp_error::Shape => c"shapes that do not go together",
            zp_error::File => c"an invalid archive of weights",
        }
    }
}

/// A few words on an error number, where no message is at hand. Static; of a number that is none, "an unknown error".
#[unsafe(no_mangle)]
pub extern "C" fn zp_error_description(error: MaybeUninit<zp_error>) -> *const c_char {
    CEnum::from_c(error).map_or(c"an unknown error", zp_error::description).as_ptr()
}
