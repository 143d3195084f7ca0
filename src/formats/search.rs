//! The searches for scales that ggml's formats of super-blocks are made by, as its scalar code has them: `make_qkx2_quants`
//! for groups with an offset, `make_qx_quants` for those without.
//!
//! Both try some scales around the one that the range gives, fit scale and offset to the rounded codes by weighted least
//! squares, and keep the best. Sixteen groups are searched together, one in each lane: so every lane adds in the order of
//! the elements, each product and each sum rounded once, and gives the bits of the scalar code.

use super::block::BlockVectors;
use crate::reduce::vectors::magnitude_bits;
use crate::simd::LANES;

/// Element i of sixteen groups, for every i.
pub(super) type Transposed<const N: usize> = [[f32; LANES]; N];

/// Element i of sixteen groups from groups of N elements.
#[cfg_attr(not(unoptimized), inline(always))]
pub(super) fn transposed<const N: usize>(groups: &[[f32; N]; LANES]) -> Transposed<N> {
    let mut transposed = [[0.0; LANES]; N];
    for (lane, group) in groups.iter().enumerate() {
        for (i, &x) in group.iter().enumerate() {
            transposed[i][lane] = x;
        }
    }
    transposed
}

/// `round_ties_even()` of magnitudes below 2²², as its sum with 1.5 · 2²³ rounds it. Beyond, the low 23 bits of that sum:
/// ggml has the same, so that blocks which it codes badly are its blocks, too.
#[inline(always)]
pub(super) fn nearest<V: BlockVectors>(v: V, x: V::F32) -> V::I32 {
    let sum = v.to_bits(v.add_f32(x, v.splat_f32(12_582_912.0)));
    v.sub_i32(v.and_i32(sum, v.splat_i32(0x7f_ffff)), v.splat_i32(0x40_0000))
}

/// `a[i].clamp(min, max)`
#[inline(always)]
pub(super) fn clamped<V: BlockVectors>(v: V, a: V::I32, min: i32, max: i32) -> V::I32 {
    v.max_i32(v.min_i32(a, v.splat_i32(max)), v.splat_i32(min))
}

/// What a search finds for sixteen groups.
pub(super) struct Found<V: BlockVectors, const N: usize> {
    pub scales: V::F32,
    /// What is subtracted: the minima, at most 0, with their sign turned over. 0 without offsets.
    pub offsets: V::F32,
    /// Codes, `[element][group]`.
    pub codes: [[i32; LANES]; N],
}

/// How a format searches for scales and offsets.
#[derive(Clone, Copy)]
pub(super) struct OffsetSearch {
    /// The largest code.
    pub steps: i32,
    /// Try k divides the range into `steps + first + 0.1 · k`, for k from 0 to `last_try`.
    pub first: f32,
    pub last_try: i32,
    /// Whether errors are measured by magnitudes, not by squares.
    pub by_magnitudes: bool,
}

impl OffsetSearch {
    /// Searches for the scales and offsets of sixteen groups.
    #[cfg_attr(not(unoptimized), inline(always))]
    pub fn run<V: BlockVectors, const N: usize>(self, v: V, x: &Transposed<N>, weights: &Transposed<N>) -> Found<V, N> {
        let (zero, steps) = (v.splat_f32(0.0), v.splat_f32(self.steps as f32));
        let first = v.load_f32(&x[0]);
        let (mut min, mut max, mut sum_w) = (first, first, v.load_f32(&weights[0]));
        let mut sum_x = v.mul_f32(sum_w, first);
        for i in 1..N {
            let (x, w) = (v.load_f32(&x[i]), v.load_f32(&weights[i]));
            min = v.min_f32(x, min);
            max = v.max_f32(x, max);
            sum_w = v.add_f32(sum_w, w);
            sum_x = v.add_f32(sum_x, v.mul_f32(w, x));
        }
        min = v.select_f32(v.less_f32(zero, min), zero, min);
        let constant = v.equal_f32(max, min);
        let mut found = Found { scales: zero, offsets: zero, codes: [[0; LANES]; N] };
        let inverse = v.div_f32(steps, v.sub_f32(max, min));
        found.scales = v.div_f32(v.splat_f32(1.0), inverse);
        self.round(v, x, inverse, min, &mut found.codes);
        let mut best = self.error(v, x, weights, &found.codes, found.scales, min);
        let mut tried = [[0; LANES]; N];
        for step in 0..=self.last_try {
            let steps = v.splat_f32(self.first + 0.1 * step as f32 + self.steps as f32);
            // (From the best offset so far, not from the minimum.)
            self.round(v, x, v.div_f32(steps, v.sub_f32(max, min)), min, &mut tried);
            let (mut sum_l, mut sum_l2, mut sum_xl) = (zero, zero, zero);
            for i in 0..N {
                let (l, w) = (v.to_f32(v.load_i32(&tried[i])), v.load_f32(&weights[i]));
                let product = v.mul_f32(w, l);
                sum_l = v.add_f32(sum_l, product);
                sum_l2 = v.add_f32(sum_l2, v.mul_f32(product, l));
                sum_xl = v.add_f32(sum_xl, v.mul_f32(product, v.load_f32(&x[i])));
            }
            let determinant = v.sub_f32(v.mul_f32(sum_w, sum_l2), v.mul_f32(sum_l, sum_l));
            let scale = v.sub_f32(v.mul_f32(sum_w, sum_xl), v.mul_f32(sum_x, sum_l));
            let offset = v.sub_f32(v.mul_f32(sum_l2, sum_x), v.mul_f32(sum_l, sum_xl));
            let (scale, offset) = (v.div_f32(scale, determinant), v.div_f32(offset, determinant));
            let positive = v.less_f32(zero, offset);
            let scale = v.select_f32(positive, v.div_f32(sum_xl, sum_l2), scale);
            let offset = v.select_f32(positive, zero, offset);
            let error = self.error(v, x, weights, &tried, scale, offset);
            let solvable = v.select_f32(v.less_f32(zero, determinant), error, v.splat_f32(f32::INFINITY));
            let better = v.less_f32(solvable, best);
            if v.any(better) {
                for i in 0..N {
                    let codes = v.select_i32(better, v.load_i32(&tried[i]), v.load_i32(&found.codes[i]));
                    v.store_i32(codes, &mut found.codes[i]);
                }
                best = v.select_f32(better, error, best);
                found.scales = v.select_f32(better, scale, found.scales);
                min = v.select_f32(better, offset, min);
            }
        }
        // (Nothing was better than the codes of a constant group, whose error is 0.)
        found.scales = v.select_f32(constant, zero, found.scales);
        found.offsets = v.sub_f32(zero, min);
        for codes in &mut found.codes {
            v.store_i32(v.select_i32(constant, v.splat_i32(0), v.load_i32(codes)), codes);
        }
        found
    }

    /// The codes `clamp(nearest(inverse · (x − min)))`.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn round<V: BlockVectors, const N: usize>(
        self,
        v: V,
        x: &Transposed<N>,
        inverse: V::F32,
        min: V::F32,
        codes: &mut [[i32; LANES]; N],
    ) {
        for i in 0..N {
            let multiple = v.mul_f32(inverse, v.sub_f32(v.load_f32(&x[i]), min));
            v.store_i32(clamped(v, nearest(v, multiple), 0, self.steps), &mut codes[i]);
        }
    }

    /// The weighted error of codes.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn error<V: BlockVectors, const N: usize>(
        self,
        v: V,
        x: &Transposed<N>,
        weights: &Transposed<N>,
        codes: &[[i32; LANES]; N],
        scale: V::F32,
        min: V::F32,
    ) -> V::F32 {
        let mut error = v.splat_f32(0.0);
        for i in 0..N {
            let product = v.mul_f32(scale, v.to_f32(v.load_i32(&codes[i])));
            let difference = v.sub_f32(v.add_f32(product, min), v.load_f32(&x[i]));
            let difference = if self.by_magnitudes {
                v.of_bits(magnitude_bits(v, difference))
            } else {
                v.mul_f32(difference, difference)
            };
            error = v.add_f32(error, v.mul_f32(v.load_f32(&weights[i]), difference));
        }
        error
    }
}

/// A group whose magnitudes are below this is one of zeros.
pub(super) const ZEROS: f32 = 1e-15;

/// Searches for the scales of sixteen groups of codes −`half` … `half` − 1. Errors are weighted by the squares of the
/// values. Codes are found less `−half`; those of groups of zeros are 0.
#[cfg_attr(not(unoptimized), inline(always))]
pub(super) fn search_symmetric<V: BlockVectors, const N: usize>(v: V, x: &Transposed<N>, half: i32) -> Found<V, N> {
    let (zero, one, tiny) = (v.splat_f32(0.0), v.splat_f32(1.0), v.splat_f32(ZEROS));
    let (mut amax, mut extreme) = (zero, zero);
    for x in x {
        let x = v.load_f32(x);
        let magnitude = v.of_bits(magnitude_bits(v, x));
        extreme = v.select_f32(v.less_f32(amax, magnitude), x, extreme);
        amax = v.max_f32(magnitude, amax);
    }
    let zeros = v.less_f32(amax, tiny);
    let mut found = Found { scales: zero, offsets: zero, codes: [[0; LANES]; N] };
    let mut best = zero;
    // The scale of the range first.
    for step in [0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9] {
        let inverse = v.div_f32(v.splat_f32(-(half as f32 + 0.1 * step as f32)), extreme);
        let (mut sum_lx, mut sum_l2) = (zero, zero);
        for i in 0..N {
            let x = v.load_f32(&x[i]);
            let l = v.to_f32(symmetric_code(v, x, inverse, half));
            let w = v.mul_f32(x, x);
            sum_lx = v.add_f32(sum_lx, v.mul_f32(v.mul_f32(w, x), l));
            sum_l2 = v.add_f32(sum_l2, v.mul_f32(v.mul_f32(w, l), l));
        }
        let some = v.less_f32(zero, sum_l2);
        let scale = v.select_f32(some, v.div_f32(sum_lx, v.select_f32(some, sum_l2, one)), zero);
        let mut better = v.less_f32(v.mul_f32(best, sum_l2), v.mul_f32(sum_lx, sum_lx));
        if step == 0 {
            better = v.equal_f32(zero, zero);
        }
        if v.any(better) {
            for i in 0..N {
                let codes = v.add_i32(symmetric_code(v, v.load_f32(&x[i]), inverse, half), v.splat_i32(half));
                v.store_i32(v.select_i32(better, codes, v.load_i32(&found.codes[i])), &mut found.codes[i]);
            }
            found.scales = v.select_f32(better, scale, found.scales);
            best = v.select_f32(better, v.mul_f32(scale, sum_lx), best);
        }
    }
    found.scales = v.select_f32(zeros, zero, found.scales);
    for codes in &mut found.codes {
        v.store_i32(v.select_i32(zeros, v.splat_i32(0), v.load_i32(codes)), codes);
    }
    found
}

#[inline(always)]
fn symmetric_code<V: BlockVectors>(v: V, x: V::F32, inverse: V::F32, half: i32) -> V::I32 {
    clamped(v, nearest(v, v.mul_f32(inverse, x)), -half, half - 1)
}
