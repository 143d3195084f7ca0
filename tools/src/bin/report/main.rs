//! Every operation on every ISA of this machine, beside the machine's limits:
//! `cargo run --release -p zeropoint-tools --bin report`. Writes tables, numbers and pictures into a folder of `results/`;
//! results/README.md says how they are taken.

mod cases;
mod entries;
mod pictures;
mod tables;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use zeropoint::Isa;

use cases::{Case, make_round, print_round, take_round};
use entries::Report;
use harness::machine::Machine;
use zeropoint_tools::files;
use zeropoint_tools::operations::{Operation, Shape};
use zeropoint_tools::program::{self, Outcome};

/// Measures zeropoint on this machine: operations × shapes × ISAs, interleaved, beside the machine's limits.
#[derive(Parser)]
struct Arguments {
    /// A few shapes and five rounds, where neither is given
    #[arg(long)]
    quick: bool,
    /// What to measure (may be repeated; everything by default)
    #[arg(long, value_name = "OPERATION")]
    op: Vec<Operation>,
    /// MxNxK of a multiplication, or a number of elements (may be repeated; a list by default)
    #[arg(long, value_name = "MxNxK")]
    shape: Vec<Shape>,
    /// The name of an ISA (may be repeated; all that this CPU has by default)
    #[arg(long, value_name = "NAME")]
    isa: Vec<String>,
    /// Threads of the best of the ISAs, beside one (may be repeated; as many as there are by default)
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// How often everything is measured, 31 times by default; if more than once, each time in a process of its own
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Prints the numbers as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// The folder to write to, made if there is none; by default `results/` and the name of the CPU, or nothing when only a
    /// part is measured
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// The number of the round that this process is to measure for its parent
    #[arg(long, hide = true)]
    round: Option<usize>,
}

/// The files beside the pictures.
const DOCUMENT: &str = "report.md";
const SUMMARY: &str = "summary.md";
const NUMBERS: &str = "report.json";

fn run(arguments: &Arguments) -> Outcome {
    let isas: Vec<Isa> = match arguments.isa.as_slice() {
        [] => Isa::supported(),
        names => names.iter().map(|name| Isa::named(name)).collect::<Result<_, _>>()?,
    };
    let operations = match arguments.op.as_slice() {
        [] => Operation::value_variants(),
        operations => operations,
    };
    let machine = Machine::here();
    let available = machine.threads;
    let threads: Vec<usize> = match arguments.threads.as_slice() {
        [] => (1..)
            .map(|doublings| 1 << doublings)
            .take_while(|&threads| threads < available)
            .chain([available])
            .collect(),
        threads => threads.iter().map(|&threads| threads.into()).collect(),
    };
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 5 } else { 31 });

    let work: Vec<(Operation, Shape)> = operations
        .iter()
        .flat_map(|&operation| {
            operation.shapes(&arguments.shape, arguments.quick).into_iter().map(move |shape| (operation, shape))
        })
        .collect();
    // What was asked for is measured, or refused.
    if let Some(shape) = arguments.shape.iter().find(|&&shape| !work.iter().any(|&(_, other)| other == shape)) {
        return Err(format!("no operation that is to be measured takes the shape {shape}").into());
    }
    if let Some(operation) =
        operations.iter().find(|&&op| !arguments.op.is_empty() && !work.iter().any(|work| work.0 == op))
    {
        let what = if operation.is_product() { "MxNxK" } else { "a number of elements" };
        return Err(format!("{} takes {what}, which no --shape is", operation.name()).into());
    }
    let mut cases = vec![Case::of_limits(&machine, &isas)];
    cases.extend(work.iter().map(|&(operation, shape)| Case::of_calls(operation, shape, &isas, &threads)));
    if let Some(round) = arguments.round {
        return print_round(&mut cases, round);
    }
    let partial =
        !arguments.op.is_empty() || !arguments.shape.is_empty() || !arguments.isa.is_empty() || arguments.quick;
    let default_folder = (!partial).then(|| Path::new("results").join(machine.folder()));
    let folder = arguments.out.clone().or(default_folder);
    if let Some(folder) = &folder {
        let files = pictures::FILES.iter().chain(&[DOCUMENT, SUMMARY, NUMBERS]);
        files::check(&files.map(|file| folder.join(file)).collect::<Vec<_>>())?;
    }
    let progress = ProgressBar::new((cases.len() * rounds as usize) as u64);
    progress.set_style(ProgressStyle::with_template("measuring {wide_bar} {pos}/{len} {msg}")?);
    let done = |case: &Case| {
        if let Some((operation, shape)) = case.call {
            progress.set_message(format!("{} {shape}", operation.name()));
        }
        progress.inc(1);
    };
    if rounds == 1 {
        make_round(&mut cases, 0, |case, _| {
            done(case);
            Ok(())
        })?;
    } else {
        for round in 0..rounds {
            take_round(&mut cases, &["--round".into(), round.to_string()], done)?;
        }
    }
    progress.finish_and_clear();
    let report = Report::new(machine, rounds, &cases);

    if let Some(folder) = folder {
        let (mut files, mut drawn) = (Vec::new(), Vec::new());
        for picture in pictures::all(&report)? {
            files.push((folder.join(picture.file), picture.svg.into_bytes()));
            drawn.push((picture.file, picture.title));
        }
        files.push((folder.join(DOCUMENT), tables::markdown(&report, &drawn).into_bytes()));
        files.push((folder.join(SUMMARY), tables::summary(&report).into_bytes()));
        files.push((folder.join(NUMBERS), serde_json::to_vec_pretty(&report)?));
        files::write(&files)?;
    }
    match arguments.json {
        true => program::print(serde_json::to_string_pretty(&report)? + "\n"),
        false => program::print(tables::text(&report)),
    }
}

fn main() -> ExitCode {
    program::main(run)
}
