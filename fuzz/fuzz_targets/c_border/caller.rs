//! A program that calls: its handles, and what has to hold of every call.

use core::ffi::{CStr, c_char, c_void};
use core::ptr::{null, null_mut};

use zeropoint_capi::*;
use zeropoint_fuzz::c::{Dimensions, View, number};

use crate::arguments::{HandleInput, Out};

/// Calls a function with the message, and checks what it returns and writes.
macro_rules! call {
    ($caller:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        $caller.clear_message();
        // SAFETY: the memory of every view and array is as large as it says; handles were made and not freed, or are NULL.
        let error = unsafe { $function($($argument,)* &raw mut $caller.message) };
        $caller.check(error)
    }};
    // With the views that are written: nothing of them is, if it fails.
    ($caller:expr, $function:ident($($argument:expr),* $(,)?), $($written:expr),+) => {{
        let is_ok = call!($caller, $function($($argument),*));
        if !is_ok {
            $($written.assert_untouched();)+
        }
        is_ok
    }};
}

/// Keeps a new handle.
macro_rules! make {
    ($caller:expr, $kind:ident, $function:ident($($argument:expr),* $(,)?)) => {{
        let mut handle = core::ptr::dangling_mut();
        if call!($caller, $function($($argument,)* &raw mut handle)) {
            assert!(!handle.is_null());
            $caller.made.$kind.push(handle);
        } else {
            assert!(handle.is_null(), "a call that failed leaves NULL");
        }
    }};
}

/// The handles that were made, to be freed at the end.
#[derive(Default)]
pub struct Made {
    pub params: Vec<*mut zp_params>,
    pub weights: Vec<*mut zp_weights>,
    pub stages: Vec<*mut zp_stage>,
    pub convs: Vec<*mut zp_conv2d>,
    pub fp8: Vec<*mut zp_fp8_params>,
    pub stored: Vec<*mut zp_stored_weights>,
    pub groups: Vec<*mut zp_group_weights>,
    pub group_stages: Vec<*mut zp_group_stage>,
    pub observers: Vec<*mut zp_observer>,
    pub archives: Vec<*mut zp_archive>,
}

/// A program that calls.
pub struct Caller {
    pub exec: zp_exec,
    pub dimensions: Dimensions,
    pub made: Made,
    pub message: zp_message,
}

/// One of some handles, none, or `other`, which is of another kind.
pub fn pick<H>(handles: &[*mut H], HandleInput(which): HandleInput, other: *const c_void) -> *const H {
    match (which, handles) {
        (254, _) => null(),
        (255, _) => other.cast(),
        (_, []) => null(),
        _ => handles[usize::from(which) % handles.len()],
    }
}

unsafe extern "C" fn run_backwards(
    _: *mut c_void,
    tasks: usize,
    task: unsafe extern "C" fn(data: *mut c_void, index: usize),
    data: *mut c_void,
) {
    // SAFETY: each task once.
    (0..tasks).rev().for_each(|i| unsafe { task(data, i) });
}

/// Three threads in name: tasks run on the caller's one, the last one first.
static BACKWARDS: zp_threads = zp_threads { context: null_mut(), count: 3, run: Some(run_backwards) };

/// What the message is filled with before a call.
const UNTOUCHED: c_char = 0x55;

impl Caller {
    pub fn new(isa: u8, threads: bool, dimensions: [u8; 4]) -> Self {
        // Half of the inputs have the best ISA; 77 is none.
        let isas = [0, 1, 2, 3, 4, 5, 6, 77];
        let isa = if isa < 128 { 0 } else { isas[usize::from(isa) % isas.len()] };
        let threads = if threads { &raw const BACKWARDS } else { null() };
        Caller {
            exec: zp_exec { isa: number(isa), threads },
            dimensions: dimensions.map(|n| [1, 2, 3, 4, 8, 16, 32, 33, 0, 5, 64, 7][usize::from(n) % 12]),
            made: Made::default(),
            message: zp_message { text: [UNTOUCHED; 256] },
        }
    }

    /// Fills the message, so that [`check`](Self::check) sees whether it was written.
    pub fn clear_message(&mut self) {
        self.message.text.fill(UNTOUCHED);
    }

    /// Whether a call succeeded. Its message, if it did not, is text.
    pub fn check(&self, error: zp_error) -> bool {
        let untouched = self.message.text.iter().all(|&byte| byte == UNTOUCHED);
        if error == zp_error::None {
            assert!(untouched, "a message without an error");
            return true;
        }
        let bytes = self.message.text.map(c_char::cast_unsigned);
        let text = CStr::from_bytes_until_nul(&bytes).expect("a zero byte ends it").to_str().expect("UTF-8");
        assert!(error != zp_error::Panic && error != zp_error::Other, "{text}");
        assert!(!text.is_empty());
        false
    }

    pub fn stage(&self, which: HandleInput) -> *const zp_stage {
        match which.0 {
            0..40 => zp_stage_accumulators(),
            40..80 => zp_stage_dequantize(),
            _ => pick(&self.made.stages, which, self.other()),
        }
    }

    /// A handle that is borrowed, of a kind that few functions take.
    pub fn other(&self) -> *const c_void {
        match self.made.params.first() {
            Some(params) => params.cast(),
            None => zp_stage_accumulators().cast(),
        }
    }

    pub fn params(&self, which: HandleInput) -> *const zp_params {
        pick(&self.made.params, which, zp_stage_accumulators().cast())
    }

    /// Where results go: over `read`, or into memory of their own.
    pub fn out(&self, out: Out, read: &View) -> (zp_view_mut, View) {
        let view = out.view.view(&self.dimensions);
        (out.over.map_or_else(|| view.write(), |from| view.write_over(read, from)), view)
    }

    /// Frees a handle of a kind, if there is one, and NULL. Returns whether there was one.
    pub fn free(&mut self, kind: u8, HandleInput(which): HandleInput) -> bool {
        macro_rules! free {
            ($kind:ident, $function:ident) => {{
                let handles = &mut self.made.$kind;
                let found = !handles.is_empty();
                if found {
                    let handle = handles.swap_remove(usize::from(which) % handles.len());
                    assert!(call!(self, $function(handle)));
                }
                assert!(call!(self, $function(null_mut())));
                found
            }};
        }
        match kind % 11 {
            0 => free!(params, zp_params_free),
            1 => free!(weights, zp_weights_free),
            2 => free!(stages, zp_stage_free),
            3 => free!(convs, zp_conv2d_free),
            4 => free!(fp8, zp_fp8_params_free),
            5 => free!(stored, zp_stored_weights_free),
            6 => free!(groups, zp_group_weights_free),
            7 => free!(group_stages, zp_group_stage_free),
            8 => free!(observers, zp_observer_free),
            9 => free!(archives, zp_archive_free),
            // A handle that is borrowed, and one of another kind, are refused.
            _ => {
                assert!(!call!(self, zp_stage_free(zp_stage_accumulators().cast_mut())));
                if let Some(&params) = self.made.params.first() {
                    assert!(!call!(self, zp_weights_free(params.cast())));
                }
                false
            }
        }
    }

    pub fn free_all(&mut self) {
        for kind in 0..10 {
            while self.free(kind, HandleInput(0)) {}
        }
    }
}
