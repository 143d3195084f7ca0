//! The trait of threads that the caller owns.

/// Threads that the caller owns: a thread pool of an engine, for example.
///
/// ```
/// use zeropoint::{Exec, Threads, min_max};
///
/// /// Two threads, started anew for every call.
/// struct Pair;
///
/// impl Threads for Pair {
///     fn count(&self) -> usize {
///         2
///     }
///     fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
///         std::thread::scope(|scope| {
///             for i in 1..tasks {
///                 scope.spawn(move || task(i));
///             }
///             task(0);
///         });
///     }
/// }
///
/// let x: Vec<f32> = (0..1_000_000).map(|i| i as f32).collect();
/// let exec = Exec::best()?;
/// assert_eq!(min_max(exec.on(&Pair), &x)?, min_max(exec, &x)?);
/// # Ok::<(), zeropoint::Error>(())
/// ```
pub trait Threads: Sync {
    /// How many tasks can run at the same time, the calling thread included.
    fn count(&self) -> usize;

    /// Calls `task(0)`, …, `task(tasks − 1)`, each once, in any order, on any threads, and returns when all have returned.
    /// There are at most [`count`](Threads::count) tasks, and they do not wait for each other.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}
