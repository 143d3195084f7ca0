//! What becomes of the totals of a product.

use std::sync::Arc;

use crate::codes::Code;
use crate::error::Error;
use crate::params::QuantParams;

/// Real results: `clamp(C + bias)`, where C is the product.
///
/// ```
/// use zeropoint::groups::RealStage;
/// let relu = RealStage::new().with_bias(&[0.5, -1.0])?.with_bounds(0.0, f32::INFINITY)?;
/// # let _ = relu;
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RealStage {
    /// One for every column, or none. (Shared, so that a stage is copied without allocating.)
    pub(super) bias: Arc<[f32]>,
    pub(super) min: f32,
    pub(super) max: f32,
}

impl Default for RealStage {
    fn default() -> Self {
        Self::new()
    }
}

impl RealStage {
    /// The product itself.
    #[must_use]
    pub fn new() -> Self {
        RealStage { bias: Arc::default(), min: f32::NEG_INFINITY, max: f32::INFINITY }
    }

    /// With a bias for every column, added after the last group.
    ///
    /// # Errors
    /// [`Error::NonFinite`]. A length that is not that of the columns is an error of the operation.
    pub fn with_bias(self, bias: &[f32]) -> Result<Self, Error> {
        match bias.iter().position(|bias| !bias.is_finite()) {
            Some(index) => Err(Error::NonFinite { what: "the bias", index, found: bias[index] }),
            None => Ok(RealStage { bias: bias.into(), ..self }),
        }
    }

    /// With an activation that clamps: 0 and infinity are ReLU. NaN stays.
    ///
    /// # Errors
    /// [`Error::Range`] unless `min ≤ max`.
    pub fn with_bounds(self, min: f32, max: f32) -> Result<Self, Error> {
        if min <= max {
            Ok(RealStage { min, max, ..self })
        } else {
            Err(Error::Range { index: 0, min, max, why: "these bounds are empty" })
        }
    }

    /// As codes, by parameters per tensor: what [`quantize`](crate::quantize()) to nearest makes of the real results.
    ///
    /// ```
    /// use zeropoint::groups::{Activations, PackedWeights, RealStage, Weights, matmul};
    /// use zeropoint::{CodeRange, Exec, Matrix, QuantParams, Scheme};
    /// let (exec, codes, x) = (Exec::best()?, [3_i8; 32], [1.0; 32]);
    /// let weights = Weights::new(Matrix::new(&codes, 1, 32)?, CodeRange::signed(4)?, 32, &[0.25])?;
    /// let packed = PackedWeights::pack(exec, &weights)?;
    /// let y = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 10)?;
    /// let stage = RealStage::new().with_bounds(0.0, f32::INFINITY)?.quantized(&y)?;
    /// let mut out = [0_u8];
    /// matmul(exec, &Activations::reals(Matrix::new(&x, 1, 32)?, Scheme::SYMMETRIC), &packed, &stage, &mut out)?;
    /// assert_eq!(out, [10 + 2 * 24]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for parameters of another granularity.
    pub fn quantized<C: Code>(self, params: &QuantParams<C>) -> Result<CodeStage<'_, C>, Error> {
        params.one_group()?;
        Ok(CodeStage { real: self, params })
    }
}

/// Results in codes. Made by [`RealStage::quantized`].
#[derive(Clone, Debug)]
pub struct CodeStage<'a, C> {
    pub(super) real: RealStage,
    pub(super) params: &'a QuantParams<C>,
}
