//! How a window moves over an image.

use crate::error::Error;

/// A window that moves over an image: height first, width second.
///
/// ```
/// use zeropoint::Window;
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
    /// Elements around the image: top, left, bottom, right.
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

    /// Height and width of the result on an image of this height and width.
    ///
    /// # Errors
    /// [`Error::Shape`] when a size, stride or dilation is 0 or the window is larger than the padded image.
    pub fn output_size(&self, image: [usize; 2]) -> Result<[usize; 2], Error> {
        let mut output = [0; 2];
        for axis in 0..2 {
            let (size, stride, dilation) = (self.size[axis], self.stride[axis], self.dilation[axis]);
            if size == 0 || stride == 0 || dilation == 0 {
                return Err(Error::Shape { why: "a window's size, stride and dilation are at least 1", found: 0 });
            }
            let extent = (size - 1).saturating_mul(dilation).saturating_add(1);
            let padded = image[axis].saturating_add(self.padding[axis]).saturating_add(self.padding[axis + 2]);
            if extent > padded || padded > isize::MAX as usize {
                return Err(Error::Shape { why: "the window is larger than the padded image", found: padded });
            }
            output[axis] = (padded - extent) / stride + 1;
        }
        Ok(output)
    }

    /// The taps of the window.
    pub(super) fn taps(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// The index on one axis of an image under a tap; none in the padding.
    #[inline(always)]
    fn index(&self, axis: usize, position: usize, tap: usize, length: usize) -> Option<usize> {
        let padded = position * self.stride[axis] + tap * self.dilation[axis];
        padded.checked_sub(self.padding[axis]).filter(|&index| index < length)
    }

    /// The element of the image under a tap of a window of the result, as its index in rows of `image[1]` elements; none
    /// in the padding.
    #[inline(always)]
    pub(super) fn element(&self, position: [usize; 2], tap: usize, image: [usize; 2]) -> Option<usize> {
        let y = self.index(0, position[0], tap / self.size[1], image[0])?;
        let x = self.index(1, position[1], tap % self.size[1], image[1])?;
        Some(y * image[1] + x)
    }

    /// `Ok` when every window of a result of this size has an element of the image under it.
    pub(super) fn check_no_window_in_the_padding(&self, image: [usize; 2], output: [usize; 2]) -> Result<(), Error> {
        for axis in 0..2 {
            let touches = |&position: &usize| {
                (0..self.size[axis]).any(|tap| self.index(axis, position, tap, image[axis]).is_some())
            };
            if let Some(found) = (0..output[axis]).find(|position| !touches(position)) {
                return Err(Error::Shape { why: "a window lies in the padding alone", found });
            }
        }
        Ok(())
    }
}
