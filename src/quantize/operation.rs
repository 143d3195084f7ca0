//! What happens to a block of elements: one type for each operation, with its formula for a block and for four.

use core::cell::Cell;

use super::lanes::{Lanes, QuadParams};
use super::rounding::Round;
use bytemuck::Pod;

use crate::codes::{Code, CodeRange};
use crate::kernel::Vectors;
use crate::simd::walk::block;
use crate::simd::{LANES, QUAD, quad};

/// What happens to a block of elements that begins at element `start` of the tensor.
pub trait Elementwise<C>: Copy {
    type In: Copy + Default + Sync;
    type Out: Pod + Default + Send;
    fn apply<S: Vectors>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        rounding: impl Round<S>,
        start: usize,
        x: &[Self::In; LANES],
        out: &mut [Self::Out; LANES],
    );

    /// Whether four blocks together take less time where a reciprocal does.
    const HAS_QUADS: bool = false;

    /// [`apply`](Elementwise::apply) to a quad, with nearest rounding. Returns the
    /// [sticky mask](crate::quantize::fast::QuantizeVectors).
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "the arguments of `apply`, and the sticky mask")]
    fn apply_quad<S: Vectors>(
        self,
        _simd: S,
        _codes: CodeRange<C>,
        _lanes: &QuadParams<S>,
        _start: usize,
        _x: &[[Self::In; LANES]; QUAD],
        _out: &mut [[Self::Out; LANES]; QUAD],
        invalid: S::I32,
    ) -> S::I32 {
        invalid
    }
}

#[derive(Clone, Copy)]
pub struct Quantize;

impl<C: Code> Elementwise<C> for Quantize {
    type In = f32;
    type Out = C;
    #[inline(always)]
    fn apply<S: Vectors>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        rounding: impl Round<S>,
        _: usize,
        x: &[f32; LANES],
        out: &mut [C; LANES],
    ) {
        let q = rounding.round(simd, lanes.clamped(simd, simd.load_f32(x)));
        C::store(simd, simd.add_i32(q, lanes.zero_point), out);
    }

    const HAS_QUADS: bool = true;

    #[inline(always)]
    fn apply_quad<S: Vectors>(
        self,
        simd: S,
        codes: CodeRange<C>,
        lanes: &QuadParams<S>,
        _: usize,
        x: &[[f32; LANES]; QUAD],
        out: &mut [[C; LANES]; QUAD],
        invalid: S::I32,
    ) -> S::I32 {
        C::narrow_quad(simd, lanes.quotients(simd, x), lanes.zero_points, [codes.min(), codes.max()], out, invalid)
    }
}

#[derive(Clone, Copy)]
pub struct Dequantize;

impl<C: Code> Elementwise<C> for Dequantize {
    type In = C;
    type Out = f32;
    #[inline(always)]
    fn apply<S: Vectors>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        _: impl Round<S>,
        _: usize,
        codes: &[C; LANES],
        out: &mut [f32; LANES],
    ) {
        let q = simd.sub_i32(C::load(simd, codes), lanes.zero_point);
        simd.store_f32(lanes.real(simd, q), out);
    }
}

#[derive(Clone, Copy)]
pub struct FakeQuantize;

impl<C: Code> Elementwise<C> for FakeQuantize {
    type In = f32;
    type Out = f32;
    #[inline(always)]
    fn apply<S: Vectors>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        rounding: impl Round<S>,
        _: usize,
        x: &[f32; LANES],
        out: &mut [f32; LANES],
    ) {
        let q = rounding.round(simd, lanes.clamped(simd, simd.load_f32(x)));
        simd.store_f32(lanes.real(simd, q), out);
    }

    const HAS_QUADS: bool = true;

    #[inline(always)]
    fn apply_quad<S: Vectors>(
        self,
        simd: S,
        _: CodeRange<C>,
        lanes: &QuadParams<S>,
        _: usize,
        x: &[[f32; LANES]; QUAD],
        out: &mut [[f32; LANES]; QUAD],
        invalid: S::I32,
    ) -> S::I32 {
        let v = lanes.quotients(simd, x);
        for j in 0..QUAD {
            let clamped = simd.min_f32(simd.max_f32(v[j], lanes.each[j].min), lanes.each[j].max);
            simd.store_f32(lanes.each[j].real_of_f32(simd, simd.round_f32(clamped)), &mut out[j]);
        }
        simd.mark_nan(v, invalid)
    }
}

#[derive(Clone, Copy)]
pub struct FakeQuantizeWithMask<'a> {
    pub mask: &'a [Cell<u8>],
}

impl<'a> FakeQuantizeWithMask<'a> {
    /// The mask of elements from `start` on, if so many are there.
    #[inline(always)]
    fn cells<const N: usize>(self, start: usize) -> Option<&'a Cell<[u8; N]>> {
        let cells = core::ptr::from_ref(self.mask[start..].first_chunk::<N>()?).cast::<Cell<[u8; N]>>();
        // SAFETY: a cell has the layout of what is in it.
        Some(unsafe { &*cells })
    }
}

/// 1 where clamping took nothing away, else 0.
#[inline(always)]
fn within<S: Vectors>(simd: S, excess: S::I32) -> S::I32 {
    let (zero, one) = (simd.splat_i32(0), simd.splat_i32(1));
    let magnitude = simd.max_i32(excess, simd.sub_i32(zero, excess));
    simd.sub_i32(one, simd.min_i32(magnitude, one))
}

impl<C: Code> Elementwise<C> for FakeQuantizeWithMask<'_> {
    type In = f32;
    type Out = f32;
    #[inline(always)]
    fn apply<S: Vectors>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        rounding: impl Round<S>,
        start: usize,
        x: &[f32; LANES],
        out: &mut [f32; LANES],
    ) {
        let (_, excess) = lanes.code_and_excess(simd, simd.load_f32(x));
        let mut mask = [0; LANES];
        simd.store_u8(within(simd, excess), &mut mask);
        match self.cells(start) {
            Some(cells) => cells.set(mask),
            None => self.mask[start..].iter().zip(mask).for_each(
                #[inline(always)]
                |(cell, mask)| cell.set(mask),
            ),
        }
        Elementwise::<C>::apply(FakeQuantize, simd, lanes, rounding, start, x, out);
    }

    const HAS_QUADS: bool = true;

    #[inline(always)]
    fn apply_quad<S: Vectors>(
        self,
        simd: S,
        _: CodeRange<C>,
        lanes: &QuadParams<S>,
        start: usize,
        x: &[[f32; LANES]; QUAD],
        out: &mut [[f32; LANES]; QUAD],
        invalid: S::I32,
    ) -> S::I32 {
        let v = lanes.quotients(simd, x);
        let rounded = quad(
            #[inline(always)]
            |j| simd.round_f32(v[j]),
        );
        let clamped = quad(
            #[inline(always)]
            |j| simd.min_f32(simd.max_f32(rounded[j], lanes.each[j].min), lanes.each[j].max),
        );
        for j in 0..QUAD {
            simd.store_f32(lanes.each[j].real_of_f32(simd, clamped[j]), &mut out[j]);
        }
        let mut mask = [[0; LANES]; QUAD];
        simd.store_equal_quad(rounded, clamped, &mut mask);
        let mask = mask.as_flattened().first_chunk::<{ QUAD * LANES }>().expect("four blocks");
        self.cells(start).expect("one for every element").set(*mask);
        simd.mark_nan(v, invalid)
    }
}

#[derive(Clone, Copy)]
pub struct StraightThrough<'a> {
    pub gradient: &'a [f32],
    /// The element that it begins with.
    pub first: usize,
}

impl<C: Code> Elementwise<C> for StraightThrough<'_> {
    type In = f32;
    type Out = f32;
    #[inline(always)]
    fn apply<S: Vectors>(
        self,
        simd: S,
        lanes: &Lanes<S>,
        _: impl Round<S>,
        start: usize,
        x: &[f32; LANES],
        out: &mut [f32; LANES],
    ) {
        let (_, outside) = lanes.code_and_excess(simd, simd.load_f32(x));
        let mask = simd.to_f32(within(simd, outside));
        let gradient = simd.load_f32(&block(self.gradient, start - self.first));
        // ∞ · 0 is NaN of another sign on every architecture.
        let product = simd.mul_f32(gradient, mask);
        simd.store_f32(simd.select_f32(simd.is_nan(product), simd.splat_f32(f32::NAN), product), out);
    }
}
