//! Quantize, dequantize, fake-quantize, the straight-through gradient and the reductions equal their formulas on every
//! ISA, bit for bit.

use crate::common::{
    Ranges, SPECIALS, bits, every_isa, finite, granularities, guarded, nudge, quantize_dynamic, tensors,
};
use proptest::prelude::*;
use zeropoint::{
    CodeRange, Error, Granularity, Halves, Matrix, MatrixMut, OffsetKind, QuantParams, Range, Rounding, Scheme, Stream,
    abs_max, dequantize, fake_quantize, fake_quantize_in_place, min_max, quantize, ranges, reference, straight_through,
    straight_through_in_place,
};

fn everything_equals_reference<C: Ranges>(x: &[f32], params: &QuantParams<C>) {
    let codes = reference::quantize(x, params);
    let gradient: Vec<f32> = x.iter().rev().copied().collect();
    every_isa(|isa| {
        let mut out = vec![C::MIN; x.len()];
        quantize(isa, x, params, Rounding::Nearest, &mut out).unwrap();
        assert_eq!(out, codes, "quantize {isa}");

        let mut real = vec![0.0; x.len()];
        dequantize(isa, &codes, params, &mut real).unwrap();
        assert_eq!(bits(&real), bits(&reference::dequantize(&codes, params)), "dequantize {isa}");

        fake_quantize(isa, x, params, Rounding::Nearest, &mut real).unwrap();
        assert_eq!(bits(&real), bits(&reference::fake_quantize(x, params)), "fake_quantize {isa}");

        let mut mask = vec![7; x.len()];
        fake_quantize(isa, x, params, Rounding::Nearest, (&mut real, &mut mask)).unwrap();
        assert_eq!(bits(&real), bits(&reference::fake_quantize(x, params)), "fake_quantize_with_mask {isa}");
        assert_eq!(mask, reference::straight_through_mask(x, params), "mask {isa}");

        straight_through(isa, x, &gradient, params, &mut real).unwrap();
        assert_eq!(bits(&real), bits(&reference::straight_through(x, &gradient, params)), "straight_through {isa}");

        let mut place = gradient.clone();
        straight_through_in_place(isa, x, &mut place, params).unwrap();
        assert_eq!(bits(&place), bits(&real), "straight_through_in_place {isa}");

        let mut place = x.to_vec();
        fake_quantize_in_place(isa, &mut place, params, Rounding::Nearest).unwrap();
        assert_eq!(bits(&place), bits(&reference::fake_quantize(x, params)), "fake_quantize_in_place {isa}");
    });
}

/// A matrix whose rows lie apart, and what lies between them.
fn apart<T: Copy>(dense: &[T], columns: usize, stride: usize, between: T) -> Vec<T> {
    let mut rows = Vec::new();
    for row in dense.chunks(columns) {
        rows.extend_from_slice(row);
        rows.resize(rows.len() + stride - columns, between);
    }
    rows
}

proptest! {
    #![proptest_config(crate::common::cases(600))]

    #[test]
    fn unsigned((x, params) in tensors::<u8>()) {
        everything_equals_reference(&x, &params);
    }

    #[test]
    fn signed((x, params) in tensors::<i8>()) {
        everything_equals_reference(&x, &params);
    }

    #[test]
    fn wide_unsigned((x, params) in tensors::<u16>()) {
        everything_equals_reference(&x, &params);
    }

    #[test]
    fn wide_signed((x, params) in tensors::<i16>()) {
        everything_equals_reference(&x, &params);
    }

    #[test]
    fn rows_that_lie_apart(
        ((x, params), [gap, out_gap], row) in (tensors::<i8>(), [0_usize..9, 0..9], any::<prop::sample::Index>()),
    ) {
        // All shapes with so many elements are one as good as the other.
        let divisors: Vec<usize> = (1..=x.len()).filter(|row| x.len().is_multiple_of(*row)).collect();
        prop_assume!(!divisors.is_empty());
        let columns = divisors[row.index(divisors.len())];
        let (rows, stride, out_stride) = (x.len() / columns, columns + gap, columns + out_gap);
        let matrix = |data, stride| Matrix::with_stride(data, rows, columns, stride).unwrap();
        let codes = reference::quantize(&x, &params);
        let real = apart(&reference::dequantize(&codes, &params), columns, out_stride, 7.5);
        let code_rows = apart(&codes, columns, stride, 1);
        let x_rows = apart(&x, columns, stride, f32::NAN);
        every_isa(|isa| {
            let mut out = vec![99; rows * out_stride];
            let into = MatrixMut::with_stride(&mut out, rows, columns, out_stride).unwrap();
            quantize(isa, matrix(&x_rows, stride), &params, Rounding::Nearest, into).unwrap();
            assert_eq!(out, apart(&codes, columns, out_stride, 99), "quantize_matrix {isa}");
            let mut out = vec![7.5; rows * out_stride];
            let into = MatrixMut::with_stride(&mut out, rows, columns, out_stride).unwrap();
            dequantize(isa, Matrix::with_stride(&code_rows, rows, columns, stride).unwrap(), &params, into).unwrap();
            assert_eq!(bits(&out), bits(&real), "dequantize_matrix {isa}");
            out.fill(7.5);
            let into = MatrixMut::with_stride(&mut out, rows, columns, out_stride).unwrap();
            fake_quantize(isa, matrix(&x_rows, stride), &params, Rounding::Nearest, into).unwrap();
            assert_eq!(bits(&out), bits(&real), "fake_quantize_matrix {isa}");
        });
    }

    #[test]
    fn extremes(
        (x, granularity) in granularities().prop_flat_map(|(granularity, length)| {
            (prop::collection::vec(finite(), length), Just(granularity))
        }),
        scheme in prop::sample::select(Scheme::ALL.to_vec()),
        // Two bits, and two codes of a side, have no scale for the widest ranges.
        codes in prop::sample::select(i8::all().split_off(2)).prop_filter("both signs", |codes| codes.min() < 0 && codes.max() > 2),
        kind in prop::sample::select(vec![|x: f32| x, f32::abs, |x: f32| -x.abs()]),
    ) {
        prop_assume!(!x.is_empty());
        let x: Vec<f32> = x.into_iter().map(kind).collect();
        let x = &x[..];
        let groups = granularity.groups(x.len()).unwrap();
        let want = reference::ranges(x, granularity, groups);
        let amax = x.iter().fold(0.0, |most: f32, x| x.abs().max(most));
        let dynamic = reference::quantize_dynamic(x, codes, scheme, granularity, groups);
        every_isa(|isa| {
            assert_eq!(ranges(isa, x, granularity).unwrap(), want, "{isa} {granularity:?}");
            let mut out = vec![7; x.len()];
            let params = quantize_dynamic(isa, x, codes, scheme, granularity, &mut out).unwrap();
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
            fake_quantize(isa, &x, &params, Rounding::Nearest, &mut once).unwrap();
            fake_quantize(isa, &once, &params, Rounding::Nearest, &mut twice).unwrap();
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

/// Numbers without a sign, or with one, but for a single one of the other kind, early or late.
#[test]
fn ranges_of_one_kind() {
    let numbers: Vec<f32> = (0..5120).map(|i| 3.0 + ((i * 7919) % 6151) as f32 / 100.0).collect();
    let granularities = [
        Granularity::Tensor,
        Granularity::channel(&[2, 2560], 0).unwrap(),
        Granularity::channel(&[4, 20, 64], 1).unwrap(),
        Granularity::channel(&[80, 64], 0).unwrap(),
        Granularity::channel(&[80, 64], 1).unwrap(),
        Granularity::block(&[10, 512], 32).unwrap(),
        Granularity::block(&[10, 512], 96).unwrap(),
        Granularity::block(&[5, 1024], 512).unwrap(),
        Granularity::block(&[5, 1024], 128).unwrap(),
        Granularity::block(&[4, 1280], 160).unwrap(),
        Granularity::block(&[320, 16], 16).unwrap(),
    ];
    for sign in [1.0, -1.0] {
        for (i, other) in [0.0, -0.0, 2.5, -2.5, -1e-45, 1e-45, -100.0, 100.0].into_iter().enumerate() {
            for at in [0, 40, 1023, 1024, 3071, 3072, 5119] {
                let mut x: Vec<f32> = numbers.iter().map(|x| x * sign).collect();
                x[at] = other;
                for granularity in granularities {
                    let want = reference::ranges(&x, granularity, granularity.groups(x.len()).unwrap());
                    let want = want.iter().map(|range| bits(&[range.min, range.max])).collect::<Vec<_>>();
                    every_isa(|isa| {
                        let found = ranges(isa, &x, granularity).unwrap();
                        let found = found.iter().map(|range| bits(&[range.min, range.max])).collect::<Vec<_>>();
                        assert_eq!(found, want, "{isa} {granularity:?} {sign} {i} at {at}");
                    });
                }
            }
        }
    }
}

/// More groups than have their parameters found together, the last of which are found with some before; and one that has none.
#[test]
fn many_groups() {
    let codes = CodeRange::unsigned(8).unwrap();
    for (groups, length) in
        [(15, 64), (16, 32), (17, 16), (40, 128), (257, 32), (271, 48), (4096, 16), (4097, 16), (8200, 16)]
    {
        let granularity = Granularity::block(&[groups, length], length).unwrap();
        let mut x: Vec<f32> = (0..groups * length)
            .map(|i| ((i * 7919) % 6151) as f32 * (1.0 + (i / length) as f32) / 1000.0 - (i / length % 7) as f32)
            .collect();
        for scheme in Scheme::ALL.into_iter().filter(|scheme| scheme.offset == OffsetKind::Integer) {
            let want = reference::quantize_dynamic(&x, codes, scheme, granularity, groups);
            every_isa(|isa| {
                let mut out = vec![7; x.len()];
                let params = quantize_dynamic(isa, &x, codes, scheme, granularity, &mut out).unwrap();
                assert_eq!((params, &out), (want.0.clone(), &want.1), "{isa} {groups} × {length} {scheme:?}");
            });
        }
        for at in [0, x.len() / 2, x.len() - 1] {
            let kept = core::mem::replace(&mut x[at], f32::INFINITY);
            every_isa(|isa| {
                let mut out = vec![7; x.len()];
                let refused = quantize_dynamic(isa, &x, codes, Scheme::ASYMMETRIC, granularity, &mut out);
                let error = Error::NonFinite { what: "the tensor", index: at, found: f32::INFINITY };
                assert_eq!(refused, Err(error), "{isa} {at}");
                assert!(out.iter().all(|&code| code == 7), "{isa} {at}");
            });
            x[at] = kept;
        }
        // A negative number, which symmetric parameters of unsigned codes lack, in the last group.
        let mut x: Vec<f32> = x.iter().map(|x| x.abs()).collect();
        *x.last_mut().unwrap() = -1.0;
        every_isa(|isa| {
            let mut out = vec![7; x.len()];
            let refused = quantize_dynamic(isa, &x, codes, Scheme::SYMMETRIC, granularity, &mut out);
            let last = groups - 1;
            assert!(
                matches!(refused, Err(Error::Range { index, min: -1.0, .. }) if index == last),
                "{isa}: {refused:?}"
            );
            assert!(out.iter().all(|&code| code == 7), "{isa}");
        });
    }
}

/// Sixteen groups after sixteen others, with numbers of both signs, or of one.
#[test]
fn kinds_of_groups() {
    let signs = [[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]];
    for length in [32, 128, 240, 256, 1024] {
        let granularity = Granularity::block(&[48, length], length).unwrap();
        for kinds in 0..27 {
            let kinds = [kinds % 3, kinds / 3 % 3, kinds / 9];
            let x: Vec<f32> = (0..48 * length)
                .map(|i| ((i * 7919) % 6151 + 1) as f32 * signs[kinds[i / length / 16]][i % 2])
                .collect();
            let want = reference::ranges(&x, granularity, 48);
            every_isa(|isa| assert_eq!(ranges(isa, &x, granularity).unwrap(), want, "{isa} {length} {kinds:?}"));
        }
    }
}

/// Groups that are read in parts, of one kind of numbers, or with one number of another in any part.
#[test]
fn groups_in_parts() {
    let shapes =
        [(1, 256), (1, 768), (1, 4096), (2, 128), (2, 1920), (3, 1024), (4, 192), (5, 4096), (6, 512), (8, 32)];
    for (groups, length) in shapes.into_iter().chain([(12, 320), (16, 2048), (17, 2048), (24, 1280), (32, 4096)]) {
        let granularity = Granularity::channel(&[groups, length], 0).unwrap();
        for (kind, part) in (0..5).flat_map(|kind| (0..16).map(move |part| (kind, part))) {
            let mut x: Vec<f32> = (0..groups * length)
                .map(|i| {
                    let (group, at, x) = (i / length, i % length, ((i * 7919) % 6151 + 1) as f32);
                    let single = at == (part * length + length / 2 + group) / 16;
                    let negative = match (group + kind) % 5 {
                        0 => i % 3 == 0,
                        1 => false,
                        2 => true,
                        3 => single,
                        _ => !single,
                    };
                    if negative { -x } else { x }
                })
                .collect();
            let want = reference::ranges(&x, granularity, groups);
            every_isa(|isa| {
                assert_eq!(ranges(isa, &x, granularity).unwrap(), want, "{isa} {groups} × {length} {kind} {part}")
            });
            let index = (groups / 2 * 16 + part) * length / 16;
            x[index] = f32::NEG_INFINITY;
            let refused = Err(Error::NonFinite { what: "the tensor", index, found: f32::NEG_INFINITY });
            every_isa(|isa| {
                assert_eq!(ranges(isa, &x, granularity), refused, "{isa} {groups} × {length} {kind} {part}")
            });
        }
    }
}

/// More groups in parts than have their parameters found together.
#[test]
fn many_groups_in_parts() {
    let (groups, length, codes) = (4112, 1056, CodeRange::unsigned(8).unwrap());
    let granularity = Granularity::channel(&[groups, length], 0).unwrap();
    let x: Vec<f32> = (0..groups * length).map(|i| ((i * 7919) % 6151) as f32 - (i / length) as f32).collect();
    let want = reference::quantize_dynamic(&x, codes, Scheme::ASYMMETRIC, granularity, groups);
    every_isa(|isa| {
        let mut out = vec![7; x.len()];
        let params = quantize_dynamic(isa, &x, codes, Scheme::ASYMMETRIC, granularity, &mut out).unwrap();
        assert!((params, &out) == (want.0.clone(), &want.1), "{isa}");
    });
}

/// Channels of whole vectors, each in one place, or in several.
#[test]
fn rows_of_whole_vectors() {
    for (outer, channels, inner) in
        [(1, 9, 16), (2, 9, 16), (1, 7, 32), (3, 5, 64), (1, 5, 128), (2, 3, 256), (1, 3, 1024)]
    {
        let x: Vec<f32> = (0..outer * channels * inner).map(|i| ((i * 7919) % 6151) as f32 / 50.0 - 61.0).collect();
        let granularity = Granularity::channel(&[outer, channels, inner], 1).unwrap();
        let scales = (0..channels).map(|channel| 0.3 + channel as f32 * 0.11).collect();
        for step in [0, 3] {
            let zero_points = (0..channels as i32).map(|channel| 7 + step * channel).collect();
            let codes = CodeRange::unsigned(8).unwrap();
            everything_equals_reference(
                &x,
                &QuantParams::<u8>::new(codes, granularity, Vec::clone(&scales), zero_points).unwrap(),
            );
        }
    }
}

/// Columns of every kind of number, of one that another row has alone too; rows that are joined, or read together.
#[test]
fn ranges_of_columns() {
    for channels in [1, 2, 3, 5, 7, 15, 16, 17, 31, 48, 63, 64, 65, 100, 511, 1000] {
        for rows in [1, 2, 3, 4, 5, 9, 16, 17, 67, 131, 300] {
            let granularity = Granularity::channel(&[rows, channels], 1).unwrap();
            for single in [0, rows / 2, rows - 1] {
                let mut x: Vec<f32> = (0..rows * channels).map(|i| ((i * 7919) % 6151) as f32 / 100.0 - 30.0).collect();
                for (i, x) in x.iter_mut().enumerate() {
                    let (row, channel) = (i / channels, i % channels);
                    match (channel % 5, row == single) {
                        (0, _) => {}
                        (1, _) | (3, false) | (4, true) => *x = 0.5 + x.abs(),
                        _ => *x = -0.5 - x.abs(),
                    }
                }
                let want = reference::ranges(&x, granularity, channels);
                every_isa(|isa| {
                    assert_eq!(ranges(isa, &x, granularity).unwrap(), want, "{isa} {rows}×{channels} {single}");
                });
            }
        }
    }
}

/// Rows of codes of 16 bits that lie apart, of reals of 16 bits.
#[test]
fn wide_codes_in_views() {
    let (rows, columns, stride, out_stride) = (9, 37, 41, 38);
    let x: Vec<f32> = (0..rows * columns).map(|i| ((i * 7919) % 6151) as f32 / 64.0 - 48.0).collect();
    let granularity = Granularity::channel(&[rows, columns], 1).unwrap();
    let scales = (0..columns).map(|column| 1e-3 + column as f32 * 1e-4).collect();
    let zero_points = (0..columns as i32).map(|column| column * 1500 - 30_000).collect();
    let params = QuantParams::new(CodeRange::signed16(16).unwrap(), granularity, scales, zero_points).unwrap();
    let codes = reference::quantize(&x, &params);
    // Multiples of 1/64 below 64 are bf16 only if they have 8 bits.
    let halves: Vec<u16> = x.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
    let narrowed: Vec<f32> = halves.iter().map(|&half| f32::from_bits(u32::from(half) << 16)).collect();
    let of_halves = reference::quantize(&narrowed, &params);
    let (x_rows, code_rows) = (apart(&x, columns, stride, f32::NAN), apart(&codes, columns, out_stride, 99));
    let real = apart(&reference::dequantize(&codes, &params), columns, stride, 7.5);
    every_isa(|isa| {
        let mut out = vec![99; rows * out_stride];
        let into = MatrixMut::with_stride(&mut out, rows, columns, out_stride).unwrap();
        let from = Matrix::with_stride(&x_rows, rows, columns, stride).unwrap();
        quantize(isa, from, &params, Rounding::Nearest, into).unwrap();
        assert_eq!(out, code_rows, "{isa}");
        let mut reals = vec![7.5; rows * stride];
        let into = MatrixMut::with_stride(&mut reals, rows, columns, stride).unwrap();
        let from = Matrix::with_stride(&code_rows, rows, columns, out_stride).unwrap();
        dequantize(isa, from, &params, into).unwrap();
        assert_eq!(bits(&reals), bits(&real), "{isa}");
        let mut out = vec![99; x.len()];
        quantize(isa, Halves::bf16(&halves), &params, Rounding::Nearest, &mut out).unwrap();
        assert_eq!(out, of_halves, "{isa}");
    });
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
                let codes =
                    guarded(length, offset, 99_i8, |out| quantize(isa, x, &params, Rounding::Nearest, out).unwrap());
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
    // The ends of 16 bits.
    for k in [-65_536, -65_535, -65_534, -32_769, -32_768, -32_767, 32_766, 32_767, 32_768, 65_534, 65_535, 65_536] {
        for ulps in -2..=2 {
            x.push(nudge((k as f32 + 0.5) * scale, ulps));
            x.push(nudge(k as f32 * scale, ulps));
        }
    }
    for codes in u16::all() {
        for zero_point in [codes.min(), codes.max() / 2, codes.max()] {
            everything_equals_reference(&x, &QuantParams::per_tensor(codes, scale, zero_point.into()).unwrap());
        }
    }
    for codes in i16::all() {
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
            // In doubt, a little of everywhere.
            for i in (0..x.len()).step_by(301) {
                x[i] = SPECIALS[i % SPECIALS.len()];
            }
            everything_equals_reference(&x, &QuantParams::per_tensor(CodeRange::narrow(8).unwrap(), scale, 5).unwrap());
            // A thousand ties of 16 bits.
            let x: Vec<f32> = (-32_768..32_768).step_by(331).flat_map(around).collect();
            let codes = CodeRange::signed16(16).unwrap();
            everything_equals_reference(&x, &QuantParams::per_tensor(codes, scale, i32::from(low_bits as u8)).unwrap());
        }
    }
}

/// Quotients beyond ±255 beside a half, which a product with the two parts of a reciprocal rounds to the half itself.
#[test]
fn wide_quotients_need_a_division() {
    let cases = [
        (0x3fc0_00ff_u32, 0x476f_407d_u32),
        (0x3fc0_01fe, 0x4784_61c0),
        (0x3fc0_03fe, 0x4705_8387),
        (0x3fc0_04ff, 0x47b1_667e),
        (0x3fc0_07ff, 0x45c0_0e00),
        (0x3fc0_0fff, 0x4570_07fd),
    ];
    for (scale, x) in cases.map(|(scale, x)| (f32::from_bits(scale), f32::from_bits(x))) {
        let half = (x / scale).floor() + 0.5;
        assert!(x / scale != half && (x / scale - half).abs() < 0.01, "{x} / {scale}");
        let x: Vec<f32> = (0..200).map(|i| if i % 3 == 0 { x } else { i as f32 }).collect();
        let codes = CodeRange::unsigned16(16).unwrap();
        everything_equals_reference(&x, &QuantParams::per_tensor(codes, scale, 0).unwrap());
    }
}

/// Tensors of several pieces, with numbers in doubt in some of them: in place too, and from the middle of a stream.
#[test]
fn several_pieces() {
    let mut x: Vec<f32> = (0..36_000).map(|i| ((i * 7919) % 6151) as f32 / 100.0 - 30.0).collect();
    (x[77], x[2050], x[2051], x[30_000]) = (f32::NAN, f32::INFINITY, -3e20, f32::NEG_INFINITY);
    let codes = CodeRange::unsigned(8).unwrap();
    for granularity in [
        Granularity::Tensor,
        Granularity::channel(&[18, 2000], 0).unwrap(),
        Granularity::channel(&[240, 150], 1).unwrap(),
        Granularity::channel(&[32, 1125], 1).unwrap(),
        Granularity::block(&[36, 1000], 32).unwrap(),
        Granularity::block(&[36, 1000], 24).unwrap(),
        Granularity::block(&[18, 2000], 16).unwrap(),
        Granularity::block(&[9, 4000], 64).unwrap(),
        // Bands whose parameters are copied, and such that are taken row by row.
        Granularity::block_along(&[360, 100], 0, 32).unwrap(),
        Granularity::block_along(&[2250, 16], 0, 32).unwrap(),
        Granularity::block_along(&[5, 720, 10], 1, 700).unwrap(),
        Granularity::block_along(&[12, 3000], 0, 5).unwrap(),
        Granularity::block_along(&[3, 3, 4000], 1, 2).unwrap(),
        Granularity::block_along(&[36, 1000], 0, 1).unwrap(),
    ] {
        let groups = granularity.groups(x.len()).unwrap();
        let scales: Vec<f32> = (0..groups).map(|group| 0.1 + group as f32 * 1e-3).collect();
        let one_zero_point = QuantParams::new(codes, granularity, scales.clone(), vec![117; groups]).unwrap();
        everything_equals_reference(&x, &one_zero_point);
        let wide = CodeRange::unsigned16(16).unwrap();
        let fine = scales.iter().map(|scale| scale / 300.0).collect::<Vec<_>>();
        let one_wide = QuantParams::new(wide, granularity, fine.clone(), vec![41_117; groups]).unwrap();
        everything_equals_reference(&x, &one_wide);
        let zero_points = (0..groups).map(|group| (group as i32 * 3701) % 65_536).collect();
        everything_equals_reference(&x, &QuantParams::new(wide, granularity, fine, zero_points).unwrap());
        let zero_points = (0..groups).map(|group| (group as i32 * 37) % 256).collect();
        let params = QuantParams::new(codes, granularity, scales, zero_points).unwrap();
        everything_equals_reference(&x, &params);
        let stream = Stream { seed: 5, offset: 12_345 };
        let want = bits(&reference::fake_quantize_stochastic(&x, &params, stream));
        every_isa(|isa| {
            let mut place = x.clone();
            fake_quantize_in_place(isa, &mut place, &params, stream).unwrap();
            assert_eq!(bits(&place), want, "{isa} {granularity:?}");
        });
    }
}

/// Tensors that the caches do not hold are written past them, where there are instructions for that.
#[test]
#[cfg(target_arch = "x86_64")]
fn large_tensors() {
    use crate::common::{emulated, part};
    use zeropoint::formats::{BlockFormat, encode_blocks};
    // A little more than 64 MiB.
    let length = 128 * 120 * 874;
    let x: Vec<f32> = (0..length).map(|i| ((i * 2_654_435_761) as u32 >> 8) as f32 / 1e6 - 8.0).collect();
    let isa = zeropoint::Isa::best().unwrap();
    let (mut codes, mut real, mut fake) = (vec![0; length], vec![0.0; length + 1], vec![0.0; length]);
    let mut wide_codes = vec![0; length];
    for granularity in part([
        Granularity::Tensor,
        Granularity::channel(&[length / 128, 128], 0).unwrap(),
        Granularity::channel(&[length / 1024, 1024], 0).unwrap(),
        Granularity::channel(&[length / 120, 120], 1).unwrap(),
        Granularity::block(&[length / 128, 128], 32).unwrap(),
        Granularity::block_along(&[length / 960, 960], 0, 32).unwrap(),
        Granularity::block_along(&[length / 4370, 4370], 0, 32).unwrap(),
    ]) {
        let scales = (0..granularity.groups(length).unwrap()).map(|group| 0.0623 + (group % 64) as f32 * 1e-4);
        let scales: Vec<f32> = scales.collect();
        let zero_points = vec![130; scales.len()];
        let wide = CodeRange::signed16(16).unwrap();
        let fine = scales.iter().map(|scale| scale / 400.0).collect();
        let wide = QuantParams::new(wide, granularity, fine, zero_points.clone()).unwrap();
        quantize(isa, &x, &wide, Rounding::Nearest, &mut wide_codes).unwrap();
        dequantize(isa, &wide_codes, &wide, &mut real[1..]).unwrap();
        fake_quantize(isa, &x, &wide, Rounding::Nearest, &mut fake).unwrap();
        for i in (0..length).step_by(61).chain(length - 100..length) {
            let scale = wide.scales()[granularity.group_of(i)];
            let code = reference::quantize_one(x[i], scale, 130, wide.codes());
            let want = scale * (code - 130) as f32;
            assert_eq!((i32::from(wide_codes[i]), real[i + 1], fake[i]), (code, want, want), "{granularity:?} {i}");
        }
        let params = QuantParams::new(CodeRange::unsigned(8).unwrap(), granularity, scales, zero_points).unwrap();
        quantize(isa, &x, &params, Rounding::Nearest, &mut codes).unwrap();
        dequantize(isa, &codes, &params, &mut real[1..]).unwrap();
        fake_quantize(isa, &x, &params, Rounding::Nearest, &mut fake).unwrap();
        for i in (0..length).step_by(61).chain(length - 100..length) {
            let scale = params.scales()[granularity.group_of(i)];
            let code = reference::quantize_one(x[i], scale, 130, params.codes());
            assert_eq!(
                (i32::from(codes[i]), real[i + 1], fake[i]),
                (code, scale * (code - 130) as f32, real[i + 1]),
                "{granularity:?} {i}"
            );
        }
    }
    // Piece after piece, which are in the caches.
    let piece = length / 120;
    for block in [32, 128] {
        let of = |x: &[f32]| ranges(isa, x, Granularity::block(&[x.len() / 128, 128], block).unwrap()).unwrap();
        assert!(of(&x) == x.chunks(piece).flat_map(of).collect::<Vec<_>>(), "{block}");
    }
    let mut x = x;
    // In an emulator, scales of super-blocks are searched for minutes.
    let formats = BlockFormat::ALL.into_iter().filter(|format| !emulated() || format.block_length() < 256);
    for format in part(formats) {
        let encoded = |x: &[f32]| {
            let mut bytes = vec![7; format.bytes(x.len()).unwrap()];
            encode_blocks(isa, format, x, &mut bytes).map(|()| bytes)
        };
        assert!(encoded(&x).unwrap() == x.chunks(piece).flat_map(|x| encoded(x).unwrap()).collect::<Vec<_>>());
        let last = core::mem::replace(&mut x[length - 1], 1e12);
        assert_eq!(encoded(&x).is_ok(), matches!(format, BlockFormat::MxInt8 | BlockFormat::MxFp4), "{format:?}");
        x[length - 1] = last;
    }
    let Range { min, max } = min_max(isa, &x).unwrap();
    assert_eq!([min, max], [x.iter().copied().fold(0.0, f32::min), x.iter().copied().fold(0.0, f32::max)]);
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
