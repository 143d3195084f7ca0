//! Operands that carry their parameters: the same bytes as the numbers by hand, and an error where they do not go together.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{bits, every_isa};
use zeropoint::groups::{self, Activations, PackedWeights, RealStage, Weights};
use zeropoint::layers::{Conv2d, Linear, MaxPool2d, Window};
use zeropoint::raw::AccumulatorBias as _;
use zeropoint::{
    Accumulators, CodeRange, Dequantize, Error, Exec, Granularity, Isa, Matrix, MatrixMut, PackedMatrix, QuantParams,
    Quantized, Requantize, Rule, Stream, Threads, UnpackedMatrix, matmul, raw,
};

fn bytes(count: usize, seed: u32) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn signed(count: usize, seed: u32) -> Vec<i8> {
    bytes(count, seed).into_iter().map(|byte| (byte as i8).max(-127)).collect()
}

fn u8_params(granularity: Granularity, groups: usize) -> QuantParams<u8> {
    let scales = (0..groups).map(|i| 0.01 + i as f32 * 0.003).collect();
    let zero_points = (0..groups as i32).map(|i| (131 + 17 * i) % 256).collect();
    QuantParams::new(CodeRange::unsigned(8).unwrap(), granularity, scales, zero_points).unwrap()
}

fn i8_params(granularity: Granularity, groups: usize) -> QuantParams<i8> {
    let scales = (0..groups).map(|i| 0.02 + i as f32 * 0.001).collect();
    let zero_points = (0..groups as i32).map(|i| i % 5 - 2).collect();
    QuantParams::new(CodeRange::signed(8).unwrap(), granularity, scales, zero_points).unwrap()
}

/// Per tensor or per row of x, per tensor or per output of the weights, in both orders, packed or not.
#[test]
fn products_equal_those_by_hand() {
    let [m, n, k] = [5, 37, 70];
    let (a, rows) = (bytes(m * k, 1), signed(n * k, 2));
    let columns: Vec<i8> = (0..k * n).map(|i| rows[i % n * k + i / n]).collect();
    let bias: Vec<f32> = (0..n).map(|j| j as f32 * 0.1 - 1.0).collect();
    let a = Matrix::new(&a, m, k).unwrap();
    let per_row = Granularity::channel(&[m, k], 0).unwrap();
    let of_rows = [u8_params(Granularity::Tensor, 1), u8_params(per_row, m)];
    let per_output = Granularity::channel(&[n, k], 0).unwrap();
    let per_column = Granularity::channel(&[k, n], 1).unwrap();
    every_isa(|isa| {
        for (x, groups) in of_rows.iter().flat_map(|x| [(x, 1), (x, n)]) {
            let granularity = if groups == 1 { [Granularity::Tensor; 2] } else { [per_output, per_column] };
            let [w, w_columns] = granularity.map(|granularity| i8_params(granularity, groups));
            let zero_points: Vec<i32> = (0..n).map(|j| w.zero_points()[j % groups]).collect();
            let x_zero_points: Vec<i32> = (0..m).map(|i| x.zero_points()[i % x.scales().len()]).collect();
            let columns = Matrix::new(&columns, k, n).unwrap();
            let by_hand = raw::pack::<u8, i8>(isa, columns, zero_points[..].into()).unwrap();
            let dequantize = raw::DequantizeColumns::new(w.scales(), Some(&bias)).unwrap();
            let mut want = vec![0.0; m * n];
            let (stage, out) = (dequantize.rows(x.scales()).unwrap(), MatrixMut::new(&mut want, m, n).unwrap());
            raw::matmul(isa, a, x_zero_points[..].into(), &by_hand, &stage, out).unwrap();

            let rows = Quantized::new(Matrix::new(&rows, n, k).unwrap(), &w).unwrap();
            let columns = Quantized::new(columns, &w_columns).unwrap();
            let packed = PackedMatrix::pack(isa, rows).unwrap();
            let by_columns = PackedMatrix::pack_columns(isa, columns).unwrap();
            let unpacked = UnpackedMatrix::new(isa, columns).unwrap();
            let stage = Dequantize::new().with_bias(&bias).unwrap();
            let a = Quantized::new(a, x).unwrap();
            let transposed = UnpackedMatrix::transposed(isa, rows).unwrap();
            let mut all = [(); 4].map(|()| vec![0.0; m * n]);
            let [first, second, third, fourth] = &mut all;
            matmul(isa, a, &packed, &stage, MatrixMut::new(first, m, n).unwrap()).unwrap();
            matmul(isa, a, &by_columns, &stage, MatrixMut::new(second, m, n).unwrap()).unwrap();
            matmul(isa, a, &unpacked, &stage, MatrixMut::new(third, m, n).unwrap()).unwrap();
            matmul(isa, a, &transposed, &stage, MatrixMut::new(fourth, m, n).unwrap()).unwrap();
            for out in all {
                assert_eq!(bits(&out), bits(&want), "{isa}");
            }
        }
    });
}

#[test]
fn requantizers_equal_those_by_hand() {
    let [m, n, k] = [3, 20, 33];
    let (a, b) = (bytes(m * k, 1), signed(n * k, 2));
    let bias: Vec<f32> = (0..n).map(|j| j as f32 * 0.1 - 1.0).collect();
    let (x, y) = (u8_params(Granularity::Tensor, 1), QuantParams::per_tensor(CodeRange::unsigned(7).unwrap(), 0.4, 60));
    let (w, y) = (i8_params(Granularity::channel(&[n, k], 0).unwrap(), n), y.unwrap());
    every_isa(|isa| {
        let (a, b) = (Matrix::new(&a, m, k).unwrap(), Matrix::new(&b, n, k).unwrap());
        let linear = Linear::new(isa, Quantized::new(b, &w).unwrap()).unwrap().with_bias(&bias, &x).unwrap();
        let codes = raw::quantize_bias(&bias, x.scales()[0], w.scales()).unwrap();
        let by_hand = raw::pack_transposed::<u8, i8>(isa, b, w.zero_points().into()).unwrap();
        let by_hand = by_hand.with_accumulator_bias(&codes).unwrap();
        let multipliers = raw::multipliers(x.scales()[0], w.scales(), y.scales()[0]);
        for rule in [Rule::Float, Rule::FixedPoint, Rule::HalfAway, Rule::Gemmlowp] {
            let (mut want, mut out) = (vec![0; m * n], vec![0; m * n]);
            let stage = raw::requantize(rule, &multipliers, 60, 60_u8..=127).unwrap();
            let c = MatrixMut::new(&mut want, m, n).unwrap();
            raw::matmul(isa, a, x.zero_points()[0].into(), &by_hand, &stage, c).unwrap();
            let stage = Requantize::new(&linear, &x, &y, rule).unwrap().relu();
            linear
                .forward(isa, Quantized::new(a, &x).unwrap(), &stage, MatrixMut::new(&mut out, m, n).unwrap())
                .unwrap();
            assert_eq!(out, want, "{isa} {rule:?}");
        }
        // What is made for other operands is refused: a bias, a stage by its activations, a stage by its weights.
        let other = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 0.5, 3).unwrap();
        let plain = Linear::<u8, i8>::new(isa, Quantized::new(b, &w).unwrap()).unwrap();
        let coarser: Vec<f32> = w.scales().iter().map(|scale| 2.0 * scale).collect();
        let coarser = QuantParams::new(w.codes(), w.granularity(), coarser, w.zero_points().to_vec()).unwrap();
        let coarser = Linear::<u8, i8>::new(isa, Quantized::new(b, &coarser).unwrap()).unwrap();
        let stage = |layer: &Linear<u8, i8>| Requantize::new(layer, &x, &y, Rule::Float).unwrap();
        let refusals = [
            (linear.clone(), &other, &stage(&linear), "bias"),
            (plain.clone(), &other, &stage(&plain), "activations"),
            (plain, &x, &stage(&coarser), "weights"),
        ];
        for (layer, params, stage, culprit) in refusals {
            let mut out = vec![7; m * n];
            let c = MatrixMut::new(&mut out, m, n).unwrap();
            let refused = layer.forward(isa, Quantized::new(a, params).unwrap(), stage, c);
            assert!(
                matches!(refused, Err(Error::Operand { why, .. }) if why.contains(culprit)),
                "{culprit}: {refused:?}"
            );
            assert_eq!(out, vec![7; m * n], "untouched");
        }
        let (mut out, x) = (vec![7.0; m * n], Quantized::new(a, &other).unwrap());
        let refused = linear.forward(isa, x, &Dequantize::new(), MatrixMut::new(&mut out, m, n).unwrap());
        assert!(matches!(refused, Err(Error::Operand { why, .. }) if why.contains("bias")), "{refused:?}");
        // A bias of integers takes its place, which is for any activations.
        let by_hand = linear.with_accumulator_bias(&codes).unwrap();
        by_hand.forward(isa, x, &Dequantize::new(), MatrixMut::new(&mut out, m, n).unwrap()).unwrap();
    });
}

/// A batch whose images have their own parameters is one call, and equals one call for every image: plain, with padding,
/// grouped, pointwise, and depthwise.
#[test]
fn images_with_their_own_parameters() {
    let shape @ [images, height, width, channels] = [3, 6, 5, 4];
    let image = height * width * channels;
    let x = bytes(images * image, 3);
    let params = u8_params(Granularity::channel(&[images, image], 0).unwrap(), images);
    let padded = Window { padding: [1; 4], ..Window::new([3, 3]) };
    let cases = [(padded, 1, 6), (padded, 2, 6), (Window::new([1, 1]), 1, 5), (padded, 4, 4)];
    every_isa(|isa| {
        for (window, groups, outputs) in cases {
            let [h, w] = window.size;
            let weights_shape = [outputs, channels / groups, h, w];
            let weights = signed(weights_shape.iter().product(), 9);
            let w = i8_params(Granularity::channel(&weights_shape, 0).unwrap(), outputs);
            let conv = Conv2d::<u8, i8>::new(isa, &weights, weights_shape, &w, window, groups).unwrap();
            let count: usize = conv.output_shape(shape).unwrap().iter().product();
            let mut out = vec![0.0; count];
            conv.forward(isa, &x, shape, &params, &Dequantize::new(), &mut out).unwrap();
            let mut want = vec![0.0; count];
            for i in 0..images {
                let (scale, zero_point) = (params.scales()[i], params.zero_points()[i]);
                let of_image = QuantParams::per_tensor(params.codes(), scale, zero_point).unwrap();
                let (x, want) = (&x[i * image..][..image], &mut want[i * (count / images)..][..count / images]);
                conv.forward(isa, x, [1, height, width, channels], &of_image, &Dequantize::new(), want).unwrap();
            }
            assert_eq!(bits(&out), bits(&want), "{isa} {groups}");
            // With the zero points by hand.
            let (mut sums, mut by_hand) = (vec![0; count], vec![0; count]);
            conv.forward(isa, &x, shape, &params, &Accumulators, &mut sums).unwrap();
            let images = raw::Images { codes: &x, shape, zero_points: params.zero_points().into() };
            raw::convolve(isa, &conv, images, &Accumulators, &mut by_hand).unwrap();
            assert_eq!(sums, by_hand, "{isa} {groups}");
        }
    });
}

/// Threads that count their tasks.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Threads for Counting {
    fn count(&self) -> usize {
        3
    }
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.0.fetch_add(tasks, Ordering::Relaxed);
        std::thread::scope(|scope| {
            (0..tasks).for_each(|i| {
                scope.spawn(move || task(i));
            });
        });
    }
}

/// Layers divide their rows: the same bytes as on one thread, with random words too.
#[test]
fn layers_on_threads() {
    let isa = Isa::best().unwrap();
    let shape @ [images, height, width, channels] = [4, 40, 40, 64];
    let x = bytes(images * height * width * channels, 3);
    let x_params = u8_params(Granularity::Tensor, 1);
    let y = QuantParams::per_tensor(CodeRange::unsigned(8).unwrap(), 2.0, 100).unwrap();
    let window = Window { padding: [1; 4], ..Window::new([3, 3]) };
    let threads = Counting::default();
    for (groups, outputs) in [(1, 32), (2, 32), (64, 64)] {
        let weights_shape = [outputs, channels / groups, 3, 3];
        let weights = signed(weights_shape.iter().product(), 9);
        let w = i8_params(Granularity::channel(&weights_shape, 0).unwrap(), outputs);
        let conv = Conv2d::<u8, i8>::new(isa, &weights, weights_shape, &w, window, groups).unwrap();
        let stage = Requantize::new(&conv, &x_params, &y, Rule::Float).unwrap();
        for stage in [stage.stochastic(Stream { seed: 5, offset: 77 }).unwrap(), stage] {
            let mut alone = vec![0; images * height * width * outputs];
            let mut shared = alone.clone();
            conv.forward(isa, &x, shape, &x_params, &stage, &mut alone).unwrap();
            threads.0.store(0, Ordering::Relaxed);
            conv.forward(Exec::from(isa).on(&threads), &x, shape, &x_params, &stage, &mut shared).unwrap();
            assert!(alone == shared, "{groups} groups");
            assert!(threads.0.load(Ordering::Relaxed) > 1, "{groups} groups on one thread");
        }
    }
    let pool = MaxPool2d::new(Window { stride: [2, 2], ..Window::new([2, 2]) });
    let mut alone = vec![0; x.len() / 4];
    let mut shared = alone.clone();
    pool.forward(isa, &x, shape, &mut alone).unwrap();
    pool.forward(Exec::from(isa).on(&threads), &x, shape, &mut shared).unwrap();
    assert!(alone == shared);
}

/// Weights by blocks of 32: activations per tensor, per row and per block.
#[test]
fn products_of_blocks_equal_those_by_hand() {
    let [m, n, k] = [4, 21, 96];
    let (a, b) = (signed(m * k, 4), signed(n * k, 5));
    let codes = CodeRange::signed(8).unwrap();
    let blocks = |rows: usize| {
        let scales = (0..rows * k / 32).map(|i| 0.01 + i as f32 * 0.002).collect();
        let granularity = Granularity::block(&[rows, k], 32).unwrap();
        QuantParams::new(codes, granularity, scales, vec![0; rows * k / 32]).unwrap()
    };
    let (w, per_block) = (blocks(n), blocks(m));
    let per_tensor = i8_params(Granularity::Tensor, 1);
    let per_row = i8_params(Granularity::channel(&[m, k], 0).unwrap(), m);
    every_isa(|isa| {
        let (a, b) = (Matrix::new(&a, m, k).unwrap(), Matrix::new(&b, n, k).unwrap());
        let packed = PackedWeights::pack(isa, &Weights::quantized(Quantized::new(b, &w).unwrap()).unwrap()).unwrap();
        let by_hand = PackedWeights::pack(isa, &Weights::new(b, codes, 32, w.scales()).unwrap()).unwrap();
        for (x, blocks) in [(&per_tensor, false), (&per_row, false), (&per_block, true)] {
            let (mut out, mut want) = (vec![0.0; m * n], vec![0.0; m * n]);
            let activations = Activations::quantized(Quantized::new(a, x).unwrap()).unwrap();
            groups::matmul(isa, &activations, &packed, &RealStage::new(), &mut out).unwrap();
            let zero_points: Vec<i32> = (0..m).map(|i| x.zero_points()[i % x.zero_points().len()]).collect();
            let activations = if blocks {
                Activations::per_group(a, 32, 0.into(), x.scales())
            } else {
                Activations::per_row(a, zero_points[..].into(), x.scales())
            };
            groups::matmul(isa, &activations.unwrap(), &by_hand, &RealStage::new(), &mut want).unwrap();
            assert_eq!(bits(&out), bits(&want), "{isa}");
        }
    });
}

#[test]
fn operands_that_do_not_go_together() {
    let a = bytes(12, 1);
    let tensor = u8_params(Granularity::Tensor, 1);
    let rows = u8_params(Granularity::channel(&[3, 4], 0).unwrap(), 3);
    let columns = u8_params(Granularity::channel(&[3, 4], 1).unwrap(), 4);
    let matrix = |rows, columns| Matrix::new(&a, rows, columns).unwrap();
    assert!(matches!(Quantized::new(matrix(4, 3), &rows), Err(Error::Shape { .. })));
    assert!(matches!(Quantized::new(matrix(4, 3), &columns), Err(Error::Shape { .. })));
    let blocks = |count| {
        QuantParams::new(
            CodeRange::unsigned(8).unwrap(),
            Granularity::block(&[3, 4], 2).unwrap(),
            vec![0.5; count],
            vec![0; count],
        )
    };
    assert!(Quantized::new(matrix(3, 4), &blocks(6).unwrap()).is_ok());
    assert!(Quantized::new(matrix(3, 4), &blocks(8).unwrap()).is_err());
    let along_columns = |shape: [usize; 2], count| {
        let granularity = Granularity::block_along(&shape, 0, 2).unwrap();
        QuantParams::new(CodeRange::unsigned(8).unwrap(), granularity, vec![0.5; count], vec![0; count]).unwrap()
    };
    assert!(Quantized::new(matrix(3, 4), &along_columns([3, 4], 8)).is_ok());
    assert!(matches!(Quantized::new(matrix(4, 3), &along_columns([3, 4], 8)), Err(Error::Shape { .. })));
    assert!(Quantized::new(matrix(3, 4), &along_columns([3, 4], 16)).is_err());
    every_isa(|isa| {
        let weights = Quantized::new(matrix(3, 4), &rows).unwrap();
        assert!(matches!(PackedMatrix::<u8, u8>::pack_columns(isa, weights), Err(Error::Shape { .. })));
        assert!(matches!(UnpackedMatrix::<u8, u8>::new(isa, weights), Err(Error::Shape { .. })));
        let weights = Quantized::new(matrix(3, 4), &columns).unwrap();
        assert!(matches!(PackedMatrix::<u8, u8>::pack(isa, weights), Err(Error::Shape { .. })));
        let packed = PackedMatrix::<u8, u8>::pack_columns(isa, weights).unwrap();
        // By column, x has no scale for a row.
        let x = Quantized::new(matrix(3, 4), &columns).unwrap();
        let mut out = [7; 12];
        let refused = matmul(isa, x, &packed, &Accumulators, MatrixMut::new(&mut out, 3, 4).unwrap());
        assert!(matches!(refused, Err(Error::Shape { .. })));
        // Per row of x, a requantizer has no multiplier.
        assert!(matches!(Requantize::new(&packed, &rows, &tensor, Rule::Float), Err(Error::Shape { .. })));
        assert!(matches!(packed.with_bias(&[0.0; 4], &rows), Err(Error::Shape { .. })));
        // Weights without scales.
        let by_hand = raw::pack::<u8, u8>(isa, matrix(4, 3), 0.into()).unwrap();
        let x = Quantized::new(matrix(3, 4), &tensor).unwrap();
        let mut floats = [7.0; 9];
        let refused = matmul(isa, x, &by_hand, &Dequantize::new(), MatrixMut::new(&mut floats, 3, 3).unwrap());
        assert_eq!(refused, Err(Error::Empty { what: "scales", group: None }));
        assert_eq!((out, floats), ([7; 12], [7.0; 9]), "untouched");
    });
}

/// Weights that are packed for one ISA, in a call on another one.
#[test]
fn weights_of_another_isa() {
    let scalar = Isa::named("scalar").unwrap();
    let (params, a) = (u8_params(Granularity::Tensor, 1), bytes(4, 1));
    let x = Quantized::new(Matrix::new(&a, 2, 2).unwrap(), &params).unwrap();
    for isa in Isa::supported().into_iter().filter(|&isa| isa != scalar) {
        let refused = Err(Error::PackedIsa { packed: isa.name(), exec: "scalar" });
        let mut out = [7; 4];
        let packed = PackedMatrix::<u8, u8>::pack(isa, x).unwrap();
        assert_eq!(matmul(scalar, x, &packed, &Accumulators, MatrixMut::new(&mut out, 2, 2).unwrap()), refused);
        let unpacked = UnpackedMatrix::<u8, u8>::new(isa, x).unwrap();
        assert_eq!(matmul(scalar, x, &unpacked, &Accumulators, MatrixMut::new(&mut out, 2, 2).unwrap()), refused);
        for groups in [1, 2] {
            let conv = Conv2d::<u8, u8>::new(isa, &a[..2], [2, 1, 1, 1], &params, Window::new([1, 1]), groups).unwrap();
            let shape = [1, 1, 4 / (2 * groups), groups];
            let outputs = &mut out[..4 / groups];
            assert_eq!(conv.forward(scalar, &a[..2], shape, &params, &Accumulators, outputs), refused);
        }
        let (codes, mut floats) = ([1_i8; 32], [7.0]);
        let codes = Matrix::new(&codes, 1, 32).unwrap();
        let weights = Weights::new(codes, CodeRange::signed(8).unwrap(), 32, &[1.0]).unwrap();
        let weights = PackedWeights::pack(isa, &weights).unwrap();
        let a = Activations::per_row(codes, 0.into(), &[1.0]).unwrap();
        assert_eq!(groups::matmul(scalar, &a, &weights, &RealStage::new(), &mut floats), refused);
        assert_eq!((out, floats), ([7; 4], [7.0]), "untouched");
    }
}
