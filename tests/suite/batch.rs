//! Batches of products: each is the product of the matrices by themselves, wherever these lie in larger ones.

use proptest::prelude::*;
use zeropoint::{
    Accumulators, Batch, ByteCode, CodeRange, Dequantize, Error, Exec, Granularity, Isa, Matrix, MatrixMut,
    PackedMatrix, QuantParams, Quantized, Requantize, Rule, Stage, Stream, UnpackedMatrix, matmul, matmul_batch, raw,
    reference,
};

use crate::common::{bits, cases, codes, every_isa};

/// A batch of matrices, and each by itself.
struct Matrices<C: ByteCode> {
    count: usize,
    is_stacked: bool,
    /// Rows and columns of the whole matrix.
    shape: [usize; 2],
    whole: Vec<C>,
    params: QuantParams<C>,
    each: Vec<(Vec<C>, QuantParams<C>)>,
    each_shape: [usize; 2],
}

impl<C: ByteCode> Matrices<C> {
    /// `lines`: whether every row (0) or column (1) of the whole has a scale and a zero point of its own.
    fn new(all: &[C], count: usize, [rows, columns]: [usize; 2], is_stacked: bool, lines: Option<usize>) -> Self {
        let shape = if is_stacked { [count * rows, columns] } else { [rows, count * columns] };
        let granularity =
            |shape: &[usize]| lines.map_or(Granularity::Tensor, |axis| Granularity::channel(shape, axis).unwrap());
        let params = |shape: &[usize], groups: std::ops::Range<usize>| {
            let scale = |group| 0.01 + (group % 7) as f32 * 0.003;
            let zero_point = |group| C::MIN.into() + (group * 31 % 256) as i32;
            let (scales, zero_points) = (groups.clone().map(scale).collect(), groups.map(zero_point).collect());
            QuantParams::new(CodeRange::new(C::MIN, C::MAX).unwrap(), granularity(shape), scales, zero_points).unwrap()
        };
        let whole = all[..shape[0] * shape[1]].to_vec();
        let each = (0..count).map(|index| {
            let first = if is_stacked { [index * rows, 0] } else { [0, index * columns] };
            let matrix = Matrix::new(&whole, shape[0], shape[1]).unwrap();
            let part = matrix.part(first[0]..first[0] + rows, first[1]..first[1] + columns).unwrap();
            let codes = (0..rows).flat_map(|row| part.row(row).to_vec()).collect();
            let groups = lines.map_or(0..1, |axis| first[axis]..first[axis] + [rows, columns][axis]);
            (codes, params(&[rows, columns], groups))
        });
        let each = each.collect();
        let params = params(&shape, lines.map_or(0..1, |axis| 0..shape[axis]));
        Matrices { count, is_stacked, shape, whole, params, each, each_shape: [rows, columns] }
    }

    fn batch(&self) -> Batch<Quantized<'_, C>> {
        let [rows, columns] = self.shape;
        let whole = Quantized::new(Matrix::new(&self.whole, rows, columns).unwrap(), &self.params).unwrap();
        if self.is_stacked { Batch::stacked(whole, self.count) } else { Batch::side_by_side(whole, self.count) }
    }

    fn one(&self, index: usize) -> Quantized<'_, C> {
        let (codes, params) = &self.each[index];
        let [rows, columns] = self.each_shape;
        Quantized::new(Matrix::new(codes, rows, columns).unwrap(), params).unwrap()
    }
}

#[derive(Debug)]
struct Case {
    /// Right operands, and the products of each.
    counts: [usize; 2],
    /// M, N, K
    sizes: [usize; 3],
    stacked: [bool; 3],
    transposed: bool,
    by_line: [bool; 2],
    a: Vec<u8>,
    b: Vec<i8>,
}

fn case() -> impl Strategy<Value = Case> {
    let sizes = [0_usize..9, 0..40, 0..70];
    let flags = (any::<[bool; 3]>(), any::<bool>(), any::<[bool; 2]>());
    ([1_usize..4, 1..4], sizes, flags).prop_flat_map(|(counts, sizes, (stacked, transposed, by_line))| {
        // What is divided is not empty.
        let is_divided = [
            stacked[0] || stacked[2],
            !stacked[2] || stacked[1] == transposed,
            !stacked[0] || stacked[1] != transposed,
        ];
        let sizes @ [m, n, k] = std::array::from_fn(|i| sizes[i].max(usize::from(is_divided[i])));
        let count = counts[0] * counts[1];
        let a = prop::collection::vec(codes(), count * m * k);
        let b = prop::collection::vec(codes(), counts[0] * n * k);
        (a, b).prop_map(move |(a, b)| Case { counts, sizes, stacked, transposed, by_line, a, b })
    })
}

impl Case {
    fn a(&self) -> Matrices<u8> {
        let [m, _, k] = self.sizes;
        let [groups, each] = self.counts;
        Matrices::new(&self.a, groups * each, [m, k], self.stacked[0], self.by_line[0].then_some(0))
    }

    fn b(&self) -> Matrices<i8> {
        let [_, n, k] = self.sizes;
        let (shape, axis) = if self.transposed { ([n, k], 0) } else { ([k, n], 1) };
        Matrices::new(&self.b, self.counts[0], shape, self.stacked[1], self.by_line[1].then_some(axis))
    }

    fn unpacked<'a>(&self, isa: Isa, b: Batch<Quantized<'a, i8>>) -> Vec<UnpackedMatrix<'a, u8, i8>> {
        match self.transposed {
            true => UnpackedMatrix::batch_transposed(isa, b).unwrap(),
            false => UnpackedMatrix::batch(isa, b).unwrap(),
        }
    }

    fn packed(&self, isa: Isa, b: Quantized<'_, i8>) -> PackedMatrix<u8, i8> {
        if self.transposed { PackedMatrix::pack(isa, b).unwrap() } else { PackedMatrix::pack_columns(isa, b).unwrap() }
    }

    /// The products as a batch by unpacked and by packed operands, and each by itself; all of them dense.
    fn run<S: Stage>(&self, isa: Isa, batch: &S, one: impl Fn(usize) -> S, canary: S::Element) -> [Vec<S::Element>; 3]
    where
        S::Element: PartialEq + std::fmt::Debug,
    {
        let ([m, n, _], [groups, each]) = (self.sizes, self.counts);
        let (a, b, count) = (self.a(), self.b(), groups * each);
        let shape = if self.stacked[2] { [count * m, n] } else { [m, count * n] };
        let stride = shape[1] + 3;
        let dense = |out: &[S::Element]| {
            assert!(out.chunks(stride).all(|row| row[shape[1]..].iter().all(|x| *x == canary)), "between the rows");
            let element = |index: usize, row: usize, column: usize| match self.stacked[2] {
                true => out[(index * m + row) * stride + column],
                false => out[row * stride + index * n + column],
            };
            let rows = (0..count).flat_map(|index| (0..m).map(move |row| (index, row)));
            rows.flat_map(|(index, row)| (0..n).map(move |column| element(index, row, column)).collect::<Vec<_>>())
                .collect()
        };
        let unpacked = self.unpacked(isa, b.batch());
        let packed: Vec<_> = (0..groups).map(|index| self.packed(isa, b.one(index))).collect();
        let want = (0..count).flat_map(|index| {
            let mut out = vec![canary; m * n];
            let whole = MatrixMut::new(&mut out, m, n).unwrap();
            matmul(isa, a.one(index), &packed[index / each], &one(index), whole).unwrap();
            out
        });
        let batch_of = |out| {
            let whole = MatrixMut::with_stride(out, shape[0], shape[1], stride).unwrap();
            if self.stacked[2] { Batch::stacked(whole, count) } else { Batch::side_by_side(whole, count) }
        };
        let [mut first, mut second] = [(); 2].map(|()| vec![canary; shape[0] * stride]);
        matmul_batch(isa, a.batch(), &unpacked, batch, batch_of(&mut first)).unwrap();
        matmul_batch(isa, a.batch(), &packed, batch, batch_of(&mut second)).unwrap();
        [dense(&first), dense(&second), want.collect()]
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn products_are_those_of_single_matrices(case in case()) {
        let [m, n, _] = case.sizes;
        every_isa(|isa| {
            let [unpacked, packed, want] = case.run(isa, &Accumulators, |_| Accumulators, i32::MIN);
            assert_eq!(unpacked, want, "{isa}");
            assert_eq!(packed, want, "{isa}");
            let [unpacked, packed, want] = case.run(isa, &Dequantize::new(), |_| Dequantize::new(), f32::INFINITY);
            assert_eq!(bits(&unpacked), bits(&want), "{isa}");
            assert_eq!(bits(&packed), bits(&want), "{isa}");
            let stage = raw::requantize(Rule::Float, &[0.001], 3, 0..=255_u8).unwrap();
            let stream = Stream::new(5);
            let one = |index: usize| stage.stochastic(stream.skip((index * m * n) as u64).unwrap()).unwrap();
            let [unpacked, packed, want] = case.run(isa, &one(0), one, 7);
            assert_eq!(unpacked, want, "stochastic {isa}");
            assert_eq!(packed, want, "stochastic {isa}");
        });
    }
}

/// The products of attention, `q · kᵀ` and `p · v`, of grouped heads, beside the reference.
#[test]
fn attention() {
    let [tokens, heads, key_heads, depth] = [5, 6, 2, 8];
    let bytes = |count: usize, seed: usize| -> Vec<i8> {
        (0..count).map(|i| (((i + seed) * 2_654_435_761) >> 9) as i8).collect()
    };
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.25, 3).unwrap();
    let (q, k) = (bytes(tokens * heads * depth, 1), bytes(tokens * key_heads * depth, 2));
    let of = |codes, heads| {
        let whole = Quantized::new(Matrix::new(codes, tokens, heads * depth).unwrap(), &params).unwrap();
        Batch::side_by_side(whole, heads)
    };
    every_isa(|isa| {
        let keys = UnpackedMatrix::batch_transposed(isa, of(&k[..], key_heads)).unwrap();
        let values = UnpackedMatrix::batch(isa, of(&k[..], key_heads)).unwrap();
        let mut scores = vec![0; heads * tokens * tokens];
        let out = Batch::stacked(MatrixMut::new(&mut scores, heads * tokens, tokens).unwrap(), heads);
        matmul_batch(isa, of(&q[..], heads), &keys, &Accumulators, out).unwrap();
        let (q, k) =
            (Matrix::new(&q, tokens, heads * depth).unwrap(), Matrix::new(&k, tokens, key_heads * depth).unwrap());
        let p: Vec<i8> = scores.iter().map(|&score| (score >> 9) as i8).collect();
        let probabilities = Quantized::new(Matrix::new(&p, heads * tokens, tokens).unwrap(), &params).unwrap();
        let mut y = vec![0; tokens * heads * depth];
        let out = Batch::side_by_side(MatrixMut::new(&mut y, tokens, heads * depth).unwrap(), heads);
        matmul_batch(isa, Batch::stacked(probabilities, heads), &values, &Accumulators, out).unwrap();
        for head in 0..heads {
            let columns = head * depth..(head + 1) * depth;
            let key = head / (heads / key_heads);
            let key = k.part(0..tokens, key * depth..(key + 1) * depth).unwrap();
            let query = q.part(0..tokens, columns.clone()).unwrap();
            let transposed: Vec<i8> = (0..depth).flat_map(|i| (0..tokens).map(move |j| key.row(j)[i])).collect();
            let transposed = Matrix::new(&transposed, depth, tokens).unwrap();
            let want = reference::matmul(query, 3.into(), transposed, 3.into(), None);
            let found = &scores[head * tokens * tokens..][..tokens * tokens];
            assert!(found.iter().map(|&score| i64::from(score)).eq(want), "{isa} {head}");
            let p = Matrix::new(&p[head * tokens * tokens..][..tokens * tokens], tokens, tokens).unwrap();
            let want = reference::matmul(p, 3.into(), key, 3.into(), None);
            let y = Matrix::new(&y, tokens, heads * depth).unwrap().part(0..tokens, columns).unwrap();
            assert!((0..tokens).flat_map(|row| y.row(row)).map(|&y| i64::from(y)).eq(want), "{isa} {head}");
        }
    });
}

#[test]
fn what_does_not_fit() {
    let exec = Exec::best().unwrap();
    let params = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.5, 0).unwrap();
    let x = Quantized::new(Matrix::new(&[1_i8; 24], 4, 6).unwrap(), &params).unwrap();
    let divided = Error::Shape { why: "a matrix is not divided into as many of one shape", found: 5 };
    let refused = |b| UnpackedMatrix::<i8, i8>::batch(exec, b).map(|_| ()).unwrap_err();
    assert_eq!(refused(Batch::stacked(x, 5)), divided);
    assert_eq!(refused(Batch::side_by_side(x, 5)), divided);
    let b = UnpackedMatrix::<i8, i8>::batch(exec, Batch::side_by_side(x, 3)).unwrap(); // [4, 2] each
    let mut out = [7; 64];
    let mut check = |x, b: &[UnpackedMatrix<'_, i8, i8>], count, [rows, columns]: [usize; 2], want| {
        let whole = MatrixMut::new(&mut out[..rows * columns], rows, columns).unwrap();
        assert_eq!(matmul_batch(exec, x, b, &Accumulators, Batch::stacked(whole, count)), Err(want));
        assert_eq!(out, [7; 64]);
    };
    let a = Quantized::new(Matrix::new(&[1_i8; 24], 6, 4).unwrap(), &params).unwrap(); // [2, 4] each
    let length = |what, expected, found| Error::Length { what, expected, found };
    check(Batch::stacked(a, 3), &b, 2, [6, 2], length("the results of a batch", 3, 2));
    check(Batch::stacked(a, 3), &b[..2], 3, [6, 2], length("the right operands of a batch", 3, 2));
    check(Batch::stacked(a, 3), &[], 3, [6, 2], length("the right operands of a batch", 3, 0));
    check(Batch::stacked(a, 3), &b, 3, [6, 3], length("the result's columns", 2, 3));
    check(Batch::stacked(a, 3), &b, 3, [9, 2], length("the result's rows", 2, 3));
    check(Batch::side_by_side(a, 4), &b[..1], 4, [24, 2], length("the depth of the activations", 4, 1));
    let nothing = Quantized::new(Matrix::new(&[0_i8; 0], 0, 4).unwrap(), &params).unwrap();
    let of_nothing = |found| Error::Shape { why: "a matrix is not divided into as many of one shape", found };
    assert_eq!(refused(Batch::stacked(nothing, usize::MAX)), of_nothing(usize::MAX));
    check(Batch::stacked(nothing, usize::MAX), &b[..1], usize::MAX, [0, 2], of_nothing(usize::MAX));
    let of_zero = Error::Shape { why: "a matrix is not divided into as many of one shape", found: 0 };
    check(Batch::stacked(a, 0), &b, 0, [6, 2], of_zero);
    let scales = Error::Operand { index: 0, why: "" };
    let other = QuantParams::per_tensor(CodeRange::signed(8).unwrap(), 0.25, 0).unwrap();
    let stage = Requantize::new(&b[0], &other, &params, Rule::Float).unwrap();
    let mut codes = [7_i8; 12];
    let whole = Batch::stacked(MatrixMut::new(&mut codes, 6, 2).unwrap(), 3);
    let found = matmul_batch(exec, Batch::stacked(a, 3), &b, &stage, whole).unwrap_err();
    assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&scales));
    assert_eq!(codes, [7; 12]);
}
