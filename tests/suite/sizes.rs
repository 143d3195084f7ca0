//! Sizes that come from a caller: nothing is allocated, and no loop runs, that data in memory does not bound.

use crate::common::every_isa;
use zeropoint::formats::BlockFormat;
use zeropoint::groups::{self, Activations, PackedWeights, RealStage, Weights};
use zeropoint::layers::Linear;
use zeropoint::{
    Accumulators, CodeRange, Dequantize, Granularity, Matrix, MatrixMut, PackedMatrix, QuantParams, Quantized,
    UnpackedMatrix, matmul, raw,
};

/// The smallest square that a bound of a thousandth of the address space would refuse on 32-bit targets.
#[test]
fn weights_of_more_than_two_mebibytes() {
    let n = 1449;
    let b: Vec<i8> = (0..n * n).map(|i| (i % 251) as i8).collect();
    let a: Vec<u8> = (0..n).map(|k| (k % 256) as u8).collect();
    let product = |at: &dyn Fn(usize, usize) -> usize| -> Vec<i32> {
        (0..n).map(|j| (0..n).map(|k| (i32::from(a[k]) - 9) * i32::from(b[at(k, j)])).sum()).collect()
    };
    let (want, transposed) = (product(&|k, j| k * n + j), product(&|k, j| j * n + k));
    let (a, b) = (Matrix::new(&a, 1, n).unwrap(), Matrix::new(&b, n, n).unwrap());
    every_isa(|isa| {
        let mut out = vec![0; n];
        let packed = raw::pack(isa, b, 0.into()).unwrap();
        raw::matmul(isa, a, 9.into(), &packed, &Accumulators, MatrixMut::new(&mut out, 1, n).unwrap()).unwrap();
        assert_eq!(out, want, "{isa}");
        let packed = raw::pack_transposed(isa, b, 0.into()).unwrap();
        raw::matmul(isa, a, 9.into(), &packed, &Accumulators, MatrixMut::new(&mut out, 1, n).unwrap()).unwrap();
        assert_eq!(out, transposed, "{isa}");
        let unpacked = raw::unpacked(isa, b, 0.into()).unwrap();
        raw::matmul(isa, a, 9.into(), &unpacked, &Accumulators, MatrixMut::new(&mut out, 1, n).unwrap()).unwrap();
        assert_eq!(out, want, "unpacked, {isa}");
        let unpacked = raw::unpacked_transposed(isa, b, 0.into()).unwrap();
        raw::matmul(isa, a, 9.into(), &unpacked, &Accumulators, MatrixMut::new(&mut out, 1, n).unwrap()).unwrap();
        assert_eq!(out, transposed, "unpacked and transposed, {isa}");
    });
}

/// A single tile of rows by columns whose accumulators are made in several parts.
#[test]
fn very_many_columns() {
    let (m, n) = (3, 70_000);
    let b: Vec<i8> = (0..2 * n).map(|i| (i % 251) as i8).collect();
    let a = [3_u8, 200, 0, 17, 255, 1];
    let value =
        |i: usize, j: usize| (0..2).map(|k| (i32::from(a[2 * i + k]) - 5) * (i32::from(b[k * n + j]) + 3)).sum();
    let want: Vec<i32> = (0..m * n).map(|at| value(at / n, at % n)).collect();
    every_isa(|isa| {
        let unpacked = raw::unpacked(isa, Matrix::new(&b, 2, n).unwrap(), (-3).into()).unwrap();
        let mut out = vec![0; m * n];
        let out_matrix = MatrixMut::new(&mut out, m, n).unwrap();
        raw::matmul(isa, Matrix::new(&a, m, 2).unwrap(), 5.into(), &unpacked, &Accumulators, out_matrix).unwrap();
        assert!(out == want, "{isa}");
    });
}

/// Matrices without elements have any length, as a corrupt header of a file may say; and so have the products of them that
/// have no elements.
#[test]
fn empty_matrices_of_any_length() {
    let i8s = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.5, 0).unwrap();
    let u8s = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.5, 3).unwrap();
    for long in [1 << 20, usize::MAX / 2, usize::MAX - 1, usize::MAX] {
        let wide = Matrix::<i8>::new(&[], 0, long).unwrap();
        let high = Matrix::<i8>::new(&[], long, 0).unwrap();
        let (wide, high) = (Quantized::new(wide, &i8s).unwrap(), Quantized::new(high, &i8s).unwrap());
        every_isa(|isa| {
            let no_rows = |depth| Quantized::new(Matrix::<u8>::new(&[], 0, depth).unwrap(), &u8s).unwrap();
            let very_many_rows = Quantized::new(Matrix::<u8>::new(&[], long, 0).unwrap(), &u8s).unwrap();
            let mut out = [0_i32; 0];
            // Depth 0, and no or very many columns; very great depth, and no columns.
            for packed in [
                PackedMatrix::pack_columns(isa, wide).unwrap(),
                PackedMatrix::pack(isa, high).unwrap(),
                Linear::new(isa, high).unwrap().into_weights(),
            ] {
                assert_eq!((packed.depth(), packed.columns()), (0, long));
                let out = MatrixMut::new(&mut out, 0, long).unwrap();
                matmul(isa, no_rows(0), &packed, &Accumulators, out).unwrap();
            }
            for packed in [PackedMatrix::pack_columns(isa, high).unwrap(), PackedMatrix::pack(isa, wide).unwrap()] {
                assert_eq!((packed.depth(), packed.columns()), (long, 0));
                // The depth is checked even where there is no sum.
                let out = MatrixMut::new(&mut out, 0, 0).unwrap();
                assert!(matmul(isa, no_rows(long), &packed, &Accumulators, out).is_err());
            }
            let unpacked = UnpackedMatrix::new(isa, wide).unwrap();
            matmul(isa, no_rows(0), &unpacked, &Accumulators, MatrixMut::new(&mut out, 0, long).unwrap()).unwrap();
            UnpackedMatrix::<u8, i8>::new(isa, high).unwrap();
            let nothing =
                PackedMatrix::<u8, i8>::pack(isa, Quantized::new(Matrix::new(&[], 0, 0).unwrap(), &i8s).unwrap());
            let mut real = [0.0; 0];
            let out = MatrixMut::new(&mut real, long, 0).unwrap();
            matmul(isa, very_many_rows, &nothing.unwrap(), &Dequantize::new(), out).unwrap();

            for format in BlockFormat::ALL {
                let packed = PackedWeights::from_format(isa, format, &[], long, 0).unwrap();
                assert_eq!((packed.depth(), packed.outputs()), (0, long));
                let out = MatrixMut::new(&mut real, 0, long).unwrap();
                let x = Activations::quantized(no_rows(0)).unwrap();
                groups::matmul(isa, &x, &packed, &RealStage::new(), out).unwrap();
                let depth = long / 256 * 256;
                let packed = PackedWeights::from_format(isa, format, &[], 0, depth).unwrap();
                assert_eq!((packed.depth(), packed.outputs()), (depth, 0));
                let out = MatrixMut::new(&mut real, 0, 0).unwrap();
                let x = Activations::quantized(no_rows(depth)).unwrap();
                groups::matmul(isa, &x, &packed, &RealStage::new(), out).unwrap();
            }
            for (length, bits) in [(32, 4), (long, 2), (usize::MAX, 3), (long, 8)] {
                let weights = Matrix::<u8>::new(&[], 0, long).unwrap();
                let weights = Weights::new(weights, CodeRange::unsigned(bits).unwrap(), length, &[]).unwrap();
                let packed = PackedWeights::pack(isa, &weights).unwrap();
                assert_eq!((packed.depth(), packed.outputs(), packed.bytes()), (long, 0, 0));
            }
            let weights = Matrix::<i8>::new(&[], long, 0).unwrap();
            let weights = Weights::new(weights, CodeRange::signed(4).unwrap(), 32, &[]).unwrap();
            let packed = PackedWeights::pack(isa, &weights).unwrap();
            assert_eq!((packed.depth(), packed.outputs()), (0, long));
        });
    }
}

/// Groups that a shape promises for a tensor that is not there.
#[test]
fn ranges_of_nothing() {
    let huge = Granularity::channel(&[0, usize::MAX / 32], 1).unwrap();
    every_isa(|isa| {
        let empty = zeropoint::Error::Empty { what: "the tensor", group: None };
        assert_eq!(zeropoint::ranges(isa, &[], huge).unwrap_err(), empty);
    });
}

/// Panels that the address space does not hold, of a matrix that it holds.
#[cfg(target_pointer_width = "32")]
#[test]
fn panels_beyond_the_address_space() {
    let b = vec![0_i8; 1 << 28];
    every_isa(|isa| {
        let packed = raw::pack::<u8, i8>(isa, Matrix::new(&b, b.len(), 1).unwrap(), 0.into());
        assert!(matches!(packed, Err(zeropoint::Error::Memory { .. })), "{isa}");
    });
}
