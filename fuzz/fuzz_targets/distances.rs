//! Distances of queries and rows of every sign, with strides and zero points: of pairs, of all, and the nearest, equal the reference.
#![no_main]

use arbitrary::Arbitrary;
use core::cmp::Ordering;
use libfuzzer_sys::fuzz_target;
use zeropoint::distance::{Codes, Cosine, Dot, Metric, Neighbor, SquaredEuclidean, between, nearest, pairwise};
use zeropoint::{ByteCode, Isa, Matrix, MatrixMut, reference};
use zeropoint_fuzz::{CodeTexture, Data, IsaInput, of_signs};

#[derive(Arbitrary, Debug)]
struct Input {
    isa: IsaInput,
    signs: [bool; 2],
    queries: u8,
    rows: u8,
    length: u16,
    gaps: [u8; 2],
    codes: [Data<CodeTexture>; 2],
    /// Codes as bytes; 0 where there is none.
    zero_points: [Option<u8>; 2],
    k: u8,
    metric: MetricInput,
}

#[derive(Arbitrary, Debug)]
enum MetricInput {
    Dot,
    SquaredEuclidean,
    Cosine,
}

fuzz_target!(|input: Input| of_signs!(input.signs, run(&input)));

/// Some vectors in rows with gaps.
struct Vectors<C> {
    codes: Vec<C>,
    shape: [usize; 3],
    zero_point: i32,
}

impl<C: ByteCode> Vectors<C> {
    fn new(input: &Input, index: usize, rows: usize) -> Self {
        let length = usize::from(input.length % 700);
        let stride = length + usize::from(input.gaps[index] % 20);
        let codes = input.codes[index].codes(if rows == 0 { 0 } else { (rows - 1) * stride + length });
        let zero_point = input.zero_points[index].map_or(0, |byte| C::MIN.into() + i32::from(byte));
        Vectors { codes, shape: [rows, length, stride], zero_point }
    }

    fn matrix(&self) -> Matrix<'_, C> {
        let [rows, length, stride] = self.shape;
        Matrix::with_stride(&self.codes, rows, length, stride).unwrap()
    }

    fn operand(&self) -> Codes<'_, C> {
        Codes::with_zero_point(self.matrix(), self.zero_point).unwrap()
    }

    fn row(&self, row: usize) -> (&[C], i32) {
        (self.matrix().row(row), self.zero_point)
    }
}

fn run<A: ByteCode, B: ByteCode>(input: &Input) {
    let queries = Vectors::<A>::new(input, 0, usize::from(input.queries % 4));
    let rows = Vectors::<B>::new(input, 1, usize::from(input.rows % 90));
    let case = Case {
        isa: input.isa.isa(),
        queries,
        rows,
        k: usize::from(input.k % 100),
        gap: usize::from(input.gaps[0] % 20),
    };
    match input.metric {
        MetricInput::Dot => case.check(Dot, |a, b| reference::dot(a, b) as i32, |a, b| b.cmp(a)),
        MetricInput::SquaredEuclidean => {
            case.check(SquaredEuclidean, |a, b| reference::squared_distance(a, b) as i32, |a, b| a.cmp(b));
        }
        MetricInput::Cosine => case.check(Cosine, |a, b| reference::cosine(a, b), |a, b| b.partial_cmp(a).unwrap()),
    }
}

struct Case<A, B> {
    isa: Isa,
    queries: Vectors<A>,
    rows: Vectors<B>,
    k: usize,
    gap: usize,
}

impl<A: ByteCode, B: ByteCode> Case<A, B> {
    fn check<M: Metric + Copy>(
        &self,
        metric: M,
        reference: impl Fn((&[A], i32), (&[B], i32)) -> M::Value,
        order: impl Fn(&M::Value, &M::Value) -> Ordering,
    ) {
        let Case { isa, queries, rows, k, gap } = self;
        let (isa, [queries_len, length, _], [rows_len, ..]) = (*isa, queries.shape, rows.shape);
        let want: Vec<Vec<M::Value>> = (0..queries_len)
            .map(|query| (0..rows_len).map(|row| reference(queries.row(query), rows.row(row))).collect())
            .collect();
        let Some(&fill) = want.iter().flatten().next() else {
            assert!(nearest(isa, metric, queries.operand(), rows.operand(), *k).unwrap().is_empty());
            return;
        };
        let stride = rows_len + gap;
        let mut out = vec![fill; (queries_len - 1) * stride + rows_len].into_boxed_slice();
        let view = MatrixMut::with_stride(&mut out, queries_len, rows_len, stride).unwrap();
        pairwise(isa, metric, queries.operand(), rows.operand(), view).unwrap();
        let mut found = nearest(isa, metric, queries.operand(), rows.operand(), *k).unwrap().into_iter();
        for (query, want) in want.iter().enumerate() {
            assert_eq!(&out[query * stride..][..rows_len], want, "{isa}");
            let mut sorted: Vec<_> = want.iter().enumerate().map(|(row, &value)| Neighbor { row, value }).collect();
            sorted.sort_by(|a, b| order(&a.value, &b.value)); // stable: of equal ones the first
            for want in sorted.iter().take(*k) {
                assert_eq!(found.next().as_ref(), Some(want), "{isa}");
            }
        }
        assert_eq!(found.next(), None);
        let a = Codes::with_zero_point(queries.matrix().part(0..1, 0..length).unwrap(), queries.zero_point).unwrap();
        let b = Codes::with_zero_point(rows.matrix().part(0..1, 0..length).unwrap(), rows.zero_point).unwrap();
        assert_eq!(between(isa, metric, a, b).unwrap(), want[0][0], "{isa}");
    }
}
