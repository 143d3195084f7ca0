//! 2-D convolution: the public type, which knows the types of the codes.

use core::marker::PhantomData;

use bytemuck::cast_slice;

use super::convolution::Convolution;
use super::images::{Images, RawImages};
use super::kernels::WeightCodes;
use super::window::Window;
use crate::codes::ByteCode;
use crate::error::{Error, elements_of};
use crate::exec::Exec;
use crate::isa::Isa;
use crate::matmul::stage::Stage;
use crate::matmul::weights::{Sealed, WeightScales, Weights};
use crate::matrix::{Matrix, ZeroPoints};
use crate::params::QuantParams;
use crate::quantized::Quantized;

/// A 2-D convolution with weights `[outputs, channels / groups, height, width]` on images
/// `[images, height, width, channels]`, the result `[images, height, width, outputs]`.
///
/// Padding is real 0, the zero point of its image: it adds nothing, and a window may lie in the padding alone. A batch of no
/// images has an empty result; everything else about it is checked as usual. Weights have no axis without a length.
///
/// ```
/// use zeropoint::layers::{Conv2d, Window};
/// use zeropoint::{Accumulators, CodeRange, Exec, QuantParams};
/// let exec = Exec::best()?;
/// let edges = [1_i8, 0, -1, 2, 0, -2, 1, 0, -1]; // 1 output × 1 channel × 3 × 3
/// let params = QuantParams::per_tensor(CodeRange::narrow(8)?, 0.01, 0)?;
/// let window = Window { padding: [1; 4], ..Window::new([3, 3]) };
/// let conv = Conv2d::<u8, i8>::new(exec, &edges, [1, 1, 3, 3], &params, window, 1)?;
/// let image = [10_u8, 10, 60, 10, 10, 60]; // 2 × 3, zero point 10
/// let image_params = QuantParams::per_tensor(CodeRange::unsigned(8)?, 0.5, 10)?;
/// let mut sums = [0; 6];
/// assert_eq!(conv.output_shape([1, 2, 3, 1])?, [1, 2, 3, 1]);
/// conv.forward(exec, &image, [1, 2, 3, 1], &image_params, &Accumulators, &mut sums)?;
/// assert_eq!(sums, [0, -150, 0, 0, -150, 0]);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Conv2d<A, B> {
    convolution: Convolution,
    codes: PhantomData<fn(A) -> B>,
}

mod sealed {
    use super::Convolution;

    /// How a convolution is handed to the functions that take any.
    pub trait EraseConvolution {
        fn erase(&self) -> &Convolution;
    }
}
pub(super) use sealed::EraseConvolution;

/// A convolution of images of type `A`: [`Conv2d`] or [`ConvTranspose2d`](super::ConvTranspose2d).
pub trait Convolve<A>: EraseConvolution {}

impl<A: ByteCode, B: ByteCode> Conv2d<A, B> {
    /// Weights of shape `[outputs, channels / groups, height, width]` (height and width are the window's), with parameters
    /// per tensor or per output.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::Shape`] when an axis has no length, the window, the groups or the parameters do not go with the
    /// shape, or the window goes with no image: a stride or dilation of 0, more than `isize::MAX` elements of it or of its padding.
    pub fn new<'e>(
        exec: impl Into<Exec<'e>>,
        weights: &[B],
        shape: [usize; 4],
        params: &QuantParams<B>,
        window: Window,
        groups: usize,
    ) -> Result<Self, Error> {
        let by_output = Matrix::new(weights, shape[0], elements_of(&shape[1..]))?;
        let (zero_points, scales) = Quantized::new(by_output, params)?.by_row()?;
        let mut conv = Self::with_zero_points(exec.into().isa(), weights, shape, zero_points, window, groups)?;
        *conv.convolution.scales_mut() = WeightScales::new(scales);
        Ok(conv)
    }

    /// Weights whose scales are not known, with one zero point or one for every output.
    pub(crate) fn with_zero_points(
        isa: Isa,
        weights: &[B],
        shape: [usize; 4],
        zero_points: ZeroPoints<'_>,
        window: Window,
        groups: usize,
    ) -> Result<Self, Error> {
        let weights = WeightCodes { signs: [A::SIGN, B::SIGN], codes: cast_slice(weights), zero_points, groups };
        Ok(Conv2d { convolution: Convolution::new(isa, weights, shape, window)?, codes: PhantomData })
    }

    /// With a bias for every output, as real numbers, in place of any earlier one. It is quantized at the scale of the
    /// accumulators, that of the images, whose parameters are `x`, times that of the output's weights: so all images need the
    /// scale of `x` ([`Error::Operand`] otherwise). For images whose scale differs from call to call, give the bias to
    /// [`Dequantize::with_bias`](crate::Dequantize::with_bias).
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
    /// [`Error::Shape`] when the channels are not the weights' or the window does not fit.
    pub fn output_shape(&self, images: [usize; 4]) -> Result<[usize; 4], Error> {
        self.convolution.output_shape(images)
    }

    /// The convolution of images whose parameters are per tensor, per image: `Granularity::channel(&[images, h * w * c], 0)`, or per
    /// channel with one scale: `Granularity::channel(&shape, 3)`. Padding is real 0: the zero point of its image or channel.
    ///
    /// # Errors
    /// [`Error::Shape`], as [`output_shape`](Conv2d::output_shape) and for other parameters;
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

/// [`Conv2d::forward`], or that of a transposed convolution, of images whose zero points are given by hand, and whose scales
/// only the stage knows.
///
/// # Errors
/// [`Error::Shape`], as [`Conv2d::output_shape`]; [`Error::Length`]; [`Error::ZeroPoint`]; then those of
/// [`raw::matmul`](crate::raw::matmul()).
pub fn convolve<'e, A: ByteCode, S: Stage>(
    exec: impl Into<Exec<'e>>,
    conv: &impl Convolve<A>,
    images: RawImages<'_, A>,
    stage: &S,
    out: &mut [S::Element],
) -> Result<(), Error> {
    let conv = conv.erase();
    conv.output_shape(images.shape)?;
    conv.forward(exec.into(), Images::by_hand(images)?, stage, out)
}

impl<A: ByteCode, B: ByteCode> Convolve<A> for Conv2d<A, B> {}

impl<A, B> EraseConvolution for Conv2d<A, B> {
    fn erase(&self) -> &Convolution {
        &self.convolution
    }
}

impl<A, B> Sealed for Conv2d<A, B> {}

impl<A: ByteCode, B: ByteCode> Weights<A> for Conv2d<A, B> {
    fn scales(&self) -> &[f32] {
        self.convolution.scales().values()
    }
}
