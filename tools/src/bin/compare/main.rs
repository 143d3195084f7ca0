//! Which scheme suits a tensor, and why: `cargo run --release -p zeropoint-tools --bin compare -- weights.safetensors`.
//!
//! Every tensor of the files (`.npy`, `.npz`, `.safetensors`; floats of 16, 32 or 64 bits) is quantized by a grid of schemes,
//! the eight types of quantization × bits × granularity × range method, and the error of each is measured. The tables have the
//! signal to quantization noise of each method and of each type, with the best marked; sentences say what the best one gains
//! by what; `--json` and `--csv` have all of it, and the picture has the noise against the bits.
//!
//! Tensors of several axes are also stored as weights `[first axis, all others]` are: in groups along a row, of codes of every
//! number of bits, symmetric or with zero points, with the ranges of minimum and maximum or of least squared error, and scales
//! of f16; in the block formats whose blocks divide a row; and in FP8. Each has its true bits a weight, scales and zero points
//! counted as they are stored, and is marked if no other with as few bits has less noise.
//!
//! Without files it takes the shipped LeNet, and begins with the tensor of a notebook that compares three schemes by numbers
//! which are wrong, each in its own way.

mod figure;
mod grid;
mod notebook;
mod report;
mod stored;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use zeropoint::Isa;
use zeropoint::calibrate::Method;
use zeropoint_tools::program::{self, Outcome};
use zeropoint_tools::tensors::{self, Loaded, left_out};
use zeropoint_tools::{arguments, files};

use grid::Grid;
use stored::Storage;

/// Quantizes tensors by a grid of schemes, and tells which suits them and why.
#[derive(Parser)]
struct Arguments {
    /// .npy, .npz or .safetensors, by default the shipped LeNet; what is no tensor of finite floats is named and left out
    files: Vec<PathBuf>,
    /// The bits of the codes, of 2 to 8
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "2,3,4,5,6,7,8", value_parser = arguments::bits())]
    bits: Vec<u32>,
    /// The methods by which ranges are chosen (blocks have their minima and maxima always)
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = arguments::method,
        default_value = "minmax,std:3,gauss,laplace,percentile:99.9,percentile:99.99,entropy,mse"
    )]
    methods: Vec<Method>,
    /// The axis of the channels, where a tensor has more than one axis
    #[arg(long, value_name = "N", default_value_t = 0)]
    axis: usize,
    /// The length of a block
    #[arg(long, value_name = "N", default_value = "32")]
    block: NonZeroUsize,
    /// The axis that blocks lie along, by default the innermost
    #[arg(long, value_name = "N")]
    block_axis: Option<usize>,
    /// What is compared: the eight types of quantization, weights in groups, and formats
    #[arg(long, value_name = "KIND", value_delimiter = ',', default_value = "schemes,groups,formats")]
    rows: Vec<Rows>,
    /// The lengths of groups of weights: multiples of 16
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "32,64,128", value_parser = group_length)]
    groups: Vec<usize>,
    /// The name of an ISA, by default the best that this CPU has
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Print lines of CSV instead of tables
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// The picture; by default none, or that in results/compare without files
    #[arg(long, value_name = "FILE")]
    figure: Option<PathBuf>,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rows {
    Schemes,
    Groups,
    Formats,
}

fn group_length(text: &str) -> Result<usize, String> {
    let length = text.parse().map_err(|_| "no length")?;
    if length > 0 && usize::is_multiple_of(length, 16) { Ok(length) } else { Err("not a multiple of 16".to_owned()) }
}

fn run(arguments: &Arguments) -> Outcome {
    let isa = arguments.isa.as_deref().map_or_else(Isa::best, Isa::named)?;
    let shipped = arguments.files.is_empty();
    let mut loaded = if shipped { shipped_tensors()? } else { tensors::load(&arguments.files)? };
    let has = |rows| arguments.rows.contains(&rows);
    let storage = Storage {
        isa,
        bits: &arguments.bits,
        lengths: if has(Rows::Groups) { &arguments.groups } else { &[] },
        formats: has(Rows::Formats),
    };
    let grid = Grid {
        isa,
        schemes: has(Rows::Schemes),
        storage,
        bits: &arguments.bits,
        methods: &arguments.methods,
        axis: arguments.axis,
        block: arguments.block.get(),
        block_axis: arguments.block_axis,
    };
    loaded.leave_out(|tensor| grid.misfit(tensor));
    let shipped_figure = || concat!(env!("CARGO_MANIFEST_DIR"), "/../results/compare/compare.svg").into();
    let path: Option<PathBuf> = arguments.figure.clone().or_else(|| shipped.then(shipped_figure));
    files::check(path.as_slice())?;

    let Loaded { tensors, left_out: mut others } = loaded;
    let progress = ProgressBar::new(tensors.iter().map(|tensor| grid.work(tensor)).sum());
    progress.set_style(ProgressStyle::with_template("quantizing {wide_bar} {percent} %, {eta} left")?);
    let mut compared = Vec::new();
    for tensor in &tensors {
        match grid.run(tensor, &progress) {
            Ok(results) => compared.push((tensor, results)),
            Err(error) => others.push(left_out(&tensor.path, &tensor.name, error)),
        }
    }
    progress.finish_and_clear();
    if compared.is_empty() {
        let (first, others) = others.split_first().ok_or("no tensors in these files")?;
        let others = if others.is_empty() { String::new() } else { format!(", and {} others too", others.len()) };
        return Err(format!("{first}{others}").into());
    }
    others.iter().for_each(|line| program::warn(line));

    if let Some(path) = &path {
        files::write(&[(path, figure::svg(&compared)?.into_bytes())])?;
    }
    let text = if arguments.json {
        report::json(&compared)?
    } else if arguments.csv {
        report::csv(&compared)?
    } else {
        let mut text = if shipped { notebook::report(isa)? } else { String::new() };
        for (tensor, results) in &compared {
            text += &report::tables(tensor, results);
        }
        let Some(path) = path else { return program::print(text) };
        let part = match compared.len() {
            count if count > figure::MOST => format!(", the first {} of {count} tensors", figure::MOST),
            _ => String::new(),
        };
        text + &format!("Drawn: {}{part}\n", path.display())
    };
    program::print(text)
}

/// The weights of the shipped LeNet, and the tensor of the notebook.
fn shipped_tensors() -> Result<Loaded, String> {
    let mut loaded =
        tensors::load(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("../lenet/data/lenet-mnist.safetensors")])?;
    loaded.tensors.retain(|tensor| tensor.shape.len() > 1);
    loaded.tensors.insert(0, notebook::tensor());
    Ok(loaded)
}

fn main() -> ExitCode {
    program::main(run)
}
