//! Floats that kernels get wrong, their neighbours, and their bits. The fuzz targets have this file, too.

/// Numbers that kernels get wrong.
pub const SPECIALS: [f32; 16] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-45,
    -1e-45,
    f32::MAX,
    f32::MIN,
    0.5,
    -0.5,
    2.5,
    8_388_608.0,
    -2_147_483_648.0,
];

/// The float some ulps away.
pub fn nudge(x: f32, ulps: i32) -> f32 {
    if x == 0.0 { x } else { f32::from_bits(x.to_bits().wrapping_add_signed(ulps)) }
}

/// The bits, so that NaN equals itself and −0 differs from 0.
pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}
