//! Tensors whose rows lie apart: a part of the columns of a larger one, or rows padded to a length.
//!
//! The tensor has the shape `[rows, columns]`, as if its rows lay together: that is what a granularity means here.

use super::rounding::Nearest;
use super::{Dequantize, Elementwise, FakeQuantize, Groups, Quantize};
use crate::codes::Code;
use crate::error::{Error, check_length, elements_of};
use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};
use crate::params::QuantParams;

/// [`quantize`](crate::quantize()) of a matrix with row strides into another.
///
/// ```
/// use zeropoint::{CodeRange, Granularity, Isa, Matrix, MatrixMut, QuantParams, quantize_matrix};
/// // The first two columns of three.
/// let x = [0.5, 1.0, 99.0, -0.5, -1.0, 99.0];
/// let per_column = Granularity::channel(&[2, 2], 1)?;
/// let params = QuantParams::new(CodeRange::signed(8)?, per_column, vec![0.5, 0.25], vec![0, 1])?;
/// let mut codes = [0_i8; 4];
/// let (x, out) = (Matrix::with_stride(&x, 2, 2, 3)?, MatrixMut::new(&mut codes, 2, 2)?);
/// quantize_matrix(Isa::best()?, x, &params, out)?;
/// assert_eq!(codes, [1, 5, -1, -3]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] and [`Error::Multiple`] when the shapes do not go with each other or with the parameters.
pub fn quantize_matrix<C: Code>(
    isa: Isa,
    x: Matrix<'_, f32>,
    params: &QuantParams<C>,
    codes: MatrixMut<'_, C>,
) -> Result<(), Error> {
    run(isa, x, params, codes, Quantize)
}

/// [`dequantize`](crate::dequantize()) of a matrix with row strides into another.
///
/// # Errors
/// As [`quantize_matrix`].
pub fn dequantize_matrix<C: Code>(
    isa: Isa,
    codes: Matrix<'_, C>,
    params: &QuantParams<C>,
    out: MatrixMut<'_, f32>,
) -> Result<(), Error> {
    run(isa, codes, params, out, Dequantize)
}

/// [`fake_quantize`](crate::fake_quantize()) of a matrix with row strides into another.
///
/// # Errors
/// As [`quantize_matrix`].
pub fn fake_quantize_matrix<C: Code>(
    isa: Isa,
    x: Matrix<'_, f32>,
    params: &QuantParams<C>,
    out: MatrixMut<'_, f32>,
) -> Result<(), Error> {
    run(isa, x, params, out, FakeQuantize)
}

fn run<C: Code, Op: Elementwise<C>>(
    isa: Isa,
    x: Matrix<'_, Op::In>,
    params: &QuantParams<C>,
    mut out: MatrixMut<'_, Op::Out>,
    op: Op,
) -> Result<(), Error> {
    check_length("the rows of the output", x.rows(), out.rows())?;
    check_length("the columns of the output", x.columns(), out.columns())?;
    params.check_elements(elements_of(&[x.rows(), x.columns()]))?;
    match (x.dense(), out.dense_mut()) {
        (Some(x), Some(out)) => Groups::new(params, x, out, op)?.run(isa),
        _ => {
            for row in 0..x.rows() {
                let (first, x, out) = (row * x.columns(), x.row(row), out.row_mut(row));
                Groups { params, x, out, op, rounding: Nearest, first, past_caches: false }.run(isa);
            }
        }
    }
    Ok(())
}
