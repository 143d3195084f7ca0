//! The micro-kernel contract: a micro-kernel computes the accumulators
//! `initial[i][j] + row_terms[i] + Σ updates + Σₖ a[i][k]·b[k][j]` of one tile.
//!
//! A micro-kernel is data: its shape, the layout it reads, and a function for every tile up to its full size, so that
//! edges in M run at their own size instead of on padding. It knows nothing of zero points, bias or output stages: the
//! caller says what the accumulators start with, be it a row of column terms or the accumulators of an earlier range of k.
//!
//! - **A** is read in place, row by row, `depth` codes a step; or from a copy ([`LhsMemory`](super::lhs::LhsMemory)).
//! - **B** comes in panels: `[K / depth][columns of the panel][depth]` bytes, zero-padded in K; padding columns may hold
//!   anything. A panel is a whole number of vectors wide; the last one of a matrix may be narrower than the full tile. The
//!   vectors can also be made from unpacked rows of B ([`Dot::load_rows`](super::dot::Dot::load_rows)), when A has too few
//!   rows to pay for packing.
//! - `b_sign` is the sign that the instruction wants B to have beside A. Packing relabels the codes (`x ^ 0x80`, the
//!   zero point moves by 128 too), so that all four sign pairs run at full range on the same instructions.

use core::fmt;

use bytemuck::{Pod, Zeroable};

use super::split::Split;
use crate::sign::Sign;

/// The matmul micro-kernel of an ISA for left operands of one sign, or of i16.
pub struct Microkernel {
    /// Operand types as the instruction sees them, rows × columns × depth, ISA.
    pub name: &'static str,
    /// Codes of a row of A, and of a column of B, that a step consumes.
    pub depth: usize,
    /// Columns of a vector of B.
    pub lanes: usize,
    /// How B's codes are stored in panels.
    pub b_sign: Sign,
    /// Whether A is of i16: codes of 8 bits are copied to that before they are read.
    pub widen_a: bool,
    /// `tiles[v - 1][r - 1]` computes r rows × v vectors of columns. The widest may have fewer rows than the others.
    pub tiles: &'static [&'static [Tile]],
    /// `unpacked_tiles[v - 1][r - 1]` computes r rows × v vectors of columns on unpacked rows of B. All widths have as many
    /// rows.
    pub unpacked_tiles: &'static [&'static [UnpackedTile]],
}

impl Microkernel {
    /// Rows of the tallest tile.
    #[inline]
    pub fn rows(&self) -> usize {
        self.tiles[0].len()
    }

    /// The columns of packed panels, in vectors. Panels have nearly equal widths: one much narrower than a tile could be
    /// has too few accumulators to keep the multipliers busy. The widest tiles are worth their fewer rows where they save
    /// more than a twentieth of all tiles.
    pub fn panels(&self, columns: usize) -> Split {
        let (wide, tall) = (self.tiles.len(), self.unpacked_tiles.len());
        let (wide_rows, tall_rows) = (self.tiles[wide - 1].len(), self.rows());
        let (wide, tall) = (self.split(columns, wide), self.split(columns, tall));
        let tiles = |split: &Split, rows: usize| (split.parts() as u128) * rows as u128;
        if 21 * tiles(&wide, tall_rows) < 20 * tiles(&tall, wide_rows) { wide } else { tall }
    }

    /// The columns of panels of an unpacked matrix, in vectors.
    pub fn unpacked_panels(&self, columns: usize) -> Split {
        self.split(columns, self.unpacked_tiles.len())
    }

    fn split(&self, columns: usize, most: usize) -> Split {
        Split::new(columns.div_ceil(self.lanes), most)
    }

    /// Rows divided into tiles for a panel of `vectors` vectors.
    #[inline]
    pub fn row_tiles(&self, rows: usize, vectors: usize) -> Split {
        Split::new(rows, self.tiles[vectors - 1].len())
    }
}

impl fmt::Debug for Microkernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Rows of the tallest tile of any kernel.
pub const MAX_ROWS: usize = 8;

/// Vectors of the widest tile of any kernel.
pub const MAX_VECTORS: usize = 4;

/// Columns of the widest tile of any kernel.
pub const MAX_COLUMNS: usize = 64;

/// An accumulator for every column of a tile of any kernel.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct AccRow(pub [i32; MAX_COLUMNS]);

// SAFETY: an array of integers, for which zeros are a valid value.
unsafe impl Zeroable for AccRow {}
// SAFETY: `repr(C)` with one field of integers, of 256 bytes, a multiple of the alignment: no padding, every bit pattern is
// valid.
unsafe impl Pod for AccRow {}

/// A rank-one update: `rows[i] · columns[j]` is added to every accumulator.
#[derive(Clone, Copy)]
pub struct RankOneUpdate {
    /// A factor for every row.
    pub rows: *const i32,
    /// A factor for every column.
    pub columns: *const i32,
}

/// The operands of a tile function.
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
    /// What the accumulators start with.
    pub initial: *const i32,
    /// From a row of `initial` to the next, in elements; 0 when all rows start with the same values.
    pub initial_stride: usize,
    /// A term for every row, which is added to all its accumulators; or null.
    pub row_terms: *const i32,
    /// Added to the accumulators as well.
    pub updates: &'a [RankOneUpdate],
    /// Where the accumulators are stored; it may be `initial`.
    pub sums: *mut i32,
    /// From a row of `sums` to the next, in elements.
    pub sums_stride: usize,
    /// Whether the panel is fetched ahead of its use: for the first tile that reads it, it may come from memory.
    pub prefetch: bool,
}

/// Computes one tile.
///
/// # Safety
/// The CPU has the kernel's ISA. For the tile's `r` rows, `v` vectors and `n = steps · depth`: every row of A has n codes
/// that may be read (2n bytes when widened), the panel has `n · v · lanes` bytes, `initial` has r rows of `v · lanes`
/// elements, `row_terms` is null or has r elements, every update has r factors for rows and `v · lanes` for columns, and
/// `sums` may be written in r rows of `v · lanes` elements. Nobody else writes or reads them.
pub type Tile = unsafe fn(Operands<'_>);

/// The operands of a tile function on unpacked rows of B.
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
    /// Every byte of B is XORed with this.
    pub flip: u8,
    /// Panels of the same width that lie beside each other.
    pub panels: usize,
    /// The accumulators of the first panel, to which products are added: rows of [`MAX_COLUMNS`].
    pub sums: *mut i32,
    /// From the accumulators of a panel to those of the next, in elements.
    pub sums_stride: usize,
    /// From a row of B to the one of the next slice that is read in its place, in bytes; 0 where nothing is to be fetched ahead.
    pub next_slice: usize,
}

/// Adds the products of one tile, for every panel, to its accumulators.
///
/// # Safety
/// The CPU has the kernel's ISA. For the tile's `r` rows, `v` vectors and `n = steps · depth`: every row of A has n codes
/// that may be read (2n bytes when widened), each of n rows of B has `panels · v · lanes` bytes, and `sums` has r rows for
/// every panel. Nobody else writes or reads them.
pub type UnpackedTile = unsafe fn(UnpackedOperands);

/// The name of a micro-kernel, such as `u8i8-8x48x4-avx512vnni`.
pub struct Name {
    bytes: [u8; 40],
    length: usize,
}

impl Name {
    /// Operand types, rows × columns × depth, ISA.
    pub const fn new(types: &str, [rows, columns]: [usize; 2], depth: usize, isa: &str) -> Self {
        let name = Name { bytes: [0; 40], length: 0 };
        name.text(types).text("-").number(rows).text("x").number(columns).text("x").number(depth).text("-").text(isa)
    }

    const fn text(mut self, text: &str) -> Self {
        let mut i = 0;
        while i < text.len() {
            self.bytes[self.length] = text.as_bytes()[i];
            self.length += 1;
            i += 1;
        }
        self
    }

    const fn number(mut self, number: usize) -> Self {
        if number >= 10 {
            self = self.number(number / 10);
        }
        self.bytes[self.length] = b'0' + (number % 10) as u8;
        self.length += 1;
        self
    }

    /// The name as text.
    pub const fn as_str(&self) -> &str {
        match core::str::from_utf8(self.bytes.split_at(self.length).0) {
            Ok(name) => name,
            Err(_) => panic!("a name is ASCII"),
        }
    }
}
