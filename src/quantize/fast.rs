//! The fast path of quantization: four vectors at a time, without a division and without a clamp in floats.
//!
//! The rule is `q = clamp(RNE(x / S), qmin − Z, qmax − Z) + Z`. Done as it is written, every vector takes a division, by far
//! the slowest of its instructions, a test for NaN, two bounds in floats, a conversion and a narrowing. The fast path is this,
//! for a quad of 64 values:
//!
//! ```text
//! for each of four vectors:   v = x · h + RN(x · l)         1 multiplication, 1 fused multiply-add
//!                             i = RNE(v) as i32             1 conversion; a value beyond i32 becomes i32::MIN
//! for each pair of vectors:   w = saturate_i16(i, i′)       1 pack; i32::MIN becomes i16::MIN
//!                             invalid = min(invalid, w)     the sticky mask
//!                             w = saturate_i16(w + Z)       1 addition
//! for the quad:               q = saturate_8(w, w′)         1 pack to codes, 2 bounds if these are fewer than 8 bits, 1
//!                             store in order(q)             permutation
//! ```
//!
//! **The quotient.** h and l are the two parts of 1 / S that [`reciprocal`](crate::params) keeps for every scale, with the proof
//! that v rounds to the same integer as x / S does, up to ±255. Scales for which the proof does not hold have NaN for both.
//!
//! **The clamp.** Integers saturate as they are narrowed, which is the clamp to the code range: adding Z before or after the
//! clamp gives the same, since bounds and Z are integers. Beyond ±255 the rounded v may differ from the rounded x / S, but
//! both are outside of every code range on the same side, |Z| ≤ 255. (Codes of 16 bits have no fast path, but for
//! fake-quantization to a range of no more than 256 of them: |q − Z| ≤ 255 is all that the proof needs.)
//!
//! **The order.** Pack instructions work inside 128-bit halves, so the 16-bit values of a quad come in an order of the ISA's
//! own. Nothing has to be put in order until the codes are bytes: zero points are kept in the same order
//! ([`reorder`](QuantizeVectors::reorder)), and one permutation restores it.
//!
//! **The sticky mask.** NaN, infinities and values beyond i32 convert to i32::MIN, which saturates to i16::MIN, as values below
//! −32767 do: so a minimum over all quads remembers that there was one of these. It is tested once for a
//! [retry window](WINDOW), whose quads are then computed again on the exact path (in [`kernels`](super::kernels)). An ordinary
//! tensor never takes it; one of NaNs only costs twice the exact path.
//!
//! Fake-quantization does the same in floats: quotient, bounds, rounding, product, and the mask of NaNs.
//!
//! What it costs on AVX-512, for 64 values: 4 multiplications, 4 fused multiply-adds, 4 conversions, 3 packs, 2 additions,
//! 2 minima, 1 permutation and 1 store; on AVX2 twice as many, and 1 permutation and 1 store more.

use crate::simd::{LANES, QUAD, Simd};

/// Reorder-and-narrow: four vectors of f32 to 64 codes.
///
/// The *sticky mask* is an I32 that starts as 0. Operations mark a lane of it by making one of its 16-bit halves
/// `i16::MIN`; which lane stands for which element is the ISA's choice. [`any_invalid`](QuantizeVectors::any_invalid) tells
/// whether any was marked: then the codes are computed again on the exact path.
///
/// *Reordered* zero points are 64 16-bit integers in two I32, in the order that the ISA's narrowing instructions leave:
/// made by one of the `reorder` operations, read by [`narrow_quad_u8`](QuantizeVectors::narrow_quad_u8) and
/// [`narrow_quad_i8`](QuantizeVectors::narrow_quad_i8) only.
pub trait QuantizeVectors: Simd {
    /// Whether a product with a reciprocal in two parts takes less time than a division: `mul_add_f32` is an instruction,
    /// and the operations on quads are more than their defaults.
    const HAS_FAST_DIVISION: bool = false;

    /// `b[j][i]` reordered, for `|b[j][i]| < 2¹⁵`
    #[inline(always)]
    fn reorder(self, b: [Self::I32; QUAD]) -> [Self::I32; 2] {
        let low = self.splat_i32(0xffff);
        let [b0, b1, b2, b3] = b;
        [
            self.xor_i32(self.and_i32(b0, low), self.shift_left::<16>(b1)),
            self.xor_i32(self.and_i32(b2, low), self.shift_left::<16>(b3)),
        ]
    }
    /// `x[16j + i] as i32` reordered
    #[inline(always)]
    fn reorder_u8(self, x: &[u8; QUAD * LANES]) -> [Self::I32; 2] {
        let (x, _) = x.as_chunks();
        self.reorder([self.load_u8(&x[0]), self.load_u8(&x[1]), self.load_u8(&x[2]), self.load_u8(&x[3])])
    }
    /// `x[16j + i] as i32` reordered
    #[inline(always)]
    fn reorder_i8(self, x: &[i8; QUAD * LANES]) -> [Self::I32; 2] {
        let (x, _) = x.as_chunks();
        self.reorder([self.load_i8(&x[0]), self.load_i8(&x[1]), self.load_i8(&x[2]), self.load_i8(&x[3])])
    }
    /// `out[j][i] = (a[j][i].round_ties_even() + b[j][i] as f32).clamp(min, max) as u8` as if exact, for `|b[j][i]| ≤ 255`,
    /// given reordered; returns the sticky mask. A lane is marked, and its code is anything, where `a[j][i]` is NaN, is 2³¹ or
    /// more, or rounds to less than −32767.
    #[inline(always)]
    fn narrow_quad_u8(
        self,
        a: [Self::F32; QUAD],
        b: [Self::I32; 2],
        [min, max]: [u8; 2],
        out: &mut [[u8; LANES]; QUAD],
        mut invalid: Self::I32,
    ) -> Self::I32 {
        let bounds = [self.splat_i32(min.into()), self.splat_i32(max.into())];
        for j in 0..QUAD {
            invalid = mark_beyond_reach(self, a[j], invalid);
            self.store_u8(narrow(self, a[j], b, j, bounds), &mut out[j]);
        }
        invalid
    }
    /// `out[j][i] = (a[j][i].round_ties_even() + b[j][i] as f32).clamp(min, max) as i8` as if exact, for `|b[j][i]| ≤ 255`,
    /// given reordered; returns the sticky mask. A lane is marked, and its code is anything, where `a[j][i]` is NaN, is 2³¹ or
    /// more, or rounds to less than −32767.
    #[inline(always)]
    fn narrow_quad_i8(
        self,
        a: [Self::F32; QUAD],
        b: [Self::I32; 2],
        [min, max]: [i8; 2],
        out: &mut [[i8; LANES]; QUAD],
        mut invalid: Self::I32,
    ) -> Self::I32 {
        let bounds = [self.splat_i32(min.into()), self.splat_i32(max.into())];
        for j in 0..QUAD {
            invalid = mark_beyond_reach(self, a[j], invalid);
            self.store_i8(narrow(self, a[j], b, j, bounds), &mut out[j]);
        }
        invalid
    }
    /// The sticky mask, in which a lane is marked if an `a[j][i]` is NaN
    #[inline(always)]
    fn mark_nan(self, a: [Self::F32; QUAD], mut invalid: Self::I32) -> Self::I32 {
        for a in a {
            invalid = self.select_i32(self.is_nan(a), self.splat_i32(i32::MIN), invalid);
        }
        invalid
    }
    /// Whether a lane of the sticky mask is marked: whether one of its 16-bit halves is `i16::MIN`
    #[inline(always)]
    fn any_invalid(self, invalid: Self::I32) -> bool {
        // Of the integers whose upper half is i16::MIN, the next one is the bound.
        let bound = self.splat_i32(i32::MIN + (1 << 16));
        self.any(self.less_i32(self.min_i32(invalid, self.shift_left::<16>(invalid)), bound))
    }
    /// `out[j][i] = (a[j][i] == b[j][i]) as u8`
    #[inline(always)]
    fn store_equal_quad(self, a: [Self::F32; QUAD], b: [Self::F32; QUAD], out: &mut [[u8; LANES]; QUAD]) {
        let (one, zero) = (self.splat_i32(1), self.splat_i32(0));
        for j in 0..QUAD {
            self.store_u8(self.select_i32(self.equal_f32(a[j], b[j]), one, zero), &mut out[j]);
        }
    }
}

/// The sticky mask, in which a lane is marked where `a[i]` is NaN, is 2³¹ or more, or rounds to less than −32767.
#[inline(always)]
fn mark_beyond_reach<S: Simd>(simd: S, a: S::F32, invalid: S::I32) -> S::I32 {
    let marked = simd.splat_i32(i32::MIN);
    // −32767.5 is a tie, and rounds to −32768.
    let above = simd.select_i32(simd.less_f32(simd.splat_f32(-32_767.5), a), invalid, marked);
    simd.select_i32(simd.less_f32(a, simd.splat_f32(2_147_483_648.0)), above, marked)
}

/// The codes of vector j of a quad: `a[i]` rounded, plus `b[j][i]` given reordered, clamped.
#[inline(always)]
fn narrow<S: Simd>(simd: S, a: S::F32, b: [S::I32; 2], j: usize, [min, max]: [S::I32; 2]) -> S::I32 {
    // The sum is clamped to what it is beyond ±2²⁰, too, since |b| ≤ 255.
    let (low, high) = (simd.splat_f32(-1_048_576.0), simd.splat_f32(1_048_576.0));
    let rounded = simd.round_to_i32(simd.clamp_f32(a, low, high));
    let pair = b[j / 2];
    let pair = if j.is_multiple_of(2) { simd.shift_left::<16>(pair) } else { pair };
    let sum = simd.add_i32(rounded, simd.shift_right(pair, simd.splat_i32(16)));
    simd.min_i32(simd.max_i32(sum, min), max)
}

/// Quads per retry window: if the sticky mask is marked at its end, the whole window is computed again on the exact path.
/// With 32, 2048 values: their 8 KiB are still in the level-1 cache then, and the test of the mask is rare.
pub const WINDOW: usize = 32;
