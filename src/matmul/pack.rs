//! Packing: B into the panels of a micro-kernel, once for many multiplications.

use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::null;

use super::columns::Columns;
use super::offsets::ColumnTerms;
use super::tile::{MAX_COLUMNS, Microkernel, Operands, Split, TileRow};
use crate::codes::Code;
use crate::error::{Error, check_length, elements_of};
use crate::isa::Isa;
use crate::matrix::{Matrix, ZeroPoints};
use crate::simd::{Kernel, Simd};
use crate::workspace::{Lines, Workspace};

/// The right operand of a [`matmul`](crate::matmul()), prepared for one ISA: weights of type `B`, to be multiplied by
/// activations of type `A`; with their zero points, and with a bias if [`with_bias`](PackedMatrix::with_bias) adds one.
///
/// It remembers the ISA it was packed for, so a panel can never meet another ISA's micro-kernel.
#[derive(Debug)]
pub struct PackedMatrix<A, B> {
    panels: Panels,
    /// The largest `|b − zb|`.
    largest: i64,
    /// The largest `|bias|`.
    largest_bias: i64,
    operands: PhantomData<fn(A) -> B>,
}

/// B as its micro-kernel reads it, with what the offsets need of it: the types of the codes do not matter any more.
#[derive(Debug)]
pub(super) struct Panels {
    pub isa: Isa,
    pub kernel: &'static Microkernel,
    pub depth: usize,
    /// The depth in steps of the kernel.
    pub steps: usize,
    pub columns: usize,
    /// The columns in panels, by vectors.
    split: Split,
    codes: Lines,
    zero_points: StoredZeroPoints,
    /// `Σₖ (zb[j] − b[k][j])`
    negative_sums: Columns<i32>,
    bias: Columns<i32>,
}

/// Zero points of B's codes as stored.
#[derive(Debug)]
enum StoredZeroPoints {
    Uniform(i32),
    Each(Columns<i32>),
}

/// Some columns of B, at most as many as a tile has.
pub(super) struct Panel<'a> {
    /// `[steps][vectors · lanes][depth]`, in the layout of [`tile`](super::tile).
    pub codes: *const u8,
    pub vectors: usize,
    pub columns: Range<usize>,
    pub terms: ColumnTerms<'a>,
}

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
        Self::pack_with(isa, b.rows(), b.columns(), zero_points, |k, columns, out| {
            out.copy_from_slice(&b.row(k)[columns]);
        })
    }

    /// Packs B given as `[N, K]`: a row for every column of the result, as linear layers keep their weights.
    ///
    /// # Errors
    /// As [`pack`](PackedMatrix::pack).
    pub fn pack_transposed(isa: Isa, b: Matrix<'_, B>, zero_points: ZeroPoints<'_>) -> Result<Self, Error> {
        Self::pack_with(isa, b.columns(), b.rows(), zero_points, |k, columns, out| {
            for (j, out) in columns.zip(out) {
                *out = b.row(j)[k];
            }
        })
    }

    /// `copy` writes some columns of a row of B.
    pub(crate) fn pack_with(
        isa: Isa,
        depth: usize,
        columns: usize,
        zero_points: ZeroPoints<'_>,
        copy: impl Fn(usize, Range<usize>, &mut [B]),
    ) -> Result<Self, Error> {
        if elements_of(&[columns, depth.max(1)]) > MOST_ELEMENTS {
            return Err(Error::Shape { why: "no memory holds the panels of so many columns", found: columns });
        }
        let largest = zero_points.check::<B>(columns)?;
        let kernel = isa.microkernel(A::SIGN);
        let (flip, moved) = stored::<B>(kernel);
        let steps = depth.div_ceil(kernel.depth);
        let split = kernel.panels(columns);
        let mut codes = Lines::default();
        let mut negative_sums = vec![0; columns];
        let mut rest = codes.elements(steps * kernel.depth * columns.next_multiple_of(kernel.lanes));
        for vectors in split.iter() {
            let width = vectors.len() * kernel.lanes;
            let columns = vectors.start * kernel.lanes..columns.min(vectors.end * kernel.lanes);
            let (out, behind) = rest.split_at_mut(steps * kernel.depth * width);
            rest = behind;
            isa.run(PackPanel {
                depth: kernel.depth,
                rows: 0..depth,
                columns: columns.clone(),
                flip,
                copy: &copy,
                codes: PhantomData,
                width,
                out: &mut *out,
            });
            let mut codes = TileRow([0; MAX_COLUMNS]);
            sum_columns(kernel, out, width, &mut codes);
            for (j, codes) in columns.zip(codes.0) {
                negative_sums[j] = (zero_points.at(j) + moved).wrapping_mul(depth as i32).wrapping_sub(codes);
            }
        }
        let stored: Vec<i32> = (0..columns).map(|j| zero_points.at(j) + moved).collect();
        let panels = Panels {
            isa,
            kernel,
            depth,
            steps,
            columns,
            split,
            codes,
            zero_points: match stored[..] {
                [first, ref rest @ ..] if rest.iter().any(|&zero_point| zero_point != first) => {
                    StoredZeroPoints::Each(Columns::each(stored))
                }
                _ => StoredZeroPoints::Uniform(stored.first().copied().unwrap_or(0)),
            },
            negative_sums: Columns::each(negative_sums),
            bias: Columns::each(vec![0; columns]),
        };
        Ok(PackedMatrix { panels, largest, largest_bias: 0, operands: PhantomData })
    }

    /// Adds `bias[j]`, at scale `S_a · S_b[j]`, to every accumulator of column j.
    ///
    /// # Errors
    /// [`Error::Length`]: one for every column.
    pub fn with_bias(mut self, bias: &[i32]) -> Result<Self, Error> {
        check_length("the bias", self.panels.columns, bias.len())?;
        self.largest_bias = bias.iter().map(|&bias| i64::from(bias).abs()).max().unwrap_or(0);
        self.panels.bias = Columns::each(bias.iter().copied());
        Ok(self)
    }

    /// The ISA it is packed for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.panels.isa
    }

    /// The name of the micro-kernel that multiplies it, as in [`Isa::kernel`].
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        self.panels.kernel.name
    }

    /// K, the rows of B.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.panels.depth
    }

    /// N, the columns of B.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.panels.columns
    }

    /// `Ok` when no accumulator can leave i32, whatever the codes, for this largest `|a − za|`.
    pub(super) fn check_depth(&self, largest_a: i64) -> Result<(), Error> {
        check_accumulator(self.panels.depth, largest_a * self.largest, self.largest_bias)
    }

    pub(super) fn panels(&self) -> &Panels {
        &self.panels
    }
}

impl Panels {
    /// What the sums of A's rows are multiplied by when they are made: 0 when they are not needed.
    pub fn row_sum_factor(&self) -> i32 {
        match self.zero_points {
            StoredZeroPoints::Uniform(zero_point) => -zero_point,
            StoredZeroPoints::Each(_) => -1,
        }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.split.parts()
    }

    /// The columns of some panels.
    pub fn columns_of(&self, panels: Range<usize>) -> Range<usize> {
        let column = |panel: usize| (self.split.part(panel).start * self.kernel.lanes).min(self.columns);
        column(panels.start)..column(panels.end)
    }

    pub fn at(&self, panel: usize) -> Panel<'_> {
        let vectors = self.split.part(panel);
        let vector = self.steps * self.kernel.depth * self.kernel.lanes;
        let codes = &self.codes.as_slice::<u8>(vectors.end * vector)[vectors.start * vector..];
        let columns = self.columns_of(panel..panel + 1);
        let terms = ColumnTerms {
            bias: self.bias.from(columns.start),
            negative_sums: self.negative_sums.from(columns.start),
            zero_points: match &self.zero_points {
                StoredZeroPoints::Uniform(_) => None,
                StoredZeroPoints::Each(each) => Some(each.from(columns.start)),
            },
        };
        Panel { codes: codes.as_ptr(), vectors: vectors.len(), columns, terms }
    }
}

/// How codes of B are stored for a kernel: what to XOR them with, and what that adds to their values. (The instruction
/// wants a sign: `x ^ 0x80` read as the other type is `x ∓ 128`, and the zero point moves along.)
fn stored<B: Code>(kernel: &Microkernel) -> (u8, i32) {
    match (B::SIGN == kernel.b_sign, B::MIN.into()) {
        (true, _) => (0, 0),
        (false, 0) => (0x80, -128),
        (false, _) => (0x80, 128),
    }
}

/// Some rows of some columns of B, as the steps of a panel.
pub(super) struct PackPanel<'a, B, F> {
    pub depth: usize,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    /// What makes a stored code of one.
    pub flip: u8,
    /// Writes some columns of a row.
    pub copy: &'a F,
    pub codes: PhantomData<fn() -> B>,
    /// Steps of a width that is a multiple of the lanes.
    pub width: usize,
    pub out: &'a mut [u8],
}

impl<B: Code, F: Fn(usize, Range<usize>, &mut [B])> Kernel for PackPanel<'_, B, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        match self.depth {
            1 => self.interleave::<1>(),
            2 => self.interleave::<2>(),
            4 => self.interleave::<4>(),
            8 => self.interleave::<8>(),
            depth => unreachable!("no micro-kernel takes {depth} codes a step"),
        }
    }
}

impl<B: Code, F: Fn(usize, Range<usize>, &mut [B])> PackPanel<'_, B, F> {
    #[inline(always)]
    fn interleave<const DEPTH: usize>(self) {
        let PackPanel { rows, columns, flip, copy, width, out, .. } = self;
        let zero = B::from_byte(flip);
        let mut codes = [[zero; MAX_COLUMNS]; DEPTH];
        let steps = rows.clone().step_by(DEPTH).zip(out.as_chunks_mut::<DEPTH>().0.chunks_exact_mut(width));
        for (row, out) in steps {
            for (i, codes) in codes.iter_mut().enumerate() {
                if row + i < rows.end {
                    copy(row + i, columns.clone(), &mut codes[..columns.len()]);
                } else {
                    *codes = [zero; MAX_COLUMNS];
                }
            }
            for (j, out) in out.iter_mut().enumerate() {
                *out = codes.map(
                    #[inline(always)]
                    |codes| codes[j].to_byte() ^ flip,
                );
            }
        }
    }
}

/// The sums of the stored codes of a panel's columns: its product with a row of ones.
pub(super) fn sum_columns(kernel: &Microkernel, codes: &[u8], width: usize, sums: &mut TileRow) {
    let mut ones = Workspace::default();
    let depth = codes.len() / width;
    let ones = if kernel.widen_a {
        let ones = ones.elements::<i16>(depth);
        ones.fill(1);
        ones.as_ptr().cast()
    } else {
        let ones = ones.elements::<u8>(depth);
        ones.fill(1);
        ones.as_ptr()
    };
    let operands = Operands {
        steps: depth / kernel.depth,
        a: ones,
        a_stride: 0,
        b: codes.as_ptr(),
        initial: sums.0.as_ptr(),
        initial_stride: 0,
        row_terms: null(),
        outer: &[],
        sums: sums.0.as_mut_ptr(),
        sums_stride: 0,
        columns: width,
    };
    // SAFETY: whoever has the kernel has its ISA; `codes` are steps of `width` columns, `ones` has as many steps, `sums`
    // takes every tile.
    unsafe { kernel.tiles[width / kernel.lanes - 1][0](operands) };
}

/// `Ok` when `depth · largest product + largest bias ≤ 2³¹ − 1`.
pub(crate) fn check_accumulator(depth: usize, largest_product: i64, largest_bias: i64) -> Result<(), Error> {
    let room = i64::from(i32::MAX) - largest_bias;
    let limit = usize::try_from(room.max(0) / largest_product.max(1)).unwrap_or(usize::MAX);
    if depth > limit || room < 0 { Err(Error::Depth { depth, limit }) } else { Ok(()) }
}

/// What can be packed: its padding and sums, counted in bytes, stay far below `isize::MAX`.
const MOST_ELEMENTS: usize = isize::MAX as usize >> 10;
