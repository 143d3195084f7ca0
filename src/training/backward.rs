//! What a vector of elements adds to the gradients: one formula for each operation.

use crate::kernel::Vectors;
use crate::quantize::ops::{Round, masked};
use crate::quantize::vec_params::VecParams;

/// The backward pass of an operation whose parameters have N sums in every group.
pub(super) trait Backward<const N: usize>: Copy + Send + Sync {
    /// The gradient with respect to x, and the sums with what these elements add. Elements that are 0, of gradient 0, add nothing.
    fn vector<V: Vectors>(
        self,
        v: V,
        params: &VecParams<V>,
        round: impl Round<V>,
        x: V::F32,
        gradient: V::F32,
        sums: [V::F64; N],
    ) -> (V::F32, [V::F64; N]);
}

/// Of fake-quantization. The sums are `Σ g · (ŷ − x)`, without x where the code is clamped; and, if there are two, `Σ g` where it
/// is clamped.
#[derive(Clone, Copy)]
pub(super) struct OfFakeQuantization;

impl<const N: usize> Backward<N> for OfFakeQuantization {
    #[inline(always)]
    fn vector<V: Vectors>(
        self,
        v: V,
        params: &VecParams<V>,
        round: impl Round<V>,
        x: V::F32,
        gradient: V::F32,
        mut sums: [V::F64; N],
    ) -> (V::F32, [V::F64; N]) {
        let within = params.is_within(v, x);
        let real = params.real(v, round.round(v, params.clamped(v, x)));
        // NaN counts as clamped, and to 0.
        let slope = v.sub_f32(real, v.select_f32(within, x, v.splat_f32(0.0)));
        sums[0] = v.add_product_f64(sums[0], gradient, slope);
        if const { N == 2 } {
            let zero = v.splat_f32(0.0);
            let beyond = v.select_f32(v.is_nan(x), zero, v.select_f32(within, zero, gradient));
            sums[1] = v.add_product_f64(sums[1], beyond, v.splat_f32(1.0));
        }
        let mask = v.select_f32(within, v.splat_f32(1.0), v.splat_f32(0.0));
        (masked(v, gradient, mask), sums)
    }
}

/// Of clipping to a bound, which is in place of a scale: to 0 … bound, or to −bound … bound. The sum is `Σ g` where x is at the
/// bound or above it, less, if symmetric, `Σ g` where it is at the lower one or below.
#[derive(Clone, Copy)]
pub(super) struct OfClipping<const SYMMETRIC: bool>;

impl<const SYMMETRIC: bool> Backward<1> for OfClipping<SYMMETRIC> {
    #[inline(always)]
    fn vector<V: Vectors>(
        self,
        v: V,
        params: &VecParams<V>,
        _: impl Round<V>,
        x: V::F32,
        gradient: V::F32,
        [sum]: [V::F64; 1],
    ) -> (V::F32, [V::F64; 1]) {
        let (zero, one, upper) = (v.splat_f32(0.0), v.splat_f32(1.0), params.scale());
        let lower = if const { SYMMETRIC } { v.sub_f32(zero, upper) } else { zero };
        // NaN is neither.
        let (above, below) = (v.less_f32(lower, x), v.less_f32(x, upper));
        let at_upper = v.select_f32(below, zero, gradient);
        let at_lower = if const { SYMMETRIC } { v.select_f32(below, v.sub_f32(zero, gradient), zero) } else { zero };
        let sum = v.add_product_f64(sum, v.select_f32(above, at_upper, at_lower), one);
        (masked(v, gradient, v.select_f32(above, v.select_f32(below, one, zero), zero)), [sum])
    }
}
