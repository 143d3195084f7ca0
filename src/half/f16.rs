//! Between f32 and f16: sixteen values at a time, and one from f16.

use crate::reduce::vectors::ReduceVectors;
use crate::reduce::vectors::magnitude_bits;

/// Up to here, and somewhat further, an f16 is finite.
pub(crate) const FINITE: f32 = 65_519.0;

/// From here on an f16 is infinite.
const INFINITE: f32 = 65_520.0;

/// The bits of the nearest f16, ties to even, for magnitudes below [`INFINITE`].
#[inline(always)]
pub(crate) fn to_half<S: ReduceVectors>(simd: S, x: S::F32) -> S::I32 {
    const SMALLEST_NORMAL: i32 = (127 - 14) << 23;
    let (magnitude, thirteen) = (magnitude_bits(simd, x), simd.splat_i32(13));
    // A multiple of 2⁻²⁴, which is what the sum with a half is rounded to.
    let half = simd.splat_f32(0.5);
    let subnormal = simd.sub_i32(simd.to_bits(simd.add_f32(simd.of_bits(magnitude), half)), simd.to_bits(half));
    // Half a unit of what falls off, less a bit when that leaves an even number; a carry moves the exponent.
    let odd = simd.and_i32(simd.shift_right(magnitude, thirteen), simd.splat_i32(1));
    let rounded = simd.add_i32(simd.add_i32(magnitude, odd), simd.splat_i32(0xfff - ((127 - 15) << 23)));
    let normal = simd.shift_right(rounded, thirteen);
    let below = simd.shift_right(simd.sub_i32(magnitude, simd.splat_i32(SMALLEST_NORMAL)), simd.splat_i32(31));
    let nearest = simd.xor_i32(normal, simd.and_i32(simd.xor_i32(normal, subnormal), below));
    let sign = simd.and_i32(simd.shift_right(simd.to_bits(x), simd.splat_i32(16)), simd.splat_i32(0x8000));
    simd.xor_i32(nearest, sign)
}

/// The bits of the nearest f16 of any f32, ties to even: infinity from [`INFINITE`] on, and 0x7e00 for NaN.
#[inline(always)]
pub(crate) fn to_any_half<S: ReduceVectors>(simd: S, x: S::F32) -> S::I32 {
    let sign = simd.and_i32(simd.shift_right(simd.to_bits(x), simd.splat_i32(16)), simd.splat_i32(0x8000));
    let infinity = simd.xor_i32(sign, simd.splat_i32(0x7c00));
    let finite = simd.less_i32(magnitude_bits(simd, x), simd.splat_i32(INFINITE.to_bits().cast_signed()));
    let number = simd.select_i32(finite, to_half(simd, x), infinity);
    simd.select_i32(simd.is_nan(x), simd.splat_i32(0x7e00), number)
}

/// The values of the f16 whose bits the lanes are.
#[inline(always)]
pub(crate) fn from_half_lanes<S: ReduceVectors>(simd: S, half: S::I32) -> S::F32 {
    // What the exponent of an f32 is larger by.
    const BIAS: i32 = (127 - 15) << 23;
    let magnitude = simd.and_i32(half, simd.splat_i32(0x7fff));
    let sign = simd.shift_left::<16>(simd.xor_i32(half, magnitude));
    let normal = simd.add_i32(simd.shift_left::<13>(magnitude), simd.splat_i32(BIAS));
    // A subnormal is a multiple of 2⁻²⁴: the mantissa behind a leading 2⁻¹⁴, which is taken away.
    let leading = simd.splat_i32(BIAS + (1 << 23));
    let with_leading = simd.add_i32(simd.shift_left::<13>(magnitude), leading);
    let subnormal = simd.to_bits(simd.sub_f32(simd.of_bits(with_leading), simd.of_bits(leading)));
    // The exponent of infinity and NaN is the largest in both.
    let special = simd.add_i32(normal, simd.splat_i32(BIAS));
    let finite = simd.select_i32(simd.less_i32(magnitude, simd.splat_i32(0x400)), subnormal, normal);
    let bits = simd.select_i32(simd.less_i32(magnitude, simd.splat_i32(0x7c00)), finite, special);
    simd.of_bits(simd.xor_i32(bits, sign))
}

/// The value of an f16.
#[inline(always)]
pub(crate) fn from_half(half: u16) -> f32 {
    let (sign, magnitude) = (u32::from(half & 0x8000) << 16, u32::from(half & 0x7fff));
    let magnitude = if magnitude >= 0x7c00 {
        0x7f80_0000 | (magnitude & 0x3ff) << 13
    } else if magnitude >= 0x400 {
        (magnitude << 13) + ((127 - 15) << 23)
    } else {
        // 2⁻²⁴ each.
        (magnitude as f32 / (1 << 24) as f32).to_bits()
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use crate::kernel::{Kernel, Vectors};
    use crate::simd::LANES;
    use crate::simd::walk::block;

    struct Halves<'a>(&'a [f32]);

    impl Kernel for Halves<'_> {
        type Output = Vec<i32>;
        #[inline(always)]
        fn run<S: Vectors>(self, simd: S) -> Vec<i32> {
            let mut halves = Vec::new();
            for start in (0..self.0.len()).step_by(LANES) {
                let mut lanes = [0; LANES];
                simd.store_i32(to_half(simd, simd.load_f32(&block(self.0, start))), &mut lanes);
                halves.extend_from_slice(&lanes[..LANES.min(self.0.len() - start)]);
            }
            halves
        }
    }

    /// Every f16 is itself, and between two neighbours the middle goes to the even one, its neighbours to the nearer.
    #[test]
    fn all() {
        let (mut x, mut want) = (vec![-1e-45], vec![0x8000]);
        for half in 0..=u16::MAX {
            let number = from_half(half);
            match half & 0x7fff {
                0x7c01.. => assert!(number.is_nan()),
                0x7c00 => assert!(number.is_infinite()),
                magnitude => {
                    x.push(number);
                    want.push(half.into());
                    // The next larger magnitude; beyond the largest, 65536.
                    let next = if magnitude == 0x7bff { 65_536_f32.copysign(number) } else { from_half(half + 1) };
                    let middle = f32::midpoint(number, next).to_bits();
                    let around = [(middle - 1, half), (middle, half + (half & 1)), (middle + 1, half + 1)];
                    for (bits, half) in around.into_iter().filter(|(bits, _)| f32::from_bits(*bits).abs() < 65_520.0) {
                        x.push(f32::from_bits(bits));
                        want.push(half.into());
                    }
                }
            }
        }
        for isa in Isa::supported() {
            let halves = isa.run(Halves(&x));
            for ((x, want), half) in x.iter().zip(&want).zip(halves) {
                assert_eq!(half, *want, "{isa}: {x}");
            }
        }
        assert_eq!([from_half(1), from_half(0x3555), from_half(0x7bff)], [5.960_464_5e-8, 0.333_251_95, 65_504.0]);
    }
}
