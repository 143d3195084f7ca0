//! How a window moves over an image.

use core::ops::Range;

use crate::error::Error;

/// A window that moves over an image: height first, width second.
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

    /// The index on an axis of an image under a tap of a window of the result; none in the padding.
    #[inline(always)]
    pub(super) fn index(&self, axis: usize, position: usize, tap: usize, length: usize) -> Option<usize> {
        let padded = position * self.stride[axis] + tap * self.dilation[axis];
        padded.checked_sub(self.padding[axis]).filter(|&index| index < length)
    }

    /// `Ok` when every window on an image of this size has an element of it under a tap: the window reaches over the
    /// padding on both sides, and its taps do not step over the image.
    pub(super) fn check_no_window_in_the_padding(&self, image: [usize; 2]) -> Result<(), Error> {
        for (axis, length) in image.into_iter().enumerate() {
            let reach = (self.size[axis] - 1).saturating_mul(self.dilation[axis]);
            let padding = self.padding[axis].max(self.padding[axis + 2]);
            if padding > reach {
                return Err(Error::Shape { why: "a window could lie in the padding alone", found: padding });
            }
            if padding > 0 && self.dilation[axis] > length {
                return Err(Error::Shape { why: "a padded window could step over the image", found: length });
            }
        }
        Ok(())
    }
}

/// Images `[images, height, width, channels]`, and the windows on them that make a result of this height and width.
#[derive(Clone, Copy)]
pub(super) struct Windows<'a> {
    pub images: &'a [u8],
    pub shape: [usize; 4],
    pub output: [usize; 2],
    pub window: &'a Window,
}

/// The part of an image under one window.
#[derive(Clone, Copy)]
pub(super) struct Patch<'a> {
    /// The whole image.
    image: &'a [u8],
    height: usize,
    width: usize,
    channels: usize,
    position: [usize; 2],
    window: &'a Window,
}

impl<'a> Windows<'a> {
    /// The number of windows on all images: the rows of the result.
    pub fn count(&self) -> usize {
        self.shape[0] * self.windows_of_an_image()
    }

    /// The number of windows on one image.
    pub fn windows_of_an_image(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// The image of a row of the result.
    #[inline(always)]
    pub fn image_of(&self, row: usize) -> usize {
        row / self.windows_of_an_image()
    }

    /// The patch of a row of the result.
    #[inline(always)]
    pub fn at(&self, row: usize) -> Patch<'a> {
        let [_, height, width, channels] = self.shape;
        let (line, x) = (row / self.output[1], row % self.output[1]);
        let (image, y) = (line / self.output[0], line % self.output[0]);
        let elements = height * width * channels;
        let image = &self.images[image * elements..][..elements];
        Patch { image, height, width, channels, position: [y, x], window: self.window }
    }
}

impl<'a> Patch<'a> {
    /// The whole image.
    #[inline(always)]
    pub fn image(&self) -> &'a [u8] {
        self.image
    }

    /// The place in the image of the channels under a tap; none in the padding.
    #[inline(always)]
    pub fn place(&self, [tap_y, tap_x]: [usize; 2]) -> Option<usize> {
        let y = self.window.index(0, self.position[0], tap_y, self.height)?;
        let x = self.window.index(1, self.position[1], tap_x, self.width)?;
        Some((y * self.width + x) * self.channels)
    }

    /// The line of the image, `width · channels` elements, under a row of taps; none in the padding.
    #[inline(always)]
    pub fn line(&self, tap: usize) -> Option<&'a [u8]> {
        let y = self.window.index(0, self.position[0], tap, self.height)?;
        Some(&self.image[y * self.width * self.channels..][..self.width * self.channels])
    }

    /// The channels in a line under a column of taps; none in the padding.
    #[inline(always)]
    pub fn channels(&self, line: &'a [u8], tap: usize) -> Option<&'a [u8]> {
        let x = self.window.index(1, self.position[1], tap, self.width)?;
        Some(&line[x * self.channels..][..self.channels])
    }

    /// The columns of taps that are not in the padding, and where in a line the first of them begins; for taps that are
    /// neighbours.
    #[inline(always)]
    pub fn run(&self) -> (Range<usize>, usize) {
        let [_, left, ..] = self.window.padding;
        let start = self.position[1] * self.window.stride[1];
        let first = left.saturating_sub(start).min(self.window.size[1]);
        let end = (self.width + left).saturating_sub(start).clamp(first, self.window.size[1]);
        (first..end, (start + first).saturating_sub(left).min(self.width) * self.channels)
    }
}
