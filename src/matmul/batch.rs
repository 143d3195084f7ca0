//! Many products of one shape in one call: those of attention's heads.

use core::ops::Range;

use super::erased_stage::{EraseStage, OperandScales};
use super::job::Job;
use super::lhs::{Lhs, RowSource};
use super::output::Output;
use super::partition::{self, least_nanoseconds};
use super::rhs::{Rhs, RhsCodes, RhsRef, check_isa};
use super::stage::Stage;
use super::unpacked::Order;
use super::unpacked_matrix::UnpackedMatrix;
use crate::codes::ByteCode;
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::matrix::{Matrix, MatrixMut};
use crate::quantized::{PerLine, Quantized, part_of};
use crate::sign::Sign;

/// Matrices of one shape in a larger one: a [`Quantized`] operand or a [`MatrixMut`] of results of [`matmul_batch`].
#[derive(Clone, Copy, Debug)]
pub struct Batch<T> {
    whole: T,
    count: usize,
    direction: Direction,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Rows,
    Columns,
}

impl<T> Batch<T> {
    /// `count` matrices below each other: a tensor `[count, rows, columns]` as a matrix `[count · rows, columns]`. Several of them have
    /// at least a row each.
    #[must_use]
    pub fn stacked(whole: T, count: usize) -> Self {
        Batch { whole, count, direction: Direction::Rows }
    }

    /// `count` matrices beside each other: a tensor `[rows, count, columns]` as a matrix `[rows, count · columns]`. Several of them
    /// have at least a column each.
    #[must_use]
    pub fn side_by_side(whole: T, count: usize) -> Self {
        Batch { whole, count, direction: Direction::Columns }
    }

    /// With another value in the place of the whole matrix.
    fn with<U>(&self, whole: U) -> Batch<U> {
        Batch { whole, count: self.count, direction: self.direction }
    }

    /// The rows and columns of a matrix of the batch, given those of the whole.
    fn shape(&self, [rows, columns]: [usize; 2]) -> Result<[usize; 2], Error> {
        // (Of no rows or columns any number could be made, without data behind it.)
        let divide = |length: usize| match length.checked_rem(self.count) {
            Some(0) if self.count <= length.max(1) => Ok(length / self.count),
            _ => Err(Error::Shape { why: "a matrix is not divided into as many of one shape", found: self.count }),
        };
        Ok(match self.direction {
            Direction::Rows => [divide(rows)?, columns],
            Direction::Columns => [rows, divide(columns)?],
        })
    }

    /// Where matrix `index`, of this shape, is in the whole.
    fn place(&self, [rows, columns]: [usize; 2], index: usize) -> [Range<usize>; 2] {
        match self.direction {
            Direction::Rows => [index * rows..(index + 1) * rows, 0..columns],
            Direction::Columns => [0..rows, index * columns..(index + 1) * columns],
        }
    }
}

impl<'a, A: ByteCode, B: ByteCode> UnpackedMatrix<'a, A, B> {
    /// The right operands of a [`matmul_batch`], `[K, N]` each, as [`UnpackedMatrix::new`] makes one: with parameters per tensor, or
    /// per column of the whole matrix.
    ///
    /// # Errors
    /// [`Error::Shape`] when the matrix is not divided into as many, or for parameters of another granularity.
    pub fn batch<'e>(exec: impl Into<Exec<'e>>, b: Batch<Quantized<'a, B>>) -> Result<Vec<Self>, Error> {
        Self::divide(exec.into(), &b, Order::Rows)
    }

    /// The right operands of a [`matmul_batch`], `[N, K]` each, as [`UnpackedMatrix::transposed`] makes one: with parameters per
    /// tensor, or per row of the whole matrix.
    ///
    /// # Errors
    /// [`Error::Shape`] when the matrix is not divided into as many, or for parameters of another granularity.
    pub fn batch_transposed<'e>(exec: impl Into<Exec<'e>>, b: Batch<Quantized<'a, B>>) -> Result<Vec<Self>, Error> {
        Self::divide(exec.into(), &b, Order::Columns)
    }

    fn divide(exec: Exec<'_>, b: &Batch<Quantized<'a, B>>, order: Order) -> Result<Vec<Self>, Error> {
        let codes = b.whole.codes();
        let shape = b.shape([codes.rows(), codes.columns()])?;
        let parameters = match order {
            Order::Rows => b.whole.by_column()?,
            Order::Columns => b.whole.by_row()?,
        };
        (0..b.count)
            .map(|index| {
                let [rows, columns] = b.place(shape, index);
                let outputs = if order == Order::Rows { columns.clone() } else { rows.clone() };
                let (zero_points, scales) = part_of(parameters, outputs);
                Self::in_order(exec.isa(), codes.part(rows, columns)?, order, zero_points, Some(scales))
            })
            .collect()
    }
}

/// `out[i] = stage(x[i] · b[i])` for products of one shape: activations `[M, K]`, quantized per tensor or per row of the whole matrix,
/// by right operands `[K, N]`, each as [`matmul`](crate::matmul()) computes it.
///
/// With fewer right operands than products, each serves the same number of consecutive products: one for all of them, or one for
/// every group of attention's heads. A stage that rounds stochastically takes word `(i · M + row) · N + column` of its stream for an
/// element of product i. Calls that repeat do not allocate.
///
/// Attention of two heads, whose queries, keys and values lie beside each other: `[tokens, heads · 2]`.
///
/// ```
/// use zeropoint::*;
/// let exec = Exec::best()?;
/// let params = QuantParams::per_tensor(CodeRange::signed(8)?, 0.5, 0)?;
/// let (q, k) = ([1_i8, 2, 3, 4], [1_i8, 0, 0, 1, 2, 2, 1, 1]); // one query, two keys, of each head
/// let q = Quantized::new(Matrix::new(&q, 1, 4)?, &params)?;
/// let k = Quantized::new(Matrix::new(&k, 2, 4)?, &params)?;
/// let keys = UnpackedMatrix::batch_transposed(exec, Batch::side_by_side(k, 2))?;
/// let mut scores = [0.0; 4]; // [heads, queries, keys]
/// let out = Batch::stacked(MatrixMut::new(&mut scores, 2, 2)?, 2);
/// matmul_batch(exec, Batch::side_by_side(q, 2), &keys, &Dequantize::new(), out)?;
/// assert_eq!(scores, [0.25, 1.5, 1.0, 1.75]); // 0.5 · 0.5 · (1, 6) and (4, 7)
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// The errors of [`matmul`](crate::matmul()), for any of the products; [`Error::Shape`] when a matrix is not divided into as many of one
/// shape; [`Error::Length`] when `x` and `out` are not as many, or no multiple of the right operands. Then `out` is untouched.
pub fn matmul_batch<'e, A: ByteCode, R: Rhs<A>, S: Stage>(
    exec: impl Into<Exec<'e>>,
    x: Batch<Quantized<'_, A>>,
    b: &[R],
    stage: &S,
    mut out: Batch<MatrixMut<'_, S::Element>>,
) -> Result<(), Error> {
    let parameters = x.whole.by_row()?;
    let right = RightOperands { count: b.len(), at: &|index| b[index].erase() };
    let out = Batch { whole: Output::new(&mut out.whole), count: out.count, direction: out.direction };
    let products = Products { x: x.with(x.whole.codes().bytes()), sign: A::SIGN, parameters, right, stage, out };
    products.run(exec.into())
}

/// The products of a batch, without the types of codes and results.
struct Products<'a> {
    x: Batch<Matrix<'a, u8>>,
    sign: Sign,
    /// Zero points and scales of the rows of the whole of `x`.
    parameters: PerLine<'a>,
    right: RightOperands<'a>,
    stage: &'a (dyn EraseStage + Sync),
    out: Batch<Output<'a>>,
}

/// The right operands of a batch, without a list of them.
struct RightOperands<'a> {
    count: usize,
    at: &'a (dyn Fn(usize) -> RhsRef<'a> + Sync),
}

impl Products<'_> {
    fn run(&self, exec: Exec<'_>) -> Result<(), Error> {
        let (count, x, out) = (self.x.count, &self.x.whole, &self.out.whole);
        check_length("the results of a batch", count, self.out.count)?;
        if count.checked_rem(self.right.count) != Some(0) {
            return Err(Error::Length {
                what: "the right operands of a batch",
                expected: count,
                found: self.right.count,
            });
        }
        let x_shape = self.x.shape([x.rows(), x.columns()])?;
        let out_shape = self.out.shape([out.rows(), out.columns()])?;
        for index in 0..count {
            self.with_job(index, x_shape, out_shape, |job| {
                check_isa(job.shape().isa, exec.isa())?;
                check_length("the result's columns", job.shape().columns, out_shape[1])
            })??;
        }
        let run = |index: usize, then: &dyn Fn(&Job<'_>)| {
            self.with_job(index, x_shape, out_shape, then).expect("all products were checked");
        };
        // Where every thread can have a product, each is computed by one thread; else all threads share every product.
        if exec.is_serial() || count < exec.threads() {
            (0..count).for_each(|index| run(index, &|job| partition::run(exec, job)));
            return Ok(());
        }
        let first = (self.right.at)(0);
        let packed = matches!(first.codes, RhsCodes::Packed(_));
        let team = exec.team(count.saturating_mul(least_nanoseconds(x_shape[0], first.shape(), packed)));
        team.share(0..count, |index| {
            // SAFETY: it is the only piece of its product, and the results of a batch do not overlap.
            run(index, &|job| unsafe { job.run(0..job.rows(), 0..job.shape().panels()) });
        });
        Ok(())
    }

    /// Hands over the job of a product, checked.
    fn with_job<T>(
        &self,
        index: usize,
        x_shape: [usize; 2],
        out_shape: [usize; 2],
        then: impl FnOnce(&Job<'_>) -> T,
    ) -> Result<T, Error> {
        let [rows, columns] = self.x.place(x_shape, index);
        let (zero_points, scales) = part_of(self.parameters, rows.clone());
        let source = RowSource::Matrix(self.x.whole.part(rows, columns)?);
        let lhs = Lhs { source, sign: self.sign, zero_points };
        let b = (self.right.at)(index / (self.x.count / self.right.count));
        let mut stage = self.stage.erase(OperandScales::new(scales, b.scales)?)?;
        stage.values = stage.values.skip_words((index as u64).saturating_mul((out_shape[0] * out_shape[1]) as u64))?;
        let [rows, columns] = self.out.place(out_shape, index);
        let out = self.out.whole.part(rows, columns);
        let job = Job::new(&lhs, &b, &stage, &out, 0);
        job.check()?;
        Ok(then(&job))
    }
}
