//! A logarithm with the same bits on every machine.

/// The natural logarithm of a positive normal number, to some ulps. (C libraries differ in the last bits.)
pub(crate) fn ln(x: f64) -> f64 {
    // x = m · 2ᵏ with m in √½ … √2, and ln(m) = 2 artanh(s), s = (m − 1) / (m + 1).
    const ROOT_BITS: u64 = 0x3fe6_a09e_667f_3bcd;
    let up = x.to_bits().wrapping_sub(ROOT_BITS);
    let exponent = (up as i64) >> 52;
    let m = f64::from_bits((up & ((1 << 52) - 1)).wrapping_add(ROOT_BITS));
    let s = (m - 1.0) / (m + 1.0);
    let series = (0..11).rev().fold(0.0, |sum, i| sum * (s * s) + 1.0 / f64::from(2 * i + 1));
    exponent as f64 * core::f64::consts::LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::ln;

    #[test]
    fn logarithm() {
        for i in 0..200_000_u32 {
            let x = f64::from(i).mul_add(0.37, 1e-3) * f64::from(i % 1000 + 1);
            assert!((ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1.0), "{x}");
        }
        assert_eq!((ln(1.0), ln(2.0)), (0.0, core::f64::consts::LN_2));
    }
}
