//! The elementwise operations, each with its formula for a vector and, where that is faster, for a quad.

use core::cell::Cell;
use core::marker::PhantomData;

use bytemuck::Pod;

use super::fast::QuantizeVectors;
use super::vec_params::{QuadParams, VecParams};
use crate::codes::{ByteCode, CodeBounds};
use crate::kernel::Vectors;
use crate::random::vectors::RandomVectors;
use crate::sign::Sign;
use crate::simd::walk::{self, Block};
use crate::simd::{LANES, QUAD, Simd};

/// How a vector of clamped quotients is rounded to integers.
pub(crate) trait Round<V>: Copy {
    /// The rounded integers.
    fn round(self, v: V, quotients: V::F32) -> V::I32
    where
        V: Simd;

    /// The rounded integers as f32, of quotients that are up to half a step beyond the ends and may not leave them.
    #[inline(always)]
    fn round_beyond(self, v: V, quotients: V::F32, [min, max]: [V::F32; 2]) -> V::F32
    where
        V: Simd,
    {
        v.to_f32(self.round(v, v.min_f32(v.max_f32(quotients, min), max)))
    }
}

/// To nearest, ties to even.
#[derive(Clone, Copy)]
pub(crate) struct ToNearest;

impl<V> Round<V> for ToNearest {
    #[inline(always)]
    fn round(self, v: V, quotients: V::F32) -> V::I32
    where
        V: Simd,
    {
        v.round_to_i32(quotients)
    }

    /// (Quotients up to half a step beyond the ends round to the ends.)
    #[inline(always)]
    fn round_beyond(self, v: V, quotients: V::F32, _: [V::F32; 2]) -> V::F32
    where
        V: Simd,
    {
        v.round_f32(quotients)
    }
}

/// Stochastically, by the random words of the vector.
#[derive(Clone, Copy)]
pub(crate) struct ByWords<V: Simd>(pub V::I32);

impl<V: RandomVectors> Round<V> for ByWords<V> {
    #[inline(always)]
    fn round(self, v: V, quotients: V::F32) -> V::I32 {
        v.round_stochastically(quotients, self.0)
    }
}

/// An elementwise operation.
pub(crate) trait Operation: Copy {
    type In: Pod + Default;
    type Out: Pod + Default;

    /// Whether [`quad`](Operation::quad) is faster than four vectors where there is a fast division.
    const HAS_QUAD: bool = false;

    /// Whether kernels are few and small: one for runs and one for interleaved channels, whatever their zero points, each with one
    /// loop for every way through memory. For operations that are rarely used, or slower than what a choice saves.
    const FEW_KERNELS: bool = false;

    /// Whether the results are i8 codes: then zero points that are read as codes are so, too.
    const SIGNED: bool = false;

    /// Whether quads are exact for the codes of the operation, where they are faster. If not, every vector is computed exactly.
    #[inline(always)]
    fn has_exact_quads(self) -> bool {
        true
    }

    /// The operation for a walk that begins at element `start` of this one's.
    #[inline(always)]
    #[must_use]
    fn from(self, _start: usize) -> Self {
        self
    }

    /// Computes a vector exactly.
    fn vector<V: Vectors>(
        self,
        v: V,
        params: &VecParams<V>,
        round: impl Round<V>,
        block: Block<'_, Self::In, Self::Out>,
    );

    /// Computes a quad, rounded to nearest, and returns the sticky mask: lanes that are marked have to be computed again,
    /// exactly.
    #[inline(always)]
    fn quad<V: Vectors>(
        self,
        _v: V,
        _params: &QuadParams<V>,
        _quad: Quad<'_, Self::In, Self::Out>,
        invalid: V::I32,
    ) -> V::I32 {
        invalid
    }
}

/// Four vectors of a walk, and where their results go.
pub(crate) struct Quad<'a, T, U> {
    /// The index of the first element in the walk.
    pub at: usize,
    pub x: &'a [[T; LANES]; QUAD],
    pub out: &'a mut [[U; LANES]; QUAD],
}

/// Codes as vectors of integers.
pub(crate) trait CodeVectors: ByteCode {
    /// [`QuantizeVectors::narrow_quad_u8`] or [`QuantizeVectors::narrow_quad_i8`]
    fn narrow_quad<V: QuantizeVectors>(
        v: V,
        quotients: [V::F32; QUAD],
        zero_points: [V::I32; 2],
        bounds: CodeBounds,
        out: &mut [[Self; LANES]; QUAD],
        invalid: V::I32,
    ) -> V::I32;
}

macro_rules! code_vectors {
    ($Code:ty, $narrow_quad:ident) => {
        impl CodeVectors for $Code {
            #[inline(always)]
            fn narrow_quad<V: QuantizeVectors>(
                v: V,
                quotients: [V::F32; QUAD],
                zero_points: [V::I32; 2],
                bounds: CodeBounds,
                out: &mut [[Self; LANES]; QUAD],
                invalid: V::I32,
            ) -> V::I32 {
                v.$narrow_quad(quotients, zero_points, [bounds.min as $Code, bounds.max as $Code], out, invalid)
            }
        }
    };
}
code_vectors!(u8, narrow_quad_u8);
code_vectors!(i8, narrow_quad_i8);

/// `clamp(round(x / S)) + Z`, into codes of type C.
#[derive(Clone, Copy)]
pub(crate) struct Quantize<C> {
    bounds: CodeBounds,
    codes: PhantomData<C>,
}

impl<C> Quantize<C> {
    pub fn new(bounds: CodeBounds) -> Self {
        Quantize { bounds, codes: PhantomData }
    }
}

impl<C: CodeVectors> Operation for Quantize<C> {
    type In = f32;
    type Out = C;
    const HAS_QUAD: bool = true;
    const SIGNED: bool = matches!(C::SIGN, Sign::Signed);

    #[inline(always)]
    fn vector<V: Vectors>(self, v: V, params: &VecParams<V>, round: impl Round<V>, block: Block<'_, f32, C>) {
        let q = round.round(v, params.clamped(v, v.load_f32(block.x)));
        C::store(v, v.add_i32(q, params.zero_point), block.out);
    }

    #[inline(always)]
    fn quad<V: Vectors>(self, v: V, params: &QuadParams<V>, quad: Quad<'_, f32, C>, invalid: V::I32) -> V::I32 {
        C::narrow_quad(v, params.quotients(v, quad.x), params.zero_points, self.bounds, quad.out, invalid)
    }
}

/// `S · (q − Z)`, of codes of type C.
#[derive(Clone, Copy)]
pub(crate) struct Dequantize<C>(pub PhantomData<C>);

impl<C: CodeVectors> Operation for Dequantize<C> {
    type In = C;
    type Out = f32;

    #[inline(always)]
    fn vector<V: Vectors>(self, v: V, params: &VecParams<V>, _: impl Round<V>, block: Block<'_, C, f32>) {
        let q = v.sub_i32(C::load(v, block.x), params.zero_point);
        v.store_f32(params.real(v, q), block.out);
    }
}

/// [`Quantize`] into codes of 16 bits, u16 or i16. It has no fast path: the parts of reciprocals are exact up to ±255 only.
#[derive(Clone, Copy)]
pub(crate) struct QuantizeWide;

impl Operation for QuantizeWide {
    type In = f32;
    type Out = u16;
    const FEW_KERNELS: bool = true;

    #[inline(always)]
    fn vector<V: Vectors>(self, v: V, params: &VecParams<V>, round: impl Round<V>, block: Block<'_, f32, u16>) {
        let q = round.round(v, params.clamped(v, v.load_f32(block.x)));
        // The low 16 bits, of a code of either sign.
        let code = v.and_i32(v.add_i32(q, params.zero_point), v.splat_i32(0xffff));
        v.store_u16(code, block.out);
    }
}

/// [`Dequantize`] of codes of 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct DequantizeWide {
    pub sign: Sign,
}

impl Operation for DequantizeWide {
    type In = u16;
    type Out = f32;
    const FEW_KERNELS: bool = true;

    #[inline(always)]
    fn vector<V: Vectors>(self, v: V, params: &VecParams<V>, _: impl Round<V>, block: Block<'_, u16, f32>) {
        // The sign bit is extended by flipping it and subtracting what it stands for.
        let flip = v.splat_i32(if self.sign == Sign::Signed { 0x8000 } else { 0 });
        let code = v.sub_i32(v.xor_i32(v.load_u16(block.x), flip), flip);
        v.store_f32(params.real(v, v.sub_i32(code, params.zero_point)), block.out);
    }
}

/// [`Dequantize`] of [`Quantize`], without codes in memory.
#[derive(Clone, Copy)]
pub(crate) struct FakeQuantize {
    /// Whether the parts of reciprocals are exact for these codes.
    has_exact_quads: bool,
}

impl FakeQuantize {
    pub fn new(bounds: CodeBounds) -> Self {
        FakeQuantize { has_exact_quads: bounds.fit_fast_path() }
    }
}

impl Operation for FakeQuantize {
    type In = f32;
    type Out = f32;
    const HAS_QUAD: bool = true;

    #[inline(always)]
    fn has_exact_quads(self) -> bool {
        self.has_exact_quads
    }

    #[inline(always)]
    fn vector<V: Vectors>(self, v: V, params: &VecParams<V>, round: impl Round<V>, block: Block<'_, f32, f32>) {
        let q = round.round(v, params.clamped(v, v.load_f32(block.x)));
        v.store_f32(params.real(v, q), block.out);
    }

    #[inline(always)]
    fn quad<V: Vectors>(self, v: V, params: &QuadParams<V>, quad: Quad<'_, f32, f32>, invalid: V::I32) -> V::I32 {
        let quotients = params.quotients(v, quad.x);
        for j in 0..QUAD {
            let params = &params.vectors[j];
            let clamped = v.min_f32(v.max_f32(quotients[j], params.min), params.max);
            v.store_f32(params.real_of_f32(v, v.round_f32(clamped)), &mut quad.out[j]);
        }
        v.mark_nan(quotients, invalid)
    }
}

/// [`FakeQuantize`], and the mask of its straight-through gradient: 1 where the code of x needs no clamping, else 0.
#[derive(Clone, Copy)]
pub(crate) struct FakeQuantizeWithMask<'a> {
    pub plain: FakeQuantize,
    /// One for every element of the walk.
    pub mask: &'a [Cell<u8>],
}

impl<'a> FakeQuantizeWithMask<'a> {
    /// The mask of N elements from `at` on, if the walk has N more.
    #[inline(always)]
    fn cells<const N: usize>(self, at: usize) -> Option<&'a Cell<[u8; N]>> {
        let cells = core::ptr::from_ref(self.mask[at..].first_chunk::<N>()?).cast::<Cell<[u8; N]>>();
        // SAFETY: `[Cell<u8>; N]` and `Cell<[u8; N]>` have the layout of `[u8; N]`, and the reference lives as long as the
        // slice of cells that it points into.
        Some(unsafe { &*cells })
    }
}

impl Operation for FakeQuantizeWithMask<'_> {
    type In = f32;
    type Out = f32;
    const HAS_QUAD: bool = true;

    #[inline(always)]
    fn has_exact_quads(self) -> bool {
        self.plain.has_exact_quads
    }

    #[inline(always)]
    fn from(self, start: usize) -> Self {
        FakeQuantizeWithMask { mask: &self.mask[start..], ..self }
    }

    #[inline(always)]
    fn vector<V: Vectors>(self, v: V, params: &VecParams<V>, round: impl Round<V>, block: Block<'_, f32, f32>) {
        let within = params.is_within(v, v.load_f32(block.x));
        let mut mask = [0; LANES];
        v.store_u8(v.select_i32(within, v.splat_i32(1), v.splat_i32(0)), &mut mask);
        if let Some(cells) = self.cells(block.at) {
            cells.set(mask);
        } else {
            for (cell, mask) in self.mask[block.at..].iter().zip(mask) {
                cell.set(mask);
            }
        }
        self.plain.vector(v, params, round, block);
    }

    #[inline(always)]
    fn quad<V: Vectors>(self, v: V, params: &QuadParams<V>, quad: Quad<'_, f32, f32>, invalid: V::I32) -> V::I32 {
        let quotients = params.quotients(v, quad.x);
        let (mut rounded, mut clamped) = (quotients, quotients);
        for j in 0..QUAD {
            let params = &params.vectors[j];
            rounded[j] = v.round_f32(quotients[j]);
            clamped[j] = v.min_f32(v.max_f32(rounded[j], params.min), params.max);
            v.store_f32(params.real_of_f32(v, clamped[j]), &mut quad.out[j]);
        }
        let mut mask = [[0; LANES]; QUAD];
        v.store_equal_quad(rounded, clamped, &mut mask);
        let mask = mask.as_flattened().first_chunk::<{ QUAD * LANES }>().expect("four vectors");
        self.cells(quad.at).expect("the mask has a cell for every element").set(*mask);
        v.mark_nan(quotients, invalid)
    }
}

/// The straight-through gradient: `gradient · mask`.
#[derive(Clone, Copy)]
pub(crate) struct StraightThrough<'a> {
    /// One for every element of the walk.
    pub gradient: &'a [f32],
}

impl Operation for StraightThrough<'_> {
    type In = f32;
    type Out = f32;

    #[inline(always)]
    fn from(self, start: usize) -> Self {
        StraightThrough { gradient: &self.gradient[start..] }
    }

    #[inline(always)]
    fn vector<V: Vectors>(self, v: V, params: &VecParams<V>, _: impl Round<V>, block: Block<'_, f32, f32>) {
        let within = params.is_within(v, v.load_f32(block.x));
        let mask = v.keep_f32(within, v.splat_f32(1.0));
        let gradient = v.load_f32(&walk::block(self.gradient, block.at));
        v.store_f32(masked(v, gradient, mask), block.out);
    }
}

/// `gradient · mask`, where the mask is 1 or 0.
#[inline(always)]
pub(crate) fn masked<V: Vectors>(v: V, gradient: V::F32, mask: V::F32) -> V::F32 {
    let product = v.mul_f32(gradient, mask);
    // ∞ · 0 is NaN, whose sign depends on the architecture.
    v.select_f32(v.is_nan(product), v.splat_f32(f32::NAN), product)
}
