//! The range of every group of a tensor.

use core::iter::once;
use std::sync::Mutex;

use super::blocks::EvenGroups;
use super::columns::ColumnRanges;
use super::extremes::finite;
use super::groups::GroupRanges;
use super::tensor::{PIECE, READ, check_some, range_of};
use crate::error::Error;
use crate::exec::{Exec, Team};
use crate::isa::Isa;
use crate::params::{Granularity, Range};
use crate::simd::LANES;

/// The smallest and the largest element of every group. An empty tensor without groups has no ranges.
///
/// ```
/// use zeropoint::{Exec, Granularity, Range, ranges};
/// let rows = ranges(Exec::best()?, &[1.0, -2.0, 3.0, 4.0], Granularity::channel(&[2, 2], 0)?)?;
/// assert_eq!(rows, [Range { min: -2.0, max: 1.0 }, Range { min: 3.0, max: 4.0 }]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// # Errors
/// [`Error::Empty`] for groups without elements; [`Error::NonFinite`] with the first NaN or infinity; [`Error::Multiple`] and
/// [`Error::Shape`] when the length does not go with the granularity.
pub fn ranges<'t>(exec: impl Into<Exec<'t>>, x: &[f32], granularity: Granularity) -> Result<Vec<Range>, Error> {
    all_ranges(exec.into(), x, granularity)
}

/// [`ranges`].
pub(crate) fn all_ranges(exec: Exec<'_>, x: &[f32], granularity: Granularity) -> Result<Vec<Range>, Error> {
    let mut ranges = vec![Range::default(); number_of_ranges(x, granularity)?];
    ranges_into(exec, x, granularity, &mut ranges)?;
    Ok(ranges)
}

/// How many [`ranges`] there are.
pub(crate) fn number_of_ranges(x: &[f32], granularity: Granularity) -> Result<usize, Error> {
    match granularity.groups(x.len())? {
        0 => Ok(0),
        groups => check_some(x).map(|_| groups),
    }
}

/// Writes [`ranges`] into a slice of their number. On an error they are anything.
pub(crate) fn ranges_into(
    exec: Exec<'_>,
    x: &[f32],
    granularity: Granularity,
    ranges: &mut [Range],
) -> Result<(), Error> {
    if x.is_empty() {
        return Ok(());
    }
    if granularity == Granularity::Tensor {
        ranges[0] = range_of(exec, x)?;
        return Ok(());
    }
    let (isa, team) = (exec.isa(), exec.team(x.len() / READ));
    let magnitude =
        if team.alone() { serial(isa, x, granularity, ranges) } else { shared(isa, &team, x, granularity, ranges) };
    finite(magnitude, x).map(drop)
}

/// Writes the ranges. Returns the bits of the largest magnitude.
fn serial(isa: Isa, x: &[f32], granularity: Granularity, ranges: &mut [Range]) -> i32 {
    match (granularity, EvenGroups::of(x, granularity)) {
        (Granularity::Channel { channels, inner: 1 }, _) => isa.run(ColumnRanges { x, channels, ranges }),
        (_, Some(groups)) => isa.run(groups.ranges(0, ranges)),
        _ => isa.run(GroupRanges { x, granularity, ranges }),
    }
}

/// [`serial`] on several threads: groups are divided if each is in one place, else the elements of all.
fn shared(isa: Isa, team: &Team<'_>, x: &[f32], granularity: Granularity, ranges: &mut [Range]) -> i32 {
    // The elements and the groups of a unit, and the granularity of some of them.
    let (unit, groups, some): (usize, usize, &(dyn Fn(usize) -> Granularity + Sync)) = match granularity {
        Granularity::Channel { channels, inner } if channels * inner < x.len() => {
            return merged(isa, team, x, granularity, ranges);
        }
        Granularity::Channel { inner, .. } => (inner, 1, &move |channels| Granularity::Channel { channels, inner }),
        Granularity::Block { length, row } if row.is_multiple_of(length) => {
            (length, 1, &move |blocks| Granularity::Block { length, row: blocks * length })
        }
        Granularity::Block { length, row } => (row, row.div_ceil(length), &move |_| granularity),
        Granularity::Tensor => unreachable!("one group is not divided"),
    };
    let units = PIECE.div_ceil(unit).next_multiple_of(LANES);
    // (The last piece has sixteen units too, so that those are read together.)
    let whole = (x.len() / unit / units).saturating_sub(1) * units;
    let (x, last_x) = x.split_at(whole * unit);
    let (ranges, last_ranges) = ranges.split_at_mut(whole * groups);
    let pieces = x.chunks(units * unit).zip(ranges.chunks_mut(units * groups)).chain(once((last_x, last_ranges)));
    // (An iterator that can be taken from both ends needs to know its length.)
    let pieces: Vec<_> = pieces.collect();
    let largest = Mutex::new(0);
    team.share(pieces.into_iter(), |(x, ranges)| {
        let magnitude = serial(isa, x, some(x.len() / unit), ranges);
        let mut largest = largest.lock().expect("integers are compared without panic");
        *largest = magnitude.max(*largest);
    });
    largest.into_inner().expect("integers are compared without panic")
}

/// [`serial`] for channels whose elements are in several places: pieces of whole channel sets, each with ranges of its own.
fn merged(isa: Isa, team: &Team<'_>, x: &[f32], granularity: Granularity, ranges: &mut [Range]) -> i32 {
    let Granularity::Channel { channels, inner } = granularity else { unreachable!("other groups are in one place") };
    let set = channels * inner;
    // A piece has sixteen sets or more, so that merging its ranges is a small part of the work.
    let piece = set * PIECE.max(16 * set).div_ceil(set);
    ranges.fill(Range { min: f32::INFINITY, max: f32::NEG_INFINITY });
    let all = Mutex::new((0, ranges));
    team.share(x.chunks(piece), |x| {
        let mut found = vec![Range::default(); channels];
        let magnitude = serial(isa, x, granularity, &mut found);
        let mut all = all.lock().expect("values are compared without panic");
        all.0 = magnitude.max(all.0);
        for (range, found) in all.1.iter_mut().zip(found) {
            *range = range.union(found);
        }
    });
    all.into_inner().expect("values are compared without panic").0
}
