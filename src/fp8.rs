//! FP8: floats of eight bits, E4M3 and E5M2 of the OCP specification "8-bit Floating Point (OFP8)", with scales.
//!
//! | format | exponent, bias | mantissa | largest | smallest normal | smallest | infinity | NaN |
//! |---|---|---|---|---|---|---|---|
//! | [E4M3](Fp8::E4M3) | 4 bits, 7 | 3 bits | 448 | 2⁻⁶ | 2⁻⁹ | none | `S.1111.111` |
//! | [E5M2](Fp8::E5M2) | 5 bits, 15 | 2 bits | 57344 | 2⁻¹⁴ | 2⁻¹⁶ | `S.11111.00` | `S.11111.01` … `S.11111.11` |
//!
//! ("E4M3FN", `float8_e4m3fn` and `float8_e5m2` elsewhere.) With the scale S of an element, m bits of mantissa and the
//! smallest normal exponent e₀, [`encode`] computes
//!
//! ```text
//! v = x / S                                the correctly rounded f32 quotient
//! v = clamp(v, −limit, limit)              the largest value; or what follows it, if the parameters do not saturate
//! e = max(floor(log₂ |v|), e₀)             the exponent of the code
//! q = round(v · 2^(m − e))                 an integer of m + 1 bits, or the next power of two
//! code = sign of v, exponent and mantissa of q · 2^(e − m)
//! ```
//!
//! and [`decode`] `r = S · value`, rounded once. `round` is that of [`quantize`](crate::quantize()): to nearest, ties to
//! even; or stochastic, up with the probability of the fraction, so that the mean of many codes is v to 2⁻²⁴ of the
//! distance of its neighbours, up to the largest value. Element i of a tensor takes word i of the stream. NaN becomes 0x7f
//! (E4M3) or 0x7e (E5M2), zeros and what is rounded to 0 keep their sign.
//!
//! Values beyond the largest become it, infinities too: OCP's saturating conversion, and ONNX's. Parameters that [do not
//! saturate](Fp8Params::without_saturation) are for OCP's other one, which PyTorch, JAX and ml_dtypes have: infinity, in
//! E4M3 NaN, of what is rounded beyond the largest value, each with its sign. (NaN have their sign there, too; it is
//! dropped here.)

mod format;
mod kernels;
mod params;

pub use format::Fp8;
pub use params::Fp8Params;

use crate::error::Error;
use crate::exec::Exec;
use crate::quantize::job::Job;
use crate::quantize::operands::{OUTPUT, common_shape};
use crate::quantize::ops::ToNearest;
use crate::random::stream::Stream;
use crate::rounding::Rounding;
use crate::views::{Destination, Source, View, ViewMut};
use kernels::{DecodeRows, EncodeRows};

/// Encodes `x`: the codes of `x / S`, by the formula of [this module](self).
///
/// Element i of `x`, counted in the logical tensor, becomes element i of `codes`; of an empty tensor, nothing. With
/// [`Rounding::Stochastic`], element i takes the word `stream.offset + i`.
///
/// ```
/// use zeropoint::fp8::{Fp8, Fp8Params, encode};
/// use zeropoint::{Exec, Rounding, Stream};
/// let (exec, params) = (Exec::best()?, Fp8Params::per_tensor(Fp8::E4M3, 0.5)?);
/// let mut codes = [0; 5];
/// encode(exec, &[0.5, -0.53, 1e9, -0.0, f32::NAN], &params, Rounding::Nearest, &mut codes)?;
/// assert_eq!(codes, [0x38, 0xb8, 0x7e, 0x80, 0x7f]); // 1, −1, 448, −0
/// encode(exec, &[0.53; 5], &params, Stream::new(42), &mut codes)?; // 1 + 0.48 of the step to 1.125
/// assert_eq!(codes, [0x39, 0x38, 0x39, 0x38, 0x39]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the parameters;
/// [`Error::Codes`] for packed codes, which have fewer bits; [`Error::Stream`] when the stream has fewer words than `x`
/// elements.
#[inline(always)]
pub fn encode<'e>(
    exec: impl Into<Exec<'e>>,
    x: impl Source<f32>,
    params: &Fp8Params,
    rounding: impl Into<Rounding>,
    mut codes: impl Destination<u8>,
) -> Result<(), Error> {
    let (exec, x, codes) = (exec.into(), x.view(), codes.view_mut());
    match rounding.into() {
        Rounding::Nearest => encode_to_nearest(exec, x, params, codes),
        Rounding::Stochastic(stream) => encode_stochastically(exec, x, params, stream, codes),
    }
}

// Not generic: compiled in this crate, and linked only into programs that call them.
fn encode_to_nearest(
    exec: Exec<'_>,
    x: View<'_, f32>,
    params: &Fp8Params,
    codes: ViewMut<'_, u8>,
) -> Result<(), Error> {
    let shape = common_shape(x.extent(), [(codes.extent(), OUTPUT)])?;
    let operands = EncodeRows::new(shape, x, params, codes)?;
    Job { params: params.inner(), rounding: ToNearest, shape, operands }.run(exec)
}

fn encode_stochastically(
    exec: Exec<'_>,
    x: View<'_, f32>,
    params: &Fp8Params,
    rounding: Stream,
    codes: ViewMut<'_, u8>,
) -> Result<(), Error> {
    let shape = common_shape(x.extent(), [(codes.extent(), OUTPUT)])?;
    let operands = EncodeRows::new(shape, x, params, codes)?;
    Job { params: params.inner(), rounding, shape, operands }.run(exec)
}

/// The real numbers that `codes` stand for, into `out`: `S · value`, rounded once to f32; any NaN is `f32::NAN`.
///
/// ```
/// use zeropoint::Exec;
/// use zeropoint::fp8::{Fp8, Fp8Params, decode};
/// let mut real = [0.0; 4];
/// decode(Exec::best()?, &[0x38, 0xb9, 0x7e, 0x01], &Fp8Params::unscaled(Fp8::E4M3), &mut real)?;
/// assert_eq!(real, [1.0, -1.125, 448.0, 0.001953125]);
/// decode(Exec::best()?, &[0x3c, 0x7b, 0xfc, 0x01], &Fp8Params::per_tensor(Fp8::E5M2, 0.5)?, &mut real)?;
/// assert_eq!(real, [0.5, 28672.0, f32::NEG_INFINITY, 2_f32.powi(-17)]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the lengths do not go with each other or with the parameters;
/// [`Error::Codes`] for packed codes, which have fewer bits.
pub fn decode<'e>(
    exec: impl Into<Exec<'e>>,
    codes: impl Source<u8>,
    params: &Fp8Params,
    mut out: impl Destination<f32>,
) -> Result<(), Error> {
    decode_all(exec.into(), codes.view(), params, out.view_mut())
}

fn decode_all(exec: Exec<'_>, codes: View<'_, u8>, params: &Fp8Params, out: ViewMut<'_, f32>) -> Result<(), Error> {
    let shape = common_shape(codes.extent(), [(out.extent(), OUTPUT)])?;
    let operands = DecodeRows::new(shape, codes, params, out)?;
    Job { params: params.inner(), rounding: ToNearest, shape, operands }.run(exec)
}
