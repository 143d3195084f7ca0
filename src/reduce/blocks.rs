//! Ranges of short groups of whole blocks, each in one place: all lanes of a vector belong to one group.
//!
//! Sixteen groups are read together, quad after quad, until the vectors of all have become one vector of the largest lanes of
//! sixteen groups. Nothing is stored in between. The smallest bits, which groups with values of both signs have no use for, are
//! found in a second reading where there are other groups. Longer groups, and fewer, are read in parts, sixteen together.

use core::hint::black_box;

use super::extremes::{DECIDED, ExtremeLanes, Extremes, memory_of};
use crate::cache;
use crate::kernel::{Kernel, Vectors};
use crate::params::{Granularity, Range};
use crate::simd::memory::Memory;
use crate::simd::{LANES, QUAD};

/// Blocks of a group, or a part, from which on it is not read twice: if the groups before had values of a single sign, the
/// smallest bits are found in the first reading.
const LONG: usize = 16;

/// Elements of a group: longer ones take no longer one by one ([`ExtremeLanes::of`]).
const LONGEST: usize = 4 * DECIDED;

/// What a group is read for.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    /// The largest bits, as i32 and as u32.
    Largest,
    /// The largest and the smallest bits.
    All,
    /// The smallest bits, when the caches have the group.
    Smallest,
}

/// Sixteen or more groups of this kind, or such that their parts are whole sixteens.
pub(crate) struct EvenGroups<'a> {
    x: &'a [[f32; LANES]],
    /// Blocks of a part.
    length: usize,
    /// Parts of a group, all of which are among the same sixteen.
    parts: usize,
    memory: Memory,
}

impl<'a> EvenGroups<'a> {
    /// The groups of a tensor, if they are of this kind.
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
        // A part has to be long enough for what is done once for every sixteen.
        let worth = groups * parts == LANES || parts == 1 || length >= QUAD * parts;
        let even = length.is_multiple_of(parts) && worth;
        even.then(|| EvenGroups { x: blocks, length: length / parts, parts, memory: memory_of(x) })
    }

    /// The kernel that writes the ranges of the groups from `first` on: all of them, or a multiple of sixteen.
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
    /// The bits of the largest magnitude of all.
    type Output = i32;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> i32 {
        if const { !V::HAS_INTEGER_MIN_MAX } {
            return self.one_by_one(v);
        }
        // The shortest groups are read faster where the compiler knows their length. But it reads them in an order of its own
        // then, which memory is slow at.
        match (self.groups.length, self.groups.memory) {
            (2, Memory::Cached) => self.by_sixteen(v, 2, false),
            (4, Memory::Cached) => self.by_sixteen(v, 4, false),
            (8, Memory::Cached) => self.by_sixteen(v, 8, false),
            (length @ LONG.., _) => self.by_sixteen(v, length, true),
            (length, _) => self.by_sixteen(v, length, false),
        }
    }
}

impl EvenRanges<'_> {
    /// Where a reading finds all fields anyway, and maxima of lanes are found lane by lane: every group for itself.
    #[inline(always)]
    fn one_by_one<V: Vectors>(self, v: V) -> i32 {
        let EvenRanges { groups: EvenGroups { x, length, parts, .. }, ranges } = self;
        let (blocks, mut magnitude) = (length * parts, 0);
        for (i, range) in ranges.iter_mut().enumerate() {
            let mut lanes = ExtremeLanes::none(v);
            for block in &x[i * blocks..][..blocks] {
                lanes = lanes.observe(v, block, true);
            }
            let [max_as_i32, max_as_u32, inverted_min] = lanes.integers(v);
            let (max_as_i32, max_as_u32) = (v.max_of_i32(max_as_i32), v.max_of_i32(max_as_u32));
            let found = Extremes { max_as_i32, max_as_u32, inverted_min: v.max_of_i32(inverted_min) };
            magnitude = magnitude.max(found.magnitude());
            *range = found.range();
        }
        magnitude
    }

    #[inline(always)]
    fn by_sixteen<V: Vectors>(self, v: V, length: usize, long: bool) -> i32 {
        let EvenRanges { groups: EvenGroups { x, parts, .. }, ranges } = self;
        let mut magnitude = v.splat_i32(0);
        // Whether the groups before had values of a single sign. For the first groups, some of their elements tell.
        let mut single_sign =
            long && !ExtremeLanes::none(v).fold(v, x[..LONG].as_flattened(), Memory::Cached, true).has_both_signs(v);
        let all = ranges.len() * parts;
        let mut start = 0;
        while start < all {
            // The last sixteen overlap those before.
            let first = start.min(all - LANES);
            let x = &x[first * length..][..LANES * length];
            let [max_as_i32, max_as_u32, mut inverted_min] = if long && single_sign {
                sixteen_groups(v, x, length, Reading::All)
            } else {
                let [max_as_i32, max_as_u32] = sixteen_groups(v, x, length, Reading::Largest);
                [max_as_i32, max_as_u32, v.splat_i32(0)]
            };
            let sign = v.any_negative(v.min_i32(max_as_i32, max_as_u32));
            // The other end of the range counts where values have a single sign. (Read again, so that it need not be kept.)
            if sign && !(long && single_sign) {
                [inverted_min] = sixteen_groups(v, black_box(x), length, Reading::Smallest);
            }
            single_sign = sign;
            magnitude = v.max_i32(magnitude, v.max_i32(max_as_i32, max_as_u32));
            // (Arrays that are taken together stay in memory, which takes up to a third longer.)
            let (mut a, mut b, mut c) = ([0; LANES], [0; LANES], [0; LANES]);
            v.store_i32(max_as_i32, &mut a);
            v.store_i32(max_as_u32, &mut b);
            v.store_i32(inverted_min, &mut c);
            if parts == 1 {
                let ranges: &mut [_; LANES] = ranges[first..].first_chunk_mut().expect("sixteen ranges");
                for i in 0..LANES {
                    ranges[i] = Extremes { max_as_i32: a[i], max_as_u32: b[i], inverted_min: c[i] }.range();
                }
            } else {
                write_joined([&a, &b, &c], parts, &mut ranges[first / parts..][..LANES / parts]);
            }
            start += LANES;
        }
        v.max_of_i32(magnitude)
    }
}

/// Writes the ranges of groups of `parts` parts each, given the fields of [`Extremes`] of all parts.
#[inline(always)]
fn write_joined(found: [&[i32; LANES]; 3], parts: usize, ranges: &mut [Range]) {
    for i in 0..ranges.len() {
        let mut extremes = Extremes::NONE;
        for part in parts * i..parts * (i + 1) {
            let [max_as_i32, max_as_u32, inverted_min] = [found[0][part], found[1][part], found[2][part]];
            extremes = extremes.merge(Extremes { max_as_i32, max_as_u32, inverted_min });
        }
        ranges[i] = extremes.range();
    }
}

/// The fields of [`Extremes`] that they are read for, of sixteen groups.
#[inline(always)]
fn sixteen_groups<V: Vectors, const N: usize>(
    v: V,
    x: &[[f32; LANES]],
    length: usize,
    reading: Reading,
) -> [V::I32; N] {
    // (Calls, not a loop: the compiler leaves a loop of this length, and vectors in memory.)
    let quad = quad_of_groups::<V, N>;
    let (a, b) = (quad(v, x, 0, length, reading), quad(v, x, 1, length, reading));
    let (c, d) = (quad(v, x, 2, length, reading), quad(v, x, 3, length, reading));
    let mut fields = [v.splat_i32(0); N];
    for n in 0..N {
        fields[n] = v.join_maxima([a[n], b[n], c[n], d[n]]);
    }
    fields
}

/// The partial maxima of the fields of [`Extremes`] that they are read for, of four groups.
#[inline(always)]
fn quad_of_groups<V: Vectors, const N: usize>(
    v: V,
    x: &[[f32; LANES]],
    k: usize,
    length: usize,
    reading: Reading,
) -> [V::I32; N] {
    let x = &x[QUAD * k * length..][..QUAD * length];
    let (a, b) = (group(v, x, 0, length, reading), group(v, x, 1, length, reading));
    let (c, d) = (group(v, x, 2, length, reading), group(v, x, 3, length, reading));
    let first = if reading == Reading::Smallest { 2 } else { 0 };
    let mut fields = [v.splat_i32(0); N];
    for n in 0..N {
        fields[n] = v.quad_maxima([a[first + n], b[first + n], c[first + n], d[first + n]]);
    }
    fields
}

/// The fields of [`Extremes`] of a group, for every lane.
#[inline(always)]
fn group<V: Vectors>(v: V, x: &[[f32; LANES]], i: usize, length: usize, reading: Reading) -> [V::I32; 3] {
    let mut lanes = ExtremeLanes::none(v);
    let (quads, rest) = x[i * length..][..length].as_chunks::<QUAD>();
    for quad in quads {
        for j in 0..QUAD {
            lanes = observe(v, lanes, &quad[j], reading);
        }
    }
    for block in rest {
        lanes = observe(v, lanes, block, reading);
    }
    lanes.integers(v)
}

#[inline(always)]
fn observe<V: Vectors>(v: V, lanes: ExtremeLanes<V>, x: &[f32; LANES], reading: Reading) -> ExtremeLanes<V> {
    // Level 2 is read faster with it, too.
    if reading != Reading::Smallest {
        cache::prefetch_ahead(x);
    }
    lanes.observe(v, x, reading != Reading::Largest)
}
