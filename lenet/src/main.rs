//! A trained LeNet on handwritten digits, in float and quantized three ways, on every ISA of this CPU:
//! `cargo run --release -p lenet`.
//!
//! The table has, for every scheme and ISA, the accuracy, what quantization costs, the speed, and a digest of all codes
//! and accumulators of the run. One scheme has one digest: the ISAs differ in speed only.
//!
//! | scheme | activations | weights, per output channel | between two layers |
//! |---|---|---|---|
//! | `float` | f32 | f32 | f32 |
//! | `static` | u8, asymmetric, ranges from calibration | i8, symmetric, narrow | a fixed-point multiplication |
//! | `dynamic` | u8, asymmetric, ranges of every image | i8, symmetric, narrow | f32, quantized again |
//! | `shift` | as `static`, scales are powers of two | as `static`, scales are powers of two | a shift |
//!
//! `--range` chooses the static ranges by any method of [`zeropoint::calibrate`], `--bits` the bits of static codes, and
//! `--ranges` prints a table of all methods by bits: how many digits the static network recognizes.

mod arguments;
mod dynamic_range;
mod evaluate;
mod ranges;
mod report;

use std::error::Error;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use lenet::data::{self, Weights};
use lenet::float::{Activations, FloatNetwork};
use lenet::network::{self, Network};
use lenet::static_range::{Calibration, StaticNetwork};
use zeropoint::{Isa, Rule, ScaleKind};

use arguments::{Arguments, HELP, Scheme};
use dynamic_range::DynamicNetwork;
use evaluate::Run;
use report::{Report, Row};

type Build = fn(Isa, &Weights, &Activations, Calibration) -> Result<Box<dyn Network>, zeropoint::Error>;

/// The quantized schemes, and what makes their networks from trained weights and calibration.
const QUANTIZED: [(Scheme, Build); 3] = [
    (Scheme::Static, |isa, weights, activations, calibration| {
        Ok(Box::new(StaticNetwork::new(isa, weights, activations, calibration, ScaleKind::Float, Rule::FixedPoint)?))
    }),
    (Scheme::Dynamic, |isa, weights, _, _| Ok(Box::new(DynamicNetwork::new(isa, weights)?))),
    (Scheme::Shift, |isa, weights, activations, calibration| {
        Ok(Box::new(StaticNetwork::new(isa, weights, activations, calibration, ScaleKind::PowerOfTwo, Rule::Shift)?))
    }),
];

fn classify(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    let isas = if arguments.isa == "all" { Isa::supported() } else { vec![Isa::named(&arguments.isa)?] };
    let weights = data::weights(&arguments.weights)?;
    let calibration = data::images(&arguments.calibration)?;
    let images = data::images(&arguments.images)?;
    let labels = data::labels(&arguments.labels, images.len() / network::PIXELS)?;

    let float = FloatNetwork::new(&weights);
    let reference = evaluate::run(&float, &images)?;
    let row = |scheme: Scheme, isa: Option<Isa>, run: &Run| Row::new(scheme.name(), isa, run, &reference, &labels);
    let reference_row = row(Scheme::Float, None, &reference);
    let mut report = Report { images: labels.len(), float_correct: reference_row.correct, results: Vec::new() };
    if arguments.scheme.includes(Scheme::Float) {
        report.results.push(reference_row);
    }
    let activations = float.activations(&calibration);
    let calibration = Calibration { bits: arguments.bits, method: arguments.range };
    for (scheme, build) in QUANTIZED.into_iter().filter(|&(scheme, _)| arguments.scheme.includes(scheme)) {
        for &isa in &isas {
            let run = build(isa, &weights, &activations, calibration)
                .and_then(|network| evaluate::run(&*network, &images))
                .map_err(|error| format!("{} on {isa}: {error}", scheme.name()))?;
            report.results.push(row(scheme, Some(isa), &run));
        }
    }
    Ok(report)
}

/// The table of methods by bits.
fn compare_ranges(arguments: &Arguments) -> Result<String, Box<dyn Error>> {
    let isa = if arguments.isa == "all" { Isa::best()? } else { Isa::named(&arguments.isa)? };
    let weights = data::weights(&arguments.weights)?;
    let activations = FloatNetwork::new(&weights).activations(&data::images(&arguments.calibration)?);
    let images = data::images(&arguments.images)?;
    let labels = data::labels(&arguments.labels, images.len() / network::PIXELS)?;
    ranges::table(isa, &weights, &activations, &images, &labels)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.ranges {
        return print(&compare_ranges(arguments)?);
    }
    let report = classify(arguments)?;
    print(&if arguments.json { serde_json::to_string(&report)? } else { report.to_string() })?;
    report.check_digests().map_err(Into::into)
}

/// Prints a line or more. Not `println!`, which panics when the reader of a pipe is gone: there is nothing left to do then.
fn print(text: &str) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("standard output: {error}").into()),
        _ => Ok(()),
    }
}

fn main() -> ExitCode {
    let (outcome, failure) = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(Some(arguments)) => (run(&arguments), ExitCode::FAILURE),
        Ok(None) => (print(HELP), ExitCode::FAILURE),
        Err(error) => (Err(error.into()), ExitCode::from(2)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report_error(&*error);
            failure
        }
    }
}

/// The most characters of an error that are shown: it may quote a name from a file.
const LONGEST: usize = 400;

/// One line, whatever is in the names that it quotes.
fn report_error(error: &dyn Error) {
    let text = error.to_string();
    let line: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let cut = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
    // Not `eprintln!`, which panics when standard error is closed.
    let _ = writeln!(std::io::stderr(), "error: {line}{cut}");
}
