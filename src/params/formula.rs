//! From ranges to scales and zero points: the table of [`Scheme`], written without branches, so that the compiler
//! vectorizes it for many ranges.

use super::range::Range;
use super::reciprocal::reciprocal;
use super::scheme::{OffsetKind, RoundingKind, ScaleKind, Scheme};
use crate::codes::{Code, CodeBounds, CodeRange};
use crate::error::Error;
use crate::kernel::{Kernel, Vectors};

/// How a zero point is found.
#[derive(Clone, Copy, PartialEq)]
enum Offset {
    /// No range moves it: it is 0, or the middle of the codes.
    Fixed,
    /// `RNE(qmin − min / S)`
    Nearest,
    /// `c + floor(½ or 0 − (min + max) / 2S)`
    Centred,
}

impl Scheme {
    /// The scale and the zero point that represent a range in these codes, by the [table of schemes](Scheme).
    ///
    /// # Errors
    /// [`Error::NonFinite`] and [`Error::Range`] for a range that is not finite or empty, for a symmetric scheme of
    /// unsigned codes and a negative minimum, or when the scale would be above the largest f32 (2 bits, widest ranges).
    pub fn parameters<C: Code>(self, codes: CodeRange<C>, range: Range) -> Result<(f32, i32), Error> {
        self.parameters_in(codes.bounds(), 0, range)
    }

    /// [`parameters`](Scheme::parameters) in codes of any type, of the group of this index.
    pub(super) fn parameters_in(self, codes: CodeBounds, index: usize, range: Range) -> Result<(f32, i32), Error> {
        range.check(index)?;
        let formula = Formula::new(self, codes);
        if formula.lacks(range) {
            let why = "unsigned codes with zero offset cannot represent negative numbers";
            return Err(Error::Range { index, min: range.min, max: range.max, why });
        }
        let (scale, zero_point) = formula.parameters(range);
        if scale == f32::INFINITY {
            let why = "its scale is above the largest f32";
            return Err(Error::Range { index, min: range.min, max: range.max, why });
        }
        Ok((at_least_normal(scale), zero_point))
    }
}

/// The formula of a scheme for a range of codes.
#[derive(Clone, Copy)]
pub(super) struct Formula {
    kind: ScaleKind,
    offset: Offset,
    /// The divisor of the span of a range, or of its largest magnitude for a symmetric scheme.
    steps: f64,
    min: f64,
    max: f64,
    middle: f64,
    /// Added to the centred zero point before it is rounded down.
    half: f64,
    /// The zero point of a symmetric scheme.
    fixed: i32,
    /// Whether no code is below the fixed zero point.
    nonnegative: bool,
}

impl Formula {
    pub fn new(scheme: Scheme, codes: CodeBounds) -> Self {
        let CodeBounds { min, max } = codes;
        let headroom = i32::from(scheme.rounding == RoundingKind::Stochastic);
        let offset = match (scheme.offset, scheme.scale, scheme.rounding) {
            (OffsetKind::Zero | OffsetKind::Middle, ..) => Offset::Fixed,
            (OffsetKind::Integer, ScaleKind::Float, RoundingKind::Nearest) => Offset::Nearest,
            (OffsetKind::Integer, ..) => Offset::Centred,
        };
        // The codes less the fixed zero point.
        let fixed = if scheme.offset == OffsetKind::Middle { codes.middle() } else { 0 };
        let shifted = codes.around(fixed);
        let steps = match offset {
            Offset::Fixed => shifted.symmetric_steps(headroom > 0),
            Offset::Nearest | Offset::Centred => f64::from(codes.steps() - headroom),
        };
        Formula {
            kind: scheme.scale,
            offset,
            steps,
            min: min.into(),
            max: max.into(),
            middle: codes.middle().into(),
            // The middle of the codes; a half beyond it where an odd number of codes and their headroom need it.
            half: if headroom > 0 && codes.has_centre() { 0.5 } else { 0.0 },
            fixed,
            nonnegative: shifted.min >= 0,
        }
    }

    /// Whether every range that has parameters for nearest rounding has the same ones for stochastic rounding.
    pub fn has_headroom(scheme: Scheme, codes: CodeBounds) -> bool {
        let [own, stochastic] = [scheme, scheme.stochastic()].map(|scheme| Formula::new(scheme, codes));
        (own.offset, own.steps, own.half) == (stochastic.offset, stochastic.steps, stochastic.half)
    }

    /// Whether the range has a negative value, which these codes lack.
    #[inline(always)]
    pub fn lacks(&self, range: Range) -> bool {
        self.offset == Offset::Fixed && self.nonnegative & (range.min < 0.0)
    }

    /// The scale, infinite where it is above the largest f32, and the zero point. Both are arbitrary for an invalid range. The
    /// caller applies [`at_least_normal`] to the scale: here the compiler would compare in f64, at twice the cost.
    #[inline(always)]
    pub fn parameters(&self, range: Range) -> (f32, i32) {
        // Widened to contain 0.
        let (min, max) = (smaller(range.min, 0.0), larger(range.max, 0.0));
        let all_zero = min == max;
        let (min, max) = (f64::from(min), f64::from(max));
        let scale = if self.offset == Offset::Fixed { larger(max, -min) } else { max - min } / self.steps;
        let scale = match self.kind {
            ScaleKind::Float => scale,
            ScaleKind::PowerOfTwo => larger(power_of_two_at_least(scale), f32::MIN_POSITIVE.into()),
        };
        // Bounds are integers, so clamping before rounding gives the same; and a checked conversion would not vectorize.
        let zero_point = match self.offset {
            Offset::Fixed => self.fixed,
            // −min / S is at least 0, and rounds to at most the number of steps.
            Offset::Nearest => nearest_i32(self.min - min / scale),
            Offset::Centred => {
                let centred = self.middle + (self.half - (min + max) / (2.0 * scale)).floor();
                nearest_i32(larger(smaller(centred, self.max), self.min))
            }
        };
        if all_zero { (1.0, self.fixed) } else { (scale as f32, zero_point) }
    }
}

// Comparisons that are one vector instruction, unlike `f64::max`, which has its own rule for NaN.

#[inline(always)]
fn larger<T: PartialOrd>(a: T, b: T) -> T {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller<T: PartialOrd>(a: T, b: T) -> T {
    if a < b { a } else { b }
}

/// `x.round_ties_even() as i32` for `|x| < 2³¹`; arbitrary for NaN.
#[inline(always)]
fn nearest_i32(x: f64) -> i32 {
    // The last bit of the sum has the value 1.
    const ONES: f64 = 1.5 * (1_u64 << 52) as f64;
    (x + ONES).to_bits() as i32
}

/// The scale, raised to the smallest normal f32.
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

/// Where the parameters of some groups are written: slices of one length.
pub(super) struct GroupParamsMut<'a> {
    pub scales: &'a mut [f32],
    pub reciprocals: [&'a mut [f32]; 2],
    pub zero_points: &'a mut [i32],
}

/// Writes the parameters of many ranges. The output says whether every range has parameters.
pub(super) struct Solve<'a> {
    pub formula: Formula,
    pub ranges: &'a [Range],
    pub params: GroupParamsMut<'a>,
}

impl Kernel for Solve<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) -> bool {
        let Solve { formula, ranges, params } = self;
        let GroupParamsMut { scales, reciprocals: [high, low], zero_points } = params;
        let mut all = true;
        // One loop for every kind of scale and offset, so that no loop has a branch.
        macro_rules! solve {
            ($kind:expr, $offset:expr) => {{
                let formula = Formula { kind: $kind, offset: $offset, ..formula };
                for ((&range, out), zero_point) in ranges.iter().zip(&mut *scales).zip(zero_points) {
                    (*out, *zero_point) = formula.parameters(range);
                    // NaN is not in order, and an infinity gives an infinite scale.
                    all &= (range.min <= range.max) & !formula.lacks(range);
                }
            }};
        }
        match (formula.kind, formula.offset) {
            (ScaleKind::Float, Offset::Fixed) => solve!(ScaleKind::Float, Offset::Fixed),
            (ScaleKind::Float, Offset::Nearest) => solve!(ScaleKind::Float, Offset::Nearest),
            (ScaleKind::Float, Offset::Centred) => solve!(ScaleKind::Float, Offset::Centred),
            (ScaleKind::PowerOfTwo, Offset::Fixed) => solve!(ScaleKind::PowerOfTwo, Offset::Fixed),
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
