//! What a vector of elements adds to the gradients: one formula for each operation.

use crate::kernel::Vectors;
use crate::quantize::ops::{Round, masked};
use crate::quantize::vec_params::VecParams;
use crate::simd::{LANES, Simd};

/// The backward pass of an operation whose parameters have N sums in every group.
pub(super) trait Backward<const N: usize>: Copy + Send + Sync {
    /// A faster form of this pass, for elements rounded to nearest on ISAs with a fast division. Where the sums of a segment that it
    /// makes are finite, it is exact; else the segment has to be computed again by the pass itself.
    type Fast: Backward<N>;
    /// Whether there is a faster pass.
    const HAS_FAST: bool;
    /// Whether [`vector`](Backward::vector) leaves the last sum to [`last_term`](Backward::last_term), on ISAs whose registers do
    /// not hold all sums and what both need.
    const LEAVES_LAST: bool = false;

    /// The faster pass.
    fn fast(self) -> Self::Fast;

    /// Values that are computed from parameters once, for all elements that share them.
    type Limits<V: Simd>: Copy;

    /// The limits of these parameters.
    fn limits<V: Vectors>(self, v: V, params: &VecParams<V>) -> Self::Limits<V>;

    /// Writes the gradient with respect to x, and returns the sums with what these elements add. Elements that are 0, of gradient 0,
    /// add nothing. (What is written early is in no register while the sums are made, which take half of AVX2's.)
    fn vector<V: Vectors>(
        self,
        v: V,
        params: (&VecParams<V>, Self::Limits<V>),
        round: impl Round<V>,
        x_and_gradient: [V::F32; 2],
        out: &mut [f32; LANES],
        sums: [V::F64; N],
    ) -> [V::F64; N];

    /// What these elements add to the last sum where [`vector`](Backward::vector) leaves it, which wrote `out`.
    #[inline(always)]
    fn last_term<V: Vectors>(self, v: V, gradient: V::F32, out: V::F32) -> V::F32 {
        v.sub_f32(gradient, out)
    }
}

/// Whether the last sum is made by itself.
pub(super) const fn leaves_last<V: Vectors, B: Backward<N>, const N: usize>() -> bool {
    /// The vectors of f32 that a pass needs beside its sums, which are two each.
    const OTHERS: usize = 5;
    B::LEAVES_LAST && V::REGISTERS < 2 * N + OTHERS
}

/// The backward pass of fake-quantization. The sums are `Σ g · (ŷ − x)`, without x where the code is clamped; and, if there are
/// two, `Σ g` where it is clamped.
///
/// FAST takes a product with the reciprocal in two parts for the quotient, which rounds to the same integer
/// ([`fast`](crate::quantize::fast) says why), and leaves out what NaN and infinities need. It tells by its sums: a quotient that is
/// NaN, since x is infinite or NaN or the scale has no reciprocal, goes through all steps to ŷ; and a gradient that is not
/// finite makes no finite product, not even with 0.
#[derive(Clone, Copy)]
pub(super) struct OfFakeQuantization<const FAST: bool>;

impl<const N: usize, const FAST: bool> Backward<N> for OfFakeQuantization<FAST> {
    type Fast = OfFakeQuantization<true>;
    const HAS_FAST: bool = true;
    /// What is clamped has no gradient but zero, so that the difference is what `beyond` is below.
    const LEAVES_LAST: bool = FAST && N == 2;
    /// The least and the largest quotient that round to a code.
    type Limits<V: Simd> = [V::F32; 2];

    #[inline(always)]
    fn fast(self) -> OfFakeQuantization<true> {
        OfFakeQuantization
    }

    #[inline(always)]
    fn limits<V: Vectors>(self, v: V, params: &VecParams<V>) -> [V::F32; 2] {
        let least = v.sub_f32(params.min, v.splat_f32(0.5));
        let largest = v.add_f32(params.max, v.splat_f32(0.5));
        [nearer_if_odd(v, params.min, least), nearer_if_odd(v, params.max, largest)]
    }

    #[inline(always)]
    fn vector<V: Vectors>(
        self,
        v: V,
        (params, [least, largest]): (&VecParams<V>, [V::F32; 2]),
        round: impl Round<V>,
        [x, gradient]: [V::F32; 2],
        out: &mut [f32; LANES],
        mut sums: [V::F64; N],
    ) -> [V::F64; N] {
        let zero = v.splat_f32(0.0);
        // Clamped to what rounds to a code, then rounded, is rounded, then clamped; and it tells what is clamped.
        let (quotient, clamped);
        if const { FAST } {
            quotient = params.fast_quotient(v, x);
            // NaN in the second operand stays.
            clamped = v.min_f32(largest, v.max_f32(least, quotient));
        } else {
            quotient = params.quotient(v, x);
            // NaN becomes 0, and counts as clamped.
            clamped = v.clamp_f32(quotient, least, largest);
        }
        let within = v.equal_f32(quotient, clamped);
        let kept = if const { FAST } {
            // 0 has the sign of the product.
            let signed_zero = v.of_bits(v.and_i32(v.to_bits(gradient), v.splat_i32(i32::MIN)));
            v.select_f32(within, gradient, signed_zero)
        } else {
            masked(v, gradient, v.keep_f32(within, v.splat_f32(1.0)))
        };
        v.store_f32(kept, out);
        let real = params.scaled(v, round.round_beyond(v, clamped, [params.min, params.max]));
        let slope = v.sub_f32(real, v.keep_f32(within, x));
        sums[0] = v.add_product_f64(sums[0], gradient, slope);
        if const { N == 2 && !leaves_last::<V, Self, N>() } {
            let beyond = v.select_f32(within, zero, gradient);
            let beyond = if const { FAST } { beyond } else { v.select_f32(v.is_nan(x), zero, beyond) };
            sums[1] = v.add_product_f64(sums[1], beyond, v.splat_f32(1.0));
        }
        sums
    }
}

/// The last quotient that rounds to the end of the code range: half a step beyond it, which rounds to it if it is even; else the
/// f32 before, nearer to 0. (Ends are at most 2¹⁶, so that the edge is exact.)
#[inline(always)]
fn nearer_if_odd<V: Vectors>(v: V, end: V::F32, edge: V::F32) -> V::F32 {
    // Of numbers of either sign, the bits less 1 are nearer to 0.
    let odd = v.and_i32(v.round_to_i32(end), v.splat_i32(1));
    v.of_bits(v.sub_i32(v.to_bits(edge), odd))
}

/// The backward pass of clipping to a bound, which is in place of a scale: to 0 … bound, or to −bound … bound. The sum is `Σ g`
/// where x is at the bound or above it, less, if symmetric, `Σ g` where it is at the lower one or below.
#[derive(Clone, Copy)]
pub(super) struct OfClipping<const SYMMETRIC: bool>;

impl<const SYMMETRIC: bool> Backward<1> for OfClipping<SYMMETRIC> {
    type Fast = Self;
    const HAS_FAST: bool = false;
    type Limits<V: Simd> = ();

    #[inline(always)]
    fn fast(self) -> Self {
        self
    }

    #[inline(always)]
    fn limits<V: Vectors>(self, _: V, _: &VecParams<V>) {}

    #[inline(always)]
    fn vector<V: Vectors>(
        self,
        v: V,
        (params, ()): (&VecParams<V>, ()),
        _: impl Round<V>,
        [x, gradient]: [V::F32; 2],
        out: &mut [f32; LANES],
        [sum]: [V::F64; 1],
    ) -> [V::F64; 1] {
        let (zero, upper) = (v.splat_f32(0.0), params.scale());
        let lower = if const { SYMMETRIC } { v.sub_f32(zero, upper) } else { zero };
        // NaN is neither.
        let (above, below) = (v.less_f32(lower, x), v.less_f32(x, upper));
        let at_upper = v.select_f32(below, zero, gradient);
        let at_lower = if const { SYMMETRIC } { v.keep_f32(below, v.sub_f32(zero, gradient)) } else { zero };
        v.store_f32(v.keep_f32(above, v.keep_f32(below, gradient)), out);
        [v.add_product_f64(sum, v.select_f32(above, at_upper, at_lower), v.splat_f32(1.0))]
    }
}
