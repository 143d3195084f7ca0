//! Ranges of short groups of whole blocks, each in one place: all lanes of a vector belong to one group.
//!
//! Sixteen groups are read together, four at a time, until the vectors of all have become one vector of the largest lanes of
//! sixteen groups. No group's own vectors are stored in between. The smallest bits, which groups with values of both signs have no use for, are
//! found in a second reading where there are other groups. Longer groups, and fewer, are read in parts, sixteen together.

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
        self.by_sixteen(v)
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
    fn by_sixteen<V: Vectors>(self, v: V) -> i32 {
        let EvenRanges { groups: EvenGroups { x, length, parts, memory }, ranges } = self;
        let mut magnitude = v.splat_i32(0);
        let long = length >= LONG;
        // Whether the groups before had values of a single sign. For the first groups, some of their elements tell.
        let mut single_sign =
            long && !ExtremeLanes::none(v).fold(v, x[..LONG].as_flattened(), Memory::Cached, true).has_both_signs(v);
        let all = ranges.len() * parts;
        let mut start = 0;
        while start < all {
            // The last sixteen overlap those before.
            let first = start.min(all - LANES);
            let x = &x[first * length..][..LANES * length];
            let [mut max_as_i32, mut max_as_u32, mut inverted_min] = [[0; LANES]; 3];
            let read_all = long && single_sign;
            if read_all {
                let found = [&mut max_as_i32, &mut max_as_u32, &mut inverted_min];
                v.outlined(AnyLength(SixteenGroups { x, length, memory, found }));
            } else {
                read(v, SixteenGroups { x, length, memory, found: [&mut max_as_i32, &mut max_as_u32] });
            }
            let (signed, unsigned) = (v.load_i32(&max_as_i32), v.load_i32(&max_as_u32));
            single_sign = v.any_negative(v.min_i32(signed, unsigned));
            magnitude = v.max_i32(magnitude, v.max_i32(signed, unsigned));
            // The other end of the range counts where values have a single sign. (Read again, so that it need not be kept.)
            if single_sign && !read_all {
                read(v, SixteenGroups { x, length, memory, found: [&mut inverted_min] });
            }
            if parts == 1 {
                let ranges: &mut [_; LANES] = ranges[first..].first_chunk_mut().expect("sixteen ranges");
                for i in 0..LANES {
                    let (max_as_i32, max_as_u32, inverted_min) = (max_as_i32[i], max_as_u32[i], inverted_min[i]);
                    ranges[i] = Extremes { max_as_i32, max_as_u32, inverted_min }.range();
                }
            } else {
                let found = [&max_as_i32, &max_as_u32, &inverted_min];
                write_joined(found, parts, &mut ranges[first / parts..][..LANES / parts]);
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

/// Sixteen groups, and where some of the fields of their [`Extremes`] go. N says which: 3 are all; 2 are the largest bits, as
/// i32 and as u32; 1 is the inverse of the smallest bits, of groups that the caches have by then.
struct SixteenGroups<'a, const N: usize> {
    x: &'a [[f32; LANES]],
    /// Blocks of a group.
    length: usize,
    memory: Memory,
    found: [&'a mut [i32; LANES]; N],
}

/// Reads groups, in functions of their own: code and frame of one would be as much as of all other kernels.
#[inline(always)]
fn read<V: Vectors, const N: usize>(v: V, groups: SixteenGroups<'_, N>) {
    // The shortest groups are read faster where the compiler knows their length. But it reads them in an order of its own
    // then, which memory is slow at.
    match (groups.length, groups.memory) {
        (2, Memory::Cached) => v.outlined(Short::<N, 2>(groups)),
        (4, Memory::Cached) => v.outlined(Short::<N, 4>(groups)),
        (8, Memory::Cached) => v.outlined(Short::<N, 8>(groups)),
        _ => v.outlined(AnyLength(groups)),
    }
}

/// [`SixteenGroups`] of LENGTH blocks each.
struct Short<'a, const N: usize, const LENGTH: usize>(SixteenGroups<'a, N>);

impl<const N: usize, const LENGTH: usize> Kernel for Short<'_, N, LENGTH> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let SixteenGroups { x, found, .. } = self.0;
        let (groups, _) = x.as_chunks::<LENGTH>();
        let mut quads = [[v.splat_i32(0); N]; QUAD];
        for k in 0..QUAD {
            quads[k] = short_groups(v, &groups[k * QUAD..][..QUAD]);
        }
        store(v, quads, found);
    }
}

/// The partial maxima of N fields of [`Extremes`], of four groups of LENGTH blocks each.
#[inline(always)]
fn short_groups<V: Vectors, const N: usize, const LENGTH: usize>(
    v: V,
    groups: &[[[f32; LANES]; LENGTH]],
) -> [V::I32; N] {
    let (a, b) = (short_group::<V, N, LENGTH>(v, &groups[0]), short_group::<V, N, LENGTH>(v, &groups[1]));
    let (c, d) = (short_group::<V, N, LENGTH>(v, &groups[2]), short_group::<V, N, LENGTH>(v, &groups[3]));
    quad_maxima(v, [a, b, c, d])
}

/// All fields of [`Extremes`] of a group for every lane, of which those are right that it is read for. (One call in a loop,
/// which the compiler unrolls: sixteen copies of two would not fit a small stack where it does not optimise.)
#[inline(always)]
fn short_group<V: Vectors, const N: usize, const LENGTH: usize>(v: V, x: &[[f32; LANES]; LENGTH]) -> [V::I32; 3] {
    let mut lanes = ExtremeLanes::none(v);
    for i in 0..LENGTH {
        lanes = observe::<V, N>(v, lanes, &x[i]);
    }
    lanes.integers(v)
}

/// [`SixteenGroups`] of any length.
struct AnyLength<'a, const N: usize>(SixteenGroups<'a, N>);

impl<const N: usize> Kernel for AnyLength<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let SixteenGroups { x, length, found, .. } = self.0;
        let mut quads = [[v.splat_i32(0); N]; QUAD];
        for k in 0..QUAD {
            let mut lanes = [ExtremeLanes::none(v).integers(v); QUAD];
            for i in 0..QUAD {
                lanes[i] = group::<V, N>(v, &x[(k * QUAD + i) * length..][..length]);
            }
            quads[k] = quad_maxima(v, lanes);
        }
        store(v, quads, found);
    }
}

/// All fields of [`Extremes`] of a group of any length for every lane, of which those are right that it is read for.
#[inline(always)]
fn group<V: Vectors, const N: usize>(v: V, x: &[[f32; LANES]]) -> [V::I32; 3] {
    let mut lanes = ExtremeLanes::none(v);
    let (quads, rest) = x.as_chunks::<QUAD>();
    for quad in quads {
        for j in 0..QUAD {
            lanes = observe::<V, N>(v, lanes, &quad[j]);
        }
    }
    for block in rest {
        lanes = observe::<V, N>(v, lanes, block);
    }
    lanes.integers(v)
}

/// The partial maxima of N fields of [`Extremes`], of four groups, given all fields for every lane.
#[inline(always)]
fn quad_maxima<V: Vectors, const N: usize>(v: V, [a, b, c, d]: [[V::I32; 3]; QUAD]) -> [V::I32; N] {
    let first = if N == 1 { 2 } else { 0 };
    let mut fields = [v.splat_i32(0); N];
    for n in 0..N {
        fields[n] = v.quad_maxima([a[first + n], b[first + n], c[first + n], d[first + n]]);
    }
    fields
}

/// Stores the maxima of four groups of sixteen partial maxima each, field by field.
#[inline(always)]
fn store<V: Vectors, const N: usize>(v: V, [a, b, c, d]: [[V::I32; N]; QUAD], found: [&mut [i32; LANES]; N]) {
    for (n, found) in found.into_iter().enumerate() {
        v.store_i32(v.join_maxima([a[n], b[n], c[n], d[n]]), found);
    }
}

#[inline(always)]
fn observe<V: Vectors, const N: usize>(v: V, lanes: ExtremeLanes<V>, x: &[f32; LANES]) -> ExtremeLanes<V> {
    // Level 2 is read faster with it, too. (Groups that are read for the smallest bits alone are in level 1.)
    if N > 1 {
        cache::prefetch_ahead(x);
    }
    lanes.observe(v, x, N != 2)
}
