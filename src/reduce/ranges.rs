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
use crate::memory::Scratch;
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
        (Granularity::Block { length, axis, inner: channels @ 2.. }, _) => {
            let bands = bands(x, length, axis * channels, channels).zip(ranges.chunks_exact_mut(channels));
            bands.map(|(x, ranges)| isa.run(ColumnRanges { x, channels, ranges })).fold(0, i32::max)
        }
        (_, Some(groups)) => isa.run(groups.ranges(0, ranges)),
        _ => isa.run(GroupRanges { x, granularity, ranges }),
    }
}

/// The elements of each `length` rows of an axis, which have `unit` elements, of `inner` elements each; the last of an axis may
/// have fewer.
fn bands(x: &[f32], length: usize, unit: usize, inner: usize) -> impl Iterator<Item = &[f32]> {
    x.chunks_exact(unit).flat_map(move |x| x.chunks(length.saturating_mul(inner)))
}

/// Elements of a band that are enough for several threads.
const LONG_BAND: usize = 64 * PIECE;

/// [`serial`] on several threads: groups are divided if each is in one place, else the elements of all.
fn shared(isa: Isa, team: &Team<'_>, x: &[f32], granularity: Granularity, ranges: &mut [Range]) -> i32 {
    // The elements and the groups of a unit, and the granularity of some of them.
    let (unit, groups, some): (usize, usize, &(dyn Fn(usize) -> Granularity + Sync)) = match granularity {
        Granularity::Channel { channels, inner } if channels * inner < x.len() => {
            return merged(isa, team, x, granularity, ranges);
        }
        Granularity::Block { length, axis, inner: inner @ 2.. }
            if length.min(axis).saturating_mul(inner) >= LONG_BAND =>
        {
            let channels = Granularity::Channel { channels: inner, inner: 1 };
            let bands = bands(x, length, axis * inner, inner).zip(ranges.chunks_exact_mut(inner));
            return bands.map(|(x, ranges)| merged(isa, team, x, channels, ranges)).fold(0, i32::max);
        }
        Granularity::Channel { inner, .. } => (inner, 1, &move |channels| Granularity::Channel { channels, inner }),
        Granularity::Block { length, axis, inner } if axis.is_multiple_of(length) => {
            (length * inner, inner, &move |blocks| Granularity::Block { length, axis: blocks * length, inner })
        }
        Granularity::Block { length, axis, inner } => {
            (axis * inner, axis.div_ceil(length) * inner, &move |_| granularity)
        }
        Granularity::Tensor => unreachable!("one group is not divided"),
    };
    let units = PIECE.div_ceil(unit);
    // Short groups that follow each other are read sixteen together, those of the last piece too.
    let units = if groups == 1 { units.next_multiple_of(LANES) } else { units };
    let whole = (x.len() / unit / units).saturating_sub(1) * units;
    let (x, last_x) = x.split_at(whole * unit);
    let (ranges, last_ranges) = ranges.split_at_mut(whole * groups);
    let pieces = x.chunks(units * unit).zip(ranges.chunks_mut(units * groups)).chain(once((last_x, last_ranges)));
    let largest = Mutex::new(0);
    team.share(pieces, |(x, ranges)| {
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
        let mut memory = Scratch::default();
        let found = memory.elements::<Range>(channels);
        let magnitude = serial(isa, x, granularity, found);
        let mut all = all.lock().expect("values are compared without panic");
        all.0 = magnitude.max(all.0);
        for (range, found) in all.1.iter_mut().zip(found) {
            *range = range.union(*found);
        }
    });
    all.into_inner().expect("values are compared without panic").0
}
