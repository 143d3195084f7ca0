//! Stochastic rounding has no bias, nearest rounding has one: `cargo run --release -p zeropoint-tools --bin unbiased`.
//!
//! The weight of a trained convolution is quantized N times with each of the eight types of quantization; each time
//! takes words of its own from the stream of random numbers. The table, `unbiased.csv` and `unbiased.svg` have the
//! error of the mean of the N results:
//!
//! ```text
//! mean = (x₁ + … + x_N) / N          x_r = S · (q_r − Z), q_r the codes of repetition r
//! error(N) = RMS(mean − x) / RMS(x)
//! ```
//!
//! Nearest rounding gives the same codes every time, so its error stays what it is at N = 1. A stochastic x_r is x on
//! average: the errors of the repetitions are independent, and that of their mean falls as 1/√N. Where all fractions of
//! a step S are alike, one nearest quantization errs by S/√12 and one stochastic by S/√6: the mean of two is level with
//! the former, that of more is better.

mod convergence;
mod figure;
mod report;
mod types;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use zeropoint::Isa;
use zeropoint_tools::program::{self, Outcome};
use zeropoint_tools::{arguments, files, tensors};

use convergence::Experiment;

/// Quantizes a weight many times with each of the eight types, and averages: which means approach it?
#[derive(Parser)]
struct Arguments {
    /// The bits of a code: 2 to 8
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = arguments::bits())]
    bits: u32,
    /// How often the tensor is quantized
    #[arg(long, value_name = "N", default_value_t = 1 << 16, value_parser = value_parser!(u64).range(1..=1 << 32))]
    repetitions: u64,
    /// The seed of the random stream
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// The name of an ISA, by default the best that this CPU has
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// The folder for `unbiased.csv` and `unbiased.svg`, made if there is none
    #[arg(long, value_name = "FOLDER", default_value = "results/unbiased")]
    out: PathBuf,
}

/// The weights of the LeNet that the project ships.
const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../lenet/data/lenet-mnist.safetensors");

/// What is quantized: the weight of the larger convolution.
const NAME: &str = "conv2.weight";

fn run(arguments: &Arguments) -> Outcome {
    let isa = arguments.isa.as_deref().map_or_else(Isa::best, Isa::named)?;
    let [csv, svg] = ["unbiased.csv", "unbiased.svg"].map(|file| arguments.out.join(file));
    files::check(&[&csv, &svg])?;
    let tensor = tensors::load(&[WEIGHTS])?.tensors.into_iter().find(|tensor| tensor.name == NAME);
    let x = tensor.ok_or_else(|| format!("{WEIGHTS}: no tensor `{NAME}` of finite floats"))?.x;
    let experiment =
        Experiment { isa, bits: arguments.bits, repetitions: arguments.repetitions, seed: arguments.seed, x: &x };
    let progress = ProgressBar::new(experiment.work());
    progress.set_style(ProgressStyle::with_template("quantizing {wide_bar} {percent} %, {eta} left")?);
    let curves = experiment.run(&progress)?;
    progress.finish_and_clear();

    let title = format!("Mean of N quantizations of LeNet's {NAME} to {} bits", arguments.bits);
    files::write(&[(csv, report::csv(&curves)?), (svg, figure::svg(&title, &curves)?.into_bytes())])?;
    program::print(format_args!("{}\n{}\n", report::table(&curves), report::conclusion(&curves)))
}

fn main() -> ExitCode {
    program::main(run)
}
