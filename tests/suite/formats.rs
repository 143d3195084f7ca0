//! Block formats equal their formulas on every ISA, byte for byte, and refuse what they cannot store.

use crate::common::{bits, every_isa, nudge, part};
use proptest::prelude::*;
use serde_json::Value;
use zeropoint::formats::{
    BlockFormat, NvFp4, TensorFormat, block_offsets, decode_blocks, encode_blocks, encode_blocks_with, split_blocks,
};
use zeropoint::{Error, Exec, Isa, Rounding, Stream, reference};

/// The whole blocks of a format that `x` begins with, with magnitudes that it stores.
fn whole(format: BlockFormat, x: &[f32]) -> Vec<f32> {
    let most = match format {
        BlockFormat::Q4_1 | BlockFormat::Q5_1 => 65_519.0,
        BlockFormat::NvFp4 => 464.0 * 6.0,
        _ => f32::MAX,
    };
    x[..x.len() / format.block_length() * format.block_length()].iter().map(|x| x.clamp(-most, most)).collect()
}

fn encoded_equals_reference(format: impl Into<TensorFormat>, x: &[f32]) -> Vec<u8> {
    let format = format.into();
    let want = reference::encode_blocks(format, x);
    every_isa(|isa| {
        let mut bytes = vec![0x55; want.len()];
        encode_blocks(isa, format, x, &mut bytes).unwrap();
        assert_eq!(bytes, want, "{isa} {format:?} {x:?}");
    });
    want
}

fn decoded_equals_reference(format: impl Into<TensorFormat>, bytes: &[u8]) -> Vec<f32> {
    let format = format.into();
    let want = reference::decode_blocks(format, bytes);
    every_isa(|isa| {
        let mut out = vec![9.75; want.len()];
        decode_blocks(isa, format, bytes, &mut out).unwrap();
        assert_eq!(bits(&out), bits(&want), "{isa} {format:?}");
    });
    want
}

/// Numbers of one magnitude, ties among them, in blocks of any magnitude that every format stores.
fn blocks() -> impl Strategy<Value = Vec<f32>> {
    let number = prop_oneof![
        4 => -1.0_f32..1.0,
        2 => (-254_i32..=254, -1_i32..=1).prop_map(|(k, ulps)| nudge(k as f32 / 254.0, ulps)),
        2 => (-32_i32..=32, -1_i32..=1).prop_map(|(k, ulps)| nudge(k as f32 / 16.0, ulps)),
        1 => prop::sample::select(vec![0.0, -0.0, 1.0, -1.0, 1.984_375, -1.992_187_5, 1.9999, 0.007_812_5]),
    ];
    let block = (prop::collection::vec(number, 32), prop_oneof![2 => -20_i32..18, 1 => -149_i32..18])
        .prop_map(|(block, k)| block.into_iter().map(move |x| (f64::from(x) * 2_f64.powi(k)) as f32));
    // Few, and more than the sixteen that are encoded together.
    let count = prop_oneof![8 => 0_usize..5, 1 => 15_usize..72];
    count
        .prop_flat_map(move |count| prop::collection::vec(block.clone(), count))
        .prop_map(|blocks| blocks.into_iter().flatten().collect())
}

/// Bytes of the largest block of all formats.
fn most_bytes() -> usize {
    BlockFormat::ALL.iter().map(|format| format.block_bytes()).max().unwrap()
}

proptest! {
    #![proptest_config(crate::common::cases(300))]

    #[test]
    fn any_blocks(x in blocks()) {
        for format in BlockFormat::ALL {
            let bytes = encoded_equals_reference(format, &whole(format, &x));
            decoded_equals_reference(format, &bytes);
        }
    }

    /// E2M1 by random words, in one call and in two; and NVFP4 with scales of the tensor.
    #[test]
    fn stochastic_blocks(x in blocks(), seed in any::<u64>(), offset in 0_u64..40_000, cut in 0_usize..8) {
        let fitted = NvFp4::fit(Isa::named("scalar").unwrap(), &x).unwrap();
        for format in [BlockFormat::MxFp4.into(), BlockFormat::NvFp4.into(), TensorFormat::from(fitted)] {
            let (block, stream) = (format.block_format(), Stream { seed, offset });
            let x = if format == fitted.into() { x[..x.len() / 64 * 64].to_vec() } else { whole(block, &x) };
            encoded_equals_reference(format, &x);
            let want = reference::encode_blocks_with(format, stream, &x);
            decoded_equals_reference(format, &want);
            every_isa(|isa| {
                let mut bytes = vec![0x55; want.len()];
                encode_blocks_with(isa, format, stream, &x, &mut bytes).unwrap();
                assert_eq!(bytes, want, "{isa} {format:?}");
                let cut = cut.min(x.len() / block.block_length());
                let (x, rest) = x.split_at(cut * block.block_length());
                let (first, second) = bytes.split_at_mut(cut * block.block_bytes());
                encode_blocks_with(isa, format, stream, x, first).unwrap();
                encode_blocks_with(isa, format, stream.skip(x.len() as u64).unwrap(), rest, second).unwrap();
                assert_eq!(bytes, want, "{isa} {format:?} {cut}");
            });
        }
    }

    /// Infinite and subnormal scales, and codes that no encoder writes, too.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 18 * most_bytes())) {
        for format in BlockFormat::ALL {
            decoded_equals_reference(format, &bytes[..format.block_bytes() * 18]);
        }
    }

    /// OCP's formats store every magnitude, and have a block for what is no number.
    #[test]
    fn blocks_of_any_numbers(mut x in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 32), scale in 0..5) {
        x.iter_mut().for_each(|x| if scale > 0 { *x = if x.is_finite() { *x / 10_f32.powi(10 * scale) } else { 1e-40 } });
        // Steps of at most half a unit that may saturate, and of 2 that may so by 2.
        for (format, point, most) in [(BlockFormat::MxInt8, 6, 1.0), (BlockFormat::MxFp4, 0, 2.0)] {
            let bytes = encoded_equals_reference(format, &x);
            let back = decoded_equals_reference(format, &bytes);
            if x.iter().any(|x| !x.is_finite()) {
                assert!(bytes[0] == 255 && back.iter().all(|back| back.is_nan()));
            } else {
                let unit = 2_f64.powi(i32::from(bytes[0]) - 127 - point);
                assert!(x.iter().zip(back).all(|(&x, back)| (f64::from(x) - f64::from(back)).abs() <= most * unit));
            }
        }
    }
}

/// The worked blocks of `golden/seeds.json`, and MXINT8's ties.
#[test]
fn worked_blocks() {
    let golden: Value = serde_json::from_str(include_str!("golden/seeds.json")).unwrap();
    let golden = &golden["blocks"];
    let mut x: Vec<f32> = (0..32).map(|i| ((i - 15) as f32) * 0.11).collect();
    x[5] = -2.3;
    let codes = |value: &Value| value.as_array().unwrap().iter().map(|q| q.as_i64().unwrap() as i8 as u8).collect();
    let hex = |value: &Value| u128::from_str_radix(value.as_str().unwrap(), 16).unwrap();
    let mut want: Vec<u8> = vec![golden["mxint8"]["E"].as_i64().unwrap() as u8];
    want.extend::<Vec<u8>>(codes(&golden["mxint8"]["q"]));
    assert_eq!(encoded_equals_reference(BlockFormat::MxInt8, &x), want);
    let mut want = (hex(&golden["q8_0"]["d_f16"]) as u16).to_le_bytes().to_vec();
    want.extend::<Vec<u8>>(codes(&golden["q8_0"]["q"]));
    assert_eq!(encoded_equals_reference(BlockFormat::Q8_0, &x), want);
    let mut want = (hex(&golden["q4_0"]["d_f16"]) as u16).to_le_bytes().to_vec();
    want.extend(hex(&golden["q4_0"]["qs"]).to_be_bytes());
    assert_eq!(encoded_equals_reference(BlockFormat::Q4_0, &x), want);

    let mut ties = [0.0; 32];
    ties[..6].copy_from_slice(&[1.9999, -1.9999, 1.984_375, 1.992_187_5, 0.007_812_5, 0.023_437_5]);
    let bytes = encoded_equals_reference(BlockFormat::MxInt8, &ties);
    assert_eq!(bytes[..7], [127, 127, -127_i8 as u8, 127, 127, 0, 2]);
    // Ties of Q8_0 go away from zero, where its scale is 1.
    let mut ties = [0.0; 32];
    ties[..5].copy_from_slice(&[127.0, 0.5, -0.5, 2.5, 0.499_999_97]);
    assert_eq!(encoded_equals_reference(BlockFormat::Q8_0, &ties)[2..7], [127, 1, -1_i8 as u8, 3, 0]);
}

/// Scales whose reciprocals, or twice those, are beyond the largest f32, and all others, alone and among ordinary ones.
#[test]
fn every_order_of_magnitude() {
    let block = |k: i32, length: usize| {
        (0..length as i32).map(move |i| ((f64::from(i * 61 % 127) - 63.25) / 64.0 * 2_f64.powi(k)) as f32)
    };
    for k in part(-149..18) {
        for format in BlockFormat::ALL {
            let length = format.block_length();
            encoded_equals_reference(format, &whole(format, &block(k, length).collect::<Vec<f32>>()));
            let mixed: Vec<f32> = (-8..12).flat_map(|i| block(if i < 0 { k } else { i }, length)).collect();
            encoded_equals_reference(format, &whole(format, &mixed));
        }
    }
}

#[test]
fn what_cannot_be_stored_is_an_error() {
    every_isa(|isa| {
        for format in BlockFormat::ALL {
            let length = format.block_length();
            let mut bytes = vec![7; 2 * format.block_bytes()];
            let refused = |x: &[f32], bytes: &mut [u8]| {
                let before = bytes.to_vec();
                let error = encode_blocks(isa, format, x, bytes).unwrap_err();
                assert_eq!(bytes, before, "{isa} {format:?}");
                error
            };
            assert!(
                matches!(refused(&vec![1.0; 2 * length - 1], &mut bytes), Error::Multiple { unit, .. } if unit == length)
            );
            assert!(matches!(refused(&vec![1.0; length], &mut bytes), Error::Length { .. }));
            assert!(decode_blocks(isa, format, &bytes[1..], &mut vec![0.0; 2 * length]).is_err());
            let (mut nan, mut huge) = (vec![1.0; 2 * length], vec![1.0; 2 * length]);
            (nan[40], huge[40]) = (f32::NAN, -1e12);
            if !matches!(format, BlockFormat::MxInt8 | BlockFormat::MxFp4) {
                assert!(
                    matches!(refused(&nan, &mut bytes), Error::NonFinite { index: 40, found, .. } if found.is_nan())
                );
                let refused_huge = refused(&huge, &mut bytes);
                assert!(
                    matches!(refused_huge, Error::Range { index, max: 1e12, .. } if index == 40 / length),
                    "{refused_huge}"
                );
                // In the first sixteen blocks, in the last of a few more; beside blocks of zeros.
                let mut bytes = vec![7; 37 * format.block_bytes()];
                for (block, of_others) in part((0..37).flat_map(|block| [(block, 0.0), (block, 3.0), (block, -3.0)])) {
                    let mut x = vec![of_others; 37 * length];
                    x[length * block + 9] = 2e12;
                    let error = refused(&x, &mut bytes);
                    assert!(matches!(error, Error::Range { index, max: 2e12, .. } if index == block), "{error}");
                    (x[length * block], x[length * block + length - 1]) = (-f32::NAN, f32::NAN);
                    assert!(matches!(refused(&x, &mut bytes), Error::NonFinite { .. }));
                    (x[length * block], x[length * block + length - 1]) = (f32::NEG_INFINITY, f32::INFINITY);
                    assert!(matches!(refused(&x, &mut bytes), Error::NonFinite { .. }));
                }
            }
        }
        // The largest magnitudes, whose scales are still finite.
        for (format, largest) in [
            (BlockFormat::Q8_0, 127.0 * 65_519.0),
            (BlockFormat::Q4_0, 8.0 * 65_519.0),
            (BlockFormat::Q5_0, 16.0 * 65_519.0),
        ] {
            let length = format.block_length();
            let mut bytes = vec![0; format.block_bytes()];
            encode_blocks(isa, format, &vec![largest; length], &mut bytes).unwrap();
            assert_eq!(bytes[1] & 0x7f, 0x7b, "{isa} {format:?}");
            encode_blocks(isa, format, &vec![nudge(largest, 1); length], &mut bytes).unwrap_err();
        }
        // An offset, a scale, and both; those of super-blocks; a scale of E4M3.
        let below = |limit: f32| f32::from_bits(limit.to_bits() - 1);
        for (format, pair, past) in [
            (BlockFormat::Q4_1, [below(65_520.0), 8e5], [65_520.0, 8e5]),
            (BlockFormat::Q4_1, [0.0, below(15.0 * 65_520.0)], [0.0, 15.0 * 65_520.0]),
            (BlockFormat::Q5_1, [below(-65_520.0), 1e6], [-65_520.0, 1e6]),
            (BlockFormat::Q5_1, [0.0, below(31.0 * 65_520.0)], [0.0, 31.0 * 65_520.0]),
            (BlockFormat::Q2_K, [-9e5, 0.0], [-1.1e6, 0.0]),
            (BlockFormat::Q4_K, [-4e6, 0.0], [-4.3e6, 0.0]),
            (BlockFormat::Q5_K, [-4e6, 1e7], [-4.3e6, 0.0]),
            (BlockFormat::Q6_K, [2.6e8, 0.0], [2.8e8, 0.0]),
            (BlockFormat::NvFp4, [464.0 * 6.0, 0.0], [nudge(464.0 * 6.0, 2), 0.0]),
        ] {
            let length = format.block_length();
            let x =
                |pair: [f32; 2]| -> Vec<f32> { (0..2 * length).map(|i| pair[i % 2] * (i / length) as f32).collect() };
            let mut bytes = vec![0; 2 * format.block_bytes()];
            encode_blocks(isa, format, &x(pair), &mut bytes).unwrap();
            assert_eq!(bytes, reference::encode_blocks(format, &x(pair)), "{isa} {format:?}");
            let mut back = vec![0.0; 2 * length];
            decode_blocks(isa, format, &bytes, &mut back).unwrap();
            assert!(back.iter().all(|x| x.is_finite()), "{isa} {format:?}");
            for power in part(0..108) {
                let past = past.map(|x| (x * 2_f32.powi(power)).clamp(-f32::MAX, f32::MAX));
                let refused = encode_blocks(isa, format, &x(past), &mut bytes);
                assert!(matches!(refused, Err(Error::Range { index: 1, .. })), "{isa} {format:?} {past:?} {refused:?}");
            }
        }
        // Rounding, words, and scales of tensors.
        let mut bytes = [3; 2 * 36];
        let stream = Stream { seed: 1, offset: u64::MAX - 126 };
        let refused = encode_blocks_with(isa, BlockFormat::Q4_0, stream, &[1.0; 128], &mut bytes);
        assert!(matches!(refused, Err(Error::Rounding { .. })), "{refused:?}");
        let refused = encode_blocks_with(isa, BlockFormat::NvFp4, stream, &[1.0; 128], &mut bytes);
        assert!(matches!(refused, Err(Error::Stream { words: 128, .. })), "{refused:?}");
        assert_eq!(bytes, [3; 2 * 36]);
        let stream = Stream { offset: u64::MAX - 127, ..stream };
        encode_blocks_with(isa, BlockFormat::NvFp4, stream, &[1.0; 128], &mut bytes).unwrap();
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE / 2.0] {
            assert!(matches!(NvFp4::new(scale), Err(Error::Scale { index: 0, .. })), "{scale}");
        }
        assert!(matches!(NvFp4::fit(isa, &[1.0, f32::NAN]), Err(Error::NonFinite { index: 1, .. })));
        assert_eq!(NvFp4::fit(isa, &[0.0, -2688.0]).unwrap().tensor_scale(), 1.0);
        assert_eq!(NvFp4::fit(isa, &[0.0, -0.0]).unwrap().tensor_scale(), 1.0);
        assert_eq!(NvFp4::fit(isa, &[1e-40]).unwrap().tensor_scale(), f32::MIN_POSITIVE);
    });
}

/// `q · S + B` of codes in the range that the format has, scales and offsets is what is decoded.
#[test]
fn split_blocks_are_factors() {
    for format in BlockFormat::ALL {
        let (length, group, blocks) = (format.block_length(), format.group_length(), 5);
        let x: Vec<f32> = (0..blocks * length).map(|i| (i as f32 * 0.37).sin() * (1 + i / 32) as f32).collect();
        let bytes = encoded_equals_reference(format, &x);
        let values = decoded_equals_reference(format, &bytes);
        every_isa(|isa| {
            let groups = x.len() / group;
            let (mut codes, mut scales, mut offsets) = (vec![0; x.len()], vec![0.0; groups], vec![9.0; groups]);
            split_blocks(isa, format, &bytes, &mut codes, &mut scales).unwrap();
            block_offsets(isa, format, &bytes, &mut offsets).unwrap();
            for (i, &code) in codes.iter().enumerate() {
                assert!((format.codes().min()..=format.codes().max()).contains(&code), "{isa} {format:?}");
                assert_eq!(scales[i / group] * f32::from(code) + offsets[i / group], values[i], "{isa} {format:?} {i}");
            }
            assert!(format.has_offsets() || offsets.iter().all(|&offset| offset == 0.0));
            assert!(split_blocks(isa, format, &bytes, &mut codes, &mut scales[1..]).is_err());
            assert!(block_offsets(isa, format, &bytes[1..], &mut offsets).is_err());
        });
    }
}

/// Blocks as the programs of others encode them: see `golden/formats.py`.
#[test]
fn blocks_of_other_programs() {
    let golden: Value = serde_json::from_str(include_str!("golden/formats.json")).unwrap();
    let bytes = |value: &Value| -> Vec<u8> {
        let hex = value.as_str().unwrap();
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    };
    let x: Vec<f32> = bytes(&golden["x"]).chunks(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect();
    let formats = golden["ggml"].as_object().unwrap();
    assert_eq!(formats.len(), 9);
    for (name, want) in formats {
        let format = BlockFormat::ALL.into_iter().find(|format| format!("{format:?}") == *name).unwrap();
        assert_eq!(encoded_equals_reference(format, &x), bytes(want), "{name}");
    }
    assert_eq!(encoded_equals_reference(BlockFormat::MxFp4, &x), bytes(&golden["mxfp4"]));
    assert_eq!(encoded_equals_reference(BlockFormat::NvFp4, &x), bytes(&golden["nvfp4"]["one"]));
    let fitted = NvFp4::fit(Exec::best().unwrap(), &x).unwrap();
    assert_eq!(encoded_equals_reference(fitted, &x), bytes(&golden["nvfp4"]["scaled"]));
    // ggml's own E2M1 may be another where a value is a tie or a zero: as near, with the same scale.
    for (format, name, differing) in [(BlockFormat::MxFp4, "MXFP4", 0), (BlockFormat::NvFp4, "NVFP4", 2)] {
        let (ours, own) = (encoded_equals_reference(format, &x), bytes(&golden["own"][name]));
        let (values, own_values) = (reference::decode_blocks(format, &ours), reference::decode_blocks(format, &own));
        let farther = x.iter().zip(&values).zip(&own_values).filter(|((x, a), b)| (*x - *a).abs() != (*x - *b).abs());
        assert!(farther.count() <= differing * 16, "{name}");
    }
}

/// In every gap of E2M1, values are rounded up as often as they are far from its lower end.
#[test]
fn stochastic_rounding_is_unbiased_in_every_gap() {
    let values = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0_f32];
    let count = 4096;
    for (gap, &part) in (0..7).flat_map(|gap| [0.125, 0.3, 0.5, 0.9].iter().map(move |part| (gap, part))) {
        let (low, high) = (values[gap], values[gap + 1]);
        for sign in [1.0, -1.0] {
            // With a 4 in every block, so that its scale is 1.
            let value = sign * (low + part * (high - low));
            let x: Vec<f32> =
                (0..32 * count / 31).map(|i| if i % 32 == 0 { 4.0 } else { value }).take(32 * (count / 32)).collect();
            every_isa(|isa| {
                let mut bytes = vec![0; BlockFormat::MxFp4.bytes(x.len()).unwrap()];
                encode_blocks_with(isa, BlockFormat::MxFp4, Rounding::from(Stream::new(gap as u64)), &x, &mut bytes)
                    .unwrap();
                let mut back = vec![0.0; x.len()];
                decode_blocks(isa, BlockFormat::MxFp4, &bytes, &mut back).unwrap();
                let others = || back.iter().enumerate().filter(|(i, _)| i % 32 != 0).map(|(_, back)| *back);
                assert!(others().all(|back| back == sign * low || back == sign * high), "{isa} {value}");
                let ups = others().filter(|&back| back == sign * high).count() as f32;
                let (total, p) = (others().count() as f32, (value.abs() - low) / (high - low));
                assert!(
                    (ups - total * p).abs() < 4.0 * (total * p * (1.0 - p)).sqrt(),
                    "{isa} {value}: {ups} of {total}"
                );
            });
        }
    }
}
