//! Max-pooling of codes: scales are positive, so the largest code is the code of the largest value.

use bytemuck::{must_cast_slice, must_cast_slice_mut};

use super::window::{Window, Windows};
use crate::codes::Code;
use crate::error::{Error, check_length, elements_of};
use crate::exec::Exec;
use crate::kernel::{Kernel, Vectors};
use crate::sign::Sign;

/// Max-pooling of images `[images, height, width, channels]`. The padding does not count.
///
/// ```
/// use zeropoint::Exec;
/// use zeropoint::layers::{MaxPool2d, Window};
/// let pool = MaxPool2d::new(Window { stride: [2, 2], ..Window::new([2, 2]) });
/// let mut out = [0_u8; 1];
/// pool.forward(Exec::best()?, &[3, 9, 4, 1], [1, 2, 2, 1], &mut out)?;
/// assert_eq!(out, [9]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2d {
    window: Window,
}

/// Codes a nanosecond that no core compares more of.
const COMPARED: usize = 128;

impl MaxPool2d {
    /// Pooling under this window.
    #[must_use]
    pub fn new(window: Window) -> Self {
        MaxPool2d { window }
    }

    /// The shape of the result for images `[images, height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the window does not fit, or could be in the padding alone, where there is no maximum.
    pub fn output_shape(&self, [images, height, width, channels]: [usize; 4]) -> Result<[usize; 4], Error> {
        let output = self.window.output_size([height, width])?;
        self.window.check_no_window_in_the_padding([height, width])?;
        Ok([images, output[0], output[1], channels])
    }

    /// The largest code under every window, channel by channel.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Shape`], as [`output_shape`](MaxPool2d::output_shape).
    pub fn forward<'e, C: Code>(
        &self,
        exec: impl Into<Exec<'e>>,
        images: &[C],
        shape: [usize; 4],
        out: &mut [C],
    ) -> Result<(), Error> {
        let (images, out) = (bytemuck::cast_slice(images), bytemuck::cast_slice_mut(out));
        self.pool(exec.into(), C::SIGN, images, shape, out)
    }

    fn pool(&self, exec: Exec<'_>, sign: Sign, images: &[u8], shape: [usize; 4], out: &mut [u8]) -> Result<(), Error> {
        let output = self.output_shape(shape)?;
        check_length("the images", elements_of(&shape), images.len())?;
        check_length("out", elements_of(&output), out.len())?;
        let [_, height, width, channels] = output;
        let windows = Windows { images, shape, output: [height, width], window: &self.window };
        let team = exec.team(out.len().saturating_mul(elements_of(&self.window.size)) / COMPARED);
        // Sixteen pieces of whole rows are divided evenly by up to eight threads.
        let all_rows = out.len() / channels.max(1);
        let rows = if team.alone() { all_rows } else { all_rows.div_ceil(16) };
        let unit = (rows * channels).max(1);
        let pieces = out.chunks_mut(unit).enumerate();
        team.share(pieces, |(i, out)| exec.isa().run(MaxPool { windows, sign, first: i * rows, out }));
        Ok(())
    }
}

/// Plain loops: the maximum of bytes is vectorized by the compiler for the ISA it runs on.
struct MaxPool<'a> {
    windows: Windows<'a>,
    sign: Sign,
    /// The row of the result where `out` begins.
    first: usize,
    out: &'a mut [u8],
}

impl Kernel for MaxPool<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Vectors>(self, _: S) {
        let MaxPool { windows, sign, first, out } = self;
        let [height, width] = windows.window.size;
        let channels = windows.shape[3].max(1);
        let least = if sign == Sign::Signed { i8::MIN.cast_unsigned() } else { u8::MIN };
        for (i, out) in out.chunks_exact_mut(channels).enumerate() {
            let patch = windows.at(first + i);
            out.fill(least);
            for tap_y in 0..height {
                let Some(line) = patch.line(tap_y) else { continue };
                for tap_x in 0..width {
                    let Some(codes) = patch.channels(line, tap_x) else { continue };
                    match sign {
                        Sign::Unsigned => {
                            for (out, &code) in out.iter_mut().zip(codes) {
                                *out = (*out).max(code);
                            }
                        }
                        Sign::Signed => {
                            let codes: &[i8] = must_cast_slice(codes);
                            for (out, &code) in must_cast_slice_mut::<u8, i8>(out).iter_mut().zip(codes) {
                                *out = (*out).max(code);
                            }
                        }
                    }
                }
            }
        }
    }
}
