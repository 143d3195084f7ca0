//! The parallel forms give the serial bytes, for any number of threads.
#![cfg(feature = "rayon")]

mod common;

use common::every_isa;
use zeropoint::{
    Accumulators, CodeRange, Granularity, Matrix, MatrixMut, PackedMatrix, QuantParams, Stream, UnpackedMatrix,
    dequantize, fake_quantize, fake_quantize_stochastic, matmul, min_max, parallel, quantize, quantize_stochastic,
    reference,
};

fn with_threads(mut check: impl FnMut() + Send) {
    for threads in [1, 2, 3, 7] {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(&mut check);
    }
}

#[test]
fn tensors() {
    let length = 8 * parallel::PIECE + 840;
    let x: Vec<f32> = (0..length).map(|i| ((i * 2_654_435_761) as u32 >> 8) as f32 / 1e6 - 8.0).collect();
    let codes = CodeRange::signed(8).unwrap();
    let granularities = [
        Granularity::Tensor,
        Granularity::channel(&[length / 8, 8], 1).unwrap(),
        Granularity::channel(&[8, length / 8], 0).unwrap(),
        Granularity::block(&[8, length / 8], 100).unwrap(),
    ];
    for granularity in granularities {
        let groups = granularity.groups(length).unwrap();
        let scales = (0..groups).map(|group| 0.02 + group as f32 * 1e-4).collect();
        let zero_points = (0..groups).map(|group| group as i32 % 100 - 50).collect();
        let params = QuantParams::new(codes, granularity, scales, zero_points).unwrap();
        every_isa(|isa| {
            let (mut want, mut want_real, mut want_fake) = (vec![0; length], vec![0.0; length], vec![0.0; length]);
            let (mut want_stochastic, mut want_both) = (vec![0; length], vec![0.0; length]);
            let stream = Stream { seed: 1, offset: 16_384 * 9 - 701 };
            quantize_stochastic(isa, &x, &params, stream, &mut want_stochastic).unwrap();
            fake_quantize_stochastic(isa, &x, &params, stream, &mut want_both).unwrap();
            quantize(isa, &x, &params, &mut want).unwrap();
            dequantize(isa, &want, &params, &mut want_real).unwrap();
            fake_quantize(isa, &x, &params, &mut want_fake).unwrap();
            with_threads(|| {
                let (mut out, mut real) = (vec![0; length], vec![0.0; length]);
                parallel::quantize(isa, &x, &params, &mut out).unwrap();
                assert!(out == want, "{isa} {granularity:?}");
                parallel::dequantize(isa, &out, &params, &mut real).unwrap();
                assert!(real == want_real, "{isa} {granularity:?}");
                parallel::fake_quantize(isa, &x, &params, &mut real).unwrap();
                assert!(real == want_fake, "{isa} {granularity:?}");
                parallel::quantize_stochastic(isa, &x, &params, stream, &mut out).unwrap();
                assert!(out == want_stochastic, "{isa} {granularity:?}");
                parallel::fake_quantize_stochastic(isa, &x, &params, stream, &mut real).unwrap();
                assert!(real == want_both, "{isa} {granularity:?}");
                assert_eq!(parallel::min_max(isa, &x), min_max(isa, &x), "{isa}");
            });
        });
    }
}

#[test]
fn words() {
    let length = 8 * parallel::PIECE + 840;
    for offset in [0, 1, 16_383, 16_384, u64::MAX - length as u64 + 1] {
        let stream = Stream { seed: 6, offset };
        let (want, want_uniform) = (reference::words(stream, length), reference::uniform(stream, length));
        every_isa(|isa| {
            with_threads(|| {
                let (mut words, mut numbers) = (vec![0; length], vec![0.0; length]);
                parallel::fill_words(isa, stream, &mut words).unwrap();
                assert!(words == want, "{isa} {offset}");
                parallel::fill_uniform(isa, stream, &mut numbers).unwrap();
                assert!(numbers == want_uniform, "{isa} {offset}");
            });
        });
    }
}

#[test]
fn products() {
    for [m, n, k] in [[1, 4099, 300], [131, 129, 127], [3, 2000, 201], [2001, 9, 70]] {
        let a: Vec<u8> = (0..m * k).map(|i| (i * 31 % 251) as u8).collect();
        let b: Vec<i8> = (0..k * n).map(|i| (i * 17 % 253) as u8 as i8).collect();
        let row_zero_points: Vec<i32> = (0..m as i32).map(|i| i % 256).collect();
        every_isa(|isa| {
            let packed = PackedMatrix::pack(isa, Matrix::new(&b, k, n).unwrap(), 3.into()).unwrap();
            let a = Matrix::new(&a, m, k).unwrap();
            let zero_points = || row_zero_points.as_slice().into();
            let mut want = vec![0; m * n];
            matmul(a, zero_points(), &packed, &Accumulators, MatrixMut::new(&mut want, m, n).unwrap()).unwrap();
            let unpacked = UnpackedMatrix::new(isa, Matrix::new(&b, k, n).unwrap(), 3.into()).unwrap();
            with_threads(|| {
                let mut out = vec![0; m * n];
                let c = MatrixMut::new(&mut out, m, n).unwrap();
                parallel::matmul(a, zero_points(), &packed, &Accumulators, c).unwrap();
                assert!(out == want, "{isa} {m}x{n}x{k}");
                out.fill(0);
                let c = MatrixMut::new(&mut out, m, n).unwrap();
                parallel::matmul(a, zero_points(), &unpacked, &Accumulators, c).unwrap();
                assert!(out == want, "unpacked {isa} {m}x{n}x{k}");
            });
        });
    }
}
