//! The eight types of quantization: the codes that each takes here, and what its parts are called.

use zeropoint::{CodeRange, Error, OffsetKind, RoundingKind, ScaleKind, Scheme};

/// Signed codes; with zero offset the narrow ones, which are as many below 0 as above.
pub fn codes(scheme: Scheme, bits: u32) -> Result<CodeRange<i8>, Error> {
    match scheme.offset {
        OffsetKind::Integer => CodeRange::signed(bits),
        OffsetKind::Zero | OffsetKind::Middle => CodeRange::narrow(bits),
    }
}

pub fn scale(scheme: Scheme) -> &'static str {
    match scheme.scale {
        ScaleKind::Float => "float",
        ScaleKind::PowerOfTwo => "power of two",
    }
}

pub fn offset(scheme: Scheme) -> &'static str {
    match scheme.offset {
        OffsetKind::Integer => "integer",
        OffsetKind::Zero => "zero",
        OffsetKind::Middle => "middle",
    }
}

pub fn rounding(scheme: Scheme) -> &'static str {
    match scheme.rounding {
        RoundingKind::Nearest => "nearest",
        RoundingKind::Stochastic => "stochastic",
    }
}
