//! Distances between vectors of codes equal the reference, on every ISA.

use std::fmt::Debug;

use crate::common::{cases, codes, every_isa, zero_points};
use proptest::prelude::*;
use proptest::sample::select;
use zeropoint::distance::{Codes, Cosine, Dot, Metric, Neighbor, SquaredEuclidean, between, nearest, pairwise};
use zeropoint::*;

/// Some queries and rows.
#[derive(Debug)]
struct Case<A, B> {
    queries: usize,
    rows: usize,
    depth: usize,
    /// Elements between the rows.
    gap: usize,
    a: Vec<A>,
    b: Vec<B>,
    zero_points: [i32; 2],
    k: usize,
}

fn case<A: ByteCode + Arbitrary, B: ByteCode + Arbitrary>() -> impl Strategy<Value = Case<A, B>> {
    // Depths of every tail of a vector, and of vectors that are full.
    let depths = prop_oneof![3 => 0_usize..150, 1 => select(vec![16, 32, 64, 128, 192, 1024])];
    let zero_points = prop_oneof![1 => Just([0, 0]).boxed(), 2 => (zero_points::<A>(), zero_points::<B>()).prop_map(|(a, b)| [a, b]).boxed()];
    (0_usize..4, 0_usize..14, depths, 0_usize..3, zero_points, 0_usize..16).prop_flat_map(
        |(queries, rows, depth, gap, zero_points, k)| {
            let a = prop::collection::vec(codes(), queries * depth);
            let b = prop::collection::vec(codes(), rows * (depth + gap));
            (a, b).prop_map(move |(a, b)| Case { queries, rows, depth, gap, a, b, zero_points, k })
        },
    )
}

impl<A: ByteCode, B: ByteCode> Case<A, B> {
    fn a(&self) -> Codes<'_, A> {
        let codes = Matrix::new(&self.a, self.queries, self.depth).unwrap();
        Codes::with_zero_point(codes, self.zero_points[0]).unwrap()
    }

    fn b(&self) -> Codes<'_, B> {
        let codes = Matrix::with_stride(&self.b, self.rows, self.depth, self.depth + self.gap).unwrap();
        Codes::with_zero_point(codes, self.zero_points[1]).unwrap()
    }

    /// What is computed by a metric equals the reference; `nearer` says of two values whether the first one is nearer.
    fn check<M: Metric + Copy>(
        &self,
        metric: M,
        unset: M::Value,
        reference: impl Fn((&[A], i32), (&[B], i32)) -> M::Value,
        nearer: impl Fn(M::Value, M::Value) -> bool,
    ) {
        let Case { queries, rows, depth, gap, .. } = *self;
        let want: Vec<Vec<M::Value>> = (0..queries)
            .map(|i| {
                let a = &self.a[i * depth..][..depth];
                let row = |j| &self.b[j * (depth + gap)..][..depth];
                (0..rows).map(|j| reference((a, self.zero_points[0]), (row(j), self.zero_points[1]))).collect()
            })
            .collect();
        let mut want_nearest = Vec::new();
        for values in &want {
            let mut found: Vec<_> = values.iter().enumerate().map(|(row, &value)| Neighbor { row, value }).collect();
            // (A stable sort: of equal ones the first.)
            found.sort_by(|a, b| nearer(b.value, a.value).cmp(&nearer(a.value, b.value)));
            want_nearest.extend(found.into_iter().take(self.k));
        }
        every_isa(|isa| {
            let mut out = vec![unset; queries * (rows + 1)];
            let view = MatrixMut::with_stride(&mut out, queries, rows, rows + 1).unwrap();
            pairwise(isa, metric, self.a(), self.b(), view).unwrap();
            for (i, want) in want.iter().enumerate() {
                assert_eq!(out[i * (rows + 1)..][..rows], want[..], "{isa} {i}");
                assert_eq!(out[i * (rows + 1) + rows], unset, "{isa} {i}");
            }
            assert_eq!(nearest(isa, metric, self.a(), self.b(), self.k).unwrap(), want_nearest, "{isa}");
            if queries > 0 && rows > 0 {
                let a = Matrix::new(&self.a[..depth], 1, depth).unwrap();
                let b = Matrix::new(&self.b[..depth], 1, depth).unwrap();
                let a = Codes::with_zero_point(a, self.zero_points[0]).unwrap();
                let b = Codes::with_zero_point(b, self.zero_points[1]).unwrap();
                assert_eq!(between(isa, metric, a, b).unwrap(), want[0][0], "{isa}");
            }
        });
    }

    fn equals_reference(&self) {
        let exact = |sum: i64| i32::try_from(sum).unwrap();
        self.check(Dot, -1, |a, b| exact(reference::dot(a, b)), |a, b| a > b);
        self.check(SquaredEuclidean, -1, |a, b| exact(reference::squared_distance(a, b)), |a, b| a < b);
        self.check(Cosine, -9.0, |a, b| reference::cosine(a, b), |a, b| a > b);
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn u8_and_u8(case in case::<u8, u8>()) { case.equals_reference(); }

    #[test]
    fn u8_and_i8(case in case::<u8, i8>()) { case.equals_reference(); }

    #[test]
    fn i8_and_u8(case in case::<i8, u8>()) { case.equals_reference(); }

    #[test]
    fn i8_and_i8(case in case::<i8, i8>()) { case.equals_reference(); }
}

/// Every pair of codes, in every place of vectors that are full and not; and zero points at the ends.
#[test]
fn every_pair_of_codes() {
    fn check<A: ByteCode, B: ByteCode>() {
        let all = |shift: usize| (0..257).map(move |i: usize| (i * 7 + shift) as u8).collect::<Vec<u8>>();
        for shift in 0..256 {
            let a: Vec<A> = all(0).into_iter().map(|byte| bytemuck::cast(byte)).collect();
            let b: Vec<B> = all(shift).into_iter().map(|byte| bytemuck::cast(byte)).collect();
            for zero_points in [[0, 0], [A::MAX.into(), B::MIN.into()]] {
                Case { queries: 1, rows: 1, depth: 257, gap: 0, a: a.clone(), b: b.clone(), zero_points, k: 1 }
                    .equals_reference();
            }
        }
    }
    check::<u8, u8>();
    check::<u8, i8>();
    check::<i8, u8>();
    check::<i8, i8>();
}

/// The largest sums that an i32 holds, and the first depth at which it might not.
#[test]
fn the_deepest_vectors() {
    fn check<A: ByteCode, B: ByteCode, M: Metric + Copy>(
        metric: M,
        [a, b]: [(i32, i32); 2],
        depth: usize,
        want: impl Fn(usize) -> M::Value,
    ) where
        M::Value: PartialEq + Debug,
    {
        let codes = |(code, _): (i32, i32), length| vec![code as u8; length];
        every_isa(|isa| {
            for length in [depth, depth + 1] {
                let (x, y) = (codes(a, length), codes(b, length));
                let x = Matrix::new(bytemuck::cast_slice::<u8, A>(&x), 1, length).unwrap();
                let y = Matrix::new(bytemuck::cast_slice::<u8, B>(&y), 1, length).unwrap();
                let x = Codes::with_zero_point(x, a.1).unwrap();
                let y = Codes::with_zero_point(y, b.1).unwrap();
                let found = between(isa, metric, x, y);
                if length == depth {
                    assert_eq!(found.unwrap(), want(length), "{isa}");
                } else {
                    assert_eq!(found, Err(Error::Depth { row: 0, channel: 0, depth: length, limit: depth }), "{isa}");
                }
            }
        });
    }
    let sum = |value: i32| move |depth: usize| value * depth as i32;
    check::<u8, u8, _>(Dot, [(255, 0), (255, 0)], 33_025, sum(255 * 255));
    check::<i8, i8, _>(Dot, [(-128, 0), (-128, 0)], 131_071, sum(128 * 128));
    check::<u8, i8, _>(Dot, [(255, 0), (-128, 0)], 65_793, sum(255 * -128));
    check::<u8, u8, _>(Dot, [(0, 255), (255, 0)], 33_025, sum(-255 * 255));
    check::<u8, i8, _>(SquaredEuclidean, [(255, 0), (-128, 0)], 14_639, sum(383 * 383));
    check::<u8, u8, _>(SquaredEuclidean, [(255, 0), (0, 0)], 33_025, sum(255 * 255));
    check::<i8, i8, _>(SquaredEuclidean, [(127, -128), (-128, 127)], 8_256, sum(510 * 510));
    check::<u8, u8, _>(Cosine, [(255, 0), (255, 0)], 33_025, |_| 1.0);
    check::<i8, u8, _>(Cosine, [(-128, 0), (255, 0)], 33_025, |_| -1.0);
}

#[test]
fn what_does_not_fit() {
    let exec = Exec::best().unwrap();
    let (three, six) = ([1_i8; 3], [1_u8; 6]);
    let rows = Matrix::new(&six, 3, 2).unwrap();
    let short = Error::Length { what: "a row", expected: 3, found: 2 };
    assert_eq!(nearest(exec, Dot, &three, rows, 1), Err(short.clone()));
    let two = Matrix::new(&six, 2, 3).unwrap();
    assert_eq!(between(exec, Dot, &three, two), Err(Error::Length { what: "vectors of b", expected: 1, found: 2 }));
    assert_eq!(between(exec, Dot, two, &three), Err(Error::Length { what: "vectors of a", expected: 1, found: 2 }));
    let mut out = [0; 3];
    let view = MatrixMut::new(&mut out, 1, 3).unwrap();
    assert_eq!(
        pairwise(exec, Dot, &three, two, view),
        Err(Error::Length { what: "columns of the result", expected: 2, found: 3 })
    );
    let view = MatrixMut::new(&mut out, 3, 1).unwrap();
    assert_eq!(
        pairwise(exec, Dot, &three, &three, view),
        Err(Error::Length { what: "rows of the result", expected: 1, found: 3 })
    );
    let refused = Codes::with_zero_point(two, 256).map(|_| ());
    assert_eq!(refused, Err(Error::ZeroPoint { index: 0, zero_point: 256, min: 0, max: 255 }));
}
