//! The results: every value beside a limit of the machine that was measured in the same rounds.

use serde::Serialize;

use crate::cases::{Candidate, Case};
use harness::limits::Traffic;
use harness::machine::Machine;
use harness::measure::Times;
use zeropoint_tools::operations::{Operation, Shape};

/// All results.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub rounds: u32,
    pub limits: Vec<MachineLimit>,
    pub entries: Vec<Entry>,
}

/// One limit of the machine.
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

/// An operation at a shape, on an ISA and a number of threads.
#[derive(Serialize)]
pub struct Entry {
    pub op: String,
    #[serde(serialize_with = "as_text")]
    pub shape: Shape,
    pub isa: &'static str,
    /// The micro-kernel; empty for operations that do not multiply matrices.
    pub kernel: &'static str,
    pub threads: usize,
    /// The rate, from the interquartile mean of the samples.
    pub value: f64,
    pub unit: &'static str,
    /// The part of the limit that is reached: the limit of one core times the number of threads.
    pub limit_fraction: Option<f64>,
    pub times_scalar: Option<f64>,
    /// The interquartile range of the samples over their interquartile mean.
    pub spread: f64,
    #[serde(skip)]
    pub operation: Operation,
}

fn as_text<S: serde::Serializer>(shape: &Shape, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(shape)
}

impl Report {
    /// From the cases, after all rounds.
    pub fn new(machine: Machine, rounds: u32, cases: &[Case]) -> Self {
        let mut report = Report { machine, rounds, limits: Vec::new(), entries: Vec::new() };
        for case in cases {
            match case.call {
                Some((operation, shape)) => report.add_calls(case, operation, shape),
                None => report.add_limits(case),
            }
        }
        report
    }

    fn add_limits(&mut self, case: &Case) {
        for (candidate, times) in case.candidates.iter().zip(&case.times) {
            let Some(times) = times else { continue };
            let value = 1.0 / times.middle() / 1e9;
            match *candidate {
                Candidate::Peak(isa) => self.limits.push(MachineLimit {
                    what: format!("multiplying, {isa}"),
                    isa: Some(isa.name()),
                    bytes: None,
                    value,
                    unit: "GMAC/s",
                }),
                Candidate::Traffic { kind, bytes, .. } => {
                    let verb = if kind == Traffic::Read { "reading" } else { "copying" };
                    let place = match self.machine.caches.iter().find(|cache| bytes == cache.bytes / 2) {
                        Some(cache) => format!("L{}", cache.level),
                        None => "memory".into(),
                    };
                    let what = format!("{verb}, {place}");
                    // The faster of ordinary and streaming accesses.
                    match self.limits.iter_mut().find(|limit| limit.what == what) {
                        Some(limit) => limit.value = limit.value.max(value),
                        None => {
                            self.limits.push(MachineLimit { what, isa: None, bytes: Some(bytes), value, unit: "GB/s" });
                        }
                    }
                }
                Candidate::Call { .. } => unreachable!("limits are no calls"),
            }
        }
    }

    fn add_calls(&mut self, case: &Case, operation: Operation, shape: Shape) {
        let all = || case.candidates.iter().zip(&case.times).filter_map(|(one, times)| Some((one, times.as_ref()?)));
        let scalar = all().find(|(one, _)| matches!(one, Candidate::Call { isa, .. } if isa.name() == "scalar"));
        // The faster of ordinary and streaming accesses.
        let moving = all().filter(|(one, _)| matches!(one, Candidate::Traffic { .. }));
        let moving = moving.map(|(_, times)| times).min_by(|a, b| a.middle().total_cmp(&b.middle()));
        for (candidate, times) in all() {
            let &Candidate::Call { isa, threads } = candidate else { continue };
            let peak = all().find(|(one, _)| **one == Candidate::Peak(isa)).map(|(_, times)| times);
            // The limit is the resource that takes longer for the work of a call.
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

    /// The shapes of an operation, in order.
    pub fn shapes(&self, operation: Operation) -> Vec<Shape> {
        let mut shapes: Vec<Shape> = self.of(operation).map(|entry| entry.shape).collect();
        shapes.dedup();
        shapes
    }

    /// The shape that represents an operation: the middle one of its cubes, or of its numbers of elements.
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

    /// The part of the values whose spread exceeds [`NOISY`]; `None` if there are none.
    pub fn noisy(&self) -> Option<f64> {
        let noisy = self.entries.iter().filter(|entry| entry.spread > NOISY).count();
        (noisy > 0).then(|| noisy as f64 / self.entries.len() as f64)
    }
}

/// The spread above which a value is marked: 15 %, more than the differences that the report is read for.
pub const NOISY: f64 = 0.15;
