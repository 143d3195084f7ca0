//! Calls that are divided into tasks for threads of the caller, which run them when they can.

use core::fmt;
use core::hint::spin_loop;
use core::mem::replace;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::job_slot::JobSlot;
use super::piece::Role;
use super::threads::Threads;

/// One or several operations as tasks for the threads of somebody else: of an engine that runs all nodes of its graph on all of
/// its threads, of a thread pool without scopes, of an asynchronous runtime.
///
/// Whoever can run a function on n threads and wait for it needs only [`Threads`]. Where nobody may wait for others to
/// *begin*, a shared call says how many [`tasks`](SharedCall::tasks) there are, and each [`run`](SharedCall::run) is one: in
/// any order, on any thread, at the same time or one after the other, or fewer of them. The first to come begins
/// the operation at once and shares its work with those that come while it lasts; later ones find nothing left to do. So no
/// task waits for one that has not begun, and the results are the bytes of a serial call.
///
/// ```
/// use zeropoint::exec::SharedCall;
/// use zeropoint::*;
/// let x: Vec<f32> = (0..1_000_000).map(|i| i as f32).collect();
/// let exec = Exec::best()?;
/// let call = SharedCall::new(4, |threads| min_max(exec.on(threads), &x));
/// std::thread::scope(|scope| {
///     for _ in 0..call.tasks() {
///         scope.spawn(|| call.run());
///     }
/// });
/// assert_eq!(call.into_result()?, min_max(exec, &x)?);
/// # Ok::<(), zeropoint::Error>(())
/// ```
///
/// Making a shared call and running its tasks allocates nothing. The operation does not either, if every task runs in a
/// [`Workspace`](super::Workspace) of its own that is large enough.
pub struct SharedCall<F, R> {
    crew: Crew,
    state: Mutex<State<F, R>>,
}

/// How far the operation is.
enum State<F, R> {
    Waiting(F),
    Running,
    Done(R),
    Panicked,
}

impl<F, R> SharedCall<F, R>
where
    F: FnOnce(&dyn Threads) -> R,
{
    /// A call of `operation` that `tasks` threads may share: it gets them as its argument. With 0 tasks or 1 it is serial. Work that a
    /// task shares in its turn runs on the thread of the task.
    pub fn new(tasks: usize, operation: F) -> Self {
        SharedCall { crew: Crew::new(tasks), state: Mutex::new(State::Waiting(operation)) }
    }

    /// How many threads the work is divided for. More may come; they have nothing to do.
    pub fn tasks(&self) -> usize {
        self.crew.tasks
    }

    /// Runs the operation if nobody has begun it, or helps with it until it ends, or returns at once if it has ended.
    ///
    /// # Panics
    /// With the panic of the operation, in the task that began it.
    pub fn run(&self) {
        let mut state = self.lock();
        let operation = match replace(&mut *state, State::Running) {
            State::Waiting(operation) => operation,
            begun => {
                *state = begun;
                drop(state);
                return self.crew.help();
            }
        };
        drop(state);
        let result = catch_unwind(AssertUnwindSafe(|| operation(&self.crew)));
        let (ended, panic) = match result {
            Ok(result) => (State::Done(result), None),
            Err(panic) => (State::Panicked, Some(panic)),
        };
        *self.lock() = ended;
        self.crew.end();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// The result of the operation, which runs now if no task has begun it.
    ///
    /// # Panics
    /// When the operation panicked.
    pub fn into_result(self) -> R {
        self.run();
        match self.state.into_inner().unwrap_or_else(PoisonError::into_inner) {
            State::Done(result) => result,
            State::Panicked => panic!("the operation of a shared call panicked"),
            State::Waiting(_) | State::Running => unreachable!("`run` returns when the operation has ended"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<F, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F, R> fmt::Debug for SharedCall<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCall").field("tasks", &self.crew.tasks).finish_non_exhaustive()
    }
}

/// The threads that run tasks of a call. Work is published for them when an operation shares it, which it may do several times.
struct Crew {
    tasks: usize,
    slot: JobSlot,
    /// Whether work is in the slot.
    is_shared: AtomicBool,
    ended: AtomicBool,
    /// Threads that have given up spinning.
    sleeping: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

impl Crew {
    fn new(tasks: usize) -> Self {
        Crew {
            tasks,
            slot: JobSlot::default(),
            is_shared: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            sleeping: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Takes part in all work that is published before the end.
    fn help(&self) {
        loop {
            let calls = self.slot.calls();
            self.slot.help();
            if !self.wait(calls) {
                return;
            }
        }
    }

    /// Waits for more work; false at the end.
    fn wait(&self, calls: usize) -> bool {
        /// Polls, 32 at a time, before the thread sleeps: 70 µs on a Zen 4, about as long as it takes to wake it again.
        const ROUNDS: usize = 50;
        for _ in 0..ROUNDS {
            for _ in 0..32 {
                if self.has_news(calls) {
                    return !self.has_ended();
                }
                spin_loop();
            }
            thread::yield_now();
        }
        let mut lock = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        while !self.has_news(calls) {
            lock = self.wake.wait(lock).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        !self.has_ended()
    }

    fn has_news(&self, calls: usize) -> bool {
        self.slot.calls() != calls || self.has_ended()
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.wake_sleepers();
    }

    /// Wakes those that sleep. Either they see the news before they do, or this sees them: all of these operations are
    /// sequentially consistent.
    fn wake_sleepers(&self) {
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            drop(self.sleep.lock());
            self.wake.notify_all();
        }
    }
}

/// Work is in the slot until this is dropped, by return or by unwinding.
struct Shared<'a>(&'a AtomicBool);

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Threads for Crew {
    fn count(&self) -> usize {
        self.tasks
    }

    /// The calling thread runs task 0, and whoever has run one takes the next of those that are left. Inside a task the
    /// calling thread runs all: the slot holds one work at a time, and those who could help are in tasks.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if self.is_shared.swap(true, Ordering::SeqCst) {
            return (0..tasks).for_each(task);
        }
        let _shared = Shared(&self.is_shared);
        let left = AtomicUsize::new(1);
        let next = || left.fetch_add(1, Ordering::Relaxed);
        let work = |role| {
            let mut i = if role == Role::Caller { 0 } else { next() };
            while i < tasks {
                task(i);
                i = next();
            }
        };
        self.slot.share(&work, || self.wake_sleepers());
    }
}
