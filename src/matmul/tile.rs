//! The micro-kernel contract: the sums `initial[i][j] + Σₖ a[i][k]·b[k][j]` of one tile, plus some outer products, and
//! the loop that most ISAs share.
//!
//! A micro-kernel is data: its shape, the layout it reads, and a function for every tile up to its full size, so that
//! edges in M run at their own size instead of on padding. It knows nothing of zero points, bias or output stages: what
//! a sum begins with is the caller's, be it what all rows of a column have in common or the sum of the k before.
//!
//! - **A** is read where it lies, row by row, `depth` codes a step; or from a copy ([`RowBlock`](super::rows::RowBlock)).
//! - **B** comes in panels: `[K / depth][columns of the panel][depth]` bytes, zero-padded in K; what pads the columns
//!   is of no importance. A panel is a whole number of vectors wide; the last one of a matrix may be narrower than the full
//!   tile. The vectors can also be made from rows of B as they lie ([`DotRows`]), for the few rows of A that would not pay
//!   for packing.
//! - `b_sign` is the sign that the instruction wants B to have beside A. Packing relabels the codes (`x ^ 0x80`, the
//!   zero point moves by 128 too), so that all four sign pairs run at full range on the same instructions.

use core::fmt;
use core::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::cache::{align_loop, prefetch_line};
use crate::memory::CACHE_LINE;
use crate::sign::Sign;

/// The matmul micro-kernel of an ISA for left operands of one sign.
pub struct Microkernel {
    /// Operand types as the instruction sees them, rows × columns × depth, ISA.
    pub name: &'static str,
    /// Codes of a row of A, and of a column of B, that a step consumes.
    pub depth: usize,
    /// Columns of a vector of B.
    pub lanes: usize,
    /// How B's codes are stored in panels.
    pub b_sign: Sign,
    /// Whether A is copied to i16 before it is read.
    pub widen_a: bool,
    /// `tiles[v - 1][r - 1]` computes r rows × v vectors of columns. The widest may have fewer rows than the others.
    pub tiles: &'static [&'static [Tile]],
    /// The same for B as it lies, all of as many rows.
    pub unpacked_tiles: &'static [&'static [UnpackedTile]],
}

impl Microkernel {
    /// Rows of the tallest tile.
    #[inline]
    pub fn rows(&self) -> usize {
        self.tiles[0].len()
    }

    /// Columns in panels, measured in vectors. A panel that is much narrower than a tile could be would have too few sums
    /// to keep the multipliers busy. The widest tiles are worth their fewer rows where that makes clearly fewer tiles.
    pub fn panels(&self, columns: usize) -> Split {
        let (wide, tall) = (self.tiles.len(), self.unpacked_tiles.len());
        let (wide_rows, tall_rows) = (self.tiles[wide - 1].len(), self.rows());
        let (wide, tall) = (self.split(columns, wide), self.split(columns, tall));
        if 21 * wide.parts() * tall_rows < 20 * tall.parts() * wide_rows { wide } else { tall }
    }

    /// The same for a B as it lies.
    pub fn unpacked_panels(&self, columns: usize) -> Split {
        self.split(columns, self.unpacked_tiles.len())
    }

    fn split(&self, columns: usize, most: usize) -> Split {
        Split::new(columns.div_ceil(self.lanes), most)
    }

    /// Rows in tiles of so many vectors.
    #[inline]
    pub fn row_tiles(&self, rows: usize, vectors: usize) -> Split {
        Split::new(rows, self.tiles[vectors - 1].len())
    }
}

/// So many units in as few parts as may be, whose sizes differ by one at most: the larger ones first.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    parts: usize,
    size: usize,
    /// How many parts are larger by one.
    larger: usize,
}

impl Split {
    /// No part is larger than `most`.
    #[inline]
    pub fn new(units: usize, most: usize) -> Self {
        let parts = units.div_ceil(most);
        let size = units.checked_div(parts).unwrap_or(0);
        Split { parts, size, larger: units - size * parts }
    }

    /// The number of parts.
    #[inline]
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// The units of a part.
    #[inline]
    pub fn part(&self, part: usize) -> Range<usize> {
        let start = |part: usize| part * self.size + part.min(self.larger);
        start(part)..start(part + 1)
    }

    /// The units of all parts.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.parts).map(move |part| self.part(part))
    }
}

impl fmt::Debug for Microkernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// No tile has more rows than this.
pub const MAX_ROWS: usize = 8;

/// No tile is wider than this.
pub const MAX_COLUMNS: usize = 64;

/// An i32 for every column of a tile of any kernel.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct AccRow(pub [i32; MAX_COLUMNS]);

// SAFETY: an array of integers, for which zeros are a valid value.
unsafe impl Zeroable for AccRow {}
// SAFETY: `repr(C)` with one field of integers, of 256 bytes, a multiple of the alignment: no padding, every bit pattern is valid.
unsafe impl Pod for AccRow {}

/// The sums of a tile of any kernel.
pub type AccTile = [AccRow; MAX_ROWS];

/// An outer product: `rows[i] · columns[j]`.
#[derive(Clone, Copy)]
pub struct RankOneUpdate {
    /// A number for every row.
    pub rows: *const i32,
    /// A number for every column.
    pub columns: *const i32,
}

/// What a tile function reads and writes.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// Steps of `depth` codes.
    pub steps: usize,
    /// The first row of A.
    pub a: *const u8,
    /// From a row of A to the next, in bytes.
    pub a_stride: usize,
    /// The panel of B.
    pub b: *const u8,
    /// What the sums begin with.
    pub initial: *const i32,
    /// From a row of `initial` to the next, in elements; 0 when all rows begin with the same.
    pub initial_stride: usize,
    /// What is added to the sums of a row, for every row; null when it is nothing.
    pub row_terms: *const i32,
    /// What else is added: the products of a number of every row with one of every column.
    pub updates: &'a [RankOneUpdate],
    /// Where the sums go; it may be where they began.
    pub sums: *mut i32,
    /// From a row of `sums` to the next, in elements.
    pub sums_stride: usize,
    /// The columns that `sums` takes: all, or fewer of the last vector.
    pub columns: usize,
    /// Whether the panel is to be fetched ahead of its use: it may come from memory, for the first tile that reads it.
    pub prefetch: bool,
}

/// Computes the sums of one tile.
///
/// # Safety
/// The CPU has the kernel's ISA. For its `r` rows, `v` vectors and `n = steps · depth`: every row of A has n codes that
/// may be read (2n bytes when widened), the panel has `n · v · lanes` bytes, `initial` has r rows of `v · lanes` sums,
/// `row_terms` r terms unless it is null, every outer product as many rows and columns, and `sums` takes r rows of
/// `columns` of them, more than `(v − 1) · lanes`.
pub type Tile = unsafe fn(Operands<'_>);

/// One dot-product instruction: what the shared loop needs of an ISA. The bytes of a step are arrays, so only the
/// loop handles pointers.
pub trait Dot: Copy {
    /// The bytes of a row of A that a step reads.
    type StepA;
    /// The bytes of a vector of B that a step reads.
    type StepB;
    /// A's codes, repeated for every column.
    type A: Copy;
    /// B's codes.
    type B: Copy;
    /// An i32 for every column.
    type Sums: Copy;
    /// The same sums in memory.
    type Columns: Default + AsRef<[i32]>;

    /// `x[j]`
    fn read(self, x: &Self::Columns) -> Self::Sums;
    /// `x`
    fn splat(self, x: i32) -> Self::Sums;
    /// Repeats a row's codes for every column.
    fn broadcast(self, a: &Self::StepA) -> Self::A;
    /// Reads a vector of B.
    fn load(self, b: &Self::StepB) -> Self::B;
    /// `a[j] + b[j]`, which wraps
    fn add(self, a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// `sums[j] + factor · columns[j]`, which wraps
    fn add_product(self, sums: Self::Sums, factor: i32, columns: Self::Sums) -> Self::Sums;
    /// `sums[j] + Σ a[k]·b[k][j]`
    fn dot(self, sums: Self::Sums, a: Self::A, b: Self::B) -> Self::Sums;
    /// Writes the sums of a vector of columns.
    fn store(self, sums: Self::Sums, out: &mut Self::Columns);
    /// Writes the sums of the first columns of a vector: as many as `out` has.
    #[inline(always)]
    fn store_some(self, sums: Self::Sums, out: &mut [i32]) {
        let mut all = Self::Columns::default();
        self.store(sums, &mut all);
        out.copy_from_slice(&all.as_ref()[..out.len()]);
    }
    /// The loop over the depth: `sums[r][v] + Σₖ a[r][k]·b[k][v]`, a row at a time. An ISA whose instruction
    /// takes more rows has its own.
    ///
    /// # Safety
    /// There are `steps` steps of B, of VECTORS vectors, and of ROWS rows of A.
    #[inline(always)]
    unsafe fn add_products<const ROWS: usize, const VECTORS: usize>(
        self,
        sums: &mut [[Self::Sums; VECTORS]; ROWS],
        steps: usize,
        mut a: *const u8,
        a_stride: usize,
        mut b: impl Steps<Self>,
    ) {
        align_loop();
        for _ in 0..steps {
            // SAFETY: the caller vouches for so many.
            let vectors = unsafe { b.next::<VECTORS>(self) };
            for (r, row) in sums.iter_mut().enumerate() {
                // SAFETY: the caller vouches for `steps` steps of ROWS rows of A; StepA is an array of bytes.
                let codes = self.broadcast(unsafe { &*a.add(r * a_stride).cast::<Self::StepA>() });
                for (sum, &vector) in row.iter_mut().zip(&vectors) {
                    *sum = self.dot(*sum, codes, vector);
                }
            }
            a = a.wrapping_add(size_of::<Self::StepA>());
        }
    }
}

/// A dot-product instruction whose vectors of B can be made of rows of B as they lie.
pub trait DotRows: Dot {
    /// The rows of a step.
    const DEPTH: usize;

    /// What [`load`](Dot::load) reads of a panel that these rows are packed into, with every byte XORed with `flip`.
    ///
    /// # Safety
    /// At `b`, and `stride` bytes further for each of DEPTH rows, a vector of columns may be read.
    unsafe fn load_rows(self, b: *const u8, stride: usize, flip: u8) -> Self::B;

    /// The same, of VECTORS vectors beside each other. An ISA that makes some together in less than one by one has its
    /// own.
    ///
    /// # Safety
    /// As [`load_rows`](DotRows::load_rows), for so many vectors.
    #[inline(always)]
    unsafe fn load_vectors<const VECTORS: usize>(self, b: *const u8, stride: usize, flip: u8) -> [Self::B; VECTORS] {
        let lanes = const { size_of::<Self::Columns>() / size_of::<i32>() };
        // SAFETY: the caller's promise.
        let mut vectors = [unsafe { self.load_rows(b, stride, flip) }; VECTORS];
        for (v, vector) in vectors.iter_mut().enumerate().skip(1) {
            // SAFETY: as above.
            *vector = unsafe { self.load_rows(b.wrapping_add(v * lanes), stride, flip) };
        }
        vectors
    }
}

/// How far ahead of its use B is fetched, in bytes: half of the smallest level-1 cache. A line from beyond level 2
/// takes a hundred nanoseconds, in which eight rows on 512-bit vectors use up some fifty.
pub const AHEAD: usize = 16 << 10;

/// The same for rows of B as they lie, of which some dozens are read together.
const AHEAD_IN_ROWS: usize = 256;

/// Fetches the lines of a step of VECTORS vectors, [`AHEAD`] of the one that begins there.
#[inline(always)]
fn fetch_ahead<StepB, const VECTORS: usize>(b: *const StepB) {
    for line in 0..const { (VECTORS * size_of::<StepB>()).div_ceil(CACHE_LINE) } {
        prefetch_line(b.cast::<u8>().wrapping_add(AHEAD + line * CACHE_LINE));
    }
}

/// The steps of B, from the first to the last.
pub trait Steps<D: Dot> {
    /// The next one.
    ///
    /// # Safety
    /// There is one.
    unsafe fn next<const VECTORS: usize>(&mut self, dot: D) -> [D::B; VECTORS];
}

/// Those of a panel, fetched ahead or not.
struct Packed<StepB, const PREFETCH: bool>(*const StepB);

impl<D: Dot, const PREFETCH: bool> Steps<D> for Packed<D::StepB, PREFETCH> {
    #[inline(always)]
    unsafe fn next<const VECTORS: usize>(&mut self, dot: D) -> [D::B; VECTORS] {
        let Packed(b) = self;
        if PREFETCH {
            fetch_ahead::<D::StepB, VECTORS>(*b);
        }
        // SAFETY: the step has VECTORS vectors; StepB is an array of bytes.
        let mut vectors = [dot.load(unsafe { &**b }); VECTORS];
        for (v, vector) in vectors.iter_mut().enumerate().skip(1) {
            // SAFETY: as above.
            *vector = dot.load(unsafe { &*b.add(v) });
        }
        *b = b.wrapping_add(VECTORS);
        vectors
    }
}

/// Those of rows as they lie.
struct AsTheyLie {
    b: *const u8,
    stride: usize,
    flip: u8,
}

impl<D: DotRows> Steps<D> for AsTheyLie {
    #[inline(always)]
    unsafe fn next<const VECTORS: usize>(&mut self, dot: D) -> [D::B; VECTORS] {
        let AsTheyLie { b, stride, flip } = *self;
        for row in 0..D::DEPTH {
            prefetch_line(b.wrapping_add(row * stride + AHEAD_IN_ROWS));
        }
        self.b = b.wrapping_add(D::DEPTH * stride);
        // SAFETY: the step has VECTORS vectors.
        unsafe { dot.load_vectors(b, stride, flip) }
    }
}

/// The sums of the products of a tile. They begin with zeros, whatever is to be added to them: a CPU knows a zero without
/// an operation and a register of it, so the sums of a tile can begin while those of the tile before are not finished.
///
/// # Safety
/// As [`Dot::add_products`].
#[inline(always)]
unsafe fn products<D: Dot, const ROWS: usize, const VECTORS: usize>(
    dot: D,
    steps: usize,
    a: *const u8,
    a_stride: usize,
    b: impl Steps<D>,
) -> [[D::Sums; VECTORS]; ROWS] {
    let mut sums = [[dot.splat(0); VECTORS]; ROWS];
    // SAFETY: the caller's promise.
    unsafe { dot.add_products(&mut sums, steps, a, a_stride, b) };
    sums
}

/// What a tile function of B as it lies reads and writes.
#[derive(Clone, Copy)]
pub struct UnpackedOperands {
    /// Steps of `depth` codes.
    pub steps: usize,
    /// The first row of A.
    pub a: *const u8,
    /// From a row of A to the next, in bytes.
    pub a_stride: usize,
    /// The first row of B, from the first column on.
    pub b: *const u8,
    /// From a row of B to the next, in bytes.
    pub b_stride: usize,
    /// What every byte of B is XORed with.
    pub flip: u8,
    /// How many panels, of the same width, lie beside each other.
    pub panels: usize,
    /// Where the products of the first panel are added: rows of [`MAX_COLUMNS`].
    pub sums: *mut i32,
    /// From the sums of a panel to those of the next, in elements.
    pub sums_stride: usize,
}

/// Adds the products of one tile to its sums.
///
/// # Safety
/// The CPU has the kernel's ISA. For its `r` rows, `v` vectors and `n = steps · depth`: every row of A has n codes that
/// may be read (2n bytes when widened), each of n rows of B `panels · v · lanes` bytes, and `sums` has r rows for every panel.
pub type UnpackedTile = unsafe fn(UnpackedOperands);

/// As [`dot_tile`], of B as it lies.
///
/// # Safety
/// As [`UnpackedTile`], with `ROWS` rows and `VECTORS` vectors.
#[inline(always)]
pub unsafe fn dot_tile_unpacked<D: DotRows, const ROWS: usize, const VECTORS: usize>(
    dot: D,
    operands: UnpackedOperands,
) {
    let UnpackedOperands { steps, a, a_stride, b, b_stride, flip, panels, sums: out, sums_stride } = operands;
    let lanes = const { size_of::<D::Columns>() / size_of::<i32>() };
    for panel in 0..panels {
        let out = out.wrapping_add(panel * sums_stride);
        let b = AsTheyLie { b: b.wrapping_add(panel * VECTORS * lanes), stride: b_stride, flip };
        // SAFETY: the caller's promise.
        let sums: [[_; VECTORS]; ROWS] = unsafe { products(dot, steps, a, a_stride, b) };
        for (r, row) in sums.iter().enumerate() {
            for (v, &sum) in row.iter().enumerate() {
                // SAFETY: `sums` has ROWS rows of VECTORS vectors of columns; Columns is an array of i32.
                let out = unsafe { &mut *out.add(r * MAX_COLUMNS).cast::<D::Columns>().add(v) };
                dot.store(dot.add(sum, dot.read(out)), out);
            }
        }
    }
}

/// The tile of every ISA whose instruction multiplies one row of A with a vector of B: all sums stay in registers,
/// every vector of B is loaded once a step, every row's codes are broadcast once a step.
///
/// # Safety
/// As [`Tile`], with `ROWS` rows and `VECTORS` vectors.
#[inline(always)]
pub unsafe fn dot_tile<D: Dot, const ROWS: usize, const VECTORS: usize>(dot: D, operands: Operands<'_>) {
    let Operands {
        steps,
        a,
        a_stride,
        b,
        initial,
        initial_stride,
        row_terms,
        updates,
        sums: out,
        sums_stride,
        columns,
        prefetch,
    } = operands;
    // SAFETY: the caller's promise.
    let mut sums: [[_; VECTORS]; ROWS] = unsafe {
        if prefetch {
            products(dot, steps, a, a_stride, Packed::<D::StepB, true>(b.cast()))
        } else {
            products(dot, steps, a, a_stride, Packed::<D::StepB, false>(b.cast()))
        }
    };
    for (r, row) in sums.iter_mut().enumerate() {
        for (v, sum) in row.iter_mut().enumerate() {
            // SAFETY: `initial` has ROWS rows of VECTORS vectors of columns; Columns is an array of i32.
            *sum = dot.add(*sum, dot.read(unsafe { &*initial.add(r * initial_stride).cast::<D::Columns>().add(v) }));
        }
    }
    if !row_terms.is_null() {
        for (r, row) in sums.iter_mut().enumerate() {
            // SAFETY: the caller vouches for a term of every row.
            let term = dot.splat(unsafe { *row_terms.add(r) });
            for sum in row {
                *sum = dot.add(*sum, term);
            }
        }
    }
    for update in updates {
        let columns = update.columns.cast::<D::Columns>();
        // SAFETY: an outer product has VECTORS vectors of columns.
        let mut vectors = [dot.read(unsafe { &*columns }); VECTORS];
        for (v, vector) in vectors.iter_mut().enumerate().skip(1) {
            // SAFETY: as above.
            *vector = dot.read(unsafe { &*columns.add(v) });
        }
        for (r, row) in sums.iter_mut().enumerate() {
            // SAFETY: an outer product has ROWS rows.
            let factor = unsafe { *update.rows.add(r) };
            for (sum, &vector) in row.iter_mut().zip(&vectors) {
                *sum = dot.add_product(*sum, factor, vector);
            }
        }
    }
    let lanes = const { size_of::<D::Columns>() / size_of::<i32>() };
    let full = columns == VECTORS * lanes;
    for (r, row) in sums.iter().enumerate() {
        for (v, &sum) in row.iter().enumerate() {
            let out = out.wrapping_add(r * sums_stride + v * lanes);
            if full || v + 1 < VECTORS {
                // SAFETY: `out` takes ROWS rows of all columns of this vector.
                dot.store(sum, unsafe { &mut *out.cast::<D::Columns>() });
            } else {
                // SAFETY: `out` takes ROWS rows of so many columns of the last vector.
                dot.store_some(sum, unsafe { core::slice::from_raw_parts_mut(out, columns - v * lanes) });
            }
        }
    }
}

/// The table of a micro-kernel: `tile::<generics…, ROWS, VECTORS>` for every size.
macro_rules! tile_table {
    ($tile:ident $generics:tt, $(vectors [$($v:literal)+], rows $rows:tt);+) => {
        tile_table!(@tables $tile $generics [$($($v $rows)+)+])
    };
    (@tables $tile:ident $generics:tt [$($v:literal $rows:tt)+]) => {
        &[$( tile_table!(@rows $tile $generics $v $rows) ),+]
    };
    (@rows $tile:ident $generics:tt $v:literal [$($r:literal)+]) => {
        &[$( tile_table!(@tile $tile $generics $v $r) ),+]
    };
    (@tile $tile:ident [$generic:tt] $v:literal $r:literal) => { $tile::<$generic, $r, $v> };
    (@tile $tile:ident [] $v:literal $r:literal) => { $tile::<$r, $v> };
}
pub(crate) use tile_table;
