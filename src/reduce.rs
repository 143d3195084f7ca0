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
    Ok(ranges(isa, x, Granularity::Tensor)?[0])
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
    let extremes = isa.run(GroupExtremes { x, granularity, groups });
    extremes.into_iter().map(|group| group.range(x)).collect()
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

/// Minimum, maximum and magnitude bits of some elements.
#[derive(Clone, Copy)]
pub(crate) struct Extremes {
    min: f32,
    max: f32,
    bits: i32,
}

impl Extremes {
    pub const NONE: Extremes = Extremes { min: f32::INFINITY, max: f32::NEG_INFINITY, bits: 0 };

    /// Those of a tensor without groups.
    #[cfg(feature = "rayon")]
    pub fn of(isa: Isa, x: &[f32]) -> Self {
        isa.run(GroupExtremes { x, granularity: Granularity::Tensor, groups: 1 })[0]
    }

    #[inline(always)]
    pub fn merge(self, other: Extremes) -> Extremes {
        Extremes {
            min: if other.min < self.min { other.min } else { self.min },
            max: if other.max > self.max { other.max } else { self.max },
            bits: self.bits.max(other.bits),
        }
    }

    pub fn range(self, x: &[f32]) -> Result<Range, Error> {
        finite(self.bits, x)?;
        // −0 + 0 = +0
        Ok(Range { min: self.min + 0.0, max: self.max + 0.0 })
    }
}

/// [`Extremes`] of sixteen lanes.
#[derive(Clone, Copy)]
struct ExtremeLanes<S: Simd> {
    min: S::F32,
    max: S::F32,
    bits: S::I32,
}

#[inline(always)]
pub(crate) fn magnitude_bits<S: Simd>(simd: S, x: S::F32) -> S::I32 {
    simd.and_i32(simd.to_bits(x), simd.splat_i32(i32::MAX))
}

impl<S: Simd> ExtremeLanes<S> {
    #[inline(always)]
    fn none(simd: S) -> Self {
        let Extremes { min, max, bits } = Extremes::NONE;
        ExtremeLanes { min: simd.splat_f32(min), max: simd.splat_f32(max), bits: simd.splat_i32(bits) }
    }

    #[inline(always)]
    fn observe(self, simd: S, x: &[f32; LANES]) -> Self {
        let x = simd.load_f32(x);
        ExtremeLanes {
            min: simd.min_f32(x, self.min),
            max: simd.max_f32(x, self.max),
            bits: simd.max_i32(magnitude_bits(simd, x), self.bits),
        }
    }

    #[inline(always)]
    fn merge(self, simd: S, other: Self) -> Self {
        ExtremeLanes {
            min: simd.min_f32(other.min, self.min),
            max: simd.max_f32(other.max, self.max),
            bits: simd.max_i32(other.bits, self.bits),
        }
    }

    #[inline(always)]
    fn lanes(self, simd: S) -> [Extremes; LANES] {
        let (mut min, mut max, mut bits) = ([0.0; LANES], [0.0; LANES], [0; LANES]);
        simd.store_f32(self.min, &mut min);
        simd.store_f32(self.max, &mut max);
        simd.store_i32(self.bits, &mut bits);
        core::array::from_fn(|i| Extremes { min: min[i], max: max[i], bits: bits[i] })
    }

    /// Those of all lanes together.
    #[inline(always)]
    fn all(self, simd: S) -> Extremes {
        let sign = simd.splat_i32(i32::MIN);
        Extremes {
            min: -max_of(simd, simd.xor_i32(simd.to_bits(self.min), sign)),
            max: max_of(simd, simd.to_bits(self.max)),
            bits: simd.max_of_i32(self.bits),
        }
    }
}

/// Bits of f32 that are no NaN, as i32 that have their order; and back.
#[inline(always)]
fn order_bits(bits: u32) -> u32 {
    bits ^ (((bits as i32) >> 31) as u32 >> 1)
}

/// The largest of sixteen f32 that have these bits.
#[inline(always)]
fn max_of<S: Simd>(simd: S, bits: S::I32) -> f32 {
    let signs = simd.shift_right(bits, simd.splat_i32(31));
    let ordered = simd.xor_i32(bits, simd.and_i32(signs, simd.splat_i32(i32::MAX)));
    f32::from_bits(order_bits(simd.max_of_i32(ordered) as u32))
}

/// Where a tensor is.
fn memory_of(x: &[f32]) -> Memory {
    if size_of_val(x) > arch::last_level() { Memory::Beyond } else { Memory::Cached }
}

struct GroupExtremes<'a> {
    x: &'a [f32],
    granularity: Granularity,
    groups: usize,
}

impl Kernel for GroupExtremes<'_> {
    type Output = Vec<Extremes>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Vec<Extremes> {
        let GroupExtremes { x, granularity, groups } = self;
        let mut extremes = vec![Extremes::NONE; groups];
        if let Granularity::Channel { channels, inner: 1 } = granularity {
            // Neighbours belong to different channels: sixteen channels at a time, row by row.
            for (i, group) in extremes.chunks_mut(LANES).enumerate() {
                let mut lanes = ExtremeLanes::none(simd);
                for row in x.chunks_exact(channels) {
                    lanes = lanes.observe(simd, &block(row, i * LANES));
                }
                group.copy_from_slice(&lanes.lanes(simd)[..group.len()]);
            }
            return extremes;
        }
        let memory = memory_of(x);
        for Run { group, start, end } in granularity.runs(0, x.len()) {
            // Each waits for its own last result only.
            let mut lanes = [ExtremeLanes::none(simd); FOUR];
            fold_blocks(
                &x[start..end],
                memory,
                #[inline(always)]
                |j, x| lanes[j % S::CHAINS] = lanes[j % S::CHAINS].observe(simd, x),
            );
            let [a, b, c, d] = lanes;
            let lanes = a.merge(simd, b).merge(simd, c.merge(simd, d));
            let group = &mut extremes[group];
            *group = group.merge(lanes.all(simd));
        }
        extremes
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
