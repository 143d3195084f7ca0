//! From ranges to scales and zero points: the table of [`params`](super), without branches, so that the compiler makes vectors
//! of it where there are many ranges.

use super::{OffsetKind, ParametersMut, Range, RoundingKind, ScaleKind, Scheme, reciprocal};
use crate::codes::{Code, CodeRange};
use crate::kernel::{Kernel, Vectors};

/// How a zero point is found.
#[derive(Clone, Copy, PartialEq)]
enum Offset {
    Zero,
    /// `RNE(qmin − min / S)`
    Nearest,
    /// `c + floor(½ or 0 − (min + max) / 2S)`
    Centred,
}

/// A scheme for a range of codes.
#[derive(Clone, Copy)]
pub(super) struct Formula {
    kind: ScaleKind,
    offset: Offset,
    /// What the span of a range, or its largest magnitude, is divided by.
    steps: f64,
    min: f64,
    max: f64,
    middle: f64,
    half: f64,
    /// Whether there are no codes below 0.
    magnitudes: bool,
}

impl Formula {
    pub fn new<C: Code>(scheme: Scheme, codes: CodeRange<C>) -> Self {
        let (min, max): (i32, i32) = (codes.min().into(), codes.max().into());
        let headroom = i32::from(scheme.rounding == RoundingKind::Stochastic);
        let steps = match scheme.offset {
            OffsetKind::Integer => f64::from(codes.steps() - headroom),
            // As many codes below 0 as above.
            OffsetKind::Zero if min < 0 && headroom == 0 => f64::from(codes.steps()) / 2.0,
            OffsetKind::Zero => f64::from(max),
        };
        let offset = match (scheme.offset, scheme.scale, scheme.rounding) {
            (OffsetKind::Zero, ..) => Offset::Zero,
            (_, ScaleKind::Float, RoundingKind::Nearest) => Offset::Nearest,
            _ => Offset::Centred,
        };
        Formula {
            kind: scheme.scale,
            offset,
            steps,
            min: min.into(),
            max: max.into(),
            middle: codes.middle().into(),
            // The middle of the codes; a half beyond it where narrow codes and their headroom need it.
            half: if headroom > 0 && min == -max { 0.5 } else { 0.0 },
            magnitudes: min >= 0,
        }
    }

    /// Whether the range has a negative number, which these codes lack.
    #[inline(always)]
    pub fn lacks(&self, range: Range) -> bool {
        self.offset == Offset::Zero && self.magnitudes & (range.min < 0.0)
    }

    /// The scale, infinite where it is above the largest f32, and the zero point. Of a range that is not one, anything. The scale
    /// still has to be [`at_least_normal`]: the compiler would compare it in f64 here, at twice the cost.
    #[inline(always)]
    pub fn parameters(&self, range: Range) -> (f32, i32) {
        // With 0 in it.
        let (min, max) = (smaller(range.min, 0.0), larger(range.max, 0.0));
        let all_zero = min == max;
        let (min, max) = (f64::from(min), f64::from(max));
        let scale = if self.offset == Offset::Zero { larger(max, -min) } else { max - min } / self.steps;
        let scale = match self.kind {
            ScaleKind::Float => scale,
            ScaleKind::PowerOfTwo => larger(power_of_two_at_least(scale), f32::MIN_POSITIVE.into()),
        };
        // Bounds are integers, so it is the same to round before or after; and a conversion that checks is no vector's.
        let zero_point = match self.offset {
            Offset::Zero => 0,
            // −min / S is 0 at least and no more than all steps, or rounds to as many.
            Offset::Nearest => nearest_i32(self.min - min / scale),
            Offset::Centred => {
                let centred = self.middle + (self.half - (min + max) / (2.0 * scale)).floor();
                nearest_i32(larger(smaller(centred, self.max), self.min))
            }
        };
        if all_zero { (1.0, 0) } else { (scale as f32, zero_point) }
    }
}

// What a vector has an instruction for, unlike `f64::max`, which has its own rule for NaN.

#[inline(always)]
fn larger<T: PartialOrd>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller<T: PartialOrd>(a: T, b: T) -> T {
    if a < b { a } else { b }
}

/// `x.round_ties_even() as i32` for `|x| < 2³¹`; of NaN, anything.
#[inline(always)]
fn nearest_i32(x: f64) -> i32 {
    // A sum whose last bit counts ones.
    const ONES: f64 = 1.5 * (1_u64 << 52) as f64;
    (x + ONES).to_bits() as i32
}

/// What a tiny scale becomes.
#[inline(always)]
pub(super) fn at_least_normal(scale: f32) -> f32 {
    larger(scale, f32::MIN_POSITIVE)
}

/// The smallest power of two that is at least `x`, a positive normal number.
#[inline(always)]
fn power_of_two_at_least(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let floor = bits & !MANTISSA;
    f64::from_bits(if bits == floor { floor } else { floor + MANTISSA + 1 })
}

/// The parameters of many ranges, and whether all have some.
pub(super) struct Solve<'a> {
    pub formula: Formula,
    pub ranges: &'a [Range],
    pub parameters: ParametersMut<'a>,
}

impl Kernel for Solve<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Vectors>(self, _: S) -> bool {
        let Solve { formula, ranges, parameters } = self;
        let ParametersMut { scales, reciprocals: [high, low], zero_points } = parameters;
        let mut all = true;
        // One loop for every kind, none of which has a choice to make.
        macro_rules! solve {
            ($kind:expr, $offset:expr) => {{
                let formula = Formula { kind: $kind, offset: $offset, ..formula };
                for ((&range, out), zero_point) in ranges.iter().zip(&mut *scales).zip(zero_points) {
                    (*out, *zero_point) = formula.parameters(range);
                    // (NaN is not in order, infinities have no finite scale.)
                    all &= (range.min <= range.max) & !formula.lacks(range);
                }
            }};
        }
        match (formula.kind, formula.offset) {
            (ScaleKind::Float, Offset::Zero) => solve!(ScaleKind::Float, Offset::Zero),
            (ScaleKind::Float, Offset::Nearest) => solve!(ScaleKind::Float, Offset::Nearest),
            (ScaleKind::Float, Offset::Centred) => solve!(ScaleKind::Float, Offset::Centred),
            (ScaleKind::PowerOfTwo, Offset::Zero) => solve!(ScaleKind::PowerOfTwo, Offset::Zero),
            (ScaleKind::PowerOfTwo, Offset::Nearest | Offset::Centred) => {
                solve!(ScaleKind::PowerOfTwo, Offset::Centred);
            }
        }
        for ((scale, high), low) in scales.iter_mut().zip(high).zip(low) {
            all &= *scale < f32::INFINITY;
            *scale = at_least_normal(*scale);
            [*high, *low] = reciprocal(*scale);
        }
        all
    }
}
