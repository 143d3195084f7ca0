//! The metrics inside the crate: which sums they need, the value of these, and which value is nearer.

use super::codes::Encoding;
use super::kernel::{Summed, Sums};
use crate::error::Error;
use crate::matmul::shape::check_accumulator;
use crate::matrix::Largest;
use crate::sign::Sign;

/// `Σ a·b`, an i32: the largest is the nearest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dot;

/// `Σ (a − b)²`, an i32: the smallest is the nearest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SquaredEuclidean;

/// Cosine similarity, `Σ a·b / √(Σ a² · Σ b²)`, an f32 from −1 to 1; 0 where a or b is 0: the largest is the nearest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cosine;

/// A metric inside the crate.
pub trait Measure: Copy + Sync {
    type Value: Copy + Send;
    const SUMMED: Summed;

    /// The value of these sums.
    fn value(sums: Sums) -> Self::Value;
    /// A number that orders values: the smallest is the nearest.
    fn rank(value: Self::Value) -> i64;
    /// The value of a rank.
    fn of_rank(rank: i64) -> Self::Value;

    /// `Ok` when no sum of vectors of a length can leave i32.
    #[inline]
    fn check_depth(encodings: [Encoding; 2], depth: usize) -> Result<(), Error> {
        // Vectors this short fit with any codes and zero points, whose differences are at most 510.
        if depth <= const { i32::MAX as usize / (510 * 510) } {
            Ok(())
        } else {
            check_sums(Self::SUMMED, encodings, depth)
        }
    }
}

/// `Ok` when no sum of vectors of a length can leave i32.
#[cold]
fn check_sums(summed: Summed, encodings: [Encoding; 2], depth: usize) -> Result<(), Error> {
    let [a, b] = encodings.map(bounds);
    let largest = |[min, max]: [i64; 2]| Largest { value: max.max(-min), index: 0 };
    let difference = largest([a[0] - b[1], a[1] - b[0]]);
    let check = |factors| check_accumulator(depth, 0, factors, Largest::default());
    match summed {
        Summed::Products => check([largest(a), largest(b)]),
        Summed::SquaredDifferences => check([difference; 2]),
        Summed::ProductsAndSquares => check([largest(a); 2]).and_then(|()| check([largest(b); 2])),
    }
}

/// The smallest and the largest `code − zero point`.
fn bounds(Encoding { sign, zero_point }: Encoding) -> [i64; 2] {
    let codes = match sign {
        Sign::Unsigned => [0, 255],
        Sign::Signed => [-128, 127],
    };
    codes.map(|code| code - i64::from(zero_point))
}

impl Measure for Dot {
    type Value = i32;
    const SUMMED: Summed = Summed::Products;

    fn value(sums: Sums) -> i32 {
        sums.sum
    }
    fn rank(value: i32) -> i64 {
        -i64::from(value)
    }
    fn of_rank(rank: i64) -> i32 {
        -rank as i32
    }
}

impl Measure for SquaredEuclidean {
    type Value = i32;
    const SUMMED: Summed = Summed::SquaredDifferences;

    fn value(sums: Sums) -> i32 {
        sums.sum
    }
    fn rank(value: i32) -> i64 {
        value.into()
    }
    fn of_rank(rank: i64) -> i32 {
        rank as i32
    }
}

impl Measure for Cosine {
    type Value = f32;
    const SUMMED: Summed = Summed::ProductsAndSquares;

    fn value(Sums { sum, squares: [a, b] }: Sums) -> f32 {
        // Exact: at most 2⁶².
        let product = i64::from(a) * i64::from(b);
        if product == 0 { 0.0 } else { (f64::from(sum) / (product as f64).sqrt()) as f32 }
    }
    // The bits of floats of one sign are ordered as their magnitudes are.
    fn rank(value: f32) -> i64 {
        let magnitude = i64::from(value.abs().to_bits());
        if value < 0.0 { magnitude } else { -magnitude }
    }
    fn of_rank(rank: i64) -> f32 {
        let magnitude = f32::from_bits(rank.unsigned_abs() as u32);
        if rank > 0 { -magnitude } else { magnitude }
    }
}
