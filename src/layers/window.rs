//! How a window moves over an image.

use core::ops::Range;

use crate::error::Error;

/// A window that moves over an image: height first, width second.
///
/// On each axis, tap t of the window at position p of the result is over element `p · stride + t · dilation − padding` of the
/// image; where the image has no such element, the tap is in the padding.
///
/// ```
/// use zeropoint::layers::Window;
/// let window = Window { padding: [1, 1, 1, 1], stride: [2, 2], ..Window::new([3, 3]) };
/// assert_eq!(window.output_size([28, 28])?, [14, 14]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Window {
    /// Height and width of the kernel.
    pub size: [usize; 2],
    /// Elements from a position to the next.
    pub stride: [usize; 2],
    /// Elements around the image: top, left, bottom, right. There may be more than the window is large.
    pub padding: [usize; 4],
    /// Elements from a tap of the kernel to the next.
    pub dilation: [usize; 2],
}

impl Window {
    /// A window of this height and width: stride 1, no padding, no dilation.
    #[must_use]
    pub fn new(size: [usize; 2]) -> Self {
        Window { size, stride: [1, 1], padding: [0; 4], dilation: [1, 1] }
    }

    /// Height and width of the result on an image of this height and width:
    /// `(image + padding − ((size − 1) · dilation + 1)) / stride + 1`, rounded down.
    ///
    /// # Errors
    /// [`Error::Shape`] when a size, stride or dilation is 0, the window is larger than the padded image, or that is longer than
    /// `isize::MAX`.
    pub fn output_size(&self, image: [usize; 2]) -> Result<[usize; 2], Error> {
        let mut output = [0; 2];
        for axis in 0..2 {
            let extent = self.extent(axis)?;
            let padded = image[axis].saturating_add(self.padding[axis]).saturating_add(self.padding[axis + 2]);
            if padded > isize::MAX as usize {
                return Err(Error::Shape { why: "the padded image is longer than isize::MAX", found: padded });
            }
            if extent > padded {
                return Err(Error::Shape { why: "the window is larger than the padded image", found: padded });
            }
            output[axis] = (padded - extent) / self.stride[axis] + 1;
        }
        Ok(output)
    }

    /// The elements from the first tap to the last on an axis; `usize::MAX` when they are more.
    pub(super) fn extent(&self, axis: usize) -> Result<usize, Error> {
        let (size, stride, dilation) = (self.size[axis], self.stride[axis], self.dilation[axis]);
        if size == 0 || stride == 0 || dilation == 0 {
            return Err(Error::Shape { why: "a window's size, stride and dilation are at least 1", found: 0 });
        }
        Ok((size - 1).saturating_mul(dilation).saturating_add(1))
    }

    /// `Ok` for a window that goes with some image: a convolution, of either kind, is refused early otherwise.
    pub(super) fn check(&self) -> Result<(), Error> {
        for axis in 0..2 {
            let extent = self.extent(axis)?;
            if extent > isize::MAX as usize {
                return Err(Error::Shape { why: "the window is longer than isize::MAX", found: extent });
            }
            let padding = self.padding[axis].saturating_add(self.padding[axis + 2]);
            if padding > isize::MAX as usize {
                return Err(Error::Shape { why: "the padding is longer than isize::MAX", found: padding });
            }
        }
        Ok(())
    }

    /// The taps of a window of the result that are on the image, whose axis has this length.
    ///
    /// ([`output_size`](Window::output_size) bounds what is computed here: no tap is beyond the padded image.)
    #[inline(always)]
    pub(super) fn taps(&self, axis: usize, position: usize, length: usize) -> Range<usize> {
        let start = position * self.stride[axis];
        let (size, dilation, before) = (self.size[axis], self.dilation[axis], self.padding[axis]);
        // The taps before an element of the padded image. (A division takes as long as copying many codes.)
        let taps_before = |element: usize| match element.saturating_sub(start) {
            0 => 0,
            distance if dilation == 1 => distance.min(size),
            distance if distance > (size - 1) * dilation => size,
            distance => distance.div_ceil(dilation),
        };
        let (first, end) = (taps_before(before), taps_before(before + length));
        if first < end { first..end } else { 0..0 }
    }

    /// The element of the image under a tap that is on it.
    #[inline(always)]
    pub(super) fn element(&self, axis: usize, position: usize, tap: usize) -> usize {
        position * self.stride[axis] + tap * self.dilation[axis] - self.padding[axis]
    }

    /// The height and width of the result on an image, when every window has a tap on it.
    pub(super) fn output_size_if_all_touch(&self, image: [usize; 2]) -> Result<[usize; 2], Error> {
        let output = self.output_size(image)?;
        // The taps of a window are all pairs of a row and a column, and there is a position on every axis: so every window has
        // a tap on the image just when every position of each axis has one on that axis.
        match (0..2).find(|&axis| !self.all_touch(axis, image[axis], output[axis])) {
            Some(axis) => Err(Error::Shape { why: "a window lies in the padding alone", found: image[axis] }),
            None => Ok(output),
        }
    }

    /// Whether every one of the `positions` on an axis has a tap on it, in a time that hardly depends on the sizes.
    ///
    /// With s = p · stride, the taps of position p are at s, s + d, …, s + reach of the padded axis, the image at `b..b + length`.
    ///
    /// 1. If s ≥ b, the first tap is the nearest one: it is on the image just when s < b + length. This holds for all such
    ///    positions when it does for the last one.
    /// 2. If s < b, some tap has to be at or behind b, that is s + reach ≥ b. This holds for all when it does for p = 0. The
    ///    first such tap is `(s − b) mod d` elements behind b: it is on the image just when that is less than the length.
    fn all_touch(&self, axis: usize, length: usize, positions: usize) -> bool {
        let (stride, dilation, before) = (self.stride[axis], self.dilation[axis], self.padding[axis]);
        let reach = (self.size[axis] - 1) * dilation;
        if (positions - 1) * stride >= before + length || before > reach || length == 0 {
            return false;
        }
        if dilation <= length || before == 0 {
            return true;
        }
        // The residues of positions before b: (p · stride + c) mod d. One of them is at least `length` just when adding
        // d − length carries into the quotient, which then is larger by one, and never smaller.
        let positions = positions.min(before.div_ceil(stride)) as u128;
        let [length, stride, d] = [length, stride, dilation].map(|length| length as u128);
        let c = d - 1 - (before as u128 - 1) % d;
        sum_of_quotients(positions, stride, c + d - length, d) == sum_of_quotients(positions, stride, c, d)
    }
}

/// `Σ ⌊(p · step + start) / d⌋` for p in `0..count`: in as many steps as Euclid's algorithm takes. The count is at least 1; d,
/// start and `(count − 1) · step` are below 2⁶⁴, and the count below 2⁶³, so nothing leaves u128.
///
/// What step and start have of whole multiples of d is summed in closed form. The rest counts the points of a grid under a
/// line, which is the same sum with the axes exchanged.
fn sum_of_quotients(mut count: u128, mut step: u128, mut start: u128, mut d: u128) -> u128 {
    let mut sum = 0;
    loop {
        sum += count * (count - 1) / 2 * (step / d) + count * (start / d);
        (step, start) = (step % d, start % d);
        let last = count * step + start;
        if last < d {
            return sum;
        }
        (count, start) = (last / d, last % d);
        (step, d) = (d, step);
    }
}
