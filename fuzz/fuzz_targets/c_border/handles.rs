//! Handles that are shared and freed, and texts of the library.

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr::null;

use arbitrary::Arbitrary;
use zeropoint_capi::*;
use zeropoint_fuzz::c::number;

use crate::arguments::{HandleInput, text};
use crate::caller::{Caller, pick};

#[derive(Arbitrary, Debug)]
pub enum Call<'a> {
    Free(u8, HandleInput),
    Share(u8, HandleInput),
    Texts(&'a str, u32),
}

pub fn call(caller: &mut Caller, call: &Call<'_>) {
    match *call {
        Call::Free(kind, which) => {
            caller.free(kind, which);
        }
        Call::Share(kind, which) => {
            let other = caller.other();
            match kind % 3 {
                0 => make!(caller, weights, zp_weights_share(pick(&caller.made.weights, which, other))),
                1 => make!(caller, convs, zp_conv2d_share(pick(&caller.made.convs, which, other))),
                _ => make!(caller, groups, zp_group_weights_share(pick(&caller.made.groups, which, other))),
            }
        }
        Call::Texts(name, n) => {
            let (name, mut isa) = (text(name), MaybeUninit::uninit());
            call!(caller, zp_isa_named(name.as_ptr().cast(), isa.as_mut_ptr()));
            call!(caller, zp_isa_named(null(), isa.as_mut_ptr()));
            for described in [zp_error_description(number(n)), zp_isa_name(number(n)), zp_version()] {
                // SAFETY: a text of the library's, unless it is null.
                assert!(described.is_null() || unsafe { CStr::from_ptr(described) }.to_str().is_ok());
            }
            let _ = zp_isa_is_supported(number(n));
        }
    }
}
