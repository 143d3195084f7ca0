//! Packing: B into the panels of a micro-kernel once, rows of A into a block when they cannot be read where they lie.

use core::marker::PhantomData;
use core::ops::Range;

use super::columns::Columns;
use super::tile::Microkernel;
use crate::codes::Code;
use crate::error::{Error, check_length, elements_of};
use crate::isa::Isa;
use crate::matrix::{Matrix, ZeroPoints};
use crate::simd::{Kernel, Simd};

/// The right operand of a [`matmul`](crate::matmul()), prepared for one ISA: weights of type `B`, to be multiplied by
/// activations of type `A`; with their zero points, and with a bias if [`with_bias`](PackedMatrix::with_bias) adds one.
///
/// It remembers the ISA it was packed for, so a panel can never meet another ISA's micro-kernel.
#[derive(Debug)]
pub struct PackedMatrix<A, B> {
    isa: Isa,
    depth: usize,
    columns: usize,
    /// Panels of the micro-kernel's layout, of 64-byte lines so that loads are aligned.
    panels: Vec<Line>,
    /// The largest `|b − zb|`.
    largest: i64,
    /// The largest `|bias|`.
    largest_bias: i64,
    /// Zero points of the codes as stored, unless all are 0.
    pub(super) zero_points: Option<Columns<i32>>,
    /// `Σₖ (b[k][j] − zb[j])`
    pub(super) sums: Columns<i32>,
    pub(super) bias: Columns<i32>,
    operands: PhantomData<fn(A) -> B>,
}

#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
struct Line([u8; LINE]);
const LINE: usize = 64;

impl<A: Code, B: Code> PackedMatrix<A, B> {
    /// Packs B given as `[K, N]`: a row for every k.
    ///
    /// ```
    /// use zeropoint::{Isa, Matrix, PackedMatrix};
    /// let b = [1_i8, 2, 3, 4, 5, 6];
    /// let packed = PackedMatrix::<u8, i8>::pack(Isa::best()?, Matrix::new(&b, 2, 3)?, 0.into())?;
    /// assert_eq!((packed.depth(), packed.columns()), (2, 3));
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ZeroPoint`], [`Error::Length`] of the zero points (one for every column).
    pub fn pack(isa: Isa, b: Matrix<'_, B>, zero_points: ZeroPoints<'_>) -> Result<Self, Error> {
        Self::pack_with(isa, b.rows(), b.columns(), zero_points, |k, j| b.row(k)[j])
    }

    /// Packs B given as `[N, K]`: a row for every column of the result, as linear layers keep their weights.
    ///
    /// # Errors
    /// As [`pack`](PackedMatrix::pack).
    pub fn pack_transposed(isa: Isa, b: Matrix<'_, B>, zero_points: ZeroPoints<'_>) -> Result<Self, Error> {
        Self::pack_with(isa, b.columns(), b.rows(), zero_points, |k, j| b.row(j)[k])
    }

    pub(crate) fn pack_with(
        isa: Isa,
        depth: usize,
        columns: usize,
        zero_points: ZeroPoints<'_>,
        at: impl Fn(usize, usize) -> B,
    ) -> Result<Self, Error> {
        if elements_of(&[columns, depth.max(1)]) > MOST_ELEMENTS {
            return Err(Error::Shape { why: "no memory holds the panels of so many columns", found: columns });
        }
        let largest = zero_points.check::<B>(columns)?;
        let kernel = isa.microkernel(A::SIGN);
        // The instruction's sign: x ^ 0x80 read as the other type is x ∓ 128, and the zero point moves along.
        let (flip, moved) = match (B::SIGN == kernel.b_sign, B::MIN.into()) {
            (true, _) => (0, 0),
            (false, 0) => (0x80, -128),
            (false, _) => (0x80, 128),
        };
        let padded_depth = depth.next_multiple_of(kernel.depth);
        let bytes = padded_depth * columns.next_multiple_of(kernel.lanes);
        let mut panels = vec![Line([0; LINE]); bytes.div_ceil(LINE)];
        let mut sums = Vec::with_capacity(columns);
        for panel in 0..columns.div_ceil(kernel.columns()) {
            let first = panel * kernel.columns();
            let width = panel_width(kernel, columns, panel);
            for j in first..columns.min(first + width) {
                let zero_point = zero_points.at(j);
                let mut sum = 0_i32;
                for k in 0..depth {
                    let code = at(k, j);
                    let step = k / kernel.depth;
                    let byte = (first * padded_depth + (step * width + j - first) * kernel.depth) + k % kernel.depth;
                    panels[byte / LINE].0[byte % LINE] = code.to_byte() ^ flip;
                    sum = sum.wrapping_add(code.into() - zero_point);
                }
                sums.push(sum);
            }
        }
        let stored: Vec<i32> = (0..columns).map(|j| zero_points.at(j) + moved).collect();
        Ok(PackedMatrix {
            isa,
            depth,
            columns,
            panels,
            largest,
            largest_bias: 0,
            zero_points: stored.iter().any(|&zero_point| zero_point != 0).then(|| Columns::each(stored)),
            sums: Columns::each(sums),
            bias: Columns::each(vec![0; columns]),
            operands: PhantomData,
        })
    }

    /// Adds `bias[j]`, at scale `S_a · S_b[j]`, to every accumulator of column j.
    ///
    /// # Errors
    /// [`Error::Length`]: one for every column.
    pub fn with_bias(mut self, bias: &[i32]) -> Result<Self, Error> {
        check_length("the bias", self.columns, bias.len())?;
        self.largest_bias = bias.iter().map(|&bias| i64::from(bias).abs()).max().unwrap_or(0);
        self.bias = Columns::each(bias.iter().copied());
        Ok(self)
    }

    /// The ISA it is packed for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The name of the micro-kernel that multiplies it, as in [`Isa::kernel`].
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        self.microkernel().name
    }

    /// K, the rows of B.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// N, the columns of B.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// `Ok` when no accumulator can leave i32, whatever the codes, for this largest `|a − za|`.
    pub(super) fn check_depth(&self, largest_a: i64) -> Result<(), Error> {
        check_accumulator(self.depth, largest_a * self.largest, self.largest_bias)
    }

    pub(super) fn microkernel(&self) -> &'static Microkernel {
        self.isa.microkernel(A::SIGN)
    }

    /// The bytes of a panel, and its vectors.
    pub(super) fn panel(&self, panel: usize) -> (*const u8, usize) {
        let kernel = self.microkernel();
        let start = panel * kernel.columns() * self.depth.next_multiple_of(kernel.depth);
        let width = panel_width(kernel, self.columns, panel);
        (self.panels.as_ptr().cast::<u8>().wrapping_add(start), width / kernel.lanes)
    }
}

/// `Ok` when `depth · largest product + largest bias ≤ 2³¹ − 1`.
pub(crate) fn check_accumulator(depth: usize, largest_product: i64, largest_bias: i64) -> Result<(), Error> {
    let room = i64::from(i32::MAX) - largest_bias;
    let limit = usize::try_from(room.max(0) / largest_product.max(1)).unwrap_or(usize::MAX);
    if depth > limit || room < 0 { Err(Error::Depth { depth, limit }) } else { Ok(()) }
}

/// What can be packed: its padding and sums, counted in bytes, stay far below `isize::MAX`.
const MOST_ELEMENTS: usize = isize::MAX as usize >> 10;

/// Columns of a panel: all of the tile's, or in the last one as many vectors as it needs.
fn panel_width(kernel: &Microkernel, columns: usize, panel: usize) -> usize {
    (columns - panel * kernel.columns()).next_multiple_of(kernel.lanes).min(kernel.columns())
}

/// Where the rows of A come from: a matrix, or the patches of a convolution.
pub(crate) trait Rows<A>: Sync {
    /// M.
    fn rows(&self) -> usize;
    /// K.
    fn depth(&self) -> usize;
    /// Writes row `row`, `depth` codes.
    fn copy_row(&self, row: usize, out: &mut [A]);
    /// The same rows where they lie in memory, if they do.
    fn matrix(&self) -> Option<Matrix<'_, A>>;
}

impl<A: Code> Rows<A> for Matrix<'_, A> {
    fn rows(&self) -> usize {
        Matrix::rows(self)
    }
    fn depth(&self) -> usize {
        self.columns()
    }
    #[inline(always)]
    fn copy_row(&self, row: usize, out: &mut [A]) {
        out.copy_from_slice(self.row(row));
    }
    fn matrix(&self) -> Option<Matrix<'_, A>> {
        Some(*self)
    }
}

/// A block of rows of A as the micro-kernel reads them, and their sums if B has zero points.
#[derive(Default)]
pub(super) struct RowBlock<A> {
    codes: Vec<A>,
    wide: Vec<i16>,
    pub sums: Vec<i32>,
}

impl<A: Code> RowBlock<A> {
    /// Reads `rows` of the source: the first row's address, and the bytes from one row to the next.
    pub fn fill<'s, R: Rows<A>>(
        &'s mut self,
        packed: &PackedMatrix<A, impl Code>,
        source: &'s R,
        rows: Range<usize>,
    ) -> (*const u8, usize) {
        let kernel = packed.microkernel();
        let depth = source.depth();
        let padded = depth.next_multiple_of(kernel.depth);
        let direct = source.matrix().filter(|_| !kernel.widen_a && depth == padded);
        packed.isa.run(FillRows {
            block: &mut *self,
            source,
            rows: rows.clone(),
            padded,
            copy: direct.is_none(),
            widen: kernel.widen_a,
            sum: packed.zero_points.is_some(),
        });
        match direct {
            Some(matrix) => (matrix.tail_from(rows.start).as_ptr().cast(), matrix.stride()),
            None if kernel.widen_a => (self.wide.as_ptr().cast(), padded * 2),
            None => (self.codes.as_ptr().cast(), padded),
        }
    }
}

/// The copying and summing of [`RowBlock::fill`]: plain loops, vectorized by the compiler for the ISA they run on. What
/// stands behind the depth of a row does not matter: B is padded with zeros there.
struct FillRows<'a, A, R> {
    block: &'a mut RowBlock<A>,
    source: &'a R,
    rows: Range<usize>,
    padded: usize,
    copy: bool,
    widen: bool,
    sum: bool,
}

impl<A: Code, R: Rows<A>> Kernel for FillRows<'_, A, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let FillRows { block, source, rows, padded, copy, widen, sum } = self;
        let depth = source.depth();
        let RowBlock { codes, wide, sums } = block;
        if copy {
            codes.resize(if widen { padded } else { rows.len() * padded }, A::default());
            wide.resize(if widen { rows.len() * padded } else { 0 }, 0);
        }
        sums.clear();
        for (i, row) in rows.enumerate() {
            let codes = if copy {
                let start = if widen { 0 } else { i * padded };
                let codes = &mut codes[start..start + depth];
                source.copy_row(row, codes);
                if widen {
                    for (wide, &code) in wide[i * padded..][..depth].iter_mut().zip(&*codes) {
                        let code: i32 = code.into();
                        *wide = code as i16;
                    }
                }
                &*codes
            } else {
                source.matrix().expect("read where it lies").row(row)
            };
            if sum {
                sums.push(codes.iter().fold(0_i32, |sum, &code| {
                    let code: i32 = code.into();
                    sum.wrapping_add(code)
                }));
            }
        }
    }
}
