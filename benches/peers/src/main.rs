//! zeropoint's integer matmul beside that of other libraries, on one core. See README.md.

mod check;
mod peers;
mod problem;
mod real;
mod report;
mod shapes;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use zeropoint::Isa;
use zeropoint_tools::files;
use zeropoint_tools::program::{self, Outcome};

use check::{Expected, Verdict};
use harness::limits::{self, Limit};
use harness::measure::Times;
use peers::{Multiply, Output, Peer, Places};
use problem::{Codes, Problem, Workload};
use real::RealProblem;
use report::{Entry, Report, Row, Table};
use shapes::Shape;

/// Compares zeropoint's integer matmul with that of other libraries, on one core.
#[derive(Parser)]
struct Arguments {
    /// What to compute (may be repeated; all by default).
    #[arg(long)]
    workload: Vec<Workload>,
    /// M × N × K (may be repeated; all of the list by default).
    #[arg(long, value_name = "MxNxK")]
    shape: Vec<Shape>,
    /// What zeropoint runs on (may be repeated; the first is the one that is compared; the best by default).
    #[arg(long)]
    isa: Vec<String>,
    /// Turns of every candidate (15 by default).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// A few shapes and five rounds, where neither is given.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    places: Places,
    /// Writes every time there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the tables there.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    // SAFETY: no other thread runs yet. The libraries read it when they are loaded.
    unsafe { std::env::set_var("OMP_NUM_THREADS", "1") };
    program::main(run)
}

fn run(arguments: &Arguments) -> Outcome {
    // This thread is the only one of the pool that rten-gemm runs in.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()?;

    let outputs: Vec<&PathBuf> = arguments.json.iter().chain(&arguments.markdown).collect();
    files::check(&outputs)?;
    let isas: Vec<Isa> = match arguments.isa.is_empty() {
        true => vec![Isa::best()?],
        false => arguments.isa.iter().map(|name| Isa::named(name)).collect::<Result<_, _>>()?,
    };
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 5 } else { 15 });
    let shapes = match (arguments.shape.as_slice(), arguments.quick) {
        ([], true) => &shapes::QUICK[..],
        ([], false) => &shapes::ALL[..],
        (shapes, _) => shapes,
    };
    let workloads = match arguments.workload.as_slice() {
        [] => Workload::value_variants(),
        workloads => workloads,
    };

    let ours = peers::ours(&isas);
    let (others, absent) = peers::others(&arguments.places)?;
    let everyone: Vec<&dyn Peer> =
        ours.iter().map(|ours| ours as &dyn Peer).chain(others.iter().map(|peer| &**peer)).collect();
    let mut report = Report::new(&everyone, absent, rounds);
    program::print(report.header() + "\n")?;

    let bar = ProgressBar::new((workloads.len() * shapes.len()) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    for &workload in workloads {
        let mut rows = Vec::new();
        for &shape in shapes {
            bar.set_message(format!("{}, {shape}", workload.title()));
            let row = measure(workload, shape, &isas, &everyone, rounds);
            rows.push(row.map_err(|error| format!("{}, {shape}: {error}", workload.title()))?);
            bar.inc(1);
        }
        let table = Table::new(workload.title(), rows);
        bar.suspend(|| program::print(table.text() + "\n"))?;
        report.tables.push(table);
    }
    bar.finish_and_clear();

    let mut files = Vec::new();
    if let Some(file) = &arguments.json {
        files.push((file, serde_json::to_vec_pretty(&report)?));
    }
    if let Some(file) = &arguments.markdown {
        files.push((file, report.markdown().into_bytes()));
    }
    Ok(files::write(&files)?)
}

/// Checks and measures everyone who has the workload.
fn measure(
    workload: Workload,
    shape: Shape,
    isas: &[Isa],
    everyone: &[&dyn Peer],
    rounds: u32,
) -> Result<Row, Box<dyn Error>> {
    let operands = Operands::new(workload, shape)?;
    let mut candidates = Vec::new();
    for (i, peer) in everyone.iter().enumerate() {
        let is_ours = i < isas.len();
        let multiply = match &operands {
            Operands::Integers(problem) => peer.prepare(workload, problem),
            Operands::Reals(problem) => peer.prepare_real(problem),
        };
        match multiply {
            Some(multiply) => {
                let is_float = workload.groups().is_none() && matches!(multiply.result(), Output::Reals(_));
                let (verdict, times) = (Verdict::Unchecked, Times::default());
                candidates.push(Candidate { peer: *peer, multiply, is_ours, is_float, verdict, times });
            }
            // It has every workload.
            None if is_ours => return Err("zeropoint refuses operands of this shape".into()),
            None => {}
        }
    }
    match &operands {
        Operands::Integers(problem) => check(workload, problem, &mut candidates)?,
        Operands::Reals(problem) => check_real(problem, &mut candidates),
    }
    let bytes = workload.groups().map_or(shape.weights(), |groups| groups.bytes(shape.weights()));

    let mut peaks: Vec<Option<(Limit, Times)>> =
        isas.iter().map(|&isa| limits::peak(isa).map(|limit| (limit, Times::default()))).collect();
    let mut bandwidth = None;
    if shape.is_thin() {
        bandwidth = limits::bandwidth(bytes).map(|limit| (limit, Times::default()));
    }
    for round in 0..rounds as usize {
        for (limit, times) in peaks.iter_mut().chain([&mut bandwidth]).flatten() {
            times.turn(&mut || limit.run());
        }
        // Another order in every round, so that no one always follows the same.
        let count = candidates.len();
        for i in 0..count {
            let Candidate { multiply, times, .. } = &mut candidates[(round + i) % count];
            times.turn(&mut || multiply.multiply());
        }
    }

    let rate = |limit: &Option<(Limit, Times)>| limit.as_ref().map(|(limit, times)| limit.work / times.middle() / 1e9);
    let peaks: Vec<Option<f64>> = peaks.iter().map(rate).collect();
    let entries = candidates.into_iter().map(|candidate| Entry {
        name: candidate.peer.name(),
        is_ours: candidate.is_ours,
        is_float: candidate.is_float,
        verdict: candidate.verdict,
        gmacs: shape.macs() / candidate.times.middle() / 1e9,
        best_gmacs: shape.macs() / candidate.times.best() / 1e9,
        seconds: candidate.times,
    });
    let reading = rate(&bandwidth).map(|rate| (rate, rate * shape.macs() / bytes as f64));
    Ok(Row::new(shape, &peaks, reading, entries.collect()))
}

/// A peer with its operands.
struct Candidate<'p> {
    peer: &'p dyn Peer,
    multiply: Box<dyn Multiply + 'p>,
    is_ours: bool,
    is_float: bool,
    verdict: Verdict,
    times: Times,
}

/// What a workload multiplies.
enum Operands {
    Integers(Problem),
    Reals(RealProblem),
}

impl Operands {
    fn new(workload: Workload, shape: Shape) -> Result<Self, zeropoint::Error> {
        Ok(match workload.groups() {
            Some(groups) => Operands::Reals(RealProblem::new(shape, groups)?),
            None => Operands::Integers(Problem::new(shape, Codes::Full)?),
        })
    }
}

/// Says of every candidate how near its result is.
fn check_real(problem: &RealProblem, candidates: &mut [Candidate<'_>]) {
    for candidate in candidates {
        candidate.multiply.multiply();
        let Output::Reals(result) = candidate.multiply.result() else {
            unreachable!("reals by weights in groups are reals")
        };
        let error = problem.error(result);
        candidate.verdict = if problem.is_near(error) { Verdict::Near { error } } else { Verdict::Far { error } };
    }
}

/// Says of every candidate whether its result is right.
fn check(workload: Workload, problem: &Problem, candidates: &mut [Candidate<'_>]) -> Result<(), zeropoint::Error> {
    let expected = [false, true].map(|per_column| Expected::new(problem, workload, per_column));
    for candidate in candidates {
        candidate.multiply.multiply();
        let per_column = candidate.peer.column_zero_points();
        candidate.verdict = expected[usize::from(per_column)].compare(candidate.multiply.result());
        if let Verdict::Disagrees { largest } = candidate.verdict {
            // The comparison again, with operands that saturate nothing.
            let narrow = Problem::new(problem.shape, Codes::Narrow)?;
            let Some(mut multiply) = candidate.peer.prepare(workload, &narrow) else { continue };
            multiply.multiply();
            if Expected::new(&narrow, workload, per_column).compare(multiply.result()).is_right() {
                candidate.verdict = Verdict::Saturates { largest };
            }
        }
    }
    Ok(())
}
