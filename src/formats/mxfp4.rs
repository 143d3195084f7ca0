//! MXFP4, by the OCP Microscaling specification: a power of two for the block, and E2M1. The exponent is that of the
//! largest magnitude less 2, that of E2M1's largest value, out of its bits: `log2` is wrong just below powers of two.

use super::block::{BlockVectors, Blocks, Scales, Sixteen};
use super::e2m1;
use super::extremes::largest_magnitudes;
use super::nibbles::{nibbles, store_nibbles};
use super::powers::{power, power_scales};
use super::units::{Rounder, Units};
use crate::kernel::Vectors;
use crate::simd::LANES;

#[derive(Clone, Copy)]
pub(super) struct MxFp4;

impl Units<17, 2, LANES> for MxFp4 {
    const BLOCK_TIME: usize = 4;

    const PIECE: usize = 512;

    const STOCHASTIC: bool = true;

    fn safe(self) -> Option<f32> {
        None
    }

    #[cfg_attr(not(unoptimized), inline(always))]
    fn encode<V: Vectors>(self, v: V, x: &Sixteen<2>, rounder: &Rounder<'_>, blocks: &mut [[u8; 17]; LANES]) {
        let Scales { stored, factors, plain: _ } = power_scales(v, largest_magnitudes(v, x, true), 2, 1);
        let (mut exponents, mut lanes) = ([0; LANES], [[0.0; LANES]; 2]);
        v.store_i32(stored, &mut exponents);
        v.store_f32(factors[0], &mut lanes[0]);
        v.store_f32(factors[1], &mut lanes[1]);
        for i in 0..LANES {
            let [exponent, bytes @ ..] = &mut blocks[i];
            *exponent = exponents[i] as u8;
            if exponents[i] == 255 {
                bytes.fill(0);
                continue;
            }
            let (first, second) = (v.splat_f32(lanes[0][i]), v.splat_f32(lanes[1][i]));
            let mut codes = [v.splat_i32(0); 2];
            for k in 0..2 {
                let values = v.load_f32(&x[i][k]);
                let magnitudes = v.of_bits(v.and_i32(v.to_bits(values), v.splat_i32(i32::MAX)));
                let doubled = v.mul_f32(v.mul_f32(magnitudes, first), second);
                codes[k] = rounder.e2m1(v, values, doubled, 2 * i + k);
            }
            store_nibbles(v, codes, bytes);
        }
    }
}

impl Blocks<17, 2> for MxFp4 {
    const CODES: [i8; 2] = [-12, 12];

    #[inline(always)]
    fn vector_scales(block: &[u8; 17]) -> [f32; 2] {
        [power(block[0], 1); 2]
    }

    #[inline(always)]
    fn codes<V: BlockVectors>(v: V, [_, bytes @ ..]: &[u8; 17]) -> [V::I32; 2] {
        let [low, high] = nibbles(v, bytes);
        [e2m1::doubled(v, low), e2m1::doubled(v, high)]
    }

    #[inline(always)]
    fn split([_, bytes @ ..]: &[u8; 17]) -> [[i8; LANES]; 2] {
        let mut codes = [[0; LANES]; 2];
        e2m1::split(bytes, codes.as_flattened_mut());
        codes
    }
}
