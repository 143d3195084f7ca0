//! zeropoint's distances of i8 vectors beside those of NumKong, on one core. See README.md.

use std::fmt::Write;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::ProgressBar;
use numkong::{Angular, Dot as _, Euclidean};
use zeropoint::distance::{Cosine, Dot, Metric, SquaredEuclidean, between, pairwise};
use zeropoint::{Isa, Matrix, MatrixMut, reference};
use zeropoint_tools::files;
use zeropoint_tools::program::{self, Outcome};

use harness::machine::Machine;
use harness::measure::Times;

/// Lengths of vectors.
const LENGTHS: [usize; 6] = [96, 128, 384, 768, 1024, 1536];

/// Bytes of the rows that one query meets: what level 2 holds, and what no cache does.
const ROWS: [(&str, usize); 2] = [("256 KiB of rows", 256 << 10), ("64 MiB of rows", 64 << 20)];

/// Compares zeropoint's distances of i8 vectors with those of NumKong, on one core.
#[derive(Parser)]
struct Arguments {
    /// What zeropoint runs on (may be repeated; the first is the one that is compared; the best by default).
    #[arg(long)]
    isa: Vec<String>,
    /// Turns of every candidate.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Writes the table there.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    program::main(run)
}

fn run(arguments: &Arguments) -> Outcome {
    let outputs: Vec<&PathBuf> = arguments.markdown.iter().collect();
    files::check(&outputs)?;
    let isas: Vec<Isa> = match arguments.isa.is_empty() {
        true => vec![Isa::best()?],
        false => arguments.isa.iter().map(|name| Isa::named(name)).collect::<Result<_, _>>()?,
    };
    let mut report = Report::new(&isas, arguments.rounds);
    let exact = |value: Option<i32>| value.unwrap_or_default();
    report.metric("dot product", Dot, |a, b| exact(i8::dot(a, b)), |a, b| reference::dot(a, b) as i32, |a, b| a != b);
    report.metric(
        "squared Euclidean distance",
        SquaredEuclidean,
        |a, b| exact(i8::sqeuclidean(a, b).map(|square| square as i32)),
        |a, b| reference::squared_distance(a, b) as i32,
        |a, b| a != b,
    );
    // An angular distance is 1 − cosine.
    report.metric(
        "cosine",
        Cosine,
        |a, b| 1.0 - i8::angular(a, b).unwrap_or_default(),
        |a, b| reference::cosine(a, b),
        |a, b| (a - b).abs() > 1e-6,
    );
    let text = report.text();
    program::print(&text)?;
    let files: Vec<_> = arguments.markdown.iter().map(|file| (file, text.clone().into_bytes())).collect();
    Ok(files::write(&files)?)
}

/// Codes over their whole range, the same in every run.
fn codes(count: usize, seed: usize) -> Vec<i8> {
    (0..count).map(|i| ((i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as i8).collect()
}

struct Report<'a> {
    isas: &'a [Isa],
    rounds: u32,
    bar: ProgressBar,
    table: Table,
    /// The time of NumKong over that of the first ISA.
    ratios: Vec<f64>,
    /// What was compared with the reference, and how many results of NumKong were not right.
    checked: String,
}

impl<'a> Report<'a> {
    fn new(isas: &'a [Isa], rounds: u32) -> Self {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let names = isas.iter().map(|isa| isa.to_string());
        let ends = ["NumKong", "ratio"].map(String::from);
        table.set_header(["metric", "rows", "length"].map(String::from).into_iter().chain(names).chain(ends));
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let bar = ProgressBar::new((3 * LENGTHS.len() * (1 + ROWS.len())) as u64);
        Report { isas, rounds, bar, table, ratios: Vec::new(), checked: String::new() }
    }

    /// Checks and measures a metric: calls of two vectors, and one query that meets rows.
    fn metric<M: Metric + Copy>(
        &mut self,
        name: &str,
        metric: M,
        theirs: impl Fn(&[i8], &[i8]) -> M::Value,
        reference: impl Fn((&[i8], i32), (&[i8], i32)) -> M::Value,
        is_wrong: impl Fn(M::Value, M::Value) -> bool,
    ) {
        let (mut wrong, mut checked) = (0, 0);
        for length in LENGTHS {
            let query = codes(length, 0);
            for (title, bytes) in [("one", length)].into_iter().chain(ROWS) {
                let count = bytes / length;
                let all = codes(count * length, 77);
                let rows = Matrix::new(&all, count, length).expect("the codes are a matrix");
                let mut out = vec![theirs(&query, rows.row(0)); count];
                for &isa in self.isas {
                    let view = MatrixMut::new(&mut out, 1, count).expect("there is one result a row");
                    pairwise(isa, metric, &query, rows, view).expect("vectors are of one length");
                    for row in 0..count.min(1000) {
                        let want = reference((&query, 0), (rows.row(row), 0));
                        assert!(out[row] == want, "{isa}, {name}: row {row} of length {length}");
                        wrong += usize::from(is_wrong(theirs(&query, rows.row(row)), want));
                        checked += 1;
                    }
                }
                let mut times = vec![Times::default(); self.isas.len() + 1];
                for _ in 0..self.rounds {
                    let (last, ours) = times.split_last_mut().expect("NumKong is one of them");
                    for (&isa, times) in self.isas.iter().zip(ours) {
                        times.turn(&mut || {
                            if count == 1 {
                                let value = between(isa, metric, black_box(&query), black_box(&all));
                                black_box(value.expect("vectors are of one length"));
                            } else {
                                let view = MatrixMut::new(&mut out, 1, count).expect("there is one result a row");
                                pairwise(isa, metric, black_box(&query), rows, view)
                                    .expect("vectors are of one length");
                            }
                        });
                    }
                    last.turn(&mut || {
                        for (value, row) in out.iter_mut().zip(all.chunks_exact(length)) {
                            *value = theirs(black_box(&query), black_box(row));
                        }
                    });
                }
                let ratio = times[0].ratio(&times[self.isas.len()]);
                self.ratios.push(ratio);
                let nanoseconds = times.iter().map(|times| format!("{:.1}", times.middle() * 1e9 / count as f64));
                let cells = [name.to_owned(), title.to_owned(), length.to_string()];
                self.table.add_row(cells.into_iter().chain(nanoseconds).chain([format!("{ratio:.2}")]));
                self.bar.inc(1);
            }
        }
        let _ = writeln!(self.checked, "- {name}: {wrong} of {checked} results of NumKong are not right.");
    }

    fn text(&self) -> String {
        self.bar.finish_and_clear();
        let mean = (self.ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / self.ratios.len() as f64).exp();
        format!(
            "# Distances of i8 vectors\n\n{}, one core\n\nNanoseconds a row, of the middle half of {} rounds; the ratio is NumKong's time \
             over that of {}.\nGeometric mean of the ratios: {mean:.2}.\n\n{}\n\nzeropoint's results equal the reference. (Of a cosine, \
             an error of 10⁻⁶ is right.)\n\n{}",
            Machine::here().line(),
            self.rounds,
            self.isas[0],
            self.table,
            self.checked
        )
    }
}
