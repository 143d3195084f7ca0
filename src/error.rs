//! The one error type: bad values are returned, never panicked on, and leave every output untouched.

use core::fmt;

/// Why an operation refused its arguments. Nothing was written then.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// No ISA of this name, or not on this CPU.
    Isa {
        /// The name that was asked for.
        name: String,
        /// The names that this CPU can run, slowest first.
        supported: Vec<&'static str>,
    },
    /// A slice does not have the length that the shapes ask for.
    Length {
        /// Which argument.
        what: &'static str,
        /// The length the shapes ask for.
        expected: usize,
        /// The length that was given.
        found: usize,
    },
    /// A length is not a multiple of the unit its granularity asks for.
    Multiple {
        /// Which argument.
        what: &'static str,
        /// The unit: the elements of one channel set or one row.
        unit: usize,
        /// The length that was given.
        found: usize,
    },
    /// A row stride is shorter than the row.
    Stride {
        /// The stride in elements.
        stride: usize,
        /// The elements of a row.
        columns: usize,
    },
    /// There is no element to take a minimum or a maximum of.
    Empty {
        /// Which argument.
        what: &'static str,
        /// The first group that has none, where others have some.
        group: Option<usize>,
    },
    /// NaN or infinity where a finite number is needed.
    NonFinite {
        /// Which argument.
        what: &'static str,
        /// The first element, channel or group that has it.
        index: usize,
        /// The value that was found.
        found: f32,
    },
    /// The range's minimum is above its maximum, or its values do not fit the scheme.
    Range {
        /// The group or block whose range it is; 0 of a single one.
        index: usize,
        /// The lower end.
        min: f32,
        /// The upper end.
        max: f32,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Codes of fewer than 2 bits, or of more than their type has.
    Bits {
        /// The bits that were asked for.
        bits: u32,
        /// The bits of the type.
        most: u32,
    },
    /// A code range that no quantizer can have.
    Codes {
        /// The smallest code that was asked for.
        min: i32,
        /// The largest code that was asked for.
        max: i32,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A code outside the range of what it is stored in, or of what takes it.
    Code {
        /// The first element that has it.
        index: usize,
        /// The code.
        code: i32,
        /// The smallest code of the range.
        min: i32,
        /// The largest code of the range.
        max: i32,
    },
    /// A zero point outside the code range.
    ZeroPoint {
        /// The first group, row or channel that has it; 0 of a single one.
        index: usize,
        /// The zero point.
        zero_point: i32,
        /// The smallest code.
        min: i32,
        /// The largest code.
        max: i32,
    },
    /// A scale that is not finite or below `f32::MIN_POSITIVE`.
    Scale {
        /// The first group, row or channel that has it; 0 of a single one.
        index: usize,
        /// The scale.
        scale: f32,
    },
    /// Activation bounds that are empty.
    Bounds {
        /// The lower bound.
        min: i32,
        /// The upper bound.
        max: i32,
    },
    /// A multiplier that the output stage cannot represent.
    Multiplier {
        /// The first channel that has it; 0 of a single one.
        index: usize,
        /// The real multiplier, or two to the power of minus the shift.
        multiplier: f64,
        /// What the stage accepts.
        why: &'static str,
    },
    /// A bias that has no i32 code at the accumulators' scale.
    Bias {
        /// The first channel that has it.
        index: usize,
        /// The bias.
        bias: f32,
        /// The code it would have.
        code: f64,
    },
    /// The sum could leave i32: `depth · max|a − za| · max|b − zb| + max|bias| > 2³¹ − 1`; or 48 bits, of i16 activations.
    Depth {
        /// The first row of the result whose activations are furthest from their zero point; 0 of a single zero point. (A
        /// convolution has a row for every output pixel.)
        row: usize,
        /// The first output, of all groups of a convolution, that is at fault: whose bias is the largest, or whose weights are
        /// furthest from their zero point if the depth is too large without a bias.
        channel: usize,
        /// The depth (K) that was asked for.
        depth: usize,
        /// The largest depth that is safe with these zero points and this bias.
        limit: usize,
    },
    /// The random words end before the elements do: their last index is 2⁶⁴ − 1.
    Stream {
        /// The index of the first word.
        offset: u64,
        /// The words that were asked for.
        words: u64,
    },
    /// Two observers that cannot be merged.
    Merge {
        /// What keeps them apart.
        why: &'static str,
    },
    /// A setting of an observer that it cannot have.
    Setting {
        /// Which setting.
        what: &'static str,
        /// The value that was given.
        found: f64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No calibration method of this name.
    Method {
        /// The name that was asked for.
        name: String,
        /// The names that exist, with their optional arguments.
        choices: &'static str,
    },
    /// Weights that were packed for another ISA than the one that is to multiply them.
    PackedIsa {
        /// The ISA that the weights were packed for.
        packed: &'static str,
        /// The ISA that the call runs on.
        exec: &'static str,
    },
    /// Bytes that are no archive of packed weights, or lack what was asked for.
    File {
        /// What is wrong.
        why: &'static str,
    },
    /// Parameters that were made for another rounding than the one that was asked for.
    Rounding {
        /// What does not go together.
        why: &'static str,
    },
    /// A stage made for other operands than those of the product.
    Operand {
        /// The first row of the result whose activations have another scale, or the first output whose weights have; 0 of a
        /// single one.
        index: usize,
        /// What does not go together.
        why: &'static str,
    },
    /// No memory for what a result needs: packed weights with their padding.
    Memory {
        /// The bytes that were asked for; `usize::MAX` for more.
        bytes: usize,
    },
    /// An axis that the shape does not have, a length of zero, or sizes that do not go together.
    Shape {
        /// What is wrong.
        why: &'static str,
        /// The size at fault.
        found: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Isa { name, supported } => {
                write!(f, "no ISA `{name}` on this CPU; choose one of: {}", supported.join(", "))
            }
            Error::Length { what, expected, found } => {
                write!(f, "{what}: {found} given, {expected} expected from the other shapes")
            }
            Error::Multiple { what, unit, found } => {
                write!(f, "{what}: {found} elements given, not a multiple of {unit}")
            }
            Error::Stride { stride, columns } => {
                write!(f, "row stride {stride} is shorter than a row of {columns}")
            }
            Error::Empty { what, group: None } => write!(f, "{what} is empty"),
            Error::Empty { what, group: Some(group) } => write!(f, "group {group} of {what} is empty"),
            Error::NonFinite { what, index, found } => write!(f, "{what} contains {found}, at index {index}"),
            Error::Range { index, min, max, why } => write!(f, "range {index}, [{min}, {max}]: {why}"),
            Error::Bits { bits, most } => write!(f, "{bits} bits; codes of this type have 2 to {most}"),
            Error::Codes { min, max, why } => write!(f, "codes {min}..={max}: {why}"),
            Error::Code { index, code, min, max } => {
                write!(f, "code {code}, at index {index}, is outside of {min}..={max}")
            }
            Error::ZeroPoint { index, zero_point, min, max } => {
                write!(f, "zero point {zero_point}, at index {index}, is outside the codes {min}..={max}")
            }
            Error::Scale { index, scale } => {
                write!(f, "scale {scale}, at index {index}, is not a finite number of at least {:e}", f32::MIN_POSITIVE)
            }
            Error::Bounds { min, max } => write!(f, "activation bounds {min}..={max} are empty"),
            Error::Multiplier { index, multiplier, why } => {
                write!(f, "multiplier {multiplier:e}, at index {index}: {why}")
            }
            Error::Bias { index, bias, code } => {
                write!(
                    f,
                    "the bias of channel {index}, {bias:e}, would be {code:e} at the accumulators' scale, beyond i32"
                )
            }
            Error::Depth { row, channel, depth, limit } => write!(
                f,
                "depth {depth} could overflow the accumulator of row {row}, channel {channel}; the limit with these zero points \
                 and this bias is {limit}"
            ),
            Error::Stream { offset, words } => {
                write!(f, "{words} random words from index {offset} on would pass the last one, {}", u64::MAX)
            }
            Error::Merge { why } => write!(f, "these observers cannot be merged: {why}"),
            Error::Setting { what, found, why } => write!(f, "{what} {found}: {why}"),
            Error::Method { name, choices } => {
                write!(f, "no calibration method `{name}`; choose one of: {choices}")
            }
            Error::PackedIsa { packed, exec } => {
                write!(f, "the weights are packed for `{packed}`, the call runs on `{exec}`")
            }
            Error::File { why } => write!(f, "the archive: {why}"),
            Error::Rounding { why } => write!(f, "{why}"),
            Error::Operand { index, why } => write!(f, "{why}, at index {index}"),
            Error::Memory { bytes } => write!(f, "no memory of {bytes} bytes"),
            Error::Shape { why, found } => write!(f, "{why} (found {found})"),
        }
    }
}

impl core::error::Error for Error {}

/// `Ok` when a slice has the length that the shapes ask for.
pub(crate) fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}

/// The elements of a shape; `usize::MAX` when no memory could hold them, so that no slice has that length.
#[inline]
pub(crate) fn elements_of(shape: &[usize]) -> usize {
    shape.iter().fold(1, |elements, &length| elements.saturating_mul(length))
}
