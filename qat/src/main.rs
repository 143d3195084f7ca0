//! Quantization-aware training of a LeNet, with nearest and with stochastic rounding in every place: `cargo run --release -p qat`.
//!
//! A float network is trained, then tuned by every recipe: weights and activations of 8, 4, 3 and 2 bits, with scales of any float
//! or powers of two; stochastic rounding in the forward pass, or of quantized gradients, or of weights that are kept as codes;
//! scales that are learned. Quantization after training stands beside it. Then the trained networks are turned into pure integers
//! and compared code by code, and the gradients of a quadratic cost are measured for a bias. The same seed gives the same network, bit
//! for bit, on every ISA and for any number of threads.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use qat::grid::{Grid, Journal, Run, Scratch};
use qat::recipe::{Recipe, Variant};
use qat::report::Results;
use qat::train::Schedule;
use qat::{Failure, bias, data, figure, grid};
use zeropoint::{Exec, Isa};
use zeropoint_tools::{arguments, files, program};

/// Trains a LeNet with quantization in many ways, and compares them
#[derive(Parser)]
struct Arguments {
    /// A small grid on the digits that the project ships
    #[arg(long)]
    quick: bool,
    /// The folder with Fashion-MNIST, as Debian's package `dataset-fashion-mnist` lays it
    #[arg(long, value_name = "FOLDER", default_value = "/usr/share/datasets/fashion-mnist", conflicts_with = "quick")]
    data: PathBuf,
    /// How many seeds [default: 5, quick: 2]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,
    /// Bits of weights and activations; can be given several times [default: 8, 4, 3 and 2, quick: 4 and 2]
    #[arg(long, value_name = "N", value_parser = arguments::bits())]
    bits: Vec<u32>,
    /// Images that a recipe tunes the network with, which was trained on some times as many [default: 16000, quick: 2000]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(64..=100_000_000))]
    images: Option<u64>,
    /// The threads: each trains networks of its own [default: those of the machine]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// The name of an ISA, by default the best that this CPU has
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// A file of finished runs: a line is added for each, and runs that it has are not run again
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Run nothing: report the runs that the journal has
    #[arg(long, requires = "journal")]
    finished: bool,
    /// Write the results here as Markdown, and pictures into the folder `qat` beside it
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Print one JSON object instead of the tables
    #[arg(long)]
    json: bool,
}

/// Draws of the measurement of gradients.
const DRAWS: u64 = 1 << 14;

impl Arguments {
    fn grid(&self) -> Grid {
        let batch = 64;
        let schedule = |images, rate| Schedule { images, batch, rate };
        let tuning = self.images.map(|images| images as usize);
        let or = |bits: &[u32]| if self.bits.is_empty() { bits.to_vec() } else { self.bits.clone() };
        if self.quick {
            Grid {
                bits: or(&[4, 2]),
                power_of_two: vec![false, true],
                variants: Variant::ALL.to_vec(),
                seeds: self.seeds.unwrap_or(2),
                first: schedule(6 * tuning.unwrap_or(2000), 0.05),
                tuning: schedule(tuning.unwrap_or(2000), 0.01),
            }
        } else {
            Grid {
                bits: or(&[8, 4, 3, 2]),
                power_of_two: vec![false, true],
                variants: Variant::ALL.to_vec(),
                seeds: self.seeds.unwrap_or(5),
                first: schedule(15 * tuning.unwrap_or(16_000) / 2, 0.03),
                tuning: schedule(tuning.unwrap_or(16_000), 0.01),
            }
        }
    }
}

impl Arguments {
    /// Training from random weights: a third of what the grid's float network is trained with.
    fn scratch(&self) -> Scratch {
        let Grid { first, seeds, .. } = self.grid();
        let images = first.images / 3;
        Scratch { schedule: Schedule { images, ..first }, seeds: seeds.min(3) }
    }
}

/// A line for a run that was finished.
fn line(run: &Run, images: usize) -> String {
    let name = match run.recipe {
        Recipe::Float => "float".to_owned(),
        Recipe::Integer { stochastic: false } => "integers, gradients to nearest".to_owned(),
        Recipe::Integer { stochastic: true } => "integers, stochastic gradients".to_owned(),
        Recipe::Quantized(quantized) => format!(
            "{} bits, {} scale, {}",
            quantized.bits,
            qat::report::scale(quantized.power_of_two),
            quantized.variant.name()
        ),
    };
    let percent = 100.0 * run.correct as f64 / images as f64;
    format!("seed {}, {name}: {percent:.2} %, {:.1} s, {}", run.seed, run.seconds, run.digest)
}

/// Runs everything; what is to be printed.
fn run(arguments: &Arguments) -> Result<String, Failure> {
    let isa = arguments.isa.as_deref().map_or_else(Isa::best, Isa::named)?;
    let exec = Exec::from(isa);
    let pictures = arguments.markdown.as_ref().map(|path| {
        let folder = path.with_file_name("qat");
        ["accuracy.svg", "bias.svg"].map(|name| folder.join(name))
    });
    if let (Some(markdown), Some([accuracy, bias])) = (&arguments.markdown, &pictures) {
        files::check(&[markdown, accuracy, bias])?;
    }
    let grid = arguments.grid();
    let data = if arguments.quick { data::digits()? } else { data::fashion(&arguments.data)? };
    let scratch = arguments.scratch();
    let [journal, scratch_journal] =
        [grid.key(&data), scratch.key(&data)].map(|key| Journal::open(arguments.journal.as_deref(), key));
    let (journal, scratch_journal) = (journal?, scratch_journal?);

    let progress = ProgressBar::new(0);
    progress.set_style(ProgressStyle::with_template("training {wide_bar} {pos} of {len}, {eta} left")?);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads.map_or(0, usize::from)).build()?;
    let finished = |run: &Run| progress.println(line(run, data.test.count()));
    let (runs, integer) = if arguments.finished {
        (journal.runs().to_vec(), scratch_journal.runs().to_vec())
    } else {
        let runs = pool.install(|| grid::all(&grid, &data, exec, &journal, &progress, finished))?;
        (runs, pool.install(|| scratch.run(&data, exec, &scratch_journal, finished))?)
    };
    progress.finish_and_clear();

    let mut results = Results::new(&grid, &scratch, &data, runs);
    results.integer = integer;
    results.bias = bias::measure(exec, &grid.bits, DRAWS, 42)?;
    let text = results.markdown();
    if let (Some(markdown), Some([accuracy, bias])) = (&arguments.markdown, &pictures) {
        let quick = if arguments.quick { " --quick" } else { "" };
        let title = format!(
            "# Quantization-aware training of a LeNet\n\n`cargo run --release -p qat --{quick} --seeds {}`. With `--help` it says what \
             it can do; `qat/src` says how everything is computed. A seed gives the same bits on every ISA and for any number of \
             threads.\n\n![Accuracy by bits](qat/accuracy.svg)\n\n",
            grid.seeds,
        );
        files::write(&[
            (markdown.clone(), (title + &text).into_bytes()),
            (accuracy.clone(), figure::accuracy(&results)?.into_bytes()),
            (bias.clone(), figure::bias(&results.bias)?.into_bytes()),
        ])?;
    }
    Ok(if arguments.json { serde_json::to_string(&results)? + "\n" } else { text })
}

fn main() -> ExitCode {
    // Networks are trained side by side, a thread each: candle's own threads would only be in the way, waiting for each other.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
    program::main(|arguments: &Arguments| {
        let text = run(arguments).map_err(|error| -> Box<dyn std::error::Error> { error })?;
        program::print(text)
    })
}
