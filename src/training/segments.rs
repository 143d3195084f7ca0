//! The order in which sums over the groups of a tensor are made, whoever makes them.
//!
//! ```text
//! chunk     16384 elements of the tensor, from a multiple of 16384 on; the last one may be shorter
//! segment   the largest part of a chunk in which the same c groups follow each other in turn, again and again:
//!             c = 1     a run of elements of one group, or the whole chunk of a tensor with one
//!             c > 1     channels of neighbouring elements; rows of blocks along an outer axis
//! slot      of element i of a segment, whose first one is in group p of the c:
//!             (p + ⌊i / 16⌋ · 16) mod P + i mod 16        P = c · ⌈16 / c⌉
//! ```
//!
//! A slot belongs to group `slot mod c`. Its sum is that of its elements, in order. The sum of a group in a segment is that of
//! its slots: of one group alone, sixteen slots by halves (i and i + 8, then i and i + 4, and so on); else in ascending
//! order. What the tensor has for a group is the sum of these sums, segment after segment.
//!
//! So a kernel has vectors of sums, whose lanes are slots, and every vector of elements is added to one of them: with one group,
//! always to the same one, in registers. None of that depends on the ISA, or on who makes the sums of which chunk.
//!
//! A cycle of more groups than a chunk has elements begins a segment with every row, so that no segment has more sums than elements.

use crate::params::{Grouping, Runs};
use crate::random::stream;
use crate::simd::LANES;

/// Elements of a chunk: those of a chunk of the random stream, which is best entered where one begins.
pub(super) const CHUNK: usize = stream::CHUNK;

/// Neighbouring elements of a chunk whose groups follow each other in turn.
pub(super) struct Segment {
    /// Elements `start .. end` of the chunk.
    pub start: usize,
    pub end: usize,
    /// The first group of the cycle.
    pub group: usize,
    /// The groups of the cycle.
    pub cycle: usize,
    /// The place in the cycle of the first element's group.
    pub place: usize,
}

impl Segment {
    /// The slots behind which they begin again, sixteen elements at a time.
    pub fn period(&self) -> usize {
        self.cycle * LANES.div_ceil(self.cycle)
    }

    /// Whether the cycle begins again in the segment, so that a group may have several of its elements.
    pub fn repeats(&self) -> bool {
        self.end - self.start > self.cycle - self.place
    }

    /// The slots that a kernel needs: vectors of sums begin in any slot, and go on behind the last one.
    pub fn slots(&self) -> usize {
        if self.repeats() { self.period() + LANES } else { (self.end - self.start).next_multiple_of(LANES) }
    }

    /// Whether slots are groups, one for one, in whole vectors: no vector of slots goes on behind the last group.
    pub fn is_aligned(&self) -> bool {
        let (_, groups) = self.groups();
        groups.is_multiple_of(LANES) && (!self.repeats() || self.place.is_multiple_of(LANES))
    }

    /// The groups that have a sum: the first, and how many follow each other.
    pub fn groups(&self) -> (usize, usize) {
        if self.repeats() { (self.group, self.cycle) } else { (self.group + self.place, self.end - self.start) }
    }
}

/// The segments of `count` elements of a tensor from `first` on, which are a chunk, in order.
pub(super) fn segments(grouping: Grouping, first: usize, count: usize) -> Segments {
    match grouping {
        Grouping::Interleaved { channels } => {
            Segments::Cycles(Cycles::new(first, count, usize::MAX, usize::MAX, channels))
        }
        Grouping::Bands { length, rows, inner } => Segments::Cycles(Cycles::new(first, count, length, rows, inner)),
        runs => Segments::Runs(runs.runs(first, count)),
    }
}

/// The segments of a chunk: of one group each, or of several.
pub(super) enum Segments {
    Runs(Runs),
    Cycles(Cycles),
}

/// Segments of alternating groups: bands of `length` rows, of `rows` rows with `cycle` elements each.
pub(super) struct Cycles {
    first: usize,
    start: usize,
    count: usize,
    length: usize,
    rows: usize,
    cycle: usize,
}

impl Cycles {
    pub fn new(first: usize, count: usize, length: usize, rows: usize, cycle: usize) -> Self {
        Cycles { first, start: 0, count, length, rows, cycle }
    }
}

impl Iterator for Cycles {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let Cycles { first, start, count, length, rows, cycle } = *self;
        if start == count {
            return None;
        }
        let (row, place) = ((first + start) / cycle, (first + start) % cycle);
        let (band, of_band) = (row / rows * rows.div_ceil(length) + row % rows / length, row % rows % length);
        let rows_left = if cycle > CHUNK { 1 } else { (length - of_band).min(rows - row % rows) };
        let end = start.saturating_add(rows_left.saturating_mul(cycle) - place).min(count);
        self.start = end;
        Some(Segment { start, end, group: band * cycle, cycle, place })
    }
}

/// The most sums that the segments of a chunk have.
pub(super) fn most_sums(grouping: Grouping) -> usize {
    match grouping {
        Grouping::Whole => 1,
        Grouping::Channels { inner, .. } => CHUNK.min(CHUNK / inner + 2),
        // A run ends with its block or with its row.
        Grouping::Blocks { length, row } => CHUNK.min(CHUNK / length + 2 * (CHUNK / row) + 3),
        Grouping::Interleaved { channels } => channels.min(CHUNK),
        // The sums of a first cycle, whose elements may be in another chunk, and one for every other element.
        Grouping::Bands { inner, .. } => inner.min(CHUNK) + CHUNK,
    }
}
