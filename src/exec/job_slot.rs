//! Where a thread publishes the work of a call, for helpers that come while the call lasts.

use core::any::Any;
use core::hint::spin_loop;
use core::mem::transmute;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError, RwLock};

use super::piece::{CachePadded, Role};

/// Runs until nothing is left to do, on several threads at once.
pub(super) type Work<'a> = &'a (dyn Fn(Role) + Sync + 'a);

/// The work of one thread's calls, one after the other.
#[derive(Default)]
pub(super) struct JobSlot {
    /// The work of the current call. Helpers hold a read lock while they run it.
    work: CachePadded<RwLock<Option<Work<'static>>>>,
    /// How many calls have published work here.
    calls: CachePadded<AtomicUsize>,
    /// The payload of the first helper that panicked.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl JobSlot {
    /// Calls `work` on this thread, while helpers may call it too. `invite` runs when they would find it. When this returns,
    /// no thread is in the work any more.
    pub fn share(&self, work: Work<'_>, invite: impl FnOnce()) {
        // SAFETY: only the lifetime changes, and no thread uses the reference after this function returns:
        // - The slot is the only place that holds the reference. Helpers copy it out only under a read lock, and use the
        //   copy only while they hold that lock.
        // - `publish(None)` below takes the write lock, so it waits for every helper that still holds a read lock, and
        //   removes the reference under the lock: helpers that come later find nothing.
        // - Everything between here and there that can unwind (inviting helpers, the caller's own share of the work) runs
        //   inside `catch_unwind`, and `publish` itself does not panic: so `publish(None)` runs before this frame, which
        //   borrows `work`, is left by return or by unwinding.
        let forever = unsafe { transmute::<Work<'_>, Work<'static>>(work) };
        self.publish(Some(forever));
        self.calls.0.fetch_add(1, Ordering::SeqCst);
        let result = catch_unwind(AssertUnwindSafe(|| {
            invite();
            work(Role::Caller);
        }));
        self.publish(None);
        let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = result.err().or(panic) {
            resume_unwind(panic);
        }
    }

    /// Runs the work that is there, if any.
    pub fn help(&self) {
        // Only a caller that has finished, or has not begun, holds the lock against readers.
        if let Ok(work) = self.work.0.try_read()
            && let Some(work) = *work
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(Role::Helper)))
        {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    /// How many calls have published work here.
    pub fn calls(&self) -> usize {
        self.calls.0.load(Ordering::SeqCst)
    }

    /// Replaces the work, once no helper runs the old one.
    fn publish(&self, work: Option<Work<'static>>) {
        // Attempts before the thread sleeps on the lock: longer than a piece of work takes. Sleeping takes longer still.
        const ATTEMPTS: usize = 10_000;
        for _ in 0..ATTEMPTS {
            if let Ok(mut lock) = self.work.0.try_write() {
                *lock = work;
                return;
            }
            spin_loop();
        }
        *self.work.0.write().unwrap_or_else(PoisonError::into_inner) = work;
    }
}
