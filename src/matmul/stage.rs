//! Output stages: what becomes of an exact i32 accumulator.
//!
//! | stage | value; of codes before `+ Z_out` and saturation to the activation bounds ([`requantize`](super::requantize)) |
//! |---|---|
//! | [`Accumulators`] | the accumulator itself |
//! | [`Dequantize`] | `acc as f32 · (S_a · S_b) + bias`, every operation rounded once |
//! | [`Requantize`](crate::Requantize)`<_, `[`FloatMultiplier`](crate::FloatMultiplier)`>` | `RNE(clamp(acc as f32 · M))`, as ONNX, MLAS and FBGEMM do |
//! | [`RequantizeStochastic`](crate::RequantizeStochastic) | the same product, rounded stochastically |
//! | [`Requantize`](crate::Requantize)`<_, `[`FixedPoint`](crate::FixedPoint)`>` | `(acc · M₀ + 2³⁰⁺ˢ) >> (31 + s)`: one rounding, halves up |
//! | [`Requantize`](crate::Requantize)`<_, `[`Gemmlowp`](crate::Gemmlowp)`>` | gemmlowp's two roundings, for bit parity with TFLite |
//! | [`Requantize`](crate::Requantize)`<_, `[`Shift`](crate::Shift)`>` | `RNE(acc · 2⁻ˢ)` in integers, for power-of-two scales |

use super::columns::Columns;
use super::multiplier::check_scales;
use crate::error::{Error, check_length};
use crate::kernel::Vectors;
use crate::random::stream::Stream;
use crate::simd::LANES;

/// An output stage of [`matmul`](crate::matmul()): how accumulators become elements of the result.
///
/// Implemented by the stages of this module only.
pub trait Stage: Sync + sealed::Sealed {
    /// What the result consists of.
    type Element: Copy + Default + Send + Sync;

    /// Whether the accumulators, i32, are the elements.
    #[doc(hidden)]
    const RAW: bool = false;
    /// Whether elements use random words.
    #[doc(hidden)]
    const STOCHASTIC: bool = false;
    /// What sixteen columns need.
    #[doc(hidden)]
    type Parameters<V: Vectors>: Copy;

    #[doc(hidden)]
    fn check(&self, rows: usize, columns: usize) -> Result<(), Error>;
    /// Where the random words come from, for stages that use them.
    #[doc(hidden)]
    fn stream(&self) -> Option<Stream> {
        None
    }
    #[doc(hidden)]
    fn parameters<V: Vectors>(&self, simd: V, column: usize) -> Self::Parameters<V>;
    #[doc(hidden)]
    fn emit<V: Vectors>(
        &self,
        simd: V,
        parameters: &Self::Parameters<V>,
        row: usize,
        acc: V::I32,
        words: V::I32,
        out: &mut [Self::Element; LANES],
    );

    /// Emits at most sixteen elements: as many as `out` has.
    #[doc(hidden)]
    #[inline(always)]
    fn emit_some<V: Vectors>(
        &self,
        simd: V,
        parameters: &Self::Parameters<V>,
        row: usize,
        acc: V::I32,
        words: V::I32,
        out: &mut [Self::Element],
    ) {
        if let Some(out) = out.first_chunk_mut() {
            self.emit(simd, parameters, row, acc, words, out);
        } else {
            let mut padded = [Self::Element::default(); LANES];
            self.emit(simd, parameters, row, acc, words, &mut padded);
            out.copy_from_slice(&padded[..out.len()]);
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Accumulators {}
    impl Sealed for super::DequantizeRows<'_> {}
    impl<C, M> Sealed for crate::Requantize<C, M> {}
    impl<C> Sealed for crate::RequantizeStochastic<'_, C> {}
}

/// The accumulators themselves, as i32.
#[derive(Clone, Copy, Debug)]
pub struct Accumulators;

impl Stage for Accumulators {
    type Element = i32;
    const RAW: bool = true;
    type Parameters<V: Vectors> = ();

    fn check(&self, _: usize, _: usize) -> Result<(), Error> {
        Ok(())
    }

    #[inline(always)]
    fn parameters<V: Vectors>(&self, _: V, _: usize) {}

    #[inline(always)]
    fn emit<V: Vectors>(&self, simd: V, (): &(), _: usize, acc: V::I32, _: V::I32, out: &mut [i32; LANES]) {
        simd.store_i32(acc, out);
    }
}

/// The weights' half of a float result: their scales and a float bias. [`rows`](Dequantize::rows) adds the
/// activations' scales, which may differ from call to call, and makes it a [`Stage`].
#[derive(Clone, Debug)]
pub struct Dequantize {
    scales: Columns<f32>,
    largest_scale: f32,
    bias: Columns<f32>,
}

impl Dequantize {
    /// `weight_scales`: one, or one for every column; `bias`: one for every column.
    ///
    /// # Errors
    /// [`Error::Scale`]; [`Error::NonFinite`] in the bias; [`Error::Empty`] without scales.
    pub fn new(weight_scales: &[f32], bias: Option<&[f32]>) -> Result<Self, Error> {
        check_scales(weight_scales)?;
        if let Some(&found) = bias.unwrap_or_default().iter().find(|bias| !bias.is_finite()) {
            return Err(Error::NonFinite { what: "the bias", found });
        }
        let bias = match bias {
            Some(bias) => Columns::each(bias.iter().copied()),
            // Adding it changes no float.
            None => Columns::broadcast([-0.0]),
        };
        let largest_scale = weight_scales.iter().copied().fold(0.0, f32::max);
        Ok(Dequantize { scales: Columns::broadcast(weight_scales.iter().copied()), largest_scale, bias })
    }

    /// The stage for activations of these scales: one, or one for every row of the result (in a convolution, for every
    /// output pixel).
    ///
    /// # Errors
    /// [`Error::Scale`], also for a product of scales beyond every f32; [`Error::Empty`] without scales.
    pub fn rows<'a>(&'a self, activation_scales: &'a [f32]) -> Result<DequantizeRows<'a>, Error> {
        check_scales(activation_scales)?;
        let scale = activation_scales.iter().copied().fold(0.0, f32::max) * self.largest_scale;
        if scale.is_infinite() {
            return Err(Error::Scale { scale });
        }
        Ok(DequantizeRows { columns: self, scales: activation_scales })
    }
}

/// Float results: `acc as f32 · (S_a · S_b) + bias`. Made by [`Dequantize::rows`].
#[derive(Clone, Copy, Debug)]
pub struct DequantizeRows<'a> {
    columns: &'a Dequantize,
    scales: &'a [f32],
}

impl Stage for DequantizeRows<'_> {
    type Element = f32;
    /// Scales, those of a single row's activations among them, and the bias.
    type Parameters<V: Vectors> = (V::F32, V::F32);

    fn check(&self, rows: usize, columns: usize) -> Result<(), Error> {
        if self.scales.len() != 1 {
            check_length("activation scales", rows, self.scales.len())?;
        }
        self.columns.scales.check("weight scales", columns)?;
        self.columns.bias.check("the bias", columns)
    }

    #[inline(always)]
    fn parameters<V: Vectors>(&self, simd: V, column: usize) -> (V::F32, V::F32) {
        let scales = simd.load_f32(self.columns.scales.at(column));
        let scales = if let &[one] = self.scales { simd.mul_f32(simd.splat_f32(one), scales) } else { scales };
        (scales, simd.load_f32(self.columns.bias.at(column)))
    }

    #[inline(always)]
    fn emit<V: Vectors>(
        &self,
        simd: V,
        &(scales, bias): &(V::F32, V::F32),
        row: usize,
        acc: V::I32,
        _: V::I32,
        out: &mut [f32; LANES],
    ) {
        let scales = match self.scales {
            [_] => scales,
            each => simd.mul_f32(simd.splat_f32(each[row]), scales),
        };
        simd.store_f32(simd.add_f32(simd.mul_f32(simd.to_f32(acc), scales), bias), out);
    }
}
