//! Minimum, maximum and largest magnitude of a whole tensor.

use std::sync::Mutex;

use super::extremes::{ExtremeLanes, Extremes, finite, memory_of};
use super::vectors::magnitude_bits;
use crate::cache::prefetch_ahead;
use crate::error::Error;
use crate::exec::Exec;
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};
use crate::params::Range;
use crate::simd::memory::Memory;
use crate::simd::walk::block;
use crate::simd::{LANES, QUAD};

/// Values that a core reads in a nanosecond at most: an upper bound, so that work is shared only if every core gains by it.
pub(super) const READ: usize = 32;

/// Elements of a piece that a thread takes: 64 KiB, which level 2 holds.
pub(super) const PIECE: usize = 16 << 10;

/// The smallest and the largest element.
///
/// ```
/// use zeropoint::{Exec, Range, min_max};
/// assert_eq!(min_max(Exec::best()?, &[0.5, -2.0, 1.0])?, Range { min: -2.0, max: 1.0 });
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`]; [`Error::NonFinite`] with the first NaN or infinity.
pub fn min_max<'t>(exec: impl Into<Exec<'t>>, x: &[f32]) -> Result<Range, Error> {
    range_of(exec.into(), x)
}

/// The largest magnitude.
///
/// ```
/// use zeropoint::{Exec, abs_max};
/// assert_eq!(abs_max(Exec::best()?, &[0.5, -2.0, 1.0])?, 2.0);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`]; [`Error::NonFinite`] with the first NaN or infinity.
pub fn abs_max<'t>(exec: impl Into<Exec<'t>>, x: &[f32]) -> Result<f32, Error> {
    finite(magnitude(exec.into(), check_some(x)?), x)
}

/// [`min_max`].
pub(crate) fn range_of(exec: Exec<'_>, x: &[f32]) -> Result<Range, Error> {
    let extremes = extremes(exec, check_some(x)?);
    finite(extremes.magnitude(), x).map(|_| extremes.range())
}

/// The bits of the largest magnitude of values, of which there are some; of NaN or infinity if there is one.
pub(crate) fn magnitude(exec: Exec<'_>, x: &[f32]) -> i32 {
    let (isa, team) = (exec.isa(), exec.team(x.len() / READ));
    if team.alone() {
        return isa.run(Magnitude { x });
    }
    let all = Mutex::new(0);
    team.share(x.chunks(PIECE), |x| {
        let magnitude = isa.run(Magnitude { x });
        let mut all = all.lock().expect("integers are compared without panic");
        *all = magnitude.max(*all);
    });
    all.into_inner().expect("integers are compared without panic")
}

/// The tensor, if it has an element.
pub(super) fn check_some(x: &[f32]) -> Result<&[f32], Error> {
    if x.is_empty() { Err(Error::Empty { what: "the tensor", group: None }) } else { Ok(x) }
}

fn extremes(exec: Exec<'_>, x: &[f32]) -> Extremes {
    let (isa, team) = (exec.isa(), exec.team(x.len() / READ));
    let beyond = memory_of(x) != Memory::Cached;
    if team.alone() {
        return extremes_of(isa, x, beyond);
    }
    let all = Mutex::new(Extremes::NONE);
    team.share(x.chunks(PIECE), |x| {
        let extremes = extremes_of(isa, x, beyond);
        let mut all = all.lock().expect("integers are compared without panic");
        *all = all.merge(extremes);
    });
    all.into_inner().expect("integers are compared without panic")
}

/// The extremes of values that the caches hold, or are a part of what they do not.
fn extremes_of(isa: Isa, x: &[f32], beyond: bool) -> Extremes {
    if beyond { isa.run(TensorExtremes::<true> { x }) } else { isa.run(TensorExtremes::<false> { x }) }
}

/// The extremes of values that are BEYOND the caches, or not.
struct TensorExtremes<'a, const BEYOND: bool> {
    x: &'a [f32],
}

impl<const BEYOND: bool> Kernel for TensorExtremes<'_, BEYOND> {
    type Output = Extremes;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> Extremes {
        let lanes = ExtremeLanes::of(v, self.x, if const { BEYOND } { Memory::Beyond } else { Memory::Cached });
        let [max_as_i32, max_as_u32, inverted_min] = lanes.integers(v);
        Extremes {
            max_as_i32: v.max_of_i32(max_as_i32),
            max_as_u32: v.max_of_i32(max_as_u32),
            inverted_min: v.max_of_i32(inverted_min),
        }
    }
}

/// The bits of the largest magnitude.
struct Magnitude<'a> {
    x: &'a [f32],
}

impl Kernel for Magnitude<'_> {
    type Output = i32;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> i32 {
        let x = self.x;
        let (blocks, tail) = x.as_chunks::<LANES>();
        let (quads, rest) = blocks.as_chunks::<QUAD>();
        let mut largest = [v.splat_i32(0); QUAD];
        let beyond_caches = memory_of(x) != Memory::Cached;
        for quad in quads {
            if beyond_caches {
                prefetch_ahead(quad);
            }
            for j in 0..QUAD {
                largest[j] = v.max_i32(magnitude_bits(v, v.load_f32(&quad[j])), largest[j]);
            }
        }
        let [a, b, c, d] = largest;
        let mut largest = v.max_i32(v.max_i32(a, b), v.max_i32(c, d));
        for block in rest {
            largest = v.max_i32(magnitude_bits(v, v.load_f32(block)), largest);
        }
        if !tail.is_empty() {
            // (Zeros change no magnitude.)
            largest = v.max_i32(magnitude_bits(v, v.load_f32(&block(tail, 0))), largest);
        }
        v.max_of_i32(largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel for tensors beyond the caches, whose four streams are of 64 KiB each, finds an extreme wherever it is.
    #[test]
    fn beyond_the_caches() {
        let mut x: Vec<f32> = (0..200_003).map(|i: u32| (i % 1000) as f32 - 500.0).collect();
        // Before and behind the first values, each stream, and the rest.
        for at in [0, 1023, 3071, 3072, 20_000, 40_000, 60_000, 68_607, 130_000, 199_680, 200_002] {
            for extreme in [1e9, -1e9, f32::NAN, f32::NEG_INFINITY] {
                let kept = core::mem::replace(&mut x[at], extreme);
                for isa in Isa::supported() {
                    let found = extremes_of(isa, &x, true);
                    if extreme.is_finite() {
                        let range = Range { min: extreme.min(-500.0), max: extreme.max(499.0) };
                        assert_eq!(found.range(), range, "{isa} {at}");
                    }
                    let magnitude = f32::from_bits(found.magnitude() as u32);
                    assert_eq!(magnitude.is_finite(), extreme.is_finite(), "{isa} {at}");
                }
                x[at] = kept;
            }
        }
    }
}
