//! Transposed 2-D convolution: the public type, which knows the types of the codes.

use core::marker::PhantomData;

use bytemuck::cast_slice;

use super::conv::{Convolve, EraseConvolution};
use super::convolution::Convolution;
use super::images::Images;
use super::kernels::WeightCodes;
use super::window::Window;
use crate::codes::ByteCode;
use crate::error::Error;
use crate::exec::Exec;
use crate::isa::Isa;
use crate::matmul::stage::Stage;
use crate::matmul::weights::{Sealed, WeightScales, Weights};
use crate::matrix::ZeroPoints;
use crate::params::{Granularity, QuantParams};

/// A transposed 2-D convolution (a "deconvolution"), as PyTorch's `ConvTranspose2d` and ONNX's `ConvTranspose`: with weights
/// `[channels, outputs / groups, height, width]` on images `[images, height, width, channels]`, the result
/// `[images, height, width, outputs]`. The sums over all i and t of each axis, with `i · stride + t · dilation − padding = o`:
///
/// `acc[o] = Σ (x[i] − zx) · (w[t] − zw) + bias`
///
/// They are exact, and no element that the stride leaves out is multiplied. A batch of no images has an empty result;
/// everything else about it is checked as usual. Neither weights nor images have an axis without a length.
///
/// ```
/// use zeropoint::layers::{ConvTranspose2d, TransposedWindow, Window};
/// use zeropoint::{Accumulators, CodeRange, Exec, QuantParams};
/// let exec = Exec::best()?;
/// let weights = [1_i8, 2, 3]; // 1 channel × 1 output × 1 × 3
/// let params = QuantParams::per_tensor(CodeRange::narrow(8)?, 0.01, 0)?;
/// let window = TransposedWindow::from(Window { stride: [1, 2], ..Window::new([1, 3]) });
/// let conv = ConvTranspose2d::<u8, i8>::new(exec, &weights, [1, 1, 1, 3], &params, window, 1)?;
/// let image_params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 10)?;
/// let mut sums = [0; 5];
/// assert_eq!(conv.output_shape([1, 1, 2, 1])?, [1, 1, 5, 1]);
/// conv.forward(exec, &[11, 20], [1, 1, 2, 1], &image_params, &Accumulators, &mut sums)?;
/// assert_eq!(sums, [1, 2, 3 + 10, 20, 30]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConvTranspose2d<A, B> {
    convolution: Convolution,
    codes: PhantomData<fn(A) -> B>,
}

/// A window that the elements of an image are spread by: on each axis, the result has
/// `(image − 1) · stride + (size − 1) · dilation + 1 + output_padding − padding` elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct TransposedWindow {
    /// Its size, stride, dilation, and as padding the elements that are left out of the result: top, left, bottom, right.
    pub window: Window,
    /// Elements that are added at the end of the result: bottom, right.
    pub output_padding: [usize; 2],
}

impl From<Window> for TransposedWindow {
    fn from(window: Window) -> Self {
        TransposedWindow { window, output_padding: [0; 2] }
    }
}

impl<A: ByteCode, B: ByteCode> ConvTranspose2d<A, B> {
    /// Weights of shape `[channels, outputs / groups, height, width]` (height and width are the window's), with parameters per
    /// tensor or per output: `Granularity::channel(&shape, 1)`, the same for every group.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Shape`] when an axis has no length, the window, the groups or the parameters do not go with the
    /// shape, or the window goes with no image: a stride or dilation of 0, more than `isize::MAX` elements of it or of its padding.
    pub fn new<'e>(
        exec: impl Into<Exec<'e>>,
        weights: &[B],
        shape: [usize; 4],
        params: &QuantParams<B>,
        window: impl Into<TransposedWindow>,
        groups: usize,
    ) -> Result<Self, Error> {
        let window = window.into();
        // (The groups are no more than there are channels.)
        Convolution::check_transposed(cast_slice(weights), shape, window.window, groups)?;
        let (zero_points, scales) = match params.granularity() {
            Granularity::Tensor => (params.zero_points().to_vec(), params.scales().to_vec()),
            Granularity::Channel { channels, inner } if [channels, inner] == [shape[1], shape[2] * shape[3]] => {
                (params.zero_points().repeat(groups), params.scales().repeat(groups))
            }
            _ => {
                let why = "the parameters are neither per tensor nor per output";
                return Err(Error::Shape { why, found: params.scales().len() });
            }
        };
        let zero_points = match zero_points[..] {
            [one] => one.into(),
            _ => zero_points[..].into(),
        };
        let mut conv = Self::with_zero_points(exec.into().isa(), weights, shape, zero_points, window, groups)?;
        *conv.convolution.scales_mut() = WeightScales::new(&scales);
        Ok(conv)
    }

    /// Weights whose scales are not known, with one zero point or one for every output.
    pub(crate) fn with_zero_points(
        isa: Isa,
        weights: &[B],
        shape: [usize; 4],
        zero_points: ZeroPoints<'_>,
        window: TransposedWindow,
        groups: usize,
    ) -> Result<Self, Error> {
        let weights = WeightCodes { signs: [A::SIGN, B::SIGN], codes: cast_slice(weights), zero_points, groups };
        let convolution = Convolution::transposed(isa, weights, shape, window.window, window.output_padding)?;
        Ok(ConvTranspose2d { convolution, codes: PhantomData })
    }

    /// With a bias for every output, as real numbers, in place of any earlier one: as
    /// [`Conv2d::with_bias`](super::Conv2d::with_bias).
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Shape`] when `x` is not per tensor; [`Error::NonFinite`]; [`Error::Bias`] for a bias that no
    /// i32 reaches.
    pub fn with_bias(mut self, bias: &[f32], x: &QuantParams<A>) -> Result<Self, Error> {
        self.convolution.quantize_bias(bias, x)?;
        Ok(self)
    }

    pub(crate) fn set_bias(&mut self, bias: &[i32]) -> Result<(), Error> {
        self.convolution.set_bias(bias, None)
    }

    /// The shape of the result for images `[images, height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the channels are not the weights', an axis of the image has no length, or the padding trims the
    /// whole result.
    pub fn output_shape(&self, images: [usize; 4]) -> Result<[usize; 4], Error> {
        self.convolution.output_shape(images)
    }

    /// The convolution of images whose parameters are per tensor, per image: `Granularity::channel(&[images, h * w * c], 0)`, or per
    /// channel with one scale: `Granularity::channel(&shape, 3)`. Padding is real 0: the zero point of its image or channel.
    ///
    /// # Errors
    /// [`Error::Shape`], as [`output_shape`](ConvTranspose2d::output_shape) and for other parameters;
    /// [`Error::Length`]; then those of [`matmul`](crate::matmul()).
    pub fn forward<'e, S: Stage>(
        &self,
        exec: impl Into<Exec<'e>>,
        images: &[A],
        shape: [usize; 4],
        x: &QuantParams<A>,
        stage: &S,
        out: &mut [S::Element],
    ) -> Result<(), Error> {
        self.output_shape(shape)?;
        self.convolution.forward(exec.into(), Images::quantized(images, shape, x)?, stage, out)
    }
}

impl<A: ByteCode, B: ByteCode> Convolve<A> for ConvTranspose2d<A, B> {}

impl<A, B> EraseConvolution for ConvTranspose2d<A, B> {
    fn erase(&self) -> &Convolution {
        &self.convolution
    }
}

impl<A, B> Sealed for ConvTranspose2d<A, B> {}

impl<A: ByteCode, B: ByteCode> Weights<A> for ConvTranspose2d<A, B> {
    fn scales(&self) -> &[f32] {
        self.convolution.scales().values()
    }
}
