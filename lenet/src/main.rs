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

mod data;
mod dynamic_range;
mod evaluate;
mod float;
mod network;
mod ranges;
mod report;
mod static_range;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use zeropoint::calibrate::Method;
use zeropoint::{FixedPoint, Isa, ScaleKind, Shift};

use data::Weights;
use dynamic_range::DynamicNetwork;
use evaluate::Run;
use float::{Activations, FloatNetwork};
use network::Network;
use report::{Report, Row};
use static_range::{Calibration, StaticNetwork};

/// Classifies handwritten digits with a quantized LeNet, and compares schemes and ISAs.
#[derive(Parser)]
struct Arguments {
    /// The trained weights: a safetensors file
    #[arg(long, value_name = "FILE", default_value = data::shipped!("lenet-mnist.safetensors"))]
    weights: PathBuf,
    /// The digits that static ranges are taken from: an IDX file
    #[arg(long, value_name = "FILE", default_value = data::shipped!("mnist-calibration-images.idx3-ubyte"))]
    calibration: PathBuf,
    /// The digits to classify: an IDX file
    #[arg(long, value_name = "FILE", default_value = data::shipped!("mnist-test-images.idx3-ubyte"))]
    images: PathBuf,
    /// What these digits are: an IDX file
    #[arg(long, value_name = "FILE", default_value = data::shipped!("mnist-test-labels.idx1-ubyte"))]
    labels: PathBuf,
    /// How numbers are represented
    #[arg(long, value_enum, default_value_t = Scheme::All)]
    scheme: Scheme,
    /// The name of an ISA, or `all` that this CPU has
    #[arg(long, value_name = "NAME", default_value = "all")]
    isa: String,
    /// How static ranges are chosen: minmax, absmax, average, ema:0.9, std:3, gauss, laplace, percentile:99.99,
    /// percentiles:99.99, entropy, mse
    #[arg(long, value_name = "METHOD", default_value = "minmax")]
    range: Method,
    /// The bits of the codes of static networks: 2 to 8
    #[arg(long, value_name = "N", default_value_t = 8)]
    bits: u32,
    /// Compare the methods by which ranges are chosen, by bits, instead of the schemes
    #[arg(long, conflicts_with_all = ["scheme", "range", "bits", "json"])]
    ranges: bool,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scheme {
    Float,
    Static,
    Dynamic,
    Shift,
    All,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Scheme::Float => "float",
            Scheme::Static => "static",
            Scheme::Dynamic => "dynamic",
            Scheme::Shift => "shift",
            Scheme::All => "all",
        }
    }

    fn includes(self, scheme: Scheme) -> bool {
        self == scheme || self == Scheme::All
    }
}

type Build = fn(Isa, &Weights, &Activations, Calibration) -> Result<Box<dyn Network>, zeropoint::Error>;

/// The quantized schemes, and what makes their networks from trained weights and calibration.
const QUANTIZED: [(Scheme, Build); 3] = [
    (Scheme::Static, |isa, weights, activations, calibration| {
        Ok(Box::new(StaticNetwork::new(isa, weights, activations, calibration, ScaleKind::Float, FixedPoint::new)?))
    }),
    (Scheme::Dynamic, |isa, weights, _, _| Ok(Box::new(DynamicNetwork::new(isa, weights)?))),
    (Scheme::Shift, |isa, weights, activations, calibration| {
        Ok(Box::new(StaticNetwork::new(isa, weights, activations, calibration, ScaleKind::PowerOfTwo, Shift::new)?))
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

fn print(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.ranges {
        return Ok(writeln!(std::io::stdout(), "{}", compare_ranges(arguments)?)?);
    }
    let report = classify(arguments)?;
    let text = if arguments.json { serde_json::to_string(&report)? } else { report.to_string() };
    // Not `println!`, which panics when the reader of a pipe is gone.
    writeln!(std::io::stdout(), "{text}")?;
    report.check_digests().map_err(Into::into)
}

fn main() -> ExitCode {
    match print(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever is in the names that it quotes.
            let line = error.to_string().replace(char::is_control, " ");
            eprintln!("error: {line}");
            ExitCode::FAILURE
        }
    }
}
