//! How a multiplication is divided: in cells, of which everyone who has time takes some.

use core::ops::Range;
use std::sync::Mutex;

use crate::cache::level2;
use crate::codes::Code;
use crate::exec::team::{Team, threads};
use crate::exec::{CachePadded, PIECE, Role};
use crate::matmul::split::Split;
use crate::matmul::{Job, Rows, Shape, Stage};

/// [`PIECE`] when a piece has to find its places in a stream of random words.
const STOCHASTIC_PIECE: usize = 16_000;

/// Runs the whole job, on several threads if that is faster.
pub(super) fn run<A: Code, R: Rows<A>, S: Stage>(rows: usize, job: &Job<'_, A, R, S>) {
    let (shape, packed) = (job.shape(), job.is_packed());
    let piece = if job.is_stochastic() { STOCHASTIC_PIECE } else { PIECE };
    let nanoseconds = least_nanoseconds(rows, shape, packed);
    let crew = Team::gather(nanoseconds, piece);
    if crew.alone() {
        return job.run(0..rows, 0..job.panels());
    }
    let cells = Cells::new(rows, shape, packed, job.is_stochastic());
    let count = cells.count();
    // Everyone takes a part of what is left: many cells at first, so that few pieces are begun; few at last, so that all
    // end at the same time. Of a B that is not packed more: narrow pieces read bits of its rows, and all of A for it.
    let least = count.saturating_mul(piece).div_ceil(nanoseconds);
    let (share, least) = if packed { (2 * threads(), least) } else { (threads(), least.max(count / (4 * threads()))) };
    let left = CachePadded(Mutex::new(0..count));
    let take = |who| {
        let mut left = left.0.lock().expect("integers are added without panic");
        let some = least.max(left.len() / share).min(left.len());
        // From both ends: what a thread wrote in the last call is best found in its cache.
        if who == Role::Caller {
            left.start += some;
            left.start - some..left.start
        } else {
            left.end -= some;
            left.end..left.end + some
        }
    };
    crew.share(&|who| {
        loop {
            let taken = take(who);
            if taken.is_empty() {
                return;
            }
            cells.pieces(taken, |rows, panels| job.run(rows, panels));
        }
    });
}

/// What a multiplication takes one thread at least, in nanoseconds. Micro-kernels differ by a factor of fifty in products,
/// but hardly in multiply instructions: no core does more than two a cycle. A few rows take as long as B takes to arrive,
/// from beyond the level-1 cache; or to be packed.
fn least_nanoseconds(rows: usize, shape: &Shape, packed: bool) -> usize {
    const INSTRUCTIONS: usize = 8;
    let bytes = if packed { 128 } else { 16 };
    let vectors = shape.columns.div_ceil(shape.kernel.lanes);
    let instructions = rows.saturating_mul(vectors).saturating_mul(shape.steps);
    let arriving = if rows == 0 { 0 } else { shape.panel_bytes(0..shape.panels()) / bytes };
    (instructions / INSTRUCTIONS).max(arriving)
}

/// Parts of the rows by parts of the panels.
struct Cells {
    rows: usize,
    tile_rows: usize,
    /// In tiles.
    row_parts: Split,
    panel_parts: Split,
}

impl Cells {
    /// As a rule a side alone is divided, down to single tiles or single panels: whoever takes some rows reads all of B
    /// then, or all of A who takes some panels.
    fn new(rows: usize, shape: &Shape, packed: bool, stochastic: bool) -> Self {
        let (tile_rows, panels) = (shape.kernel.rows(), shape.panels());
        let tiles = rows.div_ceil(tile_rows);
        // So many cells are divided evenly; where parts of a row have to find their words, or parts of the rows to pack
        // the same panels again, fewer.
        let enough = threads()
            * if stochastic {
                1
            } else if packed {
                4
            } else {
                2
            };
        // B is packed once if its panels are divided, A is copied once if its rows are. Otherwise it is a matter of what
        // has to come from the level-3 cache again and again.
        let small = shape.panel_bytes(0..panels) <= level2() / 2;
        let by_rows = stochastic || packed && (small || rows >= shape.columns);
        let (row_parts, panel_parts) =
            if by_rows { (tiles, enough.div_ceil(tiles)) } else { (enough.div_ceil(panels), panels) };
        Cells {
            rows,
            tile_rows,
            row_parts: Split::new(tiles, tiles.div_ceil(row_parts)),
            panel_parts: Split::new(panels, panels.div_ceil(panel_parts)),
        }
    }

    fn count(&self) -> usize {
        self.row_parts.parts() * self.panel_parts.parts()
    }

    /// The rows and panels of some cells.
    fn pieces(&self, cells: Range<usize>, mut run: impl FnMut(Range<usize>, Range<usize>)) {
        let units = |split: &Split, parts: Range<usize>| split.part(parts.start).start..split.part(parts.end - 1).end;
        let rows = |parts| {
            let Range { start, end } = units(&self.row_parts, parts);
            start * self.tile_rows..(end * self.tile_rows).min(self.rows)
        };
        let panels = |parts| units(&self.panel_parts, parts);
        match (self.row_parts.parts(), self.panel_parts.parts()) {
            (_, 1) => run(rows(cells), panels(0..1)),
            (1, _) => run(rows(0..1), panels(cells)),
            (_, across) => {
                for cell in cells {
                    let (row, panel) = (cell / across, cell % across);
                    run(rows(row..row + 1), panels(panel..panel + 1));
                }
            }
        }
    }
}
