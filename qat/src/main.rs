//! Quantization-aware training of a LeNet, with nearest and with stochastic rounding in every place.
//!
//! ```sh
//! cargo run --release -p qat -- --quick
//! ```
//!
//! A float network is trained, then tuned by every recipe: weights and activations of 8, 4, 3 and 2 bits, with scales of
//! any float or powers of two; stochastic rounding in the forward pass, or of quantized gradients, or of weights that are
//! stored as codes; scales that are learned. The same network is quantized after training, for comparison. Then the trained
//! networks are converted to integers and compared code by code, and the gradients of a quadratic cost are measured for a
//! bias. The same seed gives the same network, bit for bit, on every ISA and for any number of threads.

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
    /// A small grid on the digits that the project ships, in about a minute
    #[arg(long)]
    quick: bool,
    /// The folder with Fashion-MNIST, as Debian's package `dataset-fashion-mnist` lays it
    #[arg(long, value_name = "FOLDER", default_value = "/usr/share/datasets/fashion-mnist", conflicts_with = "quick")]
    data: PathBuf,
    /// How many seeds, each with networks of its own [default: 5, quick: 2]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,
    /// Bits of weights and activations; can be given several times [default: 8, 4, 3 and 2, quick: 4 and 2]
    #[arg(long, value_name = "N", value_parser = arguments::bits())]
    bits: Vec<u32>,
    /// Images that each recipe tunes the float network with, in whole batches of 64; it was trained on 7.5 times as many,
    /// quick: 6 times [default: 16000, quick: 2000]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(64..=100_000_000))]
    images: Option<u64>,
    /// How many networks are trained at a time, a thread each [default: those of the machine]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// The name of an ISA, by default the best that this CPU has
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Keep finished runs in this file, and do not run those again that it has
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Train nothing: report the runs that the journal has
    #[arg(long, requires = "journal")]
    finished: bool,
    /// Write the results into this file too, and pictures into the folder `qat` beside it
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Print one JSON object instead of the tables
    #[arg(long)]
    json: bool,
}

/// Draws of the measurement of gradients: the error of their mean is 1/128 of that of one draw.
const DRAWS: u64 = 1 << 14;

/// Images in a step of training.
const BATCH: usize = 64;

impl Arguments {
    fn grid(&self) -> Grid {
        let schedule = |images, rate| Schedule::new(images, BATCH, rate);
        let tuning = self.images.map(|images| images as usize);
        let or = |bits: &[u32]| -> Vec<u32> {
            let chosen = if self.bits.is_empty() { bits } else { &self.bits };
            // Bits that are given twice are run once.
            chosen.iter().enumerate().filter(|&(i, bits)| !chosen[..i].contains(bits)).map(|(_, &bits)| bits).collect()
        };
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
    /// The command with all options that these results depend on.
    fn command(&self) -> String {
        let mut command = "cargo run --release -p qat --".to_owned();
        if self.quick {
            command += " --quick";
        }
        command += &format!(" --seeds {}", self.grid().seeds);
        command.extend(self.bits.iter().map(|bits| format!(" --bits {bits}")));
        command.extend(self.images.map(|images| format!(" --images {images}")));
        command
    }

    /// Training from random weights, with a third of the images of the grid's float network and at most three seeds.
    fn scratch(&self) -> Scratch {
        let Grid { first, seeds, .. } = self.grid();
        Scratch { schedule: Schedule::new(first.images / 3, first.batch, first.rate), seeds: seeds.min(3) }
    }
}

/// The line that is printed when a run is finished.
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

/// Runs everything. Returns the text to print.
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
        (grid.finished(&journal), scratch.finished(&scratch_journal))
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
        let title = format!(
            "# Quantization-aware training of a LeNet\n\n`{}`. With `--help` it says what it can do; `qat/src` says how everything is \
             computed. A seed gives the same bits on every ISA and for any number of threads.\n\n![Accuracy by bits](qat/accuracy.svg)\n\n",
            arguments.command(),
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
