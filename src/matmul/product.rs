//! The entry to the engine: operands of any type and a stage, erased.

use super::erased_stage::{EraseStage, OperandScales};
use super::job::Job;
use super::lhs::{Lhs, RowSource};
use super::output::Output;
use super::partition;
use super::rhs::{Rhs, RhsRef, check_isa};
use super::stage::Stage;
use crate::codes::ByteCode;
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::matrix::{Matrix, MatrixMut, ZeroPoints};
use crate::quantized::Quantized;

/// `out = stage(Σₖ (a − za) · (b − zb) + bias)` for activations `[M, K]`, quantized per tensor or per row, and a right operand
/// `[K, N]`: packed weights, or a matrix that is multiplied only once. Calls that repeat do not allocate.
///
/// ```
/// use zeropoint::*;
/// let exec = Exec::best()?;
/// let (x, w) = ([1.0_f32, -0.5, 0.25, 2.0], [0.5_f32, 1.0, -1.0, 0.25]); // 2 rows, 2 outputs, depth 2
/// let (mut x_codes, mut w_codes) = ([0_u8; 4], [0_i8; 4]);
/// let x_params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 2.5 / 255.0, 51)?;
/// let w_params = QuantParams::per_tensor(CodeRange::narrow(8)?, 1.0 / 127.0, 0)?;
/// quantize(exec, &x, &x_params, Rounding::Nearest, &mut x_codes)?;
/// quantize(exec, &w, &w_params, Rounding::Nearest, &mut w_codes)?;
///
/// let weights = PackedMatrix::pack(exec, Quantized::new(Matrix::new(&w_codes, 2, 2)?, &w_params)?)?;
/// let mut y = [0.0; 4];
/// let x = Quantized::new(Matrix::new(&x_codes, 2, 2)?, &x_params)?;
/// matmul(exec, x, &weights, &Dequantize::new(), MatrixMut::new(&mut y, 2, 2)?)?;
/// let exact = [0.0, -1.125, 2.125, 0.25]; // x · wᵀ
/// assert!(y.iter().zip(exact).all(|(y, exact)| (y - exact).abs() < 0.02));
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::PackedIsa`] when the right operand is made for another ISA; [`Error::Shape`] when the activations are quantized in
/// another way; [`Error::Operand`] when the stage, or the bias of the weights, was made for other scales; [`Error::Length`] when
/// the shapes do not go together; [`Error::Depth`] when a sum could leave i32; [`Error::Stream`] when a stochastic stage has too
/// few words. Then `out` is untouched.
pub fn matmul<'e, A: ByteCode, S: Stage>(
    exec: impl Into<Exec<'e>>,
    x: Quantized<'_, A>,
    weights: &impl Rhs<A>,
    stage: &S,
    mut out: MatrixMut<'_, S::Element>,
) -> Result<(), Error> {
    let (zero_points, scales) = x.by_row()?;
    let lhs = lhs(&x.codes(), zero_points);
    multiply(exec.into(), lhs, scales, weights.erase(), stage, Output::new(&mut out))
}

/// [`matmul`](crate::matmul()) of codes whose zero points are given by hand, one or one for every row, and whose scales only
/// the stage knows.
///
/// ```
/// use zeropoint::{Accumulators, Exec, Matrix, MatrixMut, raw};
/// let exec = Exec::best()?;
/// let a = [12_u8, 200, 255, 0, 37, 128]; // 2 × 3, zero point 100
/// let b = [3_u8, 250, 77, 0, 255, 19]; // 3 × 2, zero point 7
/// let packed = raw::pack(exec, Matrix::new(&b, 3, 2)?, 7.into())?;
/// let mut c = [0; 4];
/// raw::matmul(exec, Matrix::new(&a, 2, 3)?, 100.into(), &packed, &Accumulators, MatrixMut::new(&mut c, 2, 2)?)?;
/// assert_eq!(c, [45792, -20224, 2934, -23523]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::PackedIsa`] when the right operand is made for another ISA; [`Error::Length`] when the shapes do not go together;
/// [`Error::ZeroPoint`]; [`Error::Depth`] when a sum could leave i32; [`Error::Stream`] when a stochastic stage has too few
/// words. Then `out` is untouched.
pub fn raw_matmul<'e, A: ByteCode, S: Stage>(
    exec: impl Into<Exec<'e>>,
    a: Matrix<'_, A>,
    a_zero_points: ZeroPoints<'_>,
    b: &impl Rhs<A>,
    stage: &S,
    mut out: MatrixMut<'_, S::Element>,
) -> Result<(), Error> {
    multiply(exec.into(), lhs(&a, a_zero_points), &[], b.erase(), stage, Output::new(&mut out))
}

fn lhs<'a, A: ByteCode>(a: &Matrix<'a, A>, zero_points: ZeroPoints<'a>) -> Lhs<'a> {
    Lhs { source: RowSource::Matrix(a.bytes()), sign: A::SIGN, zero_points }
}

/// Multiplies. The elements of `out` are those of the stage.
fn multiply(
    exec: Exec<'_>,
    lhs: Lhs<'_>,
    lhs_scales: &[f32],
    rhs: RhsRef<'_>,
    stage: &dyn EraseStage,
    out: Output<'_>,
) -> Result<(), Error> {
    check_isa(rhs.shape().isa, exec.isa())?;
    check_length("the result's columns", rhs.shape().columns, out.columns())?;
    let stage = stage.erase(OperandScales::new(lhs_scales, rhs.scales)?);
    let stage = stage.as_ref().map_err(Clone::clone)?;
    let job = Job::new(&lhs, &rhs, stage, &out, 0);
    job.check()?;
    partition::run(exec, &job);
    Ok(())
}
