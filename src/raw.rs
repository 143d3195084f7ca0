//! By hand: zero points, multipliers and scales as plain numbers, for ports of other tools and for bindings.
//!
//! Where [`matmul`](crate::matmul()), [`Requantize`] and the [`layers`](crate::layers) take
//! [`QuantParams`](crate::QuantParams) and derive from them what the arithmetic needs, these functions take the numbers
//! themselves. Nothing checks that they go together.

use core::ops::RangeInclusive;

use crate::codes::ByteCode;
use crate::error::Error;
use crate::exec::Exec;
use crate::layers::{Conv2d, ConvTranspose2d, Linear, TransposedWindow, Window};
use crate::matmul::packed::{Packed, PackedMatrix};
use crate::matmul::requantize::Requantize;
use crate::matmul::requantize::rule::Rule;
use crate::matmul::unpacked::Order;
use crate::matmul::unpacked_matrix::UnpackedMatrix;
use crate::matmul::weights::Sealed;
use crate::matrix::Matrix;
pub use crate::quantize::packed::{pack_codes, unpack_codes};

pub use crate::half::{narrow, widen};
pub use crate::layers::average::average_pool2d;
pub use crate::layers::conv::convolve;
pub use crate::layers::images::{ImageZeroPoints, RawImages as Images};
pub use crate::matmul::given::apply;
pub use crate::matmul::multiplier::{f32_multipliers, multipliers, quantize_bias, quantize_multiplier};
pub use crate::matmul::product::raw_matmul as matmul;
pub use crate::matmul::stage::{DequantizeColumns, DequantizeRows};
pub use crate::matrix::ZeroPoints;

/// Packs weights `[K, N]`, a row for every k, with one zero point or one for every column.
///
/// ```
/// use zeropoint::{Exec, Matrix, PackedMatrix, raw};
/// let b = [1_i8, 2, 3, 4, 5, 6];
/// let packed: PackedMatrix<u8, i8> = raw::pack(Exec::best()?, Matrix::new(&b, 2, 3)?, 0.into())?;
/// assert_eq!((packed.depth(), packed.columns()), (2, 3));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::ZeroPoint`]; [`Error::Length`] of the zero points; [`Error::Memory`].
pub fn pack<'e, A: ByteCode, B: ByteCode>(
    exec: impl Into<Exec<'e>>,
    b: Matrix<'_, B>,
    zero_points: ZeroPoints<'_>,
) -> Result<PackedMatrix<A, B>, Error> {
    Ok(PackedMatrix::of(Packed::columns(exec.into().isa(), [A::SIGN, B::SIGN], b.bytes(), zero_points)?))
}

/// Packs weights `[N, K]`, a row for every column of the result, as linear layers keep them, with one zero point or one for
/// every row.
///
/// # Errors
/// [`Error::ZeroPoint`]; [`Error::Length`] of the zero points; [`Error::Memory`].
pub fn pack_transposed<'e, A: ByteCode, B: ByteCode>(
    exec: impl Into<Exec<'e>>,
    b: Matrix<'_, B>,
    zero_points: ZeroPoints<'_>,
) -> Result<PackedMatrix<A, B>, Error> {
    Ok(PackedMatrix::of(Packed::rows(exec.into().isa(), [A::SIGN, B::SIGN], b.bytes(), zero_points)?))
}

/// A right operand `[K, N]` that is multiplied only once, with one zero point or one for every column.
///
/// # Errors
/// [`Error::ZeroPoint`]; [`Error::Length`] of the zero points.
pub fn unpacked<'a, 'e, A: ByteCode, B: ByteCode>(
    exec: impl Into<Exec<'e>>,
    b: Matrix<'a, B>,
    zero_points: ZeroPoints<'a>,
) -> Result<UnpackedMatrix<'a, A, B>, Error> {
    UnpackedMatrix::in_order(exec.into().isa(), b, Order::Rows, zero_points, None)
}

/// A right operand `[N, K]`, a row for every column of the result, that is multiplied only once, with one zero point or one for
/// every row.
///
/// # Errors
/// [`Error::ZeroPoint`]; [`Error::Length`] of the zero points.
pub fn unpacked_transposed<'a, 'e, A: ByteCode, B: ByteCode>(
    exec: impl Into<Exec<'e>>,
    b: Matrix<'a, B>,
    zero_points: ZeroPoints<'a>,
) -> Result<UnpackedMatrix<'a, A, B>, Error> {
    UnpackedMatrix::in_order(exec.into().isa(), b, Order::Columns, zero_points, None)
}

/// A convolution by weights `[outputs, channels / groups, height, width]`, with one zero point or one for every output.
///
/// # Errors
/// [`Error::Length`]; [`Error::Shape`] when the window or the groups do not go with the shape; [`Error::ZeroPoint`];
/// [`Error::Memory`].
pub fn conv2d<'e, A: ByteCode, B: ByteCode>(
    exec: impl Into<Exec<'e>>,
    weights: &[B],
    shape: [usize; 4],
    zero_points: ZeroPoints<'_>,
    window: Window,
    groups: usize,
) -> Result<Conv2d<A, B>, Error> {
    Conv2d::with_zero_points(exec.into().isa(), weights, shape, zero_points, window, groups)
}

/// A transposed convolution by weights `[channels, outputs / groups, height, width]`, with one zero point or one for every output.
///
/// # Errors
/// [`Error::Length`]; [`Error::Shape`] when the window or the groups do not go with the shape; [`Error::ZeroPoint`].
pub fn conv_transpose2d<'e, A: ByteCode, B: ByteCode>(
    exec: impl Into<Exec<'e>>,
    weights: &[B],
    shape: [usize; 4],
    zero_points: ZeroPoints<'_>,
    window: impl Into<TransposedWindow>,
    groups: usize,
) -> Result<ConvTranspose2d<A, B>, Error> {
    ConvTranspose2d::with_zero_points(exec.into().isa(), weights, shape, zero_points, window.into(), groups)
}

/// The stage that multiplies by real multipliers, one or one for every column, adds the zero point and saturates to the
/// bounds.
///
/// ```
/// use zeropoint::{Rule, raw};
/// // S_a · S_b / S_out = 0.25 for every column; zero point 3; all codes but the largest.
/// let stage = raw::requantize(Rule::FixedPoint, &[0.25], 3, 0_u8..=254)?.relu(); // the bounds are 3..=254
/// # let _ = stage;
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Multiplier`] for a multiplier that the rule does not have; [`Error::Empty`] without multipliers;
/// [`Error::ZeroPoint`] outside the type; [`Error::Bounds`] when they are empty.
pub fn requantize<C: ByteCode>(
    rule: Rule,
    multipliers: &[f64],
    zero_point: i32,
    bounds: RangeInclusive<C>,
) -> Result<Requantize<C>, Error> {
    Requantize::with_multipliers(rule, multipliers, zero_point, bounds)
}

/// Weights and layers that take a bias in units of their accumulators, `S_a · S_b[j]`: [`quantize_bias`] makes one.
pub trait AccumulatorBias<'a>: Sized + Sealed {
    /// Adds `bias[j]` to every accumulator of column j.
    ///
    /// # Errors
    /// [`Error::Length`]: one for every column.
    fn with_accumulator_bias(self, bias: &'a [i32]) -> Result<Self, Error>;
}

impl<A: ByteCode, B: ByteCode> AccumulatorBias<'_> for PackedMatrix<A, B> {
    fn with_accumulator_bias(mut self, bias: &[i32]) -> Result<Self, Error> {
        self.packed_mut().set_bias(bias, None)?;
        Ok(self)
    }
}

impl<'a, A: ByteCode, B: ByteCode> AccumulatorBias<'a> for UnpackedMatrix<'a, A, B> {
    fn with_accumulator_bias(mut self, bias: &'a [i32]) -> Result<Self, Error> {
        self.set_bias(bias)?;
        Ok(self)
    }
}

impl<A: ByteCode, B: ByteCode> AccumulatorBias<'_> for Linear<A, B> {
    fn with_accumulator_bias(self, bias: &[i32]) -> Result<Self, Error> {
        Ok(Linear::from(self.into_weights().with_accumulator_bias(bias)?))
    }
}

impl<A: ByteCode, B: ByteCode> AccumulatorBias<'_> for Conv2d<A, B> {
    fn with_accumulator_bias(mut self, bias: &[i32]) -> Result<Self, Error> {
        self.set_bias(bias)?;
        Ok(self)
    }
}

impl<A: ByteCode, B: ByteCode> AccumulatorBias<'_> for ConvTranspose2d<A, B> {
    fn with_accumulator_bias(mut self, bias: &[i32]) -> Result<Self, Error> {
        self.set_bias(bias)?;
        Ok(self)
    }
}
