//! Who takes turns with whom, and a round of it. Every round is a process of its own: where pages, stacks and heaps lie is
//! luck that lasts as long as a process does, so that only what many of them agree on is the same the next time.

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use rayon::{ThreadPool, ThreadPoolBuilder};
use zeropoint::Isa;

use harness::limits::{self, Limit, Traffic};
use harness::machine::Machine;
use harness::measure::{Times, turn};
use zeropoint_tools::operations::{Operation, Shape};

/// What takes turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contender {
    /// Calls of the contest's operation.
    Call { isa: Isa, threads: usize },
    /// The multiplications of an ISA, from registers.
    Peak(Isa),
    /// So many bytes that come and go, in one of the two ways that there are.
    Traffic { kind: Traffic, bytes: usize, streaming: bool },
}

/// Those who take turns, in one order, and what for; without an operation they are the machine's limits.
pub struct Contest {
    pub call: Option<(Operation, Shape)>,
    pub contenders: Vec<Contender>,
    /// Seconds for a unit of work, of every turn so far; of those that there are on this machine.
    pub times: Vec<Option<Times>>,
}

fn traffic(kind: Traffic, bytes: usize) -> [Contender; 2] {
    [false, true].map(|streaming| Contender::Traffic { kind, bytes, streaming })
}

impl Contest {
    fn new(call: Option<(Operation, Shape)>, contenders: Vec<Contender>) -> Self {
        let times = vec![None; contenders.len()];
        Contest { call, contenders, times }
    }

    /// The multiplications of each ISA; reading and copying in half of each cache, and far beyond the last.
    pub fn of_limits(machine: &Machine, isas: &[Isa]) -> Self {
        let sizes = machine.caches.iter().map(|cache| cache.bytes / 2).chain([beyond(machine)]);
        let places = sizes.flat_map(|bytes| [Traffic::Read, Traffic::Copy].map(|kind| traffic(kind, bytes)));
        Contest::new(None, isas.iter().map(|&isa| Contender::Peak(isa)).chain(places.flatten()).collect())
    }

    /// An operation at a shape: all ISAs on one thread, the last of them on more, and what limits them.
    pub fn of_calls(operation: Operation, shape: Shape, isas: &[Isa], threads: &[usize]) -> Self {
        let mut contenders: Vec<Contender> = isas.iter().map(|&isa| Contender::Call { isa, threads: 1 }).collect();
        let isa = *isas.last().expect("there is one");
        contenders.extend(threads.iter().filter(|&&n| n > 1).map(|&threads| Contender::Call { isa, threads }));
        if operation.is_product() {
            contenders.extend(isas.iter().map(|&isa| Contender::Peak(isa)));
        }
        contenders.extend(traffic(operation.traffic(), operation.bytes(shape)));
        Contest::new(Some((operation, shape)), contenders)
    }

    /// A turn of everyone: seconds for a unit of work.
    fn round(&self, round: usize) -> Result<Vec<Option<f64>>, zeropoint::Error> {
        let count = self.contenders.len();
        let mut seconds = vec![None; count];
        // Another order in every round, so that no one always follows the same.
        for at in (0..count).map(|i| (round + i) % count) {
            seconds[at] = match self.contenders[at] {
                Contender::Call { isa, threads } => {
                    let (operation, shape) = self.call.expect("a contest with calls has an operation");
                    Some(time_calls(operation, shape, isa, threads)? / shape.work())
                }
                Contender::Peak(isa) => limits::peak(isa).map(time_limit),
                Contender::Traffic { kind, bytes, streaming } => {
                    limits::traffic(kind, bytes, streaming).map(time_limit)
                }
            };
        }
        Ok(seconds)
    }

    /// Adds the turns of a round.
    fn keep(&mut self, seconds: &[Option<f64>]) {
        for (times, seconds) in self.times.iter_mut().zip(seconds) {
            if let Some(seconds) = seconds {
                times.get_or_insert_default().push(*seconds);
            }
        }
    }
}

/// The size of buffers that no cache holds.
fn beyond(machine: &Machine) -> usize {
    machine.caches.iter().map(|cache| cache.bytes).max().unwrap_or(32 << 20) * 4
}

/// Seconds per call.
fn time_calls(operation: Operation, shape: Shape, isa: Isa, threads: usize) -> Result<f64, zeropoint::Error> {
    let pool = (threads > 1).then(|| pinned_pool(threads));
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

/// Threads with a core each, as long as there are so many: in turns of a few milliseconds the kernel may not yet have found
/// out that two of them are on the same.
fn pinned_pool(threads: usize) -> ThreadPool {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let pin = move |thread: usize| {
        if let Some(core) = cores.get(thread % cores.len().max(1)) {
            core_affinity::set_for_current(*core);
        }
    };
    ThreadPoolBuilder::new().num_threads(threads).start_handler(pin).build().expect("threads")
}

/// A round in this process: `done` is called after every contest, with the seconds for a unit of work of everyone.
pub fn make_round(
    contests: &mut [Contest],
    round: usize,
    mut done: impl FnMut(&Contest, &[Option<f64>]) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    for contest in contests {
        let seconds = contest.round(round)?;
        contest.keep(&seconds);
        done(contest, &seconds)?;
    }
    Ok(())
}

/// What the process of a round does: prints a line of turns for each contest.
pub fn print_round(contests: &mut [Contest], round: usize) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    make_round(contests, round, |_, seconds| Ok(writeln!(out, "{}", serde_json::to_string(seconds)?)?))
}

/// Has this program do a round in a process of its own, with the arguments that this one got and those that make it a
/// `round`, and takes down its turns; `done` is called after every contest.
pub fn take_round(contests: &mut [Contest], round: &[String], done: impl Fn(&Contest)) -> Result<(), Box<dyn Error>> {
    let mut process =
        Command::new(env::current_exe()?).args(env::args_os().skip(1)).args(round).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    for contest in contests {
        // Without a line it has said on stderr why.
        let Some(line) = lines.next() else { break };
        contest.keep(&serde_json::from_str::<Vec<_>>(&line?)?);
        done(contest);
    }
    let status = process.wait()?;
    if status.success() { Ok(()) } else { Err(format!("a round ended with {status}").into()) }
}
