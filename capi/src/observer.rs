//! Calibration: observers by the names of their methods.

use core::ffi::c_char;
use core::mem::MaybeUninit;
use std::sync::{Mutex, MutexGuard};

use zeropoint::calibrate::{Calibrator, Method, NonFinite, Observer};

use crate::boundary::{Caller, call, zp_message};
use crate::element::{truth, zp_type};
use crate::error::zp_error;
use crate::exec::zp_exec;
use crate::handle::{Handle, Owned};
use crate::params::with_code_type;
use crate::scheme::{zp_codes, zp_range, zp_scheme};
use crate::view::zp_view;

/// What sees batches during calibration, and tells the range that codes should cover. It keeps a histogram at most, never the data. An
/// owned handle: free it with zp_observer_free(). Calls on several threads wait for each other.
pub struct zp_observer {
    _opaque: (),
}

impl Handle for zp_observer {
    type Value = Mutex<Calibrator>;
    type Ownership = Owned;
    const NAME: &str = "zp_observer";
    const KIND: u32 = 0x7a70_0005;
}

/// The observer, for this call alone. (One that panicked before is no better than one that does now.)
fn lock(observer: &Mutex<Calibrator>) -> MutexGuard<'_, Calibrator> {
    observer.lock().expect("no call with this observer panicked")
}

/// An observer of a tensor that will have these codes and this scheme, by the name of its method and an optional argument: minmax,
/// absmax, average, ema[:decay], moving[:constant], std[:deviations], gauss, laplace, percentile[:p], percentiles[:p], entropy, mse.
/// `sample` is the elements of a sample, which `average` alone needs. NaN and infinities are skipped, or an error of a batch.
///
/// Errors: ZP_ERROR_METHOD, whose message lists the names; ZP_ERROR_SETTING for an argument that a method cannot have; ZP_ERROR_SHAPE
/// for a sample without elements; ZP_ERROR_CODES.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_observer_new(
    method: *const c_char,
    codes: zp_codes,
    scheme: zp_scheme,
    sample: usize,
    skips_non_finite: MaybeUninit<bool>,
    observer: *mut *mut zp_observer,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (out, scheme) = (c.out_handle(observer)?, scheme.checked()?);
            let method: Method = c.text(method, "method")?.parse()?;
            let observer = with_code_type!(codes.code_type()?, C => {
                method.observer::<C>(codes.range()?, scheme, sample)?
            });
            let non_finite = if truth(skips_non_finite) { NonFinite::Skip } else { NonFinite::Refuse };
            out.write(Mutex::new(observer.non_finite(non_finite)));
            Ok(())
        })
    }
}

/// Records a batch, floats without gaps. On an error nothing of it is recorded.
///
/// Errors: ZP_ERROR_NON_FINITE with the first NaN or infinity, unless they are skipped; ZP_ERROR_MULTIPLE when the length does not go
/// with the samples.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_observer_observe(
    exec: *const zp_exec,
    observer: *const zp_observer,
    batch: zp_view,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (exec, observer) = (c.exec(exec)?, c.handle(observer)?);
            let ([batch], []) = c.buffers([(&batch, "batch")], [])?;
            Ok(lock(observer).observe(exec, batch.slice()?)?)
        })
    }
}

/// Adds what another observer with the same settings saw.
///
/// Errors: ZP_ERROR_MERGE when the settings differ, or where the order of batches matters; nothing is added then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_observer_merge(
    observer: *const zp_observer,
    other: *const zp_observer,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let (observer, other) = (c.handle(observer)?, c.handle(other)?);
            // A copy: so no call holds two locks, and an observer may be merged with itself.
            let other = lock(other).clone();
            Ok(lock(observer).merge(&other)?)
        })
    }
}

/// The range that codes should cover, and how many NaN and infinities were skipped. Either pointer may be NULL.
///
/// Errors: ZP_ERROR_EMPTY when no finite value was seen.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_observer_range(
    observer: *const zp_observer,
    range: *mut zp_range,
    skipped: *mut u64,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let observer = lock(c.handle(observer)?);
            let (range, skipped) = (c.out_optional(range, "range")?, c.out_optional(skipped, "skipped")?);
            range.write(observer.range()?.into());
            skipped.write(observer.skipped());
            Ok(())
        })
    }
}

/// Frees an observer. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_observer_free(observer: *mut zp_observer, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(observer)) }
}
