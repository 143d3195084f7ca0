//! The right operand (RHS) of a multiplication: packed once for many, or read where it is. The public types know the
//! types of the codes; what they hold, and what the engine sees ([`RhsRef`]), knows their signs only.

use core::marker::PhantomData;

use bytemuck::cast_slice;

use super::pack::Panels;
use super::pack_panel::{Elements, RowMajor};
use super::shape::{Shape, check_accumulator, check_size, largest_of};
use super::unpacked::Unpacked;
use crate::codes::Code;
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::matrix::{Matrix, ZeroPoints};
use crate::sign::Sign;

/// The right operand of a [`matmul`](crate::matmul()) by activations of type `A`: a [`PackedMatrix`] or an
/// [`UnpackedMatrix`].
pub trait Rhs<A>: Sync + EraseRhs {}

impl<A: Code, B: Code> Rhs<A> for PackedMatrix<A, B> {}
impl<A: Code, B: Code> Rhs<A> for UnpackedMatrix<'_, A, B> {}

mod sealed {
    /// How a right operand is handed to the engine.
    pub trait EraseRhs {
        fn erase(&self) -> super::RhsRef<'_>;
    }
}

pub(crate) use sealed::EraseRhs;

impl<A: Code, B: Code> EraseRhs for PackedMatrix<A, B> {
    fn erase(&self) -> RhsRef<'_> {
        self.weights.erase()
    }
}

impl<A: Code, B: Code> EraseRhs for UnpackedMatrix<'_, A, B> {
    fn erase(&self) -> RhsRef<'_> {
        RhsRef { codes: RhsCodes::Unpacked(&self.b), largest: self.largest, largest_bias: self.b.largest_bias() }
    }
}

/// A right operand as the engine sees it.
#[derive(Clone, Copy)]
pub struct RhsRef<'a> {
    pub codes: RhsCodes<'a>,
    /// The largest `|b − zb|`.
    largest: i64,
    /// The largest `|bias|`.
    largest_bias: i64,
}

/// The codes of a right operand.
#[derive(Clone, Copy)]
pub enum RhsCodes<'a> {
    /// In panels.
    Packed(&'a Panels),
    /// Where they are: panels are made when they are needed.
    Unpacked(&'a Unpacked<'a>),
}

impl<'a> RhsRef<'a> {
    /// Its shape, and how it is divided.
    pub fn shape(&self) -> &'a Shape {
        match self.codes {
            RhsCodes::Packed(panels) => &panels.shape,
            RhsCodes::Unpacked(b) => b.shape(),
        }
    }

    /// `Ok` when no accumulator can leave i32, whatever the codes, for this largest `|a − za|`.
    pub fn check_depth(&self, largest_a: i64) -> Result<(), Error> {
        check_accumulator(self.shape().depth, largest_a * self.largest, self.largest_bias)
    }

    /// The factor of the LHS row sums: 0 when they are not needed.
    pub fn row_sum_factor(&self) -> i32 {
        match self.codes {
            RhsCodes::Packed(panels) => panels.row_sum_factor(),
            RhsCodes::Unpacked(b) => b.row_sum_factor(),
        }
    }
}

/// Packed weights of either type, for left operands of either type.
#[derive(Debug)]
pub struct Weights {
    panels: Panels,
    largest: i64,
    largest_bias: i64,
}

impl Weights {
    /// Packs codes given as `[K, N]`.
    pub fn pack(
        isa: Isa,
        [a, b]: [Sign; 2],
        codes: Matrix<'_, u8>,
        zero_points: ZeroPoints<'_>,
    ) -> Result<Self, Error> {
        let shape = [codes.rows(), codes.columns()];
        let largest = Self::check(b, shape, zero_points)?;
        Ok(Weights {
            panels: Panels::pack(isa, [a, b], &RowMajor(codes), shape, zero_points),
            largest,
            largest_bias: 0,
        })
    }

    /// Packs `[K, N]` codes, `at(k, j)` each.
    pub fn pack_elements(
        isa: Isa,
        [a, b]: [Sign; 2],
        at: impl Fn(usize, usize) -> u8 + Sync,
        shape: [usize; 2],
        zero_points: ZeroPoints<'_>,
    ) -> Result<Self, Error> {
        let largest = Self::check(b, shape, zero_points)?;
        let elements = Elements { at, columns: shape[1] };
        Ok(Weights { panels: Panels::pack(isa, [a, b], &elements, shape, zero_points), largest, largest_bias: 0 })
    }

    fn check(b: Sign, [depth, columns]: [usize; 2], zero_points: ZeroPoints<'_>) -> Result<i64, Error> {
        check_size(depth, columns)?;
        zero_points.check_for(b, columns)
    }

    /// Adds `bias[j]` to every accumulator of column j.
    pub fn set_bias(&mut self, bias: &[i32]) -> Result<(), Error> {
        check_length("the bias", self.panels.shape.columns, bias.len())?;
        self.largest_bias = largest_of(bias);
        self.panels.set_bias(bias);
        Ok(())
    }

    pub fn panels(&self) -> &Panels {
        &self.panels
    }

    pub fn erase(&self) -> RhsRef<'_> {
        let Weights { panels, largest, largest_bias } = self;
        RhsRef { codes: RhsCodes::Packed(panels), largest: *largest, largest_bias: *largest_bias }
    }
}

/// The right operand of a [`matmul`](crate::matmul()), prepared for one ISA: weights of type `B`, to be multiplied by
/// activations of type `A`; with their zero points, and with a bias if [`with_bias`](PackedMatrix::with_bias) adds one.
///
/// It remembers the ISA it was packed for, so a panel can never meet another ISA's micro-kernel.
#[derive(Debug)]
pub struct PackedMatrix<A, B> {
    weights: Weights,
    operands: PhantomData<fn(A) -> B>,
}

impl<A: Code, B: Code> PackedMatrix<A, B> {
    /// Packs B given as `[K, N]`: a row for every k.
    ///
    /// ```
    /// use zeropoint::{Isa, Matrix, PackedMatrix};
    /// let b = [1_i8, 2, 3, 4, 5, 6];
    /// let packed = PackedMatrix::<u8, i8>::pack(Isa::best()?, Matrix::new(&b, 2, 3)?, 0.into())?;
    /// assert_eq!((packed.depth(), packed.columns()), (2, 3));
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ZeroPoint`], [`Error::Length`] of the zero points (one for every column).
    pub fn pack(isa: Isa, b: Matrix<'_, B>, zero_points: ZeroPoints<'_>) -> Result<Self, Error> {
        Ok(Self::of(Weights::pack(isa, [A::SIGN, B::SIGN], b.bytes(), zero_points)?))
    }

    /// Packs B given as `[N, K]`: a row for every column of the result, as linear layers keep their weights.
    ///
    /// # Errors
    /// [`Error::ZeroPoint`], [`Error::Length`] of the zero points (one for every row).
    pub fn pack_transposed(isa: Isa, b: Matrix<'_, B>, zero_points: ZeroPoints<'_>) -> Result<Self, Error> {
        let codes = b.bytes();
        let at = move |k: usize, j: usize| codes.row(j)[k];
        let shape = [b.columns(), b.rows()];
        Ok(Self::of(Weights::pack_elements(isa, [A::SIGN, B::SIGN], at, shape, zero_points)?))
    }

    fn of(weights: Weights) -> Self {
        PackedMatrix { weights, operands: PhantomData }
    }

    /// Adds `bias[j]`, at scale `S_a · S_b[j]`, to every accumulator of column j.
    ///
    /// # Errors
    /// [`Error::Length`]: one for every column.
    pub fn with_bias(mut self, bias: &[i32]) -> Result<Self, Error> {
        self.weights.set_bias(bias)?;
        Ok(self)
    }

    pub(super) fn panels(&self) -> &Panels {
        self.weights.panels()
    }

    /// The ISA it is packed for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.panels().shape.isa
    }

    /// The name of the micro-kernel that multiplies it, as in [`Isa::kernel`].
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        self.panels().shape.kernel.name
    }

    /// K, the rows of B.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.panels().shape.depth
    }

    /// N, the columns of B.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.panels().shape.columns
    }
}

/// The right operand of a [`matmul`](crate::matmul()) where it is in memory, `[K, N]`: for a matrix that is multiplied only
/// once. For weights, which are multiplied again and again, a [`PackedMatrix`] is faster.
///
/// ```
/// use zeropoint::{Accumulators, Isa, Matrix, MatrixMut, UnpackedMatrix, matmul};
/// let (a, b) = ([1_u8, 2, 3, 4], [5_i8, 6, 7, 8]);
/// let b = UnpackedMatrix::new(Isa::best()?, Matrix::new(&b, 2, 2)?, 0.into())?;
/// let mut c = [0; 4];
/// matmul(Matrix::new(&a, 2, 2)?, 0.into(), &b, &Accumulators, MatrixMut::new(&mut c, 2, 2)?)?;
/// assert_eq!(c, [19, 22, 43, 50]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct UnpackedMatrix<'a, A, B> {
    b: Unpacked<'a>,
    /// The largest `|b − zb|`.
    largest: i64,
    operands: PhantomData<fn(A) -> B>,
}

impl<'a, A: Code, B: Code> UnpackedMatrix<'a, A, B> {
    /// A matrix `[K, N]`, and its zero points.
    ///
    /// # Errors
    /// [`Error::ZeroPoint`], [`Error::Length`] of the zero points (one for every column).
    pub fn new(isa: Isa, b: Matrix<'a, B>, zero_points: ZeroPoints<'a>) -> Result<Self, Error> {
        check_size(b.rows(), b.columns())?;
        let largest = zero_points.check_for(B::SIGN, b.columns())?;
        let b = Unpacked::new(isa, [A::SIGN, B::SIGN], b.bytes(), zero_points);
        Ok(UnpackedMatrix { b, largest, operands: PhantomData })
    }

    /// Adds `bias[j]`, at scale `S_a · S_b[j]`, to every accumulator of column j.
    ///
    /// # Errors
    /// [`Error::Length`]: one for every column.
    pub fn with_bias(mut self, bias: &'a [i32]) -> Result<Self, Error> {
        check_length("the bias", self.b.shape().columns, bias.len())?;
        self.b.set_bias(bias);
        Ok(self)
    }
}

impl<'a, B: Code> Matrix<'a, B> {
    /// The codes as bytes.
    pub(crate) fn bytes(&self) -> Matrix<'a, u8> {
        self.with_elements(cast_slice(self.tail_from(0)))
    }
}
