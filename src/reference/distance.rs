//! Distances between vectors of codes.

use crate::codes::ByteCode;

/// `code − zero point`, one after the other.
fn values<C: ByteCode>(codes: &[C], zero_point: i32) -> impl Iterator<Item = i64> {
    codes.iter().map(move |&code| i64::from(code.into() - zero_point))
}

/// `Σ a·b`
pub fn dot<A: ByteCode, B: ByteCode>((a, a_zero_point): (&[A], i32), (b, b_zero_point): (&[B], i32)) -> i64 {
    values(a, a_zero_point).zip(values(b, b_zero_point)).map(|(a, b)| a * b).sum()
}

/// `Σ (a − b)²`
pub fn squared_distance<A: ByteCode, B: ByteCode>(
    (a, a_zero_point): (&[A], i32),
    (b, b_zero_point): (&[B], i32),
) -> i64 {
    values(a, a_zero_point).zip(values(b, b_zero_point)).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// `Σ a·b / √(Σ a² · Σ b²)`; 0 where a or b is 0.
pub fn cosine<A: ByteCode, B: ByteCode>(a: (&[A], i32), b: (&[B], i32)) -> f32 {
    let squares = dot(a, a) * dot(b, b);
    if squares == 0 { 0.0 } else { (dot(a, b) as f64 / (squares as f64).sqrt()) as f32 }
}
