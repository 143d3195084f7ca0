//! What the rounds say: every number stands beside a limit of the machine of the same rounds.

use serde::Serialize;

use crate::contests::{Contender, Contest};
use harness::limits::Traffic;
use harness::machine::Machine;
use harness::measure::Times;
use zeropoint_tools::operations::{Operation, Shape};

/// Everything.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub rounds: u32,
    pub limits: Vec<MachineLimit>,
    pub entries: Vec<Entry>,
}

/// What the machine can do at most, of one kind.
#[derive(Serialize)]
pub struct MachineLimit {
    pub what: String,
    /// The ISA, for multiplications.
    pub isa: Option<&'static str>,
    /// The size of the buffer, for reading and copying.
    pub bytes: Option<usize>,
    pub value: f64,
    pub unit: &'static str,
}

/// An operation at a shape, on an ISA, on so many threads.
#[derive(Serialize)]
pub struct Entry {
    pub op: String,
    #[serde(serialize_with = "as_text")]
    pub shape: Shape,
    pub isa: &'static str,
    /// That of multiplications.
    pub kernel: &'static str,
    pub threads: usize,
    /// Of the middle half of the turns.
    pub value: f64,
    pub unit: &'static str,
    /// Of what one core can do, times the threads.
    pub limit_fraction: Option<f64>,
    pub times_scalar: Option<f64>,
    /// The middle half of the turns, from its shortest to its longest, over its mean.
    pub spread: f64,
    #[serde(skip)]
    pub operation: Operation,
}

fn as_text<S: serde::Serializer>(shape: &Shape, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(shape)
}

impl Report {
    /// Of contests that had their rounds.
    pub fn new(machine: Machine, rounds: u32, contests: &[Contest]) -> Self {
        let mut report = Report { machine, rounds, limits: Vec::new(), entries: Vec::new() };
        for contest in contests {
            match contest.call {
                Some((operation, shape)) => report.add_calls(contest, operation, shape),
                None => report.add_limits(contest),
            }
        }
        report
    }

    fn add_limits(&mut self, contest: &Contest) {
        for (contender, times) in contest.contenders.iter().zip(&contest.times) {
            let Some(times) = times else { continue };
            let value = 1.0 / times.middle() / 1e9;
            match *contender {
                Contender::Peak(isa) => self.limits.push(MachineLimit {
                    what: format!("multiplying, {isa}"),
                    isa: Some(isa.name()),
                    bytes: None,
                    value,
                    unit: "GMAC/s",
                }),
                Contender::Traffic { kind, bytes, .. } => {
                    let verb = if kind == Traffic::Read { "reading" } else { "copying" };
                    let place = match self.machine.caches.iter().find(|cache| bytes == cache.bytes / 2) {
                        Some(cache) => format!("L{}", cache.level),
                        None => "memory".into(),
                    };
                    let what = format!("{verb}, {place}");
                    // The quicker of the ways to do it.
                    match self.limits.iter_mut().find(|limit| limit.what == what) {
                        Some(limit) => limit.value = limit.value.max(value),
                        None => {
                            self.limits.push(MachineLimit { what, isa: None, bytes: Some(bytes), value, unit: "GB/s" });
                        }
                    }
                }
                Contender::Call { .. } => unreachable!("limits are no calls"),
            }
        }
    }

    fn add_calls(&mut self, contest: &Contest, operation: Operation, shape: Shape) {
        let all =
            || contest.contenders.iter().zip(&contest.times).filter_map(|(one, times)| Some((one, times.as_ref()?)));
        let scalar = all().find(|(one, _)| matches!(one, Contender::Call { isa, .. } if isa.name() == "scalar"));
        // The quicker way to move the bytes.
        let moving = all().filter(|(one, _)| matches!(one, Contender::Traffic { .. }));
        let moving = moving.map(|(_, times)| times).min_by(|a, b| a.middle().total_cmp(&b.middle()));
        for (contender, times) in all() {
            let &Contender::Call { isa, threads } = contender else { continue };
            let peak = all().find(|(one, _)| **one == Contender::Peak(isa)).map(|(_, times)| times);
            // What takes longer for all of a call's work.
            let peak = peak.map(|times| (times, shape.work()));
            let moving = moving.map(|times| (times, operation.bytes(shape) as f64));
            let seconds = |&(times, work): &(&Times, f64)| times.middle() * work;
            let limit = match (operation.is_product(), peak, moving) {
                (true, None, _) => None,
                (_, peak, moving) => peak.into_iter().chain(moving).max_by(|a, b| seconds(a).total_cmp(&seconds(b))),
            };
            self.entries.push(Entry {
                op: operation.name(),
                shape,
                isa: isa.name(),
                kernel: if operation.is_product() { isa.kernel() } else { "" },
                threads,
                value: 1.0 / times.middle() / 1e9,
                unit: shape.unit(),
                limit_fraction: limit.map(|(limit, work)| times.ratio(limit) * work / shape.work() / threads as f64),
                times_scalar: scalar.map(|(_, scalar)| times.ratio(scalar)),
                spread: times.spread(),
                operation,
            });
        }
    }

    /// The operations, in order.
    pub fn operations(&self) -> Vec<Operation> {
        let mut operations: Vec<Operation> = self.entries.iter().map(|entry| entry.operation).collect();
        operations.dedup();
        operations
    }

    /// The ISAs, in order.
    pub fn isas(&self) -> Vec<&'static str> {
        let mut isas: Vec<&'static str> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.threads == 1) {
            if !isas.contains(&entry.isa) {
                isas.push(entry.isa);
            }
        }
        isas
    }

    /// Numbers of threads, in order.
    pub fn threads(&self) -> Vec<usize> {
        let mut threads: Vec<usize> = self.entries.iter().map(|entry| entry.threads).collect();
        threads.sort_unstable();
        threads.dedup();
        threads
    }

    /// Those of an operation, in order.
    pub fn shapes(&self, operation: Operation) -> Vec<Shape> {
        let mut shapes: Vec<Shape> = self.of(operation).map(|entry| entry.shape).collect();
        shapes.dedup();
        shapes
    }

    /// The one in the middle of an operation's cubes, or numbers of elements, which stands for it.
    pub fn typical_shape(&self, operation: Operation) -> Shape {
        let shapes = self.shapes(operation);
        let cubes: Vec<Shape> = shapes.iter().copied().filter(|shape| shape.cube().is_some()).collect();
        let shapes = if cubes.is_empty() { shapes } else { cubes };
        shapes[shapes.len() / 2]
    }

    pub fn find(&self, operation: Operation, shape: Shape, isa: &str, threads: usize) -> Option<&Entry> {
        self.of(operation).find(|entry| entry.shape == shape && entry.isa == isa && entry.threads == threads)
    }

    pub fn of(&self, operation: Operation) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.operation == operation)
    }

    /// What is too uncertain: the share of numbers whose turns spread by more than 15 %.
    pub fn noisy(&self) -> Option<f64> {
        let noisy = self.entries.iter().filter(|entry| entry.spread > NOISY).count();
        (noisy > 0).then(|| noisy as f64 / self.entries.len() as f64)
    }
}

/// The spread from which on a number is marked.
pub const NOISY: f64 = 0.15;
