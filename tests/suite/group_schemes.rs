//! Weights of f32 in groups: ranges of least error equal the plain search on every ISA, and a scheme makes the codes that
//! its parts make one by one.

use proptest::prelude::*;
use zeropoint::calibrate::mse_ranges;
use zeropoint::groups::{Activations, GroupScheme, PackedWeights, RealStage, StoredWeights, matmul};
use zeropoint::report::{quantization_error, reconstruction_error};
use zeropoint::{
    CodeRange, Error, Exec, Granularity, Halves, Isa, Matrix, QuantParams, Range, Scheme, ranges, reference,
};

use crate::common::{Ranges, every_isa, finite, granularities, part, schemes};

fn tensors() -> impl Strategy<Value = (Vec<f32>, Granularity, usize)> {
    granularities().prop_filter("there are elements", |(_, length)| *length > 0).prop_flat_map(
        |(granularity, length)| {
            let groups = granularity.groups(length).unwrap();
            (prop::collection::vec(finite(), length), Just(granularity), Just(groups))
        },
    )
}

fn equals_reference<C: Ranges>(
    x: &[f32],
    granularity: Granularity,
    groups: usize,
    codes: CodeRange<C>,
    scheme: Scheme,
) {
    let whole = reference::ranges(x, granularity, groups);
    if let Err(error) = QuantParams::from_ranges(codes, scheme, granularity, &whole) {
        every_isa(|isa| assert_eq!(mse_ranges(isa, x, granularity, codes, scheme), Err(error.clone()), "{isa}"));
        return;
    }
    let want = reference::mse_ranges(x, granularity, groups, codes, scheme);
    every_isa(|isa| {
        assert_eq!(mse_ranges(isa, x, granularity, codes, scheme).unwrap(), want, "{isa} {scheme:?} {codes:?}");
    });
    // What is least cannot be more than that of the whole ranges, whose differences may even leave f32.
    let error = |ranges: &[Range]| {
        let params = QuantParams::from_ranges(codes, scheme, granularity, ranges).unwrap();
        quantization_error(Isa::best().unwrap(), x, &params).map_or(f64::INFINITY, |report| report.sse())
    };
    assert!(error(&want) <= error(&whole) * (1.0 + 1e-12));
}

proptest! {
    #![proptest_config(crate::common::cases(150))]

    #[test]
    fn ranges_of_least_error(
        (x, granularity, groups) in tensors(),
        scheme in prop::sample::select(schemes()),
        unsigned in prop::sample::select(u8::all()),
        signed in prop::sample::select(i8::all()),
    ) {
        equals_reference(&x, granularity, groups, unsigned, scheme);
        equals_reference(&x, granularity, groups, signed, scheme);
    }
}

/// The largest f32 rounds to a code whose real is beyond every f32, by whatever part of the range: all parts are equal, and the
/// smallest one is taken. (Fuzzing found that the reference took the whole range.)
#[test]
fn the_smallest_part_where_all_errors_are_infinite() {
    let (x, codes) = ([f32::MAX, f32::MIN], CodeRange::<i16>::new(-2, 32_766).unwrap());
    let smallest = Range { min: f32::MIN / 64.0, max: f32::MAX / 64.0 };
    let mut taken = 0;
    for scheme in schemes() {
        let want = reference::mse_ranges(&x, Granularity::Tensor, 1, codes, scheme);
        every_isa(|isa| assert_eq!(mse_ranges(isa, &x, Granularity::Tensor, codes, scheme).unwrap(), want, "{isa}"));
        taken += usize::from(want == [smallest]);
    }
    assert!(taken > 0);
}

/// Values near 0, and some outliers.
fn weights(outputs: usize, depth: usize) -> Vec<f32> {
    let spread = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    (0..(outputs * depth) as u32).map(|i| spread(i) * spread(i ^ 0x5555).powi(4) * 0.3 + 0.01).collect()
}

fn all_schemes(length: usize) -> Vec<(GroupScheme, u32, Scheme, bool, bool)> {
    let mut all = Vec::new();
    for bits in 2..=8 {
        for (made, scheme) in [
            (GroupScheme::symmetric(bits, length).unwrap(), Scheme::MIDDLE),
            (GroupScheme::with_zero_points(bits, length).unwrap(), Scheme::ASYMMETRIC),
        ] {
            all.extend([
                (made, bits, scheme, false, false),
                (made.f16_scales(), bits, scheme, false, true),
                (made.least_error(), bits, scheme, true, false),
                (made.least_error().f16_scales(), bits, scheme, true, true),
            ]);
        }
    }
    all
}

/// The values of a scheme are those of its ranges, parameters and codes, made one by one; and so are products.
#[test]
fn a_scheme_is_its_parts() {
    let (outputs, depth) = (5, 200);
    let w = weights(outputs, depth);
    let x: Vec<f32> = (0..2 * depth).map(|i| (i as f32 * 0.77).sin()).collect();
    for length in part([32, 64, 128, 208, 1000]) {
        let granularity = Granularity::block(&[outputs, depth], length).unwrap();
        for (made, bits, scheme, least_error, f16_scales) in all_schemes(length) {
            let range = CodeRange::unsigned(bits).unwrap();
            let isa = Isa::supported()[0];
            let ranges = if least_error {
                mse_ranges(isa, &w, granularity, range, scheme).unwrap()
            } else {
                ranges(isa, &w, granularity).unwrap()
            };
            let mut params = QuantParams::from_ranges(range, scheme, granularity, &ranges).unwrap();
            if f16_scales {
                let scales = reference::widen(Halves::f16(&reference::narrow_to_f16(params.scales())));
                params = QuantParams::new(range, granularity, scales, params.zero_points().to_vec()).unwrap();
            }
            let codes = reference::quantize(&w, &params);
            let want = reference::dequantize(&codes, &params);
            // With a gap between rows.
            let mut gaps = vec![9.0; outputs * (depth + 3)];
            gaps.chunks_mut(depth + 3).zip(w.chunks(depth)).for_each(|(row, w)| row[..depth].copy_from_slice(w));
            every_isa(|isa| {
                let w = Matrix::with_stride(&gaps, outputs, depth, depth + 3).unwrap();
                let stored = StoredWeights::quantize(isa, w, made).unwrap();
                assert_eq!(stored.values(), want, "{isa} {made:?}");
                let packed = PackedWeights::pack(isa, &stored.weights()).unwrap();
                let x = Activations::reals(Matrix::new(&x, 2, depth).unwrap(), Scheme::SYMMETRIC);
                let mut out = vec![0.0; 2 * outputs];
                matmul(isa, &x, &packed, &RealStage::new(), &mut out).unwrap();
                for (i, out) in out.iter().enumerate() {
                    let (row, output) = (i / outputs, i % outputs);
                    let exact: f64 = (0..depth)
                        .map(|k| {
                            f64::from((((row * depth + k) as f32) * 0.77).sin()) * f64::from(want[output * depth + k])
                        })
                        .sum();
                    assert!((f64::from(*out) - exact).abs() < 0.02, "{isa} {made:?}: {out}, {exact}");
                }
            });
            // What is stored beside the codes, of every group.
            let beside = if f16_scales { 16 } else { 32 } + if scheme == Scheme::MIDDLE { 0 } else { bits as usize };
            let bits_of_all = outputs * (depth * bits as usize + depth.div_ceil(length) * beside);
            assert!((made.bits_per_weight(depth) - bits_of_all as f64 / (outputs * depth) as f64).abs() < 1e-12);
        }
    }
}

/// Every bit more, every shorter group, zero points and least error each leave less noise in these weights.
#[test]
fn what_costs_more_is_nearer() {
    let w = weights(16, 1024);
    let exec = Exec::best().unwrap();
    let noise = |scheme: GroupScheme| {
        let stored = StoredWeights::quantize(exec, Matrix::new(&w, 16, 1024).unwrap(), scheme.f16_scales()).unwrap();
        reconstruction_error(exec, &w, &stored.values()).unwrap().sqnr()
    };
    for bits in part(2..=8) {
        for length in [32, 64, 128] {
            let symmetric = GroupScheme::symmetric(bits, length).unwrap();
            let zero_points = GroupScheme::with_zero_points(bits, length).unwrap();
            for (scheme, longer) in [
                (symmetric, GroupScheme::symmetric(bits, 2 * length)),
                (zero_points, GroupScheme::with_zero_points(bits, 2 * length)),
            ] {
                assert!(noise(scheme) > noise(longer.unwrap()), "{scheme:?}");
                let (least, whole) = (noise(scheme.least_error()), noise(scheme));
                // (Of the most bits, whole ranges are the best but for the rounding of their scales.)
                assert!(least > whole || bits > 5 && least > whole - 0.01, "{scheme:?}: {least}, {whole}");
            }
            if bits < 8 {
                assert!(noise(GroupScheme::symmetric(bits + 1, length).unwrap()) > noise(symmetric) + 2.0);
            }
        }
    }
}

/// Scales that f16 lacks, rows without elements, and errors.
#[test]
fn the_ends() {
    let isa = Isa::best().unwrap();
    let of = |w: &[f32], scheme: GroupScheme| {
        StoredWeights::quantize(isa, Matrix::new(w, 1, w.len()).unwrap(), scheme).map(|stored| stored.values())
    };
    let f16 = GroupScheme::symmetric(4, 32).unwrap().f16_scales();
    assert_eq!(of(&[0.0, 1e-9, -1e-10], f16).unwrap(), [0.0; 3]);
    assert_eq!(of(&[7.0 * 2_f32.powi(-24), 0.0], f16).unwrap(), [7.0 * 2_f32.powi(-24), 0.0]);
    let why = "its scale is above the largest f16";
    assert_eq!(of(&[1.0, -7.5e5], f16), Err(Error::Range { index: 0, min: -7.5e5, max: 1.0, why }));
    let nan = Error::NonFinite { what: "the tensor", index: 1, found: f32::INFINITY };
    assert_eq!(of(&[1.0, f32::INFINITY], f16), Err(nan.clone()));
    assert_eq!(of(&[1.0, f32::INFINITY], f16.least_error()), Err(nan));
    assert!(of(&[], f16.least_error()).unwrap().is_empty());
    let none = StoredWeights::quantize(isa, Matrix::new(&[], 1 << 30, 0).unwrap(), f16).unwrap();
    assert!(none.values().is_empty());
    let why = "the length of a group is neither a multiple of 16 nor that of a row";
    let odd = GroupScheme::symmetric(4, 24).unwrap();
    assert_eq!(of(&[1.0; 25], odd), Err(Error::Shape { why, found: 24 }));
    assert_eq!(of(&[1.0; 24], odd).unwrap(), of(&[1.0; 24], GroupScheme::symmetric(4, 32).unwrap()).unwrap());
    assert_eq!(GroupScheme::symmetric(9, 32), Err(Error::Bits { bits: 9, most: 8 }));
    assert_eq!(GroupScheme::with_zero_points(4, 0), Err(Error::Shape { why: "a group has no length", found: 0 }));
    let codes = CodeRange::<u8>::unsigned(4).unwrap();
    let unsigned = mse_ranges(isa, &[-1.0, 1.0], Granularity::Tensor, codes, Scheme::SYMMETRIC);
    assert!(matches!(unsigned, Err(Error::Range { index: 0, .. })));
}
