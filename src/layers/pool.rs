//! Max-pooling of codes: scales are positive, so the largest code is the code of the largest number.

use super::window::Window;
use crate::codes::Code;
use crate::error::{Error, check_length};
use crate::isa::Isa;
use crate::simd::{Kernel, Simd};

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
    /// [`Error::Shape`] when the window does not fit, or lies in the padding alone somewhere: there is no maximum.
    pub fn output_shape(&self, [images, height, width, channels]: [usize; 4]) -> Result<[usize; 4], Error> {
        let output = self.window.output_size([height, width])?;
        self.window.check_no_window_in_the_padding([height, width], output)?;
        Ok([images, output[0], output[1], channels])
    }

    /// The largest code under every window, channel by channel.
    ///
    /// # Errors
    /// [`Error::Length`]; as [`output_shape`](MaxPool2d::output_shape).
    pub fn forward<C: Code>(&self, isa: Isa, images: &[C], shape: [usize; 4], out: &mut [C]) -> Result<(), Error> {
        let output = self.output_shape(shape)?;
        check_length("the images", shape.iter().product(), images.len())?;
        check_length("out", output.iter().product(), out.len())?;
        isa.run(MaxPool { window: &self.window, images, shape, output, out });
        Ok(())
    }
}

/// Plain loops: the maximum of bytes is vectorized by the compiler for the ISA it runs on.
struct MaxPool<'a, C> {
    window: &'a Window,
    images: &'a [C],
    shape: [usize; 4],
    output: [usize; 4],
    out: &'a mut [C],
}

impl<C: Code> Kernel for MaxPool<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let MaxPool { window, images, shape, output, out } = self;
        let [_, height, width, channels] = shape;
        if channels == 0 {
            return;
        }
        for (row, out) in out.chunks_exact_mut(channels).enumerate() {
            let (image, position) = (row / (output[1] * output[2]), row % (output[1] * output[2]));
            let image = &images[image * height * width * channels..][..height * width * channels];
            out.fill(C::MIN);
            for tap in 0..window.taps() {
                let position = [position / output[2], position % output[2]];
                if let Some(element) = window.element(position, tap, [height, width]) {
                    for (out, &code) in out.iter_mut().zip(&image[element * channels..][..channels]) {
                        *out = (*out).max(code);
                    }
                }
            }
        }
    }
}
