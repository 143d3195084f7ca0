//! Every family of operations once or twice, on a few elements, so that an interpreter takes a minute: under Miri, pointers are
//! checked by the language's rules, Stacked Borrows (`.ci/run miri`) or Tree Borrows.
//!
//! ```sh
//! cargo +nightly miri test -p zeropoint --test suite tiny::
//! MIRIFLAGS=-Zmiri-tree-borrows cargo +nightly miri test -p zeropoint --test suite tiny::
//! ```

use crate::common::{bits, every_isa, requantized};
use zeropoint::distance::{Cosine, Dot, SquaredEuclidean, between, nearest, pairwise};
use zeropoint::exec::{SharedCall, Workspace};
use zeropoint::formats::{BlockFormat, block_offsets, decode_blocks, encode_blocks, split_blocks};
use zeropoint::fp8::{Fp8, Fp8Params, decode, encode};
use zeropoint::groups::{self, Activations, PackedWeights, RealStage, Weights};
use zeropoint::layers::{MaxPool2d, Window};
use zeropoint::random::fill_words;
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    Accumulators, Batch, ByteCode, CodeRange, Exec, Granularity, Matrix, MatrixMut, PackedCodes, PackedCodesMut,
    QuantParams, Quantized, Rounding, Rule, Scheme, Stream, UnpackedMatrix, dequantize, fake_quantize,
    fake_quantize_in_place, matmul_batch, min_max, quantize, ranges, raw, reference, straight_through,
};

fn codes<C: ByteCode>(count: usize, step: usize) -> Vec<C> {
    (0..count).map(|i| C::try_from((i * step % 256) as i32 + C::MIN.into()).ok().unwrap()).collect()
}

fn reals(count: usize) -> Vec<f32> {
    let value = |i: usize| if i == 70 { f32::NAN } else { (i as f32 * 0.73).sin() * 3.0 };
    (0..count).map(value).collect()
}

/// Packed from both forms and unpacked, rows of A and of the result with gaps, one zero point and one for every row and column.
fn products<A: ByteCode, B: ByteCode>([m, n, k]: [usize; 3]) {
    let (stride, out_stride) = (k + 1, n + 2);
    let (a, b) = (codes::<A>(m * stride, 37), codes::<B>(k * n, 91));
    let transposed: Vec<B> = (0..n * k).map(|i| b[i % k * n + i / k]).collect();
    let a = Matrix::with_stride(&a, m, k, stride).unwrap();
    let b = Matrix::new(&b, k, n).unwrap();
    let transposed = Matrix::new(&transposed, n, k).unwrap();
    let bias: Vec<i32> = (0..n as i32).map(|j| j * 100 - 300).collect();
    let a_each: Vec<i32> = (0..m as i32).map(|i| A::MIN.into() + i * 9).collect();
    let b_each: Vec<i32> = (0..n as i32).map(|j| B::MIN.into() + j * 5).collect();
    let for_a: [raw::ZeroPoints<'_>; 2] = [A::MAX.into().into(), a_each[..].into()];
    let for_b: [raw::ZeroPoints<'_>; 2] = [B::MAX.into().into(), b_each[..].into()];
    for (za, zb) in [(for_a[0], for_b[0]), (for_a[1], for_b[1])] {
        let want = reference::matmul(a, za, b, zb, Some(&bias));
        every_isa(|isa| {
            let check = |b: &dyn Fn(MatrixMut<'_, i32>)| {
                let mut out = vec![7; m * out_stride];
                b(MatrixMut::with_stride(&mut out, m, n, out_stride).unwrap());
                for (i, row) in out.chunks(out_stride).enumerate() {
                    assert!(row[..n].iter().map(|&sum| i64::from(sum)).eq(want[i * n..][..n].iter().copied()), "{isa}");
                    assert_eq!(row[n..], [7, 7]);
                }
            };
            let packed = raw::pack::<A, B>(isa, b, zb).unwrap().with_accumulator_bias(&bias).unwrap();
            check(&|out| raw::matmul(isa, a, za, &packed, &Accumulators, out).unwrap());
            let packed = raw::pack_transposed::<A, B>(isa, transposed, zb).unwrap();
            let packed = packed.with_accumulator_bias(&bias).unwrap();
            check(&|out| raw::matmul(isa, a, za, &packed, &Accumulators, out).unwrap());
            let unpacked = raw::unpacked::<A, B>(isa, b, zb).unwrap().with_accumulator_bias(&bias).unwrap();
            check(&|out| raw::matmul(isa, a, za, &unpacked, &Accumulators, out).unwrap());
            let unpacked = raw::unpacked_transposed::<A, B>(isa, transposed, zb).unwrap();
            let unpacked = unpacked.with_accumulator_bias(&bias).unwrap();
            check(&|out| raw::matmul(isa, a, za, &unpacked, &Accumulators, out).unwrap());
        });
    }
}

#[test]
fn matrix_products() {
    products::<u8, i8>([2, 17, 5]);
    products::<i8, u8>([3, 2, 4]);
}

/// The other stages on the accumulators of one product.
#[test]
fn stages() {
    let accumulators: Vec<i32> = (0..19).map(|i| (i - 9) * 777).collect();
    let product = |rule: Rule, acc: i32| match rule {
        Rule::Float => reference::float_product(acc, 0.0625),
        Rule::FixedPoint => reference::fixed_point_product(acc, 0.0625),
        Rule::HalfAway => reference::half_away_product(acc, 0.0625),
        Rule::Gemmlowp => reference::gemmlowp_product(acc, 0.0625),
        _ => reference::shift_product(acc, 4),
    };
    every_isa(|isa| {
        for rule in [Rule::Float, Rule::FixedPoint, Rule::HalfAway, Rule::Gemmlowp, Rule::Shift] {
            let out = requantized(isa, &accumulators, (rule, &[0.0625]), 9, (0_u8, 250));
            let want = accumulators.iter().map(|&acc| reference::saturate(product(rule, acc), 9, (0, 250)));
            assert!(out.iter().copied().eq(want), "{rule:?} {isa}");
        }
        let (a, b) = ([3_u8, 200], codes::<i8>(19, 13));
        let packed = raw::pack::<u8, i8>(isa, Matrix::new(&b, 1, 19).unwrap(), 2.into()).unwrap();
        let a = Matrix::new(&a, 2, 1).unwrap();
        let columns = raw::DequantizeColumns::new(&[0.5], None).unwrap();
        let mut real = [0.0; 38];
        let out = MatrixMut::new(&mut real, 2, 19).unwrap();
        raw::matmul(isa, a, 5.into(), &packed, &columns.rows(&[0.25, 2.0]).unwrap(), out).unwrap();
        let stage = raw::requantize(Rule::Float, &[0.01], 100, 0..=255_u8).unwrap();
        let mut codes = [0; 38];
        let out = MatrixMut::new(&mut codes, 2, 19).unwrap();
        raw::matmul(isa, a, 5.into(), &packed, &stage.stochastic(Stream::new(3)).unwrap(), out).unwrap();
        let words = reference::words(Stream::new(3), 38);
        for i in 0..38 {
            let acc = (i32::from(a.row(i / 19)[0]) - 5) * (i32::from(b[i % 19]) - 2);
            let want = reference::dequantize_accumulator(acc, [0.25, 2.0][i / 19], 0.5, None);
            assert_eq!(real[i].to_bits(), want.to_bits(), "{isa}");
            assert_eq!(codes[i], reference::requantize_stochastic(acc, 0.01, 100, (0, 255), words[i]), "{isa}");
        }
    });
}

#[test]
fn layers() {
    for (channels, groups, outputs) in [(3, 1, 2), (17, 17, 17), (2, 2, 4)] {
        let shape = [1, 2, 3, channels];
        let window = Window { padding: [1, 0, 0, 1], ..Window::new([2, 2]) };
        let images = codes::<u8>(shape.iter().product(), 29);
        let weights_shape = [outputs, channels / groups, 2, 2];
        let weights = codes::<i8>(weights_shape.iter().product(), 53);
        let want = reference::conv2d(&images, shape, 7, &weights, weights_shape, 1.into(), None, &window);
        let pooled = reference::max_pool2d(&images, shape, &Window::new([2, 2]));
        every_isa(|isa| {
            let conv = raw::conv2d(isa, &weights, weights_shape, 1.into(), window, groups).unwrap();
            let mut out = vec![0; want.len()];
            let images_7 = raw::Images { codes: &images, shape, zero_points: 7.into() };
            raw::convolve(isa, &conv, images_7, &Accumulators, &mut out).unwrap();
            assert!(out.iter().map(|&sum| i64::from(sum)).eq(want.iter().copied()), "{isa}");
            let mut out = vec![0; pooled.len()];
            MaxPool2d::new(Window::new([2, 2])).forward(isa, &images, shape, &mut out).unwrap();
            assert_eq!(out, pooled, "{isa}");
        });
    }
}

#[test]
fn block_formats() {
    for format in BlockFormat::ALL {
        let (length, group) = (format.block_length(), format.group_length());
        let x = reals(32).repeat(length / 32);
        let bytes = reference::encode_blocks(format, &x);
        every_isa(|isa| {
            let mut encoded = vec![0; bytes.len()];
            encode_blocks(isa, format, &x, &mut encoded).unwrap();
            assert_eq!(encoded, bytes, "{isa} {format:?}");
            let mut decoded = vec![0.0; length];
            decode_blocks(isa, format, &encoded, &mut decoded).unwrap();
            assert_eq!(bits(&decoded), bits(&reference::decode_blocks(format, &bytes)), "{isa} {format:?}");
            let groups = length / group;
            let (mut codes, mut scales, mut offsets) = (vec![0; length], vec![0.0; groups], vec![0.0; groups]);
            split_blocks(isa, format, &encoded, &mut codes, &mut scales).unwrap();
            block_offsets(isa, format, &encoded, &mut offsets).unwrap();
            let weights = PackedWeights::from_format(isa, format, &encoded, 1, length).unwrap();
            let a = vec![201_u8; length];
            let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.5, 3).unwrap();
            let activations = Quantized::new(Matrix::new(&a, 1, length).unwrap(), &params).unwrap();
            let mut out = [0.0; 1];
            let activations = Activations::quantized(activations).unwrap();
            groups::matmul(isa, &activations, &weights, &RealStage::new(), &mut out).unwrap();
            let (a, w) = (|_, k: usize| i32::from(a[k]) - 3, |_, k: usize| i32::from(codes[k]));
            let a_scales = reference::GroupScales::Rows(&|_| 0.5);
            let offset = |_, g: usize| offsets[g];
            let offsets = format.has_offsets().then_some(&offset as &dyn Fn(usize, usize) -> f32);
            let want = reference::matmul_groups([1, 1, length], group, a, a_scales, w, |_, g| scales[g], offsets);
            assert_eq!(bits(&out), bits(&want), "{isa} {format:?}");
        });
    }
}

/// Weights of few bits with zero points or offsets, and a short last group; activations of every kind.
#[test]
fn weights_in_groups() {
    let [m, n, k] = [2, 3, 40];
    let x: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.73).sin()).collect();
    let (real, stage) = (Matrix::new(&x, m, k).unwrap(), RealStage::new());
    let codes: Vec<u8> = (0..n * k).map(|i| (i * 7 % 4) as u8).collect();
    let scales = [0.5, 0.25, 2.0, 1.0, 0.125, 4.0];
    for bits in [2, 4, 8] {
        let matrix = Matrix::new(&codes, n, k).unwrap();
        let weights = Weights::new(matrix, CodeRange::unsigned(bits).unwrap(), 32, &scales).unwrap();
        let zero_points = [1, 2, 3, 0, 1, 2];
        for weights in [weights.with_zero_points(&zero_points).unwrap(), weights.with_offsets(&scales).unwrap()] {
            let mut first: Option<Vec<u32>> = None;
            every_isa(|isa| {
                let packed = PackedWeights::pack(isa, &weights).unwrap();
                let mut all = Vec::new();
                for x in [Activations::reals(real, Scheme::SYMMETRIC), Activations::reals(real, Scheme::ASYMMETRIC)] {
                    for x in [x, x.in_groups(32).unwrap()] {
                        let mut out = vec![0.0; m * n];
                        groups::matmul(isa, &x, &packed, &stage, &mut out).unwrap();
                        all.extend(crate::common::bits(&out));
                    }
                }
                assert_eq!(*first.get_or_insert_with(|| all.clone()), all, "{isa}, {bits} bits");
            });
        }
    }
}

fn elementwise_on<C: ByteCode>(exec: Exec<'_>, x: &[f32], params: &QuantParams<C>) {
    let (n, stream) = (x.len(), Stream { seed: 1, offset: 9 });
    let real = bits(&reference::fake_quantize(x, params));
    for rounding in [Rounding::Nearest, stream.into()] {
        let want = match rounding {
            Rounding::Nearest => reference::quantize(x, params),
            Rounding::Stochastic(stream) => reference::quantize_stochastic(x, params, stream),
        };
        let mut codes = vec![C::MIN; n];
        quantize(exec, x, params, rounding, &mut codes).unwrap();
        assert_eq!(codes, want, "{rounding:?} {}", exec.isa());
        let mut out = vec![0.0; n];
        dequantize(exec, &codes, params, &mut out).unwrap();
        assert_eq!(bits(&out), bits(&reference::dequantize(&want, params)), "{rounding:?} {}", exec.isa());
        let mut mask = vec![9; n];
        fake_quantize(exec, x, params, rounding, (&mut out, &mut mask)).unwrap();
        let mut in_place = x.to_vec();
        fake_quantize_in_place(exec, &mut in_place, params, rounding).unwrap();
        assert_eq!(bits(&out), bits(&in_place));
        assert_eq!(mask, reference::straight_through_mask(x, params));
        if rounding == Rounding::Nearest {
            assert_eq!(bits(&out), real, "{}", exec.isa());
        }
    }
    let mut gradient = vec![0.0; n];
    straight_through(exec, x, x, params, &mut gradient).unwrap();
    assert_eq!(bits(&gradient), bits(&reference::straight_through(x, x, params)), "{}", exec.isa());
}

#[test]
fn elementwise() {
    let x = reals(72);
    let granularities = [
        Granularity::Tensor,
        Granularity::channel(&[24, 3], 1).unwrap(),
        Granularity::block(&[72], 16).unwrap(),
        Granularity::block_along(&[4, 18], 0, 3).unwrap(),
    ];
    for granularity in granularities {
        let groups = granularity.groups(x.len()).unwrap();
        let scales: Vec<f32> = (0..groups).map(|group| 0.02 + group as f32 * 0.001).collect();
        let zero_points = (0..groups as i32).map(|group| group % 9).collect();
        let params = QuantParams::new(CodeRange::unsigned(8).unwrap(), granularity, scales.clone(), zero_points);
        every_isa(|isa| elementwise_on(isa.into(), &x, params.as_ref().unwrap()));
        let params = Fp8Params::new(Fp8::E4M3, granularity, &scales).unwrap();
        every_isa(|isa| {
            let (mut codes, mut real) = (vec![0; x.len()], vec![0.0; x.len()]);
            encode(isa, &x, &params, Stream::new(3), &mut codes).unwrap();
            assert_eq!(codes, reference::encode_fp8_stochastic(&x, &params, Stream::new(3)), "{isa}");
            encode(isa, &x, &params, Rounding::Nearest, &mut codes).unwrap();
            assert_eq!(codes, reference::encode_fp8(&x, &params), "{isa}");
            decode(isa, &codes, &params, &mut real).unwrap();
            assert_eq!(bits(&real), bits(&reference::decode_fp8(&codes, &params)), "{isa}");
        });
    }
    let finite = &x[..70];
    let signed = CodeRange::signed(4).unwrap();
    every_isa(|isa| {
        assert_eq!(ranges(isa, finite, Granularity::Tensor).unwrap(), [min_max(isa, finite).unwrap()]);
        let by_row = Granularity::channel(&[2, 35], 0).unwrap();
        assert_eq!(ranges(isa, finite, by_row).unwrap(), reference::ranges(finite, by_row, 2));
        let params = QuantParams::fit(isa, finite, signed, Scheme::SYMMETRIC, Granularity::Tensor).unwrap();
        let (mut bytes, mut back) = ([0; 35], [0.0; 70]);
        quantize(isa, finite, &params, Rounding::Nearest, PackedCodesMut::four_bits(&mut bytes, 70).unwrap()).unwrap();
        dequantize(isa, PackedCodes::four_bits(&bytes, 70).unwrap(), &params, &mut back).unwrap();
        assert_eq!(bits(&back), bits(&reference::fake_quantize(finite, &params)), "{isa}");
        let mut words = [0; 40];
        fill_words(isa, Stream { seed: 5, offset: 9 }, &mut words).unwrap();
        assert_eq!(words.to_vec(), reference::words(Stream { seed: 5, offset: 9 }, 40), "{isa}");
    });
}

/// Memory of the caller, which suffices or not, and tasks of a call on two threads.
#[test]
fn memory_and_tasks() {
    let [m, n, k] = [3, 5, 70];
    let (a, b) = (codes::<u8>(m * k, 37), codes::<i8>(k * n, 91));
    let (a, b) = (Matrix::new(&a, m, k).unwrap(), Matrix::new(&b, k, n).unwrap());
    every_isa(|isa| {
        let packed = raw::pack(isa, b, 3.into()).unwrap();
        let product = |exec: Exec<'_>, out: &mut [i32]| {
            raw::matmul(exec, a, 9.into(), &packed, &Accumulators, MatrixMut::new(out, m, n).unwrap()).unwrap();
        };
        let [mut want, mut out] = [(); 2].map(|()| vec![7; m * n]);
        product(isa.into(), &mut want);
        let mut lent = vec![3; 600];
        for bytes in [0, 100, 600] {
            Workspace::borrowed(&mut lent[..bytes]).scope(|| product(isa.into(), &mut out));
            assert_eq!(out, want, "{isa}");
        }
        let call = SharedCall::new(2, |threads| {
            threads.run(2, &|i| assert!(i < 2));
            product(Exec::from(isa).on(threads), &mut out);
        });
        std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(|| call.run()))));
        call.into_result();
        assert_eq!(out, want, "{isa}");
    });
}

#[test]
fn batches() {
    let params = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.5, 9).unwrap();
    let (a, b) = (codes::<u8>(2 * 3 * 5, 7), codes::<u8>(2 * 5 * 4, 11));
    let (a, b) = (Matrix::new(&a, 3, 10).unwrap(), Matrix::new(&b, 10, 4).unwrap());
    every_isa(|isa| {
        let matrices = Batch::stacked(Quantized::new(b, &params).unwrap(), 2);
        let matrices = UnpackedMatrix::<u8, u8>::batch(isa, matrices).unwrap();
        let mut out = [0; 3 * 8];
        let sums = Batch::side_by_side(MatrixMut::new(&mut out, 3, 8).unwrap(), 2);
        let a_batch = Batch::side_by_side(Quantized::new(a, &params).unwrap(), 2);
        matmul_batch(isa, a_batch, &matrices, &Accumulators, sums).unwrap();
        for i in 0..2 {
            let (a, b) = (a.part(0..3, 5 * i..5 * i + 5).unwrap(), b.part(5 * i..5 * i + 5, 0..4).unwrap());
            let want = reference::matmul(a, 9.into(), b, 9.into(), None);
            let found = Matrix::new(&out, 3, 8).unwrap().part(0..3, 4 * i..4 * i + 4).unwrap();
            assert!((0..3).flat_map(|row| found.row(row)).map(|&sum| i64::from(sum)).eq(want), "{isa}");
        }
    });
}

#[test]
fn distances() {
    let (a, b) = (codes::<u8>(19, 7), codes::<i8>(5 * 19, 11));
    let rows = Matrix::new(&b, 5, 19).unwrap();
    every_isa(|isa| {
        let mut out = [0; 5];
        pairwise(isa, SquaredEuclidean, &a, rows, MatrixMut::new(&mut out, 1, 5).unwrap()).unwrap();
        let want = (0..5).map(|j| reference::squared_distance((&a, 0), (rows.row(j), 0)));
        assert!(want.eq(out.map(i64::from)), "{isa}");
        assert_eq!(between(isa, Dot, &a, rows.row(0)).unwrap() as i64, reference::dot((&a, 0), (rows.row(0), 0)));
        assert_eq!(nearest(isa, Cosine, &a[..3], &b[..3], 4).unwrap().len(), 1);
    });
}
