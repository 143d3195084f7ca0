//! What quantization costs: the differences between real values and what their codes stand for, as sums and as decibels.
//!
//! ```text
//! e = x − r                       the reconstruction r = S · (q − Z); rounded once to f32
//! SSE = Σ e²                      MSE = SSE / n
//! SQNR = 10 · log₁₀(Σ x² / SSE)   signal to quantization noise, in dB
//! bits = ½ · log₂(Σ x² / SSE)     effective bits: SQNR / 6.02 dB
//! ```
//!
//! The difference of two f32 within a factor of two of each other is exact (Sterbenz), so e is exact, but for values that
//! saturate. Its square in f64 is exact for any e, and the sums are in f64 over fixed chunks: in each of 16384 elements,
//! sixteen sums of every sixteenth element, added from the first to the last; then the chunks in order. So every ISA and
//! any number of threads makes the same bits, with fused multiply-adds or without.

mod sums;

use crate::codes::Code;
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::params::QuantParams;
use crate::reduce::extremes::first_non_finite;
use sums::{Reconstruction, Sums};

/// How far a reconstruction is from real values.
///
/// ```
/// use zeropoint::report::quantization_error;
/// use zeropoint::{CodeRange, Exec, QuantParams};
/// let params = QuantParams::per_tensor(CodeRange::signed(4)?, 0.5, 0)?;
/// // To 0.5, −1.5, 1 and the largest code, 3.5.
/// let report = quantization_error(Exec::best()?, &[0.25 + 0.125, -1.5, 1.0, 4.0], &params)?;
/// assert_eq!((report.sse(), report.mse()), (0.265625, 0.06640625));
/// assert_eq!((report.max_error(), report.saturated()), (0.5, Some(1)));
/// assert_eq!(report.signal(), 19.390625);
/// assert!((report.sqnr() - 18.633).abs() < 1e-3 && (report.effective_bits() - 3.095).abs() < 1e-3);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ErrorReport {
    elements: usize,
    sums: Sums,
    /// Whether codes were made, so that it is known which of them saturate.
    coded: bool,
}

impl ErrorReport {
    /// How many elements there are.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Σ x²: the sum of the squares of the real values.
    #[must_use]
    pub fn signal(&self) -> f64 {
        self.sums.signal
    }

    /// Σ (x − r)²: the sum of squared errors.
    #[must_use]
    pub fn sse(&self) -> f64 {
        self.sums.noise
    }

    /// The mean squared error.
    #[must_use]
    pub fn mse(&self) -> f64 {
        self.sse() / self.elements as f64
    }

    /// The signal-to-quantization-noise ratio in dB; infinity when there is no noise.
    #[must_use]
    pub fn sqnr(&self) -> f64 {
        10.0 * self.ratio().log10()
    }

    /// The bits of the codes with which values spread evenly over the range have this ratio of signal to noise, 6.02 dB a
    /// bit; infinity when there is no noise. (The ENOB of converters is 0.29 lower: it begins with a sine, of half a
    /// bit more power.)
    #[must_use]
    pub fn effective_bits(&self) -> f64 {
        0.5 * self.ratio().log2()
    }

    fn ratio(&self) -> f64 {
        if self.sse() == 0.0 { f64::INFINITY } else { self.signal() / self.sse() }
    }

    /// The largest |x − r|.
    #[must_use]
    pub fn max_error(&self) -> f32 {
        f32::from_bits(self.sums.max_error_bits as u32)
    }

    /// How many elements have a code, `RNE(x / S) + Z`, outside the code range; `None` when only a reconstruction is known.
    #[must_use]
    pub fn saturated(&self) -> Option<u64> {
        self.coded.then_some(self.sums.saturated)
    }
}

/// What [`quantize`](crate::quantize()) with these parameters costs: the report of `x` and what
/// [`fake_quantize`](crate::fake_quantize()) makes of it, which is not stored. An empty tensor has none: its mean is no number.
///
/// # Errors
/// [`Error::Multiple`] and [`Error::Length`] when the length does not go with the parameters, [`Error::Empty`],
/// [`Error::NonFinite`].
pub fn quantization_error<'t, C: Code>(
    exec: impl Into<Exec<'t>>,
    x: &[f32],
    params: &QuantParams<C>,
) -> Result<ErrorReport, Error> {
    params.inner().check_elements(x.len())?;
    report(exec.into(), x, Reconstruction::Coded(params.inner()))
}

/// What is lost between `x` and its reconstruction, by whatever method it was made. An empty tensor has no report.
///
/// ```
/// use zeropoint::Exec;
/// use zeropoint::report::reconstruction_error;
/// let report = reconstruction_error(Exec::best()?, &[1.0, 2.0, 3.0], &[1.0, 2.5, 3.0])?;
/// assert_eq!((report.sse(), report.max_error(), report.saturated()), (0.25, 0.5, None));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`], [`Error::Empty`], [`Error::NonFinite`].
pub fn reconstruction_error<'t>(
    exec: impl Into<Exec<'t>>,
    x: &[f32],
    reconstruction: &[f32],
) -> Result<ErrorReport, Error> {
    check_length("the reconstruction", x.len(), reconstruction.len())?;
    report(exec.into(), x, Reconstruction::Given(reconstruction))
}

fn report(exec: Exec<'_>, x: &[f32], reconstruction: Reconstruction<'_>) -> Result<ErrorReport, Error> {
    if x.is_empty() {
        return Err(Error::Empty { what: "the tensor", group: None });
    }
    let sums = Sums::of(exec, x, reconstruction);
    // Sums of finite squares are finite: 2¹²⁸ · 2¹²⁸ · 2⁶⁴ is far below the largest f64.
    if !sums.signal.is_finite() {
        return Err(first_non_finite("the tensor", x).expect("a square is not finite"));
    }
    if !sums.noise.is_finite() {
        let (index, found) = Sums::first_non_finite_error(exec, x, reconstruction);
        return Err(Error::NonFinite { what: "the difference", index, found });
    }
    let coded = matches!(reconstruction, Reconstruction::Coded(_));
    Ok(ErrorReport { elements: x.len(), sums, coded })
}
