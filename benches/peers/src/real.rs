//! Products of f32 by weights in groups: the operands of one shape, and how near a result is.

use zeropoint::random::fill_words;
use zeropoint::{Error, Isa, Stream};

use crate::shapes::Shape;

/// Elements of a result that are compared.
const SAMPLE: usize = 512;

/// How weights are kept: codes of some bits, with a scale for every group of them along the depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Bits of a code.
    pub bits: u32,
    /// Codes of a group.
    pub length: usize,
}

impl Groups {
    /// Bytes of the codes and of scales of two bytes.
    pub fn bytes(self, weights: usize) -> usize {
        weights * self.bits as usize / 8 + 2 * weights / self.length
    }

    /// An error above which a result is not that of such weights and of activations of eight bits: uniform weights have steps
    /// of 2 / 2ᵇⁱᵗˢ times the largest, so an error of 2⁻ᵇⁱᵗˢ relative to their mean square. (Activations add less than 2⁻⁷.)
    fn bound(self) -> f64 {
        1.5 * (0.5_f64.powi(self.bits as i32) + 0.5_f64.powi(7))
    }
}

/// Real operands, the same in every run.
pub struct RealProblem {
    /// M, N, K.
    pub shape: Shape,
    /// How every peer is to keep the weights.
    pub groups: Groups,
    /// Activations, M × K, uniform in −1 … 1.
    pub x: Vec<f32>,
    /// Weights, N × K, uniform in −1 … 1.
    pub weights: Vec<f32>,
}

impl RealProblem {
    /// Random operands.
    pub fn new(shape: Shape, groups: Groups) -> Result<Self, Error> {
        let isa = Isa::best()?;
        let reals = |seed, count: usize| {
            let mut words = vec![0_u32; count];
            fill_words(isa, Stream::new(seed), &mut words)?;
            Ok(words.into_iter().map(|word| (word >> 8) as f32 / (1 << 23) as f32 - 1.0).collect())
        };
        let Shape { m, n, k } = shape;
        Ok(RealProblem { shape, groups, x: reals(5, m * k)?, weights: reals(6, n * k)? })
    }

    /// The root mean square of a result's error, relative to that of the exact product in f32; of a sample of it.
    pub fn error(&self, result: &[f32]) -> f64 {
        let Shape { m, n, k } = self.shape;
        let (mut error, mut power) = (0.0, 0.0);
        // A stride without a common divisor with most widths, and the last element.
        for element in (0..m * n).step_by((m * n / SAMPLE) | 1).chain([m * n - 1]) {
            let (x, weights) = (&self.x[element / n * k..][..k], &self.weights[element % n * k..][..k]);
            let exact: f64 = x.iter().zip(weights).map(|(&x, &weight)| f64::from(x) * f64::from(weight)).sum();
            error += (f64::from(result[element]) - exact).powi(2);
            power += exact.powi(2);
        }
        (error / power).sqrt()
    }

    /// Whether a result with this error may stand for the product.
    pub fn is_near(&self, error: f64) -> bool {
        error <= self.groups.bound()
    }
}
