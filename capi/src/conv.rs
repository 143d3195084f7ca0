//! Convolutions of images.

use core::mem::MaybeUninit;

use zeropoint::layers::{Conv2d, Window};
use zeropoint::{Exec, QuantParams, Stage};

use crate::boundary::{Caller, call, zp_message};
use crate::element::{CEnum, Element, zp_type};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::failure::Failure;
use crate::handle::{Handle, Shared};
use crate::params::{Params, zp_params};
use crate::stage::{Product, zp_stage};
use crate::view::{Input, Output, zp_view, zp_view_mut};
use crate::weights::{Bias, Byte, make_pair, with_pair, zp_bias};

/// A convolution with its weights, packed for one ISA, and its window. A shared handle: zp_conv2d_share() makes one more owner without a
/// copy, and each owner frees it with zp_conv2d_free(). It never changes, so threads may share it.
pub struct zp_conv2d {
    _opaque: (),
}

/// A window that moves over an image: height first, width second. zp_window_of() makes one of stride 1 without padding.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_window {
    /// Height and width.
    pub size: [usize; 2],
    /// Elements from a position to the next.
    pub stride: [usize; 2],
    /// Elements around the image: top, left, bottom, right.
    pub padding: [usize; 4],
    /// Elements from a tap of the window to the next.
    pub dilation: [usize; 2],
}

/// The lengths of four axes: of images, `[images, height, width, channels]`; of weights, `[outputs, channels / groups, height, width]`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zp_shape {
    /// From the outermost to the innermost.
    pub axes: [usize; 4],
}

impl From<zp_window> for Window {
    fn from(zp_window { size, stride, padding, dilation }: zp_window) -> Self {
        Window { size, stride, padding, dilation }
    }
}

/// A window of this height and width: stride 1, no padding, dilation 1.
#[unsafe(no_mangle)]
pub extern "C" fn zp_window_of(height: usize, width: usize) -> zp_window {
    let Window { size, stride, padding, dilation } = Window::new([height, width]);
    zp_window { size, stride, padding, dilation }
}

/// Convolutions of images of either type.
pub(crate) enum ConvPair {
    U8U8(Conv2d<u8, u8>),
    U8I8(Conv2d<u8, i8>),
    I8U8(Conv2d<i8, u8>),
    I8I8(Conv2d<i8, i8>),
}

impl Handle for zp_conv2d {
    type Value = ConvPair;
    type Ownership = Shared;
    const NAME: &str = "zp_conv2d";
    const KIND: u32 = 0x7a70_0004;
}

struct Layer<'c> {
    exec: Exec<'c>,
    weights: Input<'c>,
    shape: [usize; 4],
    params: &'c Params,
    window: Window,
    groups: usize,
    bias: Option<Bias<'c>>,
}

impl Layer<'_> {
    fn make<A: Byte, B: Byte>(self) -> Result<Conv2d<A, B>, Failure> {
        let Layer { exec, weights, shape, params, window, groups, bias } = self;
        let conv = Conv2d::new(exec, weights.slice::<B>()?, shape, params.typed("params")?, window, groups)?;
        let Some(bias) = bias else { return Ok(conv) };
        let (values, x) = bias.typed()?;
        Ok(conv.with_bias(values, x)?)
    }
}

/// A convolution by `weights`, U8 or I8 without gaps, of `shape`: outputs, channels / groups, height, width, the last two of which are
/// the window's. The parameters are per tensor or per output. It is for images of the type `images`, U8 or I8, on the ISA of `exec`.
/// `bias` may be NULL. The weights and parameters are copied: both may be freed.
///
/// Errors: ZP_ERROR_LENGTH; ZP_ERROR_SHAPE when an axis has no length, the window goes with no image, or the window, the groups or the
/// parameters do not go with the shape; ZP_ERROR_TYPE; ZP_ERROR_NON_FINITE and ZP_ERROR_BIAS for a bias that 32 bits do not hold; ZP_ERROR_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_conv2d_new(
    exec: *const zp_exec,
    images: MaybeUninit<zp_type>,
    weights: zp_view,
    shape: zp_shape,
    params: *const zp_params,
    window: zp_window,
    groups: usize,
    bias: *const zp_bias,
    conv: *mut *mut zp_conv2d,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, exec, shape) = (c.out_handle(conv)?, c.exec(exec)?, shape.axes);
            let (params, bias) = (c.handle(params)?, c.bias(bias)?);
            let images = zp_type::checked(images, "images")?;
            let ([weights], []) = c.buffers([(&weights, "weights")], [])?;
            let layer = Layer { exec, weights, shape, params, window: window.into(), groups, bias };
            out.write(make_pair!(ConvPair, images, (params.code_type(), "params"), (A, B) => layer.make::<A, B>()?));
            Ok(())
        })
    }
}

/// The shape of the result, `[images, height, width, outputs]`, for images of `shape`, `[images, height, width, channels]`.
///
/// Errors: ZP_ERROR_SHAPE when the channels are not the weights', or the window does not fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_conv2d_output_shape(
    conv: *const zp_conv2d,
    shape: zp_shape,
    output: *mut zp_shape,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (shape, out) = (shape.axes, c.out(output, "output")?);
            let axes = with_pair!(ConvPair, c.handle(conv)?, conv => conv.output_shape(shape)?);
            out.write(zp_shape { axes });
            Ok(())
        })
    }
}

struct Forward<'c, A: Byte, B> {
    exec: Exec<'c>,
    conv: &'c Conv2d<A, B>,
    images: &'c [A],
    shape: [usize; 4],
    params: &'c QuantParams<A>,
}

impl<'c, A: Byte, B: Byte> Product<'c> for Forward<'c, A, B> {
    fn run<S: Stage<Element: Element>>(self, stage: &S, out: Output<'c>) -> Result<(), Failure> {
        let Forward { exec, conv, images, shape, params } = self;
        Ok(conv.forward(exec, images, shape, params, stage, out.slice()?)?)
    }
}

/// The convolution of `images`, without gaps, of `shape`: images, height, width, channels. `x_params` are per tensor, per image, or per
/// channel with one scale; padding is the zero point. `out` has no gaps, the elements of zp_conv2d_output_shape(), and the type of the
/// stage.
///
/// Errors: ZP_ERROR_SHAPE as zp_conv2d_output_shape(), and for other parameters; then those of zp_matmul().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_conv2d_forward(
    exec: *const zp_exec,
    conv: *const zp_conv2d,
    images: zp_view,
    shape: zp_shape,
    x_params: *const zp_params,
    stage: *const zp_stage,
    out: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, conv, stage) = (c.exec(exec)?, c.handle(conv)?, c.handle(stage)?);
            let (shape, params) = (shape.axes, c.handle(x_params)?);
            let ([images], [out]) = c.buffers([(&images, "images")], [(&out, "out")])?;
            with_pair!(ConvPair, conv, conv => {
                let (images, params) = (images.slice()?, params.typed("x_params")?);
                stage.run(out, Forward { exec, conv, images, shape, params })
            })
        })
    }
}

/// One more owner of a convolution: `other` becomes a handle of the same, to be freed too. Nothing is copied.
///
/// Errors: ZP_ERROR_HANDLE, ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_conv2d_share(
    conv: *const zp_conv2d,
    other: *mut *mut zp_conv2d,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.share(conv, other)) }
}

/// Frees a convolution: the memory goes with the last owner. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_conv2d_free(conv: *mut zp_conv2d, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(conv)) }
}
