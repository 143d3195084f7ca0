//! How kernels walk over elements whose groups alternate: in stretches, each with one row of parameters.

use super::granularity::Grouping;
use super::storage::{LONG_ROW, Params, RowParams};
use crate::memory::Scratch;
use crate::simd::{LANES, QUAD};

/// Neighbouring elements, and their parameters as vectors.
pub(crate) struct Stretch<'a> {
    /// Elements `start .. end`, counted from the first of all.
    pub start: usize,
    pub end: usize,
    /// The place of the first element's parameters in the row.
    pub channel: usize,
    /// The length of the row, behind which it begins again.
    pub period: usize,
    pub params: RowParams<'a>,
}

/// The stretches of some elements, in order. Interleaved channels are one.
///
/// A band is one, too, with a copy of its parameters that repeats as those of interleaved channels do; or its rows are, which
/// need no copy, but begin and end with elements that fill no quad.
pub(crate) struct Stretches<'a> {
    params: &'a Params,
    /// The index of the first element in the tensor.
    first: usize,
    start: usize,
    count: usize,
    /// The copy of a band's parameters.
    copy: Scratch,
}

/// Elements of a band for every parameter that is copied, at least. Copying a parameter takes longer than computing an element
/// with it; rows of parameters that end sooner cost less than that.
const FOR_EVERY_COPY: usize = 8;

impl<'a> Stretches<'a> {
    /// The stretches of `count` elements of a tensor, from element `first` on, whose groups alternate.
    #[inline(always)]
    pub fn new(params: &'a Params, first: usize, count: usize) -> Self {
        Stretches { params, first, start: 0, count, copy: Scratch::default() }
    }

    /// The next stretch. (Not inlined: many kernels walk over stretches.)
    #[inline(never)]
    pub fn advance(&mut self) -> Option<Stretch<'_>> {
        let Stretches { params, first, start, count, .. } = *self;
        if start == count {
            return None;
        }
        if let Grouping::Bands { length, rows, inner } = params.grouping() {
            return Some(self.of_band(length, rows, inner));
        }
        self.start = count;
        let (period, params) = (params.period(), RowParams { groups: params.all(), zero_codes: params.zero_codes() });
        Some(Stretch { start, end: count, channel: first % period, period, params })
    }

    /// The rest of a band, or of one of its rows.
    fn of_band(&mut self, length: usize, rows: usize, inner: usize) -> Stretch<'_> {
        let Stretches { params, first, start, count, .. } = *self;
        let element = first + start;
        let (row, channel) = (element / inner % rows, element % inner);
        let rows_left = (length - row % length).min(rows - row);
        let elements = (rows_left * inner - channel).min(count - start);
        let group = params.grouping().group_of(element) - channel;
        // (No shorter than a quad, which may reach behind the row once.)
        let period = inner * (elements / FOR_EVERY_COPY).clamp(QUAD * LANES, LONG_ROW).div_ceil(inner);
        if is_worth_a_copy(period, inner, (channel + elements).div_ceil(inner)) {
            self.start += elements;
            let params = params.repeat(group, inner, period, &mut self.copy);
            return Stretch { start, end: self.start, channel, period, params };
        }
        self.start += elements.min(inner - channel);
        Stretch { start, end: self.start, channel, period: inner, params: params.row(group, inner) }
    }
}

/// Whether to copy `period` parameters takes less time than `rows` rows of `inner` elements take longer one by one. In elements:
/// the beginning of a row takes as long as a quad, and those that fill no quad take three times as long.
fn is_worth_a_copy(period: usize, inner: usize, rows: usize) -> bool {
    let of_a_row = QUAD * LANES + inner % (QUAD * LANES) * 2;
    rows > 1 && period + QUAD * LANES < rows.saturating_mul(of_a_row)
}
