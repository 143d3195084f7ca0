//! Weights in groups, as they are given.

use super::reals::Reals;
use crate::codes::{ByteCode, CodeBounds, CodeRange};
use crate::error::{Error, check_length, elements_of};
use crate::formats::doubled::{DOUBLED, LARGEST_DOUBLED};
use crate::matrix::Matrix;
use crate::quantized::Quantized;
use crate::sign::Sign;

/// Weights `[N, K]` in codes of 2 to 8 bits, or [floats of four](Weights::e2m1), a byte each, a row for every output; and what
/// the codes of a group of them along a row stand for: `S · (q − Z)`, or with a real offset `S · q + B`.
///
/// ```
/// use zeropoint::groups::Weights;
/// use zeropoint::{CodeRange, Matrix};
/// let codes = [0_u8, 15, 8, 7].repeat(16); // two outputs of depth 32, in groups of 16
/// let codes = Matrix::new(&codes, 2, 32)?;
/// let weights = Weights::new(codes, CodeRange::unsigned(4)?, 16, &[0.5, 0.25, 1.0, 2.0])?.with_zero_points(&[8; 4])?;
/// assert_eq!(weights.groups(), 2);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    pub(super) codes: Matrix<'a, u8>,
    /// Whether the codes are `[K, N]`, and the values of groups `[K / length, N]`.
    pub(super) by_columns: bool,
    pub(super) coding: Coding,
    pub(super) length: usize,
    pub(super) scales: Reals<'a>,
    pub(super) offset: Offset<'a>,
    /// The places that the codes of a row have in a row of activations, unless they are in order.
    pub(super) order: Option<&'a [u32]>,
}

/// What the bytes of codes are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Coding {
    /// Integers of a range.
    Integers(Sign, CodeBounds),
    /// Floats of four bits, which stand for their doubled values.
    E2m1,
}

impl Coding {
    /// The codes of a range.
    pub fn of<C: ByteCode>(range: CodeRange<C>) -> Self {
        Coding::Integers(C::SIGN, range.bounds())
    }

    /// The integer that a byte stands for.
    pub fn value(self, byte: u8) -> i32 {
        match self {
            Coding::Integers(sign, _) => sign.value(byte),
            Coding::E2m1 => DOUBLED[usize::from(byte)].into(),
        }
    }

    /// The integers that bytes stand for.
    pub fn bounds(self) -> CodeBounds {
        match self {
            Coding::Integers(_, bounds) => bounds,
            Coding::E2m1 => CodeBounds { min: -i32::from(LARGEST_DOUBLED), max: LARGEST_DOUBLED.into() },
        }
    }

    /// The zero points that a group may have: codes, and one more than the largest as long as packed ones fit a byte.
    pub fn zero_points(self) -> CodeBounds {
        let CodeBounds { min, max } = self.bounds();
        CodeBounds { min, max: (max + 1).min(min + 255) }
    }

    /// An error unless a byte is one of the codes.
    fn check(self, index: usize, byte: u8) -> Result<(), Error> {
        match self {
            Coding::Integers(sign, bounds) => bounds.check_code(index, sign.value(byte)),
            Coding::E2m1 => CodeBounds { min: 0, max: 15 }.check_code(index, byte.into()),
        }
    }
}

/// What the codes of a group have besides a scale.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offset<'a> {
    /// All zero points are 0.
    None,
    /// A zero point for every group.
    ZeroPoints(&'a [i32]),
    /// A real offset for every group.
    Reals(Reals<'a>),
}

impl<'a> Weights<'a> {
    /// Codes of a range, with a scale for every group of `length` of them along a row, `[N, K / length]`, the last of which may
    /// be shorter; zero points 0 and no offsets. Any f32 is a scale.
    ///
    /// # Errors
    /// [`Error::Shape`] unless the length is a multiple of 16, or at least K; [`Error::Length`] of the scales;
    /// [`Error::Code`] for a code outside the range.
    pub fn new<C: ByteCode>(
        codes: Matrix<'a, C>,
        range: CodeRange<C>,
        length: usize,
        scales: impl Into<Reals<'a>>,
    ) -> Result<Self, Error> {
        Self::erased(codes.bytes(), false, Coding::of(range), length, scales.into())
    }

    /// Codes `[K, N]`, a column for every output, with a scale for every group of `length` of them along a column,
    /// `[K / length, N]`: zero points and offsets have this order, too.
    ///
    /// # Errors
    /// As [`new`](Weights::new).
    pub fn columns<C: ByteCode>(
        codes: Matrix<'a, C>,
        range: CodeRange<C>,
        length: usize,
        scales: impl Into<Reals<'a>>,
    ) -> Result<Self, Error> {
        Self::erased(codes.bytes(), true, Coding::of(range), length, scales.into())
    }

    /// Floats of four bits, E2M1, a byte each: q = 0…15 stands for `S · v` with the doubled value v, which is 0, 1, 2, 3, 4, 6, 8
    /// or 12 for 0…7, and the same with a minus sign for 8…15. So scales are half of what a format multiplies 0, ½, 1, 1½, 2, 3,
    /// 4 and 6 by. Codes are packed in four bits. Everything else is as in [`new`](Weights::new); a zero point is taken from v.
    ///
    /// ```
    /// use zeropoint::groups::{Activations, PackedWeights, RealStage, Weights, matmul};
    /// use zeropoint::{Exec, Matrix};
    /// let (codes, x) = ([2_u8, 15].repeat(8), [1_i8, 3].repeat(8)); // 1 and −6, eight times
    /// let weights = Weights::e2m1(Matrix::new(&codes, 1, 16)?, 16, &[0.5])?;
    /// let exec = Exec::best()?;
    /// let packed = PackedWeights::pack(exec, &weights)?;
    /// let x = Activations::per_row(Matrix::new(&x, 1, 16)?, 0.into(), &[1.0])?;
    /// let mut out = [0.0];
    /// matmul(exec, &x, &packed, &RealStage::new(), &mut out)?;
    /// assert_eq!(out, [8.0 * (1.0 - 6.0 * 3.0)]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Weights::new).
    pub fn e2m1(codes: Matrix<'a, u8>, length: usize, scales: impl Into<Reals<'a>>) -> Result<Self, Error> {
        Self::erased(codes, false, Coding::E2m1, length, scales.into())
    }

    /// Weights of either order and of any codes.
    pub(super) fn erased(
        codes: Matrix<'a, u8>,
        by_columns: bool,
        coding: Coding,
        length: usize,
        scales: Reals<'a>,
    ) -> Result<Self, Error> {
        let depth = if by_columns { codes.rows() } else { codes.columns() };
        check_group_length(length, depth)?;
        let weights = Weights { codes, by_columns, coding, length, scales, offset: Offset::None, order: None };
        check_length("the scales", weights.all_groups(), scales.len())?;
        let (rows, columns) = (codes.rows(), codes.columns());
        if columns > 0 {
            for row in 0..rows {
                for (k, &code) in codes.row(row).iter().enumerate() {
                    coding.check(row * columns + k, code)?;
                }
            }
        }
        Ok(weights)
    }

    /// Weights `[N, K]` that are quantized in groups along a row, or per row, with what their parameters say.
    ///
    /// # Errors
    /// [`Error::Shape`] for parameters of another granularity, or of groups whose length is neither a multiple of 16 nor that of a
    /// row.
    pub fn quantized<C: ByteCode>(weights: Quantized<'a, C>) -> Result<Self, Error> {
        let length = weights.group_length().or_else(|error| match weights.by_row() {
            Ok((_, scales)) if scales.len() == weights.codes().rows() => Ok(weights.codes().columns().max(1)),
            _ => Err(error),
        })?;
        let params = weights.params();
        Self::new(weights.codes(), params.codes(), length, params.scales())?.with_zero_points(params.zero_points())
    }

    /// Weights `[K, N]` that are quantized in groups along a column, with what their parameters say: of
    /// [`Granularity::block_along`](crate::Granularity::block_along).
    ///
    /// # Errors
    /// [`Error::Shape`] for parameters of another granularity, or of groups whose length is neither a multiple of 16 nor that of a
    /// column.
    pub fn quantized_columns<C: ByteCode>(weights: Quantized<'a, C>) -> Result<Self, Error> {
        let (length, params) = (weights.column_group_length()?, weights.params());
        Self::columns(weights.codes(), params.codes(), length, params.scales())?.with_zero_points(params.zero_points())
    }

    /// With a zero point for every group, `[N, K / length]`, in place of 0 or of real offsets. It is a code; or, of fewer than
    /// eight bits, one more than the largest code, as GPTQ has it.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::ZeroPoint`].
    pub fn with_zero_points(self, zero_points: &'a [i32]) -> Result<Self, Error> {
        check_length("the zero points", self.all_groups(), zero_points.len())?;
        for (index, &zero_point) in zero_points.iter().enumerate() {
            self.coding.zero_points().check_zero_point(index, zero_point)?;
        }
        let all_zero = zero_points.iter().all(|&zero_point| zero_point == 0);
        Ok(Weights { offset: if all_zero { Offset::None } else { Offset::ZeroPoints(zero_points) }, ..self })
    }

    /// With a real offset B for every group, `[N, K / length]`, in place of zero points: q stands for `S · q + B`.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn with_offsets(self, offsets: impl Into<Reals<'a>>) -> Result<Self, Error> {
        let offsets = offsets.into();
        check_length("the offsets", self.all_groups(), offsets.len())?;
        Ok(Weights { offset: Offset::Reals(offsets), ..self })
    }

    /// Groups of an output.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.shape()[1].div_ceil(self.length)
    }

    /// N and K.
    pub(super) fn shape(&self) -> [usize; 2] {
        let (rows, columns) = (self.codes.rows(), self.codes.columns());
        if self.by_columns { [columns, rows] } else { [rows, columns] }
    }

    /// Groups of all outputs; of any number of outputs without depth, none.
    fn all_groups(&self) -> usize {
        elements_of(&[self.shape()[0], self.groups()])
    }

    /// The byte of a code.
    pub(super) fn code(&self, output: usize, k: usize) -> u8 {
        let (row, column) = if self.by_columns { (k, output) } else { (output, k) };
        self.codes.row(row)[column]
    }

    /// The index of a group's scale, zero point or offset.
    pub(super) fn group(&self, output: usize, group: usize) -> usize {
        if self.by_columns { group * self.codes.columns() + output } else { output * self.groups() + group }
    }
}

/// `Ok` for the length of groups that weights of a depth may have.
pub(super) fn check_group_length(length: usize, depth: usize) -> Result<(), Error> {
    if length == 0 || !length.is_multiple_of(16) && length < depth {
        let why = "the length of a group is neither a multiple of 16 nor that of a row";
        return Err(Error::Shape { why, found: length });
    }
    Ok(())
}
