//! From ranges to scales and zero points: the formulas, and the ranges that break them elsewhere.

use crate::common::{Ranges, every_isa, finite, schemes};
use proptest::prelude::*;
use zeropoint::{
    Code, CodeRange, Error, Granularity, OffsetKind, QuantParams, Range, Rounding, RoundingKind, ScaleKind, Scheme,
    Stream, quantize, reference,
};

/// The middle of some codes, the upper one of two.
fn middle_of(qmin: i32, qmax: i32) -> i32 {
    (f64::from(qmin + qmax) / 2.0).ceil() as i32
}

/// The steps that a symmetric scheme around `zero_point` has for the largest magnitude.
fn symmetric_steps(qmin: i32, qmax: i32, zero_point: i32) -> f64 {
    let (below, above) = (f64::from(zero_point - qmin), f64::from(qmax - zero_point));
    // Half a step may be clipped on the side that has fewer codes.
    if below == 0.0 { above } else { below.min(above) + if below == above { 0.0 } else { 0.5 } }
}

/// Every scheme that accepts a range of these codes has the properties its table promises.
fn check<C: Ranges>(range: Range) {
    for codes in C::all() {
        let (qmin, qmax): (i32, i32) = (codes.min().into(), codes.max().into());
        let steps = f64::from(qmax - qmin);
        let (min, max) = (f64::from(range.min.min(0.0)), f64::from(range.max.max(0.0)));
        let (asymmetric, zero_point) = Scheme::ASYMMETRIC.parameters(codes, range).unwrap();
        let middle = middle_of(qmin, qmax);
        if min == max {
            assert_eq!((asymmetric, zero_point), (1.0, 0));
            assert_eq!(Scheme::MIDDLE.parameters(codes, range), Ok((1.0, middle)));
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
        for (scheme, shift, zero_point) in
            [(Scheme::SYMMETRIC, Scheme::SHIFT_SYMMETRIC, 0), (Scheme::MIDDLE, Scheme::SHIFT_MIDDLE, middle)]
        {
            if zero_point == qmin && range.min < 0.0 {
                assert!(scheme.parameters(codes, range).is_err() && shift.parameters(codes, range).is_err());
                continue;
            }
            let symmetric = amax / symmetric_steps(qmin, qmax, zero_point);
            if symmetric as f32 == f32::INFINITY {
                assert!(scheme.parameters(codes, range).is_err(), "{scheme:?} {codes:?} {range:?}");
                continue;
            }
            let found = scheme.parameters(codes, range).unwrap();
            assert_eq!(found, ((symmetric as f32).max(f32::MIN_POSITIVE), zero_point), "{scheme:?} {codes:?}");
            if let Ok((scale, found)) = shift.parameters(codes, range) {
                assert_eq!(found, zero_point);
                assert_smallest_power_of_two(scale, symmetric);
            }
        }
        if let Ok((scale, zero_point)) = Scheme::SHIFT_ASYMMETRIC.parameters(codes, range) {
            assert_smallest_power_of_two(scale, real);
            let centred = f64::from(middle) + (-(min + max) / (2.0 * f64::from(scale))).floor();
            assert_eq!(f64::from(zero_point), centred.clamp(qmin.into(), qmax.into()));
        }
    }
}

/// The stochastic types: both neighbours of every number of the range are codes, and no coarser than need be.
fn check_stochastic<C: Ranges>(range: Range) {
    let (min, max) = (f64::from(range.min.min(0.0)), f64::from(range.max.max(0.0)));
    for codes in C::all() {
        let (qmin, qmax): (i32, i32) = (codes.min().into(), codes.max().into());
        for scheme in schemes().into_iter().filter(|scheme| scheme.rounding == RoundingKind::Stochastic) {
            let middle = middle_of(qmin, qmax);
            let fixed = if scheme.offset == OffsetKind::Middle { middle } else { 0 };
            let Ok((scale, zero_point)) = scheme.parameters(codes, range) else {
                let negative = qmin == fixed && scheme.offset == OffsetKind::Zero && range.min < 0.0;
                let few = (qmax - qmin < 4 || (qmax - fixed).min(fixed - qmin).abs() < 4) && max - min > 1e38;
                assert!(negative || few, "{scheme:?} {codes:?} {range:?}");
                continue;
            };
            if min == max {
                assert_eq!((scale, zero_point), (1.0, fixed));
                continue;
            }
            let real = match scheme.offset {
                OffsetKind::Integer => (max - min) / f64::from(qmax - qmin - 1),
                _ if qmin == fixed => max / f64::from(qmax),
                _ => max.max(-min) / f64::from((qmax - fixed).min(fixed - qmin)),
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
            if scheme.offset == OffsetKind::Integer && (qmax - qmin) % 2 == 1 {
                assert_eq!(f64::from(zero_point), f64::from(middle) + (-(min + max) / (2.0 * scale)).floor());
            }
            if scheme.offset != OffsetKind::Integer {
                assert_eq!(zero_point, fixed);
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
        check::<u16>(range);
        check::<i16>(range);
        check_stochastic::<u16>(range);
        check_stochastic::<i16>(range);
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
            check::<u16>(range);
            check::<i16>(range);
            check_stochastic::<u16>(range);
            check_stochastic::<i16>(range);
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
    // In blocks of 2 along the middle axis, the last of one, and in one that is longer than the first axis.
    let along = Granularity::block_along(&[2, 3, 4], 1, 2).unwrap();
    let first = Granularity::block_along(&[2, 3, 4], 0, usize::MAX).unwrap();
    for (i, (outer, middle, inner)) in
        (0..2).flat_map(|a| (0..3).flat_map(move |b| (0..4).map(move |c| (a, b, c)))).enumerate()
    {
        assert_eq!(channel.group_of(i), middle);
        assert_eq!(block.group_of(i), (outer * 3 + middle) * 2 + inner / 3);
        assert_eq!(along.group_of(i), (outer * 2 + middle / 2) * 4 + inner);
        assert_eq!(first.group_of(i), middle * 4 + inner);
    }
    assert_eq!((channel.groups(24), block.groups(24)), (Ok(3), Ok(12)));
    assert_eq!((along.groups(24), first.groups(24)), (Ok(16), Ok(12)));
    assert_eq!(Granularity::block_along(&[2, 3, 4], 2, 3), Granularity::block(&[2, 3, 4], 3));
}

#[test]
fn code_ranges() {
    let ends = |codes: CodeRange<i8>| (codes.min(), codes.max());
    assert_eq!(
        (2..=8).map(|n| CodeRange::unsigned(n).unwrap().max()).collect::<Vec<_>>(),
        [3, 7, 15, 31, 63, 127, 255]
    );
    assert_eq!(ends(CodeRange::signed(2).unwrap()), (-2, 1));
    assert_eq!(ends(CodeRange::narrow(2).unwrap()), (-1, 1));
    assert_eq!(ends(CodeRange::signed(8).unwrap()), (i8::MIN, i8::MAX));
    assert_eq!(<i8 as Code>::MIN, -128);
    assert_eq!(ends(CodeRange::new(-100, 27).unwrap()), (-100, 27));
    assert_eq!(CodeRange::new(0_u8, 255), CodeRange::unsigned(8));
    for bits in 2..=16 {
        let half = 1_i32 << (bits - 1);
        let unsigned = CodeRange::unsigned16(bits).unwrap();
        assert_eq!((i32::from(unsigned.min()), i32::from(unsigned.max())), (0, 2 * half - 1));
        let ends = |codes: CodeRange<i16>| (i32::from(codes.min()), i32::from(codes.max()));
        assert_eq!(ends(CodeRange::signed16(bits).unwrap()), (-half, half - 1));
        assert_eq!(ends(CodeRange::narrow16(bits).unwrap()), (1 - half, half - 1));
    }
    assert_eq!(CodeRange::new(i16::MIN, i16::MAX), CodeRange::signed16(16));
    for (min, max, why) in [
        (1_i8, 100, "0 is not one of them"),
        (5, -5, "0 is not one of them"),
        (-100, 0, "none is above 0"),
        (-100, -5, "none is above 0"),
        (0, 1, "fewer than three"),
    ] {
        let error = Error::Codes { min: min.into(), max: max.into(), why };
        assert_eq!(CodeRange::new(min, max), Err(error.clone()));
        assert!(error.to_string().contains(why));
    }
}

/// Codes of u8 around 128 are those of i8 around 0, with the same scale.
#[test]
fn unsigned_codes_around_their_middle() {
    let (unsigned, signed) = (CodeRange::unsigned(8).unwrap(), CodeRange::signed(8).unwrap());
    let x: Vec<f32> = (0..1000).map(|i| (i as f32 - 400.0) * 0.37).collect();
    for (middle, zero) in [(Scheme::MIDDLE, Scheme::SYMMETRIC), (Scheme::SHIFT_MIDDLE, Scheme::SHIFT_SYMMETRIC)] {
        for (middle, zero, rounding) in [
            (middle, zero, Rounding::Nearest),
            (middle.stochastic(), zero.stochastic(), Rounding::Stochastic(Stream::new(3))),
        ] {
            every_isa(|isa| {
                let params = QuantParams::fit(isa, &x, unsigned, middle, Granularity::Tensor).unwrap();
                let other = QuantParams::fit(isa, &x, signed, zero, Granularity::Tensor).unwrap();
                assert_eq!((params.scales(), params.zero_points()), (other.scales(), &[128][..]), "{isa}");
                let (mut codes, mut others) = (vec![0_u8; x.len()], vec![0_i8; x.len()]);
                quantize(isa, &x, &params, rounding, &mut codes).unwrap();
                quantize(isa, &x, &other, rounding, &mut others).unwrap();
                let same = |(&code, &other): (&u8, &i8)| i32::from(code) - 128 == i32::from(other);
                assert!(codes.iter().zip(&others).all(same), "{isa} {middle:?}");
            });
        }
    }
}
