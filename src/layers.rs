//! Layers in the quantized domain, on channels-last images `[images, height, width, channels]`: patches of codes are
//! multiplied, padding is the zero point, a ReLU is the lower activation bound of the output stage.
//!
//! A batch of no rows or images is no error: the result is empty, and everything else is checked as for other batches. The
//! parameters of an empty batch are per tensor. Time and memory depend on the images, the weights and the result; sizes of a
//! window that lie in the padding cost nothing.

pub(crate) mod average;
pub(crate) mod conv;
mod conv_transpose;
mod convolution;
mod depthwise;
pub(crate) mod images;
mod interleave;
mod kernels;
mod linear;
mod patches;
mod pool;
mod transposed;
mod window;

pub use crate::matmul::weights::Weights;
pub use average::AvgPool2d;
pub use conv::{Conv2d, Convolve};
pub use conv_transpose::{ConvTranspose2d, TransposedWindow};
pub use linear::Linear;
pub use pool::MaxPool2d;
pub use window::Window;
