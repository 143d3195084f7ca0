//! Activations of weights in groups: codes, or real numbers that are quantized in the call.

use crate::codes::{ByteCode, CodeRange};
use crate::error::{Error, check_length, elements_of};
use crate::half::Halves;
use crate::matrix::{Largest, Matrix, ZeroPoints};
use crate::params::{OffsetKind, Scheme};
use crate::quantized::Quantized;
use crate::sign::Sign;

/// Activations `[M, K]` to be multiplied by [`PackedWeights`](super::PackedWeights).
#[derive(Clone, Copy, Debug)]
pub struct Activations<'a>(pub(super) Kind<'a>);

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    Codes(CodeRows<'a>),
    Reals(RealRows<'a>),
}

/// Activations in codes of either type.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodeRows<'a> {
    pub codes: Matrix<'a, u8>,
    pub sign: Sign,
    /// One for all, or one for every scale.
    pub zero_points: ZeroPoints<'a>,
    pub scales: Scales<'a>,
}

/// Which scale a group of a row has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scales<'a> {
    /// One for all rows, or one for every row.
    Rows(&'a [f32]),
    /// One for every group of this length along every row.
    Groups(&'a [f32], usize),
}

/// Activations that the call quantizes to i8.
#[derive(Clone, Copy, Debug)]
pub(super) struct RealRows<'a> {
    pub x: RealMatrix<'a>,
    pub codes: CodeRange<i8>,
    pub scheme: Scheme,
    /// The length of the groups that have a scale of their own; none: a row has one.
    pub length: Option<usize>,
}

/// Real numbers `[rows, columns]`.
#[derive(Clone, Copy, Debug)]
pub(super) enum RealMatrix<'a> {
    F32(Matrix<'a, f32>),
    Halves { x: Halves<'a>, rows: usize, columns: usize },
}

impl<'a> Activations<'a> {
    /// Codes with parameters per tensor, per row, or per group along a row; groups have to be as long as those of the weights.
    ///
    /// # Errors
    /// [`Error::Shape`] for parameters per column.
    pub fn quantized<C: ByteCode>(x: Quantized<'a, C>) -> Result<Self, Error> {
        match x.by_row() {
            Ok((zero_points, scales)) => Self::per_row(x.codes(), zero_points, scales),
            Err(_) => {
                let length = x.group_length()?;
                Self::per_group(x.codes(), length, x.params().zero_points().into(), x.params().scales())
            }
        }
    }

    /// Codes with one scale for all or one for every row, and zero points likewise, given by hand.
    ///
    /// # Errors
    /// [`Error::ZeroPoint`]; [`Error::Length`] of zero points and scales.
    pub fn per_row<C: ByteCode>(
        codes: Matrix<'a, C>,
        zero_points: ZeroPoints<'a>,
        scales: &'a [f32],
    ) -> Result<Self, Error> {
        zero_points.check::<C>(codes.rows())?;
        if scales.len() != 1 {
            check_length("the scales", codes.rows(), scales.len())?;
        }
        let (codes, scales) = (codes.bytes(), Scales::Rows(scales));
        Ok(Activations(Kind::Codes(CodeRows { codes, sign: C::SIGN, zero_points, scales })))
    }

    /// Codes with a scale for every group of `length` along a row, `[M, K / length]`, the last of which may be shorter, and one
    /// zero point for all or one for every group: as [`split_blocks`](crate::formats::split_blocks) makes them of an encoded
    /// tensor.
    ///
    /// # Errors
    /// [`Error::Shape`] without a length; [`Error::Length`] of scales and zero points; [`Error::ZeroPoint`].
    pub fn per_group<C: ByteCode>(
        codes: Matrix<'a, C>,
        length: usize,
        zero_points: ZeroPoints<'a>,
        scales: &'a [f32],
    ) -> Result<Self, Error> {
        let groups = groups_of(codes.rows(), codes.columns(), length)?;
        check_length("the scales", groups, scales.len())?;
        zero_points.check::<C>(groups)?;
        let (codes, scales) = (codes.bytes(), Scales::Groups(scales, length));
        Ok(Activations(Kind::Codes(CodeRows { codes, sign: C::SIGN, zero_points, scales })))
    }

    /// Real numbers, quantized in the call to i8 with one scale for every row that a scheme gives its range: narrow codes by a
    /// symmetric scheme, all codes by an asymmetric one. The results are those of [`QuantParams::fit`](crate::QuantParams::fit)
    /// per row, [`quantize`](crate::quantize()) to nearest, and a multiplication of the codes, byte for byte.
    ///
    /// ```
    /// use zeropoint::groups::{Activations, PackedWeights, RealStage, Weights, matmul};
    /// use zeropoint::{CodeRange, Exec, Matrix, Scheme};
    /// let exec = Exec::best()?;
    /// let codes = [8_u8 + 2; 32]; // one output of depth 32: 0.25 · (10 − 8) = ½ each
    /// let weights = Weights::new(Matrix::new(&codes, 1, 32)?, CodeRange::unsigned(4)?, 32, &[0.25])?;
    /// let packed = PackedWeights::pack(exec, &weights.with_zero_points(&[8])?)?;
    /// let x = [1.0; 32];
    /// let mut out = [0.0];
    /// let x = Activations::reals(Matrix::new(&x, 1, 32)?, Scheme::SYMMETRIC);
    /// matmul(exec, &x, &packed, &RealStage::new(), &mut out)?;
    /// assert_eq!(out, [16.0]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    #[must_use]
    pub fn reals(x: Matrix<'a, f32>, scheme: Scheme) -> Self {
        Self::of_reals(RealMatrix::F32(x), scheme)
    }

    /// [`reals`](Activations::reals) of 16 bits, `[rows, columns]`.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn halves(x: Halves<'a>, rows: usize, columns: usize, scheme: Scheme) -> Result<Self, Error> {
        check_length("the activations", elements_of(&[rows, columns]), x.bits.len())?;
        Ok(Self::of_reals(RealMatrix::Halves { x, rows, columns }, scheme))
    }

    fn of_reals(x: RealMatrix<'a>, scheme: Scheme) -> Self {
        let symmetric = scheme.offset != OffsetKind::Integer;
        let codes = if symmetric { CodeRange::narrow(8) } else { CodeRange::signed(8) }.expect("8 bits");
        Activations(Kind::Reals(RealRows { x, codes, scheme, length: None }))
    }

    /// Real numbers with a scale of its own for every group of `length` along a row, which has to be that of the weights.
    ///
    /// # Errors
    /// [`Error::Shape`] without a length, or for codes, which have scales already.
    pub fn in_groups(self, length: usize) -> Result<Self, Error> {
        match self.0 {
            Kind::Codes(_) => Err(Error::Shape { why: "codes have the groups of their scales", found: length }),
            Kind::Reals(_) if length == 0 => Err(Error::Shape { why: "groups have a length", found: 0 }),
            Kind::Reals(reals) => Ok(Activations(Kind::Reals(RealRows { length: Some(length), ..reals }))),
        }
    }

    /// M.
    #[must_use]
    pub fn rows(&self) -> usize {
        match &self.0 {
            Kind::Codes(rows) => rows.codes.rows(),
            Kind::Reals(rows) => rows.x.rows(),
        }
    }

    /// K.
    #[must_use]
    pub fn depth(&self) -> usize {
        match &self.0 {
            Kind::Codes(rows) => rows.codes.columns(),
            Kind::Reals(rows) => rows.x.columns(),
        }
    }

    /// The length of groups that have scales of their own.
    pub(super) fn group_length(&self) -> Option<usize> {
        match self.0 {
            Kind::Codes(CodeRows { scales: Scales::Groups(_, length), .. }) => Some(length),
            Kind::Codes(_) => None,
            Kind::Reals(RealRows { length, .. }) => length,
        }
    }

    /// `max |a − za|` over all codes that there may be, and the row that has it.
    pub(super) fn largest(&self) -> Result<Largest, Error> {
        match &self.0 {
            Kind::Codes(CodeRows { sign, zero_points: ZeroPoints::Each(each), codes, .. }) => {
                let Largest { value, index } = ZeroPoints::Each(each).check_for(*sign, each.len())?;
                Ok(Largest { value, index: index * codes.rows() / each.len().max(1) })
            }
            Kind::Codes(CodeRows { sign, zero_points, .. }) => zero_points.check_for(*sign, 1),
            Kind::Reals(RealRows { scheme, .. }) => {
                let value = if scheme.offset == OffsetKind::Integer { 255 } else { 127 };
                Ok(Largest { value, index: 0 })
            }
        }
    }
}

impl RealMatrix<'_> {
    pub fn rows(&self) -> usize {
        match self {
            RealMatrix::F32(x) => x.rows(),
            RealMatrix::Halves { rows, .. } => *rows,
        }
    }

    pub fn columns(&self) -> usize {
        match self {
            RealMatrix::F32(x) => x.columns(),
            RealMatrix::Halves { columns, .. } => *columns,
        }
    }
}

/// Groups of all rows.
fn groups_of(rows: usize, columns: usize, length: usize) -> Result<usize, Error> {
    if length == 0 {
        return Err(Error::Shape { why: "groups have a length", found: 0 });
    }
    Ok(elements_of(&[rows, columns.div_ceil(length)]))
}
