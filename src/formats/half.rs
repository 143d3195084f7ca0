//! Between f32 and f16, one number at a time: a block has one.

/// The nearest f16, ties to even; infinity from 65520 on. A NaN is the quiet one.
#[inline(always)]
pub(crate) fn to_half(x: f32) -> u16 {
    const INFINITY: u16 = 0x7c00;
    const SMALLEST_NORMAL: u32 = (127 - 14) << 23;
    let (sign, magnitude) = ((x.to_bits() >> 16) as u16 & 0x8000, x.to_bits() & 0x7fff_ffff);
    let half = if magnitude > 0x7f80_0000 {
        INFINITY | 0x200
    } else if magnitude >= 65_520_f32.to_bits() {
        INFINITY
    } else if magnitude < SMALLEST_NORMAL {
        // A multiple of 2⁻²⁴, which is what the sum with a half is rounded to.
        ((f32::from_bits(magnitude) + 0.5).to_bits() - 0.5_f32.to_bits()) as u16
    } else {
        // Half a unit of what falls off, less a bit when that leaves an even number; a carry moves the exponent.
        let rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
        ((rounded - ((127 - 15) << 23)) >> 13) as u16
    };
    sign | half
}

/// The same number.
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

    /// Every f16 is itself, and between two neighbours the middle goes to the even one, its neighbours to the nearer.
    #[test]
    fn all() {
        for half in 0..=u16::MAX {
            let x = from_half(half);
            if half & 0x7fff > 0x7c00 {
                assert!(x.is_nan());
                assert_eq!(to_half(x) & 0x7fff, 0x7e00);
                continue;
            }
            assert_eq!(to_half(x), half);
            if half & 0x7fff < 0x7c00 {
                // The next larger magnitude; beyond the largest, 65536.
                let next = if half & 0x7fff == 0x7bff { 65_536_f32.copysign(x) } else { from_half(half + 1) };
                let middle = (x + next) / 2.0;
                assert_eq!(to_half(middle), half + (half & 1), "{middle}");
                assert_eq!(to_half(f32::from_bits(middle.to_bits() - 1)), half, "{middle}");
                assert_eq!(to_half(f32::from_bits(middle.to_bits() + 1)), half + 1, "{middle}");
            }
        }
        assert_eq!([from_half(1), from_half(0x3555), from_half(0x7bff)], [5.960_464_5e-8, 0.333_251_95, 65_504.0]);
        assert_eq!([f32::MAX, f32::INFINITY, 65_519.0, -1e-45].map(to_half), [0x7c00, 0x7c00, 0x7bff, 0x8000]);
    }
}
