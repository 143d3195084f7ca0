//! Ranges of short groups of whole blocks, each in one place: what a vector finds belongs to one of them.
//!
//! Sixteen groups are read together, four after four, until what was found of all lanes is one vector of the maxima of sixteen
//! groups. Nothing is stored in between; so the smallest bits, which groups with numbers of both kinds have no use for, are looked
//! for afterwards where there are others. Of groups that are longer, or fewer, the sixteen are parts.

use core::hint::black_box;

use super::{DECIDED, ExtremeLanes, Extremes, memory_of};
use crate::cache;
use crate::kernel::{Kernel, Vectors};
use crate::params::{Granularity, Range};
use crate::simd::memory::Memory;
use crate::simd::{LANES, QUAD};

/// The blocks of a group, or a part, that had better not be read again: if the groups before had numbers of one kind only, the smallest bits
/// are looked for at once.
const LONG: usize = 16;

/// The elements of a group: of longer ones, [`ExtremeLanes::of`] finds as much in no more time.
const LONGEST: usize = 4 * DECIDED;

/// What a group is read for.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    /// The largest bits, signed and unsigned.
    Largest,
    /// The smallest ones, too.
    All,
    /// Those alone, when the caches have the group.
    Smallest,
}

/// At least sixteen of these groups, or whole sixteens of their parts.
pub(crate) struct EvenGroups<'a> {
    x: &'a [[f32; LANES]],
    /// The blocks of a part.
    length: usize,
    /// The parts of a group, all in one sixteen.
    parts: usize,
    memory: Memory,
}

impl<'a> EvenGroups<'a> {
    /// The groups of a tensor, if they are like that.
    pub fn of(x: &'a [f32], granularity: Granularity) -> Option<Self> {
        let elements = granularity.grouping().even_length(x.len())?;
        let (blocks, rest) = x.as_chunks();
        let whole = rest.is_empty() && elements.is_multiple_of(LANES);
        if !whole || !(LANES..=LONGEST).contains(&elements) {
            return None;
        }
        let (groups, length) = (x.len() / elements, elements / LANES);
        let parts = if groups >= LANES && elements <= DECIDED {
            1
        } else {
            let whole_sixteens = LANES >> groups.trailing_zeros().min(LANES.ilog2());
            whole_sixteens.max(elements.div_ceil(DECIDED).next_power_of_two())
        };
        // What is done for every sixteen has to be worth it.
        let worth = groups * parts == LANES || parts == 1 || length >= QUAD * parts;
        let even = length.is_multiple_of(parts) && worth;
        even.then(|| EvenGroups { x: blocks, length: length / parts, parts, memory: memory_of(x) })
    }

    /// The kernel that finds the ranges of as many of them as there is room for, all or a multiple of sixteen, from one on.
    pub fn ranges<'b>(&'b self, first: usize, ranges: &'b mut [Range]) -> EvenRanges<'b> {
        let blocks = self.length * self.parts;
        let x = &self.x[first * blocks..][..ranges.len() * blocks];
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
    fn run<S: Vectors>(self, simd: S) -> i32 {
        // Of the shortest groups it is worth it that the compiler knows how short. But then it reads them in an order of its own,
        // which memory is slow at.
        match (self.groups.length, self.groups.memory) {
            (2, Memory::Cached) => self.by_sixteen(simd, 2, false),
            (4, Memory::Cached) => self.by_sixteen(simd, 4, false),
            (8, Memory::Cached) => self.by_sixteen(simd, 8, false),
            (length @ LONG.., _) => self.by_sixteen(simd, length, true),
            (length, _) => self.by_sixteen(simd, length, false),
        }
    }
}

impl EvenRanges<'_> {
    #[inline(always)]
    fn by_sixteen<S: Vectors>(self, simd: S, length: usize, long: bool) -> i32 {
        let EvenRanges { groups: EvenGroups { x, parts, .. }, ranges } = self;
        let mut magnitude = simd.splat_i32(0);
        // Whether the groups before had numbers of one kind only; of the first, some tell.
        let mut one_kind = long && !ExtremeLanes::of(simd, x[..LONG].as_flattened(), Memory::Cached).has_both(simd);
        let all = ranges.len() * parts;
        for first in (0..all).step_by(LANES) {
            // The last ones overlap those before.
            let first = first.min(all - LANES);
            let x = &x[first * length..][..LANES * length];
            let integers = if long && one_kind {
                simd.max_of_each(
                    #[inline(always)]
                    |i| integers_of(simd, &x[i * length..][..length], Reading::All),
                )
            } else {
                sixteen_groups(simd, x, length)
            };
            let [signed, unsigned, _] = integers;
            one_kind = simd.any_negative(simd.min_i32(signed, unsigned));
            magnitude = simd.max_i32(magnitude, simd.max_i32(signed, unsigned));
            let [mut signed, mut unsigned, mut smallest] = [[0; LANES]; 3];
            for (found, each) in integers.into_iter().zip([&mut signed, &mut unsigned, &mut smallest]) {
                simd.store_i32(found, each);
            }
            if parts == 1 {
                let ranges: &mut [_; LANES] = ranges[first..].first_chunk_mut().expect("sixteen ranges");
                for (i, range) in ranges.iter_mut().enumerate() {
                    // (Arrays that are taken together stay in memory, which takes up to a third longer.)
                    *range = Extremes { signed: signed[i], unsigned: unsigned[i], smallest: smallest[i] }.of_finite();
                }
            } else {
                let found = [signed, unsigned, smallest];
                for (i, range) in ranges[first / parts..][..LANES / parts].iter_mut().enumerate() {
                    let mut extremes = extremes_of(&found, parts * i);
                    for j in 1..parts {
                        extremes = extremes.merge(extremes_of(&found, parts * i + j));
                    }
                    *range = extremes.of_finite();
                }
            }
        }
        simd.max_of_i32(magnitude)
    }
}

/// Those of one of sixteen.
#[inline(always)]
fn extremes_of([signed, unsigned, smallest]: &[[i32; LANES]; 3], i: usize) -> Extremes {
    Extremes { signed: signed[i], unsigned: unsigned[i], smallest: smallest[i] }
}

/// [`Extremes`] of sixteen groups.
#[inline(always)]
fn sixteen_groups<S: Vectors>(simd: S, x: &[[f32; LANES]], length: usize) -> [S::I32; 3] {
    let [signed, unsigned] = simd.max_of_each(
        #[inline(always)]
        |i| {
            let [signed, unsigned, _] = integers_of(simd, &x[i * length..][..length], Reading::Largest);
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
                let [_, _, smallest] = integers_of(simd, &x[i * length..][..length], Reading::Smallest);
                [smallest]
            },
        );
    }
    [signed, unsigned, smallest]
}

/// What is found of a group, of every lane.
#[inline(always)]
fn integers_of<S: Vectors>(simd: S, group: &[[f32; LANES]], reading: Reading) -> [S::I32; 3] {
    let mut lanes = ExtremeLanes::none(simd);
    let (fours, rest) = group.as_chunks::<QUAD>();
    for x in fours {
        for x in x {
            lanes = observe(simd, lanes, x, reading);
        }
    }
    for x in rest {
        lanes = observe(simd, lanes, x, reading);
    }
    lanes.integers(simd)
}

#[inline(always)]
fn observe<S: Vectors>(simd: S, lanes: ExtremeLanes<S>, x: &[f32; LANES], reading: Reading) -> ExtremeLanes<S> {
    // Level 2 is read faster, too.
    if reading != Reading::Smallest {
        cache::prefetch_ahead(x);
    }
    lanes.observe(simd, x, reading != Reading::Largest)
}
