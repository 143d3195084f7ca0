//! Ranges of groups of any lengths: a vector of lanes for every group, whose largest lanes are found sixteen groups at a time.

use super::extremes::{ExtremeLanes, memory_of, write_ranges};
use super::vectors::largest_lanes;
use crate::kernel::{Kernel, Vectors};
use crate::memory::Scratch;
use crate::params::{Granularity, Range, Run};
use crate::simd::LANES;

pub(super) struct GroupRanges<'a> {
    pub x: &'a [f32],
    pub granularity: Granularity,
    pub ranges: &'a mut [Range],
}

impl Kernel for GroupRanges<'_> {
    /// The bits of the largest magnitude of all.
    type Output = i32;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> i32 {
        let GroupRanges { x, granularity, ranges } = self;
        let memory = memory_of(x);
        let (groups, mut workspace) = (ranges.len(), Scratch::default());
        let (lanes, found) = workspace.elements(3 * LANES * LANES + 3 * groups).split_at_mut(3 * LANES * LANES);
        found.fill(i32::MIN);
        let mut batch = Batch { lanes: lanes.as_chunks_mut().0, found, groups, first: 0, count: 0 };
        let mut runs = granularity.grouping().runs(0, x.len());
        loop {
            let run = runs.next();
            let group = run.as_ref().map_or(usize::MAX, |run| run.group);
            if batch.count == LANES || group != batch.first + batch.count {
                batch.flush(v, group);
            }
            let Some(Run { start, end, .. }) = run else { break };
            batch.push(v, ExtremeLanes::of(v, &x[start..end], memory));
        }
        let (max_as_i32, rest) = batch.found.split_at(groups);
        let (max_as_u32, inverted_min) = rest.split_at(groups);
        write_ranges([max_as_i32, max_as_u32, inverted_min], ranges)
    }
}

/// Up to sixteen groups that follow each other, whose lanes were found.
struct Batch<'a> {
    /// The fields of [`Extremes`](super::extremes::Extremes), of sixteen groups each: three times sixteen vectors.
    lanes: &'a mut [[i32; LANES]],
    /// The largest lanes of all groups so far, field by field.
    found: &'a mut [i32],
    groups: usize,
    first: usize,
    count: usize,
}

impl Batch<'_> {
    #[inline(always)]
    fn push<V: Vectors>(&mut self, v: V, lanes: ExtremeLanes<V>) {
        let integers = lanes.integers(v);
        for field in 0..3 {
            v.store_i32(integers[field], &mut self.lanes[field * LANES + self.count]);
        }
        self.count += 1;
    }

    /// Adds the largest lanes to those that were found before, and goes on with another group.
    #[inline(always)]
    fn flush<V: Vectors>(&mut self, v: V, next: usize) {
        let max_as_i32 = self.keep(v, 0);
        let max_as_u32 = self.keep(v, 1);
        // The other end of the range counts where values have a single sign.
        if v.any_negative(v.min_i32(max_as_i32, max_as_u32)) {
            self.keep(v, 2);
        }
        (self.first, self.count) = (next, 0);
    }

    /// The largest lanes of a field.
    #[inline(always)]
    fn keep<V: Vectors>(&mut self, v: V, field: usize) -> V::I32 {
        let vectors = self.lanes[field * LANES..].first_chunk().expect("three times sixteen vectors");
        let mut largest = [0; LANES];
        v.outlined(LargestLanes { vectors, largest: &mut largest });
        let found = &mut self.found[field * self.groups + self.first..][..self.count];
        for (found, largest) in found.iter_mut().zip(&largest) {
            *found = (*found).max(*largest);
        }
        v.load_i32(&largest)
    }
}

/// Lane i of `largest` is the largest lane of `vectors[i]`.
struct LargestLanes<'a> {
    vectors: &'a [[i32; LANES]; LANES],
    largest: &'a mut [i32; LANES],
}

impl Kernel for LargestLanes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        v.store_i32(largest_lanes(v, self.vectors), self.largest);
    }
}
