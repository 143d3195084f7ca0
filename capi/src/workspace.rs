//! Memory of the caller.

use core::ffi::c_void;
use core::slice::from_raw_parts_mut;
use std::sync::{Mutex, MutexGuard, TryLockError};

use zeropoint::exec::Workspace;

use crate::boundary::{Caller, call, zp_message};
use crate::error::zp_error;
use crate::failure::{Failure, Reason};
use crate::handle::{Handle, Owned};

/// Memory that calls use in place of allocating: the caller's own, of a known size. An owned handle: free it with
/// zp_workspace_free(). One thread at a time uses it.
pub struct zp_workspace {
    _opaque: (),
}

impl Handle for zp_workspace {
    type Value = Mutex<Workspace<'static>>;
    type Ownership = Owned;
    const NAME: &str = "zp_workspace";
    const KIND: u32 = 0x7a70_000c;
}

/// A workspace of `bytes` bytes at `memory`, which belong to it until it is freed, and are zeroed; calls get the cache lines of 64 bytes
/// that lie wholly in them. With NULL it allocates as many of its own.
///
/// Errors: ZP_ERROR_MEMORY; ZP_ERROR_SIZE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_workspace_new(
    memory: *mut c_void,
    bytes: usize,
    workspace: *mut *mut zp_workspace,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let out = c.out_handle(workspace)?;
            if memory.is_null() {
                out.write(Mutex::new(Workspace::new(bytes)?));
                return Ok(());
            }
            if bytes > isize::MAX as usize {
                return Err(Reason::Size { what: "memory", rows: 1, columns: bytes }.into());
            }
            let memory: *mut u8 = memory.cast();
            // SAFETY: not null, and the caller says that it points to so many bytes.
            memory.write_bytes(0, bytes);
            // SAFETY: they are initialized now, and the workspace's until it is freed.
            out.write(Mutex::new(Workspace::borrowed(from_raw_parts_mut(memory, bytes))));
            Ok(())
        })
    }
}

/// Calls `operations(context)`, whose calls of this library take what memory they need on this thread from the workspace. What
/// exceeds it is allocated, and counts in zp_workspace_needed(). Tasks on other threads have workspaces of their own, or none.
///
/// Errors: ZP_ERROR_HANDLE when the workspace is in use, on this thread or another one; ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_workspace_scope(
    workspace: *const zp_workspace,
    operations: Option<unsafe extern "C" fn(context: *mut c_void)>,
    context: *mut c_void,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let workspace = c.handle(workspace)?;
            let operations = operations.ok_or(Reason::Null { what: "operations" })?;
            let mut workspace = lock(workspace)?;
            // SAFETY: the caller's function with the caller's context.
            workspace.scope(|| operations(context));
            Ok(())
        })
    }
}

/// The workspace, for this call alone. (Whatever panicked in a scope, its memory is whole.)
fn lock<'w>(workspace: &'w Mutex<Workspace<'static>>) -> Result<MutexGuard<'w, Workspace<'static>>, Failure> {
    match workspace.try_lock() {
        Ok(workspace) => Ok(workspace),
        Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => Err(Reason::Handle { kind: zp_workspace::NAME, why: "is in use" }.into()),
    }
}

/// The bytes that the calls of all scopes so far needed at once, at most: a workspace of as many would have sufficed (and 63 more, if
/// its memory does not begin at a multiple of 64). A call with the same shapes, parameters and ISA needs the same again.
///
/// Errors: ZP_ERROR_HANDLE when the workspace is in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_workspace_needed(
    workspace: *const zp_workspace,
    bytes: *mut usize,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let out = c.out(bytes, "bytes")?;
            out.write(lock(c.handle(workspace)?)?.needed());
            Ok(())
        })
    }
}

/// Frees a workspace, and its memory if it is its own. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_workspace_free(workspace: *mut zp_workspace, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(workspace)) }
}
