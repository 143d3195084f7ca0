//! Quantize, dequantize, fake-quantize, the straight-through gradient and the reductions equal their formulas on every
//! ISA, bit for bit.

use crate::common::{Ranges, SPECIALS, bits, every_isa, finite, granularities, guarded, nudge, tensors};
use proptest::prelude::*;
use zeropoint::{
    CodeRange, Granularity, QuantParams, Range, Scheme, abs_max, dequantize, fake_quantize, fake_quantize_with_mask,
    min_max, quantize, quantize_dynamic, ranges, reference, straight_through,
};

fn everything_equals_reference<C: Ranges>(x: &[f32], params: &QuantParams<C>) {
    let codes = reference::quantize(x, params);
    let gradient: Vec<f32> = x.iter().rev().copied().collect();
    every_isa(|isa| {
        let mut out = vec![C::MIN; x.len()];
        quantize(isa, x, params, &mut out).unwrap();
        assert_eq!(out, codes, "quantize {isa}");

        let mut real = vec![0.0; x.len()];
        dequantize(isa, &codes, params, &mut real).unwrap();
        assert_eq!(bits(&real), bits(&reference::dequantize(&codes, params)), "dequantize {isa}");

        fake_quantize(isa, x, params, &mut real).unwrap();
        assert_eq!(bits(&real), bits(&reference::fake_quantize(x, params)), "fake_quantize {isa}");

        let mut mask = vec![7; x.len()];
        fake_quantize_with_mask(isa, x, params, &mut real, &mut mask).unwrap();
        assert_eq!(bits(&real), bits(&reference::fake_quantize(x, params)), "fake_quantize_with_mask {isa}");
        assert_eq!(mask, reference::straight_through_mask(x, params), "mask {isa}");

        straight_through(isa, x, &gradient, params, &mut real).unwrap();
        assert_eq!(bits(&real), bits(&reference::straight_through(x, &gradient, params)), "straight_through {isa}");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn unsigned((x, params) in tensors::<u8>()) {
        everything_equals_reference(&x, &params);
    }

    #[test]
    fn signed((x, params) in tensors::<i8>()) {
        everything_equals_reference(&x, &params);
    }

    #[test]
    fn extremes(
        (x, granularity) in granularities().prop_flat_map(|(granularity, length)| {
            (prop::collection::vec(finite(), length), Just(granularity))
        }),
    ) {
        prop_assume!(!x.is_empty());
        let x = &x[..];
        let groups = granularity.groups(x.len()).unwrap();
        let want = reference::ranges(x, granularity, groups);
        let amax = x.iter().fold(0.0, |most: f32, x| x.abs().max(most));
        let codes = CodeRange::signed(8).unwrap();
        let dynamic = reference::quantize_dynamic(x, codes, Scheme::ASYMMETRIC, granularity, groups);
        every_isa(|isa| {
            assert_eq!(ranges(isa, x, granularity).unwrap(), want, "{isa} {granularity:?}");
            let mut out = vec![7; x.len()];
            let params = quantize_dynamic(isa, x, codes, Scheme::ASYMMETRIC, granularity, &mut out).unwrap();
            assert_eq!((params, &out), (dynamic.0.clone(), &dynamic.1), "{isa} {granularity:?}");
            assert_eq!(abs_max(isa, x).unwrap(), amax, "{isa}");
            let Range { min, max } = min_max(isa, x).unwrap();
            let all = reference::ranges(x, Granularity::Tensor, 1)[0];
            assert_eq!(bits(&[min, max]), bits(&[all.min, all.max]), "{isa}");
        });
    }

    #[test]
    fn zero_has_the_code_z_and_errors_stay_below_half_a_step(x in prop::collection::vec(-50.0_f32..50.0, 1..100)) {
        let range = reference::ranges(&x, Granularity::Tensor, 1)[0];
        let codes = CodeRange::unsigned(8).unwrap();
        let params = QuantParams::from_ranges(codes, Scheme::ASYMMETRIC, Granularity::Tensor, &[range]).unwrap();
        let (scale, zero_point) = (params.scales()[0], params.zero_points()[0]);
        assert_eq!(reference::quantize_one(0.0, scale, zero_point, codes), zero_point);
        every_isa(|isa| {
            let (mut once, mut twice) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            fake_quantize(isa, &x, &params, &mut once).unwrap();
            fake_quantize(isa, &once, &params, &mut twice).unwrap();
            assert_eq!(bits(&once), bits(&twice), "idempotent on {isa}");
            for (x, once) in x.iter().zip(&once) {
                // Inside the range that the nudged zero point leaves.
                if ((x / scale).round_ties_even() as i32 + zero_point) == reference::quantize_one(*x, scale, zero_point, codes) {
                    assert!((x - once).abs() <= scale * 0.5001, "{x} became {once} with scale {scale}");
                }
            }
        });
    }
}

/// Lengths 0…80 at every start offset 0…63 of input and output: bodies, tails and alignments.
#[test]
fn every_length_at_every_offset() {
    let source: Vec<f32> = (0..160).map(|i| (i as f32 - 77.0) * 0.37).collect();
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.21, -3).unwrap();
    for length in 0..80 {
        for offset in 0..64 {
            let x = &source[offset..offset + length];
            let want = reference::quantize(x, &params);
            let want_real = bits(&reference::dequantize(&want, &params));
            every_isa(|isa| {
                let codes = guarded(length, offset, 99_i8, |out| quantize(isa, x, &params, out).unwrap());
                assert_eq!(codes, want, "{isa} {length} {offset}");
                let real = guarded(length, offset, -9.75_f32, |out| dequantize(isa, &codes, &params, out).unwrap());
                assert_eq!(bits(&real), want_real, "{isa} {length} {offset}");
            });
        }
    }
}

#[test]
fn special_values_of_every_code_range() {
    let scale = 5.0_f32 / 255.0;
    let mut x = SPECIALS.to_vec();
    // All ties and their neighbours; −2.5 / (5/255) is where a reciprocal goes wrong.
    for k in -300..300 {
        for ulps in -2..=2 {
            x.push(nudge((k as f32 + 0.5) * scale, ulps));
            x.push(nudge(k as f32 * scale, ulps));
        }
    }
    x.push(-2.5);
    for codes in u8::all() {
        for zero_point in [codes.min(), codes.max() / 2, codes.max()] {
            everything_equals_reference(&x, &QuantParams::per_tensor(codes, scale, zero_point.into()).unwrap());
        }
    }
    for codes in i8::all() {
        for zero_point in [codes.min(), 0, 1, codes.max()] {
            everything_equals_reference(&x, &QuantParams::per_tensor(codes, scale, zero_point.into()).unwrap());
        }
    }
    assert_eq!(
        reference::quantize_one(-2.5, scale, 0, CodeRange::signed(8).unwrap()),
        -127,
        "a division, not a product"
    );
}

/// Around every tie, for scales whose reciprocals are sure, just sure, or not.
#[test]
fn ties_of_many_scales() {
    for low_bits in [0, 1, 8, 31, 32, 33, 0x5555, 0x8000, 0xffdf, 0xffe0, 0xffe1, 0xffff] {
        for (i, exponent) in [-126, -64, -63, -8, -1, 0, 3, 63, 64, 110].into_iter().enumerate() {
            let high_bits = (i * 53 % 128) as u32;
            let scale = f32::from_bits((127 + exponent) as u32 * (1 << 23) + high_bits * (1 << 16) + low_bits);
            let around = |k: i32| [-2, -1, 0, 1, 2].map(|ulps| nudge((k as f32 + 0.5) * scale, ulps));
            let mut x: Vec<f32> = (-256..256).flat_map(around).collect();
            everything_equals_reference(
                &x,
                &QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), scale, 255).unwrap(),
            );
            everything_equals_reference(
                &x,
                &QuantParams::per_tensor(CodeRange::signed(8).unwrap(), scale, -7).unwrap(),
            );
            // Refused, a little of everywhere.
            for i in (0..x.len()).step_by(301) {
                x[i] = SPECIALS[i % SPECIALS.len()];
            }
            everything_equals_reference(&x, &QuantParams::per_tensor(CodeRange::narrow(8).unwrap(), scale, 5).unwrap());
        }
    }
}

/// Tensors that the caches do not hold are written past them, where there are instructions for that.
#[test]
#[cfg(target_arch = "x86_64")]
fn large_tensors() {
    // A little more than 64 MiB.
    let length = (1 << 24) / 5 * 4 + 1003;
    let x: Vec<f32> = (0..length).map(|i| ((i * 2_654_435_761) as u32 >> 8) as f32 / 1e6 - 8.0).collect();
    let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.0623, 130).unwrap();
    let isa = zeropoint::Isa::best().unwrap();
    let (mut codes, mut real, mut fake) = (vec![0; length], vec![0.0; length + 1], vec![0.0; length]);
    quantize(isa, &x, &params, &mut codes).unwrap();
    dequantize(isa, &codes, &params, &mut real[1..]).unwrap();
    fake_quantize(isa, &x, &params, &mut fake).unwrap();
    for i in (0..length).step_by(61).chain(length - 100..length) {
        let code = reference::quantize_one(x[i], 0.0623, 130, params.codes());
        assert_eq!(
            (i32::from(codes[i]), real[i + 1], fake[i]),
            (code, 0.0623 * (code - 130) as f32, real[i + 1]),
            "{i}"
        );
    }
}

#[test]
fn minus_zero_is_zero_in_a_range() {
    every_isa(|isa| {
        for x in [[-0.0, 0.0], [0.0, -0.0], [-0.0, -0.0]] {
            let Range { min, max } = min_max(isa, &x).unwrap();
            assert_eq!((min.to_bits(), max.to_bits()), (0, 0), "{isa}");
        }
    });
}
