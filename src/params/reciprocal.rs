//! The reciprocal of a scale in two parts: a product with it rounds to the same code as the division, at a fraction of
//! the time.

/// The reciprocal 1 / S in two parts, h just below it and l the remainder, such that for every x
///
/// ```text
/// v′ = RN(x · h + RN(x · l))      rounds to the same integer as      v = RN(x / S)
/// ```
///
/// or both round to integers beyond ±255. Where the proof does not hold, h and l are NaN, and so is v′: the fast path
/// then leaves the lane to the exact one.
///
/// Proof. h is up to 1½ ulp below 1 / S, and l = RN(1 − S · h) · RN(1 / S) is rounded three times, so with
/// x · l rounded y′ = x · h + RN(x · l) is x / S · (1 + ε) with |ε| < 1½ · 2⁻²³ · 4 · 2⁻²⁴ < 2⁻⁴⁴ for finite x. v and v′ can only
/// differ if some midpoint m of two neighbouring f32 lies between x / S and y′, and they only round to different integers
/// if m is a neighbour of a half-integer, (2k + 1) / 2. With integers X < 2²⁴, 2²³ ≤ s < 2²⁴ and M = (2k + 1) · 2ᵗ ± 1 < 2²⁵ in
/// place of x, S and m, both sides scaled by powers of two, that means |X · 2ʲ − M · s| < 2⁴⁹ · 2⁻⁴⁴ = 32 with j ≥ 23. For
/// 2k + 1 < 2⁹, t is 16 at least, so modulo 2¹⁶ all that is left of the difference is ±s: s would have to be within 32 of a
/// multiple of 2¹⁶. If it is not, there is no such x. And if s is such a multiple there is none either: the difference is a
/// multiple of 32 as well, and it is not 0, since the odd M · s / 2ⁿ ≥ 2²⁴ is not X. Infinity stays infinity, as no part is
/// negative, and NaN stays NaN. Scales within 2^±64 keep all operands away from subnormal numbers.
#[inline(always)]
pub(super) fn reciprocal(scale: f32) -> [f32; 2] {
    const LARGEST: f32 = (1_u128 << 64) as f32;
    // The distance of the last sixteen bits from a multiple of 2¹⁶: 0, or at least 32. (In i32: with i16, the compiler
    // would pack and unpack the lanes of every comparison.)
    let distance = ((scale.to_bits() << 16).cast_signed() >> 16).unsigned_abs();
    let sure = (distance.wrapping_sub(1) >= 31) & (1.0 / LARGEST..=LARGEST).contains(&scale);
    let nearest = 1.0 / scale;
    let high = f32::from_bits(nearest.to_bits().wrapping_sub(1));
    // Exact in f64.
    let rest = (1.0 - f64::from(scale) * f64::from(high)) as f32;
    let low = rest * nearest;
    // All bits set is a NaN. (A mask: for a choice between two values the compiler would make vectors of pairs.)
    let nan = u32::from(sure).wrapping_sub(1);
    [f32::from_bits(high.to_bits() | nan), f32::from_bits(low.to_bits() | nan)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bounds that the proof of [`reciprocal`] uses, for every mantissa.
    #[test]
    fn every_reciprocal() {
        let mut sure = 0;
        for mantissa in 0..1 << 23 {
            let scale = f32::from_bits(1.0_f32.to_bits() | mantissa);
            let [high, low] = reciprocal(scale);
            assert_eq!(high.is_nan(), low.is_nan());
            if high.is_nan() {
                continue;
            }
            sure += 1;
            // Products of two f32 are exact, and so is this difference.
            let rest = 1.0 - f64::from(scale) * f64::from(high);
            assert!(0.0 < rest && rest <= 1.5 / f64::from(1 << 23), "{scale:e}");
            let missing = (rest - f64::from(scale) * f64::from(low)).abs();
            assert!(missing <= 1.5 * 3.001 / (1_u64 << 47) as f64, "{scale:e}");
        }
        // All but 62 of 2¹⁶.
        assert_eq!(sure, (1 << 7) * ((1 << 16) - 62));
    }
}
