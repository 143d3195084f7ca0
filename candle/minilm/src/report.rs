//! Embeddings and speeds, and tables of them.

use std::fmt::Write;
use std::process::Command;

use comfy_table::{CellAlignment, Table, TableStyle, presets};
use harness::machine::Machine;
use zeropoint::Isa;

use crate::Input;
use crate::candidates::{CANDIDATES, Candidate};
use crate::model::{Model, Wrong};
use crate::speed::{Figure, Speeds};

/// The smallest and the mean cosine of a candidate's embeddings to those of candle's f32.
struct Agreement {
    candidate: &'static Candidate,
    least: f64,
    mean: f64,
}

/// Everything.
pub struct Report {
    machine: Machine,
    isa: Isa,
    rounds: u32,
    sentences: usize,
    tokens: usize,
    agreements: Vec<Agreement>,
    /// By the number of threads.
    speeds: Vec<(u32, Speeds)>,
}

impl Report {
    /// Measures everything.
    pub fn new(input: &Input, rounds: u32, threads: &[u32]) -> Result<Self, Wrong> {
        let model = Model::load(&input.model, &input.sentences)?;
        let embed = |candidate: &Candidate| model.embed(&candidate.bert(&model)?);
        let [first, others @ ..] = &CANDIDATES;
        let exact = embed(first)?;
        let agreement = |candidate: &'static Candidate| {
            let cosines: Vec<f64> = embed(candidate)?.iter().zip(&exact).map(|(a, b)| cosine(a, b)).collect();
            let least = cosines.iter().copied().fold(f64::INFINITY, f64::min);
            Ok::<_, Wrong>(Agreement { candidate, least, mean: cosines.iter().sum::<f64>() / cosines.len() as f64 })
        };
        Ok(Report {
            machine: Machine::here(),
            isa: Isa::best()?,
            rounds,
            sentences: model.sentences.len(),
            tokens: model.sentences.iter().map(Vec::len).sum(),
            agreements: others
                .iter()
                .filter(|other| other.has_embeddings())
                .map(agreement)
                .collect::<Result<_, _>>()?,
            speeds: threads.iter().map(|&n| Ok((n, speeds(input, rounds, n)?))).collect::<Result<_, Wrong>>()?,
        })
    }

    /// What is farther from candle's f32 than it was meant to be.
    fn missed(&self) -> String {
        let far = |row: &&Agreement| row.candidate.aim.is_some_and(|aim| row.least < aim || !row.least.is_finite());
        let missed: Vec<&str> = self.agreements.iter().filter(far).map(|row| row.candidate.name).collect();
        if missed.is_empty() {
            "All reach their aims.".to_owned()
        } else {
            format!("Below their aims: {}.", missed.join("; "))
        }
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        self.tables(presets::UTF8_FULL_CONDENSED, "\n")
    }

    /// A document.
    pub fn markdown(&self) -> String {
        format!("# all-MiniLM-L6-v2 on candle\n\n{}", self.tables(presets::ASCII_MARKDOWN, "\n## "))
    }

    fn tables(&self, style: TableStyle, title: &str) -> String {
        let Report { isa, rounds, sentences, tokens, .. } = self;
        let mut text = format!("{}\n\n", self.machine.line());
        let command = format!("cargo run --release -p minilm -- report --rounds {rounds} --markdown results/candle.md");
        let _ = writeln!(text, "`{command}`, {}", isa.name());
        let mut add = |name: &str, table: Table, below: &str| {
            let _ = write!(text, "{title}{name}\n\n{table}\n\n{below}\n");
        };
        let below = format!(
            "The smallest and the mean cosine between a sentence's embedding and that of candle's f32: {sentences} \
             sentences of {tokens} tokens. {}",
            self.missed()
        );
        add("Embeddings", self.agreement(style), &below);
        let rule = format!(
            "The interquartile mean of {rounds} rounds in which every candidate has a turn of 10 ms at least, in one \
             process with RAYON_NUM_THREADS, pinned to as many processors. In brackets: times candle's f32. `~`: half of \
             the rounds spread by more than 15 %."
        );
        for (threads, speeds) in &self.speeds {
            let below = format!(
                "Sentences per second. The last column is the limit of every other one: all of the model but its linear \
                 layers. {rule}"
            );
            add(&format!("Sentences per second, {threads} thread(s)"), batches(style, speeds), &below);
            let below = "Milliseconds. The last column is the library's convolution of codes that are channels-last \
                         already: what ours takes longer is quantizing images, and transposing their codes and the result.";
            add(&format!("Convolutions, {threads} thread(s)"), convolutions(style, speeds), below);
        }
        text
    }

    fn agreement(&self, style: TableStyle) -> Table {
        let mut table = table(style, &["layers", "least", "mean", "aim"]);
        for Agreement { candidate, least, mean } in &self.agreements {
            let bar = candidate.aim.map_or(String::new(), |bar| bar.to_string());
            table.add_row([candidate.name.to_owned(), format!("{least:.6}"), format!("{mean:.6}"), bar]);
        }
        align(table, 1)
    }
}

fn batches(style: TableStyle, speeds: &Speeds) -> Table {
    let timed = CANDIDATES.iter().filter(|candidate| candidate.is_timed).map(|candidate| candidate.name);
    let header: Vec<&str> = ["batch", "tokens"].into_iter().chain(timed).collect();
    let mut table = table(style, &header);
    for row in &speeds.batches {
        let figures = row.figures.iter().map(|figure| cell(figure, format!("{:.1}", figure.rate)));
        table.add_row([row.batch.to_string(), row.length.to_string()].into_iter().chain(figures));
    }
    align(table, 0)
}

fn convolutions(style: TableStyle, speeds: &Speeds) -> Table {
    let header = ["channels", "image", "outputs", "window", "groups", "candle f32", "int8", "channels-last codes"];
    let mut table = table(style, &header);
    for row in &speeds.convolutions {
        let [_, channels, side, outputs, size, groups] = row.shape.map(|size| size.to_string());
        let figures = row.figures.iter().map(|figure| cell(figure, format!("{:.3}", 1e3 / figure.rate)));
        let square = |side: String| format!("{side}²");
        let shape = [channels, square(side), outputs, square(size), groups];
        table.add_row(shape.into_iter().chain(figures));
    }
    align(table, 0)
}

/// A number, and how it compares.
fn cell(figure: &Figure, number: String) -> String {
    let mark = if figure.spread > 0.15 { "~" } else { "" };
    format!("{mark}{number} ({:.2}×)", figure.ratio)
}

/// The turns on so many threads, in a process of their own that is pinned to as many processors.
fn speeds(input: &Input, rounds: u32, threads: u32) -> Result<Speeds, Wrong> {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(format!("0-{}", threads - 1)).arg(std::env::current_exe()?);
    command.arg("speed").arg("--rounds").arg(rounds.to_string());
    command.arg("--model").arg(&input.model).arg("--sentences").arg(&input.sentences);
    let output = command.env("RAYON_NUM_THREADS", threads.to_string()).output();
    let output = output.map_err(|error| format!("taskset: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("with {threads} threads: {}", said.trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// An empty table.
fn table(style: TableStyle, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(style);
    table.set_header(header);
    table
}

/// Numbers, from a column on, to the right.
fn align(mut table: Table, first: usize) -> Table {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
