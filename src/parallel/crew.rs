//! Work that the calling thread shares with those threads of the pool that are awake.
//!
//! To wake a thread takes as long as a small multiplication does, and a third of that is the caller's time. So the caller
//! begins at once, helpers take of what is left when they come, and the caller waits for those only who are at work. (A
//! scope of rayon's waits for all that were called, even for one that sleeps still and would find nothing to do.) Helpers
//! linger, to be there when the next call comes; and nobody is woken for less than that is worth, be it in one call or in
//! several that follow each other.
//!
//! Every thread has a [`Desk`], where its work lies as long as a call lasts. A helper is a job in the pool's queues, which
//! goes to the desk that it was called to, whatever lies there by then: so a queue never has more of a thread's jobs than
//! the pool has threads.

use core::any::Any;
use core::cell::Cell;
use core::hint::spin_loop;
use core::mem::transmute;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, ThreadId};
use std::time::Instant;

/// Nanoseconds that a piece of work should take at least: ten times what it takes to hand it out.
pub(super) const PIECE: usize = 2_000;

/// Nanoseconds of work that is worth sharing with a helper who is at the desk: 1 µs goes between cores of one cache, 5 between
/// others.
const SHARED: usize = 10_000;

/// Nanoseconds of work that is worth waking a helper: twice the 30 µs that it takes on a virtual machine until he is at
/// work.
const WOKEN: usize = 64_000;

/// How long helpers linger: about as long as it takes to wake them, so that at most as much is wasted on waiting as waking
/// them again would have cost.
const LINGER: Duration = Duration::from_micros(50);

/// Runs until nothing is left to do, on several threads at once.
type Work<'a> = &'a (dyn Fn(Who) + Sync + 'a);

/// Who does the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Who {
    Caller,
    Helper,
}

/// In cache lines of its own (they come in pairs): what one thread writes and others watch.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct Apart<T>(pub T);

/// What a thread's helpers know of it.
#[derive(Default)]
struct Desk {
    /// Helpers hold the lock while they are at work.
    work: Apart<RwLock<Option<Work<'static>>>>,
    /// How often work was laid here.
    calls: Apart<AtomicUsize>,
    /// Helpers who are at the desk or called to it.
    helpers: AtomicUsize,
    /// What the first helper that panicked did it with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// The recent calls of a thread, no further apart than helpers linger.
#[derive(Clone, Copy)]
struct Recent {
    end: Instant,
    nanoseconds: usize,
}

thread_local! {
    /// The thread's desk, unless a call is using it.
    static DESK: Cell<Option<Arc<Desk>>> = const { Cell::new(None) };
    static RECENT: Cell<Option<Recent>> = const { Cell::new(None) };
}

/// The threads that a call shares its work with.
pub(super) struct Crew {
    desk: Option<Arc<Desk>>,
    /// Helpers to be there, if they are not.
    called: usize,
    recent: usize,
}

impl Crew {
    /// For work that would take this thread alone so long, at least; in pieces of at least so long.
    pub fn gather(nanoseconds: usize, piece: usize) -> Self {
        // The number of threads is not asked for in vain: the global pool would be made.
        if nanoseconds < SHARED.max(2 * piece) || threads() == 1 {
            return Crew { desk: None, called: 0, recent: 0 };
        }
        let now = Instant::now();
        let recent = match RECENT.get() {
            Some(Recent { end, nanoseconds }) if now.saturating_duration_since(end) < LINGER => nanoseconds,
            _ => 0,
        };
        let recent = recent.saturating_add(nanoseconds);
        let called = (recent / WOKEN).min(threads() - 1).min(nanoseconds / piece - 1);
        Crew { desk: Some(DESK.take().unwrap_or_default()), called, recent }
    }

    /// Whether nobody would help.
    pub fn alone(&self) -> bool {
        self.called == 0 && self.desk.as_ref().is_none_or(|desk| desk.helpers.load(Ordering::Relaxed) == 0)
    }

    /// Calls `work` on this thread and on others of the current pool. When it returns, nobody is in it any more.
    pub fn share(&self, work: Work<'_>) {
        let Some(desk) = &self.desk else { return work(Who::Caller) };
        // SAFETY: only the lifetime changes. Who calls it holds the lock, and it is taken away under the lock below,
        // whatever happens on the way.
        let forever = unsafe { transmute::<Work<'_>, Work<'static>>(work) };
        desk.lay(Some(forever));
        desk.calls.0.fetch_add(1, Ordering::SeqCst);
        let result = catch_unwind(AssertUnwindSafe(|| {
            for _ in desk.helpers.load(Ordering::SeqCst)..self.called {
                desk.helpers.fetch_add(1, Ordering::SeqCst);
                let (desk, caller) = (Arc::clone(desk), thread::current().id());
                rayon::spawn(move || desk.help(caller));
            }
            work(Who::Caller);
        }));
        desk.lay(None);
        let panic = desk.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = result.err().or(panic) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.take() {
            DESK.set(Some(desk));
            RECENT.set(Some(Recent { end: Instant::now(), nanoseconds: self.recent }));
        }
    }
}

/// The threads of the current pool, in which the calling thread counts as one if it isn't.
pub(super) fn threads() -> usize {
    rayon::current_num_threads()
}

impl Desk {
    /// Lays work on the desk, or takes it away, when no helper is at work.
    fn lay(&self, work: Option<Work<'static>>) {
        // Longer than a piece of work takes; to sleep would take longer still.
        const LOOKS: usize = 10_000;
        for _ in 0..LOOKS {
            if let Ok(mut lock) = self.work.0.try_write() {
                *lock = work;
                return;
            }
            spin_loop();
        }
        *self.work.0.write().unwrap_or_else(PoisonError::into_inner) = work;
    }

    /// What a job does. Nobody helps himself: the caller meets jobs that nobody took when he has finished.
    fn help(&self, caller: ThreadId) {
        if thread::current().id() == caller {
            self.helpers.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        loop {
            let calls = self.calls.0.load(Ordering::SeqCst);
            // Nobody but a caller who has finished, or hasn't begun, holds the lock against readers.
            if let Ok(work) = self.work.0.try_read()
                && let Some(work) = *work
                && let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(Who::Helper)))
            {
                self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            }
            if self.linger(calls) {
                continue;
            }
            // Either a caller sees that this helper goes, or he is seen: all agree on the order of these.
            self.helpers.fetch_sub(1, Ordering::SeqCst);
            if self.calls.0.load(Ordering::SeqCst) == calls {
                return;
            }
            self.helpers.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits for the next call; false when none comes, or when the pool has something else to do.
    fn linger(&self, calls: usize) -> bool {
        let begin = Instant::now();
        loop {
            for _ in 0..32 {
                if self.calls.0.load(Ordering::Relaxed) != calls {
                    return true;
                }
                spin_loop();
            }
            if begin.elapsed() > LINGER || rayon::yield_now() == Some(rayon::Yield::Executed) {
                return false;
            }
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls until a helper is in the work at the same time as the caller, who may come too late or not at all; both end it
    /// by `end`.
    fn together(end: impl Fn(Who) + Sync) {
        const NOBODY: usize = 0;
        const ONE: usize = 1;
        const BOTH: usize = 2;
        const MISSED: usize = 3;
        for _ in 0..10_000 {
            let here = AtomicUsize::new(NOBODY);
            let change = |from, to| here.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            Crew::gather(2 * WOKEN, 1).share(&|who| {
                if change(ONE, BOTH) {
                    return end(who);
                }
                if change(NOBODY, ONE) {
                    let begin = Instant::now();
                    while here.load(Ordering::SeqCst) == ONE && begin.elapsed() < Duration::from_millis(50) {
                        thread::yield_now();
                    }
                    if !change(ONE, MISSED) {
                        end(who);
                    }
                }
            });
            if here.into_inner() == BOTH {
                return;
            }
        }
        panic!("nobody came to help");
    }

    fn inside_and_outside(check: impl Fn() + Sync) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        for _ in 0..20 {
            pool.install(&check);
        }
        if threads() > 1 {
            for _ in 0..20 {
                check();
            }
        }
    }

    #[test]
    fn helpers_come() {
        inside_and_outside(|| together(|_| ()));
    }

    #[test]
    fn panics_come_back() {
        inside_and_outside(|| {
            for whose in [Who::Caller, Who::Helper] {
                let panic = catch_unwind(|| together(|who| assert!(who != whose, "of one of them")));
                assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"of one of them"));
                // And nothing is left of it.
                together(|_| ());
            }
        });
    }

    /// Nobody is in the work any more when its call returns.
    #[test]
    fn callers_wait() {
        for pause in [Duration::ZERO, Duration::from_micros(20), Duration::from_millis(3)] {
            inside_and_outside(|| {
                let finished = AtomicUsize::new(0);
                together(|who| {
                    if who == Who::Helper {
                        thread::sleep(pause);
                    }
                    finished.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(finished.into_inner(), 2);
            });
        }
    }
}
