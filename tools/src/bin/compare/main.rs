//! Which scheme suits a tensor, and why: `cargo run --release -p zeropoint-tools --bin compare -- weights.safetensors`.
//!
//! Every tensor of the files (`.npy`, `.npz`, `.safetensors`) is quantized by a grid of schemes, the eight types of
//! quantization × bits × granularity × range method, and the error of each is measured. The tables have the signal to
//! quantization noise of each method and of each type, with the best marked; sentences say what the best one gains by what;
//! `--json` and `--csv` have all of it, and the picture has the noise against the bits.
//!
//! Without files it takes the shipped LeNet, and begins with the tensor of a notebook that compares three schemes by numbers
//! which are wrong, each in its own way.

mod figure;
mod grid;
mod notebook;
mod report;
mod tensors;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use zeropoint::Isa;
use zeropoint::calibrate::Method;

use grid::Grid;

/// Quantizes tensors by a grid of schemes, and tells which suits them and why.
#[derive(Parser)]
struct Arguments {
    /// .npy, .npz or .safetensors; by default the shipped LeNet
    files: Vec<PathBuf>,
    /// The bits of the codes, of 2 to 8
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "2,3,4,5,6,7,8")]
    bits: Vec<u32>,
    /// The methods by which ranges are chosen (blocks have their minima and maxima always)
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "minmax,std:3,gauss,laplace,percentile:99.9,percentile:99.99,entropy,mse"
    )]
    methods: Vec<Method>,
    /// The axis of the channels, where there is more than one
    #[arg(long, default_value_t = 0)]
    axis: usize,
    /// The length of a block along the innermost axis
    #[arg(long, value_name = "N", default_value_t = 32)]
    block: usize,
    /// The name of an ISA, by default the best that this CPU has
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Print lines of CSV instead of tables
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// The picture; by default compare.svg, or that in results/compare without files
    #[arg(long, value_name = "FILE")]
    figure: Option<PathBuf>,
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let isa = arguments.isa.as_deref().map_or_else(Isa::best, Isa::named)?;
    let shipped = arguments.files.is_empty();
    let tensors = if shipped { tensors::shipped()? } else { tensors::load(&arguments.files)? };
    let grid =
        Grid { isa, bits: &arguments.bits, methods: &arguments.methods, axis: arguments.axis, block: arguments.block };
    let progress = ProgressBar::new(tensors.iter().map(|tensor| grid.work(tensor)).sum());
    progress.set_style(ProgressStyle::with_template("quantizing {wide_bar} {percent} %, {eta} left")?);
    let mut compared = Vec::new();
    for tensor in &tensors {
        let results = grid.run(tensor, &progress).map_err(|error| format!("{}: {error}", tensor.name))?;
        compared.push((tensor, results));
    }
    progress.finish_and_clear();

    let path = arguments.figure.clone().unwrap_or_else(|| {
        if shipped { concat!(env!("CARGO_MANIFEST_DIR"), "/../results/compare/compare.svg") } else { "compare.svg" }
            .into()
    });
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&path, figure::svg(&compared)?).map_err(|error| format!("{}: {error}", path.display()))?;

    let text = if arguments.json {
        report::json(&compared)?
    } else if arguments.csv {
        report::csv(&compared)?
    } else {
        let mut text = if shipped { notebook::report(isa)? } else { String::new() };
        for (tensor, results) in &compared {
            text += &report::tables(tensor, results);
        }
        text + &format!("Drawn: {}\n", path.display())
    };
    // Not `print!`, which panics when the reader of a pipe is gone.
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever is in the names that it quotes.
            let line = error.to_string().replace(char::is_control, " ");
            eprintln!("error: {line}");
            ExitCode::FAILURE
        }
    }
}
