//! Ranges of short groups of whole blocks, each in one place: what a vector finds belongs to one of them.
//!
//! Sixteen groups are read together, four after four, until what was found of all lanes is one vector of the maxima of sixteen
//! groups. Nothing is stored in between; so the smallest bits, which groups with numbers of both kinds have no use for, are looked
//! for afterwards where there are others.

use core::hint::black_box;

use super::{DECIDED, ExtremeLanes, Extremes, memory_of};
use crate::arch;
use crate::params::{Granularity, Range};
use crate::simd::{Kernel, LANES, Memory, Simd};

/// At least sixteen of these groups.
pub(crate) struct EvenGroups<'a> {
    x: &'a [[f32; LANES]],
    /// The blocks of a group.
    length: usize,
    memory: Memory,
}

impl<'a> EvenGroups<'a> {
    /// The groups of a tensor, if they are like that.
    pub fn of(x: &'a [f32], granularity: Granularity) -> Option<Self> {
        let elements = granularity.even_length(x.len())?;
        let (blocks, rest) = x.as_chunks();
        let groups = EvenGroups { x: blocks, length: elements / LANES, memory: memory_of(x) };
        let whole = rest.is_empty() && elements.is_multiple_of(LANES) && (LANES..DECIDED).contains(&elements);
        (whole && blocks.len() >= LANES * groups.length).then_some(groups)
    }

    /// The kernel that finds the ranges of as many of them as there is room for, sixteen or more, from one on.
    pub fn ranges<'b>(&'b self, first: usize, ranges: &'b mut [Range]) -> EvenRanges<'b> {
        let x = &self.x[first * self.length..][..ranges.len() * self.length];
        EvenRanges { groups: EvenGroups { x, ..*self }, ranges }
    }
}

/// The ranges of [`EvenGroups`].
pub(crate) struct EvenRanges<'a> {
    groups: EvenGroups<'a>,
    ranges: &'a mut [Range],
}

impl Kernel for EvenRanges<'_> {
    /// The largest magnitude of all.
    type Output = i32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> i32 {
        // Of the shortest groups it is worth it that the compiler knows how short. But then it reads them in an order of its own,
        // which memory is slow at.
        match (self.groups.length, self.groups.memory) {
            (2, Memory::Cached) => self.by_sixteen(simd, 2),
            (4, Memory::Cached) => self.by_sixteen(simd, 4),
            (8, Memory::Cached) => self.by_sixteen(simd, 8),
            (length, _) => self.by_sixteen(simd, length),
        }
    }
}

impl EvenRanges<'_> {
    #[inline(always)]
    fn by_sixteen<S: Simd>(self, simd: S, length: usize) -> i32 {
        let EvenRanges { groups: EvenGroups { x, .. }, ranges } = self;
        let mut magnitude = simd.splat_i32(0);
        let last = ranges.len() - LANES;
        for first in (0..ranges.len()).step_by(LANES) {
            // The last ones overlap those before.
            let first = first.min(last);
            let x = &x[first * length..][..LANES * length];
            let ranges = ranges[first..].first_chunk_mut().expect("sixteen ranges");
            magnitude = simd.max_i32(magnitude, sixteen_ranges(simd, x, length, ranges));
        }
        simd.max_of_i32(magnitude)
    }
}

/// The ranges of sixteen groups, and the largest magnitude of each.
#[inline(always)]
fn sixteen_ranges<S: Simd>(simd: S, x: &[[f32; LANES]], length: usize, ranges: &mut [Range; LANES]) -> S::I32 {
    let [signed, unsigned] = simd.max_of_each(
        #[inline(always)]
        |i| {
            let [signed, unsigned, _] = integers_of(simd, &x[i * length..][..length], false);
            [signed, unsigned]
        },
    );
    let mut smallest = simd.splat_i32(0);
    // The other end counts where one of both is negative.
    if simd.any_negative(simd.min_i32(signed, unsigned)) {
        // Read again, so that it need not be kept.
        let x = black_box(x);
        [smallest] = simd.max_of_each(
            #[inline(always)]
            |i| {
                let [_, _, smallest] = integers_of(simd, &x[i * length..][..length], true);
                [smallest]
            },
        );
    }
    let mut integers = [[0; LANES]; 3];
    for (integers, found) in integers.iter_mut().zip([signed, unsigned, smallest]) {
        simd.store_i32(found, integers);
    }
    let [signed_each, unsigned_each, smallest_each] = integers;
    for (i, range) in ranges.iter_mut().enumerate() {
        let found = Extremes { signed: signed_each[i], unsigned: unsigned_each[i], smallest: smallest_each[i] };
        *range = found.of_finite();
    }
    simd.max_i32(signed, unsigned)
}

/// What is found of a group, of every lane; the last of it if somebody asks for the `other_end`.
#[inline(always)]
fn integers_of<S: Simd>(simd: S, group: &[[f32; LANES]], other_end: bool) -> [S::I32; 3] {
    let mut lanes = ExtremeLanes::none(simd);
    for x in group {
        // The first time; level 2 is read faster, too.
        if !other_end {
            arch::prefetch_ahead(x);
        }
        lanes = lanes.observe(simd, x, other_end);
    }
    lanes.integers(simd)
}
