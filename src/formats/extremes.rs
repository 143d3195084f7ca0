//! The values of blocks that their scales are made of, sixteen blocks at a time: largest magnitudes, values of the largest
//! magnitude, minima and maxima.

use super::block::{BlockVectors, Sixteen};
use crate::cache;
use crate::reduce::vectors::magnitude_bits;
use crate::simd::{LANES, QUAD};

/// The bits of the largest magnitude of every block.
#[inline(always)]
pub(super) fn largest_magnitudes<V: BlockVectors, const VECTORS: usize>(
    v: V,
    x: &Sixteen<VECTORS>,
    prefetch: bool,
) -> V::I32 {
    // (Calls, not a loop: the compiler leaves a loop of this length, and vectors in memory.)
    let quads: &[[[[f32; LANES]; VECTORS]; QUAD]] = x.as_chunks().0;
    let (a, b) = (quad_magnitudes(v, &quads[0], prefetch), quad_magnitudes(v, &quads[1], prefetch));
    let (c, d) = (quad_magnitudes(v, &quads[2], prefetch), quad_magnitudes(v, &quads[3], prefetch));
    v.join_maxima([a, b, c, d])
}

/// The partial maxima of the magnitudes of four blocks.
#[inline(always)]
fn quad_magnitudes<V: BlockVectors, const VECTORS: usize>(
    v: V,
    x: &[[[f32; LANES]; VECTORS]; QUAD],
    prefetch: bool,
) -> V::I32 {
    let mut quad = [v.splat_i32(0); QUAD];
    for i in 0..QUAD {
        if prefetch {
            cache::prefetch_ahead(&x[i]);
        }
        quad[i] = magnitude_bits(v, v.load_f32(&x[i][0]));
        for k in 1..VECTORS {
            quad[i] = v.max_i32(quad[i], magnitude_bits(v, v.load_f32(&x[i][k])));
        }
    }
    v.quad_maxima(quad)
}

/// The bits of the first value of the largest magnitude of every block; 0 for zeros.
#[inline(always)]
pub(super) fn extremes<V: BlockVectors>(v: V, x: &Sixteen<2>, prefetch: bool) -> V::I32 {
    let (zero, sign) = (v.splat_i32(0), v.splat_i32(i32::MIN));
    // As integers, the bits of positive values order as the values do, and with the sign turned over so do those of negative
    // ones.
    let [positive, negative] = pair_of_maxima(
        v,
        x,
        prefetch,
        #[inline(always)]
        |bits| [bits, v.xor_i32(bits, sign)],
    );
    let (positive, negative) = (v.max_i32(positive, zero), v.max_i32(negative, zero));
    let largest = v.max_i32(positive, negative);
    let sign_bits = v.and_i32(v.sub_i32(positive, negative), sign);
    let extremes = v.xor_i32(largest, sign_bits);
    // A block that has the largest magnitude with both signs takes the first one. (Rare, but for zeros.)
    let different = v.sub_i32(v.xor_i32(positive, negative), v.splat_i32(1));
    if !v.any_negative(different) {
        return extremes;
    }
    let mut bits = [0; LANES];
    v.store_i32(extremes, &mut bits);
    for i in 0..LANES {
        bits[i] = first_of_magnitude(&x[i], bits[i]);
    }
    v.load_i32(&bits)
}

/// The first value of a block that has the magnitude of these bits.
fn first_of_magnitude(x: &[[f32; LANES]; 2], bits: i32) -> i32 {
    let magnitude = bits & i32::MAX;
    // (Bits, as NaN is not equal to itself.)
    let first = x.as_flattened().iter().find(|x| x.abs().to_bits() as i32 == magnitude);
    if magnitude == 0 { bits } else { first.expect("it is the magnitude of one of them").to_bits() as i32 }
}

/// The minima and maxima of every block. Of zeros of both signs the first is the minimum.
#[cfg_attr(not(unoptimized), inline(always))]
pub(super) fn minima_and_maxima<V: BlockVectors>(v: V, x: &Sixteen<2>) -> [V::F32; 2] {
    let minus_one = v.splat_i32(-1);
    // With the magnitude of negative values turned over, all bits order as the values do, −0 before 0.
    let [inverted_minima, maxima] = pair_of_maxima(
        v,
        x,
        true,
        #[inline(always)]
        |bits| {
            let ordered = in_order(v, bits);
            [v.xor_i32(ordered, minus_one), ordered]
        },
    );
    let mut minima = v.of_bits(in_order(v, v.xor_i32(inverted_minima, minus_one)));
    let maxima = v.of_bits(in_order(v, maxima));
    // In order, −0 is −1, whose complement is 0.
    if v.any(v.less_i32(v.max_i32(inverted_minima, v.sub_i32(v.splat_i32(0), inverted_minima)), v.splat_i32(1))) {
        let mut lanes = [0.0; LANES];
        v.store_f32(minima, &mut lanes);
        for (x, minimum) in x.iter().zip(&mut lanes) {
            if minimum.to_bits() == (-0.0_f32).to_bits() {
                *minimum = *x.as_flattened().iter().find(|&&x| x == 0.0).expect("the minimum is one of them");
            }
        }
        minima = v.load_f32(&lanes);
    }
    [minima, maxima]
}

/// The bits of f32 as integers that order as the values do, or back.
#[inline(always)]
fn in_order<V: BlockVectors>(v: V, bits: V::I32) -> V::I32 {
    let negative = v.shift_right(bits, v.splat_i32(31));
    v.xor_i32(bits, v.and_i32(negative, v.splat_i32(i32::MAX)))
}

/// The maxima of every block of two values that are made of the bits of each element.
#[inline(always)]
fn pair_of_maxima<V: BlockVectors>(
    v: V,
    x: &Sixteen<2>,
    prefetch: bool,
    pair: impl Fn(V::I32) -> [V::I32; 2] + Copy,
) -> [V::I32; 2] {
    // (Calls, not a loop: the compiler leaves a loop of this length, and vectors in memory.)
    let quads: &[[[[f32; LANES]; 2]; QUAD]] = x.as_chunks().0;
    let (a, b) = (quad_pairs(v, &quads[0], prefetch, pair), quad_pairs(v, &quads[1], prefetch, pair));
    let (c, d) = (quad_pairs(v, &quads[2], prefetch, pair), quad_pairs(v, &quads[3], prefetch, pair));
    [v.join_maxima([a[0], b[0], c[0], d[0]]), v.join_maxima([a[1], b[1], c[1], d[1]])]
}

/// The partial maxima of four blocks.
#[inline(always)]
fn quad_pairs<V: BlockVectors>(
    v: V,
    x: &[[[f32; LANES]; 2]; QUAD],
    prefetch: bool,
    pair: impl Fn(V::I32) -> [V::I32; 2],
) -> [V::I32; 2] {
    let (mut first, mut second) = ([v.splat_i32(0); QUAD], [v.splat_i32(0); QUAD]);
    for i in 0..QUAD {
        if prefetch {
            cache::prefetch_ahead(&x[i]);
        }
        let (a, b) = (pair(v.to_bits(v.load_f32(&x[i][0]))), pair(v.to_bits(v.load_f32(&x[i][1]))));
        first[i] = v.max_i32(a[0], b[0]);
        second[i] = v.max_i32(a[1], b[1]);
    }
    [v.quad_maxima(first), v.quad_maxima(second)]
}
