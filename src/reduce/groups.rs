//! Ranges of groups of any lengths: a vector of lanes for every group, whose largest lanes are found sixteen groups at a time.

use super::extremes::{ExtremeLanes, memory_of, write_ranges};
use super::vectors::{ReduceVectors, largest_lanes};
use crate::kernel::{Kernel, Vectors};
use crate::memory::Workspace;
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
        let (groups, mut workspace) = (ranges.len(), Workspace::default());
        let (lanes, found) = workspace.elements(3 * LANES * LANES + 3 * groups).split_at_mut(3 * LANES * LANES);
        found.fill(i32::MIN);
        let mut batch = Batch { lanes: lanes.as_chunks_mut().0, found, groups, first: 0, count: 0 };
        for Run { group, start, end } in granularity.grouping().runs(0, x.len()) {
            if batch.count == LANES || group != batch.first + batch.count {
                batch.flush(v, group);
            }
            batch.push(v, ExtremeLanes::of(v, &x[start..end], memory));
        }
        batch.flush(v, 0);
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
    fn push<V: ReduceVectors>(&mut self, v: V, lanes: ExtremeLanes<V>) {
        let integers = lanes.integers(v);
        for field in 0..3 {
            v.store_i32(integers[field], &mut self.lanes[field * LANES + self.count]);
        }
        self.count += 1;
    }

    /// Adds the largest lanes to those that were found before, and goes on with another group.
    #[inline(always)]
    fn flush<V: ReduceVectors>(&mut self, v: V, next: usize) {
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
    fn keep<V: ReduceVectors>(&mut self, v: V, field: usize) -> V::I32 {
        let lanes = self.lanes[field * LANES..].first_chunk().expect("three times sixteen vectors");
        let largest = largest_lanes(v, lanes);
        let found = &mut self.found[field * self.groups + self.first..][..self.count];
        if let Some(found) = found.first_chunk_mut() {
            v.store_i32(v.max_i32(v.load_i32(found), largest), found);
        } else {
            let mut each = [0; LANES];
            v.store_i32(largest, &mut each);
            for i in 0..found.len() {
                found[i] = found[i].max(each[i]);
            }
        }
        largest
    }
}
