//! How a multiplication is divided among threads: into a grid of parts of the rows by parts of the panels, of which every
//! thread takes some, until none is left.

use core::ops::Range;
use std::sync::Mutex;

use super::job::Job;
use super::shape::Shape;
use super::split::Split;
use crate::cache::level2;
use crate::exec::{CachePadded, Exec, PIECE, Role};

/// Nanoseconds that a piece should take at least, like [`PIECE`], when it has to find its places in a stream of random
/// words.
const STOCHASTIC_PIECE: usize = 16_000;

/// Runs the whole job, on several threads if that is faster.
pub(crate) fn run(exec: Exec<'_>, job: &Job<'_>) {
    let (rows, shape, packed) = (job.rows(), job.shape(), job.is_packed());
    if exec.is_serial() {
        // SAFETY: it is the only piece.
        return unsafe { job.run(0..rows, 0..shape.panels()) };
    }
    let piece = if job.is_stochastic() { STOCHASTIC_PIECE } else { PIECE };
    let nanoseconds = least_nanoseconds(rows, shape, packed);
    let team = exec.team_of(nanoseconds, piece);
    if team.alone() {
        // SAFETY: it is the only piece.
        return unsafe { job.run(0..rows, 0..shape.panels()) };
    }
    let threads = exec.threads();
    let partition = Partition::new(job, threads);
    let parts = partition.parts();
    // Everyone takes a share of what is left: many parts at first, so that few pieces are begun; few at last, so that all end
    // at the same time. Of a B that is not packed more: narrow pieces read bits of its rows, and all of A for it.
    let least = parts.saturating_mul(piece).div_ceil(nanoseconds);
    let (share, least) = if packed { (2 * threads, least) } else { (threads, least.max(parts / (4 * threads))) };
    let left = CachePadded(Mutex::new(0..parts));
    let take = |role| {
        let mut left = left.0.lock().expect("integers are added without panic");
        let some = least.max(left.len() / share).min(left.len());
        // From both ends: what a thread wrote in the last call is best found in its cache.
        if role == Role::Caller {
            left.start += some;
            left.start - some..left.start
        } else {
            left.end -= some;
            left.end..left.end + some
        }
    };
    team.run(&|role| {
        loop {
            let taken = take(role);
            if taken.is_empty() {
                return;
            }
            partition.pieces(taken, &|rows, panels| {
                // SAFETY: the lock hands every part out once, and parts do not overlap.
                unsafe { job.run(rows, panels) };
            });
        }
    });
}

/// A lower bound of what a multiplication takes one thread, in nanoseconds. Micro-kernels differ by a factor of fifty in
/// products, but hardly in multiply instructions: no core does more than two a cycle. A few rows take as long as B takes to
/// arrive, from beyond the level-1 cache; or to be packed.
pub(crate) fn least_nanoseconds(rows: usize, shape: &Shape, packed: bool) -> usize {
    /// Multiply instructions a nanosecond.
    const INSTRUCTIONS: usize = 8;
    // Bytes a nanosecond.
    let bytes = if packed { 128 } else { 16 };
    let vectors = shape.columns.div_ceil(shape.kernel.lanes);
    let instructions = rows.saturating_mul(vectors).saturating_mul(shape.steps);
    let arriving = if rows == 0 { 0 } else { shape.all_bytes() / bytes };
    (instructions / INSTRUCTIONS).max(arriving)
}

/// Parts of the rows by parts of the panels.
struct Partition {
    rows: usize,
    tile_rows: usize,
    /// In tiles.
    row_parts: Split,
    panel_parts: Split,
}

impl Partition {
    /// As a rule a side alone is divided, down to single tiles or single panels: whoever takes some rows reads all of B
    /// then, or all of A who takes some panels.
    fn new(job: &Job<'_>, threads: usize) -> Self {
        let (rows, shape, packed, stochastic) = (job.rows(), job.shape(), job.is_packed(), job.is_stochastic());
        let (tile_rows, panels) = (shape.kernel.rows(), shape.panels());
        let tiles = rows.div_ceil(tile_rows);
        // Four parts a thread are divided evenly; where parts of a row have to find their words, or parts of the rows to pack
        // the same panels again, fewer.
        let parts_a_thread = match (stochastic, packed) {
            (true, _) => 1,
            (false, true) => 4,
            (false, false) => 2,
        };
        let enough = threads * parts_a_thread;
        // B is packed once if its panels are divided, A is copied once if its rows are. Otherwise it is a matter of what
        // has to come from the level-3 cache again and again.
        let small = shape.all_bytes() <= level2() / 2;
        let by_rows = stochastic || packed && (small || rows >= shape.columns);
        let (row_parts, panel_parts) =
            if by_rows { (tiles, enough.div_ceil(tiles)) } else { (enough.div_ceil(panels), panels) };
        Partition {
            rows,
            tile_rows,
            row_parts: Split::new(tiles, tiles.div_ceil(row_parts)),
            panel_parts: Split::new(panels, panels.div_ceil(panel_parts)),
        }
    }

    fn parts(&self) -> usize {
        self.row_parts.parts() * self.panel_parts.parts()
    }

    /// Calls `run` with the rows and panels of some parts.
    fn pieces(&self, parts: Range<usize>, run: &dyn Fn(Range<usize>, Range<usize>)) {
        let units = |split: &Split, parts: Range<usize>| split.part(parts.start).start..split.part(parts.end - 1).end;
        let rows = |parts| {
            let Range { start, end } = units(&self.row_parts, parts);
            start * self.tile_rows..(end * self.tile_rows).min(self.rows)
        };
        let panels = |parts| units(&self.panel_parts, parts);
        match (self.row_parts.parts(), self.panel_parts.parts()) {
            (_, 1) => run(rows(parts), panels(0..1)),
            (1, _) => run(rows(0..1), panels(parts)),
            (_, across) => {
                for part in parts {
                    let (row, panel) = (part / across, part % across);
                    run(rows(row..row + 1), panels(panel..panel + 1));
                }
            }
        }
    }
}
