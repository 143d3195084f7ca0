//! The measurements: contenders take turns, and every number stands beside a limit of the machine of the same rounds.

use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;
use zeropoint::{Error, Isa};

use crate::harness::limits::{self, Limit, Traffic};
use crate::harness::machine::Machine;
use crate::harness::measure::Times;
use crate::operations::{Operation, Shape};

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
    /// Of the median turn.
    pub value: f64,
    pub unit: &'static str,
    /// Of what one core can do, times the threads.
    pub limit_fraction: Option<f64>,
    pub times_scalar: Option<f64>,
    /// Of the middle half of the turns, over the median.
    pub spread: f64,
    #[serde(skip)]
    pub operation: Operation,
}

fn as_text<S: serde::Serializer>(shape: &Shape, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(shape)
}

/// What takes turns.
struct Contender {
    isa: Isa,
    pool: Option<ThreadPool>,
    threads: usize,
    times: Times,
}

impl Contender {
    /// A turn in memory of its own: where operands lie, in lines and in pages, is luck, of which a median is made too.
    fn turn(&mut self, operation: Operation, shape: Shape) -> Result<(), Error> {
        let Contender { isa, pool, times, .. } = self;
        let mut call = operation.prepare(shape, *isa, pool.is_some())?;
        let mut turn = || {
            // Its pages are there only when they were written.
            call();
            times.turn(&mut call);
        };
        match pool {
            Some(pool) => pool.install(turn),
            None => turn(),
        }
        Ok(())
    }
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

/// A limit that takes turns too.
struct Rival(Limit, Times);

impl Rival {
    fn new(limit: Limit) -> Self {
        Rival(limit, Times::default())
    }

    fn turn(&mut self) {
        let Rival(limit, times) = self;
        times.turn(&mut || limit.run());
    }

    /// Work in a second.
    fn rate(&self) -> f64 {
        self.0.work / self.1.median()
    }
}

/// Both ways to move so many bytes.
fn traffic(traffic: Traffic, bytes: usize) -> Vec<Rival> {
    [false, true]
        .into_iter()
        .filter_map(|streaming| limits::traffic(traffic, bytes, streaming))
        .map(Rival::new)
        .collect()
}

fn best(rivals: &[Rival]) -> Option<f64> {
    rivals.iter().map(Rival::rate).reduce(f64::max)
}

impl Report {
    pub fn new(rounds: u32) -> Self {
        Report { machine: Machine::here(), rounds, limits: Vec::new(), entries: Vec::new() }
    }

    /// The multiplications of each ISA; reading and copying in half of each cache, and far beyond the last.
    pub fn measure_limits(&mut self, isas: &[Isa], rounds: u32) {
        let mut peaks: Vec<(&Isa, Rival)> =
            isas.iter().filter_map(|isa| Some((isa, Rival::new(limits::peak(*isa)?)))).collect();
        let caches = self.machine.caches.iter().map(|cache| (format!("L{}", cache.level), cache.bytes / 2));
        let beyond = self.machine.caches.iter().map(|cache| cache.bytes).max().unwrap_or(32 << 20) * 4;
        let mut places: Vec<_> = caches
            .chain([("memory".to_owned(), beyond)])
            .flat_map(|(place, bytes)| {
                [(Traffic::Read, "reading"), (Traffic::Copy, "copying")]
                    .map(|(kind, verb)| (format!("{verb}, {place}"), bytes, traffic(kind, bytes)))
            })
            .collect();
        for _ in 0..rounds {
            peaks.iter_mut().for_each(|(_, rival)| rival.turn());
            places.iter_mut().flat_map(|(.., rivals)| rivals).for_each(Rival::turn);
        }
        self.limits.extend(peaks.iter().map(|(isa, rival)| MachineLimit {
            what: format!("multiplying, {isa}"),
            isa: Some(isa.name()),
            bytes: None,
            value: rival.rate() / 1e9,
            unit: "GMAC/s",
        }));
        self.limits.extend(places.into_iter().filter_map(|(what, bytes, rivals)| {
            Some(MachineLimit { what, isa: None, bytes: Some(bytes), value: best(&rivals)? / 1e9, unit: "GB/s" })
        }));
    }

    /// Measures an operation at a shape: all ISAs on one thread, and the last of them on more.
    pub fn measure(
        &mut self,
        operation: Operation,
        shape: Shape,
        isas: &[Isa],
        threads: &[usize],
        rounds: u32,
    ) -> Result<(), Error> {
        let mut contenders = Vec::new();
        for &isa in isas {
            contenders.push(Contender { isa, pool: None, threads: 1, times: Times::default() });
        }
        for &threads in threads.iter().filter(|&&threads| threads > 1) {
            let isa = *isas.last().expect("there is one");
            let pool = Some(pinned_pool(threads));
            contenders.push(Contender { isa, pool, threads, times: Times::default() });
        }
        let peak = |isa: Isa| if operation.is_product() { limits::peak(isa).map(Rival::new) } else { None };
        let mut peaks: Vec<Option<Rival>> = isas.iter().map(|&isa| peak(isa)).collect();
        let mut moving = traffic(operation.traffic(), operation.bytes(shape));

        let count = contenders.len();
        for round in 0..rounds as usize {
            peaks.iter_mut().flatten().chain(&mut moving).for_each(Rival::turn);
            // Another order in every round, so that no one always follows the same.
            (0..count).try_for_each(|i| contenders[(round + i) % count].turn(operation, shape))?;
        }

        let scalar = contenders.iter().find(|contender| contender.isa.name() == "scalar");
        let scalar = scalar.map(|scalar| scalar.times.clone());
        // The quicker way to move the bytes; a rival's work, in calls of a contender.
        let moving = moving.iter().max_by(|a, b| a.rate().total_cmp(&b.rate()));
        let moving = moving.map(|rival| (rival, rival.0.work / operation.bytes(shape) as f64));
        for Contender { isa, threads, times, .. } in contenders {
            let peak = isas.iter().position(|&other| other == isa).and_then(|i| peaks[i].as_ref());
            let peak = peak.map(|rival| (rival, rival.0.work / shape.work()));
            // What takes longer for a call's work.
            let seconds = |&(rival, calls): &(&Rival, f64)| rival.1.median() / calls;
            let limit = match (operation.is_product(), peak, moving) {
                (true, None, _) => None,
                (_, peak, moving) => peak.into_iter().chain(moving).max_by(|a, b| seconds(a).total_cmp(&seconds(b))),
            };
            let rate = shape.work() / times.median();
            self.entries.push(Entry {
                op: operation.name(),
                shape,
                isa: isa.name(),
                kernel: if operation.is_product() { isa.kernel() } else { "" },
                threads,
                value: rate / 1e9,
                unit: shape.unit(),
                limit_fraction: limit.map(|(rival, calls)| times.ratio(&rival.1) / calls / threads as f64),
                times_scalar: scalar.as_ref().map(|scalar| times.ratio(scalar)),
                spread: times.spread(),
                operation,
            });
        }
        Ok(())
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
