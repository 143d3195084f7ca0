//! Work that the calling thread shares with those threads of the rayon pool that are awake.
//!
//! Waking a thread takes as long as a small multiplication, and a third of that is the caller's time. So the caller begins
//! at once, helpers take of what is left when they arrive, and the caller waits only for helpers that are at work. (A
//! rayon scope waits for every job it spawned, even for one that is still asleep and would find nothing to do.) After a
//! call, helpers spin for a while so that the next call finds them; and no helper is woken for less work than that is
//! worth, be it in one call or in several that follow each other.
//!
//! Every thread has a [`Helpers`] with a [`JobSlot`], which holds its work while a call lasts. A helper is a job in the pool's
//! queues that goes to the slot of the thread that spawned it and runs whatever work is there by then: so a queue never holds
//! more of a thread's jobs than the pool has threads.

use core::cell::Cell;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::error::Error;
use std::panic::catch_unwind;
use std::sync::{Arc, LazyLock};
use std::thread::{self, ThreadId};

use super::clock::Moment;
use super::job_slot::{JobSlot, Work};
use super::piece::{Role, SHARED};

/// Nanoseconds of work that is worth waking a helper: twice the 30 µs that it takes on a virtual machine until the helper
/// runs.
const WOKEN: usize = 64_000;

/// How long helpers spin after a call: about as long as it takes to wake them, so that at most as much time is wasted on
/// waiting as waking them again would have cost.
const SPIN: Duration = Duration::from_micros(50);

/// The helpers of a thread, and where they find its work.
#[derive(Default)]
struct Helpers {
    slot: JobSlot,
    /// Helpers that run work, spin, or were spawned and have not started.
    count: AtomicUsize,
}

/// The recent calls of a thread, no further apart than [`SPIN`].
#[derive(Clone, Copy)]
struct Recent {
    end: Moment,
    nanoseconds: usize,
}

thread_local! {
    /// The thread's helpers, unless a call is using them.
    static HELPERS: Cell<Option<Arc<Helpers>>> = const { Cell::new(None) };
    static RECENT: Cell<Option<Recent>> = const { Cell::new(None) };
}

/// The calling thread and the helpers that share its work.
pub(crate) struct Team {
    helpers: Option<Arc<Helpers>>,
    /// How many helpers there should be: those that are missing are woken.
    wanted: usize,
    recent: usize,
}

impl Team {
    /// A team for work that would take this thread alone at least `nanoseconds`, in pieces of at least `piece`
    /// nanoseconds.
    pub fn gather(nanoseconds: usize, piece: usize) -> Self {
        // Asking for the number of threads starts the global pool, so small work does not ask.
        if nanoseconds < SHARED.max(2 * piece) || threads() == 1 {
            return Team { helpers: None, wanted: 0, recent: 0 };
        }
        let now = Moment::now();
        let recent = match RECENT.get() {
            Some(Recent { end, nanoseconds }) if now.since(end) < SPIN => nanoseconds,
            _ => 0,
        };
        let recent = recent.saturating_add(nanoseconds);
        let wanted = (recent / WOKEN).min(threads() - 1).min(nanoseconds / piece - 1);
        // A thread that ends has none any more: the call has its own.
        let helpers = HELPERS.try_with(Cell::take).ok().flatten().unwrap_or_default();
        Team { helpers: Some(helpers), wanted, recent }
    }

    /// Whether no helper would come.
    pub fn alone(&self) -> bool {
        self.wanted == 0 && self.helpers.as_ref().is_none_or(|helpers| helpers.count.load(Ordering::Relaxed) == 0)
    }

    /// Calls `work` on this thread and on others of the current pool. When it returns, no thread is in it any more.
    pub fn share(&self, work: Work<'_>) {
        let helpers = match &self.helpers {
            Some(helpers) if !self.alone() => helpers,
            _ => return work(Role::Caller),
        };
        helpers.slot.share(work, || {
            for _ in helpers.count.load(Ordering::SeqCst)..self.wanted {
                helpers.count.fetch_add(1, Ordering::SeqCst);
                let (helpers, caller) = (Arc::clone(helpers), thread::current().id());
                rayon::spawn(move || helpers.help(caller));
            }
        });
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if let Some(helpers) = self.helpers.take() {
            let _ = HELPERS.try_with(|own| own.set(Some(helpers)));
            RECENT.set(Some(Recent { end: Moment::now(), nanoseconds: self.recent }));
        }
    }
}

/// The threads of the current pool; the calling thread counts as one of them even if it is not. 1 when the global pool is meant
/// and its threads cannot be started, because the process may have no more threads or memory: then calls go on alone.
pub(crate) fn threads() -> usize {
    let inside = rayon::current_thread_index().is_some();
    if inside || *GLOBAL_POOL { rayon::current_num_threads() } else { 1 }
}

/// Whether there is a global pool. Where it cannot be started, rayon panics when it is asked for anything.
static GLOBAL_POOL: LazyLock<bool> = LazyLock::new(|| {
    // Without threads at all, on WebAssembly, rayon makes the calling thread a pool, but only when it starts the pool itself.
    if !cfg!(target_family = "wasm")
        && let Err(error) = rayon::ThreadPoolBuilder::new().build_global()
        && error.source().is_some()
    {
        return false;
    }
    // Someone else may have started it before, or failed to.
    catch_unwind(rayon::current_num_threads).is_ok()
});

impl Helpers {
    /// The body of a helper job. A caller never runs its own helper job: it can meet one that no thread took after it has
    /// finished, and drops it.
    fn help(&self, caller: ThreadId) {
        if thread::current().id() == caller {
            self.count.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        loop {
            let calls = self.slot.calls();
            self.slot.help();
            if self.spin_wait(calls) {
                continue;
            }
            // Either the next caller sees that this helper leaves, or the helper sees the call: all of these operations
            // are sequentially consistent.
            self.count.fetch_sub(1, Ordering::SeqCst);
            if self.slot.calls() == calls {
                return;
            }
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits for the next call; false when none comes within [`SPIN`], or when the pool has other work.
    fn spin_wait(&self, calls: usize) -> bool {
        let begin = Moment::now();
        loop {
            for _ in 0..32 {
                if self.slot.calls() != calls {
                    return true;
                }
                spin_loop();
            }
            if Moment::now().since(begin) > SPIN || rayon::yield_now() == Some(rayon::Yield::Executed) {
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
    fn together(end: impl Fn(Role) + Sync) {
        const NOBODY: usize = 0;
        const ONE: usize = 1;
        const BOTH: usize = 2;
        const MISSED: usize = 3;
        for _ in 0..10_000 {
            let here = AtomicUsize::new(NOBODY);
            let change = |from, to| here.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            Team::gather(2 * WOKEN, 1).share(&|role| {
                if change(ONE, BOTH) {
                    return end(role);
                }
                if change(NOBODY, ONE) {
                    let begin = Moment::now();
                    let waited = || Moment::now().since(begin);
                    while here.load(Ordering::SeqCst) == ONE && waited() < Duration::from_millis(50) {
                        thread::yield_now();
                    }
                    if !change(ONE, MISSED) {
                        end(role);
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
            for whose in [Role::Caller, Role::Helper] {
                let panic = catch_unwind(|| together(|role| assert!(role != whose, "of one of them")));
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
                together(|role| {
                    if role == Role::Helper {
                        thread::sleep(pause);
                    }
                    finished.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(finished.into_inner(), 2);
            });
        }
    }
}
