//! From the accumulators of a tile to elements of the result, by an output stage.
//!
//! A kernel has stages of one kind ([`StageKind`]) in it. Which of them is asked once a tile; then the loop over vectors of
//! columns and rows is inlined, for every ISA.

use core::ops::Range;
use core::ptr::copy_nonoverlapping;

use super::erased::{DequantizeRef, StageRef};
use super::output::Output;
use super::per_column::PerColumn;
use super::requantize::codes::{CodeBounds, CodeLanes, store_codes};
use super::requantize::integer::IntegerRule;
use super::requantize::rule::{Multipliers, RequantizeRef};
use super::tile::AccRow;
use super::words::RowWords;
use crate::kernel::Vectors;
use crate::simd::LANES;

/// Where the elements of a multiplication go, and how they are made.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    pub stage: &'a StageRef<'a>,
    pub out: &'a Output<'a>,
    pub words: &'a RowWords,
    /// The column of the stage and of `out` where the columns of the RHS begin.
    pub first_column: usize,
}

impl Epilogue<'_> {
    /// Makes the elements of some rows and columns of the RHS of their accumulators.
    ///
    /// # Safety
    /// `accumulators` has a row for every row. No other thread has these rows and columns of `out`, whose elements are those
    /// of the stage.
    #[inline(always)]
    pub unsafe fn emit<V: Vectors, K: StageKind>(
        &self,
        simd: V,
        accumulators: *const AccRow,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let columns = self.first_column + columns.start..self.first_column + columns.end;
        let tile = Tile { accumulators, rows, columns, epilogue: self };
        // SAFETY: the tile has the accumulators and the elements that this function was given.
        unsafe { K::emit(simd, self.stage, &tile) }
    }
}

/// A kind of stages, all of which one kernel has in it: a type, so that a program has only the kernels of stages that it names.
pub trait StageKind {
    /// Makes the elements of a tile by a stage of this kind.
    ///
    /// # Safety
    /// The tile has accumulators for every row. No other thread has its elements of the result, which are those of the stage.
    unsafe fn emit<V: Vectors>(simd: V, stage: &StageRef<'_>, tile: &Tile<'_>);
}

/// Stages whose elements are the accumulators.
pub struct ToAccumulators;

/// Stages whose elements are floats.
pub struct ToFloats;

/// Stages whose elements are codes.
pub struct ToCodes;

impl StageKind for ToAccumulators {
    #[inline(always)]
    unsafe fn emit<V: Vectors>(simd: V, _: &StageRef<'_>, tile: &Tile<'_>) {
        // SAFETY: the tile has its accumulators, and its elements, of this stage's type, to itself.
        unsafe { tile.emit(simd, &Copy) }
    }
}

impl StageKind for ToFloats {
    #[inline(always)]
    unsafe fn emit<V: Vectors>(simd: V, stage: &StageRef<'_>, tile: &Tile<'_>) {
        let StageRef::Dequantize(stage) = stage else { unreachable!("the kernel is that of the stage") };
        // SAFETY: the tile has its accumulators, and its elements, of this stage's type, to itself.
        unsafe { tile.emit(simd, stage) }
    }
}

impl StageKind for ToCodes {
    #[inline(always)]
    unsafe fn emit<V: Vectors>(simd: V, stage: &StageRef<'_>, tile: &Tile<'_>) {
        let StageRef::Requantize(RequantizeRef { multipliers, codes, .. }) = stage else {
            unreachable!("the kernel is that of the stage")
        };
        // SAFETY: the tile has its accumulators, and its elements, of this stage's type, to itself.
        unsafe {
            match multipliers {
                Multipliers::Float(multipliers) if tile.epilogue.words.any() => {
                    tile.emit(simd, &Stochastic(multipliers, codes));
                }
                Multipliers::Float(multipliers) => tile.emit(simd, &Float(multipliers, codes)),
                Multipliers::FixedPoint(rule) => tile.emit(simd, &Integer(rule, codes)),
                Multipliers::HalfAway(rule) => tile.emit(simd, &Integer(rule, codes)),
                Multipliers::Gemmlowp(rule) => tile.emit(simd, &Integer(rule, codes)),
                Multipliers::Shift(rule) => tile.emit(simd, &Integer(rule, codes)),
            }
        }
    }
}

/// A stage in a kernel.
///
/// What [`emit`](VectorStage::emit) decides by is part of the lanes, as values: the elements are written through a pointer, so
/// nothing that is read through another one stays in a register, and no branch is taken out of the loop over rows.
trait VectorStage {
    /// Whether elements take random words.
    const STOCHASTIC: bool = false;
    /// Bytes of an element.
    const SIZE: usize;
    /// What a vector of columns needs.
    type Lanes<V: Vectors>: core::marker::Copy;

    fn lanes<V: Vectors>(&self, simd: V, column: usize) -> Self::Lanes<V>;

    /// Writes a vector of elements of a row.
    ///
    /// # Safety
    /// `LANES · SIZE` bytes may be written at `out`, aligned for the element.
    unsafe fn emit<V: Vectors>(&self, simd: V, lanes: &Self::Lanes<V>, source: Source<V>, out: *mut u8);
}

/// What an element is made of.
struct Source<V: Vectors> {
    row: usize,
    acc: V::I32,
    words: V::I32,
}

/// A tile of the result.
pub struct Tile<'a> {
    accumulators: *const AccRow,
    rows: Range<usize>,
    columns: Range<usize>,
    epilogue: &'a Epilogue<'a>,
}

impl Tile<'_> {
    /// Makes the elements of the tile, a vector of columns after the other.
    ///
    /// # Safety
    /// `accumulators` has a row for every row of the tile. No other thread has its elements of `out`, which are those of the
    /// stage.
    #[cfg_attr(not(unoptimized), inline(always))]
    unsafe fn emit<V: Vectors, S: VectorStage>(&self, simd: V, stage: &S) {
        let Tile { accumulators, ref rows, ref columns, epilogue } = *self;
        let width = columns.len();
        let place = epilogue.out.place(rows.start, columns.start, rows.len(), width);
        let mut padded = [0_i32; LANES];
        let mut first = 0;
        while first < width {
            // The last vector overlaps the one before it, unless the tile is narrower than a vector.
            let start = first.min(width.saturating_sub(LANES));
            let column = columns.start + start;
            let lanes = stage.lanes(simd, column);
            for r in 0..rows.len() {
                let row = rows.start + r;
                // SAFETY: there is a row of accumulators for every row; a vector from `start` on is inside of it.
                let acc = unsafe { &*accumulators.add(r).cast::<i32>().add(start).cast::<[i32; LANES]>() };
                let words = if S::STOCHASTIC { epilogue.words.at(simd, row, column) } else { simd.splat_i32(0) };
                let source = Source { row, acc: simd.load_i32(acc), words };
                let out = place.data.wrapping_add(r * place.stride + start * S::SIZE);
                let whole = if width >= LANES { out } else { padded.as_mut_ptr().cast() };
                // SAFETY: the vector is inside the tile, which is the caller's, and in an array of such elements; or it
                // goes to the buffer, which a vector of elements of at most four bytes fits.
                unsafe { stage.emit(simd, &lanes, source, whole) };
                if width < LANES {
                    // SAFETY: the tile takes as many elements as it is wide, and the buffer is not part of it.
                    unsafe { copy_nonoverlapping(whole, out, width * S::SIZE) };
                }
            }
            first += LANES;
        }
    }
}

/// The accumulators are the elements.
struct Copy;

impl VectorStage for Copy {
    const SIZE: usize = size_of::<i32>();
    type Lanes<V: Vectors> = ();

    #[inline(always)]
    fn lanes<V: Vectors>(&self, _: V, _: usize) {}

    #[inline(always)]
    unsafe fn emit<V: Vectors>(&self, simd: V, (): &(), source: Source<V>, out: *mut u8) {
        // SAFETY: a vector of i32 may be written there.
        simd.store_i32(source.acc, unsafe { &mut *out.cast() });
    }
}

impl VectorStage for DequantizeRef<'_> {
    const SIZE: usize = size_of::<f32>();
    /// Scales, with that of the activations if they have only one; whether they have; and the bias.
    type Lanes<V: Vectors> = (V::F32, bool, V::F32);

    #[inline(always)]
    fn lanes<V: Vectors>(&self, simd: V, column: usize) -> Self::Lanes<V> {
        let scales = simd.load_f32(self.columns.at(column));
        let (scales, one) = match *self.rows {
            [one] => (simd.mul_f32(simd.splat_f32(one), scales), true),
            _ => (scales, false),
        };
        let bias = match self.bias {
            Some(bias) => simd.load_f32(bias.at(column)),
            // Adding it changes no float.
            None => simd.splat_f32(-0.0),
        };
        (scales, one, bias)
    }

    #[inline(always)]
    unsafe fn emit<V: Vectors>(&self, simd: V, &(scales, one, bias): &Self::Lanes<V>, source: Source<V>, out: *mut u8) {
        let scales = if one { scales } else { simd.mul_f32(simd.splat_f32(self.rows[source.row]), scales) };
        let element = simd.add_f32(simd.mul_f32(simd.to_f32(source.acc), scales), bias);
        // SAFETY: a vector of f32 may be written there.
        simd.store_f32(element, unsafe { &mut *out.cast() });
    }
}

struct Float<'a>(&'a PerColumn<f32>, &'a CodeBounds);

impl VectorStage for Float<'_> {
    const SIZE: usize = 1;
    type Lanes<V: Vectors> = (V::F32, CodeLanes<V>);

    #[inline(always)]
    fn lanes<V: Vectors>(&self, simd: V, column: usize) -> Self::Lanes<V> {
        (simd.load_f32(self.0.at(column)), CodeLanes::new(simd, self.1))
    }

    #[inline(always)]
    unsafe fn emit<V: Vectors>(&self, simd: V, (multiplier, codes): &Self::Lanes<V>, source: Source<V>, out: *mut u8) {
        // SAFETY: a vector of bytes may be written there.
        unsafe { store_codes(simd, codes.round(simd, *multiplier, source.acc), codes.sign, out) }
    }
}

struct Stochastic<'a>(&'a PerColumn<f32>, &'a CodeBounds);

impl VectorStage for Stochastic<'_> {
    const STOCHASTIC: bool = true;
    const SIZE: usize = 1;
    type Lanes<V: Vectors> = (V::F32, CodeLanes<V>);

    #[inline(always)]
    fn lanes<V: Vectors>(&self, simd: V, column: usize) -> Self::Lanes<V> {
        Float(self.0, self.1).lanes(simd, column)
    }

    #[inline(always)]
    unsafe fn emit<V: Vectors>(&self, simd: V, (multiplier, codes): &Self::Lanes<V>, source: Source<V>, out: *mut u8) {
        let bytes = codes.round_stochastically(simd, *multiplier, source.acc, source.words);
        // SAFETY: a vector of bytes may be written there.
        unsafe { store_codes(simd, bytes, codes.sign, out) }
    }
}

struct Integer<'a, R>(&'a R, &'a CodeBounds);

impl<R: IntegerRule> VectorStage for Integer<'_, R> {
    const SIZE: usize = 1;
    type Lanes<V: Vectors> = (R::Lanes<V>, CodeLanes<V>);

    #[inline(always)]
    fn lanes<V: Vectors>(&self, simd: V, column: usize) -> Self::Lanes<V> {
        (self.0.lanes(simd, column), CodeLanes::new(simd, self.1))
    }

    #[inline(always)]
    unsafe fn emit<V: Vectors>(&self, simd: V, (rule, codes): &Self::Lanes<V>, source: Source<V>, out: *mut u8) {
        let bytes = self.0.apply(simd, rule, source.acc, codes);
        // SAFETY: a vector of bytes may be written there.
        unsafe { store_codes(simd, bytes, codes.sign, out) }
    }
}
