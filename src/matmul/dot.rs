//! The loop of every micro-kernel, over the few operations that an ISA brings: [`Accumulate`] for its vectors of i32,
//! [`Dot`] for its dot-product instruction.
//!
//! The number of rows and vectors, the layout of B and whether it is prefetched are arguments of functions that are
//! always inlined into a tile function that names constants: the compiler unrolls every loop over rows and vectors and
//! keeps the accumulators in registers, and the code of a size is written, and compiled up to that point, once.

#![allow(
    clippy::needless_range_loop,
    reason = "indices run over several arrays, and iterators would be more code to compile"
)]

use super::tile::{MAX_COLUMNS, MAX_ROWS, MAX_VECTORS, Operands, UnpackedOperands};
use crate::cache::{align_loop, prefetch_line, prefetch_line_to_level2};
use crate::memory::CACHE_LINE;

/// The vectors of an ISA that hold accumulators, an i32 for every column.
pub trait Accumulate: Copy {
    /// A vector of accumulators.
    type Acc: Copy;
    /// The accumulators of a vector in memory.
    type Columns: Default + AsRef<[i32]>;

    /// `x[j]`
    fn read(self, x: &Self::Columns) -> Self::Acc;
    /// `x`
    fn splat(self, x: i32) -> Self::Acc;
    /// `a[j] + b[j]`, which wraps
    fn add(self, a: Self::Acc, b: Self::Acc) -> Self::Acc;
    /// `acc[j] + factor · columns[j]`, which wraps
    fn add_product(self, acc: Self::Acc, factor: i32, columns: Self::Acc) -> Self::Acc;
    /// Writes all accumulators of a vector.
    fn store(self, acc: Self::Acc, out: &mut Self::Columns);
}

/// A vector of accumulators for a dot-product instruction.
pub type Acc<D> = <<D as Dot>::Vectors as Accumulate>::Acc;

/// The accumulators of a tile: the first rows and vectors are in use.
pub type Accs<D> = [[Acc<D>; MAX_VECTORS]; MAX_ROWS];

/// The columns of a vector.
pub const fn lanes<D: Dot>() -> usize {
    size_of::<<D::Vectors as Accumulate>::Columns>() / size_of::<i32>()
}

/// A dot-product instruction. The bytes of a step are arrays, so only the shared loop handles pointers.
pub trait Dot: Copy {
    /// The vectors that accumulate.
    type Vectors: Accumulate;
    /// The bytes of a row of A that a step reads.
    type StepA;
    /// The bytes of a vector of B that a step reads from a panel.
    type StepB;
    /// A's codes, repeated for every column.
    type A: Copy;
    /// B's codes.
    type B: Copy;
    /// Rows of B that a step consumes.
    const DEPTH: usize;

    /// The vectors that accumulate.
    fn vectors(self) -> Self::Vectors;
    /// Repeats a row's codes for every column.
    fn broadcast(self, a: &Self::StepA) -> Self::A;
    /// Reads a vector of B from a panel.
    fn load(self, b: &Self::StepB) -> Self::B;
    /// `acc[j] + Σ a[k]·b[k][j]`
    fn dot(self, acc: Acc<Self>, a: Self::A, b: Self::B) -> Acc<Self>;

    /// Makes a vector of unpacked rows of B: the vector that [`load`](Dot::load) reads from a panel into which these rows,
    /// every byte XORed with `flip`, are packed. An ISA implements this or [`load_vectors`](Dot::load_vectors).
    ///
    /// # Safety
    /// At `b`, and at every multiple of `stride` bytes further for DEPTH rows, a byte for every column of a vector may be
    /// read.
    #[inline(always)]
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> Self::B {
        // SAFETY: a byte for every column of one vector may be read.
        unsafe { self.load_vectors(b, stride, flip, 1)[0] }
    }

    /// Makes `vectors` vectors, one at least, of columns beside each other, each as [`load_rows`](Dot::load_rows) makes one.
    /// An ISA that makes some together in fewer instructions implements this.
    ///
    /// # Safety
    /// At `b`, and at every multiple of `stride` bytes further for DEPTH rows, a byte for every column of the vectors may
    /// be read.
    #[inline(always)]
    unsafe fn load_vectors(self, b: *const u8, stride: usize, flip: u8, vectors: usize) -> [Self::B; MAX_VECTORS] {
        // SAFETY: the first vector of every row may be read.
        let mut all = [unsafe { self.load_rows(b, stride, flip) }; MAX_VECTORS];
        for v in 1..vectors {
            // SAFETY: the columns of this vector lie behind those of the v vectors before it.
            all[v] = unsafe { self.load_rows(b.wrapping_add(v * lanes::<Self>()), stride, flip) };
        }
        all
    }

    /// The loop over the depth: `acc[r][v] + Σₖ a[r][k]·b[k][v]` for `rows` rows and `vectors` vectors, a row at a time.
    /// An ISA whose instruction takes more rows overrides it.
    ///
    /// # Safety
    /// Every row of A has the bytes of `depth.steps` steps that may be read, and so has B for `vectors` vectors.
    #[cfg_attr(not(unoptimized), inline(always))]
    unsafe fn add_products(self, acc: &mut Accs<Self>, [rows, vectors]: [usize; 2], depth: Depth, layout: Layout) {
        let Depth { steps, mut a, a_stride, mut b } = depth;
        align_loop();
        for _ in 0..steps {
            // SAFETY: B has a step more, of `vectors` vectors.
            let codes_b = unsafe { load_step(self, &mut b, layout, vectors) };
            for r in 0..rows {
                // SAFETY: row r of A has a step more; StepA is an array of bytes.
                let codes_a = self.broadcast(unsafe { &*a.add(r * a_stride).cast::<Self::StepA>() });
                for v in 0..vectors {
                    acc[r][v] = self.dot(acc[r][v], codes_a, codes_b[v]);
                }
            }
            a = a.wrapping_add(size_of::<Self::StepA>());
        }
    }
}

/// The first `N` bytes of `ROWS` rows that lie `stride` bytes apart.
///
/// # Safety
/// The bytes may be read, and nobody writes them while the references live.
#[inline(always)]
pub unsafe fn rows<'a, const ROWS: usize, const N: usize>(first: *const u8, stride: usize) -> [&'a [u8; N]; ROWS] {
    // SAFETY: the first row may be read.
    let mut rows: [&[u8; N]; ROWS] = [unsafe { &*first.cast() }; ROWS];
    for r in 1..ROWS {
        // SAFETY: row r may be read.
        rows[r] = unsafe { &*first.wrapping_add(r * stride).cast() };
    }
    rows
}

/// What the loop over the depth reads.
#[derive(Clone, Copy)]
pub struct Depth {
    /// How often `Dot::DEPTH` codes of every row and column are consumed.
    pub steps: usize,
    /// The first row of A.
    pub a: *const u8,
    /// From a row of A to the next, in bytes.
    pub a_stride: usize,
    /// B in its layout.
    pub b: *const u8,
}

/// How B lies in memory.
#[derive(Clone, Copy)]
pub enum Layout {
    /// A panel, step by step.
    Panel {
        /// Whether lines are fetched [`AHEAD`] of their use.
        prefetch: bool,
    },
    /// Unpacked rows.
    Rows {
        /// From a row to the next, in bytes.
        stride: usize,
        /// Every byte is XORed with this.
        flip: u8,
        /// From a row to the one of the next slice that is read in its place, in bytes: its columns are fetched into level 2, and
        /// those [`AHEAD_IN_ROWS`] of this row into level 1. 0 where nothing is to be fetched ahead.
        next_slice: usize,
    },
}

/// How far ahead of its use a panel is fetched, in bytes: half of the smallest level-1 cache. A line from beyond level 2
/// takes a hundred nanoseconds, in which eight rows on 512-bit vectors use up some fifty lines.
pub const AHEAD: usize = 16 << 10;

/// How far ahead of its use a row is fetched into level 1, in bytes, if it is one of a few that are read side by side.
const AHEAD_IN_ROWS: usize = 512;

/// Reads the vectors of a step and moves `b` to the next one.
///
/// # Safety
/// At `b` lies a step of `vectors` vectors in this layout.
#[cfg_attr(not(unoptimized), inline(always))]
pub unsafe fn load_step<D: Dot>(dot: D, b: &mut *const u8, layout: Layout, vectors: usize) -> [D::B; MAX_VECTORS] {
    let step = *b;
    match layout {
        Layout::Panel { prefetch } => {
            let bytes = vectors * size_of::<D::StepB>();
            if prefetch {
                for line in 0..bytes.div_ceil(CACHE_LINE) {
                    prefetch_line(step.wrapping_add(AHEAD + line * CACHE_LINE));
                }
            }
            *b = step.wrapping_add(bytes);
            let step = step.cast::<D::StepB>();
            // SAFETY: the step has a vector at least; StepB is an array of bytes.
            let mut all = [dot.load(unsafe { &*step }); MAX_VECTORS];
            for v in 1..vectors {
                // SAFETY: the step has `vectors` vectors.
                all[v] = dot.load(unsafe { &*step.add(v) });
            }
            all
        }
        Layout::Rows { stride, flip, next_slice } => {
            if next_slice > 0 {
                for row in 0..D::DEPTH {
                    prefetch_line(step.wrapping_add(row * stride + AHEAD_IN_ROWS));
                    prefetch_line_to_level2(step.wrapping_add(row * stride + next_slice));
                }
            }
            *b = step.wrapping_add(D::DEPTH * stride);
            // SAFETY: DEPTH rows have the columns of `vectors` vectors.
            unsafe { dot.load_vectors(step, stride, flip, vectors) }
        }
    }
}

/// The tile of `rows` rows and `vectors` vectors: all accumulators stay in registers, every vector of B is loaded once a
/// step, every row's codes are broadcast once a step.
///
/// The accumulators start at zero, whatever is added to them: a CPU knows a zero without an operation and without a
/// register for it, so a tile can start while the tile before it is not finished.
///
/// # Safety
/// The requirements of [`Tile`](super::tile::Tile) for this number of rows and vectors, 1 at least and
/// [`MAX_ROWS`] × [`MAX_VECTORS`] at most.
#[cfg_attr(not(unoptimized), inline(always))]
pub unsafe fn dot_tile<D: Dot>(dot: D, [rows, vectors]: [usize; 2], operands: Operands<'_>) {
    let Operands { steps, a, a_stride, b, initial, initial_stride, row_terms, updates, .. } = operands;
    let Operands { sums: out, sums_stride, prefetch, .. } = operands;
    let simd = dot.vectors();
    let mut acc = [[simd.splat(0); MAX_VECTORS]; MAX_ROWS];
    let depth = Depth { steps, a, a_stride, b };
    // SAFETY: A's rows and the panel have `steps` steps.
    unsafe {
        // (Two loops: in one that asks every time, a full tile takes 5 % more instructions.)
        if prefetch {
            dot.add_products(&mut acc, [rows, vectors], depth, Layout::Panel { prefetch: true });
        } else {
            dot.add_products(&mut acc, [rows, vectors], depth, Layout::Panel { prefetch: false });
        }
    }
    for r in 0..rows {
        for v in 0..vectors {
            // SAFETY: `initial` has `rows` rows of `vectors` vectors of columns; Columns is an array of i32.
            let initial = simd.read(unsafe { &*initial.add(r * initial_stride).cast::<Columns<D>>().add(v) });
            acc[r][v] = simd.add(acc[r][v], initial);
        }
    }
    if !row_terms.is_null() {
        for r in 0..rows {
            // SAFETY: `row_terms` has a term for every row.
            let term = simd.splat(unsafe { *row_terms.add(r) });
            for v in 0..vectors {
                acc[r][v] = simd.add(acc[r][v], term);
            }
        }
    }
    for update in updates {
        let columns = update.columns.cast::<Columns<D>>();
        // SAFETY: an update has a value for every column of `vectors` vectors.
        let mut values = [simd.read(unsafe { &*columns }); MAX_VECTORS];
        for v in 1..vectors {
            // SAFETY: an update has a value for every column of `vectors` vectors.
            values[v] = simd.read(unsafe { &*columns.add(v) });
        }
        for r in 0..rows {
            // SAFETY: an update has a factor for every row.
            let factor = unsafe { *update.rows.add(r) };
            for v in 0..vectors {
                acc[r][v] = simd.add_product(acc[r][v], factor, values[v]);
            }
        }
    }
    for r in 0..rows {
        for v in 0..vectors {
            // SAFETY: `sums` may be written in `rows` rows of `vectors` vectors; Columns is an array of i32.
            simd.store(acc[r][v], unsafe {
                &mut *out.wrapping_add(r * sums_stride).cast::<Columns<D>>().wrapping_add(v)
            });
        }
    }
}

/// The accumulators of a vector in memory.
type Columns<D> = <<D as Dot>::Vectors as Accumulate>::Columns;

/// The tile of `rows` rows and `vectors` vectors on unpacked rows of B.
///
/// # Safety
/// The requirements of [`UnpackedTile`](super::tile::UnpackedTile) for this number of rows and vectors, 1 at least and
/// [`MAX_ROWS`] × [`MAX_VECTORS`] at most.
#[cfg_attr(not(unoptimized), inline(always))]
pub unsafe fn dot_tile_unpacked<D: Dot>(dot: D, [rows, vectors]: [usize; 2], operands: UnpackedOperands) {
    let UnpackedOperands { steps, a, a_stride, b, b_stride, flip, panels, sums: out, sums_stride, next_slice } =
        operands;
    let simd = dot.vectors();
    for panel in 0..panels {
        let out = out.wrapping_add(panel * sums_stride);
        let mut acc = [[simd.splat(0); MAX_VECTORS]; MAX_ROWS];
        let depth = Depth { steps, a, a_stride, b: b.wrapping_add(panel * vectors * lanes::<D>()) };
        // SAFETY: A's rows and `steps` steps of B's rows may be read, for the columns of all panels.
        unsafe {
            dot.add_products(&mut acc, [rows, vectors], depth, Layout::Rows { stride: b_stride, flip, next_slice })
        };
        for r in 0..rows {
            for v in 0..vectors {
                // SAFETY: `sums` has `rows` rows of MAX_COLUMNS for every panel; Columns is an array of i32.
                let out = unsafe { &mut *out.add(r * MAX_COLUMNS).cast::<Columns<D>>().add(v) };
                simd.store(simd.add(acc[r][v], simd.read(out)), out);
            }
        }
    }
}
