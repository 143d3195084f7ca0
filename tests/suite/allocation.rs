//! What is repeated does not allocate: its workspace belongs to the thread, and so does the memory of a result that was dropped.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::slice::from_ref;

use crate::common::{every_isa, quantize_dynamic};
use zeropoint::groups::{self, Activations, PackedWeights, RealStage, Weights};
use zeropoint::{
    Accumulators, Batch, CodeRange, Granularity, Halves, Matrix, MatrixMut, QuantParams, Quantized, Rule, Scheme,
    Stream, int16x8, matmul_batch, raw,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Allocations of this thread so far.
pub fn allocations() -> usize {
    ALLOCATIONS.get()
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn repeated_products() {
    for [m, n, k] in [[1, 100, 130], [17, 33, 65], [40, 300, 1024]] {
        let (a, b) = (vec![200_u8; m * k], vec![-3_i8; k * n]);
        let zero_points: Vec<i32> = (0..n as i32).map(|j| j % 100).collect();
        let stage = raw::requantize(Rule::Float, &vec![0.01; n], 3, 0..=255_u8).unwrap();
        let a_params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.01, 9).unwrap();
        let (mut sums, mut codes) = (vec![0; m * n], vec![0; m * n]);
        every_isa(|isa| {
            let a = Matrix::new(&a, m, k).unwrap();
            let transposed = Matrix::new(&b, n, k).unwrap();
            let b = Matrix::new(&b, k, n).unwrap();
            let packed = raw::pack(isa, b, zero_points[..].into()).unwrap();
            let unpacked = raw::unpacked(isa, b, zero_points[..].into()).unwrap();
            let transposed = raw::unpacked_transposed(isa, transposed, zero_points[..].into()).unwrap();
            let mut products = || {
                let before = ALLOCATIONS.get();
                let stochastic = stage.stochastic(Stream::new(1)).unwrap();
                raw::matmul(isa, a, 9.into(), &packed, &Accumulators, MatrixMut::new(&mut sums, m, n).unwrap())
                    .unwrap();
                raw::matmul(isa, a, 9.into(), &packed, &stage, MatrixMut::new(&mut codes, m, n).unwrap()).unwrap();
                raw::matmul(isa, a, 9.into(), &packed, &stochastic, MatrixMut::new(&mut codes, m, n).unwrap()).unwrap();
                raw::matmul(isa, a, 9.into(), &unpacked, &Accumulators, MatrixMut::new(&mut sums, m, n).unwrap())
                    .unwrap();
                raw::matmul(isa, a, 9.into(), &transposed, &Accumulators, MatrixMut::new(&mut sums, m, n).unwrap())
                    .unwrap();
                let out = Batch::stacked(MatrixMut::new(&mut sums, m, n).unwrap(), m);
                let each_row = Batch::stacked(Quantized::new(a, &a_params).unwrap(), m);
                matmul_batch(isa, each_row, from_ref(&unpacked), &Accumulators, out).unwrap();
                ALLOCATIONS.get() - before
            };
            // Memory goes from one use to another until all of it is large enough for any.
            let counts = [products(), products(), products(), products()];
            assert_eq!(counts[3], 0, "{isa} {m}x{n}x{k}: {counts:?}");
        });
    }
    assert!(ALLOCATIONS.get() > 0, "nothing was counted");
}

#[test]
fn repeated_products_of_i16() {
    let codes = (CodeRange::signed16(16).unwrap(), CodeRange::signed(8).unwrap());
    let x_params = QuantParams::per_tensor(codes.0, 1e-4, 0).unwrap();
    let w_params = QuantParams::per_tensor(codes.1, 0.01, 0).unwrap();
    for [m, n, k] in [[1, 100, 131], [40, 300, 1024]] {
        let (a, w, mut out) = (vec![-200_i16; m * k], vec![-3_i8; k * n], vec![0_i16; m * n]);
        every_isa(|isa| {
            let x = Quantized::new(Matrix::new(&a, m, k).unwrap(), &x_params).unwrap();
            let weights = Quantized::new(Matrix::new(&w, n, k).unwrap(), &w_params).unwrap();
            let weights = int16x8::PackedMatrix::pack(isa, weights).unwrap();
            let stage = int16x8::Requantize::new(&weights, &x_params, &x_params, int16x8::Rule::Float).unwrap();
            let mut product = || {
                let before = ALLOCATIONS.get();
                int16x8::matmul(isa, x, &weights, &stage, MatrixMut::new(&mut out, m, n).unwrap()).unwrap();
                ALLOCATIONS.get() - before
            };
            let counts = [product(), product(), product(), product()];
            assert_eq!(counts[3], 0, "{isa} {m}x{n}x{k}: {counts:?}");
        });
    }
}

/// Products of weights in groups, by activations that are quantized in the call.
#[test]
fn repeated_products_of_groups() {
    let [m, n, k] = [9, 100, 96];
    let (x, codes, mut out) = (vec![0.5; m * k], vec![1_u8; n * k], vec![0.0; m * n]);
    let scales = vec![0x3c00; n * k / 32];
    let zero_points: Vec<i32> = (0..scales.len() as i32).map(|group| group % 4).collect();
    let stage = RealStage::new().with_bias(&vec![1.0; n]).unwrap();
    every_isa(|isa| {
        let codes = Matrix::new(&codes, n, k).unwrap();
        let weights = Weights::new(codes, CodeRange::unsigned(2).unwrap(), 32, Halves::f16(&scales)).unwrap();
        let packed = PackedWeights::pack(isa, &weights.with_zero_points(&zero_points).unwrap()).unwrap();
        let x = Matrix::new(&x, m, k).unwrap();
        let mut products = || {
            let before = ALLOCATIONS.get();
            for scheme in [Scheme::SYMMETRIC, Scheme::ASYMMETRIC] {
                groups::matmul(isa, &Activations::reals(x, scheme), &packed, &stage, &mut out).unwrap();
            }
            ALLOCATIONS.get() - before
        };
        let counts = [products(), products(), products(), products()];
        assert_eq!(counts[3], 0, "{isa}: {counts:?}");
    });
}

/// Parameters that are found, of every granularity.
#[test]
fn repeated_parameters() {
    let x: Vec<f32> = (0..64_000).map(|i| (i % 101) as f32 - 50.0).collect();
    let mut out = vec![0_u8; x.len()];
    let codes = CodeRange::unsigned(8).unwrap();
    let granularities = [
        Ok(Granularity::Tensor),
        Granularity::channel(&[640, 100], 0),
        Granularity::channel(&[640, 100], 1),
        Granularity::channel(&[16, 4000], 1),
        Granularity::block(&[640, 100], 32),
        Granularity::block(&[4000, 16], 16),
        Granularity::block_along(&[640, 100], 0, 32),
        Granularity::block_along(&[160, 400], 0, 20),
    ]
    .map(Result::unwrap);
    every_isa(|isa| {
        let mut all = || {
            let before = ALLOCATIONS.get();
            for granularity in granularities {
                quantize_dynamic(isa, &x, codes, Scheme::ASYMMETRIC, granularity, &mut out).unwrap();
            }
            ALLOCATIONS.get() - before
        };
        let counts = [all(), all(), all(), all()];
        assert_eq!(counts[3], 0, "{isa}: {counts:?}");
    });
}
