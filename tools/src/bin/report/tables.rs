//! The numbers as tables, for a terminal and for a document.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, TableStyle, presets};

use crate::entries::{Entry, NOISY, Report};
use zeropoint_tools::operations::{Operation, Shape};

/// For a terminal.
pub fn text(report: &Report) -> String {
    let mut text = format!("{}\n\n{}\n", report.machine.line(), limits(report, presets::UTF8_FULL_CONDENSED));
    for (title, table) in tables(report, presets::UTF8_FULL_CONDENSED) {
        let _ = writeln!(text, "\n{title}\n{table}");
    }
    text + "\n" + &notes(report)
}

/// A document, with pictures: their files and titles.
pub fn markdown(report: &Report, pictures: &[(&str, String)]) -> String {
    let mut text = format!("# zeropoint on {}\n\n{}\n", report.machine.line(), notes(report));
    for (file, title) in pictures {
        let _ = writeln!(text, "\n![{title}]({file})");
    }
    let _ = writeln!(text, "\n## The machine's limits, one core\n\n{}", limits(report, presets::ASCII_MARKDOWN));
    for (title, table) in tables(report, presets::ASCII_MARKDOWN) {
        let _ = writeln!(text, "\n## {title}\n\n{table}");
    }
    text
}

/// One shape of every operation, for a page about something else.
pub fn summary(report: &Report) -> String {
    let isas = report.isas();
    let header = ["", ""].into_iter().chain(isas.iter().copied()).map(String::from);
    let mut table = table(presets::ASCII_MARKDOWN, header);
    for operation in report.operations() {
        let shape = report.typical_shape(operation);
        let cell = |isa: &&str| report.find(operation, shape, isa, 1).map_or("–".into(), cell);
        let names = [operation.name(), format!("{shape}, {}", shape.unit())];
        table.add_row(names.into_iter().chain(isas.iter().map(cell)));
    }
    right(&mut table, 2);
    format!("{}\n\n{table}\n\n{}", report.machine.line(), notes(report))
}

fn notes(report: &Report) -> String {
    let mut text = format!(
        "The middle half of {} interleaved turns of about 3 ms{}. In brackets: times the scalar ISA, and the part of the \
         limit: the multiplications of the ISA from registers, or the bytes that have to come and go, whichever takes \
         longer. `{}` marks numbers whose turns spread by more than {:.0} %.\n",
        report.rounds,
        if report.rounds > 1 { ", each in a process of its own" } else { "" },
        MARK,
        NOISY * 100.0
    );
    if let Some(noisy) = report.noisy() {
        let _ = writeln!(
            text,
            "\nWarning: {:.0} % of the numbers spread by more than {:.0} %. The machine had other things to do, or it matters \
             where memory lies.",
            (noisy * 100.0).ceil(),
            NOISY * 100.0
        );
    }
    text
}

const MARK: &str = "~";

fn limits(report: &Report, style: TableStyle) -> Table {
    let mut table = table(style, ["limit", "buffer", "value"].map(String::from));
    for limit in &report.limits {
        let buffer = limit.bytes.map_or(String::new(), |bytes| format!("{} KiB", bytes >> 10));
        table.add_row([limit.what.clone(), buffer, format!("{} {}", number(limit.value), limit.unit)]);
    }
    right(&mut table, 1);
    table
}

/// A table of ISAs for every operation, and one of threads.
fn tables(report: &Report, style: TableStyle) -> Vec<(String, Table)> {
    let mut tables = Vec::new();
    for operation in report.operations() {
        let isas = report.isas();
        let unit = report.of(operation).next().map_or("", |entry| entry.unit);
        let header = [unit.to_owned()].into_iter().chain(isas.iter().map(|&isa| isa.into()));
        let mut table = table(style, header);
        for shape in report.shapes(operation) {
            let cell = |isa: &&str| report.find(operation, shape, isa, 1).map_or("–".into(), cell);
            table.add_row([shape.to_string()].into_iter().chain(isas.iter().map(cell)));
        }
        right(&mut table, 1);
        tables.push((format!("{}: {}", operation.name(), operation.help()), table));
    }
    if let ([_, _, ..], Some(isa)) = (report.threads().as_slice(), report.isas().last()) {
        tables.push((format!("Threads, {isa}: times one"), threads(report, isa, style)));
    }
    tables
}

fn threads(report: &Report, isa: &str, style: TableStyle) -> Table {
    let more: Vec<usize> = report.threads().into_iter().filter(|&threads| threads > 1).collect();
    let operations = report.operations();
    let header = [String::new()].into_iter().chain(operations.iter().map(|operation| operation.name()));
    let mut table = table(style, header);
    let mut all: Vec<Shape> = Vec::new();
    for shape in operations.iter().flat_map(|&operation| report.shapes(operation)) {
        if !all.contains(&shape) {
            all.push(shape);
        }
    }
    for &threads in &more {
        for &shape in &all {
            let cell = |&operation: &Operation| {
                let entry = |threads| report.find(operation, shape, isa, threads);
                let ratio = entry(threads).zip(entry(1)).map(|(more, one)| more.value / one.value);
                ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"))
            };
            table.add_row([format!("{shape} on {threads}")].into_iter().chain(operations.iter().map(cell)));
        }
    }
    right(&mut table, 1);
    table
}

fn cell(entry: &Entry) -> String {
    let scalar = entry.times_scalar.map(|times| format!("{times:.1}×"));
    let limit = entry.limit_fraction.map(|fraction| format!("{:.0} %", fraction * 100.0));
    let brackets: Vec<String> = scalar.into_iter().chain(limit).collect();
    let mark = if entry.spread > NOISY { MARK } else { "" };
    format!("{mark}{} ({})", number(entry.value), brackets.join(", "))
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn table(style: TableStyle, header: impl IntoIterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_style(style);
    table.set_header(header);
    table
}

/// Numbers stand right, from this column on.
fn right(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
