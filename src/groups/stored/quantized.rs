//! Weights of f32, quantized in groups along the depth.

use std::borrow::Cow;

use super::{Stored, StoredWeights};
use crate::calibrate::mse_ranges;
use crate::codes::CodeRange;
use crate::error::Error;
use crate::exec::Exec;
use crate::groups::weights::{Coding, check_group_length};
use crate::half::{HalvesMut, narrow};
use crate::matrix::Matrix;
use crate::params::{Granularity, QuantParams, Range, Scheme};
use crate::quantize::quantize;
use crate::reduce::ranges::all_ranges;
use crate::rounding::Rounding;

/// How weights are quantized in groups along the depth: the bits of a code, the length of a group, whether groups have zero
/// points, how their ranges are chosen, and the type of their scales.
///
/// | groups | S of a group, of n bits | Z | stored beside the codes |
/// |---|---|---|---|
/// | [`symmetric`](GroupScheme::symmetric) | `amax / (2ⁿ⁻¹ − ½)` | 2ⁿ⁻¹ | a scale |
/// | [`with_zero_points`](GroupScheme::with_zero_points) | `(max − min) / (2ⁿ − 1)`, widened to contain 0 | `RNE(−min / S)` | a scale, and a code |
///
/// Ranges are minimum and maximum, or the part of these that [`mse_ranges`] finds
/// ([`least_error`](GroupScheme::least_error)). Scales are f32, or f16 ([`f16_scales`](GroupScheme::f16_scales)): then they
/// are rounded before weights are divided by them.
///
/// ```
/// use zeropoint::Exec;
/// use zeropoint::Matrix;
/// use zeropoint::groups::{GroupScheme, PackedWeights, StoredWeights};
/// use zeropoint::report::reconstruction_error;
/// let exec = Exec::best()?;
/// let w: Vec<f32> = (0..4 * 256).map(|i| (i as f32 * 0.37).sin().powi(3)).collect(); // 4 outputs of depth 256
/// let scheme = GroupScheme::with_zero_points(4, 64)?.least_error().f16_scales();
/// assert_eq!(scheme.bits_per_weight(256), 4.0 + (16.0 + 4.0) / 64.0);
/// let weights = StoredWeights::quantize(exec, Matrix::new(&w, 4, 256)?, scheme)?;
/// assert!(reconstruction_error(exec, &w, &weights.values())?.sqnr() > 20.0); // dB
/// let packed = PackedWeights::pack(exec, &weights.weights())?; // for products
/// # let _ = packed;
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct GroupScheme {
    codes: CodeRange<u8>,
    length: usize,
    scheme: Scheme,
    least_error: bool,
    f16_scales: bool,
}

impl GroupScheme {
    /// Codes of 2 to 8 bits, the middle one of which is 0, in groups of a length; scales of minimum and maximum, in f32.
    ///
    /// # Errors
    /// [`Error::Bits`]; [`Error::Shape`] of no length.
    pub fn symmetric(bits: u32, length: usize) -> Result<Self, Error> {
        Self::of(bits, length, Scheme::MIDDLE)
    }

    /// As [`symmetric`](GroupScheme::symmetric), but with a zero point for every group.
    ///
    /// # Errors
    /// [`Error::Bits`]; [`Error::Shape`] of no length.
    pub fn with_zero_points(bits: u32, length: usize) -> Result<Self, Error> {
        Self::of(bits, length, Scheme::ASYMMETRIC)
    }

    fn of(bits: u32, length: usize, scheme: Scheme) -> Result<Self, Error> {
        if length == 0 {
            return Err(Error::Shape { why: "a group has no length", found: 0 });
        }
        Ok(GroupScheme { codes: CodeRange::unsigned(bits)?, length, scheme, least_error: false, f16_scales: false })
    }

    /// With the ranges of least squared error ([`mse_ranges`]) in place of minimum and maximum.
    #[must_use]
    pub fn least_error(self) -> Self {
        GroupScheme { least_error: true, ..self }
    }

    /// With scales of f16, rounded to nearest, in place of f32; of at least 2⁻²⁴.
    #[must_use]
    pub fn f16_scales(self) -> Self {
        GroupScheme { f16_scales: true, ..self }
    }

    /// The bits of a weight with its part of what is stored for its group: of the codes, a scale, and a zero point of as
    /// many bits as a code where groups have their own. The last group of a row of `depth` weights may be shorter.
    #[must_use]
    pub fn bits_per_weight(&self, depth: usize) -> f64 {
        let code = f64::from(self.bits());
        let scale = if self.f16_scales { 16.0 } else { 32.0 };
        let group = scale + if self.scheme == Scheme::ASYMMETRIC { code } else { 0.0 };
        code + group * depth.div_ceil(self.length) as f64 / depth.max(1) as f64
    }

    fn bits(&self) -> u32 {
        u32::from(self.codes.max()).count_ones()
    }
}

impl StoredWeights {
    /// Weights `[N, K]` of f32, quantized in groups along their rows. The last group of a row may be shorter.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the first NaN or infinity; [`Error::Shape`] unless the length of a group is a multiple of
    /// 16, or at least K; [`Error::Range`] of a group whose scale would be above the largest of its type.
    pub fn quantize<'e>(
        exec: impl Into<Exec<'e>>,
        weights: Matrix<'_, f32>,
        scheme: GroupScheme,
    ) -> Result<Self, Error> {
        quantized(exec.into(), weights, scheme)
    }
}

fn quantized(exec: Exec<'_>, weights: Matrix<'_, f32>, scheme: GroupScheme) -> Result<StoredWeights, Error> {
    let GroupScheme { codes: range, length, scheme, least_error, f16_scales } = scheme;
    let [outputs, depth] = [weights.rows(), weights.columns()];
    check_group_length(length, depth)?;
    let x = contiguous(weights);
    let granularity = Granularity::block(&[outputs, depth], length)?;
    let params = if least_error && !x.is_empty() {
        let ranges = mse_ranges(exec, &x, granularity, range, scheme)?;
        QuantParams::from_ranges(range, scheme, granularity, &ranges)?
    } else {
        QuantParams::fit(exec, &x, range, scheme, granularity)?
    };
    let (params, scales) = if f16_scales {
        let stored = Stored::F16(f16_of(exec, params.scales(), |index| {
            let Range { min, max } = all_ranges(exec, &x, granularity)?[index];
            Err(Error::Range { index, min, max, why: "its scale is above the largest f16" })
        })?);
        let (scales, zero_points) = (super::widened(&stored), params.zero_points().to_vec());
        (QuantParams::new(range, granularity, scales, zero_points)?, stored)
    } else {
        let stored = Stored::F32(params.scales().to_vec());
        (params, stored)
    };
    let mut codes = vec![0; x.len()];
    quantize(exec, &x, &params, Rounding::Nearest, &mut codes)?;
    let zero_points = params.zero_points().to_vec();
    let coding = Coding::of(range);
    Ok(StoredWeights { outputs, depth, codes, coding, length, scales, zero_points, offsets: None, order: None })
}

/// The elements of a matrix, row after row.
fn contiguous(weights: Matrix<'_, f32>) -> Cow<'_, [f32]> {
    let (rows, columns) = (weights.rows(), weights.columns());
    if columns == 0 {
        return Cow::Borrowed(&[]);
    }
    if weights.stride() == columns {
        return weights.into_slice().into();
    }
    let mut all = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        all.extend_from_slice(weights.row(row));
    }
    all.into()
}

/// Scales as f16, those that would be 0 as the smallest; or the error of the first that f16 cannot hold.
fn f16_of(exec: Exec<'_>, scales: &[f32], error: impl Fn(usize) -> Result<(), Error>) -> Result<Vec<u16>, Error> {
    let mut halves = vec![0; scales.len()];
    narrow(exec, scales, HalvesMut::f16(&mut halves))?;
    for (index, half) in halves.iter_mut().enumerate() {
        match *half {
            0 => *half = 1,
            0x7c00.. => error(index)?,
            _ => {}
        }
    }
    Ok(halves)
}
