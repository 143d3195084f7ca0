//! Calls whose work is shared by tasks of the caller's.

use core::ffi::c_void;

use zeropoint::Threads;
use zeropoint::exec::SharedCall;

use crate::boundary::{Caller, call, zp_message};
use crate::error::zp_error;
use crate::exec::zp_threads;
use crate::failure::Reason;
use crate::handle::{Handle, Owned};

/// One or several operations as tasks, for threads that nobody may wait for to begin: those of an engine that runs every node of its
/// graph on all of them, or of a queue. The first task begins the operations at once and shares their work with the tasks that
/// come while it lasts; later ones have nothing to do. (Whoever can run a function on n threads and wait for it needs zp_threads
/// only.) An owned handle: free it with zp_shared_call_free().
pub struct zp_shared_call {
    _opaque: (),
}

impl Handle for zp_shared_call {
    type Value = SharedCall<Box<dyn FnOnce(&dyn Threads) + Send>, ()>;
    type Ownership = Owned;
    const NAME: &str = "zp_shared_call";
    const KIND: u32 = 0x7a70_000d;
}

/// The caller's pointer.
struct Context(*mut c_void);

// SAFETY: this library does not follow it. The caller's function gets it, on any thread that runs a task, as the header says.
unsafe impl Send for Context {}
// SAFETY: this library does not follow it, and functions get a copy of it.
unsafe impl Sync for Context {}

impl Context {
    fn get(&self) -> *mut c_void {
        self.0
    }
}

/// [`zp_threads::run`] of the threads of a shared call, which `context` points to.
unsafe extern "C" fn run(
    context: *mut c_void,
    tasks: usize,
    task: unsafe extern "C" fn(data: *mut c_void, index: usize),
    data: *mut c_void,
) {
    // SAFETY: `context` is that of `operations` below, which lives while its `zp_threads` does.
    let threads = unsafe { *context.cast::<&dyn Threads>() };
    let data = Context(data);
    // SAFETY: the task's own data.
    threads.run(tasks, &|i| unsafe { task(data.get(), i) });
}

/// A call of `operations(threads, context)` that `tasks` tasks may share. Calls of this library in it share their work if their zp_exec
/// has `threads`, which is valid until `operations` returns. It is called once, by the first task, on whatever thread that is.
///
/// Errors: ZP_ERROR_NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_shared_call_new(
    tasks: usize,
    operations: Option<unsafe extern "C" fn(threads: *const zp_threads, context: *mut c_void)>,
    context: *mut c_void,
    shared_call: *mut *mut zp_shared_call,
    message: *mut zp_message,
) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            let out = c.out_handle(shared_call)?;
            let operations = operations.ok_or(Reason::Null { what: "operations" })?;
            let context = Context(context);
            let operation = move |threads: &dyn Threads| {
                let of_c = zp_threads {
                    context: (&raw const threads).cast_mut().cast(),
                    count: threads.count(),
                    run: Some(run),
                };
                // SAFETY: the caller's function with the caller's context.
                operations(&raw const of_c, context.get());
            };
            out.write(SharedCall::new(tasks, Box::new(operation)));
            Ok(())
        })
    }
}

/// A task: calls the operations if no other one has, or helps until they end, or returns at once when they have ended. It never
/// waits for a task that has not begun.
///
/// Errors: ZP_ERROR_NULL, ZP_ERROR_HANDLE. Those of the operations are for them to keep.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_shared_call_run(shared_call: *const zp_shared_call, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe {
        call(message, |c: Caller| {
            c.handle(shared_call)?.run();
            Ok(())
        })
    }
}

/// Frees a shared call that no task runs any more. NULL is none.
///
/// Errors: ZP_ERROR_HANDLE where a mistake can be found out: see the top of this header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zp_shared_call_free(shared_call: *mut zp_shared_call, message: *mut zp_message) -> zp_error {
    // SAFETY: the contract of the header.
    unsafe { call(message, |c: Caller| c.free(shared_call)) }
}
