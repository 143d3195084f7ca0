//! Max-pooling of codes: scales are positive, so the largest code is the code of the largest number.

use super::window::{Window, Windows};
use crate::codes::Code;
use crate::error::{Error, check_length, elements_of};
use crate::isa::Isa;
use crate::kernel::{Kernel, Vectors};

/// Max-pooling of images `[images, height, width, channels]`. What lies in the padding does not count.
///
/// ```
/// use zeropoint::{Isa, MaxPool2d, Window};
/// let pool = MaxPool2d::new(Window { stride: [2, 2], ..Window::new([2, 2]) });
/// let mut out = [0_u8; 1];
/// pool.forward(Isa::best()?, &[3, 9, 4, 1], [1, 2, 2, 1], &mut out)?;
/// assert_eq!(out, [9]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2d {
    window: Window,
}

impl MaxPool2d {
    /// Pooling under this window.
    #[must_use]
    pub fn new(window: Window) -> Self {
        MaxPool2d { window }
    }

    /// The shape of the result for images `[images, height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the window does not fit, or could lie in the padding alone, where there is no maximum.
    pub fn output_shape(&self, [images, height, width, channels]: [usize; 4]) -> Result<[usize; 4], Error> {
        let output = self.window.output_size([height, width])?;
        self.window.check_no_window_in_the_padding([height, width])?;
        Ok([images, output[0], output[1], channels])
    }

    /// The largest code under every window, channel by channel.
    ///
    /// # Errors
    /// [`Error::Length`]; as [`output_shape`](MaxPool2d::output_shape).
    pub fn forward<C: Code>(&self, isa: Isa, images: &[C], shape: [usize; 4], out: &mut [C]) -> Result<(), Error> {
        let output = self.output_shape(shape)?;
        check_length("the images", elements_of(&shape), images.len())?;
        check_length("out", elements_of(&output), out.len())?;
        let [_, height, width, _] = output;
        isa.run(MaxPool { windows: Windows { images, shape, output: [height, width], window: &self.window }, out });
        Ok(())
    }
}

/// Plain loops: the maximum of bytes is vectorized by the compiler for the ISA it runs on.
struct MaxPool<'a, C> {
    windows: Windows<'a, C>,
    out: &'a mut [C],
}

impl<C: Code> Kernel for MaxPool<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, _: S) {
        let MaxPool { windows, out } = self;
        let [height, width] = windows.window.size;
        for (row, out) in out.chunks_exact_mut(windows.shape[3].max(1)).enumerate() {
            let placed = windows.at(row);
            out.fill(C::MIN);
            for line in (0..height).filter_map(|tap| placed.line(tap)) {
                for channels in (0..width).filter_map(|tap| placed.channels(line, tap)) {
                    for (out, &code) in out.iter_mut().zip(channels) {
                        *out = (*out).max(code);
                    }
                }
            }
        }
    }
}
