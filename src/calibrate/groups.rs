//! Observers for the groups of a tensor in memory.

use super::observer::{Observer, nothing_seen_of};
use crate::error::Error;
use crate::exec::Exec;
use crate::params::{Granularity, Range};
use crate::reduce::extremes::first_non_finite;

/// Values that a core counts in a nanosecond at most: an upper bound, so that work is shared only if every core gains by
/// it.
const COUNTED: usize = 4;

/// The range of every group of a tensor, each seen by an observer of its own that begins as this one.
///
/// A thread has one observer at a time, and the elements of a group where they are in several places.
///
/// # Errors
/// [`Error::Empty`] for groups without elements, or whose elements are all skipped; [`Error::NonFinite`] with the first NaN
/// or infinity, unless they are skipped; [`Error::Multiple`] and [`Error::Shape`] when the length does not go with the
/// granularity or the samples.
pub fn group_ranges<'t, O: Observer + Clone + Sync>(
    exec: impl Into<Exec<'t>>,
    x: &[f32],
    granularity: Granularity,
    observer: &O,
) -> Result<Vec<Range>, Error> {
    each_group(exec.into(), x, granularity, &|exec, group| {
        let mut observer = observer.clone();
        observer.observe(exec, group)?;
        observer.range()
    })
}

/// The range of a group on these threads.
type RangeOf<'a> = &'a (dyn Fn(Exec<'_>, &[f32]) -> Result<Range, Error> + Sync);

fn each_group(exec: Exec<'_>, x: &[f32], granularity: Granularity, range_of: RangeOf<'_>) -> Result<Vec<Range>, Error> {
    let groups = granularity.groups(x.len())?;
    if groups == 0 {
        return Ok(Vec::new());
    }
    if x.is_empty() {
        return Err(Error::Empty { what: "the tensor", group: None });
    }
    let mut ranges = vec![Ok(Range::default()); groups];
    share_groups(exec, x.len() / COUNTED, &mut ranges, |exec, group, range| {
        *range = range_of(exec, &elements_of(x, granularity, group));
    });
    // An observer knows the elements of its group only.
    let of_the_tensor = |(group, range): (usize, Result<Range, Error>)| {
        range.map_err(|error| match error {
            Error::NonFinite { .. } => first_non_finite("the tensor", x).unwrap_or(error),
            Error::Empty { .. } if groups > 1 => nothing_seen_of(group),
            other => other,
        })
    };
    ranges.into_iter().enumerate().map(of_the_tensor).collect()
}

/// Calls `of_group(exec, group, result)` for every group, of which all take the calling thread alone at least
/// `nanoseconds`.
pub(super) fn share_groups<T: Send>(
    exec: Exec<'_>,
    nanoseconds: usize,
    results: &mut [T],
    of_group: impl Fn(Exec<'_>, usize, &mut T) + Sync,
) {
    let groups = results.len();
    let each = results.iter_mut().enumerate();
    if groups < 2 * exec.threads() {
        // Few groups are better divided themselves.
        each.for_each(|(group, result)| of_group(exec, group, result));
    } else {
        exec.team(nanoseconds).share(each, |(group, result)| of_group(exec.serial(), group, result));
    }
}

/// The elements of a group.
pub(super) fn elements_of(x: &[f32], granularity: Granularity, group: usize) -> std::borrow::Cow<'_, [f32]> {
    match granularity {
        Granularity::Tensor => x.into(),
        Granularity::Channel { channels, inner } if x.len() == channels * inner => x[group * inner..][..inner].into(),
        Granularity::Channel { channels, inner } => {
            let mut elements = Vec::with_capacity(x.len() / channels);
            for set in x.chunks_exact(channels * inner) {
                elements.extend_from_slice(&set[group * inner..][..inner]);
            }
            elements.into()
        }
        Granularity::Block { length, axis, inner } => {
            let blocks = axis.div_ceil(length);
            let (block, column) = (group / inner, group % inner);
            let (rows, start) = (&x[block / blocks * axis * inner..][..axis * inner], block % blocks * length);
            let rows = &rows[start * inner..axis.min(start.saturating_add(length)) * inner];
            if inner == 1 { rows.into() } else { rows[column..].iter().copied().step_by(inner).collect() }
        }
    }
}
