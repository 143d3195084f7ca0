//! The micro-kernel contract of weights in groups. A micro-kernel computes one tile of totals:
//!
//! ```text
//! acc[g]       = row_terms[i][g] + Σ updates + Σₖ a[i][k] · w[g][k][j]    k of group g: exact, in i32
//! totals[i,j] += Σ_g acc[g] as f32 · (row_scales[i][g] · scales[g][j])    each product and each sum rounded once
//!                 + row_sums[i][g] · (row_scales[i][g] · offsets[g][j])   after that of each group, where there are offsets
//! ```
//!
//! Accumulators take all registers there are, so that few loads serve many products; totals are read and written once a group, in
//! the level-1 cache. A tall product goes through the groups a slice at a time, whose codes all tiles of rows read from there.
//! A micro-kernel is data, as that of [other matrices](crate::matmul::tile) is, and knows nothing of zero points: the
//! caller says what the accumulators of a group start with.
//!
//! - **A** are copied rows of i8 (of i16 if `widen_a`), padded with zeros to whole steps in every group.
//! - **W** comes in panels. A panel has its groups one after another, and a group its steps, as panels of other matrices have
//!   them: `[steps][columns of the panel][depth]` codes. Codes of two or four bits share bytes: a byte has the codes that four
//!   or two consecutive steps have in this place, the first in its lowest bits. Floats of four bits are looked up in registers.

use core::fmt;

use crate::formats::doubled::{DOUBLED, LARGEST_DOUBLED};
use crate::matmul::split::Split;
use crate::sign::Sign;

/// How codes are stored in panels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PanelCodes {
    /// In 2, 4 or 8 bits, as they are multiplied.
    Bits(u32),
    /// In 4 bits, each the place in [`E2M1`] of the byte that is multiplied.
    E2m1,
}

impl PanelCodes {
    /// The bits of a code.
    pub const fn bits(self) -> u32 {
        match self {
            PanelCodes::Bits(bits) => bits,
            PanelCodes::E2m1 => 4,
        }
    }
}

/// The bytes that E2M1 codes of panels are multiplied as: doubled values, and 12 added to each, so that they have no sign. Panels
/// have the codes with [all bits inverted](e2m1_in_panels): zeros pad a group, and are to be multiplied as 0.
pub const E2M1: [u8; 16] = {
    let (mut bytes, mut code) = ([0; 16], 0);
    while code < 16 {
        bytes[e2m1_in_panels(code) as usize] = (DOUBLED[code as usize] + LARGEST_DOUBLED) as u8;
        code += 1;
    }
    bytes
};

/// A code of E2M1 as panels have it.
pub const fn e2m1_in_panels(code: u8) -> u8 {
    code ^ 15
}

/// The micro-kernel of an ISA for weights of some bits, which multiplies them by i8.
pub struct GroupKernel {
    /// How codes are stored.
    pub codes: PanelCodes,
    /// Codes of a row of A, and of a column of W, that a step consumes.
    pub depth: usize,
    /// Columns of a vector of W.
    pub lanes: usize,
    /// How codes of eight bits are stored; those of fewer have no sign.
    pub w_sign: Sign,
    /// Whether A is copied to i16 before it is read.
    pub widen_a: bool,
    /// Whether tiles should read scales of f16 as they are, where no other tile reads them.
    pub widens_halves: bool,
    /// `tiles[v - narrowest][r - 1]` computes r rows × v vectors of columns. All widths have as many rows.
    pub tiles: &'static [&'static [GroupTile]],
    /// Vectors of the narrowest tile.
    pub narrowest: usize,
    /// The micro-kernel of the same codes in a byte each, where unpacking them once is faster for a tall product than
    /// unpacking them in registers for every tile.
    pub unpacked: Option<&'static GroupKernel>,
}

impl GroupKernel {
    /// Rows of the tallest tile.
    pub fn rows(&self) -> usize {
        self.tiles[0].len()
    }

    /// The tile of this size.
    pub fn tile(&self, rows: usize, vectors: usize) -> GroupTile {
        self.tiles[vectors - self.narrowest][rows - 1]
    }

    /// The columns of panels, in vectors. Few columns are padded: every width that is compiled is a cost to everybody.
    pub fn panels(&self, columns: usize) -> Split {
        let (vectors, narrowest) = (columns.div_ceil(self.lanes), self.narrowest);
        let widest = narrowest + self.tiles.len() - 1;
        if vectors == 0 {
            return Split::new(0, 1);
        }
        let vectors = if narrowest == widest { vectors.next_multiple_of(widest) } else { vectors.max(narrowest) };
        Split::new(vectors, widest)
    }

    /// Codes of a byte.
    pub fn per_byte(&self) -> usize {
        8 / self.codes.bits() as usize
    }
}

impl fmt::Debug for GroupKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}, {} × {} × {}",
            self.codes,
            self.rows(),
            (self.narrowest + self.tiles.len() - 1) * self.lanes,
            self.depth
        )
    }
}

/// A rank-one update of the accumulators of every group: `rows[i][g] · columns[g][j]` is added.
#[derive(Clone, Copy)]
pub struct GroupUpdate {
    /// A factor for every row and group.
    pub rows: *const i32,
    /// A factor for every group and column.
    pub columns: *const i32,
}

/// Scales as a tile reads them.
#[derive(Clone, Copy)]
pub enum ColumnScales {
    F32(*const f32),
    /// Where a single tile reads them: for several, they are widened once.
    F16(*const u16),
}

/// The operands of a tile function.
#[derive(Clone, Copy)]
pub struct GroupOperands<'a> {
    /// The number of groups, 1 at least.
    pub groups: usize,
    /// From a row to the next, in elements, of what has a value for every row and group.
    pub group_stride: usize,
    /// Steps of every group but the last.
    pub steps: usize,
    /// Steps of the last group.
    pub last_steps: usize,
    /// The first row of A.
    pub a: *const u8,
    /// From a row of A to the next, in bytes.
    pub a_stride: usize,
    /// The panel of W.
    pub w: *const u8,
    /// What the accumulators of every row and group start with; or null for 0.
    pub row_terms: *const i32,
    /// Added to the accumulators of every group as well.
    pub updates: &'a [GroupUpdate],
    /// The scales of W: of every group and column.
    pub scales: ColumnScales,
    /// The scales of A: of every row and group; or null for 1.
    pub row_scales: *const f32,
    /// The offsets of W: of every group and column; or null for none.
    pub offsets: *const f32,
    /// The sums of A: of every row and group. Read where there are offsets.
    pub row_sums: *const f32,
    /// Where the totals are.
    pub totals: *mut f32,
    /// From a row of `totals` to the next, in elements.
    pub totals_stride: usize,
    /// Whether totals are there, to which these groups are added; else they are 0 at first, whatever is there.
    pub has_totals: bool,
    /// Whether the panel is fetched ahead of its use: for the first tile that reads it, it may come from memory.
    pub prefetch: bool,
}

/// Computes one tile.
///
/// # Safety
/// The CPU has the kernel's ISA. For the tile's `r` rows and `v` vectors: every row of A has the codes of all steps of all
/// groups (twice as many bytes when widened), the panel has as many for `v · lanes` columns, `row_terms`, `row_scales` and
/// `row_sums` are null or have r rows of `groups` values, updates have their factors, `scales` and `offsets` (unless null)
/// have `groups` rows of `v · lanes` values, and `totals` may be read and written in r rows of `v · lanes` elements. Nobody else
/// writes or reads them.
pub type GroupTile = unsafe fn(GroupOperands<'_>);
