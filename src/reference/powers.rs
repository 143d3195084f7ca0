//! Powers of two.

/// 2ᵏ for a normal f64, exactly: `powi` may round as the platform does.
pub(super) fn power_of_two(k: i32) -> f64 {
    f64::from_bits(((1023 + k) as u64) << 52)
}
