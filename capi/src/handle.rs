//! Handles: pointers to values of this library, which C cannot look into.
//!
//! Who frees one is a type. An [`Owned`] handle has one owner; a [`Shared`] one has as many as it was shared with, and goes with the
//! last; a borrowed one ([`Static`]) has none: there is no way from it to [`free`], its pointer is `const` in C, and its header says
//! so at run time, too.
//!
//! What is found out about a pointer that is no valid handle:
//!
//! | mistake | release builds | builds with debug assertions |
//! |---|---|---|
//! | NULL, misaligned | always | always |
//! | a handle of another kind | always, by its header | always |
//! | freeing a borrowed handle | always, by its header | always |
//! | a freed handle, freeing twice | not: undefined | until a new handle has the same address |
//! | a pointer that never was a handle | not: undefined | always, without reading it |
//!
//! In a child of a fork, builds with debug assertions find out what release builds do.

use core::any::Any;
use std::sync::Arc;

use crate::failure::{Failure, Reason};

/// A kind of handle: an opaque type of C.
pub(crate) trait Handle: Sized {
    /// What is behind it. Calls on several threads may use one handle.
    type Value: Any + Send + Sync;
    /// Who frees it.
    type Ownership: Ownership;
    /// Its name in C.
    const NAME: &str;
    /// The number that its header begins with: no two kinds have the same.
    const KIND: u32;
}

/// What is in front of every value.
#[repr(C)]
struct Header {
    kind: u32,
    owned: bool,
}

/// A value with its header in front.
#[repr(C)]
struct Allocated<T> {
    header: Header,
    value: T,
}

/// How a handle is made and given up.
pub(crate) trait Ownership {
    /// To a pointer that keeps the value alive.
    fn into_raw<T>(value: Box<T>) -> *const T;

    /// # Safety
    /// The pointer is of `into_raw`, once for each time that the handle was made or shared.
    unsafe fn free<T>(pointer: *const T);
}

/// One owner, who frees it once.
pub(crate) struct Owned;

/// Several owners, each of whom frees it once.
pub(crate) struct Shared;

impl Ownership for Owned {
    fn into_raw<T>(value: Box<T>) -> *const T {
        Box::into_raw(value)
    }

    unsafe fn free<T>(pointer: *const T) {
        // SAFETY: it is a box's, and its only owner gives it up.
        drop(unsafe { Box::from_raw(pointer.cast_mut()) });
    }
}

impl Ownership for Shared {
    fn into_raw<T>(value: Box<T>) -> *const T {
        Arc::into_raw(Arc::from(value))
    }

    unsafe fn free<T>(pointer: *const T) {
        // SAFETY: it is an `Arc`'s, and one of its owners gives it up.
        drop(unsafe { Arc::from_raw(pointer) });
    }
}

/// A value that lives as long as the program. Its handle is borrowed: nobody frees it.
#[repr(transparent)]
pub(crate) struct Static<H: Handle>(Allocated<H::Value>);

impl<H: Handle> Static<H> {
    pub const fn new(value: H::Value) -> Self {
        Static(Allocated { header: Header { kind: H::KIND, owned: false }, value })
    }

    /// The borrowed handle.
    pub fn handle(&'static self) -> *const H {
        let handle = (&raw const self.0).cast();
        registry::borrow(handle);
        handle
    }
}

/// A new handle, which the caller owns.
pub(crate) fn new<H: Handle>(value: H::Value) -> *mut H {
    let allocated = Allocated { header: Header { kind: H::KIND, owned: true }, value };
    let handle = H::Ownership::into_raw(Box::new(allocated)).cast_mut().cast();
    registry::add(handle);
    handle
}

/// One more owner of a shared handle.
///
/// # Safety
/// It is null, or a handle, whatever its kind, that was not freed.
pub(crate) unsafe fn share<H: Handle<Ownership = Shared>>(handle: *const H) -> Result<*mut H, Failure> {
    // SAFETY: the caller says so.
    let allocated = unsafe { owner(handle) }?;
    core::mem::forget(allocated);
    registry::add(handle);
    Ok(handle.cast_mut())
}

/// One more owner of what is behind a shared handle, inside of this library.
///
/// # Safety
/// It is null, or a handle, whatever its kind, that was not freed.
pub(crate) unsafe fn owner<H: Handle<Ownership = Shared>>(
    handle: *const H,
) -> Result<Arc<dyn Any + Send + Sync>, Failure> {
    // SAFETY: the caller says so.
    let allocated = unsafe { check(handle) }?;
    if !allocated.header.owned {
        return Err(Reason::Handle { kind: H::NAME, why: "is borrowed: it has no owners" }.into());
    }
    let pointer = handle.cast::<Allocated<H::Value>>();
    // SAFETY: it is of `into_raw`, since the header says that it is owned, and alive; the new owner is the one counted.
    Ok(unsafe {
        Arc::increment_strong_count(pointer);
        Arc::from_raw(pointer)
    })
}

/// The value behind a handle.
///
/// # Safety
/// It is null, or a handle, whatever its kind, that is not freed during `'c`.
#[inline(always)]
pub(crate) unsafe fn value<'c, H: Handle>(handle: *const H) -> Result<&'c H::Value, Failure> {
    // SAFETY: the caller says so.
    unsafe { check(handle) }.map(|allocated| &allocated.value)
}

/// Gives up a handle. A null one is none.
///
/// # Safety
/// It is null, or a handle, whatever its kind, that was not freed, and that nobody uses any more.
pub(crate) unsafe fn free<H: Handle>(handle: *mut H) -> Result<(), Failure> {
    if handle.is_null() {
        return Ok(());
    }
    // SAFETY: the caller says so.
    let allocated = unsafe { check(handle.cast_const()) }?;
    if !allocated.header.owned {
        return Err(Reason::Handle { kind: H::NAME, why: "is borrowed: it is not freed" }.into());
    }
    registry::remove(handle);
    // SAFETY: it is of `into_raw`, since the header says that it is owned; the caller gives it up.
    unsafe { H::Ownership::free(handle.cast::<Allocated<H::Value>>().cast_const()) };
    Ok(())
}

/// Checks a handle.
///
/// # Safety
/// It is null, or a handle, whatever its kind, that is not freed during `'c`.
#[inline(always)]
unsafe fn check<'c, H: Handle>(handle: *const H) -> Result<&'c Allocated<H::Value>, Failure> {
    let allocated: *const Allocated<H::Value> = handle.cast();
    if allocated.is_null() {
        return Err(Reason::Null { what: H::NAME }.into());
    }
    if !allocated.is_aligned() {
        let alignment = align_of::<Allocated<H::Value>>();
        return Err(Reason::Misaligned { what: H::NAME, address: allocated.addr(), alignment }.into());
    }
    registry::check(handle, H::NAME)?;
    // SAFETY: every handle begins with a header, and the caller says that it is one.
    let kind = unsafe { (*handle.cast::<Header>()).kind };
    if kind != H::KIND {
        return Err(Reason::Handle { kind: H::NAME, why: "is a handle of another kind" }.into());
    }
    // SAFETY: its header says that it is of this kind, so this is what was allocated for it.
    Ok(unsafe { &*allocated })
}

/// The handles that are alive, in builds with debug assertions.
#[cfg(debug_assertions)]
mod registry {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

    use crate::failure::{Failure, Reason};

    /// How many owners the handle of an address has. A borrowed one has one that never goes.
    static OWNERS: LazyLock<Mutex<HashMap<usize, usize>>> = LazyLock::new(Mutex::default);

    /// The process that made the first handle.
    static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);

    /// `None` in a child of a fork, where a thread that does not exist may hold the lock: nothing is found out there.
    fn owners() -> Option<MutexGuard<'static, HashMap<usize, usize>>> {
        let is_child = *PROCESS != std::process::id();
        // (Whatever panicked, counts are whole.)
        (!is_child).then(|| OWNERS.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn add<H>(handle: *const H) {
        if let Some(mut owners) = owners() {
            *owners.entry(handle.addr()).or_default() += 1;
        }
    }

    pub fn borrow<H>(handle: *const H) {
        if let Some(mut owners) = owners() {
            owners.insert(handle.addr(), 1);
        }
    }

    pub fn remove<H>(handle: *const H) {
        if let Some(mut owners) = owners()
            && let Some(count) = owners.get_mut(&handle.addr())
        {
            *count -= 1;
            if *count == 0 {
                owners.remove(&handle.addr());
            }
        }
    }

    pub fn check<H>(handle: *const H, kind: &'static str) -> Result<(), Failure> {
        let alive = owners().is_none_or(|owners| owners.contains_key(&handle.addr()));
        if alive { Ok(()) } else { Err(Reason::Handle { kind, why: "was freed, or never was a handle" }.into()) }
    }
}

/// Nothing is kept in release builds.
#[cfg(not(debug_assertions))]
mod registry {
    use crate::failure::Failure;

    pub fn add<H>(_: *const H) {}
    pub fn borrow<H>(_: *const H) {}
    pub fn remove<H>(_: *const H) {}

    #[inline(always)]
    pub fn check<H>(_: *const H, _: &'static str) -> Result<(), Failure> {
        Ok(())
    }
}
