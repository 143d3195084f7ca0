//! Empty tensors and batches: no error where the result is empty or defined, on every ISA, and typed errors elsewhere.

use crate::calibrate::METHODS;
use crate::common::{every_isa, schemes};
use zeropoint::calibrate::{Method, MinMax, Observer, group_ranges, percentile, percentile_of_bins};
use zeropoint::formats::{BlockFormat, NvFp4, block_offsets, decode_blocks, encode_blocks, split_blocks};
use zeropoint::layers::{MaxPool2d, Window};
use zeropoint::random::{fill_uniform, fill_words};
use zeropoint::report::{quantization_error, reconstruction_error};
use zeropoint::*;

/// Granularities of empty tensors, and how many groups these have.
fn granularities() -> Vec<(Granularity, usize)> {
    let channel = |shape: &[usize], axis| Granularity::channel(shape, axis).unwrap();
    vec![
        (Granularity::Tensor, 1),
        (channel(&[0], 0), 0),
        (channel(&[0, 3], 0), 0),
        (channel(&[0, 3], 1), 3),
        (channel(&[3, 0], 0), 3),
        (channel(&[3, 0], 1), 0),
        (channel(&[0, 0], 0), 0),
        (channel(&[2, 5, 0, 7], 1), 5),
        (Granularity::block(&[0, 64], 32).unwrap(), 0),
        (Granularity::block(&[4, 0], 32).unwrap(), 0),
        (Granularity::block(&[0, 0], 1).unwrap(), 0),
        (Granularity::block_along(&[4, 0, 3], 1, 2).unwrap(), 0),
        (Granularity::block_along(&[0, 4, 3], 1, 2).unwrap(), 0),
        (Granularity::block_along(&[3, 4, 0], 1, 2).unwrap(), 0),
    ]
}

const NONE: Error = Error::Empty { what: "the tensor", group: None };

fn elementwise<C: ByteCode>(codes: CodeRange<C>, scheme: Scheme) {
    for (granularity, groups) in granularities() {
        assert_eq!(granularity.groups(0), Ok(groups), "{granularity:?}");
        every_isa(|isa| {
            let params = QuantParams::fit(isa, &[], codes, scheme, granularity).unwrap();
            let (_, zero_point) = scheme.parameters(codes, Range::default()).unwrap();
            assert_eq!(
                (params.scales(), params.zero_points()),
                (&vec![1.0; groups][..], &vec![zero_point; groups][..])
            );
            let (mut out, mut none, mut mask): ([C; 0], [f32; 0], [u8; 0]) = ([], [], []);
            for rounding in [Rounding::Nearest, Rounding::Stochastic(Stream { seed: 1, offset: u64::MAX })] {
                if scheme != scheme.stochastic() && rounding != Rounding::Nearest {
                    continue;
                }
                quantize(isa, &[], &params, rounding, &mut out).unwrap();
                fake_quantize(isa, &[], &params, rounding, &mut none).unwrap();
                fake_quantize(isa, &[], &params, rounding, (&mut none, &mut mask)).unwrap();
                fake_quantize_in_place(isa, &mut none, &params, rounding).unwrap();
            }
            dequantize(isa, &out, &params, &mut none).unwrap();
            straight_through(isa, &[], &[], &params, &mut none).unwrap();
            straight_through_in_place(isa, &[], &mut none, &params).unwrap();
            // Rows without elements, of any number, and no rows of many elements.
            for [rows, columns] in [[0, 0], [0, usize::MAX >> 8], [usize::MAX >> 8, 0]] {
                let x = Matrix::new(&[], rows, columns).unwrap();
                quantize(isa, x, &params, Rounding::Nearest, MatrixMut::new(&mut out, rows, columns).unwrap()).unwrap();
                let codes = Matrix::new(&out, rows, columns).unwrap();
                dequantize(isa, codes, &params, MatrixMut::new(&mut none, rows, columns).unwrap()).unwrap();
                fake_quantize_in_place(
                    isa,
                    MatrixMut::new(&mut none, rows, columns).unwrap(),
                    &params,
                    Rounding::Nearest,
                )
                .unwrap();
            }
            if codes.max().into() <= 7 {
                quantize(isa, &[], &params, Rounding::Nearest, PackedCodesMut::four_bits(&mut mask, 0).unwrap())
                    .unwrap();
                dequantize(isa, PackedCodes::<C>::four_bits(&mask, 0).unwrap(), &params, &mut none).unwrap();
            }
            let want = if groups == 0 { Ok(Vec::new()) } else { Err(NONE) };
            assert_eq!(ranges(isa, &[], granularity), want, "{isa} {granularity:?}");
            let minmax = Method::MinMax.observer(codes, scheme, 1).unwrap();
            assert_eq!(group_ranges(isa, &[], granularity, &minmax), want, "{isa} {granularity:?}");
            assert_eq!(quantization_error(isa, &[], &params), Err(NONE), "{isa}");
            // What is not empty is refused as before.
            assert!(
                granularity == Granularity::Tensor
                    || quantize(isa, &[1.0], &params, Rounding::Nearest, &mut [codes.min()]).is_err()
            );
        });
    }
}

#[test]
fn elementwise_operations() {
    for scheme in schemes() {
        elementwise(CodeRange::unsigned(8).unwrap(), scheme);
        elementwise(CodeRange::narrow(4).unwrap(), scheme);
    }
}

#[test]
fn results_that_need_an_element() {
    every_isa(|isa| {
        assert_eq!(min_max(isa, &[]), Err(NONE));
        assert_eq!(abs_max(isa, &[]), Err(NONE));
        assert_eq!(reconstruction_error(isa, &[], &[]), Err(NONE));
    });
    assert_eq!(percentile(&[], 50.0), Err(NONE));
    assert_eq!(percentile_of_bins(&[], 50.0), Ok(0.0));
    assert_eq!(percentile_of_bins(&[0, 0], 50.0), Ok(0.0));
}

/// An empty batch is none: before others, between them, and alone, when there is no range.
#[test]
fn observers() {
    for method in METHODS {
        every_isa(|isa| {
            let new = || method.observer(CodeRange::unsigned(8).unwrap(), Scheme::ASYMMETRIC, 2).unwrap();
            let (mut with, mut without) = (new(), new());
            with.observe(isa.into(), &[]).unwrap();
            assert_eq!(with.range(), Err(Error::Empty { what: "what was observed", group: None }), "{method}");
            for batch in [[1.0, -2.0], [3.0, 0.5]] {
                with.observe(isa.into(), &batch).unwrap();
                with.observe(isa.into(), &[]).unwrap();
                without.observe(isa.into(), &batch).unwrap();
            }
            assert_eq!(with.range(), without.range(), "{method} {isa}");
        });
    }
    every_isa(|isa| {
        let mut rows = MinMax::new(Granularity::channel(&[2, 3], 0).unwrap());
        rows.observe(isa.into(), &[]).unwrap();
        rows.observe(isa.into(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        rows.observe(isa.into(), &[]).unwrap();
        assert_eq!(rows.ranges().unwrap(), [Range { min: 1.0, max: 3.0 }, Range { min: 4.0, max: 6.0 }]);
    });
}

#[test]
fn formats_words_and_raw_forms() {
    every_isa(|isa| {
        for format in BlockFormat::ALL {
            assert_eq!(format.bytes(0), Ok(0));
            encode_blocks(isa, format, &[], &mut []).unwrap();
            decode_blocks(isa, format, &[], &mut []).unwrap();
            split_blocks(isa, format, &[], &mut [], &mut []).unwrap();
            block_offsets(isa, format, &[], &mut []).unwrap();
        }
        assert_eq!(NvFp4::fit(isa, &[]), Ok(NvFp4::default()));
        fill_words(isa, Stream { seed: 3, offset: u64::MAX }, &mut []).unwrap();
        fill_uniform(isa, Stream { seed: 3, offset: u64::MAX }, &mut []).unwrap();
        raw::pack_codes::<u8>(isa, &[], 0, PackedCodesMut::two_bits(&mut [], 0).unwrap()).unwrap();
        raw::unpack_codes::<i8>(isa, PackedCodes::four_bits(&[], 0).unwrap(), &mut []).unwrap();
    });
    assert_eq!(raw::quantize_bias(&[], 0.5, &[]), Ok(vec![]));
    assert_eq!(raw::quantize_bias(&[], 0.5, &[1.0]), Ok(vec![]));
    assert_eq!(raw::multipliers(0.5, &[], 1.0), [] as [f64; 0]);
    assert_eq!(QuantParams::from_ggml_q8_0(0, &[]).unwrap().scales(), [] as [f32; 0]);
}

/// Layers of no images.
#[test]
fn layers_without_images() {
    let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.5, 3).unwrap();
    let per_image = Granularity::channel(&[0, 27], 0).unwrap();
    every_isa(|isa| {
        let by_image =
            QuantParams::fit(isa, &[], CodeRange::unsigned(8).unwrap(), Scheme::ASYMMETRIC, per_image).unwrap();
        for (groups, channels) in [(1, 3), (3, 1)] {
            let weights = vec![1_i8; 3 * channels * 4];
            let conv = raw::conv2d::<u8, i8>(isa, &weights, [3, channels, 2, 2], 0.into(), Window::new([2, 2]), groups)
                .unwrap();
            for params in [&params, &by_image] {
                let mut sums: [i32; 0] = [];
                conv.forward(isa, &[], [0, 3, 3, 3], params, &Accumulators, &mut sums).unwrap();
            }
        }
        MaxPool2d::new(Window::new([2, 2])).forward::<u8>(isa, &[], [0, 3, 3, 3], &mut []).unwrap();
    });
}

/// A batch of no rows: quantized with a scale for every row, and multiplied.
#[test]
fn products_without_rows() {
    let codes = CodeRange::unsigned(8).unwrap();
    let (w, w_params) = ([1_i8; 6], QuantParams::per_tensor(CodeRange::narrow(8).unwrap(), 0.5, 0).unwrap());
    every_isa(|isa| {
        let weights = Quantized::new(Matrix::new(&w, 2, 3).unwrap(), &w_params).unwrap();
        let weights: PackedMatrix<u8, i8> = PackedMatrix::pack(isa, weights).unwrap();
        for granularity in
            [Granularity::Tensor, Granularity::channel(&[0, 3], 0).unwrap(), Granularity::block(&[0, 3], 3).unwrap()]
        {
            let params = QuantParams::fit(isa, &[], codes, Scheme::ASYMMETRIC, granularity).unwrap();
            let x = Quantized::new(Matrix::new(&[], 0, 3).unwrap(), &params).unwrap();
            let out = MatrixMut::new(&mut [], 0, 2).unwrap();
            matmul(isa, x, &weights, &Dequantize::new().with_bias(&[1.0, 2.0]).unwrap(), out).unwrap();
            let mut sums: [i32; 0] = [];
            matmul(isa, x, &weights, &Accumulators, MatrixMut::new(&mut sums, 0, 2).unwrap()).unwrap();
        }
        let columns = raw::DequantizeColumns::new(&[0.5], None).unwrap();
        let x = Matrix::<u8>::new(&[], 0, 3).unwrap();
        let stage = columns.rows(&[]).unwrap();
        let none = raw::ZeroPoints::Each(&[]);
        raw::matmul(isa, x, none, &weights, &stage, MatrixMut::new(&mut [], 0, 2).unwrap()).unwrap();
    });
}
