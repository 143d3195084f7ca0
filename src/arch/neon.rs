//! `neon`: a block is four 128-bit vectors.

pub(super) mod distance;
mod dot;

use core::arch::aarch64::*;

use crate::formats::vectors::FormatVectors;
use crate::groups::vectors::GroupVectors;
use crate::half::vectors::HalfVectors;
use crate::matmul::fixed_point::FixedPointVectors;
use crate::matmul::interleave::InterleaveVectors;
use crate::quantize::fast::QuantizeVectors;
use crate::quantize::packing::PackVectors;
use crate::random::vectors::RandomVectors;
use crate::reduce::vectors::ReduceVectors;
use crate::simd::memory::StreamVectors;
use crate::simd::{LANES, QUAD, Simd, quad};

token! {
    /// The CPU has NEON.
    Neon, is_aarch64_feature_detected, ["neon"], "neon"
}

/// The low bytes of sixteen values, in order.
#[inline]
#[target_feature(enable = "neon")]
fn narrow(a: [int32x4_t; 4]) -> int8x16_t {
    let low = vmovn_high_s32(vmovn_s32(a[0]), a[1]);
    let high = vmovn_high_s32(vmovn_s32(a[2]), a[3]);
    vmovn_high_s16(vmovn_s16(low), high)
}

/// Sixteen f32 as f64.
#[inline]
#[target_feature(enable = "neon")]
fn widen(x: [float32x4_t; 4]) -> [[float64x2_t; 2]; 4] {
    quad(
        #[inline(always)]
        |i| [vcvt_f64_f32(vget_low_f32(x[i])), vcvt_high_f64_f32(x[i])],
    )
}

impl Simd for Neon {
    type F32 = [float32x4_t; 4];
    type I32 = [int32x4_t; 4];
    type F64 = [float64x2_t; 8];
    type Mask = [uint32x4_t; 4];

    register_ops! { "neon", 4
        fn add_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t { vaddq_f32(a, b) }
        fn sub_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t { vsubq_f32(a, b) }
        fn mul_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t { vmulq_f32(a, b) }
        fn div_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t { vdivq_f32(a, b) }
        // `fmax` and `fmin` would give NaN for NaN, and order −0 below +0.
        fn max_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t { vbslq_f32(vcgtq_f32(a, b), a, b) }
        fn min_f32(a: float32x4_t, b: float32x4_t) -> float32x4_t { vbslq_f32(vcltq_f32(a, b), a, b) }
        fn round_to_i32(a: float32x4_t) -> int32x4_t { vcvtnq_s32_f32(a) }
        fn floor_f32(a: float32x4_t) -> float32x4_t { vrndmq_f32(a) }
        fn floor_to_i32(a: float32x4_t) -> int32x4_t { vcvtmq_s32_f32(a) }
        fn trunc_to_i32(a: float32x4_t) -> int32x4_t { vcvtq_s32_f32(a) }
        fn of_bits(a: int32x4_t) -> float32x4_t { vreinterpretq_f32_s32(a) }
        fn to_f32(a: int32x4_t) -> float32x4_t { vcvtq_f32_s32(a) }
        fn to_bits(a: float32x4_t) -> int32x4_t { vreinterpretq_s32_f32(a) }
        fn is_nan(a: float32x4_t) -> uint32x4_t { vmvnq_u32(vceqq_f32(a, a)) }
        fn less_f32(a: float32x4_t, b: float32x4_t) -> uint32x4_t { vcltq_f32(a, b) }
        fn equal_f32(a: float32x4_t, b: float32x4_t) -> uint32x4_t { vceqq_f32(a, b) }
        fn less_i32(a: int32x4_t, b: int32x4_t) -> uint32x4_t { vcltq_s32(a, b) }
        fn select_f32(mask: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t { vbslq_f32(mask, a, b) }
        fn keep_f32(mask: uint32x4_t, a: float32x4_t) -> float32x4_t {
            vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(a)))
        }
        fn select_i32(mask: uint32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t { vbslq_s32(mask, a, b) }
        fn add_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vaddq_s32(a, b) }
        fn sub_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vsubq_s32(a, b) }
        fn mul_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vmulq_s32(a, b) }
        fn max_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vmaxq_s32(a, b) }
        fn min_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vminq_s32(a, b) }
        fn and_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { vandq_s32(a, b) }
        fn xor_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t { veorq_s32(a, b) }
        fn shift_left[N](a: int32x4_t) -> int32x4_t { vshlq_n_s32::<N>(a) }
        // Shifts by lane go left; by a negative amount, right.
        fn shift_right(a: int32x4_t, shift: int32x4_t) -> int32x4_t { vshlq_s32(a, vnegq_s32(shift)) }
        fn shift_right_logical(a: int32x4_t, shift: int32x4_t) -> int32x4_t {
            vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vnegq_s32(shift)))
        }
    }

    ops! { "neon"
        fn splat_f32(x: f32) -> [float32x4_t; 4] { [vdupq_n_f32(x); 4] }
        fn load_f32(x: &[f32; LANES]) -> [float32x4_t; 4] {
            let x = x.as_ptr();
            // SAFETY: sixteen f32 may be read.
            unsafe { [vld1q_f32(x), vld1q_f32(x.add(4)), vld1q_f32(x.add(8)), vld1q_f32(x.add(12))] }
        }
        fn store_f32(a: [float32x4_t; 4], out: &mut [f32; LANES]) {
            let out = out.as_mut_ptr();
            // SAFETY: sixteen f32 may be written.
            unsafe {
                vst1q_f32(out, a[0]);
                vst1q_f32(out.add(4), a[1]);
                vst1q_f32(out.add(8), a[2]);
                vst1q_f32(out.add(12), a[3]);
            }
        }
        fn any(mask: [uint32x4_t; 4]) -> bool {
            vmaxvq_u32(vorrq_u32(vorrq_u32(mask[0], mask[1]), vorrq_u32(mask[2], mask[3]))) != 0
        }
        fn splat_f64(x: f64) -> [float64x2_t; 8] { [vdupq_n_f64(x); 8] }
        fn load_f64(x: &[f64; LANES]) -> [float64x2_t; 8] {
            let mut pairs = [vdupq_n_f64(0.0); 8];
            for (pair, x) in pairs.iter_mut().zip(x.as_chunks::<2>().0) {
                // SAFETY: two f64 may be read.
                *pair = unsafe { vld1q_f64(x.as_ptr()) };
            }
            pairs
        }
        fn store_f64(a: [float64x2_t; 8], out: &mut [f64; LANES]) {
            for (a, out) in a.into_iter().zip(out.as_chunks_mut::<2>().0) {
                // SAFETY: two f64 may be written.
                unsafe { vst1q_f64(out.as_mut_ptr(), a) }
            }
        }
        fn add_product_f64(a: [float64x2_t; 8], x: [float32x4_t; 4], y: [float32x4_t; 4]) -> [float64x2_t; 8] {
            let (x, y) = (widen(x), widen(y));
            let mut sums = a;
            for i in 0..8 {
                sums[i] = vfmaq_f64(a[i], x[i / 2][i % 2], y[i / 2][i % 2]);
            }
            sums
        }
        fn splat_i32(x: i32) -> [int32x4_t; 4] { [vdupq_n_s32(x); 4] }
        fn load_i32(x: &[i32; LANES]) -> [int32x4_t; 4] {
            let x = x.as_ptr();
            // SAFETY: sixteen i32 may be read.
            unsafe { [vld1q_s32(x), vld1q_s32(x.add(4)), vld1q_s32(x.add(8)), vld1q_s32(x.add(12))] }
        }
        fn store_i32(a: [int32x4_t; 4], out: &mut [i32; LANES]) {
            let out = out.as_mut_ptr();
            // SAFETY: sixteen i32 may be written.
            unsafe {
                vst1q_s32(out, a[0]);
                vst1q_s32(out.add(4), a[1]);
                vst1q_s32(out.add(8), a[2]);
                vst1q_s32(out.add(12), a[3]);
            }
        }
        fn load_u8(x: &[u8; LANES]) -> [int32x4_t; 4] {
            // SAFETY: sixteen bytes may be read.
            let bytes = unsafe { vld1q_u8(x.as_ptr()) };
            let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
            let low = [vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low)];
            let high = [vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)];
            [low[0], low[1], high[0], high[1]].map(|a| vreinterpretq_s32_u32(a))
        }
        fn load_i8(x: &[i8; LANES]) -> [int32x4_t; 4] {
            // SAFETY: sixteen bytes may be read.
            let bytes = unsafe { vld1q_s8(x.as_ptr()) };
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
            [vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)]
        }
        fn store_u8(a: [int32x4_t; 4], out: &mut [u8; LANES]) {
            // SAFETY: sixteen bytes may be written.
            unsafe { vst1q_u8(out.as_mut_ptr(), vreinterpretq_u8_s8(narrow(a))) }
        }
        fn store_i8(a: [int32x4_t; 4], out: &mut [i8; LANES]) {
            // SAFETY: sixteen bytes may be written.
            unsafe { vst1q_s8(out.as_mut_ptr(), narrow(a)) }
        }
    }
}

impl FixedPointVectors for Neon {
    register_ops! { "neon", 4
        fn mul_shift_round(a: int32x4_t, b: int32x4_t, shift: int32x4_t) -> int32x4_t {
            // A rounding shift to the left by a negative amount is one to the right, and adds half a unit first.
            let left = vnegq_s32(shift);
            let low = vmull_s32(vget_low_s32(a), vget_low_s32(b));
            let low = vrshlq_s64(low, vmovl_s32(vget_low_s32(left)));
            let high = vrshlq_s64(vmull_high_s32(a, b), vmovl_high_s32(left));
            vmovn_high_s64(vmovn_s64(low), high)
        }
    }
}

impl FormatVectors for Neon {}

impl GroupVectors for Neon {
    ops! { "neon"
        fn look_up(table: &[u8; 16], a: [int32x4_t; 4]) -> [int32x4_t; 4] {
            // SAFETY: sixteen bytes may be read.
            let table = unsafe { vld1q_u8(table.as_ptr()) };
            a.map(|a| vreinterpretq_s32_u8(vqtbl1q_u8(table, vreinterpretq_u8_s32(a))))
        }
    }
}

impl HalfVectors for Neon {
    ops! { "neon"
        fn load_u16(x: &[u16; LANES]) -> [int32x4_t; 4] {
            // SAFETY: sixteen u16 may be read.
            let [low, high] = unsafe { [vld1q_u16(x.as_ptr()), vld1q_u16(x.as_ptr().add(8))] };
            [vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low), vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)]
                .map(|x| vreinterpretq_s32_u32(x))
        }
        fn store_u16(a: [int32x4_t; 4], out: &mut [u16; LANES]) {
            let a = a.map(|a| vreinterpretq_u32_s32(a));
            let [low, high] = [[a[0], a[1]], [a[2], a[3]]].map(|[a, b]| vmovn_high_u32(vmovn_u32(a), b));
            // SAFETY: sixteen u16 may be written.
            unsafe {
                vst1q_u16(out.as_mut_ptr(), low);
                vst1q_u16(out.as_mut_ptr().add(8), high);
            }
        }
    }
}

impl InterleaveVectors for Neon {
    ops! { "neon"
        fn load_interleaved(x: [&[u8; LANES]; 4]) -> [int32x4_t; 4] {
            // SAFETY: sixteen bytes may be read of each.
            let [a, b, c, d] = x.map(|x| unsafe { vld1q_u8(x.as_ptr()) });
            let (ab, more_ab) = (vreinterpretq_u16_u8(vzip1q_u8(a, b)), vreinterpretq_u16_u8(vzip2q_u8(a, b)));
            let (cd, more_cd) = (vreinterpretq_u16_u8(vzip1q_u8(c, d)), vreinterpretq_u16_u8(vzip2q_u8(c, d)));
            [vzip1q_u16(ab, cd), vzip2q_u16(ab, cd), vzip1q_u16(more_ab, more_cd), vzip2q_u16(more_ab, more_cd)]
                .map(|x| vreinterpretq_s32_u16(x))
        }
    }
}

impl PackVectors for Neon {
    ops! { "neon"
        fn pack_pairs[BITS](x: &[u8; 2 * LANES], out: &mut [u8; LANES]) {
            // SAFETY: 32 bytes may be read, in pairs.
            let pairs = unsafe { vld2q_u8(x.as_ptr()) };
            let mask = vdupq_n_u8((1 << BITS) - 1);
            let (first, second) = (vandq_u8(pairs.0, mask), vandq_u8(pairs.1, mask));
            // SAFETY: sixteen bytes may be written.
            unsafe { vst1q_u8(out.as_mut_ptr(), vsliq_n_u8::<BITS>(first, second)) }
        }
        fn unpack_pairs[BITS](x: &[u8; LANES], flip: u8, out: &mut [u8; 2 * LANES]) {
            // SAFETY: sixteen bytes may be read.
            let bytes = unsafe { vld1q_u8(x.as_ptr()) };
            let flip = vdupq_n_u8(flip);
            let mask = vdupq_n_u8((1 << BITS) - 1);
            let (low, high) = (vandq_u8(bytes, mask), vandq_u8(vshrq_n_u8::<BITS>(bytes), mask));
            let (low, high) = (vsubq_u8(veorq_u8(low, flip), flip), vsubq_u8(veorq_u8(high, flip), flip));
            // SAFETY: 32 bytes may be written, in pairs.
            unsafe { vst2q_u8(out.as_mut_ptr(), uint8x16x2_t(low, high)) }
        }
    }
}

impl QuantizeVectors for Neon {}

impl RandomVectors for Neon {
    register_ops! { "neon", 4
        // A mask is −1.
        fn add_if_less(a: int32x4_t, x: float32x4_t, y: float32x4_t) -> int32x4_t {
            vsubq_s32(a, vreinterpretq_s32_u32(vcltq_f32(x, y)))
        }
        fn rotate_left[N](a: int32x4_t) -> int32x4_t {
            let back = vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(N - 32));
            vreinterpretq_s32_u32(vorrq_u32(vreinterpretq_u32_s32(vshlq_n_s32::<N>(a)), back))
        }
    }
}

impl ReduceVectors for Neon {
    const HAS_INTEGER_MIN_MAX: bool = true;

    register_ops! { "neon", 4
        fn max_u32(a: int32x4_t, b: int32x4_t) -> int32x4_t {
            vreinterpretq_s32_u32(vmaxq_u32(vreinterpretq_u32_s32(a), vreinterpretq_u32_s32(b)))
        }
        fn min_u32(a: int32x4_t, b: int32x4_t) -> int32x4_t {
            vreinterpretq_s32_u32(vminq_u32(vreinterpretq_u32_s32(a), vreinterpretq_u32_s32(b)))
        }
    }

    ops! { "neon"
        // In the first register, a lane for every vector: the larger of neighbours, twice.
        fn quad_maxima(a: [[int32x4_t; 4]; QUAD]) -> [int32x4_t; 4] {
            let [a, b, c, d] = quad(
                #[inline(always)]
                |i| vmaxq_s32(vmaxq_s32(a[i][0], a[i][1]), vmaxq_s32(a[i][2], a[i][3])),
            );
            [vpmaxq_s32(vpmaxq_s32(a, b), vpmaxq_s32(c, d)); 4]
        }
        fn join_maxima(a: [[int32x4_t; 4]; QUAD]) -> [int32x4_t; 4] { [a[0][0], a[1][0], a[2][0], a[3][0]] }
        fn max_of_i32(a: [int32x4_t; 4]) -> i32 { vmaxvq_s32(vmaxq_s32(vmaxq_s32(a[0], a[1]), vmaxq_s32(a[2], a[3]))) }
    }
}

impl StreamVectors for Neon {}
