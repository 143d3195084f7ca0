//! Where an operation runs: on which ISA, and on whose threads. [`Exec`] says it, in every call, and nothing else does.
//!
//! Work is divided into pieces that do not depend on each other, and every piece gives the same bytes wherever it runs:
//! so the number of threads, and who brings them, changes nothing but the time. A call that is too small to gain by more
//! threads runs on the calling thread alone.

mod chunks;
#[cfg(feature = "rayon")]
mod clock;
mod job_slot;
mod piece;
mod shared_call;
#[cfg(feature = "rayon")]
pub(crate) mod team;
mod threads;

use core::fmt;
use std::sync::Mutex;

use self::piece::SHARED;
pub(crate) use self::piece::{CachePadded, PIECE, Role};
pub use self::shared_call::SharedCall;
pub use self::threads::Threads;
use crate::error::Error;
use crate::isa::Isa;
pub use crate::memory::Workspace;

/// An ISA and the threads that work for a call: nobody's but the caller's, those of the current rayon pool, or the
/// caller's own ([`Threads`]). The same bytes in every case.
///
/// A thread keeps memory that calls used, 16 MiB at most, for the calls that follow, and frees it when it ends; a [`Workspace`] is
/// memory of the caller in its place.
///
/// In a child of a fork, calls on the calling thread alone work, if an `Exec` or [`Isa`] was made before the fork. Threads that
/// the parent had do not exist there.
///
/// An [`Isa`] converts into an `Exec` that runs on the calling thread, so operations take either.
///
/// ```
/// use zeropoint::{Exec, Isa, min_max};
/// let exec = Exec::best()?; // or Isa::named("avx2")?.into(), or ZEROPOINT_ISA=avx2 in the environment
/// let range = min_max(exec, &[0.5, -2.0, 1.0])?;
/// assert_eq!(min_max(Isa::named("portable")?, &[0.5, -2.0, 1.0])?, range);
/// # #[cfg(feature = "rayon")]
/// assert_eq!(min_max(exec.rayon(), &[0.5, -2.0, 1.0])?, range);
/// # Ok::<(), zeropoint::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Exec<'t> {
    isa: Isa,
    threads: Provider<'t>,
}

/// Who provides the threads.
#[derive(Clone, Copy)]
enum Provider<'t> {
    Nobody,
    #[cfg(feature = "rayon")]
    Rayon,
    Caller(&'t dyn Threads),
}

impl<'t> Exec<'t> {
    /// The fastest ISA of this CPU, or the one that the environment variable `ZEROPOINT_ISA` names, on the calling thread.
    ///
    /// # Errors
    /// [`Error::Isa`] when the variable names an ISA that does not exist or that this CPU lacks.
    pub fn best() -> Result<Self, Error> {
        Ok(Isa::best()?.into())
    }

    /// On the threads of the rayon pool in which an operation is called: inside `pool.install(…)` those of that pool, else the
    /// global one. Where the threads of the global pool cannot be started, calls run on the calling thread alone. Needs the
    /// feature `rayon`, which is on by default.
    #[cfg(feature = "rayon")]
    #[must_use]
    pub fn rayon(self) -> Self {
        Exec { threads: Provider::Rayon, ..self }
    }

    /// On the caller's own threads.
    #[must_use]
    #[inline]
    pub fn on<'s>(self, threads: &'s dyn Threads) -> Exec<'s> {
        Exec { isa: self.isa, threads: Provider::Caller(threads) }
    }

    /// On the calling thread alone.
    #[must_use]
    pub fn serial(self) -> Exec<'static> {
        self.isa.into()
    }

    /// The ISA.
    #[must_use]
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// The threads that a call may use, the calling one included.
    #[must_use]
    pub fn threads(self) -> usize {
        match self.threads {
            Provider::Nobody => 1,
            #[cfg(feature = "rayon")]
            Provider::Rayon => team::threads(),
            Provider::Caller(threads) => threads.count().max(1),
        }
    }

    /// Whether calls run on the calling thread alone, whatever they do.
    pub(crate) fn is_serial(self) -> bool {
        matches!(self.threads, Provider::Nobody)
    }

    /// The team for work that would take the calling thread alone at least `nanoseconds`, in pieces of at least [`PIECE`].
    #[inline]
    pub(crate) fn team(self, nanoseconds: usize) -> Team<'t> {
        if self.is_serial() { Team::Alone } else { self.team_of(nanoseconds, PIECE) }
    }

    /// The team for work that would take the calling thread alone at least `nanoseconds`, in pieces of at least `piece`
    /// nanoseconds.
    pub(crate) fn team_of(self, nanoseconds: usize, piece: usize) -> Team<'t> {
        match self.threads {
            Provider::Nobody => Team::Alone,
            #[cfg(feature = "rayon")]
            Provider::Rayon => Team::Rayon(team::Team::gather(nanoseconds, piece)),
            Provider::Caller(threads) => {
                let tasks = (nanoseconds / piece.max(SHARED)).min(threads.count());
                if tasks < 2 { Team::Alone } else { Team::Caller { threads, tasks } }
            }
        }
    }
}

impl From<Isa> for Exec<'_> {
    #[inline]
    fn from(isa: Isa) -> Self {
        Exec { isa, threads: Provider::Nobody }
    }
}

impl fmt::Debug for Exec<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads: &dyn fmt::Debug = match &self.threads {
            Provider::Nobody => &"serial",
            #[cfg(feature = "rayon")]
            Provider::Rayon => &"rayon",
            Provider::Caller(threads) => &threads.count(),
        };
        f.debug_struct("Exec").field("isa", &self.isa).field("threads", threads).finish()
    }
}

/// The threads that share the work of one call.
pub(crate) enum Team<'t> {
    /// The calling thread.
    Alone,
    #[cfg(feature = "rayon")]
    Rayon(team::Team),
    Caller {
        threads: &'t dyn Threads,
        tasks: usize,
    },
}

impl Team<'_> {
    /// Whether the calling thread works alone. (The team lives as long as its call all the same: how long ago that ended
    /// counts for the next one.)
    pub fn alone(&self) -> bool {
        match self {
            Team::Alone => true,
            #[cfg(feature = "rayon")]
            Team::Rayon(team) => team.alone(),
            Team::Caller { .. } => false,
        }
    }

    /// Calls `work` on every thread of the team, each of which takes from what is left until nothing is. When it returns,
    /// no thread is in it any more.
    pub fn run(&self, work: &(dyn Fn(Role) + Sync)) {
        match self {
            Team::Alone => work(Role::Caller),
            #[cfg(feature = "rayon")]
            Team::Rayon(team) => team.share(work),
            Team::Caller { threads, tasks } => {
                threads.run(*tasks, &|i| work(if i == 0 { Role::Caller } else { Role::Helper }));
                // Nothing is left to do here, unless the provider lost a task: that costs time, never a result.
                work(Role::Caller);
            }
        }
    }

    /// Runs all pieces of some work: every piece once, on any thread of the team.
    pub fn share<P: Send>(&self, mut pieces: impl DoubleEndedIterator<Item = P> + Send, run: impl Fn(P) + Sync) {
        self.share_pieces(&mut pieces, &run);
    }

    /// [`share`](Team::share), compiled once for a type of pieces.
    fn share_pieces<P: Send>(&self, pieces: &mut dyn Pieces<P>, run: &(dyn Fn(P) + Sync)) {
        let pieces = CachePadded(Mutex::new(pieces));
        let take = |role| pieces.0.lock().expect("slices are divided without panic").take(role);
        self.run(&|role| {
            while let Some(piece) = take(role) {
                run(piece);
            }
        });
    }
}

/// Pieces of work that are left.
trait Pieces<P>: Send {
    fn take(&mut self, role: Role) -> Option<P>;
}

impl<P, I: DoubleEndedIterator<Item = P> + Send> Pieces<P> for I {
    fn take(&mut self, role: Role) -> Option<P> {
        if role == Role::Caller { self.next() } else { self.next_back() }
    }
}
