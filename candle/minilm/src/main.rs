//! all-MiniLM-L6-v2 on candle, with candle's own layers and with those of `zeropoint-candle`: `cargo run --release -p minilm
//! -- --help`. See `candle/README.md`.

mod bert;
mod candidates;
mod convolutions;
mod model;
mod report;
mod speed;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use candle_core::utils::with_threadpool;
use clap::{Args, Parser, Subcommand};
use zeropoint_tools::program::{self, Outcome};

use model::Model;
use report::Report;

/// Embeds sentences by candle's layers and by layers of few bits
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare embeddings and speed of all kinds of layers, on one thread and on two
    Report {
        #[command(flatten)]
        input: Input,
        /// Turns of every candidate
        #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// The numbers of threads that are compared
        #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u32).range(1..=64))]
        threads: Vec<u32>,
        /// Writes the tables there
        #[arg(long, value_name = "FILE")]
        markdown: Option<PathBuf>,
    },
    /// Take the turns of a report in this process, on as many threads as RAYON_NUM_THREADS says, and print them as JSON
    Speed {
        #[command(flatten)]
        input: Input,
        /// Turns of every candidate
        #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
    },
}

#[derive(Args)]
struct Input {
    /// The folder of the model, as candle/minilm/fetch makes it
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data"))]
    model: PathBuf,
    /// Sentences, one a line
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/sentences.txt"))]
    sentences: PathBuf,
}

fn run(arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::Report { input, rounds, threads, markdown } => {
            let files: Vec<&PathBuf> = markdown.iter().collect();
            zeropoint_tools::files::check(&files)?;
            let report = Report::new(input, *rounds, threads).map_err(|wrong| wrong as Box<dyn Error>)?;
            if let Some(file) = markdown {
                zeropoint_tools::files::write(&[(file, report.markdown().into_bytes())])?;
            }
            program::print(report.text())
        }
        Command::Speed { input, rounds } => {
            let take = || speed::take(&Model::load(&input.model, &input.sentences)?, *rounds);
            // candle's own pool, as an engine would call it.
            let speeds = with_threadpool(take).map_err(|wrong| wrong as Box<dyn Error>)?;
            program::print(serde_json::to_string(&speeds)? + "\n")
        }
    }
}

fn main() -> ExitCode {
    program::main(run)
}
