//! Tables of what was measured.

use std::fmt::Write;

use comfy_table::{CellAlignment, TableStyle, presets};
use serde::Serialize;

use crate::check::Verdict;
use crate::peers::Peer;
use crate::shapes::Shape;
use harness::machine::Machine;
use harness::measure::Times;

/// A contender at a shape.
#[derive(Serialize)]
pub struct Entry {
    pub name: String,
    pub is_ours: bool,
    /// For context, not for comparison.
    pub is_float: bool,
    pub verdict: Verdict,
    /// Of the middle half of the turns.
    pub gmacs: f64,
    /// Of the best one.
    pub best_gmacs: f64,
    /// Per call, one for every turn.
    pub seconds: Times,
}

/// A shape.
#[derive(Serialize)]
pub struct Row {
    shape: String,
    /// Of every ISA that was asked for, in GMAC/s.
    peaks: Vec<Option<f64>>,
    /// In GB/s.
    bandwidth: Option<f64>,
    /// What each entry could reach at most, in GMAC/s.
    limits: Vec<Option<f64>>,
    entries: Vec<Entry>,
    /// zeropoint on the first ISA over the best peer.
    ratio: Option<f64>,
}

impl Row {
    /// `peaks` belong to our entries, which come first; peers are held against the highest. `reading` is the rate at which
    /// weights arrive, in GB/s and in GMAC/s.
    pub fn new(shape: Shape, peaks: &[Option<f64>], reading: Option<(f64, f64)>, entries: Vec<Entry>) -> Self {
        let (bandwidth, reading) = reading.unzip();
        let least = |peak: Option<f64>| match (peak, reading) {
            (Some(peak), Some(reading)) => Some(peak.min(reading)),
            (peak, reading) => peak.or(reading),
        };
        let highest = peaks.iter().copied().flatten().reduce(f64::max);
        let limits = (0..entries.len()).map(|i| least(if entries[i].is_ours { peaks[i] } else { highest }));
        let peers = entries.iter().filter(|entry| !entry.is_ours && !entry.is_float).map(|entry| entry.gmacs);
        let ours = entries.first().map(|entry| entry.gmacs);
        let ratio = ours.zip(peers.reduce(f64::max)).map(|(ours, best)| ours / best);
        Row { shape: shape.to_string(), peaks: peaks.to_vec(), bandwidth, limits: limits.collect(), entries, ratio }
    }
}

/// A workload.
#[derive(Serialize)]
pub struct Table {
    title: String,
    rows: Vec<Row>,
    /// Geometric mean of the ratios.
    mean: Option<f64>,
    /// The smallest ratio, and where.
    smallest: Option<(f64, String)>,
}

impl Table {
    /// Puts rows together.
    pub fn new(title: &str, rows: Vec<Row>) -> Self {
        let ratios = || rows.iter().filter_map(|row| Some((row.ratio?, row.shape.clone())));
        let count = ratios().count();
        let mean = (count > 0).then(|| (ratios().map(|(ratio, _)| ratio.ln()).sum::<f64>() / count as f64).exp());
        let smallest = ratios().min_by(|a, b| a.0.total_cmp(&b.0));
        Table { title: title.into(), rows, mean, smallest }
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        format!("\n{}\n{}\n{}", self.title, self.table(presets::UTF8_FULL_CONDENSED), self.summary())
    }

    /// What stands below the table.
    fn summary(&self) -> String {
        let mut text = String::new();
        if let (Some(mean), Some((ratio, shape))) = (self.mean, &self.smallest) {
            text = format!("zeropoint / best peer: geometric mean {mean:.2}, smallest {ratio:.2} at {shape}.\n");
        }
        for name in self.names() {
            let verdicts = self.rows.iter().flat_map(|row| {
                let entry = row.entries.iter().find(|entry| entry.name == name);
                entry.map(|entry| (&row.shape, entry.verdict))
            });
            let (exact, others): (Vec<_>, Vec<_>) =
                verdicts.partition(|(_, verdict)| matches!(verdict, Verdict::Exact | Verdict::Near { .. }));
            // The worst of those that are not exact stands for them.
            let worst = others.iter().max_by_key(|(_, verdict)| match verdict {
                Verdict::Unchecked | Verdict::Exact | Verdict::Near { .. } => 0,
                Verdict::Far { .. } => u64::MAX,
                Verdict::Rounds { differ, .. } => *differ as u64,
                Verdict::Saturates { largest } | Verdict::Disagrees { largest } => u64::from(u32::MAX) + largest,
            });
            if let Some((_, Verdict::Unchecked)) = worst {
                let _ = writeln!(text, "{name}: not checked.");
            } else if let Some((shape, verdict)) = worst {
                let shapes = others.len() + exact.len();
                let _ = writeln!(text, "{name}: {verdict} at {shape}; exact at {} of {shapes} shapes.", exact.len());
            } else {
                // The largest error stands for them.
                let largest = exact.iter().filter_map(|(_, verdict)| match verdict {
                    Verdict::Near { error } => Some(*error),
                    _ => None,
                });
                let _ = match largest.reduce(f64::max) {
                    Some(error) => writeln!(text, "{name}: {} at most.", Verdict::Near { error }),
                    None => writeln!(text, "{name}: exact at all shapes."),
                };
            }
        }
        text
    }

    /// Everyone in any row, in order.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for entry in self.rows.iter().flat_map(|row| &row.entries) {
            if !names.contains(&entry.name.as_str()) {
                names.push(&entry.name);
            }
        }
        names
    }

    fn table(&self, style: TableStyle) -> comfy_table::Table {
        let names = self.names();
        let mut table = comfy_table::Table::new();
        table.load_style(style);
        let ends = ["M×N×K", "limit", "ratio"].map(String::from);
        let [shape, limit, ratio] = ends;
        table.set_header([shape, limit].into_iter().chain(names.iter().map(|&name| name.into())).chain([ratio]));
        for row in &self.rows {
            let number = |number: Option<f64>| number.map_or("–".into(), |number| format!("{number:.1}"));
            let bound = |limit: Option<f64>| match (limit, row.bandwidth) {
                (Some(limit), Some(_)) if row.peaks.first().copied().flatten() != Some(limit) => " (reading)",
                _ => "",
            };
            let limit = row.limits.first().copied().flatten();
            let cell = |name: &&str| {
                let Some(i) = row.entries.iter().position(|entry| entry.name == *name) else { return "–".into() };
                let entry = &row.entries[i];
                let share =
                    row.limits[i].map_or(String::new(), |limit| format!(" ({:.0}%)", entry.gmacs / limit * 100.0));
                let wrong = if entry.verdict.is_right() { "" } else { " ≠" };
                format!("{:.1}{share}{wrong}", entry.gmacs)
            };
            let ratio = row.ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"));
            let cells = [row.shape.clone(), format!("{}{}", number(limit), bound(limit))];
            table.add_row(cells.into_iter().chain(names.iter().map(cell)).chain([ratio]));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

/// Everything.
#[derive(Serialize)]
pub struct Report {
    machine: Machine,
    rounds: u32,
    versions: Vec<String>,
    absent: Vec<String>,
    pub tables: Vec<Table>,
}

impl Report {
    /// Without tables yet.
    pub fn new(everyone: &[&dyn Peer], absent: Vec<String>, rounds: u32) -> Self {
        let versions = everyone.iter().map(|peer| format!("{}: {}", peer.name(), peer.version())).collect();
        Report { machine: Machine::here(), rounds, versions, absent, tables: Vec::new() }
    }

    /// The machine, the versions, and what the numbers are.
    pub fn header(&self) -> String {
        let mut text = format!("{}, one core\n\n", self.machine.line());
        for line in self.versions.iter().chain(&self.absent) {
            let _ = writeln!(text, "- {line}");
        }
        let _ = write!(
            text,
            "\nGMAC/s of the middle half of {} rounds, and its share of the limit: the peak of the ISA, or what reading the \
             weights allows. ≠: not the result that was asked for.",
            self.rounds
        );
        text
    }

    /// A document.
    pub fn markdown(&self) -> String {
        let mut text = format!("# zeropoint and its peers\n\n{}\n", self.header());
        for table in &self.tables {
            let summary = table.summary().replace('\n', "  \n");
            let _ = write!(text, "\n## {}\n\n{}\n\n{summary}", table.title, table.table(presets::ASCII_MARKDOWN));
        }
        text
    }
}
