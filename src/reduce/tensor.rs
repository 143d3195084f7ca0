//! Minimum, maximum and largest magnitude of a whole tensor.

use std::sync::Mutex;

use super::extremes::{ExtremeLanes, Extremes, finite, memory_of};
use crate::error::Error;
use crate::exec::Exec;
use crate::kernel::{Kernel, Vectors};
use crate::params::Range;

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
    let extremes = extremes(exec, check_some(x)?, true);
    finite(extremes.magnitude(), x).map(|_| extremes.range())
}

/// The bits of the largest magnitude; of NaN or infinity if there is one.
pub(crate) fn magnitude(exec: Exec<'_>, x: &[f32]) -> i32 {
    extremes(exec, x, false).magnitude()
}

/// The tensor, if it has an element.
pub(super) fn check_some(x: &[f32]) -> Result<&[f32], Error> {
    if x.is_empty() { Err(Error::Empty { what: "the tensor" }) } else { Ok(x) }
}

fn extremes(exec: Exec<'_>, x: &[f32], other_end: bool) -> Extremes {
    let (isa, team) = (exec.isa(), exec.team(x.len() / READ));
    if team.alone() {
        return isa.run(TensorExtremes { x, other_end });
    }
    let all = Mutex::new(Extremes::NONE);
    team.share(x.chunks(PIECE), |x| {
        let extremes = isa.run(TensorExtremes { x, other_end });
        let mut all = all.lock().expect("integers are compared without panic");
        *all = all.merge(extremes);
    });
    all.into_inner().expect("integers are compared without panic")
}

struct TensorExtremes<'a> {
    x: &'a [f32],
    /// Whether the smallest bits matter: not to the largest magnitude.
    other_end: bool,
}

impl Kernel for TensorExtremes<'_> {
    type Output = Extremes;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> Extremes {
        let TensorExtremes { x, other_end } = self;
        let memory = memory_of(x);
        let lanes =
            if other_end { ExtremeLanes::of(v, x, memory) } else { ExtremeLanes::none(v).fold(v, x, memory, false) };
        let [max_as_i32, max_as_u32, inverted_min] = lanes.integers(v);
        Extremes {
            max_as_i32: v.max_of_i32(max_as_i32),
            max_as_u32: v.max_of_i32(max_as_u32),
            inverted_min: v.max_of_i32(inverted_min),
        }
    }
}
