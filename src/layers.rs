//! Layers in the quantized domain, on channels-last images `[images, height, width, channels]`: patches of codes are
//! multiplied, padding is the zero point, a ReLU is the lower activation bound of the output stage.

pub(crate) mod conv;
mod convolution;
mod depthwise;
mod linear;
mod pool;
mod window;

pub use crate::matmul::weights::Weights;
pub use conv::Conv2d;
pub use linear::Linear;
pub use pool::MaxPool2d;
pub use window::Window;
