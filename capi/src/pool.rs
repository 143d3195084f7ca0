//! Pooling of images.

use core::mem::MaybeUninit;

use zeropoint::layers::{AvgPool2d, MaxPool2d};

use crate::boundary::{Caller, call, zp_message};
use crate::conv::{zp_shape, zp_window};
use crate::element::{truth, zp_type};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::failure::Reason;
use crate::params::{Params, zp_params};
use crate::view::{zp_view, zp_view_mut};

/// The average pooling under a window, or, without one, over the whole image.
fn average(window: Option<&zp_window>, counts_padding: MaybeUninit<bool>) -> AvgPool2d {
    let pool = window.map_or_else(AvgPool2d::global, |&window| AvgPool2d::new(window.into()));
    if truth(counts_padding) { pool.counting_padding() } else { pool }
}

/// The shape of the result of a max-pooling for images of `shape`: images, height, width, channels.
///
/// Errors: ZP_ERROR_SHAPE when the window does not fit, or lies in the padding alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_max_pool2d_output_shape(
    window: zp_window,
    shape: zp_shape,
    output: *mut zp_shape,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (shape, out) = (shape.axes, c.out(output, "output")?);
            out.write(zp_shape { axes: MaxPool2d::new(window.into()).output_shape(shape)? });
            Ok(())
        })
    }
}

/// The largest code under every window, channel by channel, of images, U8 or I8 without gaps, of `shape`: images, height, width,
/// channels. Padding does not count.
///
/// Errors: ZP_ERROR_LENGTH, ZP_ERROR_TYPE, ZP_ERROR_OVERLAP; ZP_ERROR_SHAPE as zp_max_pool2d_output_shape().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_max_pool2d(
    exec: *const zp_exec,
    window: zp_window,
    images: zp_view,
    shape: zp_shape,
    out: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, shape) = (c.exec(exec)?, shape.axes);
            let ([images], [out]) = c.buffers([(&images, "images")], [(&out, "out")])?;
            let pool = MaxPool2d::new(window.into());
            match images.element() {
                zp_type::I8 => Ok(pool.forward(exec, images.slice::<i8>()?, shape, out.slice()?)?),
                _ => Ok(pool.forward(exec, images.slice::<u8>()?, shape, out.slice()?)?),
            }
        })
    }
}

/// The shape of the result of an average pooling for images of `shape`: images, height, width, channels. A window that is NULL stands
/// for the whole image.
///
/// Errors: ZP_ERROR_SHAPE when the window does not fit, or lies in the padding alone and that does not count.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_average_pool2d_output_shape(
    window: *const zp_window,
    counts_padding: MaybeUninit<bool>,
    shape: zp_shape,
    output: *mut zp_shape,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (shape, out) = (shape.axes, c.out(output, "output")?);
            let pool = average(c.optional(window, "window")?, counts_padding);
            out.write(zp_shape { axes: pool.output_shape(shape)? });
            Ok(())
        })
    }
}

/// The mean under every window, channel by channel, of images, U8 or I8 without gaps, of `shape`: images, height, width, channels; with
/// the parameters of the images, rounded once, ties to even. A window that is NULL stands for the whole image. Padding, which is 0,
/// counts or not.
///
/// Errors: ZP_ERROR_LENGTH, ZP_ERROR_TYPE, ZP_ERROR_OVERLAP; ZP_ERROR_SHAPE as zp_average_pool2d_output_shape(), and for parameters
/// that are not per tensor, per image, or per channel with one scale.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_average_pool2d(
    exec: *const zp_exec,
    window: *const zp_window,
    counts_padding: MaybeUninit<bool>,
    images: zp_view,
    shape: zp_shape,
    params: *const zp_params,
    out: zp_view_mut,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, shape, params) = (c.exec(exec)?, shape.axes, c.handle(params)?);
            let pool = average(c.optional(window, "window")?, counts_padding);
            let ([images], [out]) = c.buffers([(&images, "images")], [(&out, "out")])?;
            match params {
                Params::U8(params) => Ok(pool.forward(exec, images.slice()?, shape, params, out.slice()?)?),
                Params::I8(params) => Ok(pool.forward(exec, images.slice()?, shape, params, out.slice()?)?),
                _ => {
                    let expected = "ZP_TYPE_U8 or ZP_TYPE_I8";
                    Err(Reason::Type { what: "params", found: params.code_type(), expected }.into())
                }
            }
        })
    }
}
