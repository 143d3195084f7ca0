//! Block formats equal their formulas on every ISA, byte for byte, and refuse what they cannot store.

use crate::common::{bits, every_isa, nudge};
use proptest::prelude::*;
use serde_json::Value;
use zeropoint::formats::{BlockFormat, decode_blocks, encode_blocks};
use zeropoint::{Error, reference};

/// The whole blocks of a format that `x` begins with.
fn whole(format: BlockFormat, x: &[f32]) -> &[f32] {
    &x[..x.len() / format.block_length() * format.block_length()]
}

fn encoded_equals_reference(format: BlockFormat, x: &[f32]) -> Vec<u8> {
    let want = reference::encode_blocks(format, x);
    every_isa(|isa| {
        let mut bytes = vec![0x55; want.len()];
        encode_blocks(isa, format, x, &mut bytes).unwrap();
        assert_eq!(bytes, want, "{isa} {format:?} {x:?}");
    });
    want
}

fn decoded_equals_reference(format: BlockFormat, bytes: &[u8]) -> Vec<f32> {
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
            let bytes = encoded_equals_reference(format, whole(format, &x));
            decoded_equals_reference(format, &bytes);
        }
    }

    /// Infinite and subnormal scales, and codes that no encoder writes, too.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 18 * most_bytes())) {
        for format in BlockFormat::ALL {
            decoded_equals_reference(format, &bytes[..format.block_bytes() * 18]);
        }
    }

    /// MXINT8 stores every magnitude, and has a block for what is no number.
    #[test]
    fn mxint8_of_any_numbers(mut x in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 32), scale in 0..5) {
        x.iter_mut().for_each(|x| if scale > 0 { *x = if x.is_finite() { *x / 10_f32.powi(10 * scale) } else { 1e-40 } });
        let bytes = encoded_equals_reference(BlockFormat::MxInt8, &x);
        let back = decoded_equals_reference(BlockFormat::MxInt8, &bytes);
        if x.iter().any(|x| !x.is_finite()) {
            assert!(bytes[0] == 255 && back.iter().all(|back| back.is_nan()));
        } else {
            let unit = 2_f64.powi(i32::from(bytes[0]) - 133);
            assert!(x.iter().zip(back).all(|(&x, back)| (f64::from(x) - f64::from(back)).abs() <= unit));
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
    for k in -149..18 {
        for format in BlockFormat::ALL {
            let length = format.block_length();
            encoded_equals_reference(format, &block(k, length).collect::<Vec<f32>>());
            encoded_equals_reference(
                format,
                &(-8..12).flat_map(|i| block(if i < 0 { k } else { i }, length)).collect::<Vec<f32>>(),
            );
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
            (nan[40], huge[40]) = (f32::NAN, -1e7);
            if format != BlockFormat::MxInt8 {
                assert!(
                    matches!(refused(&nan, &mut bytes), Error::NonFinite { index: 40, found, .. } if found.is_nan())
                );
                assert!(matches!(refused(&huge, &mut bytes), Error::Range { index: 1, max: 1e7, .. }));
                // In the first sixteen blocks, in the last of a few more; beside blocks of zeros.
                let mut bytes = vec![7; 37 * format.block_bytes()];
                for (block, of_others) in (0..37).flat_map(|block| [(block, 0.0), (block, 3.0), (block, -3.0)]) {
                    let mut x = vec![of_others; 37 * length];
                    x[length * block + 9] = 2e7;
                    let error = refused(&x, &mut bytes);
                    assert!(matches!(error, Error::Range { index, max: 2e7, .. } if index == block), "{error}");
                    (x[length * block], x[length * block + length - 1]) = (-f32::NAN, f32::NAN);
                    assert!(matches!(refused(&x, &mut bytes), Error::NonFinite { .. }));
                    (x[length * block], x[length * block + length - 1]) = (f32::NEG_INFINITY, f32::INFINITY);
                    assert!(matches!(refused(&x, &mut bytes), Error::NonFinite { .. }));
                }
            }
        }
        // The largest magnitudes, whose scales are still finite.
        for (format, largest) in [(BlockFormat::Q8_0, 127.0 * 65_519.0), (BlockFormat::Q4_0, 8.0 * 65_519.0)] {
            let length = format.block_length();
            let mut bytes = vec![0; format.block_bytes()];
            encode_blocks(isa, format, &vec![largest; length], &mut bytes).unwrap();
            assert_eq!(bytes[1] & 0x7f, 0x7b, "{isa} {format:?}");
            encode_blocks(isa, format, &vec![nudge(largest, 1); length], &mut bytes).unwrap_err();
        }
    });
}
