//! Weights that are packed once for many multiplications.

use core::marker::PhantomData;

use super::pack::Panels;
use super::pack_panel::{Elements, RowMajor, Source, Transposed};
use super::rhs::{EraseRhs, Rhs, RhsCodes, RhsRef};
use super::shape::largest_of;
use super::weights::{Sealed, WeightScales, Weights};
use crate::codes::ByteCode;
use crate::error::{Error, check_length};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::matrix::{Largest, Matrix, ZeroPoints};
use crate::params::QuantParams;
use crate::quantized::Quantized;
use crate::sign::Sign;

/// Packed weights of either type, for left operands of either type.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    panels: Panels,
    scales: WeightScales,
    largest: Largest,
    largest_bias: Largest,
}

impl Packed {
    /// Packs codes given as `[K, N]`, for left operands of the first sign.
    pub fn columns(
        isa: Isa,
        signs: [Sign; 2],
        codes: Matrix<'_, u8>,
        zero_points: ZeroPoints<'_>,
    ) -> Result<Self, Error> {
        Self::pack(isa, signs, &RowMajor(codes), [codes.rows(), codes.columns()], zero_points)
    }

    /// Packs codes given as `[N, K]`, for left operands of the first sign.
    pub fn rows(isa: Isa, signs: [Sign; 2], codes: Matrix<'_, u8>, zero_points: ZeroPoints<'_>) -> Result<Self, Error> {
        Self::pack(isa, signs, &Transposed(codes), [codes.columns(), codes.rows()], zero_points)
    }

    /// Packs `[K, N]` codes, `at(k, j)` each, for left operands of the first sign.
    pub fn elements(
        isa: Isa,
        signs: [Sign; 2],
        at: impl Fn(usize, usize) -> u8 + Sync,
        shape: [usize; 2],
        zero_points: ZeroPoints<'_>,
    ) -> Result<Self, Error> {
        Self::pack(isa, signs, &Elements(at), shape, zero_points)
    }

    fn pack(
        isa: Isa,
        [a, b]: [Sign; 2],
        source: &impl Source,
        shape: [usize; 2],
        zero_points: ZeroPoints<'_>,
    ) -> Result<Self, Error> {
        let largest = zero_points.check_for(b, shape[1])?;
        Ok(Self::of(Panels::pack(isa, isa.microkernel(a), b, source, shape, zero_points)?, largest))
    }

    fn of(panels: Panels, largest: Largest) -> Self {
        Self::from_parts(panels, WeightScales::default(), largest, Largest::default())
    }

    /// The largest `|b − zb|` and `|bias|` are those of the panels.
    pub(super) fn from_parts(panels: Panels, scales: WeightScales, largest: Largest, largest_bias: Largest) -> Self {
        Packed { panels, scales, largest, largest_bias }
    }

    pub(super) fn parts(&self) -> (&Panels, &WeightScales) {
        (&self.panels, &self.scales)
    }

    pub(super) fn set_scales(&mut self, scales: WeightScales) {
        self.scales = scales;
    }

    /// The bias: `bias[j]` is added to every accumulator of column j. It is quantized for activations of this scale, or given
    /// by hand.
    pub fn set_bias(&mut self, bias: &[i32], activation_scale: Option<f32>) -> Result<(), Error> {
        check_length("the bias", self.panels.shape.columns, bias.len())?;
        self.scales.set_bias_for(activation_scale);
        self.largest_bias = largest_of(bias);
        self.panels.set_bias(bias);
        Ok(())
    }

    pub fn erase(&self) -> RhsRef<'_> {
        let Packed { panels, scales, largest, largest_bias } = self;
        RhsRef { codes: RhsCodes::Packed(panels), scales, largest: *largest, largest_bias: *largest_bias }
    }
}

/// The right operand of a [`matmul`](crate::matmul()), prepared for one ISA: weights of type `B`, to be multiplied by
/// activations of type `A`; with their scales and zero points, and with a bias if [`with_bias`](PackedMatrix::with_bias)
/// adds one.
///
/// It remembers the ISA it was packed for: with another one, operations return [`Error::PackedIsa`].
#[derive(Clone, Debug)]
pub struct PackedMatrix<A, B> {
    packed: Packed,
    operands: PhantomData<fn(A) -> B>,
}

impl<A: ByteCode, B: ByteCode> PackedMatrix<A, B> {
    /// Packs weights `[outputs, depth]`, a row for every output, as linear layers keep them, with parameters per tensor or
    /// per row.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Exec, Granularity, Matrix, PackedMatrix, QuantParams, Quantized};
    /// let codes = [1_i8, 2, 3, 4, 5, 6];
    /// let per_row = Granularity::channel(&[2, 3], 0)?;
    /// let params = QuantParams::new(CodeRange::narrow(8)?, per_row, vec![0.5, 0.25], vec![0, 0])?;
    /// let weights = Quantized::new(Matrix::new(&codes, 2, 3)?, &params)?;
    /// let packed = PackedMatrix::<u8, i8>::pack(Exec::best()?, weights)?;
    /// assert_eq!((packed.depth(), packed.columns()), (3, 2));
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for parameters of another granularity; [`Error::Memory`].
    pub fn pack<'e>(exec: impl Into<Exec<'e>>, weights: Quantized<'_, B>) -> Result<Self, Error> {
        let (zero_points, scales) = weights.by_row()?;
        let mut packed = Packed::rows(exec.into().isa(), [A::SIGN, B::SIGN], weights.codes().bytes(), zero_points)?;
        packed.scales = WeightScales::new(scales);
        Ok(Self::of(packed))
    }

    /// Packs weights `[depth, outputs]`, a column for every output, with parameters per tensor or per column.
    ///
    /// # Errors
    /// [`Error::Shape`] for parameters of another granularity; [`Error::Memory`].
    pub fn pack_columns<'e>(exec: impl Into<Exec<'e>>, weights: Quantized<'_, B>) -> Result<Self, Error> {
        let (zero_points, scales) = weights.by_column()?;
        let mut packed = Packed::columns(exec.into().isa(), [A::SIGN, B::SIGN], weights.codes().bytes(), zero_points)?;
        packed.scales = WeightScales::new(scales);
        Ok(Self::of(packed))
    }

    /// With a bias for every output, as real numbers, in place of any earlier one. It is quantized at the scale of the
    /// accumulators, that of the activations, whose parameters are `x`, times that of the output's weights: so the activations
    /// of every multiplication need the scale of `x` ([`Error::Operand`] otherwise). For activations whose scale differs from
    /// call to call, give the bias to [`Dequantize::with_bias`](crate::Dequantize::with_bias).
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Shape`] when `x` is not per tensor; [`Error::NonFinite`]; [`Error::Bias`] for a bias that no
    /// i32 reaches.
    pub fn with_bias(mut self, bias: &[f32], x: &QuantParams<A>) -> Result<Self, Error> {
        check_length("the bias", self.columns(), bias.len())?;
        let (activation_scale, _) = x.one_group()?;
        let bias = self.packed.scales.quantize_bias(bias, activation_scale)?;
        self.packed.set_bias(&bias, Some(activation_scale))?;
        Ok(self)
    }

    /// These weights, packed for the ISA of `exec`, with their scales and bias: those of a file of another machine, or to compare
    /// ISAs.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Exec, Isa, Matrix, PackedMatrix, QuantParams, Quantized};
    /// let params = QuantParams::per_tensor(CodeRange::narrow(8)?, 0.5, 0)?;
    /// let weights = Quantized::new(Matrix::new(&[1_i8, 2, 3, 4, 5, 6], 2, 3)?, &params)?;
    /// let packed = PackedMatrix::<u8, i8>::pack(Exec::best()?, weights)?;
    /// assert_eq!(packed.repack(Isa::named("portable")?)?.isa().name(), "portable");
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn repack<'e>(&self, exec: impl Into<Exec<'e>>) -> Result<Self, Error> {
        Ok(Self::of(self.packed.repacked(exec.into().isa(), [A::SIGN, B::SIGN])?))
    }

    pub(crate) fn of(packed: Packed) -> Self {
        PackedMatrix { packed, operands: PhantomData }
    }

    pub(crate) fn packed(&self) -> &Packed {
        &self.packed
    }

    pub(crate) fn packed_mut(&mut self) -> &mut Packed {
        &mut self.packed
    }

    /// The ISA it is packed for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.packed.panels.shape.isa
    }

    /// The name of the micro-kernel that multiplies it, as in [`Isa::kernel`].
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        self.packed.panels.shape.kernel.name
    }

    /// K, the depth of the product.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.packed.panels.shape.depth
    }

    /// N, the columns of the product: the outputs.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.packed.panels.shape.columns
    }
}

impl<A: ByteCode, B: ByteCode> Rhs<A> for PackedMatrix<A, B> {}

impl<A: ByteCode, B: ByteCode> EraseRhs for PackedMatrix<A, B> {
    fn erase(&self) -> RhsRef<'_> {
        self.packed.erase()
    }
}

impl<A, B> Sealed for PackedMatrix<A, B> {}

impl<A: ByteCode, B: ByteCode> Weights<A> for PackedMatrix<A, B> {
    fn scales(&self) -> &[f32] {
        self.packed.scales.values()
    }
}
