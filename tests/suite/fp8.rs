//! FP8: all codes, all values between two codes, and the codes of other programs; every granularity, view and piece.

use proptest::prelude::*;
use serde_json::Value;
use zeropoint::fp8::{Fp8, Fp8Params, decode, encode};
use zeropoint::{
    Error, Exec, Granularity, Halves, HalvesMut, Isa, Matrix, MatrixMut, PackedCodes, PackedCodesMut, Rounding, Stream,
    reference,
};

use crate::common::{bits, every_isa, granularities, guarded, nudge, reals_within, scales, streams};

/// Parameters that saturate, and those that do not.
fn both(params: Fp8Params) -> [Fp8Params; 2] {
    [params.clone(), params.without_saturation()]
}

/// Checks codes by both roundings on every ISA, and what they stand for.
fn equals_reference(x: &[f32], params: &Fp8Params, stream: Stream) {
    for (rounding, want) in [
        (Rounding::Nearest, reference::encode_fp8(x, params)),
        (stream.into(), reference::encode_fp8_stochastic(x, params, stream)),
    ] {
        let real = bits(&reference::decode_fp8(&want, params));
        every_isa(|isa| {
            let codes = guarded(x.len(), 1, 0x5a, |out| encode(isa, x, params, rounding, out).unwrap());
            for (i, (code, want)) in codes.iter().zip(&want).enumerate() {
                assert_eq!(code, want, "{isa} {params:?} {rounding:?}: element {i}, {:e}", x[i]);
            }
            let back = guarded(x.len(), 1, 1.5, |out| decode(isa, &codes, params, out).unwrap());
            assert_eq!(bits(&back), real, "{isa} {params:?}");
        });
    }
}

/// Every code, its value by scales that leave f32 on either side, too.
#[test]
fn every_code() {
    let codes: Vec<u8> = (0..=255).collect();
    for format in Fp8::ALL {
        for scale in [1.0, 0.37, 2_f32.powi(-126), 2_f32.powi(-115) * 1.3, f32::MAX, 1e36] {
            let params = Fp8Params::per_tensor(format, scale).unwrap();
            let want = bits(&reference::decode_fp8(&codes, &params));
            every_isa(|isa| {
                let real = guarded(codes.len(), 1, 1.5, |out| decode(isa, &codes, &params, out).unwrap());
                assert_eq!(bits(&real), want, "{isa} {params:?}");
            });
        }
        // By scales that are powers of two, codes are what they were, whatever the rounding.
        for scale in [1.0, 2_f32.powi(-64), 2_f32.powi(70)] {
            for params in both(Fp8Params::per_tensor(format, scale).unwrap()) {
                let numbers: Vec<u8> = codes.iter().copied().filter(|code| code & 0x7f <= largest(format)).collect();
                let x = reference::decode_fp8(&numbers, &params);
                for rounding in [Rounding::Nearest, Stream::new(5).into()] {
                    every_isa(|isa| {
                        let again = guarded(x.len(), 1, 0, |out| encode(isa, &x, &params, rounding, out).unwrap());
                        assert_eq!(again, numbers, "{isa} {params:?} {rounding:?}");
                    });
                }
            }
        }
    }
}

fn largest(format: Fp8) -> u8 {
    if format == Fp8::E4M3 { 0x7e } else { 0x7b }
}

/// All values, the middles of neighbours, and what is beside; by scales with a fast path, without one, and far from 1.
#[test]
fn middles_of_neighbours() {
    for format in Fp8::ALL {
        let unscaled = Fp8Params::unscaled(format);
        let mut values = reference::decode_fp8(&(0..=largest(format)).collect::<Vec<_>>(), &unscaled);
        values.push(2.0 * values[values.len() - 1] - values[values.len() - 2]);
        let middles = values.windows(2).map(|pair| f32::midpoint(pair[0], pair[1]));
        let around: Vec<f32> = values.iter().copied().chain(middles).collect();
        for scale in [1.0, 0.1, 3.7 / 448.0, f32::from_bits(0x3c5b_0001), 2_f32.powi(-110), 1.1e29] {
            let mut x: Vec<f32> =
                around.iter().flat_map(|x| [-2, -1, 0, 1, 2].map(|ulps| nudge(x * scale, ulps))).collect();
            x.extend(crate::common::SPECIALS);
            x.extend([1e-44 * scale, f32::MAX, 1e-30, 5e30]);
            x.extend(x.clone().iter().map(|x| -x));
            for params in both(Fp8Params::per_tensor(format, scale).unwrap()) {
                equals_reference(&x, &params, Stream { seed: 3, offset: 16_384 - 100 });
            }
        }
    }
}

fn hexadecimal(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap().as_bytes();
    text.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn floats(text: &Value) -> Vec<f32> {
    hexadecimal(text).as_chunks().0.iter().map(|&bytes| f32::from_be_bytes(bytes)).collect()
}

/// The values of ml_dtypes, its codes, which do not saturate, and those of onnxruntime, which do. (They keep the sign of
/// NaN, and onnxruntime sets all its bits.)
#[test]
fn golden() {
    let golden: Value = serde_json::from_str(include_str!("golden/fp8.json")).unwrap();
    let x = floats(&golden["x"]);
    for (format, name) in [(Fp8::E4M3, "e4m3"), (Fp8::E5M2, "e5m2")] {
        let (golden, params) = (&golden[name], Fp8Params::unscaled(format));
        let values: Vec<u32> =
            bits(&floats(&golden["values"]).iter().map(|x| if x.is_nan() { f32::NAN } else { *x }).collect::<Vec<_>>());
        let isa = Isa::best().unwrap();
        let mut real = vec![0.0; 256];
        decode(isa, &(0..=255).collect::<Vec<u8>>(), &params, &mut real).unwrap();
        assert_eq!(bits(&real), values);
        for (params, theirs) in both(params).into_iter().zip(["saturated", "plain"]) {
            let mut codes = vec![0; x.len()];
            encode(isa, &x, &params, Rounding::Nearest, &mut codes).unwrap();
            for ((x, code), theirs) in x.iter().zip(codes).zip(hexadecimal(&golden[theirs])) {
                let nan = if format == Fp8::E4M3 { 0x7f } else { 0x7e };
                assert!(code == theirs && !x.is_nan() || x.is_nan() && code == nan, "{x:e}: {code:#x}, {theirs:#x}");
            }
        }
    }
}

/// Tensors with parameters of any granularity, and numbers around the values of the format.
fn tensors() -> impl Strategy<Value = (Vec<f32>, Fp8Params, Stream)> {
    (granularities(), prop::sample::select(Fp8::ALL.to_vec()), any::<bool>()).prop_flat_map(
        |((granularity, length), format, saturates)| {
            let groups = granularity.groups(length).unwrap();
            (prop::collection::vec(scales(), groups), streams(length)).prop_flat_map(move |(scales, stream)| {
                let scale = scales.first().copied().unwrap_or(1.0);
                let exponents = if format == Fp8::E4M3 { -10..7 } else { -17..14 };
                let x = (reals_within(scale, 8), exponents).prop_map(|(x, exponent)| x * 2_f32.powi(exponent));
                let params = Fp8Params::new(format, granularity, &scales).unwrap();
                let params = if saturates { params } else { params.without_saturation() };
                (prop::collection::vec(x, length), Just(params), Just(stream))
            })
        },
    )
}

proptest! {
    #![proptest_config(crate::common::cases(600))]

    #[test]
    fn every_granularity((x, params, stream) in tensors()) {
        equals_reference(&x, &params, stream);
    }
}

fn many(n: usize) -> Vec<f32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 4e6 - 2.0).collect()
}

/// A tensor in pieces on other ISAs, from and to reals of 16 bits, and in rows with gaps has the codes of the
/// whole.
#[test]
fn pieces_and_views() {
    let n = 5 * 16_384 + 100;
    let x = many(n);
    let stream = Stream { seed: 9, offset: 16_384 - 501 };
    let per_column = Granularity::channel(&[n / 20, 20], 1).unwrap();
    for format in Fp8::ALL {
        for granularity in [Granularity::Tensor, per_column, Granularity::block(&[n / 20, 20], 16).unwrap()] {
            let groups = granularity.groups(n).unwrap();
            let scales: Vec<f32> = (0..groups).map(|group| 0.003 + (group % 50) as f32 * 1e-4).collect();
            let params = Fp8Params::new(format, granularity, &scales).unwrap();
            for (rounding, want) in [
                (Rounding::Nearest, reference::encode_fp8(&x, &params)),
                (stream.into(), reference::encode_fp8_stochastic(&x, &params, stream)),
            ] {
                let want_real = reference::decode_fp8(&want, &params);
                every_isa(|isa| {
                    let (mut codes, mut real) = (vec![0; n], vec![0.0; n]);
                    encode(isa, &x, &params, rounding, &mut codes).unwrap();
                    assert!(codes == want, "{isa} {params:?} {rounding:?}");
                    decode(isa, &codes, &params, &mut real).unwrap();
                    assert!(bits(&real) == bits(&want_real), "{isa}");
                    // Rows of 20, 23 apart.
                    let mut gaps = vec![0.0; n / 20 * 23];
                    let mut gaps_of_codes = vec![7; n / 20 * 23];
                    gaps.chunks_mut(23).zip(x.chunks(20)).for_each(|(row, x)| row[..20].copy_from_slice(x));
                    let from = Matrix::with_stride(&gaps, n / 20, 20, 23).unwrap();
                    let to = MatrixMut::with_stride(&mut gaps_of_codes, n / 20, 20, 23).unwrap();
                    encode(isa, from, &params, rounding, to).unwrap();
                    for (row, want) in gaps_of_codes.chunks(23).zip(want.chunks(20)) {
                        assert!(row[..20] == *want && row[20..] == [7; 3], "{isa}");
                    }
                    let from = Matrix::with_stride(&gaps_of_codes, n / 20, 20, 23).unwrap();
                    let to = MatrixMut::with_stride(&mut gaps, n / 20, 20, 23).unwrap();
                    decode(isa, from, &params, to).unwrap();
                    assert!(gaps.chunks(23).flat_map(|row| &row[..20]).eq(&real), "{isa}");
                });
            }
        }
        // Parts on other ISAs, of a tensor with one scale, from and to f16.
        let params = Fp8Params::per_tensor(format, 0.01).unwrap();
        let half = reference::narrow_to_f16(&x);
        let wide = reference::widen(Halves::f16(&half));
        let want = reference::encode_fp8_stochastic(&wide, &params, stream);
        let (mut codes, mut start, isas) = (vec![0; n], 0, Isa::supported());
        for (i, length) in [1, 17, 5000, 16_384, 20_001, n].into_iter().enumerate() {
            let (end, isa) = (n.min(start + length), isas[i % isas.len()]);
            let (x, stream) = (Halves::f16(&half[start..end]), stream.skip(start as u64).unwrap());
            encode(isa, x, &params, stream, &mut codes[start..end]).unwrap();
            start = end;
        }
        assert!(codes == want);
        let (mut narrow, real) = (vec![0; n], reference::decode_fp8(&codes, &params));
        decode(isas[0], &codes, &params, HalvesMut::bf16(&mut narrow)).unwrap();
        assert!(narrow == reference::narrow_to_bf16(&real));
    }
}

/// The mean of many codes is x / S, up to the largest value, within five standard deviations; each is one of two
/// neighbours.
#[test]
fn stochastic_rounding_is_unbiased() {
    const REPETITIONS: usize = 4096;
    let isa = Isa::best().unwrap();
    for format in Fp8::ALL {
        let (scale, max) = (0.37, format.max());
        let params = Fp8Params::per_tensor(format, scale).unwrap();
        // Of every binade, subnormal ones too, and the ends.
        let binades = (0..40).map(|i| max * 2_f32.powi(-i) * (0.5 + (i * 13 % 40) as f32 / 80.0));
        let x: Vec<f32> = binades.chain([max, 0.0]).flat_map(|v| [v * scale, -v * scale]).collect();
        let mut sums = vec![0.0; x.len()];
        let (mut codes, mut values) = (vec![0; x.len()], vec![0.0; x.len()]);
        let (mut least, mut most) = (vec![f32::INFINITY; x.len()], vec![f32::NEG_INFINITY; x.len()]);
        for repetition in 0..REPETITIONS {
            let stream = Stream { seed: 1234, offset: (repetition * x.len()) as u64 };
            encode(isa, &x, &params, stream, &mut codes).unwrap();
            decode(isa, &codes, &Fp8Params::unscaled(format), &mut values).unwrap();
            for (i, &value) in values.iter().enumerate() {
                sums[i] += f64::from(value);
                (least[i], most[i]) = (least[i].min(value), most[i].max(value));
            }
        }
        let mut values =
            reference::decode_fp8(&(0..=largest(format)).collect::<Vec<_>>(), &Fp8Params::unscaled(format));
        values.extend(values.clone().iter().map(|value| -value));
        for (i, &x) in x.iter().enumerate() {
            let v = (x / scale).clamp(-max, max);
            let below = values.iter().copied().filter(|&value| value <= v).fold(-max, f32::max);
            let above = values.iter().copied().filter(|&value| value >= v).fold(max, f32::min);
            assert!(below <= least[i] && most[i] <= above, "{format:?}: {v} became {} … {}", least[i], most[i]);
            // The variance of a choice between two. (One count more: a part of 10⁻⁷ has next to no deviation.)
            let [v, below, above] = [v, below, above].map(f64::from);
            let deviation = ((v - below) * (above - v) / REPETITIONS as f64).sqrt();
            let error = sums[i] / REPETITIONS as f64 - v;
            let most = 5.0 * deviation + (above - below) / REPETITIONS as f64;
            assert!(error.abs() <= most, "{format:?}: {v}: {error:e}, {deviation:e}");
        }
    }
}

/// The largest magnitude of every group becomes the largest value.
#[test]
fn scales_of_data() {
    let x = many(1200);
    for format in Fp8::ALL {
        let per_block = Granularity::block(&[12, 100], 32).unwrap();
        for granularity in [Granularity::Tensor, Granularity::channel(&[12, 100], 1).unwrap(), per_block] {
            let params = Fp8Params::fit(Exec::best().unwrap(), &x, format, granularity).unwrap();
            let ranges = reference::ranges(&x, granularity, granularity.groups(x.len()).unwrap());
            let scales = ranges.iter().map(|range| range.max.max(-range.min) / format.max());
            assert!(scales.eq(params.scales().iter().copied()));
            assert_eq!((params.format(), params.granularity(), params.saturates()), (format, granularity, true));
        }
        let fit = |x: &[f32]| Fp8Params::fit(Isa::supported()[0], x, format, Granularity::Tensor);
        assert_eq!(fit(&[0.0, -0.0]).unwrap().scales(), [1.0]);
        assert_eq!(fit(&[]).unwrap(), Fp8Params::unscaled(format));
        assert_eq!(fit(&[1e-40]).unwrap().scales(), [f32::MIN_POSITIVE]);
        assert_eq!(
            fit(&[1.0, f32::INFINITY]),
            Err(Error::NonFinite { what: "the tensor", index: 1, found: f32::INFINITY })
        );
    }
}

#[test]
fn errors_leave_the_output_alone() {
    let isa = Isa::best().unwrap();
    let params = Fp8Params::unscaled(Fp8::E4M3);
    let (x, nearest) = ([1.0; 6], Rounding::Nearest);
    let (mut codes, mut real) = ([9; 7], [9.0; 7]);
    let length = |found| Err(Error::Length { what: "the output", expected: 6, found });
    assert_eq!(encode(isa, &x, &params, nearest, &mut codes), length(7));
    assert_eq!(decode(isa, &codes[..6], &params, &mut real), length(7));
    let last = Stream { seed: 1, offset: u64::MAX - 4 };
    let error = Err(Error::Stream { offset: last.offset, words: 6 });
    assert_eq!(encode(isa, &x, &params, last, &mut codes[..6]), error);
    let per_row = Fp8Params::new(Fp8::E5M2, Granularity::channel(&[2, 4], 0).unwrap(), &[1.0, 2.0]).unwrap();
    let multiple = Err(Error::Multiple { what: "the tensor", unit: 8, found: 6 });
    assert_eq!(encode(isa, &x, &per_row, nearest, &mut codes[..6]), multiple);
    assert_eq!(decode(isa, &codes[..6], &per_row, &mut real[..6]), multiple);
    let narrow = |bits| Error::Codes {
        min: 0,
        max: 255,
        why: if bits == 4 { "packed codes have four bits here" } else { "packed codes have two bits here" },
    };
    let packed = PackedCodesMut::four_bits(&mut codes[..3], 6).unwrap();
    assert_eq!(encode(isa, &x, &params, nearest, packed), Err(narrow(4)));
    let packed = PackedCodes::<u8>::two_bits(&codes[..2], 6).unwrap();
    assert_eq!(decode(isa, packed, &params, &mut real[..6]), Err(narrow(2)));
    assert_eq!((codes, real), ([9; 7], [9.0; 7]));
    for scale in [0.0, -1.0, 1e-40, f32::NAN, f32::INFINITY] {
        assert!(matches!(Fp8Params::per_tensor(Fp8::E5M2, scale), Err(Error::Scale { index: 0, .. })));
    }
    let scales = Err(Error::Length { what: "scales", expected: 2, found: 1 });
    assert_eq!(Fp8Params::new(Fp8::E4M3, Granularity::channel(&[2, 4], 0).unwrap(), &[1.0]), scales);
    // Of an empty tensor there is nothing to write.
    encode(isa, &[], &params, nearest, &mut []).unwrap();
    decode(isa, &[], &params, &mut []).unwrap();
}
