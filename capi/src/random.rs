//! Random words that belong to a seed and an index.

use zeropoint::Stream;
use zeropoint::random::{fill_uniform, fill_words};

use crate::boundary::{Caller, call, zp_message};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::view::zp_view_mut;

/// The words of the stream of a seed, from the index `offset` on, into `out`: `count`. They are the same on every ISA and for any
/// number of threads.
///
/// Errors: ZP_ERROR_STREAM when an index would exceed 2⁶⁴ − 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_random_words(
    exec: *const zp_exec,
    seed: u64,
    offset: u64,
    out: *mut u32,
    count: usize,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let exec = c.exec(exec)?;
            let ([], [out]) = c.buffers([], [(&zp_view_mut::array(out, count), "out")])?;
            Ok(fill_words(exec, Stream { seed, offset }, out.slice()?)?)
        })
    }
}

/// Uniform values of [0, 1), `(word >> 8) · 2⁻²⁴`, into `out`: `count`.
///
/// Errors: ZP_ERROR_STREAM when an index would exceed 2⁶⁴ − 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_random_uniform(
    exec: *const zp_exec,
    seed: u64,
    offset: u64,
    out: *mut f32,
    count: usize,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let exec = c.exec(exec)?;
            let ([], [out]) = c.buffers([], [(&zp_view_mut::array(out, count), "out")])?;
            Ok(fill_uniform(exec, Stream { seed, offset }, out.slice()?)?)
        })
    }
}
