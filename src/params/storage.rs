//! How kernels read parameters: per group the scale, its reciprocal in two parts and the zero point, each in an array of
//! its own that begins at a cache line.

use super::formula::{Formula, GroupParamsMut, Solve};
use super::granularity::{Granularity, Grouping};
use super::range::Range;
use super::reciprocal::reciprocal;
use super::scheme::Scheme;
use crate::codes::CodeBounds;
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::memory::{PooledBuffer, Scratch};
use crate::simd::{LANES, QUAD};

/// The parameters of a quantized tensor, whatever the type of its codes.
#[derive(Clone)]
pub(crate) struct Params {
    bounds: CodeBounds,
    granularity: Granularity,
    groups: usize,
    /// See [`Params::period`].
    period: usize,
    /// The length of the arrays of `memory`, a whole number of lines. Behind groups that alternate there are as many elements
    /// more as are loaded together.
    length: usize,
    /// Scales, high and low parts of their reciprocals, zero points: four arrays of elements of 4 bytes.
    memory: PooledBuffer,
    /// See [`Params::zero_codes`].
    zero_codes: PooledBuffer,
    one_zero_point: bool,
    headroom: bool,
}

/// The parameters of all groups, in arrays of one length that begin at cache lines: a vector that crosses a line is read at
/// half the speed.
#[derive(Clone, Copy)]
pub(crate) struct GroupParams<'a> {
    pub scales: &'a [f32],
    /// The two parts of every [`reciprocal`].
    pub reciprocals: [&'a [f32]; 2],
    pub zero_points: &'a [i32],
}

/// The parameters of a row of groups that alternate, and of more behind it.
#[derive(Clone, Copy)]
pub(crate) struct RowParams<'a> {
    pub groups: GroupParams<'a>,
    /// The zero points as bytes. Anything if all groups have one.
    pub zero_codes: &'a [u8],
}

impl<'a> GroupParams<'a> {
    /// Four arrays of this length.
    #[inline(always)]
    fn of_memory(arrays: &'a [i32], length: usize) -> Self {
        let (floats, zero_points) = arrays.split_at(3 * length);
        let (scales, reciprocals) = bytemuck::cast_slice(floats).split_at(length);
        let (high, low) = reciprocals.split_at(length);
        GroupParams { scales, reciprocals: [high, low], zero_points }
    }

    /// These arrays, cut so that the compiler knows that they have one length: then one check of an index is enough.
    #[inline(always)]
    pub fn of_one_length(&self) -> Self {
        self.slice(0, self.scales.len())
    }

    /// The arrays from `group` on, `groups` elements of each: the last may be padding.
    #[inline(always)]
    pub fn slice(&self, group: usize, groups: usize) -> Self {
        let GroupParams { scales, reciprocals: [high, low], zero_points } = *self;
        let length = scales.len();
        let (high, low, zero_points) = (&high[..length], &low[..length], &zero_points[..length]);
        let slice = group..group + groups;
        let reciprocals = [&high[slice.clone()], &low[slice.clone()]];
        GroupParams { scales: &scales[slice.clone()], reciprocals, zero_points: &zero_points[slice] }
    }
}

/// Parameters that are loaded together: those of a quad.
const LOADED: usize = QUAD * LANES;

/// Elements whose groups alternate that make a row worth starting: as many as one retry window, with parameters that the level-1
/// cache still holds.
pub(super) const LONG_ROW: usize = 2048;

impl Params {
    /// Parameters of these scales and zero points, one of each for every group.
    pub fn new(
        bounds: CodeBounds,
        granularity: Granularity,
        scales: &[f32],
        zero_points: &[i32],
    ) -> Result<Self, Error> {
        let groups = granularity.checked()?.groups_or(scales.len());
        check_length("scales", groups, scales.len())?;
        check_length("zero points", groups, zero_points.len())?;
        check_each_scale(scales)?;
        zero_points.iter().enumerate().try_for_each(|(i, &zero_point)| bounds.check_zero_point(i, zero_point))?;
        let mut params = Params::unfilled(bounds, granularity, groups);
        let filled = params.groups_mut(0, groups);
        filled.scales.copy_from_slice(scales);
        filled.zero_points.copy_from_slice(zero_points);
        let [high, low] = filled.reciprocals;
        for ((&scale, high), low) in scales.iter().zip(high).zip(low) {
            [*high, *low] = reciprocal(scale);
        }
        params.headroom = true;
        params.finish();
        Ok(params)
    }

    /// The parameters that a scheme gives the ranges of all groups.
    pub fn from_ranges(
        bounds: CodeBounds,
        scheme: Scheme,
        granularity: Granularity,
        ranges: &[Range],
    ) -> Result<Self, Error> {
        let groups = granularity.checked()?.groups_or(ranges.len());
        check_length("scales", groups, ranges.len())?;
        let mut params = Params::unfilled(bounds, granularity, groups);
        params.fill(Isa::portable(), scheme, ranges)?;
        Ok(params)
    }

    /// Memory for the parameters of `groups` groups.
    pub fn unfilled(bounds: CodeBounds, granularity: Granularity, groups: usize) -> Self {
        let period = match granularity.grouping() {
            Grouping::Interleaved { channels } => channels * LONG_ROW.div_ceil(channels.max(1)),
            _ => groups,
        };
        let more = if granularity.grouping().alternates() { LOADED } else { 0 };
        let length = (period + more).max(1).next_multiple_of(LANES);
        let memory = PooledBuffer::new::<f32>(4 * length);
        let (zero_codes, one_zero_point, headroom) = (PooledBuffer::default(), false, false);
        Params { bounds, granularity, groups, period, length, memory, zero_codes, one_zero_point, headroom }
    }

    /// Fills in the parameters that a scheme gives the ranges of all groups.
    pub fn fill(&mut self, isa: Isa, scheme: Scheme, ranges: &[Range]) -> Result<(), Error> {
        if !self.solve(isa, scheme, 0, ranges) {
            // The exact reason, of the first range that has no parameters.
            for (index, &range) in ranges.iter().enumerate() {
                scheme.parameters_in(self.bounds, index, range)?;
            }
            unreachable!("one range has no parameters");
        }
        self.finish();
        Ok(())
    }

    /// Writes the parameters of the ranges of some groups, from `first` on. False if a range has none, as infinity and NaN
    /// have not. Once all groups are written, [`finish`](Params::finish) has to follow.
    pub fn solve(&mut self, isa: Isa, scheme: Scheme, first: usize, ranges: &[Range]) -> bool {
        let formula = Formula::new(scheme, self.bounds);
        self.headroom = Formula::has_headroom(scheme, self.bounds);
        isa.run(Solve { formula, ranges, params: self.groups_mut(first, ranges.len()) })
    }

    /// Derives the rest from scales and zero points, when these are written.
    pub fn finish(&mut self) {
        let zero_points = self.zero_points();
        let first = zero_points.first().copied().unwrap_or(0);
        self.one_zero_point = zero_points.iter().fold(0, |all, each| all | (each ^ first)) == 0;
        if self.grouping().alternates() && self.groups > 0 {
            let (groups, length) = (self.groups, self.length);
            let memory = self.memory.elements::<i32>(4 * length);
            for array in memory.chunks_exact_mut(length) {
                repeat(array, groups);
            }
            self.zero_codes = PooledBuffer::new::<u8>(length);
            for (zero_point, code) in memory[3 * length..].iter().zip(self.zero_codes.elements::<u8>(length)) {
                *code = *zero_point as u8;
            }
        }
    }

    /// The memory of the parameters of some groups.
    fn groups_mut(&mut self, first: usize, count: usize) -> GroupParamsMut<'_> {
        let length = self.length;
        let (floats, zero_points) = self.memory.two_arrays([3 * length, length]);
        let (scales, reciprocals) = floats.split_at_mut(length);
        let (high, low) = reciprocals.split_at_mut(length);
        let range = first..first + count;
        GroupParamsMut {
            scales: &mut scales[range.clone()],
            reciprocals: [&mut high[range.clone()], &mut low[range.clone()]],
            zero_points: &mut zero_points[range],
        }
    }

    /// The number of groups; of interleaved channels, the smallest multiple of it that is a row worth starting: the arrays
    /// repeat behind the last channel.
    pub fn period(&self) -> usize {
        self.period
    }

    /// Whether all groups have the same zero point.
    pub fn has_one_zero_point(&self) -> bool {
        self.one_zero_point
    }

    /// Whether stochastic rounding never leaves the code range for values inside the ranges. Unknown for given scales: true.
    pub fn has_headroom(&self) -> bool {
        self.headroom
    }

    /// The parameters of all groups.
    #[inline(always)]
    pub fn all(&self) -> GroupParams<'_> {
        GroupParams::of_memory(self.memory.as_slice(4 * self.length), self.length)
    }

    /// The zero points of groups that alternate as bytes, a quarter of the memory to read; empty for other groupings.
    #[inline(always)]
    pub fn zero_codes(&self) -> &[u8] {
        self.zero_codes.as_slice(if self.grouping().alternates() { self.length } else { 0 })
    }

    /// Copies the parameters of `groups` groups from `group` on, and their zero points as bytes, into a workspace, again and again
    /// up to `period` and as many more as are loaded together.
    pub fn repeat<'a>(&self, group: usize, groups: usize, period: usize, copy: &'a mut Scratch) -> RowParams<'a> {
        let length = (period + LOADED).next_multiple_of(LANES);
        let all = copy.elements::<i32>(5 * length);
        let (copies, zero_codes) = all.split_at_mut(4 * length);
        let arrays = self.memory.as_slice::<i32>(4 * self.length).chunks_exact(self.length);
        for (copy, array) in copies.chunks_exact_mut(length).zip(arrays) {
            copy[..groups].copy_from_slice(&array[group..][..groups]);
            repeat(copy, groups);
        }
        let zero_codes = &mut bytemuck::cast_slice_mut(zero_codes)[..length];
        if !self.one_zero_point {
            zero_codes[..groups].copy_from_slice(&self.zero_codes()[group..][..groups]);
            repeat(zero_codes, groups);
        }
        RowParams { groups: GroupParams::of_memory(copies, length), zero_codes }
    }

    /// The parameters of the groups from `group` on, as kernels read them that load sixteen at a time, up to those of `groups`
    /// groups and sixteen more.
    pub fn row(&self, group: usize, groups: usize) -> RowParams<'_> {
        let length = groups + LANES;
        RowParams { groups: self.all().slice(group, length), zero_codes: &self.zero_codes()[group..][..length] }
    }

    /// The scale of every group.
    #[inline]
    pub fn scales(&self) -> &[f32] {
        self.memory.as_slice(self.groups)
    }

    /// The zero point of every group.
    #[inline]
    pub fn zero_points(&self) -> &[i32] {
        &self.all().zero_points[..self.groups]
    }

    /// The code range.
    #[inline]
    pub fn bounds(&self) -> CodeBounds {
        self.bounds
    }

    /// Which elements share a scale.
    #[inline]
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// How elements follow each other in their groups.
    #[inline(always)]
    pub fn grouping(&self) -> Grouping {
        self.granularity.grouping()
    }

    /// An error unless a tensor of `elements` elements has these groups.
    #[inline]
    pub fn check_elements(&self, elements: usize) -> Result<(), Error> {
        if let Granularity::Tensor = self.granularity { Ok(()) } else { self.check_groups(elements) }
    }

    fn check_groups(&self, elements: usize) -> Result<(), Error> {
        check_length("scales", self.granularity.groups(elements)?, self.groups)
    }
}

/// Repeats the first `period` elements up to the end.
fn repeat<T: Copy>(x: &mut [T], period: usize) {
    let mut length = period;
    while length < x.len() {
        let more = length.min(x.len() - length);
        x.copy_within(..more, length);
        length += more;
    }
}

/// An error unless every scale is a finite f32 of at least the smallest normal one.
pub(crate) fn check_each_scale(scales: &[f32]) -> Result<(), Error> {
    let refused = |scale: f32| !(scale.is_finite() && scale >= f32::MIN_POSITIVE);
    match scales.iter().position(|&scale| refused(scale)) {
        None => Ok(()),
        Some(index) => Err(Error::Scale { index, scale: scales[index] }),
    }
}
