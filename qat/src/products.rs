//! The f32 products of training: sums in a fixed order.
//!
//! ```text
//! out[i,j] = (((out[i,j] + a[i,0]·b[0,j]) + a[i,1]·b[1,j]) + …)      every product and every sum rounded once
//! ```
//!
//! Vectors run along `j`, so that a lane holds one result from its first term to its last: the width of a vector changes
//! nothing but the time. There is no multiply-add, which would round once where this rounds twice; and no thread but the
//! caller's. So a network has the same bits on every CPU. candle's product chooses its kernel, and with it the order, by
//! the CPU.

use zeropoint::Isa;

/// The length of vectors that a product is compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Products(Width);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Width {
    /// The vectors that every CPU of the target has.
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Products {
    /// As wide as the vectors of an ISA.
    #[must_use]
    pub fn new(isa: Isa) -> Self {
        Products(match isa.name() {
            #[cfg(target_arch = "x86_64")]
            "avx2" | "avxvnni" => Width::Avx2,
            #[cfg(target_arch = "x86_64")]
            "avx512" | "avx512vnni" => Width::Avx512,
            _ => Width::Baseline,
        })
    }

    /// Adds to `out`, `[rows, columns]`, the products of `a`, `[rows, depth]`, and `b`, `[depth, columns]`.
    ///
    /// # Panics
    /// When the lengths are not those of the shape.
    pub fn add(self, [rows, depth, columns]: [usize; 3], a: &[f32], b: &[f32], out: &mut [f32]) {
        assert_eq!([a.len(), b.len(), out.len()], [rows * depth, depth * columns, rows * columns], "lengths");
        let shape = [depth, columns];
        match self.0 {
            Width::Baseline => add(shape, a, b, out),
            // SAFETY: the CPU has AVX2, since there is an `Isa` of this name.
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => unsafe { add_avx2(shape, a, b, out) },
            // SAFETY: the CPU has AVX-512 F, BW, VL and DQ, since there is an `Isa` of this name.
            #[cfg(target_arch = "x86_64")]
            Width::Avx512 => unsafe { add_avx512(shape, a, b, out) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_avx2(shape: [usize; 2], a: &[f32], b: &[f32], out: &mut [f32]) {
    add(shape, a, b, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn add_avx512(shape: [usize; 2], a: &[f32], b: &[f32], out: &mut [f32]) {
    add(shape, a, b, out);
}

/// Four rows at a time, so that a vector of `b` that was read is used four times.
#[inline(always)]
fn add(shape @ [depth, columns]: [usize; 2], a: &[f32], b: &[f32], out: &mut [f32]) {
    if depth == 0 || columns == 0 {
        return;
    }
    let (mut a, mut out) = (a.chunks_exact(4 * depth), out.chunks_exact_mut(4 * columns));
    for (a, out) in a.by_ref().zip(out.by_ref()) {
        add_rows::<4>(shape, a, b, out);
    }
    let rest = a.remainder().chunks_exact(depth);
    for (a, out) in rest.zip(out.into_remainder().chunks_exact_mut(columns)) {
        add_rows::<1>(shape, a, b, out);
    }
}

#[inline(always)]
fn add_rows<const ROWS: usize>(shape @ [_, columns]: [usize; 2], a: &[f32], b: &[f32], out: &mut [f32]) {
    let mut column = 0;
    // Wider tiles than this are not kept in registers by the compiler.
    while columns - column >= 16 {
        tile::<ROWS, 16>(shape, a, b, out, column);
        column += 16;
    }
    // At most one of each.
    if columns - column >= 8 {
        tile::<ROWS, 8>(shape, a, b, out, column);
        column += 8;
    }
    if columns - column >= 4 {
        tile::<ROWS, 4>(shape, a, b, out, column);
        column += 4;
    }
    while column < columns {
        tile::<ROWS, 1>(shape, a, b, out, column);
        column += 1;
    }
}

/// `ROWS` by `COLUMNS` results from `column` on, in registers.
#[inline(always)]
fn tile<const ROWS: usize, const COLUMNS: usize>(
    [depth, columns]: [usize; 2],
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    column: usize,
) {
    let mut sums = [[0.0; COLUMNS]; ROWS];
    for (row, sums) in sums.iter_mut().enumerate() {
        sums.copy_from_slice(&out[row * columns + column..][..COLUMNS]);
    }
    let a: [&[f32]; ROWS] = std::array::from_fn(|row| &a[row * depth..][..depth]);
    for (k, b) in b.chunks_exact(columns).enumerate().take(depth) {
        let b: &[f32; COLUMNS] = b[column..].first_chunk().expect("a column of this width");
        for row in 0..ROWS {
            for i in 0..COLUMNS {
                sums[row][i] += a[row][k] * b[i];
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        out[row * columns + column..][..COLUMNS].copy_from_slice(sums);
    }
}

/// `x`, `[rows, columns]`, as `[columns, rows]`.
#[must_use]
pub fn transposed<T: Copy + Default>(x: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut out = vec![T::default(); x.len()];
    for row in 0..rows {
        for column in 0..columns {
            out[column * rows + row] = x[row * columns + column];
        }
    }
    out
}
