//! Layers in the quantized domain, on channels-last images `[images, height, width, channels]`: what is multiplied are
//! patches of codes, padding is the zero point, a ReLU is the lower activation bound of the output stage.

mod conv;
mod depthwise;
mod linear;
mod pool;
mod window;

pub use conv::Conv2d;
pub use linear::Linear;
pub use pool::MaxPool2d;
pub use window::Window;
