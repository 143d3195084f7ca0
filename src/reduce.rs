//! Minimum and maximum of real numbers, by tensor or by group: what scales are made of.
//!
//! All are found as integers: the bits of |x| order as |x| does, with infinity and NaN above every finite number, so one
//! maximum finds both the largest and what must be refused. A minimum or maximum of ±0 is +0, whatever the order of the
//! elements.

mod blocks;
mod columns;
pub(crate) mod vectors;

use crate::cache;
use crate::error::Error;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::memory::Workspace;
use crate::params::{Granularity, Range, Run};
use crate::simd::memory::Memory;
use crate::simd::walk::fold_blocks;
use crate::simd::{LANES, QUAD};
pub(crate) use blocks::EvenGroups;
use columns::ColumnRanges;

/// The smallest and the largest element.
///
/// ```
/// use zeropoint::{Isa, Range, min_max};
/// assert_eq!(min_max(Isa::best()?, &[0.5, -2.0, 1.0])?, Range { min: -2.0, max: 1.0 });
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`]; [`Error::NonFinite`] with the first NaN or infinity.
pub fn min_max(isa: Isa, x: &[f32]) -> Result<Range, Error> {
    if x.is_empty() {
        return Err(Error::Empty { what: "the tensor" });
    }
    Extremes::of(isa, x).range(x)
}

/// The smallest and the largest element of every group.
///
/// ```
/// use zeropoint::{Granularity, Isa, Range, ranges};
/// let rows = ranges(Isa::best()?, &[1.0, -2.0, 3.0, 4.0], Granularity::channel(&[2, 2], 0)?)?;
/// assert_eq!(rows, [Range { min: -2.0, max: 1.0 }, Range { min: 3.0, max: 4.0 }]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`min_max`], and [`Error::Multiple`] when the length does not go with the granularity.
pub fn ranges(isa: Isa, x: &[f32], granularity: Granularity) -> Result<Vec<Range>, Error> {
    let mut ranges = vec![Range::default(); number_of_ranges(x, granularity)?];
    ranges_into(isa, x, granularity, &mut ranges)?;
    Ok(ranges)
}

/// How many [`ranges`] there are.
pub(crate) fn number_of_ranges(x: &[f32], granularity: Granularity) -> Result<usize, Error> {
    let groups = granularity.groups(x.len())?;
    if x.is_empty() { Err(Error::Empty { what: "the tensor" }) } else { Ok(groups) }
}

/// Writes [`ranges`], for which there is room. On an error they are anything.
pub(crate) fn ranges_into(isa: Isa, x: &[f32], granularity: Granularity, ranges: &mut [Range]) -> Result<(), Error> {
    let magnitude = match (granularity, EvenGroups::of(x, granularity)) {
        (Granularity::Tensor, _) => {
            ranges[0] = min_max(isa, x)?;
            return Ok(());
        }
        (Granularity::Channel { channels, inner: 1 }, _) => isa.run(ColumnRanges { x, channels, ranges }),
        (_, Some(groups)) => isa.run(groups.ranges(0, ranges)),
        _ => isa.run(GroupRanges { x, granularity, ranges }),
    };
    finite(magnitude, x).map(drop)
}

/// The largest magnitude.
///
/// ```
/// use zeropoint::{Isa, abs_max};
/// assert_eq!(abs_max(Isa::best()?, &[0.5, -2.0, 1.0])?, 2.0);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// As [`min_max`].
pub fn abs_max(isa: Isa, x: &[f32]) -> Result<f32, Error> {
    if x.is_empty() {
        return Err(Error::Empty { what: "the tensor" });
    }
    finite(isa.run(AbsMax { x }), x)
}

/// The number of these magnitude bits, if it is one.
pub(crate) fn finite(bits: i32, x: &[f32]) -> Result<f32, Error> {
    let largest = f32::from_bits(bits as u32);
    if largest.is_finite() {
        return Ok(largest);
    }
    let found = x.iter().copied().find(|x| !x.is_finite()).expect("the largest magnitude is not finite");
    Err(Error::NonFinite { what: "the tensor", found })
}

/// What tells minimum and maximum of some elements, of their bits as integers. Numbers without a sign order as their bits do,
/// negative ones the other way round, and behind them where bits are unsigned. So the largest signed bits are the maximum if
/// any number has no sign, the largest unsigned ones the minimum if any has one; and if all are of one kind, the smallest
/// unsigned bits are the other end. Infinity and NaN are above every finite number of either kind.
///
/// All three are kept such that those of more elements are the largest of each.
#[derive(Clone, Copy)]
pub(crate) struct Extremes {
    /// The largest bits, signed.
    signed: i32,
    /// The largest bits, unsigned, − 2³¹: what is left of a negative number is its magnitude.
    unsigned: i32,
    /// 2³¹ − 1 − the smallest bits, unsigned. Anything if there are numbers of both kinds.
    smallest: i32,
}

impl Extremes {
    #[cfg(feature = "rayon")]
    pub const NONE: Extremes = Extremes { signed: i32::MIN, unsigned: i32::MIN, smallest: i32::MIN };

    /// Those of a tensor without groups.
    pub fn of(isa: Isa, x: &[f32]) -> Self {
        isa.run(TensorExtremes { x })
    }

    #[inline(always)]
    pub fn merge(self, other: Extremes) -> Extremes {
        Extremes {
            signed: self.signed.max(other.signed),
            unsigned: self.unsigned.max(other.unsigned),
            smallest: self.smallest.max(other.smallest),
        }
    }

    pub fn range(self, x: &[f32]) -> Result<Range, Error> {
        finite(self.magnitude(), x).map(|_| self.of_finite())
    }

    /// The bits of the largest magnitude.
    #[inline(always)]
    fn magnitude(self) -> i32 {
        self.signed.max(self.unsigned)
    }

    /// The range, if all are numbers.
    #[inline(always)]
    fn of_finite(self) -> Range {
        let other_end = self.smallest ^ i32::MAX;
        let min = if self.unsigned >= 0 { self.unsigned ^ i32::MIN } else { other_end };
        let max = if self.signed >= 0 { self.signed } else { other_end };
        // −0 + 0 = +0
        Range { min: f32::from_bits(min as u32) + 0.0, max: f32::from_bits(max as u32) + 0.0 }
    }
}

#[inline(always)]
pub(crate) fn magnitude_bits<S: Vectors>(simd: S, x: S::F32) -> S::I32 {
    simd.and_i32(simd.to_bits(x), simd.splat_i32(i32::MAX))
}

/// [`Extremes`] of sixteen lanes, the bits as they are. Where integers have no such instructions: the maximum, the minimum, and
/// the sum of x · 0, which is 0 as long as all are numbers.
#[derive(Clone, Copy)]
struct ExtremeLanes<S: Vectors>([S::I32; 3]);

impl<S: Vectors> ExtremeLanes<S> {
    #[inline(always)]
    fn none(simd: S) -> Self {
        let none = if S::HAS_INTEGER_MIN_MAX {
            [i32::MIN, 0, -1]
        } else {
            [f32::NEG_INFINITY, f32::INFINITY, 0.0].map(|x| x.to_bits() as i32)
        };
        ExtremeLanes([simd.splat_i32(none[0]), simd.splat_i32(none[1]), simd.splat_i32(none[2])])
    }

    /// Those of elements that lie together.
    #[inline(always)]
    fn of(simd: S, x: &[f32], memory: Memory) -> Self {
        let (first, mut rest) = x.split_at(DECIDED.min(x.len()));
        let mut found = ExtremeLanes::none(simd).fold(simd, first, memory, true);
        let mut length = DECIDED;
        while !rest.is_empty() {
            if found.has_both(simd) {
                // There is no other end.
                return found.fold(simd, rest, memory, false);
            }
            length *= 2;
            let (piece, behind) = rest.split_at(length.min(rest.len()));
            (found, rest) = (found.fold(simd, piece, memory, true), behind);
        }
        found
    }

    /// Those of some elements more; without the smallest bits if nobody asks for the `other_end`.
    #[inline(always)]
    fn fold(mut self, simd: S, x: &[f32], memory: Memory, other_end: bool) -> Self {
        if x.len() < QUAD * LANES {
            fold_blocks(
                x,
                memory,
                #[inline(always)]
                |_, x| self = self.observe(simd, x, other_end),
            );
            return self;
        }
        // Each waits for its own last result only.
        let none = ExtremeLanes::none(simd);
        let mut lanes = [self, none, none, none];
        fold_blocks(
            x,
            memory,
            #[inline(always)]
            |j, x| lanes[j % S::UNROLL] = lanes[j % S::UNROLL].observe(simd, x, other_end),
        );
        let [a, b, c, d] = lanes;
        match S::UNROLL {
            1 => a,
            2 => a.merge(simd, b),
            _ => a.merge(simd, b).merge(simd, c.merge(simd, d)),
        }
    }

    #[inline(always)]
    fn observe(self, simd: S, x: &[f32; LANES], other_end: bool) -> Self {
        let ExtremeLanes([a, b, c]) = self;
        let x = simd.load_f32(x);
        let bits = simd.to_bits(x);
        ExtremeLanes(if S::HAS_INTEGER_MIN_MAX {
            let smallest = if other_end { simd.min_u32(bits, c) } else { c };
            [simd.max_i32(bits, a), simd.max_u32(bits, b), smallest]
        } else {
            [
                simd.to_bits(simd.max_f32(x, simd.of_bits(a))),
                simd.to_bits(simd.min_f32(x, simd.of_bits(b))),
                simd.to_bits(simd.add_f32(simd.mul_f32(x, simd.splat_f32(0.0)), simd.of_bits(c))),
            ]
        })
    }

    #[inline(always)]
    fn merge(self, simd: S, other: Self) -> Self {
        let (ExtremeLanes([a, b, c]), ExtremeLanes([x, y, z])) = (self, other);
        ExtremeLanes(if S::HAS_INTEGER_MIN_MAX {
            [simd.max_i32(a, x), simd.max_u32(b, y), simd.min_u32(c, z)]
        } else {
            [
                simd.to_bits(simd.max_f32(simd.of_bits(a), simd.of_bits(x))),
                simd.to_bits(simd.min_f32(simd.of_bits(b), simd.of_bits(y))),
                simd.to_bits(simd.add_f32(simd.of_bits(c), simd.of_bits(z))),
            ]
        })
    }

    /// Whether there are numbers with a sign and numbers without.
    #[inline(always)]
    fn has_both(self, simd: S) -> bool {
        let [signed, unsigned, _] = self.integers(simd);
        (simd.max_of_i32(signed) >= 0) & (simd.max_of_i32(unsigned) >= 0)
    }

    /// As they are in [`Extremes`].
    #[inline(always)]
    fn integers(self, simd: S) -> [S::I32; 3] {
        let ExtremeLanes([mut signed, mut unsigned, mut smallest]) = self;
        if !S::HAS_INTEGER_MIN_MAX {
            // NaN, of either sign, is beyond all numbers of one kind.
            let not_a_number = simd.of_bits(smallest);
            signed = simd.to_bits(simd.add_f32(simd.of_bits(signed), not_a_number));
            unsigned = simd.to_bits(simd.add_f32(simd.of_bits(unsigned), not_a_number));
            smallest = simd.min_u32(signed, unsigned);
        }
        [signed, simd.xor_i32(unsigned, simd.splat_i32(i32::MIN)), simd.xor_i32(smallest, simd.splat_i32(i32::MAX))]
    }
}

/// As many elements are looked at before it is asked whether they have numbers of both kinds.
const DECIDED: usize = 1024;

/// Where a tensor is.
pub(crate) fn memory_of(x: &[f32]) -> Memory {
    if size_of_val(x) > cache::last_level() { Memory::Beyond } else { Memory::Cached }
}

struct TensorExtremes<'a> {
    x: &'a [f32],
}

impl Kernel for TensorExtremes<'_> {
    type Output = Extremes;

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) -> Extremes {
        let [signed, unsigned, smallest] = ExtremeLanes::of(simd, self.x, memory_of(self.x)).integers(simd);
        Extremes {
            signed: simd.max_of_i32(signed),
            unsigned: simd.max_of_i32(unsigned),
            smallest: simd.max_of_i32(smallest),
        }
    }
}

struct GroupRanges<'a> {
    x: &'a [f32],
    granularity: Granularity,
    ranges: &'a mut [Range],
}

/// Integers of up to sixteen groups that follow each other, sixteen lanes of each.
struct Batch<S: Vectors> {
    integers: [[S::I32; LANES]; 3],
    first: usize,
    groups: usize,
}

impl<S: Vectors> Batch<S> {
    #[inline(always)]
    fn push(&mut self, simd: S, lanes: ExtremeLanes<S>) {
        for (all, integers) in self.integers.iter_mut().zip(lanes.integers(simd)) {
            all[self.groups] = integers;
        }
        self.groups += 1;
    }

    /// Adds the largest lanes to what was found of the groups before, and begins with another group.
    #[inline(always)]
    fn flush(&mut self, simd: S, found: &mut [&mut [i32]; 3], next: usize) {
        let [signed, unsigned, smallest] = self.integers;
        let [of_signed, of_unsigned, of_smallest] = found;
        let [signed, unsigned] = simd.max_of_each(
            #[inline(always)]
            |i| [signed[i], unsigned[i]],
        );
        self.keep(simd, signed, of_signed);
        self.keep(simd, unsigned, of_unsigned);
        // The other end counts where one of both is negative.
        if simd.any_negative(simd.min_i32(signed, unsigned)) {
            let [smallest] = simd.max_of_each(
                #[inline(always)]
                |i| [smallest[i]],
            );
            self.keep(simd, smallest, of_smallest);
        }
        (self.first, self.groups) = (next, 0);
    }

    #[inline(always)]
    fn keep(&self, simd: S, largest: S::I32, found: &mut [i32]) {
        let found = &mut found[self.first..][..self.groups];
        match found.first_chunk_mut() {
            Some(found) => simd.store_i32(simd.max_i32(simd.load_i32(found), largest), found),
            None => {
                let mut each = [0; LANES];
                simd.store_i32(largest, &mut each);
                found.iter_mut().zip(each).for_each(|(found, largest)| *found = largest.max(*found));
            }
        }
    }
}

impl Kernel for GroupRanges<'_> {
    /// The largest magnitude of all.
    type Output = i32;

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) -> i32 {
        let GroupRanges { x, granularity, ranges } = self;
        let memory = memory_of(x);
        let mut workspace = Workspace::default();
        let found = workspace.elements(3 * ranges.len());
        found.fill(i32::MIN);
        let (signed, rest) = found.split_at_mut(ranges.len());
        let (unsigned, smallest) = rest.split_at_mut(ranges.len());
        let mut found = [signed, unsigned, smallest];
        let mut batch = Batch { integers: [[simd.splat_i32(0); LANES]; 3], first: 0, groups: 0 };
        for Run { group, start, end } in granularity.grouping().runs(0, x.len()) {
            if batch.groups == LANES || group != batch.first + batch.groups {
                batch.flush(simd, &mut found, group);
            }
            batch.push(simd, ExtremeLanes::of(simd, &x[start..end], memory));
        }
        batch.flush(simd, &mut found, 0);
        ranges_of([found[0], found[1], found[2]], ranges)
    }
}

/// Writes the range of every group, whose [`Extremes`] these are. Returns the largest magnitude of all.
#[inline(always)]
fn ranges_of([signed, unsigned, smallest]: [&[i32]; 3], ranges: &mut [Range]) -> i32 {
    let mut magnitude = 0;
    for (((range, &signed), &unsigned), &smallest) in ranges.iter_mut().zip(signed).zip(unsigned).zip(smallest) {
        let extremes = Extremes { signed, unsigned, smallest };
        magnitude = magnitude.max(extremes.magnitude());
        *range = extremes.of_finite();
    }
    magnitude
}

/// The bits of the largest magnitude of numbers, of which there are some.
pub(crate) struct AbsMax<'a> {
    pub x: &'a [f32],
}

impl Kernel for AbsMax<'_> {
    type Output = i32;

    #[inline(always)]
    fn run<S: Vectors>(self, simd: S) -> i32 {
        let mut largest = [simd.splat_i32(0); QUAD];
        fold_blocks(
            self.x,
            memory_of(self.x),
            #[inline(always)]
            |j, x| largest[j] = simd.max_i32(magnitude_bits(simd, simd.load_f32(x)), largest[j]),
        );
        let [a, b, c, d] = largest;
        let mut lanes = [0; LANES];
        simd.store_i32(simd.max_i32(simd.max_i32(a, b), simd.max_i32(c, d)), &mut lanes);
        lanes.into_iter().fold(0, i32::max)
    }
}
