//! From ranges to scales and zero points: the formulas, and the ranges that break them elsewhere.

use crate::common::{Ranges, finite};
use proptest::prelude::*;
use zeropoint::{Code, CodeRange, Granularity, OffsetKind, Range, RoundingKind, ScaleKind, Scheme, reference};

/// Every scheme that accepts a range of these codes has the properties its table promises.
fn check<C: Ranges>(range: Range) {
    for codes in C::all() {
        let (qmin, qmax): (i32, i32) = (codes.min().into(), codes.max().into());
        let steps = f64::from(qmax - qmin);
        let (min, max) = (f64::from(range.min.min(0.0)), f64::from(range.max.max(0.0)));
        let (asymmetric, zero_point) = Scheme::ASYMMETRIC.parameters(codes, range).unwrap();
        if min == max {
            assert_eq!((asymmetric, zero_point), (1.0, 0));
            continue;
        }
        let real = (max - min) / steps;
        assert_eq!(asymmetric, (real as f32).max(f32::MIN_POSITIVE));
        assert_eq!(
            f64::from(zero_point),
            (f64::from(qmin) - min / real).round_ties_even().clamp(qmin.into(), qmax.into())
        );
        assert_eq!(reference::quantize_one(0.0, asymmetric, zero_point, codes), zero_point, "zero is exact");

        let amax = -min.min(-max);
        let symmetric = if qmin < 0 { amax / (steps / 2.0) } else { amax / f64::from(qmax) };
        if qmin < 0 || range.min >= 0.0 {
            let (scale, zero_point) = Scheme::SYMMETRIC.parameters(codes, range).unwrap();
            assert_eq!((scale, zero_point), ((symmetric as f32).max(f32::MIN_POSITIVE), 0));
            if let Ok((scale, zero_point)) = Scheme::SHIFT_SYMMETRIC.parameters(codes, range) {
                assert_eq!(zero_point, 0);
                assert_smallest_power_of_two(scale, symmetric);
            }
        }
        if let Ok((scale, zero_point)) = Scheme::SHIFT_ASYMMETRIC.parameters(codes, range) {
            assert_smallest_power_of_two(scale, real);
            let middle = if qmin < 0 { 0.0 } else { f64::from(qmax + 1) / 2.0 };
            let centred = middle + (-(min + max) / (2.0 * f64::from(scale))).floor();
            assert_eq!(f64::from(zero_point), centred.clamp(qmin.into(), qmax.into()));
        }
    }
}

/// The stochastic types: both neighbours of every number of the range are codes, and no coarser than need be.
fn check_stochastic<C: Ranges>(range: Range) {
    let (min, max) = (f64::from(range.min.min(0.0)), f64::from(range.max.max(0.0)));
    for codes in C::all() {
        let (qmin, qmax): (i32, i32) = (codes.min().into(), codes.max().into());
        for scheme in Scheme::ALL.into_iter().filter(|scheme| scheme.rounding == RoundingKind::Stochastic) {
            let Ok((scale, zero_point)) = scheme.parameters(codes, range) else {
                let negative = qmin == 0 && scheme.offset == OffsetKind::Zero && range.min < 0.0;
                assert!(negative || (qmax - qmin < 4 && max - min > 1e38), "{scheme:?} {codes:?} {range:?}");
                continue;
            };
            if min == max {
                assert_eq!((scale, zero_point), (1.0, 0));
                continue;
            }
            let real = match scheme.offset {
                OffsetKind::Integer => (max - min) / f64::from(qmax - qmin - 1),
                OffsetKind::Zero => max.max(-min) / f64::from(qmax),
            };
            // The scale before it was rounded to f32.
            let scale = match scheme.scale {
                ScaleKind::Float => {
                    assert_eq!(scale, (real as f32).max(f32::MIN_POSITIVE));
                    real
                }
                ScaleKind::PowerOfTwo => {
                    assert_smallest_power_of_two(scale, real);
                    f64::from(scale)
                }
            };
            let end = |x: f64| x / scale + f64::from(zero_point);
            let close = 1e-9;
            assert!((end(min) + close).floor() >= f64::from(qmin), "{scheme:?} {codes:?} {range:?}: {}", end(min));
            assert!((end(max) - close).ceil() <= f64::from(qmax), "{scheme:?} {codes:?} {range:?}: {}", end(max));
            let full = qmin != -qmax;
            if scheme.offset == OffsetKind::Integer && full {
                let middle = if qmin < 0 { 0.0 } else { f64::from(qmax + 1) / 2.0 };
                assert_eq!(f64::from(zero_point), middle + (-(min + max) / (2.0 * scale)).floor());
            }
            if scheme.offset == OffsetKind::Zero {
                assert_eq!(zero_point, 0);
            }
        }
    }
}

fn assert_smallest_power_of_two(scale: f32, at_least: f64) {
    assert_eq!(scale.to_bits() & 0x007f_ffff, 0, "{scale} is a power of two");
    assert!(f64::from(scale) >= at_least, "{scale} is below {at_least}");
    assert!(
        f64::from(scale) / 2.0 < at_least || scale == f32::MIN_POSITIVE,
        "{scale} is not the smallest for {at_least}"
    );
}

proptest! {
    #![proptest_config(crate::common::cases(256))]

    #[test]
    fn any_range(a in finite(), b in finite()) {
        let range = Range { min: a.min(b), max: a.max(b) };
        check::<u8>(range);
        check::<i8>(range);
        check_stochastic::<u8>(range);
        check_stochastic::<i8>(range);
    }
}

#[test]
fn degenerate_ranges() {
    for amax in [0.0, 1e-45, 1e-40, f32::MIN_POSITIVE, 3.732e-37, 1.0, 3.984_375_5, f32::MAX] {
        for range in [Range { min: -amax, max: amax }, Range { min: 0.0, max: amax }, Range { min: -amax, max: 0.0 }] {
            check::<u8>(range);
            check::<i8>(range);
            check_stochastic::<u8>(range);
            check_stochastic::<i8>(range);
        }
        // A range without zero is widened to it.
        if amax > 0.0 {
            let codes = CodeRange::signed(8).unwrap();
            let widened = Scheme::ASYMMETRIC.parameters(codes, Range { min: 0.0, max: amax });
            assert_eq!(Scheme::ASYMMETRIC.parameters(codes, Range { min: amax, max: amax }), widened);
        }
    }
}

#[test]
fn groups_of_elements() {
    // [2, 3, 4] by its middle axis, and in blocks of 3 along rows of 4.
    let channel = Granularity::channel(&[2, 3, 4], 1).unwrap();
    let block = Granularity::block(&[2, 3, 4], 3).unwrap();
    for (i, (outer, middle, inner)) in
        (0..2).flat_map(|a| (0..3).flat_map(move |b| (0..4).map(move |c| (a, b, c)))).enumerate()
    {
        assert_eq!(channel.group_of(i), middle);
        assert_eq!(block.group_of(i), (outer * 3 + middle) * 2 + inner / 3);
    }
    assert_eq!((channel.groups(24), block.groups(24)), (Ok(3), Ok(12)));
}

#[test]
fn code_ranges() {
    assert_eq!(u8::all().iter().map(|codes| codes.max()).collect::<Vec<_>>(), [3, 7, 15, 31, 63, 127, 255]);
    let ends = |codes: CodeRange<i8>| (codes.min(), codes.max());
    assert_eq!(ends(CodeRange::signed(2).unwrap()), (-2, 1));
    assert_eq!(ends(CodeRange::narrow(2).unwrap()), (-1, 1));
    assert_eq!(ends(CodeRange::signed(8).unwrap()), (i8::MIN, i8::MAX));
    assert_eq!(<i8 as Code>::MIN, -128);
}
