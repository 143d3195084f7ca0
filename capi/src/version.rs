//! The version. The header has it in macros, which the generator takes from Cargo.toml.

use core::ffi::{CStr, c_char};

/// The version of the library that runs, as `ZP_VERSION` is that of the header: compare the two where they could differ.
const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version has no zero byte"),
};

/// The version of the library, "0.1.0" for example: the same as `ZP_VERSION` of the header that belongs to it. Static.
#[unsafe(no_mangle)]
pub extern "C" fn zp_version() -> *const c_char {
    VERSION.as_ptr()
}
