//! Benchmark cases, and the rounds that measure them. Every round is a process of its own: addresses of pages, stacks and
//! heaps are random for every process and change times, so a result that repeats has to come from many processes.

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use zeropoint::Isa;

use harness::limits::{self, Limit, Traffic};
use harness::machine::Machine;
use harness::measure::{Times, turn};
use zeropoint_tools::operations::{Operation, Shape};
use zeropoint_tools::program::{self, Outcome};

/// One thing that a case measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Candidate {
    /// Calls of the case's operation on an ISA and this many threads.
    Call { isa: Isa, threads: usize },
    /// Multiplications of an ISA, operands in registers.
    Peak(Isa),
    /// Bytes read and written without computing anything; `streaming` prefetches and uses non-temporal stores.
    Traffic { kind: Traffic, bytes: usize, streaming: bool },
}

/// Candidates that are measured in turn, so that drift of the clock rate meets all of them.
pub struct Case {
    /// The operation of the calls; `None` for the machine's limits.
    pub call: Option<(Operation, Shape)>,
    pub candidates: Vec<Candidate>,
    /// For every candidate, seconds per unit of work of all rounds so far; `None` where this CPU lacks what it takes.
    pub times: Vec<Option<Times>>,
}

fn traffic(kind: Traffic, bytes: usize) -> [Candidate; 2] {
    [false, true].map(|streaming| Candidate::Traffic { kind, bytes, streaming })
}

impl Case {
    fn new(call: Option<(Operation, Shape)>, candidates: Vec<Candidate>) -> Self {
        let times = vec![None; candidates.len()];
        Case { call, candidates, times }
    }

    /// The limits of the machine: multiplications of each ISA; reading and copying within half of each cache, and in memory.
    pub fn of_limits(machine: &Machine, isas: &[Isa]) -> Self {
        let sizes = machine.caches.iter().map(|cache| cache.bytes / 2).chain([beyond(machine)]);
        let places = sizes.flat_map(|bytes| [Traffic::Read, Traffic::Copy].map(|kind| traffic(kind, bytes)));
        Case::new(None, isas.iter().map(|&isa| Candidate::Peak(isa)).chain(places.flatten()).collect())
    }

    /// An operation at a shape: every ISA on one thread, the last ISA on more threads, and the limits of both.
    pub fn of_calls(operation: Operation, shape: Shape, isas: &[Isa], threads: &[usize]) -> Self {
        let mut candidates: Vec<Candidate> = isas.iter().map(|&isa| Candidate::Call { isa, threads: 1 }).collect();
        let isa = *isas.last().expect("there is one");
        candidates.extend(threads.iter().filter(|&&n| n > 1).map(|&threads| Candidate::Call { isa, threads }));
        if operation.is_product() {
            candidates.extend(isas.iter().map(|&isa| Candidate::Peak(isa)));
        }
        candidates.extend(traffic(operation.traffic(), operation.bytes(shape)));
        Case::new(Some((operation, shape)), candidates)
    }

    /// Measures every candidate once: seconds per unit of work.
    fn round(&self, round: usize) -> Result<Vec<Option<f64>>, Box<dyn Error>> {
        let count = self.candidates.len();
        let mut seconds = vec![None; count];
        // The order rotates, so that no candidate always runs after the same other one.
        for at in (0..count).map(|i| (round + i) % count) {
            seconds[at] = match self.candidates[at] {
                Candidate::Call { isa, threads } => {
                    let (operation, shape) = self.call.expect("a case with calls has an operation");
                    Some(time_calls(operation, shape, isa, threads)? / shape.work())
                }
                Candidate::Peak(isa) => limits::peak(isa).map(time_limit),
                Candidate::Traffic { kind, bytes, streaming } => {
                    limits::traffic(kind, bytes, streaming).map(time_limit)
                }
            };
        }
        Ok(seconds)
    }

    /// Adds the times of a round.
    fn keep(&mut self, seconds: &[Option<f64>]) {
        for (times, seconds) in self.times.iter_mut().zip(seconds) {
            if let Some(seconds) = seconds {
                times.get_or_insert_default().push(*seconds);
            }
        }
    }
}

/// A size of buffers that exceeds every cache, in bytes.
fn beyond(machine: &Machine) -> usize {
    machine.caches.iter().map(|cache| cache.bytes).max().unwrap_or(32 << 20) * 4
}

/// Seconds per call.
fn time_calls(operation: Operation, shape: Shape, isa: Isa, threads: usize) -> Result<f64, Box<dyn Error>> {
    let pool = (threads > 1).then(|| pinned_pool(threads)).transpose();
    let pool = pool.map_err(|error| format!("{threads} threads: {error}"))?;
    let mut call = operation.prepare(shape, isa, pool.is_some())?;
    Ok(match pool {
        Some(pool) => pool.install(|| turn(&mut call)),
        None => turn(&mut call),
    })
}

/// Seconds per unit of work.
fn time_limit(mut limit: Limit) -> f64 {
    turn(&mut || limit.run()) / limit.work
}

/// A pool whose threads are pinned to cores of their own, as long as there are enough: within the few milliseconds of a
/// sample, the scheduler may not yet have moved two threads off the same core.
fn pinned_pool(threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let pin = move |thread: usize| {
        if let Some(core) = cores.get(thread % cores.len().max(1)) {
            core_affinity::set_for_current(*core);
        }
    };
    ThreadPoolBuilder::new().num_threads(threads).start_handler(pin).build()
}

/// Measures a round in this process; `done` is called after every case with the seconds per unit of work of its candidates.
pub fn make_round(cases: &mut [Case], round: usize, mut done: impl FnMut(&Case, &[Option<f64>]) -> Outcome) -> Outcome {
    for case in cases {
        let seconds = case.round(round)?;
        case.keep(&seconds);
        done(case, &seconds)?;
    }
    Ok(())
}

/// Measures a round and prints a line of JSON for each case: the seconds per unit of work of its candidates.
pub fn print_round(cases: &mut [Case], round: usize) -> Outcome {
    make_round(cases, round, |_, seconds| program::print(serde_json::to_string(seconds)? + "\n"))
}

/// Measures a round in a new process of this program, which gets the arguments of this one and those in `round`, and adds
/// the times that it prints; `done` is called after every case.
pub fn take_round(cases: &mut [Case], round: &[String], done: impl Fn(&Case)) -> Outcome {
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).args(round).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn()?;
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    for case in cases {
        // Where a line is missing, the process has said why on its standard error.
        let Some(line) = lines.next() else { break };
        case.keep(&serde_json::from_str::<Vec<_>>(&line?)?);
        done(case);
    }
    let mut why = String::new();
    process.stderr.take().expect("it is piped").read_to_string(&mut why)?;
    match process.wait()? {
        status if status.success() => Ok(()),
        status if why.is_empty() => Err(format!("a round ended with {status}").into()),
        _ => Err(why.trim().strip_prefix("error: ").unwrap_or(&why).into()),
    }
}
