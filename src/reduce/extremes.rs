//! What tells minimum and maximum of some values, as integers; and the vectors that find it.
//!
//! The bits of |x| order as |x| does, with infinity and NaN above every finite value. So one maximum of integers finds both
//! the largest value and what must be refused.

use super::vectors::ReduceVectors;
use crate::cache;
use crate::error::Error;
use crate::params::Range;
use crate::simd::memory::Memory;
use crate::simd::{LANES, QUAD};

/// The magnitude of these bits, the largest of `x`, if it is finite.
///
/// # Errors
/// [`Error::NonFinite`] with the first NaN or infinity of `x`.
pub(crate) fn finite(bits: i32, x: &[f32]) -> Result<f32, Error> {
    let largest = f32::from_bits(bits as u32);
    if largest.is_finite() {
        return Ok(largest);
    }
    Err(first_non_finite("the tensor", x).expect("the largest magnitude is not finite"))
}

/// The error that names the first NaN or infinity, if there is one.
pub(crate) fn first_non_finite(what: &'static str, x: &[f32]) -> Option<Error> {
    let index = x.iter().position(|x| !x.is_finite())?;
    Some(Error::NonFinite { what, index, found: x[index] })
}

/// Where a tensor is: whatever exceeds the last level of cache comes from memory.
pub(crate) fn memory_of(x: &[f32]) -> Memory {
    if size_of_val(x) > cache::last_level() { Memory::Beyond } else { Memory::Cached }
}

/// The bits of some values that tell their minimum and maximum.
///
/// Values without a sign order as their bits do, negative ones the other way round, and behind the others where bits are
/// unsigned. So the largest bits as i32 are the maximum if any value has no sign, the largest bits as u32 are the minimum if
/// any value has a sign; and if all have a single sign, the smallest bits as u32 are the other end of the range. Infinity and
/// NaN are above every finite value of their sign.
///
/// Each field is kept such that the field for more values is the largest one.
#[derive(Clone, Copy)]
pub(crate) struct Extremes {
    /// The largest bits as i32.
    pub max_as_i32: i32,
    /// The largest bits as u32, less 2³¹: of a negative value its magnitude is left.
    pub max_as_u32: i32,
    /// 2³¹ − 1 less the smallest bits as u32. Anything if there are values of both signs.
    pub inverted_min: i32,
}

impl Extremes {
    /// The extremes of nothing.
    pub const NONE: Extremes = Extremes { max_as_i32: i32::MIN, max_as_u32: i32::MIN, inverted_min: i32::MIN };

    #[inline(always)]
    pub fn merge(self, other: Extremes) -> Extremes {
        Extremes {
            max_as_i32: self.max_as_i32.max(other.max_as_i32),
            max_as_u32: self.max_as_u32.max(other.max_as_u32),
            inverted_min: self.inverted_min.max(other.inverted_min),
        }
    }

    /// The bits of the largest magnitude.
    #[inline(always)]
    pub fn magnitude(self) -> i32 {
        self.max_as_i32.max(self.max_as_u32)
    }

    /// The range, if all values are finite. A minimum or maximum of −0 is +0.
    #[inline(always)]
    pub fn range(self) -> Range {
        let other_end = self.inverted_min ^ i32::MAX;
        let min = if self.max_as_u32 >= 0 { self.max_as_u32 ^ i32::MIN } else { other_end };
        let max = if self.max_as_i32 >= 0 { self.max_as_i32 } else { other_end };
        // −0 + 0 = +0
        Range { min: f32::from_bits(min as u32) + 0.0, max: f32::from_bits(max as u32) + 0.0 }
    }
}

/// Writes the range of every group, whose [`Extremes`] are in these arrays, field by field. Returns the bits of the largest
/// magnitude of all.
#[inline(always)]
pub(super) fn write_ranges([max_as_i32, max_as_u32, inverted_min]: [&[i32]; 3], ranges: &mut [Range]) -> i32 {
    let (length, mut magnitude) = (ranges.len(), 0);
    let (max_as_i32, max_as_u32, inverted_min) =
        (&max_as_i32[..length], &max_as_u32[..length], &inverted_min[..length]);
    for i in 0..length {
        let extremes = Extremes { max_as_i32: max_as_i32[i], max_as_u32: max_as_u32[i], inverted_min: inverted_min[i] };
        magnitude = magnitude.max(extremes.magnitude());
        ranges[i] = extremes.range();
    }
    magnitude
}

/// Elements that are read before the first test whether there are values of both signs, from which on the smallest bits need
/// not be looked for. (A test finds the largest lanes of two vectors, which takes longer than to read one.)
pub(super) const DECIDED: usize = 1024;

/// [`Extremes`] of sixteen lanes, before what their fields are less. Where integers have no such instructions: the maximum,
/// the minimum, and the sum of x · 0 as f32; the sum is 0 as long as all values are finite.
#[derive(Clone, Copy)]
pub(super) struct ExtremeLanes<V: ReduceVectors>(pub [V::I32; 3]);

impl<V: ReduceVectors> ExtremeLanes<V> {
    /// The extremes of nothing.
    #[inline(always)]
    pub fn none(v: V) -> Self {
        let none = if V::HAS_INTEGER_MIN_MAX {
            [i32::MIN, 0, -1]
        } else {
            [f32::NEG_INFINITY.to_bits() as i32, f32::INFINITY.to_bits() as i32, 0]
        };
        ExtremeLanes([v.splat_i32(none[0]), v.splat_i32(none[1]), v.splat_i32(none[2])])
    }

    /// The extremes of a slice.
    #[inline(always)]
    pub fn of(v: V, x: &[f32], memory: Memory) -> Self {
        let (mut found, mut rest, mut length) = (ExtremeLanes::none(v), x, DECIDED);
        if const { !V::HAS_INTEGER_MIN_MAX } {
            // Minimum and maximum as floats have nothing that values of both signs make superfluous.
            return found.fold(v, x, memory, true);
        }
        loop {
            let (piece, behind) = rest.split_at(length.min(rest.len()));
            (found, rest) = (found.fold(v, piece, memory, true), behind);
            if rest.is_empty() {
                return found;
            }
            if found.has_both_signs(v) {
                return found.fold(v, rest, memory, false);
            }
            length *= 2;
        }
    }

    /// Adds a slice; without its smallest bits if the `other_end` does not matter.
    #[inline(always)]
    pub fn fold(mut self, v: V, x: &[f32], memory: Memory, other_end: bool) -> Self {
        let (blocks, tail) = x.as_chunks::<LANES>();
        let (quads, rest) = blocks.as_chunks::<QUAD>();
        if !quads.is_empty() {
            // Each of these waits for its own last result only.
            let none = ExtremeLanes::none(v);
            let mut lanes = [self, none, none, none];
            // (Two loops, so that the shorter one asks nothing.)
            if memory == Memory::Cached {
                for quad in quads {
                    observe_quad(v, &mut lanes, quad, other_end);
                }
            } else {
                cache::for_each_in_streams(
                    quads,
                    #[inline(always)]
                    |quad| observe_quad(v, &mut lanes, quad, other_end),
                );
            }
            let [a, b, c, d] = lanes;
            self = match V::UNROLL {
                1 => a,
                2 => a.merge(v, b),
                _ => a.merge(v, b).merge(v, c.merge(v, d)),
            };
        }
        for j in 0..QUAD - 1 {
            if let Some(block) = rest.get(j) {
                self = self.observe(v, block, other_end);
            }
        }
        if !tail.is_empty() {
            // The last block overlaps the one before. Fewer than sixteen elements are filled up with the first.
            let mut padded = [x[0]; LANES];
            let last = x.last_chunk().unwrap_or_else(
                #[inline(always)]
                || {
                    padded[..x.len()].copy_from_slice(x);
                    &padded
                },
            );
            self = self.observe(v, last, other_end);
        }
        self
    }

    /// Adds a block; without its smallest bits if the `other_end` does not matter.
    #[inline(always)]
    pub fn observe(self, v: V, x: &[f32; LANES], other_end: bool) -> Self {
        let ExtremeLanes([a, b, c]) = self;
        let x = v.load_f32(x);
        let bits = v.to_bits(x);
        ExtremeLanes(if V::HAS_INTEGER_MIN_MAX {
            let smallest = if other_end { v.min_u32(bits, c) } else { c };
            [v.max_i32(bits, a), v.max_u32(bits, b), smallest]
        } else {
            [
                v.to_bits(v.max_f32(x, v.of_bits(a))),
                v.to_bits(v.min_f32(x, v.of_bits(b))),
                v.to_bits(v.add_f32(v.mul_f32(x, v.splat_f32(0.0)), v.of_bits(c))),
            ]
        })
    }

    #[inline(always)]
    fn merge(self, v: V, other: Self) -> Self {
        let (ExtremeLanes([a, b, c]), ExtremeLanes([x, y, z])) = (self, other);
        ExtremeLanes(if V::HAS_INTEGER_MIN_MAX {
            [v.max_i32(a, x), v.max_u32(b, y), v.min_u32(c, z)]
        } else {
            [
                v.to_bits(v.max_f32(v.of_bits(a), v.of_bits(x))),
                v.to_bits(v.min_f32(v.of_bits(b), v.of_bits(y))),
                v.to_bits(v.add_f32(v.of_bits(c), v.of_bits(z))),
            ]
        })
    }

    /// Whether there are values with a sign and values without, in any lanes.
    #[inline(always)]
    pub fn has_both_signs(self, v: V) -> bool {
        let [max_as_i32, max_as_u32, _] = self.integers(v);
        (v.max_of_i32(max_as_i32) >= 0) & (v.max_of_i32(max_as_u32) >= 0)
    }

    /// The fields of [`Extremes`] of every lane.
    #[inline(always)]
    pub fn integers(self, v: V) -> [V::I32; 3] {
        let ExtremeLanes([mut largest, mut largest_unsigned, mut smallest]) = self;
        if !V::HAS_INTEGER_MIN_MAX {
            // NaN, of either sign, is beyond all values of its sign.
            let nan_or_zero = v.of_bits(smallest);
            largest = v.to_bits(v.add_f32(v.of_bits(largest), nan_or_zero));
            largest_unsigned = v.to_bits(v.add_f32(v.of_bits(largest_unsigned), nan_or_zero));
            smallest = v.min_u32(largest, largest_unsigned);
        }
        [largest, v.xor_i32(largest_unsigned, v.splat_i32(i32::MIN)), v.xor_i32(smallest, v.splat_i32(i32::MAX))]
    }
}

/// Adds a quad to accumulators that take turns.
#[inline(always)]
fn observe_quad<V: ReduceVectors>(
    v: V,
    lanes: &mut [ExtremeLanes<V>; QUAD],
    quad: &[[f32; LANES]; QUAD],
    other_end: bool,
) {
    for j in 0..QUAD {
        lanes[j % V::UNROLL] = lanes[j % V::UNROLL].observe(v, &quad[j], other_end);
    }
}
