//! Which elements of a tensor share a scale and a zero point.
//!
//! [`Granularity`] is the public description. Inside the crate a [`Grouping`] is matched instead: it tells channels of
//! neighbouring elements, which need other loops, from channels whose elements lie together.

use crate::error::{Error, elements_of};

/// Which elements of a row-major tensor share a scale and a zero point: one description for every granularity.
///
/// An axis may have the length 0: the tensor is empty, and has as many groups as its channels, or no blocks.
///
/// ```
/// use zeropoint::Granularity;
/// let weights = [64, 3, 5, 5];
/// assert_eq!(Granularity::Tensor.groups(64 * 75)?, 1);
/// assert_eq!(Granularity::channel(&weights, 0)?.groups(64 * 75)?, 64);
/// // Blocks along the innermost axis; 300 = 9 blocks of 32 and a shorter one.
/// assert_eq!(Granularity::block(&[64, 300], 32)?.groups(64 * 300)?, 640);
/// // Weights [depth, outputs] in groups of 128 along the depth: scales [8, 300].
/// assert_eq!(Granularity::block_along(&[1024, 300], 0, 128)?.groups(1024 * 300)?, 8 * 300);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Granularity {
    /// All elements.
    Tensor,
    /// Elements with the same index on one axis: element `i` belongs to channel `i / inner % channels`. The axes before
    /// it may have any length.
    Channel {
        /// The length of the axis.
        channels: usize,
        /// The elements of one channel that lie together: the product of the lengths of the axes behind it.
        inner: usize,
    },
    /// Blocks of `length` elements along one axis, the last of which may be shorter: the groups are those of a tensor whose
    /// axis has the length `axis.div_ceil(length)`, row-major, as the scales of ONNX's `QuantizeLinear` with a `block_size` are.
    Block {
        /// The length of a block.
        length: usize,
        /// The length of the axis.
        axis: usize,
        /// The product of the lengths of the axes behind it; 1 of the innermost axis.
        inner: usize,
    },
}

impl Granularity {
    /// Per channel of an axis of a tensor of this shape: for a scale for every output, axis 0 of the weights of a linear
    /// layer, `[outputs, inputs]`, or a convolution, `[outputs, channels, height, width]`; axis 1 of those of a transposed
    /// convolution, `[inputs, outputs, height, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no such axis.
    pub fn channel(shape: &[usize], axis: usize) -> Result<Self, Error> {
        match shape.get(axis..) {
            None | Some([]) => Err(Error::Shape { why: "the shape has no such axis", found: axis }),
            Some([channels, inner @ ..]) => Ok(Granularity::Channel { channels: *channels, inner: elements_of(inner) }),
        }
    }

    /// Per block of `length` elements along the innermost axis of a tensor of this shape.
    ///
    /// # Errors
    /// [`Error::Shape`] when the length of a block is 0 or there is no innermost axis.
    pub fn block(shape: &[usize], length: usize) -> Result<Self, Error> {
        match shape.last() {
            None => Err(Error::Shape { why: "the shape has no innermost axis", found: 0 }),
            Some(&axis) => Granularity::Block { length, axis, inner: 1 }.checked(),
        }
    }

    /// Per block of `length` elements along any axis of a tensor of this shape: the element `[i₀, …, iₙ]` has the scale
    /// `[i₀, …, i_axis / length, …, iₙ]` of scales whose axis has as many elements as there are blocks, row-major.
    ///
    /// ```
    /// use zeropoint::{CodeRange, Exec, Granularity, QuantParams, Rounding, quantize};
    /// let pairs = Granularity::block_along(&[3, 2], 0, 2)?; // rows 0 and 1, and row 2
    /// let params = QuantParams::new(CodeRange::signed(8)?, pairs, vec![1.0, 2.0, 4.0, 8.0], vec![0; 4])?;
    /// let mut codes = [0_i8; 6];
    /// quantize(Exec::best()?, &[8.0; 6], &params, Rounding::Nearest, &mut codes)?;
    /// assert_eq!(codes, [8, 4, 8, 4, 2, 1]);
    /// # Ok::<(), zeropoint::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when the length of a block is 0 or there is no such axis.
    pub fn block_along(shape: &[usize], axis: usize, length: usize) -> Result<Self, Error> {
        match Granularity::channel(shape, axis)? {
            Granularity::Channel { channels: axis, inner } => Granularity::Block { length, axis, inner }.checked(),
            _ => unreachable!("the channels of an axis"),
        }
    }

    /// This granularity, or an error if a block has no length.
    pub(super) fn checked(self) -> Result<Self, Error> {
        match self {
            Granularity::Block { length: 0, .. } => Err(Error::Shape { why: "a block has no length", found: 0 }),
            valid => Ok(valid),
        }
    }

    /// The number of groups, where it does not depend on the tensor. For blocks it does, so `given` is taken, which
    /// [`groups`](Granularity::groups) checks once the tensor is there.
    pub(super) fn groups_or(self, given: usize) -> usize {
        match self {
            Granularity::Tensor => 1,
            Granularity::Channel { channels, .. } => channels,
            Granularity::Block { .. } => given,
        }
    }

    /// How many scales a tensor of this many elements has.
    ///
    /// # Errors
    /// [`Error::Multiple`] when the elements are not a whole number of channel sets or rows; [`Error::Shape`] when a block has
    /// no length.
    pub fn groups(self, elements: usize) -> Result<usize, Error> {
        let (unit, groups) = match self.checked()? {
            Granularity::Tensor => return Ok(1),
            Granularity::Channel { channels, inner } => (channels.saturating_mul(inner), channels),
            Granularity::Block { length, axis, inner } => {
                let unit = axis.saturating_mul(inner);
                (unit, elements.checked_div(unit).map_or(0, |units| units * axis.div_ceil(length) * inner))
            }
        };
        // (Of 0, only 0 is a multiple.)
        if elements.is_multiple_of(unit) {
            Ok(groups)
        } else {
            Err(Error::Multiple { what: "the tensor", unit, found: elements })
        }
    }

    /// The group of element `i`.
    ///
    /// # Panics
    /// When an axis has no length, since there is no element, or a block has none.
    #[must_use]
    pub fn group_of(self, i: usize) -> usize {
        self.grouping().group_of(i)
    }

    /// How elements follow each other in their groups.
    pub(crate) fn grouping(self) -> Grouping {
        match self {
            Granularity::Tensor => Grouping::Whole,
            Granularity::Channel { channels, inner: 1 } => Grouping::Interleaved { channels },
            Granularity::Channel { channels, inner } => Grouping::Channels { channels, inner },
            Granularity::Block { length, axis: row, inner: 1 } => Grouping::Blocks { length, row },
            Granularity::Block { length, axis: rows, inner } => Grouping::Bands { length, rows, inner },
        }
    }
}

/// How the elements of a row-major tensor follow each other in their groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grouping {
    /// All elements are in group 0.
    Whole,
    /// Neighbouring elements are in different groups: element `i` is in group `i % channels`.
    Interleaved { channels: usize },
    /// Runs of `inner` elements, more than one, are in one group: element `i` is in group `i / inner % channels`.
    Channels { channels: usize, inner: usize },
    /// Blocks of `length` elements, counted row by row; the last block of a row may be shorter.
    Blocks { length: usize, row: usize },
    /// Neighbouring elements are in different groups: of `rows` rows of `inner` elements each, `length` rows make a band, the
    /// last of which may have fewer, whose columns are its groups; then come other such rows.
    Bands { length: usize, rows: usize, inner: usize },
}

impl Grouping {
    /// The group of element `i`.
    pub fn group_of(self, i: usize) -> usize {
        match self {
            Grouping::Whole => 0,
            Grouping::Interleaved { channels } => i % channels,
            Grouping::Channels { channels, inner } => i / inner % channels,
            Grouping::Blocks { length, row } => i / row * row.div_ceil(length) + i % row / length,
            Grouping::Bands { length, rows, inner } => {
                let row = i / inner;
                (row / rows * rows.div_ceil(length) + row % rows / length) * inner + i % inner
            }
        }
    }

    /// Whether neighbouring elements are in different groups, so that kernels read parameters as vectors.
    pub fn alternates(self) -> bool {
        matches!(self, Grouping::Interleaved { .. } | Grouping::Bands { .. })
    }

    /// The common length of all groups, if the first `elements` elements are group after group, each in one run.
    pub fn even_length(self, elements: usize) -> Option<usize> {
        match self {
            Grouping::Interleaved { channels } if elements <= channels => Some(1),
            Grouping::Channels { channels, inner } if elements <= channels.saturating_mul(inner) => Some(inner),
            Grouping::Blocks { length, row } if row.is_multiple_of(length) => Some(length),
            _ => None,
        }
    }

    /// The number of elements from `start` on, of a tensor of `elements`, that are in one group and lie together. Where groups
    /// [alternate](Grouping::alternates), those up to the end of the row, whose groups follow each other.
    pub fn run_length(self, start: usize, elements: usize) -> usize {
        match self {
            Grouping::Whole => elements - start,
            Grouping::Interleaved { channels } => channels - start % channels,
            Grouping::Channels { inner, .. } => inner - start % inner,
            Grouping::Blocks { length, row } => (length - start % row % length).min(row - start % row),
            Grouping::Bands { inner, .. } => inner - start % inner,
        }
    }

    /// The runs of elements `first .. first + count` of a tensor that are in one group and lie together, in order. Of
    /// interleaved channels, whole rounds of channels. There is at least one element.
    #[inline(always)]
    pub fn runs(self, first: usize, count: usize) -> Runs {
        let all = Runs {
            start: 0,
            count,
            group: 0,
            groups: 1,
            left: usize::MAX,
            length: usize::MAX,
            row: usize::MAX,
            row_left: usize::MAX,
        };
        match self {
            Grouping::Whole => all,
            Grouping::Interleaved { channels } => {
                let group = first % channels;
                Runs { group, left: channels - group, length: channels, ..all }
            }
            Grouping::Channels { channels, inner } => Runs {
                group: self.group_of(first),
                groups: channels,
                left: inner - first % inner,
                length: inner,
                ..all
            },
            Grouping::Blocks { length, row } => {
                let row_left = row - first % row;
                let left = row_left.min(length - first % row % length);
                Runs { group: self.group_of(first), groups: usize::MAX, left, length, row, row_left, ..all }
            }
            Grouping::Bands { .. } => unreachable!("no elements of a group lie together"),
        }
    }
}

/// The iterator of [`Grouping::runs`]. A step takes no division, and asks for no grouping.
#[derive(Clone, Debug)]
pub(crate) struct Runs {
    start: usize,
    count: usize,
    /// The group of the next run; behind group `groups - 1` comes group 0.
    group: usize,
    groups: usize,
    /// Elements of the next run, if the tensor has as many.
    left: usize,
    /// Elements of a run that begins with its group and does not end with a row.
    length: usize,
    /// Elements of a row, whose end ends a run, and those from the next run on.
    row: usize,
    row_left: usize,
}

/// A run: elements `start .. end`, counted from the first of [`Grouping::runs`], and their group; of interleaved channels,
/// the group of the first element.
pub(crate) struct Run {
    pub group: usize,
    pub start: usize,
    pub end: usize,
}

impl Iterator for Runs {
    type Item = Run;

    #[inline(always)]
    fn next(&mut self) -> Option<Run> {
        if self.start == self.count {
            return None;
        }
        let run =
            Run { group: self.group, start: self.start, end: self.start + self.left.min(self.count - self.start) };
        self.start = run.end;
        // (What follows is for the next run: a tensor of one group has none.)
        if run.end == self.count {
            return Some(run);
        }
        self.group = if run.group + 1 < self.groups { run.group + 1 } else { 0 };
        self.row_left -= self.left;
        if self.row_left == 0 {
            self.row_left = self.row;
        }
        self.left = self.length.min(self.row_left);
        Some(run)
    }
}
