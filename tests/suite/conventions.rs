//! Bits of other programs: `golden/conventions.json`, which `golden/conventions.py` recorded; and what is documented where ours
//! differ.

use crate::common::every_isa;
use serde_json::Value;
use zeropoint::calibrate::{Ema, Observer, percentile};
use zeropoint::formats::{BlockFormat, decode_blocks, encode_blocks};
use zeropoint::{
    Code, CodeRange, Error, Granularity, Isa, QuantParams, Range, Rounding, Scheme, Stream, dequantize, quantize,
    reference,
};

fn golden(name: &str) -> Vec<Vec<Value>> {
    let golden: Value = serde_json::from_str(include_str!("golden/conventions.json")).unwrap();
    golden[name].as_array().unwrap().iter().map(|row| row.as_array().unwrap().clone()).collect()
}

fn float(bits: &Value) -> f32 {
    f32::from_bits(bits.as_u64().unwrap() as u32)
}

fn integer(value: &Value) -> i32 {
    value.as_i64().unwrap() as i32
}

/// The scale and the zero point as ONNX has them.
fn as_onnx<C: Code>(codes: CodeRange<C>, range: Range) -> (u32, i32) {
    let params = QuantParams::as_onnx(codes, Granularity::Tensor, &[range]).unwrap();
    (params.scales()[0].to_bits(), params.zero_points()[0])
}

/// onnxruntime's `DynamicQuantizeLinear`, which has the same bits as that of the onnx package.
#[test]
fn ranges_as_onnx() {
    let codes = CodeRange::unsigned(8).unwrap();
    let mut others = 0;
    for row in golden("dynamic_quantize_linear") {
        let range = Range { min: float(&row[0]), max: float(&row[1]) };
        assert_eq!(as_onnx(codes, range), (float(&row[2]).to_bits(), integer(&row[3])), "{range:?}");
        let (scale, zero_point) = Scheme::ASYMMETRIC.parameters(codes, range).unwrap();
        others += i32::from((scale, zero_point) != (float(&row[2]), integer(&row[3])));
        // Never by more than the last bits, and a tie.
        assert!((scale / float(&row[2]) - 1.0).abs() < 3e-7 && (zero_point - integer(&row[3])).abs() <= 1, "{range:?}");
    }
    assert!(others > 10, "the f64 rule has other bits now and then: {others}");
    let symmetric = Range { min: -1.0, max: 1.0 };
    assert_eq!(as_onnx(codes, symmetric).1, 127);
    assert_eq!(Scheme::ASYMMETRIC.parameters(codes, symmetric).unwrap().1, 128);

    let refused =
        |range: Range| QuantParams::as_onnx(codes, Granularity::channel(&[2], 0).unwrap(), &[symmetric, range]);
    let (min, max) = (f32::MIN, f32::MAX);
    let error = Error::Range { index: 1, min, max, why: "its span is above the largest f32" };
    assert_eq!(refused(Range { min, max }), Err(error));
    let error = Error::Range { index: 1, min: 1.0, max: -1.0, why: "the minimum is above the maximum" };
    assert_eq!(refused(Range { min: 1.0, max: -1.0 }), Err(error));
    let error = Error::NonFinite { what: "the range", index: 1, found: f32::INFINITY };
    assert_eq!(refused(Range { min: 1.0, max: f32::INFINITY }), Err(error));
    assert!(QuantParams::as_onnx(codes, Granularity::Tensor, &[symmetric; 2]).is_err());
    for tiny in [1e-45, 1e-40, f32::MIN_POSITIVE] {
        assert_eq!(as_onnx(codes, Range { min: 0.0, max: tiny }), (f32::MIN_POSITIVE.to_bits(), 0));
    }
}

/// PyTorch's observers compute as ONNX does, also for codes that are not those of n bits; and its symmetric quint8 is the middle
/// of the codes, with a scale computed in f32.
#[test]
fn ranges_as_torch() {
    for row in golden("torch_affine") {
        let (min, max) = (integer(&row[0]), integer(&row[1]));
        let range = Range { min: float(&row[2]), max: float(&row[3]) };
        let found = if min < 0 {
            as_onnx(CodeRange::new(min as i8, max as i8).unwrap(), range)
        } else {
            as_onnx(CodeRange::new(min as u8, max as u8).unwrap(), range)
        };
        assert_eq!(found, (float(&row[4]).to_bits(), integer(&row[5])), "{min} … {max}: {range:?}");
    }
    for row in golden("torch_symmetric_quint8") {
        let range = Range { min: float(&row[0]), max: float(&row[1]) };
        let (scale, zero_point) = Scheme::MIDDLE.parameters(CodeRange::unsigned(8).unwrap(), range).unwrap();
        assert_eq!(zero_point, integer(&row[3]), "{range:?}");
        assert_eq!(scale, float(&row[2]), "{range:?}");
    }
}

/// PyTorch's `MovingAverageMinMaxObserver`, after every batch.
#[test]
fn moving_averages_as_torch() {
    for row in golden("torch_moving_average") {
        let constant = row[0].as_f64().unwrap();
        every_isa(|isa| {
            let mut observer = Ema::from_first_batch(constant).unwrap();
            for batch in row[1].as_array().unwrap() {
                observer.observe(isa.into(), &[float(&batch[0]), float(&batch[1])]).unwrap();
                let want = Range { min: float(&batch[2]), max: float(&batch[3]) };
                assert_eq!(observer.range(), Ok(want), "{isa} {constant}");
            }
        });
    }
    let averages = |mut observer: Ema, batches: &[[f32; 2]]| {
        batches.iter().for_each(|batch| observer.observe(Isa::best().unwrap().into(), batch).unwrap());
        observer.range().unwrap().max
    };
    let (torch, distiller) = (|| Ema::from_first_batch(0.1).unwrap(), || Ema::new(0.9).unwrap());
    let (two, three) = ([[-1.0, 1.0], [-1.0, 2.0]], [[-1.0, 1.0], [-2.0, 2.0], [-4.0, 4.0]]);
    assert_eq!([averages(torch(), &two), averages(torch(), &three)], [1.1, 1.390_000_1]);
    let found = [averages(distiller(), &two), averages(distiller(), &three)];
    assert!((found[0] - 1.526_315_8).abs() < 1e-6 && (found[1] - 2.439).abs() < 1e-3, "{found:?}");
}

/// `numpy.percentile` of f64 values, rounded to f32.
#[test]
fn percentiles_as_numpy() {
    for row in golden("percentiles") {
        let (n, p) = (row[0].as_u64().unwrap(), row[1].as_f64().unwrap());
        let x: Vec<f32> = (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e6 - 8.0).collect();
        assert_eq!(percentile(&x, p).unwrap().to_bits(), float(&row[2]).to_bits(), "{n} {p}");
        assert_eq!(reference::percentile(&x, p).to_bits(), float(&row[2]).to_bits(), "{n} {p}");
    }
    for row in golden("percentiles_of_pairs") {
        let (x, p) = ([float(&row[0]), float(&row[1])], row[2].as_f64().unwrap());
        assert_eq!(percentile(&x, p).unwrap().to_bits(), float(&row[3]).to_bits(), "{x:?} {p}");
    }
}

/// What codes stand for keeps its code to nearest; stochastically but for the rounding of the quotient: once in 2¹⁷ here.
#[test]
fn stochastic_rounding_of_what_codes_stand_for() {
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.1, 0).unwrap();
    let all: Vec<i8> = (i8::MIN..=i8::MAX).collect();
    let mut x = vec![0.0; 256];
    let (mut nearest, count) = (vec![0_i8; 256], 1 << 20);
    every_isa(|isa| {
        dequantize(isa, &all, &params, &mut x).unwrap();
        quantize(isa, &x, &params, Rounding::Nearest, &mut nearest).unwrap();
        assert_eq!(nearest, all, "{isa}");
        let moved = |k: i8| {
            let v = f64::from(f32::from(k) * 0.1_f32 / 0.1_f32) - f64::from(k);
            let mut codes = vec![0_i8; count];
            quantize(isa, &vec![f32::from(k) * 0.1; count], &params, Stream::new(5), &mut codes).unwrap();
            let moved = codes.iter().filter(|&&code| code != k).count();
            assert!(codes.iter().all(|&code| (i32::from(code) - i32::from(k)).abs() <= 1), "{isa} {k}");
            (v, moved)
        };
        let (v, times) = moved(-124);
        assert_eq!(v, -2_f64.powi(-17));
        assert!((1..=30).contains(&times), "{isa}: {times} times in {count}"); // 8 on average
        let (v, times) = moved(-123);
        assert_eq!((v, times), (0.0, 0), "{isa}: a quotient that is the integer");
    });
}

/// Blocks of small values: the largest that underflow decode to zeros, the next larger does not.
#[test]
fn blocks_that_underflow() {
    for (format, largest) in [
        (BlockFormat::Q8_0, 127.0 * 2_f32.powi(-25)),
        (BlockFormat::Q4_0, 2_f32.powi(-22)),
        (BlockFormat::Q5_0, 2_f32.powi(-21)),
        // Half of half of 2⁻¹²⁷.
        (BlockFormat::MxFp4, f32::from_bits(1 << 20)),
        // 2⁻¹³⁴
        (BlockFormat::MxInt8, f32::from_bits(1 << 15)),
    ] {
        every_isa(|isa| {
            for (amax, zero) in [(largest, true), (f32::from_bits(largest.to_bits() + 1), false)] {
                for amax in [amax, -amax] {
                    let mut x = [amax / 3.0; 32];
                    x[7] = amax;
                    let mut bytes = vec![0; format.block_bytes()];
                    encode_blocks(isa, format, &x, &mut bytes).unwrap();
                    assert_eq!(bytes, reference::encode_blocks(format, &x));
                    let mut back = [1.0; 32];
                    decode_blocks(isa, format, &bytes, &mut back).unwrap();
                    assert_eq!(back.iter().all(|&x| x == 0.0), zero, "{isa} {format:?} {amax:e}");
                }
            }
        });
    }
    let error = |found| Err(Error::Shape { why: "no memory holds the blocks of so many values", found });
    for format in BlockFormat::ALL {
        let most = usize::MAX / format.block_length() * format.block_length();
        let bytes = (most / format.block_length()).checked_mul(format.block_bytes());
        assert_eq!(format.bytes(most), bytes.map_or_else(|| error(most), Ok), "{format:?}");
    }
    assert_eq!(BlockFormat::MxInt8.bytes(usize::MAX & !31), error(usize::MAX & !31));
}
