//! Sums of products of a query and some rows: the kernel of all metrics.
//!
//! ```text
//! for every four rows, a quarter of all rows apart
//!     for every vector of k                     one load of the query for four rows
//!         sums[r]    += query[k] · row[r][k]    or (query[k] − row[r][k])²
//!         squares[r] += row[r][k]²              for the cosine
//!     the last vector ends with the row: codes of it that were already counted are masked
//! ```
//!
//! Codes widened to 16 bits, less their zero points, are exact for all metrics. Two cases do with bytes:
//!
//! - Products of a query whose zero point is 0, by an instruction that multiplies bytes. It wants operands of certain signs, so rows are
//!   converted to the other sign by XOR. That adds a constant to every code, whose part of the sum is the constant times the sum of
//!   the query: one correction for all rows.
//! - Differences of codes of one type and zero point: the zero point cancels, and so does the constant that makes i8 u8. The magnitude
//!   of a difference is a u8.

use bytemuck::from_bytes;

use super::codes::Encoding;
use super::vectors::{Differences, Products, Vectors};
use crate::matrix::Matrix;

/// The bytes of the longest vector of any ISA.
pub const LONGEST: usize = 64;

/// Rows that are multiplied in one pass over the query.
const TOGETHER: usize = 4;

/// Sets of accumulators where there is one row, whose additions would wait for each other in a single one.
const UNROLLED: usize = 2;

/// The sums that a metric needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Summed {
    /// `Σ query · row`
    Products,
    /// `Σ (query − row)²`
    SquaredDifferences,
    /// `Σ query · row` and `Σ row²`
    ProductsAndSquares,
}

/// The sums of a query and a row: those that [`Summed`] asks for, and 0 for others.
#[derive(Clone, Copy)]
pub struct Sums {
    /// `Σ query · row` or `Σ (query − row)²`
    pub sum: i32,
    /// `Σ query²` and `Σ row²`
    pub squares: [i32; 2],
}

/// A query, and what is computed of it and rows of its length.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    pub codes: &'a [u8],
    /// The encoding of the query, and that of the rows.
    pub encodings: [Encoding; 2],
    pub summed: Summed,
}

/// Where the sums of some rows go.
pub struct RowSums<'a> {
    /// `Σ query · row` or `Σ (query − row)²` of every row.
    pub sums: &'a mut [i32],
    /// `Σ row²` of every row, for [`Summed::ProductsAndSquares`]; empty for others.
    pub squares: &'a mut [i32],
}

/// The vectors of an ISA for each kind of sum. An ISA without instructions for bytes gives the widened vectors for all.
#[derive(Clone, Copy)]
pub struct Kernels<P, W, D> {
    /// Products of a query whose zero point is 0.
    pub products: P,
    /// Codes widened to 16 bits.
    pub widened: W,
    /// Differences of codes of one encoding.
    pub differences: D,
}

impl Query<'_> {
    /// The sums of the query and one row.
    #[inline(always)]
    pub fn pair_sums<P, W, D>(&self, row: &[u8], kernels: Kernels<P, W, D>) -> Sums
    where
        P: Products,
        W: Products + Differences,
        D: Differences,
    {
        let [query, rows] = self.encodings;
        let sum = match self.summed {
            Summed::Products if query.zero_point == 0 => self.product(row, kernels.products),
            Summed::Products => self.product(row, kernels.widened),
            Summed::SquaredDifferences if query == rows => self.squared_difference(row, kernels.differences),
            Summed::SquaredDifferences => self.squared_difference(row, kernels.widened),
            Summed::ProductsAndSquares => {
                let v = kernels.widened;
                let [sum, of_query, of_row] = self.pair(
                    row,
                    v,
                    #[inline(always)]
                    |[sums, of_query, of_row], query, row| {
                        [
                            v.add_products(sums, query, row),
                            v.add_products(of_query, query, query),
                            v.add_products(of_row, row, row),
                        ]
                    },
                );
                return Sums { sum, squares: [of_query, of_row] };
            }
        };
        Sums { sum, squares: [0; 2] }
    }

    /// The sums of the query and every row.
    #[inline(always)]
    pub fn row_sums<P, W, D>(&self, rows: Matrix<'_, u8>, out: RowSums<'_>, kernels: Kernels<P, W, D>)
    where
        P: Products,
        W: Products + Differences,
        D: Differences,
    {
        let RowSums { sums, squares } = out;
        let [of_query, of_rows] = self.encodings;
        match self.summed {
            Summed::Products if of_query.zero_point == 0 => self.products(rows, sums, kernels.products),
            Summed::Products => self.products(rows, sums, kernels.widened),
            Summed::SquaredDifferences if of_query == of_rows => {
                self.squared_differences(rows, sums, kernels.differences);
            }
            Summed::SquaredDifferences => self.squared_differences(rows, sums, kernels.widened),
            Summed::ProductsAndSquares => {
                let v = kernels.widened;
                self.rows(
                    rows,
                    v,
                    #[inline(always)]
                    |[sums, squares], query, row| [v.add_products(sums, query, row), v.add_products(squares, row, row)],
                    #[inline(always)]
                    |row, [sum, square]| {
                        sums[row] = sum;
                        squares[row] = square;
                    },
                );
            }
        }
    }

    /// The squared difference of the query and a row.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn squared_difference<V: Differences>(&self, row: &[u8], v: V) -> i32 {
        let [sum] = self.pair(
            row,
            v,
            #[inline(always)]
            |[sums], query, row| [v.add_squares(sums, query, row)],
        );
        sum
    }

    /// The squared differences of the query and every row.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn squared_differences<V: Differences>(&self, rows: Matrix<'_, u8>, out: &mut [i32], v: V) {
        self.rows(
            rows,
            v,
            #[inline(always)]
            |[sums], query, row| [v.add_squares(sums, query, row)],
            #[inline(always)]
            |row, [sum]| out[row] = sum,
        );
    }

    /// The product of the query and a row.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn product<V: Products>(&self, row: &[u8], v: V) -> i32 {
        let factor = v.factor(self.encodings);
        if factor == 0 {
            let [product] = self.pair(
                row,
                v,
                #[inline(always)]
                |[sums], query, row| [v.add_products(sums, query, row)],
            );
            return product;
        }
        let [product, sum] = self.pair(
            row,
            v,
            #[inline(always)]
            |[products, sums], query, row| {
                [v.add_products(products, query, row), v.add_products(sums, query, v.ones())]
            },
        );
        product.wrapping_add(sum.wrapping_mul(factor))
    }

    /// The products of the query and every row.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn products<V: Products>(&self, rows: Matrix<'_, u8>, out: &mut [i32], v: V) {
        let factor = v.factor(self.encodings);
        let mut correction = 0;
        if factor != 0 {
            let [sum] = self.pair(
                self.codes,
                v,
                #[inline(always)]
                |[sums], query, _| [v.add_products(sums, query, v.ones())],
            );
            correction = sum.wrapping_mul(factor);
        }
        self.rows(
            rows,
            v,
            #[inline(always)]
            |[sums], query, row| [v.add_products(sums, query, row)],
            #[inline(always)]
            |row, [sum]| out[row] = sum.wrapping_add(correction),
        );
    }

    /// N sums of the query and a row, accumulated by `add`.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn pair<V: Vectors, const N: usize>(
        &self,
        row: &[u8],
        v: V,
        add: impl Fn([V::Sums; N], V::Codes, V::Codes) -> [V::Sums; N],
    ) -> [i32; N] {
        let [sums] = sums_of::<V, N, 1, UNROLLED>(v, v.decodings(self.encodings), self.codes, [row], add);
        sums
    }

    /// N sums of the query and each row, accumulated by `add` and stored by `put`.
    #[cfg_attr(not(unoptimized), inline(always))]
    fn rows<V: Vectors, const N: usize>(
        &self,
        rows: Matrix<'_, u8>,
        v: V,
        add: impl Fn([V::Sums; N], V::Codes, V::Codes) -> [V::Sums; N] + Copy,
        mut put: impl FnMut(usize, [i32; N]),
    ) {
        let decodings = v.decodings(self.encodings);
        // The rows of a pass are a quarter of all rows apart: a core reads memory faster in four sequential streams.
        let quarter = rows.rows() / TOGETHER;
        for i in 0..quarter {
            let together = [i, quarter + i, 2 * quarter + i, 3 * quarter + i];
            // (An array of calls: `map` would not be inlined.)
            let each = [rows.row(together[0]), rows.row(together[1]), rows.row(together[2]), rows.row(together[3])];
            let sums = sums_of::<V, N, TOGETHER, 1>(v, decodings, self.codes, each, add);
            for r in 0..TOGETHER {
                put(together[r], sums[r]);
            }
        }
        for row in TOGETHER * quarter..rows.rows() {
            put(row, self.pair(rows.row(row), v, add));
        }
    }
}

/// N sums of the query and each of R rows, accumulated by `add`, in U sets of accumulators.
#[cfg_attr(not(unoptimized), inline(always))]
fn sums_of<V: Vectors, const N: usize, const R: usize, const U: usize>(
    v: V,
    [of_query, of_row]: [V::Decoding; 2],
    query: &[u8],
    rows: [&[u8]; R],
    add: impl Fn([V::Sums; N], V::Codes, V::Codes) -> [V::Sums; N],
) -> [[i32; N]; R] {
    let (length, depth) = (const { size_of::<V::Bytes>() }, query.len());
    for r in 0..R {
        assert_eq!(rows[r].len(), depth, "rows are as long as the query");
    }
    let mut sums = [[[v.zero(); N]; R]; U];
    let mut at = 0;
    while at + U * length <= depth {
        for u in 0..U {
            add_step(v, [of_query, of_row], query, rows, at + u * length, &mut sums[u], &add);
        }
        at += U * length;
    }
    while U > 1 && at + length <= depth {
        add_step(v, [of_query, of_row], query, rows, at, &mut sums[0], &add);
        at += length;
    }
    if at < depth {
        let mask = from_bytes(&LAST[LONGEST - length + depth - at..][..length]);
        let mut padded = [0; LONGEST];
        let codes = v.keep(v.load(from_bytes(last(query, length, &mut padded)), of_query), mask);
        for r in 0..R {
            let row = v.load(from_bytes(last(rows[r], length, &mut padded)), of_row);
            sums[0][r] = add(sums[0][r], codes, v.keep(row, mask));
        }
    }
    let mut totals = [[0; N]; R];
    for r in 0..R {
        for n in 0..N {
            let mut total = sums[0][r][n];
            for u in 1..U {
                total = v.merge(total, sums[u][r][n]);
            }
            totals[r][n] = v.sum(total);
        }
    }
    totals
}

/// Accumulates one vector of the query and of each row, from element `at` on.
#[inline(always)]
fn add_step<V: Vectors, const N: usize, const R: usize>(
    v: V,
    [of_query, of_row]: [V::Decoding; 2],
    query: &[u8],
    rows: [&[u8]; R],
    at: usize,
    sums: &mut [[V::Sums; N]; R],
    add: &impl Fn([V::Sums; N], V::Codes, V::Codes) -> [V::Sums; N],
) {
    let length = const { size_of::<V::Bytes>() };
    let codes = v.load(from_bytes(&query[at..at + length]), of_query);
    for r in 0..R {
        sums[r] = add(sums[r], codes, v.load(from_bytes(&rows[r][at..at + length]), of_row));
    }
}

/// Masks: of `length` bytes from `LONGEST - length + n` on, the last n are 0xff and the others 0.
const LAST: &[u8; 2 * LONGEST] = &{
    let mut bytes = [0; 2 * LONGEST];
    let mut i = LONGEST;
    while i < bytes.len() {
        bytes[i] = 0xff;
        i += 1;
    }
    bytes
};

/// The last `length` bytes of `x`; where `x` is shorter, it is copied to the end of `padded`.
#[inline(always)]
fn last<'a>(x: &'a [u8], length: usize, padded: &'a mut [u8; LONGEST]) -> &'a [u8] {
    match x.len().checked_sub(length) {
        Some(first) => &x[first..],
        None => {
            copy_to_end(x, padded);
            &padded[LONGEST - length..]
        }
    }
}

/// Copies a row shorter than a vector. A call, since such rows are rare and kernels have many places for it.
#[cold]
#[inline(never)]
fn copy_to_end(x: &[u8], padded: &mut [u8; LONGEST]) {
    padded[LONGEST - x.len()..].copy_from_slice(x);
}
