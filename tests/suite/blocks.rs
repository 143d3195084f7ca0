//! Products with block-scaled weights equal the reference on every ISA, bit for bit.

use crate::common::{Ranges, bits, codes, every_isa, zero_points};
use proptest::prelude::*;
use zeropoint::formats::{BlockFormat, PackedBlocks, encode_blocks, split_blocks};
use zeropoint::{
    ByteCode, CodeRange, Error, Granularity, Isa, Matrix, MatrixMut, QuantParams, Quantized, raw, reference,
};

#[derive(Debug)]
struct Problem<A> {
    /// M, N, blocks, and what lies between the rows of A.
    shape: [usize; 4],
    /// The length of a block.
    block: usize,
    a: Vec<A>,
    each: Vec<i32>,
    a_scales: Vec<f32>,
    weights: Vec<i8>,
    w_scales: Vec<f32>,
}

fn scale() -> impl Strategy<Value = f32> {
    prop_oneof![6 => 1e-3_f32..2.0, 1 => Just(0.0), 1 => -1.0_f32..1.0, 1 => any::<u32>().prop_map(f32::from_bits)]
}

fn problems<A: Ranges + ByteCode>() -> impl Strategy<Value = Problem<A>> {
    let block = prop_oneof![Just(32_usize), Just(16), Just(48), Just(64), Just(128), Just(272)];
    let shape = (prop_oneof![1_usize..4, 1_usize..20], 1_usize..70, 0_usize..4, 0_usize..3, block);
    shape.prop_flat_map(|(m, n, blocks, gap, block)| {
        (
            prop::collection::vec(codes::<A>(), m * (blocks * block + gap)),
            prop::collection::vec(zero_points::<A>(), m),
            prop::collection::vec(scale(), (m * blocks).max(m)),
            prop::collection::vec(codes::<i8>(), n * blocks * block),
            prop::collection::vec(scale(), n * blocks),
        )
            .prop_map(move |(a, each, a_scales, weights, w_scales)| Problem {
                shape: [m, n, blocks, gap],
                block,
                a,
                each,
                a_scales,
                weights,
                w_scales,
            })
    })
}

fn product<A: Ranges + ByteCode>(
    isa: Isa,
    a: &raw::BlockActivations<'_, A>,
    packed: &PackedBlocks<A>,
    m: usize,
) -> Vec<u32> {
    let n = packed.outputs();
    let mut out = vec![7.0; m * n];
    raw::matmul_blocks(isa, a, packed, MatrixMut::new(&mut out, m, n).unwrap()).unwrap();
    assert_eq!(packed.isa(), isa);
    bits(&out)
}

fn product_equals_reference<A: Ranges + ByteCode>(problem: &Problem<A>) {
    let Problem { shape: [m, n, blocks, gap], block: length, a, each, a_scales, weights, w_scales } = problem;
    let (&m, &n, &length, depth) = (m, n, length, blocks * length);
    let a = Matrix::with_stride(a, m, depth, depth + gap).unwrap();
    let weights = Matrix::new(weights, n, depth).unwrap();
    let w = |j: usize, block: usize| w_scales[j * blocks + block];
    let each: raw::ZeroPoints<'_> = each.as_slice().into();
    let uniform = each.at(0).into();
    let per_row = bits(&reference::matmul_blocks(length, a, each, |i, _| a_scales[i], weights, w));
    let per_tensor = bits(&reference::matmul_blocks(length, a, uniform, |_, _| a_scales[0], weights, w));
    let per_block =
        bits(&reference::matmul_blocks(length, a, 0.into(), |i, block| a_scales[i * blocks + block], weights, w));
    every_isa(|isa| {
        let packed = raw::pack_blocks(isa, weights, length, w_scales).unwrap();
        let rows = raw::BlockActivations::per_row(a, each, &a_scales[..m]).unwrap();
        assert_eq!(product(isa, &rows, &packed, m), per_row, "{isa}");
        let tensor = raw::BlockActivations::per_row(a, uniform, &a_scales[..1]).unwrap();
        assert_eq!(product(isa, &tensor, &packed, m), per_tensor, "{isa}");
        let each_block = raw::BlockActivations::per_block(a, length, &a_scales[..m * blocks]).unwrap();
        assert_eq!(product(isa, &each_block, &packed, m), per_block, "{isa}");
    });
}

proptest! {
    #![proptest_config(crate::common::cases(100))]

    #[test]
    fn unsigned(problem in problems::<u8>()) {
        product_equals_reference(&problem);
    }

    #[test]
    fn signed(problem in problems::<i8>()) {
        product_equals_reference(&problem);
    }
}

/// Weights `[K, N]` in groups along K are those `[N, K]` in groups along K: the same products, and the same errors.
#[test]
fn groups_along_columns() {
    let (m, n, depth, length) = (3, 37, 128, 32);
    let blocks = depth / length;
    let weight = |k: usize, j: usize| ((k * 37 + j * 101) % 251) as u8 as i8;
    let by_row: Vec<i8> = (0..n).flat_map(|j| (0..depth).map(move |k| weight(k, j))).collect();
    let by_column: Vec<i8> = (0..depth).flat_map(|k| (0..n).map(move |j| weight(k, j))).collect();
    let scale = |block: usize, j: usize| 0.001 * (1 + block * n + j) as f32;
    let row_scales: Vec<f32> = (0..n).flat_map(|j| (0..blocks).map(move |block| scale(block, j))).collect();
    let column_scales: Vec<f32> = (0..blocks).flat_map(|block| (0..n).map(move |j| scale(block, j))).collect();
    let codes = CodeRange::signed(8).unwrap();
    let rows =
        QuantParams::new(codes, Granularity::block(&[n, depth], length).unwrap(), row_scales, vec![0; n * blocks]);
    let along_columns = Granularity::block_along(&[depth, n], 0, length).unwrap();
    let columns = QuantParams::new(codes, along_columns, column_scales.clone(), vec![0; n * blocks]).unwrap();
    let (rows, a) = (rows.unwrap(), (0..m * depth).map(|i| (i * 31 % 256) as u8).collect::<Vec<u8>>());
    let rows = Quantized::new(Matrix::new(&by_row, n, depth).unwrap(), &rows).unwrap();
    let columns = Quantized::new(Matrix::new(&by_column, depth, n).unwrap(), &columns).unwrap();
    let a = raw::BlockActivations::per_row(Matrix::new(&a, m, depth).unwrap(), 117.into(), &[0.5]).unwrap();
    every_isa(|isa| {
        let want = product(isa, &a, &PackedBlocks::<u8>::pack(isa, rows).unwrap(), m);
        assert_eq!(product(isa, &a, &PackedBlocks::<u8>::pack_columns(isa, columns).unwrap(), m), want, "{isa}");
        assert!(matches!(PackedBlocks::<u8>::pack(isa, columns), Err(Error::Shape { .. })));
        assert!(matches!(PackedBlocks::<u8>::pack_columns(isa, rows), Err(Error::Shape { .. })));
        let mut zero_points = vec![0; n * blocks];
        zero_points[40] = 3;
        let shifted = QuantParams::new(codes, along_columns, column_scales.clone(), zero_points).unwrap();
        let shifted = Quantized::new(columns.codes(), &shifted).unwrap();
        let error = Error::ZeroPoint { index: 40, zero_point: 3, min: 0, max: 0 };
        assert_eq!(PackedBlocks::<u8>::pack_columns(isa, shifted).err(), Some(error));
        let uneven = Granularity::block_along(&[depth, n], 0, 48).unwrap();
        let uneven = QuantParams::new(codes, uneven, vec![1.0; 3 * n], vec![0; 3 * n]).unwrap();
        let uneven = Quantized::new(columns.codes(), &uneven).unwrap();
        let error = Error::Multiple { what: "the depth", unit: 48, found: depth };
        assert_eq!(PackedBlocks::<u8>::pack_columns(isa, uneven).err(), Some(error));
    });
}

/// Encoded weights, and encoded activations beside them: close to the product of what they stand for, and the same everywhere.
#[test]
fn encoded() {
    let (m, n, depth) = (5, 37, 192);
    let numbers = |count: usize, seed: u32| -> Vec<f32> {
        let number = |i: u32| ((i + seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
        (0..count as u32).map(number).collect()
    };
    let (x, w) = (numbers(m * depth, 1), numbers(n * depth, 77));
    let mut first: Option<Vec<Vec<u32>>> = None;
    every_isa(|isa| {
        let encoded = |format: BlockFormat, x: &[f32]| {
            let mut bytes = vec![0; format.bytes(x.len()).unwrap()];
            encode_blocks(isa, format, x, &mut bytes).unwrap();
            bytes
        };
        let results = BlockFormat::ALL.map(|format| {
            // Activations of Q8_0, or of the same format where that has other blocks.
            let length = format.block_length();
            let of_x = if length == BlockFormat::Q8_0.block_length() { BlockFormat::Q8_0 } else { format };
            let q8 = encoded(of_x, &x);
            let (mut codes, mut scales) = (vec![0; x.len()], vec![0.0; x.len() / length]);
            split_blocks(isa, of_x, &q8, &mut codes, &mut scales).unwrap();
            let a = raw::BlockActivations::per_block(Matrix::new(&codes, m, depth).unwrap(), length, &scales).unwrap();
            let real_x = reference::decode_blocks(of_x, &q8);
            let bytes = encoded(format, &w);
            let packed = PackedBlocks::from_format(isa, format, &bytes, n, depth).unwrap();
            let out = product(isa, &a, &packed, m);
            let real_w = reference::decode_blocks(format, &bytes);
            for (at, &out) in out.iter().enumerate() {
                let (x, w) = (&real_x[at / n * depth..][..depth], &real_w[at % n * depth..][..depth]);
                let exact: f64 = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                assert!((f64::from(f32::from_bits(out)) - exact).abs() < 1e-4, "{isa} {format:?}");
            }
            out
        });
        assert_eq!(*first.get_or_insert_with(|| results.to_vec()), results, "{isa}");
    });
}

#[test]
fn shapes_that_do_not_fit() {
    every_isa(|isa| {
        let codes = [0_i8; 96];
        let rows = |count: usize| Matrix::new(&codes[..count * 32], count, 32).unwrap();
        let odd = raw::pack_blocks::<u8>(isa, Matrix::new(&codes[..33], 1, 33).unwrap(), 32, &[1.0]);
        for length in [0, 8, 40, 1 << 17] {
            let refused = raw::pack_blocks::<u8>(isa, rows(2), length, &[1.0; 2]);
            assert!(matches!(refused, Err(Error::Shape { found, .. }) if found == length), "{refused:?}");
        }
        assert!(matches!(odd, Err(Error::Multiple { unit: 32, found: 33, .. })));
        assert!(raw::pack_blocks::<u8>(isa, rows(2), 32, &[1.0]).is_err());
        assert!(PackedBlocks::<u8>::from_format(isa, BlockFormat::Q4_0, &[0; 35], 2, 32).is_err());
        assert!(PackedBlocks::<u8>::from_format(isa, BlockFormat::Q4_0, &[], usize::MAX, usize::MAX & !31).is_err());
        assert!(raw::BlockActivations::per_row(rows(2), 0.into(), &[1.0; 3]).is_err());
        assert!(raw::BlockActivations::per_row(rows(2), 200.into(), &[1.0]).is_err());
        assert!(raw::BlockActivations::per_block(rows(2), 32, &[1.0]).is_err());
        let packed = raw::pack_blocks::<i8>(isa, rows(3), 32, &[1.0; 3]).unwrap();
        let a = raw::BlockActivations::per_row(rows(2), 0.into(), &[1.0]).unwrap();
        let mut out = [5.0; 6];
        assert!(raw::matmul_blocks(isa, &a, &packed, MatrixMut::new(&mut out, 3, 2).unwrap()).is_err());
        let deeper = Matrix::new(&codes[..64], 1, 64).unwrap();
        let deeper = raw::BlockActivations::per_row(deeper, 0.into(), &[1.0]).unwrap();
        assert!(raw::matmul_blocks(isa, &deeper, &packed, MatrixMut::new(&mut out[..3], 1, 3).unwrap()).is_err());
        let packed = raw::pack_blocks::<i8>(isa, Matrix::new(&codes[..64], 1, 64).unwrap(), 64, &[1.0]).unwrap();
        let shorter = Matrix::new(&codes[..64], 1, 64).unwrap();
        let shorter = raw::BlockActivations::per_block(shorter, 32, &[1.0; 2]).unwrap();
        let refused = raw::matmul_blocks(isa, &shorter, &packed, MatrixMut::new(&mut out[..1], 1, 1).unwrap());
        assert!(matches!(refused, Err(Error::Shape { found: 32, .. })));
        assert_eq!(out, [5.0; 6], "untouched");
    });
}
