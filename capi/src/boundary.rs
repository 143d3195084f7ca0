//! The border between C and Rust: no error, no panic and no unchecked pointer crosses it.

use core::ffi::{CStr, c_char};
use core::fmt::{self, Write};
use core::marker::PhantomData;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::zp_error;
use crate::failure::{Failure, Reason};
use crate::handle::{Handle, Shared};

/// Room for the message of an error. Functions take a pointer to one, or NULL. A function that fails writes the reason, with the
/// argument and the numbers at fault, as UTF-8 that ends with a zero byte (cut if it is longer); one that succeeds writes nothing.
/// The caller owns it: nothing is kept in the library, so any thread, fiber or language runtime may call.
#[repr(C)]
pub struct zp_message {
    /// The text.
    pub text: [c_char; 256],
}

/// What the body of a function does with the caller's pointers. Whoever has one vouches for the contract of the header
/// ([crate]); [`call`] makes it. Pointers are valid for `'c`, until the function returns.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'c>(PhantomData<&'c ()>);

/// Runs the body of a function: an error or a panic of it becomes a number, and a message if the caller wants one.
///
/// # Safety
/// All pointers that `body` hands to its [`Caller`], and `message`, are as the header says.
#[inline]
pub(crate) unsafe fn call<'c>(
    message: *mut zp_message,
    body: impl FnOnce(Caller<'c>) -> Result<(), Failure>,
) -> zp_error {
    // (Unwind safety: what a body that panicked may have left half done is the caller's output, which is undefined on errors.)
    let failure = match catch_unwind(AssertUnwindSafe(|| body(Caller(PhantomData)))) {
        Ok(Ok(())) => return zp_error::None,
        Ok(Err(failure)) => failure,
        Err(panic) => Reason::Panic { text: panic_text(panic) }.into(),
    };
    // SAFETY: null or a message of the caller's.
    unsafe { report(&failure, message) }
}

/// Writes the message of a failure, and returns its number.
#[cold]
unsafe fn report(failure: &Failure, message: *mut zp_message) -> zp_error {
    if !message.is_null() {
        let mut text = Text { bytes: [0; 256], length: 0 };
        // (It ends early if the text is longer.)
        let _ = write!(text, "{failure}");
        // SAFETY: not null, so it points to a message; bytes need no alignment.
        unsafe { message.cast::<[u8; 256]>().write(text.bytes) };
    }
    failure.number()
}

/// The text that somebody panicked with.
fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).to_owned()),
    }
}

/// A text that is cut where its room ends.
struct Text {
    bytes: [u8; 256],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - 1 - self.length;
        let fits = (0..=room.min(text.len())).rfind(|&end| text.is_char_boundary(end)).unwrap_or(0);
        self.bytes[self.length..][..fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.length += fits;
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// `Ok` when a pointer is neither null nor misaligned.
#[inline(always)]
fn check_pointer<T>(pointer: *const T, what: &'static str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Reason::Null { what }.into());
    }
    if !pointer.is_aligned() {
        return Err(Reason::Misaligned { what, address: pointer.addr(), alignment: align_of::<T>() }.into());
    }
    Ok(())
}

impl<'c> Caller<'c> {
    /// The value that a pointer points to.
    #[inline(always)]
    pub fn value<T>(self, pointer: *const T, what: &'static str) -> Result<&'c T, Failure> {
        check_pointer(pointer, what)?;
        // SAFETY: not null, aligned; the caller says that it points to a value which nobody writes until the call ends.
        Ok(unsafe { &*pointer })
    }

    /// The value that a pointer points to, unless it is null.
    #[inline(always)]
    pub fn optional<T>(self, pointer: *const T, what: &'static str) -> Result<Option<&'c T>, Failure> {
        if pointer.is_null() { Ok(None) } else { self.value(pointer, what).map(Some) }
    }

    /// The elements of an array that is only read, in a call that writes no buffer of the caller's but single values. (Buffers of
    /// other calls are views, which are checked for overlap.)
    pub fn array<T: Copy>(self, pointer: *const T, count: usize, what: &'static str) -> Result<&'c [T], Failure> {
        if count == 0 {
            return Ok(&[]);
        }
        check_pointer(pointer, what)?;
        let bytes = count.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize);
        bytes.ok_or(Reason::Size { what, rows: 1, columns: count })?;
        // SAFETY: not null, aligned, no more than isize::MAX bytes; the caller says that it points to so many elements.
        Ok(unsafe { core::slice::from_raw_parts(pointer, count) })
    }

    /// The text that ends with a zero byte.
    pub fn text(self, pointer: *const c_char, what: &'static str) -> Result<&'c str, Failure> {
        check_pointer(pointer, what)?;
        // SAFETY: not null; the caller says that a zero byte ends it.
        unsafe { CStr::from_ptr(pointer) }.to_str().map_err(|_| Reason::Text { what }.into())
    }

    /// Where a result goes that is a single value.
    pub fn out<T>(self, pointer: *mut T, what: &'static str) -> Result<Out<'c, T>, Failure> {
        check_pointer(pointer, what)?;
        Ok(Out { pointer, lifetime: PhantomData })
    }

    /// Where a result goes that is a single value, if the caller wants it.
    pub fn out_optional<T>(self, pointer: *mut T, what: &'static str) -> Result<OptionalOut<'c, T>, Failure> {
        Ok(OptionalOut(if pointer.is_null() { None } else { Some(self.out(pointer, what)?) }))
    }

    /// Where a new handle goes. It is null until there is one.
    pub fn out_handle<H: Handle>(self, pointer: *mut *mut H) -> Result<OutHandle<'c, H>, Failure> {
        let out = self.out(pointer, "the pointer to the new handle")?;
        let out = OutHandle(out);
        out.0.write(core::ptr::null_mut());
        Ok(out)
    }

    /// The value behind a handle.
    #[inline(always)]
    pub fn handle<H: Handle>(self, handle: *const H) -> Result<&'c H::Value, Failure> {
        // SAFETY: the caller says that it is a handle, not freed until the call ends.
        unsafe { crate::handle::value(handle) }
    }

    /// The value behind a handle, unless it is null.
    #[inline(always)]
    pub fn optional_handle<H: Handle>(self, handle: *const H) -> Result<Option<&'c H::Value>, Failure> {
        if handle.is_null() { Ok(None) } else { self.handle(handle).map(Some) }
    }

    /// One more owner of what is behind a shared handle, which keeps it where it is.
    pub fn owner<H: Handle<Ownership = Shared>>(self, handle: *const H) -> Result<Arc<dyn Any + Send + Sync>, Failure> {
        // SAFETY: the caller says that it is a handle, not freed until the call ends.
        unsafe { crate::handle::owner(handle) }
    }

    /// Gives up a handle that the caller owns, alone or with others. A null handle is none.
    pub fn free<H: Handle>(self, handle: *mut H) -> Result<(), Failure> {
        // SAFETY: the caller says that it is a handle of his, which nobody uses any more.
        unsafe { crate::handle::free(handle) }
    }
}

/// Where a single value goes: it is written as a whole, never read.
pub(crate) struct Out<'c, T> {
    pointer: *mut T,
    lifetime: PhantomData<&'c mut T>,
}

impl<T> Out<'_, T> {
    pub fn write(&self, value: T) {
        // SAFETY: not null, aligned (it was checked), and the caller says that a value has room there.
        unsafe { self.pointer.write(value) };
    }
}

/// Where a single value goes, unless nobody wants it.
pub(crate) struct OptionalOut<'c, T>(Option<Out<'c, T>>);

impl<T> OptionalOut<'_, T> {
    pub fn write(&self, value: T) {
        if let Some(out) = &self.0 {
            out.write(value);
        }
    }
}

/// Where a new handle goes.
pub(crate) struct OutHandle<'c, H: Handle>(Out<'c, *mut H>);

impl<H: Handle> OutHandle<'_, H> {
    pub fn write(&self, value: H::Value) {
        self.0.write(crate::handle::new::<H>(value));
    }

    /// Writes a handle that there was before, which has one more owner now.
    pub fn write_shared(&self, handle: *mut H) {
        self.0.write(handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls with a body that fails, and returns the number and the text.
    fn fail(body: impl FnOnce() -> Result<(), Failure>) -> (zp_error, String) {
        let mut message = zp_message { text: [0; 256] };
        // SAFETY: a message, and no other pointers.
        let error = unsafe { call(&raw mut message, |_| body()) };
        let bytes: Vec<u8> = message.text.iter().map(|&byte| byte.cast_unsigned()).collect();
        let text = CStr::from_bytes_until_nul(&bytes).expect("a zero byte ends it");
        (error, text.to_str().expect("UTF-8").to_owned())
    }

    #[test]
    fn a_panic_is_an_error() {
        let (error, text) = fail(|| panic!("broken {}", 7));
        assert_eq!(error, zp_error::Panic);
        assert!(text.ends_with("broken 7"), "{text}");
        assert_eq!(fail(|| Ok(())), (zp_error::None, String::new()));
        // SAFETY: no message.
        assert_eq!(unsafe { call(core::ptr::null_mut(), |_| panic!("unseen")) }, zp_error::Panic);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "α".repeat(200);
        let (_, cut) = fail(|| panic!("{text}"));
        assert!(cut.len() >= 254 && cut.ends_with('α'), "{cut}");
    }
}
