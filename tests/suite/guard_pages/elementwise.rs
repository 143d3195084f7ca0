//! Operations on the elements of tensors: codes of every type, reals of 32 and 16 bits, words.

use super::{Guarded, LENGTHS, Place, codes, everywhere, granularities, reals, scattered, some};
use crate::common::{emulated, every_isa};
use bytemuck::Pod;
use zeropoint::fp8::{self, Fp8, Fp8Params};
use zeropoint::random::{fill_uniform, fill_words};
use zeropoint::training::{
    ClipBounds, ClipGradients, Gradients, clip_gradients, clip_gradients_in_place, fake_quantize_gradients,
    fake_quantize_gradients_in_place,
};
use zeropoint::*;

/// Near the end of a chunk of the stream, which is in the middle of longer slices.
const STREAM: Stream = Stream { seed: 1, offset: 16_379 };

const ROUNDINGS: [Rounding; 2] = [Rounding::Nearest, Rounding::Stochastic(STREAM)];

fn params<C: Code>(range: CodeRange<C>, granularity: Granularity, length: usize) -> QuantParams<C> {
    let groups = granularity.groups(length).unwrap();
    let scales = (0..groups).map(|group| 0.02 + group as f32 * 0.001).collect();
    let zero_point = (range.min().into() + range.max().into()).midpoint(1);
    QuantParams::new(range, granularity, scales, vec![zero_point; groups]).unwrap()
}

fn of_codes<C: Code + Pod>(n: usize, range: CodeRange<C>) {
    scattered(n, LENGTHS, |place, length, number| {
        let x = Guarded::new(place, &reals(place, number, length));
        let halves = Guarded::new(place, &vec![0x3c01_u16; length]);
        let (mut out, mut half_out) = (Guarded::of(place, length, 0.0_f32), Guarded::of(place, length, 0_u16));
        let (mut codes, mut mask) = (Guarded::new(place, &codes::<C>(length)), Guarded::of(place, length, 0_u8));
        for granularity in some(place, number, &granularities(length)) {
            let params = &params(range, granularity, length);
            every_isa(|isa| {
                dequantize(isa, &codes[..], params, &mut out[..]).unwrap();
                dequantize(isa, &codes[..], params, HalvesMut::f16(&mut half_out)).unwrap();
                for rounding in some(place, number, &ROUNDINGS) {
                    quantize(isa, &x[..], params, rounding, &mut codes[..]).unwrap();
                    quantize(isa, Halves::bf16(&halves), params, rounding, &mut codes[..]).unwrap();
                    fake_quantize(isa, &x[..], params, rounding, &mut out[..]).unwrap();
                    fake_quantize(isa, &x[..], params, rounding, (&mut out[..], &mut mask[..])).unwrap();
                    let both = (HalvesMut::bf16(&mut half_out), &mut mask[..]);
                    fake_quantize(isa, Halves::f16(&halves), params, rounding, both).unwrap();
                    fake_quantize_in_place(isa, &mut out[..], params, rounding).unwrap();
                }
                straight_through(isa, &x[..], &x[..], params, &mut out[..]).unwrap();
                straight_through_in_place(isa, &x[..], &mut out[..], params).unwrap();
                straight_through_in_place(isa, Halves::f16(&halves), HalvesMut::f16(&mut half_out), params).unwrap();
            });
        }
    });
}

#[test]
fn bytes() {
    of_codes(3, CodeRange::unsigned(8).unwrap());
    of_codes(3, CodeRange::signed(3).unwrap());
}

#[test]
fn wide_codes() {
    of_codes(5, CodeRange::unsigned16(16).unwrap());
    of_codes(5, CodeRange::signed16(16).unwrap());
}

/// Two or four codes in a byte.
#[test]
fn packed_codes() {
    packed(CodeRange::unsigned(4).unwrap(), 2);
    packed(CodeRange::signed(2).unwrap(), 4);
}

fn packed<C: ByteCode + Pod>(range: CodeRange<C>, per_byte: usize) {
    fn packed<C: ByteCode>(per_byte: usize, bytes: &[u8], length: usize) -> PackedCodes<'_, C> {
        if per_byte == 2 { PackedCodes::four_bits(bytes, length) } else { PackedCodes::two_bits(bytes, length) }
            .unwrap()
    }
    fn packed_mut<C: ByteCode>(per_byte: usize, bytes: &mut [u8], length: usize) -> PackedCodesMut<'_, C> {
        let codes = if per_byte == 2 { PackedCodesMut::four_bits } else { PackedCodesMut::two_bits };
        codes(bytes, length).unwrap()
    }
    everywhere(LENGTHS, |place, length, number| {
        let x = Guarded::new(place, &reals(place, number, length));
        let mut bytes = Guarded::of(place, length.div_ceil(per_byte), 0_u8);
        let (mut out, mut codes) = (Guarded::of(place, length, 0.0_f32), Guarded::of(place, length, C::default()));
        for granularity in some(place, number, &granularities(length)) {
            let params = &params(range, granularity, length);
            every_isa(|isa| {
                for rounding in some(place, number, &ROUNDINGS) {
                    quantize(isa, &x[..], params, rounding, packed_mut(per_byte, &mut bytes, length)).unwrap();
                }
                dequantize(isa, packed(per_byte, &bytes, length), params, &mut out[..]).unwrap();
                raw::unpack_codes(isa, packed(per_byte, &bytes, length), &mut codes).unwrap();
                raw::pack_codes(isa, &codes, C::default(), packed_mut(per_byte, &mut bytes, length)).unwrap();
            });
        }
    });
}

/// Rows that end where the memory ends, and other memory between them.
#[test]
fn rows_with_gaps() {
    everywhere(LENGTHS, |place, columns, number| {
        let (rows, stride) = (3, columns + number % 5);
        let length = (rows - 1) * stride + columns;
        let x = Guarded::new(place, &reals(place, number, length));
        let (mut codes, mut out) = (Guarded::of(place, length, 0_u8), Guarded::of(place, length, 0.0_f32));
        let shape = [rows, columns];
        let granularities = [
            Granularity::channel(&shape, 0).unwrap(),
            Granularity::channel(&shape, 1).unwrap(),
            Granularity::block(&shape, 7).unwrap(),
        ];
        let params = &params(CodeRange::unsigned(8).unwrap(), granularities[number % 3], rows * columns);
        every_isa(|isa| {
            let x = Matrix::with_stride(&x, rows, columns, stride).unwrap();
            for rounding in some(place, number, &ROUNDINGS) {
                let codes = MatrixMut::with_stride(&mut codes, rows, columns, stride).unwrap();
                quantize(isa, x, params, rounding, codes).unwrap();
                let out = MatrixMut::with_stride(&mut out, rows, columns, stride).unwrap();
                fake_quantize(isa, x, params, rounding, out).unwrap();
            }
            let codes = Matrix::with_stride(&codes, rows, columns, stride).unwrap();
            let out = MatrixMut::with_stride(&mut out, rows, columns, stride).unwrap();
            dequantize(isa, codes, params, out).unwrap();
        });
    });
}

/// What no cache holds, and is written past them.
#[test]
fn long_tensors() {
    if emulated() {
        return;
    }
    let length = (7 << 20) + 45;
    let params = params(CodeRange::unsigned(8).unwrap(), Granularity::Tensor, length);
    for place in [Place::Behind(21), Place::Before(0)] {
        let (x, mut out) = (Guarded::new(place, &reals(place, 0, length)), Guarded::of(place, length, 0.0_f32));
        let mut codes = Guarded::of(place, length, 0_u8);
        every_isa(|isa| {
            quantize(isa, &x[..], &params, Rounding::Nearest, &mut codes[..]).unwrap();
            dequantize(isa, &codes[..], &params, &mut out[..]).unwrap();
            fake_quantize(isa, &x[..], &params, Rounding::Nearest, &mut out[..]).unwrap();
            fill_uniform(isa, STREAM, &mut out).unwrap();
            assert!(min_max(isa, &out).unwrap().max < 1.0);
        });
    }
}

#[test]
fn eight_bit_floats() {
    everywhere(LENGTHS, |place, length, number| {
        let x = Guarded::new(place, &reals(place, number, length));
        let halves = Guarded::new(place, &vec![0x3c01_u16; length]);
        let (mut out, mut half_out) = (Guarded::of(place, length, 0.0_f32), Guarded::of(place, length, 0_u16));
        let mut bytes = Guarded::of(place, length, 0_u8);
        let formats = [Fp8::E4M3, Fp8::E5M2].into_iter().cycle().skip(number % 2);
        for (format, granularity) in formats.zip(some(place, number, &granularities(length))) {
            let scales = Guarded::of(place, granularity.groups(length).unwrap(), 0.5_f32);
            let params = &Fp8Params::new(format, granularity, &scales).unwrap();
            every_isa(|isa| {
                for rounding in some(place, number, &ROUNDINGS) {
                    fp8::encode(isa, &x[..], params, rounding, &mut bytes[..]).unwrap();
                    fp8::encode(isa, Halves::f16(&halves), params, rounding, &mut bytes[..]).unwrap();
                }
                fp8::decode(isa, &bytes[..], params, &mut out[..]).unwrap();
                fp8::decode(isa, &bytes[..], params, HalvesMut::bf16(&mut half_out)).unwrap();
            });
        }
    });
}

/// Words of the stream, and conversions of reals.
#[test]
fn words_and_halves() {
    scattered(3, LENGTHS, |place, length, _| {
        let (mut words, mut real) = (Guarded::of(place, length, 0_u32), Guarded::of(place, length, 0.0_f32));
        let mut halves = Guarded::of(place, length, 0_u16);
        every_isa(|isa| {
            fill_words(isa, STREAM, &mut words).unwrap();
            fill_uniform(isa, STREAM, &mut real).unwrap();
            raw::narrow(isa, &real, HalvesMut::f16(&mut halves)).unwrap();
            raw::narrow(isa, &real, HalvesMut::bf16(&mut halves)).unwrap();
            raw::widen(isa, Halves::f16(&halves), &mut real).unwrap();
            raw::widen(isa, Halves::bf16(&halves), &mut real).unwrap();
        });
    });
}

#[test]
fn gradients() {
    everywhere(LENGTHS, |place, length, number| {
        let (x, upstream) =
            (Guarded::new(place, &reals(place, number, length)), Guarded::new(place, &super::finite(length)));
        let mut out = Guarded::of(place, length, 0.0_f32);
        for granularity in some(place, number, &granularities(length)) {
            let params = &params(CodeRange::signed(4).unwrap(), granularity, length);
            let groups = granularity.groups(length).unwrap();
            let (mut scales, mut zero_points) =
                (Guarded::of(place, groups, 0.0_f64), Guarded::of(place, groups, 0.0_f64));
            let bounds = Guarded::of(place, groups, 0.5_f32);
            let clips = [ClipBounds::one_sided, ClipBounds::symmetric].map(|of| of(granularity, &bounds).unwrap());
            every_isa(|isa| {
                for rounding in some(place, number, &ROUNDINGS) {
                    let gradients =
                        Gradients { x: &mut out[..], scales: &mut scales, zero_points: Some(&mut zero_points) };
                    fake_quantize_gradients(isa, &x[..], &upstream[..], params, rounding, gradients).unwrap();
                    let gradients = Gradients { x: &mut out[..], scales: &mut scales, zero_points: None };
                    fake_quantize_gradients_in_place(isa, &x[..], params, rounding, gradients).unwrap();
                }
                for clip in &clips {
                    let gradients = ClipGradients { x: &mut out[..], bounds: &mut scales };
                    clip_gradients(isa, &x[..], &upstream[..], clip, gradients).unwrap();
                    let gradients = ClipGradients { x: &mut out[..], bounds: &mut scales };
                    clip_gradients_in_place(isa, &x[..], clip, gradients).unwrap();
                }
            });
        }
    });
}

/// Codes from codes: other parameters, sums, concatenation.
#[test]
fn rescaled() {
    everywhere(LENGTHS, |place, columns, number| {
        let rows = 2;
        let length = rows * columns;
        let (a, b) = (Guarded::new(place, &codes::<u8>(length)), Guarded::new(place, &codes::<i8>(length)));
        let (mut out, mut beside) = (Guarded::of(place, length, 0_i8), Guarded::of(place, 2 * length, 0_u8));
        let granularity = if number.is_multiple_of(2) {
            Granularity::channel(&[rows, columns], 0).unwrap()
        } else {
            Granularity::channel(&[rows, columns], 1).unwrap()
        };
        let a_params = params(CodeRange::unsigned(8).unwrap(), granularity, length);
        let b_params = params(CodeRange::signed(8).unwrap(), Granularity::Tensor, length);
        let y = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.1, 3).unwrap();
        every_isa(|isa| {
            let a = Quantized::new(Matrix::new(&a, rows, columns).unwrap(), &a_params).unwrap();
            let b = Quantized::new(Matrix::new(&b, rows, columns).unwrap(), &b_params).unwrap();
            for rounding in some(place, number, &ROUNDINGS) {
                rescale::requantize(isa, a, &b_params, rounding, &mut out[..]).unwrap();
                rescale::add(isa, a, b, &b_params, rounding, &mut out[..]).unwrap();
                rescale::concat(isa, &[a, a], &y, rounding, &mut beside[..]).unwrap();
            }
        });
    });
}
