//! Minimum and maximum of real numbers, by tensor or by group: what scales are made of.
//!
//! The largest magnitude is found as an integer: the bits of |x| order as |x| does, with infinity and NaN above every
//! finite number, so one maximum finds both it and what must be refused. A minimum or maximum of ±0 is +0, whatever the
//! order of the elements.

use crate::arch;
use crate::error::Error;
use crate::isa::Isa;
use crate::params::{Granularity, Range, Run};
use crate::simd::{FOUR, Kernel, LANES, Memory, Simd, block, fold_blocks};

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
    let groups = granularity.groups(x.len())?;
    if x.is_empty() {
        return Err(Error::Empty { what: "the tensor" });
    }
    if granularity == Granularity::Tensor {
        return Ok(vec![min_max(isa, x)?]);
    }
    let (ranges, magnitude) = isa.run(GroupRanges { x, granularity, groups });
    finite(magnitude, x).map(|_| ranges)
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
fn finite(bits: i32, x: &[f32]) -> Result<f32, Error> {
    let largest = f32::from_bits(bits as u32);
    if largest.is_finite() {
        return Ok(largest);
    }
    let found = x.iter().copied().find(|x| !x.is_finite()).expect("the largest magnitude is not finite");
    Err(Error::NonFinite { what: "the tensor", found })
}

/// Minimum, maximum and magnitude of some elements, as integers that have the order of f32: of −min, of max, and of the
/// magnitude. So those of more elements are the largest of each.
#[derive(Clone, Copy)]
pub(crate) struct Extremes {
    negated_min: i32,
    max: i32,
    magnitude: i32,
}

impl Extremes {
    #[cfg(feature = "rayon")]
    pub const NONE: Extremes = Extremes { negated_min: i32::MIN, max: i32::MIN, magnitude: 0 };

    /// Those of a tensor without groups.
    pub fn of(isa: Isa, x: &[f32]) -> Self {
        isa.run(TensorExtremes { x })
    }

    #[cfg(feature = "rayon")]
    pub fn merge(self, other: Extremes) -> Extremes {
        Extremes {
            negated_min: self.negated_min.max(other.negated_min),
            max: self.max.max(other.max),
            magnitude: self.magnitude.max(other.magnitude),
        }
    }

    pub fn range(self, x: &[f32]) -> Result<Range, Error> {
        finite(self.magnitude, x).map(|_| range_of(self.negated_min, self.max))
    }
}

/// The range of these integers.
#[inline(always)]
fn range_of(negated_min: i32, max: i32) -> Range {
    // −0 + 0 = +0
    Range { min: -f32_of(negated_min) + 0.0, max: f32_of(max) + 0.0 }
}

/// The number that an integer in the order of f32 stands for.
#[inline(always)]
fn f32_of(ordered: i32) -> f32 {
    f32::from_bits((ordered ^ ((ordered >> 31) & i32::MAX)) as u32)
}

/// The integers of f32 with these bits.
#[inline(always)]
fn ordered<S: Simd>(simd: S, bits: S::I32) -> S::I32 {
    let signs = simd.shift_right(bits, simd.splat_i32(31));
    simd.xor_i32(bits, simd.and_i32(signs, simd.splat_i32(i32::MAX)))
}

#[inline(always)]
pub(crate) fn magnitude_bits<S: Simd>(simd: S, x: S::F32) -> S::I32 {
    simd.and_i32(simd.to_bits(x), simd.splat_i32(i32::MAX))
}

/// Extremes of sixteen lanes.
#[derive(Clone, Copy)]
struct ExtremeLanes<S: Simd> {
    min: S::F32,
    max: S::F32,
    magnitude: S::I32,
}

impl<S: Simd> ExtremeLanes<S> {
    #[inline(always)]
    fn none(simd: S) -> Self {
        let (min, max) = (simd.splat_f32(f32::INFINITY), simd.splat_f32(f32::NEG_INFINITY));
        ExtremeLanes { min, max, magnitude: simd.splat_i32(0) }
    }

    /// Those of elements that lie together.
    #[inline(always)]
    fn of(simd: S, x: &[f32], memory: Memory) -> Self {
        if x.len() < FOUR * LANES {
            let mut lanes = ExtremeLanes::none(simd);
            fold_blocks(
                x,
                memory,
                #[inline(always)]
                |_, x| lanes = lanes.observe(simd, x),
            );
            return lanes;
        }
        let mut lanes = [ExtremeLanes::none(simd); FOUR];
        // Each waits for its own last result only.
        fold_blocks(
            x,
            memory,
            #[inline(always)]
            |j, x| lanes[j % S::CHAINS] = lanes[j % S::CHAINS].observe(simd, x),
        );
        let [a, b, c, d] = lanes;
        a.merge(simd, b).merge(simd, c.merge(simd, d))
    }

    #[inline(always)]
    fn observe(self, simd: S, x: &[f32; LANES]) -> Self {
        let x = simd.load_f32(x);
        ExtremeLanes {
            min: simd.min_f32(x, self.min),
            max: simd.max_f32(x, self.max),
            magnitude: simd.max_i32(magnitude_bits(simd, x), self.magnitude),
        }
    }

    #[inline(always)]
    fn merge(self, simd: S, other: Self) -> Self {
        ExtremeLanes {
            min: simd.min_f32(other.min, self.min),
            max: simd.max_f32(other.max, self.max),
            magnitude: simd.max_i32(other.magnitude, self.magnitude),
        }
    }

    /// As the integers of [`Extremes`].
    #[inline(always)]
    fn integers(self, simd: S) -> [S::I32; 3] {
        let negated_min = simd.xor_i32(simd.to_bits(self.min), simd.splat_i32(i32::MIN));
        [ordered(simd, negated_min), ordered(simd, simd.to_bits(self.max)), self.magnitude]
    }
}

/// Where a tensor is.
fn memory_of(x: &[f32]) -> Memory {
    if size_of_val(x) > arch::last_level() { Memory::Beyond } else { Memory::Cached }
}

struct TensorExtremes<'a> {
    x: &'a [f32],
}

impl Kernel for TensorExtremes<'_> {
    type Output = Extremes;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Extremes {
        let [negated_min, max, magnitude] = ExtremeLanes::of(simd, self.x, memory_of(self.x)).integers(simd);
        Extremes {
            negated_min: simd.max_of_i32(negated_min),
            max: simd.max_of_i32(max),
            magnitude: simd.max_of_i32(magnitude),
        }
    }
}

struct GroupRanges<'a> {
    x: &'a [f32],
    granularity: Granularity,
    groups: usize,
}

/// Integers of up to sixteen groups that follow each other, sixteen lanes of each.
struct Batch<S: Simd> {
    integers: [[S::I32; LANES]; 3],
    first: usize,
    groups: usize,
}

impl<S: Simd> Batch<S> {
    /// Adds the largest lanes to what was found of the groups before, and begins with another group.
    #[inline(always)]
    fn flush(&mut self, simd: S, found: &mut [Vec<i32>; 3], next: usize) {
        for (integers, found) in self.integers.iter().zip(found) {
            let largest = simd.max_of_each_i32(*integers);
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
        (self.first, self.groups) = (next, 0);
    }
}

impl Kernel for GroupRanges<'_> {
    /// The range of every group, and the largest magnitude of all.
    type Output = (Vec<Range>, i32);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (Vec<Range>, i32) {
        let GroupRanges { x, granularity, groups } = self;
        let mut found = [vec![i32::MIN; groups], vec![i32::MIN; groups], vec![0; groups]];
        if let Granularity::Channel { channels, inner: 1 } = granularity {
            // Neighbours belong to different channels: sixteen channels at a time, row by row.
            for i in (0..channels).step_by(LANES) {
                let mut lanes = ExtremeLanes::none(simd);
                for row in x.chunks_exact(channels) {
                    lanes = lanes.observe(simd, &block(row, i));
                }
                for (integers, found) in lanes.integers(simd).into_iter().zip(&mut found) {
                    let mut each = [0; LANES];
                    simd.store_i32(integers, &mut each);
                    let found = &mut found[i..channels.min(i + LANES)];
                    found.copy_from_slice(&each[..found.len()]);
                }
            }
        } else {
            let memory = memory_of(x);
            let mut batch = Batch { integers: [[simd.splat_i32(0); LANES]; 3], first: 0, groups: 0 };
            for Run { group, start, end } in granularity.runs(0, x.len()) {
                if batch.groups == LANES || group != batch.first + batch.groups {
                    batch.flush(simd, &mut found, group);
                }
                let integers = ExtremeLanes::of(simd, &x[start..end], memory).integers(simd);
                for (all, integers) in batch.integers.iter_mut().zip(integers) {
                    all[batch.groups] = integers;
                }
                batch.groups += 1;
            }
            batch.flush(simd, &mut found, 0);
        }
        let [negated_min, max, magnitude] = found;
        let ranges = negated_min.iter().zip(&max).map(
            #[inline(always)]
            |(&negated_min, &max)| range_of(negated_min, max),
        );
        (ranges.collect(), magnitude.into_iter().fold(0, i32::max))
    }
}

struct AbsMax<'a> {
    x: &'a [f32],
}

impl Kernel for AbsMax<'_> {
    type Output = i32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> i32 {
        let mut largest = [simd.splat_i32(0); FOUR];
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
