//! Tables of what was compared.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, TableStyle, presets};
use e5::Embeddings;
use harness::machine::Machine;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::pairs::Pairs;

/// SHA-256 of the bits of values, its first eight bytes in hexadecimal.
pub fn digest(values: &[f32]) -> String {
    let mut hash = Sha256::new();
    values.iter().for_each(|value| hash.update(value.to_bits().to_le_bytes()));
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The smallest and the mean cosine of an engine's embeddings to those of others.
#[derive(Serialize)]
pub struct Agreement {
    engine: &'static str,
    to_wheel: [f64; 2],
    /// To f64 activations.
    to_exact: [f64; 2],
}

impl Agreement {
    pub fn new(engine: &'static str, embeddings: &Embeddings, wheel: &Embeddings, exact: &Embeddings) -> Self {
        let cosines = |others: &Embeddings| {
            let count = wheel.tokens.len();
            let cosines: Vec<f64> = (0..count).map(|i| embeddings.cosine(i, others, i)).collect();
            [cosines.iter().copied().fold(f64::INFINITY, f64::min), cosines.iter().sum::<f64>() / count as f64]
        };
        Agreement { engine, to_wheel: cosines(wheel), to_exact: cosines(exact) }
    }
}

/// All texts on an ISA and some threads.
#[derive(Serialize)]
pub struct IsaRow {
    pub isa: &'static str,
    pub threads: usize,
    pub digest: String,
    pub sentences_per_second: f64,
}

/// A query among all passages.
#[derive(Serialize)]
pub struct PairRow {
    query: String,
    languages: [String; 2],
    ours: Found,
    wheel: Found,
}

/// How an engine finds the passage that answers a query.
#[derive(Serialize)]
struct Found {
    /// 1 for the most similar of all passages.
    rank: usize,
    cosine: f64,
    /// Of the most similar other passage.
    other: f64,
}

impl PairRow {
    /// All pairs by the embeddings of both engines, of queries and then of passages.
    pub fn all(pairs: &Pairs, ours: &Embeddings, wheel: &Embeddings) -> Vec<Self> {
        let each = pairs.0.iter().enumerate();
        let row = each.map(|(i, pair)| PairRow {
            query: pair.query.clone(),
            languages: [pair.query_language.clone(), pair.passage_language.clone()],
            ours: Found::new(ours, i, pairs.0.len()),
            wheel: Found::new(wheel, i, pairs.0.len()),
        });
        row.collect()
    }
}

impl Found {
    fn new(embeddings: &Embeddings, query: usize, count: usize) -> Self {
        let cosine = |passage: usize| embeddings.cosine(query, embeddings, count + passage);
        let others: Vec<f64> = (0..count).filter(|&passage| passage != query).map(cosine).collect();
        let own = cosine(query);
        let before = others.iter().filter(|&&other| other >= own).count();
        Found { rank: 1 + before, cosine: own, other: others.into_iter().fold(f64::NEG_INFINITY, f64::max) }
    }
}

/// Both engines at one way of calling, on some threads.
#[derive(Serialize)]
pub struct SpeedRow {
    pub turn: &'static str,
    pub threads: usize,
    /// Sentences per second.
    pub ours: f64,
    pub wheel: f64,
    pub ratio: f64,
    /// The larger of the two.
    pub spread: f64,
}

/// Everything.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub model: String,
    pub isa: &'static str,
    pub rounds: u32,
    pub texts: usize,
    pub tokens: usize,
    /// Whether both engines cut every text into as many tokens.
    pub tokens_agree: bool,
    pub agreements: Vec<Agreement>,
    pub isas: Vec<IsaRow>,
    pub pairs: Vec<PairRow>,
    pub speeds: Vec<SpeedRow>,
}

/// The least cosine to the wheel's embeddings that is agreement.
const LEAST: f64 = 0.999;

impl Report {
    /// `Ok` when all ISAs and threads gave the same bytes, and the wheel's engine the same embeddings up to rounding.
    pub fn check(&self) -> Result<(), String> {
        let Some(first) = self.isas.first() else { return Err("no ISA".to_owned()) };
        if let Some(row) = self.isas.iter().find(|row| row.digest != first.digest) {
            let (isa, threads) = (row.isa, row.threads);
            return Err(format!("{isa} with {threads} threads gave other bytes than {}", first.isa));
        }
        if !self.tokens_agree {
            return Err("the wheel's engine cuts a text into another number of tokens".to_owned());
        }
        let Agreement { to_wheel: [least, _], .. } = self.agreements[0];
        if least >= LEAST { Ok(()) } else { Err(format!("a cosine to the wheel's embeddings is {least:.5}")) }
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        self.tables(presets::UTF8_FULL_CONDENSED, "\n")
    }

    /// A document.
    pub fn markdown(&self) -> String {
        let style = presets::ASCII_MARKDOWN;
        format!("# multilingual-e5-small in four bits\n\n{}", self.tables(style, "\n## "))
    }

    fn tables(&self, style: TableStyle, title: &str) -> String {
        let Report { model, isa, texts, tokens, rounds, .. } = self;
        let mut text = format!("{}\n\n{model}, {texts} sentences of {tokens} tokens, {isa}\n", self.machine.line());
        let mut add = |name: &str, table: Table, below: &str| {
            let _ = write!(text, "{title}{name}\n\n{table}\n\n{below}\n");
        };
        let below = "The smallest and the mean cosine to the embeddings of the wheel's engine, and to those of plain \
                     loops in f64 over the decoded weights.";
        add("Agreement", self.agreement(style), below);
        let below = match self.check() {
            Ok(()) => {
                "The same bytes on every ISA, for every number of threads. (The speed is that of one pass.)".to_owned()
            }
            Err(error) => format!("Wrong: {error}."),
        };
        add("Bytes", self.bytes(style), &below);
        add("Retrieval", self.retrieval(style), &self.ranks());
        let below = format!(
            "Sentences per second, tokenization included: the mean of the middle half of {rounds} rounds in which \
             everyone has a turn. batch: the queries in one call, the passages in another; single: a call for each. \
             `~`: a spread above 15 %."
        );
        add("Speed", self.speed(style), &below);
        text
    }

    fn agreement(&self, style: TableStyle) -> Table {
        let mut table = table(style, &["engine", "to the wheel", "mean", "to f64", "mean"]);
        for Agreement { engine, to_wheel, to_exact } in &self.agreements {
            let cosines = to_wheel.iter().chain(to_exact).map(|cosine| format!("{cosine:.6}"));
            table.add_row([(*engine).to_owned()].into_iter().chain(cosines));
        }
        align(table, 1)
    }

    fn bytes(&self, style: TableStyle) -> Table {
        let mut table = table(style, &["ISA", "threads", "digest", "sentences/s"]);
        for IsaRow { isa, threads, digest, sentences_per_second } in &self.isas {
            let speed = format!("{sentences_per_second:.1}");
            table.add_row([(*isa).to_owned(), threads.to_string(), digest.clone(), speed]);
        }
        align(table, 1)
    }

    fn retrieval(&self, style: TableStyle) -> Table {
        let header = ["query", "languages", "rank", "cosine", "next", "wheel: rank", "cosine", "next"];
        let mut table = table(style, &header);
        for PairRow { query, languages, ours, wheel } in &self.pairs {
            let found =
                |found: &Found| [found.rank.to_string(), format!("{:.4}", found.cosine), format!("{:.4}", found.other)];
            table.add_row([query.clone(), languages.join(" → ")].into_iter().chain(found(ours)).chain(found(wheel)));
        }
        align(table, 2)
    }

    fn ranks(&self) -> String {
        let first = |found: fn(&PairRow) -> &Found| self.pairs.iter().filter(|row| found(row).rank == 1).count();
        let (ours, wheel, count) = (first(|row| &row.ours), first(|row| &row.wheel), self.pairs.len());
        let same = self.pairs.iter().filter(|row| row.ours.rank == row.wheel.rank).count();
        format!(
            "The rank of the right one of {count} passages. First: {ours} with zeropoint, {wheel} with the wheel; the \
             same rank: {same}. next: the cosine of the most similar other passage."
        )
    }

    fn speed(&self, style: TableStyle) -> Table {
        let mut table = table(style, &["calls", "threads", "zeropoint", "the wheel", "ratio"]);
        for SpeedRow { turn, threads, ours, wheel, ratio, spread } in &self.speeds {
            let mark = if *spread > 0.15 { "~" } else { "" };
            table.add_row([
                (*turn).to_owned(),
                threads.to_string(),
                format!("{ours:.1}"),
                format!("{wheel:.1}"),
                format!("{mark}{ratio:.1}"),
            ]);
        }
        align(table, 1)
    }
}

/// An empty table.
pub fn table<T: ToString>(style: TableStyle, header: &[T]) -> Table {
    let mut table = Table::new();
    table.load_style(style);
    table.set_header(header.iter().map(ToString::to_string));
    table
}

/// Numbers, from a column on, to the right.
fn align(mut table: Table, first: usize) -> Table {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
